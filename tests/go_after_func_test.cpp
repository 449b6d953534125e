// after_func: Go's AfterFunc tests by their names, then stop() and how the functions are run. How long a
// function is kept is in after_func_lifetime_test.cpp.
#include "support.hpp"

#include <array>
#include <functional>
#include <latch>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

// Measured before any test has run: the main thread, and a sanitizer's, which comes with the first other one.
const std::ptrdiff_t threads_at_start = [] {
  std::thread([] {}).join();
  return thread_count();
}();

TEST(GoContext, AfterFuncCalledAfterCancel) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::latch called(1);
  const heed::stop_func stop = heed::after_func(ctx, [&called] { called.count_down(); });
  EXPECT_FALSE(called.try_wait()) << "called before the context is done";
  cancel();
  called.wait();
  EXPECT_FALSE(stop());
}

TEST(GoContext, AfterFuncCalledAfterTimeout) {
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  std::latch called(1);
  std::error_code seen;
  heed::after_func(ctx, [&, c = ctx] {
    seen = c.err();
    called.count_down();
  });
  called.wait();
  EXPECT_EQ(seen, errc::deadline_exceeded);
}

TEST(GoContext, AfterFuncCalledImmediately) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  cancel();
  std::latch called(1);
  const heed::stop_func stop = heed::after_func(ctx, [&called] { called.count_down(); });
  called.wait();
  EXPECT_FALSE(stop());
}

TEST(GoContext, AfterFuncNotCalledAfterStop) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  bool called = false;
  const heed::stop_func stop = heed::after_func(ctx, [&called] { called = true; });
  EXPECT_TRUE(stop());
  cancel();
  EXPECT_EQ(time.run_pending(), 0U);
  EXPECT_FALSE(called);
  EXPECT_FALSE(stop()) << "true at most once";
}

TEST(GoContext, AfterFuncCalledAsynchronously) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::latch cancel_returned(1);
  std::latch called(1);
  heed::after_func(ctx, [&] {
    cancel_returned.wait();
    called.count_down();
  });
  cancel();  // would never return if it waited for the function
  cancel_returned.count_down();
  called.wait();
}

TEST(AfterFunc, NeverInsideCancelNorInsideTheCall) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  int ran = 0;
  heed::after_func(ctx, [&ran] { ++ran; });
  cancel();
  EXPECT_EQ(ran, 0) << "posted, not run";
  heed::after_func(ctx, [&ran] { ++ran; });
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(time.run_pending(), 2U);
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(time.run_pending(), 0U);
}

TEST(AfterFunc, SeesTheWholeSubtreeDone) {
  heed::manual_scheduler time;
  auto parent = heed::with_cancel(heed::background(time));
  auto child = heed::with_cancel(parent.ctx);
  int ran = 0;
  const auto check = [&, p = parent.ctx, c = child.ctx] {
    EXPECT_TRUE(p.done());
    EXPECT_TRUE(c.done());
    EXPECT_EQ(c.cause().message(), "over");
    ++ran;
  };
  heed::after_func(parent.ctx, check);
  heed::after_func(child.ctx, check);
  parent.cancel("over");
  EXPECT_EQ(time.run_pending(), 2U);
  EXPECT_EQ(ran, 2);
}

TEST(AfterFunc, FunctionMayUseItsContextAndRegisterAnother) {
  heed::manual_scheduler time;
  auto c = heed::with_cancel(heed::background(time));
  int ran = 0;
  heed::after_func(c.ctx, [&] {
    EXPECT_FALSE(c.cancel());
    EXPECT_TRUE(heed::with_cancel(c.ctx).ctx.done());
    heed::after_func(c.ctx, [&ran] { ++ran; });
    c.ctx.wait();
    ++ran;
  });
  c.cancel();
  EXPECT_EQ(time.run_pending(), 2U);
  EXPECT_EQ(ran, 2);
}

TEST(AfterFunc, SeveralAreIndependent) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  std::array<int, 5> ran{};
  std::vector<heed::stop_func> stops;
  for (int& r : ran) stops.push_back(heed::after_func(ctx, [&r] { ++r; }));
  EXPECT_TRUE(stops[1]());
  EXPECT_TRUE(stops[4]());
  cancel();
  EXPECT_EQ(time.run_pending(), 3U);
  EXPECT_EQ(ran, (std::array{1, 0, 1, 1, 0}));
}

