// Deadlines and functions across fork() (case 29): what heed's threads had to do is the parent's; what the
// child goes on with counts there, too. Each in a process of its own.
#include "sanitizers.hpp"

#include <heed/heed.hpp>
#include <heed/wait.hpp>

#include <gtest/gtest.h>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;

namespace {

constexpr heed::key<int> key{"key"};

// Runs it in a child that begins with a fresh program image; nothing there may take as long as a minute.
void expect_exit_0(void (*body)()) {
  if (under_tsan || under_asan) GTEST_SKIP() << "they do not support threads that are started after a fork";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

// What a forked child that runs `body` exits with.
template <class F>
int in_child(F body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    body();
    std::_Exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
void check(bool holds, int otherwise) {
  if (!holds) std::_Exit(otherwise);
}

// A thread that gets the stack of one that is gone, and uses all of it while a deadline of its own passes.
void overwrite_a_stack() {
  std::thread([] {
    volatile char all[300'000];
    for (volatile char& c : all) c = 0x41;
    check(heed::with_timeout(heed::background(), 100ms).ctx.wait_for(30s), 2);
    for (volatile char& c : all) check(c == 0x41, 3);
  }).join();
}

bool becomes_readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 30'000) == 1;
}

// What a child may go on with: a deadline, and what lies below it, over a merge.
struct inherited {
  heed::cancelable timed = heed::with_timeout(heed::background(), 30ms);
  heed::cancelable later = heed::with_timeout(heed::background(), 1h);
  heed::cancelable both = heed::merge(later.ctx, timed.ctx);
  heed::cancelable below = heed::with_cancel(heed::with_value(both.ctx, key, 1));

  bool has_ended_right() const {
    return heed::clock::now() >= *timed.ctx.deadline() && timed.ctx.err() == heed::errc::deadline_exceeded &&
           below.ctx.err() == heed::errc::deadline_exceeded && !later.ctx.done();
  }
};
template <class F>
void expect_taken_over(F by) {
  const inherited all;
  const int ended = in_child([&] {
    check(!all.timed.ctx.done(), 10);
    by(all);
    check(all.has_ended_right(), 11);
  });
  if (ended != 0) std::_Exit(ended);
}

}  // namespace

// Another thread is in the midst of making children: the lock is held by nobody in the child.
TEST(ForkDeathTest, NobodyElsesDeadlineHoldsUpTheChilds) {
  expect_exit_0([] {
    std::atomic<bool> over{false};
    std::thread other([&] {
      while (!over) {
        const auto shared = heed::with_timeout(heed::background(), 1ms);
        while (!shared.ctx.done()) heed::with_cancel(shared.ctx).cancel();
      }
    });
    for (int round = 0; round < 60; ++round) {
      const int ended = in_child([] {
        const auto own = heed::with_timeout(heed::background(), 5ms);
        check(own.ctx.wait_for(30s), 1);
      });
      if (ended != 0) std::_Exit(ended);
    }
    over = true;
    other.join();
    std::exit(0);
  });
}

// What another thread registered lies on a stack that the child uses for something else.
TEST(ForkDeathTest, NobodyElsesCallbackRunsInTheChild) {
  expect_exit_0([] {
    for (const bool waits : {false, true}) {
      std::atomic<bool> ready{false};
      std::mutex m;
      std::condition_variable cv;
      std::thread other([&] {
        const auto theirs = heed::with_timeout(heed::background(), 50ms);
        const heed::cancel_callback told(theirs.ctx, [] {});
        std::unique_lock lock(m);
        ready = true;
        if (!waits) return static_cast<void>(theirs.ctx.wait());
        static_cast<void>(heed::wait(theirs.ctx, cv, lock, [] { return false; }));
      });
      while (!ready) std::this_thread::yield();
      std::this_thread::sleep_for(5ms);
      if (const int ended = in_child(overwrite_a_stack)) std::_Exit(ended);
      other.join();
    }
    std::exit(0);
  });
}

TEST(ForkDeathTest, ADeadlineCountsInTheChildThatWaits) {
  expect_exit_0([] {
    expect_taken_over([](const inherited& i) { check(i.below.ctx.wait_for(30s), 1); });
    expect_taken_over([](const inherited& i) { i.below.ctx.wait(); });
    expect_taken_over([](const inherited& i) {
      static_cast<void>(i.timed.ctx.wait_for(0s));  // once for both
      check(i.below.ctx.wait_for(30s), 2);
    });
    expect_taken_over([](const inherited& i) {
      const auto mine = heed::with_cancel(i.below.ctx);
      check(heed::sleep_for(mine.ctx, 30s) == heed::errc::deadline_exceeded, 3);
    });
    std::exit(0);
  });
}

TEST(ForkDeathTest, ADeadlineCountsInTheChildThatIsToBeTold) {
  expect_exit_0([] {
    expect_taken_over([](const inherited& i) { check(becomes_readable(i.below.ctx.done_fd()), 1); });
    expect_taken_over([](const inherited& i) {
      std::atomic<bool> told{false};
      const heed::cancel_callback one(i.below.ctx, [&] {
        told = true;
        told.notify_all();
      });
      told.wait(false);
    });
    expect_taken_over([](const inherited& i) {
      std::atomic<bool> ran{false};
      heed::after_func(i.below.ctx, [&] {
        ran = true;
        ran.notify_all();
      });
      ran.wait(false);
    });
    std::exit(0);
  });
}

// A child's child, which takes over what its parent has taken over.
TEST(ForkDeathTest, ADeadlineCountsInAGrandchild) {
  expect_exit_0([] {
    expect_taken_over([](const inherited& i) {
      const auto mine = heed::with_timeout(heed::background(), 20ms);
      const int fd = i.below.ctx.done_fd();
      const int ended = in_child([&] {
        check(i.below.ctx.wait_for(30s) && i.has_ended_right(), 1);
        check(mine.ctx.wait_for(30s), 2);
      });
      check(ended == 0, ended);
      check(becomes_readable(fd) && mine.ctx.wait_for(30s), 3);
    });
    std::exit(0);
  });
}

// Canceled before its time, and dropped, with a timer of the child's still on its way.
TEST(ForkDeathTest, WhatWasTakenOverMayEndOtherwise) {
  expect_exit_0([] {
    auto timed = heed::with_timeout(heed::background(), 30ms);
    std::_Exit(in_child([&] {
      static_cast<void>(timed.ctx.wait_for(1us));
      check(timed.cancel("early"), 1);
      const auto when = *timed.ctx.deadline();
      check(timed.ctx.cause().message() == "early", 2);
      timed = {};
      check(!heed::sleep_until(heed::background(), when + 10ms), 3);
      check(heed::with_timeout(heed::background(), 1ms).ctx.wait_for(30s), 4);
    }));
  });
}

// Who polls sets a deadline of its own, at the same time if need be.
TEST(ForkDeathTest, AChildSetsTheSameDeadlineAnew) {
  expect_exit_0([] {
    const auto timed = heed::with_timeout(heed::background(), 20ms);
    std::_Exit(in_child([&] {
      const auto again = heed::with_deadline(timed.ctx, *timed.ctx.deadline());
      while (!again.ctx.done()) std::this_thread::yield();
      check(again.ctx.err() == heed::errc::deadline_exceeded, 1);
    }));
  });
}

// A function that was queued, as one that runs, is the parent's.
TEST(ForkDeathTest, FunctionsRunInTheParentAlone) {
  expect_exit_0([] {
    static std::atomic<int> ran{0};
    const auto ended = heed::with_cancel(heed::background());
    ended.cancel();
    constexpr int count = 100;
    for (int i = 0; i < count; ++i) heed::after_func(ended.ctx, [] { ++ran; });
    const int in_the_child = in_child([&] {
      const int before = ran;
      std::atomic<bool> own{false};
      heed::after_func(ended.ctx, [&] {
        own = true;
        own.notify_all();
      });
      own.wait(false);
      std::this_thread::sleep_for(5ms);
      check(ran == before, 1);
    });
    while (ran < count) std::this_thread::yield();
    std::_Exit(in_the_child);
  });
}
