// A deadline on a call that blocks: poll() on a pipe into which nobody writes. The context's file descriptor
// stands beside the pipe's, and becomes readable when the time is up.
#include "check.hpp"

#include <heed/heed.hpp>

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string>

using namespace std::chrono_literals;

namespace {

// Reads one byte; waits for it as long as the context lives.
std::error_code read_byte(const heed::context& ctx, int fd, char& byte) {
  pollfd fds[] = {{fd, POLLIN, 0}, {ctx.done_fd(), POLLIN, 0}};
  while (!ctx.err()) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return {errno, std::generic_category()};
    if (fds[0].revents & POLLIN) {
      return read(fd, &byte, 1) == 1 ? std::error_code() : std::error_code(errno, std::generic_category());
    }
  }
  return ctx.err();
}

}  // namespace

int main() {
  int ends[2];
  check(pipe(ends) == 0, "there is a pipe");

  const auto before = heed::clock::now();
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 20ms, heed::error("the peer is silent"));
  char byte = 0;
  const std::error_code err = read_byte(ctx, ends[0], byte);
  const auto took = heed::clock::now() - before;

  check(err == heed::errc::deadline_exceeded, "the read ends with deadline_exceeded");
  check(err == std::errc::timed_out, "which is also std::errc::timed_out");
  check(took >= 20ms, "not before its time");
  check(ctx.cause().message() == "the peer is silent", "and the cause says why");

  auto [fresh, cancel_fresh] = heed::with_timeout(heed::background(), 1h);
  check(write(ends[1], "x", 1) == 1, "when somebody does write");
  check(!read_byte(fresh, ends[0], byte) && byte == 'x', "the same read gives the byte");
  close(ends[0]);
  close(ends[1]);
}
