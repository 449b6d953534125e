// The depots behind the threads' lists of free blocks: one for each size, each with a lock, which hands out pieces of
// slabs and takes them back.
//
//  P1  A block is in one place: in somebody's hands, on one thread's list, or in its slab. `used` counts those of a slab
//      that are not in it.
//  P2  A slab is found from its blocks' addresses: it is aligned to the largest size of a slab, whatever its own.
//  P3  A slab is on its depot's ring exactly while there is something to take from it. One that is all free is freed,
//      unless the depot has no other such: so memory goes back, and who allocates and frees at an edge does not pay
//      for a slab each time.
//  P4  Under a depot's lock nothing is called but heed's own: slabs are made and freed without (I5). So the locks are
//      held for some hundred instructions at most, never two at a time, and no lock is taken under one.
//  P5  fork() waits for nobody. A child that finds a depot locked, its owner being gone, starts it afresh: what was
//      in there is lost to it, and a block of an older age that comes back is left where it is.
#include "pool.hpp"

#include "os.hpp"
#include "sync.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace heed::inline v0::pool {

HEED_POOL_TLS constinit thread_local cache mine{};

namespace {

constexpr std::size_t slab_alignment = 32 * 1024;
constexpr std::size_t first_slab = 1024;  // a program with ten contexts shall not pay for a million
// What malloc may put before a block. Without room for it, slabs that are neighbors would have gaps between them.
constexpr std::size_t malloc_header = 32;

struct slab {
  slab* next;
  slab* prev;
  block* free;  // given back
  char* fresh;  // from here to `end` nothing was ever taken
  char* end;
  std::uint32_t used;
  std::uint32_t age;
};
// Blocks that are multiples of 16 are aligned to 16.
static_assert(sizeof(slab) % 16 == 0);

struct alignas(64) depot {
  futex_lock lock;          // guards all below, and its slabs
  std::uint32_t age = 0;    // how often a child has started it afresh
  slab* ring = nullptr;     // those with something to take; the last ones are all free
  std::size_t bytes = 0;    // in all its slabs
  std::uint32_t empty = 0;  // how many slabs are all free
};

constinit std::array<depot, classes> depots{};
constinit std::atomic<bool> told_fork{false};

[[noreturn]] void no_memory() {
#if defined(__cpp_exceptions)
  throw std::bad_alloc();
#else
  std::abort();
#endif
}

slab* slab_of(block* b) noexcept {
  return reinterpret_cast<slab*>(reinterpret_cast<std::uintptr_t>(b) & ~(slab_alignment - 1));  // P2
}

void append(depot& d, slab* s) noexcept {
  if (!d.ring) {
    s->next = s->prev = d.ring = s;
    return;
  }
  s->next = d.ring;
  s->prev = d.ring->prev;
  s->prev->next = s->next->prev = s;
}

void remove(depot& d, slab* s) noexcept {
  s->next->prev = s->prev;
  s->prev->next = s->next;
  if (d.ring == s) d.ring = s->next == s ? nullptr : s->next;
}

bool exhausted(const slab& s, std::size_t size) noexcept {
  return !s.free && static_cast<std::size_t>(s.end - s.fresh) < size;
}

// A block from the first slab; there is one. The lock is held.
block* take_one(depot& d, std::size_t size) noexcept {
  slab* s = d.ring;
  if (s->used++ == 0) --d.empty;
  block* b = s->free;
  if (b) {
    s->free = b->next;
  } else {
    b = ::new (static_cast<void*>(s->fresh)) block{nullptr};
    s->fresh += size;
  }
  if (exhausted(*s, size)) remove(d, s);  // P3
  return b;
}

// Puts a block back; a slab that is to be freed goes to the list. The lock is held.
void put_one(depot& d, std::size_t size, block* b, slab*& to_free) noexcept {
  slab* s = slab_of(b);
  if (s->age != d.age) return;  // P5
  const bool was_off = exhausted(*s, size);
  b->next = s->free;
  s->free = b;
  if (was_off) {
    append(d, s);
    d.ring = s;  // what was used last is taken first
  }
  if (--s->used != 0) return;
  remove(d, s);
  if (d.empty > 0) {  // P3
    d.bytes -= static_cast<std::size_t>(s->end - reinterpret_cast<char*>(s));
    s->next = to_free;
    to_free = s;
  } else {
    ++d.empty;
    append(d, s);
  }
}

void free_slabs(slab* list) noexcept {
  while (list) {
    slab* s = list;
    list = s->next;
    ::operator delete(static_cast<void*>(s), std::align_val_t(slab_alignment));
  }
}

void forked() noexcept {
  for (depot& d : depots) {
    if (d.lock.try_lock()) {
      d.lock.unlock();
      continue;
    }
    const std::uint32_t next_age = d.age + 1;  // P5
    ::new (&d) depot;
    d.age = next_age;
  }
}

// A slab for a depot that has `in_use` bytes already. Without its lock (P4).
slab* make_slab(std::size_t in_use) {
  // relaxed: whoever does it a second time does no harm.
  if (!told_fork.load(std::memory_order_relaxed)) {
    if (os::try_at_fork(nullptr, nullptr, [] { forked(); }) != 0) no_memory();
    told_fork.store(true, std::memory_order_relaxed);
  }
  const std::size_t size = std::clamp(2 * in_use, first_slab, slab_alignment) - malloc_header;
  void* p = ::operator new(size, std::align_val_t(slab_alignment));
  auto* s = ::new (p) slab{};
  s->fresh = static_cast<char*>(p) + sizeof(slab);
  s->end = static_cast<char*>(p) + size;
  return s;
}

void forget_thread() noexcept {
  mine.over = true;  // first: operator delete may come back here
  slab* to_free = nullptr;
  for (std::size_t c = 0; c < classes; ++c) {
    mine.room[c] = 0;
    if (!mine.first[c]) continue;
    const locked guard(depots[c].lock);
    while (block* b = mine.first[c]) {
      mine.first[c] = b->next;
      put_one(depots[c], size_of(c), b, to_free);
    }
  }
  free_slabs(to_free);
}

// Whether this thread may keep blocks: it must be possible to empty its lists when it ends.
bool may_keep() noexcept {
  if (mine.known || mine.over) return !mine.over;
  mine.over = true;  // for a malloc that comes back here
  if (!os::at_thread_exit([] { forget_thread(); })) return false;
  mine.over = false;
  mine.known = true;
  for (std::size_t c = 0; c < classes; ++c) mine.room[c] = most_kept(c);
  return true;
}

}  // namespace

