// What the public face does not show: who hangs under whom, who holds whom, and how large it all is.
#include "hanging.hpp"
#include "values.hpp"

#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <deque>
#include <string>
#include <thread>

using namespace std::chrono_literals;

namespace {

heed::cancel_node& node_of(const heed::context& ctx) {
  return *heed::node_of(heed::tree::scope_of(ctx));
}

int children_of(const heed::context& ctx) {
  heed::cancel_node& n = node_of(ctx);
  int count = 0;
  if ((n.word.load() & heed::word::hooks) == 0) return count;
  for (unsigned i = 0; i < heed::shard_count(n); ++i) {
    heed::shard& s = heed::lock_shard(n, i);
    const heed::locked guard(s.lock, heed::locked::already);
    const heed::children_of_shard all = s.children;
    count += all.single() ? 1 : 0;
    for (auto* c = all.chunks(); c; c = c->older) count += static_cast<int>(c->count);
  }
  return count;
}

}  // namespace

// Bytes are a promise (docs/decisions.md): a field more shows here.
TEST(Tree, SizesOfNodes) {
  EXPECT_EQ(sizeof(heed::context), 2 * sizeof(void*));
  EXPECT_EQ(sizeof(heed::error), sizeof(void*));
  if (sizeof(void*) == 8) {
    EXPECT_LE(sizeof(heed::value_node), 48U);  // an int needs no more
    EXPECT_LE(sizeof(heed::cancel_node), 80U);
    EXPECT_LE(sizeof(heed::deadline_node), 112U);
  }
}

// Go's TestParentFinishesChild and TestCancelRemoves look at the same list.
TEST(Tree, ParentListsItsCancelableChildrenOnly) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  EXPECT_EQ(children_of(parent), 0);
  {
    auto [child, cancel_child] = heed::with_cancel(parent);
    static constexpr heed::key<int> k{"k"};
    const auto value = heed::with_value(parent, k, 1);
    auto [timed, cancel_timed] = heed::with_timeout(value, 1h);
    EXPECT_EQ(children_of(parent), 2) << "below a value it hangs under the value's scope";
    const auto apart = heed::without_cancel(parent);
    auto [unrelated, cancel_unrelated] = heed::with_cancel(apart);
    EXPECT_EQ(children_of(parent), 2);
  }
  EXPECT_EQ(children_of(parent), 0);
  auto kept = heed::with_cancel(parent);
  cancel();
  EXPECT_EQ(children_of(parent), 0) << "a cancel takes all off";
}

// Invariant 3: a canceled child leaves at the latest with its last handle, though its own child keeps its
// memory.
TEST(Tree, CanceledChildLeavesWithItsLastHandle) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  auto child = heed::with_cancel(parent);
  auto grandchild = heed::with_cancel(child.ctx);
  child.cancel();
  { const auto last = std::move(child); }
  EXPECT_EQ(children_of(parent), 0);
  EXPECT_TRUE(grandchild.ctx.done());
}

// Invariant 9, L1, L2: a child's memory does not wait for its parent; a parent's waits for what hangs on it,
// without counting that while it has handles.
TEST(Tree, MemoryGoesWithTheLastHandle) {
  auto parent = heed::with_cancel(heed::background());
  heed::cancel_node& p = node_of(parent.ctx);
  EXPECT_EQ(p.holds, 1U);
  EXPECT_EQ(p.handles, 2U);
  {
    auto child = heed::with_cancel(parent.ctx);
    EXPECT_EQ(p.holds, 1U);
    EXPECT_EQ(p.handles, 2U);
    EXPECT_EQ(node_of(child.ctx).handles, 2U | heed::node::up);
    const heed::context copy = child.ctx;
    EXPECT_EQ(node_of(child.ctx).handles, 3U | heed::node::up);
    const heed::cancel_callback cb(parent.ctx, [] {});
    EXPECT_EQ(p.holds, 1U);
    const heed::context apart = heed::without_cancel(parent.ctx);
    EXPECT_EQ(p.holds, 2U);
  }
  EXPECT_EQ(p.holds, 1U);
}

