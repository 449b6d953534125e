// Callbacks and functions against cancel, unregistration and each other: invariants 5 and 6.
#include "rounds.hpp"

#include <heed/heed.hpp>

#include <memory>
#include <optional>

namespace {
using callback = heed::cancel_callback<std::function<void()>>;
}

// Case 4: registered while the cancel runs: exactly once, by the canceler or inline. As the first of all
// there, and not (H4).
TEST(CallbackRace, RegisteredWhileCancelingRunsOnce) {
  std::optional<heed::cancelable> c;
  bool first = false;
  std::array<std::optional<callback>, 2> cb;
  std::array<std::atomic<int>, 2> calls{};
  const auto enlist = [&](std::size_t i) { cb[i].emplace(c->ctx, [&calls, i] { ++calls[i]; }); };
  race::rounds(
      8000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        first = !first;
        if (!first) {
          const heed::cancel_callback before(c->ctx, [] {});
        }
        calls[0] = calls[1] = 0;
      },
      {[&] { c->cancel(); }, [&] { enlist(0); }, [&] { enlist(1); }},
      [&] {
        EXPECT_EQ(calls[0], 1);
        EXPECT_EQ(calls[1], 1);
        for (auto& each : cb) each.reset();
        c.reset();
      });
}

// Case 6 and invariant 6: after the destructor nothing runs, and what the callback wrote is visible.
TEST(CallbackRace, NeverAfterItsDestructor) {
  std::optional<heed::cancelable> c;
  race::rounds(
      8000 / slower, [&] { c.emplace(heed::with_cancel(heed::background())); },
      {[&] { c->cancel(); },
       [&] {
         auto alive = std::make_unique<int>(0);
         {
           const heed::cancel_callback cb(c->ctx, [&] { ++*alive; });
         }
         EXPECT_LE(*alive, 1);
         alive.reset();  // a late call would touch freed memory
       },
       [&] {
         int plain = 0;  // not atomic: only the destructor orders it
         {
           const heed::cancel_callback cb(c->ctx, [&] { plain = 7; });
         }
         EXPECT_TRUE(plain == 0 || plain == 7);
       }},
      [&] { c.reset(); });
}

// Case 6: unregistering waits for its own callback, not for another one of the same context.
TEST(CallbackRace, UnregisteringDoesNotWaitForOthers) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::atomic<int> running{0};
  std::atomic<bool> go_on{false};
  const auto block = [&] {
    running = 1;
    running.notify_all();
    go_on.wait(false);
  };
  auto other = std::make_unique<callback>(ctx, [] {});
  auto blocking = std::make_unique<callback>(ctx, block);
  auto third = std::make_unique<callback>(ctx, [] {});
  std::jthread canceler([&cancel] { cancel(); });
  running.wait(0);
  other.reset();  // one of the two has not run yet; both return at once
  third.reset();
  EXPECT_FALSE(go_on);
  std::atomic<bool> gone{false};
  std::jthread dropper([&] {
    blocking.reset();
    EXPECT_TRUE(go_on) << "the destructor returned while the callback ran";
    gone = true;
  });
  go_on = true;
  go_on.notify_all();
  dropper.join();
  EXPECT_TRUE(gone);
}

// Case 7: callbacks that unregister themselves and each other while more of them are dropped by another
// thread.
TEST(CallbackRace, CallbacksThatDropEachOther) {
  constexpr std::size_t many = 6;
  std::optional<heed::cancelable> c;
  std::array<std::unique_ptr<callback>, many> all;
  std::array<std::atomic<bool>, many> dropped{};
  std::atomic<int> calls{0};
  const auto drop = [&](std::size_t i) {
    if (!dropped[i].exchange(true)) all[i].reset();
  };
  race::rounds(
      4000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        calls = 0;
        for (std::size_t i = 0; i < many; ++i) {
          dropped[i] = false;
          // The even ones drop themselves, the odd ones their even neighbour.
          all[i] = std::make_unique<callback>(c->ctx, [&, i] {
            ++calls;
            drop(i % 2 ? i - 1 : i);  // nothing after it: the captures may be gone
          });
        }
      },
      {[&] { c->cancel(); }, [&] { drop(2); }, [&] { drop(4); }},
      [&] {
        EXPECT_LE(calls, static_cast<int>(many));
        EXPECT_GE(calls, static_cast<int>(many) / 2);
        for (auto& cb : all) cb.reset();
        c.reset();
      });
}

