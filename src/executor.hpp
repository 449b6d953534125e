// An elastic set of threads that run work, each item as if it had a thread of its own.
#pragma once

#include <heed/atomic.hpp>
#include <heed/scheduler.hpp>

#include "annotations.hpp"
#include "sync.hpp"

#include <cstddef>

namespace heed::inline v0 {

// Links an item that is in no wheel any more. release: W4, for who asks just then where a timer is.
inline void set_next(links& item, links* next) noexcept {
  sync::atomic_ref<links*>(item.next).store(next, std::memory_order_release);
}

// A thread that is awake and has nothing to run yet is a looker, and so is one that has announced its return
// from an item: it waits for nothing but locks of ours until it looks, which is all that X1 needs. A looker
// takes an item, and before it runs it makes sure that somebody looks at the next one: it wakes an idle
// thread, or starts one. So:
//   X1  While something is queued, there is a looker, or a thread could not be had.
//   X2  A function that blocks holds none of the others back, and a burst of short ones is run by few
//       threads, as only one is being started at a time.
//   X3  From the first reserve() on there is a thread; so what is queued when none can be had will run,
//       unless that thread waits for it: who does so asks for another one now and then (starving()).
// A thread that finds nothing for a while goes away, but for the last one of X3. One for the process; never
// destroyed.
class executor {
 public:
  constexpr executor() noexcept = default;

  void post(work& w) noexcept;
  // The same for a chain of items, linked by set_next(), unless nobody looks and no thread can be had: false,
  // and none was taken.
  bool try_post(work& first, work& last) noexcept;
  // Takes it back, unless it has begun: false. A step per item that is queued before it.
  bool withdraw(work& w) noexcept;
  // True: something is queued that nobody looks at, and no thread can be had for it just now. For who is
  // about to block this thread until what is queued has run: try again soon.
  bool starving() noexcept;
  // Has a thread stay for good (X3). Throws std::system_error if there is none and none can be had.
  void reserve();
  // Whether it was reserved already; then reserve() has nothing to do.
  bool ready() const noexcept {
    return reserved_.load(std::memory_order_relaxed);  // it tells of nothing but itself
  }
  // For an item that is over but for its return, and runs nothing foreign any more: the thread that runs it
  // counts as a looker from now on. So who hears of the item's end, and posts, finds this thread on its way
  // back and starts none. The second time, or on a thread that is not the executor's, it does nothing.
  void returning() noexcept;

  // Around fork(): the child has none of the threads.
  void before_fork() noexcept HEED_ACQUIRES(lock_) { lock_.lock(); }
  void after_fork_in_parent() noexcept HEED_RELEASES(lock_) { lock_.unlock(); }
  // What was queued is the parent's to run.
  void after_fork_in_child() noexcept HEED_RELEASES(lock_);

  // The body of each thread.
  void run() noexcept;

 private:
  // All with the lock held. A thread is started under it, so that all others see it there, or see that it
  // cannot be had, and nothing in between.
  void enqueue(work& first, work& last) noexcept HEED_REQUIRES(lock_);
  bool take_out(work& w) noexcept HEED_REQUIRES(lock_);
  // Sees to a looker; false: there is none, and no thread can be had.
  bool summon() noexcept HEED_REQUIRES(lock_);
  // Starts a thread and counts it as a looker. 0, or the errno.
  int start() noexcept HEED_REQUIRES(lock_);
  // Sleeps until summoned (true) or long idle (false).
  bool rest() noexcept HEED_REQUIRES(lock_);

  futex_lock lock_;  // guards all below
  links* first_ HEED_GUARDED_BY(lock_) = nullptr;
  links* last_ HEED_GUARDED_BY(lock_) = nullptr;
  std::size_t threads_ HEED_GUARDED_BY(lock_) = 0;
  std::size_t idle_ HEED_GUARDED_BY(lock_) = 0;      // asleep in rest(), not summoned yet
  std::size_t lookers_ HEED_GUARDED_BY(lock_) = 0;   // summoned or started, and not busy yet
  std::size_t summoned_ HEED_GUARDED_BY(lock_) = 0;  // of the idle: to be taken by whoever wakes
  sync::atomic<bool> reserved_{false};               // read without the lock
  unsigned forks_ HEED_GUARDED_BY(lock_) = 0;        // between the first process and this one
  sync::atomic<std::uint32_t> bell_{0};              // a futex: changes at each summons
};

}  // namespace heed::inline v0
