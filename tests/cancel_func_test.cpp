// Who may end a context: cancel_func, which must, and canceler, which may.
#include "support.hpp"

#include <array>
#include <cstddef>
#include <functional>
#include <latch>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

constexpr heed::key<int> number_key{"number"};

TEST(CancelFunc, IsMoveOnly) {
  static_assert(!std::is_copy_constructible_v<heed::cancel_func>);
  static_assert(!std::is_copy_assignable_v<heed::cancel_func>);
  static_assert(std::is_nothrow_move_constructible_v<heed::cancel_func>);
  static_assert(std::is_nothrow_move_assignable_v<heed::cancel_func>);
  static_assert(std::is_nothrow_default_constructible_v<heed::cancel_func>);
  static_assert(std::is_nothrow_invocable_r_v<bool, const heed::cancel_func&>);
}

TEST(Cancelable, IsMadeOfItsParts) {
  static_assert(!std::is_copy_constructible_v<heed::cancelable>);
  static_assert(std::is_nothrow_move_constructible_v<heed::cancelable>);
  static_assert(std::is_nothrow_move_assignable_v<heed::cancelable>);
  static_assert(!std::is_convertible_v<heed::context, heed::cancelable>);
  EXPECT_FALSE(heed::cancelable(heed::background()).cancel());
  EXPECT_FALSE((heed::cancelable{{}, {}}).cancel());
  heed::cancelable none;
  EXPECT_EQ(none.ctx, heed::background());
  EXPECT_FALSE(none.cancel());
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  {
    const heed::cancelable both{ctx, std::move(cancel)};
    EXPECT_EQ(both.ctx, ctx);
    EXPECT_TRUE(is_live(ctx));
  }
  EXPECT_TRUE(is_done(ctx, errc::canceled));
}

// Left with both its parts, it goes in one step; with one of them, or with parts of two contexts, as each
// part does.
TEST(Cancelable, LeavesAsItsPartsDo) {
  heed::context kept;
  {
    auto c = heed::with_cancel(heed::background());
    kept = c.ctx;
  }
  EXPECT_TRUE(is_done(kept, errc::canceled));
  {
    auto c = heed::with_cancel(heed::background());
    kept = std::move(c.ctx);
  }
  EXPECT_TRUE(is_done(kept, errc::canceled));
  {
    auto one = heed::with_cancel(heed::background());
    auto other = heed::with_cancel(one.ctx);
    kept = one.ctx;
    std::swap(one.ctx, other.ctx);
    other.cancel.release();
    one = std::move(other);  // cancels what it held
    EXPECT_TRUE(is_done(kept, errc::canceled));
    EXPECT_EQ(one.ctx, kept);
  }
  {
    auto c = heed::with_cancel(heed::background());
    kept = c.ctx;
    c.ctx = heed::with_value(c.ctx, number_key, 1);  // the same end, another context
  }
  EXPECT_TRUE(is_done(kept, errc::canceled));
  {
    auto c = heed::with_cancel(heed::background());
    kept = c.ctx;
    c.cancel.release();
  }
  EXPECT_TRUE(is_live(kept));
}

// What it runs on the way out may take its context, or give it up, or another one; and cancel anew, to no
// end.
TEST(Cancelable, CallbacksMayUseWhatLeaves) {
  using callback = heed::cancel_callback<std::function<void()>>;
  struct request {
    std::unique_ptr<callback> on_end;
    heed::cancelable life;
  };
  const heed::context other = heed::with_value(heed::background(), number_key, 1);
  for (const bool timed : {false, true}) {
    heed::context kept;
    const std::vector<std::function<void(request&)>> all = {
        [&](request& r) { kept = std::move(r.life.ctx); },
        [&](request& r) { r.life.ctx = heed::background(); },
        [&](request& r) {
          r.life.ctx = {};
          r.on_end.reset();
        },
        [&](request& r) {
          kept = r.life.ctx;
          r.life.ctx = other;
        },
        [&](request& r) { EXPECT_FALSE(r.life.cancel.share()()); },
    };
    for (const auto& act : all) {
      request r{nullptr,
                timed ? heed::with_timeout(heed::background(), 1h) : heed::with_cancel(heed::background())};
      r.on_end = std::make_unique<callback>(r.life.ctx, [&] { act(r); });
    }
    EXPECT_TRUE(is_done(kept, errc::canceled));
  }
  EXPECT_EQ(*other.value(number_key), 1);
}

