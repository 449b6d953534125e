#include "forked.hpp"

#include "default_scheduler.hpp"

#include <new>

namespace heed::inline v0::forked {

constinit sync::atomic<bool> is_child{false};

namespace {

// Ends a node as its own timer would. It keeps the node, and itself, until its time.
class second_timer final : public timer {
 public:
  explicit second_timer(deadline_node& of) noexcept : timer(&second_timer::on_step, of.when()), of_(of) {
    hold(of);
  }
  ~second_timer() = default;
  void let_go() noexcept {
    deadline_node& of = of_;
    delete this;
    heed::drop(&of);
  }

 private:
  static bool on_step(work& w, step s) noexcept {
    auto& self = static_cast<second_timer&>(static_cast<timer&>(w));
    if (s == step::claim || s == step::turn) return true;
    heed::expire(self.of_);
    self.let_go();
    return true;
  }
  deadline_node& of_;
};

// The nearest deadline at or above `n`, which is the earliest; null: there is none.
deadline_node* deadline_of(cancel_node& n) noexcept {
  for (cancel_node* at = &n; at && at->is(node::timed);) {
    if (at->what == kind::deadline) return static_cast<deadline_node*>(at);
    cancel_node* next = scope_above(at->parent);
    if (at->what == kind::merge) {
      // A merge knows the earlier one of its two sides.
      auto& m = static_cast<merge_node&>(*at);
      if (!m.when) return nullptr;
      if (!next || earliest_deadline(next) != m.when) next = scope_above(m.second.parent);
    }
    at = next;
  }
  return nullptr;
}

}  // namespace

void take_over_deadline(cancel_node& n) noexcept {
  deadline_node* const d = deadline_of(n);
  if (!d || !d->is(node::armed) || d->is(node::own_scheduler)) return;
  timekeeper& time = the_process_scheduler().time();
  // acquire: nothing is to come of one that has ended.
  if ((d->word.load(std::memory_order_acquire) & word::verdict) || time.has(*d)) return;
  // Once for each process; told apart modulo 255. acq_rel: whoever finds it done may rely on that.
  const auto here = static_cast<std::uint8_t>(os::fork_generation() % 255 + 1);
  if (d->own.taken_over_in.exchange(here, std::memory_order_acq_rel) == here) return;
  auto* const second = new (std::nothrow) second_timer(*d);
  if (second && time.arm_again(*second) == 0) return;
  if (second) second->let_go();
  d->own.taken_over_in.store(0, std::memory_order_relaxed);
}

}  // namespace heed::inline v0::forked
