// done_fd() in the loops that people have: poll, select, epoll by level and by edge, ten thousand at once,
// across fork.
#include "support.hpp"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <initializer_list>
#include <set>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

class epoll_set {
 public:
  epoll_set() : fd_(::epoll_create1(EPOLL_CLOEXEC)) { EXPECT_GE(fd_, 0); }
  epoll_set(const epoll_set&) = delete;
  epoll_set& operator=(const epoll_set&) = delete;
  ~epoll_set() { ::close(fd_); }
  void add(int fd, std::uint64_t name, std::uint32_t events = EPOLLIN) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = name;
    EXPECT_EQ(::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &e), 0) << std::generic_category().message(errno);
  }
  // What is ready now, or, with -1, as soon as something is.
  std::vector<std::uint64_t> ready(int timeout = 0) {
    std::array<epoll_event, 256> got{};
    int n = 0;
    do {
      n = ::epoll_wait(fd_, got.data(), static_cast<int>(got.size()), timeout);
    } while (n < 0 && errno == EINTR);
    std::vector<std::uint64_t> names;
    for (int i = 0; i < n; ++i) {
      const std::uint64_t name = got.at(static_cast<std::size_t>(i)).data.u64;  // no reference: it is packed
      names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  int fd_;
};
using names = std::vector<std::uint64_t>;

int exit_code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(DoneFdLoop, PollAmongOtherDescriptors) {
  auto c = heed::with_cancel(heed::background());
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::array<pollfd, 3> set{
      {{ends[0], POLLIN, 0}, {c.ctx.done_fd(), POLLIN, 0}, {heed::background().done_fd(), POLLIN, 0}}};
  EXPECT_EQ(::poll(set.data(), set.size(), 0), 0);
  {
    const thread canceler([&] { c.cancel(); });
    EXPECT_EQ(::poll(set.data(), set.size(), -1), 1) << "a cancel wakes who sleeps in poll";
  }
  EXPECT_EQ(set[0].revents, 0);
  EXPECT_EQ(set[1].revents, POLLIN) << "readable, and no error";
  EXPECT_EQ(set[2].revents, 0);
  EXPECT_EQ(c.ctx.err(), errc::canceled);
  ASSERT_EQ(::write(ends[1], "x", 1), 1);
  EXPECT_EQ(::poll(set.data(), set.size(), -1), 2) << "by level";
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(DoneFdLoop, Select) {
  auto c = heed::with_cancel(heed::background());
  const int fd = c.ctx.done_fd();
  ASSERT_LT(fd, FD_SETSIZE);
  fd_set set;
  timeval none{};
  FD_ZERO(&set);
  FD_SET(fd, &set);
  EXPECT_EQ(::select(fd + 1, &set, nullptr, nullptr, &none), 0);
  FD_SET(fd, &set);
  {
    const thread canceler([&] { c.cancel(); });
    EXPECT_EQ(::select(fd + 1, &set, nullptr, nullptr, nullptr), 1) << "a cancel wakes who sleeps in select";
  }
  EXPECT_TRUE(FD_ISSET(fd, &set));
  EXPECT_TRUE(c.ctx.done());
  EXPECT_EQ(::select(fd + 1, &set, nullptr, nullptr, nullptr), 1) << "by level";
}

TEST(DoneFdLoop, EpollByLevel) {
  auto a = heed::with_cancel(heed::background());
  auto b = heed::with_cancel(a.ctx);
  epoll_set epoll;
  epoll.add(a.ctx.done_fd(), 0);
  epoll.add(b.ctx.done_fd(), 1);
  EXPECT_EQ(epoll.ready(), names{});
  {
    const thread canceler([&] { b.cancel(); });
    EXPECT_EQ(epoll.ready(-1), names{1});
  }
  EXPECT_EQ(epoll.ready(), names{1}) << "again and again";
  a.cancel();
  EXPECT_EQ(epoll.ready(), (names{0, 1}));
}

// One edge for each end, whatever else is asked of the context meanwhile.
TEST(DoneFdLoop, EpollByEdge) {
  auto a = heed::with_cancel(heed::background());
  auto b = heed::with_cancel(a.ctx);
  epoll_set epoll;
  epoll.add(a.ctx.done_fd(), 0, EPOLLIN | EPOLLET);
  epoll.add(b.ctx.done_fd(), 1, EPOLLIN | EPOLLET);
  EXPECT_EQ(epoll.ready(), names{});
  {
    const thread canceler([&] { a.cancel(); });
    std::set<std::uint64_t> seen;
    while (seen.size() < 2) {
      for (const std::uint64_t name : epoll.ready(-1)) seen.insert(name);
    }
  }
  EXPECT_TRUE(is_done(a.ctx, errc::canceled));
  EXPECT_TRUE(is_done(b.ctx, errc::canceled));
  EXPECT_FALSE(a.cancel());
  EXPECT_EQ(epoll.ready(), names{}) << "an edge is told once";
  // Who comes late sees the edge too: it is what epoll makes of a descriptor that is readable when it is
  // added.
  auto born_done = heed::with_cancel(a.ctx);
  epoll.add(born_done.ctx.done_fd(), 2, EPOLLIN | EPOLLET);
  EXPECT_EQ(epoll.ready(), names{2});
  EXPECT_EQ(epoll.ready(), names{});
}

TEST(DoneFdLoop, EpollByEdgeOneShot) {
  auto c = heed::with_timeout(heed::background(), 1ms);
  epoll_set epoll;
  epoll.add(c.ctx.done_fd(), 7, EPOLLIN | EPOLLONESHOT);
  EXPECT_EQ(epoll.ready(-1), names{7}) << "a deadline wakes the loop";
  EXPECT_EQ(c.ctx.err(), errc::deadline_exceeded);
  EXPECT_EQ(epoll.ready(), names{});
}

// A closed descriptor leaves an epoll set by itself; so does a context that is gone.
TEST(DoneFdLoop, AContextThatIsGoneLeavesTheSet) {
  epoll_set epoll;
  auto stays = heed::with_cancel(heed::background());
  epoll.add(stays.ctx.done_fd(), 0);
  {
    auto goes = heed::with_cancel(heed::background());
    epoll.add(goes.ctx.done_fd(), 1);
    goes.cancel();
    EXPECT_EQ(epoll.ready(), names{1});
  }
  EXPECT_EQ(epoll.ready(), names{});
  stays.cancel();
  EXPECT_EQ(epoll.ready(), names{0});
}

// Ten thousand contexts in one epoll set, or as many as this process may have: each is told, once, and no
// other.
TEST(DoneFdLoop, TenThousandInOneEpollSet) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  constexpr rlim_t wanted = 10'200;
  rlimit raised = before;
  raised.rlim_cur = std::max(before.rlim_cur, std::min(before.rlim_max, wanted));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &raised), 0);
  const auto n = static_cast<std::size_t>(std::min<rlim_t>(raised.rlim_cur, wanted) - 200);
  RecordProperty("contexts", static_cast<int>(n));
  {
    epoll_set epoll;
    auto root = heed::with_cancel(heed::background());
    std::vector<heed::cancelable> all;
    all.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      all.push_back(heed::with_cancel(root.ctx));
      epoll.add(all.back().ctx.done_fd(), i, EPOLLIN | EPOLLET);
    }
    EXPECT_EQ(epoll.ready(), names{});
    all[n / 2].cancel();
    EXPECT_EQ(epoll.ready(), names{n / 2});
    std::vector<int> told(n, 0);
    ++told[n / 2];
    std::size_t in_all = 1;
    {
      const thread canceler([&] { root.cancel(); });
      while (in_all < n) {
        for (const std::uint64_t name : epoll.ready(-1)) {
          ASSERT_TRUE(all[name].ctx.done());
          ++told[name];
          ++in_all;
        }
      }
    }
    EXPECT_EQ(epoll.ready(), names{});
    EXPECT_EQ(std::count(told.begin(), told.end(), 1), static_cast<std::ptrdiff_t>(n));
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

