#include "rows.hpp"

#include <heed/heed.hpp>

#include <atomic>

namespace {

using namespace std::chrono_literals;
constexpr heed::key<int> depth_key{"depth"};

// As in a function that got its context as a parameter. The right answers are counted rather than the wrong
// ones branched to: compilers then leave one taken branch in the loop, which is what the floor has.
template <bool canceled>
[[gnu::noinline]] void ask(const heed::context& ctx, std::size_t n) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (bool(ctx.err()) == canceled) [[likely]]
      ++right;
    bench::clobber();
  }
  bench::check(right == n, "err()");
}
template <bool canceled>
[[gnu::noinline]] void look(const heed::context& ctx, std::size_t n) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (ctx.done() == canceled) [[likely]]
      ++right;
    bench::clobber();
  }
  bench::check(right == n, "done()");
}

template <bool canceled>
void shared(bench::suite& s, const std::string& name, const heed::context& ctx) {
  for (std::size_t threads : s.sizes({1, 2, 3, 4, 6, 8})) {
    s.timed(bench::named(name, "threads", threads), [&](std::size_t n) {
      return bench::parallel(threads, n, [&](bench::worker& w) {
        w.start();
        ask<canceled>(ctx, w.n);
        w.stop();
      });
    });
  }
}
// One context per thread, made by that thread.
template <bool canceled>
void distinct(bench::suite& s, const std::string& name) {
  for (std::size_t threads : s.sizes({1, 2, 3, 4, 6, 8})) {
    s.timed(bench::named(name, "threads", threads), [&](std::size_t n) {
      return bench::parallel(threads, n, [&](bench::worker& w) {
        const auto [ctx, cancel] = heed::with_cancel(heed::background());
        if (canceled) cancel();
        w.start();
        ask<canceled>(ctx, w.n);
        w.stop();
      });
    });
  }
}

// err() while another thread adds children to the same context and takes them away.
void busy(bench::suite& s, const heed::context& ctx) {
  const std::string name = "ErrOKWhileChildrenComeAndGo";
  if (!s.wants(name)) return;
  std::atomic<bool> over = false;
  std::atomic<std::size_t> children = 0;
  std::thread other([&] {
    while (!over.load(std::memory_order_relaxed)) {
      const auto [child, cancel] = heed::with_cancel(ctx);
      children.fetch_add(1, std::memory_order_relaxed);
    }
  });
  while (children.load() == 0) std::this_thread::yield();
  s.run(name, [&](std::size_t n) { ask<false>(ctx, n); });
  over = true;
  other.join();
}

}  // namespace

void reads(bench::suite& s) {
  auto [live, cancel_live] = heed::with_cancel(heed::background());
  auto [ended, cancel_ended] = heed::with_cancel(heed::background());
  cancel_ended();
  const heed::context &ok = live, &over = ended;  // lambdas capture no structured bindings everywhere

  s.run("ErrOK", [&](std::size_t n) { ask<false>(ok, n); });
  s.run("ErrCanceled", [&](std::size_t n) { ask<true>(over, n); });
  s.run("CheckCanceled/Err", [&](std::size_t n) { ask<true>(over, n); });
  s.run("CheckCanceled/Done", [&](std::size_t n) { look<true>(over, n); });
  s.timed("ContextCancelDone", [&](std::size_t n) {
    return bench::parallel(2, n, [&](bench::worker& w) {
      w.start();
      look<false>(ok, w.n);
      w.stop();
    });
  });

  // Other kinds of contexts.
  const heed::cancelable later = heed::with_timeout(heed::background(), 1h);
  const heed::cancelable past = heed::with_timeout(heed::background(), -1s);
  heed::context live_value = live, ended_value = ended;
  for (int i = 0; i < 10; ++i) {
    live_value = heed::with_value(live_value, depth_key, i);
    ended_value = heed::with_value(ended_value, depth_key, i);
  }
  const heed::context never, detached = heed::without_cancel(ended);
  s.run("ErrOK/kind=Background", [&](std::size_t n) { ask<false>(never, n); });
  s.run("ErrOK/kind=WithTimeout", [&](std::size_t n) { ask<false>(later.ctx, n); });
  s.run("ErrOK/kind=WithValue", [&](std::size_t n) { ask<false>(live_value, n); });
  s.run("ErrOK/kind=WithoutCancel", [&](std::size_t n) { ask<false>(detached, n); });
  s.run("ErrCanceled/kind=WithTimeout", [&](std::size_t n) { ask<true>(past.ctx, n); });
  s.run("ErrCanceled/kind=WithValue", [&](std::size_t n) { ask<true>(ended_value, n); });

  shared<false>(s, "ErrOKParallel", live);
  shared<true>(s, "ErrCanceledParallel", ended);
  distinct<false>(s, "ErrOKParallelDistinct");
  distinct<true>(s, "ErrCanceledParallelDistinct");  // golang/go#80914
  busy(s, live);
}
