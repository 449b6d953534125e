// The waits in a foreign event loop, without one: who gets a wait, and what close() waits for.
#include <heed/event_loop.hpp>

#include "support.hpp"

#include <latch>
#include <memory>

namespace {

using namespace heed_test;

class recorded_wait final : public heed::loop_wait {
 public:
  std::atomic<int> resumed = 0;
  std::atomic<int> destroyed = 0;
  std::function<void()> while_resuming;
  std::error_code result;

 private:
  void resume(std::error_code r) noexcept override {
    result = r;
    ++resumed;
    if (while_resuming) while_resuming();
  }
  void destroy() noexcept override { ++destroyed; }
};

class EventLoop : public testing::Test {
 protected:
  std::shared_ptr<recorded_wait> start(const heed::context& ctx) {
    auto w = std::make_shared<recorded_wait>();
    waits->start(w, waits, ctx, nullptr);
    return w;
  }
  heed::manual_scheduler time;
  std::shared_ptr<heed::loop_waits> waits = std::make_shared<heed::loop_waits>();
};

TEST_F(EventLoop, OneOfThemGetsAWait) {
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  const auto ended = start(ctx);
  const auto canceled = start(ctx);
  const auto closed = start(ctx);
  waits->finish(*canceled, std::make_error_code(std::errc::operation_canceled));
  waits->finish(*canceled, {});
  EXPECT_EQ(canceled->result, std::errc::operation_canceled);
  waits->finish(*ended, heed::errc::canceled);
  waits->close();
  cancel();
  time.run_pending();
  EXPECT_EQ(ended->resumed, 1);
  EXPECT_EQ(canceled->resumed, 1);
  EXPECT_EQ(closed->resumed, 0);
  EXPECT_EQ(ended->destroyed + canceled->destroyed, 0);
  EXPECT_EQ(closed->destroyed, 1);
  EXPECT_EQ(closed.use_count(), 1) << "nothing holds it any more";
}

TEST_F(EventLoop, NothingStartsAfterItHasClosed) {
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  waits->close();
  const auto late = start(ctx);
  EXPECT_EQ(late->destroyed, 1);
  cancel();
  EXPECT_EQ(time.run_pending(), 0U);
}

TEST_F(EventLoop, CloseWaitsForWhoIsHandingAWaitToTheLoop) {
  for (int round = 0; round < 200; ++round) {
    const auto loop = std::make_shared<heed::loop_waits>();
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    std::latch resuming(1);
    std::atomic<bool> go_on = false;
    const auto w = std::make_shared<recorded_wait>();
    w->while_resuming = [&] {
      resuming.count_down();
      go_on.wait(false);
    };
    loop->start(w, loop, ctx, nullptr);
    cancel();
    resuming.wait();
    thread closer([&] {
      loop->close();
      EXPECT_TRUE(go_on) << "close() returned meanwhile";
    });
    std::this_thread::yield();
    go_on = true;
    go_on.notify_all();
    closer.join();
    if (HasFailure()) break;
    // What resumes uses go_on until close() has returned.
  }
}

}  // namespace
