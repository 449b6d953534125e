// Groups: errors that come at once, the parent against them, places that are given up and taken, and the end.
#include <heed/group.hpp>
#include <heed/heed.hpp>

#include "rounds.hpp"

#include <array>
#include <barrier>
#include <memory>
#include <optional>

namespace {

using heed::context;
using heed::error;
using heed::group;

constexpr int some_rounds = 6000 / slower;

void linger(unsigned steps) {
  for (std::atomic<unsigned> n{0}; n < steps; ++n) {}
}

// Several tasks fail at once: one wins, wholly: it is what wait() says, the cause, and the place.
TEST(GroupRace, OneErrorWins) {
  std::array<error, 4> errors{"0", "1", "2", "3"};
  std::optional<group> g;
  std::barrier together(4);
  std::array<unsigned, 4> lines{};
  const auto fail = [&](std::size_t i) {
    return [&, i](const context&) {
      together.arrive_and_wait();
      return errors[i];
    };
  };
  race::rounds(
      some_rounds, [&] { g.emplace(heed::background()); },
      {
          [&] { g->go(fail(0)), lines[0] = __LINE__; },
          [&] { g->go(fail(1)), lines[1] = __LINE__; },
          [&] { g->go(fail(2)), lines[2] = __LINE__; },
          [&] { g->go(fail(3)), lines[3] = __LINE__; },
      },
      [&] {
        const error first = g->wait();
        ASSERT_TRUE(first);
        EXPECT_EQ(g->ctx().cause(), first);
        const auto i = static_cast<std::size_t>(first.message()[0] - '0');
        EXPECT_EQ(g->ctx().canceled_at()->line(), lines.at(i));
        EXPECT_EQ(g->wait(), first);
      });
}

// The first error is the cause, unless the parent was first; then wait() still tells it.
TEST(GroupRace, ParentAgainstTheFirstError) {
  const error mine("mine");
  const error theirs("theirs");
  std::optional<heed::cancelable> parent;
  std::optional<group> g;
  unsigned cancel_line = 0;
  unsigned go_line = 0;
  int parent_first = 0;
  std::atomic<bool> go_on = false;
  race::rounds(
      some_rounds,
      [&] {
        parent.emplace(heed::with_cancel(heed::background()));
        g.emplace(parent->ctx);
        go_on = false;
        const auto fail = [&](const context&) {
          while (!go_on) std::this_thread::yield();
          return mine;
        };
        g->go(fail), go_line = __LINE__;
      },
      {
          [&] { parent->cancel(theirs), cancel_line = __LINE__; },
          [&] { go_on = true; },
      },
      [&] {
        EXPECT_EQ(g->wait(), mine);
        const error cause = g->ctx().cause();
        EXPECT_TRUE(cause == mine || cause == theirs);
        EXPECT_EQ(g->ctx().canceled_at()->line(), cause == mine ? go_line : cancel_line);
        EXPECT_EQ(parent->ctx.cause(), theirs);
        if (cause == theirs) ++parent_first;
      });
  RecordProperty("parent_first", parent_first);
}

// A place is given up while others try for it, and while somebody waits in line: never two at once, none
// lost.
TEST(GroupRace, TryGoAgainstTheEndOfATask) {
  std::optional<group> g;
  std::atomic<int> inside = 0;
  std::atomic<int> ran = 0;
  std::atomic<int> accepted = 0;
  const auto task = [&](const context&) {
    EXPECT_EQ(++inside, 1);
    ++ran;
    linger(1000);
    --inside;
  };
  const auto try_twice = [&] {
    for (int i = 0; i < 2; ++i) {
      if (g->try_go(task)) ++accepted;
    }
  };
  race::rounds(
      some_rounds,
      [&] {
        g.emplace(heed::background());
        g->set_limit(1);
        ran = accepted = 0;
      },
      {
          try_twice,
          try_twice,
          [&] {
            g->go(task);
            ++accepted;
          },
      },
      [&] {
        EXPECT_FALSE(g->wait());
        EXPECT_EQ(ran, accepted);
        EXPECT_TRUE(g->try_go(task)) << "the place is free again";
        EXPECT_FALSE(g->wait());
      });
}

// The limit goes up and down while producers stand in line: whatever was accepted runs, and nobody is left
// behind.
TEST(GroupRace, SetLimitAgainstGo) {
  std::optional<group> g;
  std::atomic<int> ran = 0;
  const auto produce = [&] {
    for (int i = 0; i < 3; ++i) g->go([&](const context&) { ++ran; });
  };
  race::rounds(
      some_rounds,
      [&] {
        g.emplace(heed::background());
        g->set_limit(1);
        ran = 0;
      },
      {
          produce,
          produce,
          [&] {
            for (unsigned i = 0; i < 3; ++i) {
              g->set_limit(0);
              linger(500 * i);
              g->set_limit(2);
              g->set_limit(1);
            }
          },
      },
      [&] {
        EXPECT_FALSE(g->wait());
        EXPECT_EQ(ran, 6);
      });
}

// Several wait for the last of the tasks: all of them learn of it, and what the tasks wrote is visible (a
// race that ThreadSanitizer sees).
TEST(GroupRace, WaitAgainstTheLastEnd) {
  std::optional<group> g;
  std::array<int, 2> written{};
  const auto wait = [&] {
    EXPECT_FALSE(g->wait());
    for (int w : written) EXPECT_EQ(w, 1);
  };
  std::atomic<bool> go_on = false;
  race::rounds(
      some_rounds,
      [&] {
        g.emplace(heed::background());
        written = {};
        go_on = false;
        for (int& w : written) {
          g->go([&](const context&) {
            go_on.wait(false);
            w = 1;
          });
        }
      },
      {
          [&] {
            go_on = true;
            go_on.notify_all();
          },
          wait,
          wait,
      },
      [&] { g.reset(); });
}

// The group goes as soon as wait() has returned: a thread that ends a task touches nothing of it any more
// (what AddressSanitizer and ThreadSanitizer see), and its tasks' captures are gone.
TEST(GroupRace, DestroyedRightAfterWait) {
  const auto body = [] {
    const auto alive = std::make_shared<int>(0);
    {
      const auto g = std::make_unique<group>(heed::background());
      g->set_limit(2);
      for (int i = 0; i < 3; ++i) g->go([alive](const context&) {});
      EXPECT_FALSE(g->wait());
      EXPECT_EQ(alive.use_count(), 1);
    }
    {
      const auto g = std::make_unique<group>(heed::background());
      g->go([alive](const context& ctx) { ctx.wait(); });
    }
    EXPECT_EQ(alive.use_count(), 1) << "leaving the scope joins, too";
  };
  race::rounds(some_rounds / 2, [] {}, {body, body}, [] {});
}

// Tasks add tasks while the parent ends: all that was accepted runs.
TEST(GroupRace, TasksThatAddTasksAgainstTheEnd) {
  std::optional<heed::cancelable> parent;
  std::atomic<int> ran = 0;
  race::rounds(
      some_rounds / 2,
      [&] {
        parent.emplace(heed::with_cancel(heed::background()));
        ran = 0;
      },
      {
          [&] { parent->cancel(); },
          [&] {
            group g(parent->ctx);
            g.set_limit(2);
            for (int i = 0; i < 2; ++i) {
              g.go([&](const context&) {
                for (int j = 0; j < 2; ++j) g.go([&](const context&) { ++ran; });
              });
            }
          },
      },
      [&] { EXPECT_EQ(ran, 4); });
}

}  // namespace
