// The tree of contexts: what a node is, who may touch which part of it, and how long it lives.
//
// The invariants of heed, cited by number wherever a line relies on one:
//
//  I1  One word decides. A cancelable context has one atomic word (word.hpp). err(), done(), waiters, done_fd()
//      and callbacks follow from it: non-zero err() means that done is visible in every other form, and reverse.
//  I2  The first verdict wins, for good. cause and place are written once, by the claimer, before the word is
//      published.
//  I3  Down, never up, and before cancel returns. When a cancel() returns, its context is done; when the one
//      that decided returns, so is every descendant not below a without_cancel, parents before children. What it
//      turned carries its verdict, cause and place. Argument: cancel.cpp.
//  I4  What happens before cancel() is visible after err(): release on the way in, acquire on the way out.
//  I5  No lock is held while foreign code runs: callbacks, functions, value and cause destructors, schedulers.
//  I6  A callback runs at most once, and never after its destructor has returned (callback.cpp).
//  I7  Nothing recurses with the tree: walks use the nodes' own links, drops go up in a loop. (Foreign code may: a
//      value that owns a context whose value owns a context ...)
//  I8  A deadline fires at or after its time, once (timer_wheel.hpp, timekeeper.hpp).
//  I9  Nothing leaks: memory, timer and fd go with the last handle and callback, without waiting for the parent;
//      parents stay while a descendant needs them. See the two counts below.
//  I10 Nothing hidden runs: no thread before the first deadline, after_func, group or co_await needs it.
//  I11 What fails leaves everything as it was. Canceling never allocates and never fails.
//
// Life. Each node has two counts.
//   handles: contexts, cancel_funcs and cancelers on it, and one for each value context on it that has handles
//            (a value has no word of its own: who holds the value holds the scope). Besides the number, two flags:
//            up: an ancestor can still end it; source: an armed deadline or a custom source can.
//            A merge has second_up besides, for the ancestors of its second parent.
//            The number is 0: nobody has it in hand any more. All of it is 0: nothing can end it any more, so it
//            is abandoned: its after_funcs are destroyed unrun, its children lose their `up`.
//   holds:   what keeps the memory: one for all handles together, one for each child, callback and waiting
//            after_func on it, and short pins. At 0 the node is destroyed and its hold on the parent dropped.
// An armed timer holds nothing: expire() pins the node if it is still alive, under the scheduler's lock, which
// also excludes disarm(); destruction disarms before it frees. So neither can meet freed memory.
//
// Locks. A cancelable node's lock guards its two lists and its children's and callbacks' links and `linked`
// flags. At most one node's lock is held at a time, and nothing is waited for meanwhile. The one lock that may be
// held before is the merges' (merge.cpp).
#pragma once

#include <heed/callback.hpp>
#include <heed/context.hpp>
#include <heed/custom.hpp>
#include <heed/scheduler.hpp>

#include "sync.hpp"
#include "word.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <source_location>

namespace heed::inline v0 {

enum class kind : std::uint8_t { todo, root, value, detached, cancel, deadline, custom, merge, tether };

struct node : node_head {
  static constexpr std::uint32_t up = 1U << 31;         // in handles: see above
  static constexpr std::uint32_t source = 1U << 30;     // in handles: see above
  static constexpr std::uint32_t second_up = 1U << 29;  // in handles: see above
  static constexpr std::uint32_t number = second_up - 1;

  // Starts with these handles, and their one hold; holds the parent. The last is for node_head.
  node(kind k, node* above, std::uint32_t handle_count, std::uint64_t lookup_word) noexcept;
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  node* const parent;  // held; null: background()
  std::atomic<std::uint32_t> handles;
  std::atomic<std::uint32_t> holds{1};
  // One byte for what is settled at birth; one each for what several threads write.
  const kind what : 4;
  const bool own_scheduler : 1;  // the root has a scheduler of its own
  bool timed : 1 = false;        // cancelable: it or a scope above may have a deadline
  bool mixed : 1 = false;        // cancelable: one above counts on another scheduler's clock (by a merge)
  bool linked = false;           // cancelable: on its parent scope's list; guarded by that scope's lock
  bool lost = false;             // cancelable: see cancel.cpp; written once by the one walk that pops it
  enum class outcome : std::uint8_t { open, won, lost };
  union {
    outcome firing = outcome::open;  // deadline: what its timer::turn() came to; for run()
    std::uint8_t position;           // value: values.hpp
  };
};

// background(scheduler&)
struct root_node : node {
  explicit root_node(scheduler& s) noexcept;
  scheduler& on;
};

// with_value() makes a value_node: values.hpp.

// without_cancel()
struct detached_node : node {
  explicit detached_node(node* above) noexcept;
};

// with_cancel(), and the base of all that has a word.
struct cancel_node : scope, node {
  cancel_node(kind k, const context& above, std::uint32_t handle_count) noexcept;
  cancel_node(kind k, const context& above, std::uint32_t handle_count, std::uint64_t lookup_word) noexcept;

