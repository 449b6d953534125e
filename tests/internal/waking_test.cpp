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

// A thread that lets its timers be so late, and waits.
constexpr long usual_slack = 40'000;
std::function<void()> waits(std::function<void()> wait) {
  return [wait = std::move(wait)] {
    ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(usual_slack), 0UL, 0UL, 0UL);
    wait();
    EXPECT_EQ(::prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL), usual_slack) << "it is given back";
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
  if (under_tsan) GTEST_SKIP() << "it keeps signals back from who sleeps by syscall()";
  heed::manual_scheduler clock;
  std::deque<sleeper> all;                // they end when what they wait for does
  std::deque<heed::cancelable> contexts;  // and that goes first
  const auto with_hour = [&](const heed::context& above = heed::background()) {
    contexts.push_back(heed::with_timeout(above, 1h));
    return contexts.back().ctx;
  };
  const auto expect_slack = [&](long ns, std::function<void()> wait) {
    all.emplace_back(waits(std::move(wait)));
    return eventually([&] { return all.back().blocked() && all.back().timer_slack() == ns; });
  };
  const heed::context shared = with_hour(), other = with_hour();
  contexts.push_back(heed::with_cancel(other));
  const heed::context below = contexts.back().ctx;
  contexts.push_back(heed::with_cancel(heed::background()));
  const heed::context endless = contexts.back().ctx;

  EXPECT_TRUE(expect_slack(1, [shared] { shared.wait(); }));
  EXPECT_TRUE(expect_slack(usual_slack, [shared] { EXPECT_TRUE(shared.wait_for(2h)); })) << "the second";
  EXPECT_TRUE(expect_slack(1, [below] { EXPECT_TRUE(below.wait_for(2h)); })) << "inherited";
  EXPECT_TRUE(expect_slack(usual_slack, [ctx = with_hour()] { EXPECT_TRUE(ctx.wait_for(30min)); }));
  EXPECT_TRUE(expect_slack(usual_slack, [ctx = with_hour()] {
    EXPECT_TRUE(ctx.wait_until(*ctx.deadline() + 1us));
  })) << "for no longer";
  EXPECT_TRUE(expect_slack(usual_slack, [endless] { endless.wait(); }));
  EXPECT_TRUE(expect_slack(usual_slack, [ctx = with_hour(heed::background(clock))] { ctx.wait(); }));
}

// Its own timer is not what it waits for: woken by that, it sleeps until the context is done.
TEST(Waking, WhoIsWokenByItsOwnTimerWaitsForTheVerdict) {
  std::optional<sleeper> one;
  const auto c = heed::with_cancel(heed::background());
  const auto late = heed::with_custom<late_one>(c.ctx, heed::clock::now() + 2s);
  one.emplace(waits([ctx = late.ctx] {
    ctx.wait();
    EXPECT_TRUE(ctx.done());
  }));
  ASSERT_TRUE(eventually([&] { return one->blocked(); }));
  const long sleeps = one->sleeps();
  ASSERT_TRUE(eventually([&] { return one->sleeps() > sleeps && one->blocked(); }));
  c.cancel();
  ASSERT_TRUE(eventually([&] { return one->over(); }));
}
