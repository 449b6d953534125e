// The tree of contexts: what a node is, who may touch which part of it, and how long it lives.
//
// The invariants of heed, cited by number wherever a line relies on one:
//
//  I1  One word decides. A cancelable context has one atomic word (word.hpp). err(), done(), waiters,
//      done_fd() and callbacks follow from it: non-zero err() means that done is visible in every other form,
//      and reverse.
//  I2  The first verdict wins, for good. cause and place are written once, by the claimer, before the word is
//      published.
//  I3  Down, never up, and before cancel returns. When a cancel() returns, its context is done; when the one
//      that decided returns, so is every descendant not below a without_cancel, parents before children. What
//      it turned carries its verdict, cause and place. Argument: cancel.cpp.
//  I4  What happens before cancel() is visible after err(): release on the way in, acquire on the way out.
//  I5  No lock is held while foreign code runs: callbacks, functions, value and cause destructors,
//      schedulers.
//  I6  A callback runs at most once, and never after its destructor has returned (callback.cpp).
//  I7  Nothing recurses with the tree: walks use the nodes' own links, drops go up in a loop. (Foreign code
//      may: a value that owns a context whose value owns a context ...)
//  I8  A deadline fires at or after its time, once (timer_wheel.hpp, timekeeper.hpp).
//  I9  Nothing leaks: memory, timer and fd go with the last handle and callback, without waiting for the
//      parent; parents stay while a descendant needs them. See the two counts below.
//  I10 Nothing hidden runs: no thread before the first deadline, after_func, group or co_await needs it.
//  I11 What fails leaves everything as it was. Canceling never allocates and never fails.
//
// Life. Each node has two counts.
//   handles: contexts, cancel_funcs and cancelers on it, and one for each value that leans on it: one made of
//            it, in a scope, that has handles itself (a value has no word of its own: who has the value in
//            hand has the scope). Besides the number, two flags: up: an ancestor can still end it; source: an
//            armed deadline or a custom source can. A merge has second_up besides, for the ancestors of its
//            second parent. The number is 0: nobody has it in hand any more. All of it is 0: nothing can end
//            it any more, so it is abandoned: its after_funcs are destroyed unrun, its children lose their
//            `up`, now or later (L9).
//   holds:   what keeps the memory: one for all handles together, one for each child that is made with it in
//            hand and does not lean, and short pins. At 0 the node is destroyed and its hold on the parent
//            dropped.
// Each is one number; where threads meet at it, it is spread over the processors (crowd.cpp).
// What hangs on the node (shard.hpp) keeps it without being counted one by one, so that coming and going
// writes to its own shard only:
//   L1  While the node has handles, those keep it. When the last one goes, each shard on which something
//       hangs gets one hold for all of that, and is an orphan; whoever leaves it empty drops that hold.
//       Nothing new can come to hang on a node without handles.
//   L2  A child rides on its parent: it hangs there, and that parent is the scope itself, no value in
//       between. All others have a hold of their own on their parent. Whoever takes off what does not leave
//       by itself (a walk, a dying source) makes it one, under the shard's lock, before anybody can find out.
//       A value that leans has its handle instead; once it has none itself it takes a hold for it (let_go).
//   L3  Whoever finds a node (its parent's walk, its timer) pins it (try_hold) under the lock under which it
//       is found. So a thread that has its last hold, has taken it out of its timer and off its parent's
//       list, and still sees one hold, is alone with it and frees it without a read-modify-write. Custom
//       contexts and merges are found in other ways, too: there the count goes to 0 first, and try_hold
//       fails.
//   L4  A walk that turns a child on which nothing hangs does not touch it any more after the exchange of its
//       word; mostly that is all it touches. So who sees `inherited` in the word of one that is no merge
//       knows that it is off the list, and needs no lock; and who holds the lock looks there, too, and not at
//       `hung` alone.
//   L5  The quick ways out (context::release, dropped_quickly) look at the last handle, then at how it has
//       left its parent, then at the holds. How it has left: `inherited` (L4); or nothing hangs in the
//       parent's own shard any more, and its lock is free after that (is_off_list); or it is taken out under
//       the lock, as in L3. Who takes it off in one of these ways pins it before, if it goes on with it; so
//       one hold seen afterwards is the last, and nobody finds it any more.
//   L6  A hold changes hands, and is not counted, where all is seen under one lock: abandon_single() gives
//       the handles' hold to the one child that rides, orphan_single() to the one shard. The child is in hand
//       then, or it would have to be abandoned in its turn; and who destroys it takes that lock, or sees it
//       free.
//   L7  Who ends a node under its own lock has no pin: not the one that has a child at most (cancel_hooked),
//       nor what lies on a walk's way and has one (turn_chain). So whoever gives up the last handle or hold
//       of one that has `hooks` and a verdict takes that lock, or sees it free, after the verdict and before
//       he looks at the holds.
//   L8  What has `inherited` and loses its last handle makes no orphans: who ended it has a pin, or its lock,
//       until all is off that hung there, and nothing new comes. Nor is there a list to leave (L4). So the
//       handle is a hold less, no more.
//   L9  A with_cancel() right below another one keeps its `up`, also when that one is abandoned, while
//       somebody has it in hand: whoever gives up its last handle looks whether the parent's `handles` are 0
//       and it has not ended. So nobody else writes the `handles` of one that has a single handle, and that
//       one goes by a store. Of the two threads, one sees the other: each writes its node's `handles`, then
//       locks that node's own shard, then looks at the other's lock (futex_lock::look), and at last at the
//       other's `handles`. Of the two looks, one comes after the other's locking in the one order of those
//       four (seq_cst), and so sees what was written before that. Where both do, `up` is for who takes it
//       away.
//
// Locks. A shard's lock guards its lists, and the links and shard numbers of what hangs there. While one is
// held, nothing is waited for: at most a child's is tried. Held before one may be the merges' (merge.cpp) or
// the registry's (track.hpp), no other.
#pragma once

