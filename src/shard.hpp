// What hangs on a context: its children and its callbacks, under short locks.
//
// A cancelable node has one shard of its own. The first thread that finds that one locked by another splits
// it: from then on there is a table of shards, each on a cache line of its own, and what is new goes to the
// one of the CPU that brings it. So threads that hang children on one context and take them off again meet no
// more.
//
//  H1  Whatever hangs on a node knows the number of its shard, and is touched there under that shard's lock
//      only. Number 0 is the node's own until it is split, and afterwards the first of the table.
//  H2  A node is split once, under the lock of its own shard, while it has no verdict, and with the bit
//      `hooks` set before: the walk that ends it, which takes that lock after the verdict, or holds it since
//      before, finds the table or no table for good.
//  H3  Children lie in chunks, without holes: who leaves is replaced by the newest. A single one needs no
//      chunk.
//  H4  Its own shard is locked from birth. Whoever sets `hooks`, as the first that has something to hang
//      there, has that lock by this; and who finds `hooks` unset has nothing to look for there, and leaves
//      the lock alone.
#pragma once

#include <heed/atomic.hpp>

#include "annotations.hpp"
#include "sizes.hpp"
#include "sync.hpp"

#include <cstddef>
#include <cstdint>

namespace heed::inline v0 {

class callback_base;
struct cancel_node;
struct shard_table;

// Some of the children of a node, packed for a walk that fetches them ahead of their turn.
struct chunk {
  static constexpr std::size_t room = sizes::chunk;
  chunk* older;
  std::size_t count;
  cancel_node* at[room];
};

// Where the children of a shard are: nowhere, in one place, or in chunks, the newest first. In the node's own
// shard it may also be the table; or, once the node is done, what its walk has found (walk.cpp).
class children_of_shard {
 public:
  cancel_node* single() const noexcept { return at<cancel_node>(is_single); }
  chunk* chunks() const noexcept { return at<chunk>(is_chunks); }
  shard_table* table() const noexcept { return at<shard_table>(is_table); }
  bool has_table() const noexcept { return tag() == is_table; }
  cancel_node* found() const noexcept { return at<cancel_node>(is_found); }
  bool nothing() const noexcept { return value_ == 0; }  // empty, and no walk has left here what it found
  bool none() const noexcept { return value_ == 0 || tag() == is_found; }
  static children_of_shard of_single(cancel_node* c) noexcept { return {c, is_single}; }
  static children_of_shard of_chunks(chunk* c) noexcept { return {c, is_chunks}; }
  static children_of_shard of_table(shard_table* t) noexcept { return {t, is_table}; }
  static children_of_shard of_found(cancel_node* c) noexcept { return {c, is_found}; }
  constexpr children_of_shard() noexcept = default;
  friend bool operator==(children_of_shard, children_of_shard) noexcept = default;

 private:
  enum kind : std::uintptr_t { is_chunks, is_single, is_table, is_found, tags = 3 };
  children_of_shard(const void* p, kind k) noexcept
      : value_(p ? reinterpret_cast<std::uintptr_t>(p) | k : 0) {}
  kind tag() const noexcept { return static_cast<kind>(value_ & tags); }
  template <class T>
  T* at(kind k) const noexcept {
    return tag() == k ? reinterpret_cast<T*>(value_ - k) : nullptr;
  }
  std::uintptr_t value_ = 0;
};

struct shard {
  constexpr shard() noexcept = default;
  explicit constexpr shard(futex_lock::held_at_first held) noexcept : lock(held) {}
  callback_base* callbacks HEED_GUARDED_BY(lock) = nullptr;  // circular
  futex_lock lock;                            // guards all in here, and the places of what hangs here
  bool orphan HEED_GUARDED_BY(lock) = false;  // what hangs here has a hold on the node: L1
  std::uint8_t gap = 0;                       // so that one store writes all eight bytes of a new one
  // Of the node's own only, and no part of this: the fork generation that made its fd. There is room here.
  sync::atomic<std::uint16_t> fd_made_in{0};
  // relaxed, but for finding the table, and that nothing hangs there (acquire): the lock orders the rest.
  sync::atomic<children_of_shard> children{};

  bool empty() const noexcept HEED_REQUIRES(lock) {
    return !callbacks && children.load(std::memory_order_relaxed).none();
  }
};

struct shard_table {
  struct alignas(64) line {  // of its own: nobody else's writing is felt
    shard s;
  };
  unsigned count;
  cancel_node* found = nullptr;
  line* at() noexcept { return reinterpret_cast<line*>(reinterpret_cast<char*>(this) + sizeof(line)); }
};

// The shard with this number, not locked: who has locked it has to see that it still is_shard_of().
shard& shard_of(cancel_node& n, unsigned number) noexcept;
bool is_shard_of(const shard& s, const cancel_node& n) noexcept;
// Unchecked where they are defined, these five: which lock they return with, only who calls them can tell.
// Locks the shard with this number, which something hangs on or may: `hooks` is there.
shard& lock_shard(cancel_node& n, unsigned number) noexcept;
// Locks the shard that something new is to hang on; its number. May split the node. Null: it is done.
shard* lock_for_new(cancel_node& n, unsigned& number) noexcept;
// Locks the node's own shard, whatever hangs there or elsewhere.
void lock_own(cancel_node& n) noexcept;
// The rare halves.
shard& lock_shard_of_table(cancel_node& n, unsigned number) noexcept;
shard& lock_contended(cancel_node& n, unsigned& number) noexcept;
// The one that a child hangs on, or hung on last.
std::uint8_t number_of(const cancel_node& c) noexcept;
// How many there are.
unsigned shard_count(const cancel_node& n) noexcept;
// Frees the table, if there is one. Nothing hangs on the node any more.
void drop_table(cancel_node& n) noexcept;
// What a walk has found, until it is asked for: kept where the children were.
void keep_found(cancel_node& n, cancel_node* first) noexcept;
cancel_node* take_found(cancel_node& n) noexcept;

// Puts a child into the locked shard with this number. False: it needs a chunk first, and `spare` was null.
// Takes `spare` if it has used it.
bool put(shard& s, unsigned number, cancel_node& c, chunk*& spare) noexcept HEED_REQUIRES(s.lock);
// Its two halves, of which the first takes no chunk.
bool put_where_room_is(shard& s, unsigned number, cancel_node& c) noexcept HEED_REQUIRES(s.lock);
bool put_in_new_chunk(shard& s, unsigned number, cancel_node& c, chunk*& spare) noexcept
    HEED_REQUIRES(s.lock);
// Takes a child out of the locked shard; returns a chunk that is empty now, for free_chunk() once the lock is
// free.
[[nodiscard]] chunk* take_out(shard& s, cancel_node& c) noexcept HEED_REQUIRES(s.lock);
// The youngest child of a locked shard; null: there is none.
cancel_node* newest_in(const shard& s) noexcept HEED_REQUIRES(s.lock);
// Whether the next child will need a chunk: a guess.
bool wants_chunk(cancel_node& n) noexcept;
chunk* make_chunk();                 // throws std::bad_alloc
void free_chunk(chunk* c) noexcept;  // may be null

}  // namespace heed::inline v0
