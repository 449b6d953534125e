// Waiting for the end of a context: wait, wait_for, wait_until, and done_fd for poll and epoll.
#include "support.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <deque>
#include <latch>
#include <system_error>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

constexpr heed::key<int> number_key{"number"};

TEST(Wait, ReturnsWhenDone) {
  auto c = heed::with_cancel(heed::background());
  const heed::context value = heed::with_value(c.ctx, number_key, 1);
  auto below = heed::with_cancel(value);
  std::latch started(3);
  {
    std::vector<thread> waiters;
    for (const heed::context& ctx : {c.ctx, value, below.ctx}) {
      waiters.emplace_back([&started, ctx] {
        started.count_down();
        ctx.wait();
        EXPECT_EQ(ctx.err(), errc::canceled);
        EXPECT_EQ(ctx.cause().message(), "over");
      });
    }
    started.wait();
    c.cancel("over");
  }
  c.ctx.wait();
}

TEST(Wait, ManyWaiters) {
  for (int round = 0; round < 20; ++round) {
    auto c = heed::with_cancel(heed::background());
    std::vector<thread> waiters;
    for (int i = 0; i < 16; ++i) {
      waiters.emplace_back([&c, i] {
        if (i % 2 == 0) {
          c.ctx.wait();
        } else {
          EXPECT_TRUE(c.ctx.wait_for(eventually_bound));
        }
      });
    }
    c.cancel();
  }
}

TEST(Wait, EndsByADeadline) {
  auto c = heed::with_timeout(heed::background(), 1ms);
  c.ctx.wait();
  EXPECT_EQ(c.ctx.err(), errc::deadline_exceeded);
  EXPECT_GE(heed::clock::now(), *c.ctx.deadline());
}

TEST(Wait, WaitForNeverReturnsFalseEarly) {
  auto c = heed::with_cancel(heed::background());
  for (const auto d : {1ns, 999ns, 1'000'000ns, 3'333'333ns}) {
    const auto before = heed::clock::now();
    EXPECT_FALSE(c.ctx.wait_for(d));
    EXPECT_GE(heed::clock::now(), before + d);
  }
  const auto until = heed::clock::now() + 2ms;
  EXPECT_FALSE(c.ctx.wait_until(until));
  EXPECT_GE(heed::clock::now(), until);
  const auto wall = std::chrono::system_clock::now() + 1ms;
  EXPECT_FALSE(c.ctx.wait_until(wall));
}

TEST(Wait, WhereCancelIsNotPossible) {
  for (const heed::context& ctx :
       {heed::background(), heed::todo(), heed::with_value(heed::background(), number_key, 1)}) {
    const auto before = heed::clock::now();
    EXPECT_FALSE(ctx.wait_for(1ms));
    EXPECT_GE(heed::clock::now(), before + 1ms);
    EXPECT_FALSE(ctx.wait_until(before));
  }
}

TEST(Wait, DurationsThatNeedNoWaiting) {
  auto c = heed::with_cancel(heed::background());
  EXPECT_FALSE(c.ctx.wait_for(0s));
  EXPECT_FALSE(c.ctx.wait_for(-1h));
  EXPECT_FALSE(c.ctx.wait_for(heed::duration::min()));
  EXPECT_FALSE(c.ctx.wait_until(heed::time_point::min()));
  EXPECT_FALSE(c.ctx.wait_until(std::chrono::system_clock::time_point::min()));
  c.cancel();
  EXPECT_TRUE(c.ctx.wait_for(0s));
  EXPECT_TRUE(c.ctx.wait_for(-1h));
  EXPECT_TRUE(c.ctx.wait_for(heed::duration::min()));
  EXPECT_TRUE(c.ctx.wait_until(heed::time_point::min()));
}

