// Values: how a lookup finds one, and why most lookups end before they begin.
//
// Three kinds of node answer a lookup: values, custom contexts, and merges whose parents both have some. The
// word `lookup` in each node's head (key.hpp) says what lies at and above:
//
//  V1  A node that does not answer has the address of the nearest one above that does, or 0. So contexts
//      without a value cost a lookup nothing.
//  V2  One that answers has a filter of all keys at and above: what that says is not there need not be asked
//      for. A custom context may know any key, so its filter, and those below, let all pass.
//  V3  Values with nothing else that answers in between are a run. Its 8th, 16th ... value also holds an
//      index: its eight, by a byte of each key, and the way on to the index before. Up to eight of them are a
//      block: each has a filter of its block from there up, and the way to the block before.
//  V4  From the 16th of a run on, where that filter is nearly full, a second one is of those since the last
//      index, and the address of that index follows.
//
// In these two filters a bit that is set is in no key; one that is used before it has been made, or that has
// no bits, leaves none set. A key brings its bits, and only who adds or looks it up reads it. Blocks are
// filled in when a key may be gone: so their filters come of addresses, and have those bits set that are
// there.
//
// All of this is written at birth, and what it points to is kept by the parent chain: lookups take no lock,
// count nothing, and never recurse (I7). Keys are compared by address alone: a dead one is not read.
#pragma once

#include "tree.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace heed::inline v0 {

inline constexpr std::uint64_t lookup_none = 0;
inline constexpr std::uint64_t lookup_any = node_head::others;    // V2
inline constexpr std::uint64_t nothing_known = ~node_head::form;  // the filter of no keys
// V1, for a node that does not answer: `n` does.
inline std::uint64_t lookup_past(const node* n) noexcept {
  return reinterpret_cast<std::uintptr_t>(static_cast<const node_head*>(n));
}
// The nearest node at or above `n` that answers; null: none.
inline const node* lookup_at(const node* n) noexcept {
  return n ? static_cast<const node*>(n->answering()) : nullptr;
}
// The next one up to ask, after one that answers has not; null: none.
const node* lookup_above(const node* n) noexcept;

struct value_node;

// Of eight values of a run, the nearest first.
struct value_index {
  static constexpr std::size_t length = 8;

  std::array<std::uint64_t, 8> block;  // filter of the block, from here up
  const value_index* block_before;     // the last index of the block above; null: there is none
  const value_index* before;           // the index of the eight values above; null: there are none
  const node* beyond;                  // what answers above the run; null: nothing
  cancel_node* scope_of_last;          // what the last value, that it lies in, is in; null: none that ends
  std::uint64_t tags;                  // a byte of each key's address
  std::array<const value_node*, length> values;
  std::size_t above;  // how many of its block lie above
};

// with_value(). The value follows, aligned, in the same allocation; a very small one is inside. `position`:
// its number in the run, 1 to 15; of a late one 8, and the number of values since the last index. The scope
// that it is in is its parent's, or told by the nearest index above: eight steps at most (scope_of_value).
struct value_node : node {
  value_node(node* above, const key_base& k, const value_type& t, std::uint64_t lookup_word,
             std::size_t place_in_run, birth how) noexcept;
  void* storage() const noexcept {
    return const_cast<char*>(reinterpret_cast<const char*>(this)) +
           (is(kept_inside) ? node_head::inside : offset);
  }

  // Where node leaves room, so that an int needs none of its own.
  union {
    std::uint32_t offset;  // of the value
    alignas(std::uint32_t) unsigned char small[sizeof(std::uint32_t)];
  };
  const key_base* const key;
  const value_type* const type;
};
static_assert(sizeof(value_node) == 48);

// From the 16th of a run (V4).
struct late_value : value_node {
  late_value(node* above, const key_base& k, const value_type& t, std::uint64_t lookup_word,
             std::size_t place_in_run, const value_index* i, std::uint64_t since_last, birth how) noexcept
      : value_node(above, k, t, lookup_word, place_in_run, how), last(i), since(since_last) {}
  const value_index* const last;
  const std::uint64_t since;  // the second filter
};
inline bool leans(const node& n) noexcept {
  return n.what == kind::value && n.is(node::in_scope);
}
inline bool is_late(const value_node& v) noexcept {
  return (v.lookup & node_head::form) == node_head::late;
}

void destroy_value(value_node* v) noexcept;

}  // namespace heed::inline v0
