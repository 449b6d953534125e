// Ending a context and everything below it. I3 is kept here; this is the argument.
//
// A cancel has two phases. First it turns the whole subtree: takes each child off its parent's list, changes
// its word, and goes on below it. That runs nothing foreign. Then it runs the callbacks, which so find every
// descendant done already (I5: with no lock held), and lets go of the nodes.
//
// Whoever changes a node's word from live (to claimed, or at once to inherited) owns the walk below it. A
// node has one parent scope, and only that scope's owner takes children off its list; so each child meets one
// walk.
//   - The child is live: the walk turns it, by one compare-exchange, and owns what is below.
//   - The child was claimed by another canceler: it is the root of that one's walk, never in its middle,
//     since the middle is reached through lists only. Ours waits until the other has settled that root: has
//     turned all below it. The other one is in its first phase then, runs nothing foreign, holds no lock
//     while it waits, and waits itself only for walks further down. So the waiting ends (I3, without a
//     deadlock).
//   - The child is being destroyed: it has no children, and nobody can see it.
// So that no root of another walk is missed, a node stays on its parent's list until it is settled, whoever
// drops it. A walk touches a child for the last time when it exchanges its word, unless it has pinned it
// before: what nothing hangs on may be freed right then (L4). Or unless it has the lock of the child's own
// shard, from before that until it has taken off what hangs there, one child at most, and goes on with that
// (L7): so it goes down a line of contexts without a pin. A merge has two parent scopes, so two walks may
// meet it. Those take turns, by a lock of their own: merge.cpp. What is linked later meets a done parent:
// is_open() decides between the two by the parent's word, see there. A node whose one shard is found without
// callbacks after its verdict gets none any more, as is_open() says no: the second phase passes it by
// (`no_callbacks`). The walk itself remembers that of its root, whose `hung` may be written under its
// parent's lock.
//
// Where no more than one child hangs there, and nothing is below that, all this is three exchanges under one
// lock: cancel_hooked().
//
// Nothing is allocated (I11) and nothing recurses (I7): a node that was taken off a list is linked into the
// walk by its own `next`, and pinned by a hold until the second phase has passed it.
#include "default_scheduler.hpp"
#include "walk.hpp"

#include <cassert>
#include <utility>

