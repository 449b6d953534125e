// The bits of a cancelable context's one word (scope::word), on which everything depends.
#pragma once

#include <heed/context.hpp>

#include <cstdint>

namespace heed::inline v0::word {

// live --> claimed --> [closing] --> done           by its own cancel(), deadline or source
// live -------------> [closing] --> done            by an ancestor (inherited)
//
// done: verdict != 0, for good. closing is the time in which verdict is set and done_fd() not readable yet; a
// reader who meets it makes the fd readable itself, so nobody ever sees the one without the other.
inline constexpr std::uint32_t verdict = scope::verdict;  // 2 bits: 0 live, else the errc
inline constexpr std::uint32_t claimed = 1U << 2;  // live to readers; the claimer writes cause and place
inline constexpr std::uint32_t closing = scope::closing;  // bit 3
inline constexpr std::uint32_t has_fd = 1U << 4;          // scope::fd is there
inline constexpr std::uint32_t waiters = 1U << 5;         // somebody may be asleep on the word
inline constexpr std::uint32_t hooks = 1U << 6;           // something was ever put on its lists
inline constexpr std::uint32_t inherited = 1U << 7;       // an ancestor ended it: see cancel_node::decider
inline constexpr std::uint32_t settled = 1U << 8;         // done, and everything below it is, too
inline constexpr std::uint32_t merged = 1U << 9;          // a merge hangs somewhere below: see merge.cpp
inline constexpr std::uint32_t generation_shift = 16;     // 16 bits: the fork generation that made the fd

static_assert((verdict & claimed) == 0 && closing == 1U << 3);

// Has `set` in the word of `s`, whatever else happens to it; returns the word before.
std::uint32_t raise(scope& s, std::uint32_t set) noexcept;
// Sleeps until the word has one of these bits; returns it.
std::uint32_t await(scope& s, std::uint32_t bits) noexcept;
// The same, until `until` on heed::clock at the latest.
std::uint32_t await_until(scope& s, std::uint32_t bits, time_point until) noexcept;
// After `before` was exchanged for a word with a verdict: makes the fd readable, and wakes who slept on it.
void announce(scope& s, std::uint32_t before) noexcept;

}  // namespace heed::inline v0::word
