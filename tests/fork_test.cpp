// Deadlines and functions across fork() (case 29): what heed's threads had to do is the parent's; what the
// child goes on with counts there, too. Each in a process of its own.
#include "process/program.hpp"
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
#include <latch>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr heed::key<int> key{"key"};

// Runs it in a child that begins with a fresh program image; nothing there may take as long as a minute.
void expect_exit_0(void (*body)()) {
  if (under_tsan || under_asan) GTEST_SKIP() << "they do not support threads that are started after a fork";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

using process::in_child;
void check(bool holds, int otherwise) {
  if (!holds) std::_Exit(otherwise);
}

// Threads that get the stacks of those that are gone, and use all of them while a deadline of the child
// passes.
void overwrite_stacks() {
  constexpr int count = 3;
  std::latch filled(count + 1), over(count + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      volatile char all[300'000];
      for (volatile char& c : all) c = 0x41;
      filled.arrive_and_wait();
      over.arrive_and_wait();
      for (volatile char& c : all) check(c == 0x41, 3);
    });
  }
  filled.arrive_and_wait();
  check(heed::with_timeout(heed::background(), 100ms).ctx.wait_for(30s), 2);
  over.arrive_and_wait();
  for (std::thread& t : threads) t.join();
}

bool becomes_readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 30'000) == 1;
}

// What a child may go on with: a deadline, and what lies below it, over a merge.
struct inherited {
  heed::cancelable timed = heed::with_timeout(heed::background(), 300ms);  // not before the fork
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
      if (const int ended = in_child(overwrite_stacks)) std::_Exit(ended);
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
      static_cast<void>(i.timed.ctx.wait_for(0s));
      check(i.below.ctx.wait_for(30s), 2);
    });
    expect_taken_over([](const inherited& i) {
      const auto mine = heed::with_cancel(i.below.ctx);
      check(heed::sleep_for(mine.ctx, 30s) == heed::errc::deadline_exceeded, 3);
    });
    std::exit(0);
  });
}

// A child's child.
TEST(ForkDeathTest, ADeadlineCountsInAGrandchild) {
  expect_exit_0([] {
    expect_taken_over([](const inherited& i) {
      const auto mine = heed::with_timeout(heed::background(), 20ms);
      const int ended = in_child([&] {
        check(mine.ctx.wait_for(30s), 1);
        check(i.below.ctx.wait_for(30s) && i.has_ended_right(), 2);
      });
      check(ended == 0, ended);
      check(mine.ctx.wait_for(30s) && i.below.ctx.wait_for(30s), 3);
    });
    std::exit(0);
  });
}

// Whatever stands beside it: another scheduler's deadline, or one that a custom context only tells of.
TEST(ForkDeathTest, ADeadlineCountsBesideOtherClocks) {
  expect_exit_0([] {
    struct told_of : heed::custom_context {
      explicit told_of(anchor a) : custom_context(a) {}
      std::optional<heed::time_point> deadline() const noexcept override { return heed::clock::now() + 1ms; }
    };
    heed::manual_scheduler time;
    const auto by_hand = heed::with_timeout(heed::background(time), 1s);
    const auto told = heed::with_custom<told_of>(heed::background());
    for (const heed::context& other : {by_hand.ctx, told.ctx}) {
      const auto timed = heed::with_timeout(heed::background(), 30ms);
      const auto both = heed::merge(other, timed.ctx);
      const auto later = heed::with_timeout(both.ctx, 1h);
      const auto again = heed::merge(both.ctx, both.ctx);
      const int ended = in_child([&] {
        again.ctx.wait();  // by no clock, so that the alarm ends what hangs
        check(timed.ctx.done() && later.ctx.done() && !other.done(), 1);
      });
      if (ended != 0) std::_Exit(ended);
    }
    std::_Exit(0);
  });
}

