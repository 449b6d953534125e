// What a callback may do to its context, to itself and to others, on one thread (cases 7, 8, 13 to 15).
#include <heed/heed.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

using namespace std::chrono_literals;

namespace {
using callback = heed::cancel_callback<std::function<void()>>;
}

TEST(CancelCallback, RunsOnceOnTheCancelingThreadWithEverythingBelowDone) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  auto [child, cancel_child] = heed::with_cancel(ctx);
  int calls = 0;
  std::vector<bool> seen;
  const heed::cancel_callback on_parent(ctx, [&] {
    ++calls;
    seen.push_back(child.done());
  });
  const heed::cancel_callback on_child(child, [&] {
    ++calls;
    seen.push_back(ctx.done());
  });
  EXPECT_EQ(calls, 0);
  EXPECT_TRUE(cancel());
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(seen, (std::vector<bool>{true, true}));
  EXPECT_FALSE(cancel());
  EXPECT_EQ(calls, 2);
}

TEST(CancelCallback, RunsAtOnceWhenDoneAndNeverOnBackground) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  cancel();
  bool ran = false;
  const heed::cancel_callback cb(ctx, [&] { ran = true; });
  EXPECT_TRUE(ran);
  const heed::cancel_callback never(heed::background(), [] { FAIL(); });
}

TEST(CancelCallback, UnregisteredDoesNotRun) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  {
    const heed::cancel_callback cb(ctx, [] { FAIL(); });
  }
  cancel();
}

TEST(CancelCallback, MoveOnlyAndReferenceCallables) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  int n = 0;
  auto owned = std::make_unique<int>(5);
  const heed::cancel_callback moved(ctx, [&n, owned = std::move(owned)] { n += *owned; });
  auto plain = [&n] { n += 1; };
  const heed::cancel_callback<decltype(plain)&> referred(ctx, plain);
  cancel();
  EXPECT_EQ(n, 6);
}

// Case 7, whichever the order is in which they run.
TEST(CancelCallback, DropsItselfItsNeighboursAndAll) {
  for (std::size_t dropper = 0; dropper < 5; ++dropper) {
    for (int what = 0; what < 4; ++what) {
      auto [ctx, cancel] = heed::with_cancel(heed::background());
      std::array<std::unique_ptr<callback>, 5> all;
      int calls = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        all[i] = std::make_unique<callback>(ctx, [&, i] {
          ++calls;
          if (i != dropper) return;
          auto& every = all;  // the captures go with this callback
          const int how = what;
          if (how == 0) every[i].reset();
          if (how == 1) every[(i + 1) % 5].reset();
          if (how == 2) every[(i + 4) % 5].reset();
          if (how == 3) {
            for (auto& cb : every) cb.reset();
          }
        });
      }
      cancel();
      EXPECT_GE(calls, what == 0 ? 5 : 1);
      EXPECT_LE(calls, 5);
    }
  }
}

// The callable lives until its handle dies, also after it has run (libstdc++ once moved it out before the
// call).
TEST(CancelCallback, CallableLivesAsLongAsItsHandle) {
  auto token = std::make_shared<int>(0);
  const std::weak_ptr<int> watch = token;
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  {
    const heed::cancel_callback cb(ctx, [token = std::move(token)] {});
    cancel();
    EXPECT_FALSE(watch.expired());
  }
  EXPECT_TRUE(watch.expired());
}

// Case 8.
TEST(CancelCallback, DestroysItsHandleTheContextAndTheLastSource) {
  auto made = std::make_unique<heed::cancelable>(heed::with_cancel(heed::background()));
  std::unique_ptr<callback> cb;
  bool ran = false;
  cb = std::make_unique<callback>(made->ctx, [&] {
    bool& told = ran;
    auto& source = made;
    cb.reset();      // and with it what this lambda has captured
    source.reset();  // also the cancel_func whose call we are in
    told = true;
  });
  made->cancel();
  EXPECT_TRUE(ran);
  EXPECT_FALSE(made);
}

