// mutex and semaphore: order, hand-over, giving up, misuse.
#include <heed/sync.hpp>

#include "sanitizers.hpp"
#include "sleepers.hpp"
#include "support.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <latch>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

constexpr auto most = std::numeric_limits<std::ptrdiff_t>::max();

// Both need no code at start-up.
constinit heed::mutex static_mutex;
constinit heed::semaphore static_semaphore(2);

TEST(Mutex, LockTryLockUnlock) {
  EXPECT_TRUE(static_mutex.try_lock());
  EXPECT_FALSE(static_mutex.try_lock()) << "by its holder";
  static_mutex.unlock();
  static_mutex.lock();
  {
    const thread other([] { EXPECT_FALSE(static_mutex.try_lock()); });
  }
  static_mutex.unlock();
  EXPECT_EQ(static_mutex.lock(heed::background()), std::error_code());
  static_mutex.unlock();
}

TEST(Mutex, FitsTheStandardsLocks) {
  heed::mutex a;
  heed::mutex b;
  {
    const std::scoped_lock both(a, b);
    EXPECT_FALSE(a.try_lock());
    EXPECT_FALSE(b.try_lock());
  }
  std::unique_lock lock(a, std::try_to_lock);
  EXPECT_TRUE(lock.owns_lock());
  std::condition_variable_any cv;
  bool ready = false;
  const thread other([&] {
    const std::lock_guard inside(a);
    ready = true;
    cv.notify_one();
  });
  cv.wait(lock, [&] { return ready; });
}

TEST(Mutex, AContextThatHasEndedComesFirst) {
  heed::mutex m;
  auto c = heed::with_cancel(heed::background());
  auto timed = heed::with_timeout(heed::background(), 0s);
  c.cancel();
  EXPECT_EQ(m.lock(c.ctx), errc::canceled) << "though it is free";
  EXPECT_EQ(m.lock(timed.ctx), errc::deadline_exceeded);
  EXPECT_TRUE(m.try_lock()) << "it was not locked";
  EXPECT_EQ(m.lock(c.ctx), errc::canceled) << "and though it is not";
  m.unlock();
}

TEST(Mutex, AWaiterGivesUp) {
  heed::mutex m;
  m.lock();
  auto c = heed::with_cancel(heed::background());
  {
    sleeper waiter([&] { EXPECT_EQ(m.lock(c.ctx), errc::canceled); });
    ASSERT_TRUE(eventually([&] { return waiter.blocked(); }));
    c.cancel();
    ASSERT_TRUE(eventually([&] { return waiter.over(); }));
  }
  EXPECT_FALSE(m.try_lock()) << "it is still held";
  m.unlock();
  EXPECT_TRUE(m.try_lock()) << "and nothing of the waiter is left";
  m.unlock();
}

TEST(Mutex, ADeadlineByAManualClockEndsTheWait) {
  heed::manual_scheduler time;
  auto c = heed::with_timeout(heed::background(time), 5s);
  heed::mutex m;
  heed::semaphore s(0);
  m.lock();
  sleeper first([&] { EXPECT_EQ(m.lock(c.ctx), errc::deadline_exceeded); });
  sleeper second([&] { EXPECT_EQ(s.acquire(c.ctx), errc::deadline_exceeded); });
  ASSERT_TRUE(eventually([&] { return first.blocked() && second.blocked(); }));
  time.advance(5s - 1ns);
  EXPECT_FALSE(first.over() || second.over());
  time.advance(1ns);
  EXPECT_TRUE(eventually([&] { return first.over() && second.over(); }));
  m.unlock();
}

TEST(Mutex, ARealDeadlineEndsTheWait) {
  heed::mutex m;
  const std::lock_guard held(m);
  auto c = heed::with_timeout(heed::background(), 5ms);
  EXPECT_EQ(m.lock(c.ctx), errc::deadline_exceeded);
  EXPECT_GE(heed::clock::now(), *c.ctx.deadline());
}

