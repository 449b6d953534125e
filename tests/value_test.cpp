// Values and keys: what may be a value, who finds it, how long it lives.
#include "support.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace heed_test;
using heed::errc;

constexpr heed::key<int> a_key{"a"};
constexpr heed::key<int> b_key{"b"};
constexpr heed::key<std::string> text_key{"text"};
constexpr heed::key<tracked> tracked_key{"tracked"};

TEST(Key, NameAndIdentity) {
  static_assert(!std::is_copy_constructible_v<heed::key<int>> &&
                !std::is_move_constructible_v<heed::key<int>>);
  static_assert(!std::is_copy_assignable_v<heed::key<int>> && !std::is_move_assignable_v<heed::key<int>>);
  EXPECT_STREQ(a_key.name(), "a");
  static constexpr heed::key<int> twin{"a"};
  const heed::context ctx = heed::with_value(heed::background(), a_key, 1);
  EXPECT_EQ(*ctx.value(a_key), 1);
  EXPECT_EQ(ctx.value(twin), nullptr) << "the same type and name, another key";
}

TEST(Value, NearestWins) {
  const heed::context one = heed::with_value(heed::background(), a_key, 1);
  const heed::context other = heed::with_value(one, b_key, 2);
  const heed::context hidden = heed::with_value(other, a_key, 3);
  EXPECT_EQ(*one.value(a_key), 1);
  EXPECT_EQ(one.value(b_key), nullptr);
  EXPECT_EQ(*other.value(a_key), 1);
  EXPECT_EQ(*hidden.value(a_key), 3);
  EXPECT_EQ(*hidden.value(b_key), 2);
  EXPECT_EQ(*one.value(a_key), 1) << "what is below does not show above";
}

TEST(Value, OneObjectForAllBelow) {
  auto top = heed::with_cancel(heed::with_value(heed::background(), text_key, "one"));
  auto below = heed::with_timeout(heed::without_cancel(top.ctx), very_long);
  EXPECT_EQ(below.ctx.value(text_key), top.ctx.value(text_key));
  top.cancel();
  below.cancel();
  EXPECT_EQ(*below.ctx.value(text_key), "one") << "values stay when the context is done";
}

TEST(Value, BelowADoneParent) {
  auto c = heed::with_cancel(heed::background());
  c.cancel();
  const heed::context ctx = heed::with_value(c.ctx, a_key, 5);
  EXPECT_TRUE(is_done(ctx, errc::canceled));
  EXPECT_EQ(*ctx.value(a_key), 5);
}

// A long chain: every layer finds exactly what lies at and above it, whatever the library indexes.
TEST(Value, ChainOfManyKeys) {
  std::mt19937_64 random(seed());
  std::deque<heed::key<std::size_t>> keys;
  for (int i = 0; i < 60; ++i) keys.emplace_back("k");
  const heed::key<std::size_t> absent("absent");
  std::vector<heed::context> layers{heed::background()};
  std::vector<std::vector<std::size_t>> expected{std::vector<std::size_t>(keys.size(), 0)};
  for (std::size_t i = 1; i <= 300; ++i) {
    const std::size_t k = std::uniform_int_distribution<std::size_t>(0, keys.size() - 1)(random);
    heed::context next = heed::with_value(layers.back(), keys[k], i);
    if (i % 7 == 0) next = heed::without_cancel(next);
    if (i % 11 == 0) {
      auto c = heed::with_cancel(next);
      next = c.ctx;
    }
    layers.push_back(next);
    expected.push_back(expected.back());
    expected.back()[k] = i;
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    EXPECT_EQ(layers[i].value(absent), nullptr);
    for (std::size_t k = 0; k < keys.size(); ++k) {
      const std::size_t* found = layers[i].value(keys[k]);
      ASSERT_EQ(found ? *found : 0, expected[i][k]) << "layer " << i << ", key " << k;
    }
  }
}

