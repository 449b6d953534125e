// Task groups: what errgroup promises, limits, who waits for whom, and how many threads it takes.
#include <heed/group.hpp>

#include "sanitizers.hpp"
#include "support.hpp"

#include <unistd.h>
#include <cstdio>
#include <latch>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <vector>

namespace {

using namespace heed_test;
using heed::context;
using heed::errc;
using heed::error;
using heed::group;

std::error_code io_error() {
  return std::make_error_code(std::errc::io_error);
}

TEST(Group, RunsEveryTaskUnderItsContext) {
  static constexpr heed::key<int> key{"number"};
  auto parent = heed::with_cancel(heed::background());
  group g(heed::with_value(parent.ctx, key, 7));
  std::atomic<int> sum = 0;
  std::set<std::thread::id> threads;
  std::mutex mutex;
  for (int i = 0; i < 20; ++i) {
    g.go([&](const context& ctx) {
      EXPECT_EQ(ctx, g.ctx());
      EXPECT_FALSE(ctx.done());
      sum += *ctx.value(key);
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    });
  }
  EXPECT_TRUE(is_live(g.ctx()));
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(sum, 140);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
  EXPECT_FALSE(parent.ctx.done());
}

TEST(Group, WithoutTasks) {
  { const group unused(heed::background()); }
  group g(heed::background());
  EXPECT_FALSE(g.wait());
  EXPECT_TRUE(is_done(g.ctx(), errc::canceled));
}

// Go's TestWithContext, its table: what the tasks return, what wait() says, and that the context is done.
TEST(Group, TheFirstErrorWinsAndIsTheCause) {
  const error one("one");
  const error two("two");
  const struct {
    std::vector<error> results;
    error want;
  } rows[] = {{{}, {}}, {{error()}, {}}, {{one}, one}, {{one, error()}, one}, {{error(), two, one}, two}};
  for (const auto& row : rows) {
    group g(heed::background());
    g.set_limit(1);  // one after the other
    for (const error& e : row.results) g.go([e](const context&) { return e; });
    EXPECT_EQ(g.wait(), row.want);
    EXPECT_TRUE(g.ctx().done());
    EXPECT_EQ(g.ctx().cause(), row.want ? row.want : error(errc::canceled));
  }
}

TEST(Group, AnErrorCancelsTheOthers) {
  group g(heed::background());
  for (int i = 0; i < 4; ++i) {
    g.go([](const context& ctx) {
      ctx.wait();
      return ctx.err();  // comes second
    });
  }
  const unsigned line = __LINE__ + 1;
  g.go([](const context&) -> std::error_code { return io_error(); });
  EXPECT_EQ(g.wait(), io_error());
  EXPECT_TRUE(is_done(g.ctx(), errc::canceled));
  EXPECT_EQ(g.ctx().cause(), io_error());
  EXPECT_EQ(g.ctx().canceled_at()->line(), line) << "the line of the go() whose task failed";
  EXPECT_EQ(g.wait(), io_error()) << "again";
}

TEST(Group, ResultTypes) {
  const auto result = [](auto f) {
    group g(heed::background());
    g.go(std::move(f));
    return g.wait();
  };
  EXPECT_FALSE(result([](const context&) {}));
  EXPECT_FALSE(result([](const context&) { return std::error_code(); }));
  EXPECT_FALSE(result([](const context&) { return error(); }));
  EXPECT_EQ(result([](const context&) { return io_error(); }), io_error());
  const error e("message");
  EXPECT_EQ(result([e](const context&) { return e; }), e) << "the very same";
  EXPECT_EQ(result([&e](const context&) -> const error& { return e; }), e);
  EXPECT_EQ(result([](auto&& ctx) { return ctx.err(); }), error());
  EXPECT_EQ(result(+[](const context&) { return io_error(); }), io_error());
  EXPECT_EQ(result(std::function<std::error_code(const context&)>([](context) { return io_error(); })),
            io_error());
}

TEST(Group, ExceptionsAreCarried) {
  struct odd {};
  const auto result = [](auto f) {
    group g(heed::background());
    g.go(std::move(f));
    error e = g.wait();
    EXPECT_EQ(e, g.ctx().cause());
    return e;
  };
  const error range = result([](const context&) { throw std::out_of_range("too far"); });
  EXPECT_EQ(range.message(), "too far");
  EXPECT_NE(range.as<std::out_of_range>(), nullptr);
  EXPECT_THROW(range.raise(), std::out_of_range);
  const error io = result([](const context&) -> error { throw std::system_error(io_error()); });
  EXPECT_EQ(io, io_error());
  const error foreign = result([](const context&) -> std::error_code { throw odd(); });
  EXPECT_TRUE(foreign);
  EXPECT_THROW(foreign.raise(), odd);
  const error number = result([](const context&) { throw 7; });
  EXPECT_THROW(number.raise(), int);
  EXPECT_TRUE(result(std::function<void(const context&)>())) << "std::bad_function_call";
}

TEST(Group, TheParentEndsIt) {
  auto parent = heed::with_cancel(heed::background());
  group g(parent.ctx);
  for (int i = 0; i < 3; ++i) {
    g.go([](const context& ctx) {
      ctx.wait();
      return ctx.err();
    });
  }
  const error why("the user left");
  EXPECT_TRUE(parent.cancel(why));
  EXPECT_EQ(g.wait(), errc::canceled) << "what the tasks returned";
  EXPECT_EQ(g.ctx().cause(), why) << "the parent was first";
}

TEST(Group, BornDone) {
  auto parent = heed::with_cancel(heed::background());
  parent.cancel("before");
  group g(parent.ctx);
  EXPECT_TRUE(g.ctx().done());
  bool saw = false;
  g.go([&](const context& ctx) { saw = ctx.done(); });
  EXPECT_FALSE(g.wait());
  EXPECT_TRUE(saw) << "accepted, so it runs";
  EXPECT_EQ(g.ctx().cause().message(), "before");
}

TEST(Group, WaitEndsTheContextAtItsOwnLine) {
  auto parent = heed::with_cancel(heed::background());
  group g(parent.ctx);
  g.go([](const context&) {});
  const unsigned line = __LINE__ + 1;
  EXPECT_FALSE(g.wait());
  EXPECT_TRUE(is_done(g.ctx(), errc::canceled));
  EXPECT_EQ(g.ctx().canceled_at()->line(), line);
  EXPECT_FALSE(parent.ctx.done());
}

TEST(Group, LeavingItsScopeCancelsAndJoins) {
  context kept;
  std::atomic<bool> over = false;
  unsigned line = 0;
  {
    line = __LINE__ + 1;
    group g(heed::background());
    kept = g.ctx();
    g.go([&](const context& ctx) {
      ctx.wait();
      over = true;
    });
  }
  EXPECT_TRUE(over);
  EXPECT_TRUE(is_done(kept, errc::canceled));
  EXPECT_EQ(kept.canceled_at()->line(), line);
}

TEST(Group, LeavingItsScopeByAnException) {
  std::atomic<int> over = 0;
  EXPECT_THROW(
      {
        group g(heed::background());
        for (int i = 0; i < 3; ++i) {
          g.go([&](const context& ctx) {
            ctx.wait();
            ++over;
          });
        }
        throw std::runtime_error("out of here");
      },
      std::runtime_error);
  EXPECT_EQ(over, 3);
}

TEST(Group, GoAfterWait) {
  group g(heed::background());
  g.go([](const context& ctx) { EXPECT_FALSE(ctx.done()); });
  EXPECT_FALSE(g.wait());
  bool done = false;
  g.go([&](const context& ctx) {
    done = ctx.done();
    return io_error();
  });
  EXPECT_EQ(g.wait(), io_error()) << "the first error, though it is not the cause";
  EXPECT_TRUE(done);
  EXPECT_EQ(g.ctx().cause(), errc::canceled);
}

TEST(Group, SeveralThreadsWait) {
  group g(heed::background());
  std::latch go_on{1};
  for (int i = 0; i < 2; ++i) {
    g.go([&](const context&) {
      go_on.wait();
      return io_error();
    });
  }
  {
    std::vector<thread> waiters;
    for (int i = 0; i < 3; ++i) waiters.emplace_back([&] { EXPECT_EQ(g.wait(), io_error()); });
    go_on.count_down();
  }
  EXPECT_EQ(g.wait(), io_error());
}

TEST(Group, TasksAndTheirCapturesAreGoneWhenWaitReturns) {
  std::atomic<int> alive = 0;
  for (int round = 0; round < 200; ++round) {
    group g(heed::background());
    for (int i = 0; i < 3; ++i) g.go([t = tracked(alive)](const context&) {});
    g.wait();
    EXPECT_EQ(alive, 0);
  }
}

TEST(Group, MoveOnlyAndOverAlignedTasks) {
  struct alignas(128) wide {
    int n = 5;
  };
  group g(heed::background());
  std::atomic<int> sum = 0;
  g.go([&sum, p = std::make_unique<int>(3)](const context&) mutable { sum += *std::exchange(p, nullptr); });
  g.go([&sum, w = wide()](const context&) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&w) % 128, 0U);
    sum += w.n;
  });
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(sum, 8);
}

