// merge(): a context with two parents.
#include "support.hpp"

#include <heed/manual_scheduler.hpp>

#include <string>
#include <utility>
#include <vector>

using namespace heed_test;

namespace {

struct two {
  heed::cancelable a = heed::with_cancel(heed::background());
  heed::cancelable b = heed::with_cancel(heed::background());
};

constexpr heed::key<std::string> x_key{"x"};
constexpr heed::key<std::string> y_key{"y"};
constexpr heed::key<std::string> z_key{"z"};

std::string text(const heed::context& ctx, const heed::key<std::string>& k) {
  const std::string* found = ctx.value(k);
  return found ? *found : "none";
}

/// Answers for z, whatever hangs above.
class answers_z : public heed::custom_context {
 public:
  explicit answers_z(anchor a) : custom_context(a) {}
  const void* find(const heed::key_base& k) const noexcept override { return &k == &z_key ? &z_ : nullptr; }

 private:
  std::string z_ = "custom";
};

}  // namespace

TEST(Merge, LiveUntilOneEnds) {
  const two p;
  auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
  EXPECT_TRUE(is_live(ctx));
  EXPECT_TRUE(ctx.cancel_possible());
  EXPECT_FALSE(ctx.deadline());
}

TEST(Merge, FirstParentsEnd) {
  const two p;
  auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
  EXPECT_TRUE(p.a.cancel("a"));
  const unsigned line = __LINE__ - 1;
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
  EXPECT_EQ(ctx.cause().message(), "a");
  EXPECT_EQ(ctx.canceled_at()->line(), line);
  EXPECT_TRUE(is_live(p.b.ctx));
  EXPECT_TRUE(p.b.cancel("b"));
  EXPECT_EQ(ctx.cause().message(), "a") << "the first stands";
  EXPECT_FALSE(cancel("own"));
}

TEST(Merge, SecondParentsEnd) {
  const two p;
  auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
  EXPECT_TRUE(p.b.cancel("b"));
  const unsigned line = __LINE__ - 1;
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
  EXPECT_EQ(ctx.cause().message(), "b");
  EXPECT_EQ(ctx.canceled_at()->line(), line);
  EXPECT_TRUE(is_live(p.a.ctx));
  EXPECT_TRUE(p.a.cancel("a"));
  EXPECT_EQ(ctx.cause().message(), "b") << "the first stands";
}

TEST(Merge, OwnEndReachesNeitherParent) {
  const two p;
  auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
  EXPECT_TRUE(cancel("own"));
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
  EXPECT_EQ(ctx.cause().message(), "own");
  EXPECT_TRUE(is_live(p.a.ctx));
  EXPECT_TRUE(is_live(p.b.ctx));
}

TEST(Merge, LeavingScopeEndsIt) {
  const two p;
  heed::context kept;
  unsigned line = 0;
  {
    auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
    line = __LINE__ - 1;
    kept = ctx;
  }
  EXPECT_TRUE(is_done(kept, heed::errc::canceled));
  EXPECT_EQ(kept.canceled_at()->line(), line);
}

TEST(Merge, BornDone) {
  for (const bool first : {true, false}) {
    const two p;
    (first ? p.a : p.b).cancel(first ? "a" : "b");
    auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
    EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
    EXPECT_EQ(ctx.cause().message(), first ? "a" : "b");
    EXPECT_FALSE(cancel("own"));
  }
  const two p;
  p.b.cancel("b");
  p.a.cancel("a");
  auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
  EXPECT_EQ(ctx.cause().message(), "a") << "where both are done, the first parent counts";
}

TEST(Merge, BornBelowWhatAnAncestorEnded) {
  two p;
  auto below = heed::with_cancel(p.b.ctx);
  p.b.cancel("b");
  auto [ctx, cancel] = heed::merge(p.a.ctx, below.ctx);
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
  EXPECT_EQ(ctx.cause().message(), "b");
}

TEST(Merge, DescendantsEndWithEitherParent) {
  for (const bool first : {true, false}) {
    const two p;
    auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
    auto child = heed::with_cancel(heed::with_value(ctx, x_key, "x"));
    auto timed = heed::with_timeout(child.ctx, very_long);
    int called = 0;
    const heed::cancel_callback count(timed.ctx, [&] { ++called; });
    (first ? p.a : p.b).cancel("why");
    EXPECT_EQ(called, 1);
    EXPECT_TRUE(is_done(timed.ctx, heed::errc::canceled));
    EXPECT_EQ(timed.ctx.cause().message(), "why");
  }
}

