// Every call of the API, with each of its allocations failing in turn: alone, and with all that follow it
// (case 19, I11). A sweep finds the number of points itself, and prints it: it goes on until a call meets no
// failure.
#include "allocations.hpp"

#include "../support.hpp"

#include <heed/coroutine.hpp>
#include <heed/group.hpp>
#include <heed/heed.hpp>
#include <heed/inspect.hpp>
#include <heed/memory.hpp>
#include <heed/stop_token.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <coroutine>
#include <exception>
#include <functional>
#include <future>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

const std::string long_text(100, 'x');

struct alignas(64) wide {
  heed_test::tracked token;
};
constexpr heed::key<std::string> text_key{"text"};
constexpr heed::key<heed_test::tracked> tracked_key{"tracked"};
constexpr heed::key<wide> wide_key{"wide"};
constexpr heed::key<int> number_key{"number"};

class from_new final : public heed::memory {
 public:
  ~from_new() override { wait_unused(); }
  void* allocate(std::size_t bytes, std::size_t align) override {
    return ::operator new(bytes, std::align_val_t(align));
  }
  void deallocate(void* room, std::size_t, std::size_t align) noexcept override {
    ::operator delete(room, std::align_val_t(align));
  }
};

/// A stream that keeps nothing, so that no allocation is its own.
class nowhere : public std::streambuf {
  int overflow(int c) override { return c == traits_type::eof() ? 0 : c; }
  std::streamsize xsputn(const char*, std::streamsize n) override { return n; }
};

/// Keeps what its await throws, for the one who made it.
struct task {
  struct promise_type {
    std::exception_ptr failed;
    task get_return_object() { return task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { failed = std::current_exception(); }
  };
  explicit task(std::coroutine_handle<promise_type> h) : frame(h) {}
  task(const task&) = delete;
  ~task() { frame.destroy(); }
  void check() const {
    if (frame.done() && frame.promise().failed) std::rethrow_exception(frame.promise().failed);
  }
  std::coroutine_handle<promise_type> frame;
};
task waits_for(heed::context ctx) {
  static_cast<void>(co_await heed::done(ctx));
}

struct custom : heed::custom_context {
  custom(anchor a, std::atomic<int>& alive) : custom_context(a), token(alive), text(long_text) {}
  heed_test::tracked token;
  std::string text;
};

/// A tree in which everything is, and what can be seen of it.
struct tree {
  explicit tree(int children) {
    for (int i = 0; i < children; ++i) below.push_back(heed::with_cancel(parent.ctx));
    below_other = heed::with_cancel(other.ctx);
    for (int i = 0; i < children; ++i) more.push_back(heed::with_cancel(other.ctx));
    ended.cancel(why);
  }

  std::string seen() const {
    std::ostringstream out;
    for (const heed::context& ctx : {parent.ctx, other.ctx, ended.ctx}) {
      heed::dump(out, ctx);
      out << heed::explain(ctx) << ctx.err().message() << ctx.done() << bool(ctx.deadline());
    }
    return out.str() + std::to_string(alive.load());
  }

  std::atomic<int> alive{0};
  heed::manual_scheduler time;
  from_new room;
  const heed::error why{"prepared"};
  heed::context root = heed::background(time);
  heed::cancelable parent = heed::with_timeout(root, 1h, why);
  heed::cancelable other = heed::with_cancel(root);
  heed::cancelable ended = heed::with_cancel(root);
  heed::cancelable below_other;
  std::vector<heed::cancelable> below;
  std::vector<heed::cancelable> more;
  heed::context values = heed::with_value(heed::with_value(parent.ctx, text_key, "a"), tracked_key, alive);
  heed::context other_values = heed::with_value(other.ctx, text_key, "b");
};

constexpr int any_number = -1;  // it depends on the standard library

/// Sweeps one call, which takes back whatever it has made. `expected`: how many allocations there are to
/// fail.
template <class Call>
void sweep(const char* name, tree& t, int expected, Call call) {
  SCOPED_TRACE(name);
  call();  // once in peace: statics, threads
  call();
  long points = 0;
  for (const bool alone : {true, false}) {
    long at = 0;
    for (bool met = true; met; ++at) {
      ASSERT_LT(at, 1000) << "no end";
      const std::string seen = t.seen();
      const long before =
          live;  // a timer may still hold what the last call has made: no more than this afterwards
      const long failed = failures;
      bool threw = false;
      std::string wrong;
      fail_once = alone;
      until_failure = at;
      try {
        call();
        until_failure = -1;
      } catch (const std::bad_alloc&) {
        until_failure = -1;
        threw = true;
      }
      met = failures != failed;
      EXPECT_TRUE(met || !threw);
      EXPECT_TRUE(heed_test::eventually([&] { return live <= before; })) << "leaked at point " << at;
      EXPECT_EQ(t.seen(), seen) << "changed at point " << at;
      if (threw) {
        EXPECT_NO_THROW(call()) << "after point " << at;
        EXPECT_TRUE(heed_test::eventually([&] { return live <= before; })) << "then leaked, point " << at;
        EXPECT_EQ(t.seen(), seen) << "then changed, point " << at;
      }
      if (testing::Test::HasFailure()) return;
    }
    points = at - 1;
  }
  std::cout << std::left << std::setw(52) << name << std::right << std::setw(4) << points << " points\n";
  if (expected != any_number) {
    EXPECT_EQ(points, expected);
  }
}

}  // namespace

