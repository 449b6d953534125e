// Threads that sleep: none is forgotten.
#include "engine.hpp"
#include "kernels.hpp"

#include <heed/heed.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <array>

namespace model {
namespace {

using heed::background;
using heed::with_cancel;

void waits_while_cancel() {
  auto [ctx, cancel] = with_cancel(background());
  spawn([&] {
    ctx.wait();
    check(ctx.done(), "done");
  });
  spawn([&, c = cancel.share()] { c(); });
  join();
}

void two_wait_below() {
  auto [parent, cancel] = with_cancel(background());
  auto child = with_cancel(parent);
  spawn([&] { child.ctx.wait(); });
  spawn([&] { child.ctx.wait(); });
  spawn([&, c = cancel.share()] { c(); });
  join();
  check(child.ctx.done(), "done");
}

void waits_and_is_told_twice() {
  auto [ctx, cancel] = with_cancel(background());
  auto below = with_cancel(ctx);
  spawn([&] { ctx.wait(); });
  spawn([&, c = cancel.share()] { c(); });
  spawn([&, c = cancel.share()] {
    c();
    check(ctx.done(), "done");
  });
  join();
}

void waits_for_any() {
  auto a = with_cancel(background());
  auto b = with_cancel(background());
  const std::array both{a.ctx, b.ctx};
  spawn([&] {
    const std::size_t first = heed::wait_any(both);
    check(both[first].done(), "that one is done");
  });
  spawn([&, c = a.cancel.share()] { c(); });
  spawn([&, c = b.cancel.share()] { c(); });
  join();
}

void mutex_handed_over() {
  heed::mutex m;
  auto [ctx, cancel] = with_cancel(background());
  auto inside = std::make_unique<int>(0);
  for (int i = 0; i < 2; ++i) {
    spawn([&] {
      if (m.lock(ctx)) return;
      ++*inside;  // a race, if two are inside
      m.unlock();
    });
  }
  spawn([&, c = cancel.share()] { c(); });
  join();
  check(m.try_lock(), "it is free");
  m.unlock();
}

void mutex_without_context() {
  heed::mutex m;
  auto inside = std::make_unique<int>(0);
  for (int i = 0; i < 3; ++i) {
    spawn([&] {
      m.lock();
      ++*inside;
      m.unlock();
    });
  }
  join();
  check(*inside == 3, "all were inside");
}

void semaphore_loses_no_unit() {
  heed::semaphore s(0);
  auto [ctx, cancel] = with_cancel(background());
  auto got = std::make_unique<heed::sync::atomic<int>>(0);
  spawn([&] {
    if (!s.acquire(ctx)) got->fetch_add(1, std::memory_order_relaxed);
  });
  spawn([&] { s.release(); });
  spawn([&, c = cancel.share()] { c(); });
  join();
  check(s.try_acquire() == (got->load(std::memory_order_relaxed) == 0), "the unit is there, or was given");
}

}  // namespace

std::vector<kernel> wait_kernels() {
  return {
      {"wait.cancel", waits_while_cancel},           {"wait.two_below", two_wait_below},
      {"wait.two_cancels", waits_and_is_told_twice}, {"wait.any", waits_for_any},
      {"mutex.context", mutex_handed_over},          {"mutex.plain", mutex_without_context},
      {"semaphore.unit", semaphore_loses_no_unit},
  };
}

}  // namespace model