TEST(Merge, CallbacksAreLeftAloneByTheSecondEnd) {
  const two p;
  auto [ctx, cancel] = heed::merge(p.a.ctx, p.b.ctx);
  int called = 0;
  const heed::cancel_callback count(ctx, [&] { ++called; });
  p.b.cancel();
  p.a.cancel();
  EXPECT_EQ(called, 1);
}

// Invariant 3: callbacks run when everything below is done, also what hangs there by its second parent.
TEST(Merge, IsTurnedBeforeAnyCallbackRuns) {
  const two p;
  heed::cancelable merged;
  bool done = false;
  const heed::cancel_callback look(p.b.ctx, [&] { done = merged.ctx.done(); });
  merged = heed::merge(p.a.ctx, p.b.ctx);
  p.b.cancel();
  EXPECT_TRUE(done);
}

TEST(Merge, EarlierDeadlineEndsIt) {
  for (const bool first : {true, false}) {
    heed::manual_scheduler time;
    auto soon = heed::with_timeout(heed::background(time), 1s, "soon");
    const unsigned line = __LINE__ - 1;
    auto late = heed::with_timeout(heed::background(time), 5s, "late");
    auto [ctx, cancel] = first ? heed::merge(soon.ctx, late.ctx) : heed::merge(late.ctx, soon.ctx);
    EXPECT_EQ(ctx.deadline(), soon.ctx.deadline());
    auto child = heed::with_timeout(ctx, 2s, "child");
    EXPECT_EQ(child.ctx.deadline(), soon.ctx.deadline());
    time.advance(1s - 1ns);
    EXPECT_TRUE(is_live(ctx));
    time.advance(1ns);
    EXPECT_TRUE(is_done(ctx, heed::errc::deadline_exceeded));
    EXPECT_EQ(ctx.cause().message(), "soon");
    EXPECT_EQ(ctx.canceled_at()->line(), line);
    EXPECT_TRUE(is_done(child.ctx, heed::errc::deadline_exceeded));
  }
}

TEST(Merge, DeadlinesBelowItAreOnTheFirstParentsScheduler) {
  heed::manual_scheduler time;
  auto a = heed::with_cancel(heed::background(time));
  auto b = heed::with_cancel(heed::background());
  auto [ctx, cancel] = heed::merge(a.ctx, b.ctx);
  auto child = heed::with_timeout(ctx, 1s);
  EXPECT_EQ(ctx.now(), time.now());
  time.advance(1s);
  EXPECT_TRUE(is_done(child.ctx, heed::errc::deadline_exceeded));
}

// The second parent's deadline counts on a clock that may never come to it: what hangs below is armed all the
// same.
TEST(Merge, TimeoutsBelowParentsOnDifferentSchedulers) {
  // Never destroyed: a thread of the default scheduler may hold what it has fired for a moment longer than we
  // do.
  static auto& time = *new heed::manual_scheduler(heed::time_point(0s));
  auto b = heed::with_timeout(heed::background(time), 5s);
  auto [ctx, cancel] = heed::merge(heed::background(), b.ctx);
  EXPECT_EQ(ctx.deadline(), b.ctx.deadline());
  auto child = heed::with_timeout(ctx, 1ms);
  auto grandchild = heed::with_timeout(child.ctx, very_long);
  EXPECT_EQ(grandchild.ctx.deadline(), b.ctx.deadline()) << "compared as numbers";
  EXPECT_TRUE(grandchild.ctx.wait_for(eventually_bound));
  EXPECT_EQ(grandchild.ctx.err(), heed::errc::deadline_exceeded);
  EXPECT_FALSE(ctx.done());
  auto other = heed::merge(heed::background(), ctx);
  auto below = heed::with_timeout(other.ctx, very_long);
  time.advance(5s);
  EXPECT_TRUE(is_done(below.ctx, heed::errc::deadline_exceeded));
}

TEST(Merge, DeadlineThatNeverComesIsOne) {
  auto never = heed::with_deadline(heed::background(), heed::time_point::max());
  EXPECT_EQ(never.ctx.deadline(), heed::time_point::max());
  EXPECT_EQ(heed::merge(never.ctx, heed::background()).ctx.deadline(), heed::time_point::max());
  EXPECT_EQ(heed::merge(heed::background(), heed::todo()).ctx.deadline(), std::nullopt);
}

