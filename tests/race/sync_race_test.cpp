// Giving up against being given: no unit is lost, none is made, nobody is left behind.
#include "rounds.hpp"

#include <heed/heed.hpp>
#include <heed/sync.hpp>

#include <array>
#include <memory>
#include <optional>

namespace {

int units_of(heed::semaphore& s) {
  int n = 0;
  while (s.try_acquire()) ++n;
  return n;
}

}  // namespace

TEST(SemaphoreRace, GivingUpAgainstRelease) {
  std::optional<heed::cancelable> c;
  heed::semaphore s(0);
  std::atomic<int> got{0};
  race::rounds(
      12000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        got = 0;
      },
      {[&] {
         if (!s.acquire(c->ctx)) ++got;
       },
       [&] { c->cancel(); }, [&] { s.release(); }},
      [&] { EXPECT_EQ(got + units_of(s), 1); });
}

// The unit of one who gives up goes to the next, who has no other.
TEST(SemaphoreRace, WhatIsPassedOnArrives) {
  std::optional<heed::cancelable> c;
  heed::semaphore s(0);
  int plain = 0;
  std::atomic<int> given_up{0};
  race::rounds(
      12000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        plain = 0;
        given_up = 0;
      },
      {[&] {
         if (!s.acquire(c->ctx)) {
           s.release();
         } else {
           ++given_up;
         }
       },
       [&] {
         EXPECT_EQ(s.acquire(heed::background()), std::error_code());  // for good, if the unit is lost
         EXPECT_EQ(plain, 7) << "through whoever passed it on";
       },
       [&] { c->cancel(); },
       [&] {
         plain = 7;
         s.release();
       }},
      [&] { EXPECT_EQ(units_of(s), 0); });
}

TEST(SemaphoreRace, ManyAtOnce) {
  std::optional<heed::cancelable> a;
  std::optional<heed::cancelable> b;
  heed::semaphore s(0);
  std::atomic<int> got{0};
  const auto take = [&](const heed::context& ctx) {
    if (!s.acquire(ctx)) ++got;
  };
  race::rounds(
      6000 / slower,
      [&] {
        a.emplace(heed::with_cancel(heed::background()));
        b.emplace(heed::with_cancel(heed::background()));
        got = 0;
      },
      {[&] { take(a->ctx); }, [&] { take(a->ctx); }, [&] { take(b->ctx); },
       [&] {
         s.release(2);
         b->cancel();
       },
       [&] { a->cancel(); }},
      [&] { EXPECT_EQ(got + units_of(s), 2); });
}

TEST(MutexRace, GivingUpAgainstUnlock) {
  std::optional<heed::cancelable> c;
  heed::mutex m;
  int plain = 0;
  std::atomic<int> counted{0};
  const auto count = [&] {
    plain = plain + 1;
    ++counted;
    m.unlock();
  };
  race::rounds(
      12000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        plain = counted = 0;
        m.lock();
      },
      {[&] {
         if (!m.lock(c->ctx)) count();
       },
       [&] {
         if (!m.lock(c->ctx)) count();
       },
       [&] {
         m.lock();  // for good, if it is lost
         count();
       },
       [&] { c->cancel(); }, [&] { m.unlock(); }},
      [&] {
        EXPECT_EQ(plain, counted);
        ASSERT_TRUE(m.try_lock()) << "it was lost on the way to one who gave up";
        m.unlock();
      });
}

// The last to unlock destroys it, while those who handed it over, or gave up, may be hardly out of it.
TEST(MutexRace, DestroyedByTheLastWhoUsesIt) {
  std::unique_ptr<heed::mutex> m;
  std::optional<heed::cancelable> c;
  std::atomic<int> users{0};
  const auto leave = [&] {
    if (--users == 0) m.reset();
  };
  race::rounds(
      12000 / slower,
      [&] {
        m = std::make_unique<heed::mutex>();
        c.emplace(heed::with_cancel(heed::background()));
        users = 3;
      },
      {[&] {
         m->lock();
         m->unlock();
         leave();
       },
       [&] {
         if (!m->lock(c->ctx)) m->unlock();
         leave();
       },
       [&] {
         m->lock();
         c->cancel();
         m->unlock();
         leave();
       }},
      [] {});
}

// Who has just got it may destroy it, although who handed it over has not returned from unlock() yet.
TEST(MutexRace, DestroyedWhileUnlockReturns) {
  heed::mutex* shared = nullptr;
  std::atomic<int> turn{0};
  race::rounds(
      12000 / slower,
      [&] {
        shared = new heed::mutex;
        shared->lock();
        turn = 0;
      },
      {[&] {
         shared->unlock();  // the last that this thread does
       },
       [&] {
         shared->lock();
         shared->unlock();
         if (++turn == 2) delete shared;
       },
       [&] {
         shared->lock();
         shared->unlock();
         if (++turn == 2) delete shared;
       }},
      [] {});
}

// A context whose last handle goes in the thread that gave up, while it is still being canceled.
TEST(SemaphoreRace, TheWaiterDropsTheLastHandle) {
  heed::semaphore s(0);
  std::optional<heed::context> ctx;
  heed::canceler cancel;
  race::rounds(
      8000 / slower,
      [&] {
        auto c = heed::with_cancel(heed::background());
        ctx.emplace(c.ctx);
        cancel = c.cancel.share();
        c.cancel.release();
      },
      {[&] {
         EXPECT_EQ(s.acquire(*ctx), heed::errc::canceled);
         ctx.reset();
       },
       [&] {
         cancel();
         cancel = {};
       }},
      [&] { EXPECT_EQ(units_of(s), 0); });
}