TEST(Value, MadeFromAnythingThatMakesAT) {
  static constexpr heed::key<std::optional<std::string>> optional_key{"optional"};
  static constexpr heed::key<std::vector<int>> vector_key{"vector"};
  static constexpr heed::key<double> double_key{"double"};
  std::string lvalue = "lvalue";
  const heed::context root;
  EXPECT_EQ(*heed::with_value(root, text_key, "literal").value(text_key), "literal");
  EXPECT_EQ(*heed::with_value(root, text_key, lvalue).value(text_key), "lvalue");
  EXPECT_EQ(lvalue, "lvalue") << "copied";
  EXPECT_EQ(*heed::with_value(root, text_key, std::move(lvalue)).value(text_key), "lvalue");
  EXPECT_EQ(*heed::with_value(root, text_key, {}).value(text_key), "") << "an empty T";
  EXPECT_EQ(**heed::with_value(root, optional_key, "engaged").value(optional_key), "engaged");
  EXPECT_EQ(*heed::with_value(root, optional_key, std::nullopt).value(optional_key), std::nullopt);
  EXPECT_EQ(heed::with_value(root, vector_key, {1, 2, 3}).value(vector_key)->size(), 3U);
  EXPECT_EQ(*heed::with_value(root, double_key, 1.5F).value(double_key), 1.5);
}

TEST(Value, MoveOnly) {
  static constexpr heed::key<std::unique_ptr<int>> key{"owned"};
  const heed::context ctx = heed::with_value(heed::background(), key, std::make_unique<int>(7));
  EXPECT_EQ(**ctx.value(key), 7);
}

struct immovable {
  immovable(int a, std::string b) : number(a), text(std::move(b)) {}
  immovable(const immovable&) = delete;
  immovable& operator=(const immovable&) = delete;
  const immovable* self = this;
  int number;
  std::string text;
};

TEST(Value, ImmovableInPlace) {
  static constexpr heed::key<immovable> key{"immovable"};
  const heed::context ctx = heed::with_value(heed::background(), key, std::in_place, 7, "seven");
  const immovable* value = ctx.value(key);
  EXPECT_EQ(value->number, 7);
  EXPECT_EQ(value->text, "seven");
  EXPECT_EQ(value->self, value);
  EXPECT_EQ(*heed::with_value(ctx, text_key, std::in_place, std::size_t(3), 'x').value(text_key), "xxx");
  EXPECT_EQ(*heed::with_value(ctx, text_key, std::in_place).value(text_key), "");
  const std::in_place_t tag;
  EXPECT_EQ(*heed::with_value(ctx, a_key, tag, 9).value(a_key), 9);
}

template <std::size_t Align>
void expect_aligned() {
  struct alignas(Align) aligned {
    std::array<char, 3> bytes{'x', 'y', 'z'};
  };
  static constexpr heed::key<aligned> key{"aligned"};
  std::vector<heed::context> several{heed::background()};
  for (int i = 0; i < 5; ++i) several.push_back(heed::with_value(several.back(), key, aligned()));
  for (std::size_t i = 1; i < several.size(); ++i) {
    const aligned* value = several[i].value(key);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(value) % Align, 0U) << Align;
    EXPECT_EQ(value->bytes[2], 'z');
  }
}

TEST(Value, OverAligned) {
  expect_aligned<1>();
  expect_aligned<16>();
  expect_aligned<32>();
  expect_aligned<64>();
  expect_aligned<256>();
  expect_aligned<4096>();
}

TEST(Value, OfEverySize) {
  static constexpr heed::key<std::array<char, 1>> small{"small"};
  static constexpr heed::key<std::array<std::uint64_t, 8192>> large{"large"};
  struct empty {};
  static constexpr heed::key<empty> none{"empty"};
  heed::context ctx = heed::with_value(heed::background(), large, std::in_place);
  ctx = heed::with_value(ctx, small, std::array{'x'});
  ctx = heed::with_value(ctx, none, empty());
  EXPECT_EQ((*ctx.value(large))[8191], 0U);
  EXPECT_EQ((*ctx.value(small))[0], 'x');
  EXPECT_NE(ctx.value(none), nullptr);
}

// Made by copying its bytes, or by a constructor that may throw; and known by its number.
template <std::size_t size, bool by_bytes>
struct sized {
  std::array<unsigned char, size> all{};
  sized() = default;
  explicit sized(unsigned char n) { all.fill(n); }
};
template <std::size_t size>
struct sized<size, false> {
  std::array<unsigned char, size> all{};
  static inline int alive = 0;
  static inline bool fails = false;
  explicit sized(unsigned char n) {
    if (fails) throw std::runtime_error("sized");
    all.fill(n);
    ++alive;
  }
  sized(const sized&) = delete;
  sized& operator=(const sized&) = delete;
  ~sized() { --alive; }
};

