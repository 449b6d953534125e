// What dump() prints: a copy of a part of the tree, taken from the nodes while they are kept (picture.cpp),
// printed when they are not needed any more (dump.cpp).
#pragma once

#include <heed/error.hpp>

#include "tree.hpp"

#include <array>
#include <cstddef>
#include <limits>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace heed::inline v0 {

inline constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();

// The parents of a node: one, but for roots and what merges several. A null in front: background().
struct parent_list {
  std::array<const node*, 2> node_of{};
  std::size_t count = 1;
  const node* const* begin() const noexcept { return node_of.data(); }
  const node* const* end() const noexcept { return node_of.data() + count; }
};
parent_list parents_of(const node& n) noexcept;

struct seen {
  const node* of = nullptr;  // null: background(); afterwards only an address
  kind what = kind::todo;
  bool never_ends = false;
  bool foreign_clock = false;  // has a scheduler that is not the root's
  bool mixed = false;          // as the node's
  std::uint64_t verdict = 0;   // 0: live
  std::size_t handles = 0;
  tree::tally hooks;
  bool timed = false;
  time_point when = time_point::max();
  error cause;                      // of the one that decided
  std::source_location ended;       // likewise
  const node* decider = nullptr;    // null: itself
  std::vector<std::string> values;  // keys on the way from the context above
  std::string name;                 // of a custom context
  std::string_view key;             // of a value
  std::string_view file;            // where it was made, if line != 0
  std::uint32_t line = 0;
  std::size_t number = 0;  // of its entry in the registry
  parent_list above;

  // The picture. Index of a context in it, or nowhere.
  std::array<std::size_t, 2> parent{nowhere, nowhere};
  std::size_t first_child = nowhere;
  std::size_t next_sibling = nowhere;
  std::size_t depth = 0;
  std::size_t id = 0;  // from 1, in the order of printing; 0: not in the picture
  std::size_t ended_by = nowhere;
};

struct picture {
  bool tracked = false;
  std::size_t not_listed = 0;
  time_point now;
  std::vector<seen> contexts;
  std::vector<std::size_t> order;  // of printing
  std::string names;               // what the string_views look at
};

// Throws std::bad_alloc, and what name() of custom contexts throws.
picture look(const context& root);

}  // namespace heed::inline v0
