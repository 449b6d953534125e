// Waits against notifications, cancels and each other: case 5, no wake-up is lost, and nothing is touched too
// late.
#include "rounds.hpp"

#include <heed/heed.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <array>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <type_traits>

namespace {

// All that a wait touches; gone as soon as the wait has returned, so that a late touch is one of freed
// memory.
template <class Mutex, class Variable, class Lock = std::unique_lock<Mutex>>
struct parts {
  using lock = Lock;
  Mutex mutex;
  Variable cv;
  bool ready = false;
};
using standard = parts<std::mutex, std::condition_variable>;
using any = parts<std::mutex, std::condition_variable_any>;
using any_recursive = parts<std::recursive_mutex, std::condition_variable_any>;
using any_heed = parts<heed::mutex, std::condition_variable_any>;
using any_shared = parts<std::shared_mutex, std::condition_variable_any, std::shared_lock<std::shared_mutex>>;

enum class how { free, holding, holding_twice };

template <class Parts>
class ConditionRace : public testing::Test {
 protected:
  // One waits, and the others end the wait by these means, in whichever order. `notified`: somebody makes it
  // hold.
  void run(int rounds, how cancel_how, bool notified) {
    std::optional<heed::cancelable> c;
    std::unique_ptr<Parts> p;
    std::atomic<int> inside{0};  // the threads that still use what `p` owns, but for the waiting one
    const auto leave = [&] {
      if (--inside == 0) inside.notify_all();
    };
    race::rounds(
        rounds / slower,
        [&] {
          c.emplace(heed::with_cancel(heed::background()));
          p = std::make_unique<Parts>();
          inside = notified ? 2 : 1;
        },
        {[&] {
           typename Parts::lock lock(p->mutex);
           const std::error_code e = heed::wait(c->ctx, p->cv, lock, [&] { return p->ready; });
           EXPECT_EQ(!e, p->ready) << "{} exactly when it holds";
           if (e) {
             EXPECT_EQ(e, heed::errc::canceled);
           }
           lock.unlock();
           lock = {};
           for (int n = inside; n != 0; n = inside) inside.wait(n);
           p.reset();  // a helper that is late would touch freed memory
         },
         [&] {
           if (cancel_how == how::free) {
             c->cancel();
           } else {
             const std::lock_guard lock(p->mutex);
             if constexpr (std::is_same_v<Parts, any_recursive>) {
               if (cancel_how == how::holding_twice) {
                 const std::lock_guard again(p->mutex);
                 c->cancel();
               } else {
                 c->cancel();
               }
             } else {
               c->cancel();
             }
           }
           leave();
         },
         [&] {
           if (!notified) return;
           {
             const std::lock_guard lock(p->mutex);
             p->ready = true;
           }
           p->cv.notify_one();
           leave();
         }},
        [&] { c.reset(); });
  }
};
using kinds = testing::Types<standard, any, any_recursive, any_heed, any_shared>;
TYPED_TEST_SUITE(ConditionRace, kinds);

}  // namespace

TYPED_TEST(ConditionRace, CancelAlone) {
  this->run(6000, how::free, false);
}
TYPED_TEST(ConditionRace, CancelByWhoHoldsTheMutex) {
  this->run(3000, how::holding, false);
  this->run(1000, how::holding_twice, false);
}
TYPED_TEST(ConditionRace, CancelAgainstNotify) {
  this->run(6000, how::free, true);
}
TYPED_TEST(ConditionRace, CancelByWhoHoldsTheMutexAgainstNotify) {
  this->run(3000, how::holding, true);
}

// The cancel comes when the waiter has looked for the last time, and is about to sleep: the predicate starts
// it, and takes a random time then, so that over the rounds each instruction of the window is met.
TYPED_TEST(ConditionRace, CancelInTheWindow) {
  std::optional<heed::cancelable> c;
  TypeParam p;
  std::atomic<bool> about_to_sleep{false};
  std::minstd_rand random(static_cast<unsigned>(heed_test::seed()));
  race::rounds(
      20000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        about_to_sleep = false;
      },
      {[&] {
         typename TypeParam::lock lock(p.mutex);
         int looks = 0;
         EXPECT_EQ(heed::wait(c->ctx, p.cv, lock,
                              [&] {
                                if (++looks != 2) return false;
                                const auto steps = random() % 200;
                                about_to_sleep = true;
                                about_to_sleep.notify_one();
                                for (std::atomic<unsigned> n{0}; n < steps; ++n) {}
                                return false;
                              }),
                   heed::errc::canceled);
       },
       [&] {
         // Ten times what it takes where the other thread runs.
         for (int n = 0; n < 10'000 && !about_to_sleep; ++n) {}
         about_to_sleep.wait(false);
         c->cancel();
       }},
      [] {});
}

// Two wait on one condition variable, for two contexts: each end is noticed, whoever is woken by it.
TEST(ConditionRaces, TwoWaitersTwoContexts) {
  std::array<std::optional<heed::cancelable>, 2> c;
  standard p;
  const auto wait = [&](std::size_t i) {
    std::unique_lock lock(p.mutex);
    EXPECT_EQ(heed::wait(c[i]->ctx, p.cv, lock, [] { return false; }), heed::errc::canceled);
  };
  race::rounds(
      5000 / slower,
      [&] {
        for (auto& each : c) each.emplace(heed::with_cancel(heed::background()));
      },
      {[&] { wait(0); }, [&] { wait(1); }, [&] { c[0]->cancel(); }, [&] { c[1]->cancel(); }}, [] {});
}

TEST(WaitAnyRace, SeveralCancels) {
  std::array<std::optional<heed::cancelable>, 3> c;
  race::rounds(
      6000 / slower,
      [&] {
        for (auto& each : c) each.emplace(heed::with_cancel(heed::background()));
      },
      {[&] {
         const std::array contexts{heed::background(), c[0]->ctx, c[1]->ctx, c[2]->ctx};
         const std::size_t found = heed::wait_any(contexts);
         EXPECT_GT(found, 0U);
         EXPECT_TRUE(contexts.at(found).done());
       },
       [&] {
         const std::array contexts{c[2]->ctx, c[0]->ctx};
         EXPECT_TRUE(contexts.at(heed::wait_any(contexts)).done());
       },
       [&] { c[0]->cancel(); }, [&] { c[2]->cancel(); }},
      [] {});
}

TEST(FutureRace, ResultAgainstCancel) {
  std::optional<heed::cancelable> c;
  std::optional<std::promise<int>> promise;
  std::future<int> future;
  race::rounds(
      3000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        promise.emplace();
        future = promise->get_future();
      },
      {[&] {
         if (const std::error_code e = heed::wait(c->ctx, future)) {
           EXPECT_EQ(e, heed::errc::canceled);
         } else {
           EXPECT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::ready);
         }
       },
       [&] { c->cancel(); }, [&] { promise->set_value(1); }},
      [] {});
}
