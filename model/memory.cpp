// The memory model, by views: for each atomic the values it had, in order; for each thread, and with each
// value that was released, how far they are known. A load may give any value that its thread does not know to
// be replaced. Beside it, clocks for plain memory: an access that is not ordered after the last write, or
// that comes after the free, is an error.
#include "memory.hpp"

#include "atomics.hpp"
#include "engine.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

namespace model {

bool running = false;
unsigned current = 0;
int own_allocations = 0;

namespace {

constexpr std::size_t most_atomics = 2048;  // a timer wheel has 512
constexpr std::uint16_t kept = 4;           // values of an atomic that may still be read

struct view {
  std::array<std::uint32_t, threads> clock;
  std::array<std::uint16_t, most_atomics> seen;  // for each atomic: the oldest value that may be read
};
std::uint16_t atomics = 0;  // how many there are: so much of `seen` counts

void join_into(view& to, const view& from) {
  for (unsigned t = 0; t < threads; ++t) to.clock[t] = std::max(to.clock[t], from.clock[t]);
  for (std::uint16_t i = 0; i < atomics; ++i) to.seen[i] = std::max(to.seen[i], from.seen[i]);
}
void copy_into(view& to, const view& from) {
  to.clock = from.clock;
  std::copy_n(from.seen.begin(), atomics, to.seen.begin());
}

struct message {
  std::uint64_t value;
  bool released;
  std::uint16_t known;  // how many atomics there were: the rest of the view is 0
  view by;
};
struct location {
  const void* at;
  std::uint16_t number;
  std::uint16_t count;  // values so far
  std::uint8_t size;
  std::uint16_t seen_in_order;  // the newest that a seq_cst operation has read or written
  unsigned char touched_by;     // a bit for each thread, while several run
  bool freed;
  std::array<message, kept> last;
  message& value(std::uint16_t n) { return last[n % kept]; }
};

// Who touched a byte last.
struct cell {
  std::array<std::uint32_t, threads> read;
  std::array<std::uint32_t, threads> by_atomic;
  std::uint32_t written;
  std::uint8_t writer;
  bool freed;
};
constexpr std::size_t room = 64 * 1024;  // for each thread
struct alignas(64) arena {
  std::array<std::array<unsigned char, room>, threads> memory;
};
arena heap;
std::vector<cell> cells(threads* room);
std::array<std::size_t, threads> used;
std::size_t live = 0;

std::array<view, threads> views;
view calls;  // what all system calls have seen
std::vector<location> locations(most_atomics);

// What is known of an address: which location it is in this execution, and whether threads share it. A table
// of our own, as every step looks here, and nothing is to be taken out when an execution ends.
struct entry {
  const void* at = nullptr;
  std::uint32_t execution = 0;
  std::uint16_t number = 0;
  bool shared = false;
};
constexpr std::size_t entries = 1 << 15;
std::vector<entry> table(entries);
std::uint32_t execution = 1;

entry& entry_of(const void* at) {
  std::size_t i = (reinterpret_cast<std::uintptr_t>(at) >> 1) * 0x9E3779B97F4A7C15U >> (64 - 15);
  for (std::size_t tries = 0; tries < entries; ++tries, i = (i + 1) % entries) {
    if (table[i].at == at) return table[i];
    if (table[i].at) continue;
    table[i].at = at;
    return table[i];
  }
  fail("the kernel has too many addresses");
}

bool more_shared = false;
unsigned alive = 0;  // threads besides 0

bool inside(const void* p) {
  const auto* c = static_cast<const unsigned char*>(p);
  return c >= heap.memory.front().data() && c < heap.memory.back().data() + room;
}
cell& cell_of(const void* p) {
  return cells[static_cast<std::size_t>(static_cast<const unsigned char*>(p) - heap.memory.front().data())];
}
std::string place(const void* p) {
  const auto offset =
      static_cast<std::size_t>(static_cast<const unsigned char*>(p) - heap.memory.front().data());
  return "thread " + std::to_string(offset / room) + "'s memory + " + std::to_string(offset % room);
}

void plain(const void* p, std::size_t size, bool write) {
  if (!running || !inside(p)) return;
  const auto& now = views[current].clock;
  for (std::size_t i = 0; i < size; ++i) {
    cell& c = cell_of(static_cast<const unsigned char*>(p) + i);
    if (c.freed) fail("use after free of " + place(p));
    if (c.writer != current && c.written > now[c.writer])
      fail("race: thread " + std::to_string(current) + "'s access is not ordered after thread " +
           std::to_string(c.writer) + "'s write of " + place(p));
    if (!write) {
      c.read[current] = now[current];
      continue;
    }
    for (unsigned t = 0; t < threads; ++t) {
      if (t != current && (c.read[t] > now[t] || c.by_atomic[t] > now[t]))
        fail("race: thread " + std::to_string(current) + "'s write is not ordered after thread " +
             std::to_string(t) + "'s access of " + place(static_cast<const unsigned char*>(p) + i));
    }
    c.writer = static_cast<std::uint8_t>(current);
    c.written = now[current];
  }
}

void atomically(const void* p, std::size_t size) {
  if (!inside(p)) return;
  const auto& now = views[current].clock;
  for (std::size_t i = 0; i < size; ++i) {
    cell& c = cell_of(static_cast<const unsigned char*>(p) + i);
    if (c.freed) fail("use after free (atomic) of " + place(p));
    if (c.writer != current && c.written > now[c.writer])
      fail("an atomic is used before its making is visible: " + place(p));
    c.by_atomic[current] = now[current];
  }
}

location& find(const void* at, std::size_t size) {
  entry& e = entry_of(at);
  if (e.execution == execution) return locations[e.number];
  if (atomics == most_atomics) fail("the kernel has too many atomics");
  const own_memory guard;
  location& l = locations[atomics];
  l.at = at;
  l.number = atomics;
  l.count = 1;
  l.size = static_cast<std::uint8_t>(size);
  l.seen_in_order = 0;
  l.touched_by = 0;
  message& first = l.value(0);
  first.value = 0;
  std::memcpy(&first.value, at, size);
  first.released = false;
  for (view& v : views) v.seen[atomics] = 0;
  calls.seen[atomics] = 0;
  e.execution = execution;
  e.number = atomics++;
  return l;
}

// Every step begins so.
location& step(const void* at, std::size_t size) {
  location& l = find(at, size);
  count_step();
  if (alive > 0) {
    l.touched_by = static_cast<unsigned char>(l.touched_by | 1U << current);
    entry& e = entry_of(at);
    if ((l.touched_by & (l.touched_by - 1)) != 0 && !std::exchange(e.shared, true)) more_shared = true;
    if (replays() || e.shared) yield();
  }
  ++views[current].clock[current];
  return l;
}

bool acquires(std::memory_order o) {
  return o == std::memory_order_acquire || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}
bool releases(std::memory_order o) {
  return o == std::memory_order_release || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}

// Joins what came with a value; its view knows only the atomics that there were.
void learn(view& to, const message& m) {
  for (unsigned t = 0; t < threads; ++t) to.clock[t] = std::max(to.clock[t], m.by.clock[t]);
  for (std::uint16_t i = 0; i < m.known; ++i) to.seen[i] = std::max(to.seen[i], m.by.seen[i]);
}

std::uint64_t read(location& l, std::uint16_t which, std::memory_order o) {
  view& mine = views[current];
  message& m = l.value(which);
  mine.seen[l.number] = std::max(mine.seen[l.number], which);
  if (acquires(o) && m.released) learn(mine, m);
  return m.value;
}

// One that the thread may read: the newest, or by the explorer's choice an older one.
std::uint16_t pick(location& l) {
  const std::uint16_t newest_one = l.count - 1;
  std::uint16_t oldest = views[current].seen[l.number];
  if (l.count > kept) oldest = std::max(oldest, static_cast<std::uint16_t>(l.count - kept));
  if (oldest == newest_one || !may_read_stale()) return newest_one;
  const int back = choose(what::read, newest_one - oldest + 1, 8);
  if (back > 0) has_read_stale();
  return static_cast<std::uint16_t>(newest_one - back);
}

// `after`: of a read-modify-write, the value it read. It goes on with that one's release sequence.
void write(location& l, std::uint64_t value, std::memory_order o, bool modifies) {
  view& mine = views[current];
  const std::uint16_t number = l.count++;
  message& m = l.value(number);
  const message* before = modifies ? &l.value(static_cast<std::uint16_t>(number - 1)) : nullptr;
  m.value = value;
  mine.seen[l.number] = number;
  m.released = releases(o) || (before && before->released);
  if (m.released) {
    m.known = atomics;
    if (releases(o)) {
      copy_into(m.by, mine);
    } else {
      m.by.clock.fill(0);
      std::fill_n(m.by.seen.begin(), atomics, std::uint16_t{0});
    }
    if (before && before->released) learn(m.by, *before);
  }
  std::memcpy(const_cast<void*>(l.at), &value, l.size);
}

// The one order of all seq_cst operations is that in which they run here: none reads what is older than what
// such a one before it has read or written at the same place. That is all; they are no fences.
void raise(const location& l) {
  std::uint16_t& mine = views[current].seen[l.number];
  mine = std::max(mine, l.seen_in_order);
}
struct in_order {
  in_order(location& l, std::memory_order o) : place(l), is(o == std::memory_order_seq_cst) {
    if (is) raise(l);
  }
  ~in_order() {
    if (is) place.seen_in_order = std::max(place.seen_in_order, views[current].seen[place.number]);
  }
  location& place;
  bool is;
};

std::uint64_t mask(std::size_t size) {
  return size == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * size) - 1;
}

std::uint64_t direct(const void* at, std::size_t size) {
  std::uint64_t v = 0;
  std::memcpy(&v, at, size);
  return v;
}

std::uint64_t changed(change c, std::uint64_t old, std::uint64_t operand, std::size_t size) {
  switch (c) {
    case change::exchange: return operand;
    case change::add: return (old + operand) & mask(size);
    case change::sub: return (old - operand) & mask(size);
    case change::fetch_or: return old | operand;
    case change::fetch_and: return old & operand;
  }
  return old;
}

}  // namespace

