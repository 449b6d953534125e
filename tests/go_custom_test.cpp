// Custom contexts: foreign cancel, foreign deadline, foreign lookup, as parent and as child. The names that
// begin with CustomContext are those of Go's tests.
#include "support.hpp"

#include <deque>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

using namespace heed_test;
using heed::errc;

// Ends when a foreign source says so. The subscription ends with the object.
class sourced : public heed::custom_context {
 public:
  sourced(anchor a, foreign_source& source, heed::error cause = {})
      : custom_context(a), subscription_(source, [this, cause] { end(errc::canceled, cause); }) {}

 private:
  foreign_source::subscription subscription_;
};

// Has a deadline of its own, kept by a foreign clock.
class foreign_deadline : public heed::custom_context {
 public:
  foreign_deadline(anchor a, foreign_source& foreign_clock, heed::time_point when)
      : custom_context(a), when_(when),
        subscription_(foreign_clock, [this] { end(errc::deadline_exceeded, "the foreign clock struck"); }) {}
  std::optional<heed::time_point> deadline() const noexcept override { return when_; }

 private:
  heed::time_point when_;
  foreign_source::subscription subscription_;
};

constexpr heed::key<std::string> peer_key{"peer"};
constexpr heed::key<int> other_key{"other"};

// Finds the values of one key by itself.
class foreign_lookup : public heed::custom_context {
 public:
  foreign_lookup(anchor a, std::string peer) : custom_context(a), peer_(std::move(peer)) {}
  const void* find(const heed::key_base& k) const noexcept override {
    return &k == &peer_key ? &peer_ : custom_context::find(k);
  }
  std::string name() const override { return "rpc(" + peer_ + ")"; }

 private:
  std::string peer_;
};

TEST(GoContext, CustomContextGoroutines) {
  // heed's own timer thread is not a watcher: have it running before counting.
  static_cast<void>(heed::with_timeout(heed::background(), very_long));
  const auto threads = thread_count();
  const auto expect_no_thread = [threads](int line) {
    EXPECT_LE(thread_count(), threads) << "a thread was created before line " << line;
  };

  static_cast<void>(heed::with_cancel(heed::with_custom<plain_custom>(heed::background()).ctx));
  static_cast<void>(heed::with_timeout(heed::with_custom<plain_custom>(heed::background()).ctx, very_long));
  expect_no_thread(__LINE__);

  foreign_source source;
  auto [c1, cancel1] = heed::with_cancel(heed::background());
  auto c2 = heed::with_custom<sourced>(c1, source);
  auto [c3, cancel3] = heed::with_cancel(c2.ctx);
  expect_no_thread(__LINE__);
  auto c4 = heed::with_custom<sourced>(c3, source);
  auto [c5, cancel5] = heed::with_timeout(c4.ctx, very_long);
  expect_no_thread(__LINE__);
  cancel5();
  auto [c6, cancel6] = heed::with_timeout(c5, very_long);
  cancel6();
  cancel1();
  auto [c7, cancel7] = heed::with_cancel(c5);
  EXPECT_TRUE(is_done(c7, errc::canceled));
  expect_no_thread(__LINE__);
}

// A custom context whose parent and whose source end at once: its child ends, with the parent's cause.
TEST(GoContext, CustomContextPropagation) {
  const heed::error cause("parent");
  foreign_source source;
  auto [c1, cancel1] = heed::with_cancel(heed::background());
  auto c2 = heed::with_custom<sourced>(c1, source, heed::error("source"));
  auto [c3, cancel3] = heed::with_cancel(c2.ctx);
  cancel1(cause);
  source.fire();
  EXPECT_TRUE(is_done(c3, errc::canceled));
  EXPECT_EQ(c3.cause(), cause);
  EXPECT_EQ(c2.ctx.cause(), cause);
}

