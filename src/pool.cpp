// The depots behind the threads' lists of free blocks: one for each size, each with a lock, which hands out
// pieces of slabs and takes them back.
//
//  P1  A block is in one place: in somebody's hands, on one thread's list, in a batch in the depot, or in its
//      slab. `used` counts those of a slab that are not in it.
//  P2  A slab is found from its blocks' addresses: at each multiple of a granule's size in it stands its
//      address, and no block lies across one. So it need not be aligned. (An aligned one for each slab would
//      be simpler. But operator new rounds what is aligned up to its alignment, malloc puts a header before,
//      and the gaps up to the next one cost a fifth of all memory.)
//  P3  A slab is on its depot's ring exactly while there is something to take from it. One that is all free
//      is freed, but for a few: so memory goes back, and who allocates and frees at an edge does not pay for
//      a slab each time. A depot that has little memory keeps what threads spill in batches as they come, so
//      that it is not sorted into slabs one by one to be taken out again; there, memory stays.
//  P4  Under a depot's lock nothing is called but heed's own: slabs are made and freed without (I5). So the
//      locks are held for some hundred instructions at most, never two at a time, and no lock is taken under
//      one.
//  P5  fork() waits for nobody. A child that finds a depot locked, its owner being gone, starts it afresh:
//      what was in there is lost to it, and a block of an older age that comes back is left where it is.
#include <heed/atomic.hpp>

#include "pool.hpp"

#include "annotations.hpp"
#include "os.hpp"
#include "sync.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace heed::inline v0::pool {

HEED_POOL_TLS constinit thread_local cache mine{};

