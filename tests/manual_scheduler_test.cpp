// Time driven by hand: what fires, in which order, and what now() is meanwhile.
#include "support.hpp"

#include <heed/wait.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;
using heed::time_point;

class ManualScheduler : public testing::Test {
 protected:
  heed::manual_scheduler time;
  heed::context root = heed::background(time);
};

TEST_F(ManualScheduler, ClockMovesOnlyWhenTold) {
  const time_point start = time.now();
  EXPECT_EQ(time.now(), start);
  time.advance(5s);
  EXPECT_EQ(time.now(), start + 5s);
  time.advance(-10s);
  EXPECT_EQ(time.now(), start + 5s) << "negative: not at all";
  time.advance(0s);
  EXPECT_EQ(time.now(), start + 5s);
  time.advance_to(start + 7s);
  EXPECT_EQ(time.now(), start + 7s);
  time.advance_to(start);
  EXPECT_EQ(time.now(), start + 7s) << "never back";
  EXPECT_EQ(root.now(), time.now());
  time.advance(heed::duration::max());
  EXPECT_EQ(time.now(), time_point::max()) << "saturates";
  time.advance(1h);
  EXPECT_EQ(time.now(), time_point::max());
}

TEST_F(ManualScheduler, StartsWhereItIsTold) {
  EXPECT_EQ(heed::manual_scheduler(time_point(42s)).now(), time_point(42s));
  EXPECT_EQ(heed::manual_scheduler(time_point::min()).now(), time_point::min());
  EXPECT_EQ(heed::manual_scheduler().now(), time_point(1h));
}

// What is never due is not due when the clock can go no further, nor where it began below its epoch.
TEST(ManualSchedulerTime, NeverIsNever) {
  for (const time_point start : {time_point(1h), time_point(-24h), time_point::min()}) {
    heed::manual_scheduler time(start);
    const heed::context root = heed::background(time);
    const auto check = [](const heed::context& ctx) {
      EXPECT_EQ(ctx.deadline(), time_point::max());
      EXPECT_TRUE(is_live(ctx));
    };
    const auto before = heed::with_timeout(root, heed::duration::max());
    const auto endless = heed::with_timeout(root, std::chrono::duration<double>(HUGE_VAL));
    time.advance(heed::duration::max());
    const auto after = heed::with_timeout(root, heed::duration::max());
    const auto at_last = heed::with_deadline(root, time_point::max());
    const auto because = heed::with_deadline(root, time_point::max(), "never");
    for (const auto* made : {&before, &endless, &after, &at_last, &because}) check(made->ctx);
    EXPECT_TRUE(heed::with_deadline(root, time_point::max() - 1ns).ctx.done()) << "it may be late";
    EXPECT_FALSE(heed::sleep_for(after.ctx, 0s));
    EXPECT_TRUE(heed::with_timeout(root, 0s).ctx.done());
  }
}

TEST_F(ManualScheduler, FiresAtTheDeadlineNotBefore) {
  auto [ctx, cancel] = heed::with_timeout(root, 5s);
  time.advance(5s - 1ns);
  EXPECT_TRUE(is_live(ctx));
  time.advance(1ns);
  EXPECT_TRUE(is_done(ctx, errc::deadline_exceeded));
}

TEST_F(ManualScheduler, ACanceledDeadlineDoesNotFire) {
  auto [ctx, cancel] = heed::with_timeout(root, 5s);
  cancel();
  time.advance(1h);
  EXPECT_TRUE(is_done(ctx, errc::canceled));
}

TEST_F(ManualScheduler, NowIsEachDeadlineInTurn) {
  const time_point start = time.now();
  std::vector<heed::duration> seen;
  std::deque<heed::cancelable> timed;
  std::deque<heed::cancel_callback<std::function<void()>>> callbacks;
  for (const auto d : {3s, 1s, 2s}) {
    timed.push_back(heed::with_timeout(root, d));
    callbacks.emplace_back(timed.back().ctx, [&] { seen.push_back(time.now() - start); });
  }
  time.advance(10s);
  EXPECT_EQ(seen, (std::vector<heed::duration>{1s, 2s, 3s}));
  EXPECT_EQ(time.now(), start + 10s);
}

