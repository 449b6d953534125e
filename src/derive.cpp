// Making contexts: the roots, with_cancel, with_deadline, without_cancel.
#include "default_scheduler.hpp"
#include "forked.hpp"
#include "hanging.hpp"
#include "track.hpp"
#include "values.hpp"

#include <concepts>
#include <new>
#include <utility>

namespace heed::inline v0 {
namespace {

union immortal_node {  // never destroyed: contexts may be used until the very end
  node value;
  immortal_node() noexcept : value(kind::todo, nullptr, 0, lookup_none) {}
  ~immortal_node() {}
};

// The two handles of a node that is being made: it goes where that throws, as it should (I11).
class both_handles {
 public:
  explicit both_handles(cancel_node* n) noexcept : n_(n) {}
  both_handles(const both_handles&) = delete;
  both_handles& operator=(const both_handles&) = delete;
  // Canceled, too, so that it is in no timer.
  ~both_handles() {
    if (n_) static_cast<void>(tree::make(n_, std::source_location()));
  }
  scope* done() noexcept { return std::exchange(n_, nullptr); }

 private:
  cancel_node* n_;
};

template <class Node, class... Args>
Node* make_node(const node* parent, Args&&... args) {
  return ::new (allocate(parent, sizeof(Node), 0, alignof(Node))) Node(std::forward<Args>(args)...);
}

// What a new cancelable node under `parent` starts with: the context's handle and the cancel_func's, and that
// an ancestor can end it.
std::uint32_t first_handles(const context& parent) noexcept {
  return 2 | (parent.cancel_possible() ? node::up : 0);
}

}  // namespace

void link(cancel_node& n) {
  cancel_node* above = scope_above(n.parent);
  struct at_end {
    node* held;
    ~at_end() {
      if (held) hold(*held);
    }
  } parent{n.parent};
  if (!above) return;
  chunk* spare = nullptr;
  const bool hung = link(*above, n, spare);
  free_chunk(spare);
  if (!hung) return inherit(n, *above);
  if (rides(n)) parent.held = nullptr;
}

root_node::root_node(scheduler* s, memory* m) noexcept : node(kind::root, nullptr, 1, lookup_none), on(s) {
  if (s) {
    if (s != &default_scheduler()) give(own_scheduler);  // deadlines below have room for it only then
    scheduler_use::add(*s);
  }
  if (m) {
    give(own_memory);
    memory_use::add(*m);
  }
}

detached_node::detached_node(node* above) noexcept
    : node(kind::detached, above, 1, lookup_past(lookup_at(above))) {
  set_block(sizeof(detached_node), true);
  if (above) hold(*above);
}

[[gnu::always_inline]] inline cancel_node::cancel_node() noexcept
    : node(kind::cancel, nullptr, 2, lookup_none, 0, {in_scope}) {}

[[gnu::always_inline]] inline cancel_node::cancel_node(cancel_node& above) noexcept
    : node(kind::cancel, &above, 2 | node::up, lookup_past(lookup_at(&above)),
           own_scheduler | own_memory | timed | mixed | in_scope, birth()) {}

cancel_node::cancel_node(kind k, const context& above, std::uint32_t handle_count) noexcept
    : cancel_node(k, above, handle_count, lookup_past(lookup_at(tree::of(above)))) {}

cancel_node::cancel_node(kind k, const context& above, std::uint32_t handle_count,
                         std::uint64_t lookup_word) noexcept
    : node(k, tree::of(above), handle_count, lookup_word) {
  if (k != kind::cancel || is(own_memory) || (parent && !rides(*this)))
    word.store(word::uncommon, std::memory_order_relaxed);
  if (const cancel_node* up_there = scope_above(parent)) give(up_there->traits & (timed | mixed));
  give(in_scope);
  if (k != kind::cancel) give(timed);
}

deadline_node::deadline_node(const context& above, time_point when, scheduler& on) noexcept
    : cancel_node(kind::deadline, above, first_handles(above)), timer(&deadline_node::on_step, when) {
  if (is(own_scheduler)) ::new (this + 1) scheduler*(&on);
}

inline cancel_node::cancel_node(kind k, node* above, const cancel_node* scope_node, std::uint64_t first_word,
                                std::uint32_t handle_count, int given) noexcept
    : node(k, above, handle_count | (scope_node ? up : 0), lookup_past(lookup_at(above))) {
  word.store(first_word, std::memory_order_relaxed);  // nobody else has it yet
  give((scope_node ? scope_node->traits & (timed | mixed) : 0) | in_scope | given);
}

inline deadline_node::deadline_node(node* above, const cancel_node* scope_node, time_point when,
                                    std::source_location where) noexcept
    : cancel_node(kind::deadline, above, scope_node, word::uncommon | word::at(where), 2 | source,
                  timed | armed),
      timer(&deadline_node::on_step, when) {}

scheduler& deadline_node::on() const noexcept {
  return is(own_scheduler) ? **reinterpret_cast<scheduler* const*>(this + 1) : default_scheduler();
}

custom_node::custom_node(const context& above, std::size_t bytes, std::size_t align) noexcept
    : cancel_node(kind::custom, above, first_handles(above) | node::source, lookup_any), size(bytes),
      alignment(align), beyond(lookup_at(parent)) {}

void* custom_node::storage() noexcept {
  return reinterpret_cast<char*>(this) + extra_offset(sizeof(custom_node), alignment);
}

scheduler& scheduler_of(const node* n) noexcept {
  if (!n || !n->is(node::own_scheduler)) return default_scheduler();
  for (; n->parent; n = n->parent) {
    if (n->what == kind::deadline) return static_cast<const deadline_node*>(n)->on();
  }
  return *static_cast<const root_node*>(n)->on;
}

bool link(cancel_node& above, cancel_node& child, chunk*& spare) {
  unsigned number = 0;
  while (shard* const s = lock_for_new(above, number)) {
    {
      const locked guard(s->lock, locked::already);
      if (put(*s, number, child, spare)) return true;
    }
    spare = make_chunk();  // the allocator may be foreign (I5)
  }
  return false;
}

context todo() noexcept {
  static immortal_node only;
  return tree::make(&only.value, &never_ending);
}

context background(scheduler& s, std::source_location where) {
  auto* n = make_node<root_node>(nullptr, &s, nullptr);
  track::made(*n, where);
  return tree::make(n, &never_ending);
}

// with_cancel(), whatever there is to see to.
[[gnu::noinline]] static scope* child_anywhere(const context& parent, std::source_location where) {
  auto* n = make_node<cancel_node>(tree::of(parent), kind::cancel, parent, first_handles(parent));
  track::made(*n, where);
  if (track::on()) n->word.store(word::uncommon, std::memory_order_relaxed);  // nobody else has it yet
  both_handles made(n);
  if (n->parent) link(*n);
  return made.done();
}

// with_cancel() makes most contexts, so it does in a few steps what child_anywhere() does in many. All that
// is unusual goes on in one of the functions below, from which nothing comes back here: so it saves no
// registers.

// Whether what is hung on a scope rides on its parent, or is below a value and holds that (L2), which may be
// crowded.
enum class below : std::uint8_t { scope, value, crowded };

template <class Node>
[[gnu::noinline]] static scope* linked(Node& n) {
  both_handles made(&n);
  link(n);
  if constexpr (std::same_as<Node, deadline_node>) {
    // relaxed: nobody else has it yet. Where the parent was done by now, no walk comes along to disarm it.
    if (n.word.load(std::memory_order_relaxed) & word::inherited) disarm(n);
  }
  return made.done();
}

// A shard of the parent was locked, and is of no use, or not any more.
template <class Node>
[[gnu::noinline]] static scope* unlocked_and_linked(Node& n, shard& s) HEED_UNCHECKED {
  s.lock.unlock();
  return linked(n);
}

// Somebody waits for that shard.
[[gnu::noinline]] static scope* linked_and_woken(cancel_node& n, shard& s) {
  s.lock.wake();
  return &n;
}

[[gnu::noinline]] static scope* born_done(cancel_node& n, cancel_node& above, std::uint64_t w) {
  n.parent->holds.fetch_add(1, std::memory_order_relaxed);  // L2: it is not linked
  inherit_word(n, above, w);
  return &n;
}

// Unchecked, these three: a shard comes locked.
template <below what, class Node>
[[gnu::always_inline]] static inline scope* hung_and_unlocked(shard& s, Node& n) HEED_UNCHECKED {
  if constexpr (what == below::value) hold_here(*n.parent);  // a value: never immortal
  if constexpr (what == below::crowded) crowd::hold(*n.parent);
  if (s.lock.unlock_only()) [[unlikely]]
    return linked_and_woken(n, s);
  return &n;
}
template <below what, class Node>
[[gnu::always_inline]] static inline scope* linked_in(cancel_node& above, shard* s, unsigned number,
                                                      Node& n) HEED_UNCHECKED {
  if (!s) [[unlikely]]
    return linked(n);
  if (!is_open(above) || !put_where_room_is(*s, number, n)) [[unlikely]]
    return unlocked_and_linked(n, *s);
  return hung_and_unlocked<what>(*s, n);
}

// The scope has a table.
template <below what, class Node>
[[gnu::noinline]] static scope* linked_in_table(cancel_node& above, Node& n) {
  unsigned number = 0;
  shard* const s = try_lock_for_new(above, number);
  return linked_in<what>(above, s, number, n);
}

// Hangs a new node on a scope that was live just now, when its word was `w`.
template <below what, class Node>
[[gnu::always_inline]] static inline scope* linked_quickly(cancel_node& above, std::uint64_t w,
                                                           Node& n) HEED_UNCHECKED {
  if ((w & word::hooks) == 0) {
    // H4. acquire: as in hook_first().
    if (!above.word.compare_exchange_strong(w, w | word::hooks, std::memory_order_acquire,
                                            std::memory_order_relaxed)) [[unlikely]]
      return linked(n);
    put_first(above.own, n);
    return hung_and_unlocked<what>(above.own, n);
  }
  // acquire: the table's making.
  if (above.own.children.load(std::memory_order_acquire).has_table()) [[unlikely]]
    return linked_in_table<what>(above, n);
  // Where it has a table meanwhile, no room is found there.
  return linked_in<what>(above, above.own.lock.try_lock() ? &above.own : nullptr, 0, n);
}

// One that has no list to be on.
template <below what>
[[gnu::always_inline]] static inline scope* holding(cancel_node& n) {
  if constexpr (what == below::crowded) {
    crowd::hold(*n.parent);
  } else {
    hold_here(*n.parent);  // a value: never immortal
  }
  return &n;
}

template <below what>
[[gnu::always_inline]] static inline scope* child_below(node& parent, cancel_node* above, void* room) {
  auto* n = ::new (room) cancel_node(kind::cancel, &parent, above, word::uncommon, 2, 0);
  if (!above) return holding<what>(*n);
  // acquire: as in inherit().
  const std::uint64_t w = above->word.load(std::memory_order_acquire);
  if (w & word::verdict) [[unlikely]]
    return born_done(*n, *above, w);
  return linked_quickly<what>(*above, w, *n);
}
[[gnu::noinline]] static scope* child_in_crowd(node& parent, cancel_node* above, void* room) {
  return child_below<below::crowded>(parent, above, room);
}
[[gnu::noinline]] static scope* child_of_value(node& parent, cancel_node* above, void* room) {
  if (is_crowded(parent)) [[unlikely]]
    return child_in_crowd(parent, above, room);
  return child_below<below::value>(parent, above, room);
}

// What most contexts are made of, below background().
static bool is_usual(kind parent) noexcept {
  return parent >= kind::value && parent <= kind::deadline;
}

scope* derived::make(const context& parent, std::source_location where) {
  node* const parent_node = tree::of(parent);
  if (!track::surely_off() ||
      (parent_node && (!is_usual(parent_node->what) || parent_node->is(node::own_memory)))) [[unlikely]]
    return child_anywhere(parent, where);
  void* const room = pool::take_quickly(sizeof(cancel_node));
  if (!room) [[unlikely]]
    return child_anywhere(parent, where);
  if (!parent_node) return ::new (room) cancel_node;
  if (parent_node->what == kind::value)
    return child_of_value(*parent_node, node_of(tree::scope_of(parent)), room);
  auto& above = static_cast<cancel_node&>(*parent_node);
  auto* n = ::new (room) cancel_node(above);
  // acquire: as in inherit().
  const std::uint64_t w = above.word.load(std::memory_order_acquire);
  if (w & word::verdict) [[unlikely]]
    return born_done(*n, above, w);
  return linked_quickly<below::scope>(above, w, *n);
}

namespace {

// A node that has a hold on its parent after all, where it does not come to be linked (L2).
struct unlinked {
  cancel_node* n;
  ~unlinked() {
    if (n && n->parent) hold(*n->parent);
  }
};

// A deadline that says it is in a timer, and is not, where that throws.
struct unarmed {
  deadline_node* n;
  ~unarmed() {
    if (!n) return;
    n->take_away(node::armed);
    n->handles.fetch_and(~node::source, std::memory_order_relaxed);
  }
};

// Whether the root has a scheduler of its own, by whose clock the deadlines below it go.
bool brings_time(const context& parent) noexcept {
  const node* n = tree::of(parent);
  return n && n->is(node::own_scheduler);
}

// A context with a deadline of its own, where the time is `now`.
scope* with_timer(const context& parent, time_point when, time_point now, scheduler& on, error* cause,
                  std::source_location where) {
  const bool own = brings_time(parent);
  void* memory = allocate(tree::of(parent), deadline_node::size(own), 0, alignof(deadline_node));
  auto* n = ::new (memory) deadline_node(parent, when, on);
  both_handles made(n);
  if (cause) {
    n->cause = std::move(*cause);
    n->give(node::own_cause);
  }
  n->word.store(word::uncommon | word::at(where), std::memory_order_relaxed);  // nobody else has it yet
  unlinked pending{n};
  if (when <= now && when != time_point::max() && !parent.done()) {
    // Before it is linked, so that nothing else can have ended it.
    n->word.store(static_cast<std::uint64_t>(errc::deadline_exceeded) | word::settled | word::uncommon |
                      word::at(where),
                  std::memory_order_release);
    track::made(*n, where);
    return made.done();
  }
  if (when != time_point::max() && !parent.done()) {
    // Armed before it is linked: whoever cancels it through its parent then finds a timer to disarm.
    // relaxed, and no read-modify-write: nobody else counts on it yet.
    n->handles.store(n->handles.load(std::memory_order_relaxed) | node::source, std::memory_order_relaxed);
    n->give(node::armed);
    unarmed failed{n};
    // May throw: `made` then takes the node away (I11).
    on.arm(*n, when);
    failed.n = nullptr;
  }
  track::made(*n, where);  // its traits are settled now: who reads the list reads them
  pending.n = nullptr;
  if (n->parent) link(*n);
  // Where the parent was done by now, no walk comes along to disarm it.
  if (n->word.load(std::memory_order_relaxed) & word::inherited) disarm(*n);
  // A clock that is driven by hand may have passed it before it was armed, and not move again.
  if (own && when <= on.now() && when != time_point::max()) expire(*n);
  return made.done();
}

// Whether a deadline below `parent` could never fire first. F3: `when` becomes earlier where it could, but
// that one does not fire in this process.
bool is_later(const context& parent, time_point& when) {
  cancel_node* up_there = scope_above(tree::of(parent));
  if (!up_there || !up_there->is(node::timed)) return false;
  if (up_there->is(node::mixed)) return false;  // the clock that it counts on may go differently
  const time_point* const earlier = earliest_deadline(up_there);
  if (!earlier || *earlier >= when) return false;
  if (!forked::is_child.load(std::memory_order_relaxed) || !forked::inherited_deadline(*up_there))
    return true;
  when = *earlier;
  return false;
}

}  // namespace

scope* derived::make_until_anyhow(const context& parent, time_point when, error* cause,
                                  std::source_location where) {
  if (is_later(parent, when)) return make(parent, where);
  scheduler& on = scheduler_of(tree::of(parent));
  return with_timer(parent, when, on.now(), on, cause, where);
}

// Its timer is the first, or comes before all others.
[[gnu::noinline]] static scope* armed_and_linked(deadline_node& n) {
  both_handles made(&n);
  unlinked pending{&n};
  unarmed failed{&n};
  the_process_scheduler().time().arm(n);
  failed.n = nullptr;
  pending.n = nullptr;
  made.done();
  return linked(n);
}

// The nearest deadline at or above a scope, where that is the earliest; null: what else has one comes before,
// or counts on another clock.
[[gnu::noinline]] static const deadline_node* deadline_above(const cancel_node& scope_node) noexcept {
  const cancel_node* n = &scope_node;
  while (n && n->what == kind::cancel) n = scope_above(n->parent);
  return n && n->what == kind::deadline && !n->is(node::mixed) ? static_cast<const deadline_node*>(n)
                                                               : nullptr;
}

// Where a child with a deadline is to hang.
struct place_below {
  [[gnu::always_inline]] explicit place_below(const context& c) noexcept
      : parent(tree::of(c)), above(node_of(tree::scope_of(c))),
        // acquire: as in make().
        w(above ? above->word.load(std::memory_order_acquire) : 0) {
    usual = (!parent ||
             (is_usual(parent->what) && (parent->traits & (node::own_scheduler | node::own_memory)) == 0)) &&
            (w & word::verdict) == 0 && track::surely_off();
    if (!usual || !above || !above->is(node::timed)) return;
    const deadline_node* const nearest = deadline_above(*above);
    usual = nearest && !forked::is_child.load(std::memory_order_relaxed);
    if (nearest) earliest = nearest->when();
  }

