// Roots with memory of their own: <heed/memory.hpp>.
#include <heed/heed.hpp>
#include <heed/memory.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

// Remembers what it gave, and may be told to have none left.
class counted : public heed::memory {
 public:
  void* allocate(std::size_t bytes, std::size_t align) override {
    const std::scoped_lock guard(mutex_);
    if (left == 0) throw std::bad_alloc();
    --left;
    ++calls;
    void* room = ::operator new(bytes, std::align_val_t(align));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(room) % align, 0U);
    given_[room] = {bytes, align};
    return room;
  }
  void deallocate(void* room, std::size_t bytes, std::size_t align) noexcept override {
    const std::scoped_lock guard(mutex_);
    const auto at = given_.find(room);
    ASSERT_NE(at, given_.end());
    EXPECT_EQ(at->second, std::pair(bytes, align));
    given_.erase(at);
    ::operator delete(room, std::align_val_t(align));
  }
  std::size_t blocks() {
    const std::scoped_lock guard(mutex_);
    return given_.size();
  }
  int calls = 0;
  int left = 1 << 30;

 private:
  std::mutex mutex_;
  std::map<void*, std::pair<std::size_t, std::size_t>> given_;
};

struct alignas(64) wide {
  int number;
};
class source : public heed::custom_context {
 public:
  explicit source(anchor a) : custom_context(a) {}
};

constexpr heed::key<int> number_key{"number"};
constexpr heed::key<wide> wide_key{"wide"};

}  // namespace

// All bytes, but made from what it takes over.
struct taken_over {
  explicit taken_over(std::unique_ptr<int>&& from) noexcept : raw(from.release()) {}
  int* raw;
};
static_assert(std::is_trivially_copyable_v<taken_over>);

TEST(Memory, FailureLeavesWhatTheValueIsMadeFrom) {
  counted mine;
  {
    const heed::context root = heed::background(mine);
    const heed::key<taken_over> k("taken over");
    auto from = std::make_unique<int>(1);
    mine.left = 0;
    EXPECT_THROW(static_cast<void>(heed::with_value(root, k, std::move(from))), std::bad_alloc);
    EXPECT_TRUE(from != nullptr);
    mine.left = 1;
  }
  EXPECT_EQ(mine.blocks(), 0U);
}

TEST(Memory, EveryContextBelowTheRootIsKeptInIt) {
  counted mine;
  {
    const auto root = heed::background(mine);
    EXPECT_EQ(mine.blocks(), 1U);
    auto canceled = heed::with_cancel(root);
    auto timed = heed::with_timeout(canceled.ctx, 1h);
    const auto number = heed::with_value(timed.ctx, number_key, 7);
    const auto aligned = heed::with_value(number, wide_key, wide{8});
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned.value(wide_key)) % 64, 0U);
    const auto detached = heed::without_cancel(aligned);
    auto custom = heed::with_custom<source>(aligned);
    auto other = heed::with_cancel(heed::with_value(heed::background(), number_key, 9));
    auto merged = heed::merge(custom.ctx, other.ctx);
    EXPECT_EQ(mine.blocks(), 8U);
    EXPECT_EQ(detached.value(wide_key)->number, 8);
    EXPECT_EQ(*merged.ctx.value(number_key), 7);
    canceled.cancel("end");
    EXPECT_EQ(merged.ctx.cause().message(), "end");
    EXPECT_EQ(root.to_string(), "background");
  }
  EXPECT_EQ(mine.blocks(), 0U);
}

TEST(Memory, OthersDoNotTouchIt) {
  counted mine;
  const auto root = heed::background(mine);
  const int before = mine.calls;
  auto beside = heed::with_cancel(heed::background());
  auto merged = heed::merge(beside.ctx, root);
  EXPECT_EQ(mine.calls, before) << "a merge is kept where its first parent is";
}