TEST(FaultSweep, MakingContexts) {
  for (const int children : {0, 1, 13, 14, 28}) {
    tree t(children);
    std::cout << "-- " << children << " children\n";
    // A place for a 15th child, and for a 29th: one allocation more. `other` has one child more.
    const auto chunk = [](int there) { return there > 0 && there % 14 == 0 ? 1 : 0; };
    const int here = chunk(children);
    sweep("with_cancel", t, 1 + here, [&] { auto c = heed::with_cancel(t.parent.ctx); });
    sweep("with_timeout", t, 1 + here, [&] { auto c = heed::with_timeout(t.parent.ctx, 1s, t.why); });
    sweep("with_timeout, its cause a text", t, any_number,
          [&] { auto c = heed::with_timeout(t.parent.ctx, 1s, long_text); });
    sweep("with_timeout, past", t, 1, [&] { auto c = heed::with_timeout(t.parent.ctx, 0s); });
    sweep("with_timeout, later than the parent's", t, 1 + here,
          [&] { auto c = heed::with_timeout(t.parent.ctx, 2h); });
    sweep("with_deadline, wall clock", t, 1 + chunk(children + 1),
          [&] { auto c = heed::with_deadline(t.other.ctx, std::chrono::system_clock::now() + 1h); });
    sweep("with_custom", t, 2 + here, [&] { auto c = heed::with_custom<custom>(t.parent.ctx, t.alive); });
    sweep("merge", t, any_number, [&] { auto c = heed::merge(t.parent.ctx, t.other.ctx); });
    sweep("merge, with values", t, any_number, [&] { auto c = heed::merge(t.values, t.other_values); });
#if defined(__cpp_lib_jthread)
    std::stop_source source;
    sweep("with_stop_token", t, 1 + here,
          [&] { auto c = heed::with_stop_token(t.parent.ctx, source.get_token()); });
#endif
    EXPECT_TRUE(t.parent.cancel());
  }
  tree t(3);
  std::cout << "-- elsewhere\n";
  sweep("a parent and its first two children", t, 4, [&] {
    auto fresh = heed::with_cancel(t.parent.ctx);
    auto one = heed::with_cancel(fresh.ctx);
    auto two = heed::with_cancel(fresh.ctx);  // these two now lie in a chunk
  });
  sweep("background(scheduler)", t, 1, [&] { static_cast<void>(heed::background(t.time)); });
  sweep("background(memory)", t, 1, [&] { static_cast<void>(heed::background(t.room)); });
  sweep("background(scheduler, memory)", t, 1, [&] { static_cast<void>(heed::background(t.time, t.room)); });
  const heed::context own = heed::background(t.time, t.room);
  sweep("with_timeout in own memory", t, 1, [&] { auto c = heed::with_timeout(own, 1s); });
  sweep("with_value in own memory", t, 1, [&] { auto c = heed::with_value(own, tracked_key, t.alive); });
  sweep("with_timeout, default scheduler", t, 1, [] { auto c = heed::with_timeout(heed::background(), 1h); });
  sweep("with_cancel below background", t, 1, [] { auto c = heed::with_cancel(heed::background()); });
  sweep("with_cancel below an ended one", t, 1, [&] { auto c = heed::with_cancel(t.ended.ctx); });
  sweep("with_value", t, 1, [&] { auto c = heed::with_value(t.parent.ctx, tracked_key, t.alive); });
  sweep("with_value of what is moved", t, 2, [&] {
    heed::context from = heed::with_value(t.parent.ctx, number_key, 1);
    try {
      const auto c = heed::with_value(std::move(from), number_key, 2);
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(*from.value(number_key), 1);  // NOLINT(bugprone-use-after-move): it was not
      throw;
    }
  });
  sweep("with_value, over-aligned", t, 1,
        [&] { auto c = heed::with_value(t.parent.ctx, wide_key, wide{heed_test::tracked(t.alive)}); });
  sweep("with_value, whose own copy allocates", t, 2,
        [&] { auto c = heed::with_value(t.parent.ctx, text_key, long_text); });
  sweep("with_value, in place", t, 2,
        [&] { auto c = heed::with_value(t.parent.ctx, text_key, std::in_place, 100U, 'x'); });
  sweep("without_cancel", t, 1, [&] { auto c = heed::without_cancel(t.parent.ctx); });
}

