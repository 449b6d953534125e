// Callbacks: the list on a context, and who may touch an entry when (I6).
#include "default_scheduler.hpp"
#include "hanging.hpp"

#include <heed/callback.hpp>

#include <utility>

namespace heed::inline v0 {

// An entry on a list belongs to the list's lock. Whoever takes it off, under the lock, decides what becomes
// of it: its destructor (it will not run), or the one thread that runs callbacks (then `running_` is not
// `idle` any more, and the destructor has to look at that).
namespace {
enum running : std::uint32_t { idle, busy, awaited, over };  // callback_base::running_

// pending_function::state_. `off`: stopped, and the registration's count is no more, though it is still
// counted.
enum function_state : std::uint16_t { waiting, fired, stopped, abandoned, off };
}  // namespace

inline void tree::push(shard& s, callback_base& c) noexcept {
  if (!s.callbacks) {
    c.next_ = c.prev_ = s.callbacks = &c;
    return;
  }
  c.next_ = s.callbacks;
  c.prev_ = c.next_->prev_;
  c.prev_->next_ = c.next_->prev_ = &c;
}

inline void tree::take(shard& s, callback_base& c) noexcept {
  if (c.next_ == &c) {
    s.callbacks = nullptr;
  } else {
    c.next_->prev_ = c.prev_;
    c.prev_->next_ = c.next_;
    if (s.callbacks == &c) s.callbacks = c.next_;
  }
  c.next_ = nullptr;
}

// The next one of a shard to run, marked so; null: no more.
callback_base* tree::take_next(cancel_node& n, unsigned number, bool& gone) noexcept {
  shard& s = lock_shard(n, number);
  const locked guard(s.lock, locked::already);
  callback_base* c = s.callbacks;
  if (!c) return nullptr;
  take(s, *c);
  start_holding(n, s);
  if (!c->detached_) {
    c->gone_ = &gone;
    c->runner_ = os::this_thread();
    c->running_.store(busy, std::memory_order_relaxed);  // the lock publishes it
  }
  return c;
}

void tree::run_callbacks(cancel_node& n) noexcept {
  if ((n.word.load(std::memory_order_relaxed) & word::hooks) == 0) return;
  for (unsigned number = 0; number < shard_count(n);) {
    bool gone = false;
    callback_base* c = take_next(n, number, gone);
    if (!c) {
      ++number;
      continue;
    }
    const bool detached = c->detached_;
    c->function_(*c, callback_base::event::fire);  // I5
    if (detached || gone) continue;
    // release: what the callback wrote is visible to who unregisters it. After this store the entry may be
    // gone.
    if (c->running_.exchange(over, std::memory_order_release) == awaited) os::wake_all(c->running_);
  }
}

callback_base* tree::take_detached(cancel_node& n, shard& s, callback_base* taken) noexcept {
  callback_base* end = s.callbacks ? s.callbacks->prev_ : nullptr;
  for (callback_base* c = s.callbacks; c;) {
    callback_base* following = c == end ? nullptr : c->next_;
    if (c->detached_) {
      take(s, *c);
      start_holding(n, s);
      c->prev_ = std::exchange(taken, c);  // next_ stays null: it is on no list
    }
    c = following;
  }
  return taken;
}

void tree::tell_abandoned(callback_base* list) noexcept {
  while (list) {
    callback_base* c = std::exchange(list, list->prev_);
    c->function_(*c, callback_base::event::abandon);
  }
}

// Unchecked, all four: the shard comes locked, or not.
bool callback_base::enlist_anywhere(const context& ctx, bool locked) noexcept HEED_UNCHECKED {
  cancel_node& n = node_of(*tree::scope_of(ctx));
  if (locked) n.own.lock.unlock();
  unsigned number = 0;
  shard* const s = lock_for_new(n, number);
  if (!s) {
    static_cast<void>(ctx.done());  // I1: an after_func that starts now may look at the descriptor alone
    return false;
  }
  owner_ = &n;
  shard_ = static_cast<std::uint8_t>(number);
  tree::push(*s, *this);
  s->lock.unlock();
  return true;
}

// Until it is taken off the list, it keeps its owner by being there; afterwards by a hold (L1).
bool callback_base::unlist_anywhere() noexcept HEED_UNCHECKED {
  cancel_node& n = *owner_;
  shard& s = lock_shard(n, shard_);
  const bool listed = next_ != nullptr;
  bool last = false;
  if (listed) {
    tree::take(s, *this);
    last = was_last_of_orphan(s);
    owner_ = nullptr;
  }
  s.lock.unlock();
  if (last) drop(&n);
  return listed;
}

[[gnu::noinline]] static bool woken(shard& s) noexcept {
  s.lock.wake();
  return true;
}

// The same in a few steps, where the node has one shard, that is free just now. All else is left to the two
// above, by jumps: so these save no registers.
bool callback_base::enlist(const context& ctx) noexcept HEED_UNCHECKED {
  const scope& within = *tree::scope_of(ctx);
  if (&within == &never_ending) [[unlikely]]
    return false;
  cancel_node& n = node_of(within);
  std::uint64_t w = n.word.load(std::memory_order_relaxed);
  if ((w & (word::hooks | word::verdict)) == 0) {
    // H4. acquire: as in hook_first().
    if (!n.word.compare_exchange_strong(w, w | word::hooks, std::memory_order_acquire,
                                        std::memory_order_relaxed)) [[unlikely]]
      return enlist_anywhere(ctx, false);
  } else {
    // acquire: as in try_lock_for_new().
    if ((w & word::verdict) || n.own.children.load(std::memory_order_acquire).has_table() ||
        !n.own.lock.try_lock()) [[unlikely]]
      return enlist_anywhere(ctx, false);
    if (!is_shard_of(n.own, n) || !is_open(n)) [[unlikely]]
      return enlist_anywhere(ctx, true);
  }
  owner_ = &n;
  shard_ = 0;
  tree::push(n.own, *this);
  if (n.own.lock.unlock_only()) [[unlikely]]
    return woken(n.own);  // the caller's handle keeps it
  return true;
}

// False: it is not on the list, or that is not sure, or its owner would go with it; and nothing has changed.
inline bool callback_base::unlist_quickly() noexcept HEED_UNCHECKED {
  cancel_node& n = *owner_;
  shard& s = shard_of(n, shard_);
  if (!s.lock.try_lock()) [[unlikely]]
    return false;
  if (!is_shard_of(s, n) || !next_ || s.orphan) [[unlikely]] {
    s.lock.unlock();
    return false;
  }
  tree::take(s, *this);
  owner_ = nullptr;
  // After this the node may be gone: wake() uses the address only.
  if (s.lock.unlock_only()) [[unlikely]]
    return woken(s);
  return true;
}

bool callback_base::unlist() noexcept {
  return unlist_quickly() || unlist_anywhere();
}

void callback_base::retire() noexcept {
  if (!owner_ || unlist()) return;
  // It runs, or has run. runner_ and gone_ were written under the lock that unlist() took.
  std::uint32_t state = running_.load(std::memory_order_acquire);
  if (state != over && runner_ == os::this_thread()) {
    *gone_ = true;  // inside its own call
  } else {
    while (state != over) {
      // acquire: what the callback wrote. The waiter's mark and the value that futex compares are one word.
      if (state == awaited || running_.compare_exchange_strong(state, awaited, std::memory_order_acquire)) {
        os::wait(running_, awaited);
        state = running_.load(std::memory_order_acquire);
      }
    }
  }
  forget();
}

void callback_base::forget() noexcept {
  if (cancel_node* n = std::exchange(owner_, nullptr)) drop(n);
}

void* pending_function::take(std::size_t bytes) {
  return pool::take(bytes);
}

void pending_function::give(void* room, std::size_t bytes) noexcept {
  pool::give(room, bytes);
}

void pending_function::retain() noexcept {
  count_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has one already
}

void pending_function::release() noexcept {
  // acquire: what all others did with their counts. Who writes `off` has one meanwhile; so if it has given
  // that up already, its `off` is seen here; and if not, we are not the last.
  std::uint32_t count = count_.load(std::memory_order_acquire);
  for (;;) {
    if (count == (state_.load(std::memory_order_relaxed) == off ? 2 : 1))
      return handler_(*this, action::free);
    // release: for who is last. After it this may be gone.
    if (count_.compare_exchange_weak(count, count - 1, std::memory_order_release, std::memory_order_acquire))
      return;
  }
}

// F is gone for good, run or not: the scheduler need not stand ready for it.
void pending_function::let_go() noexcept {
  handler_(*this, action::destroy);
  if (scheduler_ == &the_process_scheduler()) return;  // it is never destroyed, and stands ready for good
  scheduler_->unreserve();
  scheduler_use::remove(*scheduler_);
}

void pending_function::post_now() noexcept {
  state_.store(fired, std::memory_order_relaxed);  // nobody else has it
  scheduler_->post(*this);
}

// In a few steps where it is the process's scheduler, and that stands ready.
void pending_function::start(const context& ctx, scheduler* on) {
  process_scheduler& usual = the_process_scheduler();
  const node* const n = tree::of(ctx);
  if (on || !ctx.cancel_possible() || n->is(node::own_scheduler) || !usual.threads().ready()) [[unlikely]]
    return start_anyhow(ctx, on);
  scheduler_ = &usual;
  if (!enlist(ctx)) post_now();
}

void pending_function::start_anyhow(const context& ctx, scheduler* on) {
  struct undo {
    pending_function* f;
    ~undo() {
      if (!f) return;
      f->state_.store(stopped, std::memory_order_relaxed);  // nobody else has it
      f->handler_(*f, action::destroy);
      f->release();
    }
  } failed{this};
  if (!ctx.cancel_possible()) {
    // Nothing can ever end it. As for everything abandoned, stop() may still say so.
    failed.f = nullptr;
    state_.store(abandoned, std::memory_order_relaxed);
    handler_(*this, action::destroy);
    return release();
  }
  process_scheduler& usual = the_process_scheduler();
  const node* const n = tree::of(ctx);
  scheduler_ = on ? on : n && n->is(node::own_scheduler) ? &scheduler_of(n) : &usual;
  if (scheduler_ != &usual || !usual.threads().ready()) scheduler_->reserve();  // may throw
  failed.f = nullptr;
  if (scheduler_ != &usual) scheduler_use::add(*scheduler_);
  if (!enlist(ctx)) post_now();
}

// The state decides between firing, stop() and abandonment: whoever changes it from `waiting` disposes of F.
// The registration's count goes with the place on the list: to whoever takes it off.
bool pending_function::stop() noexcept {
  std::uint16_t state = waiting;
  // acquire/release: F's construction, and its destruction below, are ordered with the other deciders.
  if (!state_.compare_exchange_strong(state, stopped, std::memory_order_acq_rel)) {
    return state == abandoned && state_.compare_exchange_strong(state, stopped, std::memory_order_acq_rel);
  }
  if (!trivial_ || scheduler_ != &the_process_scheduler() || !unlist_quickly()) return stop_anyhow();
  // Nothing foreign has run, neither F's end nor a value's, so the stop_func that we were called through is
  // still there: whoever is last frees it, and nobody has to count down. relaxed: see release().
  state_.store(off, std::memory_order_relaxed);
  return true;
}

bool pending_function::stop_anyhow() noexcept {
  // F's end may take away the stop_func that we were called through: we keep the registration's count until
  // then, or, where somebody else has taken it off the list and drops that, one of our own.
  if (!unlist()) {
    retain();
    forget();
  }
  let_go();
  release();
  return true;
}

void pending_function::on_event(callback_base& base, event e) noexcept {
  auto& self = static_cast<pending_function&>(base);
  std::uint16_t state = waiting;
  if (!self.state_.compare_exchange_strong(state, e == event::fire ? fired : abandoned,
                                           std::memory_order_acq_rel)) {
    return self.release();  // stop() was first, and does the rest
  }
  self.forget();  // whoever calls us has the context pinned
  if (e == event::fire) return self.scheduler_->post(self);
  self.let_go();
  self.release();
}

bool pending_function::on_step(work& w, step s) noexcept {
  auto& self = static_cast<pending_function&>(w);
  if (s == step::run) self.handler_(self, action::call);
  self.let_go();
  self.release();
  return true;
}

}  // namespace heed::inline v0