// The value above goes with it, and with the value what it lies in. (Looked at by AddressSanitizer.)
TEST(Cancelable, MayLieInWhatGoesWithIt) {
  struct session {
    alignas(heed::cancelable) std::array<std::byte, sizeof(heed::cancelable)> room;
  };
  static constexpr heed::key<std::shared_ptr<session>> session_key{"session"};
  for (const bool timed : {false, true}) {
    std::shared_ptr<session> owner(new session);  // apart from its counts, which `seen` keeps
    const std::weak_ptr<session> seen = owner;
    void* const room = owner->room.data();
    heed::cancelable* life = nullptr;
    {
      const heed::context above = heed::with_value(heed::background(), session_key, std::move(owner));
      life = ::new (room) heed::cancelable(timed ? heed::with_timeout(above, 1h) : heed::with_cancel(above));
    }
    EXPECT_FALSE(seen.expired());
    std::destroy_at(life);
    EXPECT_TRUE(seen.expired());
  }
}

// Whatever it is below and whatever hangs on it, in each state.
TEST(Cancelable, LeavesWhateverItIs) {
  const auto parent = heed::with_cancel(heed::background());
  const heed::context value = heed::with_value(parent.ctx, number_key, 1);
  const auto second = heed::with_cancel(heed::background());
  for (const heed::context& above : {heed::background(), parent.ctx, value}) {
    for (int kind = 0; kind < 4; ++kind) {
      for (int state = 0; state < 4; ++state) {
        heed::context seen;
        {
          auto c = kind == 0   ? heed::with_cancel(above)
                   : kind == 1 ? heed::with_timeout(above, 1h)
                   : kind == 2 ? heed::with_timeout(above, 1h, "late")
                               : heed::merge(above, second.ctx);
          if (state == 1) c.cancel();
          if (state == 2) c.cancel("because");
          if (state == 3) {
            auto below = heed::with_cancel(c.ctx);
            below.cancel.release();
            seen = below.ctx;
          } else {
            seen = c.ctx;
          }
        }
        EXPECT_TRUE(is_done(seen, errc::canceled)) << kind << state;
        if (state == 2) {
          EXPECT_EQ(seen.cause().message(), "because");
        }
      }
    }
  }
  EXPECT_TRUE(is_live(parent.ctx));
  EXPECT_TRUE(is_live(second.ctx));
}

TEST(CancelFunc, TrueForTheCallThatDecided) {
  auto c = heed::with_cancel(heed::background());
  EXPECT_TRUE(c.cancel("first"));
  EXPECT_FALSE(c.cancel("second"));
  EXPECT_FALSE(c.cancel());
  EXPECT_EQ(c.ctx.cause().message(), "first");
}

TEST(CancelFunc, FalseWhereAnotherDecided) {
  auto parent = heed::with_cancel(heed::background());
  auto child = heed::with_cancel(parent.ctx);
  parent.cancel();
  EXPECT_FALSE(child.cancel());
  auto born_done = heed::with_cancel(parent.ctx);
  EXPECT_FALSE(born_done.cancel());
  auto past = heed::with_timeout(heed::background(), -1s);
  EXPECT_FALSE(past.cancel());
  EXPECT_EQ(past.ctx.err(), errc::deadline_exceeded);
}

TEST(CancelFunc, NothingToCancel) {
  heed::cancel_func none;
  EXPECT_FALSE(none());
  EXPECT_FALSE(none.share()());
  none.release();
  none = heed::cancel_func();
  auto c = heed::with_cancel(heed::background());
  heed::cancel_func taken = std::move(c.cancel);
  EXPECT_FALSE(c.cancel());  // NOLINT(bugprone-use-after-move)
  EXPECT_FALSE(c.cancel.share()());
  c.cancel.release();
  EXPECT_TRUE(is_live(c.ctx));
  EXPECT_TRUE(taken());
  EXPECT_TRUE(is_done(c.ctx, errc::canceled));
}

