// For kernels about who lives how long: a value that says when it goes, and threads that meet.
#pragma once

#include "../src/hanging.hpp"
#include "engine.hpp"

#include <heed/heed.hpp>

#include <utility>

namespace model {

struct counted {
  explicit counted(int* n) : ended(n) {}
  counted(const counted&) = delete;
  ~counted() { ++*ended; }
  int* ended;
};
inline constexpr heed::key<counted> counted_key{"counted"};

// A function that never runs, and says when it is destroyed.
struct counted_end {
  explicit counted_end(int* n) : ended(n) {}
  counted_end(counted_end&& other) noexcept : ended(std::exchange(other.ended, nullptr)) {}
  ~counted_end() {
    if (ended) ++*ended;
  }
  void operator()() const { fail("nobody canceled"); }
  int* ended;
};

// As if another thread had dropped a hold at the same moment (src/crowd.cpp).
inline void meet_at_holds(const heed::context& c) {
  heed::node& n = *heed::tree::of(c);
  heed::hold_here(n);
  check(heed::crowd::drop_unless_last(n), "not the last");
}

// As lock_for_new() does for a thread that has found the lock held. Something has been hung there before
// (H4).
inline void meet(const heed::context& ctx) {
  { const auto first = heed::with_cancel(ctx); }
  unsigned number = 0;
  heed::lock_contended(*heed::node_of(heed::tree::scope_of(ctx)), number).lock.unlock();
}

}  // namespace model