// Fits what is move-only, and what is a plain function.
int plain_calls = 0;
void plain_function() {
  ++plain_calls;
}

TEST(AfterFunc, KindsOfFunctions) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  plain_calls = 0;
  int ran = 0;
  heed::after_func(ctx, [&ran, owned = std::make_unique<int>(7)] { ran += *owned; });
  heed::after_func(ctx, plain_function);
  heed::after_func(ctx, [&ran, counter = 0]() mutable { ran += ++counter; });
  const std::function<void()> function = [&ran] { ran += 100; };
  heed::after_func(ctx, function);
  heed::after_func(ctx, [] { return 5; });  // its result is nobody's
  cancel();
  EXPECT_EQ(time.run_pending(), 5U);
  EXPECT_EQ(ran, 108);
  EXPECT_EQ(plain_calls, 1);
}

TEST(AfterFunc, OnAnotherScheduler) {
  heed::manual_scheduler own;
  heed::manual_scheduler other;
  auto [ctx, cancel] = heed::with_cancel(heed::background(own));
  int ran = 0;
  heed::after_func(ctx, [&ran] { ++ran; }, other);
  cancel();
  EXPECT_EQ(own.run_pending(), 0U);
  EXPECT_EQ(other.run_pending(), 1U);
  heed::after_func(ctx, [&ran] { ++ran; }, other);
  EXPECT_EQ(own.run_pending(), 0U);
  EXPECT_EQ(other.run_pending(), 1U);
  EXPECT_EQ(ran, 2);
}

TEST(AfterFunc, DestroyedAfterItsRun) {
  std::atomic<int> alive = 0;
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  const heed::stop_func stop = heed::after_func(ctx, [t = tracked(alive)] {});
  EXPECT_EQ(alive, 1);
  cancel();
  EXPECT_EQ(alive, 1);
  time.run_pending();
  EXPECT_EQ(alive, 0) << "though there is still a stop_func";
  EXPECT_FALSE(stop());
}

TEST(AfterFuncStop, DestroysTheFunctionBeforeItReturns) {
  std::atomic<int> alive = 0;
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  const heed::stop_func stop = heed::after_func(ctx, [t = tracked(alive)] {});
  EXPECT_EQ(alive, 1);
  EXPECT_TRUE(stop());
  EXPECT_EQ(alive, 0);
}

TEST(AfterFuncStop, ItsOwnEndDoesNothing) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  int ran = 0;
  {
    const heed::stop_func stop = heed::after_func(ctx, [&ran] { ++ran; });
  }
  cancel();
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(ran, 1);
}

TEST(AfterFuncStop, DefaultAndMovedFromStopNothing) {
  EXPECT_FALSE(heed::stop_func()());
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  heed::stop_func stop = heed::after_func(ctx, [] {});
  heed::stop_func moved = std::move(stop);
  EXPECT_FALSE(stop());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(moved());
  EXPECT_FALSE(moved());
}

TEST(AfterFuncStop, CopiesStopTheSameFunction) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  int ran = 0;
  const heed::stop_func stop = heed::after_func(ctx, [&ran] { ++ran; });
  heed::stop_func copy = stop;
  const std::function<bool()> held = copy;
  copy = heed::after_func(ctx, [&ran] { ran += 10; });
  EXPECT_TRUE(held());
  EXPECT_FALSE(stop());
  cancel();
  time.run_pending();
  EXPECT_EQ(ran, 10);
  EXPECT_FALSE(copy());
}

TEST(AfterFuncStop, FalseOnceFiredThoughItHasNotRunYet) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  int ran = 0;
  const heed::stop_func stop = heed::after_func(ctx, [&ran] { ++ran; });
  cancel();
  const bool stopped = stop();
  time.run_pending();
  EXPECT_EQ(ran, stopped ? 0 : 1) << "true means that it will not run, and only that";
  EXPECT_FALSE(stop());
}