#include <heed/atomic.hpp>
#include <heed/callback.hpp>
#include <heed/context.hpp>
#include <heed/custom.hpp>
#include <heed/memory.hpp>
#include <heed/scheduler.hpp>

#include "pool.hpp"
#include "shard.hpp"
#include "sync.hpp"
#include "word.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <source_location>

namespace heed::inline v0 {

enum class kind : std::uint8_t { todo, root, detached, value, cancel, deadline, custom, merge, tether };

struct node : node_head {
  static constexpr std::uint32_t up = 1U << 31;         // in handles: see above
  static constexpr std::uint32_t source = 1U << 30;     // in handles: see above
  static constexpr std::uint32_t second_up = 1U << 29;  // in handles: see above
  static constexpr std::uint32_t number = second_up - 1;
  static constexpr std::uint32_t spread = 1U << 28;     // in that: some are counted elsewhere (crowd.cpp)
  static constexpr std::uint32_t crowded = 1U << 31;    // in holds: threads have met there (crowd.cpp)
  static constexpr std::uint32_t scattered = 1U << 30;  // in holds: and some are counted elsewhere
  // Whether `before` one handle went, it was the last of those that are counted here.
  static constexpr bool was_last(std::uint32_t before) noexcept { return (before & (spread - 1)) == 1; }

  enum trait : std::uint8_t {
    own_scheduler = 1,  // the root has a scheduler of its own
    timed = 2,          // cancelable: it or a scope above may have a deadline
    mixed = 4,          // cancelable: one above counts on another scheduler's clock (by a merge)
    armed = 8,          // deadline: its scheduler has been given its timer
    strewn = 8,  // value: its handle on its parent is one of those that are counted elsewhere (crowd.cpp)
    own_memory = 16,    // the root brought memory, and a pointer to that is in front of each block
    in_scope = 32,      // value: below what is cancelable, which has this, too; so it leans on its parent
    trivial = 64,       // all that is to be done for its end is to give its block back to the pool
    kept_inside = 128,  // value: it lies in the node
    own_cause = 128,    // deadline: it was made with a cause
  };

