// A context in an event loop: its done_fd() is one more descriptor in the epoll set. The loop counts what
// comes through a pipe until another thread cancels.
#include "check.hpp"

#include <heed/heed.hpp>

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <latch>
#include <thread>

namespace {

// Serves `input` until the context ends; returns how many bytes came.
int serve(const heed::context& ctx, int input, std::latch& enough) {
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  const auto watch = [&](int fd) {
    epoll_event e{.events = EPOLLIN, .data = {.fd = fd}};
    check(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e) == 0, "the loop watches a descriptor");
  };
  watch(input);
  watch(ctx.done_fd());

  int count = 0;
  while (!ctx.err()) {
    epoll_event event{};
    if (epoll_wait(loop, &event, 1, -1) != 1 || event.data.fd != input) continue;
    char byte;
    if (read(input, &byte, 1) == 1 && ++count == 3) enough.count_down();
  }
  close(loop);
  return count;
}

}  // namespace

int main() {
  int ends[2];
  check(pipe(ends) == 0, "there is a pipe");
  auto [ctx, cancel] = heed::with_cancel(heed::background());

  std::latch enough(1);
  std::jthread other([&] {
    check(write(ends[1], "abc", 3) == 3, "three bytes are sent");
    enough.wait();
    cancel(heed::error("three are enough"));
  });
  const int count = serve(ctx, ends[0], enough);
  other.join();

  check(count == 3, "the loop served three events, then left");
  check(ctx.cause().message() == "three are enough", "for the reason given");
  close(ends[0]);
  close(ends[1]);
}
