// The default scheduler's deadlines: a wheel for each CPU, and one thread that sleeps until the first is due
// and fires it.
#pragma once

#include <heed/atomic.hpp>

#include "annotations.hpp"
#include "sync.hpp"
#include "timer_wheel.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace heed::inline v0 {

class executor;

// Arming and disarming take one lock that only threads on the same CPU use, as a rule, and write nothing that
// is shared by all, unless a deadline comes first in its shard.
//
//   T1  A timer is in the shard whose number is its wheel's tag (W4), from arm() on: whoever disarms it, on
//       whatever CPU by then, takes the lock under which the thread pops it.
//   T2  The thread pops, expires and forgets a timer under its shard's lock. So disarm() finds it in, and
//       takes it out; or finds it forgotten, without the lock even, and then expire() has been called and
//       what it wrote is visible; or in and popped: between the two there is the lock. A timer for which
//       expire() said no is not touched again: it still counts as in, on a list of its own, until its owner
//       disarms it.
//   T3  While a thread runs, it comes to each shard at the shard's `visit`, or before; while none does, every
//       `visit` is max. Who inserts an earlier timer lowers `visit` and rings.
//   T4  No ring is slept through. The thread remembers the bell before it looks at any `visit`, says how long
//       it will sleep, and looks at the bell again; who rings changes the bell, and then looks how long the
//       thread sleeps. All four are seq_cst: if the thread misses the new bell, the ringer finds the sleep
//       announced, and wakes it where it would sleep too long.
//   T5  The thread has itself woken a little before its time (head_start.hpp), but says that it sleeps until
//       then. If it is early, it finds nothing due, and goes to sleep again: what it fires it has compared
//       with the clock (I8).
// I8: never early: pop() compares with the clock, read before. Once: pop() takes it out. Not lost: T3.
class timekeeper {
 public:
  constexpr explicit timekeeper(executor& e) noexcept : callbacks_(e) {}

  // As scheduler::arm() and disarm(). Throws std::system_error.
  void arm(timer& t);
  // arm(), unless a thread or a wheel has to be made or told first: then false, and nothing has changed.
  bool try_arm(timer& t) noexcept;
  void disarm(timer& t) noexcept;
  // The body of the thread.
  void run() noexcept;

  // Held while a deadline is turned; and by fork(), first and last: so no context of the child is halfway for
  // our sake.
  futex_lock& turning() noexcept { return turning_; }
  // Around fork(). The shards are unchecked there: one locks them, another unlocks.
  void before_fork() noexcept HEED_ACQUIRES(starting_);
  void after_fork_in_parent() noexcept HEED_RELEASES(starting_);
  void after_fork_in_child() noexcept HEED_RELEASES(starting_);

 private:
  static constexpr unsigned count = timer_wheel::tags < 64 ? timer_wheel::tags : 64;

  // All zero until it is made: pages that nobody touches cost nothing.
  struct alignas(64) shard {
    futex_lock lock;  // guards all below; the thread reads `visit` without
    sync::atomic<time_point::rep> visit{0};
    timer_wheel wheel HEED_GUARDED_BY(lock){timer_wheel::not_started{}};

    // relaxed: the lock orders it; for the thread, T4 does.
    time_point visited_by() const noexcept {
      return time_point(duration(visit.load(std::memory_order_relaxed)));
    }
    void visit_by(time_point t) noexcept HEED_REQUIRES(lock) {
      visit.store(t.time_since_epoch().count(), std::memory_order_relaxed);
    }
  };

  // Has the shard made, and a thread run.
  void prepare(unsigned index);
  void ring(time_point when) noexcept;
  // One visit: fires what is due, up to a batch. Whether there may be more at once.
  bool serve(shard& s) noexcept;
  template <class F>
  void each_made(F f) noexcept {
    // acquire: what made it.
    for (std::uint64_t m = made_.load(std::memory_order_acquire); m != 0; m &= m - 1)
      f(shards_[static_cast<std::size_t>(std::countr_zero(m))]);
  }

  // Read by all, hardly ever written.
  alignas(64) sync::atomic<std::uint64_t> made_{0};  // a bit for each shard
  sync::atomic<bool> running_{false};
  executor& callbacks_;
  futex_lock turning_;   // the first of all locks
  unsigned forks_ = 0;   // how often the thread that keeps time has forked; nobody else looks
  futex_lock starting_;  // guards the making of threads and shards; comes before the shards' locks
  // Written by the thread, and by who rings.
  alignas(64) sync::atomic<std::uint32_t> bell_{0};                                           // a futex
  sync::atomic<time_point::rep> asleep_until_{time_point::min().time_since_epoch().count()};  // min: awake
  static constinit std::array<shard, count> shards_;  // not a member: all zero it takes no room in the file
};

[[gnu::always_inline]] inline bool timekeeper::try_arm(timer& t) noexcept {
  const unsigned index = os::cpu() % count;
  // acquire: what made it.
  if ((made_.load(std::memory_order_acquire) >> index & 1) == 0) return false;
  shard& s = shards_[index];
  const locked guard(s.lock);
  if (t.when() < s.visited_by()) return false;
  s.wheel.insert(t);
  return true;
}

inline void timekeeper::disarm(timer& t) noexcept {
  const unsigned tag = timer_wheel::tag_of(t);
  if (tag == timer_wheel::none) return;  // T2
  const locked guard(shards_[tag].lock);
  timer_wheel::remove(t);
}

}  // namespace heed::inline v0
