// The list of the example examples/search.
#include "../examples/search/work_list.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>

namespace {

TEST(SearchWorkList, IsDrainedWhenAllWorkersWait) {
  search::work_list list({{"file"}}, false);
  list.join();
  const heed::context ctx = heed::background();
  EXPECT_EQ(list.next(ctx)->path, "file");
  EXPECT_FALSE(list.next(ctx).has_value());
  EXPECT_TRUE(list.drained());
}

// cancel() turns one worker's context after the other: between the two, the first has left its item in the
// middle, and the second sees an empty list and nobody at work.
TEST(SearchWorkList, IsNotDrainedWhereAWorkerWasStopped) {
  const auto [first, cancel_first] = heed::with_cancel(heed::background());
  const auto [second, cancel_second] = heed::with_cancel(heed::background());
  search::work_list list({{"file"}}, false);
  list.join();
  list.join();
  EXPECT_TRUE(list.next(first).has_value());
  cancel_first();
  EXPECT_FALSE(list.next(first).has_value());
  EXPECT_FALSE(list.next(second).has_value());
  EXPECT_FALSE(list.drained());
}

}  // namespace
