// The waits of <heed/wait.hpp>: sleeping, several contexts, condition variables, futures.
#include <heed/wait.hpp>

#include "sleepers.hpp"
#include "support.hpp"

#include <heed/sync.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <csignal>
#include <future>
#include <latch>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <stdexcept>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

constexpr heed::key<int> number_key{"number"};
const std::error_code fine;

TEST(Sleep, ToItsEndOrTheContexts) {
  auto c = heed::with_cancel(heed::background());
  const auto before = heed::clock::now();
  EXPECT_EQ(heed::sleep_for(c.ctx, 2ms), fine);
  EXPECT_GE(heed::clock::now(), before + 2ms);
  EXPECT_EQ(heed::sleep_until(c.ctx, before + 3ms), fine);
  EXPECT_GE(heed::clock::now(), before + 3ms);
  EXPECT_EQ(heed::sleep_until(c.ctx, std::chrono::system_clock::now() + 1ms), fine);
  EXPECT_EQ(heed::sleep_until(c.ctx, std::chrono::time_point_cast<std::chrono::seconds>(before)), fine);
  EXPECT_EQ(heed::sleep_for(heed::background(), 1ms), fine) << "a context that can never end";
  sleeper s([&] { EXPECT_EQ(heed::sleep_for(c.ctx, very_long), errc::canceled); });
  ASSERT_TRUE(eventually([&] { return s.blocked(); }));
  c.cancel();
  EXPECT_TRUE(eventually([&] { return s.over(); }));
}

TEST(Sleep, AContextThatHasEndedComesFirst) {
  auto c = heed::with_cancel(heed::background());
  EXPECT_EQ(heed::sleep_for(c.ctx, 0s), fine);
  EXPECT_EQ(heed::sleep_for(c.ctx, -1h), fine);
  EXPECT_EQ(heed::sleep_for(c.ctx, heed::duration::min()), fine);
  EXPECT_EQ(heed::sleep_until(c.ctx, heed::time_point::min()), fine);
  c.cancel();
  EXPECT_EQ(heed::sleep_for(c.ctx, 0s), errc::canceled);
  EXPECT_EQ(heed::sleep_for(c.ctx, -1h), errc::canceled);
  EXPECT_EQ(heed::sleep_for(c.ctx, very_long), errc::canceled);
  EXPECT_EQ(heed::sleep_until(c.ctx, heed::time_point::min()), errc::canceled);
  auto timed = heed::with_timeout(heed::background(), 1ms);
  EXPECT_EQ(heed::sleep_for(timed.ctx, very_long), errc::deadline_exceeded);
}

TEST(Sleep, LongestDurationsAndNaN) {
  const auto sleeps = [](auto d) {
    auto c = heed::with_cancel(heed::background());
    sleeper s([&] { EXPECT_EQ(heed::sleep_for(c.ctx, d), errc::canceled); });
    ASSERT_TRUE(eventually([&] { return s.blocked(); }));
    c.cancel();
  };
  sleeps(heed::duration::max());
  sleeps(std::chrono::hours::max());
  sleeps(std::chrono::duration<float>(std::numeric_limits<float>::infinity()));
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THROW(heed::sleep_for(heed::background(), nan), std::invalid_argument);
}

TEST(Sleep, UnderAManualSchedulerItsClockCounts) {
  heed::manual_scheduler time;
  const heed::context root = heed::background(time);
  auto c = heed::with_timeout(root, 10s);
  {
    sleeper in_root([&] { EXPECT_EQ(heed::sleep_for(root, 5s), fine); });
    sleeper in_child([&] { EXPECT_EQ(heed::sleep_for(c.ctx, 5s), fine); });
    ASSERT_TRUE(eventually([&] { return in_root.blocked() && in_child.blocked(); }));
    time.advance(5s - 1ns);
    EXPECT_FALSE(in_root.over() || in_child.over());
    time.advance(1ns);
    EXPECT_TRUE(eventually([&] { return in_root.over() && in_child.over(); }));
  }
  sleeper too_long([&] { EXPECT_EQ(heed::sleep_for(c.ctx, 6s), errc::deadline_exceeded); });
  ASSERT_TRUE(eventually([&] { return too_long.blocked(); }));
  time.advance(5s);
  EXPECT_TRUE(eventually([&] { return too_long.over(); }));
}

