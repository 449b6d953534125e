// Custom contexts (custom.hpp): how one is made around its node, and ended by its owner.
#include "hanging.hpp"
#include "track.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <utility>

namespace heed::inline v0 {

custom_slot::custom_slot(const context& parent, std::size_t size, std::size_t align)
    : parent_(parent),
      node_(
          ::new (allocate(tree::of(parent), sizeof(custom_node), size, std::max(alignof(custom_node), align)))
              custom_node(parent, size, std::max(alignof(custom_node), align))) {}

custom_slot::~custom_slot() {
  if (!node_) return;
  if (node_->parent) hold(*node_->parent);             // L2: it was never linked
  node_->handles.store(1, std::memory_order_relaxed);  // nobody has one: the object was never made
  release_handle(node_);
}

void* custom_slot::storage() const noexcept {
  return static_cast<custom_node*>(node_)->storage();
}

cancelable custom_slot::commit(custom_context& self, std::source_location where) && {
  auto* n = static_cast<custom_node*>(std::exchange(node_, nullptr));
  n->self = &self;
  n->when = earlier(self.deadline(), parent_.deadline());
  track::made(*n, where);
  cancelable made = tree::make(n, where);
  link(*n);
  return made;
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

}  // namespace heed::inline v0