void counted(const context&) {}

TEST(Group, ANullFunctionIsRefused) {
  group g(heed::background());
  void (*none)(const context&) = nullptr;
  EXPECT_THROW(g.go(none), std::invalid_argument);
  EXPECT_THROW(g.try_go(none), std::invalid_argument);
  g.go(counted);
  g.go(&counted);
  EXPECT_FALSE(g.wait());
}

// --- the limit ---

TEST(GroupLimit, NeverMoreAtOnce) {
  for (const std::size_t limit : {1U, 3U}) {
    group g(heed::background());
    g.set_limit(limit);
    std::atomic<std::size_t> at_once = 0;
    std::atomic<std::size_t> most = 0;
    for (int i = 0; i < scaled(2000); ++i) {
      g.go([&](const context&) {
        const std::size_t now = ++at_once;
        std::size_t seen = most;
        while (seen < now && !most.compare_exchange_weak(seen, now)) {}
        --at_once;
      });
    }
    EXPECT_FALSE(g.wait());
    EXPECT_LE(most, limit);
  }
}

// Whoever stands at the limit: a thread that is in go(), with what it came for.
class blocked_producer {
 public:
  blocked_producer(group& g, std::function<void(const context&)> f)
      : thread_([this, &g, f = std::move(f)] {
          tid_ = static_cast<int>(gettid());
          g.go(f);
          returned_ = true;
        }) {
    // It sleeps, and nothing else in this thread sleeps.
    EXPECT_TRUE(eventually([this] { return tid_ != 0 && state() == 'S'; }));
  }
  bool returned() const { return returned_; }

