// What hangs on a context (H1 to H3 of shard.hpp), and how it keeps it (L1, L2 of tree.hpp).
#include "hanging.hpp"

#include "../support.hpp"

#include <heed/heed.hpp>
#include <heed/inspect.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

namespace {

heed::cancel_node& node_of(const heed::context& ctx) {
  return *heed::node_of(heed::tree::scope_of(ctx));
}

// All children, found through the lists; each knows its own place.
std::multiset<heed::cancel_node*> children_of(const heed::context& ctx) {
  heed::cancel_node& n = node_of(ctx);
  std::multiset<heed::cancel_node*> all;
  if ((n.word.load() & heed::word::hooks) == 0) return all;
  for (unsigned i = 0; i < heed::shard_count(n); ++i) {
    heed::shard& s = heed::lock_shard(n, i);
    const heed::locked guard(s.lock, heed::locked::already);
    const heed::children_of_shard now = s.children;
    if (now.single()) all.insert(now.single());
    for (heed::chunk* c = now.chunks(); c; c = c->older) {
      EXPECT_GT(c->count, 0U);
      EXPECT_TRUE(c == now.chunks() || c->count == heed::chunk::room) << "H3: no holes";
      for (std::size_t k = 0; k < c->count; ++k) {
        EXPECT_EQ(c->at[k]->slot, &c->at[k]);
        EXPECT_EQ(heed::number_of(*c->at[k]), i);
        all.insert(c->at[k]);
      }
    }
  }
  return all;
}

// Has a second thread find the context's lock taken, and so split it. False: on one CPU nothing is ever
// split.
bool split(const heed::context& ctx) {
  heed::cancel_node& n = node_of(ctx);
  heed::lock_own(n);
  std::atomic<bool> started{false};
  std::thread other([&] {
    started = true;
    const auto child = heed::with_cancel(ctx);
  });
  while (!started) std::this_thread::yield();
  // The other one may still be before its attempt; then nothing is split, and we try again.
  std::this_thread::yield();
  n.own.lock.unlock();
  other.join();
  return heed::shard_count(n) > 1;
}

void split_surely(const heed::context& ctx) {
  while (!split(ctx)) {}
}

bool has_one_cpu() {
  return std::thread::hardware_concurrency() < 2;
}

// A value that tells when its context goes.
struct witness {
  explicit witness(bool& g) : gone(&g) {}
  witness(witness&& o) noexcept : gone(std::exchange(o.gone, nullptr)) {}
  ~witness() {
    if (gone) *gone = true;
  }
  bool* gone;
};
constexpr heed::key<witness> witness_key{"witness"};

}  // namespace

// Random coming and going, compared with a plain list.
TEST(Shard, ChildrenComeAndGo) {
  std::mt19937 random(static_cast<unsigned>(heed_test::seed()));
  for (const bool shared : {false, true}) {
    if (shared && has_one_cpu()) continue;
    auto [parent, cancel] = heed::with_cancel(heed::background());
    std::vector<heed::cancelable> mine;
    if (shared) {
      for (int i = 0; i < 3; ++i) mine.push_back(heed::with_cancel(parent));
      split_surely(parent);
    }
    for (int step = 0; step < 3000; ++step) {
      const bool grow = random() % 100 < (step / 500 % 2 ? 35U : 65U);
      if (grow) {
        mine.push_back(heed::with_cancel(parent));
      } else if (!mine.empty()) {
        std::swap(mine[random() % mine.size()], mine.back());
        mine.pop_back();
      }
      if (step % 16 == 0) {
        std::multiset<heed::cancel_node*> expected;
        for (const auto& c : mine) expected.insert(&node_of(c.ctx));
        ASSERT_EQ(children_of(parent), expected) << step;
      }
    }
    cancel("end");
    for (const auto& c : mine) {
      EXPECT_TRUE(c.ctx.done());
      EXPECT_EQ(c.ctx.cause().message(), "end");
    }
    EXPECT_TRUE(children_of(parent).empty());
  }
}

