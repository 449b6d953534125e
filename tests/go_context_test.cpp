// Counterparts of the tests of Go's context package, by their names. The table of causes is in
// go_cause_test.cpp, custom contexts in go_custom_test.cpp, AfterFunc in go_after_func_test.cpp.
#include "support.hpp"

#include <algorithm>
#include <barrier>
#include <deque>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

TEST(GoContext, Background) {
  const heed::context ctx = heed::background();
  EXPECT_TRUE(is_live(ctx));
  EXPECT_FALSE(ctx.cancel_possible());
  EXPECT_EQ(ctx.to_string(), "background");
}

TEST(GoContext, TODO) {
  const heed::context ctx = heed::todo();
  EXPECT_TRUE(is_live(ctx));
  EXPECT_FALSE(ctx.cancel_possible());
  EXPECT_EQ(ctx.to_string(), "todo");
}

TEST(GoContext, WithCancel) {
  auto [c1, cancel] = heed::with_cancel(heed::background());
  EXPECT_EQ(c1.to_string(), "background.with_cancel");
  auto foreign = heed::with_custom<plain_custom>(c1);
  auto [c2, cancel2] = heed::with_cancel(foreign.ctx);

  for (const heed::context& c : {c1, foreign.ctx, c2}) {
    EXPECT_TRUE(c.cancel_possible());
    EXPECT_TRUE(is_live(c)) << c;
  }
  EXPECT_TRUE(cancel());
  for (const heed::context& c : {c1, foreign.ctx, c2}) EXPECT_TRUE(is_done(c, errc::canceled)) << c;
}

TEST(GoContext, ParentFinishesChild) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  auto [cancel_child, stop_child] = heed::with_cancel(parent);
  static constexpr heed::key<std::string> key{"key"};
  const heed::context value_child = heed::with_value(parent, key, "value");
  auto [timer_child, stop_timer] = heed::with_timeout(value_child, very_long);
  const heed::stop_func stop_after = heed::after_func(parent, [] {});

  for (const heed::context& c : {parent, cancel_child, value_child, timer_child})
    EXPECT_TRUE(is_live(c)) << c;
  cancel();
  for (const heed::context& c : {parent, cancel_child, value_child, timer_child}) {
    EXPECT_TRUE(is_done(c, errc::canceled)) << c;
  }
  EXPECT_FALSE(stop_after()) << "the function was started by the cancel";
  EXPECT_FALSE(stop_child()) << "the parent decided first";
  EXPECT_FALSE(stop_timer());

  const heed::context born_done = heed::with_value(parent, key, "value");
  EXPECT_TRUE(is_done(born_done, errc::canceled));
}

TEST(GoContext, ChildFinishesFirst) {
  auto [cancelable, stop] = heed::with_cancel(heed::background());
  for (const heed::context& parent : {heed::background(), cancelable}) {
    auto [child, cancel] = heed::with_cancel(parent);
    EXPECT_TRUE(is_live(child));
    EXPECT_TRUE(cancel());
    EXPECT_TRUE(is_done(child, errc::canceled));
    EXPECT_TRUE(is_live(parent)) << "a child says nothing to its parent";
  }
}

void expect_deadline(const heed::context& ctx) {
  ASSERT_TRUE(ctx.wait_for(eventually_bound)) << ctx;
  EXPECT_TRUE(is_done(ctx, errc::deadline_exceeded)) << ctx;
  EXPECT_EQ(ctx.cause(), errc::deadline_exceeded) << ctx;
}

TEST(GoContext, Deadline) {
  auto [c, cancel] = heed::with_deadline(heed::background(), heed::clock::now() + 1ms);
  EXPECT_EQ(c.to_string().rfind("background.with_deadline(", 0), 0U) << c;
  expect_deadline(c);

  // A custom context below, and one in between.
  auto parent = heed::with_deadline(heed::background(), heed::clock::now() + 1ms);
  auto foreign = heed::with_custom<plain_custom>(parent.ctx);
  auto below = heed::with_deadline(foreign.ctx, heed::clock::now() + very_long);
  EXPECT_EQ(below.ctx.deadline(), parent.ctx.deadline());
  expect_deadline(foreign.ctx);
  expect_deadline(below.ctx);

  // The past and the present need no waiting.
  auto past = heed::with_deadline(heed::background(), heed::clock::now() - 1ms);
  EXPECT_TRUE(is_done(past.ctx, errc::deadline_exceeded));
  auto present = heed::with_deadline(heed::background(), heed::clock::now());
  EXPECT_TRUE(is_done(present.ctx, errc::deadline_exceeded));
}

