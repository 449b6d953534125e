// Blocking until something happens or a context ends: sleeping, several contexts, condition variables,
// futures.
#pragma once

#include <heed/atomic.hpp>
#include <heed/callback.hpp>
#include <heed/context.hpp>
#include <heed/scheduler.hpp>
#include <heed/time.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <future>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>

namespace heed::inline v0 {

/// Sleeps until `t` by the context's clock: `{}`, never early; or until `ctx` ends: its err(). A context that
/// has ended already is reported whatever the time. `std::this_thread::sleep_until` ([thread.thread.this])
/// that can be called off. No spinning, no thread, no allocation: one futex. Under a scheduler that is not
/// the default one its clock counts, and it may throw what arm() throws. `time_point::max()` sleeps until the
/// context ends.
HEED_API std::error_code sleep_until(const context& ctx, time_point t);
/// As above, for a steady_clock point in other units or a system_clock point (converted once, now).
template <class Clock, class Duration>
std::error_code sleep_until(const context& ctx, const std::chrono::time_point<Clock, Duration>& t) {
  return sleep_until(ctx, to_time_point(t, [&] { return ctx.now(); }));
}
/// sleep_until() now + `d`. Any duration type; too long ones saturate to forever; zero and less only look at
/// the context; NaN is misuse (`std::invalid_argument`).
template <class Rep, class Period>
std::error_code sleep_for(const context& ctx, const std::chrono::duration<Rep, Period>& d) {
  return sleep_until(ctx, end_of(saturate(d), [&] { return ctx.now(); }));
}

/// Blocks until one of them is done; its index, and the lowest one if several are done when it looks. Go's
/// `select` over Done channels. Contexts that can never end are allowed among them; if all are such, it
/// blocks for good. An empty span is misuse (`std::invalid_argument`). The handles must stay as they are
/// meanwhile.
///
/// O(n); one allocation, unless one is done already or only one can end: throws `std::bad_alloc`. One futex,
/// no thread. It is woken as a cancel_callback is: one that blocks the canceling thread delays it.
HEED_API std::size_t wait_any(std::span<const context> contexts);
/// As above: `wait_any({request, server})`.
inline std::size_t wait_any(std::initializer_list<context> contexts) {
  return wait_any(std::span<const context>(contexts.begin(), contexts.size()));
}

/// The part of wait() on a `std::condition_variable` that does not know the predicate: src/condition.cpp. Not
/// for direct use.
class HEED_API condition_sleeper : private work {
 public:
  condition_sleeper(const context& ctx, std::condition_variable& cv, std::unique_lock<std::mutex>& lock);
  ~condition_sleeper() { leave(); }
  // Sleeps in the condition variable, unless the context has ended; may return for no reason.
  void sleep();
  // Unregisters, after which nothing touches the condition variable or the mutex on its behalf. May give the
  // lock up for a moment.
  void leave() noexcept;

 private:
  friend class helpers;
  struct teller {
    condition_sleeper* self;
    void operator()() const noexcept { self->tell(); }
  };
  void tell() noexcept;
  static bool on_step(work& w, step s) noexcept;

  std::condition_variable& cv_;
  std::unique_lock<std::mutex>& lock_;
  std::mutex& mutex_;
  sync::atomic<std::uint32_t> state_{0};
  sync::atomic<std::uint32_t> helper_{0};     // a futex
  condition_sleeper* next_leader_ = nullptr;  // these two: src/helpers.hpp
  condition_sleeper* chain_ = nullptr;
  std::optional<cancel_callback<teller>> callback_;
};

/// The same for a `std::condition_variable_any`, but for the lock's type.
class HEED_API any_sleeper {
 public:
  any_sleeper(const context& ctx, std::condition_variable_any& cv) noexcept;
  ~any_sleeper() { leave(); }
  any_sleeper(const any_sleeper&) = delete;
  any_sleeper& operator=(const any_sleeper&) = delete;
  template <class Lock>
  void sleep(Lock& lock) {
    if (!enter()) return;
    // The condition variable calls unlock() when whoever notifies it has to wait until this thread sleeps.
    struct hooked {
      Lock& of;
      any_sleeper& self;
      void lock() { of.lock(); }
      void unlock() {
        self.settle();
        of.unlock();
      }
    } both{lock, *this};
    cv_.wait(both);
    wake();
  }
  void leave() noexcept { callback_.reset(); }

 private:
  struct teller {
    any_sleeper* self;
    void operator()() const noexcept { self->tell(); }
  };
  bool enter() noexcept;   // false: the context has ended
  void settle() noexcept;  // from here on a notification cannot be missed
  void wake() noexcept;
  void tell() noexcept;

