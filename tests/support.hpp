// What several test files share: observers of contexts, threads and destruction; seeds; sizes.
#pragma once

#include "sanitizers.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace heed_test {

using namespace std::chrono_literals;

/// A bound for what must happen but may be slow on a busy machine. Passing never depends on it.
inline constexpr auto eventually_bound = 60s;
/// A deadline that no test reaches.
inline constexpr auto very_long = 1000h;

/// Large counts, a tenth where each step costs more.
constexpr int scaled(int n) {
  return slower > 1 ? n / 10 : n;
}

/// A thread that is joined at the end of its scope (std::jthread is not yet in every standard library).
struct thread : std::thread {
  using std::thread::thread;
  thread(thread&&) noexcept = default;
  ~thread() {
    if (joinable()) join();
  }
};

/// The threads of this process. A sanitizer's own count, too, so compare only differences.
inline std::ptrdiff_t thread_count() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

/// Polls until `holds()` or the bound is over. For what no latch can tell, such as the end of a thread.
template <class Predicate>
bool eventually(Predicate holds) {
  const auto end = std::chrono::steady_clock::now() + eventually_bound;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// A seed, printed; set HEED_TEST_SEED to repeat a run.
inline std::uint64_t seed() {
  const char* given = std::getenv("HEED_TEST_SEED");
  const std::uint64_t s = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::cout << "HEED_TEST_SEED=" << s << std::endl;
  return s;
}

inline bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  int n = 0;
  do {
    n = ::poll(&p, 1, 0);
  } while (n < 0 && errno == EINTR);
  return n == 1 && (p.revents & POLLIN) != 0;
}

/// Whether a callback that is registered now runs at once.
inline bool runs_at_once(const heed::context& ctx) {
  bool ran = false;
  heed::cancel_callback callback(ctx, [&ran] { ran = true; });
  return ran;
}

/// Done, with this verdict, in every form in which one can ask (invariant 1).
inline testing::AssertionResult is_done(const heed::context& ctx, heed::errc verdict) {
  if (ctx.err() != verdict) return testing::AssertionFailure() << "err() is " << ctx.err().message();
  if (!ctx.done()) return testing::AssertionFailure() << "done() is false";
  if (!ctx.cause()) return testing::AssertionFailure() << "cause() is null";
  if (!ctx.canceled_at()) return testing::AssertionFailure() << "canceled_at() is empty";
  if (!ctx.cancel_possible()) return testing::AssertionFailure() << "cancel_possible() is false";
  if (!ctx.wait_for(0s)) return testing::AssertionFailure() << "wait_for(0) is false";
  if (!readable(ctx.done_fd())) return testing::AssertionFailure() << "done_fd() is not readable";
  if (!runs_at_once(ctx)) return testing::AssertionFailure() << "a callback does not run at once";
  ctx.wait();
  return testing::AssertionSuccess();
}

/// Live, in every form in which one can ask.
inline testing::AssertionResult is_live(const heed::context& ctx) {
  if (ctx.err()) return testing::AssertionFailure() << "err() is " << ctx.err().message();
  if (ctx.done()) return testing::AssertionFailure() << "done() is true";
  if (ctx.cause()) return testing::AssertionFailure() << "cause() is " << ctx.cause().message();
  if (ctx.canceled_at()) return testing::AssertionFailure() << "canceled_at() has a value";
  if (ctx.wait_for(0s)) return testing::AssertionFailure() << "wait_for(0) is true";
  if (readable(ctx.done_fd())) return testing::AssertionFailure() << "done_fd() is readable";
  if (runs_at_once(ctx)) return testing::AssertionFailure() << "a callback runs at once";
  return testing::AssertionSuccess();
}

/// Counts its own copies that exist: zero when the function or value that holds it is gone.
class tracked {
 public:
  explicit tracked(std::atomic<int>& alive) : alive_(&alive) { ++*alive_; }
  tracked(const tracked& other) : alive_(other.alive_) { ++*alive_; }
  tracked& operator=(const tracked&) = delete;
  ~tracked() { --*alive_; }

 private:
  std::atomic<int>* alive_;
};

/// The simplest context of a foreign kind: it adds nothing. Go's tests have one to leave the fast paths.
class plain_custom : public heed::custom_context {
 public:
  explicit plain_custom(anchor a) noexcept : custom_context(a) {}
  using custom_context::end;
};

/// A foreign source of notifications. It holds its lock while it notifies, so that unsubscribing waits.
class foreign_source {
 public:
  class subscription {
   public:
    subscription(foreign_source& source, std::function<void()> f) : source_(source) {
      const std::lock_guard lock(source_.mutex_);
      id_ = ++source_.last_;
      source_.subscribers_.emplace(id_, std::move(f));
    }
    subscription(const subscription&) = delete;
    subscription& operator=(const subscription&) = delete;
    ~subscription() {
      const std::lock_guard lock(source_.mutex_);
      source_.subscribers_.erase(id_);
    }

   private:
    foreign_source& source_;
    int id_ = 0;
  };

  /// Each subscriber is told once.
  void fire() {
    const std::lock_guard lock(mutex_);
    while (!subscribers_.empty()) subscribers_.extract(subscribers_.begin()).mapped()();
  }
  std::size_t subscribers() const {
    const std::lock_guard lock(mutex_);
    return subscribers_.size();
  }

 private:
  mutable std::recursive_mutex mutex_;  // recursive: what is told may unsubscribe
  std::map<int, std::function<void()>> subscribers_;
  int last_ = 0;
};

}  // namespace heed_test
