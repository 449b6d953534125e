// Looking values up, and making them: V1 to V4 of values.hpp.
#include "values.hpp"

#include "track.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

namespace heed::inline v0 {
namespace {

constexpr std::size_t length = value_index::length;
constexpr std::size_t block_length = 8;
constexpr std::size_t last_early = 2 * length - 1;  // V4

// The 8th (V3).
struct indexed_value : value_node {
  using value_node::value_node;
  value_index index;
};

// Both.
struct late_indexed_value : late_value {
  late_indexed_value(const context& above, const key_base& k, const value_type& t) noexcept
      : late_value(above, k, t, node_head::since, length, &index) {}
  value_index index;
};

// The index that came with it; null: it is not an eighth.
const value_index* index_of(const value_node& v) noexcept {
  if (v.position != length) return nullptr;
  return is_late(v) ? static_cast<const late_value&>(v).last : &static_cast<const indexed_value&>(v).index;
}

std::size_t size_of(const value_node& v) noexcept {
  if (v.position == length) return is_late(v) ? sizeof(late_indexed_value) : sizeof(indexed_value);
  return is_late(v) ? sizeof(late_value) : sizeof(value_node);
}

bool passes(std::uint64_t filter, std::uint64_t bits) noexcept {
  return (filter & bits) == bits;
}

// The word of `block` where a key is noted.
std::size_t word_of(const key_base& k) noexcept {
  return node_head::hash_of(k) >> 49 & 7;
}

constexpr std::uint64_t each_byte = 0x0101010101010101;

// Among `tags`.
std::uint64_t tag_of(const key_base& k) noexcept {
  return node_head::hash_of(k) >> 41 & 0xFF;
}

// The place in an index; null: none.
const void* find_in(const value_index& i, const key_base& k) noexcept {
  // A byte of `apart` is 0 where the tag is the same; its high bit in `same` is then 1, and the lowest such is right.
  const std::uint64_t apart = i.tags ^ tag_of(k) * each_byte;
  for (std::uint64_t same = (apart - each_byte) & ~apart & each_byte << 7; same; same &= same - 1) {
    const auto n = static_cast<std::size_t>(std::countr_zero(same)) / 8;
    if (i.keys[n] == &k) return i.places[n];
  }
  return nullptr;
}

// From `first` up to the end of its run.
const void* find_in_run(const value_node& first, const key_base& k, const node*& beyond) noexcept {
  const std::uint64_t bits = node_head::bits_of(k);
  const value_index* i = is_late(first) ? static_cast<const late_value&>(first).last : nullptr;
  if (passes(first.lookup, bits)) {
    const node* n = &first;
    for (std::size_t steps = first.position % length; steps > 0; --steps) {
      auto& v = static_cast<const value_node&>(*n);
      if (v.key == &k) return v.storage();
      n = v.parent;
      if (steps > 1 && n->lookup & node_head::form) [[likely]]
        continue;  // a jump, not a conditional move
      n = lookup_at(n);
    }
    beyond = n;
    if (first.position < length) return nullptr;
    if (!i) i = &static_cast<const indexed_value*>(n)->index;
  }  // else, if there is no `i`: neither here nor beyond (V2)
  for (const value_index* above; i; i = above) {
    above = i->block_before;
    beyond = i->beyond;
    if (!passes(i->block[word_of(k)], bits)) continue;
    for (; i != above; i = i->before) {
      if (const void* found = find_in(*i, k)) return found;
    }
  }
  return nullptr;
}

// What one node answers that is not a value in a run.
const void* ask(const node& n, const key_base& k) noexcept {
  switch (n.what) {
    case kind::custom: return static_cast<const custom_node&>(n).self->find(k);
    case kind::value: return n.is_value_of(k) ? static_cast<const value_node&>(n).storage() : nullptr;
    default: {
      auto& m = const_cast<merge_node&>(static_cast<const merge_node&>(n));
      for (std::size_t i = 0; i < m.asked_count; ++i) {
        if (const void* found = ask(*m.asked()[i], k)) return found;  // one deep: none of them is a merge
      }
      return nullptr;
    }
  }
}

std::size_t align_of(const value_type& t) noexcept {
  return std::max(alignof(value_node), t.align);
}

// Which values, and how hard to try.
enum class way {
  any,
  small,          // it fits inside, and is its bytes
  small_quickly,  // and besides: null where it takes more than a few steps
};

template <class Node, way w, class... Args>
Node* make(const context& parent, const key_base& k, const value_type& t, Args... args) {
  const bool inside = w != way::any || node_head::fits_inside(t.size, t.align);
  const std::size_t extra = inside ? 0 : t.size;
  const std::size_t align = inside ? alignof(Node) : align_of(t);
  void* const room = w == way::small_quickly ? pool::take_quickly(sizeof(Node))
                                             : allocate(tree::of(parent), sizeof(Node), extra, align);
  if (w == way::small_quickly && !room) return nullptr;
  Node* made = ::new (room) Node(parent, k, t, args...);
  if (!inside) made->offset = static_cast<std::uint32_t>(extra_offset(sizeof(Node), align));
  if (w != way::any || (!t.destroy && align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__))
    made->set_plain(whole_size(sizeof(Node), extra, align));
  return made;
}

// Fills in the index that came with `v` (V3).
template <class Node>
value_node* laid_down(Node* v) noexcept {
  value_index& i = v->index;
  const node* at = v;
  i.tags = 0;
  for (std::size_t n = 0; n < length; ++n) {
    auto& one = static_cast<const value_node&>(*at);
    i.keys[n] = one.key;
    i.places[n] = one.storage();
    i.tags |= tag_of(*one.key) << 8 * n;
    at = lookup_at(one.parent);
  }
  i.before = at && at->what == kind::value ? index_of(static_cast<const value_node&>(*at)) : nullptr;
  i.beyond = i.before ? i.before->beyond : at;
  if (i.before && i.before->above + 1 < block_length) {
    i.block = i.before->block;
    i.block_before = i.before->block_before;
    i.above = i.before->above + 1;
  } else {
    i.block.fill(0);
    i.block_before = i.before;
    i.above = 0;
  }
  for (const key_base* k : i.keys) i.block[word_of(*k)] |= node_head::bits_of(*k);
  return v;
}

// The 8th, 16th ... of a run: one with an index.
template <way w>
value_node* make_eighth(const context& parent, const key_base& k, const value_type& t, std::uint64_t word,
                        bool late) {
  if (w == way::small_quickly) return nullptr;
  if (late) return laid_down(make<late_indexed_value, w>(parent, k, t));
  return laid_down(make<indexed_value, w>(parent, k, t, word, length));
}

template <way w>
value_node* make_value(const context& parent, const key_base& k, const value_type& t) {
  const node* above = lookup_at(tree::of(parent));
  std::uint64_t word = node_head::bits_of(k) | (above ? above->lookup : 0);
  std::size_t position = 1;
  if (!above || above->what != kind::value) {
    word |= node_head::all;
  } else {
    auto& last = static_cast<const value_node&>(*above);
    position += last.position;
    if (is_late(last) && position <= last_early)
      return make<late_value, w>(parent, k, t, word, position, static_cast<const late_value&>(last).last);
    if (position == length || position > last_early)
      return make_eighth<w>(parent, k, t, word, position > last_early);
  }
  return make<value_node, w>(parent, k, t, word, position);
}

// The value's handles count as one on its scope.
context with_handle(value_node* v) noexcept {
  if (cancel_node* within = node_of(v->within)) retain_handle(*within);
  return tree::make(v, v->within);
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

const void* context::find(const node_head& from, const key_base& k) noexcept {
  if ((from.lookup & node_head::form) == node_head::since) {
    // Misses below many values: most are told by the filters of the run alone.
    const std::uint64_t bits = node_head::bits_of(k);
    const value_index* i = static_cast<const late_value&>(from).last;
    if (!passes(from.lookup, bits)) {
      while (!passes(i->block[word_of(k)], bits)) {
        if (!i->block_before && !i->beyond) return nullptr;
        if (!i->block_before) break;
        i = i->block_before;
      }
    }
  }
  return find_from(static_cast<const node*>(&from), k);
}

value_node::value_node(const context& parent_context, const key_base& k, const value_type& t,
                       std::uint64_t lookup_word, std::size_t place_in_run) noexcept
    : node(kind::value, tree::of(parent_context), 1, lookup_word), within(tree::scope_of(parent_context)),
      key(&k), type(&t) {
  position = static_cast<std::uint8_t>(place_in_run);
}

void* value_node::storage() const noexcept {
  const std::size_t from = fits_inside(type->size, type->align) ? inside : offset;
  return const_cast<char*>(reinterpret_cast<const char*>(this)) + from;
}

// The memory of a value that is gone, or was never made.
static void free_node(value_node* v) noexcept {
  const value_type& t = *v->type;
  const std::size_t align = align_of(t);
  const std::size_t size = size_of(*v);
  const std::size_t extra = value_node::fits_inside(t.size, t.align) ? 0 : t.size;
  const bool own = v->is(node::own_memory);
  v->~value_node();
  deallocate(v, own, size, extra, align);
}

cancel_node* scope_of_value(const node& value) noexcept {
  return node_of(static_cast<const value_node&>(value).within);
}

void destroy_value(value_node* v) noexcept {
  if (v->type->destroy) v->type->destroy(v->storage());
  free_node(v);
}

context with_value_of(const context& parent, const key_base& k, const value_type& type, const void* bytes,
                      std::source_location where) {
  value_node* v = make_value<way::any>(parent, k, type);
  std::memcpy(v->storage(), bytes, type.size);
  track::made(*v, where);
  return with_handle(v);
}

[[gnu::noinline]] static context with_small_value_anyhow(const context& parent, const key_base& k,
                                                         const value_type& type, std::uint32_t bytes,
                                                         std::source_location where) {
  value_node* v = make_value<way::small>(parent, k, type);
  std::memcpy(v->small, &bytes, sizeof bytes);
  track::made(*v, where);
  return with_handle(v);
}

context with_small_value(const context& parent, const key_base& k, const value_type& type,
                         std::uint32_t bytes, std::source_location where) {
  const node* above = tree::of(parent);
  value_node* v = nullptr;
  if (track::surely_off() && !(above && above->is(node::own_memory)))
    v = make_value<way::small_quickly>(parent, k, type);
  if (!v) [[unlikely]]
    return with_small_value_anyhow(parent, k, type, bytes, where);
  std::memcpy(v->small, &bytes, sizeof bytes);
  return with_handle(v);
}

// From here on everything comes from the node: the value's constructor may do anything, also with the parent's handle.
value_slot::value_slot(const context& parent, const key_base& k, const value_type& type)
    : node_(make_value<way::any>(parent, k, type)) {
  // The value's handles count as one on its scope.
  if (cancel_node* within = node_of(tree::scope_of(parent))) retain_handle(*within);
}

value_slot::~value_slot() {
  if (!node_) return;
  auto* v = static_cast<value_node*>(node_);
  node* above = v->parent;
  cancel_node* within = node_of(v->within);
  free_node(v);
  if (within) release_handle(within);
  drop(above);
}

void* value_slot::storage() const noexcept {
  return static_cast<value_node*>(node_)->storage();
}

context value_slot::commit(std::source_location where) && noexcept {
  auto* v = static_cast<value_node*>(std::exchange(node_, nullptr));
  track::made(*v, where);
  return tree::make(v, v->within);
}

}  // namespace heed::inline v0
