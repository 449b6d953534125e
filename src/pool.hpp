// The memory of nodes and of other small things: a list of free blocks for each thread and size, which take()
// and give() use without a lock or a call. Behind them are the depots (pool.cpp), which the lists are filled
// from and emptied into, and which give memory back.
//
// It calls operator new and operator delete, which may be foreign: so take() and give() are called without
// any of heed's locks held (I5). Neither may be called by a signal handler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

// Under sanitizers it is off, as it would hide from them who touches what is free; but its own tests want it
// there. And those that count allocations want each block from operator new.
#if defined(__has_feature)
#define HEED_POOL_HAS_FEATURE(name) __has_feature(name)
#else
#define HEED_POOL_HAS_FEATURE(name) 0
#endif

// Without this attribute, position-independent code calls __tls_get_addr() for each access. Only glibc keeps
// room for such variables in libraries that are loaded later.
#if defined(__GLIBC__)
#define HEED_POOL_TLS [[gnu::tls_model("initial-exec")]]
#else
#define HEED_POOL_TLS
#endif

namespace heed::inline v0::pool {

#if defined(HEED_POOL_ALWAYS)
inline constexpr bool on = true;
#elif defined(HEED_POOL_OFF)
inline constexpr bool on = false;
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                     \
    HEED_POOL_HAS_FEATURE(address_sanitizer) || HEED_POOL_HAS_FEATURE(thread_sanitizer) || \
    HEED_POOL_HAS_FEATURE(memory_sanitizer)
inline constexpr bool on = false;
#else
inline constexpr bool on = true;
#endif

// Larger ones come straight from operator new.
inline constexpr std::size_t largest = 248;  // a late value of eight bytes with its index
inline constexpr std::size_t classes = largest / 8;

struct block {
  block* next;
  block* next_batch;  // in a depot
};

constexpr std::size_t class_of(std::size_t bytes) noexcept {
  return ((bytes < sizeof(block) ? sizeof(block) : bytes) - 1) / 8;
}
constexpr std::size_t size_of(std::size_t size_class) noexcept {
  return (size_class + 1) * 8;
}
// How many free blocks a thread keeps at most; half of them move at a time.
constexpr std::uint16_t most_kept(std::size_t size_class) noexcept {
  return size_of(size_class) <= 128 ? 64 : 32;
}

// Of one thread; all zero: it has not freed anything yet, or is about to end.
struct cache {
  std::array<block*, classes> first;
  std::array<std::uint16_t, classes> room;  // for how many more
  bool known;                               // will be emptied when the thread ends
  bool over;                                // has been emptied, or never will be: nothing may be kept
};

HEED_POOL_TLS extern constinit thread_local cache mine;

// How many blocks are in somebody's hands or on threads' lists. For tests.
std::size_t out(std::size_t size_class) noexcept;

// The rare halves of the two below.
void* refill(std::size_t size_class);
void spill(void* p, std::size_t size_class) noexcept;

// The same as take() where this thread's list has one; else null.
inline void* take_quickly(std::size_t bytes) {
#if defined(HEED_MODEL)
  return ::operator new(bytes);  // the model checker has no pool, and is to see who takes this way
#elif !defined(HEED_POOL_OFF)
  if (!on) return ::operator new(bytes);  // sanitizers, too
#endif
  if (!on || bytes > largest) return nullptr;
  const std::size_t c = class_of(bytes);
  block* b = mine.first[c];
  if (!b) [[unlikely]]
    return nullptr;
  mine.first[c] = b->next;
  ++mine.room[c];
  return b;
}

// Room for `bytes`, aligned to 8, and to 16 where `bytes` is a multiple of 16. Throws what operator new
// throws, and then nothing has changed.
inline void* take(std::size_t bytes) {
  if (!on || bytes > largest) return ::operator new(bytes);
  void* b = take_quickly(bytes);
  return b ? b : refill(class_of(bytes));
}

// Gives back what take(words * 8) gave, on any thread; `words`: 2 at least, and no more than `largest` has.
// False: this thread's list is full, and nothing has happened.
inline bool give_quickly(void* p, std::size_t words) noexcept {
#if defined(HEED_MODEL)
  ::operator delete(p);  // as in take_quickly()
  return true;
#endif
  const std::size_t c = words - 1;
  if (!on || mine.room[c] == 0) [[unlikely]]
    return false;
  block* b = ::new (p) block;
  b->next = mine.first[c];
  mine.first[c] = b;
  --mine.room[c];
  return true;
}
inline void give_words(void* p, std::size_t words) noexcept {
  if (!on) return ::operator delete(p);
  if (!give_quickly(p, words)) [[unlikely]]
    spill(p, words - 1);
}

// The same in bytes.
inline void give(void* p, std::size_t bytes) noexcept {
  if (!on || bytes > largest) return ::operator delete(p);
  give_words(p, class_of(bytes) + 1);
}

}  // namespace heed::inline v0::pool