TEST(FaultSweep, CallbacksAndGroups) {
  tree t(3);
  const heed_test::tracked token(t.alive);
  sweep("cancel_callback", t, 0, [&] { const heed::cancel_callback cb(t.parent.ctx, [token] {}); });
  sweep("after_func, stop", t, 1, [&] { EXPECT_TRUE(heed::after_func(t.parent.ctx, [token] {})()); });
  sweep("after_func, whose function allocates", t, 2,
        [&] { EXPECT_TRUE(heed::after_func(t.parent.ctx, [token, text = std::string(long_text)] {})()); });
  sweep("after_func with a scheduler", t, 1,
        [&] { EXPECT_TRUE(heed::after_func(t.parent.ctx, [token] {}, t.time)()); });
  sweep("after_func of an ended one, run", t, any_number, [&] {
    heed::after_func(t.ended.ctx, [token] {});
    EXPECT_EQ(t.time.run_pending(), 1U);
  });
  sweep("co_await done", t, any_number, [&] { waits_for(t.parent.ctx).check(); });
#if defined(__cpp_lib_jthread)
  sweep("stop_bridge", t, any_number, [&] { const heed::stop_bridge b(t.parent.ctx); });
#endif
  sweep("group", t, 2, [&] { const heed::group g(t.parent.ctx); });
  {
    heed::group g(t.other.ctx);
    g.set_limit(2);
    sweep("group::go, run", t, 1, [&] {
      g.go([token](const heed::context&) {});
      EXPECT_EQ(t.time.run_pending(), 1U);
    });
    sweep("group::try_go, run", t, 1, [&] {
      EXPECT_TRUE(g.try_go([token](const heed::context&) {}));
      EXPECT_EQ(t.time.run_pending(), 1U);
    });
    g.set_limit(0);
    sweep("group::go at the limit", t, 1, [&] {
      g.go([token](const heed::context&) {});
      g.set_limit(1);
      EXPECT_EQ(t.time.run_pending(), 1U);
      g.set_limit(0);
    });
    sweep("group::try_go at the limit", t, 0,
          [&] { EXPECT_FALSE(g.try_go([token](const heed::context&) {})); });
  }
  sweep("group on threads: go, try_go, wait", t, any_number, [&] {
    heed::group g(t.parent.ctx, heed::default_scheduler());
    g.set_limit(1);
    g.go([token](const heed::context&) {});
    static_cast<void>(g.wait());
    EXPECT_TRUE(g.try_go([token](const heed::context&) {}));
    static_cast<void>(g.wait());
  });
}

