// Coroutines that wait, are resumed and destroyed while their context ends.
#include "rounds.hpp"

#include <heed/coroutine.hpp>
#include <heed/heed.hpp>

#include <coroutine>
#include <cstdlib>
#include <optional>
#include <utility>

namespace {

// Owned by its object, which may be asked whether it has ended.
struct task {
  struct promise_type {
    task get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::abort(); }
  };
  std::coroutine_handle<promise_type> handle;
};

// Destroys itself when it ends.
struct detached {
  struct promise_type {
    detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::abort(); }
  };
};

task wait_for(heed::context ctx, int& resumed) {
  co_await heed::done(ctx);
  ++resumed;
}

// One thread has the coroutine and the event loop; another cancels. Whatever the first destroys is not
// resumed, and what it does not, is, once.
TEST(CoroutineRace, DestroyedWhileAnotherThreadCancels) {
  heed::manual_scheduler loop;
  std::optional<heed::cancelable> c;
  std::optional<task> doomed;
  std::optional<task> other;
  int doomed_resumed = 0;  // plain: one thread resumes
  int other_resumed = 0;
  race::rounds(
      6000 / slower,
      [&] {
        doomed_resumed = other_resumed = 0;
        c.emplace(heed::with_cancel(heed::background(loop)));
        doomed = wait_for(c->ctx, doomed_resumed);
        other = wait_for(c->ctx, other_resumed);
      },
      {[&] { c->cancel(); },
       [&] {
         doomed->handle.destroy();
         loop.run_pending();
       }},
      [&] {
        loop.run_pending();
        EXPECT_EQ(doomed_resumed, 0);
        EXPECT_EQ(other_resumed, 1);
        other->handle.destroy();
        c.reset();
      });
}

// Suspending against the end, on heed's threads: resumed exactly once, and what the coroutine wrote before it
// suspended, and what came before the cancel, is visible. The frame goes with it, while co_await may still be
// returning on the other thread.
TEST(CoroutineRace, SuspendsWhileAnotherThreadCancels) {
  std::optional<heed::cancelable> c;
  std::atomic<int> resumed{0};
  int told = 0;  // plain: ordered by the cancel
  const auto body = [&](heed::context ctx) -> detached {
    int before = 0;
    before = 7;
    co_await heed::done(ctx);
    EXPECT_EQ(before, 7);
    EXPECT_EQ(told, 1);
    ++resumed;
    resumed.notify_all();
  };
  race::rounds(
      6000 / slower,
      [&] {
        resumed = told = 0;
        c.emplace(heed::with_cancel(heed::background()));
      },
      {[&] {
         told = 1;
         c->cancel();
       },
       [&] { body(c->ctx); }, [&] { body(c->ctx); }},
      [&] {
        for (int n = resumed; n < 2; n = resumed) resumed.wait(n);
        EXPECT_EQ(resumed, 2);
        c.reset();
      });
}

}  // namespace
