#include <heed/error.hpp>
#include <heed/manual_scheduler.hpp>

#include "annotations.hpp"
#include "sync.hpp"
#include "timer_wheel.hpp"

#include <algorithm>

namespace heed::inline v0 {

struct manual_scheduler::state {
  explicit state(time_point start) : present(start.time_since_epoch().count()) {}
  // The work that was posted first; null: none is left.
  work* take() noexcept {
    const locked guard(lock);
    auto* w = static_cast<work*>(first);
    if (w) first = w->next;
    if (!first) last = nullptr;
    return w;
  }

  mutable futex_lock lock;  // guards all below; `present` is also read without
  timer_wheel wheel HEED_GUARDED_BY(lock);
  std::size_t armed HEED_GUARDED_BY(lock) = 0;
  // relaxed: what a deadline orders, its contexts' words do.
  sync::atomic<duration::rep> present;
  links* first HEED_GUARDED_BY(lock) = nullptr;
  links* last HEED_GUARDED_BY(lock) = nullptr;
};

manual_scheduler::manual_scheduler(time_point start) : state_(std::make_unique<state>(start)) {}

manual_scheduler::~manual_scheduler() {
  while (work* w = state_->take()) w->drop();  // which may post, and end contexts
  if (state_->armed != 0) abort_with("heed: a manual_scheduler is destroyed before its deadlines' contexts");
}

time_point manual_scheduler::now() const noexcept {
  return time_point(duration(state_->present.load(std::memory_order_relaxed)));
}

void manual_scheduler::advance(duration d) {
  advance_to(saturating_add(now(), std::max(d, duration::zero())));
}

void manual_scheduler::advance_to(time_point t) {
  const time_point target = std::max(t, now());
  for (;;) {
    timer* due = nullptr;
    bool alive = false;
    {
      const locked guard(state_->lock);
      due = state_->wheel.pop(target);
      // Never back: another thread may have gone further.
      const time_point at = std::max(now(), due ? due->when() : target);
      state_->present.store(at.time_since_epoch().count(), std::memory_order_relaxed);
      if (due) {
        timer_wheel::forget(*due);
        --state_->armed;
        alive = due->expire();
      }
    }
    if (!due) return;
    if (alive) due->run();
  }
}

std::size_t manual_scheduler::run_pending() {
  for (std::size_t ran = 0;; ++ran) {
    work* w = state_->take();
    if (!w) return ran;
    w->run();
  }
}

void manual_scheduler::arm(timer& t, time_point) {
  const locked guard(state_->lock);
  state_->wheel.insert(t);
  ++state_->armed;
}

void manual_scheduler::disarm(timer& t) noexcept {
  const locked guard(state_->lock);
  if (!timer_wheel::contains(t)) return;
  timer_wheel::remove(t);
  --state_->armed;
}

void manual_scheduler::post(work& w) noexcept {
  const locked guard(state_->lock);
  w.next = nullptr;
  (state_->last ? state_->last->next : state_->first) = &w;
  state_->last = &w;
}

}  // namespace heed::inline v0
