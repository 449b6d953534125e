// co_await heed::done(ctx) in the coroutines of Boost.Asio. heed comes first here, and second in
// asio_first_test.cpp.
#include <heed/coroutine.hpp>

#include "../support.hpp"

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace {

namespace asio = boost::asio;  // heed must not have taken the name
using namespace asio::experimental::awaitable_operators;
using namespace heed_test;

static_assert(std::is_same_v<asio::completion_signature_of_t<heed::done_awaitable>, void(std::error_code)>);

asio::awaitable<std::error_code> until_done(heed::context ctx) {
  co_return co_await heed::done(ctx);
}

// Counts how often it resumes, and whether it is alive.
asio::awaitable<void> wait_for(heed::context ctx, tracked, std::atomic<int>& resumed,
                               std::error_code& result) {
  result = co_await heed::done(ctx);
  ++resumed;
}

class Asio : public testing::Test {
 protected:
  ~Asio() override { EXPECT_EQ(alive, 0); }
  void spawn(asio::io_context& io, const heed::context& ctx) {
    asio::co_spawn(io, wait_for(ctx, tracked(alive), resumed, result), asio::detached);
  }
  std::atomic<int> alive = 0;
  std::atomic<int> resumed = 0;
  std::error_code result;
  heed::manual_scheduler time;
};

TEST_F(Asio, ResumesOnTheLoopAfterTheScheduler) {
  asio::io_context io;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  spawn(io, ctx);
  io.poll();
  EXPECT_FALSE(io.stopped()) << "a coroutine that waits is work";
  cancel();
  io.poll();
  EXPECT_EQ(resumed, 0);
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(resumed, 0) << "on the loop, and nowhere else";
  io.poll();
  EXPECT_EQ(resumed, 1);
  EXPECT_EQ(result, heed::errc::canceled);
  EXPECT_TRUE(io.stopped());
}

TEST_F(Asio, ANamedScheduler) {
  asio::io_context io;
  heed::manual_scheduler other;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  asio::co_spawn(
      io, [&, c = ctx]() -> asio::awaitable<void> { result = co_await heed::done(c, other); },
      asio::detached);
  io.poll();
  cancel();
  EXPECT_EQ(time.run_pending(), 0U);
  EXPECT_EQ(other.run_pending(), 1U);
  io.poll();
  EXPECT_EQ(result, heed::errc::canceled);
}

TEST_F(Asio, AContextThatHasEnded) {
  asio::io_context io;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  cancel();
  spawn(io, ctx);
  io.run();
  EXPECT_EQ(resumed, 1);
  EXPECT_EQ(time.run_pending(), 0U);
}

TEST_F(Asio, ADeadlineEndsRun) {
  asio::io_context io;
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  spawn(io, ctx);
  io.run();
  EXPECT_EQ(result, heed::errc::deadline_exceeded);
}

TEST_F(Asio, OnAStrandAndOnAThreadPool) {
  asio::thread_pool pool(2);
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  const auto strand = asio::make_strand(pool);
  auto one = asio::co_spawn(strand, until_done(ctx), asio::use_future);
  auto two = asio::co_spawn(pool, until_done(ctx), asio::use_future);
  cancel();
  EXPECT_EQ(one.get(), heed::errc::canceled);
  EXPECT_EQ(two.get(), heed::errc::canceled);
}

// The executor is the coroutine's type's: io_context's own instead of any_io_executor.
TEST_F(Asio, WithAnExecutorThatIsNotErased) {
  using executor = asio::io_context::executor_type;
  asio::io_context io;
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  asio::co_spawn(
      io.get_executor(),
      [&, c = ctx]() -> asio::awaitable<void, executor> { result = co_await heed::done(c); }, asio::detached);
  io.poll();
  cancel();
  io.run();
  EXPECT_EQ(result, heed::errc::canceled);
}

TEST_F(Asio, WhicheverComesFirst) {
  asio::io_context io;
  asio::steady_timer never(io, very_long);
  asio::steady_timer at_once(io, 0s);
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  auto [live, cancel_live] = heed::with_cancel(heed::background());
  std::size_t first = 9;
  std::size_t second = 9;
  asio::co_spawn(
      io,
      [&, c = ctx, l = live]() -> asio::awaitable<void> {
        first = (co_await (never.async_wait(asio::use_awaitable) || until_done(c))).index();
        second = (co_await (at_once.async_wait(asio::use_awaitable) || until_done(l))).index();
      },
      asio::detached);
  io.run();  // returns: the wait for a context that goes on is taken back
  EXPECT_EQ(first, 1U);
  EXPECT_EQ(second, 0U);
}

TEST_F(Asio, CanceledByAsio) {
  asio::io_context io;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  asio::cancellation_signal stop;
  asio::co_spawn(io, wait_for(ctx, tracked(alive), resumed, result),
                 asio::bind_cancellation_slot(stop.slot(), asio::detached));
  io.poll();
  stop.emit(asio::cancellation_type::terminal);
  io.run();
  EXPECT_EQ(resumed, 1);
  EXPECT_EQ(result, std::errc::operation_canceled);
  EXPECT_NE(result, heed::errc::canceled);
  cancel();
  EXPECT_EQ(time.run_pending(), 0U) << "the function was taken back";
}

TEST_F(Asio, LoopEndsWhileTheyWait) {
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  {
    asio::io_context io;
    for (int i = 0; i < 10; ++i) spawn(io, ctx);
    io.poll();
    EXPECT_EQ(alive, 10);
  }
  EXPECT_EQ(alive, 0);
  cancel();
  EXPECT_EQ(time.run_pending(), 0U);
  EXPECT_EQ(resumed, 0);
}

TEST_F(Asio, LoopEndsAfterTheCancelAndBeforeTheSchedulerRuns) {
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  {
    asio::io_context io;
    spawn(io, ctx);
    io.poll();
    cancel();
  }
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(resumed, 0);
}

TEST_F(Asio, LoopEndsWithTheHandlerPosted) {
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  {
    asio::io_context io;
    spawn(io, ctx);
    io.poll();
    cancel();
    time.run_pending();
  }
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(resumed, 0);
}

TEST_F(Asio, SchedulerEndsFirst) {
  asio::io_context io;
  {
    heed::manual_scheduler short_lived;
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    asio::co_spawn(
        io,
        [&, c = ctx, t = tracked(alive)]() -> asio::awaitable<void> {
          co_await heed::done(c, short_lived);
          ++resumed;
        },
        asio::detached);
    io.poll();
    cancel();
  }
  io.poll();
  EXPECT_EQ(resumed, 0);
}

TEST_F(Asio, NothingElseIsLeftThatCouldEndIt) {
  {
    asio::io_context io;
    {
      auto [ctx, cancel] = heed::with_cancel(heed::background());
      spawn(io, ctx);
      io.poll();
      cancel.release();
    }
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

class broke_scheduler final : public heed::scheduler {
 public:
  heed::time_point now() const noexcept override { return heed::clock::now(); }
  void arm(heed::timer&, heed::time_point) override {}
  void disarm(heed::timer&) noexcept override {}
  void post(heed::work&) noexcept override {}
  void reserve() override {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  }
};

TEST_F(Asio, WhatRegistrationThrowsIsTheResult) {
  broke_scheduler broke;
  asio::io_context io;
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  asio::co_spawn(
      io,
      [&, c = ctx, t = tracked(alive)]() -> asio::awaitable<void> {
        EXPECT_EQ(co_await heed::done(c, broke), std::errc::resource_unavailable_try_again);
        ++resumed;
      },
      asio::detached);
  io.run();
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(resumed, 1);
}

TEST_F(Asio, ManyOnManyContextsAndThreads) {
  const int many = scaled(2000);
  asio::io_context io;
  std::vector<heed::cancelable> contexts;
  for (int i = 0; i < 10; ++i) contexts.push_back(heed::with_cancel(heed::background()));
  for (int i = 0; i < many; ++i) {
    asio::co_spawn(
        io,
        [this, c = contexts[static_cast<std::size_t>(i) % 10].ctx,
         t = tracked(alive)]() -> asio::awaitable<void> {
          if (co_await heed::done(c) == heed::errc::canceled) ++resumed;
        },
        asio::detached);
  }
  {
    std::vector<thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&io] { io.run(); });
    for (auto& c : contexts) c.cancel();
  }
  EXPECT_EQ(resumed, many);
}

// The loop goes while another thread ends the context, whose end a third one passes on: either the coroutine
// is resumed before, or it is destroyed with the loop, and nobody touches the loop later (the sanitizers
// watch).
TEST_F(Asio, LoopEndsWhileTheContextEnds) {
  for (int round = 0; round < scaled(2000); ++round) {
    auto io = std::make_unique<asio::io_context>();
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    for (int i = 0; i < 3; ++i) spawn(*io, ctx);
    io->poll();
    thread canceler([&cancel] { cancel(); });
    for (int i = 0; i < round % 50; ++i) io->poll();
    io.reset();
    ASSERT_EQ(alive, 0);
  }
}

}  // namespace
