// The lock of the core: four bytes, never spins, may be destroyed right after the last unlock.
//
// Mostly nobody waits for it. So unlocking is a plain store, and who has to wait pays for that: it counts
// itself among the waiting, has every thread of the process pass a barrier (membarrier(2)), and looks once
// more before it sleeps.
//  S1  Who unlocks stores first, and then asks whether anybody waits. If it asks after that barrier, it sees
//      the count, and wakes. If before, its store was before, too, and who waits finds the lock free.
//      (Dekker's two flags, with the cost on one side.)
//  S2  The lock may be gone after the store, so the count is not in it, but one of some that locks share by
//      their address; and one of all, which mostly tells enough. Who finds a stranger's count wakes for no
//      reason, at an address where nobody sleeps or one who looks again.
#pragma once

#include <heed/atomic.hpp>

#include "annotations.hpp"
#include "os.hpp"

#include <array>
#include <cstdint>

namespace heed::inline v0 {

// The lock as functions on one word, 0 at first: also for public headers, which do not see this file.
namespace futex {
inline constexpr std::uint32_t held = 1;

// How many threads wait for locks: for any, and by address (S2). Lines of their own, which are only written
// where somebody waits.
struct counts {
  alignas(64) sync::atomic<std::uint32_t> all;
  alignas(64) std::array<sync::atomic<std::uint32_t>, 64> at;
};
[[gnu::visibility("hidden")]] extern constinit counts waiting;
inline sync::atomic<std::uint32_t>& waiting_for(const sync::atomic<std::uint32_t>& word) noexcept {
  return waiting.at[reinterpret_cast<std::uintptr_t>(&word) / 64 % 64];
}

inline bool try_lock(sync::atomic<std::uint32_t>& word) noexcept {
  std::uint32_t free = 0;
  // acquire: sees what the last holder wrote. seq_cst: for who looks whether it was taken (tree.hpp, L9).
  return word.compare_exchange_strong(free, held, std::memory_order_seq_cst, std::memory_order_relaxed);
}
// The rest of lock(), where it is not free.
void lock_held(sync::atomic<std::uint32_t>& word) noexcept;
inline void lock(sync::atomic<std::uint32_t>& word) noexcept {
  if (!try_lock(word)) [[unlikely]]
    lock_held(word);
}
// True: somebody may be asleep, and is to be woken. From here on the lock may be gone.
[[nodiscard]] inline bool unlock_only(sync::atomic<std::uint32_t>& word) noexcept {
  // release: the next holder sees what we wrote.
  word.store(0, std::memory_order_release);
  asm volatile("" ::: "memory");                                    // S1: in this order, for the compiler
  if (waiting.all.load(std::memory_order_relaxed) == 0) [[likely]]  // relaxed: S1, and below
    return false;
  return waiting_for(word).load(std::memory_order_relaxed) != 0;
}
inline void unlock(sync::atomic<std::uint32_t>& word) noexcept {
  if (unlock_only(word)) [[unlikely]]
    os::wake_one(word);  // uses the address only
}
// In a child that was just forked: who waited was left behind.
void nobody_waits() noexcept;
}  // namespace futex

class HEED_LOCK futex_lock {
 public:
  constexpr futex_lock() noexcept = default;
  static constexpr struct held_at_first {
  } held{};
  // Held already, by whoever finds out that it is.
  constexpr explicit futex_lock(held_at_first) noexcept : state_(futex::held) {}
  // Unchecked, these: the word below is all that there is of the lock.
  void lock() noexcept HEED_ACQUIRES() HEED_UNCHECKED { futex::lock(state_); }
  bool try_lock() noexcept HEED_TRIES() HEED_UNCHECKED { return futex::try_lock(state_); }
  // acquire: what all holders did so far.
  bool is_free() const noexcept { return state_.load(std::memory_order_acquire) == 0; }
  // Either sees what was done before it was last locked, or comes before that in the one order of all such
  // looks and lockings: of two threads that each lock one, and then look at the other's, one sees the other.
  void look() const noexcept { static_cast<void>(state_.load(std::memory_order_seq_cst)); }
  void unlock() noexcept HEED_RELEASES() HEED_UNCHECKED { futex::unlock(state_); }
  // In two halves: true, and wake() is to be called, which uses the address only.
  [[nodiscard]] bool unlock_only() noexcept HEED_RELEASES() HEED_UNCHECKED {
    return futex::unlock_only(state_);
  }
  void wake() noexcept { os::wake_one(state_); }

 private:
  sync::atomic<std::uint32_t> state_{0};
};

class HEED_SCOPED_LOCK locked {
 public:
  explicit locked(futex_lock& l) noexcept HEED_ACQUIRES(l) : lock_(l) { lock_.lock(); }
  static constexpr struct already_locked {
  } already{};
  // What a function has handed out locked counts as ours from here on.
  locked(futex_lock& l, already_locked) noexcept HEED_ACQUIRES(l) : lock_(l) {}
  ~locked() HEED_RELEASES() { lock_.unlock(); }
  locked(const locked&) = delete;
  locked& operator=(const locked&) = delete;

 private:
  futex_lock& lock_;
};

}  // namespace heed::inline v0
