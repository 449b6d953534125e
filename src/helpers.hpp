// Who wants a mutex to be locked once by another thread (condition.cpp), across fork().
#pragma once

#include <heed/wait.hpp>

#include "annotations.hpp"
#include "sync.hpp"

namespace heed::inline v0 {

// One helper at a time for each mutex, however many wait: the first who wants one is posted, and leads;
// others for the same mutex are chained to it. Its lock comes before the executor's.
class helpers {
 public:
  static void want(condition_sleeper& s) noexcept;
  // Takes it back, unless its helper has begun: false.
  static bool withdraw(condition_sleeper& s) noexcept;
  // With the helper's mutex held: the chain behind it, which nobody joins any more.
  static condition_sleeper* take(condition_sleeper& leader) noexcept;

  static void before_fork() noexcept HEED_ACQUIRES(board_);
  static void after_fork_in_parent() noexcept HEED_RELEASES(board_);
  // What is wanted lies on stacks that the child has not got.
  static void after_fork_in_child() noexcept HEED_RELEASES(board_);

 private:
  static void lead(condition_sleeper& s) noexcept HEED_REQUIRES(board_);
  static void remove(condition_sleeper& leader) noexcept HEED_REQUIRES(board_);

  static constinit futex_lock board_;                                    // guards all that is wanted
  static constinit condition_sleeper* leaders_ HEED_GUARDED_BY(board_);  // by next_leader_
};

}  // namespace heed::inline v0
