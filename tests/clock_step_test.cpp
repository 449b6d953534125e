// Clocks that step (case 27): a scheduler's own by a century, at once and in the middle of what heed does
// with it.
#include "support.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr auto century = std::chrono::hours(24 * 36525);

/// Its clock goes on by a century each time it is read, as soon as it is told to.
class leaping final : public heed::scheduler {
 public:
  heed::time_point now() const noexcept override {
    if (leaps) time += century / 2;
    return time;
  }
  void arm(heed::timer& t, heed::time_point when) override { inner.arm(t, when); }
  void disarm(heed::timer& t) noexcept override { inner.disarm(t); }
  void post(heed::work& w) noexcept override { inner.post(w); }

  heed::manual_scheduler inner;
  bool leaps = false;
  mutable heed::time_point time = inner.now();
};

}  // namespace

// All that is due by then fires, once, in order, and what is later does not.
TEST(ClockStep, ACenturyAtOnce) {
  heed::manual_scheduler time;
  const heed::context root = heed::background(time);
  std::vector<heed::cancelable> made;
  std::vector<int> fired;
  std::vector<std::unique_ptr<heed::cancel_callback<std::function<void()>>>> callbacks;
  for (int i = 0; i < 300; ++i) {
    made.push_back(heed::with_timeout(root, (i + 1) * 87h));  // up to three years
    callbacks.push_back(std::make_unique<heed::cancel_callback<std::function<void()>>>(
        made.back().ctx, [&fired, i] { fired.push_back(i); }));
  }
  const auto beyond = heed::with_timeout(root, century + 1ns);
  time.advance(century);
  ASSERT_EQ(fired.size(), made.size());
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
  EXPECT_FALSE(beyond.ctx.done());
  time.advance(1ns);
  EXPECT_EQ(beyond.ctx.err(), heed::errc::deadline_exceeded);
  EXPECT_EQ(fired.size(), made.size());
}

// It steps while a deadline is being made: that one has passed by then, is done, and never fires again.
TEST(ClockStep, WhileADeadlineIsMade) {
  leaping clock;
  {
    const heed::context root = heed::background(clock);
    clock.leaps = true;
    const auto c = heed::with_timeout(root, 1h);
    clock.leaps = false;
    EXPECT_EQ(c.ctx.err(), heed::errc::deadline_exceeded);
    EXPECT_LE(*c.ctx.deadline(), clock.time);
    clock.inner.advance(2 * century);
    EXPECT_TRUE(heed_test::is_done(c.ctx, heed::errc::deadline_exceeded));
    const auto later = heed::with_timeout(root, 1h);
    EXPECT_TRUE(heed_test::is_live(later.ctx)) << "from the new present on";
  }
}