  std::condition_variable_any& cv_;
  sync::atomic<std::uint32_t> state_{0};  // a futex
  std::optional<cancel_callback<teller>> callback_;
};

/// The loop that both share. Not for direct use.
template <class Sleeper, class Predicate, class Sleep>
std::error_code sleep_unless(const context& ctx, Sleeper& sleeper, Predicate& pred, Sleep sleep) {
  for (;;) {
    // The context first: what was done before its end is seen by pred(). And pred() last: once true, it is
    // not asked again, for it may have taken something. Where the context has not ended, nothing was told
    // (src/condition.cpp, C1), so that leaving gives no lock up.
    const std::error_code ended = ctx.err();
    if (ended) sleeper.leave();
    if (pred()) return {};
    if (ended) return ended;
    sleep();
  }
}

/// `cv.wait(lock, pred)` that a context can end ([thread.condition.condvar]): blocks until pred() holds or
/// `ctx` ends. `{}` exactly when pred() holds at the moment of return, also where the context has ended; else
/// its err(). No wake-up is lost, neither a notification nor the end of the context.
///
/// `lock` must be held, as for `cv.wait` (`std::invalid_argument` where it is not); it is held on return, and
/// when pred() is called. pred() may throw: the exception passes through, with the lock held. cancel() may be
/// called by a thread that holds the mutex. When the context ends, all who wait on `cv` are woken, and look
/// at their predicates; when wait() has returned, nothing of it touches `cv` or the mutex any more. Until
/// then both must stay, also for a waiter that has been notified. Not across fork(): a child must not end a
/// context that another thread of its parent was waiting with.
///
/// No allocation. The first one of a process has fork() take heed's locks: `std::system_error` where that
/// cannot be had. No thread, but for one case: a cancel() that finds the mutex locked while somebody waits
/// has a thread of the default scheduler lock it once, to be sure that no waiter is just about to sleep; one
/// thread for each mutex, however many wait. A waiter that was about to sleep at that very moment, when no
/// thread could be had, sleeps until there is one.
template <class Predicate>
  requires std::predicate<Predicate&>
std::error_code wait(const context& ctx, std::condition_variable& cv, std::unique_lock<std::mutex>& lock,
                     Predicate pred) {
  if (!lock.owns_lock()) misuse("heed: wait() on a condition variable without the lock");
  const std::error_code ended = ctx.err();
  if (pred()) return {};
  if (ended) return ended;
  if (!ctx.cancel_possible()) {
    do cv.wait(lock);
    while (!pred());
    return {};
  }
  condition_sleeper sleeper(ctx, cv, lock);
  return sleep_unless(ctx, sleeper, pred, [&] { sleeper.sleep(); });
}
/// As above, for `std::condition_variable_any` and any lock that it takes ([thread.condition.condvarany]): a
/// `std::unique_lock` or `std::shared_lock` of any mutex, a mutex itself. Only this thread uses the lock.
/// Never a thread.
template <class Lock, class Predicate>
  requires std::predicate<Predicate&> && requires(Lock& l) {
    l.lock();
    l.unlock();
  }
std::error_code wait(const context& ctx, std::condition_variable_any& cv, Lock& lock, Predicate pred) {
  if constexpr (requires { static_cast<bool>(lock.owns_lock()); }) {
    if (!lock.owns_lock()) misuse("heed: wait() on a condition variable without the lock");
  }
  const std::error_code ended = ctx.err();
  if (pred()) return {};
  if (ended) return ended;
  if (!ctx.cancel_possible()) {
    do cv.wait(lock);
    while (!pred());
    return {};
  }
  any_sleeper sleeper(ctx, cv);
  return sleep_unless(ctx, sleeper, pred, [&] { sleeper.sleep(lock); });
}

/// The loop of wait() on a future. Not for direct use.
template <class Future>
std::error_code wait_in_slices(const context& ctx, const Future& f) {
  if (!f.valid()) misuse("heed: wait() on a future without a shared state");
  if (const std::error_code ended = ctx.err()) return ended;
  if (!ctx.cancel_possible()) {
    f.wait();
    return {};
  }
  constexpr duration longest = std::chrono::milliseconds(10);
  for (duration slice = std::chrono::microseconds(100);; slice = std::min(2 * slice, longest)) {
    switch (f.wait_for(slice)) {
      case std::future_status::ready: return {};
      case std::future_status::deferred:
        f.wait();  // runs it, here
        return {};
      case std::future_status::timeout: break;
    }
    if (const std::error_code ended = ctx.err()) return ended;
  }
}

/// Blocks until the future is ready: `{}`, get() does not block; or until `ctx` ends: its err(), and the
/// future is as it was. A context that has ended already is reported even where the future is ready. A
/// deferred function runs here ([futures.unique.future]), to its end. A future without a shared state is
/// misuse (`std::invalid_argument`).
///
/// A future wakes at once; the context's end is noticed late, because the standard gives no way to wake who
/// waits for a future: the thread looks at the context now and then, after 0.1 ms at first, later every 10
/// ms. So it costs up to a hundred wake-ups a second, and a cancel up to about 10 ms. Where that matters,
/// tell the result through something that a context can wake. No thread, no allocation.
template <class T>
std::error_code wait(const context& ctx, const std::future<T>& f) {
  return wait_in_slices(ctx, f);
}
/// As above. As with the standard's own, each thread waits through its own copy.
template <class T>
std::error_code wait(const context& ctx, const std::shared_future<T>& f) {
  return wait_in_slices(ctx, f);
}

}  // namespace heed::inline v0
