// Who is woken by whom: one by the end of a context, the others by those who wake; and those who wait for
// what is below.
#include "tree.hpp"
#include "word.hpp"

#include "../sleepers.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <deque>
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
