// The threads that heed starts itself: the one that keeps time (T1 to T5), and the executor's (X1 to X3).
#include "engine.hpp"
#include "kernels.hpp"
#include "os_model.hpp"

#include <heed/group.hpp>
#include <heed/heed.hpp>
#include <heed/wait.hpp>

#include <memory>
#include <optional>

namespace model {
namespace {

constexpr heed::key<int> a_key{"a key"};

using heed::background;
using heed::cancelable;
using heed::errc;
using namespace std::chrono_literals;
constexpr std::int64_t second = 1'000'000'000;

// T4: it is armed while the thread starts, looks, and goes to sleep.
void armed_and_waited_for() {
  fresh_process();
  spawn([&] {
    auto [ctx, cancel] = heed::with_timeout(background(), 1s);
    ctx.wait();
    check(ctx.err() == errc::deadline_exceeded, "it has passed");
  });
  join();
}

// The first of them sets a timer of its own, and wakes, and sleeps again, while the others are told one by the
// other.
void waited_for_by_three() {
  fresh_process();
  auto [ctx, cancel] = heed::with_timeout(background(), 1s);
  for (int i = 0; i < 3; ++i) {
    spawn([&] {
      ctx.wait();
      check(ctx.err() == errc::deadline_exceeded, "it has passed");
    });
  }
  join();
}

// The second comes first: its arming rings, and the thread sleeps less.
void earlier_one_rings() {
  fresh_process();
  auto later = heed::with_timeout(background(), 3s);
  settle();  // the thread sleeps until then
  std::optional<cancelable> earlier;
  spawn([&] { earlier.emplace(heed::with_timeout(background(), 1s)); });
  join();
  earlier->ctx.wait();
  check(!later.ctx.done(), "it was not woken by the later one");
}

// T4: the same where nothing but the bell orders the two. A ring that is slept through makes the deadline
// late.
void earlier_one_rings_at_any_time() {
  fresh_process();
  std::optional<cancelable> later;
  spawn([&] { later.emplace(heed::with_timeout(background(), 3s)); });
  spawn([&] {
    const auto made = heed::clock::now();
    auto [ctx, cancel] = heed::with_timeout(background(), 1s);
    ctx.wait();
    check(heed::clock::now() < made + 2s, "late");
  });
  join();
}

void armed_by_two() {
  fresh_process();
  for (int i = 0; i < 2; ++i) {
    spawn([&] {
      auto [ctx, cancel] = heed::with_timeout(background(), 1s);
      ctx.wait();
      check(ctx.err() == errc::deadline_exceeded, "it has passed");
    });
  }
  join();
}

// I8: never early. Time passes at any moment.
void fires_at_its_time() {
  fresh_process();
  auto [ctx, cancel] = heed::with_timeout(background(), 2s);
  const auto when = *ctx.deadline();
  spawn([&] { advance(second); });
  spawn([&] {
    if (ctx.done()) check(heed::clock::now() >= when, "early");
  });
  spawn([&] { advance(second); });
  join();
  settle();
  check(ctx.done(), "late");
}

void canceled_while_it_fires() {
  fresh_process();
  auto [ctx, cancel] = heed::with_timeout(background(), 1s);
  bool won = false;
  spawn([&, c = cancel.share()] { won = c(); });
  spawn([&] { advance(second); });
  join();
  settle();
  check(ctx.err() == (won ? errc::canceled : errc::deadline_exceeded), "one verdict");
}

void canceled_with_cause_while_it_fires() {
  fresh_process();
  auto [ctx, cancel] = heed::with_timeout(background(), 1s, "late");
  bool won = false;
  spawn([&, c = cancel.share()] { won = c("own"); });
  spawn([&] { advance(second); });
  join();
  settle();
  check(ctx.cause().message() == (won ? "own" : "late"), "its cause");
}

// T2: who disarms a timer that was popped just now.
void dropped_while_it_fires() {
  fresh_process();
  auto made = std::make_unique<cancelable>(heed::with_timeout(background(), 1s));
  made->cancel.release();
  heed::context other = made->ctx;
  spawn([&] { made.reset(); });
  spawn([o = std::move(other)]() mutable { o = heed::context(); });
  spawn([&] { advance(second); });
  join();
  settle();
}

// More than a batch, and more in one slot of the wheel than are looked at (sizes.hpp), the latest first: the
// thread comes again at once, and to a slot before anything in it is due.
void more_than_a_batch() {
  fresh_process();
  std::optional<cancelable> made[3];
  for (int i = 0; i < 3; ++i) made[i].emplace(heed::with_timeout(background(), 1s + (3 - i) * 1ms));
  made[0]->cancel.release();
  const auto first = *made[2]->ctx.deadline();
  spawn([&] { made[0].reset(); });
  spawn([&] {
    made[2]->ctx.wait();
    const auto now = heed::clock::now();
    check(now >= first, "early");
    check(now < first + 1ms, "late");
  });
  spawn([&] { made[1]->cancel(); });
  join();
  settle();
}

// Something hangs on it: its end goes on in the executor.
void fires_with_callback() {
  fresh_process();
  auto made = std::make_unique<cancelable>(heed::with_timeout(background(), 1s));
  auto child = std::make_unique<cancelable>(heed::with_cancel(made->ctx));
  int runs = 0;
  auto registered =
      std::make_unique<heed::cancel_callback<std::function<void()>>>(child->ctx, [&] { ++runs; });
  spawn([&] { advance(second); });
  spawn([&] {
    child->ctx.wait();
    registered.reset();
    child.reset();
    made.reset();
  });
  join();
  settle();
  check(runs <= 1, "it ran once at most");
}

void parent_ends_while_it_fires() {
  fresh_process();
  auto parent = heed::with_cancel(background());
  auto child = heed::with_timeout(parent.ctx, 1s);
  auto below = heed::with_cancel(child.ctx);
  spawn([&, c = parent.cancel.share()] {
    c();
    check(child.ctx.done() && below.ctx.done(), "I3");
  });
  spawn([&] { advance(second); });
  join();
  settle();
  check(below.ctx.err() == child.ctx.err(), "the child's verdict below");
}

void born_late() {
  fresh_process();
  std::optional<cancelable> made;
  spawn([&] { made.emplace(heed::with_timeout(background(), 0s, "late")); });
  join();
  spawn([&] { check(made->ctx.cause().message() == "late", "its cause"); });
  spawn([&] { made->cancel(); });
  join();
}

// The parent ends while a deadline is being made below it: whatever comes first, no timer stays behind.
void made_while_parent_ends(bool by_value) {
  fresh_process();
  auto parent = heed::with_cancel(background());
  spawn([&] {
    const auto above = by_value ? heed::with_value(parent.ctx, a_key, 1) : parent.ctx;
    const auto made = heed::with_timeout(above, 1s);
  });
  spawn([&] { parent.cancel(); });
  join();
  const auto later = heed::with_timeout(background(), 2s);
  later.ctx.wait();  // the first second has passed
}

// A callback that was registered by somebody who is gone takes the context away from what leaves.
void taken_while_left() {
  fresh_process();
  std::optional<cancelable> made(heed::with_timeout(background(), 1s));
  cancelable& leaves = *made;
  heed::context kept;
  auto taking = [&] {
    if (this_thread() == 1) kept = std::move(leaves.ctx);  // in the middle of leaving
  };
  std::optional<heed::cancel_callback<decltype(taking)&>> registered;
  auto copy = made->ctx;
  spawn([&] { made.reset(); });
  spawn([&] {
    registered.emplace(copy, taking);
    copy = heed::context();
  });
  join();
  check(!kept.cancel_possible() || kept.done(), "what was taken has ended");
  kept = heed::context();
  registered.reset();
}

// No thread to be had: the call says so, and nothing is left of it.
void no_thread() {
  fresh_process();
  refuse_threads(true);
  auto parent = heed::with_cancel(background());
  int refused = 0;
  try {
    static_cast<void>(heed::with_timeout(parent.ctx, 1s));
  } catch (const std::system_error&) {
    ++refused;
  }
  try {
    static_cast<void>(heed::after_func(parent.ctx, [] {}));
  } catch (const std::system_error&) {
    ++refused;
  }
  check(refused == 2, "both are refused");
  refuse_threads(false);
  auto later = heed::with_timeout(parent.ctx, 1s);
  later.ctx.wait();
}

void function_runs() {
  fresh_process();
  auto [ctx, cancel] = heed::with_cancel(background());
  auto runs = std::make_unique<int>(0);
  bool stopped = false;
  auto stop = heed::after_func(ctx, [&] { ++*runs; });
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { stopped = stop(); });
  join();
  settle();
  check(*runs == (stopped ? 0 : 1), "it ran, or was stopped");
}

// Two that stop one, whose end does nothing: whoever of the three is last frees it.
void function_stopped_twice(bool canceled) {
  fresh_process();
  auto [ctx, cancel] = heed::with_cancel(background());
  heed::sync::atomic<int> stops{0};
  auto runs = std::make_unique<int>(0);
  auto stop = heed::after_func(ctx, [&] { ++*runs; });
  for (int i = 0; i < 2; ++i) {
    spawn([&, s = stop] {
      if (s()) stops.fetch_add(1, std::memory_order_relaxed);
    });
  }
  stop = {};
  if (canceled) spawn([&, c = cancel.share()] { c(); });
  join();
  settle();
  check(*runs + stops.load(std::memory_order_relaxed) == 1, "once, or stopped once");
}

// X1: what is posted while the thread goes to rest is not slept through.
void functions_in_turn() {
  fresh_process();
  heed::sync::atomic<int> runs{0};
  for (int i = 0; i < 2; ++i) {
    spawn([&] {
      auto [ctx, cancel] = heed::with_cancel(background());
      heed::after_func(ctx, [&] { runs.fetch_add(1, std::memory_order_relaxed); });
      cancel();
    });
  }
  join();
  settle();
  check(runs.load(std::memory_order_relaxed) == 2, "both ran");
}

// X2: a function that blocks holds back none that comes later.
void function_that_waits_for_another() {
  fresh_process();
  auto first = heed::with_cancel(background());
  auto second_one = heed::with_cancel(background());
  heed::after_func(first.ctx, [&] { second_one.ctx.wait(); });
  heed::after_func(first.ctx, [&, c = second_one.cancel.share()] { c(); });
  spawn([&, c = first.cancel.share()] { c(); });
  join();
  settle();
  check(second_one.ctx.done(), "both ran");
}

// Its thread goes away after a while, but for the last; then it comes again.
void thread_rests() {
  fresh_process();
  for (int i = 0; i < 2; ++i) {
    auto [ctx, cancel] = heed::with_cancel(background());
    int runs = 0;
    heed::after_func(ctx, [&] { ++runs; });
    spawn([&, c = cancel.share()] { c(); });
    spawn([&] { advance(second); });
    join();
    settle();
    check(runs == 1, "it ran");
  }
}

}  // namespace

