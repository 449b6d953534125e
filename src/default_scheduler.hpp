// heed's own scheduler: one timer thread, and an executor for functions and for callbacks of deadlines.
#pragma once

#include <heed/scheduler.hpp>

#include "executor.hpp"
#include "sync.hpp"
#include "timer_wheel.hpp"

namespace heed::inline v0 {

class process_scheduler final : public scheduler {
 public:
  time_point now() const noexcept override { return clock::now(); }
  void arm(timer& t, time_point when) override;
  void disarm(timer& t) noexcept override;
  void post(work& w) noexcept override { threads_.post(w); }
  void reserve() override;
  void unreserve() noexcept override { threads_.unreserve(); }

  executor& threads() noexcept { return threads_; }
  // Has fork() take the locks of the process from now on. To be called before the first thread is started, and before
  // the merges' lock is used. Throws std::system_error.
  static void prepare_for_fork();
  // The body of the timer thread.
  void keep_time() noexcept;

 private:
  // With the lock held: takes up to a batch of due timers, linked by next.
  timer* take_due() noexcept;
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;

  futex_lock lock_;  // guards all below but threads_
  timer_wheel wheel_;
  bool started_ = false;
  time_point asleep_until_ = time_point::min();  // min: awake
  std::atomic<std::uint32_t> bell_{0};           // a futex: changes when a timer comes first
  executor threads_;
};

process_scheduler& the_process_scheduler() noexcept;
executor& default_scheduler_threads() noexcept;

}  // namespace heed::inline v0