// What the child sets below an inherited deadline is armed, and no later: also for who polls, or is to be
// told.
TEST(ForkDeathTest, ADeadlineThatTheChildSetsIsNoLater) {
  expect_exit_0([] {
    const auto right = [](const inherited& i, const heed::context& own) {
      check(own.err() == heed::errc::deadline_exceeded, 1);
      check(*own.deadline() == *i.timed.ctx.deadline() && heed::clock::now() >= *own.deadline(), 2);
    };
    for (const auto timeout : {heed::duration(1h), heed::duration::max()}) {
      const inherited all;
      const int ended = in_child([&] {
        const auto own = heed::with_timeout(all.below.ctx, timeout);
        const auto below = heed::with_cancel(own.ctx);
        std::atomic<bool> told{false};
        const heed::cancel_callback one(below.ctx, [&] {
          told = true;
          told.notify_all();
        });
        check(becomes_readable(own.ctx.done_fd()), 3);
        told.wait(false);
        right(all, own.ctx);
      });
      if (ended != 0) std::_Exit(ended);
    }
    const inherited all;
    std::_Exit(in_child([&] {
      const auto same = heed::with_deadline(all.timed.ctx, *all.timed.ctx.deadline());
      const auto earlier = heed::with_timeout(all.timed.ctx, 1ms);
      while (!earlier.ctx.done()) std::this_thread::yield();
      check(!same.ctx.done() || heed::clock::now() >= *same.ctx.deadline(), 4);
      while (!same.ctx.done()) std::this_thread::yield();
      right(all, same.ctx);
    }));
  });
}

// Another thread's timers lie on its stack, where the child has something else; a child forgets them before
// that.
TEST(ForkDeathTest, TimersOfOthersAreNotTouched) {
  expect_exit_0([] {
    // A user's scheduler that leaves the time to heed's: what waits for it is armed there.
    struct forwarding : heed::scheduler {
      heed::time_point now() const noexcept override { return heed::clock::now(); }
      void arm(heed::timer& t, heed::time_point when) override { heed::default_scheduler().arm(t, when); }
      void disarm(heed::timer& t) noexcept override { heed::default_scheduler().disarm(t); }
      void post(heed::work& w) noexcept override { heed::default_scheduler().post(w); }
    };
    static forwarding elsewhere;
    std::atomic<bool> ready{false};
    std::thread other([&] {
      const heed::context root = heed::background(elsewhere);
      const auto theirs = heed::with_cancel(root);
      ready = true;
      static_cast<void>(theirs.ctx.wait_for(200ms));
    });
    while (!ready) std::this_thread::yield();
    std::this_thread::sleep_for(5ms);
    const auto mine = heed::with_timeout(heed::background(), 1h);
    const int ended = in_child([&] {
      mine.cancel();
      overwrite_stacks();
    });
    other.join();
    std::_Exit(ended);
  });
}

// A root's own memory is to be had back as soon as nothing is below that root: nothing of heed's keeps it.
TEST(ForkDeathTest, NothingIsKeptForADeadlineThatIsOver) {
  expect_exit_0([] {
    struct arena : heed::memory {
      void* allocate(std::size_t size, std::size_t) override { return std::malloc(size); }
      void deallocate(void* p, std::size_t, std::size_t) noexcept override { std::free(p); }
    };
    static arena its;
    auto timed = heed::with_timeout(heed::background(its), 1h);
    std::_Exit(in_child([&] {
      check(!timed.ctx.wait_for(1ms), 1);
      check(timed.cancel(), 2);
      timed = {};
      its.wait_unused();
    }));
  });
}

// The thread that keeps time is not caught in the midst of a walk.
TEST(ForkDeathTest, NoWalkOfHeedsIsHalfwayInTheChild) {
  expect_exit_0([] {
    for (int round = 0; round < 20; ++round) {
      auto timed = heed::with_timeout(heed::background(), 20ms);
      std::vector<heed::cancelable> below;
      for (int i = 0; i < 20'000; ++i) below.push_back(heed::with_cancel(timed.ctx));
      const auto fork_at = *timed.ctx.deadline() + round * 20us;
      while (heed::clock::now() < fork_at) {}
      const int ended = in_child([&] {
        below.clear();
        check(timed.ctx.wait_for(30s), 1);
      });
      if (ended != 0) std::_Exit(ended);
    }
    std::exit(0);
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
