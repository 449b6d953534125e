// Which timer is due next: insertion and removal in constant time, however many wait (I8: never early).
#pragma once

#include <heed/scheduler.hpp>

#include <array>
#include <cstdint>

namespace heed::inline v0 {

// A hierarchical wheel down to the nanosecond. A time is a number of eleven digits to the base 64; `at_` is a time
// that is not after any timer that waits (overdue ones count as due at `at_`). A timer lies on the level of the
// highest digit in which it differs from `at_`, in the slot of that digit. So:
//   W1  All timers of a level come before all of a higher one, and slots of one level are in order of time.
//   W2  Where a timer lies depends on `at_` and its time only: timers of equal time share a list, in the order in
//       which they came.
// When the first slot's time has come, `at_` moves to the slot's start and its timers go down at least a level:
// each timer moves at most ten times in its life, and not at all when it is removed before.
//
// Not thread-safe. Holds no storage of the timers', allocates nothing.
class timer_wheel {
 public:
  timer_wheel() noexcept;
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  void insert(timer& t) noexcept;
  // Whether it is in: `prev` says so. Who queues a timer elsewhere afterwards uses `next` only.
  static bool contains(const timer& t) noexcept { return t.prev != nullptr; }
  // Takes it out; nothing if it is not in.
  static void remove(timer& t) noexcept;
  // Takes out the first one that is due at `now`; null: none is. In the order of the deadlines, and for equal
  // ones of their insertion. `now` must not go back.
  timer* pop(time_point now) noexcept;
  // Not later than the first deadline; time_point::max(): empty.
  time_point next() noexcept;

 private:
  static constexpr int digit_bits = 6;
  static constexpr int levels = 11;  // 11 digits of 6 bits hold 64
  static constexpr int slots = 1 << digit_bits;
  struct slot {
    links list;               // circular, with itself as the end
    std::uint64_t first = 0;  // not later than any timer in it
  };
  struct place {
    int level;
    int digit;
  };

  place place_of(std::uint64_t when) const noexcept;
  // The first slot that is not empty; level < 0: there is none.
  place first() noexcept;

  std::array<std::array<slot, slots>, levels> slots_;
  std::array<std::uint64_t, levels> used_{};  // a bit per slot: may hold timers (removal does not clear it)
  std::uint64_t at_ = 0;
};

}  // namespace heed::inline v0