TEST(WaitAny, TheLowestThatIsDone) {
  std::vector<heed::cancelable> all;
  std::vector<heed::context> contexts{heed::background()};
  for (int i = 0; i < 4; ++i) {
    all.push_back(heed::with_cancel(heed::background()));
    contexts.push_back(all.back().ctx);
  }
  contexts.push_back(heed::with_value(all[0].ctx, number_key, 1));
  {
    sleeper s([&] { EXPECT_EQ(heed::wait_any(contexts), 3U); });
    ASSERT_TRUE(eventually([&] { return s.blocked(); }));
    all[2].cancel();
    EXPECT_TRUE(eventually([&] { return s.over(); }));
  }
  all[3].cancel();
  EXPECT_EQ(heed::wait_any(contexts), 3U);
  all[0].cancel();
  EXPECT_EQ(heed::wait_any(contexts), 1U);
  EXPECT_EQ(heed::wait_any({heed::background(), all[0].ctx, all[1].ctx}), 1U);
  EXPECT_EQ(heed::wait_any(std::array{all[0].ctx}), 0U);
}

TEST(WaitAny, OneThatCanEndAmongOthers) {
  heed::manual_scheduler time;
  auto c = heed::with_timeout(heed::background(time), 1s);
  sleeper s([&] { EXPECT_EQ(heed::wait_any({heed::background(), heed::todo(), c.ctx}), 2U); });
  sleeper same([&] { EXPECT_EQ(heed::wait_any({c.ctx, c.ctx}), 0U); });
  ASSERT_TRUE(eventually([&] { return s.blocked() && same.blocked(); }));
  time.advance(1s);
  EXPECT_TRUE(eventually([&] { return s.over() && same.over(); }));
}

TEST(WaitAny, OfNoneIsMisuse) {
  EXPECT_THROW(heed::wait_any({}), std::invalid_argument);
  EXPECT_THROW(heed::wait_any(std::span<const heed::context>()), std::invalid_argument);
}

// Where only immortal contexts are given it blocks for good, so in a process that can be killed.
TEST(WaitAny, OfImmortalsBlocks) {
  const pid_t child = ::fork();
  if (child == 0) {
    heed::wait_any({heed::background(), heed::todo()});
    ::_exit(1);
  }
  ASSERT_GT(child, 0);
  EXPECT_TRUE(eventually([&] { return state_of("/proc/" + std::to_string(child) + "/stat") == 'S'; }));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, WNOHANG), 0) << "it has not returned";
  ::kill(child, SIGKILL);
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
}

// --- condition variables: both kinds, with the locks that people have ---

template <class Lock>
struct parts;
template <class Mutex>
struct parts<std::unique_lock<Mutex>> {
  Mutex mutex;
  std::conditional_t<std::is_same_v<Mutex, std::mutex>, std::condition_variable, std::condition_variable_any>
      cv;
  std::unique_lock<Mutex> lock() { return std::unique_lock(mutex); }
};
struct any_with_std_mutex {
  std::mutex mutex;
  std::condition_variable_any cv;
  std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex); }
};
struct any_with_shared_lock {
  std::shared_mutex mutex;
  std::condition_variable_any cv;
  std::shared_lock<std::shared_mutex> lock() { return std::shared_lock(mutex); }
};
// A lock that tells nobody of its mutex, and is no mutex.
struct plain_lock {
  std::mutex* of;
  explicit plain_lock(std::mutex& m) : of(&m) { lock(); }
  plain_lock(const plain_lock&) = delete;
  plain_lock& operator=(const plain_lock&) = delete;
  ~plain_lock() {
    if (held) unlock();
  }
  void lock() {
    of->lock();
    held = true;  // not atomic: the waiting thread's alone
  }
  void unlock() {
    held = false;
    of->unlock();
  }
  bool held = false;
};
struct any_with_plain_lock {
  std::mutex mutex;
  std::condition_variable_any cv;
  plain_lock lock() { return plain_lock(mutex); }
};

