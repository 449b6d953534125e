// The seam to time and threads: what heed asks of an event loop, and what it promises to it.
#pragma once

#include <heed/atomic.hpp>
#include <heed/export.hpp>
#include <heed/time.hpp>

#include <cstddef>

namespace heed::inline v0 {

/// Two pointers that belong to whoever holds the object at the moment: a scheduler, to queue it.
struct links {
  links* next = nullptr;
  links* prev = nullptr;
};

/// Something to run once, on a thread of the scheduler's choice. Made by heed, handed to scheduler::post().
///
/// From post() until run() or drop() is called the storage stays valid and its links are the scheduler's.
/// From that call on, the scheduler must not touch it any more: it may be gone, or be posted again, before
/// run() returns.
class HEED_API work : public links {
 public:
  work(const work&) = delete;
  work& operator=(const work&) = delete;

  /// Runs it. Exactly one of run() and drop() must be called, exactly once, without a lock that any member of
  /// the scheduler takes. Calls foreign code; an exception from that code terminates the program.
  void run() noexcept { function_(*this, step::run); }
  /// Destroys it unrun: for a scheduler that ends before its work.
  void drop() noexcept { function_(*this, step::drop); }

 protected:
  enum class step { claim, turn, run, drop };
  using function = bool (*)(work&, step) noexcept;
  explicit work(function f) noexcept : function_(f) {}
  ~work() = default;

 private:
  friend class timer;
  function function_;
};

/// A deadline, waiting in a scheduler. Made by heed, handed to scheduler::arm().
///
/// From arm() on, its links are the scheduler's: until disarm() returns, or expire() has said false, or run()
/// is called, or turn() has said false. A timer is armed at most once in its life.
class HEED_API timer : public work {
 public:
  /// When it is due: what arm() is given. Never changes.
  const time_point& when() const noexcept { return when_; }

  /// To be called when the timer is due, and taken off the scheduler's books, while whatever excludes a
  /// concurrent disarm() of this timer is still held (usually the scheduler's mutex). Takes no lock, calls
  /// nothing foreign. True: call run() next, once that is released; until then the storage is secured. False:
  /// whoever owned the timer is just giving it up; do not touch it again.
  [[nodiscard]] bool expire() noexcept { return function_(*this, step::claim); }

  /// Optional, between expire() and run(), without a lock: ends the contexts and runs nothing foreign, so
  /// that a thread that keeps time need not wait for callbacks. True: callbacks are left; call run() for
  /// them, on any thread. False: that was all; the timer is gone.
  bool turn() noexcept { return function_(*this, step::turn); }

 protected:
  timer(function f, time_point when) noexcept : work(f), when_(when) {}
  ~timer() = default;

 private:
  time_point when_;
};

/// Time and threads for the contexts below a root: deadlines are armed here, after_funcs are posted here.
///
/// Implement it to run heed on your own event loop, and derive from `background(your_scheduler)`. All members
/// may be called by any thread at any time, also from inside a work's run(); none is called by heed with a
/// lock held. It must outlive every context and after_func that uses it: its destructor aborts with a message
/// where it does not.
class HEED_API scheduler {
 public:
  scheduler() noexcept = default;
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;
  /// Aborts with a message when a context made by `background(*this)`, or an after_func or a group on it, is
  /// still alive.
  virtual ~scheduler();

  /// The present. Never goes back.
  virtual time_point now() const noexcept = 0;
  /// Has the timer expire at `when` or later, never before. Must not call expire() or run() before it returns
  /// on this same thread. May throw (`std::system_error`, `std::bad_alloc`) when that cannot be had, and then
  /// has kept nothing of the timer. Never called twice for one timer.
  virtual void arm(timer& t, time_point when) = 0;
  /// After it returns, the scheduler holds nothing of a timer for which expire() was not called before. Does
  /// nothing for one that has expired, or is disarmed already; may be called from inside that timer's own
  /// run(). Must not wait for a timer's run().
  virtual void disarm(timer& t) noexcept = 0;
  /// Has the work run soon: elsewhere. Neither run() nor drop() may be called inside this call. Never waits
  /// for other work. What cannot be started now is queued, not lost.
  virtual void post(work& w) noexcept = 0;

  /// Called before work is registered that will be posted later, so that the post cannot fail for want of a
  /// thread; may throw, and then the registration fails. Each successful call is followed by one unreserve().
  virtual void reserve() {}
  /// The registered work was posted, or will never be.
  virtual void unreserve() noexcept {}

 private:
  friend class scheduler_use;
  sync::atomic<std::size_t> users_{0};  // relaxed: only a count, for the destructor's check
};

/// heed's own: one timer thread and an elastic set of worker threads, each started at its first need. Lives
/// for the whole process and is never destroyed. Its threads block all signals but those that a fault of
/// their own raises (SIGSEGV and the like).
HEED_API scheduler& default_scheduler() noexcept;

}  // namespace heed::inline v0
