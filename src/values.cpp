// Making values, so that lookups find them: V1 to V4 of values.hpp.
#include "value_index.hpp"

#include "track.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <utility>

namespace heed::inline v0 {

[[gnu::always_inline]] inline value_node::value_node(node* above, const key_base& k, const value_type& t,
                                                     std::uint64_t lookup_word, std::size_t place_in_run,
                                                     birth how) noexcept
    : node(kind::value, above, 1, lookup_word, own_scheduler | own_memory | in_scope, how), key(&k),
      type(&t) {
  // As context.hpp reads them.
  assert(is_of(k));
  assert(reinterpret_cast<const char*>(static_cast<node_head*>(this)) + inside ==
         reinterpret_cast<const char*>(&small));
  position = static_cast<std::uint8_t>(place_in_run);
}

namespace {

constexpr std::size_t length = value_index::length;
constexpr std::size_t block_length = 8;
constexpr std::size_t last_early = 2 * length - 1;  // V4

std::size_t size_of(const value_node& v) noexcept {
  if (v.position == length) return is_late(v) ? sizeof(late_indexed_value) : sizeof(indexed_value);
  return is_late(v) ? sizeof(late_value) : sizeof(value_node);
}

// The filter of those that `filter` is of, and one more key that has these bits.
std::uint64_t with(std::uint64_t filter, std::uint64_t bits) noexcept {
  return bits == 0 ? 0 : filter & ~bits;
}

std::size_t align_of(const value_type& t) noexcept {
  return std::max(alignof(value_node), t.align);
}

template <class Node, class... Args>
Node* make(const context& parent, const key_base& k, const value_type& t, Args... args) {
  const bool inside = node_head::fits_inside(t.size, t.align);
  const std::size_t extra = inside ? 0 : t.size;
  const std::size_t align = inside ? alignof(Node) : align_of(t);
  void* const room = allocate(tree::of(parent), sizeof(Node), extra, align);
  Node* made = ::new (room) Node(tree::of(parent), k, t, args..., node::birth());
  if (inside) {
    made->give(node::kept_inside);
  } else {
    made->offset = static_cast<std::uint32_t>(extra_offset(sizeof(Node), align));
  }
  if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
    made->set_block(whole_size(sizeof(Node), extra, align), !t.destroy);
  return made;
}

// Fills in the index that came with `v` (V3).
template <class Node>
value_node* laid_down(Node* v) noexcept {
  value_index& i = v->index;
  const node* at = v;
  std::uint64_t tags = 0;
  for (std::size_t n = 0; n < length; ++n) {
    auto& one = static_cast<const value_node&>(*at);
    i.values[n] = &one;
    tags |= tag_of(*one.key) << 8 * n;
    at = lookup_at(one.parent);
  }
  i.scope_of_last = scope_above(v->parent);
  i.tags = tags;
  i.before = at && at->what == kind::value ? index_in(static_cast<const value_node&>(*at)) : nullptr;
  i.beyond = i.before ? i.before->beyond : at;
  const bool begins = !i.before || i.before->above + 1 == block_length;
  i.above = begins ? 0 : i.before->above + 1;
  i.block_before = begins ? i.before : i.before->block_before;
  if (!i.before) return v;  // the first of its run: nobody asks for a filter of this one alone
  const bool second = !i.before->before;
  if (begins || second) {
    i.block.fill(0);
  } else {
    i.block = i.before->block;
  }
  if (second) note(i.block, *i.before);
  note(i.block, i);
  return v;
}

// The 8th, 16th ... of a run: one with an index.
value_node* make_eighth(const context& parent, const key_base& k, const value_type& t, std::uint64_t word,
                        bool late) {
  if (late) return laid_down(make<late_indexed_value>(parent, k, t, word));
  return laid_down(make<indexed_value>(parent, k, t, word, length));
}

value_node* make_node_of(const context& parent, const key_base& k, const value_type& t) {
  const node* above = lookup_at(tree::of(parent));
  const std::uint64_t bits = node_head::bits_of(k);
  const std::uint64_t filter = with((above ? above->lookup : nothing_known) & ~node_head::form, bits);
  std::size_t position = 1;
  bool late = false;
  if (above && above->what == kind::value) {
    auto& last = static_cast<const value_node&>(*above);
    position += last.position;
    late = position > last_early;
    if (is_late(last) && !late) {
      auto& one = static_cast<const late_value&>(last);
      return make<late_value>(parent, k, t, filter | node_head::late, position, one.last,
                              with(one.since, bits));
    }
  }
  const std::uint64_t word = filter | (late ? node_head::late : node_head::early);
  if (late || position == length) return make_eighth(parent, k, t, word, late);
  return make<value_node>(parent, k, t, word, position);
}

// Whether threads have met at the number in which what is made of it counts.
bool is_met(const node& above) noexcept {
  if (!above.is(node::in_scope)) return is_crowded(above);
  return (above.handles.load(std::memory_order_acquire) & node::spread) != 0;  // acquire: the row (crowd.cpp)
}
// A new value leans on its parent, or holds it. Where threads have not met:
void count_here(node& above) noexcept {
  if (above.is(node::in_scope)) {
    above.handles.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has one already
  } else if (above.what != kind::todo) {
    hold_here(above);
  }
}
bool is_met(const context& c) noexcept {
  const node* const n = tree::of(c);
  return n && is_met(*n);
}
// And anywhere.
[[gnu::noinline, gnu::returns_nonnull]] value_node* counted(value_node* v) noexcept {
  node* const above = v->parent;
  if (!above) return v;
  if (!is_met(*above)) {
    count_here(*above);
  } else if (v->is(node::in_scope)) {
    crowd::retain(*above);
    v->give(node::strewn);
  } else {
    crowd::hold(*above);
  }
  return v;
}

}  // namespace

// The memory of a value that is gone, or was never made.
static void free_node(value_node* v) noexcept {
  if (const std::size_t words = v->block_words()) {
    v->~value_node();
    return pool::give_words(v, words);
  }
  const value_type& t = *v->type;
  const std::size_t align = align_of(t);
  const std::size_t size = size_of(*v);
  const std::size_t extra = value_node::fits_inside(t.size, t.align) ? 0 : t.size;
  const bool own = v->is(node::own_memory);
  v->~value_node();
  deallocate(v, own, size, extra, align);
}

cancel_node* scope_of_value(const node& value) noexcept {
  if (!value.is(node::in_scope)) return nullptr;
  const node* n = &value;
  do {
    const auto& v = static_cast<const value_node&>(*n);
    if (const value_index* const i = index_in(v)) return i->scope_of_last;
    n = v.parent;
  } while (n->what == kind::value);
  return scope_above(n);
}

void destroy_value(value_node* v) noexcept {
  if (v->type->destroy) v->type->destroy(v->storage());
  free_node(v);
}

// How the parent comes: looked at; moved, so that what its handle was counted as is the new one's; or threads
// may have met there, and counted() is for later.
enum class parent_is : std::uint8_t { shared, given, crowded };

// What make_node_of() does in many steps, in a few; `extra` bytes follow the node. Null: that is for
// make_node_of(), and nothing has changed. A parent that is shared counts it, before there is much to store:
// a locked instruction waits for all stores before it.
template <parent_is how>
[[gnu::always_inline]] static inline value_node* made_quickly(const context& parent, const key_base& k,
                                                              const value_type& type, std::size_t extra,
                                                              int traits) {
  node* const above = tree::of(parent);
  const std::uint64_t bits = node_head::bits_of(k);
  if (!track::surely_off() || (above && above->is(node::own_memory)) || bits == 0) [[unlikely]]
    return nullptr;
  if (how == parent_is::shared && above && is_met(*above)) [[unlikely]]
    return nullptr;
  if (above && (above->lookup & node_head::form) == node_head::early) {  // the next of a run: most are
    const std::size_t position = static_cast<const value_node&>(*above).position + 1U;
    if (position % length == 0) return nullptr;  // one with an index
    void* const room = pool::take_quickly(sizeof(value_node) + extra);
    if (!room) return nullptr;
    if (how == parent_is::shared) count_here(*above);
    return ::new (room) value_node(above, k, type, above->lookup & ~bits, position,
                                   {traits, node::words_of(sizeof(value_node) + extra)});
  }
  const node* const head = lookup_at(above);
  std::uint64_t word = (head ? head->lookup : ~std::uint64_t{0}) & ~bits;  // the form stays
  std::size_t position = 1;
  if (head && head->what == kind::value) {
    auto& last = static_cast<const value_node&>(*head);
    position += last.position;
    if (position == length || position > last_early) return nullptr;  // one with an index
  }
  static_assert((node_head::early & node_head::form) == node_head::form);
  if (position == 1) word |= node_head::early;
  const bool late = (word & node_head::form) == node_head::late;
  const std::size_t size = late ? sizeof(late_value) : sizeof(value_node);
  void* const room = pool::take_quickly(size + extra);
  if (!room) return nullptr;
  if (how == parent_is::shared && above) count_here(*above);
  const node::birth birth{traits, node::words_of(size + extra)};
  if (!late) return ::new (room) value_node(above, k, type, word, position, birth);
  auto& last = static_cast<const late_value&>(*head);
  return ::new (room) late_value(above, k, type, word, position, last.last, last.since & ~bits, birth);
}

// The rest, once the value is there.
template <parent_is how>
[[gnu::always_inline]] static inline node_head* finished(value_node* v) noexcept {
  if constexpr (how == parent_is::crowded) return counted(v);
  // As in release_trivial(); its hold is the new one's. One in a scope has the handle itself.
  if (how == parent_is::given && !v->is(node::in_scope))
    v->parent->handles.store(0, std::memory_order_relaxed);
  return v;
}

// Of one that fits inside.
template <parent_is how>
[[gnu::always_inline]] static inline node_head* made_small(const context& parent, const key_base& k,
                                                           const value_type& type, std::uint32_t bytes) {
  const int traits = node::trivial | node::kept_inside;
  value_node* const v = made_quickly<how>(parent, k, type, 0, traits);
  if (!v) return nullptr;
  std::memcpy(v->small, &bytes, sizeof bytes);
  return finished<how>(v);
}

[[gnu::noinline]] static node_head* small_value_anyhow(const context& parent, const key_base& k,
                                                       const value_type& type, std::uint32_t bytes,
                                                       std::source_location where) {
  if (is_met(parent)) {
    if (node_head* const made = made_small<parent_is::crowded>(parent, k, type, bytes)) return made;
  }
  value_node* v = make_node_of(parent, k, type);
  std::memcpy(v->small, &bytes, sizeof bytes);
  counted(v);
  track::made(*v, where);  // its traits are settled now
  return v;
}

node_head* derived::make_small_value(const context& parent, const key_base& k, const value_type& type,
                                     std::uint32_t bytes, std::source_location where) {
  node_head* const made = made_small<parent_is::shared>(parent, k, type, bytes);
  return made ? made : small_value_anyhow(parent, k, type, bytes, where);
}

// Whether a value may take over what a handle is counted as: to lean on, or the hold of the last one of a
// value.
static inline bool may_be_given(const context& c) noexcept {
  const node* const n = tree::of(c);
  if (!n || n->is(node::in_scope)) return n;
  // acquire: as in release_trivial(). It is the only handle, and nobody but us can make another.
  return n->what == kind::value && n->handles.load(std::memory_order_acquire) == 1;
}

node_head* derived::make_small_value_of(const context& given, const key_base& k, const value_type& type,
                                        std::uint32_t bytes) {
  return may_be_given(given) ? made_small<parent_is::given>(given, k, type, bytes) : nullptr;
}

// Behind the node, for one that does not fit inside; aligned to a word.
static constexpr std::size_t room_for(const value_type& type) noexcept {
  return node::words_of(type.size) * sizeof(std::uint64_t);
}

static std::uint32_t offset_behind(const value_node& v, std::size_t room) noexcept {
  return static_cast<std::uint32_t>(v.block_words() * sizeof(std::uint64_t) - room);
}

template <parent_is how>
[[gnu::always_inline]] static inline node_head* made_of_words(const context& parent, const key_base& k,
                                                              const value_type& type,
                                                              const std::uint64_t* words) {
  const std::size_t room = room_for(type);
  value_node* const v = made_quickly<how>(parent, k, type, room, node::trivial);
  if (!v) return nullptr;
  v->offset = offset_behind(*v, room);
  char* const to = reinterpret_cast<char*>(v) + v->offset;
  for (std::size_t i = 0; i < room; i += sizeof(std::uint64_t))
    std::memcpy(to + i, words + i / sizeof(std::uint64_t), sizeof(std::uint64_t));
  return finished<how>(v);
}

[[gnu::noinline]] static node_head* value_anyhow(const context& parent, const key_base& k,
                                                 const value_type& type, const std::uint64_t* words,
                                                 std::source_location where) {
  if (is_met(parent)) {
    if (node_head* const made = made_of_words<parent_is::crowded>(parent, k, type, words)) return made;
  }
  value_node* v = make_node_of(parent, k, type);
  std::memcpy(v->storage(), words, type.size);
  counted(v);
  track::made(*v, where);
  return v;
}

node_head* derived::make_value(const context& parent, const key_base& k, const value_type& type,
                               const std::uint64_t* words, std::source_location where) {
  node_head* const made = made_of_words<parent_is::shared>(parent, k, type, words);
  return made ? made : value_anyhow(parent, k, type, words, where);
}

node_head* derived::make_value_of(const context& given, const key_base& k, const value_type& type,
                                  const std::uint64_t* words) {
  return may_be_given(given) ? made_of_words<parent_is::given>(given, k, type, words) : nullptr;
}

// One whose value is made later.
static value_node* node_for(const context& parent, const key_base& k, const value_type& t) {
  const bool inside = value_node::fits_inside(t.size, t.align);
  if (inside || (t.align <= alignof(value_node) && t.size <= pool::largest)) {
    const std::size_t room = inside ? 0 : room_for(t);
    const int traits = (inside ? node::kept_inside : 0) | (t.destroy ? 0 : node::trivial);
    if (value_node* v = made_quickly<parent_is::crowded>(parent, k, t, room, traits)) {
      if (!inside) v->offset = offset_behind(*v, room);
      return v;
    }
  }
  return make_node_of(parent, k, t);
}

// From here on everything comes from the node: the value's constructor may do anything, also with the
// parent's handle.
value_slot::value_slot(const context& parent, const key_base& k, const value_type& type)
    : node_(counted(node_for(parent, k, type))) {}

// The value was not made.
[[gnu::noinline]] static void give_up(value_node* v) noexcept {
  node* const above = v->parent;
  const bool leaned = v->is(node::in_scope);
  const bool strewn = v->is(node::strewn);
  free_node(v);
  if (!leaned) return drop(above);
  if (strewn || !release_one_of_more(*above)) release_leaning(*above, strewn);
}

value_slot::~value_slot() {
  if (node_) give_up(static_cast<value_node*>(node_));
}

void* value_slot::storage() const noexcept {
  return static_cast<value_node*>(node_)->storage();
}

context value_slot::commit(std::source_location where) && noexcept {
  auto* v = static_cast<value_node*>(std::exchange(node_, nullptr));
  track::made(*v, where);
  const cancel_node* const in = scope_of_value(*v);
  return tree::make(v, in ? in : &never_ending);
}

}  // namespace heed::inline v0