 private:
  char state() const {
    std::FILE* f = std::fopen(("/proc/self/task/" + std::to_string(tid_) + "/stat").c_str(), "r");
    if (!f) return '?';
    char s = '?';
    if (std::fscanf(f, "%*d (%*[^)]) %c", &s) != 1) s = '?';
    std::fclose(f);
    return s;
  }
  std::atomic<int> tid_ = 0;
  std::atomic<bool> returned_ = false;
  thread thread_;
};

TEST(GroupLimit, GoBlocksUntilTheTaskIsStarted) {
  group g(heed::background());
  g.set_limit(1);
  std::latch go_on{1};
  std::vector<int> order;  // one at a time: no lock
  g.go([&](const context&) { go_on.wait(); });
  blocked_producer second(g, [&](const context&) { order.push_back(2); });
  blocked_producer third(g, [&](const context&) { order.push_back(3); });
  EXPECT_FALSE(second.returned());
  EXPECT_FALSE(third.returned());
  EXPECT_FALSE(g.try_go([](const context&) {}));
  go_on.count_down();
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(order, (std::vector<int>{2, 3})) << "in the order of their coming";
}

TEST(GroupLimit, ACancelDoesNotInterruptGo) {
  group g(heed::background());
  g.set_limit(1);
  std::latch go_on{1};
  g.go([&](const context&) { go_on.wait(); });
  std::atomic<bool> saw = false;
  {
    auto parent = heed::with_cancel(heed::background());
    group inner(parent.ctx);
    inner.set_limit(1);
    inner.go([&](const context&) { go_on.wait(); });
    const blocked_producer p(inner, [&](const context& ctx) { saw = ctx.done(); });
    parent.cancel();
    EXPECT_FALSE(p.returned());
    go_on.count_down();
  }
  EXPECT_TRUE(saw) << "accepted, so it runs, and sees its context done";
}

