// Threads that cannot be had, the first or a later one (case 31, invariant 11, the executor's X1 to X3).
#include <heed/group.hpp>
#include <heed/heed.hpp>
#include <heed/wait.hpp>

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <pthread.h>
#include <atomic>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <latch>
#include <list>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

using namespace std::chrono_literals;

namespace {
std::atomic<bool> refuse{false};
std::atomic<int> refused{0};
std::atomic<int> to_be_had{INT_MAX};  // so many more, and then none
}  // namespace

// Stands before the C library's, for the whole executable.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                              void* argument) noexcept {
  static const auto real =
      reinterpret_cast<int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>(
          ::dlsym(RTLD_NEXT, "pthread_create"));
  if (refuse || to_be_had.fetch_sub(1) <= 0) {
    ++refused;
    refused.notify_all();
    return EAGAIN;
  }
  return real(thread, attributes, body, argument);
}

namespace {

[[noreturn]] void check_first_thread() {
  const auto fail_with = [](int code) { std::_Exit(code); };
  auto [parent, cancel] = heed::with_cancel(heed::background());
  refuse = true;
  try {
    auto c = heed::with_timeout(parent, 1ms);
    fail_with(1);
  } catch (const std::system_error& e) {
    if (e.code() != std::errc::resource_unavailable_try_again) fail_with(2);
  }
  auto token = std::make_shared<int>(0);
  try {
    heed::after_func(parent, [token] {});
    fail_with(3);
  } catch (const std::system_error&) {
    if (token.use_count() != 1) fail_with(4);
  }
  {
    heed::group g(parent);
    g.set_limit(1);
    for (int i = 0; i < 2; ++i) {
      try {
        i == 0 ? g.go([token](const heed::context&) {})
               : static_cast<void>(g.try_go([token](const heed::context&) {}));
        fail_with(6);
      } catch (const std::system_error&) {
        if (token.use_count() != 1) fail_with(7);
      }
    }
    refuse = false;
    if (g.ctx().done() || !g.try_go([](const heed::context&) {}) || g.wait()) fail_with(8);
  }
  if (parent.done()) fail_with(5);
  auto timed = heed::with_timeout(parent, 1ms);
  timed.ctx.wait();
  std::latch ran{1};
  heed::after_func(parent, [&] { ran.count_down(); });
  cancel();
  ran.wait();
  std::exit(0);
}

// The only thread there is waits for tasks that are queued. They run as soon as there is another.
[[noreturn]] void check_nested_groups() {
  heed::group outer(heed::background());
  std::atomic<bool> ran{false};
  outer.go([&](const heed::context& c) {
    refuse = true;
    heed::group inner(c);
    inner.go([&](const heed::context&) { ran = true; });
    return inner.wait();
  });
  while (refused < 2) std::this_thread::yield();  // the post, and the wait
  if (ran) std::_Exit(1);
  refuse = false;
  if (outer.wait() || !ran) std::_Exit(2);
  std::exit(0);
}

// So many threads are to be had, and no more: the first is the timers', all others run functions.
[[noreturn]] void check_nth_thread(int threads) {
  constexpr int functions = 6;
  const auto require = [](bool holds, int number) {
    if (!holds) std::_Exit(number);
  };
  to_be_had = threads;
  const int running_at_most = threads - 1;
  auto parent = heed::with_cancel(heed::background());
  { auto warm = heed::with_timeout(parent.ctx, 1h); }
  std::atomic<int> running{0};
  std::atomic<int> ran{0};
  std::latch go_on{1};
  std::latch all{functions};
  std::list<heed::cancelable> own;
  for (int i = 0; i < functions; ++i) {
    own.push_back(heed::with_cancel(parent.ctx));
    heed::after_func(own.back().ctx, [&] {
      ++running;
      running.notify_all();
      go_on.wait();
      ++ran;
      all.count_down();
    });
  }
  for (auto& c : own) require(c.cancel(), 1);
  for (int now = running; now != running_at_most; now = running) running.wait(now);
  refused.wait(0);  // somebody asked for one more
  require(!parent.ctx.done() && ran == 0, 2);
  // A deadline is kept, and its callback runs, on the timers' own thread.
  auto timed = heed::with_timeout(parent.ctx, 1ms);
  std::latch called{1};
  const heed::cancel_callback cb(timed.ctx, [&] { called.count_down(); });
  called.wait();
  // Tasks of a group are late, too, not lost; nothing that is queued needs the thread that was not to be had.
  heed::group tasks(parent.ctx);
  std::atomic<int> done{0};
  for (int i = 0; i < functions; ++i) tasks.go([&](const heed::context&) { ++done; });
  require(running == running_at_most && done == 0, 3);
  go_on.count_down();
  all.wait();
  require(!tasks.wait() && done == functions && ran == functions, 4);
  // As soon as there are threads again, as many as needed: each of these waits for all the others.
  to_be_had = INT_MAX;
  std::latch together{2 * functions};
  heed::group many(parent.ctx);
  for (int i = 0; i < 2 * functions; ++i) many.go([&](const heed::context&) { together.arrive_and_wait(); });
  require(!many.wait() && !parent.ctx.done(), 5);
  std::exit(0);
}

}  // namespace