  node* const parent;
  cancel_node* const above;
  const std::uint64_t w;
  bool usual;  // for a child in a few steps, as in make()
  time_point earliest = time_point::max();
};

template <below what>
[[gnu::always_inline]] static inline scope* hung_below(const place_below& p, deadline_node& n) {
  return p.above ? linked_quickly<what>(*p.above, p.w, n) : holding<what>(n);
}
[[gnu::noinline]] static scope* hung_in_crowd(const place_below& p, deadline_node& n) {
  return hung_below<below::crowded>(p, n);
}

// Where that is usual, and `when` is still to come.
[[gnu::always_inline]] static inline scope* armed_and_linked_quickly(const place_below& p, void* room,
                                                                     time_point when,
                                                                     std::source_location where) {
  auto* n = ::new (room) deadline_node(p.parent, p.above, when, where);
  if (!the_process_scheduler().time().try_arm(*n)) [[unlikely]]
    return armed_and_linked(*n);
  if (p.above == p.parent) return p.above ? linked_quickly<below::scope>(*p.above, p.w, *n) : n;
  if (is_crowded(*p.parent)) [[unlikely]]
    return hung_in_crowd(p, *n);
  return hung_below<below::value>(p, *n);
}

scope* derived::make_within(const context& parent, duration timeout, error* cause,
                            std::source_location where) {
  constexpr auto longest = std::chrono::hours(24 * 365 * 100);  // for which nothing overflows
  const place_below p(parent);
  if (!p.usual || cause || timeout <= duration::zero() || timeout >= longest) [[unlikely]]
    return make_within_anyhow(parent, timeout, cause, where);
  const time_point when = os::now() + timeout;
  if (when > p.earliest) return make(parent, where);
  void* const room = pool::take_quickly(sizeof(deadline_node));
  if (!room) [[unlikely]]
    return make_until_anyhow(parent, when, cause, where);
  return armed_and_linked_quickly(p, room, when, where);
}

scope* derived::make_until(const context& parent, time_point when, error* cause, std::source_location where) {
  const place_below p(parent);
  if (!p.usual || cause || when == time_point::max()) [[unlikely]]
    return make_until_anyhow(parent, when, cause, where);
  if (when > p.earliest) return make(parent, where);
  void* const room = when > os::now() ? pool::take_quickly(sizeof(deadline_node)) : nullptr;
  if (!room) [[unlikely]]
    return make_until_anyhow(parent, when, cause, where);
  return armed_and_linked_quickly(p, room, when, where);
}

scope* derived::make_within_anyhow(const context& parent, duration timeout, error* cause,
                                   std::source_location where) {
  scheduler& on = scheduler_of(tree::of(parent));
  const time_point now = on.now();
  time_point when = saturating_add(now, timeout);
  if (timeout <= duration::zero() && when == time_point::max()) when -= duration(1);  // at once is not never
  if (is_later(parent, when)) return make(parent, where);
  return with_timer(parent, when, now, on, cause, where);
}

context without_cancel(const context& parent, std::source_location where) {
  auto* n = make_node<detached_node>(tree::of(parent), tree::of(parent));
  track::made(*n, where);
  return tree::make(n, &never_ending);
}

}  // namespace heed::inline v0
