// Deadlines in a process that was forked from one that had some armed.
//
//  F1  What heed's threads had to do at the fork is the parent's. The child ends nothing by itself: a context
//      of another thread may be halfway there for good, its locks held by nobody, its callbacks on stacks
//      that are gone.
//  F2  Who blocks in wait() and its like has an inherited deadline count, at that context or above: this
//      thread ends it at its time. To wait for a context says that it is whole.
//  F3  What sets a deadline below an inherited one sets it no later, and it is armed, as that one is not.
#pragma once

#include "tree.hpp"

namespace heed::inline v0::forked {

// Whether this process is such a one. relaxed: written in the child by its only thread, before it starts
// others.
[[gnu::visibility("hidden")]] extern constinit sync::atomic<bool> is_child;

// The earliest deadline of heed's own scheduler at and above `n` that is armed in no process but one before
// this, and has not ended; null: there is none. Throws std::bad_alloc where a merge is above.
deadline_node* inherited_deadline(cancel_node& n);

// F2: word::await_until() for a verdict. The caller keeps the node.
void await_until(cancel_node& n, time_point t);

}  // namespace heed::inline v0::forked
