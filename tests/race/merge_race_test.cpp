// Merges: two walks that meet (M1 to M4 of src/merge.cpp; invariant 3).
#include "rounds.hpp"

#include <heed/heed.hpp>

#include <optional>
#include <vector>

using namespace std::chrono_literals;

namespace {

// Two roots, each above a merge that hangs below the other one's first, with children below: walks from both
// roots turn what the other one has still to see done.
struct crossed {
  heed::cancelable a = heed::with_cancel(heed::background());
  heed::cancelable b = heed::with_cancel(heed::background());
  heed::cancelable a_inner = heed::with_cancel(a.ctx);
  heed::cancelable b_inner = heed::with_cancel(b.ctx);
  heed::cancelable ab = heed::merge(a_inner.ctx, b_inner.ctx);
  heed::cancelable ba = heed::merge(b_inner.ctx, a.ctx);
  heed::cancelable both = heed::merge(ab.ctx, ba.ctx);
  std::vector<heed::cancelable> below;

  crossed() {
    for (int i = 0; i < 100; ++i) {
      below.push_back(heed::with_cancel(i % 3 == 0 ? ab.ctx : i % 3 == 1 ? ba.ctx : both.ctx));
    }
  }
  void expect_all_done() const {
    EXPECT_TRUE(ab.ctx.done());
    EXPECT_TRUE(ba.ctx.done());
    EXPECT_TRUE(both.ctx.done());
    for (const auto& c : below) {
      EXPECT_TRUE(c.ctx.done());
      EXPECT_TRUE(c.ctx.cause());
    }
  }
};

}  // namespace

// Invariant 3 from both sides at once: whichever cancel() returns, everything below both is done.
TEST(MergeRace, BothParentsEndAtOnce) {
  std::optional<crossed> s;
  race::rounds(
      1500 / slower, [&] { s.emplace(); },
      {[&] {
         EXPECT_TRUE(s->a.cancel("a"));
         s->expect_all_done();
       },
       [&] {
         EXPECT_TRUE(s->b.cancel("b"));
         s->expect_all_done();
       }},
      [&] {
        const auto why = s->both.ctx.cause().message();
        EXPECT_TRUE(why == "a" || why == "b");
        s.reset();
      });
}

// The same, while others end nodes in between, and the merges themselves.
TEST(MergeRace, EndedInTheMiddleToo) {
  std::optional<crossed> s;
  race::rounds(
      1500 / slower, [&] { s.emplace(); },
      {[&] {
         if (s->a.cancel("a")) s->expect_all_done();
       },
       [&] {
         EXPECT_TRUE(s->b_inner.cancel("b inner"));
         s->expect_all_done();
       },
       [&] {
         if (s->ab.cancel("ab")) {
           EXPECT_TRUE(s->both.ctx.done());
         }
       }},
      [&] { s.reset(); });
}

// M1, M2: a merge made while its parents are being ended is done when those are.
TEST(MergeRace, MadeWhileAParentEnds) {
  std::optional<heed::cancelable> a;
  std::optional<heed::cancelable> b;
  std::optional<heed::cancelable> chain;
  race::rounds(
      8000 / slower,
      [&] {
        a = heed::with_cancel(heed::background());
        b = heed::with_cancel(heed::background());
        chain = heed::with_cancel(a->ctx);
        for (int i = 0; i < 20; ++i) {
          auto next = heed::with_cancel(chain->ctx);
          chain->cancel.release();
          chain = std::move(next);
        }
      },
      {[&] {
         auto m = heed::merge(b->ctx, chain->ctx);
         auto c = heed::with_cancel(m.ctx);
         c.ctx.wait();
         EXPECT_EQ(c.ctx.cause().message(), "a");
       },
       [&] {
         const heed::context below = chain->ctx;
         auto m = heed::merge(below, b->ctx);
         a->cancel("a");
         EXPECT_TRUE(m.ctx.done());
         EXPECT_TRUE(below.done());
       },
       [&] {
         auto m = heed::merge(chain->ctx, b->ctx);
         auto mm = heed::merge(b->ctx, m.ctx);
         a->ctx.wait();
       }},
      [&] {});
}

// Invariant 3's story by way of the second parent: the merge is just being ended by its own cancel.
TEST(MergeRace, EndOfTheSecondParentWaitsForTheMergesOwn) {
  struct subject {
    heed::cancelable a = heed::with_cancel(heed::background());
    heed::cancelable b = heed::with_cancel(heed::background());
    heed::cancelable m = heed::merge(a.ctx, b.ctx);
    std::vector<heed::cancelable> below;
    subject() {
      for (int i = 0; i < 3000; ++i) below.push_back(heed::with_cancel(m.ctx));
    }
  };
  std::optional<subject> s;
  race::rounds(
      1000 / slower, [&] { s.emplace(); },
      {[&] { s->m.cancel("own"); },
       [&] {
         race::spin_until([&] { return bool(s->m.ctx.err()); });
         EXPECT_TRUE(s->b.cancel("b"));
         for (const auto& c : s->below) EXPECT_TRUE(c.ctx.done());
       }},
      [&] { s.reset(); });
}