TEST(Merge, ValuesOfTheFirstThenOfTheSecond) {
  const auto root = heed::with_value(heed::background(), z_key, "root");
  const auto a = heed::with_value(root, x_key, "a");
  const auto b = heed::with_value(heed::with_value(root, y_key, "b"), x_key, "hidden");
  auto [ctx, cancel] = heed::merge(a, b);
  EXPECT_EQ(text(ctx, x_key), "a");
  EXPECT_EQ(text(ctx, y_key), "b");
  EXPECT_EQ(text(ctx, z_key), "root");
  auto below = heed::with_cancel(heed::with_value(ctx, x_key, "below"));
  EXPECT_EQ(text(below.ctx, x_key), "below");
  EXPECT_EQ(text(heed::without_cancel(below.ctx), y_key), "b");
}

TEST(Merge, ValuesOfOneSideOnly) {
  const auto with = heed::with_value(heed::background(), x_key, "with");
  const two p;
  EXPECT_EQ(text(heed::merge(with, p.a.ctx).ctx, x_key), "with");
  EXPECT_EQ(text(heed::merge(p.a.ctx, with).ctx, x_key), "with");
  EXPECT_EQ(text(heed::merge(p.a.ctx, p.b.ctx).ctx, x_key), "none");
  EXPECT_EQ(text(heed::merge(with, heed::with_value(with, x_key, "again")).ctx, x_key), "with");
}

TEST(Merge, ValuesOfMergesOfMerges) {
  const auto a = heed::with_value(heed::background(), x_key, "a");
  const auto b = heed::with_value(heed::with_value(heed::background(), x_key, "b"), y_key, "b");
  const auto c = heed::with_value(
      heed::with_value(heed::with_value(heed::background(), x_key, "c"), y_key, "c"), z_key, "c");
  auto ab = heed::merge(a, b);
  auto ab_c = heed::merge(heed::with_value(ab.ctx, y_key, "between"), c);
  EXPECT_EQ(text(ab_c.ctx, x_key), "a");
  EXPECT_EQ(text(ab_c.ctx, y_key), "between");
  EXPECT_EQ(text(ab_c.ctx, z_key), "c");
  auto c_ab = heed::merge(c, ab.ctx);
  EXPECT_EQ(text(c_ab.ctx, x_key), "c");
  auto b_ca = heed::merge(b, c_ab.ctx);
  EXPECT_EQ(text(b_ca.ctx, x_key), "b");
  EXPECT_EQ(text(b_ca.ctx, z_key), "c");
}

TEST(Merge, CustomContextsAreAskedInTheirTurn) {
  auto custom = heed::with_custom<answers_z>(heed::with_value(heed::background(), x_key, "above custom"));
  const auto plain = heed::with_value(heed::with_value(heed::background(), z_key, "plain"), x_key, "plain");
  auto custom_first = heed::merge(custom.ctx, plain);
  EXPECT_EQ(text(custom_first.ctx, z_key), "custom");
  EXPECT_EQ(text(custom_first.ctx, x_key), "above custom");
  auto custom_second = heed::merge(plain, custom.ctx);
  EXPECT_EQ(text(custom_second.ctx, z_key), "plain");
  EXPECT_EQ(text(custom_second.ctx, x_key), "plain");
}

// Looking up what is not there stays cheap where each merge joins two ways down from the merge before.
TEST(Merge, LookupDoesNotDoubleWithEachJoin) {
  heed::context ctx = heed::with_value(heed::background(), z_key, "z");
  std::vector<heed::cancel_func> keep;
  for (int i = 0; i < 64; ++i) {
    auto next =
        heed::merge(heed::with_value(ctx, x_key, std::to_string(i)), heed::with_value(ctx, y_key, "y"));
    ctx = next.ctx;
    keep.push_back(std::move(next.cancel));
  }
  static constexpr heed::key<int> missing{"missing"};
  EXPECT_EQ(ctx.value(missing), nullptr);
  EXPECT_EQ(text(ctx, x_key), "63");
  EXPECT_EQ(text(ctx, z_key), "z");
}

