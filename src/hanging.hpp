// Hanging children and callbacks on a node, and taking them off: what the shards (shard.hpp) do with the
// counts (tree.hpp).
#pragma once

#include "tree.hpp"

namespace heed::inline v0 {

// Whether what is hung on `n` will be found by the one who ends it. The lock of one of its shards is held,
// and `hooks` is there. Whoever publishes a verdict takes these locks after it, or holds the only one since
// before: then he finds what was hung there before; or we, coming later, see the verdict. (With the first,
// which sets `hooks`, the word itself orders the two: H4.)
inline bool is_open(const cancel_node& n) noexcept {
  return (n.word.load(std::memory_order_acquire) & word::verdict) == 0;
}
// Puts a new child on its parent scope's list, where walks find it; false: too late, the scope is done.
// Throws std::bad_alloc. Uses `spare`, if it is needed, before it allocates.
bool link(cancel_node& above, cancel_node& child, chunk*& spare);
// Hangs a new node under its parent scope, or has it share that scope's end. From here on an ancestor's
// cancel reaches it. It holds its parent, or rides on it, also when this throws std::bad_alloc (L2).
void link(cancel_node& n);
// Whether a child hangs there for as long as it does instead of holding its parent (L2).
inline bool rides(const cancel_node& child) noexcept {
  return child.parent && child.parent->what >= kind::cancel;
}
// Whether it is to find out by itself that its parent was abandoned (L9).
inline bool is_told_late(const cancel_node& child) noexcept {
  return child.what == kind::cancel && child.parent && child.parent->what == kind::cancel;
}
// Whether somebody has it in hand, and so will find out. The parent's last handle has gone, and its own lock
// was taken since.
inline bool will_find_out(const cancel_node& child) noexcept {
  child.own.lock.look();
  return (child.handles.load(std::memory_order_relaxed) & node::number) != 0;  // relaxed: after look()
}
// Whether the parent of one that is_told_late() was abandoned. The child's last handle goes; where that has
// gone already, the child's own lock was taken since.
inline bool is_left_alone(const cancel_node& child) noexcept {
  const auto& above = static_cast<const cancel_node&>(*child.parent);
  above.own.lock.look();
  // In this order. One that has ended is not abandoned: its walk may be under way. acquire: who has ended it
  // did so with a handle, or its last one went when that had been seen.
  return above.handles.load(std::memory_order_acquire) == 0 &&
         (above.word.load(std::memory_order_relaxed) & word::verdict) == 0;
}
// Something was taken off `s`, whose lock is held. True: it was the last, and so has the hold that all had
// (L1).
inline bool was_last_of_orphan(shard& s) noexcept HEED_REQUIRES(s.lock) {
  if (!s.orphan || !s.empty()) return false;
  s.orphan = false;
  return true;
}
// For a child that rode, or a callback, that was taken off and does not go itself: it has a hold from now on
// (L2).
inline void start_holding(cancel_node& above, shard& s) noexcept HEED_REQUIRES(s.lock) {
  if (was_last_of_orphan(s)) return;
  hold_here(above);  // it is kept by what hangs there
}
// For a child that has a hold of its own, wherever it goes.
inline void stop_being_orphan(cancel_node& above, shard& s) noexcept HEED_REQUIRES(s.lock) {
  if (!was_last_of_orphan(s)) return;
  // release: as in drop(). Not the last: the caller has a pin, or what is between the child and `above` has a
  // hold, as an orphan has no handle by which it could lean there.
  above.holds.fetch_sub(1, std::memory_order_release);
}
// For a child that was taken off and does not go itself.
inline void taken_off(cancel_node& above, shard& s, const cancel_node& child) noexcept HEED_REQUIRES(s.lock) {
  return child.parent == &above ? start_holding(above, s) : stop_being_orphan(above, s);  // whether it rides
}
// For a node whose last handle has gone: what still hangs in `s`, whose lock is held, keeps it (L1).
inline void make_orphan(cancel_node& n, shard& s) noexcept HEED_REQUIRES(s.lock) {
  if (s.orphan || s.empty()) return;
  s.orphan = true;
  hold_here(n);
}
// Whether it is on its parent's list, the lock of which is held. What a walk took off may still say so (L4);
// a merge is on the lists of two.
[[gnu::always_inline]] inline bool hangs(const cancel_node& n, bool is_merge) noexcept {
  if ((n.hung.load(std::memory_order_relaxed) & node::on_list) == 0) return false;
  return is_merge || (n.word.load(std::memory_order_relaxed) & word::inherited) == 0;
}
inline bool hangs(const cancel_node& n) noexcept {
  return hangs(n, n.what >= kind::merge);
}
// What becomes of a node that leaves: it goes on; it is gone; it is gone if nobody has pinned it.
enum class fate : std::uint8_t { stays, gone, gone_if_alone };
// Takes a node off the list of its parent scope, wherever it still is on one. True: it has, or had, a hold on
// its parent, for whoever destroys it to drop.
bool leave(cancel_node& n, fate f) noexcept;

// --- shards: what shard.hpp tells of, where it is short ---

inline shard& shard_of(cancel_node& n, unsigned number) noexcept {
  // acquire: the table's making.
  const children_of_shard now = n.own.children.load(std::memory_order_acquire);
  return now.has_table() ? now.table()->at()[number].s : n.own;
}
[[gnu::always_inline]] inline bool is_shard_of(const shard& s, const cancel_node& n) noexcept {
  // relaxed: H2, its lock is held.
  return &s != &n.own || !n.own.children.load(std::memory_order_relaxed).has_table();
}
inline shard& lock_shard(cancel_node& n, unsigned number) noexcept HEED_UNCHECKED {
  // acquire: the table's making.
  if (!n.own.children.load(std::memory_order_acquire).has_table()) {
    n.own.lock.lock();
    if (!n.own.children.load(std::memory_order_relaxed).has_table()) return n.own;
    n.own.lock.unlock();  // split meanwhile
  }
  return lock_shard_of_table(n, number);
}
// The shard that something new is to hang on, where that is free just now; else null.
inline shard* try_lock_for_new(cancel_node& n, unsigned& number) noexcept HEED_UNCHECKED {
  number = 0;
  shard* s = &n.own;
  // acquire: the table's making.
  if (const children_of_shard now = n.own.children.load(std::memory_order_acquire); now.has_table()) {
    number = os::cpu() & (now.table()->count - 1);
    s = &now.table()->at()[number].s;
  }
  if (!s->lock.try_lock()) return nullptr;
  if (is_shard_of(*s, n)) return s;
  s->lock.unlock();
  return nullptr;
}
// Sets `hooks`, unless it is there or `unless` is: true, and the own shard's lock is held (H4). `w`: its
// word.
inline bool hook_first(cancel_node& n, std::uint64_t& w, std::uint64_t unless = word::verdict) noexcept {
  while ((w & (word::hooks | unless)) == 0) {
    // acquire: what came before a verdict.
    if (n.word.compare_exchange_weak(w, w | word::hooks, std::memory_order_acquire,
                                     std::memory_order_acquire))
      return true;
  }
  return false;
}
inline void lock_own(cancel_node& n) noexcept HEED_UNCHECKED {
  std::uint64_t w = n.word.load(std::memory_order_relaxed);
  if (!hook_first(n, w, 0)) n.own.lock.lock();
}
inline shard* lock_for_new(cancel_node& n, unsigned& number) noexcept HEED_UNCHECKED {
  number = 0;
  std::uint64_t w = n.word.load(std::memory_order_acquire);
  if (hook_first(n, w)) return &n.own;
  if (w & word::verdict) return nullptr;
  shard* s = try_lock_for_new(n, number);
  if (!s) s = &lock_contended(n, number);
  if (is_open(n)) return s;
  s->lock.unlock();
  return nullptr;
}
// Whether no callback hangs there, and at most one child, which is `only`, and no merge's; nor is it a
// table's own shard.
inline bool holds_one_child(const shard& s, cancel_node*& only) noexcept HEED_REQUIRES(s.lock) {
  const children_of_shard now = s.children.load(std::memory_order_relaxed);
  only = now.single();
  return !s.callbacks && (only ? only->what != kind::tether : now.nothing());
}
inline std::uint8_t number_of(const cancel_node& c) noexcept {
  return c.hung.load(std::memory_order_relaxed) & node::shard_number;
}

// The first of all, in a node's own shard.
inline void put_first(shard& s, cancel_node& c) noexcept HEED_REQUIRES(s.lock) {
  s.children.store(children_of_shard::of_single(&c), std::memory_order_relaxed);
  c.hung.store(node::on_list, std::memory_order_relaxed);
}
inline bool put_where_room_is(shard& s, unsigned number, cancel_node& c) noexcept {
  const children_of_shard now = s.children.load(std::memory_order_relaxed);
  if (now.nothing()) {
    s.children.store(children_of_shard::of_single(&c), std::memory_order_relaxed);
  } else {
    chunk* newest = now.chunks();
    if (!newest || newest->count == chunk::room) [[unlikely]]
      return false;
    newest->at[newest->count] = &c;
    c.slot = &newest->at[newest->count++];
  }
  c.hung.store(static_cast<std::uint8_t>(number | node::on_list), std::memory_order_relaxed);
  return true;
}
inline bool put(shard& s, unsigned number, cancel_node& c, chunk*& spare) noexcept {
  return put_where_room_is(s, number, c) || put_in_new_chunk(s, number, c, spare);
}
// The same where it hangs in no chunk.
inline void take_single_out(shard& s, cancel_node& c) noexcept HEED_REQUIRES(s.lock) {
  c.hung.store(0, std::memory_order_relaxed);       // H1: its number
  s.children.store({}, std::memory_order_release);  // is_off_list() looks without the lock
}
inline chunk* take_out(shard& s, cancel_node& c) noexcept {
  c.hung.store(number_of(c), std::memory_order_relaxed);
  const children_of_shard now = s.children.load(std::memory_order_relaxed);
  chunk* newest = now.chunks();
  if (!newest) {
    s.children.store({}, std::memory_order_release);  // as above
    return nullptr;
  }
  cancel_node* last = newest->at[--newest->count];
  *c.slot = last;
  last->slot = c.slot;
  if (newest->count > 0) return nullptr;
  s.children.store(children_of_shard::of_chunks(newest->older), std::memory_order_release);  // as above
  return newest;
}

}  // namespace heed::inline v0