// Long enough for each kind of place in a run: values with an index, those after it, and those that lie far
// from the first.
template <std::size_t size, bool by_bytes>
void expect_found_in_a_long_chain(const heed::context& root) {
  using type = sized<size, by_bytes>;
  constexpr unsigned char length = 40;
  std::deque<heed::key<type>> keys;
  std::vector<heed::context> chain{root};
  for (unsigned char n = 0; n < length; ++n) {
    const heed::key<type>& key = keys.emplace_back("sized");
    if constexpr (by_bytes) {
      chain.push_back(heed::with_value(chain.back(), key, type(n)));
    } else {
      type::fails = true;
      EXPECT_THROW(static_cast<void>(heed::with_value(chain.back(), key, n)), std::runtime_error);
      type::fails = false;
      chain.push_back(heed::with_value(chain.back(), key, n));
    }
    for (unsigned char m = 0; m <= n; ++m) {
      const type* found = chain.back().value(keys[m]);
      ASSERT_NE(found, nullptr) << size << " bytes, " << int(m) << " of " << int(n);
      ASSERT_EQ(found->all, type(m).all) << size << " bytes, " << int(m) << " of " << int(n);
    }
  }
  if constexpr (!by_bytes) {
    EXPECT_EQ(type::alive, length);
    chain = {chain.back()};  // which keeps them all
    EXPECT_EQ(type::alive, length);
    chain.clear();
    EXPECT_EQ(type::alive, 0);
  }
}

TEST(Value, OfEverySizeInALongChain) {
  const auto each = []<std::size_t... sizes>(const heed::context& root, std::index_sequence<sizes...>) {
    (expect_found_in_a_long_chain<sizes, true>(root), ...);
    (expect_found_in_a_long_chain<sizes, false>(root), ...);
  };
  using sizes = std::index_sequence<1, 3, 4, 5, 8, 9, 12, 16, 24, 31, 32, 33, 64, 200, 500>;
  each(heed::background(), sizes());
  const heed::cancelable scope = heed::with_cancel(heed::background());
  each(scope.ctx, sizes());
}

// What a copy of its bytes would not see, or its address not be.
struct in_its_place {
  explicit in_its_place(int n) noexcept : number(n), self(this) {}
  int number;
  const in_its_place* self;
};
struct without_address {
  int number;
  void operator&() const = delete;
};

TEST(Value, MadeWhereItStays) {
  const heed::key<in_its_place> k("in its place");
  const heed::context ctx = heed::with_value(heed::background(), k, 7);
  EXPECT_EQ(ctx.value(k)->self, ctx.value(k));
  const heed::key<without_address> w("without address");
  EXPECT_EQ(heed::with_value(heed::background(), w, without_address{3}).value(w)->number, 3);
}

TEST(Value, FunctionsAndPointersAreValues) {
  static constexpr heed::key<std::function<int()>> function_key{"function"};
  static constexpr heed::key<int*> pointer_key{"pointer"};
  static constexpr heed::key<heed::context> context_key{"context"};
  int target = 5;
  heed::context ctx = heed::with_value(heed::background(), function_key, [] { return 42; });
  ctx = heed::with_value(ctx, pointer_key, &target);
  ctx = heed::with_value(ctx, context_key, heed::todo());
  EXPECT_EQ((*ctx.value(function_key))(), 42);
  **ctx.value(pointer_key) = 6;
  EXPECT_EQ(target, 6);
  EXPECT_EQ(*ctx.value(context_key), heed::todo());
}

TEST(Value, DestroyedOnceWithTheLastThatNeedsIt) {
  std::atomic<int> alive = 0;
  heed::context below;
  {
    const heed::context ctx = heed::with_value(heed::background(), tracked_key, tracked(alive));
    const heed::context copy = ctx;  // NOLINT(performance-unnecessary-copy-initialization)
    auto c = heed::with_cancel(copy);
    below = heed::with_value(c.ctx, a_key, 1);
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 1);
  below = {};
  EXPECT_EQ(alive, 0) << "less than 0: destroyed more than once";
}