namespace {

constexpr std::size_t granule = 8UL * 1024;
constexpr std::size_t first_slab = 1024;  // a program with ten contexts shall not pay for a million
constexpr std::size_t middle_slab = 64UL * 1024;
constexpr std::size_t last_slab = 512UL * 1024;
constexpr std::size_t little = 256UL * 1024;  // what a depot may keep in batches
constexpr std::size_t most_spare =
    4UL * 1024 * 1024;  // in slabs that are all free, of all depots; but each may have one

struct slab;
// Blocks that are multiples of 16 are aligned to 16, so what is in front of them is, too.
struct alignas(16) granule_head {
  slab* of;
};
struct slab : granule_head {
  slab* next;
  slab* prev;
  block* free;  // given back
  char* fresh;  // from here on nothing was ever taken; null: all was
  char* end;
  std::uint32_t used;
  std::uint32_t age;
};

struct alignas(64) depot {
  futex_lock lock;                                 // guards all below, and its slabs
  std::uint32_t age HEED_GUARDED_BY(lock) = 0;     // how often a child has started it afresh
  block* batches HEED_GUARDED_BY(lock) = nullptr;  // each of as many as move at a time
  slab* ring HEED_GUARDED_BY(lock) = nullptr;      // those with something to take; the last ones are all free
  std::size_t bytes HEED_GUARDED_BY(lock) = 0;     // in all its slabs
  std::size_t empty HEED_GUARDED_BY(lock) = 0;     // how many slabs are all free
  std::size_t out HEED_GUARDED_BY(lock) = 0;       // how many blocks are not here
};

constinit std::array<depot, classes> depots{};
constinit sync::atomic<bool> told_fork{false};
constinit sync::atomic<std::size_t> spare{0};  // bytes in slabs that are all free

[[noreturn]] void no_memory() {
#if defined(__cpp_exceptions)
  throw std::bad_alloc();
#else
  std::abort();
#endif
}

slab* slab_of(block* b) noexcept {
  return reinterpret_cast<granule_head*>(reinterpret_cast<std::uintptr_t>(b) & ~(granule - 1))->of;  // P2
}

void append(depot& d, slab* s) noexcept HEED_REQUIRES(d.lock) {
  if (!d.ring) {
    s->next = s->prev = d.ring = s;
    return;
  }
  s->next = d.ring;
  s->prev = d.ring->prev;
  s->prev->next = s->next->prev = s;
}

void remove(depot& d, slab* s) noexcept HEED_REQUIRES(d.lock) {
  s->next->prev = s->prev;
  s->prev->next = s->next;
  if (d.ring == s) d.ring = s->next == s ? nullptr : s->next;
}

bool exhausted(const slab& s) noexcept {
  return !s.free && !s.fresh;
}

std::size_t bytes_of(const slab& s) noexcept {
  return static_cast<std::size_t>(s.end - reinterpret_cast<const char*>(&s));
}

// Where the next block is, if `p` is the first that may be used before the next granule; null: there is no
// room.
char* block_at(slab& s, char* p, bool in_granule, std::size_t size) noexcept {
  char* const border = p + (granule - reinterpret_cast<std::uintptr_t>(p) % granule) % granule;
  if (in_granule && static_cast<std::size_t>(std::min(border, s.end) - p) >= size) return p;
  if (border > s.end || static_cast<std::size_t>(s.end - border) < sizeof(granule_head) + size)
    return nullptr;
  return reinterpret_cast<char*>(::new (static_cast<void*>(border)) granule_head{&s} + 1);
}

// A slab of `d` is all free now, or is not any more. relaxed: a number, and nothing behind it.
void count_spare(depot& d, const slab& s) noexcept HEED_REQUIRES(d.lock) {
  ++d.empty;
  spare.fetch_add(bytes_of(s), std::memory_order_relaxed);
}
void count_used(depot& d, const slab& s) noexcept HEED_REQUIRES(d.lock) {
  --d.empty;
  spare.fetch_sub(bytes_of(s), std::memory_order_relaxed);
}

// Blocks in the order in which they were added; the last one's `next` is for who uses them to set.
struct chain {
  block* first = nullptr;
  block** end = &first;
  chain() = default;
  chain(const chain&) = delete;
  chain& operator=(const chain&) = delete;
  void add(block* b) noexcept {
    *end = b;
    end = &b->next;
  }
  void add_all_of(chain& other) noexcept {
    if (!other.first) return;
    *end = other.first;
    end = other.end;
    other.first = nullptr;
    other.end = &other.first;
  }
};

// Up to `most` blocks from the first slab, of which `count` tells how many: at least one. The lock is held.
//
// Of sixteen every other one first: so what a thread makes next after a parent that others use, too, is
// mostly not on a line of memory with that. (Of more, or fewer, or where the next sixteen begin with the
// others, a walk over a million children is slower by half.)
block* take_some(depot& d, std::size_t size, std::uint16_t most, std::uint16_t& count) noexcept
    HEED_REQUIRES(d.lock) {
  slab* s = d.ring;
  if (s->used == 0) count_used(d, *s);
  chain list;
  chain put_off;
  for (count = 0; count < most && !exhausted(*s); ++count) {
    block* b = s->free;
    if (b) {
      s->free = b->next;
    } else {
      b = ::new (static_cast<void*>(s->fresh)) block;
      s->fresh = block_at(*s, s->fresh + size, true, size);
    }
    if (count % 16 == 0) list.add_all_of(put_off);
    (count % 2 == 0 ? list : put_off).add(b);
  }
  list.add_all_of(put_off);
  *list.end = nullptr;
  s->used += count;
  d.out += count;
  if (exhausted(*s)) remove(d, s);  // P3
  return list.first;
}

// A slab that is small is aligned: it begins with its only granule.
bool is_aligned(std::size_t slab_bytes) noexcept {
  return slab_bytes < granule;
}

// Puts `s`, which has become all free, where such go. The lock is held.
void all_free(depot& d, slab* s, slab*& to_free) noexcept HEED_REQUIRES(d.lock) {
  remove(d, s);
  // relaxed: as above. A few bytes too many do no harm.
  if (d.empty == 0 || spare.load(std::memory_order_relaxed) + bytes_of(*s) <= most_spare) {  // P3
    count_spare(d, *s);
    append(d, s);
  } else {
    d.bytes -= bytes_of(*s);
    s->next = to_free;
    to_free = s;
  }
}

// Puts blocks back into their slabs; those that are to be freed go to the list. The lock is held.
void put_all(depot& d, block* list, slab*& to_free) noexcept HEED_REQUIRES(d.lock) {
  while (block* b = list) {
    list = b->next;
    slab* s = slab_of(b);
    if (s->age != d.age) continue;  // P5
    if (exhausted(*s)) {
      append(d, s);
      d.ring = s;  // what was used last is taken first
    }
    b->next = s->free;
    s->free = b;
    --d.out;
    if (--s->used == 0) all_free(d, s, to_free);
  }
}

void free_slabs(slab* list) noexcept {
  while (list) {
    slab* s = list;
    list = s->next;
    if (is_aligned(bytes_of(*s))) {
      ::operator delete(static_cast<void*>(s), std::align_val_t(granule));
    } else {
      ::operator delete(static_cast<void*>(s));
    }
  }
}

// Unchecked: the child has one thread, and a depot that was locked is made anew.
void forked() noexcept HEED_UNCHECKED {
  for (depot& d : depots) {
    if (d.lock.try_lock()) {
      d.lock.unlock();
      continue;
    }
    const std::uint32_t next_age = d.age + 1;  // P5. What was spare here counts on.
    ::new (&d) depot;
    d.age = next_age;
  }
}

// A slab for a depot that has `in_use` bytes already. Without its lock (P4).
slab* make_slab(std::size_t in_use, std::size_t block_size) {
  // relaxed: whoever does it a second time does no harm.
  if (!told_fork.load(std::memory_order_relaxed)) {
    if (os::try_at_fork(nullptr, nullptr, [] { forked(); }) != 0) no_memory();
    told_fork.store(true, std::memory_order_relaxed);
  }
  // Later ones are a small part of all, so that little is unused.
  const std::size_t bytes =
      std::max(first_slab, std::min(2 * in_use, std::clamp(in_use / 16, middle_slab, last_slab)));
  const bool aligned = is_aligned(bytes);
  void* p = aligned ? ::operator new(bytes, std::align_val_t(granule)) : ::operator new(bytes);
  auto* s = ::new (p) slab{};
  s->of = s;
  s->end = static_cast<char*>(p) + bytes;
  s->fresh = block_at(*s, static_cast<char*>(p) + sizeof(slab), aligned, block_size);
  return s;
}

void forget_thread() noexcept {
  mine.over = true;  // first: operator delete may come back here
  slab* to_free = nullptr;
  for (std::size_t c = 0; c < classes; ++c) {
    mine.room[c] = 0;
    if (!mine.first[c]) continue;
    const locked guard(depots[c].lock);
    put_all(depots[c], std::exchange(mine.first[c], nullptr), to_free);
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
  const auto wanted = static_cast<std::uint16_t>(keep ? most_kept(size_class) / 2 : 1);
  slab* to_free = nullptr;
  block* got = nullptr;
  for (;;) {
    std::size_t bytes = 0;
    {
      const locked guard(d.lock);
      block* batch = d.batches;
      if (batch) {
        d.batches = batch->next_batch;
        d.out += most_kept(size_class) / 2;
      }
      std::uint16_t count = wanted;
      if (batch && keep) {
        got = batch;
      } else {
        put_all(d, batch, to_free);
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
    slab* s = make_slab(bytes, size);
    {
      const locked guard(d.lock);
      s->age = d.age;
      d.bytes += bytes_of(*s);
      count_spare(d, *s);
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
  block* b = ::new (p) block;
  b->next = nullptr;
  slab* to_free = nullptr;
  if (!may_keep()) {
    const locked guard(d.lock);
    put_all(d, b, to_free);
  } else {
    if (mine.room[size_class] == 0) {
      const std::uint16_t half = most_kept(size_class) / 2;
      mine.room[size_class] = half;
      const locked guard(d.lock);
      if (d.bytes <= little) {
        // The half that was given last: the caches still have it.
        block* batch = mine.first[size_class];
        block* last = batch;
        for (std::uint16_t i = 1; i < half; ++i) last = last->next;
        mine.first[size_class] = std::exchange(last->next, nullptr);
        batch->next_batch = d.batches;
        d.batches = batch;
        d.out -= half;
      } else {
        // All of it: each block that is kept may keep a slab.
        put_all(d, std::exchange(mine.first[size_class], nullptr), to_free);
      }
    }
    b->next = mine.first[size_class];
    mine.first[size_class] = b;
    --mine.room[size_class];
  }
  free_slabs(to_free);
}

std::size_t out(std::size_t size_class) noexcept {
  const locked guard(depots[size_class].lock);
  return depots[size_class].out;
}

}  // namespace heed::inline v0::pool
