// What a search shows while it runs: matches, problems, and on a terminal one line of progress.
#pragma once

#include "request.hpp"

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace search {

struct tally;

/// All threads of a search write here; each line stays whole.
class output {
 public:
  /// Shows the first `show` matches; below `silent()` nothing at all.
  explicit output(std::uint64_t show);

  void match(std::string_view path, std::uint64_t line, std::string_view text);
  void problem(std::string_view path, std::string_view what);
  void progress(const tally& t);
  void clear_progress();
  /// From now on progress() also shows what hangs under `root`: on a terminal live, else once a second.
  void show_tree(const heed::context& root) { tree_ = root; }
  void silence() noexcept { silent_ = true; }

  std::uint64_t shown() const noexcept { return shown_; }
  bool colors() const noexcept { return colors_; }

 private:
  void erase_line();
  void draw_tree();
  std::mutex mutex_;
  const std::uint64_t show_;
  std::uint64_t shown_ = 0;
  bool silent_ = false;
  bool line_drawn_ = false;
  std::optional<heed::context> tree_;
  std::size_t tree_lines_ = 0;  // on the terminal, above the line of progress
  heed::time_point next_tree_ = heed::time_point::min();
  const bool out_is_terminal_;
  const bool err_is_terminal_;
  const bool colors_;
  const std::size_t width_;  // of the terminal
};

/// "1.2 GiB", "350 µs": for people, three digits.
std::string human_bytes(std::uint64_t bytes);
std::string human_time(std::chrono::nanoseconds t);

}  // namespace search
