// Deadlines on the default scheduler: never early, each by itself, and nothing holds another one up.
#include "support.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace heed_test;
using heed::clock;
using heed::errc;
using heed::time_point;

// Tells whether it was run before its time.
struct early_check {
  time_point when;
  std::atomic<int>* early;
  std::atomic<int>* fired;
  void operator()() const {
    if (clock::now() < when) ++*early;
    ++*fired;
  }
};

struct checked {
  checked(const heed::context& parent, time_point when, std::atomic<int>& early, std::atomic<int>& fired)
      : c(heed::with_deadline(parent, when)), callback(c.ctx, early_check{when, &early, &fired}) {}
  heed::cancelable c;
  heed::cancel_callback<early_check> callback;
};

TEST(Deadline, ManyAtOnceAndNoneEarly) {
  const int n = scaled(200'000);
  std::mt19937_64 random(seed());
  std::atomic<int> early = 0;
  std::atomic<int> fired = 0;
  const time_point start = clock::now();
  std::deque<checked> all;
  for (int i = 0; i < n; ++i) {
    const auto d = std::chrono::nanoseconds(random() % 500'000'000);
    all.emplace_back(heed::background(), start + d, early, fired);
  }
  // By err() too, while they fire: whoever sees the verdict must not find the clock before the deadline.
  for (int pass = 0; pass < 20; ++pass) {
    for (const checked& c : all) {
      if (c.c.ctx.done() && clock::now() < *c.c.ctx.deadline()) ++early;
    }
  }
  for (const checked& c : all) ASSERT_TRUE(c.c.ctx.wait_for(eventually_bound));
  EXPECT_TRUE(eventually([&] { return fired == n; })) << fired;
  EXPECT_EQ(early, 0);
  for (const checked& c : all) ASSERT_EQ(c.c.ctx.err(), errc::deadline_exceeded);
}

TEST(Deadline, ManyAtOneInstant) {
  const int n = scaled(200'000);
  std::atomic<int> early = 0;
  std::atomic<int> fired = 0;
  const time_point when = clock::now() + 300ms;
  std::deque<checked> all;
  for (int i = 0; i < n; ++i) all.emplace_back(heed::background(), when, early, fired);
  for (const checked& c : all) ASSERT_TRUE(c.c.ctx.wait_for(eventually_bound));
  EXPECT_TRUE(eventually([&] { return fired == n; })) << fired;
  EXPECT_EQ(early, 0);
}

// Around the boundaries that a timer structure may have inside: ticks, and powers of its fan-out.
TEST(Deadline, NoneEarlyAroundInternalBoundaries) {
  std::atomic<int> early = 0;
  std::atomic<int> fired = 0;
  std::deque<checked> all;
  const auto tick = 1ms;
  const time_point now = clock::now();
  const time_point aligned(std::chrono::ceil<std::chrono::milliseconds>(now.time_since_epoch()));
  for (const int ticks : {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257}) {
    for (const auto off : {-1us, -1us / 2, 0us, 1us}) {
      all.emplace_back(heed::background(), aligned + ticks * tick + off, early, fired);
    }
    for (const auto off : {-1ns, 1ns}) {
      all.emplace_back(heed::background(), aligned + ticks * tick + off, early, fired);
    }
  }
  for (const checked& c : all) ASSERT_TRUE(c.c.ctx.wait_for(eventually_bound));
  EXPECT_TRUE(eventually([&] { return fired == int(all.size()); }));
  EXPECT_EQ(early, 0);
}

TEST(Deadline, ShorterThanTheClocksStep) {
  for (int i = 0; i < 1000; ++i) {
    const time_point before = clock::now();
    auto [ctx, cancel] = heed::with_timeout(heed::background(), std::chrono::nanoseconds(i));
    ctx.wait();
    ASSERT_GE(clock::now(), before + std::chrono::nanoseconds(i));
    ASSERT_EQ(ctx.err(), errc::deadline_exceeded);
  }
}

// A later timer never hides an earlier one, whichever is made first.
TEST(Deadline, ALaterOneNeverHidesAnEarlierOne) {
  std::vector<heed::cancelable> far;
  for (const auto d :
       {heed::duration(1h), heed::duration(24h), heed::duration(24h * 365), heed::duration(1s)}) {
    far.push_back(heed::with_timeout(heed::background(), d));
    auto near = heed::with_timeout(heed::background(), 2ms);
    auto nearer = heed::with_timeout(heed::background(), 1ms);
    EXPECT_TRUE(near.ctx.wait_for(eventually_bound));
    EXPECT_TRUE(nearer.ctx.wait_for(eventually_bound));
  }
  // The nearest one goes, the next one is still served.
  auto next = heed::with_timeout(heed::background(), 3ms);
  auto gone = heed::with_timeout(heed::background(), 1ms);
  gone.cancel();
  EXPECT_TRUE(next.ctx.wait_for(eventually_bound));
}

TEST(Deadline, DescendantsEndWithIt) {
  auto top = heed::with_timeout(heed::background(), 2ms, heed::error("slow"));
  auto middle = heed::with_cancel(top.ctx);
  auto below = heed::with_cancel(middle.ctx);
  auto timed = heed::with_timeout(top.ctx, very_long);
  auto cut = heed::with_cancel(heed::without_cancel(top.ctx));
  for (const heed::context& ctx : {below.ctx, timed.ctx}) {
    EXPECT_TRUE(ctx.wait_for(eventually_bound));
    EXPECT_EQ(ctx.err(), errc::deadline_exceeded);
    EXPECT_TRUE(top.ctx.done()) << "parents turn before children";
  }
  EXPECT_EQ(timed.ctx.cause().message(), "slow");
  EXPECT_TRUE(is_live(cut.ctx));
}

// A callback that blocks the thread it runs on: other deadlines, and their callbacks, come all the same.
TEST(Deadline, ASlowCallbackHoldsUpNoOtherDeadline) {
  std::latch entered(1);
  std::latch release(1);
  std::latch left(1);
  auto slow = heed::with_timeout(heed::background(), 1ms);
  const heed::cancel_callback blocks(slow.ctx, [&] {
    entered.count_down();
    release.wait();
    left.count_down();
  });
  entered.wait();
  for (int i = 0; i < 5; ++i) {
    std::latch ran(1);
    auto other = heed::with_timeout(heed::background(), 1ms);
    const heed::cancel_callback callback(other.ctx, [&ran] { ran.count_down(); });
    EXPECT_TRUE(other.ctx.wait_for(eventually_bound));
    ran.wait();
  }
  EXPECT_FALSE(left.try_wait());
  release.count_down();
  left.wait();
}

TEST(Deadline, TwoSlowCallbacksOfOneInstant) {
  std::latch both(2);
  const time_point when = clock::now() + 2ms;
  auto a = heed::with_deadline(heed::background(), when);
  auto b = heed::with_deadline(heed::background(), when);
  const heed::cancel_callback on_a(a.ctx, [&both] { both.arrive_and_wait(); });
  const heed::cancel_callback on_b(b.ctx, [&both] { both.arrive_and_wait(); });
  both.wait();
}

// Deadlines made, canceled and dropped by callbacks of deadlines.
TEST(Deadline, MadeAndCanceledFromCallbacks) {
  constexpr int n = 200;
  std::latch finished(n);
  std::atomic<int> made = 0;
  struct chain {
    heed::cancelable c;
    heed::cancel_callback<std::function<void()>> callback;
    chain(heed::cancelable x, std::function<void()> f) : c(std::move(x)), callback(c.ctx, std::move(f)) {}
  };
  std::array<std::unique_ptr<chain>, n + 1> links;
  std::function<void()> next = [&] {
    auto victim = heed::with_timeout(heed::background(), 1ms);
    EXPECT_TRUE(victim.cancel() || victim.ctx.err() == errc::deadline_exceeded);
    const auto i = std::size_t(++made);
    if (i < n) links[i] = std::make_unique<chain>(heed::with_timeout(heed::background(), 10us), next);
    finished.count_down();
  };
  links[0] = std::make_unique<chain>(heed::with_timeout(heed::background(), 10us), next);
  finished.wait();
}

// The callback drops its own context, callback and all: the last owner of everything that fires.
TEST(Deadline, ACallbackDestroysItself) {
  constexpr int n = 20;
  struct self_owned {
    heed::cancelable c = heed::with_timeout(heed::background(), 1ms);
    std::latch stored{1};
    std::unique_ptr<heed::cancel_callback<std::function<void()>>> callback;
  };
  std::latch finished(n);
  for (int i = 0; i < n; ++i) {
    auto* owner = new self_owned;
    const auto here = std::this_thread::get_id();
    bool ran_here = false;
    bool* const at_once = &ran_here;
    owner->callback = std::make_unique<heed::cancel_callback<std::function<void()>>>(
        owner->c.ctx, [owner, here, at_once, tell = &finished] {
          if (std::this_thread::get_id() == here) {
            *at_once =
                true;  // done already: it runs inside its constructor, which is not the case wanted here
            return;
          }
          owner->stored.wait();
          std::latch* const copy = tell;  // the capture goes with the owner
          delete owner;
          copy->count_down();
        });
    if (ran_here) {
      delete owner;
      finished.count_down();
    } else {
      owner->stored.count_down();
    }
  }
  finished.wait();
}

// Against each other at every step: the deadline, a cancel, and the end of the last handle.
TEST(Deadline, FiringAgainstCancelAndDestruction) {
  std::mt19937_64 random(seed());
  std::atomic<int> alive = 0;
  static constexpr heed::key<tracked> key{"tracked"};
  for (int i = 0; i < 2000; ++i) {
    const auto d = std::chrono::nanoseconds(random() % 200'000);
    auto timed = heed::with_timeout(heed::with_value(heed::background(), key, tracked(alive)), d);
    auto below = heed::with_cancel(timed.ctx);
    const time_point until = clock::now() + std::chrono::nanoseconds(random() % 200'000);
    while (clock::now() < until) {}
    if (i % 3 == 0) {
      const bool decided = timed.cancel();
      ASSERT_EQ(timed.ctx.err(), decided ? errc::canceled : errc::deadline_exceeded);
      // The call that decided leaves all below done; one that came second need not wait for that.
      ASSERT_TRUE(decided ? below.ctx.done() : below.ctx.wait_for(eventually_bound));
      ASSERT_EQ(below.ctx.err(), timed.ctx.err());
    } else if (i % 3 == 1) {
      timed.cancel.release();
    }
  }
  EXPECT_TRUE(eventually([&] { return alive == 0; })) << alive;
}

TEST(Deadline, ManyCanceled) {
  const int n = scaled(1'000'000);
  std::vector<heed::cancelable> all;
  all.reserve(std::size_t(n));
  for (int i = 0; i < n; ++i) {
    all.push_back(heed::with_timeout(heed::background(), very_long + std::chrono::microseconds(i)));
  }
  for (int i = 0; i < n; i += 2) EXPECT_TRUE(all[std::size_t(i)].cancel());
  auto near = heed::with_timeout(heed::background(), 1ms);
  EXPECT_TRUE(near.ctx.wait_for(eventually_bound));
  for (int i = 0; i < n; ++i) ASSERT_EQ(all[std::size_t(i)].ctx.done(), i % 2 == 0);
}

TEST(Deadline, FromManyThreads) {
  std::atomic<int> early = 0;
  std::atomic<int> fired = 0;
  constexpr int per_thread = 2000;
  std::array<std::deque<checked>, 4> all;
  {
    std::vector<thread> threads;
    for (std::deque<checked>& mine : all) {
      threads.emplace_back([&, i = &mine - all.data()] {
        std::mt19937_64 random(static_cast<std::uint64_t>(i));
        for (int k = 0; k < per_thread; ++k) {
          const auto d = std::chrono::nanoseconds(random() % 20'000'000);
          mine.emplace_back(heed::background(), clock::now() + d, early, fired);
        }
        for (const checked& c : mine) EXPECT_TRUE(c.c.ctx.wait_for(eventually_bound));
      });
    }
  }
  EXPECT_TRUE(eventually([&] { return fired == 4 * per_thread; })) << fired;
  EXPECT_EQ(early, 0);
}

TEST(Deadline, OneThreadServesThemAll) {
  auto prime = heed::with_timeout(heed::background(), 1h);
  const auto before = thread_count();
  std::vector<heed::cancelable> many;
  for (int i = 0; i < 100; ++i) many.push_back(heed::with_timeout(heed::background(), 1h));
  EXPECT_LE(thread_count(), before);
}

}  // namespace