// The longest durations wait for ever, and do not overflow into returning at once.
TEST(Wait, LongestDurations) {
  const auto waits = [](auto d) {
    auto c = heed::with_cancel(heed::background());
    std::latch started(1);
    const thread waiter([&] {
      started.count_down();
      EXPECT_TRUE(c.ctx.wait_for(d));
    });
    started.wait();
    c.cancel();
  };
  waits(heed::duration::max());
  waits(std::chrono::hours::max());
  waits(std::chrono::duration<double>::max());
  waits(std::chrono::duration<float>(std::numeric_limits<float>::infinity()));
  auto c = heed::with_cancel(heed::background());
  std::latch started(2);
  const thread waiter([&] {
    started.count_down();
    EXPECT_TRUE(c.ctx.wait_until(heed::time_point::max()));
  });
  const thread wall_waiter([&] {
    started.count_down();
    EXPECT_TRUE(c.ctx.wait_until(std::chrono::system_clock::time_point::max()));
  });
  started.wait();
  c.cancel();
}

TEST(Wait, UnderAManualSchedulerItsClockCounts) {
  heed::manual_scheduler time;
  auto c = heed::with_timeout(heed::background(time), 10s);
  const heed::time_point until = time.now() + 5s;
  {
    const thread waiter([&] {
      EXPECT_FALSE(c.ctx.wait_until(until));
      EXPECT_GE(time.now(), until);
    });
    time.advance(5s);
  }
  {
    const thread waiter([&] { EXPECT_TRUE(c.ctx.wait_for(very_long)); });
    time.advance(5s);
  }
  EXPECT_EQ(c.ctx.err(), errc::deadline_exceeded);
  // The root can be waited on too, by its clock.
  const heed::context root = heed::background(time);
  const heed::time_point later = time.now() + 1s;
  const thread waiter([&] { EXPECT_FALSE(root.wait_until(later)); });
  time.advance(1s);
}

TEST(DoneFd, ReadableOnceDoneLevelTriggeredAlwaysTheSame) {
  auto c = heed::with_cancel(heed::background());
  const int fd = c.ctx.done_fd();
  ASSERT_GE(fd, 0);
  EXPECT_EQ(c.ctx.done_fd(), fd);
  EXPECT_EQ(heed::context(c.ctx).done_fd(), fd) << "by another handle";
  EXPECT_FALSE(readable(fd));
  c.cancel();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(readable(fd)) << "level-triggered";
  EXPECT_EQ(c.ctx.done_fd(), fd);
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << "it does not leak into other programs";
}

TEST(DoneFd, MadeOnlyAfterTheEnd) {
  auto c = heed::with_cancel(heed::background());
  auto below = heed::with_cancel(c.ctx);
  c.cancel();
  EXPECT_TRUE(readable(c.ctx.done_fd()));
  EXPECT_TRUE(readable(below.ctx.done_fd()));
  EXPECT_TRUE(readable(heed::with_cancel(c.ctx).ctx.done_fd())) << "born done";
}

TEST(DoneFd, EveryWayToEnd) {
  heed::manual_scheduler time;
  auto timed = heed::with_timeout(heed::background(time), 1s);
  auto below = heed::with_cancel(timed.ctx);
  auto custom = heed::with_custom<plain_custom>(timed.ctx);
  const int timed_fd = timed.ctx.done_fd();
  const int below_fd = below.ctx.done_fd();
  const int custom_fd = custom.ctx.done_fd();
  const int value_fd = heed::with_value(below.ctx, number_key, 1).done_fd();
  for (const int fd : {timed_fd, below_fd, custom_fd, value_fd}) EXPECT_FALSE(readable(fd));
  custom.self.end();
  EXPECT_TRUE(readable(custom_fd));
  EXPECT_FALSE(readable(timed_fd));
  time.advance(1s);
  for (const int fd : {timed_fd, below_fd, custom_fd, value_fd}) EXPECT_TRUE(readable(fd));
}

TEST(DoneFd, WhereCancelIsNotPossible) {
  auto c = heed::with_cancel(heed::background());
  const int fd = heed::background().done_fd();
  EXPECT_NE(::fcntl(fd, F_GETFD), -1) << "valid";
  EXPECT_EQ(heed::todo().done_fd(), fd) << "one for the whole process";
  EXPECT_EQ(heed::without_cancel(c.ctx).done_fd(), fd);
  EXPECT_NE(c.ctx.done_fd(), fd);
  c.cancel();
  EXPECT_FALSE(readable(fd));
}