void* refill(std::size_t size_class) {
  depot& d = depots[size_class];
  const std::size_t size = size_of(size_class);
  const bool keep = may_keep();
  for (;;) {
    std::size_t bytes = 0;
    {
      const locked guard(d.lock);
      if (d.ring) {
        block* got = take_one(d, size);
        // Not all that fits: what is given back next shall not spill at once.
        while (keep && d.ring && mine.room[size_class] > most_kept(size_class) / 2) {
          block* b = take_one(d, size);
          b->next = mine.first[size_class];
          mine.first[size_class] = b;
          --mine.room[size_class];
        }
        return got;
      }
      bytes = d.bytes;
    }
    slab* s = make_slab(bytes);
    const locked guard(d.lock);
    s->age = d.age;
    d.bytes += static_cast<std::size_t>(s->end - reinterpret_cast<char*>(s));
    ++d.empty;
    append(d, s);
  }
}

void spill(void* p, std::size_t size_class) noexcept {
  depot& d = depots[size_class];
  const std::size_t size = size_of(size_class);
  auto* b = ::new (p) block{nullptr};
  slab* to_free = nullptr;
  if (!may_keep()) {
    const locked guard(d.lock);
    put_one(d, size, b, to_free);
  } else {
    if (mine.room[size_class] == 0) {
      const locked guard(d.lock);
      while (mine.room[size_class] < most_kept(size_class) / 2) {
        block* kept = mine.first[size_class];
        mine.first[size_class] = kept->next;
        ++mine.room[size_class];
        put_one(d, size, kept, to_free);
      }
    }
    b->next = mine.first[size_class];
    mine.first[size_class] = b;
    --mine.room[size_class];
  }
  free_slabs(to_free);
}

}  // namespace heed::inline v0::pool
