// Which timer is due next: insertion and removal in constant time, however many wait (I8: never early).
#pragma once

#include <heed/atomic.hpp>
#include <heed/scheduler.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace heed::inline v0 {

// A hierarchical wheel down to the nanosecond. A time is a number of sixteen digits to the base 16; `at_` is
// a time that is not after any timer that waits in a slot (overdue ones count as due at `at_`). A timer lies
// on the level of the highest digit in which it differs from `at_`, in the slot of that digit. So:
//   W1  All timers of a level come before all of a higher one, and slots of one level are in order of time.
//   W2  Where a timer lies depends on `at_` and its time only: timers of equal time share a list, in the
//       order in which they came.
//   W3  `at_` may move up to the start of the first slot that is not empty without changing anybody's place:
//       the digits above that slot's are the same, and below it there is nobody.
// When `at_` has come to the first slot's start, the slot is emptied into `moving_`, and from there each
// timer goes down at least a level, or out if it is due: it moves at most fifteen times in its life, and not
// at all when it is removed before.
//
// Which wheel. Every link of a wheel carries the wheel's tag in the bits that its alignment leaves free: half
// of them in each `next`, the others in each `prev`. So whoever has a timer knows the wheel whose lock guards
// it.
//   W4  From insert() on, tag_of() says the tag, or `none` once forget() or remove() was called; it may be
//       called without the lock: links are written atomically, and forget() comes before `next` is used for
//       anything else.
//
// Not thread-safe but for that. Holds no storage of the timers', allocates nothing.
class timer_wheel {
 public:
  static constexpr int half = std::countr_zero(alignof(links));
  static constexpr unsigned tags = 1U << (2 * half);
  static constexpr unsigned none = tags;

  struct not_started {};  // for constant initialization: all zero, and start() is to be called
  constexpr explicit timer_wheel(not_started) noexcept {}
  explicit timer_wheel(unsigned tag = 0) noexcept { start(tag, time_point::min()); }
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;
  // Once. `now`: the earlier, the farther what is inserted has to move.
  void start(unsigned tag, time_point now) noexcept;

  void insert(timer& t) noexcept;
  // Takes out and forgets all.
  void clear() noexcept;
  // Whether it is in, or popped and not forgotten.
  static bool contains(const timer& t) noexcept { return t.prev != nullptr; }
  // Takes it out and forgets it; nothing if it is not in.
  static void remove(timer& t) noexcept;
  // Takes out the first one that is due at `now`; null: none is. In the order of the deadlines, and for equal
  // ones of their insertion. `now` must not go back. The timer still counts as in, on a list of its own,
  // until it is removed or forgotten.
  timer* pop(time_point now) noexcept;
  // The same, but in any order, and with no more than so many `steps` down the levels, which it counts down:
  // what is due, but has not come down, waits for the next call. busy() says whether there is any such.
  timer* pop_any(time_point now, int& steps) noexcept { return take(number(now), false, steps); }
  bool busy() const noexcept { return bare(moving_.next) != &moving_; }
  // For a timer that pop() gave: its links are free for other uses; not `prev`, which tells contains().
  static void forget(timer& t) noexcept;
  // Not later than the first deadline; time_point::max(): empty.
  time_point next() noexcept;
  // W4
  static unsigned tag_of(const timer& t) noexcept;

 private:
  static constexpr int digit_bits = 4;
  static constexpr int levels = 64 / digit_bits;
  static constexpr int slots = 1 << digit_bits;
  static constexpr std::uintptr_t low = (std::uintptr_t{1} << half) - 1;
  struct place {
    int level;
    int digit;
  };

