// What every benchmark program in C++ shares: how often to repeat, how to take the time, what to print. The
// loops, and the lines they print, are those of Go's testing package, so that one reader understands all
// programs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <latch>
#include <regex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

using clock = std::chrono::steady_clock;

inline double ns_since(clock::time_point from) {
  return std::chrono::duration<double, std::nano>(clock::now() - from).count();
}

/// A wrong result: what was measured is not what the row says.
[[noreturn, gnu::cold, gnu::noinline]] inline void wrong(const char* what) {
  std::fflush(stdout);
  std::fprintf(stderr, "wrong result: %s\n", what);
  std::_Exit(1);
}
inline void check(bool holds, const char* what) {
  if (!holds) [[unlikely]]
    wrong(what);
}

/// Nothing is remembered over this line: the compiler can move no load out of a loop that has one.
inline void clobber() {
  asm volatile("" ::: "memory");
}
/// The value counts as used, and as changed.
template <class T>
inline void keep(T& value) {
  asm volatile("" : "+r"(value)::"memory");
}

struct metric {
  double value;
  const char* unit;
};

/// One program: which rows are wanted, and how long each is measured.
class suite {
 public:
  suite(int argc, char** argv) {
    // glibc and libstdc++ go without atomics until there is a second thread. Programs that cancel things have
    // one.
    std::thread([] {}).join();
    for (int i = 1; i < argc; ++i) {
      const std::string_view option = argv[i];
      const bool last = i + 1 == argc;
      if (option == "--once") {
        once_ = true;
      } else if (option == "--large") {
        large_ = true;
      } else if (option == "--only" && !last) {
        only_ = std::regex(argv[++i]);
        filtered_ = true;
      } else if (option == "--ms" && !last) {
        target_ = 1e6 * std::strtod(argv[++i], nullptr);
      } else {
        std::fprintf(stderr,
                     "usage: %s [--only REGEX] [--ms TIME_PER_ROW] [--large] [--once]\n"
                     "  --large  the largest sizes, too (seconds each)\n"
                     "  --once   each row a single time, in its smallest size: a test\n",
                     argv[0]);
        std::exit(2);
      }
    }
  }

  bool once() const { return once_; }
  /// Whether to measure this row. Ask before expensive preparations.
  bool wants(const std::string& name) const { return !filtered_ || std::regex_search(name, only_); }
  /// Those of a row's sizes that are to be measured: the small ones, and with --large the large ones.
  std::vector<std::size_t> sizes(std::initializer_list<std::size_t> small,
                                 std::initializer_list<std::size_t> large = {}) const {
    if (once_) return {*small.begin()};
    std::vector<std::size_t> all(small);
    if (large_) all.insert(all.end(), large);
    return all;
  }

  /// Measures `loop(n)`, which does the operation n times and gives the nanoseconds that count.
  template <class F>
  void timed(const std::string& name, F&& loop) {
    if (!wants(name)) return;
    std::size_t n = 1;
    double best = 0;  // ns per operation
    for (int doubts = 3;;) {
      const double ns = std::max(static_cast<double>(loop(n)), 1.0), each = ns / static_cast<double>(n);
      const bool enough = ns >= target_ || n > 1'000'000'000;
      // Much slower than before, or no before: perhaps the machine was busy with something else. Look again.
      const bool doubtful = enough && each > 3 * best && doubts-- > 0;
      if (once_ || (enough && !doubtful)) {
        report(name, n, {{each, "ns/op"}});
        return;
      }
      best = best > 0 ? std::min(best, each) : each;
      if (doubtful) continue;
      // A little more than what seems to be needed, but no more than a hundred times as much, since n was
      // small.
      n = std::max(n + 1, std::min(static_cast<std::size_t>(1.2 * target_ / each), 100 * n));
    }
  }
  /// Measures `loop(n)`, which does the operation n times and nothing else.
  template <class F>
  void run(const std::string& name, F&& loop) {
    timed(name, [&](std::size_t n) {
      const auto from = clock::now();
      loop(n);
      return ns_since(from);
    });
  }

  /// What a part of the work took, where only that part is to be measured.
  struct part {
    std::size_t operations;
    double ns;
  };
  /// Measures `some()`, which does some of the work, as often as the time allows.
  template <class F>
  void parts(const std::string& name, F&& some) {
    if (!wants(name)) return;
    part total{0, 0};
    const auto from = clock::now();
    do {
      const part p = some();
      total.operations += p.operations;
      total.ns += p.ns;
    } while (!once_ && ns_since(from) < target_);
    report(name, total.operations, {{total.ns / static_cast<double>(total.operations), "ns/op"}});
  }

  /// Prints one line as Go's benchmarks do.
  void report(const std::string& name, std::size_t n, std::initializer_list<metric> metrics) const {
    std::printf("Benchmark%s\t%zu", name.c_str(), n);
    for (const metric& m : metrics) std::printf("\t%.4g %s", m.value, m.unit);
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  bool once_ = false, large_ = false, filtered_ = false;
  double target_ = 10e6;  // ns
  std::regex only_;
};

inline std::string named(std::string_view name, std::string_view parameter, std::size_t value) {
  return std::string(name) + "/" + std::string(parameter) + "=" + std::to_string(value);
}

/// One of the threads of parallel(): prepares, calls start(), does its `n` operations, calls stop().
class worker {
 public:
  worker(std::size_t count, std::latch& gate) : n(count), gate_(gate) {}
  void start() {
    gate_.arrive_and_wait();
    from = clock::now();
  }
  void stop() { to = clock::now(); }

  const std::size_t n;
  clock::time_point from, to;

 private:
  std::latch& gate_;
};

/// n operations shared out to threads: the time from the first one's start to the last one's end.
template <class Body>
double parallel(std::size_t threads, std::size_t n, Body&& body) {
  std::latch gate(static_cast<std::ptrdiff_t>(threads));
  std::vector<worker> workers;
  workers.reserve(threads);
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    workers.emplace_back(n / threads + (i < n % threads ? 1 : 0), gate);
    running.emplace_back([&body, &w = workers.back()] { body(w); });
  }
  for (std::thread& t : running) t.join();
  auto from = workers.front().from, to = workers.front().to;
  for (const worker& w : workers) {
    from = std::min(from, w.from);
    to = std::max(to, w.to);
  }
  return std::chrono::duration<double, std::nano>(to - from).count();
}

/// The value below which a fraction of all lie.
inline double quantile(std::vector<double> all, double fraction) {
  check(!all.empty(), "nothing was measured");
  const auto at = static_cast<std::ptrdiff_t>(fraction * static_cast<double>(all.size() - 1));
  std::nth_element(all.begin(), all.begin() + at, all.end());
  return all[static_cast<std::size_t>(at)];
}

}  // namespace bench