TEST(GoContext, CustomContextCause) {
  {
    auto c = heed::with_custom<plain_custom>(heed::background());
    EXPECT_TRUE(c.self.end());
    EXPECT_TRUE(is_done(c.ctx, errc::canceled));
    EXPECT_EQ(c.ctx.cause(), errc::canceled);
    EXPECT_FALSE(c.self.end()) << "the first call decided";
  }
  {
    // A child canceled with a cause, and then its custom parent: both keep their own.
    const heed::error cause("child");
    auto c = heed::with_custom<plain_custom>(heed::background());
    auto [child, cancel] = heed::with_cancel(c.ctx);
    cancel(cause);
    EXPECT_TRUE(is_done(child, errc::canceled));
    EXPECT_EQ(child.cause(), cause);
    EXPECT_TRUE(is_live(c.ctx));
    c.self.end();
    EXPECT_EQ(child.cause(), cause);
    EXPECT_TRUE(is_done(c.ctx, errc::canceled));
    EXPECT_EQ(c.ctx.cause(), errc::canceled);
  }
  {
    auto c = heed::with_custom<plain_custom>(heed::background());
    auto [child, cancel] = heed::with_cancel(c.ctx);
    c.self.end();
    EXPECT_TRUE(is_done(child, errc::canceled));
    EXPECT_EQ(child.cause(), errc::canceled);
  }
}

TEST(GoContext, CustomContextAfterFuncCancel) {
  foreign_source source;
  auto c = heed::with_custom<sourced>(heed::background(), source);
  auto [child, cancel] = heed::with_cancel(c.ctx);
  source.fire();
  EXPECT_TRUE(is_done(child, errc::canceled)) << "pushed: nobody had to be waited for";
}

TEST(GoContext, CustomContextAfterFuncTimeout) {
  foreign_source source;
  auto c = heed::with_custom<sourced>(heed::background(), source);
  auto [child, cancel] = heed::with_timeout(c.ctx, very_long);
  source.fire();
  EXPECT_TRUE(is_done(child, errc::canceled));
}

TEST(GoContext, CustomContextAfterFuncAfterFunc) {
  heed::manual_scheduler time;
  foreign_source source;
  auto c = heed::with_custom<sourced>(heed::background(time), source);
  int ran = 0;
  const heed::stop_func stop = heed::after_func(c.ctx, [&ran] { ++ran; });
  source.fire();
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(stop());
}

// In Go each child subscribes by itself and unsubscribes when it is canceled. Here the context subscribes,
// once: children add nothing, and the subscription ends with the context.
TEST(GoContext, CustomContextAfterFuncUnregisterCancel) {
  foreign_source source;
  {
    auto c = heed::with_custom<sourced>(heed::background(), source);
    auto child1 = heed::with_cancel(c.ctx);
    auto child2 = heed::with_cancel(c.ctx);
    EXPECT_EQ(source.subscribers(), 1U);
    child1.cancel();
    child2.cancel();
    EXPECT_EQ(source.subscribers(), 1U);
  }
  EXPECT_EQ(source.subscribers(), 0U);
}

TEST(GoContext, CustomContextAfterFuncUnregisterTimeout) {
  foreign_source source;
  {
    auto c = heed::with_custom<sourced>(heed::background(), source);
    auto child = heed::with_timeout(c.ctx, very_long);
    EXPECT_EQ(source.subscribers(), 1U);
    child.cancel();
  }
  EXPECT_EQ(source.subscribers(), 0U);
}

TEST(GoContext, CustomContextAfterFuncUnregisterAfterFunc) {
  foreign_source source;
  {
    auto c = heed::with_custom<sourced>(heed::background(), source);
    const heed::stop_func stop = heed::after_func(c.ctx, [] {});
    EXPECT_EQ(source.subscribers(), 1U);
    EXPECT_TRUE(stop());
  }
  EXPECT_EQ(source.subscribers(), 0U);
}

TEST(Custom, EndsWithItsParent) {
  auto parent = heed::with_cancel(heed::background());
  auto c = heed::with_custom<plain_custom>(parent.ctx);
  EXPECT_TRUE(is_live(c.ctx));
  const heed::error cause("parent");
  parent.cancel(cause);
  EXPECT_TRUE(is_done(c.ctx, errc::canceled));
  EXPECT_EQ(c.ctx.cause(), cause);
  EXPECT_FALSE(c.self.end());
}

