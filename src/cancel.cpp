// Ending a context and everything below it. I3 is kept here; this is the argument.
//
// A cancel has two phases. First it turns the whole subtree: takes each child off its parent's list, changes its
// word, and goes on below it. That runs nothing foreign. Then it runs the callbacks, which so find every
// descendant done already (I5: with no lock held), and lets go of the nodes.
//
// Whoever changes a node's word from live (to claimed, or at once to inherited) owns the walk below it. A node has
// one parent scope, and only that scope's owner takes children off its list; so each child meets one walk.
//   - The child is live: the walk turns it, by one compare-exchange, and owns what is below.
//   - The child was claimed by another canceler: it is the root of that one's walk, never in its middle, since
//     the middle is reached through lists only. Ours waits until the other has settled that root: has turned all
//     below it. The other one is in its first phase then, runs nothing foreign, holds no lock while it waits, and
//     waits itself only for walks further down. So the waiting ends (I3, without a deadlock).
//   - The child is being destroyed: it has no children, and nobody can see it.
// So that no such root is missed, a node stays on its parent's list until it is settled, whoever drops it.
// A merge has two parent scopes, so two walks may meet it. Those take turns, by a lock of their own: merge.cpp.
// What is linked later meets a done parent: open() decides between the two by the parent's word, see there.
//
// Nothing is allocated (I11) and nothing recurses (I7): a node that was taken off a list is linked into the walk
// by its own `next`, and pinned by a hold until the second phase has passed it.
#include "tree.hpp"

#include <utility>