TEST(CancelFunc, LeavingItsScopeCancels) {
  heed::context ctx;
  {
    auto made = heed::with_cancel(heed::background());
    ctx = made.ctx;
    EXPECT_TRUE(is_live(ctx));
  }
  EXPECT_TRUE(is_done(ctx, errc::canceled));
  EXPECT_EQ(ctx.cause(), errc::canceled);
}

TEST(CancelFunc, MoveAssignmentCancelsWhatItHeld) {
  auto a = heed::with_cancel(heed::background());
  auto b = heed::with_cancel(heed::background());
  a.cancel = std::move(b.cancel);
  EXPECT_TRUE(is_done(a.ctx, errc::canceled));
  EXPECT_TRUE(is_live(b.ctx));
  EXPECT_TRUE(a.cancel());
  EXPECT_TRUE(is_done(b.ctx, errc::canceled));
}

TEST(CancelFunc, OutlivesTheHandle) {
  auto c = heed::with_cancel(heed::background());
  auto below = heed::with_cancel(c.ctx);
  c.ctx = {};
  EXPECT_TRUE(c.cancel("far"));
  EXPECT_EQ(below.ctx.cause().message(), "far");
}

TEST(CancelFunc, ReleaseGivesTheDutyUp) {
  heed::manual_scheduler time;
  heed::context forever;
  heed::context timed;
  heed::context child;
  auto parent = heed::with_cancel(heed::background(time));
  {
    auto a = heed::with_cancel(heed::background(time));
    auto b = heed::with_timeout(heed::background(time), 1s);
    auto c = heed::with_cancel(parent.ctx);
    a.cancel.release();
    b.cancel.release();
    c.cancel.release();
    EXPECT_FALSE(a.cancel()) << "it holds nothing any more";
    forever = a.ctx;
    timed = b.ctx;
    child = c.ctx;
  }
  for (const heed::context& ctx : {forever, timed, child}) EXPECT_TRUE(is_live(ctx)) << ctx;
  time.advance(1s);
  EXPECT_TRUE(is_done(timed, errc::deadline_exceeded)) << "the deadline ends it";
  parent.cancel();
  EXPECT_TRUE(is_done(child, errc::canceled)) << "the parent ends it";
  EXPECT_TRUE(is_live(forever)) << "nothing does";
}

TEST(CancelFunc, InAContainer) {
  std::vector<heed::cancel_func> cancels;
  std::vector<heed::context> contexts;
  for (int i = 0; i < 20; ++i) {
    auto c = heed::with_cancel(heed::background());
    contexts.push_back(c.ctx);
    cancels.push_back(std::move(c.cancel));
  }
  for (const heed::context& ctx : contexts) EXPECT_TRUE(is_live(ctx)) << "growing moves, it does not cancel";
  cancels.clear();
  for (const heed::context& ctx : contexts) EXPECT_TRUE(is_done(ctx, errc::canceled));
}

// The order in which things go: a deep chain whose cancel_funcs are dropped from the top and from the bottom.
TEST(CancelFunc, DroppedInAnyOrder) {
  for (const bool from_the_top : {true, false}) {
    std::vector<heed::cancelable> chain;
    chain.push_back(heed::with_cancel(heed::background()));
    while (chain.size() < 50) {
      auto next = heed::with_cancel(chain.back().ctx);
      chain.push_back(std::move(next));
    }
    const heed::context last = chain.back().ctx;
    if (from_the_top) {
      for (heed::cancelable& c : chain) {
        c.ctx = {};
        c.cancel = {};
      }
    } else {
      while (!chain.empty()) chain.pop_back();
    }
    EXPECT_TRUE(is_done(last, errc::canceled));
  }
}

TEST(Canceler, IsCopyable) {
  static_assert(std::is_nothrow_copy_constructible_v<heed::canceler>);
  static_assert(std::is_nothrow_copy_assignable_v<heed::canceler>);
  static_assert(std::is_nothrow_move_constructible_v<heed::canceler>);
  static_assert(std::is_nothrow_default_constructible_v<heed::canceler>);
}