TEST(Custom, IsBornDoneBelowADoneParent) {
  foreign_source source;
  auto parent = heed::with_cancel(heed::background());
  parent.cancel("before");
  auto c = heed::with_custom<sourced>(parent.ctx, source);
  EXPECT_TRUE(is_done(c.ctx, errc::canceled));
  EXPECT_EQ(c.ctx.cause().message(), "before");
}

TEST(Custom, CancelFuncCancelsAndLeavingTheScopeToo) {
  heed::context ctx;
  {
    auto c = heed::with_custom<plain_custom>(heed::background());
    ctx = c.ctx;
    EXPECT_TRUE(is_live(ctx));
  }
  EXPECT_TRUE(is_done(ctx, errc::canceled));

  auto c = heed::with_custom<plain_custom>(heed::background());
  EXPECT_TRUE(c.cancel("mine"));
  EXPECT_EQ(c.ctx.cause().message(), "mine");
}

TEST(Custom, ForeignDeadline) {
  foreign_source foreign_clock;
  const heed::time_point when = heed::clock::now() + 1h;
  auto parent = heed::with_timeout(heed::background(), very_long);
  auto c = heed::with_custom<foreign_deadline>(parent.ctx, foreign_clock, when);
  EXPECT_EQ(c.ctx.deadline(), when);

  // Children have it too, and a later one of their own does not matter.
  auto child = heed::with_cancel(c.ctx);
  auto later = heed::with_deadline(c.ctx, when + 1h);
  auto earlier = heed::with_deadline(c.ctx, when - 30min);
  EXPECT_EQ(child.ctx.deadline(), when);
  EXPECT_EQ(later.ctx.deadline(), when);
  EXPECT_EQ(earlier.ctx.deadline(), when - 30min);
  EXPECT_FALSE(heed::without_cancel(child.ctx).deadline());

  foreign_clock.fire();
  for (const heed::context& ctx : {c.ctx, child.ctx, later.ctx, earlier.ctx}) {
    EXPECT_TRUE(is_done(ctx, errc::deadline_exceeded)) << ctx;
    EXPECT_EQ(ctx.cause().message(), "the foreign clock struck");
  }
  EXPECT_TRUE(is_live(parent.ctx));
}

TEST(Custom, ForeignDeadlineLaterThanTheParents) {
  foreign_source foreign_clock;
  const heed::time_point when = heed::clock::now() + 1h;
  auto parent = heed::with_deadline(heed::background(), when - 1min);
  auto c = heed::with_custom<foreign_deadline>(parent.ctx, foreign_clock, when);
  EXPECT_EQ(c.ctx.deadline(), when - 1min);
}

TEST(Custom, ForeignLookup) {
  const heed::context above =
      heed::with_value(heed::with_value(heed::background(), peer_key, "hidden"), other_key, 7);
  auto c = heed::with_custom<foreign_lookup>(above, "ann");
  const auto peer = [](const heed::context& ctx) { return *ctx.value(peer_key); };
  EXPECT_EQ(peer(c.ctx), "ann");
  EXPECT_EQ(*c.ctx.value(other_key), 7) << "what it does not know is its parent's to find";

  auto child = heed::with_cancel(c.ctx);
  EXPECT_EQ(peer(child.ctx), "ann");
  EXPECT_EQ(peer(heed::without_cancel(child.ctx)), "ann");
  const heed::context nearer = heed::with_value(child.ctx, peer_key, "nearer");
  EXPECT_EQ(peer(nearer), "nearer");
  // One custom context below another, with values between.
  auto c2 = heed::with_custom<foreign_lookup>(nearer, "bob");
  EXPECT_EQ(peer(c2.ctx), "bob");
  EXPECT_EQ(*c2.ctx.value(other_key), 7);
}

TEST(Custom, LookupFarBelow) {
  std::deque<heed::key<int>> layers;
  for (int i = 0; i < 50; ++i) layers.emplace_back("layer");
  auto c = heed::with_custom<foreign_lookup>(heed::background(), "far");
  heed::context ctx = c.ctx;
  for (std::size_t i = 0; i < layers.size(); ++i) ctx = heed::with_value(ctx, layers[i], int(i));
  EXPECT_EQ(*ctx.value(peer_key), "far");
  for (std::size_t i = 0; i < layers.size(); ++i) EXPECT_EQ(*ctx.value(layers[i]), int(i));
  EXPECT_EQ(ctx.value(other_key), nullptr);
}

