// Size: a million deep, a million wide, ten million in passing (cases 16 to 18; invariant 7).
#include "sanitizers.hpp"

#include <heed/heed.hpp>
#include <heed/stop_token.hpp>

#include <gtest/gtest.h>

#include <pthread.h>
#include <unistd.h>
#include <atomic>
#include <deque>
#include <fstream>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int million = slower == 1 ? 1'000'000 : 100'000;  // the point stands

// Runs it on a thread with 256 KiB of stack (a little more where a sanitizer takes its share).
void on_small_stack(void (*body)()) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 * 1024), 0);
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* f) -> void* {
                  reinterpret_cast<void (*)()>(f)();
                  return nullptr;
                },
                reinterpret_cast<void*>(body)),
            0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

std::size_t resident_bytes() {
  std::size_t pages = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

constexpr heed::key<int> depth_key{"depth"};

}  // namespace

TEST(Size, ChainOfAMillionBuiltCanceledDropped) {
  on_small_stack([] {
    auto [root, cancel] = heed::with_cancel(heed::background());
    heed::context leaf = heed::with_value(root, depth_key, 7);
    for (int i = 0; i < million; ++i) {
      auto [next, stop] = heed::with_cancel(leaf);
      stop.release();
      leaf = std::move(next);
    }
    EXPECT_EQ(*leaf.value(depth_key), 7);
    EXPECT_FALSE(leaf.done());
    EXPECT_TRUE(cancel("root"));
    EXPECT_TRUE(leaf.done());
    EXPECT_EQ(leaf.cause().message(), "root");
    leaf = {};
  });
}

// Each with a deadline before all above it, so that none is spared its timer: whichever way they end, all
// timers are gone.
TEST(Size, ChainOfAMillionDeadlines) {
  on_small_stack([] {
    static constexpr auto first = std::chrono::hours(1000);
    for (const bool canceled : {true, false}) {
      heed::manual_scheduler time;  // aborts at its end where a timer is left
      {
        const heed::time_point latest = time.now() + first;
        auto [root, cancel] = heed::with_cancel(heed::background(time));
        heed::context leaf = root;
        for (int i = 0; i < million; ++i) {
          auto [next, stop] = heed::with_deadline(leaf, latest - std::chrono::microseconds(i));
          stop.release();
          leaf = std::move(next);
        }
        EXPECT_EQ(leaf.deadline(), latest - std::chrono::microseconds(million - 1));
        EXPECT_FALSE(leaf.done());
        if (canceled) {
          EXPECT_TRUE(cancel("root"));
          EXPECT_TRUE(leaf.done());
          EXPECT_EQ(leaf.err(), heed::errc::canceled);
          EXPECT_EQ(leaf.cause().message(), "root");
        } else {
          time.advance(first);  // the lowest first
          EXPECT_EQ(leaf.err(), heed::errc::deadline_exceeded);
          EXPECT_FALSE(root.done());
        }
        leaf = {};
      }
    }
  });
}

// The same by heed's own scheduler, dropped live.
TEST(Size, ChainOfAMillionDeadlinesDropped) {
  on_small_stack([] {
    const heed::time_point latest = heed::clock::now() + std::chrono::hours(1000);
    heed::context leaf;
    for (int i = 0; i < million; ++i) {
      auto [next, stop] = heed::with_deadline(leaf, latest - std::chrono::microseconds(i));
      stop.release();
      leaf = std::move(next);
    }
    EXPECT_EQ(leaf.deadline(), latest - std::chrono::microseconds(million - 1));
    EXPECT_FALSE(leaf.done());
    leaf = {};
  });
}

TEST(Size, ChainOfAMillionDroppedLive) {
  on_small_stack([] {
    heed::context leaf;
    for (int i = 0; i < million; ++i) {
      leaf = heed::with_value(leaf, depth_key, i);
      if (i % 2) {
        auto [next, stop] = heed::with_cancel(leaf);
        stop.release();
        leaf = std::move(next);
      }
    }
    EXPECT_EQ(*leaf.value(depth_key), million - 1);
    leaf = {};
  });
}

// Values of many keys all the way down: any of them is found, and an unknown one is not.
TEST(Size, ChainOfManyValuesLookedUp) {
  on_small_stack([] {
    constexpr std::size_t deep = million / 10;
    std::deque<heed::key<std::size_t>> keys;
    const heed::key<std::size_t> unknown("unknown");
    heed::context leaf;
    for (std::size_t i = 0; i < deep; ++i) leaf = heed::with_value(leaf, keys.emplace_back("k"), i);
    for (std::size_t i = 0; i < deep; i += 997) ASSERT_EQ(*leaf.value(keys[i]), i);
    EXPECT_EQ(leaf.value(unknown), nullptr);
    leaf = {};
  });
}

