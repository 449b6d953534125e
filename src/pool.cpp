// The depots behind the threads' lists of free blocks: one for each size, each with a lock, which hands out pieces of
// slabs and takes them back.
//
//  P1  A block is in one place: in somebody's hands, on one thread's list, in a batch in the depot, or in its slab. `used`
//      counts those of a slab that are not in it.
//  P2  A slab is found from its blocks' addresses: it is aligned to the largest size of a slab, whatever its own.
//  P3  A slab is on its depot's ring exactly while there is something to take from it. One that is all free is freed,
//      unless the depot has no other such: so memory goes back, and who allocates and frees at an edge does not pay
//      for a slab each time.
//      A depot that has little memory keeps what threads spill in batches as they come, so that it is not sorted
//      into slabs one by one to be taken out again; there, memory stays.
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
#include <utility>

namespace heed::inline v0::pool {

HEED_POOL_TLS constinit thread_local cache mine{};

namespace {

constexpr std::size_t slab_alignment = 32 * 1024;
constexpr std::size_t first_slab = 1024;            // a program with ten contexts shall not pay for a million
constexpr std::size_t little = 4 * slab_alignment;  // what a depot may keep in batches
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
  futex_lock lock;           // guards all below, and its slabs
  std::uint32_t age = 0;     // how often a child has started it afresh
  block* batches = nullptr;  // each of as many as move at a time
  slab* ring = nullptr;      // those with something to take; the last ones are all free
  std::size_t bytes = 0;     // in all its slabs
  std::uint32_t empty = 0;   // how many slabs are all free
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

// Up to `most` blocks from the first slab, of which `count` tells how many: at least one. The lock is held.
block* take_some(depot& d, std::size_t size, std::uint16_t most, std::uint16_t& count) noexcept {
  slab* s = d.ring;
  if (s->used == 0) --d.empty;
  block* list = nullptr;
  block** last = &list;
  for (count = 0; count < most && !exhausted(*s, size); ++count) {
    block* b = s->free;
    if (b) {
      s->free = b->next;
    } else {
      b = ::new (static_cast<void*>(s->fresh)) block;
      s->fresh += size;
    }
    *last = b;
    last = &b->next;
  }
  *last = nullptr;
  s->used += count;
  if (exhausted(*s, size)) remove(d, s);  // P3
  return list;
}

// Puts `s`, which has become all free, where such go. The lock is held.
void all_free(depot& d, slab* s, slab*& to_free) noexcept {
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

// Puts blocks back into their slabs; those that are to be freed go to the list. The lock is held.
void put_all(depot& d, std::size_t size, block* list, slab*& to_free) noexcept {
  while (block* b = list) {
    list = b->next;
    slab* s = slab_of(b);
    if (s->age != d.age) continue;  // P5
    if (exhausted(*s, size)) {
      append(d, s);
      d.ring = s;  // what was used last is taken first
    }
    b->next = s->free;
    s->free = b;
    if (--s->used == 0) all_free(d, s, to_free);
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
    put_all(depots[c], size_of(c), std::exchange(mine.first[c], nullptr), to_free);
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
  const std::uint16_t wanted = keep ? most_kept(size_class) / 2 : 1;
  slab* to_free = nullptr;
  block* got = nullptr;
  for (;;) {
    std::size_t bytes = 0;
    {
      const locked guard(d.lock);
      block* batch = d.batches;
      if (batch) d.batches = batch->next_batch;
      std::uint16_t count = wanted;
      if (batch && keep) {
        got = batch;
      } else {
        put_all(d, size, batch, to_free);
        if (d.ring) got = take_some(d, size, wanted, count);
      }
      if (got) {
        if (!keep) break;
        mine.first[size_class] = got->next;
        mine.room[size_class] = static_cast<std::uint16_t>(most_kept(size_class) - count + 1);
        return got;
      }
      bytes = d.bytes;
    }
    slab* s = make_slab(bytes);
    {
      const locked guard(d.lock);
      s->age = d.age;
      d.bytes += static_cast<std::size_t>(s->end - reinterpret_cast<char*>(s));
      ++d.empty;
      append(d, s);
    }
    // A foreign operator new may have filled the list meanwhile.
    if (mine.first[size_class]) return take(size);
  }
  free_slabs(to_free);
  return got;
}

void spill(void* p, std::size_t size_class) noexcept {
  depot& d = depots[size_class];
  const std::size_t size = size_of(size_class);
  block* b = ::new (p) block;
  b->next = nullptr;
  slab* to_free = nullptr;
  if (!may_keep()) {
    const locked guard(d.lock);
    put_all(d, size, b, to_free);
  } else {
    if (mine.room[size_class] == 0) {
      // The half that was given last: the caches still have it.
      const std::uint16_t half = most_kept(size_class) / 2;
      block* batch = mine.first[size_class];
      block* last = batch;
      for (std::uint16_t i = 1; i < half; ++i) last = last->next;
      mine.first[size_class] = std::exchange(last->next, nullptr);
      mine.room[size_class] = half;
      const locked guard(d.lock);
      if (d.bytes <= little) {
        batch->next_batch = d.batches;
        d.batches = batch;
      } else {
        put_all(d, size, batch, to_free);
      }
    }
    b->next = mine.first[size_class];
    mine.first[size_class] = b;
    --mine.room[size_class];
  }
  free_slabs(to_free);
}

}  // namespace heed::inline v0::pool