// In a process for each: it counts from the first one. The third is the second that runs functions.
TEST(ThreadFailureDeathTest, EachThreadInTurn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (int threads = 2; threads <= 6; ++threads) {
    EXPECT_EXIT(check_nth_thread(threads), testing::ExitedWithCode(0), "") << threads;
  }
}

TEST(ThreadFailureDeathTest, NestedGroupsGoOnOnceThereIsAThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(check_nested_groups(), testing::ExitedWithCode(0), "");
}

// The helper that a cancel under the mutex wants cannot be had: its waiter leaves without it.
TEST(ThreadFailure, WaiterOfAConditionLeavesWithoutItsHelper) {
  std::mutex mutex;
  std::condition_variable cv;
  auto c = heed::with_cancel(heed::background());
  std::latch inside{1};
  std::error_code result;
  std::thread waiter([&] {
    std::unique_lock lock(mutex);
    inside.count_down();
    result = heed::wait(c.ctx, cv, lock, [] { return false; });
  });
  inside.wait();
  {
    const std::lock_guard lock(mutex);  // so it sleeps
    refuse = true;
    c.cancel();
    refuse = false;
  }
  waiter.join();
  EXPECT_EQ(result, heed::errc::canceled);
}

// In a process of its own: it must be the first thread.
TEST(ThreadFailureDeathTest, TheFirstThreadFailsAndNothingChanges) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(check_first_thread(), testing::ExitedWithCode(0), "");
}

// The one thread there is blocks, and no other can be had: functions and callbacks of deadlines are late, not
// lost.
TEST(ThreadFailure, FunctionsQueueUntilAThreadIsFree) {
  auto first = heed::with_cancel(heed::background());
  auto second = heed::with_cancel(heed::background());
  std::latch blocked{1};
  std::latch go_on{1};
  std::atomic<int> ran{0};
  std::latch all{3};
  heed::after_func(first.ctx, [&] {
    blocked.count_down();
    go_on.wait();
    ++ran;
    all.count_down();
  });
  for (int i = 0; i < 2; ++i) {
    heed::after_func(second.ctx, [&] {
      ++ran;
      all.count_down();
    });
  }
  { auto warm = heed::with_timeout(heed::background(), 1h); }
  first.cancel();
  blocked.wait();
  const int before = refused;
  refuse = true;
  second.cancel();
  EXPECT_GT(refused, before) << "this test wants the threads to run out";
  EXPECT_EQ(ran, 0);
  auto timed = heed::with_timeout(heed::background(), 1ms);
  std::latch called{1};
  const heed::cancel_callback cb(timed.ctx, [&] { called.count_down(); });
  called.wait();  // on the timer thread, for want of another
  go_on.count_down();
  all.wait();
  EXPECT_EQ(ran, 3);
  refuse = false;
}
