// Allocations: how many each operation makes, and what happens when each of them fails in turn (case 19,
// I11).
#include "allocations.hpp"

#include <heed/group.hpp>
#include <heed/heed.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <new>
#include <string>
#include <thread>

using namespace std::chrono_literals;

thread_local long allocated = 0;
thread_local long until_failure = -1;
thread_local bool fail_once = false;
thread_local long failures = 0;
std::atomic<long> live{0};
thread_local void (*on_allocation)() = nullptr;

namespace {
void* get(std::size_t size, std::size_t align) {
  if (on_allocation) on_allocation();
  if (until_failure == 0) {
    ++failures;
    if (fail_once) until_failure = -1;
    return nullptr;
  }
  if (until_failure > 0) --until_failure;
  ++allocated;
  void* p =
      align ? std::aligned_alloc(align, (size + align - 1) / align * align) : std::malloc(size ? size : 1);
  if (p) ++live;
  return p;
}

void put(void* p) {
  if (p) --live;
  std::free(p);
}

void* must(void* p) {
  if (!p) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(std::size_t n) {
  return must(get(n, 0));
}
void* operator new[](std::size_t n) {
  return must(get(n, 0));
}
void* operator new(std::size_t n, std::align_val_t a) {
  return must(get(n, static_cast<std::size_t>(a)));
}
void operator delete(void* p) noexcept {
  put(p);
}
void operator delete[](void* p) noexcept {
  put(p);
}
void operator delete(void* p, std::size_t) noexcept {
  put(p);
}
void operator delete[](void* p, std::size_t) noexcept {
  put(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  put(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  put(p);
}

namespace {

constexpr heed::key<int> number{"number"};
struct alignas(64) wide {
  int n = 3;
};
constexpr heed::key<wide> wide_key{"wide"};
constexpr heed::key<int> third{"third"};

}  // namespace

// Go's TestAllocs, with heed's ceilings.
TEST(Allocs, PerOperation) {
  auto [parent, cancel_parent] = heed::with_cancel(heed::background());
  heed::after_func(parent, [] {})();                        // threads and
  { auto [ctx, cancel] = heed::with_timeout(parent, 1h); }  // statics are there from here on
  EXPECT_EQ(allocations([] { static_cast<void>(heed::background()); }), 0);
  EXPECT_EQ(allocations([&] { const heed::context copy = parent; }), 0);
  EXPECT_EQ(allocations([] { auto c = heed::with_cancel(heed::background()); }), 1);
  EXPECT_EQ(allocations([&parent] { auto c = heed::with_cancel(parent); }), 1);
  EXPECT_EQ(allocations([&parent] { auto c = heed::with_timeout(parent, 1h); }), 1);
  EXPECT_EQ(allocations([&parent] {
              const auto c = heed::with_value(parent, number, 1);
              EXPECT_EQ(*c.value(number), 1);
            }),
            1);
  heed::context chain = parent;
  for (int i = 0; i < 40; ++i) {  // also where an index is laid down
    EXPECT_EQ(allocations([&] { chain = heed::with_value(chain, number, i); }), 1);
    EXPECT_EQ(
        allocations([&] { static_cast<void>(chain.value(number)), static_cast<void>(chain.value(third)); }),
        0);
  }
  EXPECT_EQ(allocations([&parent] { static_cast<void>(heed::without_cancel(parent)); }), 1);
  EXPECT_EQ(allocations([&parent] { auto c = heed::merge(parent, heed::background()); }), 1);
  const auto one = heed::with_value(heed::with_value(parent, number, 1), wide_key, wide{});
  const auto other = heed::with_value(heed::with_value(heed::background(), third, 1), number, 1);
  EXPECT_EQ(allocations([&] { auto c = heed::merge(one, other); }), 2);
  EXPECT_EQ(allocations([&parent] { const heed::cancel_callback cb(parent, [] {}); }), 0);
  EXPECT_EQ(allocations([&parent] { heed::after_func(parent, [] {})(); }), 1);
  EXPECT_EQ(allocations([] {
              const heed::error e = heed::errc::canceled;
              const heed::error copy = e;
            }),
            0);
  EXPECT_EQ(allocations([&parent] {
              static_cast<void>(parent.err());
              static_cast<void>(parent.cause());
              static_cast<void>(parent.deadline());
              static_cast<void>(parent.canceled_at());
              parent.wait_for(0s);
            }),
            0);
}

// A task of a group is one allocation: at the limit, refused, posted, queued or not.
TEST(Allocs, PerTaskOfAGroup) {
  heed::manual_scheduler time;
  const heed::context root = heed::background(time);
  EXPECT_EQ(allocations([&root] { const heed::group g(root); }), 2) << "its context and itself";
  heed::group g(root);
  g.set_limit(2);
  const std::string text(100, 'x');
  const auto task = [&text](const heed::context&) { EXPECT_EQ(text.size(), 100U); };
  EXPECT_EQ(allocations([&] { g.go(task); }), 1);
  EXPECT_EQ(allocations([&] { EXPECT_TRUE(g.try_go(task)); }), 1);
  EXPECT_EQ(allocations([&] { EXPECT_FALSE(g.try_go(task)); }), 0);
  EXPECT_EQ(allocations([&] { g.go(task); }), 1) << "queues";
  EXPECT_EQ(allocations([&] {
              g.set_limit(3);
              EXPECT_EQ(time.run_pending(), 3U);
              EXPECT_FALSE(g.wait());
            }),
            0);
  heed::group threads(heed::background());
  threads.set_limit(1);
  threads.go(task);  // statics, and a thread
  EXPECT_EQ(allocations([&] { threads.go(task); }), 1);
  EXPECT_EQ(allocations([&] { EXPECT_FALSE(threads.wait()); }), 0);
}

// Invariant 11: canceling never allocates, whatever hangs below.
TEST(Allocs, CancelingNeverAllocates) {
  heed::manual_scheduler time;
  auto [parent, cancel] = heed::with_cancel(heed::background(time));
  std::vector<heed::cancelable> below;
  for (int i = 0; i < 300; ++i) {
    below.push_back(heed::with_cancel(i % 3 ? below.back().ctx : parent));
    below.push_back(heed::with_timeout(below.back().ctx, 1h));
    below.push_back(heed::merge(below.back().ctx, parent));
  }
  const heed::cancel_callback cb(below.back().ctx, [] {});
  heed::after_func(below.back().ctx, [] {});
  const int fd = below.back().ctx.done_fd();
  const heed::error why("prepared");
  EXPECT_EQ(allocations([&] { EXPECT_TRUE(cancel(why)); }), 0);
  EXPECT_GE(fd, 0);
  for (auto& c : below) EXPECT_EQ(c.ctx.cause(), why);
  EXPECT_EQ(time.run_pending(), 1U);
}

// Each API call, with each of its allocations failing in turn: bad_alloc, nothing leaked, and the parent as
// before.
TEST(Allocs, EveryFailureLeavesEverythingAsItWas) {
  heed::manual_scheduler time;
  static_cast<void>(heed::todo());
  const heed::context root = heed::background(time);
  auto [parent, cancel] = heed::with_cancel(root);
  { auto c = heed::with_timeout(heed::background(), 1h); }
  const struct {
    const char* name;
    std::function<void()> call;
  } operations[] = {
      {"background(scheduler)", [&] { static_cast<void>(heed::background(time)); }},
      {"with_cancel", [&parent] { auto c = heed::with_cancel(parent); }},
      {"with_timeout", [&parent] { auto c = heed::with_timeout(parent, 1s, "a cause that is a long text"); }},
      {"with_timeout 0", [&parent] { auto c = heed::with_timeout(parent, 0s); }},
      {"with_timeout, default scheduler", [] { auto c = heed::with_timeout(heed::background(), 1h); }},
      {"with_value", [&parent] { auto c = heed::with_value(parent, number, 1); }},
      {"with_value, over-aligned", [&parent] { auto c = heed::with_value(parent, wide_key, wide{}); }},
      {"without_cancel", [&parent] { auto c = heed::without_cancel(parent); }},
      {"merge",
       [&parent] {
         auto c =
             heed::merge(heed::with_value(parent, number, 1), heed::with_value(parent, wide_key, wide{}));
       }},
      {"after_func", [&parent] { heed::after_func(parent, [big = std::string(100, 'x')] {}); }},
      {"cause",
       [&parent] {
         auto c = heed::with_cancel(parent);
         c.cancel(std::runtime_error("a message that is too long to be kept in place"));
       }},
      {"group",
       [&parent] {
         heed::group g(parent, heed::default_scheduler());
         g.set_limit(1);  // one thread: another test wants few
         g.go([big = std::string(100, 'x')](const heed::context&) {});
         EXPECT_FALSE(g.wait());
         EXPECT_TRUE(g.try_go([big = std::string(100, 'x')](const heed::context&) {}));
         EXPECT_FALSE(g.wait());
       }},
      {"to_string", [&parent] { static_cast<void>(parent.to_string()); }},
      {"error",
       [] {
         const heed::error e(std::make_error_code(std::errc::io_error));
         static_cast<void>(e.message());
       }},
      {"manual_scheduler", [] { const heed::manual_scheduler m; }},
  };
  for (const auto& op : operations) {
    SCOPED_TRACE(op.name);
    op.call();  // once in peace: statics
    long points = 0;
    for (bool failed = true; failed; ++points) {
      ASSERT_LT(points, 100);
      const long before = live;
      failed = false;
      until_failure = points;
      try {
        op.call();
        until_failure = -1;
      } catch (const std::bad_alloc&) {
        until_failure = -1;
        failed = true;
      }
      // An after_func that succeeded stays registered until the cancel below.
      if (std::string(op.name) != "after_func" || failed) {
        EXPECT_EQ(live, before) << "leaked at point " << points;
      }
      EXPECT_FALSE(parent.done());
    }
    EXPECT_GE(points, 2) << "no allocation was hit";
  }
  EXPECT_TRUE(cancel());
  EXPECT_GT(time.run_pending(), 0U);
}

// Waits and locks: none but for wait_any() of several; failing, that has registered nothing.
TEST(Allocs, WaitsAndLocks) {
  auto a = heed::with_cancel(heed::background());
  auto b = heed::with_cancel(heed::background());
  // Each of these is waited for until it ends.
  auto soon = heed::with_timeout(heed::background(), 1ms);
  auto later = heed::with_timeout(heed::background(), 20ms);
  auto last = heed::with_timeout(heed::background(), 40ms);
  heed::mutex m;
  heed::semaphore s(1);
  std::mutex standard;
  std::condition_variable cv;
  std::condition_variable_any any;
  m.lock();
  EXPECT_EQ(allocations([&] {
              EXPECT_EQ(m.lock(soon.ctx), heed::errc::deadline_exceeded);
              EXPECT_FALSE(s.acquire(a.ctx));
              EXPECT_FALSE(heed::sleep_for(a.ctx, 1us));
              std::unique_lock lock(standard);
              EXPECT_TRUE(heed::wait(later.ctx, cv, lock, [] { return false; }));
              EXPECT_TRUE(heed::wait(last.ctx, any, lock, [] { return false; }));
              EXPECT_EQ(heed::wait_any({heed::background(), soon.ctx}), 1U);
            }),
            0);
  m.unlock();
  const std::array contexts{a.ctx, b.ctx};
  until_failure = 0;
  EXPECT_THROW(heed::wait_any(contexts), std::bad_alloc);
  until_failure = -1;
  a.cancel();
  EXPECT_EQ(heed::wait_any(contexts), 0U);
}

// Many who waited and gave up: nothing is left of them.
TEST(Allocs, WhoGivesUpLeavesNothing) {
  heed::semaphore s(0);
  heed::mutex m;
  m.lock();
  std::atomic<const heed::cancel_func*> cancel{nullptr};
  std::atomic<bool> over{false};
  std::jthread canceler([&] {
    while (!over) {
      if (const auto* each = cancel.load()) {
        (*each)();
        cancel = nullptr;
        cancel.notify_one();
      } else {
        std::this_thread::yield();
      }
    }
  });
  const auto give_up = [&](bool by_mutex) {
    auto c = heed::with_cancel(heed::background());
    cancel = &c.cancel;
    EXPECT_EQ(by_mutex ? m.lock(c.ctx) : s.acquire(c.ctx), heed::errc::canceled);
    for (const auto* each = cancel.load(); each; each = cancel.load()) cancel.wait(each);  // it has returned
  };
  give_up(true);
  const long before = live;
  for (int i = 0; i < 20'000; ++i) give_up(i % 2 == 0);
  EXPECT_LE(live, before + 1) << "the other thread's own may come and go";
  over = true;
  EXPECT_FALSE(s.try_acquire());
  s.release();
  EXPECT_TRUE(s.try_acquire());
  m.unlock();
  EXPECT_TRUE(m.try_lock());
}
