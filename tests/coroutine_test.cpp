// co_await heed::done(ctx), in coroutine types that know nothing of heed.
#include <heed/coroutine.hpp>

#include "support.hpp"

#include <coroutine>
#include <exception>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace {

using namespace heed_test;

// The simplest coroutine: starts at once, and its object owns it.
class task {
 public:
  struct promise_type {
    task get_return_object() noexcept {
      return task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { failure = std::current_exception(); }
    std::exception_ptr failure;
  };
  task() noexcept = default;
  task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  task& operator=(task other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~task() {
    if (handle_) handle_.destroy();
  }
  bool ended() const { return handle_.done(); }
  void rethrow() const {
    if (handle_.promise().failure) std::rethrow_exception(handle_.promise().failure);
  }

 private:
  explicit task(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
  std::coroutine_handle<promise_type> handle_;
};

// Starts at once and destroys itself at its end: nobody owns it.
struct detached {
  struct promise_type {
    detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

// Passes everything that is awaited through a wrapper of its own, and is resumed with a promise that others
// await.
class lazy {
 public:
  template <class A>
  struct wrapper {
    A awaiter;
    bool await_ready() { return awaiter.await_ready(); }
    template <class H>
    auto await_suspend(H h) {
      return awaiter.await_suspend(h);
    }
    auto await_resume() { return awaiter.await_resume(); }
  };
  struct promise_type {
    lazy get_return_object() noexcept {
      return lazy(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    auto final_suspend() const noexcept {
      struct next {
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
          return h.promise().continuation;
        }
        void await_resume() const noexcept {}
      };
      return next{};
    }
    template <class T>
    auto await_transform(T&& t) {
      return wrapper<decltype(std::forward<T>(t).operator co_await())>{
          std::forward<T>(t).operator co_await()};
    }
    void return_value(std::error_code e) noexcept { result = e; }
    void unhandled_exception() const noexcept { std::terminate(); }
    std::coroutine_handle<> continuation;
    std::error_code result;
  };
  lazy(lazy&&) = delete;
  ~lazy() { handle_.destroy(); }
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) noexcept {
    handle_.promise().continuation = h;
    return handle_;
  }
  std::error_code await_resume() const noexcept { return handle_.promise().result; }

 private:
  explicit lazy(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
  std::coroutine_handle<promise_type> handle_;
};

static_assert(std::is_same_v<decltype(heed::done(heed::context()).operator co_await().await_resume()),
                             std::error_code>);
static_assert(std::is_copy_constructible_v<heed::done_awaitable>);
static_assert(!std::is_move_constructible_v<heed::done_awaiter>);

task wait_for(heed::context ctx, std::error_code& result, int& resumed) {
  result = co_await heed::done(ctx);
  ++resumed;
}

class Done : public testing::Test {
 protected:
  heed::manual_scheduler time;
  heed::context root = heed::background(time);
  std::error_code result;
  int resumed = 0;
};

TEST_F(Done, ResumesOnTheSchedulerAndNotInsideCancel) {
  auto [ctx, cancel] = heed::with_cancel(root);
  const task t = wait_for(ctx, result, resumed);
  EXPECT_EQ(time.run_pending(), 0U);
  EXPECT_FALSE(t.ended());
  cancel();
  EXPECT_EQ(resumed, 0) << "not inside cancel()";
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(resumed, 1);
  EXPECT_TRUE(t.ended());
  EXPECT_EQ(result, heed::errc::canceled);
}

TEST_F(Done, DoesNotSuspendWhereItHasEnded) {
  auto [ctx, cancel] = heed::with_timeout(root, -1s);
  const task t = wait_for(ctx, result, resumed);
  EXPECT_TRUE(t.ended());
  EXPECT_EQ(result, heed::errc::deadline_exceeded);
  EXPECT_EQ(time.run_pending(), 0U);
}

TEST_F(Done, ADeadline) {
  auto [ctx, cancel] = heed::with_timeout(root, 5s);
  const task t = wait_for(ctx, result, resumed);
  time.advance(5s);
  EXPECT_EQ(resumed, 0);
  time.run_pending();
  EXPECT_EQ(result, heed::errc::deadline_exceeded);
}

TEST_F(Done, AwaitedTwiceAndByCopies) {
  auto [ctx, cancel] = heed::with_cancel(root);
  const auto body = [this](heed::context c) -> task {
    const heed::done_awaitable end = heed::done(c);
    const heed::done_awaitable copy = end;
    co_await end;
    ++resumed;
    result = co_await copy;
    ++resumed;
  };
  const task t = body(ctx);
  cancel();
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(resumed, 2);
  EXPECT_EQ(result, heed::errc::canceled);
}

TEST_F(Done, OnANamedScheduler) {
  heed::manual_scheduler other;
  auto [ctx, cancel] = heed::with_cancel(root);
  const auto body = [&](heed::context c) -> task {
    result = co_await heed::done(c, other);
    ++resumed;
  };
  const task t = body(ctx);
  cancel();
  EXPECT_EQ(time.run_pending(), 0U);
  EXPECT_EQ(resumed, 0);
  EXPECT_EQ(other.run_pending(), 1U);
  EXPECT_EQ(resumed, 1);
}

TEST_F(Done, InALazyCoroutineThatWrapsWhatIsAwaited) {
  auto [ctx, cancel] = heed::with_cancel(root);
  const auto inner = [](heed::context c) -> lazy { co_return co_await heed::done(c); };
  const auto outer = [&](heed::context c) -> task {
    result = co_await inner(c);
    ++resumed;
  };
  const task t = outer(ctx);
  cancel();
  time.run_pending();
  EXPECT_TRUE(t.ended());
  EXPECT_EQ(result, heed::errc::canceled);
}

TEST_F(Done, DestroyedWhileItWaits) {
  auto [ctx, cancel] = heed::with_cancel(root);
  std::atomic<int> alive = 0;
  const auto body = [this](heed::context c, tracked) -> task { co_await heed::done(c), ++resumed; };
  {
    const task t = body(ctx, tracked(alive));
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
  cancel();
  EXPECT_EQ(time.run_pending(), 0U) << "it has been taken back";
  EXPECT_EQ(resumed, 0);
}

TEST_F(Done, DestroyedAfterTheCancelAndBeforeItIsResumed) {
  auto [ctx, cancel] = heed::with_cancel(root);
  {
    const task t = wait_for(ctx, result, resumed);
    cancel();
  }
  EXPECT_EQ(time.run_pending(), 1U) << "the function was posted, and finds nobody";
  EXPECT_EQ(resumed, 0);
}

// Two that wait for one context, each of which destroys the other when it is resumed.
TEST_F(Done, DestroyedByAnotherThatIsResumed) {
  auto [ctx, cancel] = heed::with_cancel(root);
  task both[2];
  const auto body = [&](heed::context c, task& other) -> task {
    co_await heed::done(c);
    other = task();
    ++resumed;
  };
  both[0] = body(ctx, both[1]);
  both[1] = body(ctx, both[0]);
  cancel();
  EXPECT_EQ(time.run_pending(), 2U);
  EXPECT_EQ(resumed, 1);
}

TEST_F(Done, DestroysItselfWhenResumed) {
  auto [ctx, cancel] = heed::with_cancel(root);
  std::atomic<int> alive = 0;
  const auto body = [this](heed::context c, tracked) -> detached {
    result = co_await heed::done(c);
    ++resumed;
  };
  body(ctx, tracked(alive));
  EXPECT_EQ(alive, 1);
  cancel();
  time.run_pending();
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(resumed, 1);
}

TEST_F(Done, WhereItCanNeverEndItWaitsUntilDestroyed) {
  std::atomic<int> alive = 0;
  const auto body = [this](heed::context c, tracked) -> task { co_await heed::done(c), ++resumed; };
  {
    std::vector<task> tasks;
    for (const heed::context& ctx : {heed::background(), heed::todo(), root}) {
      tasks.push_back(body(ctx, tracked(alive)));
      EXPECT_FALSE(tasks.back().ended());
    }
    EXPECT_EQ(alive, 3);
  }
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(resumed, 0);
}

TEST_F(Done, KeepsTheContextWhileItWaits) {
  heed::canceler above;
  task t;
  {
    auto parent = heed::with_cancel(root);
    auto child = heed::with_cancel(parent.ctx);
    t = wait_for(child.ctx, result, resumed);
    above = parent.cancel.share();
    parent.cancel.release();
    child.cancel.release();
  }
  EXPECT_FALSE(t.ended());
  above();
  time.run_pending();
  EXPECT_TRUE(t.ended());
  EXPECT_EQ(result, heed::errc::canceled);
}

TEST_F(Done, ASchedulerThatEndsFirstLeavesItWaiting) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  task t;
  {
    heed::manual_scheduler short_lived;
    const auto body = [&](heed::context c) -> task { co_await heed::done(c, short_lived), ++resumed; };
    t = body(ctx);
    cancel();
  }
  EXPECT_FALSE(t.ended());
  EXPECT_EQ(resumed, 0);
}

// A scheduler that has no threads to give.
class broke_scheduler final : public heed::scheduler {
 public:
  heed::time_point now() const noexcept override { return heed::clock::now(); }
  void arm(heed::timer&, heed::time_point) override {}
  void disarm(heed::timer&) noexcept override {}
  void post(heed::work&) noexcept override {}
  void reserve() override {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  }
};

TEST_F(Done, WhatRegistrationThrowsComesOutOfCoAwait) {
  broke_scheduler broke;
  auto [ctx, cancel] = heed::with_cancel(root);
  const auto body = [&](heed::context c) -> task { co_await heed::done(c, broke); };
  const task t = body(ctx);
  EXPECT_TRUE(t.ended());
  EXPECT_THROW(t.rethrow(), std::system_error);
  cancel();
}

// A scheduler which has run the work before post() returns: the worst that threads can do to one that is just
// suspending.
class instant_scheduler final : public heed::scheduler {
 public:
  heed::time_point now() const noexcept override { return heed::clock::now(); }
  void arm(heed::timer&, heed::time_point) override {}
  void disarm(heed::timer&) noexcept override {}
  void post(heed::work& w) noexcept override {
    thread other([&w] { w.run(); });
  }
  void reserve() override {
    if (before_registering) before_registering();
  }
  std::function<void()> before_registering;
};

TEST_F(Done, EndsWhileItIsSuspending) {
  auto [ctx, cancel] = heed::with_cancel(root);
  instant_scheduler instant;
  instant.before_registering = [&cancel] { cancel(); };
  const auto here = std::this_thread::get_id();
  std::thread::id there;
  const auto body = [&](heed::context c) -> task {
    result = co_await heed::done(c, instant);
    there = std::this_thread::get_id();
    ++resumed;
  };
  const task t = body(ctx);
  EXPECT_TRUE(t.ended());
  EXPECT_EQ(result, heed::errc::canceled);
  EXPECT_EQ(there, here);
  EXPECT_EQ(resumed, 1);
}

TEST_F(Done, ManyOnOneContext) {
  const int many = scaled(10000);
  auto [ctx, cancel] = heed::with_cancel(root);
  std::vector<task> tasks;
  for (int i = 0; i < many; ++i) tasks.push_back(wait_for(ctx, result, resumed));
  tasks.erase(tasks.begin(), tasks.begin() + many / 2);
  cancel();
  EXPECT_EQ(time.run_pending(), static_cast<std::size_t>(many - many / 2));
  EXPECT_EQ(resumed, many - many / 2);
}

TEST(DoneOnThreads, ManyOnOneContextResumedByTheDefaultScheduler) {
  const int many = scaled(10000);
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::latch all(many);
  std::atomic<int> right = 0;
  const auto body = [&](heed::context c) -> detached {
    right += co_await heed::done(c) == heed::errc::canceled;
    all.count_down();
  };
  std::optional<thread> canceler;
  for (int i = 0; i < many; ++i) {
    if (i == many / 2) canceler.emplace([&cancel] { cancel(); });
    body(ctx);
  }
  all.wait();
  EXPECT_EQ(right, many);
}

TEST(DoneOnThreads, ResumesOnAnotherThread) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::latch resumed(1);
  std::thread::id there;
  const auto body = [&](heed::context c) -> detached {
    co_await heed::done(c);
    there = std::this_thread::get_id();
    resumed.count_down();
  };
  body(ctx);
  cancel();
  resumed.wait();
  EXPECT_NE(there, std::this_thread::get_id());
}

TEST(DoneOnThreads, ADeadline) {
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  std::latch resumed(1);
  std::error_code result;
  const auto body = [&](heed::context c) -> detached {
    result = co_await heed::done(c);
    resumed.count_down();
  };
  body(ctx);
  resumed.wait();
  EXPECT_EQ(result, heed::errc::deadline_exceeded);
}

}  // namespace
