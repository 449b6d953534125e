// eventfd that fails, whichever call of it (case 31, invariant 11). A limit on descriptors is
// tests/process/limits.cpp.
#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <system_error>

namespace {
std::atomic<int> made{0};
std::atomic<int> failing{0};  // the number of the call that fails, from 1; 0: none
std::atomic<int> reason{0};
}  // namespace

// Stands before the C library's, for the whole executable.
extern "C" int eventfd(unsigned count, int flags) noexcept {
  static const auto real = reinterpret_cast<int (*)(unsigned, int)>(::dlsym(RTLD_NEXT, "eventfd"));
  if (++made == failing) {
    errno = reason;
    return -1;
  }
  return real(count, flags);
}

namespace {

void fail_call(int number, int why) {
  made = 0;
  reason = why;
  failing = number;
}

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

long descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                       std::filesystem::directory_iterator());
}

// The process ends with what was wrong: its number, or 0.
void require(bool holds, int number) {
  if (!holds) std::_Exit(number);
}

/// Whether done_fd() said why it had none.
bool refused(const heed::context& ctx, int why) {
  try {
    static_cast<void>(ctx.done_fd());
  } catch (const std::system_error& e) {
    return e.code() == std::error_code(why, std::system_category());
  }
  return false;
}

// The first done_fd() of the process makes two, one of them for all contexts; background() has another one.
[[noreturn]] void check_each_call() {
  const long before = descriptors();
  int points = 0;
  for (const int why : {EMFILE, ENFILE, ENOMEM}) {
    auto live = heed::with_cancel(heed::background());
    auto done = heed::with_cancel(heed::background());
    done.cancel();
    for (const heed::context& ctx : {live.ctx, done.ctx, heed::background()}) {
      for (int number = 1;; ++number) {
        fail_call(number, why);
        const long open = descriptors();
        if (!refused(ctx, why)) break;
        ++points;
        require(!live.ctx.done() && !live.ctx.cause() && done.ctx.done(), 1);
        require(descriptors() - open == (number == 2 ? 1 : 0),
                2);  // the one for all contexts is there from now on
        require(number <= 2, 3);
      }
      const int fd = ctx.done_fd();
      require(fd >= 0 && fd == ctx.done_fd() && readable(fd) == ctx.done(), 4);
    }
    const int fd = live.ctx.done_fd();
    require(live.cancel("why") && readable(fd), 5);
  }
  // 2 + 1 + 1 of the first round; 1 + 1 later, when what belongs to all is there.
  require(points == 4 + 2 + 2, 6);
  require(descriptors() - before == 2, 7);
  std::exit(0);
}

// A cancel needs none, nor does what it wakes.
[[noreturn]] void check_cancel() {
  auto c = heed::with_cancel(heed::background());
  auto below = heed::with_cancel(c.ctx);
  const int fd = below.ctx.done_fd();
  fail_call(1, EMFILE);
  require(c.cancel("why") && readable(fd) && made == 0, 1);
  std::exit(0);
}

// A child process asks for a descriptor of its own in the place of what it shares; that fails, and changes
// nothing.
[[noreturn]] void check_child() {
  auto c = heed::with_cancel(heed::background());
  const int fd = c.ctx.done_fd();
  const pid_t child = ::fork();
  if (child == 0) {
    fail_call(1, ENFILE);
    require(refused(c.ctx, ENFILE) && !c.ctx.done(), 1);
    require(c.ctx.done_fd() == fd && !readable(fd), 2);
    require(c.cancel() && readable(fd), 3);
    std::_Exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {}
  require(WIFEXITED(status), 10);
  require(WEXITSTATUS(status) == 0, 10 + WEXITSTATUS(status));
  require(!readable(fd) && c.cancel() && readable(fd), 20);
  std::exit(0);
}

}  // namespace

// In processes of their own: the first call makes what is for all contexts.
TEST(DescriptorFailureDeathTest, EachCallInTurn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(check_each_call(), testing::ExitedWithCode(0), "");
}
TEST(DescriptorFailureDeathTest, CancelNeedsNone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(check_cancel(), testing::ExitedWithCode(0), "");
}
TEST(DescriptorFailureDeathTest, InAChildProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(check_child(), testing::ExitedWithCode(0), "");
}
