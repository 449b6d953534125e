// Who has an index (V3), and how keys are noted there: for those who lay it down, values.cpp, and those who
// search it, lookup.cpp.
#pragma once

#include "values.hpp"

namespace heed::inline v0 {

// The 8th (V3).
struct indexed_value : value_node {
  using value_node::value_node;
  value_index index;
};

// An 8th that is late, too.
struct late_indexed_value : late_value {
  late_indexed_value(node* above, const key_base& k, const value_type& t, std::uint64_t lookup_word,
                     birth how) noexcept
      : late_value(above, k, t, lookup_word, value_index::length, &index, nothing_known, how) {}
  value_index index;
};

// The index that came with it; null: it is not an eighth.
inline const value_index* index_in(const value_node& v) noexcept {
  if (v.position != value_index::length) return nullptr;
  return is_late(v) ? static_cast<const late_value&>(v).last : &static_cast<const indexed_value&>(v).index;
}

// Keys often lie side by side: with this factor such ones meet in a filter less often than random ones do
// (with the golden ratio's up to three times as often). The upper bits are the good ones.
inline std::uint64_t hash_of(const key_base& k) noexcept {
  return reinterpret_cast<std::uintptr_t>(&k) * 0x2545F4914F6CDD1D;
}

// The word of `block` where a key is noted, and its bits there.
inline std::size_t word_of(const key_base& k) noexcept {
  return hash_of(k) >> 49 & 7;
}
inline std::uint64_t bits_in_block(const key_base& k) noexcept {
  const std::uint64_t h = hash_of(k);
  return (std::uint64_t(1) << (h >> 58)) | (std::uint64_t(1) << (h >> 52 & 63));
}
inline void note(std::array<std::uint64_t, 8>& block, const value_index& keys_of) noexcept {
  for (const value_node* v : keys_of.values) block[word_of(*v->key)] |= bits_in_block(*v->key);
}

// Among `tags`. Of keys side by side no two are the same.
inline std::uint64_t tag_of(const key_base& k) noexcept {
  return reinterpret_cast<std::uintptr_t>(&k) / alignof(key_base) & 0xFF;
}

}  // namespace heed::inline v0