TEST(GoContext, Timeout) {
  auto [c, cancel] = heed::with_timeout(heed::background(), 1ms);
  EXPECT_EQ(c.to_string().rfind("background.with_deadline(", 0), 0U) << c;
  expect_deadline(c);

  auto parent = heed::with_timeout(heed::background(), 1ms);
  auto foreign = heed::with_custom<plain_custom>(parent.ctx);
  auto below = heed::with_timeout(foreign.ctx, very_long);
  expect_deadline(foreign.ctx);
  expect_deadline(below.ctx);
}

TEST(GoContext, CanceledTimeout) {
  auto parent = heed::with_timeout(heed::background(), very_long);
  auto foreign = heed::with_custom<plain_custom>(parent.ctx);
  auto [c, cancel] = heed::with_timeout(foreign.ctx, 2 * very_long);
  EXPECT_TRUE(cancel());
  EXPECT_TRUE(is_done(c, errc::canceled));
  EXPECT_TRUE(is_live(foreign.ctx));
}

// The same integer under two key types: here a key is an object, so both "1" are simply two keys.
constexpr heed::key<const char*> k1{"key1(1)"};
constexpr heed::key<const char*> k2{"key2(1)"};
constexpr heed::key<const char*> k3{"key2(3)"};

// What is wanted for k1, k2, k3; "" for no value. Go's nil value, which hides the one above, is here a value
// that is a null pointer.
void expect_values(const heed::context& ctx, std::string w1, std::string w2, std::string w3) {
  const auto text = [&ctx](const heed::key<const char*>& k) {
    const char* const* found = ctx.value(k);
    return std::string(found && *found ? *found : "");
  };
  EXPECT_EQ(text(k1), w1) << ctx;
  EXPECT_EQ(text(k2), w2) << ctx;
  EXPECT_EQ(text(k3), w3) << ctx;
}

TEST(GoContext, Values) {
  const heed::context c0 = heed::background();
  expect_values(c0, "", "", "");

  const heed::context c1 = heed::with_value(c0, k1, "c1k1");
  expect_values(c1, "c1k1", "", "");
  EXPECT_EQ(c1.to_string(), "background.with_value(key1(1), c1k1)");

  const heed::context c2 = heed::with_value(c1, k2, "c2k2");
  expect_values(c2, "c1k1", "c2k2", "");
  EXPECT_EQ(c2.to_string(), "background.with_value(key1(1), c1k1).with_value(key2(1), c2k2)");

  const heed::context c3 = heed::with_value(c2, k3, "c3k3");
  expect_values(c3, "c1k1", "c2k2", "c3k3");

  const heed::context c4 = heed::with_value(c3, k1, nullptr);
  expect_values(c4, "", "c2k2", "c3k3");
  ASSERT_NE(c4.value(k1), nullptr) << "there is a value, and it is a null pointer";
  EXPECT_EQ(*c4.value(k1), nullptr);
  EXPECT_EQ(c4.to_string(),
            "background.with_value(key1(1), c1k1).with_value(key2(1), c2k2)"
            ".with_value(key2(3), c3k3).with_value(key1(1), null)");

  const auto o0 = heed::with_custom<plain_custom>(heed::background());
  expect_values(o0.ctx, "", "", "");
  const auto o1 = heed::with_custom<plain_custom>(c1);
  expect_values(o1.ctx, "c1k1", "", "");
  const heed::context o2 = heed::with_value(o1.ctx, k2, "o2k2");
  expect_values(o2, "c1k1", "o2k2", "");
  const auto o3 = heed::with_custom<plain_custom>(c4);
  expect_values(o3.ctx, "", "c2k2", "c3k3");
  const heed::context o4 = heed::with_value(o3.ctx, k3, nullptr);
  expect_values(o4, "", "c2k2", "");
}

TEST(GoContext, SimultaneousCancels) {
  std::vector<heed::cancelable> tree;
  tree.push_back(heed::with_cancel(heed::background()));
  for (std::size_t parent = 0; tree.size() < 100; ++parent) {
    for (int i = 0; i < 4; ++i) {
      auto child = heed::with_cancel(tree[parent].ctx);
      tree.push_back(std::move(child));
    }
  }
  std::shuffle(tree.begin(), tree.end(), std::mt19937_64(seed()));
  std::vector<thread> cancelers;
  for (const heed::cancelable& c : tree) cancelers.emplace_back([&c] { c.cancel(); });
  for (const heed::cancelable& c : tree) {
    ASSERT_TRUE(c.ctx.wait_for(eventually_bound));
    EXPECT_EQ(c.ctx.err(), errc::canceled);
  }
}

