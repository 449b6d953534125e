// The lock of the core: four bytes, never spins, may be destroyed right after the last unlock.
#pragma once

#include "os.hpp"

#include <atomic>
#include <cstdint>

namespace heed::inline v0 {

class futex_lock {
 public:
  constexpr futex_lock() noexcept = default;
  void lock() noexcept {
    std::uint32_t free = 0;
    // acquire: sees what the last holder wrote.
    if (state_.compare_exchange_strong(free, held, std::memory_order_acquire, std::memory_order_relaxed))
      return;
    while (state_.exchange(contended, std::memory_order_acquire) != 0) os::wait(state_, contended);
  }
  void unlock() noexcept {
    // release: the next holder sees what we wrote. From here on the lock may be gone; wake_one() only uses its
    // address.
    if (state_.exchange(0, std::memory_order_release) == contended) os::wake_one(state_);
  }

 private:
  static constexpr std::uint32_t held = 1;
  static constexpr std::uint32_t contended = 2;  // held, and somebody may be asleep
  std::atomic<std::uint32_t> state_{0};
};

class locked {
 public:
  explicit locked(futex_lock& l) noexcept : lock_(l) { lock_.lock(); }
  ~locked() { lock_.unlock(); }
  locked(const locked&) = delete;
  locked& operator=(const locked&) = delete;

 private:
  futex_lock& lock_;
};

}  // namespace heed::inline v0