// First come, first served, with and without contexts; those who have given up are passed over.
TEST(Mutex, HandsOverInTheOrderOfArrival) {
  heed::mutex m;
  std::vector<int> order;  // guarded by m
  auto c = heed::with_cancel(heed::background());
  std::deque<sleeper> waiters;
  m.lock();
  for (int i = 0; i < 9; ++i) {
    waiters.emplace_back([&, i] {
      if (i % 3 == 0) {
        m.lock();
      } else if (i % 3 == 1) {
        EXPECT_EQ(m.lock(c.ctx), errc::canceled);
        return;
      } else {
        EXPECT_EQ(m.lock(heed::background()), std::error_code());
      }
      order.push_back(i);
      m.unlock();
    });
    ASSERT_TRUE(eventually([&] { return waiters.back().blocked(); }));
  }
  c.cancel();
  for (const int i : {1, 4, 7}) {
    ASSERT_TRUE(eventually([&] { return waiters[static_cast<std::size_t>(i)].over(); }));
  }
  m.unlock();
  ASSERT_TRUE(eventually([&] {
    return std::all_of(waiters.begin(), waiters.end(), [](const sleeper& w) { return w.over(); });
  }));
  EXPECT_EQ(order, (std::vector{0, 2, 3, 5, 6, 8}));
}

TEST(Mutex, UnlockingWhatIsNotLockedIsMisuse) {
  heed::mutex m;
  EXPECT_THROW(m.unlock(), std::invalid_argument);
  EXPECT_TRUE(m.try_lock()) << "nothing has changed";
  m.unlock();
}

// What a holder wrote is visible to the next, also through a hand-over, and nothing is lost.
TEST(Mutex, Excludes) {
  heed::mutex m;
  long plain = 0;
  auto c = heed::with_cancel(heed::background());
  constexpr int threads = 4;
  const int each = scaled(20'000);
  {
    std::vector<thread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          if (t % 2 == 0) {
            m.lock();
          } else if (m.lock(c.ctx)) {
            ADD_FAILURE();
          }
          plain = plain + 1;
          m.unlock();
        }
      });
    }
  }
  EXPECT_EQ(plain, static_cast<long>(threads) * each);
}

TEST(Semaphore, CountsItsUnits) {
  EXPECT_TRUE(static_semaphore.try_acquire());
  EXPECT_EQ(static_semaphore.acquire(heed::background()), std::error_code());
  EXPECT_FALSE(static_semaphore.try_acquire());
  static_semaphore.release(2);
  EXPECT_TRUE(static_semaphore.try_acquire());
  EXPECT_TRUE(static_semaphore.try_acquire());
  EXPECT_FALSE(static_semaphore.try_acquire());
  static_semaphore.release();
  static_semaphore.release();
  heed::semaphore none(0);
  EXPECT_FALSE(none.try_acquire());
  none.release(0);
  EXPECT_FALSE(none.try_acquire());
}

TEST(Semaphore, MisuseChangesNothing) {
  EXPECT_THROW(heed::semaphore(-1), std::invalid_argument);
  EXPECT_THROW(heed::semaphore{-most - 1}, std::invalid_argument);
  heed::semaphore s(1);
  EXPECT_THROW(s.release(-1), std::invalid_argument);
  EXPECT_THROW(s.release(most), std::invalid_argument);
  EXPECT_TRUE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire());
  s.release(most);
  EXPECT_THROW(s.release(), std::invalid_argument);
  EXPECT_TRUE(s.try_acquire());
  s.release();
}

TEST(Semaphore, AContextThatHasEndedComesFirst) {
  heed::semaphore s(1);
  auto c = heed::with_cancel(heed::background());
  c.cancel();
  EXPECT_EQ(s.acquire(c.ctx), errc::canceled) << "though there is a unit";
  EXPECT_TRUE(s.try_acquire()) << "which is still there";
  EXPECT_EQ(s.acquire(c.ctx), errc::canceled);
  EXPECT_EQ(s.acquire(heed::with_timeout(heed::background(), -1s).ctx), errc::deadline_exceeded);
}