TEST(Value, DestroyedOnceByWhicheverThreadIsLast) {
  for (int i = 0; i < 200; ++i) {
    std::atomic<int> alive = 0;
    {
      auto ctx = heed::with_value(heed::background(), tracked_key, tracked(alive));
      const thread t1([mine = ctx]() mutable { mine = {}; });
      const thread t2([mine = heed::with_value(ctx, a_key, 1)]() mutable { mine = {}; });
      ctx = {};
    }
    ASSERT_EQ(alive, 0);
  }
}

// Of a parent that is moved from, whoever else has it, and wherever in a run it lies.
template <class Number>
void expect_chain_of_moved() {
  std::deque<heed::key<Number>> keys;
  while (keys.size() < 40) keys.emplace_back("moved");
  std::atomic<int> alive = 0;
  for (const bool shared : {false, true}) {
    heed::context ctx = heed::with_value(heed::background(), tracked_key, tracked(alive));
    std::vector<heed::context> others;
    for (Number i = 0; i < 40; ++i) {
      if (shared) others.push_back(ctx);
      heed::context next = heed::with_value(std::move(ctx), keys[i], i);
      EXPECT_EQ(ctx, heed::background());  // NOLINT(bugprone-use-after-move)
      ctx = std::move(next);
      for (Number k = 0; k <= i; ++k) ASSERT_EQ(*ctx.value(keys[k]), k);
    }
    EXPECT_NE(ctx.value(tracked_key), nullptr);
    others.clear();
    EXPECT_EQ(alive, 1);
    ctx = heed::with_value(std::move(ctx), text_key, "text");
    EXPECT_EQ(*ctx.value(text_key) + std::to_string(*ctx.value(keys[39])), "text39");
    ctx = {};
    EXPECT_EQ(alive, 0);
  }
}
TEST(Value, OfAParentThatIsMoved) {
  expect_chain_of_moved<std::uint32_t>();
  expect_chain_of_moved<std::uint64_t>();
  EXPECT_EQ(*heed::with_value(heed::with_value(heed::background(), a_key, 1), b_key, 2).value(a_key), 1);
}

// What the parent's handle did for the context that it is on, the child's does.
TEST(Value, OfAParentThatIsMovedKeepsItsScope) {
  std::atomic<int> alive = 0;
  auto scope = heed::with_cancel(heed::background());
  heed::after_func(scope.ctx, [token = std::make_shared<tracked>(alive)] {});
  heed::context ctx = heed::with_value(scope.ctx, a_key, 1);
  ctx = heed::with_value(std::move(ctx), b_key, 2);
  scope.cancel.release();
  scope.ctx = {};
  EXPECT_EQ(alive, 1) << "with_cancel() below it may still be asked for, and so on";
  {
    const auto child = heed::with_cancel(ctx);
    EXPECT_FALSE(child.ctx.done());
  }
  ctx = {};
  EXPECT_EQ(alive, 0) << "nobody has it in hand any more";
}

struct throwing {
  explicit throwing(std::atomic<int>& alive) : first(alive) { throw std::runtime_error("no"); }
  tracked first;
};

TEST(Value, ConstructorThrows) {
  static constexpr heed::key<throwing> key{"throwing"};
  std::atomic<int> alive = 0;
  auto c = heed::with_cancel(heed::background());
  EXPECT_THROW(static_cast<void>(heed::with_value(c.ctx, key, alive)), std::runtime_error);
  EXPECT_THROW(static_cast<void>(heed::with_value(c.ctx, key, std::in_place, alive)), std::runtime_error);
  EXPECT_EQ(alive, 0);
  EXPECT_TRUE(is_live(c.ctx));
  EXPECT_TRUE(c.cancel());
}

// A destructor is foreign code that runs with no lock held: it may use the library, on its own ancestors too.
struct busy {
  heed::context parent;
  heed::canceler cancel;
  int* destroyed;
  busy(heed::context p, heed::canceler c, int* d)
      : parent(std::move(p)), cancel(std::move(c)), destroyed(d) {}
  busy(const busy&) = delete;
  busy& operator=(const busy&) = delete;
  ~busy() {
    auto child = heed::with_timeout(parent, very_long);
    const heed::context value = heed::with_value(child.ctx, a_key, 1);
    const heed::stop_func stop = heed::after_func(child.ctx, [] {});
    EXPECT_TRUE(stop());
    {
      const heed::cancel_callback callback(value, [this] { ++*destroyed; });
      EXPECT_TRUE(cancel());
    }
    EXPECT_TRUE(is_done(value, errc::canceled));
  }
};

