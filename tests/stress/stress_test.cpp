// Eight threads, random operations over everything that heed has, a set number of steps, a printed seed;
// after each step every promise that can be checked is. HEED_TEST_SEED repeats the choices (not the
// interleaving), and HEED_STRESS_STEPS sets the number of steps per thread.
#include "world.hpp"

#include "../sanitizers.hpp"

#include <heed/coroutine.hpp>
#include <heed/group.hpp>
#include <heed/inspect.hpp>
#include <heed/stop_token.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <span>
#include <sstream>
#include <thread>

namespace {

using namespace stress;
using heed_test::readable;

/// Starts at once and owns itself.
struct detached_coroutine {
  struct promise_type {
    detached_coroutine get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

/// What the threads contend for besides contexts.
struct shared {
  world contexts;

  std::mutex mutex;
  std::condition_variable turned;
  std::condition_variable_any turned_any;
  int tokens = 0;  // guarded by mutex

  heed::mutex lock;
  long guarded = 0;  // by lock
  heed::semaphore permits{3};
  heed::sync::atomic<int> holders{0};

  heed::sync::atomic<int> coroutines{0};  // under way
  heed::sync::atomic<long> stopped{0};    // after_funcs that ran although stop() had said true
};

class actor {
 public:
  actor(shared& s, std::uint64_t seed) : s_(s), random_(static_cast<random_engine::result_type>(seed)) {}

  void step() {
    static constexpr void (actor::* operations[])() = {
        &actor::derive,   &actor::derive,   &actor::derive,   &actor::merge,  &actor::end,
        &actor::end,      &actor::callback, &actor::function, &actor::look,   &actor::sleep,
        &actor::wait_any, &actor::wait_cv,  &actor::notify,   &actor::notify, &actor::lock,
        &actor::acquire,  &actor::group,    &actor::await,    &actor::tokens, &actor::poll,
        &actor::inspect,  &actor::future,   &actor::replace,
    };
    (this->*operations[random_() % std::size(operations)])();
    const std::size_t i = slot();
    const entry::pointer e = s_.contexts.get(i);
    e->check();
    // What has ended makes room, so that most of what the operations meet is live.
    if (e->ctx().done() && random_() % 2 == 0) put(i, world::root());
  }

 private:
  entry::pointer any() { return s_.contexts.any(random_); }
  std::size_t slot() { return random_() % world::size; }
  std::chrono::microseconds moment() { return std::chrono::microseconds(random_() % 300); }
  // A context that ends soon, whatever the others do, so that nobody waits for long.
  heed::cancelable soon(const heed::context& parent) { return heed::with_timeout(parent, moment()); }

  void put(std::size_t i, entry::pointer e) {
    e->check();
    s_.contexts.put(i, std::move(e));
  }

  void replace() { put(slot(), world::root()); }

  void derive() {
    const entry::pointer parent = any();
    if (parent->depth() > 60) return replace();
    const heed::context& p = parent->ctx();
    std::vector<entry::pointer> above{parent};
    switch (random_() % 5) {
      case 0: {
        auto c = heed::with_timeout(p, moment(), heed::error("late"));
        return put(slot(),
                   std::make_shared<entry>(c.ctx, std::move(c.cancel), std::move(above), parent->number()));
      }
      case 1: {
        const std::uint64_t n = random_();
        auto c = heed::with_cancel(heed::with_value(p, number_key, n));
        return put(slot(), std::make_shared<entry>(c.ctx, std::move(c.cancel), std::move(above), n));
      }
      case 2: {
        auto c = heed::with_cancel(heed::without_cancel(p));
        EXPECT_FALSE(c.ctx.deadline());
        return put(slot(), std::make_shared<entry>(c.ctx, std::move(c.cancel), std::vector<entry::pointer>(),
                                                   parent->number()));
      }
      default: {
        auto c = heed::with_cancel(p);
        return put(slot(),
                   std::make_shared<entry>(c.ctx, std::move(c.cancel), std::move(above), parent->number()));
      }
    }
  }

  void merge() {
    const entry::pointer a = any();
    const entry::pointer b = any();
    if (a->depth() + b->depth() > 60) return replace();
    auto c = heed::merge(a->ctx(), b->ctx());
    put(slot(),
        std::make_shared<entry>(c.ctx, std::move(c.cancel), std::vector<entry::pointer>{a, b}, a->number()));
  }

