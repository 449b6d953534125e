#include "picture.hpp"

#include "hanging.hpp"
#include "track.hpp"
#include "values.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace heed::inline v0 {

parent_list parents_of(const node& n) noexcept {
  if (n.what != kind::merge) return {{n.parent, nullptr}, 1};
  const node* second = static_cast<const merge_node&>(n).second.parent;
  return {{n.parent, second}, second == n.parent ? 1U : 2U};
}

tree::tally tree::count_callbacks(cancel_node& n) noexcept {
  tally sum;
  if ((n.word.load(std::memory_order_acquire) & word::hooks) == 0) return sum;  // H4
  for (unsigned number = 0; number < shard_count(n); ++number) {
    shard& s = lock_shard(n, number);
    const locked guard(s.lock, locked::already);
    const callback_base* c = s.callbacks;
    if (!c) continue;
    do {
      ++(c->detached_ ? sum.functions : sum.callbacks);
      c = c->next_;
    } while (c != s.callbacks);
  }
  return sum;
}

namespace {

using index = std::unordered_map<const node*, std::size_t>;

// Keeps what a walk has found, until it is over.
class pins {
 public:
  pins() = default;
  pins(const pins&) = delete;
  pins& operator=(const pins&) = delete;
  ~pins() {
    for (node* n : held_) drop(n);  // may run foreign code: we hold no lock
  }
  // Makes room for this many more. Throws std::bad_alloc.
  void room(std::size_t more) {
    if (held_.capacity() - held_.size() < more)
      held_.reserve(std::max(2 * held_.capacity(), held_.size() + more));
  }
  // What stands there: for a tether, the merge.
  bool add(cancel_node& entry) noexcept {
    cancel_node& n = behind(entry);
    if (!try_hold(n)) return false;  // it is being destroyed
    held_.push_back(&n);
    return true;
  }
  static cancel_node& behind(cancel_node& entry) noexcept {
    return entry.what == kind::tether ? static_cast<tether&>(entry).of : entry;
  }

 private:
  std::vector<node*> held_;
};

// The children of a context, pinned, a batch at a time: others wait for a batch at most, and nothing is
// allocated under the lock.
//
// We go from the youngest to the oldest. Between two batches the list changes: new children come in front of
// us, and who leaves is replaced by the youngest (H3), which we have, unless all that we have left or moved:
// then the last one that we took is not where it was, and we begin anew. None that stays is missed; some are
// met twice. But we do not begin anew for ever: else who makes children faster than we look could keep us
// here.
class children {
 public:
  children(cancel_node& of, pins& kept) noexcept : of_(of), kept_(kept) {}

  // Adds some to `found`, perhaps again; false: these were the last. Throws std::bad_alloc.
  bool take(std::vector<cancel_node*>& found) {
    kept_.room(sizes::children_copied);
    std::array<cancel_node*, sizes::children_copied> fresh{};
    std::size_t n = 0;
    if ((of_.word.load(std::memory_order_acquire) & word::hooks) == 0) return false;  // H4
    {
      shard& s = lock_shard(of_, number_);
      const locked guard(s.lock, locked::already);
      // The list is whole while there is no verdict: the walk that ends the context takes this lock after it,
      // or has it.
      if (!is_open(of_)) return false;
      if (!go_on(s)) {
        last_ = nullptr;
        beginnings_ = 0;
        return ++number_ < shard_count(of_);
      }
      while (n < sizes::children_copied && next_) {
        cancel_node& c = *next_;
        const place here = at_;
        step();
        if (!kept_.add(c)) continue;
        last_ = &c;
        last_at_ = here;
        fresh[n++] = &c;
      }
    }
    for (std::size_t i = 0; i < n; ++i) found.push_back(&pins::behind(*fresh[i]));
    return true;
  }

