// The wheel against the obvious: a sorted map. Case 22: boundaries of its slots, later ones never hide
// earlier ones.
#include "timer_wheel.hpp"

#include "../support.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <set>

namespace {

using heed::duration;
using heed::time_point;

class plain_timer final : public heed::timer {
 public:
  explicit plain_timer(time_point when) : timer([](work&, step) noexcept { return true; }, when) {}
  ~plain_timer() = default;
};

time_point at(std::int64_t ns) {
  return time_point(duration(ns));
}

struct both {
  heed::timer_wheel wheel;
  std::multimap<time_point, heed::timer*> sorted;  // equal keys keep the order of insertion
  std::deque<plain_timer> storage;

  heed::timer* insert(std::int64_t when) {
    plain_timer& t = storage.emplace_back(at(when));
    wheel.insert(t);
    sorted.emplace(t.when(), &t);
    return &t;
  }
  void remove(heed::timer* t) {
    wheel.remove(*t);
    for (auto [i, end] = sorted.equal_range(t->when()); i != end; ++i) {
      if (i->second == t) {
        sorted.erase(i);
        return;
      }
    }
  }
  void expect_same_due(time_point now) {
    while (heed::timer* t = wheel.pop(now)) {
      ASSERT_FALSE(sorted.empty());
      ASSERT_LE(t->when(), now) << "early";
      ASSERT_EQ(t, sorted.begin()->second) << "order";
      sorted.erase(sorted.begin());
    }
    if (!sorted.empty()) {
      ASSERT_GT(sorted.begin()->first, now) << "overdue";
      ASSERT_LE(wheel.next(), sorted.begin()->first) << "would sleep too long";
    } else {
      ASSERT_EQ(wheel.next(), time_point::max());
    }
  }
};

}  // namespace

TEST(TimerWheel, EmptyHasNothing) {
  heed::timer_wheel wheel;
  EXPECT_EQ(wheel.pop(time_point::max()), nullptr);
  EXPECT_EQ(wheel.next(), time_point::max());
}

TEST(TimerWheel, EveryBoundaryOfEveryLevel) {
  both b;
  std::int64_t now = 12345;
  b.expect_same_due(at(now));
  std::vector<std::int64_t> times;
  for (int bits = 0; bits < 62; ++bits) {
    for (const std::int64_t off : {-1, 0, 1}) times.push_back(now + (std::int64_t{1} << bits) + off);
  }
  std::shuffle(times.begin(), times.end(), std::minstd_rand(1));
  for (const auto t : times) b.insert(t);
  std::sort(times.begin(), times.end());
  for (const auto t : times) {
    b.expect_same_due(at(t - 1));
    b.expect_same_due(at(t));
  }
  EXPECT_TRUE(b.sorted.empty());
}

TEST(TimerWheel, ExtremesOfTime) {
  both b;
  b.insert(std::numeric_limits<std::int64_t>::max());
  b.insert(std::numeric_limits<std::int64_t>::max() - 1);
  b.insert(0);
  EXPECT_NE(b.wheel.pop(at(0)), nullptr);
  EXPECT_EQ(b.wheel.pop(at(std::numeric_limits<std::int64_t>::max() - 2)), nullptr);
  EXPECT_NE(b.wheel.pop(at(std::numeric_limits<std::int64_t>::max() - 1)), nullptr);
  EXPECT_EQ(b.wheel.pop(at(std::numeric_limits<std::int64_t>::max() - 1)), nullptr);
  EXPECT_NE(b.wheel.pop(time_point::max()), nullptr);
  // Before the epoch counts as due at once.
  plain_timer old(time_point::min());
  b.wheel.insert(old);
  EXPECT_EQ(b.wheel.pop(time_point::max()), &old);
}

TEST(TimerWheel, ClearedItHasNothingAndGoesOn) {
  both b;
  std::vector<heed::timer*> in;
  for (int bits = 0; bits < 62; ++bits) in.push_back(b.insert(std::int64_t{1} << bits));
  int steps = 1;  // and some are on their way down
  EXPECT_NE(b.wheel.pop_any(at(1 << 20), steps), nullptr);
  EXPECT_TRUE(b.wheel.busy());
  b.wheel.clear();
  const auto left =
      std::count_if(in.begin(), in.end(), [](auto* t) { return heed::timer_wheel::contains(*t); });
  EXPECT_EQ(left, 1);  // what was popped counts as in until it is forgotten
  EXPECT_FALSE(b.wheel.busy());
  EXPECT_EQ(b.wheel.next(), time_point::max());
  EXPECT_EQ(b.wheel.pop(time_point::max() - heed::duration(1)), nullptr);
  plain_timer later(time_point::max());
  b.wheel.insert(later);
  EXPECT_EQ(b.wheel.pop(time_point::max()), &later);
}