  // Invariant 3: what was below it when it was ended is done when the cancel that decided returns.
  void end() {
    const auto before = s_.contexts.all();
    const entry::pointer e = any();
    if (!e->end("ended " + std::to_string(random_()))) return;
    for (const auto& other : before) {
      if (!other->below(*e)) continue;
      EXPECT_TRUE(other->ctx().done()) << other->ctx() << " below " << e->ctx();
      other->check();
    }
  }

  void look() {
    for (const auto& e : s_.contexts.all()) e->check();
  }

  void callback() {
    const entry::pointer e = any();
    heed::sync::atomic<int> ran{0};
    {
      const heed::cancel_callback count(e->ctx(), [&] {
        ++ran;
        EXPECT_TRUE(e->ctx().done());
      });
      if (random_() % 3 == 0) e->end("by who registered");
      if (random_() % 4 == 0) e->ctx().wait_for(moment());
    }
    const int final = ran;
    EXPECT_LE(final, 1);
    std::this_thread::yield();
    EXPECT_EQ(ran, final) << "it ran after its end";
  }

  void function() {
    const entry::pointer e = any();
    auto started = std::make_shared<heed::sync::atomic<bool>>(false);
    auto stopped = std::make_shared<heed::sync::atomic<bool>>(false);
    const heed::stop_func stop = heed::after_func(e->ctx(), [this, started, stopped] {
      *started = true;
      if (*stopped) ++s_.stopped;
    });
    if (random_() % 2 == 0) e->end("with a function");
    if (random_() % 2 == 0 && stop()) {
      *stopped = true;
      EXPECT_FALSE(*started);
      EXPECT_FALSE(stop());
    }
  }

  void sleep() {
    const entry::pointer e = any();
    const auto length = moment();
    const auto until = heed::clock::now() + length;
    if (const auto ended = heed::sleep_for(e->ctx(), length)) {
      EXPECT_EQ(ended, e->ctx().err());
    } else {
      EXPECT_GE(heed::clock::now(), until);
    }
  }

  void wait_any() {
    const auto own = soon(heed::background());
    const std::array<heed::context, 4> four{any()->ctx(), heed::background(), own.ctx, any()->ctx()};
    const std::size_t which = heed::wait_any(four);
    ASSERT_LT(which, four.size());
    EXPECT_TRUE(four[which].done());
  }

  void wait_cv() {
    const auto own = soon(any()->ctx());
    std::unique_lock lock(s_.mutex);
    const auto holds = [this] { return s_.tokens > 0; };
    const auto ended = random_() % 2 == 0 ? heed::wait(own.ctx, s_.turned, lock, holds)
                                          : heed::wait(own.ctx, s_.turned_any, lock, holds);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(!ended, holds());
    if (ended) {
      EXPECT_EQ(ended, own.ctx.err());
    } else {
      --s_.tokens;
    }
  }

  void notify() {
    const std::lock_guard lock(s_.mutex);
    s_.tokens = std::min(s_.tokens + 1, 8);
    s_.turned.notify_one();
    s_.turned_any.notify_one();
    if (random_() % 4 == 0) any()->end("with the lock held");
  }

  void lock() {
    const auto own = soon(any()->ctx());
    if (const auto ended = s_.lock.lock(own.ctx)) {
      EXPECT_EQ(ended, own.ctx.err());
      return;
    }
    const long seen = ++s_.guarded;
    if (random_() % 8 == 0) std::this_thread::yield();
    EXPECT_EQ(s_.guarded, seen) << "two hold the lock";
    s_.lock.unlock();
  }

  void acquire() {
    const auto own = soon(any()->ctx());
    if (const auto ended = s_.permits.acquire(own.ctx)) {
      EXPECT_EQ(ended, own.ctx.err());
      return;
    }
    EXPECT_LE(++s_.holders, 3);
    if (random_() % 4 == 0) std::this_thread::yield();
    --s_.holders;
    s_.permits.release();
  }