TEST(Semaphore, GivesInTheOrderOfArrival) {
  heed::semaphore s(0);
  std::mutex guard;
  std::vector<int> order;
  auto c = heed::with_cancel(heed::background());
  std::deque<sleeper> waiters;
  for (int i = 0; i < 8; ++i) {
    waiters.emplace_back([&, i] {
      if (s.acquire(i % 4 == 1 ? c.ctx : heed::background())) return;
      const std::lock_guard lock(guard);
      order.push_back(i);
    });
    ASSERT_TRUE(eventually([&] { return waiters.back().blocked(); }));
  }
  c.cancel();
  ASSERT_TRUE(eventually([&] { return waiters[1].over() && waiters[5].over(); }));
  EXPECT_FALSE(s.try_acquire());
  std::vector<int> expected;
  for (const int next : {0, 2, 3, 4, 6, 7}) {
    s.release();
    EXPECT_FALSE(s.try_acquire()) << "a unit that somebody waits for goes to nobody else";
    ASSERT_TRUE(eventually([&] { return waiters[static_cast<std::size_t>(next)].over(); }));
    expected.push_back(next);
    const std::lock_guard lock(guard);
    EXPECT_EQ(order, expected);
  }
  EXPECT_FALSE(s.try_acquire());
}

// Counted by the kernel: how often each of them has gone to sleep. Who is woken in vain goes to sleep once
// more.
TEST(Semaphore, OneReleaseWakesOneWaiter) {
  heed::semaphore s(0);
  auto c = heed::with_cancel(heed::background());
  constexpr std::size_t n = 16;
  std::deque<sleeper> waiters;
  for (std::size_t i = 0; i < n; ++i) {
    waiters.emplace_back([&] { EXPECT_EQ(s.acquire(c.ctx), std::error_code()); });
  }
  const auto all_asleep = [&] {
    return std::all_of(waiters.begin(), waiters.end(), [](const sleeper& w) { return w.asleep(); });
  };
  const auto over = [&] {
    return std::count_if(waiters.begin(), waiters.end(), [](const sleeper& w) { return w.over(); });
  };
  ASSERT_TRUE(eventually(all_asleep));
  std::ptrdiff_t released = 0;
  for (const std::ptrdiff_t units : {1, 1, 3, 1, 5}) {
    std::vector<long> before;
    for (const sleeper& w : waiters) before.push_back(w.sleeps());
    std::vector<bool> was_over;
    for (const sleeper& w : waiters) was_over.push_back(w.over());
    s.release(units);
    released += units;
    // Who is woken is not asleep from here on until it has run.
    ASSERT_TRUE(eventually([&] { return over() == released && all_asleep(); }));
    for (std::size_t i = 0; i < n; ++i) {
      if (waiters[i].over() && !was_over[i]) continue;
      EXPECT_EQ(waiters[i].sleeps(), before[i]) << "woken, with nothing for it";
    }
  }
  s.release(static_cast<std::ptrdiff_t>(n));
  EXPECT_TRUE(eventually([&] { return over() == static_cast<std::ptrdiff_t>(n); }));
  for (std::ptrdiff_t i = 0; i < released; ++i) EXPECT_TRUE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire());
}

TEST(Mutex, OneUnlockWakesOneWaiter) {
  heed::mutex m;
  m.lock();
  heed::semaphore go_on(0);
  std::deque<sleeper> waiters;
  for (int i = 0; i < 8; ++i) {
    waiters.emplace_back([&] {
      m.lock();
      EXPECT_EQ(go_on.acquire(heed::background()), std::error_code());
      m.unlock();
    });
    ASSERT_TRUE(eventually([&] { return waiters.back().blocked(); }));
  }
  std::vector<long> before;
  for (const sleeper& w : waiters) before.push_back(w.sleeps());
  m.unlock();
  ASSERT_TRUE(eventually([&] { return waiters[0].sleeps() > before[0] && waiters[0].asleep(); }));
  for (std::size_t i = 1; i < waiters.size(); ++i) {
    EXPECT_TRUE(waiters[i].blocked());
    EXPECT_EQ(waiters[i].sleeps(), before[i]) << i;
  }
  go_on.release(8);
}

