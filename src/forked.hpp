// Deadlines in a process that was forked from one that had some armed.
//
//  F1  What heed's threads had to do at the fork is the parent's. The child ends nothing by itself: a context
//      of another thread may be halfway there for good, its locks held by nobody, its callbacks on stacks
//      that are gone.
//  F2  Who waits for a context in the child, registers a callback with it or asks done_fd(), goes on with it,
//      and so knows that it is whole. From then on its deadline counts here, too, and is given a timer of
//      this process.
#pragma once

#include "tree.hpp"

namespace heed::inline v0::forked {

// Whether this process is such a one. relaxed: written in the child by its only thread, before it starts
// others.
[[gnu::visibility("hidden")]] extern constinit sync::atomic<bool> is_child;

// F2, for the earliest deadline at and above `n`; what is missing for that (memory, a thread) is asked for
// again the next time.
void take_over_deadline(cancel_node& n) noexcept;

inline void goes_on_with(cancel_node& n) noexcept {
  if (is_child.load(std::memory_order_relaxed)) [[unlikely]]
    take_over_deadline(n);
}

}  // namespace heed::inline v0::forked
