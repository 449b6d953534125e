// RLIMIT_NPROC and RLIMIT_NOFILE (case 31): the kernel's own refusals. The call that needed it reports,
// nothing else has changed, and it succeeds once there is room.
#include "program.hpp"

#include <heed/group.hpp>
#include <heed/heed.hpp>

#include <sys/resource.h>
#include <unistd.h>
#include <atomic>
#include <memory>
#include <system_error>
#include <thread>

using namespace std::chrono_literals;
using process::check;
using process::says;

namespace {

void limit(int what, rlim_t n) {
  rlimit now{};
  ::getrlimit(static_cast<__rlimit_resource>(what), &now);
  now.rlim_cur = n < now.rlim_max ? n : now.rlim_max;
  check(::setrlimit(static_cast<__rlimit_resource>(what), &now) == 0, "setrlimit");
}

template <class F>
bool refused(std::errc how, F&& call) {
  try {
    call();
  } catch (const std::system_error& e) {
    return e.code() == how;
  }
  return false;
}

void threads(bool timer_first) {
  if (::geteuid() == 0) check(::setresuid(65534, 65534, 65534) == 0, "becoming nobody");
  constexpr auto again = std::errc::resource_unavailable_try_again;
  auto [parent, cancel] = heed::with_cancel(heed::background());
  const auto token = std::make_shared<int>(0);
  if (timer_first) heed::with_timeout(parent, 1h).cancel();
  limit(RLIMIT_NPROC, 0);
  if (!timer_first) {
    check(refused(again, [&p = parent] { auto c = heed::with_timeout(p, 1h); }), "with_timeout is refused");
  }
  check(refused(again, [&] { heed::after_func(parent, [token] {}); }), "after_func is refused");
  {
    heed::group tasks(parent);
    check(refused(again, [&] { tasks.go([token](const heed::context&) {}); }), "go is refused");
    check(!tasks.ctx().done(), "the group's context is live");
  }
  check(token.use_count() == 1 && !parent.done(), "nothing is left, nothing has changed");
  limit(RLIMIT_NPROC, RLIM_INFINITY);
  std::atomic<bool> ran{false};
  heed::after_func(parent, [&] {
    ran = true;
    ran.notify_all();
  });
  heed::with_timeout(parent, 1ms).ctx.wait();
  cancel();
  ran.wait(false);
}

void descriptors() {
  auto live = heed::with_cancel(heed::background());
  auto other = heed::with_cancel(heed::background());
  const int fd = live.ctx.done_fd();
  limit(RLIMIT_NOFILE, 0);
  check(refused(std::errc::too_many_files_open, [&] { static_cast<void>(other.ctx.done_fd()); }),
        "done_fd is refused");
  check(!other.ctx.done() && live.ctx.done_fd() == fd, "nothing has changed");
  check(live.cancel("none needed"), "cancel needs no descriptor");
  limit(RLIMIT_NOFILE, 1024);
  check(process::readable(fd), "what was made before tells it");
  check(!process::readable(other.ctx.done_fd()), "a later call succeeds");
}

}  // namespace

int main() {
  const bool can_drop = ::geteuid() != 0 || process::in_child([] {
                                              if (::setresuid(65534, 65534, 65534) != 0)
                                                std::_Exit(process::skipped);
                                            }) == 0;
  if (can_drop) {
    says("RLIMIT_NPROC: the first thread is refused");
    check(process::in_child([] { threads(false); }) == 0, "the first thread");
    says("RLIMIT_NPROC: the second thread is refused");
    check(process::in_child([] { threads(true); }) == 0, "the second thread");
  } else {
    says("SKIPPED: RLIMIT_NPROC: root is not limited by it, and cannot become nobody here");
  }
  says("RLIMIT_NOFILE: no descriptor");
  check(process::in_child([] { descriptors(); }) == 0, "descriptors");
  return can_drop ? 0 : process::skipped;
}