template <class Parts>
class Condition : public testing::Test {};
using kinds =
    testing::Types<parts<std::unique_lock<std::mutex>>, any_with_std_mutex,
                   parts<std::unique_lock<std::recursive_mutex>>, parts<std::unique_lock<std::timed_mutex>>,
                   parts<std::unique_lock<heed::mutex>>, any_with_shared_lock, any_with_plain_lock>;
TYPED_TEST_SUITE(Condition, kinds);

TYPED_TEST(Condition, ANotificationAndTheContextsEnd) {
  TypeParam p;
  auto c = heed::with_cancel(heed::background());
  bool ready = false;
  {
    sleeper s([&] {
      auto lock = p.lock();
      EXPECT_EQ(heed::wait(c.ctx, p.cv, lock, [&] { return ready; }), fine);
      EXPECT_TRUE(ready) << "the lock is held again";
    });
    ASSERT_TRUE(eventually([&] { return s.blocked(); }));
    p.cv.notify_all();  // for no reason
    {
      const std::lock_guard lock(p.mutex);
      ready = true;
    }
    p.cv.notify_one();
    EXPECT_TRUE(eventually([&] { return s.over(); }));
  }
  ready = false;
  {
    sleeper s([&] {
      auto lock = p.lock();
      EXPECT_EQ(heed::wait(c.ctx, p.cv, lock, [&] { return ready; }), errc::canceled);
    });
    ASSERT_TRUE(eventually([&] { return s.blocked(); }));
    c.cancel();
    EXPECT_TRUE(eventually([&] { return s.over(); }));
  }
  auto lock = p.lock();
  EXPECT_EQ(heed::wait(c.ctx, p.cv, lock, [] { return false; }), errc::canceled) << "ended already";
  EXPECT_EQ(heed::wait(c.ctx, p.cv, lock, [] { return true; }), fine) << "ended, but it holds";
}

TYPED_TEST(Condition, AContextThatCanNeverEnd) {
  TypeParam p;
  bool ready = false;
  sleeper s([&] {
    auto lock = p.lock();
    EXPECT_EQ(heed::wait(heed::background(), p.cv, lock, [&] { return ready; }), fine);
  });
  ASSERT_TRUE(eventually([&] { return s.blocked(); }));
  const std::lock_guard lock(p.mutex);
  ready = true;
  p.cv.notify_one();
}

// cancel() by a thread that holds the mutex: it returns, and the waiter is told. That the predicate then
// holds counts.
TYPED_TEST(Condition, CanceledByWhoHoldsTheMutex) {
  for (const bool holds : {false, true}) {
    TypeParam p;
    auto c = heed::with_cancel(heed::background());
    bool ready = false;
    sleeper s([&] {
      auto lock = p.lock();
      EXPECT_EQ(heed::wait(c.ctx, p.cv, lock, [&] { return ready; }),
                holds ? fine : make_error_code(errc::canceled));
    });
    ASSERT_TRUE(eventually([&] { return s.blocked(); }));
    {
      const std::lock_guard lock(p.mutex);
      c.cancel();
      EXPECT_FALSE(s.over());
      ready = holds;
    }
    EXPECT_TRUE(eventually([&] { return s.over(); }));
  }
}

TYPED_TEST(Condition, CanceledInsideThePredicate) {
  TypeParam p;
  auto c = heed::with_cancel(heed::background());
  int calls = 0;
  auto lock = p.lock();
  EXPECT_EQ(heed::wait(c.ctx, p.cv, lock,
                       [&] {
                         if (++calls == 2) c.cancel();
                         return false;
                       }),
            errc::canceled);
  EXPECT_EQ(calls, 3) << "once more, now that the context has ended";
  auto other = heed::with_cancel(heed::background());
  calls = 0;
  EXPECT_EQ(heed::wait(other.ctx, p.cv, lock,
                       [&] {
                         if (++calls == 2) other.cancel();
                         return calls == 2;
                       }),
            fine)
      << "it holds";
}

