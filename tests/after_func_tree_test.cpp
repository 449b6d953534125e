// Random trees, whose handles go one by one, in any order: after each step, every function is there exactly
// if its context may still be ended, as the rule says that is written down here once more.
#include "support.hpp"

#include <algorithm>
#include <deque>
#include <optional>
#include <random>
#include <vector>

namespace {

using namespace heed_test;
using namespace std::chrono_literals;

constexpr heed::key<int> key{"key"};

class random_tree {
 public:
  explicit random_tree(unsigned seed) : random_(seed) {}

  void grow() {
    // Deep and slim rather than broad: mostly below the youngest that can be had.
    const item* above = in_hand(2);
    item& made = items_.emplace_back();
    const heed::context parent = above ? above->handles.front() : root_;
    made.parents = {above};
    switch (random_() % 8) {
      case 0:
        made.handles.push_back(heed::with_value(parent, key, 1));
        made.what = item::value;
        return;
      case 1:
        made.handles.push_back(heed::without_cancel(parent));
        made.what = item::apart;
        return;
      case 2:
        made.timed = true;
        keep(made, heed::with_timeout(parent, 1h));
        break;
      case 3: {
        const item* second = in_hand(1 + items_.size());
        made.parents.push_back(second);
        keep(made, heed::merge(parent, second ? second->handles.front() : root_));
        break;
      }
      default: keep(made, heed::with_cancel(parent));
    }
    made.ended = std::ranges::any_of(made.parents, [](const item* p) { return p && has_ended(*p); });
    heed::after_func(made.handles.front(), [&made, t = tracked(made.functions)] { ++made.ran; });
  }

  void shrink() {
    item& from = items_[random_() % items_.size()];
    if (from.cancel && random_() % 2 == 0) {
      if (random_() % 16 == 0) {
        (*from.cancel)();
        end(from);
      }
      from.cancel->release();
      from.cancel.reset();
    } else if (!from.handles.empty()) {
      from.handles.pop_back();
    }
  }

  // What is left then has deadlines.
  void let_go() {
    for (item& i : items_) {
      i.handles.clear();
      if (i.cancel) i.cancel->release();
      i.cancel.reset();
    }
    check();
    time_.advance(2h);
    for (item& i : items_) {
      if (i.timed) end(i);
    }
    check();
  }

  void check() {
    time_.run_pending();
    for (const item& i : items_) {
      if (i.what != item::scope) continue;
      ASSERT_EQ(i.ran, i.ended ? 1 : 0) << "of " << items_.size();
      ASSERT_EQ(i.functions, !i.ended && may_end(i) ? 1 : 0) << "of " << items_.size();
    }
  }

 private:
  struct item {
    enum { scope, value, apart } what = scope;
    std::vector<const item*> parents;  // null: the root
    std::vector<heed::context> handles;
    std::optional<heed::cancel_func> cancel;
    bool timed = false;
    bool ended = false;
    std::atomic<int> functions = 0;
    int ran = 0;
  };

  void keep(item& made, heed::cancelable c) {
    for (auto more = random_() % 3; more > 0; --more) made.handles.push_back(c.ctx);
    made.handles.push_back(std::move(c.ctx));
    if (random_() % 2 == 0) {
      made.cancel.emplace(std::move(c.cancel));
    } else {
      c.cancel.release();
    }
  }
  // One of the last `among` that has a handle; null: there is none.
  const item* in_hand(std::size_t among) {
    std::vector<const item*> all;
    for (const item& i : items_) {
      if (!i.handles.empty()) all.push_back(&i);
    }
    if (all.empty()) return nullptr;
    return all[all.size() - 1 - random_() % std::min(among, all.size())];
  }

  static bool has_ended(const item& i) {
    if (i.what == item::value) return i.parents[0] && has_ended(*i.parents[0]);
    return i.ended;
  }
  static bool is_above(const item& above, const item* below) {
    if (!below || below->what == item::apart) return &above == below;
    return &above == below ||
           std::ranges::any_of(below->parents, [&](const item* p) { return is_above(above, p); });
  }
  void end(item& ended) {
    for (item& i : items_) {
      if (i.what == item::scope && is_above(ended, &i)) i.ended = true;
    }
  }
  // Whether somebody has it in hand: itself, or a value on it.
  bool is_in_hand(const item& i) const {
    if (!i.handles.empty() || i.cancel) return true;
    return std::ranges::any_of(
        items_, [&](const item& v) { return v.what == item::value && v.parents[0] == &i && is_in_hand(v); });
  }
  bool may_end(const item& i) const {
    if (i.what == item::apart) return false;
    if (i.what == item::scope && (i.timed || is_in_hand(i))) return true;
    return std::ranges::any_of(i.parents, [&](const item* p) { return p && may_end(*p); });
  }

  std::mt19937 random_;
  heed::manual_scheduler time_;
  heed::context root_ = heed::background(time_);
  std::deque<item> items_;
};

}  // namespace

TEST(AfterFuncTree, EachFunctionIsThereAsLongAsItsContextMayEnd) {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    random_tree tree(seed);
    for (int step = 0; step < 60; ++step) {
      step % 4 == 0 && step < 48 ? tree.grow() : tree.shrink();
      tree.check();
      if (HasFatalFailure()) FAIL() << "seed " << seed << ", step " << step;
    }
    tree.let_go();
    if (HasFatalFailure()) FAIL() << "seed " << seed << ", at the end";
  }
}