// L1: when the last handle has gone, whatever hangs there keeps the context, in whichever shard; and the last
// of it to go takes it along.
TEST(Shard, WhatHangsThereKeepsItWhenTheHandlesAreGone) {
  for (const bool shared : {false, true}) {
    if (shared && has_one_cpu()) continue;
    for (const bool cancel_first : {false, true}) {
      for (const bool callback_last : {false, true}) {
        bool gone = false;
        std::vector<heed::cancelable> children;
        std::optional<heed::cancel_callback<void (*)()>> callback;
        {
          auto above = heed::with_value(heed::background(), witness_key, witness(gone));
          auto [parent, cancel] = heed::with_cancel(above);
          above = {};
          for (int i = 0; i < 20; ++i) children.push_back(heed::with_cancel(parent));
          callback.emplace(parent, +[] {});
          if (shared) split_surely(parent);
          for (int i = 0; i < 20; ++i) children.push_back(heed::with_cancel(parent));
          if (!cancel_first) cancel.release();
        }
        if (callback_last) children.clear();
        EXPECT_FALSE(gone);
        callback.reset();
        if (!callback_last) {
          EXPECT_FALSE(gone);
          while (children.size() > 1) children.pop_back();
          EXPECT_FALSE(gone);
          EXPECT_NE(children[0].ctx.value(witness_key), nullptr);
          EXPECT_EQ(children[0].ctx.done(), cancel_first);
          children.clear();
        }
        EXPECT_TRUE(gone);
      }
    }
  }
}

// L2: below a value a child does not ride; the value is what keeps the context.
TEST(Shard, ChildrenBelowValuesHoldTheValue) {
  static constexpr heed::key<int> k{"k"};
  for (const bool last_is_child : {false, true}) {
    bool gone = false;
    heed::cancelable below_value;
    heed::cancelable riding;
    {
      auto [parent, cancel] =
          heed::with_cancel(heed::with_value(heed::background(), witness_key, witness(gone)));
      cancel.release();
      below_value = heed::with_cancel(heed::with_value(parent, k, 7));
      riding = heed::with_cancel(parent);
    }
    if (last_is_child) {
      below_value = {};
      EXPECT_FALSE(gone);
      riding = {};
    } else {
      riding = {};
      EXPECT_EQ(*below_value.ctx.value(k), 7);
      EXPECT_FALSE(gone);
      below_value = {};
    }
    EXPECT_TRUE(gone);
  }
}

// H2: a context that is split while others come, go, and end it.
TEST(Shard, SplitUnderThreads) {
  for (int round = 0; round < 200; ++round) {
    auto [parent, cancel] = heed::with_cancel(heed::background());
    std::atomic<int> ran{0};
    std::atomic<int> registered{0};
    std::atomic<bool> go{false};
    std::atomic<bool> returned{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, ctx = parent] {
        while (!go) std::this_thread::yield();
        std::vector<heed::cancelable> kept;
        while (!ctx.done()) {
          auto child = heed::with_cancel(ctx);
          const heed::cancel_callback passing(ctx, [] {});
          if (kept.size() < 30) kept.push_back(std::move(child));
        }
        const heed::cancel_callback late(ctx, [&ran] { ++ran; });
        ++registered;
        while (!returned) std::this_thread::yield();
        for (const auto& c : kept) EXPECT_EQ(c.ctx.err(), heed::errc::canceled);
      });
    }
    go = true;
    for (int i = 0; i < 20; ++i) std::this_thread::yield();
    cancel();
    returned = true;
    EXPECT_TRUE(children_of(parent).empty()) << "I3";
    for (auto& t : threads) t.join();
    EXPECT_EQ(ran, registered);
  }
}

// Everything that goes through the lists also finds what hangs in the shards of a table.
TEST(Shard, TableIsSeenByAll) {
  if (has_one_cpu()) GTEST_SKIP() << "nothing is split on one CPU";
  auto [parent, cancel] = heed::with_cancel(heed::background());
  auto before = heed::with_cancel(parent);
  int called = 0;
  const heed::cancel_callback first(parent, [&called] { ++called; });
  split_surely(parent);
  auto after = heed::with_cancel(parent);
  const heed::cancel_callback second(parent, [&called] { ++called; });
  const auto tally = heed::tree::count_callbacks(node_of(parent));
  EXPECT_EQ(tally.callbacks, 2U);
  std::ostringstream out;
  heed::dump(out, parent);
  const std::string picture = out.str();
  std::size_t lines = 0;
  for (std::size_t at = picture.find("with_cancel"); at != picture.npos;
       at = picture.find("with_cancel", at + 1))
    ++lines;
  EXPECT_GE(lines, 3U) << picture;
  cancel();
  EXPECT_EQ(called, 2);
  EXPECT_TRUE(before.ctx.done());
  EXPECT_TRUE(after.ctx.done());
}

// Nothing is spent on it before threads meet (and nothing afterwards on contexts that they did not meet on).
TEST(Shard, NoTableWithoutContention) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  std::vector<heed::cancelable> children;
  for (int i = 0; i < 1000; ++i) children.push_back(heed::with_cancel(parent));
  EXPECT_EQ(heed::shard_count(node_of(parent)), 1U);
}
