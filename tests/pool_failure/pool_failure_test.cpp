// I11 with the pool on: what a thread keeps is there, and no more is to be had.
#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace {
thread_local bool no_more = false;
}

void* operator new(std::size_t n) {
  void* p = no_more ? nullptr : std::malloc(n);
  if (!p) throw std::bad_alloc();
  return p;
}
void* operator new(std::size_t n, std::align_val_t a) {
  const auto align = static_cast<std::size_t>(a);
  void* p = no_more ? nullptr : std::aligned_alloc(align, (n + align - 1) / align * align);
  if (!p) throw std::bad_alloc();
  return p;
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}

// The second child needs a chunk. (Where this fails, the child is left with what is above it.)
TEST(PoolFailure, AChildThatCannotBeHungIsGone) {
  const heed::key<std::shared_ptr<int>> k("kept above");
  auto kept = std::make_shared<int>(1);
  const std::weak_ptr<int> still = kept;
  {
    auto parent = heed::with_cancel(heed::with_value(heed::background(), k, std::move(kept)));
    auto first = heed::with_cancel(parent.ctx);
    { auto freed = heed::with_cancel(heed::background()); }
    bool failed = false;
    no_more = true;
    try {
      auto second = heed::with_cancel(parent.ctx);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    no_more = false;
    EXPECT_TRUE(failed);
    EXPECT_FALSE(parent.ctx.done());
  }
  EXPECT_TRUE(still.expired());
}