// Go's TestTryGo.
TEST(GroupLimit, TryGo) {
  group g(heed::background());
  const std::size_t n = 42;
  g.set_limit(n);
  std::latch go_on{1};
  std::atomic<int> ran = 0;
  const auto task = [&](const context&) {
    go_on.wait();
    ++ran;
  };
  for (std::size_t i = 0; i < n; ++i) EXPECT_TRUE(g.try_go(task));
  EXPECT_FALSE(g.try_go(task));
  auto p = std::make_unique<int>(1);
  EXPECT_FALSE(g.try_go([q = std::move(p)](const context&) {}));
  EXPECT_EQ(p, nullptr) << "the lambda took it";
  auto kept = [q = std::make_unique<int>(1), &ran](const context&) { ran += *q; };
  EXPECT_FALSE(g.try_go(std::move(kept)));
  go_on.count_down();
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 42);
  EXPECT_TRUE(g.try_go(std::move(kept))) << "untouched when it was refused";
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 43);
  g.set_limit(1);
  std::latch end{1};
  EXPECT_TRUE(g.try_go([&](const context&) { end.wait(); }));
  EXPECT_FALSE(g.try_go(task));
  g.set_limit(2);
  EXPECT_TRUE(g.try_go([](const context&) {}));
  end.count_down();
  EXPECT_FALSE(g.wait());
}

// Go's TestSetLimit of zero: nothing is started.
TEST(GroupLimit, Zero) {
  group g(heed::background());
  g.set_limit(0);
  EXPECT_FALSE(g.try_go([](const context&) { ADD_FAILURE(); }));
  std::atomic<int> ran = 0;
  {
    const blocked_producer p(g, [&](const context&) { ++ran; });
    const blocked_producer q(g, [&](const context&) { ++ran; });
    EXPECT_EQ(ran, 0);
    g.set_limit(1);
  }
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 2);
}

TEST(GroupLimit, RaisingStartsWhatWaits) {
  group g(heed::background());
  g.set_limit(1);
  std::latch together{3};
  g.go([&](const context&) { together.arrive_and_wait(); });
  {
    const blocked_producer p(g, [&](const context&) { together.arrive_and_wait(); });
    const blocked_producer q(g, [&](const context&) { together.arrive_and_wait(); });
    g.set_limit(3);
  }
  EXPECT_FALSE(g.wait());
}

TEST(GroupLimit, LoweringTakesEffectAsTasksEnd) {
  group g(heed::background());
  std::latch first{1};
  std::latch second{1};
  std::atomic<int> over = 0;
  for (std::latch* l : {&first, &second}) {
    g.go([&over, l](const context&) {
      l->wait();
      ++over;
    });
  }
  g.set_limit(1);
  std::atomic<bool> ran = false;
  {
    const blocked_producer p(g, [&](const context&) { ran = true; });
    first.count_down();
    EXPECT_TRUE(eventually([&] { return over == 1; }));
    EXPECT_FALSE(g.try_go([](const context&) {}));
    EXPECT_FALSE(ran) << "one still runs, and one is the limit";
    second.count_down();
  }
  EXPECT_FALSE(g.wait());
  EXPECT_TRUE(ran);
}

