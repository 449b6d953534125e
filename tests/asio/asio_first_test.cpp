// The other order of the headers: Asio first.
#include <boost/asio.hpp>

#include <heed/coroutine.hpp>
#include <heed/heed.hpp>

#include <gtest/gtest.h>

namespace {

namespace asio = boost::asio;

TEST(AsioFirst, ResumesOnTheLoop) {
  asio::io_context io;
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::error_code result;
  asio::co_spawn(
      io, [&result, c = ctx]() -> asio::awaitable<void> { result = co_await heed::done(c); }, asio::detached);
  io.poll();
  cancel();
  io.run();
  EXPECT_EQ(result, heed::errc::canceled);
}

}  // namespace
