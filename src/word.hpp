// The bits of a cancelable context's one word (scope::word), on which everything depends.
#pragma once

#include <heed/context.hpp>

#include <bit>
#include <cassert>
#include <cstdint>
#include <source_location>

namespace heed::inline v0::word {

// live --> claimed --> [closing] --> done           by its own cancel(), deadline or source live
// -------------> [closing] --> done            by its own cancel(), where nothing has to be written first
// live -------------> [closing] --> done            by an ancestor (inherited)
//
// done: verdict != 0, for good. closing is the time in which verdict is set and done_fd() not readable yet; a
// reader who meets it makes the fd readable itself, so nobody ever sees the one without the other.
//
// Above the flags is a pointer, so that a verdict and where it came from are one store (I2): the place of the
// cancel(), or, with `inherited`, the ancestor that was ended. While live: nothing; a deadline has its place
// there.
inline constexpr std::uint64_t verdict = scope::verdict;  // 2 bits: 0 live, else the errc
inline constexpr std::uint64_t closing = scope::closing;  // bit 2
// Bits 3 to 7 stay 0: err() reads the lowest byte as a whole.
inline constexpr std::uint64_t claimed = 1U << 8;     // live to readers; the claimer writes the cause
inline constexpr std::uint64_t has_fd = 1U << 9;      // cancel_node::fd is there
inline constexpr std::uint64_t waiters = 1U << 10;    // somebody may be asleep on the word
inline constexpr std::uint64_t hooks = 1U << 11;      // something was ever put on its lists
inline constexpr std::uint64_t inherited = 1U << 12;  // the pointer is the ancestor that ended it
inline constexpr std::uint64_t settled = 1U << 13;    // done, and everything below it is, too
inline constexpr std::uint64_t merged = 1U << 14;     // a merge hangs somewhere below: see merge.cpp
// From birth: it is not a plain with_cancel(), one that has no parent or rides on it (L2), lies in memory of
// the pool, and is not listed by track.hpp. With a verdict also: it has a cause.
inline constexpr std::uint64_t uncommon = 1U << 15;
inline constexpr std::uint64_t flags = (1U << 16) - 1;

static_assert(verdict == 0b11 && closing == 0b100);

// What we point to is aligned to 8, so shifted by 13 it does not meet the flags, and addresses of 51 bits
// fit. Linux gives a process no higher ones, on x86-64 (47 bits) and aarch64 (48), unless it asks mmap(2) for
// one by a hint.
inline void* pointer(std::uint64_t w) noexcept {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>((w & ~flags) >> 13));
}
inline std::uint64_t pointing(const void* p) noexcept {
  const std::uint64_t w = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(p)) << 13;
  assert(pointer(w) == p);
  return w;
}
// A source_location is a pointer to what the compiler wrote down; {} is null.
static_assert(sizeof(std::source_location) == sizeof(void*));
inline std::uint64_t at(std::source_location where) noexcept {
  return pointing(std::bit_cast<const void*>(where));
}
inline std::source_location place(std::uint64_t w) noexcept {
  return std::bit_cast<std::source_location>(pointer(w));
}

// Has `set` in the word of `s`, whatever else happens to it; returns the word before.
inline std::uint64_t raise(scope& s, std::uint64_t set) noexcept {
  // acq_rel: publishes what the bit stands for; sees what came before a verdict that is already there.
  return s.word.fetch_or(set, std::memory_order_acq_rel);
}
// Sleeps until the word has one of these bits; returns it.
std::uint64_t await(scope& s, std::uint64_t bits) noexcept;
// The same, until `until` on heed::clock at the latest.
std::uint64_t await_until(scope& s, std::uint64_t bits, time_point until) noexcept;
// After `before` was exchanged for a word with a verdict: makes the fd readable, and wakes who slept on it.
void announce(scope& s, std::uint64_t before) noexcept;
// Wakes who waits for `settled`; only the address is used.
void wake_settled(scope& s) noexcept;

}  // namespace heed::inline v0::word