// An epoll set is shared across fork, too: what the child cancels must not show in the parent's loop.
TEST(DoneFdLoop, ACancelInAForkedChildWakesNoLoopOfItsParent) {
  for (const std::uint32_t events : {std::uint32_t{EPOLLIN}, std::uint32_t{EPOLLIN | EPOLLET}}) {
    auto c = heed::with_cancel(heed::background());
    auto below = heed::with_cancel(c.ctx);
    epoll_set epoll;
    epoll.add(c.ctx.done_fd(), 0, events);
    epoll.add(below.ctx.done_fd(), 1, events);
    const pid_t child = ::fork();
    if (child == 0) {
      int bad = 0;
      {
        epoll_set own;  // a set is to be made anew in a child, from descriptors that are asked for anew
        own.add(c.ctx.done_fd(), 0);
        own.add(below.ctx.done_fd(), 1);
        if (!own.ready().empty()) bad |= 1;
        c.cancel();
        if (own.ready(-1) != names{0, 1}) bad |= 2;
      }
      ::_exit(bad);
    }
    ASSERT_GT(child, 0);
    EXPECT_EQ(exit_code_of(child), 0);
    EXPECT_EQ(epoll.ready(), names{}) << "an end in the child, told to the parent";
    EXPECT_TRUE(is_live(c.ctx));
    c.cancel();
    EXPECT_EQ(epoll.ready(), (names{0, 1}));
  }
}

// poll and select in the child, without asking for the descriptor anew before the cancel.
TEST(DoneFdLoop, AForkedChildsOwnLoop) {
  auto c = heed::with_cancel(heed::background());
  const int fd = c.ctx.done_fd();
  const pid_t child = ::fork();
  if (child == 0) {
    c.cancel();
    pollfd p{fd, POLLIN, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    timeval none{};
    const bool good = ::poll(&p, 1, 0) == 1 && ::select(fd + 1, &set, nullptr, nullptr, &none) == 1;
    ::_exit(good ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  EXPECT_EQ(exit_code_of(child), 0);
  EXPECT_FALSE(readable(fd));
}

}  // namespace