// Case 8: the callback destroys the last handle on its own context, from inside cancel().
TEST(CallbackRace, CallbackDropsTheLastHandles) {
  std::optional<heed::cancelable> c;
  std::unique_ptr<callback> cb;
  std::atomic<bool> dropped{false};
  const auto drop = [&] {
    if (!dropped.exchange(true)) c.reset();
  };
  heed::canceler stop;
  race::rounds(
      6000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background()));
        stop = c->cancel.share();
        dropped = false;
        cb = std::make_unique<callback>(c->ctx, [&] { drop(); });
      },
      {[&] { stop(); },
       [&, copy = heed::canceler()]() mutable {
         copy = stop;
         copy("also");
         copy = {};
       }},
      [&] {
        stop = {};
        cb.reset();
        EXPECT_TRUE(dropped);
      });
}

// Case 10: stop() from two threads and a cancel: one true at most, and then F has not run and will not.
TEST(AfterFuncRace, StopAgainstFiring) {
  std::optional<heed::cancelable> c;
  heed::stop_func stop;
  std::atomic<int> ran{0};
  std::atomic<int> stopped{0};
  std::atomic<int> destroyed{0};
  struct counted {
    std::atomic<int>* on;
    explicit counted(std::atomic<int>& n) : on(&n) {}
    counted(counted&& o) noexcept : on(std::exchange(o.on, nullptr)) {}
    ~counted() {
      if (on) ++*on;
    }
  };
  heed::manual_scheduler time;
  race::rounds(
      6000 / slower,
      [&] {
        c.emplace(heed::with_cancel(heed::background(time)));
        ran = stopped = destroyed = 0;
        stop = heed::after_func(c->ctx, [&ran, token = counted(destroyed)] { ++ran; });
      },
      {[&] { c->cancel(); },
       [&] {
         const heed::stop_func mine = stop;
         if (mine()) {
           ++stopped;
           EXPECT_EQ(destroyed, 1);
         }
       },
       [&] {
         if (stop()) ++stopped;
       },
       [&] { time.run_pending(); }},
      [&] {
        time.run_pending();
        EXPECT_EQ(ran + stopped, 1);
        EXPECT_EQ(destroyed, 1);
        EXPECT_FALSE(stop());
        stop = {};
        c.reset();
      });
}

// The lifetime rule of after_func under fire: the last handles on a chain go on several threads at once; F is
// destroyed unrun, exactly once, also where somebody still has a context below.
TEST(AfterFuncRace, AbandonedByDropsFromEverySide) {
  std::vector<std::optional<heed::cancelable>> chain(3);
  std::optional<heed::cancelable> lowest;
  int round = 0;
  std::atomic<int> ran{0};
  std::atomic<int> destroyed{0};
  const auto add = [&](const heed::context& ctx) {
    std::shared_ptr<void> token(nullptr, [&](void*) { ++destroyed; });
    heed::after_func(ctx, [&ran, token = std::move(token)] { ++ran; });
  };
  const auto let_go = [&](std::size_t i) {
    chain[i]->cancel.release();
    chain[i].reset();
  };
  race::rounds(
      6000 / slower,
      [&] {
        ran = destroyed = 0;
        heed::context above;
        for (auto& c : chain) {
          c.emplace(heed::with_cancel(above));
          above = c->ctx;
          // Without one, a context that has one child is let go of in fewer steps.
          if (&c == &chain.back() || round % 2 == 0) add(above);
        }
        if (round % 3 != 0) lowest.emplace(heed::with_cancel(above));
      },
      {[&] { let_go(0); }, [&] { let_go(1); }, [&] { let_go(2); }},
      [&] {
        EXPECT_EQ(ran, 0);
        EXPECT_EQ(destroyed, round % 2 == 0 ? 3 : 1);
        lowest.reset();
        ++round;
      });
}

// The same with a cancel of the root among them: each F runs once, or is destroyed unrun, never both, never
// none.
TEST(AfterFuncRace, AbandonedOrRunNeverBoth) {
  heed::manual_scheduler time;
  std::vector<std::optional<heed::cancelable>> chain(3);
  std::atomic<int> ran{0};
  std::atomic<int> destroyed{0};
  race::rounds(
      6000 / slower,
      [&] {
        ran = destroyed = 0;
        heed::context above = heed::background(time);
        for (auto& c : chain) {
          c.emplace(heed::with_cancel(above));
          above = c->ctx;
          std::shared_ptr<void> token(nullptr, [&](void*) { ++destroyed; });
          heed::after_func(above, [&ran, token = std::move(token)] { ++ran; });
        }
      },
      {[&] { chain[0].reset(); },  // cancels
       [&] {
         chain[1]->cancel.release();
         chain[1].reset();
       },
       [&] {
         chain[2]->cancel.release();
         chain[2].reset();
       }},
      [&] {
        time.run_pending();
        EXPECT_EQ(destroyed, 3);
        EXPECT_EQ(ran, 3) << "the root's cancel_func could end all three until it did";
      });
}
