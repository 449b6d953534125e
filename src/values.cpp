// Looking values up, and making them: V1 to V3 of values.hpp.
#include "values.hpp"

#include "track.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace heed::inline v0 {
namespace {

constexpr std::uint64_t index_form = 0b010;  // of a word, in place of node_head::filter
constexpr std::uint64_t own_index = 0b100;   // then: the index is this node's own
constexpr std::uint64_t one_more = 0b10;     // in the count of a filter
constexpr std::uint64_t no_keys = node_head::filter;
constexpr std::size_t most_counted = node_head::taken / one_more;

// From the 16th value of a run: where those since the last index are noted.
struct late_value : value_node {
  late_value(const context& above, const key_base& k, const value_type& t, std::uint64_t lookup_word,
             std::uint64_t noted_keys) noexcept
      : value_node(above, k, t, lookup_word), noted(noted_keys) {}
  const std::uint64_t noted;
};

struct indexed_value : value_node {
  using value_node::value_node;
  // From the 16th on: its word is the address of its own index.
  indexed_value(const context& above, const key_base& k, const value_type& t) noexcept
      : value_node(above, k, t, reinterpret_cast<std::uintptr_t>(&index) | index_form | own_index) {}
  value_index index;
};

bool is_filter(std::uint64_t word) noexcept {
  return word & node_head::filter;
}

bool passes(std::uint64_t filter, std::uint64_t bits) noexcept {
  return (filter & bits) == bits;
}

std::size_t count_of(std::uint64_t filter) noexcept {
  return (filter & node_head::taken) / one_more;
}

const value_index* index_at(std::uint64_t word) noexcept {
  return reinterpret_cast<const value_index*>(static_cast<std::uintptr_t>(word & ~(index_form | own_index)));
}

// Those since the last index, from the 16th on.
std::uint64_t since(const value_node& v) noexcept {
  return v.index() ? no_keys : static_cast<const late_value&>(v).noted;
}

// The value right above in the same run; null: `v` is the first.
const value_node* above_in_run(const value_node& v) noexcept {
  const node* n = lookup_at(v.parent);
  return n && n->what == kind::value ? static_cast<const value_node*>(n) : nullptr;
}

bool is_small(const value_type& t) noexcept {
  return t.size <= sizeof(value_node::small) && t.align <= value_node::small_align;
}

std::size_t align_of(const value_type& t) noexcept {
  return is_small(t) ? alignof(value_node) : std::max(alignof(value_node), t.align);
}

std::size_t size_of(const value_node& v) noexcept {
  if (v.index()) return sizeof(indexed_value);
  return is_filter(v.lookup) ? sizeof(value_node) : sizeof(late_value);
}

template <class Node, class... Args>
Node* make(const context& parent, const key_base& k, const value_type& t, Args... args) {
  void* memory = allocate(sizeof(Node), is_small(t) ? 0 : t.size, align_of(t));
  return ::new (memory) Node(parent, k, t, args...);
}

// Fills in the index that came with `v`.
value_node* laid_down(indexed_value* v) noexcept {
  value_index& i = v->index;
  const value_node* at = v;
  i.own = no_keys;
  for (std::size_t n = 0; n < value_index::length; ++n) {
    if (n > 0) at = above_in_run(*at);
    i.keys[n] = at->key;
    i.places[n] = at->storage();
    i.own |= node_head::bits_of(*at->key);
  }
  const value_node* earlier = above_in_run(*at);
  i.before = earlier ? earlier->index() : nullptr;
  i.beyond = i.before ? i.before->beyond : lookup_at(at->parent);
  if (i.before) {
    i.all = i.before->all;
  } else {
    i.all.fill(no_keys);
  }
  for (const key_base* k : i.keys) i.all[value_index::word_of(*k)] |= node_head::bits_of(*k);
  return v;
}

value_node* make_value(const context& parent, const key_base& k, const value_type& t) {
  const node* above = lookup_at(tree::of(parent));
  std::uint64_t last = above ? above->lookup : no_keys;
  if (above && above->what != kind::value) last = (last & ~node_head::taken) | no_keys;  // a run starts here
  const std::uint64_t bits = node_head::bits_of(k);
  if (is_filter(last)) {
    if (count_of(last) == most_counted) return laid_down(make<indexed_value>(parent, k, t));
    const std::uint64_t word = (last + one_more) | bits;
    if (count_of(word) == value_index::length) return laid_down(make<indexed_value>(parent, k, t, word));
    return make<value_node>(parent, k, t, word);
  }
  const std::uint64_t noted = (since(static_cast<const value_node&>(*above)) + one_more) | bits;
  if (count_of(noted) == value_index::length) return laid_down(make<indexed_value>(parent, k, t));
  return make<late_value>(parent, k, t, last & ~own_index, noted);
}

// Looks through a run, from `v` upwards; `beyond` becomes what is to be asked after it.
const void* find_in_run(const value_node* v, const key_base& k, const node*& beyond) noexcept {
  const std::uint64_t bits = node_head::bits_of(k);
  const bool early = is_filter(v->lookup);
  beyond = nullptr;
  if (early && !passes(v->lookup, bits)) return nullptr;  // V2
  const value_index* i = early ? nullptr : index_at(v->lookup);
  if (early || passes(since(*v), bits)) {
    while (!(i = v->index())) {
      if (v->key == &k) return v->storage();
      beyond = lookup_at(v->parent);
      if (!beyond || beyond->what != kind::value) return nullptr;  // a short run
      v = static_cast<const value_node*>(beyond);
    }
  }
  beyond = i->beyond;
  if (!passes(i->all[value_index::word_of(k)], bits)) return nullptr;
  for (; i; i = i->before) {
    if (!passes(i->own, bits)) continue;
    for (std::size_t n = 0; n < value_index::length; ++n) {
      if (i->keys[n] == &k) return i->places[n];
    }
  }
  return nullptr;
}

// What one node answers that is not a value in a run.
const void* ask(const node& n, const key_base& k) noexcept {
  switch (n.what) {
    case kind::custom: return static_cast<const custom_node&>(n).self->find(k);
    case kind::value: {
      auto& v = static_cast<const value_node&>(n);
      return v.key == &k ? v.storage() : nullptr;
    }
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

const node* lookup_at(const node* n) noexcept {
  if (!n || (n->lookup & node_head::form) != node_head::nearest) return n;
  return static_cast<const node*>(reinterpret_cast<const node_head*>(static_cast<std::uintptr_t>(n->lookup)));
}

const node* lookup_above(const node* n) noexcept {
  switch (n->what) {
    case kind::merge: return nullptr;  // it has asked all above it
    case kind::custom: return static_cast<const custom_node*>(n)->beyond;
    default: return lookup_at(n->parent);
  }
}

const void* context::find(const key_base& k) const noexcept {
  for (const node* n = lookup_at(tree::of(*this)); n;) {
    const node* at = n;
    const bool run = at->what == kind::value;
    if (!run) n = lookup_above(at);
    if (const void* found = run ? find_in_run(static_cast<const value_node*>(at), k, n) : ask(*at, k))
      return found;
  }
  return nullptr;
}

value_node::value_node(const context& above, const key_base& k, const value_type& t,
                       std::uint64_t lookup_word) noexcept
    : node(kind::value, tree::of(above), 1, lookup_word), within(tree::scope_of(above)), key(&k), type(&t) {}

const value_index* value_node::index() const noexcept {
  if (is_filter(lookup)) {
    if (count_of(lookup) != value_index::length) return nullptr;
    return &static_cast<const indexed_value*>(this)->index;
  }
  return lookup & own_index ? index_at(lookup) : nullptr;
}

void* value_node::storage() const noexcept {
  if (is_small(*type)) return const_cast<unsigned char*>(small.data());
  return const_cast<char*>(reinterpret_cast<const char*>(this)) +
         extra_offset(size_of(*this), align_of(*type));
}

// The memory of a value that is gone, or was never made.
static void free_node(value_node* v) noexcept {
  const std::size_t align = align_of(*v->type);
  v->~value_node();
  deallocate(v, align);
}

void destroy_value(value_node* v) noexcept {
  v->type->destroy(v->storage());
  free_node(v);
}

value_slot::value_slot(const context& parent, const key_base& k, const value_type& type)
    : parent_(parent), node_(make_value(parent, k, type)) {}

value_slot::~value_slot() {
  if (!node_) return;
  auto* v = static_cast<value_node*>(node_);
  node* above = v->parent;
  free_node(v);
  drop(above);
}

void* value_slot::storage() const noexcept {
  return static_cast<value_node*>(node_)->storage();
}

context value_slot::commit(std::source_location where) && noexcept {
  auto* v = static_cast<value_node*>(std::exchange(node_, nullptr));
  // The value's handles count as one on its scope.
  if (cancel_node* within = node_of(tree::scope_of(parent_))) retain_handle(*within);
  track::made(*v, where);
  return tree::make(v, tree::scope_of(parent_));
}

}  // namespace heed::inline v0