TEST(GroupLimit, GoInsideATaskQueues) {
  group g(heed::background());
  g.set_limit(1);
  std::vector<int> order;  // one at a time: no lock
  g.go([&](const context&) {
    for (int i = 1; i < 4; ++i) {
      g.go([&, i](const context&) {
        order.push_back(i);
        if (i == 3) g.go([&](const context&) { order.push_back(4); });
      });
    }
    EXPECT_FALSE(g.try_go([](const context&) {}));
    order.push_back(0);
  });
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(GroupLimit, TheEndOfAGroupAtZero) {
  std::atomic<int> ran = 0;
  {
    group g(heed::background());
    g.go([&](const context&) {
      g.set_limit(0);
      for (int i = 0; i < 3; ++i) g.go([&](const context&) { ++ran; });
    });
  }
  EXPECT_EQ(ran, 3) << "what was accepted runs";
}

TEST(GroupLimit, ATaskThatFailsEndsTheContextBeforeTheNextOneStarts) {
  group g(heed::background());
  g.set_limit(1);
  g.go([](const context&) { return io_error(); });
  bool done = false;
  g.go([&](const context& ctx) { done = ctx.done(); });
  EXPECT_EQ(g.wait(), io_error());
  EXPECT_TRUE(done);
}

// --- threads ---

// In a process of its own: other tests leave threads behind.
[[noreturn]] void threads_for(std::size_t limit, int tasks, int producer_steps, int task_steps,
                              bool by_trying = false) {
  const auto work = [](int steps) {
    for (std::atomic<int> n = 0; n < steps; ++n) {}
  };
  {
    const thread first([] {});
  }  // ThreadSanitizer adds one of its own to the first
  const std::ptrdiff_t before = under_tsan ? 2 : 1;
  if (!eventually([&] { return thread_count() == before; })) std::_Exit(3);
  std::atomic<std::ptrdiff_t> most = 0;
  const auto look = [&] {
    const std::ptrdiff_t now = thread_count() - before;
    std::ptrdiff_t seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {}
  };
  std::atomic<int> ran = 0;
  group g(heed::background());
  g.set_limit(limit);
  for (int i = 0; i < tasks; ++i) {
    const auto task = [&](const context&) {
      if (++ran % 8 == 0) look();
      work(task_steps);
    };
    if (!by_trying) g.go(task);
    while (by_trying && !g.try_go(task)) {}
    if (i % 8 == 0) look();
    work(producer_steps);
  }
  if (g.wait() || ran != tasks) std::_Exit(1);
  look();
  std::fprintf(stderr, "limit %zu: %td threads\n", limit, most.load());
  std::_Exit(most <= static_cast<std::ptrdiff_t>(limit) ? 0 : 2);
}

class GroupThreadsDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(GroupThreadsDeathTest, TenThousandTasksWithLimit8Need8) {
  EXPECT_EXIT(threads_for(8, 10000, 0, 0), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(threads_for(8, 10000, 0, 2000), testing::ExitedWithCode(0), "");
}

// Then a task ends and its thread is still on its way back when the next one comes.
TEST_F(GroupThreadsDeathTest, AlsoWhereTheProducerIsSlow) {
  EXPECT_EXIT(threads_for(8, 10000, 3000, 2000), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(threads_for(1, 10000, 2000, 0), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(threads_for(2, 10000, 500, 500), testing::ExitedWithCode(0), "");
}

// The place is taken at the very moment when it becomes free.
TEST_F(GroupThreadsDeathTest, AlsoWhereSomebodyTriesAllTheTime) {
  EXPECT_EXIT(threads_for(1, 20000, 0, 0, true), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(threads_for(8, 10000, 0, 200, true), testing::ExitedWithCode(0), "");
}

// No thread before the first go().
[[noreturn]] void none_before_go() {
  const std::ptrdiff_t before = thread_count();
  group g(heed::background());
  g.set_limit(3);
  if (thread_count() != before) std::_Exit(1);
  g.wait();
  std::_Exit(thread_count() == before ? 0 : 2);
}

TEST_F(GroupThreadsDeathTest, NoneBeforeTheFirstTask) {
  EXPECT_EXIT(none_before_go(), testing::ExitedWithCode(0), "");
}

// --- inside its own tasks ---

TEST(Group, WaitInsideATaskIsRefused) {
  group g(heed::background());
  g.go([&](const context&) { return g.wait(); });
  const error e = g.wait();
  EXPECT_NE(e.as<std::invalid_argument>(), nullptr);
  EXPECT_NE(e.message().find("would wait for itself"), std::string::npos) << e;
}

TEST(GroupDeathTest, DestroyedByItsOwnTask) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto g = std::make_unique<group>(heed::background());
        g->go([&](const context&) { g.reset(); });
        g->wait();
        std::_Exit(0);
      },
      "heed: a group is destroyed by one of its own tasks");
}

// --- nested groups ---

TEST(GroupNested, AnInnerErrorEndsTheOuter) {
  group outer(heed::background());
  std::atomic<int> ended = 0;
  outer.go([&](const context& ctx) {
    ctx.wait();
    ++ended;
  });
  outer.go([&](const context& ctx) {
    group inner(ctx);
    inner.go([&](const context& c) {
      c.wait();
      ++ended;
    });
    inner.go([](const context&) { return io_error(); });
    return inner.wait();
  });
  EXPECT_EQ(outer.wait(), io_error());
  EXPECT_EQ(outer.ctx().cause(), io_error());
  EXPECT_EQ(ended, 2);
}

TEST(GroupNested, TheOuterEndReachesTheInnermost) {
  auto parent = heed::with_cancel(heed::background());
  group outer(parent.ctx);
  std::latch deep{8};
  for (int i = 0; i < 2; ++i) {
    outer.go([&](const context& a) {
      group middle(a);
      for (int j = 0; j < 2; ++j) {
        middle.go([&](const context& b) {
          group inner(b);
          for (int k = 0; k < 2; ++k) {
            inner.go([&](const context& c) {
              deep.count_down();
              c.wait();
              return c.cause();
            });
          }
          return inner.wait();
        });
      }
      return middle.wait();
    });
  }
  deep.wait();
  const error why("enough");
  parent.cancel(why);
  EXPECT_EQ(outer.wait(), why);
}

error descend(const context& ctx, int depth) {
  if (depth == 0) return io_error();
  group g(ctx);
  g.set_limit(1);
  g.go([depth](const context& c) { return descend(c, depth - 1); });
  return g.wait();
}

TEST(GroupNested, Deep) {
  EXPECT_EQ(descend(heed::background(), 60), io_error());
}

// A recursive walk in one group: tasks add tasks, with a limit.
TEST(GroupNested, ARecursiveWalkInOneGroup) {
  group g(heed::background());
  g.set_limit(2);
  std::atomic<int> leaves = 0;
  std::function<void(int)> visit = [&](int depth) {
    g.go([&, depth](const context&) {
      if (depth == 0) {
        ++leaves;
        return;
      }
      visit(depth - 1);
      visit(depth - 1);
    });
  };
  visit(9);
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(leaves, 512);
}

// --- schedulers ---

TEST(GroupScheduler, TheParents) {
  heed::manual_scheduler time;
  group g(heed::background(time));
  g.set_limit(2);
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) g.go([&, i](const context&) { order.push_back(i); });
  EXPECT_TRUE(order.empty()) << "none of the five go() has blocked, or run it";
  EXPECT_FALSE(g.try_go([](const context&) {}));
  EXPECT_EQ(time.run_pending(), 5U);
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(GroupScheduler, OneThatIsNamed) {
  heed::manual_scheduler time;
  auto parent = heed::with_timeout(heed::background(time), 5s);
  heed::manual_scheduler other;
  group g(parent.ctx, other);
  int ran = 0;
  g.go([&](const context& ctx) {
    ++ran;
    EXPECT_EQ(ctx.deadline(), time.now() + 5s) << "the deadline is the parent's";
  });
  EXPECT_EQ(time.run_pending(), 0U);
  EXPECT_EQ(other.run_pending(), 1U);
  time.advance(5s);
  EXPECT_EQ(g.ctx().err(), errc::deadline_exceeded);
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 1);
  group named(parent.ctx, heed::default_scheduler());
  std::thread::id where;
  named.go([&](const context&) { where = std::this_thread::get_id(); });
  EXPECT_FALSE(named.wait());
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(GroupScheduler, RaisingPosts) {
  heed::manual_scheduler time;
  group g(heed::background(time));
  g.set_limit(0);
  int ran = 0;
  for (int i = 0; i < 4; ++i) g.go([&](const context&) { ++ran; });
  EXPECT_EQ(time.run_pending(), 0U);
  g.set_limit(2);
  EXPECT_EQ(time.run_pending(), 4U);
  EXPECT_EQ(ran, 4);
}

// A scheduler that refuses, and one that drops.
class odd_scheduler : public heed::scheduler {
 public:
  heed::time_point now() const noexcept override { return {}; }
  void arm(heed::timer&, heed::time_point) override {}
  void disarm(heed::timer&) noexcept override {}
  void post(heed::work& w) noexcept override { posted.push_back(&w); }
  void reserve() override {
    if (refuse) throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    ++reserved;
  }
  void unreserve() noexcept override { --reserved; }

  bool refuse = false;
  int reserved = 0;
  std::vector<heed::work*> posted;
};

TEST(GroupScheduler, OneThatRefusesLeavesEverythingAsItWas) {
  std::atomic<int> alive = 0;
  odd_scheduler on;
  group g(heed::background(), on);
  g.set_limit(1);
  on.refuse = true;
  EXPECT_THROW(g.go([t = tracked(alive)](const context&) {}), std::system_error);
  EXPECT_THROW(g.try_go([t = tracked(alive)](const context&) {}), std::system_error);
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(on.reserved, 0);
  on.refuse = false;
  EXPECT_TRUE(is_live(g.ctx()));
  EXPECT_TRUE(g.try_go([](const context&) {})) << "the place is free";
  EXPECT_EQ(on.reserved, 1);
  on.posted.at(0)->run();
  EXPECT_EQ(on.reserved, 0);
  EXPECT_FALSE(g.wait());
}

TEST(GroupScheduler, ATaskThatCannotBeMadeGivesItsPlaceBack) {
  struct clumsy {
    clumsy() = default;
    clumsy(const clumsy&) { throw std::runtime_error("no copy today"); }
    void operator()(const context&) const {}
  };
  odd_scheduler on;
  group g(heed::background(), on);
  g.set_limit(1);
  const clumsy f;
  EXPECT_THROW(g.go(f), std::runtime_error);
  EXPECT_THROW(g.try_go(f), std::runtime_error);
  EXPECT_EQ(on.reserved, 0);
  EXPECT_TRUE(g.try_go([](const context&) {}));
  on.posted.at(0)->run();
  EXPECT_FALSE(g.wait());
}

TEST(GroupScheduler, WhatIsDroppedIsOverAndIsNoSuccess) {
  std::atomic<int> alive = 0;
  odd_scheduler on;
  group g(heed::background(), on);
  g.set_limit(1);
  const unsigned line = __LINE__ + 1;
  g.go([t = tracked(alive)](const context&) { ADD_FAILURE(); });
  bool saw = false;
  g.go([&](const context& ctx) { saw = ctx.done(); });
  ASSERT_EQ(on.posted.size(), 1U);
  on.posted[0]->drop();
  EXPECT_EQ(alive, 0);
  ASSERT_EQ(on.posted.size(), 2U);
  on.posted[1]->run();
  EXPECT_EQ(g.wait(), errc::canceled);
  EXPECT_EQ(g.ctx().canceled_at()->line(), line);
  EXPECT_TRUE(saw);
  EXPECT_EQ(on.reserved, 0);
}

TEST(GroupDeathTest, ASchedulerThatGoesFirst) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto on = std::make_unique<odd_scheduler>();
        const group g(heed::background(), *on);
        on.reset();
        std::_Exit(0);
      },
      "heed: a scheduler is destroyed before");
}

