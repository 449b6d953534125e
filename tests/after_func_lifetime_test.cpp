// How long after_func keeps its function: while something can still end the context. When nothing can any
// more, the function is destroyed, unrun.
#include "support.hpp"

#include <functional>
#include <memory>
#include <optional>

namespace {

using namespace heed_test;
using heed::errc;

class AfterFuncLifetime : public testing::Test {
 protected:
  // A function that tells that it exists and that it ran.
  auto function() {
    return [this, t = tracked(alive)] { ++ran; };
  }
  // Waits two levels below what the canceler ends; nothing else is left that could end it.
  heed::canceler canceler_two_above_a_function() {
    auto grandparent = heed::with_cancel(root);
    auto parent = heed::with_cancel(grandparent.ctx);
    auto child = heed::with_cancel(parent.ctx);
    heed::after_func(child.ctx, function());
    heed::canceler far = grandparent.cancel.share();
    grandparent.cancel.release();
    parent.cancel.release();
    child.cancel.release();
    return far;
  }
  void expect_waiting() {
    EXPECT_EQ(time.run_pending(), 0U);
    EXPECT_EQ(alive, 1);
    EXPECT_EQ(ran, 0);
  }
  void expect_destroyed_unrun() {
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(time.run_pending(), 0U);
    EXPECT_EQ(ran, 0);
  }
  void expect_runs() {
    EXPECT_EQ(time.run_pending(), 1U);
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(ran, 1);
  }

