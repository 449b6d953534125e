// dump() between two looks at a list of children: an allocation is where it can be interrupted at will.
#include "allocations.hpp"

#include <heed/heed.hpp>
#include <heed/inspect.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

struct numbered : heed::custom_context {
  numbered(anchor a, int i) : custom_context(a), number(i) {}
  std::string name() const override { return "child" + std::to_string(number); }
  int number;
};

std::vector<std::optional<heed::custom<numbered>>>* children = nullptr;
int allocations_until = 0;
int from = 0;
int to = 0;

// Drops children `from` to `to`, once, after so many allocations.
void drop_some() {
  if (--allocations_until != 0) return;
  on_allocation = nullptr;
  for (int i = from; i < to; ++i) (*children)[static_cast<std::size_t>(i)].reset();
}

}  // namespace

// Some go while the walk is behind, on, or before them: every other one is printed once, and none is
// that had gone before it was looked at.
TEST(DumpAllocation, ChildrenThatGoBetweenTwoBatches) {
  constexpr int count = 300;
  for (const auto& [first, last] :
       {std::pair(0, 64), {50, 80}, {63, 64}, {64, 70}, {0, 200}, {120, 300}, {299, 300}, {0, 300}}) {
    bool interrupted = true;
    std::set<int> seen;
    for (int when = 1; interrupted && when <= 40; ++when) {  // the walk is over by then
      auto [root, stop] = heed::with_cancel(heed::background());
      std::vector<std::optional<heed::custom<numbered>>> all;
      std::vector<heed::cancelable> below;  // keep the memory of those that are dropped
      for (int i = 0; i < count; ++i) {
        all.emplace_back(heed::with_custom<numbered>(root, i));
        below.push_back(heed::with_cancel(all.back()->ctx));
      }
      children = &all;
      allocations_until = when;
      std::tie(from, to) = std::pair(first, last);
      std::ostringstream out;
      on_allocation = &drop_some;
      heed::dump(out, root);
      interrupted = on_allocation == nullptr;
      on_allocation = nullptr;
      std::istringstream lines(out.str());
      std::set<int> printed;
      int met = 0;
      int dropped = 0;
      for (std::string line; std::getline(lines, line);) {
        const auto at = line.find("child");
        if (at == std::string::npos || line.find("  n") != 0) continue;
        const int number = std::stoi(line.substr(at + 5));
        ASSERT_TRUE(printed.insert(number).second) << "met twice";
        ++(number < first || number >= last ? met : dropped);
      }
      ASSERT_EQ(met, count - (last - first))
          << "dropped " << first << " to " << last << " at allocation " << when;
      if (interrupted) seen.insert(dropped);
    }
    // Of those that were dropped it has what it had taken: so many batches of 64, from the youngest on.
    const auto in_batches = [from_here = first, to_here = last](int n) {
      return to_here - std::clamp(count - n * 64, from_here, to_here);
    };
    std::set<int> taken;
    for (int batches = 0; batches * 64 < count + 64; ++batches) {
      taken.insert(in_batches(batches));
    }
    for (const int n : seen) EXPECT_TRUE(taken.count(n)) << n << " of " << first << " to " << last;
    EXPECT_TRUE(seen.count(0)) << "dropped before the first look";
    EXPECT_TRUE(seen.count(in_batches(1))) << "dropped after the first batch";
  }
}