TEST(AfterFuncStop, InsideTheFunctionItself) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  heed::stop_func stop;
  int ran = 0;
  stop = heed::after_func(ctx, [&] {
    ++ran;
    EXPECT_FALSE(stop());
    stop = {};  // the last handle goes while it runs
  });
  cancel();
  time.run_pending();
  EXPECT_EQ(ran, 1);
}

TEST(AfterFuncStop, AfterTheContextIsGone) {
  heed::stop_func stop;
  {
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    stop = heed::after_func(ctx, [] {});
    cancel.release();
  }
  EXPECT_TRUE(stop()) << "it will not run: destroyed unrun, before anybody stopped it";
  EXPECT_FALSE(stop());
}

// Two stops and a cancel at once: one of the three decides.
TEST(AfterFuncStop, FromTwoThreads) {
  for (int i = 0; i < 300; ++i) {
    std::atomic<int> ran = 0;
    std::atomic<int> stopped = 0;
    heed::manual_scheduler time;
    auto c = heed::with_cancel(heed::background(time));
    const heed::stop_func stop = heed::after_func(c.ctx, [&ran] { ++ran; });
    {
      std::latch start(3);
      const auto stopper = [&, copy = stop] {
        start.arrive_and_wait();
        if (copy()) ++stopped;
      };
      const thread t1(stopper);
      const thread t2(stopper);
      start.arrive_and_wait();
      if (i % 2 == 0) c.cancel();
    }
    c.cancel();
    time.run_pending();
    ASSERT_EQ(stopped + ran, 1) << "in round " << i;
  }
}

// Each of the functions blocks until all of them run.
TEST(AfterFuncThreads, ABlockingFunctionHoldsNoneBack) {
  constexpr int n = 16;
  std::latch all_run(n);
  std::latch finished(n);
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  for (int i = 0; i < n; ++i) {
    heed::after_func(ctx, [&] {
      all_run.arrive_and_wait();
      finished.count_down();
    });
  }
  cancel();
  finished.wait();
}

TEST(AfterFuncThreads, BlockedFunctionsDoNotHoldBackOtherContextsOrDeadlines) {
  std::latch release(1);
  std::latch blocked(2);
  std::latch finished(2);
  auto first = heed::with_cancel(heed::background());
  for (int i = 0; i < 2; ++i) {
    heed::after_func(first.ctx, [&] {
      blocked.count_down();
      release.wait();
      finished.count_down();
    });
  }
  first.cancel();
  blocked.wait();
  auto second = heed::with_timeout(heed::background(), 1ms);
  std::latch ran(1);
  heed::after_func(second.ctx, [&ran] { ran.count_down(); });
  ran.wait();
  release.count_down();
  finished.wait();
}

TEST(AfterFuncThreads, ThreadsThatIdleGoAway) {
  constexpr int n = 8;
  std::latch all_run(n);
  std::latch finished(n);
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  for (int i = 0; i < n; ++i) {
    heed::after_func(ctx, [&] {
      all_run.arrive_and_wait();
      finished.count_down();
    });
  }
  cancel();
  finished.wait();
  // The timer thread may stay, and one for functions does.
  EXPECT_TRUE(eventually([] { return thread_count() <= threads_at_start + 2; }))
      << thread_count() << " threads";
}

TEST(AfterFuncThreads, UnderAManualSchedulerNoThreadStarts) {
  const auto before = thread_count();
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_timeout(heed::background(time), 1s);
  heed::after_func(ctx, [] {});
  time.advance(1s);
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_LE(thread_count(), before);
}

TEST(AfterFuncDeathTest, AnExceptionTerminates) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        heed::manual_scheduler time;
        auto c = heed::with_cancel(heed::background(time));
        heed::after_func(c.ctx, [] { throw std::runtime_error("thrown by a function"); });
        c.cancel();
        try {
          time.run_pending();
        } catch (...) {
          std::_Exit(0);
        }
        std::_Exit(0);
      },
      "");
  EXPECT_DEATH(
      {
        auto c = heed::with_cancel(heed::background());
        heed::after_func(c.ctx, [] { throw std::runtime_error("thrown on a thread"); });
        c.cancel();
        std::this_thread::sleep_for(eventually_bound);
        std::_Exit(0);
      },
      "");
}

}  // namespace