// A moved handle costs nothing, and the handles of a value count as one on its scope (more:
// leaning_test.cpp).
TEST(Tree, HandlesOfAValueCountAsOneOnItsScope) {
  static constexpr heed::key<int> k{"k"};
  auto c = heed::with_cancel(heed::background());
  heed::cancel_node& n = node_of(c.ctx);
  {
    const auto value = heed::with_value(c.ctx, k, 1);
    const auto copy = value;
    EXPECT_EQ(n.handles, 3U);
    EXPECT_EQ(n.holds, 1U);
  }
  EXPECT_EQ(n.handles, 2U);
  EXPECT_EQ(n.holds, 1U);
}

// Which entries are on whose list: a merge is a child of its first parent, a tether stands for it at the
// second.
TEST(Tree, MergeLeavesBothParents) {
  auto [a, cancel_a] = heed::with_cancel(heed::background());
  auto [b, cancel_b] = heed::with_cancel(heed::background());
  {
    auto merged = heed::merge(a, b);
    EXPECT_EQ(children_of(a), 1);
    EXPECT_EQ(children_of(b), 1);
    auto same = heed::merge(a, a);
    EXPECT_EQ(children_of(a), 2) << "no tether where both are one";
    auto child = heed::with_cancel(merged.ctx);
    merged.cancel();
    merged = {};
    EXPECT_EQ(children_of(a), 1) << "ended and dropped, it has left, though its child needs it";
    EXPECT_EQ(children_of(b), 0);
  }
  EXPECT_EQ(children_of(a), 0);
  EXPECT_EQ(children_of(b), 0);
  auto merged = heed::merge(a, b);
  cancel_a();
  EXPECT_EQ(children_of(b), 0) << "ended by one parent it leaves the other";
  merged = {};
  EXPECT_EQ(children_of(b), 0);
}

// M2: below a scope whose end is under way, and which was claimed without the merges' lock, merge() waits for
// it.
TEST(Tree, MergeWaitsForAWalkThatIsUnderWay) {
  auto root = heed::with_cancel(heed::background());
  auto other = heed::with_cancel(heed::background());
  auto last = heed::with_cancel(root.ctx);
  auto first = heed::with_cancel(root.ctx);
  auto below_first = heed::with_cancel(first.ctx);
  auto below_last = heed::with_cancel(last.ctx);
  node_of(first.ctx).own.lock.lock();  // here the walk stops
  node_of(last.ctx).own.lock.lock();
  std::thread walking([&root] { root.cancel("root"); });
  while (!root.ctx.err()) std::this_thread::yield();
  std::atomic<bool> returned{false};
  std::thread merging([&] {
    auto m = heed::merge(other.ctx, below_last.ctx);
    returned = true;
    EXPECT_TRUE(m.ctx.done()) << "it hangs below a walk that does not expect it";
  });
  // Until it has returned, or sleeps until the scope is settled.
  while (!returned && (node_of(root.ctx).word.load() & heed::word::waiters) == 0) std::this_thread::yield();
  EXPECT_FALSE(returned);
  node_of(first.ctx).own.lock.unlock();
  node_of(last.ctx).own.lock.unlock();
  walking.join();
  merging.join();
}

// Ended by its first parent when nobody had it in hand any more, a merge leaves the second, too.
TEST(Tree, MergeWithoutHandlesLeavesTheOtherParent) {
  auto [a, cancel_a] = heed::with_cancel(heed::background());
  auto [b, cancel_b] = heed::with_cancel(heed::background());
  heed::cancelable child;
  {
    auto merged = heed::merge(a, b);
    child = heed::with_cancel(merged.ctx);
    merged.cancel.release();
  }
  EXPECT_EQ(children_of(b), 1);
  cancel_a();
  EXPECT_TRUE(child.ctx.done());
  EXPECT_EQ(children_of(b), 0);
}