TEST(GoContext, InterlockedCancels) {
  auto [parent, cancel_parent] = heed::with_cancel(heed::background());
  auto child = heed::with_cancel(parent);
  const thread waiter([&] {
    parent.wait();
    child.cancel();
  });
  // The child is canceled from inside the parent's cancel as well.
  const heed::cancel_callback callback(parent, [&] { child.cancel(); });
  cancel_parent();
  EXPECT_TRUE(is_done(child.ctx, errc::canceled));
}

// Random layers of values, cancels and timeouts; then one cancel somewhere, or the time is up.
void test_layers(bool timeout) {
  std::mt19937_64 random(seed());
  const auto pick = [&random](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  heed::manual_scheduler time;
  std::deque<heed::key<std::size_t>> keys;  // before the contexts: keys outlive them
  std::vector<heed::cancel_func> cancels;
  heed::context ctx = heed::background(time);
  int timers = 0;
  for (int i = 0; i < 30 || timers == 0 || cancels.empty() || keys.empty(); ++i) {
    switch (pick(3)) {
      case 0:
        keys.emplace_back("layer");
        ctx = heed::with_value(ctx, keys.back(), keys.size());
        break;
      case 1: {
        auto made = heed::with_cancel(ctx);
        ctx = made.ctx;
        cancels.push_back(std::move(made.cancel));
        break;
      }
      default: {
        auto made = heed::with_timeout(ctx, timeout ? std::chrono::nanoseconds(1ms) : very_long);
        ctx = made.ctx;
        cancels.push_back(std::move(made.cancel));
        ++timers;
      }
    }
  }
  const auto expect_all_values = [&](const char* when) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::size_t* found = ctx.value(keys[i]);
      ASSERT_NE(found, nullptr) << when;
      EXPECT_EQ(*found, i + 1) << when;
    }
  };
  EXPECT_TRUE(is_live(ctx)) << ctx;
  EXPECT_EQ(ctx.to_string().rfind("background.", 0), 0U) << ctx;
  expect_all_values("before");
  if (timeout) {
    time.advance(1ms);
    EXPECT_TRUE(is_done(ctx, errc::deadline_exceeded)) << ctx;
  } else {
    cancels[pick(cancels.size())]();
    EXPECT_TRUE(is_done(ctx, errc::canceled)) << ctx;
  }
  expect_all_values("after");
}

TEST(GoContext, LayersCancel) {
  test_layers(false);
}
TEST(GoContext, LayersTimeout) {
  test_layers(true);
}

// That the parent forgets a canceled child shows in what dies with the child while the parent lives.
TEST(GoContext, CancelRemoves) {
  static constexpr heed::key<tracked> key{"tracked"};
  std::atomic<int> alive = 0;
  heed::manual_scheduler time;
  auto parent = heed::with_cancel(heed::background(time));
  {
    auto [child, cancel] = heed::with_cancel(heed::with_value(parent.ctx, key, tracked(alive)));
    EXPECT_EQ(alive, 1);
    cancel();
  }
  EXPECT_EQ(alive, 0);
  {
    auto [child, cancel] = heed::with_timeout(heed::with_value(parent.ctx, key, tracked(alive)), 60min);
    EXPECT_EQ(alive, 1);
    cancel();
  }
  EXPECT_EQ(alive, 0);
  const heed::stop_func stop = heed::after_func(parent.ctx, [t = tracked(alive)] {});
  EXPECT_EQ(alive, 1);
  EXPECT_TRUE(stop());
  EXPECT_EQ(alive, 0);
  EXPECT_TRUE(is_live(parent.ctx));
}

TEST(GoContext, WithCancelCanceledParent) {
  auto [parent, cancel_parent] = heed::with_cancel(heed::background());
  const heed::error cause("because");
  cancel_parent(cause);
  auto [child, cancel] = heed::with_cancel(parent);
  EXPECT_TRUE(is_done(child, errc::canceled));
  EXPECT_EQ(child.cause(), cause);
}

