// Lookups of values: that filters and indexes (src/values.hpp) never show, whatever lies on the way.
#include "support.hpp"

#include <array>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace heed_test;

struct alignas(64) wide {
  int number;
};

int number_in(const int* v) {
  return v ? *v : 0;
}
int number_in(const std::string* v) {
  return v ? std::stoi(*v) : 0;
}
int number_in(const wide* v) {
  return v ? v->number : 0;
}

// Keys side by side, of values that lie inside the node, behind it, and aligned behind it.
class key_set {
 public:
  explicit key_set(std::size_t count) {
    for (std::size_t i = 0; i < count; i += 3) {
      ints_.emplace_back("int");
      texts_.emplace_back("text");
      wides_.emplace_back("wide");
    }
  }
  heed::context with(const heed::context& parent, std::size_t k, int number) const {
    if (k % 3 == 0) return heed::with_value(parent, ints_[k / 3], number);
    if (k % 3 == 1) return heed::with_value(parent, texts_[k / 3], std::to_string(number));
    return heed::with_value(parent, wides_[k / 3], wide{number});
  }
  // The number that was given; 0: there is none.
  int number(const heed::context& ctx, std::size_t k) const {
    if (k % 3 == 0) return number_in(ctx.value(ints_[k / 3]));
    if (k % 3 == 1) return number_in(ctx.value(texts_[k / 3]));
    return number_in(ctx.value(wides_[k / 3]));
  }
  const heed::key<int>& of_int(std::size_t k) const { return ints_[k / 3]; }

 private:
  std::deque<heed::key<int>> ints_;
  std::deque<heed::key<std::string>> texts_;
  std::deque<heed::key<wide>> wides_;
};

// Knows one key.
class knowing : public heed::custom_context {
 public:
  knowing(anchor a, const heed::key<int>& key, int number) : custom_context(a), key_(key), number_(number) {}
  const void* find(const heed::key_base& k) const noexcept override {
    return &k == &key_ ? &number_ : nullptr;
  }

 private:
  const heed::key<int>& key_;
  int number_;
};

