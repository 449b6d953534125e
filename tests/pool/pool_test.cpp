// The pool, compiled into this program with its lists on under every sanitizer: ThreadSanitizer sees its
// locks here, though libheed is built without it there.
#include "pool.hpp"

#include "../sanitizers.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace pool = heed::pool;

namespace {

std::atomic<long> slabs{0};                  // alive
std::atomic<long> slab_bytes{0};             // in them
std::atomic<long> slabs_made{0};             // ever
thread_local bool in_pool = false;           // what is allocated now is a slab
thread_local bool no_more = false;           // operator new fails, for slabs
thread_local void (*meanwhile)() = nullptr;  // called where a slab is made or freed

// The pool's two, and operator new knows for whom it works.
struct pool_scope {
  const bool before = std::exchange(in_pool, true);
  ~pool_scope() { in_pool = before; }
};
void* take(std::size_t bytes) {
  const pool_scope here;
  return pool::take(bytes);
}
void give(void* p, std::size_t bytes) {
  const pool_scope here;
  pool::give(p, bytes);
}

// In front of everything that is allocated here.
struct alignas(16) origin {
  void* start;
  std::size_t slab_size;  // 0: it is none
};

void call_meanwhile() {
  const bool before = std::exchange(in_pool, false);
  if (auto* f = std::exchange(meanwhile, nullptr)) {
    f();
    meanwhile = f;
  }
  in_pool = before;
}

void* get(std::size_t n, std::size_t align) {
  if (in_pool) {
    call_meanwhile();
    if (no_more) throw std::bad_alloc();
  }
  void* start = std::malloc(n + align + sizeof(origin));
  if (!start) throw std::bad_alloc();
  const auto least = reinterpret_cast<std::uintptr_t>(start) + sizeof(origin);
  const auto at = (least + align - 1) / align * align;
  ::new (reinterpret_cast<void*>(at - sizeof(origin))) origin{start, in_pool ? n : 0};
  if (in_pool) {
    ++slabs;
    ++slabs_made;
    slab_bytes += static_cast<long>(n);
  }
  return reinterpret_cast<void*>(at);
}

void put(void* p) noexcept {
  if (!p) return;
  const origin of = static_cast<origin*>(p)[-1];
  if (of.slab_size > 0) {
    call_meanwhile();
    --slabs;
    slab_bytes -= static_cast<long>(of.slab_size);
  }
  std::free(of.start);
}

}  // namespace