std::uint64_t load(const void* at, std::size_t size, std::memory_order o) noexcept {
  if (!running) return direct(at, size);
  location& l = step(at, size);
  atomically(at, size);
  const in_order s(l, o);
  return read(l, pick(l), o);
}

void store(void* at, std::size_t size, std::uint64_t value, std::memory_order o) noexcept {
  if (!running) {
    std::memcpy(at, &value, size);
    return;
  }
  location& l = step(at, size);
  atomically(at, size);
  const in_order s(l, o);
  write(l, value, o, false);
}

std::uint64_t modify(void* at, std::size_t size, change c, std::uint64_t operand,
                     std::memory_order o) noexcept {
  if (!running) {
    const std::uint64_t old = direct(at, size), after = changed(c, old, operand, size);
    std::memcpy(at, &after, size);
    return old;
  }
  location& l = step(at, size);
  atomically(at, size);
  const in_order s(l, o);
  const std::uint64_t old = read(l, l.count - 1, o);
  write(l, changed(c, old, operand, size), o, true);
  return old;
}

bool compare_exchange(void* at, std::size_t size, std::uint64_t& expected, std::uint64_t desired,
                      std::memory_order success, std::memory_order failure) noexcept {
  if (!running) {
    const std::uint64_t old = direct(at, size);
    if (old != expected) {
      expected = old;
      return false;
    }
    std::memcpy(at, &desired, size);
    return true;
  }
  location& l = step(at, size);
  atomically(at, size);
  // Where it fails, it is a load, which may give an older value, too.
  if (failure == std::memory_order_seq_cst) raise(l);
  const std::uint16_t which = pick(l);
  const bool is_newest = which == l.count - 1;
  if (l.value(which).value != expected || !is_newest) {
    if (l.value(which).value != expected) {
      const in_order s(l, failure);
      expected = read(l, which, failure);
      return false;
    }
    // An old value that is what was expected: a read-modify-write reads the newest.
    if (l.value(l.count - 1).value != expected) {
      const in_order s(l, failure);
      expected = read(l, l.count - 1, failure);
      return false;
    }
  }
  const in_order s(l, success);
  read(l, l.count - 1, success);
  write(l, desired, success, true);
  return true;
}

