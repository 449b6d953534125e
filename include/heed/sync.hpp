// A mutex and a semaphore whose waiters a context can call off; first come, first served.
#pragma once

#include <heed/atomic.hpp>
#include <heed/context.hpp>
#include <heed/export.hpp>
#include <heed/time.hpp>

#include <cstddef>
#include <cstdint>
#include <system_error>

namespace heed::inline v0 {

struct sync_waiter;  // one that waits, on its own stack: src/locks.cpp

/// The queue behind mutex and semaphore. Not for direct use.
class HEED_API waiter_queue {
 public:
  constexpr waiter_queue() noexcept = default;
  waiter_queue(const waiter_queue&) = delete;
  waiter_queue& operator=(const waiter_queue&) = delete;

 private:
  friend class mutex;
  friend class semaphore;
  class guard;
  void bury() noexcept;  // those that wait in a process that this one was forked from
  void push(sync_waiter& w) noexcept;
  void remove(sync_waiter& w) noexcept;

  sync::atomic<std::uint32_t> lock_{0};  // guards all below, and the links of those in it
  std::uint32_t generation_ = 0;         // the fork generation of those in it
  sync_waiter* first_ = nullptr;
  sync_waiter* last_ = nullptr;
};

/// `std::mutex` ([thread.mutex.class]) with one more lock(): for `std::unique_lock`, `std::scoped_lock`,
/// `std::condition_variable_any`.
///
/// First come, first served: unlock() hands it to whoever waits longest, so nobody starves, and nobody
/// overtakes. What was done before an unlock() is visible after the next lock(). Not recursive: a thread that
/// locks it twice waits for itself. It must not be destroyed while somebody holds it or waits for it, but may
/// be by who has just unlocked it. In a forked child those who waited in the parent are not there. Constant
/// initialized.
///
/// Not contended, lock() and unlock() are one atomic operation each. A waiter sleeps on a futex of its own;
/// no thread, no allocation.
class HEED_API mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  /// Locks it, however long that takes.
  void lock() noexcept;
  /// Locks it: `{}`; or gives up when `ctx` ends: its err(), and then it is not locked by this call. A
  /// context that has ended already is reported even where the mutex is free; and one that ends while the
  /// mutex is being handed over is, too: the mutex goes on to the next. A waiter is woken as a
  /// cancel_callback is: one that blocks the canceling thread delays it.
  [[nodiscard]] std::error_code lock(const context& ctx) noexcept;
  /// Locks it if it is free: true. Never blocks, and never fails for no reason; by its holder: false.
  bool try_lock() noexcept {
    std::uint32_t s = free;
    // acquire: sees what the last holder wrote.
    return state_.compare_exchange_strong(s, held, std::memory_order_acquire, std::memory_order_relaxed);
  }
  /// Unlocks it, or hands it to the first who waits, and wakes that one only. By the thread that locked it,
  /// or on its behalf. One that is not locked is misuse (`std::invalid_argument`).
  void unlock();

 private:
  std::error_code wait(const context& ctx) noexcept;
  void hand_over();

  enum : std::uint32_t { free, held, queued };  // queued: held, and the queue is not empty
  sync::atomic<std::uint32_t> state_{free};
  waiter_queue queue_;
};

/// A counting semaphore, as `std::counting_semaphore` ([thread.sema]), whose acquire() a context can call
/// off.
///
/// First come, first served: release() gives its units to whoever waits longest; a unit that comes while
/// somebody waits never goes to somebody who came later. What was done before a release() is visible to who
/// acquires the unit. It must not be destroyed while somebody waits in it, but may be by who has just
/// acquired. In a forked child those who waited in the parent are not there. Constant initialized. All
/// members are thread-safe; a short lock, no thread, no allocation; a waiter sleeps on a futex of its own.
class HEED_API semaphore {
 public:
  /// With `units` to begin with, 0 or more; a negative number is misuse (`std::invalid_argument`).
  constexpr explicit semaphore(std::ptrdiff_t units) : units_(units) {
    if (units < 0) misuse("heed: a semaphore with less than no units");
  }
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;

  /// Takes one unit: `{}`; or gives up when `ctx` ends: its err(), and then no unit is taken. A context that
  /// has ended already is reported even where there are units; and one that ends while a unit is being handed
  /// over is, too: the unit goes on to the next. A waiter is woken as a cancel_callback is: one that blocks
  /// the canceling thread delays it.
  [[nodiscard]] std::error_code acquire(const context& ctx) noexcept;
  /// Takes one unit if there is one that nobody waits for: true. Never blocks, and never fails for no reason.
  bool try_acquire() noexcept;
  /// Gives `n` units back: to those who wait, waking no more than `n`. 0 does nothing. A negative number, or
  /// more in all than a `std::ptrdiff_t` holds, is misuse (`std::invalid_argument`), and then nothing has
  /// changed.
  void release(std::ptrdiff_t n = 1);

 private:
  // The units, and the first who are to get some, linked; false: too many.
  bool give(std::ptrdiff_t n) noexcept;

  waiter_queue queue_;
  std::ptrdiff_t units_;  // not 0: nobody waits; guarded by the queue's lock
};

}  // namespace heed::inline v0
