// How long nodes live: the two counts of tree.hpp.
#include "hanging.hpp"
#include "pool.hpp"
#include "track.hpp"
#include "values.hpp"

#include <utility>

namespace heed::inline v0 {

namespace {

template <class Node>
void free_node(Node* n, std::size_t size = sizeof(Node), std::size_t extra = 0,
               std::size_t align = alignof(Node)) noexcept {
  const bool own = n->is(node::own_memory);
  n->~Node();
  deallocate(n, own, size, extra, align);
}

// What all cancelable nodes have. It is on no list and in no timer any more.
void take_apart(cancel_node& n) noexcept {
  if (n.fd >= 0) os::close_event(n.fd);
  // relaxed: nobody else has it.
  if (n.word.load(std::memory_order_relaxed) & word::hooks) drop_table(n);
}

// Destroys a node that nobody can find any more. Merges drop() takes apart itself.
[[gnu::noinline]] void destroy_other(node* n) noexcept {
  switch (n->what) {
    case kind::todo:
    case kind::tether:
    case kind::merge: return;
    case kind::root: {
      auto* r = static_cast<root_node*>(n);
      if (r->on) scheduler_use::remove(*r->on);
      memory* const kept_in = r->is(node::own_memory) ? &memory_of(*r) : nullptr;
      free_node(r);
      if (kept_in) memory_use::remove(*kept_in);
      return;
    }
    case kind::detached: return free_node(static_cast<detached_node*>(n));
    case kind::value: return destroy_value(static_cast<value_node*>(n));
    case kind::cancel: return;  // destroy()
    case kind::deadline: {
      auto* d = static_cast<deadline_node*>(n);
      take_apart(*d);
      return free_node(d, deadline_node::size(d->is(node::own_scheduler)));
    }
    case kind::custom: {
      auto* c = static_cast<custom_node*>(n);
      if (c->self) c->self->~custom_context();
      take_apart(*c);
      return free_node(c, sizeof(custom_node), c->size, c->alignment);
    }
  }
}

void destroy(node* n) noexcept {
  track::gone(*n);
  if (n->what != kind::cancel) return destroy_other(n);
  take_apart(*static_cast<cancel_node*>(n));
  free_node(static_cast<cancel_node*>(n));
}

// Whether who ended it may still have its lock (L7). H4: without `hooks` it is held, and tells nothing.
inline bool is_walked(const cancel_node& n, std::uint64_t w) noexcept {
  return (w & word::hooks) && !n.own.lock.is_free();
}
// relaxed: the caller has seen the word by acquire, or taken the lock under which its parent's walk would
// have found it.
void await_walk(cancel_node& n) noexcept {
  if (!is_walked(n, n.word.load(std::memory_order_relaxed))) return;
  n.own.lock.lock();
  n.own.lock.unlock();
}

// One hold less; true: it was the last.
bool counted_down(node& n) noexcept {
  for (;;) {
    if (drop_unless_last(n)) return false;
    std::uint32_t last = (n.holds.load(std::memory_order_relaxed) & node::crowded) | 1;
    // release: what we did comes before the destruction; acquire: the destroyer sees what everybody did.
    if (n.holds.compare_exchange_strong(last, last - 1, std::memory_order_acq_rel, std::memory_order_relaxed))
      return true;
  }
}

// Takes one hold away; true: it was the last, and the caller is alone with the node, which no list and no
// timer has any more. Then `owes` tells whether it has a hold on its parent (L2).
bool take_last(node& n, bool& owes) noexcept {
  owes = true;
  const bool has_word = n.what >= kind::cancel;
  const bool found_by_lock = n.what == kind::cancel || n.what == kind::deadline;
  // acquire: what all the others did with it comes before its destruction.
  const auto is_alone = [&] { return (n.holds.load(std::memory_order_acquire) & ~node::crowded) == 1; };
  if ((!has_word || found_by_lock) && is_alone()) {  // L3
    if (!has_word) return true;
    auto& c = static_cast<cancel_node&>(n);
    // acquire: whoever wrote a verdict has disarmed it, or is its timer, which has pinned it before; so the
    // holds that are looked at next are not older than that.
    if ((c.word.load(std::memory_order_acquire) & word::verdict) == 0) disarm(c);
    if (c.parent) owes = leave(c, fate::gone_if_alone);
    await_walk(c);  // before the holds are looked at
    if (is_alone()) return true;
    owes = true;
  }
  if (!counted_down(n)) return false;
  if (has_word) {
    // Who still finds it leaves it alone: try_hold() fails.
    auto& c = static_cast<cancel_node&>(n);
    disarm(c);
    owes = leave(c, fate::gone);
    await_walk(c);  // who has no hold
  }
  return true;
}

void free_merge(merge_node* m) noexcept {
  free_node(m, sizeof(merge_node), m->asked_count * sizeof(node*));
}

// L9: its last handle has gone; true: so has its parent's, and it is for the caller to abandon it.
bool takes_up_away(cancel_node& n) noexcept {
  if (!is_told_late(n)) return false;
  if (shard_count(n) > 1) {
    const locked own(n.own.lock);  // L9: orphan() has taken those of its table
  }
  std::uint32_t up = node::up;
  // relaxed: only decides which of the two goes on, this thread or abandon().
  return is_left_alone(n) && n.handles.compare_exchange_strong(up, 0, std::memory_order_relaxed);
}

// L1: the last handle has gone.
void orphan(cancel_node& n) noexcept {
  for (unsigned i = 0; i < shard_count(n); ++i) {
    shard& s = lock_shard(n, i);
    const locked guard(s.lock, locked::already);
    make_orphan(n, s);
  }
}

}  // namespace

// Merges that are gone but for their hold on the second parent are linked by `next`.
[[gnu::noinline]] static void drop_merge(merge_node& m, merge_node*& half) noexcept {
  track::gone(m);
  take_apart(m);
  if (leave(m.second, fate::gone)) {
    m.next = std::exchange(half, &m);
  } else {
    free_merge(&m);
  }
}

// Whether a child that rides is off its parent's list, and whoever took it off is through with it. False also
// where that is not certain.
[[gnu::always_inline]] static inline bool is_off_list(const cancel_node& c) noexcept {
  if (!rides(c)) return false;
  const auto& above = static_cast<const cancel_node&>(*c.parent);
  // acquire: it was taken off, or another one after it, with the lock held, so what is loaded next is not
  // older than that.
  return above.own.children.load(std::memory_order_acquire).nothing() && above.own.lock.is_free();
}

// One that is trivial; its parent.
static inline node* free_trivial(node& n) noexcept {
  const std::size_t words = n.block_words();
  node* const above = n.parent;
  n.~node();
  pool::give_words(&n, words);
  return above;
}

// What happens to most nodes when a hold goes: it was not the last one; or the node is a value; or it was
// made by with_cancel(), is on no list any more, and there is nothing unusual to it but a cause. True: that
// is done, and `next` is what a hold has to be dropped on now. False: nothing has changed. Runs what is
// foreign.
[[gnu::always_inline]] static inline bool dropped_quickly(node& n, node*& next) noexcept {
  // acquire: L3.
  const std::uint32_t held = n.holds.load(std::memory_order_acquire);
  if (held != 1) {
    if (!drop_one_of_many(n, held) && !crowd::drop_unless_last(n)) return false;
    next = nullptr;
    return true;
  }
  if (n.is(node::trivial)) {
    next = free_trivial(n);
    return true;
  }
  if (n.what != kind::cancel) {
    if (n.what != kind::value) return false;
    next = n.parent;
    destroy_value(static_cast<value_node*>(&n));
    return true;
  }
  if (n.is(node::own_memory)) return false;
  auto& c = static_cast<cancel_node&>(n);
  // acquire: L4, L7.
  const std::uint64_t w = c.word.load(std::memory_order_acquire);
  if (w & (word::claimed | word::closing | word::has_fd)) return false;
  if (c.parent && (w & word::inherited) == 0 && !is_off_list(c)) return false;
  if (is_walked(c, w)) return false;
  // acquire: L3. After those three: who writes `inherited`, or takes it off the list, has pinned before what
  // it goes on with.
  if (n.holds.load(std::memory_order_acquire) != 1) return false;
  if (c.own.children.load(std::memory_order_relaxed).has_table()) return false;
  next = c.parent;
  c.~cancel_node();
  pool::give(&c, sizeof c);
  return true;
}

// The same, whatever the node is: what a hold has to be dropped on now; null: nothing.
[[gnu::noinline]] static node* dropped_slowly(node& n, merge_node*& half) noexcept {
  bool owes = true;
  if (n.what == kind::todo || !take_last(n, owes)) return nullptr;
  if (n.holds.load(std::memory_order_relaxed) & node::crowded) crowd::gone(n);
  node* const above = owes ? n.parent : nullptr;
  if (n.what == kind::merge) {
    drop_merge(static_cast<merge_node&>(n), half);
  } else {
    destroy(&n);
  }
  return above;
}

[[gnu::noinline]] static void drop_slowly(node* n) noexcept {
  const bool quickly = track::surely_off();
  merge_node* half = nullptr;
  for (;;) {
    while (n) {  // I7: up in a loop
      n = dropped_slowly(*n, half);
      while (quickly && n && dropped_quickly(*n, n)) {}
    }
    if (!half) return;
    merge_node* m = std::exchange(half, static_cast<merge_node*>(half->next));
    n = m->second.parent;
    free_merge(m);
  }
}

void drop(node* n) noexcept {
  if (track::surely_off()) {
    while (n && dropped_quickly(*n, n)) {}  // I7
  }
  if (n) drop_slowly(n);
}

bool leave(cancel_node& n, fate f) noexcept {
  cancel_node* above = scope_above(n.parent);
  if (!above) return true;
  // acquire: the walk that wrote `inherited` is through with it (L4).
  if (n.what < kind::merge && (n.word.load(std::memory_order_acquire) & word::inherited)) return true;
  // H4: never linked, and nor was anything else. relaxed: what was has set it, or come after it.
  if ((above->word.load(std::memory_order_relaxed) & word::hooks) == 0) return true;
  bool owes = true;
  chunk* emptied = nullptr;
  {
    shard& s = lock_shard(*above, number_of(n));
    const locked guard(s.lock, locked::already);
    if (hangs(n)) {
      emptied = take_out(s, n);
      // acquire: as in take_last().
      const bool goes =
          f == fate::gone || (f == fate::gone_if_alone && n.holds.load(std::memory_order_acquire) == 1);
      if (goes && rides(n)) {
        owes = was_last_of_orphan(s);  // and drops it
      } else {
        taken_off(*above, s, n);
      }
    }
  }
  free_chunk(emptied);
  return owes;
}

// One handle less of one that leans on `n`, where that was not to be had by release_one_of_more(). True: that
// is a value, too, and has none any more.
static bool was_last_to_lean(node& n, bool strewn) noexcept {
  if (n.what != kind::value) {
    if (!crowd::release(n, strewn)) release_handle(&n);  // one deep: it does not lean
    return false;
  }
  // acquire: what others did with their handles.
  if (n.handles.load(std::memory_order_acquire) == 1) {
    n.handles.store(0, std::memory_order_relaxed);  // nobody else has one
    return true;
  }
  if (crowd::release(n, strewn)) return false;
  // release/acquire: as in release_handle().
  const std::uint32_t before = n.handles.fetch_sub(1, std::memory_order_acq_rel);
  if (!node::was_last(before)) return false;
  return (before & node::spread) == 0 || (crowd::gather_handles(n) & node::number) == 1;
}

void let_go(node& value) noexcept {
  node* v = &value;
  for (;;) {  // I7
    node& above = *v->parent;
    const bool strewn = v->is(node::strewn);
    // acquire: what others did with their holds; who seems to be alone is, as nobody can find it.
    if (track::surely_off() && v->holds.load(std::memory_order_acquire) == 1) {
      destroy_value(static_cast<value_node*>(v));
    } else {
      hold(above);  // L2: while it has the handle
      drop(v);
    }
    if (!strewn && release_one_of_more(above)) return;
    if (!was_last_to_lean(above, strewn)) return;
    v = &above;
  }
}

void release_leaning(node& n, bool strewn) noexcept {
  if (was_last_to_lean(n, strewn)) let_go(n);
}

// The last handle has gone, and `handles` says so: what there is besides has been seen to.
[[gnu::always_inline]] static inline void without_handles(node& n) noexcept {
  if (leans(n)) return let_go(n);
  drop(&n);
}

void after_last_handle_anyhow(node& n, std::uint32_t before) noexcept {
  if (n.what >= kind::cancel) {
    auto& c = static_cast<cancel_node&>(n);
    const std::uint64_t w = c.word.load(std::memory_order_acquire);
    const bool live = (w & word::verdict) == 0;
    if (w & word::hooks) {
      // What keeps it from now on gets the hold that the handles had.
      if (live && before == 1) {
        abandon(c);
      } else {
        orphan(c);
        if (live && takes_up_away(c)) abandon(c);
      }
    }
    if ((w & word::settled) || (c.what == kind::merge && (w & word::inherited))) {
      // I3: a canceled child leaves its parent with its last handle, though its own children may keep it. One
      // that is not settled yet stays until it is destroyed, so that a walk of the parent finds it and waits.
      // (A walk never waits for an inherited merge: M4.)
      leave(c, fate::stays);
      if (c.what == kind::merge) leave(static_cast<merge_node&>(c).second, fate::stays);
    }
  }
  without_handles(n);
}

// Whether a node with one handle is the caller's alone, as far as handles go: nobody can make more, and
// nothing hangs there, so that it could be abandoned or become an orphan. One that has ended by itself and
// lives on without handles is none: it has to leave its parent (I3); what its parent ended has left (L4).
static bool is_last_alone(const node& n) noexcept {
  if (n.what < kind::cancel) return true;
  if (n.what >= kind::custom) return false;
  // relaxed: to hang something there takes a handle; and what ends while its last handle goes has a live
  // parent's walk.
  const std::uint64_t w = static_cast<const cancel_node&>(n).word.load(std::memory_order_relaxed);
  return (w & word::hooks) == 0 &&
         ((w & word::verdict) == 0 || (w & word::inherited) || n.holds.load(std::memory_order_relaxed) == 1);
}

void release_only_handle(node& n) noexcept {
  // acquire: what others did with their handles.
  const std::uint32_t now = n.handles.load(std::memory_order_acquire);
  if ((now & node::number) == 1 && is_last_alone(n)) {
    n.handles.store(now - 1, std::memory_order_relaxed);
    return without_handles(n);
  }
  // release/acquire: as in release_handle().
  const std::uint32_t before = n.handles.fetch_sub(1, std::memory_order_acq_rel);
  if (node::was_last(before)) after_last_handle(n, before);
}

void context::retain(node_head* n) noexcept {
  retain_handle(static_cast<node&>(*n));
}

}  // namespace heed::inline v0
