// The lock of the core (src/sync.hpp): nobody is missed who waits for it, though unlocking asks nobody.
#include "../../src/default_scheduler.hpp"
#include "../../src/sync.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct counted {
  heed::futex_lock lock;
  long count = 0;
};

// How many wait for what lies at the same address, as far as the lock can tell (S2).
unsigned waiting_for(const heed::futex_lock& lock) {
  return heed::futex::waiting_for(reinterpret_cast<const heed::sync::atomic<std::uint32_t>&>(lock)).load();
}

// Has the kernel refuse membarrier(2) to this thread from now on, as a sandbox may. False: it does not do
// that.
bool refuse_barriers() {
  std::array<sock_filter, 4> rules{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{rules.size(), rules.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
         ::syscall(SYS_membarrier, 0, 0, 0) == -1;
}

}  // namespace

// Most of the time each is found held: then one more who is missed is enough for this not to end.
TEST(Lock, MissesNobody) {
  counted shared;
  constexpr int threads = 3;
  constexpr long rounds = 30'000;
  std::vector<std::thread> all;
  all.reserve(threads);
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&shared] {
      for (long i = 0; i < rounds; ++i) {
        const heed::locked guard(shared.lock);
        ++shared.count;
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  }
  for (std::thread& t : all) t.join();
  EXPECT_EQ(shared.count, threads * rounds);
  EXPECT_EQ(waiting_for(shared.lock), 0U);
}

TEST(Lock, WakesOneAfterTheOther) {
  counted shared;
  shared.lock.lock();
  std::vector<std::thread> all;
  all.reserve(3);
  for (int t = 0; t < 3; ++t) {
    all.emplace_back([&shared] {
      const heed::locked guard(shared.lock);
      ++shared.count;
    });
  }
  while (waiting_for(shared.lock) < 3) std::this_thread::yield();
  shared.lock.unlock();
  for (std::thread& t : all) t.join();
  EXPECT_EQ(shared.count, 3);
  EXPECT_EQ(waiting_for(shared.lock), 0U);
}

// Who unlocks it for the last time does not touch it afterwards, whoever waits elsewhere. (Looked at by
// AddressSanitizer.)
TEST(Lock, MayGoRightAfterItsLastUnlock) {
  for (int i = 0; i < 2'000; ++i) {
    auto shared = std::make_unique<counted>();
    std::atomic<int> left{2};
    const auto body = [&] {
      bool last = false;
      {
        const heed::locked guard(shared->lock);
        last = --left == 0;
      }
      if (last) shared.reset();
    };
    std::thread other(body);
    body();
    other.join();
    EXPECT_EQ(shared, nullptr);
  }
}

// The first time a barrier takes milliseconds of preparation; whoever unlocks meanwhile is not to look for
// somebody to wake. (In a process whose first test this is, and on several CPUs.)
TEST(Lock, CountsOnceBarriersArePrepared) {
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  if (commands < 0 || (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) GTEST_SKIP() << "no membarrier(2)";
  counted shared;
  shared.lock.lock();
  std::thread waiter([&shared] { const heed::locked guard(shared.lock); });
  while (waiting_for(shared.lock) == 0) std::this_thread::yield();
  EXPECT_EQ(::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), 0);
  shared.lock.unlock();
  waiter.join();
}

// Without membarrier(2) who unlocks may miss who waits, who then looks again by himself.
TEST(Lock, LooksAgainWhereThereIsNoBarrier) {
  heed::sync::atomic<std::uint32_t> word{heed::futex::held};
  std::atomic<bool> refused{true};
  std::atomic<bool> has_it{false};
  std::thread waiter([&] {
    refused = refuse_barriers();
    if (!refused) return;
    heed::futex::lock(word);
    has_it = true;
  });
  while (refused && heed::futex::waiting_for(word).load() == 0) std::this_thread::yield();
  word.store(0);  // and it is not woken
  const auto limit = std::chrono::steady_clock::now() + 20s;
  while (refused && !has_it && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(has_it, refused);
  heed::os::wake_all(word);
  waiter.join();
  if (!refused) GTEST_SKIP() << "no seccomp(2) here";
}

// Who waited for a lock is not there in a forked child, and counts no more.
TEST(Lock, NobodyWaitsInAForkedChild) {
  heed::process_scheduler::prepare_for_fork();
  counted shared;
  shared.lock.lock();
  std::thread waiter([&shared] { const heed::locked guard(shared.lock); });
  while (waiting_for(shared.lock) == 0) std::this_thread::yield();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(waiting_for(shared.lock) == 0 ? 0 : 1);
  int status = -1;
  while (::waitpid(child, &status, 0) < 0) {}
  EXPECT_EQ(status, 0);
  EXPECT_EQ(waiting_for(shared.lock), 1U) << "the parent still has it";
  shared.lock.unlock();
  waiter.join();
}