  void group() {
    const entry::pointer parent = any();
    heed::sync::atomic<int> ran{0};
    const int tasks = static_cast<int>(random_() % 6);
    const int failing = static_cast<int>(random_() % 12);
    heed::error first;
    heed::context inside;
    {
      heed::group g(parent->ctx());
      inside = g.ctx();
      if (random_() % 2 == 0) g.set_limit(1 + random_() % 3);
      for (int i = 0; i < tasks; ++i) {
        g.go([&ran, i, failing](const heed::context& ctx) -> heed::error {
          ++ran;
          if (i == failing) return "task failed";
          if (i % 2 == 0) ctx.wait_for(20us);
          return {};
        });
      }
      first = g.wait();
    }
    EXPECT_EQ(ran, tasks);
    EXPECT_EQ(static_cast<bool>(first), failing < tasks);
    EXPECT_TRUE(inside.done());
    if (first && !parent->ctx().done()) {
      EXPECT_EQ(inside.cause(), first);
    }
  }

  void await() {
    const auto own = soon(any()->ctx());
    ++s_.coroutines;
    static constexpr auto waits = [](shared& s, heed::context ctx) -> detached_coroutine {
      const std::error_code ended = co_await heed::done(ctx);
      EXPECT_EQ(ended, ctx.err());
      EXPECT_TRUE(ended);
      --s.coroutines;
    };
    waits(s_, own.ctx);
  }

  void tokens() {
    const entry::pointer e = any();
    const heed::stop_token token(e->ctx());
    EXPECT_TRUE(token.stop_possible());
    if (token.stop_requested()) {
      EXPECT_TRUE(e->ctx().done());
    }
#if defined(__cpp_lib_jthread)
    const heed::stop_bridge out(e->ctx());
    std::stop_source source;
    const auto in = heed::with_stop_token(e->ctx(), source.get_token());
    if (random_() % 2 == 0) {
      source.request_stop();
      EXPECT_TRUE(in.ctx.done());
    }
    if (random_() % 2 == 0 && e->end("with tokens")) {
      EXPECT_TRUE(out.token().stop_requested());
      EXPECT_TRUE(in.ctx.done());
    }
#endif
  }

  void poll() {
    const entry::pointer e = any();
    const int fd = e->ctx().done_fd();
    if (readable(fd)) {
      EXPECT_TRUE(e->ctx().err());
    }
    if (e->ctx().err()) {
      EXPECT_TRUE(readable(fd));
    }
  }

  void inspect() {
    if (random_() % 4 != 0) return;
    const entry::pointer e = any();
    std::ostringstream text;
    static constexpr heed::dump_format formats[] = {heed::dump_format::text, heed::dump_format::dot,
                                                    heed::dump_format::json};
    heed::dump(text, e->ctx(), formats[random_() % 3]);
    EXPECT_FALSE(text.str().empty());
    EXPECT_FALSE(heed::explain(e->ctx()).empty());
  }

  void future() {
    const auto own = soon(any()->ctx());
    std::promise<int> promise;
    auto answer = promise.get_future();
    const bool kept = random_() % 2 == 0;
    if (kept) promise.set_value(1);
    const auto ended = heed::wait(own.ctx, answer);
    if (ended) {
      EXPECT_EQ(ended, own.ctx.err());
    } else {
      EXPECT_TRUE(kept);
    }
  }

  shared& s_;
  random_engine random_;
};

int steps() {
  const char* given = std::getenv("HEED_STRESS_STEPS");
  return given ? std::atoi(given) : 16000 / slower;
}

}  // namespace

TEST(Stress, EightThreadsOfEverything) {
  constexpr int threads = 8;
  const std::uint64_t seed = heed_test::seed();
  // On the heap: clang's ThreadSanitizer leaves out fields of structs on the stack where this function uses
  // them.
  const auto fixture = std::make_unique<shared>();
  shared& s = *fixture;
  {
    std::vector<heed_test::thread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&s, seed, t] {
        actor one(s, seed + static_cast<std::uint64_t>(t) * 7919);
        for (int n = steps(); n > 0 && !testing::Test::HasFailure(); --n) one.step();
      });
    }
  }
  EXPECT_TRUE(heed_test::eventually([&] { return s.coroutines == 0; })) << s.coroutines << " never resumed";
  EXPECT_EQ(s.stopped, 0) << "an after_func ran although stop() had said that it will not";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(s.permits.try_acquire()) << "a permit was lost";
  EXPECT_FALSE(s.permits.try_acquire()) << "a permit was made";
  EXPECT_TRUE(s.lock.try_lock());
  s.lock.unlock();
}