// I11: where there is none left, nothing has changed.
TEST(Memory, FailureLeavesEverythingAsItWas) {
  counted mine;
  const auto root = heed::background(mine);
  auto parent = heed::with_cancel(root);
  const std::size_t before = mine.blocks();
  mine.left = 0;
  EXPECT_THROW(static_cast<void>(heed::with_cancel(parent.ctx)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(heed::with_timeout(parent.ctx, 1h)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(heed::with_value(parent.ctx, number_key, 1)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(heed::without_cancel(parent.ctx)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(heed::with_custom<source>(parent.ctx)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(heed::merge(parent.ctx, heed::background())), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(heed::background(mine)), std::bad_alloc);
  EXPECT_EQ(mine.blocks(), before);
  mine.left = 1;
  auto child = heed::with_cancel(parent.ctx);
  parent.cancel();
  EXPECT_TRUE(child.ctx.done());
}

// The default scheduler, named: deadlines below are as below background(). (They were written to past their
// end.)
TEST(Memory, WithTheDefaultScheduler) {
  counted mine;
  const auto timed = heed::with_timeout(heed::background(heed::default_scheduler(), mine), 1h);
  EXPECT_EQ(mine.blocks(), 2U);
  const auto beside = heed::with_timeout(heed::background(heed::default_scheduler()), 1h);
  EXPECT_EQ(mine.blocks(), 2U);
  const auto below = heed::with_timeout(heed::with_value(beside.ctx, number_key, 1), 1min);
  EXPECT_FALSE(below.ctx.done());
}

TEST(Memory, WithASchedulerToo) {
  counted mine;
  heed::manual_scheduler time;
  {
    const auto root = heed::background(time, mine);
    auto timed = heed::with_timeout(root, 1s);
    EXPECT_EQ(mine.blocks(), 2U);
    time.advance(1s);
    EXPECT_EQ(timed.ctx.err(), heed::errc::deadline_exceeded);
  }
  EXPECT_EQ(mine.blocks(), 0U);
}

// Lookups lay down indexes on the way: still one block each.
TEST(Memory, AChainOfValues) {
  counted mine;
  heed::context c = heed::background(mine);
  for (int i = 1; i <= 40; ++i) {
    c = heed::with_value(c, number_key, i);
    c = heed::with_value(c, wide_key, wide{i});
    EXPECT_EQ(mine.blocks(), 1U + 2U * static_cast<unsigned>(i));
  }
  EXPECT_EQ(*c.value(number_key), 40);
  EXPECT_EQ(c.value(wide_key)->number, 40);
  c = heed::context();
  EXPECT_EQ(mine.blocks(), 0U);
}

// Made on one thread, given back on others, in whatever order they drop what they have.
TEST(Memory, GivenBackByAnyThread) {
  counted m;
  {
    auto [root, cancel] = heed::with_cancel(heed::background(m));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      std::vector<heed::context> chain{root};
      for (int i = 0; i < 200; ++i) {
        chain.push_back(i % 2 ? heed::with_value(chain.back(), number_key, i)
                              : heed::with_timeout(chain.back(), 1h).ctx);
      }
      threads.emplace_back([chain = std::move(chain), t]() mutable {
        if (t % 2) std::reverse(chain.begin(), chain.end());
        while (!chain.empty()) chain.pop_back();
      });
    }
    for (auto& t : threads) t.join();
  }
  m.wait_unused();
  EXPECT_EQ(m.blocks(), 0U);
}

// A deadline that fires while the program lets go of its context, and of the memory right after: fails
// without wait_unused().
TEST(Memory, TheLastToUseItMayBeATimer) {
  for (int round = 0; round < 500; ++round) {
    counted m;
    {
      const auto c = heed::with_timeout(heed::background(m), 50us);
      c.ctx.wait();
    }
    m.wait_unused();
    EXPECT_EQ(m.blocks(), 0U);
  }
}

TEST(Memory, WaitsUntilItIsUnused) {
  counted m;
  m.wait_unused();
  heed::context left = heed::background(m);
  std::atomic<bool> dropped{false};
  std::thread t([&] {
    std::this_thread::sleep_for(1ms);  // so that the other one sleeps, mostly
    dropped = true;
    left = heed::context();
  });
  m.wait_unused();
  EXPECT_TRUE(dropped);
  t.join();
  EXPECT_EQ(m.blocks(), 0U);
}

TEST(Memory, AMemoryResourceFits) {
  class resource : public heed::memory {
   public:
    explicit resource(std::pmr::memory_resource& r) : resource_(r) {}
    void* allocate(std::size_t bytes, std::size_t align) override { return resource_.allocate(bytes, align); }
    void deallocate(void* room, std::size_t bytes, std::size_t align) noexcept override {
      resource_.deallocate(room, bytes, align);
    }

   private:
    std::pmr::memory_resource& resource_;
  };
  std::pmr::monotonic_buffer_resource arena;
  resource mine(arena);
  auto request = heed::with_timeout(heed::background(mine), 1h);
  EXPECT_EQ(*heed::with_value(request.ctx, number_key, 3).value(number_key), 3);
}

using MemoryDeathTest = testing::Test;
TEST(MemoryDeathTest, DestroyedTooEarly) {
  EXPECT_DEATH(
      {
        heed::context left;
        const counted mine;
        left = heed::with_value(heed::background(const_cast<counted&>(mine)), number_key, 1);
      },
      "before the contexts that are kept in it");
}
