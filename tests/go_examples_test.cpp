// The examples of Go's context package, as small tests.
#include "support.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

// Hands numbers over, one at a time, from the thread that makes them to the one that takes them.
class channel {
 public:
  /// False: the context ended first.
  bool send(const heed::context& ctx, int value) {
    // Declared before the lock, so destroyed after it: its destructor waits for the function, which locks.
    const heed::cancel_callback wake(ctx, [this] {
      const std::lock_guard lock(mutex_);
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !slot_ || ctx.done(); });
    if (ctx.done()) return false;
    slot_ = value;
    changed_.notify_all();
    return true;
  }
  int receive() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return slot_.has_value(); });
    const int value = *std::exchange(slot_, std::nullopt);
    changed_.notify_all();
    return value;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<int> slot_;
};

// A generator that would run for ever stops when its consumer is done: its thread is joined.
TEST(GoExample, WithCancel) {
  channel numbers;
  std::vector<int> taken;
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  {
    const thread generator([&numbers, c = ctx] {
      for (int n = 1; numbers.send(c, n);) ++n;
    });
    while (taken.size() < 5) taken.push_back(numbers.receive());
    cancel();
  }
  EXPECT_EQ(taken, (std::vector{1, 2, 3, 4, 5}));
}

TEST(GoExample, WithDeadline) {
  auto [ctx, cancel] = heed::with_deadline(heed::background(), heed::clock::now() + 1ms);
  ctx.wait();  // for work that never gets ready
  EXPECT_EQ(ctx.err().message(), "context deadline exceeded");
}

TEST(GoExample, WithTimeout) {
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  ctx.wait();
  EXPECT_EQ(ctx.err().message(), "context deadline exceeded");
}

constexpr heed::key<std::string> language{"language"};
constexpr heed::key<std::string> color{"color"};

TEST(GoExample, WithValue) {
  const auto look_up = [](const heed::context& ctx, const heed::key<std::string>& k) {
    const std::string* value = ctx.value(k);
    return value ? "found value: " + *value : std::string("key not found: ") + k.name();
  };
  const heed::context ctx = heed::with_value(heed::background(), language, "C++");
  EXPECT_EQ(look_up(ctx, language), "found value: C++");
  EXPECT_EQ(look_up(ctx, color), "key not found: color");
}

// Waiting on a condition variable until a context ends. What the function uses is shared with it, as stop()
// does not wait for a function that has been started.
struct monitor {
  std::mutex mutex;
  std::condition_variable changed;
};

template <class Predicate>
std::error_code wait_on(const heed::context& ctx, const std::shared_ptr<monitor>& m,
                        std::unique_lock<std::mutex>& lock, Predicate met) {
  const heed::stop_func stop = heed::after_func(ctx, [m] {
    const std::lock_guard inside(m->mutex);  // not between the waiter's check and its sleep
    m->changed.notify_all();
  });
  while (!met()) {
    if (ctx.done()) {
      stop();
      return ctx.err();
    }
    m->changed.wait(lock);
  }
  stop();
  return {};
}

TEST(GoExample, AfterFuncCond) {
  const auto m = std::make_shared<monitor>();
  std::array<std::error_code, 4> results;
  {
    std::vector<thread> threads;
    for (std::error_code& result : results) {
      threads.emplace_back([&result, &m] {
        auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
        std::unique_lock lock(m->mutex);
        result = wait_on(ctx, m, lock, [] { return false; });
      });
    }
  }
  for (const std::error_code& result : results) EXPECT_EQ(result, errc::deadline_exceeded);
}

TEST(GoExample, AfterFuncCondIsMet) {
  const auto m = std::make_shared<monitor>();
  bool ready = false;
  std::error_code result = errc::canceled;
  auto [ctx, cancel] = heed::with_timeout(heed::background(), very_long);
  const thread waiter([&, &c = ctx] {
    std::unique_lock lock(m->mutex);
    result = wait_on(c, m, lock, [&ready] { return ready; });
    EXPECT_FALSE(result);
  });
  const std::lock_guard lock(m->mutex);
  ready = true;
  m->changed.notify_all();
}

// A read that blocks on a connection, stopped by the end of a context.
struct connection {
  connection() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0); }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection() {
    for (const int fd : ends) ::close(fd);
  }
  std::array<int, 2> ends{-1, -1};
};

std::error_code read_from(const heed::context& ctx, int fd, std::string& into) {
  std::latch interrupted(1);
  const heed::stop_func stop = heed::after_func(ctx, [&interrupted, fd] {
    ::shutdown(fd, SHUT_RD);
    interrupted.count_down();
  });
  std::array<char, 64> bytes;
  const ssize_t n = ::read(fd, bytes.data(), bytes.size());
  if (!stop()) {
    interrupted.wait();  // it was started, and uses what is ours
    return ctx.err();
  }
  into.assign(bytes.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  return {};
}

TEST(GoExample, AfterFuncConnection) {
  const connection c;
  std::string read;
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  EXPECT_EQ(read_from(ctx, c.ends[0], read), errc::deadline_exceeded);
  EXPECT_EQ(read, "");
}

TEST(GoExample, AfterFuncConnectionWithData) {
  const connection c;
  std::string read;
  ASSERT_EQ(::write(c.ends[1], "hello", 5), 5);
  auto [ctx, cancel] = heed::with_timeout(heed::background(), very_long);
  EXPECT_FALSE(read_from(ctx, c.ends[0], read));
  EXPECT_EQ(read, "hello");
}

// The end of either of two contexts.
heed::cancelable merge_cancel(const heed::context& ctx, const heed::context& other) {
  auto merged = heed::with_cancel(ctx);
  heed::after_func(other, [other, cancel = merged.cancel.share()] { cancel(other.cause()); });
  return merged;
}

TEST(GoExample, AfterFuncMerge) {
  auto a = heed::with_cancel(heed::with_value(heed::background(), language, "C++"));
  auto b = heed::with_cancel(heed::background());
  auto [merged, cancel] = merge_cancel(a.ctx, b.ctx);
  EXPECT_EQ(*merged.value(language), "C++");
  EXPECT_TRUE(is_live(merged));
  b.cancel("b is over");
  merged.wait();
  EXPECT_TRUE(is_done(merged, errc::canceled));
  EXPECT_EQ(merged.cause().message(), "b is over");
  EXPECT_TRUE(is_live(a.ctx));

  auto other = heed::with_cancel(heed::background());
  auto again = merge_cancel(a.ctx, other.ctx);
  a.cancel("a is over");
  EXPECT_TRUE(is_done(again.ctx, errc::canceled));
  EXPECT_EQ(again.ctx.cause().message(), "a is over");
}

}  // namespace
