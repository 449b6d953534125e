// Tasks of groups, coroutines that wait, and threads in condition variables.
#include "engine.hpp"
#include "kernels.hpp"
#include "os_model.hpp"

#include <heed/coroutine.hpp>
#include <heed/group.hpp>
#include <heed/heed.hpp>
#include <heed/manual_scheduler.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <condition_variable>
#include <coroutine>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace model {
namespace {

using heed::background;
using heed::context;
using heed::with_cancel;

// --- groups ---

void group_joined() {
  fresh_process();
  auto done = std::make_unique<int>(0);
  {
    heed::group g(background());
    g.go([&](const context&) { ++*done; });
    spawn([&] { check(!g.wait(), "no error"); });
    spawn([&] { g.go([&](const context&) {}); });
    join();
  }
  check(*done == 1, "what the task did is visible");
}

// At the limit go() waits for a place, and is told when it has got it.
void group_at_its_limit() {
  fresh_process();
  auto inside = std::make_unique<int>(0);
  {
    heed::group g(background());
    g.set_limit(1);
    for (int i = 0; i < 2; ++i) {
      spawn([&] { g.go([&](const context&) { ++*inside; }); });  // a race, if two are inside
    }
    join();
    g.wait();
  }
  check(*inside == 2, "both ran");
}

void group_fails_and_is_canceled() {
  heed::manual_scheduler time;
  {
    auto [parent, cancel] = with_cancel(background(time));
    heed::group g(parent, time);
    g.go([](const context&) { return heed::error("task"); });
    spawn([&] { time.run_pending(); });
    spawn([&, c = cancel.share()] { c("parent"); });
    join();
    time.run_pending();
    const heed::error first = g.wait();
    check(first.message() == "task", "the first error");
    check(g.ctx().cause().message() == "task" || g.ctx().cause().message() == "parent", "one cause");
  }
}

void group_limit_raised() {
  heed::manual_scheduler time;
  {
    heed::group g(background(time), time);
    int runs = 0;
    g.set_limit(0);
    g.go([&](const context&) { ++runs; });
    spawn([&] { g.set_limit(1); });
    spawn([&] { time.run_pending(); });
    spawn([&] { static_cast<void>(g.try_go([](const context&) {})); });
    join();
    time.run_pending();
    g.wait();
    check(runs == 1, "it ran once");
  }
}

// --- coroutines ---

// Starts at once; its frame is its owner's.
struct coroutine {
  struct promise_type {
    coroutine get_return_object() noexcept {
      return coroutine(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  explicit coroutine(std::coroutine_handle<promise_type> h) noexcept : handle(h) {}
  coroutine(coroutine&& other) noexcept : handle(std::exchange(other.handle, {})) {}
  ~coroutine() {
    if (handle) handle.destroy();
  }
  std::coroutine_handle<promise_type> handle;
};

coroutine waits_and_counts(context ctx, int& resumed, int& payload) {
  const std::error_code why = co_await heed::done(ctx);
  check(static_cast<bool>(why), "it has ended");
  check(payload == 1, "what came before cancel()");
  ++resumed;
}

// It is suspended while the context ends and another thread runs what was posted.
void awaits_while_cancel() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto resumed = std::make_unique<int>(0);
    auto payload = std::make_unique<int>(0);
    auto suspended = std::make_unique<std::optional<coroutine>>();
    spawn([&, c = ctx] { suspended->emplace(waits_and_counts(c, *resumed, *payload)); });
    spawn([&, c = cancel.share()] {
      *payload = 1;
      c();
      time.run_pending();
    });
    spawn([&] { time.run_pending(); });
    join();
    time.run_pending();
    check(*resumed == 1, "once");
  }
}

// Destroyed while the context ends; then it is not resumed.
void destroyed_while_cancel() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    int resumed = 0, payload = 1;
    auto suspended = std::make_unique<coroutine>(waits_and_counts(ctx, resumed, payload));
    spawn([&, c = cancel.share()] { c(); });
    spawn([&] {
      suspended.reset();
      time.run_pending();
    });
    join();
    time.run_pending();
    check(resumed == 0, "it was gone");
  }
}

// Alone with who cancels and runs what was posted: it has fired before the coroutine is suspended, which then
// goes on, and has to see that the context has ended.
void fires_while_suspending() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    int resumed = 0, payload = 1;
    auto suspended = std::make_unique<std::optional<coroutine>>();
    spawn([&] {
      cancel();
      time.run_pending();
    });
    spawn([&] { suspended->emplace(waits_and_counts(ctx, resumed, payload)); });
    join();
    time.run_pending();
    check(resumed == 1, "once");
  }
}

// By the thread that runs what was posted, at any moment; the function then finds it gone.
void destroyed_by_the_loop() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    int resumed = 0, payload = 1;
    auto suspended = std::make_unique<coroutine>(waits_and_counts(ctx, resumed, payload));
    spawn([&, c = cancel.share()] { c(); });
    spawn([&] {
      time.run_pending();
      suspended.reset();
    });
    join();
    time.run_pending();
    check(resumed <= 1, "once at most");
  }
}

// --- condition variables ---

