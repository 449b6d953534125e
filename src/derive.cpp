// Making contexts: the roots, with_cancel, with_deadline, without_cancel, with_custom; and the cancel_func and
// canceler that go with them.
#include "track.hpp"
#include "tree.hpp"
#include "values.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

namespace heed::inline v0 {
namespace {

union immortal_node {  // never destroyed: contexts may be used until the very end
  node value;
  immortal_node() noexcept : value(kind::todo, nullptr, 0, lookup_none) {}
  ~immortal_node() {}
};

// Hangs a new node under its parent scope, or has it share that scope's end. From here on an ancestor's cancel
// reaches it.
void link(cancel_node& n) noexcept {
  cancel_node* above = scope_above(n.parent);
  if (above && !link(*above, n)) inherit(n, *above);
}

// What a new cancelable node under `parent` starts with: the context's handle and the cancel_func's, and that an
// ancestor can end it.
std::uint32_t first_handles(const context& parent) noexcept {
  return 2 | (parent.cancel_possible() ? node::up : 0);
}

}  // namespace

root_node::root_node(scheduler& s) noexcept : node(kind::root, nullptr, 1, lookup_none), on(s) {
  scheduler_use::add(s);
}

detached_node::detached_node(node* above) noexcept
    : node(kind::detached, above, 1, lookup_past(lookup_at(above))) {}

cancel_node::cancel_node(kind k, const context& above, std::uint32_t handle_count) noexcept
    : cancel_node(k, above, handle_count, lookup_past(lookup_at(tree::of(above)))) {}

cancel_node::cancel_node(kind k, const context& above, std::uint32_t handle_count,
                         std::uint64_t lookup_word) noexcept
    : node(k, tree::of(above), handle_count, lookup_word) {
  const cancel_node* up_there = scope_above(parent);
  timed = k != kind::cancel || (up_there && up_there->timed);
  mixed = up_there && up_there->mixed;
}

deadline_node::deadline_node(const context& above, time_point when) noexcept
    : cancel_node(kind::deadline, above, first_handles(above)), timer(&deadline_node::on_step, when),
      on(scheduler_of(parent)) {}

custom_node::custom_node(const context& above, std::size_t align) noexcept
    : cancel_node(kind::custom, above, first_handles(above) | node::source, lookup_any), alignment(align),
      beyond(lookup_at(parent)) {}

void* custom_node::storage() noexcept {
  return reinterpret_cast<char*>(this) + extra_offset(sizeof(custom_node), alignment);
}

cancel_node* node_of(const scope* s) noexcept {
  // Every scope but never_ending is the base of a cancel_node; only handles see it as const.
  return s == &never_ending ? nullptr : static_cast<cancel_node*>(const_cast<scope*>(s));
}

cancel_node* scope_above(const node* parent) noexcept {
  if (!parent) return nullptr;
  switch (parent->what) {
    case kind::value: return node_of(static_cast<const value_node*>(parent)->within);
    case kind::cancel:
    case kind::deadline:
    case kind::merge:
    case kind::custom: return static_cast<cancel_node*>(const_cast<node*>(parent));
    default: return nullptr;
  }
}

scheduler& scheduler_of(const node* n) noexcept {
  if (!n || !n->own_scheduler) return default_scheduler();
  for (; n->parent; n = n->parent) {
    if (n->what == kind::deadline) return static_cast<const deadline_node*>(n)->on;
  }
  return static_cast<const root_node*>(n)->on;
}

// Under the lock of n. Either our bit comes first, then the one who publishes the verdict sees it and visits the
// list after us; or the verdict does, and then we see it. With the bit there already the lock orders the two: a
// walk takes it after it has published.
bool open(cancel_node& n) noexcept {
  std::uint32_t w = n.word.load(std::memory_order_acquire);
  if ((w & (word::verdict | word::hooks)) == 0) w = word::raise(n, word::hooks);
  return (w & word::verdict) == 0;
}

bool link(cancel_node& above, cancel_node& child) noexcept {
  const locked guard(above.lock);
  if (!open(above)) return false;
  if (!above.children) {
    child.next = child.prev = above.children = &child;
  } else {
    child.next = above.children;
    child.prev = child.next->prev;
    child.prev->next = child.next->prev = &child;
  }
  child.linked = true;
  return true;
}

void unlink(cancel_node& above, cancel_node& child) noexcept {
  child.linked = false;
  if (child.next == &child) {
    above.children = nullptr;
    return;
  }
  child.next->prev = child.prev;
  child.prev->next = child.next;
  if (above.children == &child) above.children = child.next;
}

context todo() noexcept {
  static immortal_node only;
  return tree::make(&only.value, &never_ending);
}

context background(scheduler& s, std::source_location where) {
  auto* n = new root_node(s);
  track::made(*n, where);
  return tree::make(n, &never_ending);
}

cancelable with_cancel(const context& parent, std::source_location where) {
  auto* n = new cancel_node(kind::cancel, parent, first_handles(parent));
  track::made(*n, where);
  link(*n);
  return tree::make(n, where);
}

cancelable with_deadline(const context& parent, time_point when, error cause, std::source_location where) {
  const cancel_node* up_there = scope_above(tree::of(parent));
  // It could never fire first; unless the clock that the other one counts on goes differently.
  if (const auto earlier = parent.deadline(); earlier && *earlier < when && !up_there->mixed)
    return with_cancel(parent, where);
  auto* n = new deadline_node(parent, when);
  cancelable made = tree::make(n, where);
  track::made(*n, where);
  n->cause = std::move(cause);
  n->place = where;
  if (parent.done()) {
    inherit(*n, *scope_above(n->parent));
  } else if (when <= n->on.now()) {
    // Before it is linked, so that nothing else can have ended it.
    n->word.store(static_cast<std::uint32_t>(errc::deadline_exceeded) | word::settled,
                  std::memory_order_release);
  } else {
    if (when != time_point::max()) {
      // Armed before it is linked: whoever cancels it through its parent then finds a timer to disarm.
      n->handles.fetch_or(node::source, std::memory_order_relaxed);  // nobody else counts on it yet
      struct undo {
        deadline_node* n;
        ~undo() {
          if (n) n->handles.fetch_and(~node::source, std::memory_order_relaxed);
        }
      } failed{n};
      n->on.arm(*n, when);  // may throw: `made` then takes the node away (I11)
      failed.n = nullptr;
    }
    link(*n);
    // Where the parent was done by now, no walk comes along to disarm it.
    if (n->word.load(std::memory_order_relaxed) & word::inherited) disarm(*n);
    // A clock that is driven by hand may have passed it before it was armed, and not move again.
    if (n->own_scheduler && when <= n->on.now()) expire(*n);
  }
  return made;
}

context without_cancel(const context& parent, std::source_location where) {
  auto* n = new detached_node(tree::of(parent));
  track::made(*n, where);
  return tree::make(n, &never_ending);
}

custom_slot::custom_slot(const context& parent, std::size_t size, std::size_t align)
    : parent_(parent),
      node_(::new (allocate(sizeof(custom_node), size, std::max(alignof(custom_node), align)))
                custom_node(parent, std::max(alignof(custom_node), align))) {}

custom_slot::~custom_slot() {
  if (!node_) return;
  node_->handles.store(1, std::memory_order_relaxed);  // nobody has one: the object was never made
  release_handle(node_);
}

void* custom_slot::storage() const noexcept {
  return static_cast<custom_node*>(node_)->storage();
}

cancelable custom_slot::commit(custom_context& self, std::source_location where) && noexcept {
  auto* n = static_cast<custom_node*>(std::exchange(node_, nullptr));
  n->self = &self;
  n->when =
      std::min(self.deadline().value_or(time_point::max()), parent_.deadline().value_or(time_point::max()));
  track::made(*n, where);
  link(*n);
  return tree::make(n, where);
}

const void* custom_context::find(const key_base&) const noexcept {
  return nullptr;
}

std::optional<time_point> custom_context::deadline() const noexcept {
  return std::nullopt;
}

std::string custom_context::name() const {
  return "custom";
}

bool custom_context::end(errc verdict, error cause, std::source_location where) noexcept {
  if (!try_hold(*node_)) return false;  // nobody can see it any more
  const bool decided = cancel(*node_, verdict, cause, where);
  drop(node_);
  return decided;
}

// A call keeps the node by a hold of its own: a callback may destroy the very cancel_func that was called.
static bool cancel_held(cancel_node* n, error& cause, std::source_location where) noexcept {
  if (!n) return false;
  hold(*n);
  const bool decided = cancel(*n, errc::canceled, cause, where);
  drop(n);
  return decided;
}

canceler::canceler(const canceler& other) noexcept : node_(other.node_) {
  if (node_) retain_handle(*node_);
}

canceler::~canceler() {
  if (node_) release_handle(node_);
}

bool canceler::operator()(error cause, std::source_location where) const noexcept {
  return cancel_held(node_, cause, where);
}

cancel_func& cancel_func::operator=(cancel_func&& other) noexcept {
  cancel_func taken(std::move(other));  // also where it is this very object
  { const cancel_func old(std::move(*this)); }
  std::swap(node_, taken.node_);
  made_ = taken.made_;
  return *this;
}

cancel_func::~cancel_func() {
  if (!node_) return;
  error none;
  cancel(*node_, errc::canceled, none, made_);  // our handle keeps it
  release_handle(node_);
}

bool cancel_func::operator()(error cause, std::source_location where) const noexcept {
  return cancel_held(node_, cause, where);
}

canceler cancel_func::share() const noexcept {
  if (node_) retain_handle(*node_);
  return canceler(node_);
}

void cancel_func::release() noexcept {
  if (node_) release_handle(std::exchange(node_, nullptr));
}

}  // namespace heed::inline v0
