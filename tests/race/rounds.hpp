// Forcing threads to meet: many rounds, in each of which all bodies start at one moment.
#pragma once

#include "../sanitizers.hpp"
#include "../support.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace race {

// Looks again and again, as closely as can be. But where that takes long, who is waited for may need the
// core.
template <class Condition>
void spin_until(Condition holds) {
  for (int looks = 0; !holds(); ++looks) {
    if (looks > 1000) std::this_thread::yield();
  }
}

// `rounds` times: before() here, then every body once, at once, each on a thread of its own, then after()
// here. The bodies start a few random steps apart, so that over the rounds they meet in many places; the seed
// is printed, and HEED_TEST_SEED repeats the steps. Stops at the first round with a failure.
inline void rounds(int rounds, const std::function<void()>& before,
                   const std::vector<std::function<void()>>& bodies, const std::function<void()>& after) {
  const auto seed = static_cast<unsigned>(heed_test::seed());
  SCOPED_TRACE("seed " + std::to_string(seed));
  // On the heap: clang's ThreadSanitizer leaves out fields of structs on the stack where this function uses
  // them.
  struct meeting {
    explicit meeting(std::size_t threads) : gate(static_cast<std::ptrdiff_t>(threads)) {}
    std::barrier<> gate;
    std::atomic<bool> over{false};
  };
  const auto at = std::make_unique<meeting>(bodies.size() + 1);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    threads.emplace_back([&, i] {
      std::minstd_rand random(seed + static_cast<unsigned>(i) + 1);
      for (;;) {
        at->gate.arrive_and_wait();
        if (at->over) return;
        const auto steps = random() % 4 == 0 ? random() % 2000 : random() % 60;
        for (std::atomic<unsigned> n{0}; n < steps; ++n) {}
        bodies[i]();
        at->gate.arrive_and_wait();
      }
    });
  }
  for (int round = 0; round < rounds && !testing::Test::HasFailure(); ++round) {
    before();
    at->gate.arrive_and_wait();
    at->gate.arrive_and_wait();
    after();
  }
  at->over = true;
  at->gate.arrive_and_wait();
}

}  // namespace race
