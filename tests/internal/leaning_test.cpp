// Values in a scope lean on what they are made of (src/life.cpp, let_go): what counts where, and how they
// find their scope again (src/values.hpp).
#include "tree.hpp"

#include "../support.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr heed::key<int> number{"number"};
constexpr heed::key<std::string> text{"text"};
constexpr heed::key<std::shared_ptr<int>> witness{"witness"};

std::uint32_t handles(const heed::context& c) {
  return heed::tree::of(c)->handles & heed::node::number;
}
std::uint32_t holds(const heed::context& c) {
  return heed::tree::of(c)->holds;
}

}  // namespace

TEST(Leaning, CountsOnceWhileInHand) {
  const auto [ctx, cancel] = heed::with_cancel(heed::background());
  heed::context one = heed::with_value(ctx, number, 1);
  EXPECT_EQ(handles(ctx), 3U) << "context, cancel_func, the value";
  EXPECT_EQ(holds(ctx), 1U) << "no hold besides";
  const heed::context two = heed::with_value(one, text, "two");
  EXPECT_EQ(handles(one), 2U);
  EXPECT_EQ(handles(ctx), 3U);
  one = {};
  EXPECT_EQ(handles(ctx), 3U) << "the second one has the first in hand";
  const heed::context apart = heed::with_value(heed::without_cancel(ctx), number, 3);
  EXPECT_EQ(handles(ctx), 3U) << "nothing that ends is above it";
}

TEST(Leaning, HoldsOnceItHasNoHandles) {
  const auto value = std::make_shared<int>();
  auto scope = heed::with_cancel(heed::background());
  heed::context one = heed::with_value(scope.ctx, number, 1);
  heed::context two = heed::with_value(one, witness, value);
  auto child = heed::with_cancel(two);
  one = {};
  two = {};
  EXPECT_EQ(handles(scope.ctx), 2U) << "no value is in hand";
  EXPECT_EQ(holds(scope.ctx), 2U) << "the handles, and the first value";
  EXPECT_EQ(value.use_count(), 2) << "its child needs it";
  child = {};
  EXPECT_EQ(value.use_count(), 1);
  EXPECT_EQ(holds(scope.ctx), 1U);
}

// Where the parent is moved from, its handle is what the value leans by: of a scope, and of a value, whether
// it is the last one there or not. (That nothing is counted for it, tests/costs sees.)
TEST(Leaning, TakesOverAHandle) {
  const auto scope = heed::with_cancel(heed::background());
  heed::context ctx = scope.ctx;
  ASSERT_EQ(handles(scope.ctx), 3U);
  ctx = heed::with_value(std::move(ctx), number, 1);
  EXPECT_EQ(handles(scope.ctx), 3U);
  const heed::context copy = ctx;
  ctx = heed::with_value(std::move(ctx), number, 2);
  EXPECT_EQ(handles(copy), 2U);
  EXPECT_EQ(*copy.value(number), 1);
  EXPECT_EQ(*ctx.value(number), 2);
  ctx = {};
  EXPECT_EQ(handles(copy), 1U);
  EXPECT_EQ(handles(scope.ctx), 3U);
}

TEST(Leaning, GivesBackWhereAConstructorThrows) {
  struct refuses {
    explicit refuses(int) { throw std::runtime_error("no"); }
  };
  static constexpr heed::key<refuses> refused{"refused"};
  const auto [ctx, cancel] = heed::with_cancel(heed::background());
  const heed::context one = heed::with_value(ctx, number, 1);
  for (const heed::context* c : {&ctx, &one}) {
    const auto before = std::pair(handles(*c), holds(*c));
    EXPECT_THROW(static_cast<void>(heed::with_value(*c, refused, 1)), std::runtime_error);
    EXPECT_EQ(std::pair(handles(*c), holds(*c)), before);
  }
}

// The same where the constructor gives up the last handle of the parent before it throws; and where that is
// counted elsewhere (src/crowd.cpp).
TEST(Leaning, GivesBackTheLastWhereAConstructorThrows) {
  struct drops_and_throws {
    explicit drops_and_throws(heed::context* c) {
      *c = {};
      throw std::runtime_error("no");
    }
  };
  static constexpr heed::key<drops_and_throws> refused{"refused"};
  for (const bool spread : {false, true}) {
    if (spread && std::thread::hardware_concurrency() < 2) continue;  // there is no crowd
    for (const bool of_value : {false, true}) {
      const auto value = std::make_shared<int>();
      const auto function = std::make_shared<int>();
      auto scope = heed::with_cancel(heed::background());
      heed::after_func(scope.ctx, [function] {});
      scope.cancel.release();
      heed::context parent = of_value ? heed::with_value(scope.ctx, witness, value) : scope.ctx;
      scope = {};
      if (spread) {
        const heed::context second = parent;
        ASSERT_FALSE(heed::crowd::release(*heed::tree::of(parent), false));
      }
      EXPECT_THROW(static_cast<void>(heed::with_value(parent, refused, std::in_place, &parent)),
                   std::runtime_error);
      EXPECT_EQ(value.use_count(), 1);
      EXPECT_EQ(function.use_count(), 1) << "abandoned";
    }
  }
}