void system_call(const void* on) {
  if (!running) return;
  step(on, 0);
  // Its address may be all that is left of it: not looked at. The kernel's own locks, as one.
  join_into(views[current], calls);
  join_into(calls, views[current]);
}

// Of the writes alone: for plain memory it orders nothing.
void barrier_everywhere() {
  if (!running) return;
  count_step();
  yield();
  view& mine = views[current];
  for (const view& v : views)
    for (std::uint16_t i = 0; i < atomics; ++i) mine.seen[i] = std::max(mine.seen[i], v.seen[i]);
  for (view& v : views) std::copy_n(mine.seen.begin(), atomics, v.seen.begin());
}

void look(const void* on) {
  if (running) step(on, 0);
}

std::uint32_t newest(const void* at) {
  if (const entry& e = entry_of(at); e.execution == execution && locations[e.number].size != 0) {
    location& l = locations[e.number];
    return static_cast<std::uint32_t>(l.value(l.count - 1).value);
  }
  std::uint32_t v = 0;
  std::memcpy(&v, at, sizeof v);
  return v;
}

void start_memory() {
  for (unsigned t = 0; t < threads; ++t) {
    std::fill_n(cells.begin() + static_cast<std::ptrdiff_t>(t * room), used[t], cell{});
    used[t] = 0;
    views[t].clock.fill(0);
    views[t].clock[t] = 1;
  }
  calls.clock.fill(0);
  atomics = 0;
  ++execution;
  live = 0;
  alive = 0;
}