TEST_F(ManualScheduler, EqualDeadlinesFireInTheOrderOfTheirMaking) {
  std::vector<int> fired;
  std::deque<heed::cancelable> timed;
  std::deque<heed::cancel_callback<std::function<void()>>> callbacks;
  for (int i = 0; i < 50; ++i) {
    timed.push_back(heed::with_timeout(root, 1s));
    callbacks.emplace_back(timed.back().ctx, [&fired, i] { fired.push_back(i); });
  }
  time.advance(1s);
  EXPECT_EQ(fired.size(), 50U);
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

// What a callback adds fires in the same advance if it is due by its end, and not otherwise.
TEST_F(ManualScheduler, CallbacksAddDeadlines) {
  const time_point start = time.now();
  std::vector<heed::duration> seen;
  std::deque<heed::cancelable> timed;
  std::deque<heed::cancel_callback<std::function<void()>>> callbacks;
  std::function<void()> again = [&] {
    seen.push_back(time.now() - start);
    timed.push_back(heed::with_timeout(root, 1s));
    callbacks.emplace_back(timed.back().ctx, again);
  };
  timed.push_back(heed::with_timeout(root, 1s));
  callbacks.emplace_back(timed.back().ctx, again);
  time.advance(3500ms);
  EXPECT_EQ(seen, (std::vector<heed::duration>{1s, 2s, 3s}));
  EXPECT_EQ(time.now(), start + 3500ms);
  EXPECT_TRUE(is_live(timed.back().ctx));
  time.advance(500ms);
  EXPECT_EQ(seen.back(), 4s);
}

TEST_F(ManualScheduler, CallbacksCancelOtherDeadlines) {
  auto first = heed::with_timeout(root, 1s);
  auto same = heed::with_timeout(root, 1s);
  auto later = heed::with_timeout(root, 2s);
  const heed::cancel_callback callback(first.ctx, [&] {
    EXPECT_TRUE(same.cancel());
    EXPECT_TRUE(later.cancel());
    later.ctx = {};
    later.cancel = {};
  });
  time.advance(5s);
  EXPECT_TRUE(is_done(first.ctx, errc::deadline_exceeded));
  EXPECT_TRUE(is_done(same.ctx, errc::canceled)) << "it was due, but canceled before its turn";
}

TEST_F(ManualScheduler, CallbacksMayAdvance) {
  const time_point start = time.now();
  auto first = heed::with_timeout(root, 1s);
  auto second = heed::with_timeout(root, 2s);
  const heed::cancel_callback callback(first.ctx, [&] {
    time.advance(5s);
    EXPECT_TRUE(second.ctx.done());
  });
  time.advance(1s);
  EXPECT_TRUE(is_done(second.ctx, errc::deadline_exceeded));
  EXPECT_EQ(time.now(), start + 6s);
}

TEST_F(ManualScheduler, RunPendingRunsInTheOrderOfPosting) {
  auto a = heed::with_cancel(root);
  auto b = heed::with_cancel(root);
  std::string ran;
  heed::after_func(a.ctx, [&ran] { ran += 'a'; });
  heed::after_func(b.ctx, [&ran] { ran += 'b'; });
  b.cancel();
  a.cancel();
  EXPECT_EQ(ran, "");
  EXPECT_EQ(time.run_pending(), 2U);
  EXPECT_EQ(ran, "ba");
  EXPECT_EQ(time.run_pending(), 0U);
}

TEST_F(ManualScheduler, RunPendingRunsWhatItsWorkPosts) {
  auto a = heed::with_cancel(root);
  int ran = 0;
  std::function<void()> again = [&] {
    if (++ran < 10) heed::after_func(a.ctx, again);
  };
  heed::after_func(a.ctx, again);
  a.cancel();
  EXPECT_EQ(time.run_pending(), 10U);
  EXPECT_EQ(ran, 10);
}

TEST_F(ManualScheduler, AdvanceDoesNotRunPostedWork) {
  auto timed = heed::with_timeout(root, 1s);
  bool ran = false;
  heed::after_func(timed.ctx, [&ran] { ran = true; });
  time.advance(1h);
  EXPECT_FALSE(ran);
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_TRUE(ran);
}

// Random deadlines, cancels and steps beside the obvious model: a multimap, which keeps equal keys in order.
TEST_F(ManualScheduler, FiringOrderIsThatOfAMultimap) {
  const std::uint64_t s = seed();
  for (std::uint64_t round = 0; round < 20; ++round) {
    std::mt19937_64 random(s + round);
    const auto below = [&random](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    struct entry {
      heed::cancelable c;
      std::optional<heed::cancel_callback<std::function<void()>>> callback;
    };
    std::vector<std::unique_ptr<entry>> entries;
    std::multimap<time_point, std::size_t> model;
    std::vector<std::pair<time_point, std::size_t>> fired;
    const auto add = [&] {
      const std::size_t id = entries.size();
      // Few distinct times, so that many are equal; some far away, some in the past.
      const int ns = below(3) == 0 ? below(1'000'000'000) : below(50) - 2;
      const time_point when = time.now() + std::chrono::nanoseconds(ns);
      const bool past = when <= time.now();
      entries.push_back(std::make_unique<entry>());
      entries.back()->c = heed::with_deadline(root, when);
      if (past) {
        ASSERT_TRUE(entries.back()->c.ctx.done());
        return;
      }
      model.emplace(when, id);
      entries.back()->callback.emplace(entries.back()->c.ctx, [&, id] {
        if (entries[id]->c.ctx.err() == errc::deadline_exceeded) fired.emplace_back(time.now(), id);
      });
    };
    for (int step = 0; step < 300; ++step) {
      switch (below(4)) {
        case 0:
        case 1: add(); break;
        case 2: {
          if (model.empty()) break;
          const auto victim = std::next(model.begin(), below(int(model.size())));
          ASSERT_TRUE(entries[victim->second]->c.cancel());
          model.erase(victim);
          break;
        }
        default: {
          const time_point to = time.now() + std::chrono::nanoseconds(below(40));
          std::vector<std::pair<time_point, std::size_t>> expected(model.begin(), model.upper_bound(to));
          model.erase(model.begin(), model.upper_bound(to));
          fired.clear();
          time.advance_to(to);
          ASSERT_EQ(fired, expected) << "seed " << s << ", round " << round << ", step " << step;
        }
      }
    }
    fired.clear();
    time.advance(2s);
    const std::vector<std::pair<time_point, std::size_t>> expected(model.begin(), model.end());
    ASSERT_EQ(fired, expected) << "seed " << s << ", round " << round;
  }
}

// Many at one instant, under manual time.
TEST_F(ManualScheduler, AMillionAtOneInstant) {
  const int n = scaled(1'000'000);
  std::vector<heed::cancelable> timed;
  timed.reserve(std::size_t(n));
  const time_point when = time.now() + 1s;
  for (int i = 0; i < n; ++i) timed.push_back(heed::with_deadline(root, when));
  time.advance(1s - 1ns);
  EXPECT_TRUE(std::none_of(timed.begin(), timed.end(), [](const auto& c) { return c.ctx.done(); }));
  time.advance(1ns);
  EXPECT_TRUE(std::all_of(timed.begin(), timed.end(),
                          [](const auto& c) { return c.ctx.err() == errc::deadline_exceeded; }));
}

TEST_F(ManualScheduler, AMillionCanceled) {
  const int n = scaled(1'000'000);
  std::mt19937_64 random(seed());
  std::vector<heed::cancelable> timed;
  timed.reserve(std::size_t(n));
  for (int i = 0; i < n; ++i) {
    timed.push_back(heed::with_timeout(root, std::chrono::nanoseconds(random() % 1'000'000'000 + 1)));
  }
  std::shuffle(timed.begin(), timed.end(), random);
  for (const auto& c : timed) c.cancel();
  time.advance(2s);
  EXPECT_TRUE(
      std::all_of(timed.begin(), timed.end(), [](const auto& c) { return c.ctx.err() == errc::canceled; }));
}

// Two threads in advance() take turns: each deadline fires once, and the clock never goes back.
TEST_F(ManualScheduler, TwoThreadsAdvance) {
  std::deque<heed::cancelable> timed;
  std::atomic<int> fired = 0;
  std::deque<heed::cancel_callback<std::function<void()>>> callbacks;
  for (int i = 1; i <= 500; ++i) {
    timed.push_back(heed::with_timeout(root, std::chrono::milliseconds(i)));
    callbacks.emplace_back(timed.back().ctx, [&fired] { ++fired; });
  }
  const time_point start = time.now();
  const auto advance = [this] {
    for (int i = 0; i < 300; ++i) {
      const time_point before = time.now();
      time.advance(1ms);
      EXPECT_GE(time.now(), before);
    }
  };
  {
    const thread other(advance);
    advance();
  }
  time.advance_to(start + 500ms);
  EXPECT_EQ(fired, 500);
}

TEST_F(ManualScheduler, AdvancedByOneThreadWhileAnotherDerives) {
  std::atomic<bool> stop = false;
  {
    const thread clock_hand([&] {
      while (!stop) time.advance(1us);
    });
    for (int i = 0; i < 2000; ++i) {
      auto [ctx, cancel] = heed::with_timeout(root, std::chrono::nanoseconds(i));
      const time_point due = *ctx.deadline();
      if (i % 2 == 0) {
        ctx.wait();
        EXPECT_EQ(ctx.err(), errc::deadline_exceeded);
        EXPECT_GE(time.now(), due);
      }
    }
    stop = true;
  }
}

// A scheduler that goes before its contexts is a mistake, and says so.
// One that keeps a record of what it is asked for.
TEST(ManualSchedulerDerived, KeepsARecord) {
  struct recorder : heed::manual_scheduler {
    void arm(heed::timer& t, heed::time_point when) override {
      armed.push_back(when);
      manual_scheduler::arm(t, when);
    }
    void post(heed::work& w) noexcept override {
      ++posted;
      manual_scheduler::post(w);
    }
    std::vector<heed::time_point> armed;
    int posted = 0;
  };
  recorder time;
  const auto [ctx, cancel] = heed::with_timeout(heed::background(time), 5s);
  bool ran = false;
  heed::after_func(ctx, [&] { ran = true; });
  EXPECT_EQ(time.armed, std::vector{*ctx.deadline()});
  time.advance(5s);
  EXPECT_TRUE(ctx.done());
  EXPECT_EQ(time.posted, 1);
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_TRUE(ran);
}

TEST(ManualSchedulerDeathTest, DestroyedTooEarly) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto time = std::make_unique<heed::manual_scheduler>();
        const heed::context root = heed::background(*time);
        time.reset();
        std::_Exit(0);
      },
      "heed");
  EXPECT_DEATH(
      {
        auto time = std::make_unique<heed::manual_scheduler>();
        auto timed = heed::with_timeout(heed::background(*time), 1h);
        time.reset();
        std::_Exit(0);
      },
      "heed");
  EXPECT_DEATH(
      {
        auto time = std::make_unique<heed::manual_scheduler>();
        auto elsewhere = heed::with_cancel(heed::background());
        heed::after_func(elsewhere.ctx, [] {}, *time);
        time.reset();
        std::_Exit(0);
      },
      "heed");
}

}  // namespace
