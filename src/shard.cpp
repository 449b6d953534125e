#include "shard.hpp"

#include "hanging.hpp"
#include "os.hpp"
#include "pool.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

namespace heed::inline v0 {

namespace {

static_assert(sizes::most_shards - 1 <= node::shard_number);
constexpr std::align_val_t line_align{alignof(shard_table::line)};

shard_table* make_table() noexcept {
  const unsigned count = std::min(std::bit_ceil(os::cpu_count()), sizes::most_shards);
  if (count < 2) return nullptr;
  void* memory = ::operator new((count + 1) * sizeof(shard_table::line), line_align, std::nothrow);
  if (!memory) return nullptr;  // it goes on as it was
  auto* t = ::new (memory) shard_table{count};
  for (unsigned i = 0; i < count; ++i) ::new (&t->at()[i]) shard_table::line;
  return t;
}

void free_table(shard_table* t) noexcept {
  ::operator delete(t, line_align);
}

shard_table* table_of(const cancel_node& n) noexcept {
  // acquire: the table's making.
  return n.own.children.load(std::memory_order_acquire).table();
}

// H2. Unchecked: nobody else has the new table yet, so its first shard is not locked.
void split(cancel_node& n) noexcept HEED_UNCHECKED {
  shard_table* fresh = make_table();
  if (!fresh) return;
  {
    const locked guard(n.own.lock);
    if (!table_of(n) && is_open(n)) {
      shard& first = fresh->at()[0].s;
      first.callbacks = std::exchange(n.own.callbacks, nullptr);
      first.orphan = std::exchange(n.own.orphan, false);
      first.children.store(n.own.children.load(std::memory_order_relaxed), std::memory_order_relaxed);
      // release: the table, for those who look without the lock.
      n.own.children.store(children_of_shard::of_table(fresh), std::memory_order_release);
      fresh = nullptr;
    }
  }
  if (fresh) free_table(fresh);
}

}  // namespace

shard& lock_shard_of_table(cancel_node& n, unsigned number) noexcept HEED_UNCHECKED {
  shard& s = n.own.children.load(std::memory_order_acquire).table()->at()[number].s;
  s.lock.lock();
  return s;
}

shard& lock_contended(cancel_node& n, unsigned& number) noexcept {
  if (!table_of(n)) split(n);
  if (shard_table* t = table_of(n)) number = os::cpu() & (t->count - 1);
  return lock_shard(n, number);
}

unsigned shard_count(const cancel_node& n) noexcept {
  const shard_table* t = table_of(n);
  return t ? t->count : 1;
}

void drop_table(cancel_node& n) noexcept {
  if (shard_table* t = table_of(n)) free_table(t);
}

void keep_found(cancel_node& n, cancel_node* first) noexcept {
  if (shard_table* t = table_of(n)) {
    t->found = first;
  } else {
    // For this walk only; but where there is nothing, that is what is_off_list() looks for. release: it looks
    // without the lock.
    n.own.children.store(children_of_shard::of_found(first), std::memory_order_release);
  }
}

cancel_node* take_found(cancel_node& n) noexcept {
  if (shard_table* t = table_of(n)) return std::exchange(t->found, nullptr);
  return n.own.children.load(std::memory_order_relaxed).found();
}

bool put_in_new_chunk(shard& s, unsigned number, cancel_node& c, chunk*& spare) noexcept {
  if (!spare) return false;
  const children_of_shard now = s.children.load(std::memory_order_relaxed);
  chunk* fresh = std::exchange(spare, nullptr);
  fresh->older = now.chunks();
  fresh->count = 0;
  if (cancel_node* first = now.single()) {
    fresh->at[fresh->count++] = first;
    first->slot = &fresh->at[0];
  }
  s.children.store(children_of_shard::of_chunks(fresh), std::memory_order_relaxed);
  return put_where_room_is(s, number, c);
}

cancel_node* newest_in(const shard& s) noexcept {
  const children_of_shard now = s.children.load(std::memory_order_relaxed);
  const chunk* newest = now.chunks();
  return newest ? newest->at[newest->count - 1] : now.single();
}

bool wants_chunk(cancel_node& n) noexcept HEED_UNCHECKED {
  if ((n.word.load(std::memory_order_acquire) & word::hooks) == 0) return false;
  unsigned number = 0;
  shard* const locked_one = lock_for_new(n, number);
  if (!locked_one) return false;
  shard& s = *locked_one;
  const locked guard(s.lock, locked::already);
  const children_of_shard now = s.children.load(std::memory_order_relaxed);
  const chunk* newest = now.chunks();
  return newest ? newest->count == chunk::room : now.single() != nullptr;
}

chunk* make_chunk() {
  return ::new (pool::take(sizeof(chunk))) chunk;
}

void free_chunk(chunk* c) noexcept {
  if (c) pool::give(c, sizeof(chunk));
}

}  // namespace heed::inline v0