// A predicate that takes something is not asked again once it held.
TYPED_TEST(Condition, APredicateThatTakesIsAskedNoMoreOnceItHolds) {
  if (std::is_same_v<TypeParam, any_with_shared_lock>) return;  // who shares a lock takes nothing
  TypeParam p;
  auto c = heed::with_cancel(heed::background());
  std::vector<int> queue;
  int taken = 0;
  std::error_code result = errc::canceled;
  sleeper s([&] {
    auto lock = p.lock();
    result = heed::wait(c.ctx, p.cv, lock, [&] {
      if (queue.empty()) return false;
      taken = queue.back();
      queue.pop_back();
      return true;
    });
  });
  ASSERT_TRUE(eventually([&] { return s.blocked(); }));
  {
    const auto lock = p.lock();
    queue.push_back(42);
    c.cancel();
    p.cv.notify_one();
  }
  ASSERT_TRUE(eventually([&] { return s.over(); }));
  EXPECT_EQ(result, fine);
  EXPECT_EQ(taken, 42);
}

// What was done before the end is seen by the last look.
TYPED_TEST(Condition, ThePredicateIsAskedAfterTheContext) {
  TypeParam p;
  auto c = heed::with_cancel(heed::background());
  bool ready = false;
  const heed::cancel_callback set(c.ctx, [&] { ready = true; });
  int calls = 0;
  auto lock = p.lock();
  EXPECT_EQ(heed::wait(c.ctx, p.cv, lock,
                       [&] {
                         const bool now = ready;
                         if (++calls == 2) c.cancel();
                         return now;
                       }),
            fine);
}

TYPED_TEST(Condition, AManualClockEndsTheWait) {
  heed::manual_scheduler time;
  auto c = heed::with_timeout(heed::background(time), 1s);
  TypeParam p;
  sleeper s([&] {
    auto lock = p.lock();
    EXPECT_EQ(heed::wait(c.ctx, p.cv, lock, [] { return false; }), errc::deadline_exceeded);
  });
  ASSERT_TRUE(eventually([&] { return s.blocked(); }));
  time.advance(1s - 1ns);
  EXPECT_FALSE(s.over());
  time.advance(1ns);
  EXPECT_TRUE(eventually([&] { return s.over(); }));
}

TYPED_TEST(Condition, AnExceptionFromThePredicatePasses) {
  TypeParam p;
  auto c = heed::with_cancel(heed::background());
  auto lock = p.lock();
  int calls = 0;
  EXPECT_THROW(heed::wait(c.ctx, p.cv, lock,
                          [&]() -> bool {
                            if (++calls == 2) throw 7;
                            return false;
                          }),
               int);
  if constexpr (requires { lock.owns_lock(); }) {
    EXPECT_TRUE(lock.owns_lock());
  }
  c.cancel();  // with the lock held; nothing is registered any more
}

TEST(ConditionMisuse, WithoutTheLock) {
  std::mutex m;
  std::unique_lock lock(m, std::defer_lock);
  std::condition_variable cv;
  std::condition_variable_any any;
  const auto never = [] { return false; };
  EXPECT_THROW(heed::wait(heed::background(), cv, lock, never), std::invalid_argument);
  EXPECT_THROW(heed::wait(heed::background(), any, lock, never), std::invalid_argument);
}

