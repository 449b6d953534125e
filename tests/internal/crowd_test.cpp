// Counts that are spread over the processors (src/crowd.cpp), as if threads had met: which they seldom do
// when a test wants it.
#include "tree.hpp"

#include "../support.hpp"

#include <heed/heed.hpp>
#include <heed/inspect.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr heed::key<int> number{"number"};
constexpr heed::key<std::string> text{"text"};
constexpr heed::key<std::shared_ptr<int>> witness{"witness"};

heed::node& node_of(const heed::context& c) {
  return *heed::tree::of(c);
}
bool is_scattered(const heed::context& c) {
  return (node_of(c).holds & heed::node::scattered) != 0;
}
bool is_spread(const heed::context& c) {
  return (node_of(c).handles & heed::node::spread) != 0;
}

// Has it crowded, and counted in a row, if one is free.
void crowd(const heed::context& c) {
  heed::hold(node_of(c));
  ASSERT_TRUE(heed::crowd::drop_unless_last(node_of(c)));
  ASSERT_TRUE(heed::is_crowded(node_of(c)));
  static_cast<void>(heed::without_cancel(c));
}
// The same for handles, of a scope or a value in one.
void spread(const heed::context& c) {
  const heed::context second = c;
  ASSERT_FALSE(heed::crowd::release(node_of(c), false));
}

// A scope, and a value on it: both crowded, and both spread; made again where their addresses give them one
// row.
struct crowded_pair {
  heed::cancelable parent = heed::with_cancel(heed::background());
  heed::cancelable scope;
  heed::context value;
  explicit crowded_pair(const std::shared_ptr<int>& v) {
    std::vector<heed::cancelable> in_vain;
    do {
      in_vain.push_back(std::exchange(scope, heed::with_cancel(parent.ctx)));
      crowd(scope.ctx);
      spread(scope.ctx);
      value = heed::with_value(scope.ctx, witness, v);
      crowd(value);
      spread(value);
    } while (!is_spread(scope.ctx) || !is_spread(value));
  }
};

class Crowd : public testing::Test {
 protected:
  void SetUp() override {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "with one processor there is no crowd";
  }
};

// What keeps a context, of each kind that there is.
using kept = std::vector<heed::cancelable>;
const std::vector<std::function<void(const heed::context&, kept&)>> ways_to_derive{
    [](const heed::context& c, kept& k) { k.push_back(heed::with_cancel(c)); },
    [](const heed::context& c, kept& k) { k.push_back(heed::with_timeout(c, heed_test::very_long)); },
    [](const heed::context& c, kept& k) { k.emplace_back(heed::with_value(c, number, 1)); },
    [](const heed::context& c, kept& k) { k.emplace_back(heed::with_value(c, text, "text")); },
    [](const heed::context& c, kept& k) { k.emplace_back(heed::without_cancel(c)); },
    [](const heed::context& c, kept& k) { k.push_back(heed::merge(c, heed::background())); },
    [](const heed::context& c, kept& k) {
      heed::context moved = heed::with_value(c, number, 2);
      k.emplace_back(heed::with_value(std::move(moved), number, 3));
    },
    [](const heed::context& c, kept& k) {
      heed::cancelable ended = heed::with_cancel(c);
      ended.cancel();
      k.push_back(heed::with_cancel(ended.ctx));
    },
};

// Above what is crowded: nothing, a scope, one that has ended, a detached context.
const std::vector<std::function<heed::cancelable()>> places{
    [] { return heed::cancelable(); },
    [] { return heed::with_cancel(heed::background()); },
    [] {
      heed::cancelable ended = heed::with_cancel(heed::background());
      ended.cancel();
      return ended;
    },
    [] { return heed::cancelable(heed::without_cancel(heed::with_cancel(heed::background()).ctx)); },
};

}  // namespace

// What it is for: making contexts writes nothing that others write, too.
TEST_F(Crowd, CountsElsewhere) {
  const crowded_pair crowded(std::make_shared<int>());
  const heed::context& base = crowded.value;
  const heed::context& scope = crowded.scope.ctx;
  const auto counts = [&] {
    return std::array{node_of(base).holds.load(), node_of(base).handles.load(),
                      node_of(scope).handles.load()};
  };
  const auto before = counts();
  std::vector<heed::cancelable> made;
  for (const auto& way : ways_to_derive) {
    way(base, made);
    EXPECT_EQ(counts(), before);
    way(scope, made);
    EXPECT_EQ(counts(), before);
  }
  made.clear();
  EXPECT_EQ(counts(), before);
}

