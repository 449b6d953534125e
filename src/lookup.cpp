// Looking values up: V1 to V4 of values.hpp.
#include "value_index.hpp"

#include <bit>

namespace heed::inline v0 {
namespace {

bool passes(std::uint64_t filter, const key_base& k) noexcept {
  return (filter & node_head::bits_of(k)) == 0;
}

bool block_passes(const value_index& i, const key_base& k) noexcept {
  const std::uint64_t bits = bits_in_block(k);
  return (i.block[word_of(k)] & bits) == bits;
}

constexpr std::uint64_t each_byte = 0x0101010101010101;

// The place in an index; null: none.
[[gnu::always_inline]] inline const void* find_in(const value_index& i, const key_base& k) noexcept {
  // A byte of `apart` is 0 where the tag is the same; its high bit in `same` is then 1, and the lowest such
  // is right.
  const std::uint64_t apart = i.tags ^ tag_of(k) * each_byte;
  for (std::uint64_t same = (apart - each_byte) & ~apart & each_byte << 7; same; same &= same - 1) {
    const auto n = static_cast<std::size_t>(std::countr_zero(same)) / 8;
    if (i.values[n]->key == &k) [[likely]]
      return i.values[n]->storage();
  }
  return nullptr;
}

// From an index up to the end of its run.
const void* find_in_blocks(const value_index* i, const key_base& k) noexcept {
  for (const value_index* above; i; i = above) {
    above = i->block_before;
    if (!block_passes(*i, k)) continue;
    for (; i != above; i = i->before) {
      if (const void* found = find_in(*i, k)) return found;
    }
  }
  return nullptr;
}

// From `first` up to the last index, or to the end of the run where it has none yet; `next`: what comes then.
const void* find_near(const value_node& first, const key_base& k, const node*& next) noexcept {
  const node* n = &first;
  for (std::size_t steps = first.position % value_index::length; steps > 0; --steps) {
    auto& v = static_cast<const value_node&>(*n);
    if (v.key == &k) return v.storage();
    n = v.parent;
    if (steps > 1 && n->lookup & node_head::form) [[likely]]
      continue;  // a jump, not a conditional move
    n = lookup_at(n);
  }
  next = n;
  return nullptr;
}

// All of a run that has one index at most.
const void* find_early(const value_node& first, const key_base& k, const node*& beyond) noexcept {
  const void* found = find_near(first, k, beyond);
  if (found || first.position < value_index::length) return found;
  const value_index& only = static_cast<const indexed_value*>(beyond)->index;
  beyond = only.beyond;
  return find_in(only, k);
}

// From `first` up to the end of its run.
const void* find_in_run(const value_node& first, const key_base& k, const node*& beyond) noexcept {
  if (!is_late(first)) return passes(first.lookup, k) ? find_early(first, k, beyond) : nullptr;
  auto& late = static_cast<const late_value&>(first);
  if (passes(late.since, k)) {
    if (const void* found = find_near(first, k, beyond)) return found;
  }
  beyond = late.last->beyond;
  return find_in_blocks(late.last, k);
}

// What one node answers that is not a value in a run.
const void* ask(const node& n, const key_base& k) noexcept {
  switch (n.what) {
    case kind::custom: return static_cast<const custom_node&>(n).self->find(k);
    case kind::value: return n.is_of(k) ? static_cast<const value_node&>(n).storage() : nullptr;
    default: {
      auto& m = const_cast<merge_node&>(static_cast<const merge_node&>(n));
      for (std::size_t i = 0; i < m.asked_count; ++i) {
        if (const void* found = ask(*m.asked()[i], k)) return found;  // one deep: none of them is a merge
      }
      return nullptr;
    }
  }
}

}  // namespace

const node* lookup_above(const node* n) noexcept {
  switch (n->what) {
    case kind::merge: return nullptr;  // it has asked all above it
    case kind::custom: return static_cast<const custom_node*>(n)->beyond;
    default: return lookup_at(n->parent);
  }
}

// The whole way. Not inline: so find() needs no stack for what is frequent.
[[gnu::noinline]] static const void* find_from(const node* n, const key_base& k) noexcept {
  while (n) {  // I7
    const node* beyond = nullptr;
    const void* found = nullptr;
    if (n->what == kind::value) {
      found = find_in_run(static_cast<const value_node&>(*n), k, beyond);
    } else {
      found = ask(*n, k);
      beyond = lookup_above(n);
    }
    if (found) return found;
    n = beyond;
  }
  return nullptr;
}

// The same from a block on.
[[gnu::noinline]] static const void* find_from_block(const value_index& i, const key_base& k) noexcept {
  const void* found = find_in_blocks(&i, k);
  return found || !i.beyond ? found : find_from(i.beyond, k);
}

const void* context::find(const node_head& from, const key_base& k) noexcept {
  switch (from.lookup & node_head::form) {
    case node_head::early: {
      const node* beyond = nullptr;
      const void* found = find_early(static_cast<const value_node&>(from), k, beyond);
      return found || !beyond ? found : find_from(beyond, k);
    }
    case node_head::late: {
      // Misses below many values: most are told by the filters of the run alone.
      auto& first = static_cast<const late_value&>(from);
      if (passes(first.since, k)) break;
      const value_index* i = first.last;
      while (!block_passes(*i, k)) {
        if (!i->block_before) return i->beyond ? find_from(i->beyond, k) : nullptr;
        i = i->block_before;
      }
      return find_from_block(*i, k);
    }
    default: break;
  }
  return find_from(static_cast<const node*>(&from), k);
}

}  // namespace heed::inline v0
