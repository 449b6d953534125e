// Threads of different priorities on one core (case 34): under SCHED_FIFO a thread that spins for one of
// lower priority waits for good. A parent of the highest priority watches, and RLIMIT_RTTIME ends who spins.
#include "program.hpp"

#include <heed/heed.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <sched.h>
#include <sys/resource.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using process::check;

namespace {

bool fifo = false;

// 0 is the lowest.
void take_priority(int n) {
  sched_param how{};
  if (fifo) {
    how.sched_priority = 10 + n;
    check(::sched_setscheduler(0, SCHED_FIFO, &how) == 0, "SCHED_FIFO for a thread");
  } else {
    check(::sched_setscheduler(0, n == 0 ? SCHED_IDLE : SCHED_OTHER, &how) == 0, "SCHED_IDLE for a thread");
  }
}

void work() {
  constexpr int levels = 3;
  constexpr int rounds = 1500;
  auto top = heed::with_cancel(heed::background());
  heed::mutex lock;
  heed::semaphore permits(1);
  std::atomic<heed::cancelable*> shared{nullptr};  // who has it cancels it
  std::atomic<int> functions{0};
  std::atomic<int> registered{0};
  long guarded = 0;
  std::vector<std::thread> threads;
  for (int n = 0; n < 2 * levels; ++n) {
    threads.emplace_back([&, n] {
      take_priority(n % levels);
      std::minstd_rand random(static_cast<unsigned>(n) + 1);
      for (int i = 0; i < rounds; ++i) {
        auto own = heed::with_timeout(top.ctx, 1h);
        auto both = heed::merge(own.ctx, top.ctx);
        std::atomic<int> told{0};
        const heed::cancel_callback cb(both.ctx, [&] { ++told; });
        heed::after_func(own.ctx, [&] { ++functions; });
        ++registered;
        // Sleeping is what lets the lower ones run; waking up is what stops them anywhere.
        if (i % 3 == n % 3)
          static_cast<void>(heed::sleep_for(own.ctx, std::chrono::microseconds(random() % 40)));
        if (!lock.lock(own.ctx)) {
          ++guarded;
          lock.unlock();
        }
        const auto soon = heed::with_timeout(own.ctx, std::chrono::microseconds(random() % 60));
        if (!permits.acquire(soon.ctx)) permits.release();
        // Another thread ends it, while this one waits or drops its callbacks.
        auto* mine = new heed::cancelable(std::move(own));
        const heed::context kept = mine->ctx;
        if (heed::cancelable* other = shared.exchange(mine)) {
          other->cancel();
          delete other;
        }
        if (random() % 4 == 0) kept.wait_for(20us);
      }
    });
  }
  for (auto& each : threads) each.join();
  delete shared.exchange(nullptr);
  while (functions != registered) ::usleep(100);  // they run at the priority of who started them
  check(guarded == 2 * levels * rounds, "every round had the lock");
  check(top.cancel(), "the last cancel");
}

// The highest waits, without a limit, for what the lowest does.
void wait_for_the_lowest() {
  for (int round = 0; round < 20; ++round) {
    const auto [ctx, cancel] = heed::with_cancel(heed::background());
    std::thread waits([c = ctx] {
      take_priority(2);
      c.wait();
    });
    std::thread ends([c = cancel.share()] {
      take_priority(0);
      c();
    });
    waits.join();
    ends.join();
  }
}

}  // namespace

int main() {
  cpu_set_t one;
  CPU_ZERO(&one);
  check(::sched_getaffinity(0, sizeof one, &one) == 0, "sched_getaffinity");
  int core = 0;
  while (!CPU_ISSET(core, &one)) ++core;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  check(::sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
  sched_param highest{};
  highest.sched_priority = 50;
  fifo = ::sched_setscheduler(0, SCHED_FIFO, &highest) == 0;
  if (fifo) {
    std::printf("SCHED_FIFO, three priorities on CPU %d\n", core);
  } else {
    std::printf("SCHED_FIFO is refused (%s): SCHED_IDLE below SCHED_OTHER on CPU %d instead\n",
                std::strerror(errno), core);
  }
  std::fflush(stdout);
  sigset_t child_ends;
  ::sigemptyset(&child_ends);
  ::sigaddset(&child_ends, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_ends, nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit spin{2'000'000, 2'000'000};  // µs of one thread's time without blocking
    check(::setrlimit(RLIMIT_RTTIME, &spin) == 0, "RLIMIT_RTTIME");
    take_priority(1);
    wait_for_the_lowest();
    work();
    std::_Exit(0);
  }
  const timespec bound{fifo ? 100 : 600, 0};  // without priority other programs may hold it up
  if (::sigtimedwait(&child_ends, nullptr, &bound) < 0) {
    ::kill(child, SIGKILL);
    check(false, "it hangs");
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  check(!WIFSIGNALED(status), "a thread spun, and RLIMIT_RTTIME ended it");
  return WEXITSTATUS(status);
}