// Any number of values below: a child hangs on their scope, ends with it, and leaves it when it goes.
TEST(Leaning, ChildrenFindTheScope) {
  for (const bool deadline : {false, true}) {
    for (int deep = 1; deep <= 70; ++deep) {
      const auto scope = deadline ? heed::with_timeout(heed::background(), heed_test::very_long)
                                  : heed::with_cancel(heed::background());
      heed::context below = scope.ctx;
      for (int i = 0; i < deep; ++i) {
        below = i % 3 == 0 ? heed::with_value(below, text, "a text") : heed::with_value(below, number, i);
        ASSERT_EQ(heed::scope_of_value(*heed::tree::of(below)), heed::tree::of(scope.ctx)) << i;
      }
      auto child = heed::with_cancel(below);
      auto other = heed::with_timeout(below, heed_test::very_long);
      const heed::context apart = heed::with_value(heed::without_cancel(below), number, -1);
      EXPECT_EQ(heed::scope_of_value(*heed::tree::of(apart)), nullptr);
      other = {};
      heed::context lowest = child.ctx;
      child.cancel.release();
      child = {};
      scope.cancel();
      EXPECT_TRUE(below.done() && lowest.done() && !apart.done());
      below = {};
      lowest = {};
    }
  }
}

// With whatever else in between, at random.
TEST(Leaning, ValuesFindTheirScopeAnywhere) {
  struct custom final : heed::custom_context {
    explicit custom(anchor a) : custom_context(a) {}
  };
  std::mt19937 random(static_cast<unsigned>(heed_test::seed()));
  for (int round = 0; round < heed_test::scaled(200) && !HasFailure(); ++round) {
    std::vector<heed::cancelable> scopes;
    heed::context below;
    const heed::node* scope = nullptr;
    const auto in = [&](heed::cancelable&& made) {
      below = made.ctx;
      scope = heed::tree::of(below);
      scopes.push_back(std::move(made));
    };
    for (int i = 0; i < 60; ++i) {
      switch (random() % 24) {
        case 0: in(heed::with_cancel(below)); break;
        case 1: in(heed::with_timeout(below, heed_test::very_long)); break;
        case 2: in(heed::merge(below, heed::with_value(heed::background(), number, i))); break;
        case 3: in(heed::merge(below, heed::background())); break;
        case 4:
          below = heed::with_custom<custom>(below).ctx;
          scope = heed::tree::of(below);
          break;
        case 5:
          below = heed::without_cancel(below);
          scope = nullptr;
          break;
        case 6: below = heed::with_value(std::move(below), text, "moved"); break;
        case 7: below = heed::with_value(std::move(below), number, i); break;
        case 8: below = heed::with_value(below, text, "a text"); break;
        default: below = heed::with_value(below, number, i);
      }
      if (heed::tree::of(below)->what != heed::kind::value) continue;
      ASSERT_EQ(heed::scope_of_value(*heed::tree::of(below)), scope) << i;
      const auto child = heed::with_cancel(below);
      const auto timed = heed::with_timeout(below, heed_test::very_long);
    }
    EXPECT_EQ(below.cancel_possible(), scope != nullptr);
  }
}

// Chains of them go without recursion, from either end, and so does what each leans on.
TEST(Leaning, LongChainsGoOneByOne) {
  constexpr int deep = 100'000;
  const auto value = std::make_shared<int>();
  for (const bool kept_below : {false, true}) {
    auto scope = heed::with_cancel(heed::background());
    heed::context leaf = scope.ctx;
    for (int i = 0; i < deep; ++i) {
      leaf = i % 2 == 0 ? heed::with_value(leaf, witness, value) : heed::with_value(leaf, number, i);
    }
    auto child = kept_below ? heed::with_cancel(leaf) : heed::cancelable();
    leaf = {};
    EXPECT_EQ(value.use_count(), kept_below ? deep / 2 + 1 : 1);
    EXPECT_EQ(handles(scope.ctx), 2U);
    child = {};
    EXPECT_EQ(value.use_count(), 1);
    EXPECT_EQ(holds(scope.ctx), 1U);
  }
}