// No trace: neither memory (tests/alloc) nor a place in the queue.
TEST(Semaphore, WhoGivesUpLeavesNoTrace) {
  heed::semaphore s(0);
  std::atomic<const heed::cancel_func*> cancel{nullptr};
  std::atomic<bool> over{false};
  const thread canceler([&] {
    while (!over) {
      if (const auto* each = cancel.load()) {
        (*each)();
        cancel = nullptr;
        cancel.notify_one();
      } else {
        std::this_thread::yield();
      }
    }
  });
  for (int i = 0; i < scaled(100'000); ++i) {
    auto c = heed::with_cancel(heed::background());
    cancel = &c.cancel;
    ASSERT_EQ(s.acquire(c.ctx), errc::canceled);
    for (const auto* each = cancel.load(); each; each = cancel.load()) cancel.wait(each);  // it has returned
  }
  over = true;
  EXPECT_FALSE(s.try_acquire());
  s.release();
  EXPECT_TRUE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire());
}

// The last reference to a context goes while it is being canceled, in the very thread that waited on it.
TEST(Semaphore, AWaiterDropsItsContext) {
  heed::semaphore s(0);
  for (int i = 0; i < scaled(2'000); ++i) {
    auto c = heed::with_cancel(heed::background());
    heed::canceler cancel = c.cancel.share();
    c.cancel.release();
    std::latch started(1);
    const thread waiter([&, ctx = std::exchange(c.ctx, {})]() mutable {
      started.count_down();
      EXPECT_EQ(s.acquire(ctx), errc::canceled);
      ctx = {};
    });
    started.wait();
    cancel();
    cancel = {};
  }
}

// A semaphore, or a mutex, may go as soon as the last one has got it, while the thread that gave it is still
// inside.
TEST(Semaphore, MayBeDestroyedByWhoAcquires) {
  for (int i = 0; i < scaled(5'000); ++i) {
    auto s = std::make_unique<heed::semaphore>(0);
    std::latch ready(2);
    const thread releaser([&, to = s.get()] {
      ready.arrive_and_wait();
      to->release();
    });
    ready.arrive_and_wait();
    ASSERT_EQ(s->acquire(heed::background()), std::error_code());
    s.reset();
  }
}

TEST(Mutex, MayBeDestroyedByWhoUnlocks) {
  for (int i = 0; i < scaled(5'000); ++i) {
    auto m = std::make_unique<heed::mutex>();
    m->lock();
    std::latch ready(2);
    const thread holder([&, held = m.get()] {
      ready.arrive_and_wait();
      held->unlock();
    });
    ready.arrive_and_wait();
    m->lock();
    m->unlock();
    m.reset();
  }
}

// In a child the parent's waiters are not there: nothing is handed to them.
TEST(SyncFork, WhoWaitsInTheParentIsNotThereInTheChild) {
  if (under_tsan) return;  // its runtime wants no fork with threads about
  heed::mutex mutex;
  heed::semaphore semaphore(0);
  auto c = heed::with_cancel(heed::background());
  mutex.lock();
  sleeper first([&] { EXPECT_EQ(mutex.lock(c.ctx), errc::canceled); });
  sleeper second([&] { EXPECT_EQ(semaphore.acquire(c.ctx), errc::canceled); });
  ASSERT_TRUE(eventually([&] { return first.blocked() && second.blocked(); }));
  const pid_t child = ::fork();
  if (child == 0) {
    int bad = 0;
    mutex.unlock();
    if (!mutex.try_lock()) bad |= 1;
    semaphore.release();
    if (!semaphore.try_acquire()) bad |= 2;
    ::_exit(bad);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  c.cancel();
}

}  // namespace