TEST(FaultSweep, WaitsAndLocks) {
  tree t(3);
  static_cast<void>(t.parent.ctx.done_fd());
  static_cast<void>(t.ended.ctx.done_fd());
  sweep("done_fd, its first call", t, 1,
        [&] { EXPECT_GE(heed::with_cancel(t.parent.ctx).ctx.done_fd(), 0); });
  sweep("done_fd of background", t, 0, [] { EXPECT_GE(heed::background().done_fd(), 0); });
  sweep("wait, wait_for, wait_until of an ended one", t, 0, [&] {
    t.ended.ctx.wait();
    EXPECT_TRUE(t.ended.ctx.wait_for(1h));
    EXPECT_TRUE(t.ended.ctx.wait_until(heed::time_point::max()));
  });
  auto timed = heed::with_cancel(heed::background());
  sweep("wait_for that times out", t, 0, [&] { EXPECT_FALSE(timed.ctx.wait_for(10us)); });
  sweep("sleep_for", t, 0, [&] { EXPECT_FALSE(heed::sleep_for(timed.ctx, 10us)); });
  heed::mutex lock;
  heed::semaphore permits(1);
  sweep("mutex::lock, unlock", t, 0, [&] {
    EXPECT_FALSE(lock.lock(t.parent.ctx));
    lock.unlock();
  });
  sweep("semaphore::acquire, release", t, 0, [&] {
    EXPECT_FALSE(permits.acquire(t.parent.ctx));
    permits.release();
  });
  lock.lock();
  sweep("mutex::lock, given up", t, 0, [&] { EXPECT_TRUE(lock.lock(t.ended.ctx)); });
  lock.unlock();
  sweep("mutex::lock, given up while it waits", t, 1, [&] {
    const auto soon = heed::with_timeout(heed::background(), 50us);
    lock.lock();
    EXPECT_EQ(lock.lock(soon.ctx), heed::errc::deadline_exceeded);
    lock.unlock();
  });
  std::mutex standard;
  std::condition_variable cv;
  std::condition_variable_any any;
  sweep("wait on a condition_variable", t, 0, [&] {
    std::unique_lock guard(standard);
    EXPECT_TRUE(heed::wait(t.ended.ctx, cv, guard, [] { return false; }));
    EXPECT_FALSE(heed::wait(t.parent.ctx, cv, guard, [] { return true; }));
    EXPECT_TRUE(heed::wait(t.ended.ctx, any, guard, [] { return false; }));
  });
  std::promise<int> promise;
  auto answer = promise.get_future();
  promise.set_value(1);
  sweep("wait on a future", t, 0, [&] { EXPECT_FALSE(heed::wait(t.parent.ctx, answer)); });
  const std::array several{t.parent.ctx, t.other.ctx, t.ended.ctx};
  sweep("wait_any", t, any_number, [&] { EXPECT_EQ(heed::wait_any(several), 2U); });
  auto first = heed::with_cancel(heed::background());
  sweep("wait_any that sleeps", t, any_number, [&] {
    const auto soon = heed::with_timeout(heed::background(), 50us);
    EXPECT_EQ(heed::wait_any({t.parent.ctx, first.ctx, soon.ctx}), 2U);
  });
}

TEST(FaultSweep, Reading) {
  tree t(20);
  nowhere kept;
  std::ostream out(&kept);
  out.exceptions(std::ios::badbit);  // else it keeps to itself that a write threw
  sweep("copies, share, err, cause, deadline, value", t, 0, [&] {
    const heed::context copy = t.ended.ctx;
    const heed::canceler share = t.parent.cancel.share();
    EXPECT_TRUE(copy.err() && copy.done() && copy.cause() && copy.canceled_at());
    EXPECT_TRUE(t.values.deadline() && t.values.value(text_key) && !copy.value(text_key));
  });
  sweep("to_string", t, any_number, [&] { static_cast<void>(t.values.to_string()); });
  sweep("operator<<", t, any_number, [&] { out << t.values; });
  sweep("explain, live", t, any_number, [&] { static_cast<void>(heed::explain(t.values)); });
  sweep("explain, ended", t, any_number, [&] { static_cast<void>(heed::explain(t.ended.ctx)); });
  sweep("dump, text", t, any_number, [&] { heed::dump(out, t.parent.ctx); });
  sweep("dump, dot", t, any_number, [&] { heed::dump(out, t.parent.ctx, heed::dump_format::dot); });
  sweep("dump, json", t, any_number, [&] { heed::dump(out, t.parent.ctx, heed::dump_format::json); });
}