  heed::manual_scheduler time;
  heed::context root = heed::background(time);
  std::atomic<int> alive = 0;
  int ran = 0;
};

TEST_F(AfterFuncLifetime, OnWhatCanNeverEnd) {
  auto above = heed::with_cancel(root);
  for (const heed::context& ctx :
       {heed::background(), heed::todo(), root, heed::without_cancel(above.ctx), heed::background(time)}) {
    const heed::stop_func stop = heed::after_func(ctx, function());
    expect_destroyed_unrun();
    EXPECT_TRUE(stop()) << "it will not run, and nobody has said so before";
    EXPECT_FALSE(stop());
  }
}

TEST_F(AfterFuncLifetime, CancelFuncLeavingItsScopeRunsIt) {
  {
    auto [ctx, cancel] = heed::with_cancel(root);
    heed::after_func(ctx, function());
    expect_waiting();
  }
  expect_runs();
}

TEST_F(AfterFuncLifetime, CancelFuncAloneKeepsIt) {
  auto [ctx, cancel] = heed::with_cancel(root);
  heed::after_func(ctx, function());
  ctx = {};
  expect_waiting();
  EXPECT_TRUE(cancel());
  expect_runs();
}

TEST_F(AfterFuncLifetime, CancelerAloneKeepsIt) {
  auto [ctx, cancel] = heed::with_cancel(root);
  heed::after_func(ctx, function());
  heed::canceler canceler = cancel.share();
  ctx = {};
  cancel.release();
  expect_waiting();
  EXPECT_TRUE(canceler());
  expect_runs();
}

TEST_F(AfterFuncLifetime, LastCancelerGoes) {
  auto [ctx, cancel] = heed::with_cancel(root);
  heed::after_func(ctx, function());
  heed::canceler canceler = cancel.share();
  heed::canceler copy = canceler;
  ctx = {};
  cancel.release();
  canceler = {};
  expect_waiting();
  copy = {};
  expect_destroyed_unrun();
}

TEST_F(AfterFuncLifetime, LastHandleGoes) {
  auto [ctx, cancel] = heed::with_cancel(root);
  const heed::stop_func stop = heed::after_func(ctx, function());
  cancel.release();
  expect_waiting();
  ctx = {};
  expect_destroyed_unrun();
  EXPECT_TRUE(stop()) << "it will not run, and nobody has said so before";
  EXPECT_FALSE(stop());
}

TEST_F(AfterFuncLifetime, OnAValueBelow) {
  static constexpr heed::key<int> key{"key"};
  auto [ctx, cancel] = heed::with_cancel(root);
  heed::context below = heed::with_value(ctx, key, 1);
  heed::after_func(below, function());
  cancel.release();
  ctx = {};
  expect_waiting();
  below = {};
  expect_destroyed_unrun();
}

// The ancestor's cancel_func, its canceler, its handle: each keeps what is registered below.
TEST_F(AfterFuncLifetime, AncestorsCancelFuncKeepsIt) {
  auto parent = heed::with_cancel(root);
  {
    auto child = heed::with_cancel(parent.ctx);
    heed::after_func(child.ctx, function());
    child.cancel.release();
  }
  parent.ctx = {};
  expect_waiting();
  EXPECT_TRUE(parent.cancel());
  expect_runs();
}

TEST_F(AfterFuncLifetime, AncestorsCancelerKeepsIt) {
  heed::canceler far = canceler_two_above_a_function();
  expect_waiting();
  EXPECT_TRUE(far());
  expect_runs();
}

TEST_F(AfterFuncLifetime, AncestorsLastCancelerGoes) {
  heed::canceler far = canceler_two_above_a_function();
  expect_waiting();
  far = {};
  expect_destroyed_unrun();
}

TEST_F(AfterFuncLifetime, AncestorsHandleKeepsItAndGoes) {
  auto parent = heed::with_cancel(root);
  {
    auto child = heed::with_cancel(parent.ctx);
    heed::after_func(child.ctx, function());
    child.cancel.release();
  }
  parent.cancel.release();
  expect_waiting();
  parent.ctx = {};
  expect_destroyed_unrun();
}

TEST_F(AfterFuncLifetime, AnAncestorAboveWithoutCancelDoesNot) {
  auto above = heed::with_cancel(root);
  auto [ctx, cancel] = heed::with_cancel(heed::without_cancel(above.ctx));
  heed::after_func(ctx, function());
  cancel.release();
  expect_waiting();
  ctx = {};
  expect_destroyed_unrun();
}

TEST_F(AfterFuncLifetime, ArmedDeadlineKeepsIt) {
  {
    auto [ctx, cancel] = heed::with_timeout(root, 5s);
    heed::after_func(ctx, function());
    cancel.release();
  }
  time.advance(4s);
  expect_waiting();
  time.advance(1s);
  expect_runs();
}

TEST_F(AfterFuncLifetime, AncestorsArmedDeadlineKeepsIt) {
  {
    auto parent = heed::with_timeout(root, 5s);
    auto child = heed::with_cancel(parent.ctx);
    heed::after_func(child.ctx, function());
    child.cancel.release();
    parent.cancel.release();
  }
  time.advance(4s);
  expect_waiting();
  time.advance(1s);
  expect_runs();
}

// The deadline has fired, and while its callbacks run the last handle above it goes: what it has to run,
// runs.
TEST_F(AfterFuncLifetime, FiredAndThenItsParentIsDropped) {
  std::optional<heed::context> parent;
  {
    auto made = heed::with_cancel(root);
    made.cancel.release();
    parent = made.ctx;
  }
  std::optional<heed::cancel_callback<std::function<void()>>> drops_the_parent;
  {
    auto timed = heed::with_timeout(*parent, 1s);
    timed.cancel.release();
    drops_the_parent.emplace(timed.ctx, [&parent] { parent.reset(); });
    heed::after_func(timed.ctx, function());
  }
  expect_waiting();
  time.advance(1s);
  EXPECT_FALSE(parent);
  expect_runs();
}

TEST_F(AfterFuncLifetime, ADeadlineThatNeverFiresDoesNot) {
  {
    auto [ctx, cancel] = heed::with_timeout(root, heed::duration::max());
    heed::after_func(ctx, function());
    cancel.release();
    expect_waiting();
  }
  expect_destroyed_unrun();
}

// The child's own deadline is not armed, as the parent's is earlier; the parent's keeps the function.
TEST_F(AfterFuncLifetime, ADeadlineLaterThanTheParents) {
  {
    auto parent = heed::with_timeout(root, 5s);
    auto child = heed::with_timeout(parent.ctx, 10s);
    heed::after_func(child.ctx, function());
    child.cancel.release();
    parent.cancel.release();
  }
  time.advance(5s);
  expect_runs();
}

TEST_F(AfterFuncLifetime, TheDefaultSchedulersDeadlineKeepsItToo) {
  std::atomic<bool> fired = false;
  {
    auto [ctx, cancel] = heed::with_timeout(heed::background(), 5ms);
    heed::after_func(ctx, [&fired, t = tracked(alive)] { fired = true; });
    cancel.release();
  }
  EXPECT_TRUE(eventually([&] { return fired && alive == 0; }));
}

// A function that captures its own context keeps it alive; stop() breaks the ring.
TEST_F(AfterFuncLifetime, FunctionThatCapturesItsContext) {
  auto [ctx, cancel] = heed::with_cancel(root);
  const heed::stop_func stop = heed::after_func(ctx, [c = ctx, f = function()] { f(); });
  cancel.release();
  ctx = {};
  expect_waiting();
  EXPECT_TRUE(stop());
  expect_destroyed_unrun();
}

TEST_F(AfterFuncLifetime, FunctionThatCapturesItsContextRunsToo) {
  auto parent = heed::with_cancel(root);
  {
    auto child = heed::with_cancel(parent.ctx);
    heed::after_func(child.ctx, [c = child.ctx, f = function()]() mutable {
      EXPECT_EQ(c.err(), errc::canceled);
      f();
    });
    child.cancel.release();
  }
  parent.cancel();
  expect_runs();
}

// The destructor of an abandoned function is foreign code: it may use the library, ancestors included.
TEST_F(AfterFuncLifetime, AbandonedFunctionsDestructorUsesTheLibrary) {
  auto parent = heed::with_cancel(root);
  bool destroyed = false;
  struct busy {
    heed::context parent;
    bool* destroyed;
    busy(heed::context p, bool* d) : parent(std::move(p)), destroyed(d) {}
    busy(busy&& other) noexcept
        : parent(std::move(other.parent)), destroyed(std::exchange(other.destroyed, nullptr)) {}
    ~busy() {
      if (!destroyed) return;
      auto sibling = heed::with_timeout(parent, 1s);
      EXPECT_TRUE(sibling.cancel());
      heed::after_func(parent, [] {})();
      *destroyed = true;
    }
    void operator()() const {}
  };
  auto [ctx, cancel] = heed::with_cancel(heed::without_cancel(root));
  heed::after_func(ctx, busy(parent.ctx, &destroyed));
  cancel.release();
  ctx = {};
  EXPECT_TRUE(destroyed);
}

// Posted work that the scheduler never ran is destroyed with it.
TEST(AfterFuncScheduler, PostedAndNeverRun) {
  std::atomic<int> alive = 0;
  auto time = std::make_unique<heed::manual_scheduler>();
  {
    auto [ctx, cancel] = heed::with_cancel(heed::background(*time));
    heed::after_func(ctx, [t = tracked(alive)] { FAIL() << "it was never run"; });
  }
  EXPECT_EQ(alive, 1);
  time.reset();
  EXPECT_EQ(alive, 0);
}

// A value holds the stop_func, and goes with what stop() lets go of last. (Looked at by LeakSanitizer.)
TEST(AfterFuncStop, MayEndItsOwnStopFunc) {
  struct holder {
    heed::stop_func stop;
  };
  static constexpr heed::key<std::shared_ptr<holder>> holder_key{"holder"};
  const auto parent = heed::with_cancel(heed::background());
  int runs = 0;
  for (const bool trivial : {true, false}) {
    auto held = std::make_shared<holder>();
    const std::weak_ptr<holder> seen = held;
    const holder* const raw = held.get();
    {
      auto child = heed::with_cancel(heed::with_value(parent.ctx, holder_key, std::move(held)));
      const auto kept = std::make_shared<int>(1);
      seen.lock()->stop = trivial ? heed::after_func(child.ctx, [&runs] { ++runs; })
                                  : heed::after_func(child.ctx, [&runs, kept] { ++runs; });
      child.cancel.release();
    }
    EXPECT_FALSE(seen.expired());
    EXPECT_TRUE(raw->stop());
    EXPECT_TRUE(seen.expired());
  }
  parent.cancel();
  EXPECT_EQ(runs, 0);
}

}  // namespace
