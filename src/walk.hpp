// The first phase of a cancel: everything below a node that has just been decided is turned. The argument is
// in cancel.cpp.
#pragma once

#include "hanging.hpp"

#include <cstdint>
#include <utility>

namespace heed::inline v0 {

// Of the word of one that nobody else can decide any more.
inline constexpr std::uint64_t decided = word::verdict | word::claimed;

// The word of a node that ends as `verdict`, having had `w`. `from`: what the pointer is to be. Sleepers are
// woken by who writes it.
inline std::uint64_t ended(std::uint64_t w, std::uint64_t verdict, std::uint64_t from) noexcept {
  return (w & word::flags & ~(word::claimed | word::waiters)) | verdict | from |
         ((w & word::has_fd) ? word::closing : 0);
}

enum class turned {
  whole,  // and it may be gone already
  open,   // something hangs below it, or is left to do: pinned
  lost,   // somebody else ends it: pinned
  gone    // it is being destroyed
};
// live -> done, by the walk of an ancestor that `from` decided. `c` has just been taken off a list, whose
// lock is held, or is pinned.
turned turn_one(cancel_node& c, cancel_node& from, std::uint64_t verdict) noexcept;

// The chunks that a walk has emptied, freed when its claim is over: operator delete may be foreign (I5).
struct emptied_chunks {
  emptied_chunks() = default;
  emptied_chunks(const emptied_chunks&) = delete;
  emptied_chunks& operator=(const emptied_chunks&) = delete;
  ~emptied_chunks() {
    while (first) free_chunk(std::exchange(first, first->older));
  }
  chunk* first = nullptr;
};

// Whether the second phase has to look for callbacks at the root. None: the walk saw that there are none, and
// none can come.
enum class callbacks : bool { none, perhaps };

// The rest of the first phase, for a node that has just been given its verdict. From here on everything below
// it is done.
callbacks settle(cancel_node& n, emptied_chunks& emptied) noexcept;

}  // namespace heed::inline v0
