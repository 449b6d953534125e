// A scheduler of a user's own: what heed asks of it, in which order, and what happens when it cannot serve.
#include "support.hpp"

#include <memory>
#include <new>
#include <system_error>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;
using heed::time_point;

// The simplest event loop that keeps the contract: a mutex, a multimap of timers, a queue of work.
class loop : public heed::scheduler {
 public:
  ~loop() override {
    while (heed::work* w = take_work()) w->drop();
  }

  time_point now() const noexcept override { return time_point(heed::duration(now_.load())); }
  void arm(heed::timer& t, time_point when) override {
    const std::lock_guard lock(mutex_);
    if (refuse_timers)
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    timers_.emplace(when, &t);
    ++armed;
  }
  void disarm(heed::timer& t) noexcept override {
    const std::lock_guard lock(mutex_);
    for (auto it = timers_.begin(); it != timers_.end(); ++it) {
      if (it->second != &t) continue;
      timers_.erase(it);
      return;
    }
  }
  void post(heed::work& w) noexcept override {
    const std::lock_guard lock(mutex_);
    w.next = nullptr;
    (last_ ? last_->next : first_) = &w;
    last_ = &w;
  }
  void reserve() override {
    if (refuse_work) throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    ++reserved;
  }
  void unreserve() noexcept override { --reserved; }

  // One turn of the loop: the clock goes on, what is due expires, what was posted runs.
  void turn(heed::duration d) {
    now_ += d.count();
    while (heed::timer* t = take_due()) t->run();
    while (heed::work* w = take_work()) w->run();
  }
  std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return timers_.size();
  }

  std::atomic<int> armed = 0;
  std::atomic<int> reserved = 0;
  bool refuse_timers = false;
  bool refuse_work = false;

 private:
  heed::timer* take_due() {
    const std::lock_guard lock(mutex_);
    while (!timers_.empty() && timers_.begin()->first <= now()) {
      heed::timer* t = timers_.extract(timers_.begin()).mapped();
      if (t->expire()) return t;
    }
    return nullptr;
  }
  heed::work* take_work() {
    const std::lock_guard lock(mutex_);
    heed::links* w = first_;
    if (!w) return nullptr;
    first_ = w->next;
    if (!first_) last_ = nullptr;
    return static_cast<heed::work*>(w);
  }

  mutable std::mutex mutex_;
  std::multimap<time_point, heed::timer*> timers_;
  heed::links* first_ = nullptr;
  heed::links* last_ = nullptr;
  std::atomic<heed::duration::rep> now_{1'000'000'000};
};

class UserScheduler : public testing::Test {
 protected:
  loop on;
  heed::context root = heed::background(on);
};

TEST_F(UserScheduler, ServesDeadlines) {
  auto timed = heed::with_timeout(root, 5s, heed::error("slow"));
  auto below = heed::with_cancel(timed.ctx);
  EXPECT_EQ(timed.ctx.now(), on.now());
  EXPECT_EQ(timed.ctx.deadline(), on.now() + 5s);
  EXPECT_EQ(on.waiting(), 1U);
  on.turn(4s);
  EXPECT_TRUE(is_live(timed.ctx));
  on.turn(1s);
  EXPECT_TRUE(is_done(timed.ctx, errc::deadline_exceeded));
  EXPECT_TRUE(is_done(below.ctx, errc::deadline_exceeded));
  EXPECT_EQ(below.ctx.cause().message(), "slow");
  EXPECT_EQ(on.waiting(), 0U);
}

TEST_F(UserScheduler, EveryWayToLeaveIsDisarmed) {
  auto parent = heed::with_cancel(root);
  auto canceled = heed::with_timeout(root, 5s);
  auto below = heed::with_timeout(parent.ctx, 5s);
  auto released = heed::with_timeout(root, 5s);
  EXPECT_EQ(on.waiting(), 3U);
  canceled.cancel();
  EXPECT_EQ(on.waiting(), 2U);
  parent.cancel();
  EXPECT_EQ(on.waiting(), 1U);
  released.cancel.release();
  EXPECT_EQ(on.waiting(), 1U);
  released.ctx = {};
  EXPECT_EQ(on.waiting(), 0U) << "nobody could see it any more";
  on.turn(1h);
  EXPECT_TRUE(is_done(canceled.ctx, errc::canceled));
}

TEST_F(UserScheduler, IsNotAskedForWhatNeedsNoTimer) {
  auto parent = heed::with_timeout(root, 1s);
  EXPECT_EQ(on.armed, 1);
  auto later = heed::with_timeout(parent.ctx, 2s);
  auto past = heed::with_timeout(root, -1s);
  auto never = heed::with_timeout(root, heed::duration::max());
  auto detached = heed::with_cancel(heed::without_cancel(parent.ctx));
  EXPECT_EQ(on.armed, 1);
  auto below = heed::with_timeout(detached.ctx, 5s);
  EXPECT_EQ(on.armed, 2) << "without_cancel keeps the scheduler";
}

TEST_F(UserScheduler, TwoRootsTwoClocks) {
  loop other;
  auto mine = heed::with_timeout(root, 5s);
  auto theirs = heed::with_timeout(heed::background(other), 5s);
  on.turn(5s);
  EXPECT_TRUE(is_done(mine.ctx, errc::deadline_exceeded));
  EXPECT_TRUE(is_live(theirs.ctx));
  other.turn(5s);
  EXPECT_TRUE(is_done(theirs.ctx, errc::deadline_exceeded));
}

