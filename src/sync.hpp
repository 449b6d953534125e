// The lock of the core: four bytes, never spins, may be destroyed right after the last unlock.
#pragma once

#include <heed/atomic.hpp>

#include "annotations.hpp"
#include "os.hpp"

#include <cstdint>

namespace heed::inline v0 {

// The lock as two functions on one word, 0 at first: also for public headers, which do not see this file.
namespace futex {
inline constexpr std::uint32_t held = 1;
inline constexpr std::uint32_t contended = 2;  // held, and somebody may be asleep

inline void lock(sync::atomic<std::uint32_t>& word) noexcept {
  std::uint32_t free = 0;
  // acquire: sees what the last holder wrote.
  if (word.compare_exchange_strong(free, held, std::memory_order_acquire, std::memory_order_relaxed)) return;
  while (word.exchange(contended, std::memory_order_acquire) != 0) os::wait(word, contended);
}
// True: somebody may be asleep, and is to be woken. From here on the lock may be gone.
[[nodiscard]] inline bool unlock_only(sync::atomic<std::uint32_t>& word) noexcept {
  // release: the next holder sees what we wrote.
  return word.exchange(0, std::memory_order_release) == contended;
}
inline void unlock(sync::atomic<std::uint32_t>& word) noexcept {
  if (unlock_only(word)) [[unlikely]]
    os::wake_one(word);  // uses the address only
}
}  // namespace futex

class HEED_LOCK futex_lock {
 public:
  constexpr futex_lock() noexcept = default;
  // Unchecked, these: the word below is all that there is of the lock.
  void lock() noexcept HEED_ACQUIRES() HEED_UNCHECKED { futex::lock(state_); }
  bool try_lock() noexcept HEED_TRIES() HEED_UNCHECKED {
    std::uint32_t free = 0;
    // acquire: sees what the last holder wrote.
    return state_.compare_exchange_strong(free, futex::held, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  // acquire: what all holders did so far.
  bool is_free() const noexcept { return state_.load(std::memory_order_acquire) == 0; }
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
