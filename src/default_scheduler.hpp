// heed's own scheduler: one timer thread, and an executor for functions and for callbacks of deadlines.
#pragma once

#include <heed/scheduler.hpp>

#include "executor.hpp"
#include "timekeeper.hpp"

namespace heed::inline v0 {

class process_scheduler final : public scheduler {
 public:
  constexpr process_scheduler() noexcept = default;

  time_point now() const noexcept override { return os::now(); }
  void arm(timer& t, time_point when) override;
  void disarm(timer& t) noexcept override;
  void post(work& w) noexcept override;
  void reserve() override;

  executor& threads() noexcept { return threads_; }
  timekeeper& time() noexcept { return time_; }
  // Has fork() take the locks of the process from now on. To be called before the merges' lock is used.
  // Throws std::system_error.
  static void prepare_for_fork();
  // The same, and has the library stay: threads will run in it. To be called before the first one is started,
  // and before any lock is taken for that.
  static void prepare_for_threads();

 private:
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;

  executor threads_;
  timekeeper time_{threads_};
};

union immortal_scheduler {  // never destroyed: its threads run until the process is gone
  process_scheduler value;
  constexpr immortal_scheduler() noexcept : value() {}
  ~immortal_scheduler() {}
};
extern constinit immortal_scheduler only_process_scheduler;

inline process_scheduler& the_process_scheduler() noexcept {
  return only_process_scheduler.value;
}
executor& default_scheduler_threads() noexcept;

}  // namespace heed::inline v0
