// The bridges between contexts and stop tokens under fire.
#include "rounds.hpp"

#include <heed/heed.hpp>
#include <heed/stop_token.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace {

// A stop against the context being made, and against its last handle going: no end is lost, and none comes
// late.
TEST(StopTokenRace, StopAgainstMakingAndDropping) {
  std::stop_source source;
  std::optional<heed::cancelable> old;
  std::optional<heed::cancelable> kept;
  race::rounds(
      6000 / slower,
      [&] {
        source = std::stop_source();
        old.emplace(heed::with_stop_token(heed::background(), source.get_token()));
        old->cancel.release();
      },
      {[&] { source.request_stop(); },
       [&] { kept.emplace(heed::with_stop_token(heed::background(), source.get_token())); },
       [&] { old.reset(); }},
      [&] {
        EXPECT_EQ(kept->ctx.err(), heed::errc::canceled);
        kept.reset();
      });
}

// The stop, a cancel with a cause and the parent's end at once: one verdict for all.
TEST(StopTokenRace, OneVerdict) {
  std::stop_source source;
  std::optional<heed::cancelable> parent;
  std::optional<heed::cancelable> child;
  race::rounds(
      6000 / slower,
      [&] {
        source = std::stop_source();
        parent.emplace(heed::with_cancel(heed::background()));
        child.emplace(heed::with_stop_token(parent->ctx, source.get_token()));
      },
      {[&] {
         source.request_stop();
         EXPECT_TRUE(child->ctx.done());
       },
       [&] { child->cancel("child"); }, [&] { parent->cancel("parent"); }},
      [&] {
        const std::string why = child->ctx.cause().message();
        EXPECT_TRUE(why == "child" || why == "parent" || why == "context canceled") << why;
        EXPECT_EQ(child->ctx.cause().message(), why);
        child.reset();
        parent.reset();
      });
}

// A cancel against a wait that is just going to sleep: never slept through.
TEST(StopTokenRace, ConditionVariableAgainstCancel) {
  std::optional<heed::cancelable> c;
  std::mutex mutex;
  std::condition_variable_any changed;
  race::rounds(
      3000 / slower, [&] { c.emplace(heed::with_cancel(heed::background())); },
      {[&] { c->cancel(); },
       [&] {
         const heed::stop_bridge bridge(c->ctx);
         std::unique_lock lock(mutex);
         EXPECT_FALSE(changed.wait(lock, bridge.token(), [] { return false; }));
       },
       [&] {
         const heed::stop_bridge bridge(c->ctx);
         std::unique_lock lock(mutex);
         EXPECT_FALSE(changed.wait(lock, bridge.token(), [] { return false; }));
       }},
      [&] { c.reset(); });
}

}  // namespace