// after_funcs all the way down, all handles gone: abandoned without recursion, from either end.
TEST(Size, ChainOfFunctionsAbandoned) {
  on_small_stack([] {
    static std::atomic<int> destroyed;
    struct token {
      bool mine = true;
      token() = default;
      token(token&& o) noexcept : mine(std::exchange(o.mine, false)) {}
      ~token() {
        if (mine) ++destroyed;
      }
      void operator()() const { FAIL(); }
    };
    for (const bool root_first : {true, false}) {
      destroyed = 0;
      std::vector<heed::context> handles;
      heed::context above;
      constexpr int deep = million / 10;
      for (int i = 0; i < deep; ++i) {
        auto [next, stop] = heed::with_cancel(above);
        stop.release();
        heed::after_func(next, token());
        handles.push_back(next);
        above = std::move(next);
      }
      above = {};
      if (root_first) {
        for (auto& h : handles) h = {};
      } else {
        heed::context root = handles.front();
        handles.clear();
        EXPECT_EQ(destroyed, 0) << "the root could still be derived from and ended";
        root = {};
      }
      EXPECT_EQ(destroyed, deep);
    }
  });
}

TEST(Size, FanOutCanceledWhileChildrenLeave) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  std::vector<heed::context> children;
  children.reserve(million);
  for (int i = 0; i < million; ++i) {
    auto [child, stop] = heed::with_cancel(parent);
    stop.release();
    children.push_back(std::move(child));
  }
  std::atomic<bool> leaving{false};
  std::jthread leaver([&] {
    for (std::size_t i = 0; i < children.size(); i += 10) {
      children[i] = {};
      if (i > 1000) {
        leaving = true;
        leaving.notify_all();
      }
    }
    leaving = true;
    leaving.notify_all();
  });
  leaving.wait(false);
  EXPECT_TRUE(cancel());
  leaver.join();
  for (std::size_t i = 0; i < children.size(); ++i) {
    ASSERT_EQ(children[i].done(), i % 10 != 0);
  }
}

TEST(Size, TenMillionInPassingLeaveNothing) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  const auto pass = [&parent](int n) {
    for (int i = 0; i < n; ++i) {
      auto [child, stop] = heed::with_cancel(parent);
      const heed::cancel_callback cb(child, [] {});
      if (i % 4 == 0) heed::after_func(child, [] {})();
    }
  };
  pass(million / 10);
  const std::size_t before = resident_bytes();
  pass(slower == 1 ? 10 * million : million);
  if (!under_asan) {  // it keeps what was freed, to catch late uses
    EXPECT_LT(resident_bytes(), before + (8U << 20));
  }
  EXPECT_FALSE(parent.done());
}

// Merges all the way down: through the first parent, through the second, and both ways from one to the next.
TEST(Size, MillionMergesBuiltCanceledDropped) {
  on_small_stack([] {
    auto [root, cancel] = heed::with_cancel(heed::with_value(heed::background(), depth_key, 7));
    auto [other, end] = heed::with_cancel(heed::background());
    heed::context leaf = root;
    for (int i = 0; i < million; ++i) {
      auto [next, stop] = i % 3 == 0   ? heed::merge(leaf, other)
                          : i % 3 == 1 ? heed::merge(other, leaf)
                                       : heed::merge(leaf, leaf);
      stop.release();
      leaf = std::move(next);
    }
    EXPECT_EQ(*leaf.value(depth_key), 7);
    EXPECT_FALSE(leaf.done());
    EXPECT_TRUE(cancel("root"));
    EXPECT_TRUE(leaf.done());
    EXPECT_EQ(leaf.cause().message(), "root");
    leaf = {};
  });
}

// Each asks its parent for a deadline, and there is none.
TEST(Size, ChainOfAMillionStopTokens) {
  on_small_stack([] {
    std::stop_source source;
    heed::context leaf;
    for (int i = 0; i < million; ++i) {
      auto [next, stop] = heed::with_stop_token(leaf, source.get_token());
      stop.release();
      leaf = std::move(next);
    }
    EXPECT_EQ(leaf.deadline(), std::nullopt);
    EXPECT_FALSE(leaf.done());
    EXPECT_TRUE(source.request_stop());
    EXPECT_TRUE(leaf.done());
    leaf = {};
  });
}

TEST(Size, MillionMergesDroppedLive) {
  on_small_stack([] {
    auto [other, end] = heed::with_cancel(heed::background());
    heed::context leaf;
    for (int i = 0; i < million; ++i) {
      auto [next, stop] = i % 2 == 0 ? heed::merge(leaf, other) : heed::merge(other, leaf);
      stop.release();
      leaf = std::move(next);
    }
    EXPECT_FALSE(leaf.done());
  });
}

// No leak in either parent, however often it is used (compare case 18).
TEST(Size, ManyMergesUnderTwoParentsLeaveNothing) {
  auto [a, cancel_a] = heed::with_cancel(heed::background());
  auto [b, cancel_b] = heed::with_cancel(heed::background());
  const auto in_passing = [&](int count) {
    for (int i = 0; i < count; ++i) {
      auto [ctx, cancel] = heed::merge(a, b);
      if (i % 2 == 0) cancel();
      auto [again, end] = heed::merge(b, ctx);
      heed::after_func(again, [] {});
    }
  };
  in_passing(1000);
  const std::size_t before = resident_bytes();
  in_passing(million / 4);
  if (slower == 1) {  // the sanitizers keep books of their own
    EXPECT_LT(resident_bytes(), before + (8U << 20));
  }
}