// An emptied slot that is used again later must not remember its old time.
TEST(TimerWheel, ReusedSlotForgetsItsPast) {
  both b;
  heed::timer* gone = b.insert(5);
  b.remove(gone);
  b.insert(70);
  b.expect_same_due(at(64));
  b.insert(64 + 64 + 5);
  b.expect_same_due(at(70));
  b.insert(128 + 5);
  b.expect_same_due(at(129));
  b.expect_same_due(at(133));
  EXPECT_TRUE(b.sorted.empty());
}

TEST(TimerWheel, OverdueIsDueAtOnceAndBeforeTheRest) {
  both b;
  b.insert(1000);
  b.insert(2000);
  b.expect_same_due(at(1500));
  plain_timer overdue(at(3));
  b.wheel.insert(overdue);
  EXPECT_EQ(b.wheel.pop(at(1500)), &overdue);
  b.expect_same_due(at(2000));
  EXPECT_TRUE(b.sorted.empty());
}

TEST(TimerWheel, RandomAgainstASortedMap) {
  const auto first = static_cast<unsigned>(heed_test::seed());
  for (unsigned round = 0; round < 60; ++round) {
    const unsigned seed = first + round;
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    both b;
    std::int64_t now = static_cast<std::int64_t>(random() >> (1 + random() % 62));
    std::vector<heed::timer*> known;
    for (int step = 0; step < 1500; ++step) {
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
        case 3: {  // near, far and equal ones
          const auto off = static_cast<std::int64_t>(random() >> (random() % 63 + 1) >> 1);
          const std::int64_t when = now > std::numeric_limits<std::int64_t>::max() - off ? now : now + off;
          known.push_back(b.insert(when));
          break;
        }
        case 4:
        case 5:
          if (!known.empty()) b.remove(known[random() % known.size()]);
          break;
        case 6: {
          const auto off = static_cast<std::int64_t>(random() >> (random() % 62 + 2));
          if (now <= std::numeric_limits<std::int64_t>::max() - off) now += off;
          b.expect_same_due(at(now));
          break;
        }
        default:
          if (!b.sorted.empty())
            now = std::max<std::int64_t>(now, b.sorted.begin()->first.time_since_epoch().count());
          b.expect_same_due(at(now));
      }
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

// Clocks may start anywhere: times before the epoch keep their order.
TEST(TimerWheel, BeforeTheEpoch) {
  using times = std::initializer_list<std::int64_t>;
  both b;
  for (const auto t : times{-5'000'000'000, -1, 0, 1, -3, -4'999'999'999, 7}) b.insert(t);
  for (const auto t : times{-6'000'000'000, -5'000'000'000, -4'999'999'998, -2, -1, 0, 6, 7}) {
    b.expect_same_due(at(t));
  }
  EXPECT_TRUE(b.sorted.empty());
}

// As the thread that keeps time does it: in any order, with few moves at a time; none early, none twice, none
// lost.
TEST(TimerWheel, PopAnyInSmallSteps) {
  const auto first = static_cast<unsigned>(heed_test::seed());
  for (unsigned round = 0; round < 60; ++round) {
    const unsigned seed = first + round;
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    heed::timer_wheel wheel(seed % heed::timer_wheel::tags);
    std::deque<plain_timer> storage;
    std::set<heed::timer*> waiting;
    std::int64_t now = 1'000'000;
    for (int step = 0; step < 400; ++step) {
      for (auto n = random() % 20; n > 0; --n) {
        auto& t = storage.emplace_back(at(now + static_cast<std::int64_t>(random() >> (random() % 40 + 23))));
        wheel.insert(t);
        waiting.insert(&t);
      }
      if (!waiting.empty() && random() % 2) {
        heed::timer* t = *waiting.begin();
        wheel.remove(*t);
        waiting.erase(t);
      }
      now += static_cast<std::int64_t>(random() >> (random() % 40 + 24));
      do {
        int moves = static_cast<int>(random() % 4 + 1);
        while (heed::timer* t = wheel.pop_any(at(now), moves)) {
          ASSERT_LE(t->when(), at(now)) << "early";
          ASSERT_EQ(waiting.erase(t), 1U) << "twice";
          ASSERT_EQ(heed::timer_wheel::tag_of(*t), seed % heed::timer_wheel::tags);
          if (random() % 2) {
            heed::timer_wheel::forget(*t);
          } else {
            heed::timer_wheel::remove(*t);
          }
          ASSERT_EQ(heed::timer_wheel::tag_of(*t), heed::timer_wheel::none);
        }
        if (wheel.busy()) {
          ASSERT_LE(wheel.next(), at(now)) << "would not come again";
        }
      } while (wheel.busy());
      for (const heed::timer* t : waiting) {
        ASSERT_GT(t->when(), at(now)) << "overdue";
        ASSERT_LE(wheel.next(), t->when()) << "would sleep too long";
        ASSERT_EQ(heed::timer_wheel::tag_of(*t), seed % heed::timer_wheel::tags);
      }
    }
  }
}
