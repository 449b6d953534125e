#include "default_scheduler.hpp"

#include <heed/error.hpp>

#include "annotations.hpp"
#include "helpers.hpp"
#include "tree.hpp"

namespace heed::inline v0 {

constinit immortal_scheduler only_process_scheduler;

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
  // No static with a guard: a child that was forked meanwhile would wait for it for ever. So two threads may
  // both get here first, and the handlers bear to be called twice.
  static constinit sync::atomic<bool> told{false};
  // relaxed: it orders nothing.
  if (told.load(std::memory_order_relaxed)) return;
  os::at_fork([] { before_fork(); }, [] { after_fork_in_parent(); }, [] { after_fork_in_child(); });
  told.store(true, std::memory_order_relaxed);
}

void process_scheduler::prepare_for_threads() {
  prepare_for_fork();
  os::stay_loaded();
}

void process_scheduler::arm(timer& t, time_point) {
  time_.arm(t);
}

void process_scheduler::disarm(timer& t) noexcept {
  time_.disarm(t);
}

void process_scheduler::post(work& w) noexcept {
  if (!threads_.ready()) [[unlikely]]
    os::stay_loaded();  // a scheduler that goes on to this one may not have reserved
  threads_.post(w);
}

void process_scheduler::reserve() {
  if (threads_.ready()) return;
  prepare_for_threads();
  threads_.reserve();
}

// How many of the same handlers this thread's fork() has called.
static constinit thread_local int handlers_under_way = 0;

// A child process has none of the other threads, and what heed's own were to do is the parent's: what was
// queued, and what was armed (F1: forked.hpp). Unchecked: one locks, another unlocks.
void process_scheduler::before_fork() noexcept HEED_UNCHECKED {
  if (handlers_under_way++ > 0) return;
  the_process_scheduler().time_.turning().lock();
  merges.lock();
  helpers::before_fork();
  the_process_scheduler().time_.before_fork();
  the_process_scheduler().threads_.before_fork();
}
void process_scheduler::after_fork_in_parent() noexcept HEED_UNCHECKED {
  if (--handlers_under_way > 0) return;
  the_process_scheduler().threads_.after_fork_in_parent();
  the_process_scheduler().time_.after_fork_in_parent();
  helpers::after_fork_in_parent();
  merges.unlock();
  the_process_scheduler().time_.turning().unlock();
}
void process_scheduler::after_fork_in_child() noexcept HEED_UNCHECKED {
  if (--handlers_under_way > 0) return;
  futex::nobody_waits();
  auto& self = the_process_scheduler();
  helpers::after_fork_in_child();
  self.threads_.after_fork_in_child();
  self.time_.after_fork_in_child();
  merges.unlock();
  self.time_.turning().unlock();
}

}  // namespace heed::inline v0
