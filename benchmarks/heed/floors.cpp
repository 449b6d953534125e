// What the machine asks for the parts that every implementation is made of. Nothing here knows heed.
#include "futex.hpp"
#include "rows.hpp"

namespace {

[[gnu::noinline]] void load(const word& w, std::size_t n) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (w.load(std::memory_order_acquire) == 0) [[likely]]
      ++right;
    bench::clobber();
  }
  bench::check(right == n, "a load");
}

// Two threads wake each other in turn, n times.
double round_trips(std::size_t n) {
  word turn = 0;
  std::atomic<std::uint32_t> players = 0;
  return bench::parallel(2, 2 * n, [&](bench::worker& w) {
    const std::uint32_t mine = players.fetch_add(1);
    w.start();
    for (std::size_t i = 0; i < w.n; ++i) {
      while (turn.load() != mine) wait(turn, 1 - mine);
      turn.store(1 - mine);
      wake(turn);
    }
    w.stop();
  });
}

// How late a thread runs that asked the kernel to wake it.
void sleep(bench::suite& s) {
  const std::string name = "Floor/FutexSleep";
  if (!s.wants(name)) return;
  std::vector<double> late;
  word nothing = 0;
  for (int i = 0; i < (s.once() ? 1 : 50); ++i) {
    const auto when = bench::clock::now() + std::chrono::milliseconds(1);
    const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch()).count();
    const timespec until{.tv_sec = since / 1'000'000'000, .tv_nsec = since % 1'000'000'000};
    while (bench::clock::now() < when) wait(nothing, 0, &until);
    late.push_back(bench::ns_since(when));
  }
  s.report(name, late.size(),
           {{bench::quantile(late, 0.5), "p50-ns"}, {bench::quantile(late, 0.99), "p99-ns"}});
}

}  // namespace

void floors(bench::suite& s) {
  word zero = 0;
  s.run("Floor/Load", [&](std::size_t n) { load(zero, n); });
  s.timed("Floor/LoadParallel", [&](std::size_t n) {
    return bench::parallel(2, n, [&](bench::worker& w) {
      w.start();
      load(zero, w.n);
      w.stop();
    });
  });
  s.run("Floor/LockedAdd", [&](std::size_t n) {
    word count = 0;
    for (std::size_t i = 0; i < n; ++i) count.fetch_add(1, std::memory_order_relaxed);
    bench::check(count.load() == static_cast<std::uint32_t>(n), "a sum");
  });
  s.run("Floor/MallocFree", [](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      void* p = std::malloc(64);
      bench::keep(p);
      std::free(p);
    }
  });
  s.run("Floor/Clock", [](std::size_t n) {
    auto last = bench::clock::time_point::min();
    for (std::size_t i = 0; i < n; ++i) {
      const auto now = bench::clock::now();
      if (now < last) [[unlikely]]
        bench::wrong("the clock");
      last = now;
    }
  });
  s.timed("Floor/FutexRoundTrip", round_trips);
  sleep(s);
}
