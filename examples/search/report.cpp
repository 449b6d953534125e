#include "report.hpp"

#include <fmt/color.h>

#include <algorithm>
#include <map>

namespace search {
namespace {

std::string plural(std::uint64_t n, const char* one, const char* many) {
  return fmt::format("{} {}", fmt::group_digits(n), n == 1 ? one : many);
}

// As the compiler was given it; this build gives it from the project's root: "examples/search.cpp:12".
std::string place(const std::optional<std::source_location>& where) {
  return where ? fmt::format("{}:{}", where->file_name(), where->line()) : "";
}

void row(const char* name, const std::string& text) {
  if (!text.empty()) fmt::print("  {:<9} {}\n", name, text);
}

std::string skipped(const tally& t) {
  std::vector<std::string> parts;
  const auto add = [&](std::uint64_t n, const char* one, const char* many) {
    if (n) parts.push_back(plural(n, one, many));
  };
  add(t.problems, "not readable", "not readable");
  add(t.vanished, "vanished or dangling", "vanished or dangling");
  add(t.links, "link not followed", "links not followed");
  add(t.special, "special file", "special files");
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string verdict_of(const outcome& o) {
  return o.finished ? "finished" : o.verdict.message();
}

// What follows the last of these characters: "engine.cpp:12" of a path.
std::string after_last(char c, const std::string& text) {
  return text.substr(text.rfind(c) + 1);  // npos + 1 is 0
}

std::chrono::nanoseconds median(std::vector<std::chrono::nanoseconds> times) {
  std::sort(times.begin(), times.end());
  const std::size_t half = times.size() / 2;
  return times.size() % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
}

}  // namespace

void report(const request& asked, const outcome& o, const tally& t, const output& out, bool verbose) {
  if (out.shown() < t.matches) {
    fmt::print("{}{} not shown (--show)\n", out.shown() ? "... and " : "",
               plural(t.matches - out.shown(), "more match", "more matches"));
  }
  const double seconds = std::chrono::duration<double>(o.took).count();
  const auto rate = seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(t.bytes) / seconds) : 0;
  const auto style = !out.colors() ? fmt::text_style()
                     : o.finished  ? fmt::fg(fmt::terminal_color::green) | fmt::emphasis::bold
                                   : fmt::fg(fmt::terminal_color::yellow) | fmt::emphasis::bold;
  fmt::print("\n");
  row("search", fmt::format("{}, {}", to_string(asked), plural(asked.jobs, "thread", "threads")));
  row("searched", fmt::format("{}, {} in {} ({}/s)", plural(t.files, "file", "files"), human_bytes(t.bytes),
                              human_time(o.took), human_bytes(rate)));
  row("found", fmt::format("{} in {}", plural(t.matches, "match", "matches"),
                           plural(t.matching_files, "file", "files")));
  row("skipped", skipped(t));
  row("verdict", fmt::format("{}", fmt::styled(verdict_of(o), style)));
  if (o.cause) row("why", o.cause.message());
  row("where", place(o.where));
  if (o.stop_took)
    row("stopped", fmt::format("{} later, when the last worker had left", human_time(*o.stop_took)));
  if (verbose) row("context", o.context);
}

void report(const std::vector<outcome>& runs, const output& out) {
  std::vector<std::string> kinds;  // in the order of their first run
  std::map<std::string, std::vector<std::chrono::nanoseconds>> times;
  std::vector<std::chrono::nanoseconds> all;
  fmt::print("\n  run  {:<17}  {:<20}  {:<14}  {:>7}  {:>8}\n", "verdict", "why", "where", "after",
             "stopping");
  int number = 0;
  for (const outcome& o : runs) {
    const std::string why = o.cause ? o.cause.message() : "";
    fmt::print("  {:>3}  {:<17}  {:<20}  {:<14}  {:>7}  {:>8}\n", ++number,
               o.finished                          ? "finished"
               : o.verdict == heed::errc::canceled ? "canceled"
                                                   : "deadline exceeded",
               why, after_last('/', place(o.where)), human_time(o.took),
               o.stop_took ? human_time(*o.stop_took) : "");
    if (!o.stop_took) continue;
    if (!times.contains(why)) kinds.push_back(why);
    times[why].push_back(*o.stop_took);
    all.push_back(*o.stop_took);
  }
  if (all.empty()) {
    fmt::print("\n  Every run had finished before it was stopped.\n");
    return;
  }
  fmt::print("\n  From the cancel, or the deadline, to the last worker's end:\n\n");
  fmt::print("  {:<20}  {:>4}  {:>8}  {:>8}\n", "stopped because", "runs", "median", "worst");
  const auto line = [](const std::string& kind, const std::vector<std::chrono::nanoseconds>& t) {
    return fmt::format("  {:<20}  {:>4}  {:>8}  {:>8}", kind, t.size(), human_time(median(t)),
                       human_time(*std::max_element(t.begin(), t.end())));
  };
  for (const std::string& kind : kinds) fmt::print("{}\n", line(kind, times[kind]));
  const auto style = out.colors() ? fmt::text_style(fmt::emphasis::bold) : fmt::text_style();
  if (kinds.size() > 1) fmt::print("{}\n", fmt::styled(line("all", all), style));
}

}  // namespace search
