// What ends a context from outside: cancel_func and canceler.
#include "tree.hpp"

#include <utility>

namespace heed::inline v0 {

// In one step where it is a with_cancel() on which nothing was ever hung, and nobody waits.
static inline bool cancel_in_passing(cancel_node& n, std::source_location where) noexcept {
  constexpr auto verdict = static_cast<std::uint64_t>(errc::canceled);
  // relaxed: only chooses. A with_cancel() that is uncommon from birth has no more to be done: its cause is
  // null, too.
  std::uint64_t w = n.word.load(std::memory_order_relaxed);
  if (w == 0 || (w == word::uncommon && n.what == kind::cancel)) [[likely]] {
    // release: all before the cancel (I4); the cause is null, and the place is in the word (I2). Unpinned,
    // this is the last touch.
    if (n.word.compare_exchange_strong(w, verdict | word::settled | word::at(where) | w,
                                       std::memory_order_release, std::memory_order_relaxed)) [[likely]]
      return true;
  }
  return cancel_without_cause(n, where);
}

canceler::canceler(const canceler& other) noexcept : node_(other.node_) {
  if (node_) retain_handle(*node_);
}

canceler::~canceler() {
  if (node_) release_handle(node_);
}

bool canceler::operator()(error cause, std::source_location where) const noexcept {
  return node_ && (cause ? cancel(*node_, errc::canceled, cause, where) : cancel_in_passing(*node_, where));
}

cancel_func& cancel_func::operator=(cancel_func&& other) noexcept {
  cancel_func taken(std::move(other));  // also where it is this very object
  { const cancel_func old(std::move(*this)); }
  std::swap(scope_, taken.scope_);
  made_ = taken.made_;
  return *this;
}

[[gnu::noinline]] static void cancel_and_release(cancel_node& n, std::source_location made) noexcept {
  cancel_in_passing(n, made);
  tree::release(n);
}

void cancel_func::leave_scope(scope& s, std::source_location made) noexcept {
  // acquire: as err(). Mostly it has ended by now.
  cancel_node& n = node_of(s);
  const std::uint64_t w = n.word.load(std::memory_order_acquire);
  if ((w & word::verdict) == 0 || (w & word::closing)) [[unlikely]]
    return cancel_and_release(n, made);
  tree::release(n);
}

bool cancel_func::end(scope& s, std::source_location where) noexcept {
  return cancel_in_passing(node_of(s), where);
}

bool cancel_func::end_because(scope& s, error& cause, std::source_location where) noexcept {
  return cancel(node_of(s), errc::canceled, cause, where);
}

canceler cancel_func::share() const noexcept {
  if (!scope_) return {};
  retain_handle(node_of(*scope_));
  return canceler(&node_of(*scope_));
}

void cancel_func::release() noexcept {
  if (scope_) release_one_of_many(node_of(*std::exchange(scope_, nullptr)));  // the context is there, mostly
}

}  // namespace heed::inline v0
