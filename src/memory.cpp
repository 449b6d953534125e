// Roots that bring memory of their own.
#include <heed/error.hpp>
#include <heed/memory.hpp>

#include "os.hpp"
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

// In users_, besides the number: somebody sleeps in wait_unused().
static constexpr std::uint32_t awaited = 1U << 31;

void memory_use::add(memory& m) noexcept {
  m.users_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count; the caller keeps the memory
}

void memory_use::remove(memory& m) noexcept {
  const sync::atomic<std::uint32_t>& word = m.users_;  // its address is all that is used after the next line
  // release: what deallocate() did, for who waits.
  if (m.users_.fetch_sub(1, std::memory_order_release) == (awaited | 1)) os::wake_all(word);
}

void memory::wait_unused() const noexcept {
  auto& word = const_cast<sync::atomic<std::uint32_t>&>(users_);
  for (;;) {
    // acquire: pairs with remove().
    std::uint32_t now = word.load(std::memory_order_acquire);
    if ((now & ~awaited) == 0) return;
    // relaxed: it only asks to be woken. The mark stays; later it costs a system call for each last root.
    if ((now & awaited) || word.compare_exchange_weak(now, now | awaited, std::memory_order_relaxed))
      os::wait(word, now | awaited);
  }
}

memory::~memory() {
  // relaxed: who destroys it has to know that nobody uses it; this only catches who does not.
  if ((users_.load(std::memory_order_relaxed) & ~awaited) != 0)
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
