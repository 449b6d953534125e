// How long nodes live: the two counts of tree.hpp.
#include "track.hpp"
#include "tree.hpp"
#include "values.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace heed::inline v0 {

node::node(kind k, node* above, std::uint32_t handle_count, std::uint64_t lookup_word) noexcept
    : node_head{lookup_word}, parent(above), handles(handle_count), what(k),
      own_scheduler(k == kind::root || (above && above->own_scheduler)) {
  if (parent) hold(*parent);
}

bool try_hold(node& n) noexcept {
  std::uint32_t count = n.holds.load(std::memory_order_relaxed);
  while (count != 0) {
    // relaxed: the caller reached the node through a lock, which ordered it.
    if (n.holds.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void hold(node& n) noexcept {
  if (n.what == kind::todo) return;                 // immortal
  n.holds.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has one already
}

void retain_handle(node& n) noexcept {
  if (n.what == kind::todo) return;
  n.handles.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has one already
}

std::size_t extra_offset(std::size_t size, std::size_t align) noexcept {
  return (size + align - 1) / align * align;
}

void* allocate(std::size_t size, std::size_t extra, std::size_t align) {
  const std::size_t all = extra_offset(size, align) + extra;
  if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return ::operator new(all);
  return ::operator new(all, std::align_val_t(align));
}

void deallocate(void* memory, std::size_t align) noexcept {
  if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return ::operator delete(memory);
  ::operator delete(memory, std::align_val_t(align));
}

namespace {

// Takes everything apart that the node has, in an order in which nothing can come back to it. Its holds are 0:
// a walk that still finds it on its parent's list leaves it alone (try_hold), and so does its timer.
void destroy(cancel_node& n) noexcept {
  leave(n);
  disarm(n);
  if (n.what == kind::custom && static_cast<custom_node&>(n).self)
    static_cast<custom_node&>(n).self->~custom_context();
  if (n.fd >= 0) os::close_event(n.fd);
}

void destroy(node* n) noexcept {
  track::gone(*n);
  switch (n->what) {
    case kind::todo:
    case kind::tether:
    case kind::merge: return;  // drop() takes merges apart itself
    case kind::root:
      scheduler_use::remove(static_cast<root_node*>(n)->on);
      delete static_cast<root_node*>(n);
      return;
    case kind::detached: delete static_cast<detached_node*>(n); return;
    case kind::value: return destroy_value(static_cast<value_node*>(n));
    case kind::cancel: {
      auto* c = static_cast<cancel_node*>(n);
      destroy(*c);
      delete c;
      return;
    }
    case kind::deadline: {
      auto* d = static_cast<deadline_node*>(n);
      destroy(*d);
      delete d;
      return;
    }
    case kind::custom: {
      auto* c = static_cast<custom_node*>(n);
      const std::size_t align = c->alignment;
      destroy(*c);
      c->~custom_node();
      return deallocate(c, align);
    }
  }
}

}  // namespace

bool drop_unless_last(node& n) noexcept {
  std::uint32_t count = n.holds.load(std::memory_order_relaxed);
  while (count != 1) {
    // release: as in drop(); somebody else will be last.
    if (n.holds.compare_exchange_weak(count, count - 1, std::memory_order_release,
                                      std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

void drop(node* n) noexcept {
  merge_node* half = nullptr;  // merges that are gone but for their hold on the second parent, by `next`
  for (;;) {
    while (n && n->what != kind::todo) {  // I7: up in a loop
      // release: what we did comes before the destruction; acquire: the destroyer sees what everybody did.
      if (n->holds.fetch_sub(1, std::memory_order_acq_rel) != 1) break;
      node* above = n->parent;
      if (n->what == kind::merge) {
        auto* m = static_cast<merge_node*>(n);
        track::gone(*m);
        destroy(*static_cast<cancel_node*>(m));
        m->next = std::exchange(half, m);
      } else {
        destroy(n);
      }
      n = above;
    }
    if (!half) return;
    merge_node* m = std::exchange(half, static_cast<merge_node*>(half->next));
    n = m->second.parent;
    m->~merge_node();
    deallocate(m, alignof(merge_node));
  }
}

void leave(cancel_node& n) noexcept {
  if (cancel_node* above = scope_above(n.parent)) {
    const locked guard(above->lock);
    if (n.linked) unlink(*above, n);
  }
  if (n.what == kind::merge) leave(static_cast<merge_node&>(n).second);  // one deep
}

void release_handle(node* n) noexcept {
  // release/acquire: the one who finds itself last sees what all others did with their handles.
  const std::uint32_t before = n->handles.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & node::number) != 1) return;
  switch (n->what) {
    case kind::todo:
    case kind::root:
    case kind::tether:
    case kind::detached: break;
    case kind::value:
      if (cancel_node* within = node_of(static_cast<value_node*>(n)->within))
        release_handle(within);  // one deep
      break;
    case kind::cancel:
    case kind::deadline:
    case kind::merge:
    case kind::custom: {
      auto* c = static_cast<cancel_node*>(n);
      const std::uint32_t w = c->word.load(std::memory_order_acquire);
      if ((w & word::settled) || (c->what == kind::merge && (w & word::inherited))) {
        // I3: a canceled child leaves its parent with its last handle, though its own children may keep it. One that
        // is not settled yet stays until it is destroyed, so that a walk of the parent finds it and waits. (A walk
        // never waits for an inherited merge: M4.)
        leave(*c);
      } else if (before == 1 && (w & word::verdict) == 0) {
        abandon(*c);
      }
      break;
    }
  }
  drop(n);
}

void context::retain(node_head* n) noexcept {
  retain_handle(static_cast<node&>(*n));
}

void context::release(node_head* head) noexcept {
  auto* n = static_cast<node*>(head);
  if (n->what != kind::todo) release_handle(n);
}

}  // namespace heed::inline v0