// Case 15.
TEST(CancelCallback, MayUseTheContextAnyhow) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  int late = 0;
  const heed::cancel_callback cb(ctx, [&] {
    EXPECT_FALSE(cancel("again"));
    auto [child, cancel_child] = heed::with_cancel(ctx);
    EXPECT_TRUE(child.done());
    EXPECT_FALSE(cancel_child());
    auto [timed, cancel_timed] = heed::with_timeout(ctx, 1h);
    EXPECT_EQ(timed.err(), heed::errc::canceled);
    const heed::cancel_callback more(ctx, [&] { ++late; });
    heed::after_func(ctx, [] {});
    ctx.wait();
    EXPECT_TRUE(ctx.wait_for(1h));
    EXPECT_GE(ctx.done_fd(), 0);
    EXPECT_EQ(ctx.cause().message(), "first");
  });
  EXPECT_TRUE(cancel("first"));
  EXPECT_EQ(late, 1);
}

// A callback cancels an unrelated tree, whose callback cancels a third: walks nest.
TEST(CancelCallback, CancelsOtherTreesFromInside) {
  auto [a, cancel_a] = heed::with_cancel(heed::background());
  auto [b, cancel_b] = heed::with_cancel(heed::background());
  auto [c, cancel_c] = heed::with_cancel(heed::background());
  const heed::cancel_callback on_a(a, [&cancel_b] { cancel_b("from a"); });
  const heed::cancel_callback on_b(b, [&cancel_c] { cancel_c("from b"); });
  const heed::cancel_callback on_c(c, [&cancel_a] { EXPECT_FALSE(cancel_a()); });
  cancel_a();
  EXPECT_EQ(b.cause().message(), "from a");
  EXPECT_EQ(c.cause().message(), "from b");
}

// What hangs on a context whose handles are gone keeps it: the callback that goes last destroys it, without
// its lock.
TEST(Values, DestroyedByTheLastCallback) {
  static constexpr heed::key<std::shared_ptr<int>> held_key{"held"};
  const auto held = std::make_shared<int>(0);
  std::optional<heed::cancel_callback<void (*)()>> last;
  {
    auto c = heed::with_cancel(heed::with_value(heed::background(), held_key, held));
    last.emplace(c.ctx, [] { FAIL(); });
    c.cancel.release();
  }
  EXPECT_EQ(held.use_count(), 2) << "the callback keeps it";
  last.reset();
  EXPECT_EQ(held.use_count(), 1);
}

// Case 20: values are destroyed once, with no lock held: the destructor uses the context's own parent.
TEST(Values, DestructorMayUseTheLibrary) {
  struct busy {
    heed::context ctx;
    int* count;
    busy(heed::context c, int* n) : ctx(std::move(c)), count(n) {}
    busy(const busy&) = delete;
    ~busy() {
      auto [child, cancel] = heed::with_cancel(ctx);
      const heed::cancel_callback cb(child, [this] { ++*count; });
      cancel();
    }
  };
  static constexpr heed::key<busy> busy_key{"busy"};
  int count = 0;
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  {
    auto with = heed::with_value(ctx, busy_key, std::in_place, ctx, &count);
    auto [below, cancel_below] = heed::with_cancel(with);
    with = {};
    EXPECT_EQ(count, 0);
  }
  EXPECT_EQ(count, 1);
}

// Case 14.
namespace {

void throw_synchronously() {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  const heed::cancel_callback cb(ctx, [] { throw std::runtime_error("synchronous"); });
  cancel();
}

void throw_at_registration() {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  cancel();
  const heed::cancel_callback cb(ctx, [] { throw std::runtime_error("at registration"); });
}

void throw_on_a_thread_of_the_scheduler() {
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  const heed::cancel_callback cb(ctx, [] { throw std::runtime_error("from a deadline"); });
  heed::context().wait();
}

}  // namespace

TEST(CancelCallbackDeathTest, AnExceptionTerminates) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(throw_synchronously(), "");
  EXPECT_DEATH(throw_at_registration(), "");
  EXPECT_DEATH(throw_on_a_thread_of_the_scheduler(), "");
}

// F may ask for any alignment.
TEST(AfterFunc, KeepsTheAlignmentOfItsFunction) {
  struct alignas(64) wide {
    bool* right;
    void operator()() { *right = reinterpret_cast<std::uintptr_t>(this) % 64 == 0; }
  };
  struct alignas(16) half {
    bool* right;
    void operator()() { *right = reinterpret_cast<std::uintptr_t>(this) % 16 == 0; }
  };
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  bool wide_right = false;
  bool half_right = false;
  heed::after_func(ctx, wide{&wide_right});
  heed::after_func(ctx, half{&half_right});
  cancel();
  EXPECT_EQ(time.run_pending(), 2U);
  EXPECT_TRUE(wide_right);
  EXPECT_TRUE(half_right);
}
