#include "forked.hpp"

#include "timer_wheel.hpp"

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace heed::inline v0::forked {

constinit sync::atomic<bool> is_child{false};

namespace {

bool has_ended(const cancel_node& n) noexcept {
  return (n.word.load(std::memory_order_acquire) & word::verdict) != 0;
}

// One that a thread of this process just fires counts, too: it will have ended by then.
bool is_inherited(const deadline_node& d) noexcept {
  return d.is(node::armed) && !d.is(node::own_scheduler) && timer_wheel::tag_of(d) == timer_wheel::none &&
         !has_ended(d);
}

}  // namespace

deadline_node* inherited_deadline(cancel_node& n) {
  deadline_node* earliest = nullptr;
  std::vector<cancel_node*> ways;  // I7: the other ways up from merges
  std::unordered_set<const cancel_node*> met;
  for (cancel_node* at = &n; at;) {
    cancel_node* next = at->is(node::timed) ? scope_above(at->parent) : nullptr;
    if (at->what == kind::deadline) {
      auto& d = static_cast<deadline_node&>(*at);
      if (is_inherited(d) && (!earliest || d.when() < earliest->when())) earliest = &d;
    } else if (at->what == kind::merge) {
      cancel_node* const other = scope_above(static_cast<merge_node&>(*at).second.parent);
      if (other && met.insert(at).second) {
        ways.push_back(other);
      } else if (other) {
        next = nullptr;  // it was here before
      }
    }
    if (!next && !ways.empty()) {
      next = ways.back();
      ways.pop_back();
    }
    at = next;
  }
  return earliest;
}

void await_until(cancel_node& n, time_point t) {
  for (;;) {
    deadline_node* const d = inherited_deadline(n);
    word::await_until(n, word::verdict, d ? std::min(t, d->when()) : t);
    if (!d || has_ended(n)) return;
    const time_point now = os::now();
    if (now >= d->when()) {
      expire(*d);
    } else if (now >= t) {
      return;
    }
  }
}

}  // namespace heed::inline v0::forked