std::vector<kernel> thread_kernels() {
  return {
      {"timekeeper.waited_for", armed_and_waited_for},
      {"timekeeper.waited_for_by_three", waited_for_by_three},
      {"timekeeper.earlier_rings", earlier_one_rings},
      {"timekeeper.earlier_rings_at_any_time", earlier_one_rings_at_any_time},
      {"timekeeper.two_arm", armed_by_two},
      {"timekeeper.at_its_time", fires_at_its_time},
      {"timekeeper.canceled", canceled_while_it_fires},
      {"timekeeper.canceled_with_cause", canceled_with_cause_while_it_fires},
      {"timekeeper.dropped", dropped_while_it_fires},
      {"timekeeper.more_than_a_batch", more_than_a_batch},
      {"timekeeper.callback", fires_with_callback},
      {"timekeeper.parent_ends", parent_ends_while_it_fires},
      {"timekeeper.born_late", born_late},
      {"timekeeper.taken_while_left", taken_while_left},
      {"timekeeper.made_below", [] { made_while_parent_ends(false); }},
      {"timekeeper.made_below_value", [] { made_while_parent_ends(true); }},
      {"executor.no_thread", no_thread},
      {"executor.function", function_runs},
      {"executor.function_stopped_twice", [] { function_stopped_twice(false); }},
      {"executor.function_stopped_or_run", [] { function_stopped_twice(true); }},
      {"executor.in_turn", functions_in_turn},
      {"executor.one_waits", function_that_waits_for_another},
      {"executor.rests", thread_rests},
  };
}

}  // namespace model