TEST(FaultSweep, Errors) {
  tree t(0);
  const auto thrown = std::make_exception_ptr(std::runtime_error(long_text));
  const std::runtime_error kept(long_text);
  const auto io = std::make_error_code(std::errc::io_error);
  sweep("error of heed's own, null", t, 0, [] {
    const heed::error e = heed::errc::canceled;
    const heed::error none = std::error_code();
  });
  sweep("error of a code", t, any_number, [&] { const heed::error e(io); });
  sweep("error of a text", t, any_number, [] { const heed::error e(long_text); });
  sweep("error of a literal", t, any_number,
        [] { const heed::error e("a text that is too long to be kept inside"); });
  sweep("error of an exception", t, any_number, [&] { const heed::error e(kept); });
  sweep("error of an exception_ptr", t, any_number, [&] { const heed::error e(thrown); });
  const heed::error text(long_text);
  sweep("error::message", t, any_number, [&] { static_cast<void>(text.message()); });
  sweep("manual_scheduler", t, any_number, [] { const heed::manual_scheduler m; });
}

// Case 19: canceling allocates nothing, whatever hangs there; it would be refused, too.
TEST(FaultSweep, CancelingAllocatesNothing) {
  constexpr int count = 1000;
  tree t(0);
  std::vector<heed::cancelable> below;
  std::vector<std::optional<heed::cancel_callback<std::function<void()>>>> callbacks(count);
  std::vector<heed::stop_func> functions;
  int called = 0;
  int ran = 0;
  for (int i = 0; i < count; ++i) {
    auto& above = i % 3 == 0 && i > 0 ? below.back().ctx : t.parent.ctx;
    below.push_back(i % 5 == 0   ? heed::with_timeout(above, 1s)
                    : i % 5 == 1 ? heed::merge(above, t.other.ctx)
                                 : heed::with_cancel(above));
    callbacks[static_cast<std::size_t>(i)].emplace(i % 2 == 0 ? t.parent.ctx : below.back().ctx,
                                                   [&called] { ++called; });
    functions.push_back(heed::after_func(below.back().ctx, [&ran] { ++ran; }));
    if (i % 10 == 0) {
      EXPECT_GE(below.back().ctx.done_fd(), 0);
    }
  }
  until_failure = 0;
  const long before = allocated;
  const long failed = failures;
  const bool decided = t.parent.cancel(t.why);
  const long after = allocated;
  until_failure = -1;
  EXPECT_TRUE(decided);
  EXPECT_EQ(after, before);
  EXPECT_EQ(failures, failed) << "it tried";
  EXPECT_EQ(called, count);
  for (const auto& c : below) EXPECT_EQ(c.ctx.cause(), t.why);
  for (std::size_t i = 0; i < count; i += 10) EXPECT_TRUE(heed_test::readable(below[i].ctx.done_fd()));
  EXPECT_EQ(t.time.run_pending(), static_cast<std::size_t>(count));
  EXPECT_EQ(ran, count);
}

// Threads that meet on one parent split its list into shards; where that, or a place in one, cannot be had,
// nothing is lost and nothing left.
TEST(FaultSweep, SharedParentWhileAllocationsFail) {
  const std::uint64_t seed = heed_test::seed();
  tree t(20);
  const std::string seen = t.seen();
  const long before = live;
  std::atomic<long> refused{0};
  std::atomic<long> succeeded{0};
  {
    std::vector<heed_test::thread> threads;
    for (unsigned n = 0; n < 4; ++n) {
      threads.emplace_back([&, n] {
        std::minstd_rand random(static_cast<unsigned>(seed) + n);
        std::vector<heed::cancelable> own;
        own.reserve(40);
        for (int i = 0; i < 20'000; ++i) {
          const bool timed = random() % 4 == 0;
          if (own.size() == 40 || (random() % 4 == 0 && !own.empty())) {
            own.pop_back();
            continue;
          }
          fail_once = random() % 2 == 0;
          until_failure = static_cast<long>(random() % 4);
          try {
            own.push_back(timed ? heed::with_timeout(t.parent.ctx, 1s) : heed::with_cancel(t.parent.ctx));
            until_failure = -1;
            ++succeeded;
          } catch (const std::bad_alloc&) {
            until_failure = -1;
            ++refused;
          }
        }
      });
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(succeeded, 0);
  EXPECT_EQ(t.seen(), seen);
  std::cout << succeeded << " made, " << refused << " refused, " << live - before << " blocks for shards\n";
  EXPECT_LE(live - before, 1 + 2 * 64) << "a table, and chunks in it";
}