 private:
  struct place {
    chunk* in = nullptr;
    std::size_t index = 0;
    bool operator==(const place&) const = default;
  };
  // Finds the next one; false: there is none.
  bool go_on(const shard& s) noexcept HEED_REQUIRES(s.lock) {
    const children_of_shard now = s.children.load(std::memory_order_relaxed);
    if (last_ && stands(*last_)) {
      at_ = last_at_;
      next_ = last_;
      step();
    } else {
      if (last_ && ++beginnings_ > 16) return false;
      chunk* newest = now.chunks();
      at_ = {newest, newest ? newest->count - 1 : 0};
      next_ = newest_in(s);
    }
    return next_ != nullptr;
  }
  bool stands(const cancel_node& c) const noexcept {
    // A single one has no place that could be compared; it is met again.
    return hangs(c) && number_of(c) == number_ &&
           (!last_at_.in || c.slot == &last_at_.in->at[last_at_.index]);
  }
  void step() noexcept {
    if (at_.in && at_.index == 0) {
      at_.in = at_.in->older;
      at_.index = chunk::room;
    }
    next_ = at_.in ? at_.in->at[--at_.index] : nullptr;
  }

  cancel_node& of_;
  pins& kept_;
  unsigned number_ = 0;
  place at_;
  cancel_node* next_ = nullptr;
  cancel_node* last_ = nullptr;  // the last that we took, and where it was
  place last_at_;
  int beginnings_ = 0;
};

// What a node tells without foreign code and without an allocation. The node is kept by the caller, by a pin
// or by the registry's lock.
void read(seen& s, const node* of) noexcept {
  s.of = of;
  s.never_ends = true;
  s.above.count = 0;
  if (!of) {
    s.what = kind::root;
    return;
  }
  auto& n = const_cast<node&>(*of);
  s.what = n.what;
  s.foreign_clock = n.is(node::own_scheduler);
  if (n.what == kind::todo) return;
  s.handles = crowd::count_handles(n);
  if (n.what == kind::root) return;
  s.above = parents_of(n);
  cancel_node* within = scope_above(&n);
  if (!within) return;
  s.never_ends = false;
  // acquire: cause, place and decider were written before the verdict.
  const std::uint64_t w = within->word.load(std::memory_order_acquire);
  s.verdict = w & word::verdict;
  if (w & word::closing && s.verdict) within->close();  // I1: who reads it here may poll there
  if (s.verdict) {
    const cancel_node& by = decider_of(*within);
    s.cause = by.cause;
    s.ended = place_of(by);
    if (&by != static_cast<const node*>(&n)) s.decider = &by;
  }
  if (n.what == kind::value) return;
  s.mixed = within->is(node::mixed);
  s.hooks = tree::count_callbacks(*within);
  if (n.what == kind::deadline) {
    s.timed = true;
    s.when = static_cast<const deadline_node&>(n).when();
  } else if (n.what == kind::custom) {
    s.when = static_cast<const custom_node&>(n).when.value_or(time_point::max());
    s.timed = s.when != time_point::max();
  } else if (n.what == kind::merge) {
    s.timed = n.is(node::timed);
    s.when = static_cast<const merge_node&>(n).when.value_or(time_point::max());
  }
}

// The nearest context above that is in the picture, through values that are not; nowhere: something else
// comes first. Names the values on the way.
std::size_t climb(const node* from, const index& known, std::vector<std::string>* values) {
  for (;; from = from->parent) {
    if (const auto at = known.find(from); at != known.end()) return at->second;
    if (!from || from->what != kind::value) return nowhere;
    if (values) values->push_back(static_cast<const value_node*>(from)->key->name());
  }
}

// Untracked: down the lists of children, breadth first.
void walk_down(picture& p, const context& root) {
  pins kept;
  index known;
  std::vector<cancel_node*> found;
  read(p.contexts.emplace_back(), tree::of(root));
  known.emplace(tree::of(root), 0);
  for (std::size_t at = 0; at < p.contexts.size(); ++at) {
    const node* n = p.contexts[at].of;
    cancel_node* s = scope_above(n);
    if (!s) continue;
    found.clear();
    for (children all(*s, kept); all.take(found);) {}
    std::reverse(found.begin(), found.end());  // in the order in which they came
    for (cancel_node* c : found) {
      // Where the root is a value, its scope has other children too.
      const parent_list above = parents_of(*c);
      const bool below = std::any_of(above.begin(), above.end(),
                                     [&](const node* up) { return climb(up, known, nullptr) == at; });
      if (!below || !known.emplace(c, p.contexts.size()).second) continue;
      read(p.contexts.emplace_back(), c);
    }
  }
  for (std::size_t at = 0; at < p.contexts.size(); ++at) {
    seen& s = p.contexts[at];
    if (at > 0) {
      for (std::size_t i = 0; i < s.above.count; ++i) {
        std::vector<std::string> on_the_way;
        s.parent[i] = climb(s.above.node_of[i], known, &on_the_way);
        if (s.parent[i] != nowhere) s.values.insert(s.values.end(), on_the_way.rbegin(), on_the_way.rend());
      }
    }
    if (s.what == kind::value)
      s.values.insert(s.values.begin(), static_cast<const value_node*>(s.of)->key->name());
    if (s.what == kind::custom) s.name = static_cast<const custom_node*>(s.of)->self->name();
    if (const auto by = known.find(s.decider); s.decider && by != known.end()) s.ended_by = by->second;
  }
}

// Tracked: a copy of the registry. One lock of it, in which nothing is allocated: what there is no room for
// makes us begin anew.
void copy_all(picture& p) {
  track::totals room;
  for (bool whole = false; !whole;) {
    {
      const track::reading list;
      room = list.sum();
    }
    p.contexts.clear();  // may run foreign code: the ends of causes
    p.contexts.reserve(room.contexts + room.contexts / 8 + 64);
    p.names.clear();
    p.names.reserve(room.bytes + room.bytes / 8 + 4096);
    const track::reading list;
    const track::totals sum = list.sum();
    if (sum.contexts > p.contexts.capacity() || sum.bytes > p.names.capacity()) continue;
    for (const track::entry* e = list.oldest(); e; e = e->newer) {
      seen& s = p.contexts.emplace_back();
      read(s, e->of);
      const auto keep = [&p](std::string_view text) {
        const std::size_t at = p.names.size();
        p.names += text;
        return std::string_view(p.names).substr(at);
      };
      s.key = keep(e->key());
      s.file = keep(e->file());
      s.line = e->line;
      s.number = e->number;
    }
    p.not_listed = sum.not_listed;
    whole = true;
  }
}

// Pins a custom context that was seen in the registry, if it is still there.
struct pinned_custom {
  explicit pinned_custom(const seen& s) noexcept {
    const track::reading list;
    const track::entry* e = list.find(s.of);
    // The address alone may be another's by now.
    if (e && e->number == s.number && try_hold(const_cast<node&>(*e->of))) of = const_cast<node*>(e->of);
  }
  pinned_custom(const pinned_custom&) = delete;
  pinned_custom& operator=(const pinned_custom&) = delete;
  ~pinned_custom() {
    if (of) drop(of);
  }
  node* of = nullptr;
};

void take_registry(picture& p, const context& root) {
  copy_all(p);
  const node* top = tree::of(root);
  index known;
  known.reserve(p.contexts.size());
  for (std::size_t at = 0; at < p.contexts.size(); ++at) known.emplace(p.contexts[at].of, at);
  const auto add = [&](const node* n) {
    if (known.emplace(n, p.contexts.size()).second) read(p.contexts.emplace_back(), n);
  };
  add(top);  // background() and todo() are in no registry
  if (!top) add(tree::of(todo()));
  for (seen& s : p.contexts) {
    for (std::size_t i = 0; i < s.above.count; ++i) {
      if (const auto up = known.find(s.above.node_of[i]); up != known.end()) s.parent[i] = up->second;
    }
    if (const auto by = known.find(s.decider); s.decider && by != known.end()) s.ended_by = by->second;
    if (s.what == kind::value) s.values.emplace_back(s.key);
  }
}

// Where the picture begins: with the root; where everything is known below background(), also with the other
// roots and with what hangs under something that is not listed.
std::vector<std::size_t> tops(const picture& p, const context& root) {
  std::vector<std::size_t> first;
  for (std::size_t at = 0; at < p.contexts.size(); ++at) {
    if (p.contexts[at].of == tree::of(root)) first.push_back(at);
  }
  if (tree::of(root) || !p.tracked) return first;
  for (std::size_t at = 0; at < p.contexts.size(); ++at) {
    const seen& s = p.contexts[at];
    const bool empty = s.what == kind::todo && s.first_child == nowhere;
    if (s.of && s.parent[0] == nowhere && s.parent[1] == nowhere && !empty) first.push_back(at);
  }
  return first;
}

// Numbers what is below the tops, depth first.
void arrange(picture& p, const context& root) {
  // The registry has much that is not below the root; a merge may have one parent there. Parents come before
  // children.
  const node* at_root = tree::of(root);
  std::vector<bool> below(p.contexts.size(), !p.tracked || !at_root);
  const auto is_below = [&](std::size_t at) { return at != nowhere && below[at]; };
  for (std::size_t at = p.contexts.size(); at-- > 0;) {
    if (p.contexts[at].of == at_root) below[at] = true;
  }
  for (std::size_t at = 0; at < p.contexts.size(); ++at) {
    const seen& s = p.contexts[at];
    if (is_below(s.parent[0]) || is_below(s.parent[1])) below[at] = true;
  }
  for (std::size_t at = p.contexts.size(); at-- > 0;) {
    seen& s = p.contexts[at];
    const std::size_t up = is_below(s.parent[0]) ? s.parent[0] : s.parent[1];
    if (!is_below(up) || s.of == at_root) continue;
    s.next_sibling = std::exchange(p.contexts[up].first_child, at);
  }
  const std::vector<std::size_t> first = tops(p, root);
  std::vector<std::size_t> waiting;
  p.order.reserve(p.contexts.size());
  for (const std::size_t top : first) {
    for (std::size_t at = top; at != nowhere;) {
      seen& s = p.contexts[at];
      p.order.push_back(at);
      s.id = p.order.size();
      if (at != top && s.next_sibling != nowhere) waiting.push_back(s.next_sibling);
      if (s.first_child != nowhere) {
        for (std::size_t c = s.first_child; c != nowhere; c = p.contexts[c].next_sibling) {
          p.contexts[c].depth = s.depth + 1;
        }
        at = s.first_child;
      } else if (!waiting.empty()) {
        at = waiting.back();
        waiting.pop_back();
      } else {
        at = nowhere;
      }
    }
  }
}

}  // namespace

picture look(const context& root) {
  picture p;
  p.tracked = track::on();
  p.now = root.now();
  if (p.tracked) {
    take_registry(p, root);
  } else {
    walk_down(p, root);
  }
  arrange(p, root);
  const node* top = tree::of(root);
  for (seen& s : p.contexts) {
    // Below one root there is one scheduler, and root's handle keeps that alive. Of other schedulers nothing
    // is known.
    s.foreign_clock = s.mixed || (s.foreign_clock && !(top && top->is(node::own_scheduler)));
    if (!p.tracked || s.what != kind::custom || s.id == 0) continue;
    s.name = "custom";
    if (s.foreign_clock) continue;  // a pin could outlive its scheduler
    const pinned_custom pin(s);
    if (pin.of) s.name = static_cast<const custom_node*>(pin.of)->self->name();
  }
  return p;
}

}  // namespace heed::inline v0
