// Durations and points in time of every kind: the conversions, then with_timeout and with_deadline with them.
#include "support.hpp"

#include <cmath>
#include <limits>
#include <ratio>
#include <stdexcept>

namespace {

// The present, for to_time_point().
auto at(heed::time_point t) {
  return [t] { return t; };
}

using namespace heed_test;
using heed::duration;
using heed::errc;
using heed::saturate;
using heed::time_point;

template <class Rep, class Period = std::ratio<1>>
using of = std::chrono::duration<Rep, Period>;
using seconds_d = of<double>;
using seconds_f = of<float>;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t top = std::numeric_limits<std::int64_t>::max();

TEST(Saturate, ExactWhereItFits) {
  static_assert(saturate(0s) == duration(0));
  static_assert(saturate(1s) == 1s);
  static_assert(saturate(-1s) == -1s);
  static_assert(saturate(90min) == 90min);
  static_assert(saturate(1'000'000h) == 1'000'000h);
  static_assert(saturate(duration(top)) == duration(top));
  static_assert(saturate(duration(top - 1)) == duration(top - 1));
  static_assert(saturate(duration::min()) == duration::min());
  static_assert(saturate(duration(-top)) == duration(-top));
  static_assert(saturate(of<int>(7)) == 7s);
  static_assert(saturate(of<short, std::milli>(-7)) == -7ms);
  static_assert(saturate(of<unsigned char, std::ratio<3600>>(255)) == 255h);
}

TEST(Saturate, TooLong) {
  EXPECT_EQ(saturate(std::chrono::hours::max()), duration::max());
  EXPECT_EQ(saturate(std::chrono::seconds::max()), duration::max());
  EXPECT_EQ(saturate(std::chrono::milliseconds::max()), duration::max());
  EXPECT_EQ(saturate(std::chrono::hours::min()), duration::min());
  EXPECT_EQ(saturate(std::chrono::seconds::min()), duration::min());
  EXPECT_EQ(saturate(of<std::int64_t, std::ratio<31556952>>(10'000)), duration::max())
      << "ten thousand years";
  EXPECT_EQ(saturate(of<std::int64_t, std::giga>(1)), std::chrono::seconds(1'000'000'000));
  EXPECT_EQ(saturate(of<std::int64_t, std::giga>(10)), duration::max());
  EXPECT_EQ(saturate(of<std::int64_t, std::giga>(-10)), duration::min());
}

// The last second that fits is still near its value; it never jumps below it.
TEST(Saturate, NeverBelowNearTheTop) {
  const std::int64_t last = top / 1'000'000'000;
  for (std::int64_t s = last - 100'000'000; s < last; s += 9'999'991) {
    EXPECT_GE(saturate(std::chrono::seconds(s)), duration(s * 1'000'000'000)) << s;
  }
  EXPECT_EQ(saturate(std::chrono::seconds(last + 1)), duration::max());
}

TEST(Saturate, Unsigned) {
  using unsigned_ns = of<std::uint64_t, std::nano>;
  EXPECT_EQ(saturate(unsigned_ns(std::uint64_t(top))), duration(top));
  EXPECT_EQ(saturate(unsigned_ns(std::uint64_t(top) + 1)), duration::max());
  EXPECT_EQ(saturate(unsigned_ns::max()), duration::max());
  EXPECT_EQ(saturate(of<std::uint64_t>(~std::uint64_t(0))), duration::max());
  EXPECT_EQ(saturate(of<std::uint64_t>(5)), 5s);
  EXPECT_EQ(saturate(of<unsigned>(~0U)), std::chrono::seconds(4294967295));
  EXPECT_EQ(saturate(of<std::uint64_t, std::pico>(~std::uint64_t(0))), duration(18446744073709552))
      << "2^64 - 1 picoseconds, rounded up";
}

TEST(Saturate, RoundsUp) {
  using ps = of<std::int64_t, std::pico>;
  EXPECT_EQ(saturate(ps(1)), duration(1));
  EXPECT_EQ(saturate(ps(999)), duration(1));
  EXPECT_EQ(saturate(ps(1000)), duration(1));
  EXPECT_EQ(saturate(ps(1001)), duration(2));
  EXPECT_EQ(saturate(ps(0)), duration(0));
  EXPECT_EQ(saturate(ps(-1)), duration(0)) << "the later tick";
  EXPECT_EQ(saturate(ps(-1000)), duration(-1));
  EXPECT_EQ(saturate(ps(-1001)), duration(-1));
  EXPECT_EQ(saturate(ps::max()), duration(top / 1000 + 1));
  EXPECT_EQ(saturate(of<std::int64_t, std::atto>(1)), duration(1));
}

TEST(Saturate, OddRatios) {
  using frames = of<std::int64_t, std::ratio<1001, 30000>>;  // 33,366,666 2/3 ns
  EXPECT_EQ(saturate(frames(1)), duration(33'366'667));
  EXPECT_EQ(saturate(frames(2)), duration(66'733'334));
  EXPECT_EQ(saturate(frames(3)), duration(100'100'000));
  EXPECT_EQ(saturate(frames(-1)), duration(-33'366'666));
  EXPECT_EQ(saturate(frames(30'000'000'000)), duration(1'001'000'000'000'000'000));
  EXPECT_EQ(saturate(frames::max()), duration::max());
  EXPECT_EQ(saturate(frames::min()), duration::min());
  using thirds = of<int, std::ratio<1, 3>>;
  EXPECT_EQ(saturate(thirds(1)), duration(333'333'334));
  EXPECT_EQ(saturate(thirds(3)), 1s);
}

// A ratio of large coprime numbers: no product of its parts fits.
TEST(Saturate, UnitsOfCenturies) {
  EXPECT_EQ(saturate(of<std::int64_t, std::exa>(1)), duration::max());
  EXPECT_EQ(saturate(of<std::int64_t, std::exa>(-1)), duration::min());
  EXPECT_EQ(saturate(of<std::int64_t, std::tera>(0)), duration::zero());
  EXPECT_EQ(saturate(of<double, std::tera>(1e-12)), duration(1s));
}

TEST(Saturate, LargeCoprimeRatio) {
  using odd = of<std::int64_t, std::ratio<1'000'000'007, 1'000'000'009>>;
  EXPECT_EQ(saturate(odd(1)), duration(999'999'999)) << "999,999,998.000000018 ns, rounded up";
  EXPECT_EQ(saturate(odd(1'000'000'000)), duration(999'999'998'000'000'018))
      << "999,999,998,000,000,017.9999998 ns, rounded up";
}

TEST(Saturate, FloatingPoint) {
  EXPECT_EQ(saturate(seconds_d(1.5)), 1500ms);
  EXPECT_EQ(saturate(seconds_d(-1.5)), -1500ms);
  EXPECT_EQ(saturate(seconds_f(0.25F)), 250ms);
  EXPECT_EQ(saturate(of<long double, std::milli>(0.5L)), 500us);
  EXPECT_EQ(saturate(of<double, std::nano>(0.001)), duration(1)) << "up";
  EXPECT_EQ(saturate(of<double, std::nano>(-0.001)), duration(0));
  EXPECT_EQ(saturate(of<double, std::nano>(-1.5)), duration(-1));
  EXPECT_EQ(saturate(seconds_d(0.0)), duration(0));
  EXPECT_EQ(saturate(seconds_d(-0.0)), duration(0));
  EXPECT_EQ(saturate(seconds_d(std::numeric_limits<double>::denorm_min())), duration(1));
  EXPECT_EQ(saturate(seconds_d(infinity)), duration::max());
  EXPECT_EQ(saturate(seconds_d(-infinity)), duration::min());
  EXPECT_EQ(saturate(seconds_d::max()), duration::max());
  EXPECT_EQ(saturate(seconds_d::min()), duration::min());
  EXPECT_EQ(saturate(seconds_f::max()), duration::max());
  EXPECT_EQ(saturate(seconds_d(9.3e9)), duration::max());
  EXPECT_EQ(saturate(seconds_d(-9.3e9)), duration::min());
  EXPECT_EQ(saturate(of<double, std::nano>(0x1p63)), duration::max());
}

TEST(Saturate, NaNIsMisuse) {
  EXPECT_THROW(static_cast<void>(saturate(seconds_d(not_a_number))), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(saturate(seconds_f(std::nanf("")))), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(saturate(of<long double, std::pico>(-not_a_number))), std::invalid_argument);
}

TEST(SaturatingAdd, StaysInRange) {
  using heed::saturating_add;
  const time_point t(5s);
  static_assert(saturating_add(time_point(1s), 2s) == time_point(3s));
  EXPECT_EQ(saturating_add(t, -10s), time_point(-5s));
  EXPECT_EQ(saturating_add(t, duration::max()), time_point::max());
  EXPECT_EQ(saturating_add(time_point(-5s), duration::max()), time_point::max()) << "for ever";
  EXPECT_EQ(saturating_add(time_point(-5s), duration::min()), time_point::min());
  EXPECT_EQ(saturating_add(time_point::max(), duration(1)), time_point::max());
  EXPECT_EQ(saturating_add(time_point::min(), duration(-1)), time_point::min());
  EXPECT_EQ(saturating_add(time_point::max(), duration::min()), time_point(duration(-1)));
}

TEST(ToTimePoint, SteadyClock) {
  using heed::to_time_point;
  const time_point now(1h);
  EXPECT_EQ(to_time_point(time_point(5s), at(now)), time_point(5s));
  EXPECT_EQ(to_time_point(time_point::max(), at(now)), time_point::max());
  EXPECT_EQ(to_time_point(time_point::min(), at(now)), time_point::min());
  using coarse = std::chrono::time_point<heed::clock, std::chrono::hours>;
  EXPECT_EQ(to_time_point(coarse(2h), at(now)), time_point(2h));
  EXPECT_EQ(to_time_point(coarse::max(), at(now)), time_point::max());
  EXPECT_EQ(to_time_point(coarse::min(), at(now)), time_point::min());
  using floating = std::chrono::time_point<heed::clock, seconds_d>;
  EXPECT_EQ(to_time_point(floating(seconds_d(0.5)), at(now)), time_point(500ms));
  EXPECT_THROW(static_cast<void>(to_time_point(floating(seconds_d(not_a_number)), at(now))),
               std::invalid_argument);
}

TEST(ToTimePoint, SystemClock) {
  using heed::to_time_point;
  using wall = std::chrono::system_clock;
  const time_point now(1h);
  // Between two readings of the wall clock; the result cannot be pinned closer than they are apart.
  const auto before = wall::now();
  const time_point converted = to_time_point(before + 10s, at(now));
  const auto passed = wall::now() - before;
  EXPECT_LE(converted, now + 10s);
  EXPECT_GE(converted, now + 10s - passed);
  EXPECT_EQ(to_time_point(wall::time_point::max(), at(now)), time_point::max());
  EXPECT_LE(to_time_point(wall::time_point::min(), at(now)), now - 1000h);
  using days = std::chrono::time_point<wall, of<std::int64_t, std::ratio<86400>>>;
  EXPECT_EQ(to_time_point(days::max(), at(now)), time_point::max());
  EXPECT_EQ(to_time_point(days::min(), at(now)), time_point::min());
  const auto year_2200 = days(of<std::int64_t, std::ratio<86400>>(84'006));
  EXPECT_GT(to_time_point(year_2200, at(now)), now + 24h * 365 * 100);
}

// What a timeout does: is done at once, waits, or never fires.
enum class outcome { at_once, later, never };

template <class Duration>
void expect_timeout(Duration d, outcome expected) {
  heed::manual_scheduler time;
  for (const bool manual : {true, false}) {
    const heed::context root = manual ? heed::background(time) : heed::background();
    auto [ctx, cancel] = heed::with_timeout(root, d);
    if (expected == outcome::at_once) {
      EXPECT_TRUE(is_done(ctx, errc::deadline_exceeded));
      continue;
    }
    EXPECT_TRUE(is_live(ctx));
    if (expected == outcome::never) {
      EXPECT_EQ(ctx.deadline().value_or(time_point::max()), time_point::max());
    } else {
      EXPECT_LT(ctx.deadline().value_or(time_point::max()), time_point::max());
    }
    EXPECT_TRUE(cancel());
    EXPECT_TRUE(is_done(ctx, errc::canceled));
  }
  // As a point in time on the manual clock, and advancing to the very end.
  auto [ctx, cancel] = heed::with_timeout(heed::background(time), d);
  time.advance_to(time_point::max() - duration(1));
  EXPECT_EQ(ctx.done(), expected != outcome::never);
  time.advance(duration::max());
  EXPECT_EQ(ctx.done(), expected != outcome::never) << "not even at the end of time";
}

TEST(WithTimeout, DurationsOfEveryKind) {
  expect_timeout(0s, outcome::at_once);
  expect_timeout(-1ns, outcome::at_once);
  expect_timeout(-1h, outcome::at_once);
  expect_timeout(duration::min(), outcome::at_once);
  expect_timeout(std::chrono::hours::min(), outcome::at_once);
  expect_timeout(seconds_d(-infinity), outcome::at_once);
  expect_timeout(seconds_d(-0.0), outcome::at_once);
  expect_timeout(of<std::int64_t, std::pico>(-1), outcome::at_once);
  expect_timeout(of<unsigned>(0), outcome::at_once);

  expect_timeout(1h, outcome::later);
  expect_timeout(seconds_d(3600.5), outcome::later);
  expect_timeout(seconds_f(3600.5F), outcome::later);
  expect_timeout(of<short, std::ratio<3600>>(1000), outcome::later);
  expect_timeout(of<unsigned, std::ratio<60>>(60), outcome::later);
  expect_timeout(of<std::int64_t, std::ratio<1001, 30000>>(1'000'000), outcome::later);
  expect_timeout(24h * 365 * 200, outcome::later);

  expect_timeout(duration::max(), outcome::never);
  expect_timeout(std::chrono::hours::max(), outcome::never);
  expect_timeout(std::chrono::milliseconds::max(), outcome::never);
  expect_timeout(seconds_d(infinity), outcome::never);
  expect_timeout(seconds_d::max(), outcome::never);
  expect_timeout(seconds_f::max(), outcome::never);
  expect_timeout(of<std::uint64_t>(~std::uint64_t(0)), outcome::never);
}

TEST(WithTimeout, PicosecondsRoundUp) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_timeout(heed::background(time), of<std::int64_t, std::pico>(1500));
  time.advance(1ns);
  EXPECT_TRUE(is_live(ctx)) << "1.5 ns have not passed";
  time.advance(1ns);
  EXPECT_TRUE(is_done(ctx, errc::deadline_exceeded));
}

TEST(WithTimeout, NaNIsMisuse) {
  heed::manual_scheduler time;
  for (const heed::context& root : {heed::background(), heed::background(time)}) {
    EXPECT_THROW(static_cast<void>(heed::with_timeout(root, seconds_d(not_a_number))), std::invalid_argument);
    auto [ctx, cancel] = heed::with_cancel(root);
    EXPECT_THROW(static_cast<void>(ctx.wait_for(seconds_d(not_a_number))), std::invalid_argument);
    EXPECT_TRUE(is_live(ctx));
  }
}

TEST(WithDeadline, PointsOfEveryKind) {
  using wall = std::chrono::system_clock;
  using coarse = std::chrono::time_point<heed::clock, std::chrono::hours>;
  heed::manual_scheduler time;
  for (const heed::context& root : {heed::background(), heed::background(time)}) {
    const auto at_once = [&](const auto& t) {
      return is_done(heed::with_deadline(root, t).ctx, errc::deadline_exceeded);
    };
    EXPECT_TRUE(at_once(time_point::min()));
    EXPECT_TRUE(at_once(time_point()));
    EXPECT_TRUE(at_once(root.now()));
    EXPECT_TRUE(at_once(coarse::min()));
    EXPECT_TRUE(at_once(wall::time_point::min()));
    EXPECT_TRUE(at_once(wall::time_point()));
    EXPECT_TRUE(at_once(wall::now() - 1s));

    const auto live = [&](const auto& t) {
      auto [ctx, cancel] = heed::with_deadline(root, t);
      return is_live(ctx);
    };
    EXPECT_TRUE(live(time_point::max()));
    EXPECT_TRUE(live(root.now() + 1h));
    EXPECT_TRUE(live(coarse::max()));
    EXPECT_TRUE(live(std::chrono::time_point_cast<std::chrono::hours>(root.now()) + 10h));
    EXPECT_TRUE(live(wall::time_point::max()));
    EXPECT_TRUE(live(wall::now() + 1h));
  }
}

// A wall-clock deadline becomes one of the parent's clock, once: the manual clock decides when it fires.
TEST(WithDeadline, WallClockUnderManualTime) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_deadline(heed::background(time), std::chrono::system_clock::now() + 1h);
  time.advance(30min);
  EXPECT_TRUE(is_live(ctx));
  time.advance(30min);
  EXPECT_TRUE(is_done(ctx, errc::deadline_exceeded));
}

}  // namespace
