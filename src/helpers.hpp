// Who wants a mutex to be locked once by another thread (condition.cpp), across fork().
#pragma once

#include <heed/wait.hpp>

#include "sync.hpp"

namespace heed::inline v0 {

class executor;

// One helper at a time for each mutex, however many wait: the first who wants one is posted, and leads; others for the
// same mutex are chained to it. Its lock comes before the executor's.
class helpers {
 public:
  static void want(condition_sleeper& s) noexcept;
  // Takes it back, unless its helper has begun: false.
  static bool withdraw(condition_sleeper& s) noexcept;
  // With the helper's mutex held: the chain behind it, which nobody joins any more.
  static condition_sleeper* take(condition_sleeper& leader) noexcept;

  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  // What is wanted lies on stacks that the child has not got. The executor's lock is held.
  static void after_fork_in_child(executor& threads) noexcept;

 private:
  static void lead(condition_sleeper& s) noexcept;
  static void remove(condition_sleeper& leader) noexcept;
};

}  // namespace heed::inline v0