// Thrown after the context has ended and a helper was sent for: nothing may be left of it.
TEST(ConditionHelper, AnExceptionWhileAHelperIsOnItsWay) {
  for (int i = 0; i < scaled(300); ++i) {
    auto m = std::make_unique<std::mutex>();
    auto cv = std::make_unique<std::condition_variable>();
    auto c = heed::with_cancel(heed::background());
    sleeper s([&] {
      std::unique_lock lock(*m);
      EXPECT_THROW(heed::wait(c.ctx, *cv, lock,
                              [&]() -> bool {
                                if (c.ctx.done()) throw 7;
                                return false;
                              }),
                   int);
      EXPECT_TRUE(lock.owns_lock());
      lock.unlock();
      cv.reset();
      m.reset();
    });
    ASSERT_TRUE(eventually([&] { return s.blocked(); }));
    m->lock();
    c.cancel();
    m->unlock();
    ASSERT_TRUE(eventually([&] { return s.over(); }));
  }
}

// --- futures ---

TEST(Future, ReadyOrTheContextsEnd) {
  auto c = heed::with_cancel(heed::background());
  std::promise<int> promise;
  std::future<int> future = promise.get_future();
  sleeper gives_up([&] { EXPECT_EQ(heed::wait(c.ctx, future), errc::canceled); });
  ASSERT_TRUE(eventually([&] { return gives_up.blocked(); }));
  c.cancel();
  EXPECT_TRUE(eventually([&] { return gives_up.over(); }));
  auto other = heed::with_cancel(heed::background());
  sleeper waits([&] { EXPECT_EQ(heed::wait(other.ctx, future), fine); });
  ASSERT_TRUE(eventually([&] { return waits.blocked(); }));
  promise.set_value(7);
  EXPECT_TRUE(eventually([&] { return waits.over(); }));
  EXPECT_EQ(heed::wait(c.ctx, future), errc::canceled) << "ended already, though it is ready";
  EXPECT_EQ(heed::wait(heed::background(), future), fine);
  EXPECT_EQ(future.get(), 7);
}

TEST(Future, SharedVoidAndReference) {
  auto c = heed::with_cancel(heed::background());
  std::promise<void> none;
  const std::shared_future<void> shared = none.get_future().share();
  none.set_value();
  EXPECT_EQ(heed::wait(c.ctx, shared), fine);
  int n = 0;
  std::promise<int&> reference;
  const std::future<int&> future = reference.get_future();
  reference.set_exception(std::make_exception_ptr(std::runtime_error("no")));
  EXPECT_EQ(heed::wait(c.ctx, future), fine) << "an exception is a result";
  static_cast<void>(n);
}

TEST(Future, DeferredRunsHere) {
  auto c = heed::with_cancel(heed::background());
  int calls = 0;
  std::future<int> future = std::async(std::launch::deferred, [&] { return ++calls; });
  EXPECT_EQ(heed::wait(c.ctx, future), fine);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(future.get(), 1);
  std::future<int> unrun = std::async(std::launch::deferred, [&] { return ++calls; });
  c.cancel();
  EXPECT_EQ(heed::wait(c.ctx, unrun), errc::canceled);
  EXPECT_EQ(calls, 1);
}

TEST(Future, WithoutAStateIsMisuse) {
  EXPECT_THROW(heed::wait(heed::background(), std::future<int>()), std::invalid_argument);
  EXPECT_THROW(heed::wait(heed::background(), std::shared_future<void>()), std::invalid_argument);
}

// A cancel by the mutex's holder wakes many, and borrows one thread for all.
TEST(ConditionThreads, OneForEachMutexHoweverManyWait) {
  std::mutex mutex;
  std::condition_variable cv;
  auto c = heed::with_cancel(heed::background());
  std::vector<std::unique_ptr<sleeper>> all;
  for (int i = 0; i < 50; ++i) {
    all.push_back(std::make_unique<sleeper>([&] {
      std::unique_lock lock(mutex);
      EXPECT_EQ(heed::wait(c.ctx, cv, lock, [] { return false; }), errc::canceled);
    }));
  }
  for (const auto& s : all) ASSERT_TRUE(eventually([&] { return s->blocked(); }));
  const auto before = thread_count();
  {
    const std::lock_guard lock(mutex);
    c.cancel();
    EXPECT_LE(thread_count(), before + 1);
  }
  for (const auto& s : all) EXPECT_TRUE(eventually([&] { return s->over(); }));
}

}  // namespace
