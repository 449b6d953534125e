#include "default_scheduler.hpp"

#include <heed/error.hpp>

#include "helpers.hpp"
#include "tree.hpp"

#include <system_error>
#include <utility>

namespace heed::inline v0 {
namespace {

union immortal_scheduler {  // never destroyed: its threads run until the process is gone
  process_scheduler value;
  immortal_scheduler() noexcept : value() {}
  ~immortal_scheduler() {}
};

}  // namespace

process_scheduler& the_process_scheduler() noexcept {
  static immortal_scheduler only;
  return only.value;
}

executor& default_scheduler_threads() noexcept {
  return the_process_scheduler().threads();
}

scheduler& default_scheduler() noexcept {
  return the_process_scheduler();
}

scheduler::~scheduler() {
  // relaxed: who destroys a scheduler has to know that nobody uses it; this only catches who does not.
  if (users_.load(std::memory_order_relaxed) != 0) {
    abort_with("heed: a scheduler is destroyed before the contexts, after_funcs and groups that use it");
  }
}

void process_scheduler::prepare_for_fork() {
  static const bool done = [] {
    os::at_fork([] { before_fork(); }, [] { after_fork_in_parent(); }, [] { after_fork_in_child(); });
    return true;
  }();
  static_cast<void>(done);
}

void process_scheduler::arm(timer& t, time_point) {
  prepare_for_fork();
  const locked guard(lock_);
  if (!started_) {
    if (const int failed = os::start_thread([] { the_process_scheduler().keep_time(); })) {
#if defined(__cpp_exceptions)
      throw std::system_error(failed, std::system_category(), "heed: no thread for deadlines");
#else
      static_cast<void>(failed);
      misuse("heed: no thread for deadlines");
#endif
    }
    started_ = true;
  }
  wheel_.insert(t);
  if (t.when() < asleep_until_) {  // awake, it looks at the wheel anyway
    asleep_until_ = time_point::min();
    bell_.fetch_add(1, std::memory_order_relaxed);  // the lock orders it; futex compares it
    os::wake_one(bell_);
  }
}

void process_scheduler::disarm(timer& t) noexcept {
  const locked guard(lock_);
  timer_wheel::remove(t);
}

void process_scheduler::reserve() {
  prepare_for_fork();
  threads_.reserve();
}

timer* process_scheduler::take_due() noexcept {
  links* first = nullptr;
  links** last = &first;
  const time_point present = now();
  for (int i = 0; i < 64; ++i) {
    timer* t = wheel_.pop(present);  // I8: not before its time
    if (!t) break;
    if (!t->expire()) continue;
    t->next = nullptr;
    *last = t;
    last = &t->next;
  }
  return static_cast<timer*>(first);
}

void process_scheduler::keep_time() noexcept {
  os::exact_timers();
  lock_.lock();
  for (;;) {
    timer* due = take_due();
    if (!due) {
      asleep_until_ = wheel_.next();
      if (asleep_until_ <= now()) continue;  // its time came meanwhile
      const std::uint32_t seen = bell_.load(std::memory_order_relaxed);
      const time_point until = asleep_until_;
      lock_.unlock();
      os::wait_until(bell_, seen, until);
      lock_.lock();
      asleep_until_ = time_point::min();
      continue;
    }
    lock_.unlock();
    while (due) {
      timer* t = std::exchange(due, static_cast<timer*>(due->next));
      // What is foreign runs elsewhere: a slow callback must not hold up the other deadlines.
      if (t->turn() && !threads_.try_post(*t)) t->run();
    }
    lock_.lock();
    started_ = true;  // it is; a callback that forked has brought this thread into a child
  }
}

// A child process has this thread's contexts, and none of the other threads. Deadlines that were armed before wait
// until the child arms one of its own and so starts the timer thread anew.
void process_scheduler::before_fork() noexcept {
  merges.lock();
  helpers::before_fork();
  the_process_scheduler().lock_.lock();
  the_process_scheduler().threads_.before_fork();
}
void process_scheduler::after_fork_in_parent() noexcept {
  the_process_scheduler().threads_.after_fork_in_parent();
  the_process_scheduler().lock_.unlock();
  helpers::after_fork_in_parent();
  merges.unlock();
}
void process_scheduler::after_fork_in_child() noexcept {
  auto& self = the_process_scheduler();
  helpers::after_fork_in_child(self.threads_);
  self.threads_.after_fork_in_child();
  self.started_ = false;
  self.asleep_until_ = time_point::min();
  self.lock_.unlock();
  merges.unlock();
}

}  // namespace heed::inline v0