namespace heed::inline v0 {
namespace {

using outcome = node::outcome;

// live -> claimed; not won: somebody else decided. As long as it exists, the one who won may turn() the node:
// where a merge hangs below, it holds the merges' lock. Who may not wait for that finds it `open` at the
// worst.
class claim {
 public:
  enum class patience { waits, tries };
  explicit claim(cancel_node& n, patience p = patience::waits) noexcept {
    std::uint64_t w = n.word.load(std::memory_order_relaxed);
    while ((w & decided) == 0) {
      if ((w & word::merged) && !locked_) {
        if (p == patience::waits) {
          merges.lock();
        } else if (!merges.try_lock()) {
          return;
        }
        locked_ = true;
      }
      // acquire: what the previous owner of the cause wrote (a deadline's, at birth) comes before ours. M2:
      // who succeeds on a word without `merged` was first.
      if (n.word.compare_exchange_weak(w, w | word::claimed, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        is_ = outcome::won;
        return;
      }
    }
    is_ = outcome::lost;
  }
  claim(const claim&) = delete;
  claim& operator=(const claim&) = delete;
  ~claim() {
    if (locked_) merges.unlock();
  }
  outcome is() const noexcept { return is_; }
  bool won() const noexcept { return is_ == outcome::won; }

 private:
  bool locked_ = false;
  outcome is_ = outcome::open;
};

// For who lost a claim: the winner may still be between two stores. Afterwards it is done in every form (I1).
void await_verdict(cancel_node& n) noexcept {
  if (word::await(n, word::verdict) & word::closing) n.close();
}

// claimed -> done; or live -> done, where `unless` has what stands against that: then it may be false, and
// nothing has changed. Without anything on its lists it is settled in the same step. The caller keeps the
// node.
bool publish(cancel_node& n, errc verdict, std::uint64_t from, std::uint64_t unless = 0) noexcept {
  std::uint64_t w = n.word.load(std::memory_order_relaxed);
  std::uint64_t after = 0;
  do {
    if (w & unless) return false;
    after = ended(w, static_cast<std::uint64_t>(verdict), from) | ((w & word::hooks) ? 0 : word::settled);
    // release: I2 and I4; acquire: the fd of who set has_fd.
  } while (!n.word.compare_exchange_weak(w, after, std::memory_order_acq_rel, std::memory_order_relaxed));
  word::announce(n, w);
  return true;
}

// The first phase, for a claimed node, while that claim exists.
callbacks turn(cancel_node& n, errc verdict, std::uint64_t from, emptied_chunks& emptied) noexcept {
  static_cast<void>(publish(n, verdict, from));
  return settle(n, emptied);
}

// The first phase of a deadline that has passed, whose cause and place are there since its birth.
outcome turn_deadline(cancel_node& n, claim::patience p, emptied_chunks& emptied) noexcept {
  const claim mine(n, p);
  // relaxed: the place is the pointer of a live word, and nobody else writes it now.
  if (mine.won())
    turn(n, errc::deadline_exceeded, n.word.load(std::memory_order_relaxed) & ~word::flags, emptied);
  return mine.is();
}
outcome turn_deadline(cancel_node& n) noexcept {
  emptied_chunks emptied;
  return turn_deadline(n, claim::patience::waits, emptied);
}
// For a thread that keeps time and waits for nobody: open, what it cannot turn at once.
outcome try_turn_deadline(deadline_node& n) noexcept {
  emptied_chunks emptied;  // freed when the lock is free (I5)
  if (n.is(node::own_scheduler)) return turn_deadline(n, claim::patience::tries, emptied);
  const locked guard(the_process_scheduler().time().turning());
  return turn_deadline(n, claim::patience::tries, emptied);
}

// The second phase.
void finish(cancel_node& root, callbacks its = callbacks::perhaps) noexcept {
  // relaxed: this thread, or the one that handed the rest of the work to it, wrote the word.
  const bool had_hooks = (root.word.load(std::memory_order_relaxed) & word::hooks) != 0;
  cancel_node* next = had_hooks ? take_found(root) : nullptr;
  disarm(root);
  if (its == callbacks::perhaps) tree::run_callbacks(root);
  while (next) {
    cancel_node& c = *std::exchange(next, next->next);
    if ((c.hung.load(std::memory_order_relaxed) & node::lost) == 0) {
      if (c.what == kind::deadline) disarm(c);
      if ((c.hung.load(std::memory_order_relaxed) & node::no_callbacks) == 0) tree::run_callbacks(c);
      // I3: it leaves the other parent, too, though its children may keep it.
      if (c.what == kind::merge) leave(static_cast<merge_node&>(c).second, fate::stays);
    }
    drop(c.what == kind::tether ? &static_cast<tether&>(c).of : &c);
  }
}

// A pin, for as long as this function works on the node: what it wakes up, or calls, may let go of it.
struct pin {
  explicit pin(cancel_node& of) noexcept : n(of) { hold_here(n); }
  pin(const pin&) = delete;
  pin& operator=(const pin&) = delete;
  ~pin() { drop(&n); }
  cancel_node& n;
};

// cancel() in a few steps, without a pin, for a node on which nothing hangs, nobody waits, and that heed's
// own scheduler keeps the time of: it is not touched after its verdict, or after its lock. Open: it is not
// such a node, or not any more, and nothing has happened yet that cancel_in_full() would not find.

// What its word `w` says; won: it is such a node, and live, and may have one of the bits `besides`.
inline outcome look(const cancel_node& n, std::uint64_t w, std::uint64_t besides = 0) noexcept {
  if ((w & word::verdict) && (w & word::closing) == 0) return outcome::lost;
  if ((w & word::flags & ~(besides | word::uncommon)) != 0) return outcome::open;
  return n.what > kind::deadline || n.is(node::own_scheduler) ? outcome::open : outcome::won;
}
// Something was hung on it, but now there is one child at most, of which the word tells nothing: a short
// walk. The node's lock is what keeps it (L7). No merge hangs below, or its word would say so, and the
// exchange fail (M2).
outcome cancel_hooked(cancel_node& n, errc verdict, std::uint64_t from,
                      std::uint64_t w) noexcept HEED_UNCHECKED {  // it is tried
  // H2. acquire: the table's making.
  if (n.own.children.load(std::memory_order_acquire).has_table() || !n.own.lock.try_lock())
    return outcome::open;
  cancel_node* c = nullptr;
  bool sleepers = false;
  {
    shard& s = n.own;
    const locked guard(s.lock, locked::already);
    assert(!s.orphan);  // the caller has a handle
    if (!holds_one_child(s, c) || (c && c->word.load(std::memory_order_relaxed) != 0)) return outcome::open;
    const std::uint64_t ended =
        static_cast<std::uint64_t>(verdict) | from | (w & (word::hooks | word::uncommon));
    // release: I4.
    if (!n.word.compare_exchange_strong(w, c ? ended : ended | word::settled, std::memory_order_release,
                                        std::memory_order_relaxed))
      return outcome::open;
    if (!c) return outcome::won;
    n.holds.fetch_add(1, std::memory_order_relaxed);  // L2: before it can be seen to have left
    std::uint64_t nothing = 0;
    // release: as in turn_one(). L4: the last touch.
    if (c->word.compare_exchange_strong(
            nothing, static_cast<std::uint64_t>(verdict) | word::inherited | word::pointing(&n),
            std::memory_order_release, std::memory_order_relaxed)) {
      s.children.store({}, std::memory_order_release);  // for is_off_list()
      c = nullptr;
      // release: as in settle().
      sleepers = (n.word.fetch_or(word::settled, std::memory_order_release) & word::waiters) != 0;
    }
  }
  if (sleepers) word::wake_settled(n);  // the address only
  if (!c) return outcome::won;
  // Something has come to hang on the child, or it is being ended. The hold that it would have is our pin.
  {
    emptied_chunks emptied;
    settle(n, emptied);
  }
  finish(n);
  drop(&n);
  return outcome::won;
}
// There is no cause to write, nor one to be replaced.
inline outcome cancel_quickly(cancel_node& n, errc verdict, std::uint64_t from) noexcept {
  // acquire: as for cancel(), where it has ended already.
  std::uint64_t w = n.word.load(std::memory_order_acquire);
  if (const outcome so = look(n, w, word::hooks); so != outcome::won) return so;
  // One step. A timer that is taken out before it is decided that this ends the node is not missed: if this
  // does not, somebody else has, or the other way does.
  disarm(n);
  if (w & word::hooks) return cancel_hooked(n, verdict, from, w);
  // release: I4. The last touch.
  return n.word.compare_exchange_strong(
             w, static_cast<std::uint64_t>(verdict) | word::settled | from | (w & word::uncommon),
             std::memory_order_release, std::memory_order_relaxed)
             ? outcome::won
             : outcome::open;
}
// There is a cause to write, or to be replaced.
outcome cancel_quickly(cancel_node& n, errc verdict, error& cause, std::uint64_t from) noexcept {
  // acquire: as above.
  std::uint64_t w = n.word.load(std::memory_order_acquire);
  if (const outcome so = look(n, w); so != outcome::won) return so;
  const std::uint64_t after = static_cast<std::uint64_t>(verdict) | word::settled | from | word::uncommon;
  // acquire: as in claim.
  if (!n.word.compare_exchange_strong(w, w | word::claimed, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
    return outcome::open;
  }
  std::swap(n.cause, cause);  // I2
  disarm(n);
  w |= word::claimed;
  // release: I2 and I4.
  if (n.word.compare_exchange_strong(w, after, std::memory_order_release, std::memory_order_relaxed))
    return outcome::won;
  // Somebody has come to wait, or to hang something on it, while it was claimed.
  const pin keep(n);
  {
    emptied_chunks emptied;
    turn(n, verdict, from | word::uncommon, emptied);
  }
  finish(n);
  return outcome::won;
}

// The rest of cancel(), whatever there is to see to. `writes`: there is a cause to write, or to be replaced.
bool cancel_in_full(cancel_node& n, errc verdict, error& cause, bool writes, std::uint64_t from) noexcept {
  const pin keep(n);
  bool won = false;
  callbacks its = callbacks::perhaps;
  {
    emptied_chunks emptied;
    // Nothing to write, nor a lock to take (M2): no need to claim it first.
    if (!writes && publish(n, verdict, from, decided | word::merged)) {
      its = settle(n, emptied);
      won = true;
    } else {
      const claim mine(n);
      if (mine.won()) {
        std::swap(n.cause, cause);  // I2; the old one goes when nobody waits for us any more (I5)
        its = turn(n, verdict, from | word::uncommon, emptied);
        won = true;
      }
    }
  }
  won ? finish(n, its) : await_verdict(n);
  return won;
}

// One that is not given a cause.
[[gnu::noinline]] bool cancel_in_full(cancel_node& n, std::source_location where) noexcept {
  error none;
  if (n.is(node::own_cause)) return cancel(n, errc::canceled, none, where);
  return cancel_in_full(n, errc::canceled, none, false, word::at(where));
}

}  // namespace

bool cancel(cancel_node& n, errc verdict, error& cause, std::source_location where) noexcept {
  const std::uint64_t from = word::at(where);
  const bool writes = cause || n.is(node::own_cause);
  const outcome done = writes ? cancel_quickly(n, verdict, cause, from) : cancel_quickly(n, verdict, from);
  return done == outcome::open ? cancel_in_full(n, verdict, cause, writes, from) : done == outcome::won;
}

bool cancel_without_cause(cancel_node& n, std::source_location where) noexcept {
  if (n.is(node::own_cause)) return cancel_in_full(n, where);
  const outcome done = cancel_quickly(n, errc::canceled, word::at(where));
  return done == outcome::open ? cancel_in_full(n, where) : done == outcome::won;
}

void expire(deadline_node& n) noexcept {
  turn_deadline(n) == outcome::won ? finish(n) : await_verdict(n);
}

void inherit(cancel_node& n, cancel_node& from) noexcept {
  // acquire: the cause of the one that decided.
  const std::uint64_t w = from.word.load(std::memory_order_acquire);
  if (n.what == kind::cancel) return inherit_word(n, from, w);
  // Where it is lost, its own deadline or source was first.
  const turned t = turn_one(n, decider_of(from), w & word::verdict);
  if (t == turned::lost) await_verdict(n);
  if (t != turned::gone) drop(&n);  // the pin; the caller has a hold
}

void disarm(cancel_node& n) noexcept {
  if (n.what != kind::deadline || !n.is(node::armed)) return;
  auto& d = static_cast<deadline_node&>(n);
  n.is(node::own_scheduler) ? d.on().disarm(d) : the_process_scheduler().time().disarm(d);
}

cancel_node& decider_of(cancel_node& n) noexcept {
  // acquire: what is at the other end of the pointer.
  const std::uint64_t w = n.word.load(std::memory_order_acquire);
  return (w & word::inherited) ? *static_cast<cancel_node*>(word::pointer(w)) : n;
}

std::source_location place_of(const cancel_node& decider) noexcept {
  return word::place(decider.word.load(std::memory_order_acquire));
}

bool deadline_node::on_step(work& w, step s) noexcept {
  auto& n = static_cast<deadline_node&>(static_cast<timer&>(w));
  switch (s) {
    case step::claim: return try_hold(n);
    case step::turn:
      n.firing = try_turn_deadline(n);
      if (n.firing == outcome::open) return true;  // run() does
      if (n.firing == outcome::won) {
        if (n.word.load(std::memory_order_relaxed) & word::hooks) return true;
      }
      return !drop_unless_last(n);  // the last drop destroys, and so runs what is foreign
    case step::run:
    case step::drop:
      if (n.firing == outcome::open) n.firing = turn_deadline(n);
      if (n.firing == outcome::won) finish(n);
      heed::drop(&n);
      return true;
  }
  return false;
}

}  // namespace heed::inline v0
