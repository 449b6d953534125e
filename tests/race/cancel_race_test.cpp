// Cancelers, observers and children at once: invariants 1 to 4 of the tree.
#include "rounds.hpp"

#include <heed/heed.hpp>

#include <poll.h>
#include <optional>
#include <string>

using namespace std::chrono_literals;

namespace {

bool readable(int fd, int timeout_ms) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, timeout_ms) == 1;
}

// Everything that must hold of a context whose err() was just seen non-zero.
void expect_done_in_every_form(const heed::context& ctx, int fd) {
  EXPECT_TRUE(ctx.done());
  EXPECT_TRUE(ctx.cause());
  EXPECT_TRUE(ctx.canceled_at());
  EXPECT_TRUE(ctx.wait_for(0s));
  ctx.wait();
  if (fd >= 0) {
    EXPECT_TRUE(readable(fd, 0)) << "err() was non-zero, and the fd not readable";
  }
  bool ran = false;
  const heed::cancel_callback now(ctx, [&] { ran = true; });
  EXPECT_TRUE(ran);
}

struct subject {
  heed::cancelable parent = heed::with_cancel(heed::background());
  heed::cancelable own = heed::with_cancel(parent.ctx);
};

}  // namespace

// Case 1: err() non-zero <=> done, for a poller and for who sleeps on the fd; by an own cancel and a
// parent's.
TEST(CancelRace, ErrAndFdAgreeInBothDirections) {
  std::optional<subject> s;
  int fd = -1;
  int by = 0;
  race::rounds(
      4000 / slower,
      [&] {
        s.emplace();
        fd = s->own.ctx.done_fd();
        ++by;
      },
      {[&] { (by % 2 ? s->own : s->parent).cancel("why"); },
       [&] {
         race::spin_until([&] { return bool(s->own.ctx.err()); });
         expect_done_in_every_form(s->own.ctx, fd);
       },
       [&] {
         while (!readable(fd, 10'000)) {}
         EXPECT_TRUE(s->own.ctx.err()) << "the fd was readable, and err() zero";
       }},
      [&] { s.reset(); });
}

// The fd is made while the cancel runs.
TEST(CancelRace, FdMadeWhileCanceling) {
  std::optional<subject> s;
  std::atomic<int> first{-1};
  race::rounds(
      4000 / slower,
      [&] {
        s.emplace();
        first = -1;
      },
      {[&] { s->own.cancel(); },
       [&] {
         const int fd = s->own.ctx.done_fd();
         int none = -1;
         if (!first.compare_exchange_strong(none, fd)) {
           EXPECT_EQ(none, fd);
         }
         EXPECT_TRUE(readable(fd, 10'000));
         EXPECT_TRUE(s->own.ctx.err());
       },
       [&] {
         const int fd = s->own.ctx.done_fd();
         int none = -1;
         if (!first.compare_exchange_strong(none, fd)) {
           EXPECT_EQ(none, fd);
         }
         if (s->own.ctx.err()) {
           EXPECT_TRUE(readable(fd, 0));
         }
       }},
      [&] { s.reset(); });
}

// Cases 2 and 3: four cancelers, a parent and a deadline decide once; err, cause and place belong together.
TEST(CancelRace, OneVerdictWholeAndForGood) {
  heed::manual_scheduler time;
  std::optional<heed::cancelable> parent;
  std::optional<heed::cancelable> own;
  std::atomic<int> deciders{0};
  std::atomic<std::uint_least32_t> decided_line{0};
  const auto cancel_with = [&](const char* why) {
    const auto here = std::source_location::current();
    if (own->cancel(why, here)) {
      ++deciders;
      decided_line = here.line();
      EXPECT_EQ(own->ctx.cause().message(), why);
    }
    EXPECT_TRUE(own->ctx.done());
  };
  const auto watch = [&] {
    std::error_code e;
    race::spin_until([&] { return bool(e = own->ctx.err()); });
    const heed::error why = own->ctx.cause();
    const auto where = own->ctx.canceled_at();
    ASSERT_TRUE(why);
    ASSERT_TRUE(where);
    if (e == heed::errc::deadline_exceeded) {
      EXPECT_EQ(why.message(), "late");
    } else {
      EXPECT_TRUE(why.message() == "one" || why.message() == "two" || why.message() == "parent")
          << why.message();
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(own->ctx.err(), e);
      EXPECT_EQ(own->ctx.cause(), why);
      EXPECT_EQ(own->ctx.canceled_at()->line(), where->line());
    }
  };
  race::rounds(
      3000 / slower,
      [&] {
        parent.emplace(heed::with_cancel(heed::background(time)));
        own.emplace(heed::with_timeout(parent->ctx, 1s, "late"));
        deciders = 0;
      },
      {[&] { cancel_with("one"); }, [&] { cancel_with("two"); }, [&] { parent->cancel("parent"); },
       [&] { time.advance(1s); }, watch, watch},
      [&] {
        EXPECT_LE(deciders, 1);
        if (deciders == 1) {
          EXPECT_EQ(own->ctx.err(), heed::errc::canceled);
        }
        own.reset();
        parent.reset();
      });
}

// Case 3, the story of invariant 3: A over B over many children. B is in mid-cancel on one thread when A's
// cancel returns on another: everything below is done by then. And what hangs under a child of B, too.
TEST(CancelRace, NothingBelowIsOpenWhenCancelReturns) {
  std::optional<heed::cancelable> a;
  std::optional<heed::cancelable> b;
  std::vector<heed::cancelable> below;
  const auto expect_all_done = [&](const char* who) {
    for (std::size_t i = 0; i < below.size(); ++i) {
      if (!below[i].ctx.done()) {
        ADD_FAILURE() << who << " returned while descendant " << i << " was live";
        return;
      }
    }
  };
  race::rounds(
      400 / slower,
      [&] {
        a.emplace(heed::with_cancel(heed::background()));
        b.emplace(heed::with_cancel(a->ctx));
        for (int i = 0; i < 2000; ++i) {
          below.push_back(heed::with_cancel(b->ctx));
          below.push_back(heed::with_cancel(below.back().ctx));
          below.push_back(heed::with_cancel(below.back().ctx));
        }
      },
      {[&] {
         EXPECT_TRUE(a->cancel("a"));
         expect_all_done("A");
       },
       [&] {
         if (b->cancel("b")) expect_all_done("B");
       }},
      [&] {
        const std::string why = b->ctx.cause().message();
        for (const auto& c : below) EXPECT_EQ(c.ctx.cause().message(), why);
        EXPECT_EQ(a->ctx.cause().message(), "a");
        below.clear();
        b.reset();
        a.reset();
      });
}

// A chain in which every level is canceled by a thread of its own: each finds all below it done.
TEST(CancelRace, EveryLevelOfAChainAtOnce) {
  constexpr int depth = 64;
  std::vector<heed::cancelable> chain;
  const auto cancel_from = [&](int first) {
    for (int i = first; i < depth; i += 4) {
      if (!chain[static_cast<std::size_t>(i)].cancel()) continue;
      for (int j = i; j < depth; ++j) {
        EXPECT_TRUE(chain[static_cast<std::size_t>(j)].ctx.done()) << j << " below " << i;
      }
    }
  };
  race::rounds(
      1500 / slower,
      [&] {
        heed::context above;
        for (int i = 0; i < depth; ++i) {
          chain.push_back(heed::with_cancel(above));
          above = chain.back().ctx;
        }
      },
      {[&] { cancel_from(3); }, [&] { cancel_from(2); }, [&] { cancel_from(1); }, [&] { cancel_from(0); }},
      [&] {
        while (!chain.empty()) chain.pop_back();
      });
}

// A line of contexts with one child each, which is walked without a pin, and dropped meanwhile: from above as
// soon as each is done, and from below at any time.
TEST(CancelRace, ALineIsDroppedWhileItsTopEnds) {
  constexpr std::size_t depth = 8;
  constexpr static heed::key<heed_test::tracked> key{"tracked"};
  std::atomic<int> alive = 0;
  std::optional<heed::cancelable> top;
  std::vector<std::optional<heed::cancelable>> line(depth);
  std::optional<heed::context> value;
  race::rounds(
      20000 / slower,
      [&] {
        top.emplace(heed::with_cancel(heed::background()));
        for (std::size_t i = 0; i < depth; ++i)
          line[i].emplace(heed::with_cancel(i == 0 ? top->ctx : line[i - 1]->ctx));
        value.emplace(heed::with_value(line[depth / 2]->ctx, key, heed_test::tracked(alive)));
      },
      {[&] { EXPECT_TRUE(top->cancel()); },
       [&] {
         for (std::size_t i = 0; i < depth / 2; ++i) {
           race::spin_until([&] { return line[i]->ctx.done(); });
           line[i].reset();
         }
         value.reset();
       },
       [&] {
         for (std::size_t i = depth; i-- > depth / 2;) line[i].reset();
       }},
      [&] {
        EXPECT_EQ(alive, 0);
        top.reset();
      });
}

// Cases 3 and 9: children are made while the parent is canceled; each is done once cancel() has returned, or
// is born done. None is lost.
TEST(CancelRace, ChildrenMadeWhileCanceling) {
  std::optional<heed::cancelable> parent;
  std::vector<heed::cancelable> made[2];
  const auto make = [&](std::vector<heed::cancelable>& mine) {
    for (int i = 0; i < 40; ++i) {
      mine.push_back(heed::with_cancel(parent->ctx));
      if (i % 2) mine.push_back(heed::with_cancel(mine.back().ctx));
    }
  };
  race::rounds(
      3000 / slower, [&] { parent.emplace(heed::with_cancel(heed::background())); },
      {[&] { make(made[0]); }, [&] { make(made[1]); }, [&] { parent->cancel("gone"); }},
      [&] {
        for (auto& mine : made) {
          for (const auto& c : mine) {
            EXPECT_TRUE(c.ctx.done());
            EXPECT_EQ(c.ctx.cause().message(), "gone");
          }
          mine.clear();
        }
        parent.reset();
      });
}

// Case 5: waiters that are just about to sleep when the cancel runs.
TEST(CancelRace, NoWaiterIsForgotten) {
  std::optional<subject> s;
  int by = 0;
  race::rounds(
      6000 / slower,
      [&] {
        s.emplace();
        ++by;
      },
      {[&] { s->own.ctx.wait(); }, [&] { EXPECT_TRUE(s->own.ctx.wait_for(1h)); },
       [&] { s->parent.ctx.wait_for(0s); }, [&] { (by % 2 ? s->own : s->parent).cancel(); }},
      [&] { s.reset(); });
}

// Case 9: child dropped, parent dropped, cancel and attach, from three threads; nothing breaks, nothing
// leaks.
TEST(CancelRace, DropsCancelAndAttachInAnyOrder) {
  std::optional<heed::cancelable> parent;
  std::optional<heed::cancelable> child;
  std::optional<heed::context> second;
  heed::canceler stop;
  race::rounds(
      6000 / slower,
      [&] {
        parent.emplace(heed::with_cancel(heed::background()));
        child.emplace(heed::with_cancel(parent->ctx));
        second.emplace(parent->ctx);
        stop = parent->cancel.share();
      },
      {[&] { child.reset(); }, [&] { parent.reset(); },
       [&] {
         auto [mine, cancel] = heed::with_cancel(*second);
         second.reset();
         if (stop()) {
           EXPECT_TRUE(mine.done());
         } else {
           mine.wait();  // the one who decided may be on its way down
         }
       },
       [&] { stop("again"); }},
      [&] { stop = {}; });
}

// Invariant 4: what was written before cancel() is there once err() tells.
TEST(CancelRace, WritesBeforeCancelAreVisible) {
  std::optional<subject> s;
  int payload = 0;
  const auto read = [&] {
    race::spin_until([&] { return s->own.ctx.done(); });
    EXPECT_EQ(payload, 42);
  };
  race::rounds(
      4000 / slower,
      [&] {
        s.emplace();
        payload = 0;
      },
      {[&] {
         payload = 42;
         s->parent.cancel();
       },
       read, read},
      [&] { s.reset(); });
}

// Invariant 3: a deadline has ended a context and is still turning what is below it. Its last handle goes,
// and the parent's cancel must find it all the same, and wait. (A done node once left its parent's list too
// early.)
TEST(CancelRace, ParentFindsWhatADeadlineIsStillTurning) {
  heed::manual_scheduler time;
  std::optional<heed::cancelable> parent;
  std::optional<heed::cancelable> timed;
  std::vector<heed::context> below;
  race::rounds(
      300 / slower,
      [&] {
        parent.emplace(heed::with_cancel(heed::background(time)));
        timed.emplace(heed::with_timeout(parent->ctx, std::chrono::seconds(1)));
        for (int i = 0; i < 5000; ++i) {
          auto child = heed::with_cancel(timed->ctx);
          child.cancel.release();
          below.push_back(std::move(child.ctx));
        }
      },
      {[&] { time.advance(std::chrono::seconds(1)); },
       [&] {
         race::spin_until([&] { return timed->ctx.done(); });
         timed.reset();
         ASSERT_TRUE(parent->cancel());
         for (const auto& c : below) {
           if (!c.done()) {
             ADD_FAILURE() << "a descendant was live when cancel() returned";
             break;
           }
         }
       }},
      [&] {
        below.clear();
        parent.reset();
      });
}

// Invariants 1 and 3: what another thread has just ended is done in every form, its fd too, when the parent's
// cancel returns.
TEST(CancelRace, ParentsCancelReturnsWithEveryFdReadable) {
  std::optional<subject> s;
  int fd = -1;
  race::rounds(
      8000 / slower,
      [&] {
        s.emplace();
        fd = s->own.ctx.done_fd();
      },
      {[&] { s->own.cancel("own"); },
       [&] {
         s->parent.cancel("parent");
         EXPECT_TRUE(readable(fd, 0));
       }},
      [&] { s.reset(); });
}

// A custom context's source may speak from the first moment of its constructor on, on any thread.
TEST(CancelRace, CustomSourceEndsItWhileItIsBeingMade) {
  class eager final : public heed::custom_context {
   public:
    eager(anchor a, std::optional<heed::time_point> when)
        : custom_context(a), when_(when), source_([this] { end(heed::errc::canceled, "at once"); }) {}
    ~eager() override {
      // end() was the last to let go, and we are inside it.
      if (source_.get_id() == std::this_thread::get_id()) source_.detach();
    }
    std::optional<heed::time_point> deadline() const noexcept override { return when_; }

   private:
    std::optional<heed::time_point> when_;
    std::jthread source_;
  };
  const auto parent = heed::with_cancel(heed::background());
  for (int round = 0; round < 2000 / slower; ++round) {
    const auto when = heed::clock::now() + 1h;
    const auto made = heed::with_custom<eager>(parent.ctx, round % 2 ? std::optional(when) : std::nullopt);
    const auto below = heed::with_cancel(made.ctx);
    below.ctx.wait();
    EXPECT_EQ(below.ctx.cause().message(), "at once");
    EXPECT_EQ(made.ctx.deadline().has_value(), round % 2 == 1);
  }
}