// Two threads make merges crosswise under live parents and end one each; a third one ends a root.
TEST(MergeRace, MadeEndedAndDroppedAtOnce) {
  std::optional<heed::cancelable> a;
  std::optional<heed::cancelable> b;
  const auto work = [&](heed::cancelable& x, heed::cancelable& y, const char* why) {
    heed::context kept;
    for (int i = 0; i < 20; ++i) {
      auto m = heed::merge(x.ctx, y.ctx);
      auto mm = heed::merge(y.ctx, m.ctx);
      auto child = heed::with_cancel(mm.ctx);
      if (i % 3 == 0 && m.cancel(why)) {
        EXPECT_TRUE(child.ctx.done());
      }
      kept = child.ctx;
      if (i == 10) x.cancel(why);
    }
    EXPECT_TRUE(kept.done());
  };
  race::rounds(
      2000 / slower,
      [&] {
        a = heed::with_cancel(heed::background());
        b = heed::with_cancel(heed::background());
      },
      {[&] { work(*a, *b, "one"); }, [&] { work(*b, *a, "other"); },
       [&] {
         for (int i = 0; i < 20; ++i) {
           auto m = heed::merge(a->ctx, b->ctx);
           m.cancel.release();
         }
       }},
      [&] {
        EXPECT_TRUE(a->ctx.done());
        EXPECT_TRUE(b->ctx.done());
      });
}

// Case 9 with two parents: the last handles of the parents and of the merge go while one of them is ended.
TEST(MergeRace, DroppedByEverybodyAtOnce) {
  std::optional<heed::cancelable> a;
  std::optional<heed::cancelable> b;
  std::optional<heed::cancelable> m;
  std::atomic<int> ran{0};
  race::rounds(
      8000 / slower,
      [&] {
        a = heed::with_cancel(heed::background());
        b = heed::with_cancel(heed::background());
        m = heed::merge(a->ctx, b->ctx);
        m->cancel.release();
        ran = 0;
      },
      {[&] {
         const heed::cancel_callback count(m->ctx, [&] { ++ran; });
         b->cancel("b");
         EXPECT_EQ(ran, 1);
         b.reset();
       },
       [&] {
         a->cancel.release();
         a.reset();
       },
       [&] { auto child = heed::with_cancel(m->ctx); }},
      [&] { m.reset(); });
}

// Neither parent can end it any more, noticed by two threads at once: its function goes once, unrun.
TEST(MergeRace, AbandonedByBothParentsAtOnce) {
  struct counted {
    std::atomic<int>* alive;
    explicit counted(std::atomic<int>& n) : alive(&n) { ++n; }
    counted(const counted& other) : alive(other.alive) { ++*alive; }
    ~counted() { --*alive; }
  };
  std::optional<heed::cancelable> a;
  std::optional<heed::cancelable> b;
  std::atomic<int> alive{0};
  race::rounds(
      8000 / slower,
      [&] {
        a = heed::with_cancel(heed::background());
        b = heed::with_cancel(heed::background());
        auto m = heed::merge(a->ctx, b->ctx);
        heed::after_func(m.ctx, [kept = counted(alive)] { ADD_FAILURE() << "nothing ends it"; });
        m.cancel.release();
      },
      {[&] {
         a->cancel.release();
         a.reset();
       },
       [&] {
         b->cancel.release();
         b.reset();
       }},
      [&] { EXPECT_EQ(alive, 0); });
}

// A deadline of the one parent against a cancel of the other.
TEST(MergeRace, DeadlineAgainstCancel) {
  std::optional<heed::cancelable> a;
  std::optional<heed::cancelable> b;
  std::optional<heed::cancelable> m;
  race::rounds(
      2000 / slower,
      [&] {
        a = heed::with_cancel(heed::background());
        b = heed::with_timeout(heed::background(), 20us);
        m = heed::merge(a->ctx, b->ctx);
      },
      {[&] {
         a->cancel("a");
         EXPECT_TRUE(m->ctx.done());
       },
       [&] {
         m->ctx.wait();
         const bool late = m->ctx.err() == heed::errc::deadline_exceeded;
         EXPECT_EQ(m->ctx.cause() == heed::errc::deadline_exceeded, late);
         if (late) {
           EXPECT_EQ(b->ctx.err(), heed::errc::deadline_exceeded);
         }
       }},
      [&] { m.reset(); });
}
