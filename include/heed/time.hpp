// heed's clock, and conversions to it that saturate and never round a deadline down.
#pragma once

#include <heed/export.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <ratio>

namespace heed::inline v0 {

/// The clock of every deadline: monotonic, so a step of the wall clock moves no deadline.
using clock = std::chrono::steady_clock;
/// The unit of `clock`: nanoseconds on every platform that heed runs on.
using duration = clock::duration;
/// A point on `clock`. `time_point::max()` means never.
using time_point = clock::time_point;

/// Refuses misuse: throws `std::invalid_argument(message)`; with exceptions off, aborts with it.
[[noreturn]] HEED_API void misuse(const char* message);

/// Any duration as a `duration`. Too long (or +inf) becomes `duration::max()`, too far back (or -inf)
/// `duration::min()`; between two ticks the later one, so that nothing is early. NaN is misuse.
template <class Rep, class Period>
constexpr duration saturate(const std::chrono::duration<Rep, Period>& d) {
  static_assert(std::ratio_equal_v<duration::period, std::nano>, "heed counts nanoseconds");
  constexpr std::int64_t top = std::numeric_limits<std::int64_t>::max();
  constexpr bool centuries = Period::num / Period::den > top / std::nano::den;  // one unit is more than fits
  const auto count = d.count();
  if constexpr (std::integral<Rep> && !centuries) {
    using scale = std::ratio_divide<Period, std::nano>;  // one unit is num / den nanoseconds
    if constexpr (scale::den == 1) {
      std::int64_t ns = 0;
      if (!__builtin_mul_overflow(count, scale::num, &ns)) return duration(ns);
      return count > 0 ? duration::max() : duration::min();
    } else {
      __extension__ using wide = __int128;  // holds the product of any two 64-bit numbers
      const wide scaled = static_cast<wide>(count) * scale::num;
      const wide ns = scaled / scale::den + (scaled % scale::den > 0 ? 1 : 0);
      if (ns >= top) return duration::max();
      if (ns <= -static_cast<wide>(top) - 1) return duration::min();
      return duration(static_cast<std::int64_t>(ns));
    }
  } else {
    const auto ns = static_cast<long double>(count) * std::nano::den * Period::num / Period::den;
    if (ns != ns) misuse("heed: a duration is NaN");
    if (ns >= static_cast<long double>(top)) return duration::max();
    if (ns <= -static_cast<long double>(top)) return duration::min();
    auto whole = static_cast<std::int64_t>(ns);
    if (static_cast<long double>(whole) < ns) ++whole;
    return duration(whole);
  }
}

/// `t + d`, or the nearest time_point there is; with `duration::max()`, which is for ever,
/// `time_point::max()`. Never overflows.
constexpr time_point saturating_add(time_point t, duration d) noexcept {
  if (d == duration::max()) return time_point::max();
  std::int64_t sum = 0;
  if (__builtin_add_overflow(t.time_since_epoch().count(), d.count(), &sum)) {
    return d.count() > 0 ? time_point::max() : time_point::min();
  }
  return time_point(duration(sum));
}

/// When a wait for `d` is over that begins at `now()`. One for zero or less is over already, whatever the
/// clock says: `time_point::min()`.
template <class Now>
constexpr time_point end_of(duration d, Now&& now) {
  return d > duration::zero() ? saturating_add(now(), d) : time_point::min();
}

/// How long it is until a wall-clock time, by what that clock says now; `duration::max()`: for ever.
/// Saturates; between two ticks the later one. NaN is misuse (`std::invalid_argument`). Reads it once.
template <class Duration>
duration time_left(const std::chrono::time_point<std::chrono::system_clock, Duration>& t) {
  const duration since = saturate(t.time_since_epoch());
  if (since == duration::max() || since == duration::min()) return since;
  const duration wall = saturate(std::chrono::system_clock::now().time_since_epoch());
  return saturating_add(time_point(since), -wall).time_since_epoch();
}

/// Any steady_clock or system_clock time point, expressed on `clock`, whose present `now()` tells. A
/// wall-clock time is converted once, here: where the wall clock is set later, the deadline stays where it
/// was. The wall clock is read first, so that what delays this thread in between makes the result late, never
/// early.
template <class Clock, class Duration, std::invocable Now>
  requires std::same_as<Clock, clock> || std::same_as<Clock, std::chrono::system_clock>
time_point to_time_point(const std::chrono::time_point<Clock, Duration>& t, Now&& now) {
  if constexpr (std::same_as<Clock, clock>) {
    return time_point(saturate(t.time_since_epoch()));
  } else {
    const duration left = time_left(t);
    return left == duration::min() ? time_point::min() : saturating_add(now(), left);
  }
}

}  // namespace heed::inline v0
