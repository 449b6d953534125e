#include "walk.hpp"

#include <span>
#include <utility>

namespace heed::inline v0 {
namespace {

// Who ends a node with one of these in its word has something to do after its verdict: it pins the node
// first.
constexpr std::uint64_t busy = word::hooks | word::has_fd | word::waiters;

}  // namespace

turned turn_one(cancel_node& c, cancel_node& from, std::uint64_t verdict) noexcept {
  const std::uint64_t source = word::inherited | word::pointing(&from);
  const bool always_pinned = c.what != kind::cancel;
  bool pinned = false;
  std::uint64_t w = c.word.load(std::memory_order_relaxed);
  do {
    if (!pinned && (always_pinned || (w & (busy | decided)))) {
      if (!try_hold(c)) return turned::gone;
      pinned = true;
    }
    if (w & decided) return turned::lost;
    // release: all before the cancel, and its cause (I2, I4); acquire: the fd of who set has_fd. L4:
    // unpinned, this is the last touch.
  } while (!c.word.compare_exchange_weak(w, ended(w, verdict, source), std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
  if (!pinned) return turned::whole;
  word::announce(c, w);
  return turned::open;
}

namespace {

// Has the processor fetch what a walk will write to next: mostly a child's word alone.
void fetch(const cancel_node* c) noexcept {
  __builtin_prefetch(c, 1);
}
void fetch(const chunk* c) noexcept {
  if (!c) return;
  __builtin_prefetch(c, 1);
  __builtin_prefetch(reinterpret_cast<const char*>(c) + 64, 1);
}

// Everything below a root that has just been decided.
class walk {
 public:
  walk(cancel_node& root, chunk*& emptied) noexcept
      : emptied_(emptied), root_(root), verdict_(root.word.load(std::memory_order_relaxed) & word::verdict),
        from_root_(word::inherited | word::pointing(&root)) {
    // relaxed: this thread wrote the verdict.
    turn_below(root);
    for (cancel_node* at = first_; at; at = at->next) {
      if ((at->hung.load(std::memory_order_relaxed) & node::lost) == 0) turn_below(*at);
    }
    keep_found(root, first_);
  }
  // Whether the root has no callbacks, and so gets none any more.
  bool quiet_root() const noexcept { return quiet_root_; }

 private:
  void turn_below(cancel_node& n) noexcept {
    if ((n.word.load(std::memory_order_relaxed) & word::hooks) == 0 || turn_chain(n)) return;
    for (unsigned number = 0; number < shard_count(n); ++number) {
      while (turn_some(n, number)) {}
    }
  }

  // The usual case: it holds_one_child(), and so may that, and so on down. False: it is not so, and nothing
  // has changed. What is on the way is not pinned: its lock is held from before its verdict until its child
  // is off, so that it stays (L7). The one above it is still locked then: hence only tried.
  bool turn_chain(cancel_node& n) noexcept HEED_UNCHECKED {
    if (n.own.children.load(std::memory_order_acquire).has_table()) return false;  // H2: and so it stays
    cancel_node* c = nullptr;
    n.own.lock.lock();
    if (!holds_one_child(n.own, c)) {
      n.own.lock.unlock();
      return false;
    }
    if (&n == &root_) {
      quiet_root_ = true;  // on its parent's list, so its `hung` may be written by others
    } else {
      n.hung.store(n.hung.load(std::memory_order_relaxed) | node::no_callbacks, std::memory_order_relaxed);
    }
    cancel_node* lost = nullptr;
    cancel_node* at = &n;
    while (c) {
      shard& s = at->own;
      take_single_out(s, *c);
      taken_off(*at, s, *c);  // L2: before it can be seen to have left
      cancel_node* below = nullptr;
      if (turn_locked(*c, below)) {
        s.lock.unlock();  // the last touch, unless it is `n`
        at = c;
        c = below;
      } else {
        if (!turn_plain(*c)) turn_child(*c, lost);
        c = nullptr;
      }
    }
    at->own.lock.unlock();
    await_lost(lost);
    return true;
  }

  // A child that rides, of which the word tells nothing but that something was hung there, and which
  // holds_one_child(), `below`: true, and its own shard is locked. False: it is not so, or not for sure, and
  // nothing has changed.
  bool turn_locked(cancel_node& c, cancel_node*& below) noexcept HEED_UNCHECKED {
    std::uint64_t w = c.word.load(std::memory_order_relaxed);
    if (w != word::hooks || !c.own.lock.try_lock()) return false;
    // release, as in turn_one().
    if (holds_one_child(c.own, below) &&
        c.word.compare_exchange_strong(w, word::hooks | verdict_ | from_root_, std::memory_order_release,
                                       std::memory_order_relaxed))
      return true;
    c.own.lock.unlock();
    return false;
  }

  // One that was taken off the list.
  void turn_child(cancel_node& c, cancel_node*& lost) noexcept {
    switch (turn_one(c, root_, verdict_)) {
      case turned::open: return append(c);
      case turned::lost:
        c.hung.store(c.hung.load(std::memory_order_relaxed) | node::lost, std::memory_order_relaxed);
        c.next = std::exchange(lost, &c);
        return;
      default: return;
    }
  }

  // Without a lock.
  void await_lost(cancel_node* lost) noexcept {
    while (lost) {
      cancel_node& c = *std::exchange(lost, lost->next);
      if (word::await(c, word::settled) & word::closing) c.close();  // I1
      append(c);  // for the second phase to let go of it: dropping it here could run foreign code
    }
  }

  // A chunk of the children of one shard: others wait that long at most. True: there may be more.
  bool turn_some(cancel_node& n, unsigned number) noexcept {
    cancel_node* lost = nullptr;
    cancel_node* tethers = nullptr;
    bool more = false;
    {
      shard& s = lock_shard(n, number);
      const locked guard(s.lock, locked::already);
      cancel_node* only = nullptr;
      std::uint32_t apart = 0;
      for (cancel_node* c : take(n, s, only)) {
        if (turn_plain(*c)) continue;
        c->hung.store(number_of(*c), std::memory_order_relaxed);
        apart += !rides(*c);
        if (c->what == kind::tether) {
          if (try_hold(static_cast<tether*>(c)->of)) c->next = std::exchange(tethers, c);
        } else {
          turn_child(*c, lost);
        }
      }
      // They have holds of their own already. relaxed: the walk's pin keeps `n`.
      if (apart != 0) n.holds.fetch_sub(apart, std::memory_order_relaxed);
      more = !s.children.load(std::memory_order_relaxed).none();
    }
    await_lost(lost);
    while (tethers) turn_merge(static_cast<tether&>(*std::exchange(tethers, tethers->next)));
    return more;
  }

  // A child that rides, and whose word has nothing to tell: the exchange is all. False: it is not so, and
  // nothing has changed.
  bool turn_plain(cancel_node& c) noexcept {
    std::uint64_t nothing = 0;
    // release, as in turn_one(). L4: the last touch.
    return c.word.compare_exchange_strong(nothing, verdict_ | from_root_, std::memory_order_release,
                                          std::memory_order_relaxed);
  }

  // Takes a whole chunk, or what there is, off a locked shard. Before any of them can be seen to have left,
  // they have their holds on `n` (L2): as if all were riding.
  std::span<cancel_node* const> take(cancel_node& n, shard& s, cancel_node*& only) noexcept
      HEED_REQUIRES(s.lock) {
    const children_of_shard now = s.children.load(std::memory_order_relaxed);
    std::span<cancel_node* const> taken;
    if (chunk* newest = now.chunks()) {
      // Two chunks ahead: memory takes longer than one chunk.
      if (chunk* soon = newest->older ? newest->older->older : nullptr) {
        for (cancel_node* c : soon->at) fetch(c);
        fetch(soon->older);
      }
      taken = {newest->at, newest->count};
      // release: for is_off_list().
      s.children.store(children_of_shard::of_chunks(newest->older), std::memory_order_release);
      newest->older = std::exchange(emptied_, newest);
    } else if (cancel_node* const c = now.single()) {
      only = c;
      taken = {&only, 1};
      s.children.store({}, std::memory_order_release);  // as above
    } else {
      return taken;
    }
    const auto holds = static_cast<std::uint32_t>(taken.size());
    // With what that shard had for all of them. The pin of the walk keeps `n`.
    n.holds.fetch_add(was_last_of_orphan(s) ? holds - 1 : holds, std::memory_order_relaxed);
    return taken;
  }

  // A merge that was found through its second parent, and is held. This thread holds the merges' lock (M2).
  void turn_merge(tether& t) noexcept {
    merge_node& m = t.of;
    append(t);  // for the second phase to let go of the merge
    leave(m, fate::stays);
    // acquire: only chooses. An inherited merge was turned by an earlier walk, or by this one: M4.
    if (m.word.load(std::memory_order_acquire) & word::inherited) return;
    switch (turn_one(m, root_, verdict_)) {
      case turned::open: return append(m);
      case turned::lost:
        // Not appended: it may be in another walk's second phase, as one that was lost there.
        if (word::await(m, word::settled) & word::closing) m.close();  // I1
        drop_unless_last(m);  // never the last: the tether's pin is there
        return;
      default: return;  // it is held, so neither is possible
    }
  }

  void append(cancel_node& c) noexcept {
    c.next = nullptr;
    (last_ ? last_->next : first_) = &c;
    last_ = &c;
  }

  chunk*& emptied_;  // linked by `older`
  cancel_node& root_;
  const std::uint64_t verdict_;
  const std::uint64_t from_root_;
  bool quiet_root_ = false;
  cancel_node* first_ = nullptr;
  cancel_node* last_ = nullptr;
};

}  // namespace

callbacks settle(cancel_node& n, emptied_chunks& emptied) noexcept {
  if (n.word.load(std::memory_order_relaxed) & word::settled) return callbacks::perhaps;
  const walk below(n, emptied.first);
  // release: who waits for it finds everything below done.
  const std::uint64_t before = n.word.fetch_or(word::settled, std::memory_order_release);
  if (before & word::waiters) word::wake_settled(n);
  return below.quiet_root() ? callbacks::none : callbacks::perhaps;
}

}  // namespace heed::inline v0