// Trees of all kinds of context, against a map for each that has all it should know.
TEST(ValueLookup, AgreesWithASlowReference) {
  std::mt19937_64 random(seed());
  const auto below = [&random](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  struct known {
    heed::context ctx;
    std::map<std::size_t, int> values;
  };
  for (int round = 0; round < scaled(60); ++round) {
    const std::size_t used = 3 + below(120);
    const key_set keys(2 * used);  // half of them stay unknown
    const std::size_t rare = 5 + below(40);
    std::deque<known> all(1);
    const auto check = [&](const known& at) {
      for (std::size_t k = 0; k < 2 * used; ++k) {
        const auto expected = at.values.find(k);
        ASSERT_EQ(keys.number(at.ctx, k), expected == at.values.end() ? 0 : expected->second)
            << "key " << k << " in " << at.ctx;
      }
    };
    for (int number = 1; number <= 250; ++number) {
      // Mostly from the last one: so it gets deep.
      const known& parent = below(8) == 0 ? all[below(all.size())] : all.back();
      known next = parent;
      const std::size_t k = below(used);
      if (below(rare) != 0) {
        next.ctx = keys.with(parent.ctx, k, number);
        next.values[k] = number;
      } else {
        switch (below(5)) {
          case 0: {
            auto c = heed::with_cancel(parent.ctx);
            if (below(2) == 0) c.cancel.release();
            next.ctx = std::move(c.ctx);
            break;
          }
          case 1: next.ctx = heed::with_timeout(parent.ctx, very_long).ctx; break;
          case 2: next.ctx = heed::without_cancel(parent.ctx); break;
          case 3: {
            const std::size_t of_int = k / 3 * 3;
            auto c = heed::with_custom<knowing>(parent.ctx, keys.of_int(of_int), number);
            next.ctx = std::move(c.ctx);
            next.values[of_int] = number;
            break;
          }
          default: {
            const known& second = all[below(all.size())];
            next.ctx = heed::merge(parent.ctx, second.ctx).ctx;
            next.values.insert(second.values.begin(), second.values.end());
          }
        }
      }
      check(next);
      all.push_back(std::move(next));
    }
    // What was made below has changed nothing above; and what is above stays when only leaves are in hand.
    for (const known& k : all) check(k);
    all.erase(all.begin(), all.end() - 1);
    check(all.front());
  }
}

// Runs of every length past the ends of filters, indexes and blocks, each key from each depth; and keys of
// which many pass the filters though they are unknown.
TEST(ValueLookup, RunsOfEveryLength) {
  constexpr std::size_t longest = 150;
  const key_set keys(longest);
  const key_set unknown(scaled(3000));
  heed::context ctx;
  for (std::size_t depth = 0; depth <= longest; ++depth) {
    if (depth > 0) ctx = keys.with(ctx, depth - 1, static_cast<int>(depth));
    const auto inner = heed::without_cancel(ctx);
    for (std::size_t k = 0; k < longest; ++k) {
      ASSERT_EQ(keys.number(ctx, k), k < depth ? static_cast<int>(k + 1) : 0)
          << "depth " << depth << ", key " << k;
      ASSERT_EQ(keys.number(inner, k), k < depth ? static_cast<int>(k + 1) : 0) << depth << ", " << k;
    }
    for (std::size_t k = 0; k < 3000U / (slower > 1 ? 10 : 1); ++k)
      ASSERT_EQ(unknown.number(ctx, k), 0) << depth;
  }
}

// A key that comes twice, at every distance: in one eight, in one block, and farther apart.
TEST(ValueLookup, NearestWinsAtEveryDistance) {
  const key_set keys(100);
  for (std::size_t above = 0; above < 20; ++above) {
    heed::context ctx;
    for (std::size_t k = 1; k <= above; ++k) ctx = keys.with(ctx, k, 1);
    ctx = keys.with(ctx, 0, 1);
    for (int distance = 1; distance < 90; ++distance) {
      const heed::context nearer = keys.with(ctx, 0, 2);
      ASSERT_EQ(keys.number(nearer, 0), 2);
      heed::context after = nearer;
      for (std::size_t k = 1; k < 20; ++k) {
        after = keys.with(after, k, 3);
        ASSERT_EQ(keys.number(after, 0), 2) << above << ", " << distance << ", " << k;
      }
      ASSERT_EQ(keys.number(ctx, 0), 1);
      ctx = keys.with(ctx, 1 + static_cast<std::size_t>(distance), 1);
    }
  }
}

// A custom context at every place in a chain, which alone knows a key, hides one and passes on the rest.
TEST(ValueLookup, PastACustomContextAnywhere) {
  constexpr std::size_t depth = 40;
  const key_set keys(3 * depth);
  for (std::size_t place = 0; place <= depth; ++place) {
    for (const std::size_t known : {std::size_t{0}, place / 3 * 3, 2 * depth / 3 * 3}) {
      heed::context ctx;
      for (std::size_t k = 0; k < place; ++k) ctx = keys.with(ctx, k, 1);
      auto c = heed::with_custom<knowing>(ctx, keys.of_int(known), 2);
      ctx = c.ctx;
      for (std::size_t k = place; k < depth; ++k) {
        ctx = keys.with(ctx, k, 3);
        for (std::size_t asked = 0; asked < 3 * depth; ++asked) {
          const int expected = asked >= place && asked <= k ? 3 : asked == known ? 2 : asked < place ? 1 : 0;
          ASSERT_EQ(keys.number(ctx, asked), expected) << place << ", " << k << ", " << asked;
        }
      }
    }
  }
}

// Filters know keys that the compiler makes by their names: those of one name are different keys all the
// same.
TEST(ValueLookup, KeysOfOneName) {
  static constexpr heed::key<int> first{"twin"};
  static constexpr heed::key<int> second{"twin"};
  static constexpr heed::key<int> never{"twin"};
  static constexpr heed::key<int> other{"other"};
  EXPECT_EQ(heed::node_head::bits_of(first), heed::node_head::bits_of(second));
  EXPECT_EQ(heed::node_head::bits_of(first) & heed::node_head::form, 0U);
  EXPECT_NE(heed::node_head::bits_of(first), heed::node_head::bits_of(other));
  const auto local = std::make_unique<heed::key<int>>("twin");  // known by its address
  const auto check = [&](const heed::context& ctx, int a, int b, int c) {
    EXPECT_EQ(number_in(ctx.value(first)), a);
    EXPECT_EQ(number_in(ctx.value(second)), b);
    EXPECT_EQ(number_in(ctx.value(*local)), c);
    EXPECT_EQ(ctx.value(never), nullptr);
  };
  for (int apart = 0; apart < 40; ++apart) {
    heed::context ctx = heed::with_value(heed::background(), first, 1);
    const auto go_on = [&](int a, int b, int c) {
      check(ctx, a, b, c);
      for (int i = 0; i < apart; ++i) {
        ctx = heed::with_value(ctx, other, i);
        check(ctx, a, b, c);
        check(heed::without_cancel(ctx), a, b, c);
      }
    };
    go_on(1, 0, 0);
    ctx = heed::with_value(ctx, second, 2);
    go_on(1, 2, 0);
    ctx = heed::with_value(ctx, *local, 3);
    go_on(1, 2, 3);
    ctx = heed::with_value(ctx, first, 4);
    go_on(4, 2, 3);
    const auto both = heed::merge(heed::with_value(heed::background(), never, 5), ctx);
    EXPECT_EQ(number_in(both.ctx.value(never)), 5);
    EXPECT_EQ(number_in(both.ctx.value(first)), 4);
    EXPECT_EQ(both.ctx.value(other) != nullptr, apart > 0);
  }
}

// A key that is used before its constructor has run, or whose name the compiler does not know, has no bits
// yet.
extern const char known_later[];                // NOLINT: that is what is tested
const heed::key<int> named_later{known_later};  // constexpr, too, but for what gcc says to it with sanitizers
const char known_later[] = "later";

TEST(ValueLookup, KeysWithoutBits) {
  static constexpr heed::key<int> other{"other"};
  EXPECT_STREQ(named_later.name(), "later");
  // Zeros, as static storage has before it is initialized.
  alignas(heed::key<int>) std::array<unsigned char, sizeof(heed::key<int>)> room{};
  const auto& early = reinterpret_cast<const heed::key<int>&>(room);
  for (int before = 0; before < 40; ++before) {
    heed::context ctx = heed::background();
    for (int i = 0; i < before; ++i) ctx = heed::with_value(ctx, other, i);
    EXPECT_EQ(ctx.value(named_later), nullptr);
    ctx = heed::with_value(ctx, named_later, 1);
    room.fill(0);
    ctx = heed::with_value(ctx, early, 2);
    ::new (room.data()) heed::key<int>("early");
    for (int after = 0; after < 20; ++after) {
      EXPECT_EQ(number_in(ctx.value(named_later)), 1) << before << ", " << after;
      EXPECT_EQ(number_in(ctx.value(early)), 2) << before << ", " << after;
      ctx = heed::with_value(ctx, other, after);
    }
  }
}

// A key that is gone is neither read by lookups nor when values are added below (a sanitizer would see it).
TEST(ValueLookup, DeadKeysAreNotRead) {
  std::vector<std::unique_ptr<heed::key<int>>> dying;
  static constexpr heed::key<int> top{"top"};
  static constexpr heed::key<int> bottom{"bottom"};
  static constexpr heed::key<int> unknown{"unknown"};
  heed::context ctx = heed::with_value(heed::background(), top, 1);
  for (int i = 0; i < 30; ++i) {
    auto key = std::make_unique<heed::key<int>>("short-lived");
    ctx = heed::with_value(ctx, *key, 2);
    EXPECT_EQ(*ctx.value(*key), 2);
  }
  for (int i = 0; i < 60; ++i) {
    ctx = heed::with_value(ctx, bottom, i);
    EXPECT_EQ(*ctx.value(top), 1);
    EXPECT_EQ(*ctx.value(bottom), i);
    EXPECT_EQ(ctx.value(unknown), nullptr);
  }
  const auto both = heed::merge(ctx, heed::with_value(heed::background(), unknown, 3));
  EXPECT_EQ(*both.ctx.value(unknown), 3);
  EXPECT_EQ(*both.ctx.value(top), 1);
}

// Threads look up, and derive, below one chain: nothing of it is written to any more.
TEST(ValueLookup, ByManyThreads) {
  constexpr std::size_t depth = 40;
  const key_set keys(2 * depth);
  heed::context shared;
  for (std::size_t k = 0; k < depth; ++k) shared = keys.with(shared, k, 1);
  std::atomic<int> wrong{0};
  {
    std::vector<thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        heed::context mine = shared;
        for (std::size_t k = depth; k < 2 * depth; ++k) {
          mine = keys.with(mine, k, 2);
          for (std::size_t asked = 0; asked < 2 * depth; ++asked)
            wrong += keys.number(mine, asked) != (asked < depth ? 1 : asked <= k ? 2 : 0);
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
