// Contexts with two parents.
//
// A merge is a child of its first parent, like any other; to the second it is tied: a tether stands for it on
// the list of that parent's scope. So two walks may meet one merge, each may have turned a merge that the
// other one still has to see done, and waits for each other as in cancel.cpp could go round in a circle.
// Therefore:
//
//  M1  Every scope at or above a parent of a merge has the bit `merged` in its word, before the merge is on a
//      list.
//  M2  Whoever ends a scope with that bit holds the lock `merges` from before its claim until all below is
//      done, and runs nothing foreign meanwhile. So such walks come one after the other, and only they meet
//      merges: who claims a scope that has not got the bit yet is met by mark(), which waits until that one
//      has settled it; the new merge is then born done.
//  M3  Waiting with that lock held ends: what is waited for is a scope that was claimed without the bit. Its
//      walk meets no merge (M2), so it neither needs the lock nor goes in a circle.
//  M4  A merge that is inherited already was turned by a walk that is over, or by the very walk that looks,
//      which has it on its list of work: nobody waits for it.
#include "default_scheduler.hpp"
#include "hanging.hpp"
#include "track.hpp"
#include "values.hpp"

#include <algorithm>
#include <functional>
#include <new>
#include <optional>
#include <vector>

namespace heed::inline v0 {

constinit futex_lock merges;

merge_node::merge_node(const context& a, const context& b, std::uint64_t lookup_word,
                       std::size_t count) noexcept
    : cancel_node(kind::merge, a, 2, lookup_word), second(*this, b), asked_count(count),
      when(earlier(a.deadline(), b.deadline())) {
  const auto above = [](const cancel_node* s) { return s && s->is(node::mixed); };
  take_away(timed | mixed);
  if (when) give(timed);
  if (above(scope_above(parent)) || above(scope_above(second.parent)) ||
      (b.deadline() && &scheduler_of(tree::of(a)) != &scheduler_of(tree::of(b)))) {
    give(mixed);
  }
}

const node** merge_node::asked() noexcept {
  return reinterpret_cast<const node**>(reinterpret_cast<char*>(this) +
                                        extra_offset(sizeof(merge_node), alignof(merge_node)));
}

namespace {

// What a lookup from `n` upward would ask, in that order: calls `f` with each node.
template <class F>
void for_each_asked(const node* n, F&& f) {
  for (; n; n = lookup_above(n)) {
    if (n->what != kind::merge) {
      f(n);
      continue;
    }
    auto& m = const_cast<merge_node&>(static_cast<const merge_node&>(*n));
    std::for_each_n(m.asked(), m.asked_count, f);
  }
}

// A node to ask: a value by its key, a custom context by itself.
struct question {
  const void* identity;
  std::size_t place;  // in the order of asking
  const node* of;
};

// What to ask for the values of both: each key, and each custom context, where it is met first. Empty: `b`
// adds nothing to `a`.
std::vector<question> ask_both(const node* a, const node* b) {
  std::size_t of_a = 0;
  std::size_t all = 0;
  for_each_asked(a, [&](const node*) { ++of_a; });
  for_each_asked(b, [&](const node*) { ++all; });
  all += of_a;
  std::vector<question> questions;
  questions.reserve(all);
  const auto add = [&](const node* n) {
    const void* key = n->what == kind::value ? static_cast<const value_node*>(n)->key : nullptr;
    questions.push_back({key ? key : n, questions.size(), n});
  };
  for_each_asked(a, add);
  for_each_asked(b, add);
  std::sort(questions.begin(), questions.end(), [](const question& x, const question& y) {
    return x.identity != y.identity ? std::less<>()(x.identity, y.identity) : x.place < y.place;
  });
  const auto same = [](const question& x, const question& y) { return x.identity == y.identity; };
  questions.erase(std::unique(questions.begin(), questions.end(), same), questions.end());
  std::sort(questions.begin(), questions.end(),
            [](const question& x, const question& y) { return x.place < y.place; });
  if (questions.back().place < of_a) questions.clear();
  return questions;
}

// M1, for all at or above `n`. The merges' lock is held.
void mark(cancel_node* n) noexcept {
  for (; n; n = scope_above(n->parent)) {
    const std::uint64_t w = word::raise(*n, word::merged);
    if (w & word::merged) return;  // and so is all above it
    // M3: claimed, and not by an ancestor.
    if ((w & (word::claimed | word::verdict)) && !(w & word::inherited)) word::await(*n, word::settled);
    if (n->what == kind::merge) return;  // what is above has been marked since its birth
  }
}

}  // namespace

cancelable merge(const context& a, const context& b, std::source_location where) {
  // Values are looked up in the first parent, then in the second: one that adds nothing is passed over. Else
  // what to ask is laid down here, once, so that no lookup needs to come back from one way up to try the
  // other (I7).
  const node* const of_a = lookup_at(tree::of(a));
  const node* const of_b = lookup_at(tree::of(b));
  std::vector<question> asked;
  if (of_a && of_b && of_a != of_b) asked = ask_both(of_a, of_b);
  cancel_node* const scope_a = node_of(tree::scope_of(a));
  cancel_node* const scope_b = node_of(tree::scope_of(b));
  process_scheduler::prepare_for_fork();
  auto* m =
      ::new (allocate(tree::of(a), sizeof(merge_node), asked.size() * sizeof(node*), alignof(merge_node)))
          merge_node(a, b,
                     asked.empty() ? lookup_past(of_a ? of_a : of_b)
                                   : (of_a->lookup & of_b->lookup & nothing_known) | node_head::others,
                     asked.size());
  std::transform(asked.begin(), asked.end(), m->asked(), [](const question& q) { return q.of; });
  track::made(*m, where);

  cancelable made = tree::make(m, where);

  // L2, also where something throws. They are held by the caller meanwhile.
  struct at_end {
    cancel_node& n;
    bool hung = false;
    ~at_end() {
      if (n.parent && !(hung && rides(n))) hold(*n.parent);
    }
  } first{*m}, second{m->second};
  // I5: before the lock is taken. (Where other threads meet us at a parent just now, link() may still have to
  // allocate.)
  struct chunks {
    chunk* a = nullptr;
    chunk* b = nullptr;
    ~chunks() {
      free_chunk(a);
      free_chunk(b);
    }
  } spare;
  if (scope_a && wants_chunk(*scope_a)) spare.a = make_chunk();
  if (scope_b && wants_chunk(*scope_b)) spare.b = make_chunk();
  const locked guard(merges);
  mark(scope_a);
  mark(scope_b);
  // M2: from here on, while the lock is held, nothing can end either.
  if (a.done() || b.done()) {
    inherit(*m, a.done() ? *scope_a : *scope_b);
    return made;
  }
  const bool tied = scope_b && scope_b != scope_a;
  // relaxed: nobody else has it yet.
  m->handles.fetch_or((scope_a ? node::up : 0) | (tied ? node::second_up : 0), std::memory_order_relaxed);
  if (scope_a) first.hung = link(*scope_a, *m, spare.a);
  if (tied) second.hung = link(*scope_b, m->second, spare.b);
  return made;
}

}  // namespace heed::inline v0
