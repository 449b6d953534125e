// Memory of your own for the contexts below a root.
#pragma once

#include <heed/atomic.hpp>
#include <heed/context.hpp>

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace heed::inline v0 {

/// Where the contexts below a root are kept: an arena for a request, memory that is counted, or limited.
///
/// Implement it and derive from `background(your_memory)`. Each context below that root, with the value or
/// object that it holds, is one block from it; lists of many children, after_funcs, causes and heed's own
/// structures are not. Where no root brings memory this costs nothing: such contexts come from heed's own
/// pool.
///
/// Both functions may be called by any thread at any time, also inside cancel() and inside each other's
/// callers' destructors; none is called by heed with a lock held. It must outlive every context below: its
/// destructor aborts with a message where it does not; see wait_unused(). What std::pmr has fits by two
/// lines: see docs/guide.md.
class HEED_API memory {
 public:
  memory() noexcept = default;
  memory(const memory&) = delete;
  memory& operator=(const memory&) = delete;
  /// Aborts with a message when a context made by `background(*this)`, or one below, is still alive.
  virtual ~memory();

  /// Room for `bytes`, at a multiple of `align`, which is a power of two. Throws (`std::bad_alloc`) when
  /// there is none; then the call that needed it fails with that, and nothing has changed.
  virtual void* allocate(std::size_t bytes, std::size_t align) = 0;
  /// Takes back what allocate() gave for the same two numbers.
  virtual void deallocate(void* room, std::size_t bytes, std::size_t align) noexcept = 0;

  /// Blocks until no context is kept in it any more; what deallocate() did for them is visible then. heed's
  /// own threads may hold a context for a moment longer than the program does: while its deadline fires, or
  /// while a merge that it is in is ended from the other side. So call this first in the destructor of your
  /// class. It waits for good where the program itself still has a context.
  void wait_unused() const noexcept;

 private:
  friend class memory_use;
  sync::atomic<std::uint32_t> users_{0};  // a futex: see src/memory.cpp
};

/// A root whose contexts are kept in `m`. Otherwise like background(). Throws what `m.allocate()` throws.
/// Thread-safe.
HEED_API context background(memory& m, std::source_location where = std::source_location::current());
/// A root with both: time and threads are `s`'s, memory is `m`'s.
HEED_API context background(scheduler& s, memory& m,
                            std::source_location where = std::source_location::current());

}  // namespace heed::inline v0
