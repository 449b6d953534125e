// The ways out that most contexts take: made by with_cancel(), or with a deadline, nothing hangs there,
// nobody waited, and this thread gives up the last handle, or the last two at once. What release_handle() and
// drop() do in many steps, in a few: these functions are small, and go on into each other by jumps, so that
// they save no registers. Where something is not as usual they change nothing, and leave it to
// release_handle().
#include "hanging.hpp"
#include "pool.hpp"
#include "track.hpp"
#include "values.hpp"

#include <concepts>

namespace heed::inline v0 {
namespace {

// What the word may tell of one that goes in a few steps: besides, nothing but that it has ended, if that.
constexpr std::uint64_t plain_end = word::verdict | word::settled | word::inherited;

// What has no cause, is memory of the pool, not listed (track.hpp), and nobody can find any more. Without its
// destructor, which would have nothing to do.
template <class Node>
inline bool free_quickly(Node& n) noexcept {
  pool::give(&n, sizeof n);
  return true;
}

// How a node goes that has a hold on `above`. One handle: that is dropped, which may run what is foreign.
template <class Node>
[[gnu::noinline]] bool free_and_drop(Node& n, node* above) noexcept {
  free_quickly(n);
  drop(above);
  return true;
}
// Two: it goes only if that is not the last hold there; false: all is as it was.
template <class Node>
[[gnu::noinline]] bool free_in_crowd(Node& n, node* above) noexcept {
  return crowd::drop_unless_last(*above) && free_quickly(n);
}
template <class Node>
[[gnu::noinline]] bool free_unless_last(Node& n, node* above) noexcept {
  return drop_one_of_many(*above) ? free_quickly(n) : free_in_crowd(n, above);
}

// Two ways to go on where one of these functions has changed nothing: with one handle, release_handle(); with
// two, not at all.
[[gnu::noinline]] bool release_otherwise(cancel_node& n, shard* locked) noexcept HEED_UNCHECKED {
  if (locked) locked->lock.unlock();
  release_handle(&n);
  return true;
}
[[gnu::noinline]] bool stay(cancel_node&, shard* locked) noexcept HEED_UNCHECKED {
  if (locked) locked->lock.unlock();
  return false;
}

template <auto with_hold, class Node>
[[gnu::noinline]] bool free_slowly(Node& n, chunk* emptied, bool owes, shard* to_wake) noexcept {
  if (to_wake) to_wake->lock.wake();
  free_chunk(emptied);
  return owes ? with_hold(n, n.parent) : free_quickly(n);
}

// One that rode, and has just been taken off its list, which is locked.
template <auto with_hold, class Node>
[[gnu::always_inline]] inline bool free_taken_out(Node& n, shard& s, chunk* emptied) noexcept HEED_UNCHECKED {
  const bool owes = was_last_of_orphan(s);  // and drops it
  const bool wake = s.lock.unlock_only();
  if (wake || emptied || owes) [[unlikely]]
    return free_slowly<with_hold>(n, emptied, owes, wake ? &s : nullptr);
  return free_quickly(n);
}

// It hangs below a scope, and nobody has turned it yet; and the last handles go. True: it is gone.
// `otherwise`: it is not so, or not for sure, and nothing has changed but that a shard may be locked.
// `with_hold`: one of the two above. If that says no, the node is off its list, and has a hold on its parent.
template <bool riding, auto with_hold, auto otherwise, class Node>
[[gnu::always_inline]] inline bool free_hanging(Node& n) noexcept HEED_UNCHECKED {
  cancel_node& above = riding ? static_cast<cancel_node&>(*n.parent) : *scope_of_value(*n.parent);
  shard& s = shard_of(above, number_of(n));
  if (!s.lock.try_lock()) return otherwise(n, nullptr);
  // acquire: what was done by who pinned it, under this lock (L3).
  if (!is_shard_of(s, above) || !hangs(n, false) || n.holds.load(std::memory_order_acquire) != 1) {
    return otherwise(n, &s);
  }
  chunk* const emptied = take_out(s, n);
  if constexpr (riding) return free_taken_out<with_hold>(n, s, emptied);
  stop_being_orphan(above, s);
  const bool wake = s.lock.unlock_only();
  if (wake || emptied) [[unlikely]]
    return free_slowly<with_hold>(n, emptied, true, wake ? &s : nullptr);
  return with_hold(n, n.parent);
}

template <auto with_hold, auto otherwise, class Node>
[[gnu::noinline]] bool free_riding(Node& n) noexcept {
  return free_hanging<true, with_hold, otherwise>(n);
}
// The same where it is the only child there and rides, as most do: then there is no table, and no walk has
// taken it off.
template <auto with_hold, auto otherwise, class Node>
[[gnu::always_inline]] inline bool free_only_child(Node& n) noexcept HEED_UNCHECKED {
  shard& s = static_cast<cancel_node&>(*n.parent).own;
  const children_of_shard only = children_of_shard::of_single(&n);
  // relaxed: only chooses.
  if (s.children.load(std::memory_order_relaxed) != only || !s.lock.try_lock()) [[unlikely]]
    return free_riding<with_hold, otherwise>(n);
  // acquire: as above.
  if (s.children.load(std::memory_order_relaxed) != only || n.holds.load(std::memory_order_acquire) != 1)
      [[unlikely]]
    return otherwise(n, &s);
  take_single_out(s, n);
  return free_taken_out<with_hold>(n, s, nullptr);
}

[[gnu::noinline]] bool release_hanging(cancel_node& n) noexcept {
  return free_only_child<free_and_drop<cancel_node>, release_otherwise>(n);
}
[[gnu::noinline]] bool leave_hanging(cancel_node& n) noexcept {
  return free_only_child<free_unless_last<cancel_node>, stay>(n);
}

// Next, what after_last_handle_anyhow() does for one that is live, where there is a single shard that is free
// just now.

[[gnu::noinline]] void unlocked_and_released(cancel_node& n, std::uint32_t before) noexcept HEED_UNCHECKED {
  n.own.lock.unlock();
  after_last_handle_anyhow(n, before);
}
// An ancestor cannot end `c` any more. False: nobody has it in hand, so it is for abandon() to go on below.
inline bool take_up_away(cancel_node& c) noexcept {
  std::uint32_t before = c.handles.load(std::memory_order_relaxed);
  do {
    if ((before & node::number) == 0) return false;
    // acq_rel, as in release_handle().
  } while (!c.handles.compare_exchange_weak(before, before & ~node::up, std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
  return true;
}
// Nothing can end it any more: where one child rides on it, that somebody has in hand, and nothing else hangs
// there, that child gets the handles' hold (L6).
[[gnu::always_inline]] inline void abandon_single(cancel_node& n) noexcept HEED_UNCHECKED {
  shard& s = n.own;
  if (!s.lock.try_lock()) [[unlikely]]
    return after_last_handle_anyhow(n, 1);
  cancel_node* c = nullptr;
  if (!holds_one_child(s, c) || !c || s.orphan || c->parent != &n ||
      !(is_told_late(*c) ? will_find_out(*c) : take_up_away(*c))) [[unlikely]]
    return unlocked_and_released(n, 1);
  take_single_out(s, *c);
  if (s.lock.unlock_only()) [[unlikely]]
    s.lock.wake();
}
// Something can: what hangs there gets that hold (L6). `late`: it is_told_late().
[[gnu::always_inline]] inline void orphan_single(cancel_node& n, std::uint32_t before,
                                                 bool late) noexcept HEED_UNCHECKED {
  shard& s = n.own;
  if (!s.lock.try_lock()) [[unlikely]]
    return after_last_handle_anyhow(n, before);
  if (!is_shard_of(s, n) || s.orphan || s.empty() || (late && is_left_alone(n))) [[unlikely]]
    return unlocked_and_released(n, before);
  s.orphan = true;
  if (s.lock.unlock_only()) [[unlikely]]
    s.lock.wake();
}

// It is live, something was ever hung on it, and `before` is what there is in `handles`, with the last one.
[[gnu::noinline]] void release_hooked(cancel_node& n, std::uint32_t before) noexcept {
  const bool late = before == (node::up | 1) && is_told_late(n);
  if (before == 1 || (late && is_left_alone(n))) {
    n.handles.store(0, std::memory_order_relaxed);  // nobody else has it in hand, nor a way to end it
    return abandon_single(n);
  }
  if (late) {
    // While it is in hand nobody takes `up` away (L9). release: who does now has to find what was hung there.
    n.handles.store(node::up, std::memory_order_release);
    return orphan_single(n, before, true);
  }
  // release/acquire: as in release_handle().
  before = n.handles.fetch_sub(1, std::memory_order_acq_rel);
  before == 1 ? abandon_single(n) : orphan_single(n, before, is_told_late(n));
}

[[gnu::noinline]] void free_slowly_and_drop(node& n, node* above) noexcept {
  pool::give_words(&n, n.block_words());
  if (above) drop(above);
}

// Nobody has it in hand any more.
[[gnu::always_inline]] inline void drop_trivial(node& n) noexcept {
  // acquire: what others did with their holds; who seems to be alone is, as nobody can find it.
  const std::uint32_t held = n.holds.load(std::memory_order_acquire);
  if (held & node::crowded) [[unlikely]]
    return drop(&n);
  // release: as in drop().
  if (held != 1 && (n.holds.fetch_sub(1, std::memory_order_acq_rel) & ~node::crowded) != 1) return;
  node* const above = n.parent;
  if (!pool::give_quickly(&n, n.block_words())) [[unlikely]]
    return free_slowly_and_drop(n, above);
  if (above) drop(above);
}

// One that leans; and so does what it leans on, where that is trivial, too.
[[gnu::noinline]] void let_go_trivial(node* n) noexcept {
  for (;;) {
    node& above = *n->parent;
    // acquire: as in let_go().
    if (n->is(node::strewn) || n->holds.load(std::memory_order_acquire) != 1) return let_go(*n);
    if (!pool::give_quickly(n, n->block_words())) [[unlikely]]
      return let_go(*n);
    // acquire: as in release_trivial().
    if (!above.is(node::trivial) || above.handles.load(std::memory_order_acquire) != 1) {
      return release_one_of_more(above) ? void() : release_leaning(above, false);
    }
    above.handles.store(0, std::memory_order_relaxed);
    n = &above;
  }
}

[[gnu::noinline]] void release_trivial(node& n) noexcept {
  if (!track::surely_off()) [[unlikely]]
    return release_handle(&n);
  // acquire: what others did with their handles.
  if (n.handles.load(std::memory_order_acquire) != 1) return release_one_of_many(n);
  n.handles.store(0, std::memory_order_relaxed);  // for who looks: nobody has it any more
  if (leans(n)) return let_go_trivial(&n);
  drop_trivial(n);
}

// Whether nothing hangs on it just now; where that is not certain, no.
bool is_bare(cancel_node& n) noexcept HEED_UNCHECKED {
  if (!n.own.lock.try_lock()) return false;
  const locked guard(n.own.lock, locked::already);
  return n.own.empty();
}

// Of which the word alone does not tell: it is a deadline, or below a value, or has a cause or memory of its
// own, or something was ever hung on it; and the last `handles` go. The rest as above. With one handle a
// deadline has ended, canceled before its time, as most are; and so has what something was hung on.
template <std::uint32_t handles, auto with_hold, auto otherwise, class Node>
[[gnu::always_inline]] inline bool free_uncommon(Node& n) noexcept {
  // In this order, and acquire, as in context::release(). Whoever wrote a verdict has disarmed it before he
  // let go of it.
  const bool last_handles = (n.handles.load(std::memory_order_acquire) & node::number) == handles;
  const std::uint64_t w = n.word.load(std::memory_order_acquire);
  const bool live = (w & word::verdict) == 0;
  const bool hooked = (w & word::hooks) != 0;
  if (!last_handles || (w & word::flags & ~(plain_end | word::hooks | word::uncommon)) || n.cause ||
      n.is(node::own_memory) || n.is(node::own_scheduler) || !track::surely_off())
    return otherwise(n, nullptr);
  if (live && handles == 1 && (hooked || std::same_as<Node, deadline_node>)) return otherwise(n, nullptr);
  // Who ended it took off what hung there before he let go of it, and of its lock (L7); and where it is live,
  // nothing new comes, as all handles are ours. acquire: the table's making.
  if (hooked && (n.own.children.load(std::memory_order_acquire).has_table() ||
                 !(live ? is_bare(n) : n.own.lock.is_free())))
    return otherwise(n, nullptr);
  // After those: what leaves it, and goes on, has a hold (L2).
  if (n.holds.load(std::memory_order_acquire) != 1) return otherwise(n, nullptr);
  if (!n.parent) return free_quickly(n);
  if ((w & word::inherited) == 0) {
    if (rides(n)) return free_only_child<with_hold, otherwise>(n);
    if (leans(*n.parent)) return free_hanging<false, with_hold, otherwise>(n);
  }
  return with_hold(n, n.parent);  // L2
}

[[gnu::noinline]] void release_deadline(deadline_node& n) noexcept {
  // relaxed: only chooses.
  if ((n.handles.load(std::memory_order_relaxed) & node::number) != 1) return release_one_of_many(n);
  static_cast<void>(free_uncommon<1, free_and_drop<deadline_node>, release_otherwise>(n));
}
[[gnu::noinline]] void release_uncommon(cancel_node& n) noexcept {
  static_cast<void>(free_uncommon<1, free_and_drop<cancel_node>, release_otherwise>(n));
}
[[gnu::noinline]] bool leave_uncommon(cancel_node& n) noexcept {
  return free_uncommon<2, free_unless_last<cancel_node>, stay>(n);
}
// L8. `before` is what there is in `handles`, with the last one, or the last two.
[[gnu::noinline]] void release_inherited(cancel_node& n, std::uint32_t before) noexcept {
  n.handles.store(before - 1, std::memory_order_relaxed);  // nobody else has it in hand
  if (!drop_unless_last(n)) drop(&n);
}
[[gnu::noinline]] bool leave_inherited(cancel_node& n, std::uint32_t before) noexcept {
  n.handles.store(before - 2, std::memory_order_relaxed);
  if (drop_unless_last(n)) return true;
  n.handles.store(before, std::memory_order_relaxed);  // its last hold would go
  return leave_uncommon(n);
}

[[gnu::noinline]] bool leave_deadline(deadline_node& n) noexcept {
  // relaxed, both: only chooses.
  const std::uint64_t w = n.word.load(std::memory_order_relaxed);
  if ((w & word::verdict) == 0) {
    if ((n.handles.load(std::memory_order_relaxed) & node::number) != 2 ||
        (w & word::flags & ~(word::hooks | word::uncommon)) || n.is(node::own_cause) ||
        n.is(node::own_scheduler))
      return false;
    disarm(n);  // nobody can see whether it was canceled first
  }
  return free_uncommon<2, free_unless_last<deadline_node>, stay>(n);
}

}  // namespace

void after_last_handle(node& n, std::uint32_t before) noexcept {
  if (before & node::spread) [[unlikely]] {
    before = crowd::gather_handles(n);
    if ((before & node::number) != 1) return;
  }
  if (n.what >= kind::cancel) {
    auto& c = static_cast<cancel_node&>(n);
    // acquire: as in after_last_handle_anyhow().
    const std::uint64_t w = c.word.load(std::memory_order_acquire);
    if ((w & word::hooks) && (w & word::verdict) == 0)
      return before == 1 ? abandon_single(c) : orphan_single(c, before, is_told_late(c));
  }
  after_last_handle_anyhow(n, before);
}

// Nothing foreign runs in here: neither callbacks, in which one of the handles may be moved away, nor the end
// of a value, with which the object that holds them may go. Where it says no, both are still there; the node
// may be out of its timer, or off its list, as its cancel_func, which leaves next, does it anyway.
bool cancelable::leave(scope& s) noexcept {
  cancel_node& n = node_of(s);
  // In this order, and acquire, as in context::release(); with two handles instead of one.
  const std::uint32_t handles = n.handles.load(std::memory_order_acquire);
  const std::uint64_t w = n.word.load(std::memory_order_acquire);
  if ((handles & node::number) != 2 || (w & word::flags & ~plain_end) != 0 ||
      n.holds.load(std::memory_order_acquire) != 1) [[unlikely]] {
    if (n.what == kind::deadline) return leave_deadline(static_cast<deadline_node&>(n));
    if (n.what != kind::cancel) return false;
    const bool off_list = (w & word::inherited) && (handles & node::number) == 2;
    return off_list ? leave_inherited(n, handles) : leave_uncommon(n);
  }
  if (!n.parent) [[likely]]
    return free_quickly(n);
  if (w & word::inherited) return free_unless_last(n, n.parent);  // L2
  return leave_hanging(n);
}

void context::release(node_head* head) noexcept {
  auto* any = static_cast<node*>(head);
  if (any->what == kind::cancel) [[likely]] {
    auto& n = static_cast<cancel_node&>(*any);
    // In this order. acquire: what others did with their handles; from here on nothing new comes to hang
    // there.
    const std::uint32_t handles = n.handles.load(std::memory_order_acquire);
    if ((handles & node::number) != 1) [[unlikely]]
      return release_one_of_many(n);
    // acquire: the walk that wrote `inherited` is through with it, or has pinned it before (L4).
    const std::uint64_t w = n.word.load(std::memory_order_acquire);
    // acquire: what others did with their holds (L3).
    if ((w & word::flags & ~plain_end) == 0 && n.holds.load(std::memory_order_acquire) == 1) [[likely]] {
      if (!n.parent) [[likely]]
        return static_cast<void>(free_quickly(n));
      if (w & word::inherited) return static_cast<void>(free_and_drop(n, n.parent));  // its hold (L2)
      return static_cast<void>(release_hanging(n));
    }
    if (w & word::inherited) return release_inherited(n, handles);
    if ((w & word::flags & ~word::uncommon) == word::hooks) return release_hooked(n, handles);
    return (w & word::flags & ~(plain_end | word::hooks | word::uncommon)) ? release_handle(&n)
                                                                           : release_uncommon(n);
  }
  if (any->what == kind::deadline) return release_deadline(static_cast<deadline_node&>(*any));
  if (any->is(node::trivial)) return release_trivial(*any);
  if (any->what != kind::todo) release_handle(any);
}

}  // namespace heed::inline v0
