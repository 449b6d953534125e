#include "output.hpp"

#include "engine.hpp"

#include <heed/inspect.hpp>

#include <fmt/color.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace search {
namespace {

std::size_t terminal_width() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0)
    return 100;
  return std::max<std::size_t>(size.ws_col, 40);
}

// Fit for a terminal: no control characters (a file must not steer it), no tabs, at most `width` bytes, cut
// between characters of UTF-8.
std::string printable(std::string_view text, std::size_t width) {
  const bool cut = text.size() > width;
  if (cut) {
    std::size_t end = width - 1;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text = text.substr(0, end);
  }
  std::string out(text);
  for (char& c : out) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '\t') c = ' ';
    if (u < 0x20 || u == 0x7F) c = c == ' ' ? ' ' : '.';
  }
  return cut ? out + "…" : out;
}

}  // namespace

output::output(std::uint64_t show)
    : show_(show), out_is_terminal_(isatty(STDOUT_FILENO) == 1), err_is_terminal_(isatty(STDERR_FILENO) == 1),
      colors_(out_is_terminal_ && std::getenv("NO_COLOR") == nullptr), width_(terminal_width()) {}

void output::match(std::string_view path, std::uint64_t line, std::string_view text) {
  if (silent_) return;
  const std::lock_guard lock(mutex_);
  if (shown_ >= show_) return;
  ++shown_;
  erase_line();
  const std::string place = line ? fmt::format("{}:{}", path, line) : std::string(path);
  if (!out_is_terminal_) {
    fmt::print("{}: {}\n", place, text);
  } else {
    const std::string where = printable(place, 4096);
    const std::size_t left = width_ > where.size() + 12 ? width_ - where.size() - 2 : 10;
    const auto style = colors_ ? fmt::fg(fmt::terminal_color::cyan) : fmt::text_style();
    const std::string_view code = text.substr(std::min(text.find_first_not_of(" \t"), text.size()));
    fmt::print("{}: {}\n", fmt::styled(where, style), printable(code, left));
  }
  std::fflush(stdout);  // now, also into a pipe: the next match may be long in coming
}

void output::problem(std::string_view path, std::string_view what) {
  if (silent_) return;
  const std::lock_guard lock(mutex_);
  erase_line();
  fmt::print(stderr, "search: {}: {}\n", err_is_terminal_ ? printable(path, 4096) : std::string(path), what);
}

void output::draw_tree() {
  std::ostringstream text;
  heed::dump(text, *tree_, heed::dump_format::text);
  const std::string picture = std::move(text).str();
  if (!err_is_terminal_) {
    fmt::print("{}", picture);
    std::fflush(stdout);
    return;
  }
  for (std::size_t from = 0; from < picture.size();) {
    const std::size_t to = picture.find('\n', from);
    fmt::print(stderr, "{}\n", printable(std::string_view(picture).substr(from, to - from), width_));
    from = to + 1;
    ++tree_lines_;
  }
}

void output::progress(const tally& t) {
  if (silent_) return;
  const std::lock_guard lock(mutex_);
  if (tree_ && (err_is_terminal_ || heed::clock::now() >= next_tree_)) {
    erase_line();
    next_tree_ = heed::clock::now() + std::chrono::seconds(1);
    draw_tree();
  }
  if (!err_is_terminal_) return;
  fmt::print(stderr, "\r\x1b[K{:>12} files  {:>9}  {:>9} matches",
             fmt::format("{}", fmt::group_digits(t.files.load())), human_bytes(t.bytes),
             fmt::format("{}", fmt::group_digits(t.matches.load())));
  std::fflush(stderr);
  line_drawn_ = true;
}

void output::clear_progress() {
  const std::lock_guard lock(mutex_);
  erase_line();
}

void output::erase_line() {
  if (!line_drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  for (; tree_lines_ > 0; --tree_lines_) fmt::print(stderr, "\x1b[A\x1b[K");
  std::fflush(stderr);
  line_drawn_ = false;
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < units.size(); ++unit) value /= 1024;
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, units[unit]);
}

std::string human_time(std::chrono::nanoseconds t) {
  static constexpr std::array units{"ns", "µs", "ms", "s"};
  auto value = static_cast<double>(t.count());
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < units.size(); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, unit == 0 || value >= 100 ? 0 : value < 10 ? 2 : 1, units[unit]);
}

}  // namespace search
