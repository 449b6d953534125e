// Searches a directory tree with a group of tasks under one context, which a deadline, enough matches or
// Ctrl-C may end; then says what ended it and how long the threads took to stop.
//
// Start reading at run() in search/engine.cpp; search/interrupt.hpp makes a cancel of a signal.
#include "search/engine.hpp"
#include "search/interrupt.hpp"
#include "search/matcher.hpp"
#include "search/report.hpp"

#include <heed/heed.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

using seconds = std::chrono::duration<double>;

constexpr const char* exit_codes =
    "Exit status:\n"
    "  0    matches were found: all of them, or as many as --max-matches asks for\n"
    "  1    no match\n"
    "  2    an error: bad arguments, or something could not be read\n"
    "  124  the deadline passed first (--timeout)\n"
    "  130  SIGINT, Ctrl-C (143: SIGTERM); a second one kills at once\n";

// "250ms", "1.5s", "2m", "inf"; a bare number is seconds.
seconds parse_time(const std::string& text) {
  char* rest = nullptr;
  const double number = std::strtod(text.c_str(), &rest);
  const std::string unit = rest;
  const double scale = unit == "us"                  ? 1e-6
                       : unit == "ms"                ? 1e-3
                       : unit.empty() || unit == "s" ? 1
                       : unit == "m"                 ? 60
                                                     : 0;
  if (rest == text.c_str() || number != number || scale == 0) {
    throw CLI::ValidationError("--timeout", "\"" + text + "\" is no time: try 250ms, 1.5s, 2m");
  }
  return seconds(number * scale);
}

int exit_code(const search::outcome& o, const search::tally& t) {
  if (!o.finished) {
    if (const auto* why = o.cause.as<search::interrupted>()) return 128 + why->signal;
    if (o.verdict == heed::errc::deadline_exceeded) return 124;
    if (!o.cause.as<search::stop_request>()) return 2;  // a worker failed
  }
  if (t.problems) return 2;
  return t.matches ? 0 : 1;
}

// Searches again `runs` times, each to be stopped midway: by the limits given, or else in turn by another
// thread, by a deadline, and by enough matches.
std::vector<search::outcome> stop_midway(const heed::context& session, const search::limits& given, int runs,
                                         const search::outcome& full, const search::tally& seen) {
  std::vector<search::outcome> done;
  auto fastest = full.took;
  for (int number = 1, tries = 0; number <= runs && !session.err();) {
    search::limits l = given;
    if (!given.timeout && !given.matches) {
      switch (number % 3) {
        case 1: l.cancel_at = std::max<std::uint64_t>(seen.bytes / 2, 1); break;
        case 2:
          l.timeout = seconds(fastest) / 2;
          l.timeout_cause = "half the usual time";
          break;
        default: l.matches = std::max<std::uint64_t>(seen.matches / 2, 1); break;
      }
    }
    search::output out(0);
    out.silence();
    search::tally t;
    auto o = search::run(heed::with_value(session, search::run_key, number), l, out, t);
    if (o.finished) {
      fastest = std::min(fastest, o.took);
      if (++tries < 3) continue;  // it was faster than the time before: once more, with a nearer deadline
    }
    tries = 0;
    ++number;
    done.push_back(std::move(o));
  }
  return done;
}

int run(int argc, char** argv) {
  search::request asked{"mutex", false, {"/usr/include"}, std::max(1U, std::thread::hardware_concurrency())};
  search::limits limits;
  std::string timeout;
  std::uint64_t show = 10;
  int runs = -1;
  bool verbose = false;
  bool tree = false;

  CLI::App app("Searches directory trees for a pattern, in parallel, until done or stopped.", "search");
  app.footer(exit_codes);
  app.add_option("pattern", asked.pattern, "what to look for, within a line")->capture_default_str();
  app.add_option("path", asked.paths, "files and directories")->capture_default_str();
  app.add_flag("-E,--regex", asked.regex, "the pattern is an extended regular expression");
  app.add_option("-t,--timeout", timeout, "stop after this time: 250ms, 1.5s, 2m");
  app.add_option("-m,--max-matches", limits.matches, "stop after N matching lines")
      ->check(CLI::PositiveNumber);
  app.add_option("-n,--show", show, "print the first N matching lines")->capture_default_str();
  app.add_option("-j,--jobs", asked.jobs, "worker threads")->check(CLI::Range(1, 512))->capture_default_str();
  auto* follow = app.add_flag("-L,--follow", asked.follow, "follow symbolic links below the paths");
  app.add_flag("--repeat", asked.repeat, "start over and over, until stopped")->excludes(follow);
  app.add_option("--runs", runs,
                 "search N more times, each stopped midway, and tell how long stopping took\n"
                 "(default: 9, or 0 where --timeout, --max-matches or --repeat is given)");
  app.add_flag("--tree", tree, "show the tree of contexts while the search runs");
  app.add_flag("-v,--verbose", verbose, "also print the context's own description");
  try {
    app.parse(argc, argv);
    if (!timeout.empty()) limits.timeout = parse_time(timeout);
    limits.timeout_cause = "--timeout " + timeout;
    search::matcher(asked.pattern, asked.regex);  // refuses what is no pattern
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (runs < 0) runs = limits.timeout || limits.matches || asked.repeat ? 0 : 9;

  // The request has what is asked, the process has its own end: a session ends with either, and has the
  // values of both.
  const search::interrupts signals;
  const heed::context request = heed::with_value(heed::background(), search::request_key, asked);
  const auto [session, over] = heed::merge(request, signals.ctx());

  search::output out(show);
  if (tree) out.show_tree(signals.ctx());
  search::tally t;
  const search::outcome first = search::run(session, limits, out, t);
  search::report(asked, first, t, out, verbose);

  const bool stoppable = first.finished || limits.timeout || limits.matches;
  if (runs > 0 && t.bytes > 0 && stoppable) {
    fmt::print("\n  Now {} more, each stopped midway:\n", runs);
    std::fflush(stdout);
    search::report(stop_midway(session, limits, runs, first, t), out);
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw std::runtime_error("cannot write to the output");
  return exit_code(first, t);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "search: {}\n", e.what());
    return 2;
  }
}
