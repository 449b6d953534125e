// The clock steps under heed's own scheduler (case 27): clock_gettime stands here before the C library's, so
// os::now() reads this one, while futex(2) goes on by the kernel's.
#include "program.hpp"

#include <heed/heed.hpp>
#include <heed/wait.hpp>

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <atomic>
#include <thread>

using namespace std::chrono_literals;
using process::check;
using process::says;

namespace {
std::atomic<bool> stands{false};
std::atomic<long> ahead{0};  // seconds
std::atomic<long> leap{0};   // seconds, by which each look moves it on
std::atomic<int> looks{0};

/// Until others have looked at the clock so many times more.
void until_looked_at(int times) {
  const int from = looks;
  while (looks < from + times) std::this_thread::yield();
}
}  // namespace

extern "C" int clock_gettime(clockid_t which, timespec* t) noexcept {
  static std::atomic<long> last{0};  // nanoseconds
  const long result = ::syscall(SYS_clock_gettime, which, t);
  if (result != 0 || which != CLOCK_MONOTONIC) return static_cast<int>(result);
  if (stands) {
    t->tv_sec = last / 1'000'000'000;
    t->tv_nsec = last % 1'000'000'000;
  } else {
    t->tv_sec += ahead.fetch_add(leap) + leap;
    last = t->tv_sec * 1'000'000'000 + t->tv_nsec;
  }
  ++looks;
  return 0;
}

int main() {
  says(
      "the clock stands still, and the kernel's goes on: woken before the deadline, nobody takes it for "
      "passed");
  {
    check(heed::clock::now() > heed::time_point(), "it has been looked at");
    static_cast<void>(heed::background().wait_for(1ns));
    stands = true;
    const auto timed = heed::with_timeout(heed::background(), 2ms);
    until_looked_at(100);  // the thread that keeps time, again and again
    check(!timed.ctx.done(), "the deadline has not come");
    const auto never = heed::with_cancel(heed::background());
    const auto until = *timed.ctx.deadline();
    std::atomic<int> returned{0};
    std::thread waits([&] {
      check(!never.ctx.wait_until(until), "nobody ended it");
      ++returned;
    });
    std::thread sleeps([&] {
      check(!heed::background().wait_until(until), "nobody can end it");
      ++returned;
    });
    until_looked_at(300);
    check(returned == 0 && !timed.ctx.done(), "no wait is over");
    stands = false;
    timed.ctx.wait();
    waits.join();
    sleeps.join();
    check(timed.ctx.err() == heed::errc::deadline_exceeded, "once it has come, all is over");
  }
  says("hours pass while a deadline is made");
  leap = 7200;
  const auto passed = heed::with_timeout(heed::background(), 1h);
  passed.ctx.wait();
  leap = 0;
  check(passed.ctx.err() == heed::errc::deadline_exceeded, "it has passed");
  const auto later = heed::with_timeout(heed::background(), 1h);
  check(!later.ctx.done(), "from the new present on");
}
