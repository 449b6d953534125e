#include "sync.hpp"

#include <chrono>

namespace heed::inline v0::futex {

constinit counts waiting{};

void lock_held(sync::atomic<std::uint32_t>& word) noexcept {
  using namespace std::chrono_literals;
  sync::atomic<std::uint32_t>& here = waiting_for(word);
  os::prepare_barriers();  // before it counts: others would go on waking nobody for as long as that takes
  // relaxed, all: the barrier orders these, and nothing hangs on the others.
  waiting.all.fetch_add(1, std::memory_order_relaxed);
  here.fetch_add(1, std::memory_order_relaxed);
  const bool sees_all = os::barrier_everywhere();
  // Where there is no such barrier, who unlocks may miss us: then we look again soon.
  while (!try_lock(word)) os::wait_until(word, held, sees_all ? time_point::max() : os::now() + 1ms);
  here.fetch_sub(1, std::memory_order_relaxed);
  waiting.all.fetch_sub(1, std::memory_order_relaxed);
}

void nobody_waits() noexcept {
  waiting.all.store(0, std::memory_order_relaxed);
  for (auto& count : waiting.at) count.store(0, std::memory_order_relaxed);
}

}  // namespace heed::inline v0::futex