  // All times in their order, also those before the epoch.
  static std::uint64_t number(time_point t) noexcept {
    return static_cast<std::uint64_t>(t.time_since_epoch().count()) ^ (std::uint64_t{1} << 63);
  }
  static time_point time_of(std::uint64_t n) noexcept {
    return time_point(duration(static_cast<duration::rep>(n ^ (std::uint64_t{1} << 63))));
  }
  static links* bare(links* p) noexcept {
    return reinterpret_cast<links*>(reinterpret_cast<std::uintptr_t>(p) & ~low);
  }
  static links* tagged(links* p, std::uintptr_t tag) noexcept {
    return reinterpret_cast<links*>(reinterpret_cast<std::uintptr_t>(p) | tag);
  }
  // relaxed: the lock orders it for all but tag_of(), which looks at the tag only, and that stays.
  static void put(links*& link, links* value) noexcept {
    sync::atomic_ref<links*>(link).store(value, std::memory_order_relaxed);
  }
  static void unlink(links& item) noexcept {
    put(bare(item.prev)->next, item.next);
    put(bare(item.next)->prev, item.prev);
  }
  void make_empty(links& list) noexcept {
    put(list.next, tagged(&list, next_tag_));
    put(list.prev, tagged(&list, prev_tag_));
  }
  void push_back(links& list, links& item) noexcept {
    put(item.next, tagged(&list, next_tag_));
    put(item.prev, list.prev);
    put(bare(list.prev)->next, tagged(&item, next_tag_));
    put(list.prev, tagged(&item, prev_tag_));
  }

  links& list_at(place p) noexcept {
    const int at = p.level * slots + p.digit;
    return slots_[static_cast<std::size_t>(at)];
  }
  std::uint64_t start_of(place p) const noexcept;
  // The first slot that is not empty; level < 0: there is none.
  place first() noexcept;
  timer* take(std::uint64_t limit, bool ordered, int& steps) noexcept;

  std::uint64_t at_ = 0;
  std::array<std::uint16_t, levels> used_{};  // a bit per slot: may hold timers (removal does not clear it)
  std::uint16_t used_levels_ = 0;             // a bit per level: its `used_` is not 0
  std::uint8_t next_tag_ = 0;
  std::uint8_t prev_tag_ = 0;
  links moving_;  // what was in a slot whose start has come
  std::array<links, static_cast<std::size_t>(levels) * slots> slots_{};
};

inline void timer_wheel::insert(timer& t) noexcept {
  const std::uint64_t when = std::max(number(t.when()), at_);
  // What does not differ at all lies on level 0, too.
  const int level = (63 - std::countl_zero((when ^ at_) | 1)) / digit_bits;
  const int digit = static_cast<int>(when >> (level * digit_bits)) & (slots - 1);
  std::uint16_t& used = used_[static_cast<std::size_t>(level)];
  if ((used >> digit & 1) == 0) {  // mostly it is there already: two stores less before the unlock
    used = static_cast<std::uint16_t>(used | 1U << digit);
    used_levels_ = static_cast<std::uint16_t>(used_levels_ | 1U << level);
  }
  push_back(list_at({level, digit}), t);
}

inline void timer_wheel::remove(timer& t) noexcept {
  if (!contains(t)) return;
  unlink(t);
  forget(t);
}

inline void timer_wheel::forget(timer& t) noexcept {
  // release: who sees it in tag_of() sees all that came before: what expire() wrote.
  sync::atomic_ref<links*>(t.prev).store(nullptr, std::memory_order_release);
}

inline unsigned timer_wheel::tag_of(const timer& t) noexcept {
  auto& links_of = const_cast<timer&>(t);
  // acquire: whoever uses `next` for something else has written it by release, after forget(); who reads that
  // here reads null below.
  const links* next = sync::atomic_ref<links*>(links_of.next).load(std::memory_order_acquire);
  // acquire: see forget().
  const links* prev = sync::atomic_ref<links*>(links_of.prev).load(std::memory_order_acquire);
  if (!prev) return none;
  return static_cast<unsigned>((reinterpret_cast<std::uintptr_t>(next) & low) |
                               (reinterpret_cast<std::uintptr_t>(prev) & low) << half);
}

}  // namespace heed::inline v0