TEST(Custom, Name) {
  auto unnamed = heed::with_custom<plain_custom>(heed::background());
  EXPECT_EQ(unnamed.ctx.to_string(), "background.custom");
  auto named = heed::with_custom<foreign_lookup>(unnamed.ctx, "ann");
  EXPECT_EQ(heed::with_cancel(named.ctx).ctx.to_string(), "background.custom.rpc(ann).with_cancel");
}

// end() may be called from the first moment of the constructor.
class ends_itself : public heed::custom_context {
 public:
  explicit ends_itself(anchor a) : custom_context(a) { decided = end(errc::deadline_exceeded, "at once"); }
  bool decided = false;
};

TEST(Custom, EndInTheConstructor) {
  auto c = heed::with_custom<ends_itself>(heed::background());
  EXPECT_TRUE(c.self.decided);
  EXPECT_TRUE(is_done(c.ctx, errc::deadline_exceeded));
  EXPECT_EQ(c.ctx.cause().message(), "at once");
  EXPECT_FALSE(c.cancel());

  auto parent = heed::with_cancel(heed::background());
  parent.cancel();
  auto late = heed::with_custom<ends_itself>(parent.ctx);
  EXPECT_TRUE(late.ctx.done());
}

class throws : public heed::custom_context {
 public:
  throws(anchor a, foreign_source& source, std::atomic<int>& alive)
      : custom_context(a), alive_(alive), subscription_(source, [this] { end(); }) {
    throw std::runtime_error("no");
  }

 private:
  tracked alive_;
  foreign_source::subscription subscription_;
};

TEST(Custom, ConstructorThrows) {
  foreign_source source;
  std::atomic<int> alive = 0;
  auto parent = heed::with_cancel(heed::background());
  EXPECT_THROW(static_cast<void>(heed::with_custom<throws>(parent.ctx, source, alive)), std::runtime_error);
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(source.subscribers(), 0U);
  source.fire();
  EXPECT_TRUE(is_live(parent.ctx));
  EXPECT_TRUE(parent.cancel());
}

// The object lives as long as anything below needs the context; then its subscription goes.
TEST(Custom, LivesAsLongAsItsContext) {
  foreign_source source;
  auto c = std::make_unique<heed::custom<sourced>>(heed::with_custom<sourced>(heed::background(), source));
  heed::context below = heed::with_value(c->ctx, other_key, 1);
  c->cancel.release();
  c.reset();
  EXPECT_EQ(source.subscribers(), 1U);
  EXPECT_TRUE(is_live(below));
  source.fire();
  EXPECT_TRUE(is_done(below, errc::canceled));
  below = {};

  auto [ctx, cancel, self] = heed::with_custom<sourced>(heed::background(), source);
  EXPECT_EQ(source.subscribers(), 1U);
  cancel();
  ctx = {};
  cancel = {};
  EXPECT_EQ(source.subscribers(), 0U);
  source.fire();
}

// While the object exists its source can end the context, so a function waits for it.
TEST(Custom, TheSourceKeepsAfterFuncsWaiting) {
  heed::manual_scheduler time;
  foreign_source source;
  int ran = 0;
  auto c = heed::with_custom<sourced>(heed::background(time), source);
  heed::after_func(c.ctx, [&ran] { ++ran; });
  c.cancel.release();
  source.fire();
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(ran, 1);
}

TEST(Custom, SourceFiresWhileTheContextGoes) {
  for (int i = 0; i < 200; ++i) {
    foreign_source source;
    auto parent = heed::with_cancel(heed::background());
    auto c = std::make_unique<heed::custom<sourced>>(heed::with_custom<sourced>(parent.ctx, source));
    const thread firing([&source] { source.fire(); });
    c.reset();
    EXPECT_TRUE(is_live(parent.ctx));
  }
}

}  // namespace