  // Starts with these handles, and their one hold; and none on its parent yet: a cancelable node gets to that
  // when it is linked (L2), others right after. `lookup_word`: node_head's. `inherits`: which traits it has
  // from its parent.
  struct birth {
    int traits = 0;
    std::uint8_t words = 0;  // as block_words()
  };
  node(kind k, node* above, std::uint32_t handle_count, std::uint64_t lookup_word, int inherits,
       birth how) noexcept;
  node(kind k, node* above, std::uint32_t handle_count, std::uint64_t lookup_word) noexcept
      : node(k, above, handle_count, lookup_word, own_scheduler | own_memory, birth()) {}
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  node* const parent;  // held, ridden or leaned on (L2); null: background()
  sync::atomic<std::uint32_t> handles;
  sync::atomic<std::uint32_t> holds{1};
  // One byte each, as different threads write them.
  const kind what;
  std::uint8_t traits;  // settled at birth, before anybody else has it
  bool is(trait t) const noexcept { return (traits & t) != 0; }
  void give(int t) noexcept { traits = static_cast<std::uint8_t>(traits | t); }
  void take_away(int t) noexcept { traits = static_cast<std::uint8_t>(traits & ~t); }
  // cancelable: the number of the shard of its parent scope that it was hung on, and whether it is there;
  // `lost`: the walk that took it off found that somebody else ends it; `no_callbacks`: that walk found none
  // on it. relaxed: changed under that shard's lock, or by that walk. Others: block_words().
  static constexpr std::uint8_t on_list = 1U << 7;
  static constexpr std::uint8_t lost = 1U << 6;
  static constexpr std::uint8_t no_callbacks = 1U << 5;
  static constexpr std::uint8_t shard_number = no_callbacks - 1;
  sync::atomic<std::uint8_t> hung;
  // Of one without a word: how many words its block has, if the pool has that back at its end; else 0.
  std::size_t block_words() const noexcept { return hung.load(std::memory_order_relaxed); }
  // Has it so, with a block of so many bytes; unless it is too large, or in a root's own memory. A trivial
  // one has no end but that.
  void set_block(std::size_t bytes, bool is_trivial) noexcept {
    if (bytes > pool::largest || is(own_memory)) return;
    if (is_trivial) give(trivial);
    hung.store(words_of(bytes), std::memory_order_relaxed);  // nobody else has it yet
  }
  // Rounded up, as the pool does: it is to go back to where it came from.
  static constexpr std::uint8_t words_of(std::size_t bytes) noexcept {
    return static_cast<std::uint8_t>((bytes + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t));
  }
  enum class outcome : std::uint8_t { open, won, lost };
  union {
    outcome firing = outcome::open;  // deadline: what its timer::turn() came to; for run()
    std::uint8_t position;           // value: values.hpp
  };
};

// background(scheduler&)
struct root_node : node {
  root_node(scheduler* s, memory* m) noexcept;
  scheduler* const on;  // null: the default one
};

// with_value() makes a value_node: values.hpp.

// without_cancel()
struct detached_node : node {
  explicit detached_node(node* above) noexcept;
};

// with_cancel(), and the base of all that has a word. The word, which all read, and what comes and goes (the
// shard but for its callbacks) are 64 bytes apart: never on one cache line.
struct cancel_node : scope, node {
  // with_cancel()'s, below background() and below a scope.
  cancel_node() noexcept;
  explicit cancel_node(cancel_node& above) noexcept;
  // with_cancel()'s below a value, and the base of with_timeout()'s there and above; `scope_node`:
  // scope_above(above).
  cancel_node(kind k, node* above, const cancel_node* scope_node, std::uint64_t first_word,
              std::uint32_t handle_count, int given) noexcept;
  cancel_node(kind k, const context& above, std::uint32_t handle_count) noexcept;
  cancel_node(kind k, const context& above, std::uint32_t handle_count, std::uint64_t lookup_word) noexcept;

