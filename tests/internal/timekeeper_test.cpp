// The wheels of the CPUs and the thread that keeps time (T1 to T4): threads that arm, disarm and fire on
// different CPUs.
#include "timekeeper.hpp"

#include "../race/rounds.hpp"
#include "default_scheduler.hpp"

#include <gtest/gtest.h>

#include <sched.h>
#include <array>
#include <atomic>
#include <deque>
#include <new>
#include <random>
#include <thread>

using namespace std::chrono_literals;

namespace {

using heed::clock;

// A timer that tells of every step that must not be.
class probe final : public heed::timer {
 public:
  enum state : int { armed, expired, turned, gone };
  explicit probe(heed::time_point when) : timer(&probe::on_step, when) {}
  ~probe() = default;

  // As a context's last owner does. True: it had not expired, and never will.
  bool give_up() {
    int s = armed;
    const bool first = is.compare_exchange_strong(s, gone);
    heed::the_process_scheduler().disarm(*this);
    if (!first) {
      while (is != turned) std::this_thread::yield();
    }
    return first;
  }
  static inline std::atomic<int> wrong = 0;
  std::atomic<int> is = armed;

 private:
  static bool on_step(work& w, step s) noexcept {
    auto& self = static_cast<probe&>(static_cast<timer&>(w));
    if (s == step::claim) {
      if (clock::now() < self.when()) ++wrong;
      int was = armed;
      if (self.is.compare_exchange_strong(was, expired)) return true;
      if (was != gone) ++wrong;  // a second time, or after disarm() and a new use of the memory
      return false;
    }
    if (self.is.exchange(turned) != expired) ++wrong;
    return false;
  }
};

void run_on(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  ::sched_setaffinity(0, sizeof set, &set);  // where there is one CPU only, it stays there
}

void arm(probe& p) {
  heed::the_process_scheduler().arm(p, p.when());
}

bool eventually(const std::atomic<int>& is, int wanted) {
  const auto until = clock::now() + 60s;
  while (is != wanted) {
    if (clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

// T1, T2: armed on one CPU and given up on another, at the moment when it is due. The memory is used again at
// once.
TEST(Timekeeper, GivenUpOnAnotherCpuWhenItIsDue) {
  struct room {
    alignas(probe) std::array<unsigned char, sizeof(probe)> bytes;
    probe* p = nullptr;
  };
  std::array<room, 64> rooms;
  unsigned delay = 0;
  std::atomic<int> fired = 0;
  std::atomic<int> given_up = 0;
  const auto arm_all = [&](unsigned parity) {
    run_on(parity);
    for (unsigned i = parity; i < rooms.size(); i += 2) {
      rooms[i].p =
          ::new (rooms[i].bytes.data()) probe(clock::now() + std::chrono::nanoseconds(delay * (i % 8)));
      arm(*rooms[i].p);
    }
  };
  const auto give_up_all = [&](unsigned parity) {
    run_on(1 - parity);
    for (unsigned i = parity; i < rooms.size(); i += 2) {
      ++(rooms[i].p->give_up() ? given_up : fired);
      rooms[i].p->~probe();
      rooms[i].bytes.fill(0xee);
    }
  };
  std::barrier armed(2);
  const auto body = [&](unsigned parity) {
    arm_all(parity);
    armed.arrive_and_wait();
    give_up_all(1 - parity);
  };
  race::rounds(
      2000 / slower, [&] { delay = (delay + 997) % 20000; }, {[&] { body(0); }, [&] { body(1); }},
      [&] { ASSERT_EQ(probe::wrong, 0); });
  EXPECT_GT(fired, 0);
  EXPECT_GT(given_up, 0);
}

// T1: the tag says where it is, on whatever CPU who asks runs; and nothing once it is disarmed or has fired.
TEST(Timekeeper, TheTagSaysWhereItIs) {
  for (unsigned cpu = 0; cpu < 2; ++cpu) {
    std::thread([cpu] {
      run_on(cpu);
      probe far(clock::now() + 1h);
      EXPECT_EQ(heed::timer_wheel::tag_of(far), heed::timer_wheel::none);
      arm(far);
      EXPECT_EQ(heed::timer_wheel::tag_of(far), heed::os::cpu());
      run_on(1 - cpu);
      EXPECT_TRUE(far.give_up());
      EXPECT_EQ(heed::timer_wheel::tag_of(far), heed::timer_wheel::none);
      probe near(clock::now() + 100us);
      arm(near);
      EXPECT_TRUE(eventually(near.is, probe::turned));
      EXPECT_EQ(heed::timer_wheel::tag_of(near), heed::timer_wheel::none);
      heed::the_process_scheduler().disarm(near);
    }).join();
  }
}

// T3, T4: each comes first of all just when the thread is going to sleep after the one before. One lost ring,
// and it sleeps for an hour.
TEST(Timekeeper, FirstOfAllWhenTheThreadGoesToSleep) {
  std::minstd_rand random(static_cast<unsigned>(heed_test::seed()));
  std::array<std::deque<probe>, 2> far;
  for (unsigned cpu = 0; cpu < 2; ++cpu) {  // in each shard something that is far away
    std::thread([&, cpu] {
      run_on(cpu);
      for (int i = 0; i < 20; ++i) arm(far[cpu].emplace_back(clock::now() + 1h));
    }).join();
  }
  const auto chain = [&](unsigned cpu, unsigned seed) {
    std::minstd_rand mine(seed);
    run_on(cpu);
    for (int i = 0; i < 20000 / slower; ++i) {
      probe p(clock::now() + std::chrono::nanoseconds(mine() % 20000));
      arm(p);
      if (!eventually(p.is, probe::turned)) {
        ADD_FAILURE() << "lost in round " << i;
        p.give_up();
        return;
      }
      for (std::atomic<unsigned> n{0}; n < mine() % 300; ++n) {}
    }
  };
  {
    std::jthread a(chain, 0U, static_cast<unsigned>(random()));
    std::jthread b(chain, 1U, static_cast<unsigned>(random()));
  }
  for (auto& shard : far) {
    for (probe& p : shard) EXPECT_TRUE(p.give_up());
  }
  EXPECT_EQ(probe::wrong, 0);
}

// More than a batch, and more than is moved in one go, at one instant and around it.
TEST(Timekeeper, ThousandsAtOnce) {
  std::deque<probe> all;
  const auto when = clock::now() + 50ms;
  for (int i = 0; i < 20000 / slower; ++i) arm(all.emplace_back(when + std::chrono::nanoseconds(i % 3 * i)));
  for (probe& p : all) ASSERT_TRUE(eventually(p.is, probe::turned));
  EXPECT_EQ(probe::wrong, 0);
}
