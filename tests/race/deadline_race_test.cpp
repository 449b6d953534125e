// Timers against cancel, parents and destruction (cases 22 to 24), on hand-driven and on real time.
#include "rounds.hpp"

#include <heed/heed.hpp>

#include <optional>

using namespace std::chrono_literals;

// Case 23: fire, cancel, the parent's cancel and the last drop at once. One verdict, nothing leaks.
TEST(DeadlineRace, FireCancelParentDrop) {
  heed::manual_scheduler time;
  std::optional<heed::cancelable> parent;
  std::optional<heed::cancelable> own;
  std::optional<heed::context> watch;
  heed::canceler stop;
  race::rounds(
      6000 / slower,
      [&] {
        parent.emplace(heed::with_cancel(heed::background(time)));
        own.emplace(heed::with_timeout(parent->ctx, 1ms, "late"));
        watch.emplace(own->ctx);
        stop = own->cancel.share();
      },
      {[&] { time.advance(1ms); }, [&] { stop("stopped"); }, [&] { parent.reset(); },
       [&] {
         own->cancel.release();
         own.reset();
       }},
      [&] {
        ASSERT_TRUE(watch->done());
        if (watch->err() == heed::errc::deadline_exceeded) {
          EXPECT_EQ(watch->cause().message(), "late");
        } else {
          EXPECT_NE(watch->cause().message(), "late");
        }
        stop = {};
        watch.reset();
      });
}

// Case 23: fires while with_timeout is still building, and while the last handle goes. Case 24: the memory of
// a node whose timer just expired is used again at once.
TEST(DeadlineRace, FiresWhileBeingMadeAndDropped) {
  heed::manual_scheduler time;
  const heed::context root = heed::background(time);
  std::optional<heed::cancelable> parent;
  const auto churn = [&] {
    for (int i = 0; i < 20; ++i) {
      auto [ctx, cancel] = heed::with_timeout(parent->ctx, std::chrono::nanoseconds(1 + i % 3), "late");
      if (i % 2) cancel.release();
      if (ctx.err() == heed::errc::deadline_exceeded) {
        EXPECT_EQ(ctx.cause().message(), "late");
        EXPECT_GE(time.now(), *ctx.deadline());
      }
    }
  };
  int round = 0;
  race::rounds(
      3000 / slower, [&] { parent.emplace(heed::with_cancel(root)); },
      {churn, churn,
       [&] {
         for (int i = 0; i < 40; ++i) time.advance(1ns);
       },
       [&] {
         if (++round % 4 == 0) parent->cancel("parent");
       }},
      [&] { parent.reset(); });
}

// The process's own timer thread: short deadlines made, canceled and dropped by three threads. Never early.
TEST(DeadlineRace, RealTimeNeverEarly) {
  const auto churn = [] {
    for (int i = 0; i < 30; ++i) {
      auto [ctx, cancel] = heed::with_timeout(heed::background(), std::chrono::microseconds(i % 7 * 20));
      if (i % 3 == 0) cancel();
      if (i % 3 == 1) {
        ctx.wait();
        EXPECT_GE(heed::clock::now(), *ctx.deadline());
        EXPECT_EQ(ctx.err(), heed::errc::deadline_exceeded);
      }
    }
  };
  race::rounds(300 / slower, [] {}, {churn, churn, churn}, [] {});
}

// Waiting under a hand-driven clock while it moves and while the context is canceled.
TEST(DeadlineRace, WaitUntilUnderManualTime) {
  heed::manual_scheduler time;
  std::optional<heed::cancelable> c;
  race::rounds(
      3000 / slower, [&] { c.emplace(heed::with_cancel(heed::background(time))); },
      {[&] {
         const auto until = time.now() + 1s;
         if (!c->ctx.wait_until(until)) {
           EXPECT_GE(time.now(), until);
         }
       },
       [&] { time.advance(2s); }, [&] { c->cancel(); }},
      [&] { c.reset(); });
}

// Below a parent whose cancel() has returned nothing is live, also what is just being made with a deadline
// that fires at this moment.
TEST(DeadlineRace, NothingIsBornLiveBelowACanceledParent) {
  heed::manual_scheduler time;
  std::optional<heed::cancelable> parent;
  std::atomic<bool> canceled{false};
  race::rounds(
      4000 / slower,
      [&] {
        parent.emplace(heed::with_cancel(heed::background(time)));
        canceled = false;
      },
      {[&] {
         for (int i = 0; i < 20; ++i) {
           const auto made = heed::with_timeout(parent->ctx, 1ns);
           if (canceled) {
             EXPECT_TRUE(made.ctx.done());
           }
         }
       },
       [&] {
         for (int i = 0; i < 30; ++i) time.advance(1ns);
       },
       [&] {
         parent->cancel();
         canceled = true;
       }},
      [&] { parent.reset(); });
}

// A value's destructor that waits for another deadline: the thread that keeps the time must not be the one to
// run it, else that deadline never comes.
TEST(DeadlineRace, TheTimerThreadRunsNoDestructors) {
  struct waits {
    heed::context until;
    explicit waits(heed::context c) : until(std::move(c)) {}
    waits(const waits&) = delete;
    ~waits() { until.wait(); }
  };
  static constexpr heed::key<waits> key{"waits"};
  for (int round = 0; round < 400 / slower; ++round) {
    const auto far = heed::with_timeout(heed::background(), 3ms);
    const auto when = heed::clock::now() + 1ms;
    std::vector<heed::context> holders;
    for (int i = 0; i < 64; ++i) {
      auto c = heed::with_deadline(heed::with_value(heed::background(), key, std::in_place, far.ctx), when);
      c.cancel.release();
      holders.push_back(c.ctx);
    }
    holders.front().wait();
    holders.clear();  // here, or on a thread of heed's
    ASSERT_TRUE(far.ctx.wait_for(30s)) << "round " << round;
  }
}

// The clock passes a deadline, or the end of a wait, just before it is armed, and does not move again.
TEST(DeadlineRace, ArmedJustAfterItsTime) {
  heed::manual_scheduler time;
  const heed::context root = heed::background(time);
  heed::time_point until;
  race::rounds(
      20000 / slower, [&] { until = time.now() + 1s; },
      {[&] { EXPECT_FALSE(root.wait_until(until)); },
       [&] {
         const auto made = heed::with_deadline(root, until, "late");
         made.ctx.wait();
         EXPECT_EQ(made.ctx.cause().message(), "late");
       },
       [&] { time.advance(1s); }},
      [] {});
}