TEST(Value, DestructorUsesTheLibrary) {
  static constexpr heed::key<busy> key{"busy"};
  int destroyed = 0;
  auto parent = heed::with_cancel(heed::background());
  heed::context ctx =
      heed::with_value(parent.ctx, key, std::in_place, parent.ctx, parent.cancel.share(), &destroyed);
  auto below = heed::with_cancel(ctx);
  ctx = {};
  below.cancel();
  below.ctx = {};
  EXPECT_EQ(destroyed, 0);
  below.cancel = {};
  EXPECT_EQ(destroyed, 1);
  EXPECT_TRUE(is_done(parent.ctx, errc::canceled));
}

// A value that holds the last handle of another chain, and that one another, and so on.
TEST(Value, ChainsHeldByValues) {
  static constexpr heed::key<heed::context> key{"context"};
  std::atomic<int> alive = 0;
  heed::context ctx = heed::with_value(heed::background(), tracked_key, tracked(alive));
  for (int i = 0; i < 1000; ++i) ctx = heed::with_value(heed::background(), key, ctx);
  EXPECT_EQ(alive, 1);
  ctx = {};
  EXPECT_EQ(alive, 0);
}

// How a value looks in to_string().
struct with_adl {};
std::string to_string(const with_adl&) {
  return "by adl";
}
struct with_member {
  std::string to_string() const { return "by member"; }
};
struct convertible {
  operator std::string() const { return "by conversion"; }
};
struct opaque {};

template <class T, class V>
std::string printed(V&& value) {
  static constexpr heed::key<T> key{"k"};
  const std::string text = heed::with_value(heed::background(), key, std::forward<V>(value)).to_string();
  const std::string_view before = "background.with_value(k, ";
  EXPECT_EQ(text.substr(0, before.size()), before);
  EXPECT_EQ(text.back(), ')');
  return text.substr(before.size(), text.size() - before.size() - 1);
}

TEST(Value, Printed) {
  EXPECT_EQ(printed<std::string>("ann"), "ann");
  EXPECT_EQ(printed<std::string_view>("ann"), "ann");
  EXPECT_EQ(printed<const char*>("ann"), "ann");
  EXPECT_EQ(printed<const char*>(nullptr), "null");
  EXPECT_EQ(printed<std::nullptr_t>(nullptr), "null");
  EXPECT_EQ(printed<int>(-7), "-7");
  EXPECT_EQ(printed<std::uint64_t>(~std::uint64_t(0)), "18446744073709551615");
  EXPECT_EQ(printed<bool>(true), "true");
  EXPECT_EQ(printed<bool>(false), "false");
  EXPECT_EQ(printed<with_adl>(with_adl()), "by adl");
  EXPECT_EQ(printed<with_member>(with_member()), "by member");
  EXPECT_EQ(printed<convertible>(convertible()), "by conversion");
  const std::string name = printed<opaque>(opaque());
  EXPECT_NE(name.find("opaque"), std::string::npos) << name;
  EXPECT_EQ(name.find('['), std::string::npos) << name;
  const std::string nested = printed<std::vector<opaque>>(std::vector<opaque>());
  EXPECT_NE(nested.find("vector"), std::string::npos) << nested;
}

}  // namespace

// T's constructor is foreign code: it may also change the very handle that the new context is made from.
TEST(Value, ConstructorMayReplaceTheParentsHandle) {
  struct replacing {
    replacing(heed::context& handle, const heed::context& other) { handle = other; }
    replacing(const replacing&) = delete;
    replacing& operator=(const replacing&) = delete;
  };
  static constexpr heed::key<replacing> k{"replacing"};
  auto first = heed::with_cancel(heed::background());
  auto second = heed::with_cancel(heed::background());
  heed::context parent = first.ctx;
  const heed::context child = heed::with_value(parent, k, std::in_place, parent, second.ctx);
  EXPECT_EQ(parent, second.ctx);
  second.cancel();
  EXPECT_FALSE(child.done());
  first.cancel();
  EXPECT_TRUE(child.done());
}
