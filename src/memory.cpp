// Roots that bring memory of their own.
#include <heed/error.hpp>
#include <heed/memory.hpp>

#include "track.hpp"
#include "tree.hpp"

#include <algorithm>
#include <new>

namespace heed::inline v0 {
namespace {

// In front of each block.
std::size_t prefix(std::size_t align) noexcept {
  return std::max(align, sizeof(memory*));
}

memory*& owner_of(void* block) noexcept {
  return static_cast<memory**>(block)[-1];
}

context root(scheduler* s, memory& m, std::source_location where) {
  auto* n = ::new (allocate_from(m, sizeof(root_node), 0, alignof(root_node))) root_node(s, &m);
  track::made(*n, where);
  return tree::make(n, &never_ending);
}

}  // namespace

memory::~memory() {
  // relaxed: who destroys it has to know that nobody uses it; this only catches who does not.
  if (users_.load(std::memory_order_relaxed) != 0)
    abort_with("heed: a memory is destroyed before the contexts that are kept in it");
}

void* allocate_from(memory& m, std::size_t size, std::size_t extra, std::size_t align) {
  char* room = static_cast<char*>(m.allocate(prefix(align) + whole_size(size, extra, align), align));
  void* block = room + prefix(align);
  owner_of(block) = &m;
  return block;
}

void deallocate_own(void* block, std::size_t size, std::size_t extra, std::size_t align) noexcept {
  memory& m = *owner_of(block);
  m.deallocate(static_cast<char*>(block) - prefix(align), prefix(align) + whole_size(size, extra, align),
               align);
}

memory& memory_of(const node& n) noexcept {
  auto& mutable_node = const_cast<node&>(n);
  void* block =
      n.what >= kind::cancel ? static_cast<void*>(static_cast<cancel_node*>(&mutable_node)) : &mutable_node;
  return *owner_of(block);
}

context background(memory& m, std::source_location where) {
  return root(nullptr, m, where);
}

context background(scheduler& s, memory& m, std::source_location where) {
  return root(&s, m, where);
}

}  // namespace heed::inline v0