// The thread that keeps time waits for no walk of others: a deadline that has no merge below is not held up.
TEST(Tree, MergesHoldUpNoOtherDeadline) {
  heed::merges.lock();
  std::thread others([] {
    // merge() itself takes the lock.
    auto with = heed::with_timeout(heed::background(), 200ms);
    node_of(with.ctx).word.fetch_or(heed::word::merged);
    auto without = heed::with_timeout(heed::background(), 250ms);
    EXPECT_TRUE(without.ctx.wait_for(60s));
    EXPECT_FALSE(with.ctx.done());
    heed::merges.unlock();
    EXPECT_TRUE(with.ctx.wait_for(60s));
    EXPECT_EQ(with.ctx.err(), heed::errc::deadline_exceeded);
  });
  others.join();
}

TEST(Tree, OnlyWhatHasAMergeBelowIsMarked) {
  auto [root, cancel_root] = heed::with_cancel(heed::background());
  auto [a, cancel_a] = heed::with_cancel(root);
  auto [b, cancel_b] = heed::with_cancel(heed::background());
  auto [beside, cancel_beside] = heed::with_cancel(root);
  auto merged = heed::merge(a, b);
  auto below = heed::with_cancel(merged.ctx);
  const auto marked = [](const heed::context& c) {
    return (node_of(c).word.load() & heed::word::merged) != 0;
  };
  EXPECT_TRUE(marked(root));
  EXPECT_TRUE(marked(a));
  EXPECT_TRUE(marked(b));
  EXPECT_FALSE(marked(beside));
  EXPECT_FALSE(marked(merged.ctx));
  EXPECT_FALSE(marked(below.ctx));
}

// What value() reads without a call is where the header says.
TEST(Tree, HeadersOfValues) {
  static constexpr heed::key<int> small_key{"small"};
  static constexpr heed::key<std::string> text_key{"text"};
  const auto small = heed::with_value(heed::background(), small_key, 1);
  const auto text = heed::with_value(small, text_key, "text");
  const auto& v = static_cast<const heed::value_node&>(*heed::tree::of(small));
  const auto* head = reinterpret_cast<const char*>(static_cast<const heed::node_head*>(&v));
  EXPECT_EQ(reinterpret_cast<const char*>(&v.key) - head, std::ptrdiff_t{heed::node_head::key_at});
  EXPECT_EQ(reinterpret_cast<const char*>(&v.offset) - head, std::ptrdiff_t{heed::node_head::inside});
  EXPECT_EQ(small.value(small_key), v.storage());
  EXPECT_EQ(text.value(text_key), static_cast<const heed::value_node&>(*heed::tree::of(text)).storage());
}

// Most misses are told by the filter in the head, also where keys lie side by side, as a header's do.
TEST(Tree, FilterTellsMostMisses) {
  constexpr std::size_t unknown = 1000;
  std::deque<heed::key<int>> keys;
  for (std::size_t i = 0; i < unknown + 10; ++i) keys.emplace_back("k");
  heed::context ctx;
  for (std::size_t i = 0; i < 10; ++i) ctx = heed::with_value(ctx, keys[unknown / 2 + i], 1);
  std::size_t passed = 0;
  for (const auto& k : keys) passed += heed::tree::of(ctx)->may_know(k) ? 1 : 0;
  EXPECT_LT(passed, unknown / 4) << "a tenth is what two bits of 62 for each key give";
}

// I3: also one that nothing was ever hung on leaves its parent with its last handle, while something keeps
// its memory.
TEST(Tree, CanceledChildThatIsOnlyKeptLeaves) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  heed::context kept;
  {
    auto child = heed::with_cancel(parent);
    kept = heed::without_cancel(child.ctx);
    child.cancel();
    EXPECT_EQ(children_of(parent), 1);
  }
  EXPECT_EQ(children_of(parent), 0);
}