namespace heed::inline v0 {
namespace {

// How many children are taken in one go while their parent's lock is held: others wait that long at most.
constexpr int batch = 64;

constexpr std::uint32_t decided = word::verdict | word::claimed;

// live -> claimed; not won: somebody else decided. As long as it exists, the one who won may turn() the node: where
// a merge hangs below, it holds the merges' lock. Who may not wait for that finds it `open` at the worst.
class claim {
 public:
  enum class patience { waits, tries };
  explicit claim(cancel_node& n, patience p = patience::waits) noexcept {
    std::uint32_t w = n.word.load(std::memory_order_relaxed);
    while ((w & decided) == 0) {
      if ((w & word::merged) && !locked_) {
        if (p == patience::waits) {
          merges.lock();
        } else if (!merges.try_lock()) {
          return;
        }
        locked_ = true;
      }
      // acquire: what the previous owner of cause and place wrote (a deadline's, at birth) comes before ours. M2:
      // who succeeds on a word without `merged` was first.
      if (n.word.compare_exchange_weak(w, w | word::claimed, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        is_ = node::outcome::won;
        return;
      }
    }
    is_ = node::outcome::lost;
  }
  claim(const claim&) = delete;
  claim& operator=(const claim&) = delete;
  ~claim() {
    if (locked_) merges.unlock();
  }
  node::outcome is() const noexcept { return is_; }
  bool won() const noexcept { return is_ == node::outcome::won; }

 private:
  bool locked_ = false;
  node::outcome is_ = node::outcome::open;
};

// For who lost a claim: the winner may still be between two stores. Afterwards it is done in every form (I1).
void await_verdict(cancel_node& n) noexcept {
  if (word::await(n, word::verdict) & word::closing) n.close();
}

// The word of a node that ends as `verdict`, having had `w`. Sleepers are woken by who writes it.
std::uint32_t ended(std::uint32_t w, std::uint32_t verdict) noexcept {
  return (w & ~(word::claimed | word::waiters)) | verdict | ((w & word::has_fd) ? word::closing : 0);
}

// claimed -> done; without anything on its lists it is settled in the same step.
void publish(cancel_node& n, errc verdict) noexcept {
  std::uint32_t w = n.word.load(std::memory_order_relaxed);
  std::uint32_t after = 0;
  do {
    after = ended(w, static_cast<std::uint32_t>(verdict)) | ((w & word::hooks) ? 0 : word::settled);
    // release: I2 and I4; acquire: the fd of who set has_fd.
  } while (!n.word.compare_exchange_weak(w, after, std::memory_order_acq_rel, std::memory_order_relaxed));
  word::announce(n, w);
}

enum class turned { whole, open, lost };  // whole: nothing hangs below it, and it needs no second phase

// live -> done, by the walk of an ancestor that `from` decided. `c` is on no list.
turned turn_one(cancel_node& c, cancel_node& from, std::uint32_t verdict) noexcept {
  c.decider = &from;  // only looked at once the word says inherited
  std::uint32_t w = c.word.load(std::memory_order_relaxed);
  do {
    if (w & decided) return turned::lost;
    // release: the decider, and all before the cancel (I2, I4); acquire: the fd of who set has_fd.
  } while (!c.word.compare_exchange_weak(w, ended(w, verdict) | word::inherited, std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
  word::announce(c, w);
  return (w & word::hooks) || c.what == kind::deadline ? turned::open : turned::whole;
}

// The first phase: everything below a root that has just been decided.
class walk {
 public:
  explicit walk(cancel_node& root) noexcept
      : root_(root), verdict_(root.word.load(std::memory_order_relaxed) & word::verdict) {
    // relaxed: this thread wrote the verdict.
    cancel_node* at = &root;
    turn_below(*at);
    for (at = first_; at; at = at->next) {
      if (!at->lost) turn_below(*at);
    }
    root.children = first_;  // its own list is empty for good; the second phase starts here
  }

 private:
  void turn_below(cancel_node& n) noexcept {
    if ((n.word.load(std::memory_order_relaxed) & word::hooks) == 0) return;
    for (bool more = true; more;) {
      cancel_node* lost = nullptr;
      cancel_node* tethers = nullptr;
      {
        const locked guard(n.lock);
        for (int i = 0; i < batch && n.children; ++i) {
          cancel_node& c = *n.children;
          unlink(n, c);
          // Under the lock the child cannot be freed: its destruction takes this lock first.
          if (c.what == kind::tether) {
            if (try_hold(static_cast<tether&>(c).of)) c.next = std::exchange(tethers, &c);
            continue;
          }
          const turned t = turn_one(c, root_, verdict_);
          if (t == turned::whole || !try_hold(c)) continue;
          if (t == turned::open) {
            append(c);
          } else {
            c.lost = true;
            c.next = std::exchange(lost, &c);
          }
        }
        more = n.children != nullptr;
      }
      while (lost) {
        cancel_node& c = *std::exchange(lost, lost->next);
        if (word::await(c, word::settled) & word::closing) c.close();  // I1
        append(c);  // for the second phase to let go of it: dropping it here could run foreign code
      }
      while (tethers) turn_merge(static_cast<tether&>(*std::exchange(tethers, tethers->next)));
    }
  }

  // A merge that was found through its second parent, and is held. This thread holds the merges' lock (M2).
  void turn_merge(tether& t) noexcept {
    merge_node& m = t.of;
    append(t);  // for the second phase to let go of the merge
    if (cancel_node* above = scope_above(m.parent)) {
      const locked guard(above->lock);
      if (m.linked) unlink(*above, m);
    }
    // acquire: only chooses. An inherited merge was turned by an earlier walk, or by this one: M4.
    if (m.word.load(std::memory_order_acquire) & word::inherited) return;
    switch (turn_one(m, root_, verdict_)) {
      case turned::whole: return;
      case turned::open: hold(m); return append(m);
      case turned::lost:
        if (word::await(m, word::settled) & word::closing) m.close();  // I1
        return;
    }
  }

  void append(cancel_node& c) noexcept {
    c.next = nullptr;
    (last_ ? last_->next : first_) = &c;
    last_ = &c;
  }

  cancel_node& root_;
  const std::uint32_t verdict_;
  cancel_node* first_ = nullptr;
  cancel_node* last_ = nullptr;
};

// The first phase, for a claimed node, while that claim exists. From here on everything below it is done.
void turn(cancel_node& n, errc verdict) noexcept {
  publish(n, verdict);
  if (n.word.load(std::memory_order_relaxed) & word::settled) return;
  const walk below(n);
  // release: who waits for it finds everything below done.
  const std::uint32_t before = n.word.fetch_or(word::settled, std::memory_order_release);
  if (before & word::waiters) os::wake_all(n.word);
}

// The first phase of a deadline that has passed, whose cause and place are there since its birth.
node::outcome turn_deadline(cancel_node& n, claim::patience p) noexcept {
  const claim mine(n, p);
  if (mine.won()) turn(n, errc::deadline_exceeded);
  return mine.is();
}

// The second phase.
void finish(cancel_node& root) noexcept {
  cancel_node* next = std::exchange(root.children, nullptr);
  disarm(root);
  tree::run_callbacks(root);
  while (next) {
    cancel_node& c = *std::exchange(next, next->next);
    if (!c.lost) {
      disarm(c);
      tree::run_callbacks(c);
      // I3: it leaves the other parent, too, though its children may keep it.
      if (c.what == kind::merge) leave(static_cast<merge_node&>(c).second);
    }
    drop(c.what == kind::tether ? &static_cast<tether&>(c).of : &c);
  }
}

}  // namespace

bool cancel(cancel_node& n, errc verdict, error& cause, std::source_location where) noexcept {
  bool won = false;
  {
    const claim mine(n);
    if (mine.won()) {
      std::swap(n.cause, cause);  // I2; the old one goes when nobody waits for us any more (I5)
      n.place = where;
      turn(n, verdict);
      won = true;
    }
  }
  won ? finish(n) : await_verdict(n);
  return won;
}

void expire(deadline_node& n) noexcept {
  turn_deadline(n, claim::patience::waits) == node::outcome::won ? finish(n) : await_verdict(n);
}

void inherit(cancel_node& n, cancel_node& from) noexcept {
  // acquire: the cause of the one that decided.
  const std::uint32_t verdict = from.word.load(std::memory_order_acquire) & word::verdict;
  // Where it is lost, its own deadline or source was first.
  if (turn_one(n, decider_of(from), verdict) == turned::lost) await_verdict(n);
}

void disarm(cancel_node& n) noexcept {
  if (n.what != kind::deadline) return;
  // release: who finds the flag gone, and nobody else left, sees the verdict, and does not abandon a done node.
  if ((n.handles.fetch_and(~node::source, std::memory_order_release) & node::source) == 0) return;
  auto& d = static_cast<deadline_node&>(n);
  d.on.disarm(d);
}

cancel_node& decider_of(cancel_node& n) noexcept {
  return (n.word.load(std::memory_order_acquire) & word::inherited) ? *n.decider : n;
}

bool deadline_node::on_step(work& w, step s) noexcept {
  auto& n = static_cast<deadline_node&>(static_cast<timer&>(w));
  switch (s) {
    case step::claim: return try_hold(n);
    case step::turn:
      // The thread that keeps time waits for nobody: what it cannot turn at once, run() does.
      n.firing = turn_deadline(n, claim::patience::tries);
      if (n.firing == outcome::open) return true;
      if (n.firing == outcome::won) {
        if (n.word.load(std::memory_order_relaxed) & word::hooks) return true;
      }
      return !drop_unless_last(n);  // the last drop destroys, and so runs what is foreign
    case step::run:
    case step::drop:
      if (n.firing == outcome::open) n.firing = turn_deadline(n, claim::patience::waits);
      if (n.firing == outcome::won) finish(n);
      heed::drop(&n);
      return true;
  }
  return false;
}

void abandon(cancel_node& n) noexcept {
  // I7: children that have become unreachable too are linked by their `next`, as in a walk. None of these can be
  // canceled meanwhile: that would need one of the handles that are gone.
  cancel_node* first = &n;
  cancel_node* last = &n;
  n.next = nullptr;
  for (cancel_node* at = first; at;) {
    callback_base* functions = nullptr;
    if (at->word.load(std::memory_order_acquire) & word::hooks) {
      const locked guard(at->lock);
      while (at->children) {
        cancel_node& entry = *at->children;
        unlink(*at, entry);
        const bool tied = entry.what == kind::tether;
        cancel_node& c = tied ? static_cast<tether&>(entry).of : entry;
        const std::uint32_t ours = tied ? node::second_up : node::up;
        // acq_rel, as in release_handle(): whoever takes the last of it away goes on.
        const bool unreachable = c.handles.fetch_and(~ours, std::memory_order_acq_rel) == ours;
        // One that is done is in the hands of who ended it, who may still run its callbacks.
        if (unreachable && (c.word.load(std::memory_order_acquire) & word::verdict) == 0 && try_hold(c)) {
          c.next = nullptr;
          last->next = &c;
          last = &c;
        }
      }
      functions = tree::take_detached(*at);
    }
    tree::tell_abandoned(functions);
    cancel_node* next = at->next;
    if (at != &n) drop(at);
    at = next;
  }
}

}  // namespace heed::inline v0
