// What many threads count on at once: the two counts of tree.hpp, spread over the processors.
//
// Each is one number, on one line of memory, and all threads of a server may make their contexts below one
// value: with each of them that line goes from processor to processor. So where threads have met, a node gets
// a row of lines, one for each CPU (or for every 32nd), and what is new is counted there.
//
//  N1  The holds of a node are what `holds` says, without the two bits, and what the lines of its row say. A
//      line may be below 0, as what was counted in `holds` may be dropped there. `holds` is not, until it is
//      gathered: who was counted on a line has seen the row, and is dropped on one. What does not derive from
//      a node (pins, orphans, what a walk takes off) counts in `holds`.
//  N2  `crowded` is set where threads have met, and stays. It says no more than to come here.
//  N3  A row is made by one who has a handle. It is the node's own until that is destroyed, so whoever has a
//      hold or a handle may count there without looking again; but not before he has seen `scattered` or
//      `spread`, as so long it may still be being made.
//  N4  While the row is open, `scattered` is set. It is no count, and keeps away from 1 what looks like the
//      number of holds.
//  N5  Who drops a hold and finds the row open, and no handle, gathers first: each line is closed by an
//      exchange, and who counts there afterwards learns it by that, and counts in `holds`. One of those who
//      come does it. There is one: who takes the last handle comes after whoever made the row, as that one
//      had a handle; so he sees it when he drops his hold, or the one he leaves that to, under a lock. So in
//      the end, `holds` has all of them again.
//
// The handles of a scope, and of a value in one, are such a number, too, as values lean on it.
//
//  N6  Where threads meet at that, `spread` is set, and values that are new count on the lines, and know
//      that they do (`strewn`). What was counted in `handles` goes on there: all but values, and those from
//      before.
//  N7  `spread` is in the number of handles, so nobody takes the node to be in nobody's hand. Whoever takes
//      the last of those in `handles` gathers the others: he closes each line, and whoever finds it closed
//      comes after that, and counts in `handles`. From there on the number only falls, as to have one more
//      takes one of those that are gone; and until the sum is there, `spread` keeps it far from 1.
//
// Rows are static and few, and a node's address tells which may be its own. Where another node has that, and
// where there is one processor, all is counted as if there were no crowd.
#include "os.hpp"
#include "sizes.hpp"
#include "tree.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace heed::inline v0::crowd {

namespace {

constexpr std::size_t rows = sizes::small ? 1 : 128;
// Far below all that is counted, also with what is counted there by mistake (N5, N7).
constexpr std::int64_t closed = -(std::int64_t{1} << 62);
constexpr bool is_closed(std::int64_t count) noexcept {
  return count < closed / 2;
}

struct alignas(64) line {
  sync::atomic<std::int64_t> holds;
  sync::atomic<std::int64_t> handles;
};
// Apart from the lines: this is read by all.
struct row {
  sync::atomic<const node*> owner;
  sync::atomic<bool> gathered;
};
constinit std::array<row, rows> all_rows{};
constinit std::array<std::array<line, sizes::most_shards>, rows> all_lines{};

std::size_t index_of(const node& n) noexcept {
  return (reinterpret_cast<std::uintptr_t>(&n) * 0x9E3779B97F4A7C15) >> 32 & (rows - 1);
}
row& row_of(const node& n) noexcept {
  return all_rows[index_of(n)];
}
auto& lines_of(const node& n) noexcept {
  return all_lines[index_of(n)];
}
line& own_line(const node& n) noexcept {
  return lines_of(n)[os::cpu() % sizes::most_shards];
}

// Makes a row for it, unless there is one. The caller has a handle (N3).
void make_row(node& n) noexcept {
  row& r = row_of(n);
  // relaxed, twice: only chooses.
  const node* owner = r.owner.load(std::memory_order_relaxed);
  if (owner || os::cpu_count() < 2) return;
  // acquire: who had it before is through with it.
  if (!r.owner.compare_exchange_strong(owner, &n, std::memory_order_acquire, std::memory_order_relaxed))
    return;
  r.gathered.store(false, std::memory_order_relaxed);
  for (line& l : lines_of(n)) {
    l.holds.store(0, std::memory_order_relaxed);
    l.handles.store(0, std::memory_order_relaxed);
  }
  // release: all that, for who sees the bit.
  n.holds.fetch_or(node::crowded | node::scattered, std::memory_order_release);
}

// Whether it has a row that is open, or gets one; a handle as above.
bool has_row(node& n) noexcept {
  // acquire, twice: the row.
  if (n.holds.load(std::memory_order_acquire) & node::scattered) return true;
  make_row(n);
  return (n.holds.load(std::memory_order_acquire) & node::scattered) != 0;
}

// N5. The caller has a hold, which is to be dropped.
void gather(node& n) noexcept {
  // relaxed: it only chooses, and who goes on counts on a line that is open or closed.
  if (row_of(n).gathered.exchange(true, std::memory_order_relaxed)) return;
  std::int64_t sum = 0;
  // acquire: what those did who dropped their holds here.
  for (line& l : lines_of(n)) sum += l.holds.exchange(closed, std::memory_order_acquire);
  // relaxed: the caller drops its own hold next, and passes that on to who drops the last.
  n.holds.fetch_add(static_cast<std::uint32_t>(sum) - node::scattered, std::memory_order_relaxed);
}

bool is_in_hand(const node& n) noexcept {
  // relaxed: who took the last handle is the caller, or came before him (N5).
  return (n.handles.load(std::memory_order_relaxed) & node::number) != 0;
}

}  // namespace

