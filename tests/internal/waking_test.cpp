// Who is woken by whom: one by the end of a context, the others by those who wake; and those who wait for
// what is below.
#include "tree.hpp"
#include "word.hpp"

#include "../sleepers.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <deque>
#include <optional>
#include <thread>

using namespace std::chrono_literals;
using heed_test::sleeper;

namespace {

heed::cancel_node& node_of(const heed::context& ctx) {
  return *heed::node_of(heed::tree::scope_of(ctx));
}

template <class F>
bool eventually(F holds) {
  const auto until = heed::clock::now() + 60s;
  while (!holds()) {
    if (heed::clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

// More than cancel() wakes, and more than whom that one wakes; all asleep, every third of them for a time
// only.
TEST(Waking, AllWhoSleepAreToldOnAndOn) {
  const auto c = heed::with_cancel(heed::background());
  std::deque<sleeper> all;
  for (int i = 0; i < 100; ++i) {
    all.emplace_back([&c, i] { i % 3 == 0 ? static_cast<void>(c.ctx.wait_for(1h)) : c.ctx.wait(); });
  }
  for (sleeper& one : all) ASSERT_TRUE(eventually([&] { return one.blocked(); }));
  c.cancel();
  bool told = true;
  for (sleeper& one : all) told = told && eventually([&] { return one.over(); });
  ASSERT_TRUE(told);
}

// Another canceler has claimed the node and not published yet: who waits for what is below it sleeps for the
// verdict first, is woken by it, and sleeps again until all below is done.
TEST(Waking, WhoWaitsForWhatIsBelowWaitsForTheVerdictFirst) {
  const auto c = heed::with_cancel(heed::background());
  heed::cancel_node& n = node_of(c.ctx);
  heed::word::raise(n, heed::word::claimed);
  sleeper walk([&n] { heed::word::await(n, heed::word::settled); });
  ASSERT_TRUE(eventually([&] { return walk.blocked(); }));
  const long sleeps = walk.sleeps();
  // As publish() and turn() do.
  const std::uint64_t before = n.word.exchange(static_cast<std::uint64_t>(heed::errc::canceled));
  EXPECT_TRUE(before & heed::word::waiters);
  heed::word::announce(n, before);
  ASSERT_TRUE(eventually([&] { return walk.sleeps() > sleeps && walk.blocked(); }));
  const std::uint64_t below_done = n.word.fetch_or(heed::word::settled);
  EXPECT_TRUE(below_done & heed::word::waiters);
  heed::word::wake_settled(n);
  ASSERT_TRUE(eventually([&] { return walk.over(); }));
}

namespace {

// A thread that lets its timers be so late, and waits; its deadline is far.
constexpr long usual_slack = 40'000;
long slack_here() {
  return ::prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
}
std::function<void()> waits(std::function<void()> wait) {
  return [wait = std::move(wait)] {
    ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(usual_slack), 0UL, 0UL, 0UL);
    wait();
    EXPECT_EQ(slack_here(), usual_slack) << "it is given back";
  };
}

// Says that it ends at some time, and does not by itself.
class late_one : public heed::custom_context {
 public:
  late_one(anchor a, heed::time_point when) : custom_context(a), when_(when) {}
  std::optional<heed::time_point> deadline() const noexcept override { return when_; }

 private:
  heed::time_point when_;
};

}  // namespace

TEST(Waking, TheFirstToWaitForADeadlineHasATimerOfItsOwn) {
  const auto c = heed::with_timeout(heed::background(), 1h);
  const auto below = heed::with_cancel(c.ctx), fresh = heed::with_cancel(c.ctx);
  const auto plain = heed::with_cancel(heed::background());
  heed::manual_scheduler clock;
  const auto other_clock = heed::with_timeout(heed::background(clock), 1h);

  sleeper first(waits([&] { c.ctx.wait(); }));
  if (first.timer_slack() < 0) GTEST_SKIP() << "no /proc/TID/timerslack_ns";
  ASSERT_TRUE(eventually([&] { return first.blocked() && first.timer_slack() == 1; }));
  sleeper second(waits([&] { EXPECT_TRUE(c.ctx.wait_for(2h)); }));
  sleeper inheriting(waits([&] { EXPECT_TRUE(below.ctx.wait_for(2h)); }));
  sleeper until_earlier(waits([&] { EXPECT_TRUE(fresh.ctx.wait_for(30min)); }));
  sleeper no_deadline(waits([&] { plain.ctx.wait(); }));
  sleeper by_other_clock(waits([&] { other_clock.ctx.wait(); }));
  ASSERT_TRUE(eventually([&] { return inheriting.blocked() && inheriting.timer_slack() == 1; }));
  for (const sleeper* one : {&second, &until_earlier, &no_deadline, &by_other_clock}) {
    ASSERT_TRUE(eventually([&] { return one->blocked() && one->timer_slack() == usual_slack; }));
  }
  c.cancel();
  plain.cancel();
  other_clock.cancel();
  for (const sleeper* one : {&first, &second, &inheriting, &until_earlier, &no_deadline, &by_other_clock}) {
    ASSERT_TRUE(eventually([&] { return one->over(); }));
  }
}

// Its own timer is not what it waits for: woken by that, it sleeps until the context is done.
TEST(Waking, WhoIsWokenByItsOwnTimerWaitsForTheVerdict) {
  const auto c = heed::with_cancel(heed::background());
  const auto late = heed::with_custom<late_one>(c.ctx, heed::clock::now() + 20ms);
  sleeper waits_long(waits([&] {
    late.ctx.wait();
    EXPECT_TRUE(late.ctx.done());
  }));
  sleeper waits_for_a_time(waits([&] {
    EXPECT_FALSE(late.ctx.wait_for(40ms));
    EXPECT_TRUE(late.ctx.wait_for(1h));
  }));
  ASSERT_TRUE(eventually([&] { return waits_for_a_time.sleeps() > 1; }));
  std::this_thread::sleep_until(*late.ctx.deadline() + 1ms);
  ASSERT_TRUE(eventually([&] { return waits_long.blocked() && waits_for_a_time.blocked(); }));
  EXPECT_FALSE(waits_long.over());
  c.cancel();
  ASSERT_TRUE(eventually([&] { return waits_long.over() && waits_for_a_time.over(); }));
}
