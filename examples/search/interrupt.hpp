// Ctrl-C as a cancel: SIGINT and SIGTERM end a context, with a cause that says so.
#pragma once

#include "request.hpp"

#include <heed/heed.hpp>

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>
#include <thread>

namespace search {

/// The cause of a context that a signal ended: `ctx.cause().as<interrupted>()->signal`.
struct interrupted : stop_request {
  explicit interrupted(int number)
      : stop_request(number == SIGINT ? "interrupted: SIGINT (Ctrl-C)" : "terminated: SIGTERM"),
        signal(number) {}
  int signal;
};

/// A signal handler may not cancel (it may not take a lock), so the signals are blocked and read from a file
/// descriptor instead, by a thread that also listens to its own end: poll() on a signalfd and a done_fd().
class interrupts {
 public:
  /// To be made before any other thread, for threads inherit what is blocked.
  interrupts() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    fd_ = signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
    listener_ = std::jthread([this, end = end_.ctx.done_fd()] { listen(end); });
  }
  ~interrupts() {
    end_.cancel();
    listener_.join();
    close(fd_);
  }

  /// Ends at the first signal.
  const heed::context& ctx() const noexcept { return session_.ctx; }

 private:
  void listen(int end) {
    pollfd fds[] = {{fd_, POLLIN, 0}, {end, POLLIN, 0}};
    signalfd_siginfo info{};
    while (read(fd_, &info, sizeof info) != sizeof info) {
      if (end_.ctx.done()) return;
      poll(fds, 2, -1);
    }
    session_.cancel(interrupted(static_cast<int>(info.ssi_signo)));
    // From here on a second Ctrl-C does what it always did: it kills.
    pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
    end_.ctx.wait();
  }

  sigset_t set_;
  int fd_ = -1;
  heed::cancelable session_ = heed::with_cancel(heed::background());
  heed::cancelable end_ = heed::with_cancel(heed::background());
  std::jthread listener_;
};

}  // namespace search