TEST(DoneFd, IsClosedWithItsContext) {
  int fd = -1;
  {
    auto c = heed::with_cancel(heed::background());
    fd = c.ctx.done_fd();
    EXPECT_NE(::fcntl(fd, F_GETFD), -1);
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(DoneFd, InAnEpoll) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  ASSERT_GE(epoll, 0);
  constexpr std::size_t n = 10;
  std::vector<heed::cancelable> many;
  for (std::size_t i = 0; i < n; ++i) {
    many.push_back(heed::with_cancel(heed::background()));
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = i;
    ASSERT_EQ(::epoll_ctl(epoll, EPOLL_CTL_ADD, many.back().ctx.done_fd(), &e), 0);
  }
  epoll_event got[n];
  EXPECT_EQ(::epoll_wait(epoll, got, n, 0), 0);
  {
    const thread canceler([&many] {
      many[7].cancel();
      many[2].cancel();
    });
    EXPECT_GE(::epoll_wait(epoll, got, n, -1), 1) << "a cancel wakes who sleeps in epoll_wait";
  }
  ASSERT_EQ(::epoll_wait(epoll, got, n, 0), 2);
  EXPECT_EQ(got[0].data.u64 + got[1].data.u64, 9U);
  EXPECT_EQ(::epoll_wait(epoll, got, n, 0), 2) << "level-triggered";
  ::close(epoll);
}

// Invariant 1, fd against err(), raced from two threads in both directions.
TEST(DoneFd, ErrImpliesReadable) {
  for (int i = 0; i < 500; ++i) {
    auto c = heed::with_cancel(heed::background());
    auto below = heed::with_cancel(c.ctx);
    const heed::context& ctx = i % 2 == 0 ? c.ctx : below.ctx;
    const int fd = ctx.done_fd();
    std::barrier start(2);
    const thread canceler([&] {
      start.arrive_and_wait();
      c.cancel();
    });
    start.arrive_and_wait();
    while (!ctx.err()) {}
    ASSERT_TRUE(readable(fd)) << "round " << i;
  }
}

TEST(DoneFd, ReadableImpliesErr) {
  for (int i = 0; i < 500; ++i) {
    auto c = heed::with_cancel(heed::background());
    auto below = heed::with_cancel(c.ctx);
    const heed::context& ctx = i % 2 == 0 ? c.ctx : below.ctx;
    const int fd = ctx.done_fd();
    std::barrier start(2);
    const thread canceler([&] {
      start.arrive_and_wait();
      c.cancel("why");
    });
    start.arrive_and_wait();
    while (!readable(fd)) {}
    ASSERT_EQ(ctx.err(), errc::canceled) << "round " << i;
    ASSERT_EQ(ctx.cause().message(), "why");
  }
}

// The fd is made while the context is being canceled: it is readable once the context is done.
TEST(DoneFd, MadeDuringTheCancel) {
  for (int i = 0; i < 500; ++i) {
    auto c = heed::with_cancel(heed::background());
    std::barrier start(3);
    int seen[2] = {-1, -1};
    {
      const thread canceler([&] {
        start.arrive_and_wait();
        c.cancel();
      });
      const thread other([&] {
        start.arrive_and_wait();
        seen[0] = c.ctx.done_fd();
      });
      start.arrive_and_wait();
      seen[1] = c.ctx.done_fd();
      pollfd p{seen[1], POLLIN, 0};
      ASSERT_EQ(::poll(&p, 1, -1), 1);
      ASSERT_TRUE(c.ctx.done());
    }
    ASSERT_EQ(seen[0], seen[1]) << "two threads, one fd";
    ASSERT_TRUE(readable(c.ctx.done_fd()));
  }
}

class no_more_fds {
 public:
  no_more_fds() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  no_more_fds(const no_more_fds&) = delete;
  no_more_fds& operator=(const no_more_fds&) = delete;
  ~no_more_fds() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(DoneFd, NoDescriptorToBeHad) {
  auto c = heed::with_cancel(heed::background());
  auto done = heed::with_cancel(heed::background());
  done.cancel();
  std::error_code first;
  std::error_code second;
  bool live = false;
  {
    const no_more_fds limit;
    try {
      static_cast<void>(c.ctx.done_fd());
    } catch (const std::system_error& e) {
      first = e.code();
    }
    try {
      static_cast<void>(done.ctx.done_fd());
    } catch (const std::system_error& e) {
      second = e.code();
    }
    live = !c.ctx.done() && !c.ctx.wait_for(0s) && !c.ctx.cause();
  }
  EXPECT_EQ(first, std::errc::too_many_files_open);
  EXPECT_EQ(second, std::errc::too_many_files_open);
  EXPECT_TRUE(live) << "nothing has changed";
  const int fd = c.ctx.done_fd();
  EXPECT_FALSE(readable(fd)) << "a later call succeeds";
  EXPECT_TRUE(readable(done.ctx.done_fd()));
  c.cancel();
  EXPECT_TRUE(readable(fd));
}

// Canceling needs no descriptor, whether one was asked for or not.
TEST(DoneFd, CancelWithoutDescriptors) {
  auto with_fd = heed::with_cancel(heed::background());
  auto without = heed::with_cancel(heed::background());
  const int fd = with_fd.ctx.done_fd();
  {
    const no_more_fds limit;
    EXPECT_TRUE(with_fd.cancel());
    EXPECT_TRUE(without.cancel());
  }
  EXPECT_TRUE(readable(fd));
  EXPECT_TRUE(readable(without.ctx.done_fd()));
}

// What a forked child does never shows in its parent.
int exit_code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(DoneFdFork, ACancelInTheChildStaysThere) {
  auto c = heed::with_cancel(heed::background());
  auto below = heed::with_cancel(c.ctx);
  auto unasked = heed::with_cancel(c.ctx);
  const int fd = c.ctx.done_fd();
  const int below_fd = below.ctx.done_fd();
  const pid_t child = ::fork();
  if (child == 0) {
    int bad = 0;
    if (c.ctx.done() || readable(c.ctx.done_fd())) bad |= 1;
    c.cancel();
    if (!c.ctx.done() || !below.ctx.done() || !unasked.ctx.done()) bad |= 2;
    if (!readable(c.ctx.done_fd()) || !readable(below.ctx.done_fd())) bad |= 4;
    if (!readable(unasked.ctx.done_fd())) bad |= 8;
    ::_exit(bad);
  }
  ASSERT_GT(child, 0);
  EXPECT_EQ(exit_code_of(child), 0);
  EXPECT_FALSE(readable(fd));
  EXPECT_FALSE(readable(below_fd));
  for (const heed::context& ctx : {c.ctx, below.ctx, unasked.ctx}) EXPECT_TRUE(is_live(ctx));
  EXPECT_EQ(c.ctx.done_fd(), fd);
  c.cancel();
  EXPECT_TRUE(readable(fd));
  EXPECT_TRUE(readable(below_fd));
}

// A child that cancels without having asked for the fd anew.
TEST(DoneFdFork, ACancelInTheChildAtOnce) {
  auto c = heed::with_cancel(heed::background());
  const int fd = c.ctx.done_fd();
  const pid_t child = ::fork();
  if (child == 0) {
    c.cancel();
    const bool good = c.ctx.err() == errc::canceled && readable(c.ctx.done_fd());
    ::_exit(good ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  EXPECT_EQ(exit_code_of(child), 0);
  EXPECT_FALSE(readable(fd));
  EXPECT_TRUE(is_live(c.ctx));
}

// And a cancel in the parent after the fork is not the child's business either.
TEST(DoneFdFork, ACancelInTheParentStaysThere) {
  auto c = heed::with_cancel(heed::background());
  static_cast<void>(c.ctx.done_fd());
  int tell[2];
  ASSERT_EQ(::pipe(tell), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    if (::read(tell[0], &byte, 1) != 1) ::_exit(2);
    ::_exit(!c.ctx.done() && !readable(c.ctx.done_fd()) ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  c.cancel();
  EXPECT_EQ(::write(tell[1], "x", 1), 1);
  EXPECT_EQ(exit_code_of(child), 0);
  ::close(tell[0]);
  ::close(tell[1]);
  EXPECT_TRUE(is_done(c.ctx, errc::canceled));
}

}  // namespace