TEST(Canceler, MakesTheSameCall) {
  auto c = heed::with_cancel(heed::background());
  const heed::canceler canceler = c.cancel.share();
  const heed::canceler copy = canceler;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_TRUE(copy("shared"));
  EXPECT_FALSE(canceler());
  EXPECT_FALSE(c.cancel());
  EXPECT_EQ(c.ctx.cause().message(), "shared");
}

TEST(Canceler, ItsScopeEndsNothing) {
  auto c = heed::with_cancel(heed::background());
  {
    heed::canceler canceler = c.cancel.share();
    heed::canceler other;
    other = canceler;
    canceler = heed::canceler();
  }
  EXPECT_TRUE(is_live(c.ctx));
}

TEST(Canceler, KeepsNothingFromEnding) {
  heed::canceler canceler;
  heed::context ctx;
  {
    auto c = heed::with_cancel(heed::background());
    canceler = c.cancel.share();
    ctx = c.ctx;
  }
  EXPECT_TRUE(is_done(ctx, errc::canceled)) << "the cancel_func left its scope";
  EXPECT_FALSE(canceler());
}

TEST(Canceler, WorksAfterReleaseAndAfterTheHandle) {
  auto c = heed::with_cancel(heed::background());
  auto below = heed::with_cancel(c.ctx);
  const heed::canceler canceler = c.cancel.share();
  c.cancel.release();
  c.ctx = {};
  EXPECT_TRUE(is_live(below.ctx));
  EXPECT_TRUE(canceler("late"));
  EXPECT_EQ(below.ctx.cause().message(), "late");
}

TEST(Canceler, DefaultAndMovedFromDoNothing) {
  EXPECT_FALSE(heed::canceler()());
  auto c = heed::with_cancel(heed::background());
  heed::canceler canceler = c.cancel.share();
  const heed::canceler taken = std::move(canceler);
  EXPECT_FALSE(canceler());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(is_live(c.ctx));
  EXPECT_TRUE(taken());
}

TEST(Canceler, FitsStdFunction) {
  auto c = heed::with_cancel(heed::background());
  const std::function<void()> function = c.cancel.share();
  const std::function<void()> copy = function;
  copy();
  EXPECT_TRUE(is_done(c.ctx, errc::canceled));
  function();
}

TEST(Canceler, FitsAfterFunc) {
  heed::manual_scheduler time;
  auto a = heed::with_cancel(heed::background(time));
  auto b = heed::with_cancel(heed::background(time));
  heed::after_func(a.ctx, b.cancel.share());
  a.cancel();
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_TRUE(is_done(b.ctx, errc::canceled));
}

// Everything before the cancel is visible after err(): a plain variable is enough.
TEST(Canceler, WhatWasWrittenBeforeIsVisibleAfter) {
  for (int i = 0; i < 100; ++i) {
    auto c = heed::with_cancel(heed::background());
    int written = 0;
    const thread writer([&, canceler = c.cancel.share()] {
      written = i + 1;
      canceler();
    });
    while (!c.ctx.err()) std::this_thread::yield();
    ASSERT_EQ(written, i + 1);
  }
}

// Any number of threads: one call decides, and all the verdict's parts are that call's.
TEST(Canceler, OneOfManyDecides) {
  constexpr unsigned n = 8;
  for (int round = 0; round < 50; ++round) {
    auto c = heed::with_cancel(heed::background());
    std::atomic<unsigned> winner = n;
    std::atomic<int> winners = 0;
    {
      std::latch start(n);
      std::vector<thread> threads;
      for (unsigned i = 0; i < n; ++i) {
        threads.emplace_back([&, i, canceler = c.cancel.share()] {
          start.arrive_and_wait();
          if (canceler(std::to_string(i))) {
            winner = i;
            ++winners;
          }
          EXPECT_EQ(c.ctx.err(), errc::canceled) << "done when any cancel() returns";
        });
      }
    }
    ASSERT_EQ(winners, 1);
    ASSERT_EQ(c.ctx.cause().message(), std::to_string(winner));
  }
}

}  // namespace