// N1 to N5: whatever is derived, and in whatever order and on whatever thread it goes, what is crowded goes
// with the last of it.
TEST_F(Crowd, GoesWithTheLastThatNeedsIt) {
  std::mt19937 random(static_cast<unsigned>(heed_test::seed()));
  for (int round = 0; round < heed_test::scaled(2000) && !HasFailure(); ++round) {
    const auto value = std::make_shared<int>();
    auto place = places[random() % places.size()]();
    auto base = std::make_unique<heed::context>(heed::with_value(place.ctx, witness, value));
    kept children;
    const auto derive = [&](std::size_t count) {
      for (std::size_t i = random() % count; i > 0; --i)
        ways_to_derive[random() % ways_to_derive.size()](*base, children);
    };
    derive(4);
    crowd(*base);
    if (place.ctx != heed::background() && heed::tree::of(place.ctx)->what == heed::kind::cancel)
      spread(place.ctx);
    if (node_of(*base).is(heed::node::in_scope)) spread(*base);
    derive(6);
    std::shuffle(children.begin(), children.end(), random);
    const auto half = static_cast<std::ptrdiff_t>(children.size() / 2);
    kept elsewhere(std::move_iterator(children.begin()), std::move_iterator(children.begin() + half));
    children.erase(children.begin(), children.begin() + half);
    const bool base_first = random() % 2 == 0;
    if (base_first) base.reset();
    std::thread([&] { elsewhere.clear(); }).join();
    if (!children.empty() || base) {
      EXPECT_EQ(value.use_count(), 2) << "still needed";
    }
    children.clear();
    base.reset();
    EXPECT_EQ(value.use_count(), 1) << "nothing needs it";
  }
}

// N6, N7: a scope that only values have in hand is in hand.
TEST_F(Crowd, ValuesHaveTheirScopeInHand) {
  for (const bool ends_by_parent : {false, true}) {
    crowded_pair crowded(std::make_shared<int>());
    const auto function = std::make_shared<int>();
    heed::after_func(crowded.scope.ctx, [function] {});
    std::vector<heed::context> values{std::move(crowded.value)};
    values.push_back(heed::with_value(crowded.scope.ctx, number, 2));
    values.push_back(heed::with_value(values.back(), number, 3));
    crowded.scope.cancel.release();
    crowded.scope = {};
    if (!ends_by_parent) crowded.parent.cancel.release(), crowded.parent = {};
    EXPECT_EQ(function.use_count(), 2) << "values have it in hand";
    values.erase(values.begin());
    values.push_back(heed::with_value(values.front(), text, "afterwards"));
    values.erase(values.begin(), values.begin() + 2);
    EXPECT_EQ(function.use_count(), 2) << "one value has it in hand";
    values.clear();
    EXPECT_EQ(function.use_count(), ends_by_parent ? 2 : 1) << "nothing can end it any more";
    crowded.parent.cancel();
    EXPECT_TRUE(heed_test::eventually([&] { return function.use_count() == 1; }));
  }
}

TEST_F(Crowd, IsCountedInPictures) {
  const crowded_pair crowded(std::make_shared<int>());
  const heed::context& scope = crowded.scope.ctx;
  const std::vector<heed::context> copies(3, heed::with_value(scope, number, 1));
  const heed::context another = heed::with_value(scope, number, 2);
  EXPECT_EQ(heed::crowd::count_handles(node_of(scope)), 5U) << "context, cancel_func, three values";
  const heed::context second = scope;
  EXPECT_EQ(heed::crowd::count_handles(node_of(scope)), 6U);
}

// A row goes back with the node that had it, so a thousand of them get one after the other. Of a thousand at
// once most get none, and are as good.
TEST_F(Crowd, RowsGoRound) {
  for (int i = 0; i < 1000; ++i) {
    const heed::context base = heed::with_value(heed::background(), number, i);
    crowd(base);
    ASSERT_TRUE(is_scattered(base)) << i;
  }
  const auto value = std::make_shared<int>();
  std::vector<heed::context> all;
  for (int i = 0; i < 1000; ++i) {
    all.push_back(heed::with_value(heed::background(), witness, value));
    crowd(all.back());
  }
  const auto scattered = std::count_if(all.begin(), all.end(), is_scattered);
  EXPECT_GT(scattered, 32);
  EXPECT_LT(scattered, 1000);
  std::vector<heed::cancelable> children;
  children.reserve(all.size());
  for (const heed::context& c : all) children.push_back(heed::with_cancel(c));
  all.clear();
  EXPECT_EQ(value.use_count(), 1001);
  children.clear();
  EXPECT_EQ(value.use_count(), 1);
}

// A forked child counts on, and gives up what it has.
TEST_F(Crowd, GoesOnAfterFork) {
  const auto value = std::make_shared<int>();
  crowded_pair crowded(value);
  auto& scope = crowded.scope;
  auto base = std::make_unique<heed::context>(std::move(crowded.value));
  auto child = std::make_unique<heed::cancelable>(heed::with_cancel(*base));
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto another = std::make_unique<heed::cancelable>(heed::with_cancel(heed::with_value(*base, number, 1)));
    scope.cancel();
    if (!child->ctx.done() || !another->ctx.done()) ::_exit(1);
    base.reset();
    child.reset();
    if (value.use_count() != 2) ::_exit(2);
    another.reset();
    ::_exit(value.use_count() == 1 ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  base.reset();
  child.reset();
  EXPECT_EQ(value.use_count(), 1);
}