void* operator new(std::size_t n) {
  return get(n, 16);
}
void* operator new(std::size_t n, std::align_val_t a) {
  return get(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept {
  put(p);
}
void operator delete(void* p, std::size_t) noexcept {
  put(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  put(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  put(p);
}

namespace {

// What may be kept: free slabs, one of each size besides, and a depot's batches.
constexpr long kept = 6 * 1024 * 1024;
constexpr std::size_t sizes_in_use[] = {40, 48, 56, 64, 80, 112, 128};

// In a thread of its own, so that lists are empty when it begins and are emptied when it ends.
template <class F>
void in_thread(F f) {
  std::thread(f).join();
}

// Blocks that are in hands or on lists.
std::size_t out(std::size_t bytes) {
  return pool::out(pool::class_of(bytes));
}

std::vector<void*> take_many(std::size_t n, std::size_t bytes) {
  std::vector<void*> all(n);
  for (void*& p : all) p = take(bytes);
  return all;
}
void give_all(const std::vector<void*>& all, std::size_t bytes) {
  for (void* p : all) give(p, bytes);
}

}  // namespace

// The first: other tests have slabs of this size already, where all run in one process.
TEST(Pool, AProgramWithTenContextsPaysForLittle) {
  in_thread([] {
    const long slabs_before = slabs;
    const long bytes_before = slab_bytes;
    const auto ten = take_many(10, 88);
    EXPECT_LE(slabs, slabs_before + 2);
    EXPECT_LE(slab_bytes, bytes_before + 4096);
    give_all(ten, 88);
    const long made_before = slabs_made;
    for (int i = 0; i < 1000; ++i) give_all(take_many(10, 88), 88);
    EXPECT_EQ(slabs_made, made_before);
  });
}

// A parent and what its thread makes next, of fresh slabs: but for two in 32.
TEST(Pool, TwoTakenInTurnMostlyShareNoLine) {
  in_thread([] {
    for (const std::size_t bytes : {std::size_t{80}, std::size_t{112}}) {
      const auto all = take_many(200, bytes);
      std::size_t sharing = 0;
      for (std::size_t i = 1; i < all.size(); ++i) {
        const auto a = reinterpret_cast<std::uintptr_t>(all[i - 1]);
        const auto b = reinterpret_cast<std::uintptr_t>(all[i]);
        if (std::max(a, b) / 64 <= (std::min(a, b) + bytes - 1) / 64) ++sharing;
      }
      EXPECT_LE(sharing, all.size() / 16) << bytes;
      give_all(all, bytes);
    }
  });
}

TEST(Pool, BlocksAreAlignedAndApart) {
  for (std::size_t bytes = 0; bytes <= 2 * pool::largest; ++bytes) {
    const std::size_t room = std::max<std::size_t>(bytes, 1);
    const std::size_t rounded = (room + 7) / 8 * 8;
    const auto all = take_many(300, bytes);
    for (std::size_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(all[i]) % (rounded % 16 == 0 ? 16 : 8), 0U) << bytes;
      std::memset(all[i], static_cast<int>(i % 251), room);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto* bytes_of = static_cast<const unsigned char*>(all[i]);
      ASSERT_TRUE(std::all_of(bytes_of, bytes_of + room, [i](unsigned char b) { return b == i % 251; }));
    }
    give_all(all, bytes);
  }
}

// Asked of operator new, the last slab half empty on average; what is touched is less.
TEST(Pool, AMillionCostTheirSizeAndLittleMore) {
  if (under_tsan || under_asan) GTEST_SKIP() << "where a slab begins decides how much of it is lost";
  for (const std::size_t bytes : sizes_in_use) {
    const bool node = bytes == 56 || bytes == 80 || bytes == 112;
    const long before = slab_bytes;
    const auto all = take_many(1'000'000, bytes);
    const double each = static_cast<double>(slab_bytes - before) / 1e6;
    EXPECT_LE(each, (node ? 1.025 : 1.03) * static_cast<double>(bytes));
    give_all(all, bytes);
  }
}

TEST(Pool, MemoryGoesBack) {
  for (const std::size_t bytes : sizes_in_use) {
    const long before = slab_bytes;
    for (const bool shuffled : {false, true}) {
      in_thread([bytes, before, shuffled] {
        auto all = take_many(300'000, bytes);
        if (shuffled) std::shuffle(all.begin(), all.end(), std::mt19937(7));
        give_all(all, bytes);
        if (shuffled) return;
        EXPECT_LE(slab_bytes, before + kept + 3 * 1024 * 1024) << "its list may keep a slab or three";
      });
      EXPECT_LE(slab_bytes, before + kept) << bytes;
    }
  }
}

// At the edge of a slab: back and forth over it is not a slab made and freed each time.
TEST(Pool, AnEdgeIsNotPaidForAgainAndAgain) {
  in_thread([] {
    std::vector<void*> all = take_many(3000, 120);  // more than a depot keeps in batches
    long made = 0;
    for (int i = 0; i < 200; ++i) {
      for (int more = 0; more < 7; ++more) all.push_back(take(120));
      give_all(take_many(400, 120), 120);
      const long before = slabs_made;
      for (int round = 0; round < 10; ++round) give_all(take_many(400, 120), 120);
      made += slabs_made - before;
    }
    EXPECT_LE(made, 2);
    give_all(all, 120);
  });
}

// Each thread's list is as long as its room tells.
TEST(Pool, ListsAreCounted) {
  in_thread([] {
    std::mt19937 random(3);
    std::vector<void*> all;
    for (int round = 0; round < 3000; ++round) {
      const std::size_t n = random() % 100;
      if (random() % 2) {
        for (void* p : take_many(n, 56)) all.push_back(p);
      } else {
        for (std::size_t i = 0; i < n && !all.empty(); ++i, all.pop_back()) give(all.back(), 56);
      }
      const std::size_t c = pool::class_of(56);
      std::size_t length = 0;
      for (const pool::block* b = pool::mine.first[c]; b; b = b->next) ++length;
      if (!pool::mine.known) continue;
      ASSERT_LE(length + pool::mine.room[c], pool::most_kept(c)) << round;
      ASSERT_GE(length + pool::mine.room[c], pool::most_kept(c) / 2) << round;
    }
    give_all(all, 56);
  });
}

TEST(Pool, FailureLeavesEverythingAsItWas) {
  for (std::size_t c = 0; c < pool::classes; ++c) {
    const std::size_t bytes = pool::size_of(c);
    const std::size_t before_all = pool::out(c);
    in_thread([bytes] {
      for (int round = 0; round < 3; ++round) {
        std::vector<void*> all;
        no_more = true;
        const long before = slabs;
        try {
          for (;;) all.push_back(take(bytes));  // what is there is to be had
        } catch (const std::bad_alloc&) {}
        EXPECT_THROW(take(bytes), std::bad_alloc);
        EXPECT_EQ(slabs, before);
        no_more = false;
        all.push_back(take(bytes));
        EXPECT_EQ(slabs, before + 1);
        for (int i = 0; i < 500; ++i) all.push_back(take(bytes));
        give_all(all, bytes);
      }
    });
    EXPECT_EQ(pool::out(c), before_all) << bytes;
  }
}

// An operator new or delete that makes contexts itself.
TEST(Pool, OperatorNewMayUseThePool) {
  const std::size_t before = out(56);
  in_thread([] {
    meanwhile = [] {
      const auto few = take_many(150, 56);
      give_all(few, 56);
    };
    for (int round = 0; round < 100; ++round) give_all(take_many(5000, 56), 56);
    meanwhile = nullptr;
  });
  EXPECT_EQ(out(56), before);
}

TEST(Pool, AnEndedThreadsBlocksAreForOthers) {
  const std::size_t before = out(56);
  std::vector<void*> few;
  in_thread([&few] { few = take_many(40, 56); });
  const long made_before = slabs_made;
  for (int i = 0; i < 100; ++i) in_thread([] { give_all(take_many(60, 56), 56); });
  EXPECT_LE(slabs_made, made_before + 3);
  in_thread([&few] { give_all(few, 56); });
  EXPECT_EQ(out(56), before);
}

namespace {
void* last_block = nullptr;
int rounds_left = 3;
pthread_key_t late;
void after_the_pool(void*) {
  // Again and again: until the pool's own function has run, whatever the order of keys.
  give(last_block, 56);
  give_all(take_many(200, 56), 56);
  last_block = take(56);
  if (--rounds_left > 0) {
    ::pthread_setspecific(late, &late);
  } else {
    EXPECT_TRUE(pool::mine.over);
    give(last_block, 56);
  }
}
}  // namespace

TEST(Pool, AThreadThatIsAboutToEndMayStillUseIt) {
  const std::size_t before = out(56);
  ASSERT_EQ(::pthread_key_create(&late, after_the_pool), 0);
  in_thread([] {
    last_block = take(56);
    ::pthread_setspecific(late, &late);
  });
  EXPECT_EQ(rounds_left, 0);
  EXPECT_EQ(out(56), before) << "nothing stayed on a list that nobody empties";
}

TEST(Pool, StaticDestructionMayUseIt) {
  EXPECT_EXIT(
      {
        static struct holder {
          std::vector<void*> all = take_many(1000, 80);
          ~holder() {
            give_all(all, 80);
            give_all(take_many(1000, 80), 80);
          }
        } at_exit;
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
}

// Blocks that one thread takes and another gives back: neither more and more memory, nor a lock for each.
TEST(Pool, ProducerAndConsumer) {
  constexpr std::size_t bytes = 112;
  constexpr std::size_t depth = 256;
  const long n = 400'000 / slower;
  std::array<std::atomic<void*>, depth> ring{};
  long locked_gives = 0;
  const long before = slabs;
  std::thread consumer([&] {
    for (long i = 0; i < n; ++i) {
      auto& slot = ring[static_cast<std::size_t>(i) % depth];
      void* p = slot.exchange(nullptr, std::memory_order_acquire);
      while (!p) {
        slot.wait(nullptr, std::memory_order_relaxed);
        p = slot.exchange(nullptr, std::memory_order_acquire);
      }
      slot.notify_one();
      if (pool::mine.room[pool::class_of(bytes)] == 0) ++locked_gives;
      give(p, bytes);
    }
  });
  for (long i = 0; i < n; ++i) {
    void* p = take(bytes);
    std::memset(p, 1, bytes);
    auto& slot = ring[static_cast<std::size_t>(i) % depth];
    for (void* full = slot.load(std::memory_order_relaxed); full; full = slot.load(std::memory_order_relaxed))
      slot.wait(full, std::memory_order_relaxed);
    slot.store(p, std::memory_order_release);
    slot.notify_one();
  }
  consumer.join();
  EXPECT_LE(slabs, before + 8);
  EXPECT_LE(locked_gives, n / 30);
}

// Threads that take, write, hand over and give, with more than their lists hold. Fails without the lock in
// spill(), and without the one in refill() (by what is written; under ThreadSanitizer by its word).
TEST(PoolRace, TakenByOneGivenByAnother) {
  constexpr std::size_t places = 512;
  constexpr std::size_t bytes = 64;
  const std::size_t before = out(bytes);
  std::array<std::atomic<std::uint64_t*>, places> shared{};
  std::atomic<long> wrong{0};
  const auto check_and_give = [&wrong](std::uint64_t* p) {
    for (std::size_t i = 1; i < bytes / 8; ++i) wrong += p[i] != p[0];
    give(p, bytes);
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int round = 0; round < 300'000 / slower; ++round) {
        auto* p = static_cast<std::uint64_t*>(take(bytes));
        std::fill_n(p, bytes / 8, random());
        // acq_rel: what is written goes with the block.
        if (auto* old = shared[random() % places].exchange(p, std::memory_order_acq_rel)) check_and_give(old);
        if (round % 1000 == 0) {
          for (auto& s : shared) {
            if (auto* old = s.exchange(nullptr, std::memory_order_acq_rel)) check_and_give(old);
          }
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  in_thread([&] {
    for (auto& s : shared) {
      if (auto* old = s.load(std::memory_order_relaxed)) check_and_give(old);
    }
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(out(bytes), before);
}

// Fails without the lock where refill() adds a slab (under ThreadSanitizer by its word).
TEST(PoolRace, GrowingTogether) {
  const std::size_t before = out(48);
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&ready] {
      ++ready;
      while (ready < 4) std::this_thread::yield();
      meanwhile = [] { std::this_thread::yield(); };  // others come between
      for (int round = 0; round < 10; ++round) give_all(take_many(4000, 48), 48);
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(out(48), before);
}

namespace {
pthread_key_t late_too;
std::atomic<int> late_threads{0};
thread_local int late_rounds = 3;
void use_it_together(void*) {
  if (--late_rounds > 0) return static_cast<void>(::pthread_setspecific(late_too, &late_too));
  EXPECT_TRUE(pool::mine.over);
  ++late_threads;
  while (late_threads < 3) std::this_thread::yield();
  for (int round = 0; round < 50; ++round) give_all(take_many(100, 48), 48);
}
}  // namespace

// Fails without the locks of those who have no list (under ThreadSanitizer by its word).
TEST(PoolRace, ThreadsThatAreAboutToEnd) {
  const std::size_t before = out(48);
  ASSERT_EQ(::pthread_key_create(&late_too, use_it_together), 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([] {
      give_all(take_many(1, 48), 48);
      ::pthread_setspecific(late_too, &late_too);
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(late_threads, 3);
  EXPECT_EQ(out(48), before);
}

// Fails (its child hangs) without forked().
TEST(PoolRace, ForkWhileOthersAreInside) {
  if (under_tsan || under_asan) GTEST_SKIP() << "their own locks do not bear it";
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&over] {
      while (!over) {
        for (std::size_t c = 4; c < 8; ++c) give_all(take_many(130, pool::size_of(c)), pool::size_of(c));
      }
    });
  }
  for (int round = 0; round < 40; ++round) {
    std::vector<void*> mine;
    for (std::size_t c = 4; c < 8; ++c) mine.push_back(take(pool::size_of(c)));
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::alarm(20);
      for (std::size_t c = 4; c < 8; ++c) {
        const std::size_t bytes = pool::size_of(c);
        give(mine[c - 4], bytes);
        for (int i = 0; i < 2; ++i) {
          const auto all = take_many(1000, bytes);
          for (void* p : all) std::memset(p, 1, bytes);
          give_all(all, bytes);
        }
      }
      ::_exit(7);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << round << ": " << status;
    for (std::size_t c = 4; c < 8; ++c) give(mine[c - 4], pool::size_of(c));
  }
  over = true;
  for (auto& t : threads) t.join();
}
