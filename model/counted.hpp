// For kernels about who lives how long: a value that says when it goes, and threads that meet at a count.
#pragma once

#include "../src/hanging.hpp"
#include "engine.hpp"

#include <heed/heed.hpp>

namespace model {

struct counted {
  explicit counted(int* n) : ended(n) {}
  counted(const counted&) = delete;
  ~counted() { ++*ended; }
  int* ended;
};
inline constexpr heed::key<counted> counted_key{"counted"};

// As if another thread had dropped a hold at the same moment (src/crowd.cpp).
inline void meet_at_holds(const heed::context& c) {
  heed::node& n = *heed::tree::of(c);
  heed::hold_here(n);
  check(heed::crowd::drop_unless_last(n), "not the last");
}

}  // namespace model