// A task that drives a scheduler runs another group's tasks inside its own: each group is told apart.
TEST(GroupScheduler, OneGroupInsideAnother) {
  heed::manual_scheduler time;
  group outer(heed::background());
  outer.set_limit(1);
  group inner(heed::background(time));
  int ran = 0;
  inner.go([&](const context&) {
    ++ran;
    outer.go([&](const context&) { ++ran; });  // would block for ever, if it did not know where it is
  });
  outer.go([&](const context&) {
    EXPECT_EQ(time.run_pending(), 1U);
    return inner.wait();
  });
  EXPECT_FALSE(outer.wait());
  EXPECT_EQ(ran, 2);
}

// --- foreign code ---

// The end of a task's captures, and of an error that came second, may use the group.
TEST(Group, DestructorsMayUseTheGroup) {
  struct adds {
    group* in;
    std::atomic<int>* ran;
    adds(group& g, std::atomic<int>& n) : in(&g), ran(&n) {}
    adds(adds&& other) noexcept : in(std::exchange(other.in, nullptr)), ran(other.ran) {}
    ~adds() {
      if (in) in->go([n = ran](const context&) { ++*n; });
    }
    void operator()(const context&) const {}
  };
  group g(heed::background());
  g.set_limit(1);
  std::atomic<int> ran = 0;
  g.go(adds(g, ran));
  EXPECT_FALSE(g.wait());
  EXPECT_EQ(ran, 1);
}

TEST(Group, CallbacksOfTheContextMayUseTheGroup) {
  group g(heed::background());
  std::atomic<int> ran = 0;
  const heed::cancel_callback cb(g.ctx(), [&] {
    g.set_limit(5);
    g.go([&](const context& ctx) {
      EXPECT_TRUE(ctx.done());
      ++ran;
    });
  });
  g.set_limit(1);
  g.go([](const context&) { return io_error(); });
  EXPECT_EQ(g.wait(), io_error());
  EXPECT_EQ(ran, 1);
}

}  // namespace
