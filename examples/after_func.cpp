// A blocking read that knows nothing of contexts, interrupted by one: when the context ends, an after_func
// shuts the socket down, and the read returns. When the read is done first, stop() takes the function back.
#include "check.hpp"

#include <heed/heed.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <latch>
#include <string>
#include <thread>

namespace {

// Reads until something comes, or until the context ends: then {} comes with the context's err().
std::pair<std::string, std::error_code> receive(const heed::context& ctx, int fd) {
  const heed::stop_func stop = heed::after_func(ctx, [fd] { shutdown(fd, SHUT_RD); });
  char buffer[64];
  const ssize_t n = read(fd, buffer, sizeof buffer);  // plain and blocking
  const int code = errno;
  if (!stop()) return {"", ctx.err()};  // the function was started: the socket is, or will be, shut down
  if (n < 0) return {"", std::error_code(code, std::generic_category())};
  return {std::string(buffer, static_cast<std::size_t>(n)), {}};
}

}  // namespace

int main() {
  int ends[2];
  check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "there is a pair of sockets");
  auto [ctx, cancel] = heed::with_cancel(heed::background());

  check(write(ends[1], "hello", 5) == 5, "a message is sent");
  const auto [text, none] = receive(ctx, ends[0]);
  check(text == "hello" && !none, "it is read as if there were no context");

  std::latch about_to_read(1);
  std::error_code err;
  std::jthread reader([&] {
    about_to_read.count_down();
    err = receive(ctx, ends[0]).second;  // nothing will ever come
  });
  about_to_read.wait();
  cancel(heed::error("the user closed the window"));  // before or during the read: both end it
  reader.join();
  check(err == heed::errc::canceled, "a cancel ends a read that would block for ever");
  check(ctx.cause().message() == "the user closed the window", "and the context knows why");
  close(ends[0]);
  close(ends[1]);
}