TEST_F(UserScheduler, RunsFunctions) {
  auto c = heed::with_cancel(root);
  int ran = 0;
  heed::after_func(c.ctx, [&ran] { ++ran; });
  const heed::stop_func stop = heed::after_func(c.ctx, [&ran] { ++ran; });
  EXPECT_EQ(on.reserved, 2);
  EXPECT_TRUE(stop());
  EXPECT_EQ(on.reserved, 1) << "stopped: nothing will be posted";
  c.cancel();
  EXPECT_EQ(ran, 0);
  on.turn(0s);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(on.reserved, 0);
  heed::after_func(c.ctx, [&ran] { ++ran; });
  on.turn(0s);
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(on.reserved, 0);
}

TEST_F(UserScheduler, AbandonedFunctionsAreUnreserved) {
  auto c = heed::with_cancel(root);
  heed::after_func(c.ctx, [] {});
  c.cancel.release();
  EXPECT_EQ(on.reserved, 1);
  c.ctx = {};
  EXPECT_EQ(on.reserved, 0);
}

TEST_F(UserScheduler, AsLastArgumentOfAfterFunc) {
  auto c = heed::with_cancel(heed::background());
  int ran = 0;
  heed::after_func(c.ctx, [&ran] { ++ran; }, on);
  c.cancel();
  on.turn(0s);
  EXPECT_EQ(ran, 1);
}

// Failure leaves things as they were.
TEST_F(UserScheduler, ATimerThatCannotBeHad) {
  std::atomic<int> alive = 0;
  static constexpr heed::key<tracked> key{"tracked"};
  auto parent = heed::with_cancel(heed::with_value(root, key, tracked(alive)));
  on.refuse_timers = true;
  EXPECT_THROW(static_cast<void>(heed::with_timeout(parent.ctx, 1s)), std::system_error);
  EXPECT_THROW(static_cast<void>(heed::with_deadline(parent.ctx, on.now() + 1s, "cause")), std::system_error);
  EXPECT_THROW(static_cast<void>(parent.ctx.wait_for(1s)), std::system_error);
  EXPECT_TRUE(is_live(parent.ctx));
  EXPECT_TRUE(is_done(heed::with_timeout(parent.ctx, 0s).ctx, errc::deadline_exceeded)) << "needs no timer";
  on.refuse_timers = false;
  {
    auto timed = heed::with_timeout(parent.ctx, 1s);
    on.turn(1s);
    EXPECT_TRUE(is_done(timed.ctx, errc::deadline_exceeded));
  }
  EXPECT_TRUE(parent.cancel());
  parent.ctx = {};
  parent.cancel = {};
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(on.waiting(), 0U);
}

TEST_F(UserScheduler, AFunctionThatCannotBeHad) {
  std::atomic<int> alive = 0;
  auto c = heed::with_cancel(root);
  on.refuse_work = true;
  EXPECT_THROW(heed::after_func(c.ctx, [t = tracked(alive)] {}), std::system_error);
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(on.reserved, 0);
  EXPECT_TRUE(is_live(c.ctx));
  EXPECT_TRUE(c.cancel());
  EXPECT_THROW(heed::after_func(c.ctx, [t = tracked(alive)] {}), std::system_error)
      << "also when it is done already";
  EXPECT_EQ(alive, 0);
  on.turn(0s);
}

TEST_F(UserScheduler, WaitUntilByItsClock) {
  auto c = heed::with_cancel(root);
  EXPECT_FALSE(c.ctx.wait_until(on.now()));
  EXPECT_FALSE(c.ctx.wait_for(0s));
  const time_point until = on.now() + 5s;
  std::atomic<bool> returned = false;
  {
    const thread waiter([&] {
      EXPECT_FALSE(c.ctx.wait_until(until));
      EXPECT_GE(on.now(), until);
      returned = true;
    });
    EXPECT_TRUE(eventually([&] { return on.waiting() == 1; }));
    on.turn(5s - 1ns);
    EXPECT_FALSE(returned);
    on.turn(1ns);
  }
  {
    const thread waiter([&] { EXPECT_TRUE(c.ctx.wait_for(5s)); });
    EXPECT_TRUE(eventually([&] { return on.waiting() == 1; }));
    c.cancel();
  }
  EXPECT_EQ(on.waiting(), 0U) << "the waiter left nothing behind";
}

// Work that never ran is dropped by the loop's destructor; nothing leaks and nothing runs.
TEST(UserSchedulerEnd, DropsItsWork) {
  std::atomic<int> alive = 0;
  auto on = std::make_unique<loop>();
  {
    auto c = heed::with_cancel(heed::background(*on));
    heed::after_func(c.ctx, [t = tracked(alive)] { FAIL(); });
  }
  EXPECT_EQ(alive, 1);
  on.reset();
  EXPECT_EQ(alive, 0);
}

TEST(UserSchedulerDeathTest, DestroyedBeforeItsContexts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto on = std::make_unique<loop>();
        const heed::context root = heed::background(*on);
        on.reset();
        std::_Exit(0);
      },
      "heed");
}

// Several threads derive and cancel while one turns the loop: each timer is expired or disarmed, once.
TEST(UserSchedulerThreads, DeriveCancelAndTurn) {
  loop on;
  {
    const heed::context root = heed::background(on);
    std::atomic<bool> stop = false;
    const thread turner([&] {
      while (!stop) on.turn(10us);
    });
    {
      std::vector<thread> threads;
      for (unsigned t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
          std::mt19937_64 random(t);
          for (int i = 0; i < 1500; ++i) {
            auto c = heed::with_timeout(root, std::chrono::nanoseconds(random() % 100'000));
            const heed::context below = heed::with_cancel(c.ctx).ctx;
            if (i % 2 == 0) {
              const bool decided = c.cancel();
              EXPECT_EQ(c.ctx.err(), decided ? errc::canceled : errc::deadline_exceeded);
            } else {
              c.ctx.wait();
            }
          }
        });
      }
    }
    stop = true;
  }
  EXPECT_EQ(on.waiting(), 0U);
}

}  // namespace