TEST(Merge, ValuesAreDestroyedWithTheLastThatNeedsThem) {
  static constexpr heed::key<tracked> k{"tracked"};
  std::atomic<int> alive{0};
  {
    heed::context ctx;
    {
      auto merged = heed::merge(heed::background(), heed::with_value(heed::background(), k, tracked(alive)));
      ctx = merged.ctx;
    }
    EXPECT_EQ(alive, 1) << "the merge keeps its second parent";
    EXPECT_NE(ctx.value(k), nullptr);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Merge, OfTheSameContextTwice) {
  const two p;
  auto [ctx, cancel] = heed::merge(p.a.ctx, p.a.ctx);
  EXPECT_TRUE(is_live(ctx));
  p.a.cancel("a");
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
}

TEST(Merge, OfAContextAndItsDescendant) {
  for (const bool outer_first : {true, false}) {
    for (const bool cancel_outer : {true, false}) {
      const two p;
      auto inner = heed::with_cancel(p.a.ctx);
      auto [ctx, cancel] = outer_first ? heed::merge(p.a.ctx, inner.ctx) : heed::merge(inner.ctx, p.a.ctx);
      (cancel_outer ? p.a : inner).cancel(cancel_outer ? "outer" : "inner");
      EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
      EXPECT_EQ(ctx.cause().message(), cancel_outer ? "outer" : "inner");
    }
  }
}

TEST(Merge, OfWhatCanNeverEnd) {
  auto [ctx, cancel] = heed::merge(heed::background(), heed::todo());
  EXPECT_TRUE(ctx.cancel_possible());
  EXPECT_TRUE(is_live(ctx));
  cancel("own");
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));

  const two p;
  auto second_only = heed::merge(heed::background(), p.a.ctx);
  auto first_only = heed::merge(p.a.ctx, heed::background());
  p.a.cancel("a");
  EXPECT_EQ(second_only.ctx.cause().message(), "a");
  EXPECT_EQ(first_only.ctx.cause().message(), "a");
}

TEST(Merge, WithoutCancelCutsOneParentOff) {
  const two p;
  auto [ctx, cancel] = heed::merge(heed::without_cancel(p.a.ctx), p.b.ctx);
  p.a.cancel();
  EXPECT_TRUE(is_live(ctx));
  p.b.cancel();
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
}

TEST(Merge, MergesOfMergesEndFromEverywhere) {
  for (int which = 0; which < 4; ++which) {
    const two p;
    const two q;
    auto left = heed::merge(p.a.ctx, p.b.ctx);
    auto right = heed::merge(q.a.ctx, q.b.ctx);
    auto [ctx, cancel] = heed::merge(left.ctx, right.ctx);
    auto child = heed::with_cancel(ctx);
    const heed::cancel_func* const cancels[] = {&p.a.cancel, &p.b.cancel, &q.a.cancel, &q.b.cancel};
    (*cancels[which])("why");
    EXPECT_TRUE(is_done(child.ctx, heed::errc::canceled));
    EXPECT_EQ(child.ctx.cause().message(), "why");
    EXPECT_EQ(left.ctx.done(), which < 2);
    EXPECT_EQ(right.ctx.done(), which >= 2);
  }
}

// Two ways down to one context: it is turned once, and its callbacks run once.
TEST(Merge, DiamondsAreTurnedOnce) {
  const two p;
  auto left = heed::with_cancel(p.a.ctx);
  auto right = heed::with_cancel(p.a.ctx);
  auto joined = heed::merge(left.ctx, right.ctx);
  auto again = heed::merge(joined.ctx, right.ctx);
  int called = 0;
  const heed::cancel_callback one(joined.ctx, [&] { ++called; });
  const heed::cancel_callback two(again.ctx, [&] { ++called; });
  p.a.cancel("top");
  EXPECT_EQ(called, 2);
  EXPECT_EQ(again.ctx.cause().message(), "top");
}

// A merge that has ended may have been met by one parent; the other one's end goes past it.
TEST(Merge, ThatHasEndedByOneParentIsPassedByTheOther) {
  const two p;
  auto merged = heed::merge(p.a.ctx, p.b.ctx);
  auto child = heed::with_cancel(merged.ctx);
  p.a.cancel("a");
  merged = {};
  p.b.cancel("b");
  EXPECT_EQ(child.ctx.cause().message(), "a");
}

TEST(Merge, AfterFuncRunsByEitherParent) {
  for (const bool first : {true, false}) {
    heed::manual_scheduler time;
    auto a = heed::with_cancel(heed::background(time));
    auto b = heed::with_cancel(heed::background(time));
    auto merged = heed::merge(a.ctx, b.ctx);
    int ran = 0;
    heed::after_func(merged.ctx, [&] { ++ran; });
    merged.cancel.release();
    merged.ctx = {};  // nobody has it in hand, and either parent can still end it
    time.run_pending();
    EXPECT_EQ(ran, 0);
    (first ? a : b).cancel();
    EXPECT_EQ(time.run_pending(), 1U);
    EXPECT_EQ(ran, 1);
  }
}