void hold(node& n) noexcept {
  // relaxed: the caller has a handle.
  if (has_row(n) && !is_closed(own_line(n).holds.fetch_add(1, std::memory_order_relaxed))) return;
  hold_here(n);
}

bool drop_unless_last(node& n) noexcept {
  // acquire: the row.
  std::uint32_t held = n.holds.load(std::memory_order_acquire);
  if (held == 1) return false;
  // release, below: what we did comes before the destruction.
  if (held & node::scattered) {
    if (!is_in_hand(n)) gather(n);
    if (!is_closed(own_line(n).holds.fetch_sub(1, std::memory_order_release))) return true;
    held = n.holds.load(std::memory_order_relaxed);
  } else if ((held & node::crowded) == 0 && os::cpu_count() > 1) {
    held = n.holds.fetch_or(node::crowded, std::memory_order_relaxed) | node::crowded;  // N2
  }
  while ((held & ~node::crowded) != 1) {
    if (n.holds.compare_exchange_weak(held, held - 1, std::memory_order_release, std::memory_order_relaxed))
      return true;
  }
  return false;
}

void gone(const node& n) noexcept {
  row& r = row_of(n);
  // relaxed: whether it is ours, nobody else changes. release: who gets it next finds us through with it.
  if (r.owner.load(std::memory_order_relaxed) == &n) r.owner.store(nullptr, std::memory_order_release);
}

void retain(node& n) noexcept {
  // relaxed: the caller has a handle that is counted in `handles`, so no line is closed (N7).
  own_line(n).handles.fetch_add(1, std::memory_order_relaxed);
}

bool release(node& n, bool strewn) noexcept {
  // release: as in release_handle(). acquire: who finds the line closed (N7).
  if (strewn) return !is_closed(own_line(n).handles.fetch_sub(1, std::memory_order_acq_rel));
  // relaxed: only chooses.
  const std::uint32_t count = n.handles.load(std::memory_order_relaxed) & node::number;
  // N6: threads have met. release: the row, for who sees the bit.
  if (count > 1 && count < node::spread && has_row(n))
    n.handles.fetch_or(node::spread, std::memory_order_release);
  return false;
}

std::uint32_t gather_handles(node& n) noexcept {
  std::int64_t sum = 0;
  // acquire: what those did who released theirs. release: N7.
  for (line& l : lines_of(n)) sum += l.handles.exchange(closed, std::memory_order_acq_rel);
  const std::uint32_t more = static_cast<std::uint32_t>(sum) - node::spread;
  // release/acquire: as in release_handle().
  return n.handles.fetch_add(more, std::memory_order_acq_rel) + more + 1;
}

std::uint32_t count_handles(const node& n) noexcept {
  const std::uint32_t here = n.handles.load(std::memory_order_acquire) & node::number;  // acquire: the row
  if (here < node::spread / 2) return here;  // while it is gathered, it is a little below that
  std::int64_t sum = std::int64_t{here} - node::spread;
  for (const line& l : lines_of(n)) {
    const std::int64_t count = l.handles.load(std::memory_order_relaxed);
    if (!is_closed(count)) sum += count;
  }
  return static_cast<std::uint32_t>(std::max<std::int64_t>(sum, 0));
}

}  // namespace heed::inline v0::crowd
