// Values: how a lookup finds one, and why most lookups end before they begin.
//
// Three kinds of node answer a lookup: values, custom contexts, and merges whose parents both have some. The word
// `lookup` in each node's head (context.hpp) says what lies at and above:
//
//  V1  A node that does not answer has the address of the nearest one above that does, or 0. So contexts without a
//      value cost a lookup nothing.
//  V2  One that answers has a filter of all keys at and above: what is not in it need not be asked for. A custom
//      context may know any key, so its filter, and those below, let all pass.
//  V3  Values with nothing else that answers in between are a run. Its 8th, 16th ... value also holds an index:
//      keys and places of its eight, and the way on to the index before. Small numbers of values are told in the
//      filter's word; from the 16th on the word is the address of the nearest index at or above, which has a
//      larger filter, and a second word has a filter of those since.
//
// All of this is written at birth, and what it points to is kept by the parent chain: lookups take no lock, count
// nothing, and never recurse (I7). Keys are compared by address alone: a dead one is not read.
#pragma once

#include "tree.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace heed::inline v0 {

inline constexpr std::uint64_t lookup_none = 0;
inline constexpr std::uint64_t lookup_any = ~node_head::taken | node_head::filter;
// V1, for a node that does not answer: `n` does.
inline std::uint64_t lookup_past(const node* n) noexcept {
  return reinterpret_cast<std::uintptr_t>(static_cast<const node_head*>(n));
}
// The nearest node at or above `n` that answers; null: none.
const node* lookup_at(const node* n) noexcept;
// The next one up to ask, after one that answers has not; null: none.
const node* lookup_above(const node* n) noexcept;

// Of eight values of a run, the nearest first.
struct value_index {
  static constexpr std::size_t length = 8;

  // The word of `all` where a key is noted.
  static std::size_t word_of(const key_base& k) noexcept {
    return node_head::hash_of(k) >> 49 & (length - 1);
  }

  std::array<std::uint64_t, length> all;  // filter of the run's keys at and above
  std::uint64_t own;                      // filter of these eight
  const value_index* before;              // of the eight above; null: the run starts with these
  const node* beyond;                     // what answers above the run; may be null
  std::array<const key_base*, length> keys;
  std::array<const void*, length> places;
};

// with_value(). The value follows, aligned, in the same allocation; a very small one is in `small`.
struct value_node : node {
  value_node(const context& above, const key_base& k, const value_type& t,
             std::uint64_t lookup_word) noexcept;
  void* storage() const noexcept;
  // The index that came with it; null: it is not an eighth.
  const value_index* index() const noexcept;

  static constexpr std::size_t small_align = 4;
  alignas(small_align) std::array<unsigned char, 4> small;  // where node has room left
  const scope* const within;  // whose err() it shares; kept alive by the parent chain
  const key_base* const key;
  const value_type* const type;
};

void destroy_value(value_node* v) noexcept;

}  // namespace heed::inline v0
