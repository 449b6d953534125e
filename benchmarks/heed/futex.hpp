// The kernel's way to sleep and to be woken, bare: what floors are made of.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

using word = std::atomic<std::uint32_t>;

inline void wait(word& w, std::uint32_t while_it_is, const timespec* until = nullptr) {
  syscall(SYS_futex, &w, FUTEX_WAIT_BITSET_PRIVATE, while_it_is, until, nullptr, FUTEX_BITSET_MATCH_ANY);
}
inline void wake(word& w) {
  syscall(SYS_futex, &w, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}
