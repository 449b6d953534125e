// dump() and explain() while everybody else changes the tree.
#include "rounds.hpp"

#include "../json.hpp"

#include <heed/heed.hpp>
#include <heed/inspect.hpp>

#include <array>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>

using namespace std::chrono_literals;

namespace {

constexpr heed::key<std::string> user_key{"user"};

std::string dumped(const heed::context& root, heed::dump_format f) {
  std::ostringstream out;
  heed::dump(out, root, f);
  return out.str();
}

// Well formed, each id once, each parent printed before its children. Returns how many there are.
std::size_t checked(const std::string& text) {
  const auto all = heed_test::json_reader::read(text);
  EXPECT_TRUE(all) << text;
  if (!all) return 0;
  std::set<std::string> ids;
  for (const auto& one : (*all)["contexts"].items) {
    const auto& parents = one["parents"].items;
    EXPECT_EQ(parents.empty(), ids.empty()) << text;
    // It stands below the first; a merge may come before its second.
    if (!parents.empty()) {
      EXPECT_TRUE(ids.count(parents[0].text)) << text;
    }
    EXPECT_LE(parents.size(), one["kind"].text == "merge" ? 2U : 1U) << text;
    EXPECT_TRUE(ids.insert(one["id"].text).second) << text;
  }
  return ids.size();
}

}  // namespace

// Seven threads derive, cancel, register and drop below one context that an eighth prints over and over. Some
// of what they make is there all the time, and must be in every picture.
TEST(DumpRace, WhileSevenThreadsChangeTheTree) {
  auto [root, stop] = heed::with_cancel(heed::background());
  constexpr std::size_t lasting = 100;
  std::vector<heed::cancelable> keep;
  for (std::size_t i = 0; i < lasting; ++i) keep.push_back(heed::with_cancel(root));
  std::mutex lock;
  std::vector<heed::context> shared{root};  // what the threads derive from
  std::atomic<bool> over{false};
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 7; ++t) {
      threads.emplace_back([&, t] {
        std::minstd_rand random(t + 1);
        std::array<std::optional<heed::cancelable>, 100> mine;
        while (!over) {
          heed::context parent;
          {
            const std::lock_guard guard(lock);
            parent = shared[random() % shared.size()];
          }
          auto& slot = mine[random() % mine.size()];
          switch (random() % 7) {
            case 0: slot = heed::with_cancel(parent); break;
            case 1: slot = heed::with_timeout(heed::with_value(parent, user_key, "ann"), 1h); break;
            case 2: slot = heed::with_timeout(root, 50us); break;
            case 3:
              if (slot) slot->cancel("cause");
              break;
            case 4: slot.reset(); break;
            case 6: slot = heed::merge(parent, slot ? slot->ctx : root); break;
            case 5:
              if (slot) {
                const heed::cancel_callback callback(slot->ctx, [] {});
                const auto function = heed::after_func(slot->ctx, [] {});
                EXPECT_FALSE(heed::explain(slot->ctx).empty());
                const std::lock_guard guard(lock);
                if (shared.size() < 20) {
                  shared.push_back(slot->ctx);
                } else {
                  shared[1 + random() % (shared.size() - 1)] = slot->ctx;
                }
              }
              break;
          }
        }
      });
    }
    for (int i = 0; i < 60 / slower && !testing::Test::HasFailure(); ++i) {
      EXPECT_GT(checked(dumped(root, heed::dump_format::json)), lasting);
      EXPECT_FALSE(dumped(root, heed::dump_format::text).empty());
      EXPECT_FALSE(dumped(heed::background(), heed::dump_format::dot).empty());
    }
    over = true;
  }
  shared.clear();
  EXPECT_EQ(checked(dumped(root, heed::dump_format::json)), lasting + 1);
}

// One that is canceled while it is printed: the list of its children becomes the canceler's.
TEST(DumpRace, AgainstTheCancelOfTheRoot) {
  std::vector<heed::cancelable> all;
  race::rounds(
      800 / slower,
      [&] {
        all.clear();
        all.push_back(heed::with_cancel(heed::background()));
        for (std::size_t i = 0; i < 200; ++i) {
          all.push_back(heed::with_cancel(all[i % 3 == 0 ? 0 : i / 2].ctx));
        }
      },
      {[&] {
         for (int i = 0; i < 3; ++i) checked(dumped(all.front().ctx, heed::dump_format::json));
       },
       [&] { all.front().cancel("over"); }, [&] { all[1].cancel(); },
       [&] {
         const std::string why = heed::explain(all.back().ctx);
         EXPECT_NE(why.find(all.back().ctx.done() && why.find("live") == why.npos ? "ended: " : "live"),
                   why.npos);
       }},
      [&] {
        EXPECT_EQ(checked(dumped(all.front().ctx, heed::dump_format::json)), 1U);
        EXPECT_NE(heed::explain(all.back().ctx).find("ended: context canceled"), std::string::npos);
      });
}
