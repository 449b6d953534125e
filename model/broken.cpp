// Kernels with a mistake in each, for replay.cmake: the checker must find it, say which it is (the first word
// of the name), and find it again by the schedule that it has printed.
#include "engine.hpp"
#include "kernels.hpp"

#include "../src/os.hpp"

#include <heed/atomic.hpp>

#include <memory>
#include <mutex>

namespace model {
namespace {

using number = heed::sync::atomic<std::uint32_t>;
constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;

void not_atomic() {
  auto counted = std::make_unique<int>(0);
  for (int i = 0; i < 2; ++i) spawn([&] { ++*counted; });
  join();
}

void published_relaxed() {
  auto payload = std::make_unique<int>(0);
  number ready{0};
  spawn([&] {
    *payload = 1;
    ready.store(1, relaxed);
  });
  spawn([&] {
    if (ready.load(acquire) == 1) check(*payload == 1, "the payload");
  });
  join();
}

// Not a look at the word and a sleep in one step, but a flag beside it.
void lost_wakeup() {
  number told{0};
  number bell{0};
  spawn([&] {
    if (told.load(acquire) == 0) heed::os::wait(bell, 0);
  });
  spawn([&] {
    told.store(1, release);
    heed::os::wake_all(bell);
  });
  join();
}

void locks_crossed() {
  std::mutex a, b;
  spawn([&] { const std::scoped_lock one(a), two(b); });
  spawn([&] { const std::scoped_lock one(b), two(a); });
  join();
}

// The one who is not the last touches it after it has let go.
void freed_too_early() {
  auto* count = new number(2);
  for (int i = 0; i < 2; ++i) {
    spawn([=] {
      if (count->fetch_sub(1, std::memory_order_acq_rel) == 1)
        delete count;
      else
        static_cast<void>(count->load(relaxed));
    });
  }
  join();
}

void used_after_the_end() {
  auto* block = new number(0);
  number gone{0};
  spawn([&] {
    delete block;
    gone.store(1, release);
  });
  spawn([&] {
    if (gone.load(acquire) == 1) block->store(1, relaxed);
  });
  join();
}

void not_freed_in_one_order() {
  number first{0};
  auto* block = new int(1);
  spawn([&] { first.fetch_add(1, relaxed); });
  spawn([&] {
    if (first.load(relaxed) == 0) delete block;
  });
  join();
}

void spins() {
  number go{0};
  spawn([&] {
    while (go.load(acquire) == 0) {}
  });
  join();
}

// An older value is to be read, and then by another thread the same one.
void old_value() {
  number x{0};
  number y{0};
  spawn([&] {
    x.store(1, relaxed);
    y.store(1, relaxed);
  });
  spawn([&] {
    const std::uint32_t newer = y.load(acquire);
    check(newer == 0 || x.load(relaxed) == 1, "x was first");
  });
  join();
}

// Takes more steps the first time in a process: what a schedule counts must not depend on that.
void first_in_process() {
  static bool told = false;
  static number settled{0};
  if (!told) {
    for (int i = 0; i < 5; ++i) settled.fetch_add(1, relaxed);
    told = true;
  }
  number x{0};
  for (int i = 0; i < 2; ++i) {
    spawn([&] {
      const std::uint32_t seen = x.load(relaxed);
      x.store(seen + 1, relaxed);
    });
  }
  join();
  check(x.load(relaxed) == 2, "both have counted");
}

// Who sleeps longer is not the last to wake.
void time_passes() {
  number bell{0};
  number longer{0};
  const auto now = heed::clock::now();
  spawn([&, now] {
    heed::os::wait_until(bell, 0, now + std::chrono::seconds(2));
    longer.store(1, relaxed);
  });
  spawn([&, now] {
    heed::os::wait_until(bell, 0, now + std::chrono::seconds(1));
    check(longer.load(relaxed) == 0, "the other one sleeps longer");
  });
  join();
}

}  // namespace

std::vector<kernel> broken_kernels() {
  return {
      {"race.not_atomic", not_atomic},
      {"race.published_relaxed", published_relaxed},
      {"deadlock.lost_wakeup", lost_wakeup},
      {"deadlock.locks_crossed", locks_crossed},
      {"race.freed_too_early", freed_too_early},
      {"use_after_free.after_the_end", used_after_the_end},
      {"leak.in_one_order", not_freed_in_one_order},
      {"livelock.spins", spins},
      {"x_was_first.old_value", old_value},
      {"both_have_counted.first_in_process", first_in_process},
      {"the_other_one.time_passes", time_passes},
  };
}

}  // namespace model