TEST(GoContext, WithCancelSimultaneouslyCanceledParent) {
  const heed::error cause("because");
  for (int i = 0; i < 100; ++i) {
    auto parent = heed::with_cancel(heed::background());
    const thread canceler([&] { parent.cancel(cause); });
    auto [child, cancel] = heed::with_cancel(parent.ctx);
    ASSERT_TRUE(child.wait_for(eventually_bound));
    EXPECT_EQ(child.err(), errc::canceled);
    EXPECT_EQ(child.cause(), cause);
  }
}

// Go refuses a nil key and one that cannot be compared when the program runs. Here such a key cannot be
// written: a key is an object, named by its address, and a temporary one is refused by the compiler.
template <class Key>
concept usable_key =
    requires(const heed::context& ctx, Key&& k) { heed::with_value(ctx, std::forward<Key>(k), 1); };
TEST(GoContext, WithValueChecksKey) {
  static_assert(usable_key<const heed::key<int>&>);
  static_assert(usable_key<heed::key<int>&>);
  static_assert(!usable_key<heed::key<int>>);
  static_assert(!usable_key<const heed::key<int>>);
  static_assert(!usable_key<std::nullptr_t>);
  static_assert(!usable_key<const char*>);
  static_assert(!std::is_copy_constructible_v<heed::key<int>>);
}

// Go panics on a nil parent. Here there is none: a moved-from context is background().
TEST(GoContext, InvalidDerivedFail) {
  static constexpr heed::key<int> key{"int"};
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  const heed::context taken = std::move(ctx);
  const heed::context& moved_from = ctx;  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(moved_from, heed::background());
  EXPECT_EQ(heed::with_cancel(moved_from).ctx.to_string(), "background.with_cancel");
  EXPECT_EQ(heed::with_value(moved_from, key, 7).to_string(), "background.with_value(int, 7)");
  auto timed = heed::with_deadline(moved_from, heed::clock::now() + very_long);
  cancel();
  EXPECT_TRUE(is_done(taken, errc::canceled));
  EXPECT_TRUE(is_live(timed.ctx)) << "it hangs below background(), not below the canceled context";
}

TEST(GoContext, DeadlineExceededSupportsTimeout) {
  EXPECT_TRUE(errc::deadline_exceeded == std::errc::timed_out);
  EXPECT_FALSE(errc::canceled == std::errc::timed_out);
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 0s);
  EXPECT_EQ(ctx.err(), std::errc::timed_out);
  EXPECT_EQ(ctx.cause(), std::errc::timed_out);
}

TEST(GoContext, CauseRace) {
  const heed::error cause("CauseRace");
  auto c = heed::with_cancel(heed::background());
  const thread canceler([&] { c.cancel(cause); });
  // Polls the cause itself, not err(), so that it has to be published on its own.
  heed::error seen;
  while (!(seen = c.ctx.cause())) std::this_thread::yield();
  EXPECT_EQ(seen, cause);
  EXPECT_EQ(c.ctx.err(), errc::canceled) << "once there is a cause, there is a verdict";
}

TEST(GoContext, WithoutCancel) {
  static constexpr heed::key<std::string> key{"key"};
  auto parent = heed::with_timeout(heed::background(), very_long);
  const heed::context ctx = heed::without_cancel(heed::with_value(parent.ctx, key, "value"));
  parent.cancel("over");
  EXPECT_FALSE(ctx.deadline());
  EXPECT_FALSE(ctx.cancel_possible());
  EXPECT_TRUE(is_live(ctx));
  ASSERT_NE(ctx.value(key), nullptr);
  EXPECT_EQ(*ctx.value(key), "value");
  auto below = heed::with_cancel(ctx);
  EXPECT_TRUE(is_live(below.ctx));
  EXPECT_TRUE(below.cancel());
  EXPECT_TRUE(is_done(below.ctx, errc::canceled));
}

// Go's issue 75533: err() was non-zero while Done was still open.
TEST(GoContext, ContextErrDoneRace) {
  for (int i = 0; i < 100; ++i) {
    auto c = heed::with_cancel(heed::background());
    const int fd = c.ctx.done_fd();
    std::barrier start(2);
    const thread canceler([&] {
      start.arrive_and_wait();
      c.cancel();
    });
    start.arrive_and_wait();
    while (!c.ctx.err()) {}
    ASSERT_TRUE(readable(fd)) << "in round " << i;
  }
}

}  // namespace