  int fd = -1;  // done_fd(); written once, before the word tells of it
  error cause;  // I2; a deadline's waits here from the start
  union {
    cancel_node** slot;  // while it hangs in a chunk: where
    cancel_node* next;   // afterwards the owner of a walk links it
  };
  shard own{futex_lock::held};  // H4
};
static_assert(sizeof(cancel_node) == 80);

// with_deadline() and with_timeout(). Where the root has a scheduler of its own, a pointer to it follows.
struct deadline_node : cancel_node, timer {
  deadline_node(const context& above, time_point when, scheduler& on) noexcept;
  // One whose handles are two, and which is armed by heed's own scheduler next; in memory of the pool.
  deadline_node(node* above, const cancel_node* scope_node, time_point when,
                std::source_location where) noexcept;
  static bool on_step(work& w, step s) noexcept;
  scheduler& on() const noexcept;
  static constexpr std::size_t size(bool own_scheduler) noexcept;
};

constexpr std::size_t deadline_node::size(bool own_scheduler) noexcept {
  return sizeof(deadline_node) + (own_scheduler ? sizeof(scheduler*) : 0);
}
static_assert(sizeof(deadline_node) == 112);

// with_custom(): the user's object follows, aligned, in the same allocation.
struct custom_node : cancel_node {
  custom_node(const context& above, std::size_t bytes, std::size_t align) noexcept;
  void* storage() noexcept;
  const std::size_t size;
  const std::size_t alignment;
  const node* const beyond;  // the nearest node above that answers a lookup; may be null
  custom_context* self = nullptr;
  std::optional<time_point> when;  // the earliest of its own and of those above, for who asks
};

struct merge_node;

// The place of a merge on the list of its second parent's scope. It has no state of its own: whoever takes it
// off goes on with the merge.
struct tether : cancel_node {
  tether(merge_node& m, const context& second) noexcept : cancel_node(kind::tether, second, 0), of(m) {}
  merge_node& of;
};

// merge(): a child of its first parent, tied to the second. The nodes to ask for values, where they come from
// both parents, follow in the same allocation.
struct merge_node : cancel_node {
  merge_node(const context& a, const context& b, std::uint64_t lookup_word, std::size_t count) noexcept;
  const node** asked() noexcept;
  tether second;
  const std::size_t asked_count;
  const std::optional<time_point> when;  // the earlier deadline of the two
};

// --- life (life.cpp) ---

// Holds on what is crowded, or comes to be so (crowd.cpp).
namespace crowd {
void hold(node& n) noexcept;
bool drop_unless_last(node& n) noexcept;
void gone(const node& n) noexcept;
// The handle of a value that leans on `n`, where that is spread.
void retain(node& n) noexcept;
// True: that was all; false: the handle is still there, counted in `handles`.
bool release(node& n, bool strewn) noexcept;
// The last of the handles that are counted in `handles` has gone: now all are. What there was with it.
std::uint32_t gather_handles(node& n) noexcept;
// How many there are; only to be printed.
std::uint32_t count_handles(const node& n) noexcept;
}  // namespace crowd

// One more hold, unless the node is being destroyed already.
inline bool try_hold(node& n) noexcept {
  std::uint32_t count = n.holds.load(std::memory_order_relaxed);
  while ((count & ~node::crowded) != 0) {
    // relaxed: the caller reached the node through a lock, which ordered it.
    if (n.holds.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}
inline bool is_crowded(const node& n) noexcept {
  return (n.holds.load(std::memory_order_acquire) & node::crowded) != 0;  // acquire: crowd.cpp, N2
}
// One more hold, counted where all can tell it: what derives from `n` takes hold() instead.
inline void hold_here(node& n) noexcept {
  n.holds.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller knows of another
}
// One more hold, of what derives from `n`: the caller has a handle on that.
inline void hold(node& n) noexcept {
  if (n.what == kind::todo) return;  // immortal
  if (is_crowded(n)) [[unlikely]]
    return crowd::hold(n);
  hold_here(n);
}
// One hold less; destroys the node and drops its hold on the parent, and so on up, where it was the last. May
// run foreign code.
void drop(node* n) noexcept;
// One hold less, where there are `held`: not the last, and nobody else counts just now; false: nothing has
// changed.
inline bool drop_one_of_many(node& n, std::uint32_t held) noexcept {
  // release: as in drop(); somebody else will be last.
  return held - 2 < node::crowded - 2 &&
         n.holds.compare_exchange_strong(held, held - 1, std::memory_order_release,
                                         std::memory_order_relaxed);
}
inline bool drop_one_of_many(node& n) noexcept {
  return drop_one_of_many(n, n.holds.load(std::memory_order_relaxed));
}
// One hold less, unless it is the last: then false, and nothing has changed.
inline bool drop_unless_last(node& n) noexcept {
  return drop_one_of_many(n) || crowd::drop_unless_last(n);
}
inline void retain_handle(node& n) noexcept {
  if (n.what == kind::todo) return;
  n.handles.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has one already
}
// The last handle has gone, and `before` is what there was.
void after_last_handle(node& n, std::uint32_t before) noexcept;
void after_last_handle_anyhow(node& n, std::uint32_t before) noexcept;  // the same in many steps (life.cpp)
// One handle less, where there seemed to be one only.
void release_only_handle(node& n) noexcept;
// The last handle of a value that leans has gone: so goes its own on the parent, and so on up. May run
// foreign code.
void let_go(node& value) noexcept;
// One handle less of one that leans on `n`, and so on up, where the following says no, or that one is strewn.
void release_leaning(node& n, bool strewn) noexcept;
// One handle less where there are more, all counted in `handles`, and nobody else counts just now; false:
// nothing has changed.
inline bool release_one_of_more(node& n) noexcept {
  std::uint32_t now = n.handles.load(std::memory_order_relaxed);
  const std::uint32_t count = now & node::number;
  // release: as in release_handle().
  return count > 1 && count < node::spread &&
         n.handles.compare_exchange_strong(now, now - 1, std::memory_order_release,
                                           std::memory_order_relaxed);
}
// One handle less, where there seemed to be more.
inline void release_one_of_many(node& n) noexcept {
  // release/acquire: the one who finds itself last sees what all others did with their handles.
  const std::uint32_t before = n.handles.fetch_sub(1, std::memory_order_acq_rel);
  if (node::was_last(before)) [[unlikely]]
    after_last_handle(n, before);
}
// One handle less. May run foreign code.
inline void release_handle(node* n) noexcept {
  // relaxed: only chooses.
  if ((n->handles.load(std::memory_order_relaxed) & node::number) == 1) return release_only_handle(*n);
  release_one_of_many(*n);
}
// Where the extra bytes start. `align` is a power of two.
constexpr std::size_t extra_offset(std::size_t size, std::size_t align) noexcept {
  return (size + align - 1) & ~(align - 1);
}

// The pool aligns to 8, and multiples of 16 to 16. More is operator new's.
constexpr std::size_t whole_size(std::size_t size, std::size_t extra, std::size_t align) noexcept {
  const std::size_t all = extra_offset(size, align) + extra;
  return align == __STDCPP_DEFAULT_NEW_ALIGNMENT__ ? extra_offset(all, align) : all;
}
// The same where a root has memory of its own (memory.cpp).
void* allocate_from(memory& m, std::size_t size, std::size_t extra, std::size_t align);
void deallocate_own(void* block, std::size_t size, std::size_t extra, std::size_t align) noexcept;
memory& memory_of(const node& n) noexcept;
// Room for a node below `parent`, of `size` and `extra` bytes at `align` behind it. Throws std::bad_alloc.
inline void* allocate(const node* parent, std::size_t size, std::size_t extra, std::size_t align) {
  if (parent && parent->is(node::own_memory)) [[unlikely]]
    return allocate_from(memory_of(*parent), size, extra, align);
  const std::size_t all = whole_size(size, extra, align);
  if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return pool::take(all);
  return ::operator new(all, std::align_val_t(align));
}
// Gives it back; sizes as before. `own`: whether the node is own_memory.
inline void deallocate(void* block, bool own, std::size_t size, std::size_t extra,
                       std::size_t align) noexcept {
  if (own) [[unlikely]]
    return deallocate_own(block, size, extra, align);
  if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return pool::give(block, whole_size(size, extra, align));
  ::operator delete(block, std::align_val_t(align));
}

inline node::node(kind k, node* above, std::uint32_t handle_count, std::uint64_t lookup_word, int inherits,
                  birth how) noexcept
    : node_head{lookup_word}, parent(above), handles(handle_count), what(k),
      traits(static_cast<std::uint8_t>((above ? above->traits & inherits : 0) | how.traits)),
      hung(how.words) {}

// --- structure (derive.cpp) ---

// The cancelable node behind a scope that is not never_ending: all others are the base of one, and only
// handles see them as const.
inline cancel_node& node_of(const scope& s) noexcept {
  return static_cast<cancel_node&>(const_cast<scope&>(s));
}
// The same; null for never_ending.
inline cancel_node* node_of(const scope* s) noexcept {
  return s == &never_ending ? nullptr : &node_of(*s);
}
cancel_node* scope_of_value(const node& value) noexcept;
// At and above a scope, where that keeps it (read.cpp); null: there is none.
const time_point* earliest_deadline(const cancel_node* n) noexcept;
std::optional<time_point> earlier(std::optional<time_point> a, std::optional<time_point> b) noexcept;
// The scope that a child of `parent` would hang under; null where nothing above can be canceled.
inline cancel_node* scope_above(const node* parent) noexcept {
  if (!parent) return nullptr;
  if (parent->what >= kind::cancel) return static_cast<cancel_node*>(const_cast<node*>(parent));
  return parent->what == kind::value ? scope_of_value(*parent) : nullptr;
}
scheduler& scheduler_of(const node* n) noexcept;

// --- merge (merge.cpp) ---

// Held while a scope is turned that a merge hangs below.
[[gnu::visibility("hidden")]] extern futex_lock merges;

// --- cancel (cancel.cpp) ---

// Ends `n`, which is alive when it is called; true: this call decided. `cause` is exchanged for the one that
// it replaces, for the caller to destroy.
bool cancel(cancel_node& n, errc verdict, error& cause, std::source_location where) noexcept;
// The same without a cause; the place alone. In a few steps where one plain child hangs there, or none.
bool cancel_without_cause(cancel_node& n, std::source_location where) noexcept;
// Ends `n`, whose deadline has passed, as its timer would; the caller keeps it alive.
void expire(deadline_node& n) noexcept;
// Ends a node that was not linked because its parent scope is done; it is done when this returns.
void inherit(cancel_node& n, cancel_node& from) noexcept;
// The same for a with_cancel() that nobody else has yet; `w`: the word of `from`.
inline void inherit_word(cancel_node& n, cancel_node& from, std::uint64_t w) noexcept {
  const std::uint64_t decider = (w & word::inherited) ? w & ~word::flags : word::pointing(&from);
  // relaxed: as it was born. release: a picture may find it (track.hpp), and goes on to the cause of who
  // decided.
  const std::uint64_t uncommon = n.word.load(std::memory_order_relaxed) & word::uncommon;
  n.word.store((w & word::verdict) | word::inherited | decider | uncommon, std::memory_order_release);
}
// Takes its timer, if it has one that was armed, out of the scheduler. May be done again.
void disarm(cancel_node& n) noexcept;
// Whose cause and place count for a node that is done; and that place.
cancel_node& decider_of(cancel_node& n) noexcept;
std::source_location place_of(const cancel_node& decider) noexcept;

// --- abandoning (abandon.cpp) ---

// Nothing can end `n` any more: lets go of its after_funcs and children. The caller keeps it alive.
void abandon(cancel_node& n) noexcept;

// Counts who uses a scheduler, for its destructor.
class scheduler_use {
 public:
  static void add(scheduler& s) noexcept { s.users_.fetch_add(1, std::memory_order_relaxed); }
  static void remove(scheduler& s) noexcept { s.users_.fetch_sub(1, std::memory_order_relaxed); }
};

// Counts the roots that use a memory: each goes last of all below it (memory.cpp).
class memory_use {
 public:
  static void add(memory& m) noexcept;
  // After it the memory may be gone.
  static void remove(memory& m) noexcept;
};

// The library's way into the public classes.
class tree {
 public:
  static node* of(const context& c) noexcept { return static_cast<node*>(c.node_); }
  static const scope* scope_of(const context& c) noexcept { return c.scope_; }
  // Takes over one handle.
  static context make(node* n, const scope* s) noexcept { return {n, s}; }
  // release_handle(), quicker where it is the last.
  static void release(node& n) noexcept {
    // relaxed: only chooses.
    if ((n.handles.load(std::memory_order_relaxed) & node::number) == 1) [[unlikely]]
      return context::release(&n);
    release_one_of_many(n);
  }
  // Takes over two handles.
  static cancelable make(cancel_node* n, std::source_location where) noexcept {
    assert(cancelable::head_of(n) == n);  // as context.hpp has it
    return {*n, where};
  }

  // The list of callbacks of a shard, which is locked.
  static void push(shard& s, callback_base& c) noexcept HEED_REQUIRES(s.lock);
  static void take(shard& s, callback_base& c) noexcept HEED_REQUIRES(s.lock);
  static callback_base* take_next(cancel_node& n, unsigned number, bool& gone) noexcept;
  // Runs all callbacks of `n`, which is done.
  static void run_callbacks(cancel_node& n) noexcept;
  // Takes the after_funcs of `n` off a shard, which is locked, linked by prev_, in front of `taken`.
  static callback_base* take_detached(cancel_node& n, shard& s, callback_base* taken) noexcept
      HEED_REQUIRES(s.lock);
  static void tell_abandoned(callback_base* list) noexcept;
  // How many cancel_callbacks and after_funcs hang on it (picture.cpp).
  struct tally {
    std::size_t callbacks = 0;
    std::size_t functions = 0;
  };
  static tally count_callbacks(cancel_node& n) noexcept;
};

}  // namespace heed::inline v0
