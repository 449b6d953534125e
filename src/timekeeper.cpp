#include "timekeeper.hpp"

#include <heed/error.hpp>

#include "default_scheduler.hpp"
#include "executor.hpp"
#include "forked.hpp"
#include "head_start.hpp"
#include "sizes.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

namespace heed::inline v0 {

constinit std::array<timekeeper::shard, timekeeper::count> timekeeper::shards_{};

namespace {

// This is the thread that keeps time: the one that a fork from a callback brings into the child.
thread_local constinit bool keeps_time = false;

}  // namespace

void timekeeper::prepare(unsigned index) {
  process_scheduler::prepare_for_threads();  // before any lock is taken
  const locked guard(starting_);
  if ((made_.load(std::memory_order_relaxed) >> index & 1) == 0) {
    shard& s = shards_[index];
    const locked other(s.lock);
    s.wheel.start(index, os::now());
    s.visit_by(time_point::max());
    made_.fetch_or(std::uint64_t{1} << index, std::memory_order_release);  // all that
  }
  if (running_.load(std::memory_order_relaxed)) return;
  if (const int failed = os::start_thread([] { the_process_scheduler().time().run(); })) {
#if defined(__cpp_exceptions)
    throw std::system_error(failed, std::system_category(), "heed: no thread for deadlines");
#else
    static_cast<void>(failed);
    misuse("heed: no thread for deadlines");
#endif
  }
  running_.store(true, std::memory_order_relaxed);  // it tells of nothing but itself
}

// For what try_arm() does not serve.
void timekeeper::arm(timer& t) {
  const time_point when = t.when();
  for (;;) {
    const unsigned index = os::cpu() % count;
    // acquire: what made it.
    if ((made_.load(std::memory_order_acquire) >> index & 1) != 0) {
      shard& s = shards_[index];
      s.lock.lock();
      if (when >= s.visited_by()) {
        s.wheel.insert(t);
        return s.lock.unlock();
      }
      // relaxed: only a fork changes it back, with our lock held.
      if (running_.load(std::memory_order_relaxed)) {
        s.wheel.insert(t);
        s.visit_by(when);
        s.lock.unlock();
        return ring(when);
      }
      s.lock.unlock();
    }
    prepare(index);
  }
}

void timekeeper::ring(time_point when) noexcept {
  bell_.fetch_add(1, std::memory_order_seq_cst);  // T4
  const time_point asleep(duration(asleep_until_.load(std::memory_order_seq_cst)));
  if (when < asleep) os::wake_one(bell_);
}

bool timekeeper::serve(shard& s) noexcept {
  timer* due[sizes::timer_batch];
  std::size_t n = 0;
  bool more = true;
  {
    const locked guard(s.lock);
    int steps = sizes::timer_moves;
    const time_point present = os::now();  // I8
    while (n < sizes::timer_batch) {
      timer* t = s.wheel.pop_any(present, steps);
      if (!t) {
        more = s.wheel.busy();
        break;
      }
      if (!t->expire()) continue;  // T2
      timer_wheel::forget(*t);
      due[n++] = t;
    }
    more = more || n != 0;
    // We come again at once: nobody needs to ring.
    s.visit_by(more ? time_point::min() : s.wheel.next());
  }
  // What is foreign runs elsewhere: a slow callback must not hold up the other deadlines.
  work* first = nullptr;
  work* last = nullptr;
  for (std::size_t i = 0; i < n; ++i) {
    timer& t = *due[i];
    if (!t.turn()) continue;
    set_next(t, nullptr);
    if (last) set_next(*last, &t);
    last = &t;
    if (!first) first = &t;
  }
  if (first && !callbacks_.try_post(*first, *last)) {
    const unsigned before = forks_;
    while (first && forks_ == before) std::exchange(first, static_cast<work*>(first->next))->run();  // F1
  }
  return more;
}

void timekeeper::run() noexcept {
  const os::exact_timers exact;
  keeps_time = true;
  head_start start;
  for (;;) {
    const std::uint32_t heard = bell_.load(std::memory_order_seq_cst);  // T4
    time_point next = time_point::max();
    bool more = false;
    each_made([&](shard& s) {
      if (s.visited_by() <= os::now()) more |= serve(s);
      next = std::min(next, s.visited_by());
    });
    const time_point present = os::now();
    if (more || next <= present) continue;
    asleep_until_.store(next.time_since_epoch().count(), std::memory_order_seq_cst);
    if (bell_.load(std::memory_order_seq_cst) == heard) {
      const time_point asked = start.before(next, present);  // T5
      os::wait_until(bell_, heard, asked);
      // relaxed: a ring that is not seen here yet spoils a guess, no more.
      if (bell_.load(std::memory_order_relaxed) == heard) start.learn(os::now() - asked);
    }
    // relaxed: who does not see it yet, wakes for nothing.
    asleep_until_.store(time_point::min().time_since_epoch().count(), std::memory_order_relaxed);
  }
}

void timekeeper::before_fork() noexcept {
  starting_.lock();
  each_made([](shard& s) HEED_UNCHECKED { s.lock.lock(); });
}

void timekeeper::after_fork_in_parent() noexcept {
  each_made([](shard& s) HEED_UNCHECKED { s.lock.unlock(); });
  starting_.unlock();
}

void timekeeper::after_fork_in_child() noexcept {
  running_.store(keeps_time, std::memory_order_relaxed);
  forks_ += keeps_time;
  if (made_.load(std::memory_order_relaxed) != 0) forked::is_child.store(true, std::memory_order_relaxed);
  each_made([](shard& s) HEED_UNCHECKED {
    s.wheel.clear();                // F1: while all memory is as it was
    s.visit_by(time_point::max());  // T3
    s.lock.unlock();
  });
  starting_.unlock();
}

}  // namespace heed::inline v0
