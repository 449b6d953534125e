// Ctrl-C, the documented way (case 32): the signal is blocked everywhere, and one thread waits for it and
// cancels. And the other safe way: the handler only writes to a descriptor, and who reads it cancels. err()
// is asked in the handler.
#include "program.hpp"

#include <heed/heed.hpp>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <thread>

using process::check;
using process::says;

namespace {

int tell[2];
heed::context* watched = nullptr;

void by_a_thread() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::thread waiter([set, stop = cancel.share()] {
    int which = 0;
    sigwait(&set, &which);
    stop("interrupted");
  });
  check(!ctx.done(), "live before the signal");
  ::kill(::getpid(), SIGINT);
  ctx.wait();
  check(ctx.cause().message() == "interrupted", "the signal's cause");
  waiter.join();
}

void by_a_descriptor() {
  check(::pipe(tell) == 0, "pipe");
  auto made = heed::with_cancel(heed::background());
  watched = &made.ctx;
  std::signal(SIGUSR1, [](int) {
    const char c = watched->err() ? 'd' : 'l';
    static_cast<void>(!::write(tell[1], &c, 1));
  });
  const int fd = made.ctx.done_fd();
  ::raise(SIGUSR1);
  char seen = 0;
  check(::read(tell[0], &seen, 1) == 1 && seen == 'l', "live in the handler");
  made.cancel("told");
  ::raise(SIGUSR1);
  check(::read(tell[0], &seen, 1) == 1 && seen == 'd' && process::readable(fd), "done in the handler");
}

// A handler in the middle of a cancel, while that makes the descriptor readable: it is done by then, also in
// the handler, which waits for nobody.
std::atomic<bool> interrupts{false};
int interrupted = -1;  // the descriptor
void in_a_cancel() {
  auto made = heed::with_cancel(heed::background());
  watched = &made.ctx;
  interrupted = made.ctx.done_fd();
  static std::atomic<bool> asked{false};
  std::signal(SIGUSR1, [](int) {
    check(watched->done() && process::readable(interrupted), "done in the middle of its cancel");
    asked = true;
  });
  interrupts = true;
  made.cancel();
  check(asked, "cancel() writes to the descriptor");
}

}  // namespace

// In the place of libc's, also for the library.
extern "C" ssize_t write(int fd, const void* bytes, std::size_t count) {
  if (fd == interrupted && interrupts.exchange(false)) ::raise(SIGUSR1);
  return ::syscall(SYS_write, fd, bytes, count);
}

int main() {
  says("a signal is waited for by a thread");
  check(process::in_child(by_a_thread) == 0, "by a thread");
  says("a handler writes to a descriptor");
  check(process::in_child(by_a_descriptor) == 0, "by a descriptor");
  says("a handler interrupts a cancel");
  check(process::in_child(in_a_cancel) == 0, "in a cancel");
}