TEST(Merge, AfterFuncIsAbandonedWhenNeitherParentCanEnd) {
  for (const bool first : {true, false}) {
    std::atomic<int> alive{0};
    auto a = heed::with_cancel(heed::background());
    auto b = heed::with_cancel(heed::background());
    auto merged = heed::merge(a.ctx, b.ctx);
    heed::after_func(merged.ctx, [kept = tracked(alive)] { ADD_FAILURE() << "it has been abandoned"; });
    merged.cancel.release();
    merged.ctx = {};
    const auto let_go = [](heed::cancelable& c) {
      c.cancel.release();
      c.ctx = {};
    };
    let_go(first ? a : b);
    EXPECT_EQ(alive, 1) << "the other one can still end it";
    let_go(first ? b : a);
    EXPECT_EQ(alive, 0);
  }
}

TEST(Merge, NeedsNoThread) {
  const auto before = thread_count();
  const two p;
  std::vector<heed::cancelable> merged;
  for (int i = 0; i < 1000; ++i) merged.push_back(heed::merge(p.a.ctx, p.b.ctx));
  p.b.cancel();
  for (const auto& m : merged) EXPECT_TRUE(m.ctx.done());
  EXPECT_EQ(thread_count(), before);
}

TEST(Merge, ToString) {
  auto a = heed::with_cancel(heed::with_value(heed::background(), x_key, "ann"));
  auto b = heed::with_cancel(heed::background());
  auto merged = heed::merge(a.ctx, b.ctx);
  EXPECT_EQ(merged.ctx.to_string(),
            "background.with_value(x, ann).with_cancel.merge(background.with_cancel)");
  auto again = heed::merge(heed::todo(), merged.ctx);
  EXPECT_EQ(again.ctx.to_string(), "todo.merge(background.with_value(x, ann).with_cancel.merge(...))");
}

// A parent that is being ended as the merge is made, by its own callback.
TEST(Merge, MadeInsideACallbackOfItsParent) {
  const two p;
  heed::cancelable merged;
  const heed::cancel_callback make(p.a.ctx, [&] { merged = heed::merge(p.b.ctx, p.a.ctx); });
  p.a.cancel("a");
  EXPECT_TRUE(is_done(merged.ctx, heed::errc::canceled));
  EXPECT_EQ(merged.ctx.cause().message(), "a");
}

// A callback of a merge ends the other parent: no lock is held.
TEST(Merge, CallbackMayEndTheOtherParent) {
  const two p;
  auto merged = heed::merge(p.a.ctx, p.b.ctx);
  const heed::cancel_callback forward(merged.ctx, [&] { EXPECT_TRUE(p.b.cancel("forward")); });
  p.a.cancel("a");
  EXPECT_EQ(p.b.ctx.cause().message(), "forward");
  EXPECT_EQ(merged.ctx.cause().message(), "a");
}

// A merge that ended by itself, and whose handle is kept, is met by one walk through both parents: what lies
// between is not lost (I3).
TEST(Merge, OneThatHasEndedIsMetTwiceByOneWalk) {
  auto [root, cancel_root] = heed::with_cancel(heed::background());
  auto [a, cancel_a] = heed::with_cancel(root);
  auto [b, cancel_b] = heed::with_cancel(root);
  auto [merged, cancel_merged] = heed::merge(a, b);
  auto [child, cancel_child] = heed::with_cancel(b);
  auto [below, cancel_below] = heed::with_cancel(child);
  auto [deep, cancel_deep] = heed::with_cancel(below);
  bool ran = false;
  const heed::cancel_callback told(child, [&ran] { ran = true; });
  cancel_merged();
  cancel_root();
  EXPECT_TRUE(child.done());
  EXPECT_TRUE(below.done());
  EXPECT_TRUE(deep.done());
  EXPECT_TRUE(ran);
}

// The same by two walks, the second inside the first one's callbacks.
TEST(Merge, OneThatHasEndedIsMetByTwoWalks) {
  auto [a, cancel_a] = heed::with_cancel(heed::background());
  auto [b, cancel_b] = heed::with_cancel(heed::background());
  auto [merged, cancel_merged] = heed::merge(a, b);
  auto [child, cancel_child] = heed::with_cancel(a);
  auto [below, cancel_below] = heed::with_cancel(child);
  bool ran = false;
  const heed::cancel_callback told(below, [&ran] { ran = true; });
  const heed::cancel_callback second(child, [end = cancel_b.share()] { end(); });
  cancel_merged();
  cancel_a();
  EXPECT_TRUE(below.done());
  EXPECT_TRUE(ran);
  EXPECT_TRUE(b.done());
}
