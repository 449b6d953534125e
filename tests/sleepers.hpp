// Threads that can be watched while they sleep: for order of arrival, and for counting who was woken.
#pragma once

#include "support.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

namespace heed_test {

/// What the kernel says of a thread or process: 'S' asleep, 'R' running or about to; see proc_pid_stat(5).
inline char state_of(const std::string& stat_file) {
  std::ifstream stat(stat_file);
  std::string line;
  std::getline(stat, line);
  const auto end = line.rfind(')');
  return end == std::string::npos || end + 2 >= line.size() ? '?' : line[end + 2];
}

/// A thread whose function is about to block. Joined at the end of its scope.
class sleeper {
 public:
  explicit sleeper(std::function<void()> f)
      : thread_([this, f = std::move(f)] {
          id_ = ::syscall(SYS_gettid);
          id_.notify_all();
          f();
          over_ = true;
          linger_.wait(false);
        }) {
    id_.wait(0);
  }
  sleeper(const sleeper&) = delete;
  sleeper& operator=(const sleeper&) = delete;
  ~sleeper() {
    linger_ = true;
    linger_.notify_all();
  }
  bool over() const { return over_; }
  /// Whether it sleeps in the kernel now. It does not count as asleep while it is on its way there.
  bool asleep() const { return state_of("/proc/self/task/" + std::to_string(id_) + "/stat") == 'S'; }
  bool blocked() const { return asleep() && !over_; }
  /// How late a timer of its own may wake it, in nanoseconds (prctl(2)); -1: the system does not say.
  /// A signal has it answer, and it goes on sleeping.
  long timer_slack() const {
    constexpr long none = -2;
    static std::atomic<long> answer;
    static const bool asked = [] {
      struct sigaction how = {};
      how.sa_handler = [](int) { answer = ::prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL); };
      return ::sigaction(SIGUSR1, &how, nullptr) == 0;
    }();
    answer = none;
    if (!asked || ::syscall(SYS_tgkill, ::getpid(), id_.load(), SIGUSR1) != 0) return -1;
    while (answer == none) std::this_thread::yield();
    return answer;
  }
  /// How often it has gone to sleep so far.
  long sleeps() const {
    std::ifstream status("/proc/self/task/" + std::to_string(id_) + "/status");
    const std::string name = "voluntary_ctxt_switches:";
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with(name)) return std::stol(line.substr(name.size()));
    }
    return -1;
  }

 private:
  std::atomic<long> id_{0};
  std::atomic<bool> over_{false};
  std::atomic<bool> linger_{false};  // its files in /proc stay until then
  thread thread_;
};

}  // namespace heed_test