// The context ends, and nobody notifies; the canceling thread may have the mutex.
void condition_while_cancel(bool locked) {
  fresh_process();
  std::mutex m;
  std::condition_variable cv;
  auto [ctx, cancel] = with_cancel(background());
  spawn([&] {
    std::unique_lock lock(m);
    check(heed::wait(ctx, cv, lock, [] { return false; }) == heed::errc::canceled, "it has ended");
    check(lock.owns_lock(), "with the lock");
  });
  spawn([&, c = cancel.share()] {
    if (!locked) return static_cast<void>(c());
    const std::lock_guard guard(m);
    c();
  });
  join();
}
void condition_canceled() {
  condition_while_cancel(false);
}
void condition_canceled_locked() {
  condition_while_cancel(true);
}

// Notified, or ended: what was written is visible, and no wake-up is lost.
void condition_notified() {
  fresh_process();
  std::mutex m;
  std::condition_variable cv;
  auto written = std::make_unique<int>(0);
  auto [ctx, cancel] = with_cancel(background());
  spawn([&] {
    std::unique_lock lock(m);
    const std::error_code ended = heed::wait(ctx, cv, lock, [&] { return *written == 1; });
    check(ended || *written == 1, "one of the two");
  });
  spawn([&] {
    const std::lock_guard guard(m);
    *written = 1;
    cv.notify_one();
  });
  spawn([&, c = cancel.share()] { c(); });
  join();
}

// One helper for both (C3).
void two_in_a_condition() {
  fresh_process();
  auto both = std::make_unique<std::pair<std::mutex, std::condition_variable>>();
  auto [ctx, cancel] = with_cancel(background());
  for (int i = 0; i < 2; ++i) {
    spawn([&, c = ctx] {
      std::unique_lock lock(both->first);
      check(heed::wait(c, both->second, lock, [] { return false; }) == heed::errc::canceled, "it has ended");
    });
  }
  {
    const std::lock_guard guard(both->first);
    cancel();
  }
  join();
}

void condition_any_canceled() {
  std::mutex m;
  std::condition_variable_any cv;
  auto payload = std::make_unique<int>(0);
  auto [ctx, cancel] = with_cancel(background());
  spawn([&] {
    std::unique_lock lock(m);
    check(heed::wait(ctx, cv, lock, [] { return false; }) == heed::errc::canceled, "it has ended");
    check(*payload == 1, "what came before cancel()");
  });
  spawn([&, c = cancel.share()] {
    *payload = 1;
    const std::lock_guard guard(m);
    c();
  });
  join();
}

void condition_any_notified() {
  std::mutex m;
  std::condition_variable_any cv;
  auto written = std::make_unique<int>(0);
  auto [ctx, cancel] = with_cancel(background());
  spawn([&] {
    std::unique_lock lock(m);
    const std::error_code ended = heed::wait(ctx, cv, lock, [&] { return *written == 1; });
    check(ended || *written == 1, "one of the two");
  });
  spawn([&] {
    const std::lock_guard guard(m);
    *written = 1;
    cv.notify_one();
  });
  spawn([&, c = cancel.share()] { c(); });
  join();
}

// --- more of mutexes and of time by hand ---

// All who waited have given up: who unlocks finds the mutex queued, and nobody there (Q1).
void mutex_given_up() {
  heed::mutex m;
  auto inside = std::make_unique<int>(0);
  auto [ctx, cancel] = with_cancel(background());
  m.lock();
  spawn([&] {
    ++*inside;
    m.unlock();
  });
  spawn([&, c = ctx] {
    if (!m.lock(c)) m.unlock();
  });
  spawn([&, c = cancel.share()] {
    c();
    m.lock();
    ++*inside;
    m.unlock();
  });
  join();
  check(*inside == 2, "both were inside");
}

// On a clock that is driven by hand, a sleeper is woken by its timer, its context, or both.
void sleeps_by_hand() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    const auto until = time.now() + std::chrono::seconds(1);
    auto payload = std::make_unique<int>(0);
    spawn([&, c = ctx] {
      if (c.wait_until(until))
        check(*payload == 1, "what came before cancel()");
      else
        check(time.now() >= until, "early");
    });
    spawn([&] { time.advance(std::chrono::seconds(2)); });
    spawn([&, c = cancel.share()] {
      *payload = 1;
      c();
    });
    join();
  }
}

void sleeps_by_hand_alone() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    const auto until = time.now() + std::chrono::seconds(1);
    auto payload = std::make_unique<int>(0);
    spawn([&, c = ctx] {
      check(!c.wait_until(until), "nothing has ended it");
      check(time.now() >= until, "early");
    });
    spawn([&] { time.advance(std::chrono::seconds(2)); });
    join();
  }
}

}  // namespace

std::vector<kernel> task_kernels() {
  return {
      {"group.joined", group_joined},
      {"group.limit", group_at_its_limit},
      {"group.fails", group_fails_and_is_canceled},
      {"group.limit_raised", group_limit_raised},
      {"coroutine.cancel", awaits_while_cancel},
      {"coroutine.fires_while_suspending", fires_while_suspending},
      {"coroutine.destroyed", destroyed_while_cancel},
      {"coroutine.destroyed_by_the_loop", destroyed_by_the_loop},
      {"condition.canceled", condition_canceled},
      {"condition.canceled_locked", condition_canceled_locked},
      {"condition.notified", condition_notified},
      {"condition.two", two_in_a_condition},
      {"condition_any.canceled", condition_any_canceled},
      {"condition_any.notified", condition_any_notified},
      {"mutex.given_up", mutex_given_up},
      {"wait.by_hand", sleeps_by_hand},
      {"wait.by_hand_alone", sleeps_by_hand_alone},
  };
}

}  // namespace model