void end_memory() {
  if (live != 0) fail("leak: " + std::to_string(live) + " blocks are left");
}

void born(unsigned t) {
  ++views[current].clock[current];
  copy_into(views[t], views[current]);
  views[t].clock[t] = 1;
  ++alive;
}

void seen(unsigned t) {
  join_into(views[current], views[t]);
}
void joined(unsigned t) {
  seen(t);
  --alive;
}

void forget_shared() {
  table.assign(entries, {});
  more_shared = false;
}

bool shares_more() {
  return std::exchange(more_shared, false);
}

static void* take(std::size_t size) {
  if (!running || own_allocations > 0) {
    void* p = std::malloc(size ? size : 1);
    if (!p) std::abort();
    return p;
  }
  const std::size_t whole = (size + 16 + 15) & ~std::size_t{15};
  if (used[current] + whole > room) fail("the kernel needs more memory");
  unsigned char* block = heap.memory[current].data() + used[current];
  used[current] += whole;
  *reinterpret_cast<std::size_t*>(block) = size;
  ++live;
  plain(block + 16, size, true);
  return block + 16;
}

// Memory is not used again within an execution, so that every use after this is found.
static void give(void* p) noexcept {
  if (!p) return;
  if (!inside(p)) return std::free(p);
  auto* block = static_cast<unsigned char*>(p) - 16;
  const std::size_t size = *reinterpret_cast<std::size_t*>(block);
  if (running) {
    plain(p, size, true);  // ordered after all uses
    for (std::size_t i = 0; i < size; ++i) cell_of(static_cast<unsigned char*>(p) + i).freed = true;
  }
  --live;
}

}  // namespace model

void* operator new(std::size_t size) {
  return model::take(size);
}
void* operator new(std::size_t size, std::align_val_t) {
  return model::take(size);  // no more than 16 is needed here
}
void* operator new(std::size_t size, std::align_val_t, const std::nothrow_t&) noexcept {
  return model::take(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return model::take(size);
}
void operator delete(void* p) noexcept {
  model::give(p);
}
void operator delete(void* p, std::size_t) noexcept {
  model::give(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  model::give(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  model::give(p);
}

// What -fsanitize=thread has the compiler call before each access of the library's and the kernels' plain
// memory.
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
#define MODEL_ACCESS(size)                     \
  void __tsan_read##size(void* p) {            \
    model::plain(p, size, false);              \
  }                                            \
  void __tsan_write##size(void* p) {           \
    model::plain(p, size, true);               \
  }                                            \
  void __tsan_unaligned_read##size(void* p) {  \
    model::plain(p, size, false);              \
  }                                            \
  void __tsan_unaligned_write##size(void* p) { \
    model::plain(p, size, true);               \
  }
MODEL_ACCESS(1)
MODEL_ACCESS(2)
MODEL_ACCESS(4)
MODEL_ACCESS(8)
MODEL_ACCESS(16)
#undef MODEL_ACCESS
void __tsan_read_range(void* p, std::size_t size) {
  model::plain(p, size, false);
}
void __tsan_write_range(void* p, std::size_t size) {
  model::plain(p, size, true);
}
void __tsan_vptr_update(void** p, void*) {
  model::plain(p, sizeof(void*), true);
}
void __tsan_vptr_read(void** p) {
  model::plain(p, sizeof(void*), false);
}
// The few atomics that are not heed's: the counts of std::shared_ptr, and the guards of function statics.
int __tsan_atomic32_fetch_add(volatile int* p, int v, int) {
  return static_cast<int>(model::modify(const_cast<int*>(p), sizeof v, model::change::add,
                                        static_cast<std::uint32_t>(v), std::memory_order_acq_rel));
}
int __tsan_atomic32_load(const volatile int* p, int) {
  return static_cast<int>(model::load(const_cast<const int*>(p), sizeof *p, std::memory_order_acquire));
}
// Both counts of a std::shared_ptr at once, for who has the only reference: nobody else changes them then.
long long __tsan_atomic64_load(const volatile long long* p, int) {
  const auto* counts = const_cast<const int*>(reinterpret_cast<const volatile int*>(p));
  const std::uint64_t uses = model::load(counts, sizeof *counts, std::memory_order_acquire);
  return static_cast<long long>(model::load(counts + 1, sizeof *counts, std::memory_order_acquire) << 32 |
                                uses);
}
char __tsan_atomic8_load(const volatile char* p, int) {
  return *p;
}
}