  futex_lock lock;
  cancel_node* children = nullptr;     // circular; once done, the list of cancel.cpp's walk
  callback_base* callbacks = nullptr;  // circular
  cancel_node* next = nullptr;         // while linked, a sibling; afterwards the owner of a walk links it
  union {
    cancel_node* prev = nullptr;  // while linked
    cancel_node* decider;         // once the word says inherited: the ancestor whose cause and place count
  };
  error cause;                 // I2; a deadline's waits here from the start
  std::source_location place;  // I2; likewise
};

// with_deadline() and with_timeout()
struct deadline_node : cancel_node, timer {
  deadline_node(const context& above, time_point when) noexcept;
  static bool on_step(work& self, step s) noexcept;
  scheduler& on;
};

// with_custom(): the user's object follows, aligned, in the same allocation.
struct custom_node : cancel_node {
  custom_node(const context& above, std::size_t align) noexcept;
  void* storage() noexcept;
  const std::size_t alignment;
  const node* const beyond;  // the nearest node above that answers a lookup; may be null
  custom_context* self = nullptr;
  time_point when = time_point::max();  // its deadline, for those who ask; max: none
};

struct merge_node;

// The place of a merge on the list of its second parent's scope. It has no state of its own: whoever takes it off
// goes on with the merge.
struct tether : cancel_node {
  tether(merge_node& m, const context& second) noexcept : cancel_node(kind::tether, second, 0), of(m) {}
  merge_node& of;
};

// merge(): a child of its first parent, tied to the second. The nodes to ask for values, where they come from both
// parents, follow in the same allocation.
struct merge_node : cancel_node {
  merge_node(const context& a, const context& b, std::uint64_t lookup_word, std::size_t count) noexcept;
  const node** asked() noexcept;
  tether second;
  const std::size_t asked_count;
  const std::optional<time_point> when;  // the earlier deadline of the two
};

// --- life (life.cpp) ---

// One more hold, unless the node is being destroyed already.
bool try_hold(node& n) noexcept;
void hold(node& n) noexcept;
// One hold less; destroys the node and drops its hold on the parent, and so on up, where it was the last. May
// run foreign code.
void drop(node* n) noexcept;
// One hold less, unless it is the last: then false, and nothing has changed.
bool drop_unless_last(node& n) noexcept;
void retain_handle(node& n) noexcept;
// One handle less. May run foreign code.
void release_handle(node* n) noexcept;
// Allocates room for a node of `size` and `extra` bytes at `align` behind it. Throws std::bad_alloc.
void* allocate(std::size_t size, std::size_t extra, std::size_t align);
void deallocate(void* memory, std::size_t align) noexcept;
// Where the extra bytes start.
std::size_t extra_offset(std::size_t size, std::size_t align) noexcept;

// --- structure (derive.cpp) ---

// The cancelable node behind a scope; null for never_ending.
cancel_node* node_of(const scope* s) noexcept;
// The scope that a child of `parent` would hang under; null where nothing above can be canceled.
cancel_node* scope_above(const node* parent) noexcept;
scheduler& scheduler_of(const node* n) noexcept;
// Makes sure that a cancel of `n` will visit its lists; false: too late, it is done. The lock is held.
bool open(cancel_node& n) noexcept;
// Puts a new child on its parent scope's list, where walks find it; false: too late, the scope is done.
bool link(cancel_node& above, cancel_node& child) noexcept;
// Takes a child off its parent scope's list. The scope's lock is held.
void unlink(cancel_node& above, cancel_node& child) noexcept;

// Takes a node off the lists of its parent scopes, wherever it still is on one.
void leave(cancel_node& n) noexcept;

// --- merge (merge.cpp) ---

// Held while a scope is turned that a merge hangs below.
extern futex_lock merges;

// --- cancel (cancel.cpp) ---

// Ends `n`, which the caller keeps alive; true: this call decided. `cause` is exchanged for the one that it
// replaces, for the caller to destroy.
bool cancel(cancel_node& n, errc verdict, error& cause, std::source_location where) noexcept;
// Ends `n`, whose deadline has passed, as its timer would; the caller keeps it alive.
void expire(deadline_node& n) noexcept;
// Ends a node that was not linked because its parent scope is done; it is done when this returns.
void inherit(cancel_node& n, cancel_node& from) noexcept;
// Nothing can end `n` any more: lets go of its after_funcs and children. The caller keeps it alive.
void abandon(cancel_node& n) noexcept;
// Takes its timer, if it has one that is armed, out of the scheduler: at most once in its life.
void disarm(cancel_node& n) noexcept;
// Whose cause and place count for a node that is done.
cancel_node& decider_of(cancel_node& n) noexcept;

// Counts who uses a scheduler, for its destructor.
class scheduler_use {
 public:
  static void add(scheduler& s) noexcept { s.users_.fetch_add(1, std::memory_order_relaxed); }
  static void remove(scheduler& s) noexcept { s.users_.fetch_sub(1, std::memory_order_relaxed); }
};

// The library's way into the public classes.
class tree {
 public:
  static node* of(const context& c) noexcept { return static_cast<node*>(c.node_); }
  static const scope* scope_of(const context& c) noexcept { return c.scope_; }
  // Takes over one handle.
  static context make(node* n, const scope* s) noexcept { return {n, s}; }
  // Takes over two handles.
  static cancelable make(cancel_node* n, std::source_location where) noexcept {
    return {context(n, n), cancel_func(n, where)};
  }

  // The list of callbacks; the lock of `n` is held.
  static void push(cancel_node& n, callback_base& c) noexcept;
  static void take(cancel_node& n, callback_base& c) noexcept;
  // Runs all callbacks of `n`, which is done.
  static void run_callbacks(cancel_node& n) noexcept;
  // Takes the after_funcs off the list, the lock being held, linked by next_; null: none.
  static callback_base* take_detached(cancel_node& n) noexcept;
  static void tell_abandoned(callback_base* list) noexcept;
  // How many cancel_callbacks and after_funcs are on the list; the lock is held (picture.cpp).
  struct tally {
    std::size_t callbacks = 0;
    std::size_t functions = 0;
  };
  static tally count_callbacks(const cancel_node& n) noexcept;
};

}  // namespace heed::inline v0
