// mutex and semaphore: a queue of waiters on their own stacks, and what is handed to the first of them.
#include "sync.hpp"

#include <heed/callback.hpp>
#include <heed/sync.hpp>

#include <limits>
#include <utility>

namespace heed::inline v0 {

//  Q1  A unit (of the semaphore, or the one of the mutex) is in one place: free, with a holder, or on its way
//      to one waiter, which was taken off the queue for it under the queue's lock.
//  Q2  A waiter that is called off takes the queue's lock to see which: still in the queue, it leaves, and
//      nobody knows of it any more; taken off, a unit is on its way, and it waits for that and passes it on.
//  Q3  Who hands over first lets go of the queue's lock, its last use of the mutex or semaphore, and then
//      sets the waiter's word, its last use of the waiter: from there on either may be gone. Only the word's
//      address is used.
//  Q4  Nothing is free while somebody waits. So nobody overtakes: who finds something free finds nobody
//      waiting.
struct sync_waiter {
  enum : std::uint32_t { given = 1, called_off = 2 };

  void tell(std::uint32_t what) noexcept {
    const sync::atomic<std::uint32_t>& address = word;
    // release: what the unit's last holder, or the canceler, did.
    word.fetch_or(what, std::memory_order_release);
    os::wake_one(address);
  }
  // Sleeps until given or called off; true: given, and ctx has not ended.
  bool sleep(const context& ctx) noexcept {
    {
      const cancel_callback wake(ctx, [this] { tell(called_off); });
      // acquire: tell()'s release.
      while (word.load(std::memory_order_acquire) == 0) os::wait(word, 0);
    }
    return !ctx.done();  // so it was given
  }
  // It has been taken off the queue: waits for the rest.
  void await_given() noexcept {
    for (std::uint32_t seen = 0; ((seen = word.load(std::memory_order_acquire)) & given) == 0;)
      os::wait(word, seen);
  }

  sync::atomic<std::uint32_t> word{0};
  bool waits = false;  // in the queue; guarded by its lock, as are the links
  sync_waiter* next = nullptr;
  sync_waiter* prev = nullptr;
};

class waiter_queue::guard {
 public:
  explicit guard(waiter_queue& q) noexcept : lock_(q.lock_) {
    futex::lock(lock_);
    if (q.first_) q.bury();
  }
  ~guard() { futex::unlock(lock_); }
  guard(const guard&) = delete;
  guard& operator=(const guard&) = delete;

 private:
  sync::atomic<std::uint32_t>& lock_;
};

void waiter_queue::bury() noexcept {
  if (generation_ != os::fork_generation()) first_ = last_ = nullptr;
}

void waiter_queue::push(sync_waiter& w) noexcept {
  if (!first_) generation_ = os::fork_generation();
  w.waits = true;
  w.prev = last_;
  (last_ ? last_->next : first_) = &w;
  last_ = &w;
}

void waiter_queue::remove(sync_waiter& w) noexcept {
  w.waits = false;
  (w.prev ? w.prev->next : first_) = w.next;
  (w.next ? w.next->prev : last_) = w.prev;
}

// --- mutex ---

void mutex::lock() noexcept {
  if (!try_lock()) static_cast<void>(wait(background()));
}

std::error_code mutex::lock(const context& ctx) noexcept {
  if (const std::error_code ended = ctx.err()) return ended;
  if (try_lock()) return no_error;
  return wait(ctx);
}

std::error_code mutex::wait(const context& ctx) noexcept {
  sync_waiter self;
  {
    const waiter_queue::guard locked(queue_);
    std::uint32_t s = state_.load(std::memory_order_relaxed);
    // Once queued, it changes under the queue's lock only. acquire: as try_lock().
    while (s != queued) {
      if (!state_.compare_exchange_weak(s, s == free ? held : queued, std::memory_order_acquire,
                                        std::memory_order_relaxed))
        continue;
      if (s == free) return no_error;
      break;
    }
    queue_.push(self);
  }
  if (self.sleep(ctx)) return no_error;
  {
    const waiter_queue::guard locked(queue_);
    if (self.waits) {  // Q2
      queue_.remove(self);
      // relaxed: still held, and who unlocks it releases.
      if (!queue_.first_) state_.store(held, std::memory_order_relaxed);
      return ctx.err();
    }
  }
  self.await_given();
  unlock();
  return ctx.err();
}

void mutex::unlock() {
  std::uint32_t s = held;
  // release: the next holder sees what we wrote. From here on the mutex may be gone.
  if (!state_.compare_exchange_strong(s, free, std::memory_order_release, std::memory_order_relaxed))
    hand_over();
}

void mutex::hand_over() {
  for (;;) {
    sync_waiter* next = nullptr;
    bool was_free = false;
    {
      const waiter_queue::guard locked(queue_);
      was_free = state_.load(std::memory_order_relaxed) == free;
      next = queue_.first_;
      if (next) {
        queue_.remove(*next);
        // relaxed: held by the one who is told, through whose word it gets what we wrote.
        if (!queue_.first_) state_.store(held, std::memory_order_relaxed);
      } else if (!was_free) {
        state_.store(held, std::memory_order_relaxed);  // those it was queued for are gone, or buried
      }
    }
    if (next) return next->tell(sync_waiter::given);  // Q3
    if (was_free) misuse("heed: unlock() of a mutex that is not locked");
    // All have given up. Not set free above: the queue's lock was still to be let go of, and the mutex may be
    // gone as soon as it is free.
    std::uint32_t s = held;
    if (state_.compare_exchange_strong(s, free, std::memory_order_release, std::memory_order_relaxed)) return;
  }
}

// --- semaphore ---

std::error_code semaphore::acquire(const context& ctx) noexcept {
  if (const std::error_code ended = ctx.err()) return ended;
  sync_waiter self;
  {
    const waiter_queue::guard locked(queue_);
    if (units_ > 0) {  // Q4
      --units_;
      return no_error;
    }
    queue_.push(self);
  }
  if (self.sleep(ctx)) return no_error;
  {
    const waiter_queue::guard locked(queue_);
    if (self.waits) {  // Q2
      queue_.remove(self);
      return ctx.err();
    }
  }
  self.await_given();
  static_cast<void>(give(1));  // where that is one too many, there are more than anybody can take
  return ctx.err();
}

bool semaphore::try_acquire() noexcept {
  const waiter_queue::guard locked(queue_);
  if (units_ == 0) return false;
  --units_;
  return true;
}

void semaphore::release(std::ptrdiff_t n) {
  if (n < 0) misuse("heed: release() of less than no units");
  if (!give(n)) misuse("heed: release() of more units than a semaphore can hold");
}

bool semaphore::give(std::ptrdiff_t n) noexcept {
  sync_waiter* first = nullptr;
  {
    const waiter_queue::guard locked(queue_);
    if (n > std::numeric_limits<std::ptrdiff_t>::max() - units_) return false;
    sync_waiter** last = &first;
    while (n > 0 && queue_.first_) {
      sync_waiter& w = *queue_.first_;
      queue_.remove(w);
      w.next = nullptr;
      *last = &w;
      last = &w.next;
      --n;
    }
    units_ += n;
  }
  while (first) std::exchange(first, first->next)->tell(sync_waiter::given);  // Q3
  return true;
}

}  // namespace heed::inline v0
