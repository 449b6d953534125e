// The context handle: every member, on every kind of context. Values are in value_test.cpp, cancel_func and
// canceler in cancel_func_test.cpp, waiting in wait_test.cpp.
#include "support.hpp"

#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#if defined(__cpp_lib_format)
#include <format>
#endif

namespace {

using namespace heed_test;
using heed::errc;

constexpr heed::key<std::string> user_key{"user"};
constexpr heed::key<int> number_key{"number"};

TEST(Context, IsAHandle) {
  static_assert(sizeof(heed::context) <= 2 * sizeof(void*));
  static_assert(std::is_nothrow_default_constructible_v<heed::context>);
  static_assert(std::is_nothrow_copy_constructible_v<heed::context>);
  static_assert(std::is_nothrow_move_constructible_v<heed::context>);
  static_assert(std::is_nothrow_swappable_v<heed::context>);
  static_assert(!std::is_constructible_v<heed::context, std::nullptr_t>, "never null");
}

// Asked while static objects are made: before the library's own, where it is linked statically.
const std::error_code asked_early = heed::background().err();

TEST(Context, NoErrorIsTheStandardsAlsoEarly) {
  EXPECT_EQ(asked_early, std::error_code());
  EXPECT_EQ(&asked_early.category(), &std::system_category());
  EXPECT_EQ(heed::no_error, std::error_code());
}

// Every member is callable on a context that never ends, and says so.
void expect_never_ends(const heed::context& ctx, const std::string& name) {
  EXPECT_FALSE(ctx.err());
  EXPECT_FALSE(ctx.done());
  EXPECT_FALSE(ctx.cause());
  EXPECT_FALSE(ctx.deadline());
  EXPECT_EQ(ctx.value(user_key), nullptr);
  EXPECT_FALSE(ctx.cancel_possible());
  EXPECT_FALSE(ctx.canceled_at());
  EXPECT_FALSE(ctx.wait_for(0s));
  EXPECT_FALSE(ctx.wait_until(ctx.now()));
  EXPECT_GE(ctx.done_fd(), 0);
  EXPECT_FALSE(readable(ctx.done_fd()));
  EXPECT_EQ(ctx.to_string(), name);
  EXPECT_EQ(ctx, heed::context(ctx));
  EXPECT_FALSE(runs_at_once(ctx));
  EXPECT_TRUE(heed::after_func(ctx, [] {})()) << "it will not run";
  auto [child, cancel] = heed::with_cancel(ctx);
  EXPECT_EQ(child.to_string(), name + ".with_cancel");
  EXPECT_TRUE(cancel());
  EXPECT_TRUE(is_done(child, errc::canceled));
  EXPECT_FALSE(ctx.done());
}

TEST(Context, DefaultIsBackground) {
  const heed::context ctx;
  expect_never_ends(ctx, "background");
  EXPECT_EQ(ctx, heed::background());
  const heed::time_point now = ctx.now();
  EXPECT_LE(now, heed::clock::now());
}

TEST(Context, MovedFromIsBackground) {
  std::vector<heed::context> kinds;
  heed::manual_scheduler time;
  auto canceled = heed::with_cancel(heed::background());
  canceled.cancel();
  auto timed = heed::with_timeout(heed::background(time), 1h);
  kinds.push_back(heed::background());
  kinds.push_back(heed::todo());
  kinds.push_back(heed::background(time));
  kinds.push_back(canceled.ctx);
  kinds.push_back(timed.ctx);
  kinds.push_back(heed::with_value(timed.ctx, number_key, 1));
  kinds.push_back(heed::without_cancel(timed.ctx));
  for (heed::context& ctx : kinds) {
    const std::string before = ctx.to_string();
    heed::context taken = std::move(ctx);
    EXPECT_EQ(taken.to_string(), before);
    expect_never_ends(ctx, "background");  // NOLINT(bugprone-use-after-move)
    ctx = taken;                           // and it may be assigned to again
    EXPECT_EQ(ctx, taken);
    taken = std::move(ctx);
    expect_never_ends(ctx, "background");  // NOLINT(bugprone-use-after-move)
  }
}

TEST(Context, Roots) {
  heed::manual_scheduler time;
  expect_never_ends(heed::background(), "background");
  expect_never_ends(heed::todo(), "todo");
  expect_never_ends(heed::background(time), "background");
  expect_never_ends(heed::without_cancel(heed::background()), "background.without_cancel");
  EXPECT_EQ(heed::background(time).now(), time.now());
}

TEST(Context, Equality) {
  heed::manual_scheduler time;
  EXPECT_EQ(heed::background(), heed::background());
  EXPECT_EQ(heed::todo(), heed::todo());
  EXPECT_NE(heed::background(), heed::todo());
  EXPECT_NE(heed::background(), heed::background(time));
  auto a = heed::with_cancel(heed::background());
  auto b = heed::with_cancel(heed::background());
  const heed::context copy = a.ctx;
  EXPECT_EQ(a.ctx, copy);
  EXPECT_NE(a.ctx, b.ctx);
  EXPECT_NE(a.ctx, heed::background());
  EXPECT_NE(heed::with_value(a.ctx, number_key, 1), a.ctx);
  a.cancel();
  EXPECT_EQ(a.ctx, copy);
}

TEST(Context, CopiesAreTheSameContext) {
  auto c = heed::with_cancel(heed::background());
  heed::context copy = c.ctx;
  heed::context assigned;
  assigned = copy;
  copy = std::move(assigned);
  const heed::context& self = copy;
  copy = self;
  EXPECT_EQ(copy, c.ctx);
  c.ctx = {};
  EXPECT_TRUE(is_live(copy));
  c.cancel("why");
  EXPECT_TRUE(is_done(copy, errc::canceled));
  EXPECT_EQ(copy.cause().message(), "why");
}

TEST(Context, VerdictIsForGood) {
  heed::manual_scheduler time;
  auto c = heed::with_timeout(heed::background(time), 1s, heed::error("slow"));
  EXPECT_TRUE(c.cancel("first"));
  const auto place = c.ctx.canceled_at();
  time.advance(1h);
  EXPECT_FALSE(c.cancel("second"));
  EXPECT_TRUE(is_done(c.ctx, errc::canceled));
  EXPECT_EQ(c.ctx.cause().message(), "first");
  EXPECT_EQ(c.ctx.canceled_at()->line(), place->line());
}

TEST(Context, CausePerKindOfEnd) {
  heed::manual_scheduler time;
  const heed::error slow("slow");
  auto timed = heed::with_timeout(heed::background(time), 1s, slow);
  auto plain = heed::with_timeout(heed::background(time), 1s);
  auto below = heed::with_cancel(heed::with_value(timed.ctx, number_key, 1));
  time.advance(1s);
  EXPECT_TRUE(is_done(timed.ctx, errc::deadline_exceeded));
  EXPECT_EQ(timed.ctx.cause(), slow);
  EXPECT_TRUE(is_done(below.ctx, errc::deadline_exceeded));
  EXPECT_EQ(below.ctx.cause(), slow);
  EXPECT_EQ(plain.ctx.cause(), errc::deadline_exceeded);
}

TEST(Context, DeadlineIsTheEarliestAbove) {
  heed::manual_scheduler time;
  const auto t = time.now();
  auto a = heed::with_deadline(heed::background(time), t + 10s);
  EXPECT_EQ(a.ctx.deadline(), t + 10s);
  auto later = heed::with_deadline(a.ctx, t + 20s);
  EXPECT_EQ(later.ctx.deadline(), t + 10s);
  auto earlier = heed::with_deadline(later.ctx, t + 5s);
  EXPECT_EQ(earlier.ctx.deadline(), t + 5s);
  auto below = heed::with_cancel(heed::with_value(earlier.ctx, number_key, 1));
  EXPECT_EQ(below.ctx.deadline(), t + 5s);
  EXPECT_FALSE(heed::without_cancel(below.ctx).deadline());
  auto anew = heed::with_deadline(heed::without_cancel(below.ctx), t + 30s);
  EXPECT_EQ(anew.ctx.deadline(), t + 30s);
  EXPECT_EQ(heed::with_deadline(a.ctx, t + 10s).ctx.deadline(), t + 10s);
  // It never changes, not by the end either.
  time.advance(1h);
  EXPECT_EQ(below.ctx.deadline(), t + 5s);
  EXPECT_EQ(a.ctx.deadline(), t + 10s);
}

// Where the parent's deadline is earlier, it is a with_cancel(): the parent's cause and place count.
TEST(Context, LaterDeadlineIsAWithCancel) {
  heed::manual_scheduler time;
  auto parent = heed::with_timeout(heed::background(time), 1s, heed::error("parent"));
  auto child = heed::with_timeout(parent.ctx, 2s, heed::error("child"));
  time.advance(1s);
  EXPECT_TRUE(is_done(child.ctx, errc::deadline_exceeded));
  EXPECT_EQ(child.ctx.cause().message(), "parent");
  EXPECT_EQ(child.ctx.canceled_at()->line(), parent.ctx.canceled_at()->line());
}

TEST(Context, CancelPossible) {
  auto c = heed::with_cancel(heed::background());
  EXPECT_TRUE(c.ctx.cancel_possible());
  EXPECT_TRUE(heed::with_value(c.ctx, number_key, 1).cancel_possible());
  EXPECT_FALSE(heed::with_value(heed::background(), number_key, 1).cancel_possible());
  EXPECT_FALSE(heed::without_cancel(c.ctx).cancel_possible());
  c.cancel();
  EXPECT_TRUE(c.ctx.cancel_possible()) << "also once it is done";
}

// Down, never up, and not past a without_cancel.
TEST(Context, CancelGoesDown) {
  auto root = heed::with_cancel(heed::background());
  auto left = heed::with_cancel(root.ctx);
  auto right = heed::with_cancel(root.ctx);
  auto below = heed::with_timeout(heed::with_value(left.ctx, number_key, 1), very_long);
  auto cut = heed::with_cancel(heed::without_cancel(left.ctx));
  left.cancel("left");
  EXPECT_TRUE(is_done(left.ctx, errc::canceled));
  EXPECT_TRUE(is_done(below.ctx, errc::canceled));
  EXPECT_EQ(below.ctx.cause().message(), "left");
  for (const heed::context& ctx : {root.ctx, right.ctx, cut.ctx}) EXPECT_TRUE(is_live(ctx)) << ctx;
  root.cancel("root");
  EXPECT_EQ(left.ctx.cause().message(), "left") << "the first stands";
  EXPECT_EQ(below.ctx.cause().message(), "left");
  EXPECT_EQ(right.ctx.cause().message(), "root");
  EXPECT_TRUE(is_live(cut.ctx));
}

TEST(Context, KeepsItsAncestorsAlive) {
  std::atomic<int> alive = 0;
  static constexpr heed::key<tracked> key{"tracked"};
  heed::context below;
  {
    const heed::context top = heed::with_value(heed::background(), key, tracked(alive));
    auto middle = heed::with_cancel(top);
    below = heed::without_cancel(heed::with_value(middle.ctx, number_key, 1));
  }
  EXPECT_EQ(alive, 1);
  EXPECT_NE(below.value(key), nullptr);
  below = {};
  EXPECT_EQ(alive, 0);
}

TEST(Context, ToString) {
  heed::manual_scheduler time;
  auto a = heed::with_cancel(heed::background(time));
  auto b = heed::with_timeout(a.ctx, 1h);
  const heed::context c = heed::with_value(b.ctx, user_key, "ann");
  const heed::context d = heed::without_cancel(c);
  const std::string text = d.to_string();
  EXPECT_EQ(text.rfind("background.with_cancel.with_deadline(", 0), 0U) << text;
  const std::string_view end = ").with_value(user, ann).without_cancel";
  ASSERT_GT(text.size(), end.size());
  EXPECT_EQ(text.substr(text.size() - end.size()), end) << text;
  EXPECT_EQ(heed::with_cancel(heed::todo()).ctx.to_string(), "todo.with_cancel");

  std::ostringstream out;
  out << d << '|' << heed::background();
  EXPECT_EQ(out.str(), text + "|background");
#if defined(__cpp_lib_format)
  EXPECT_EQ(std::format("{}", d), text);
  EXPECT_EQ(std::format("{:>12}", heed::background()), "  background");
#endif
}

// canceled_at: the line that ended it, for it and for all that it took along.
constexpr auto ends_with = [](std::string_view text, std::string_view end) { return text.ends_with(end); };
testing::AssertionResult at_line(const heed::context& ctx, unsigned line) {
  const auto at = ctx.canceled_at();
  if (!at) return testing::AssertionFailure() << "canceled_at() is empty";
  if (at->line() != line) return testing::AssertionFailure() << "line " << at->line() << ", not " << line;
  if (!ends_with(at->file_name(), "context_test.cpp")) return testing::AssertionFailure() << at->file_name();
  return testing::AssertionSuccess();
}

TEST(ContextCanceledAt, TheCall) {
  auto c = heed::with_cancel(heed::background());
  auto below = heed::with_cancel(c.ctx);
  EXPECT_FALSE(c.ctx.canceled_at());
  const unsigned line = __LINE__ + 1;
  c.cancel();
  EXPECT_TRUE(at_line(c.ctx, line));
  EXPECT_TRUE(at_line(below.ctx, line));
  EXPECT_TRUE(at_line(heed::with_value(below.ctx, number_key, 1), line));
  EXPECT_TRUE(at_line(heed::with_cancel(c.ctx).ctx, line)) << "born done";
  EXPECT_FALSE(heed::without_cancel(c.ctx).canceled_at());
  c.cancel("again");
  EXPECT_TRUE(at_line(c.ctx, line));
}

TEST(ContextCanceledAt, TheCallOfACanceler) {
  auto c = heed::with_cancel(heed::background());
  const heed::canceler canceler = c.cancel.share();
  const unsigned line = __LINE__ + 1;
  canceler("why");
  EXPECT_TRUE(at_line(c.ctx, line));
}

TEST(ContextCanceledAt, LeavingTheScopeIsTheLineThatMadeIt) {
  heed::context ctx;
  heed::context below;
  const unsigned line = __LINE__ + 2;
  {
    auto made = heed::with_cancel(heed::background());
    ctx = made.ctx;
    below = heed::with_value(ctx, number_key, 1);
  }
  EXPECT_TRUE(at_line(ctx, line));
  EXPECT_TRUE(at_line(below, line));

  const unsigned line2 = __LINE__ + 2;
  {
    auto made = heed::with_timeout(heed::background(), very_long);
    ctx = made.ctx;
  }
  EXPECT_TRUE(at_line(ctx, line2));
  EXPECT_EQ(ctx.err(), errc::canceled);
}

TEST(ContextCanceledAt, AssignmentIsTheLineThatMadeWhatItHeld) {
  const unsigned line = __LINE__ + 1;
  auto c = heed::with_cancel(heed::background());
  c.cancel = heed::cancel_func();
  EXPECT_TRUE(at_line(c.ctx, line));
}

TEST(ContextCanceledAt, TheLineThatSetTheDeadline) {
  heed::manual_scheduler time;
  const unsigned line = __LINE__ + 1;
  auto timed = heed::with_timeout(heed::background(time), 1s);
  auto below = heed::with_cancel(timed.ctx);
  const unsigned line2 = __LINE__ + 1;
  auto other = heed::with_deadline(heed::background(time), time.now() + 1s, heed::error("slow"));
  time.advance(1s);
  EXPECT_TRUE(at_line(timed.ctx, line));
  EXPECT_TRUE(at_line(below.ctx, line));
  EXPECT_TRUE(at_line(other.ctx, line2));
  const unsigned line3 = __LINE__ + 1;
  auto past = heed::with_timeout(heed::background(), -1s);
  EXPECT_TRUE(at_line(past.ctx, line3));
}

TEST(ContextCanceledAt, FirstWinsPerContext) {
  auto parent = heed::with_cancel(heed::background());
  auto child = heed::with_cancel(parent.ctx);
  const unsigned line = __LINE__ + 1;
  child.cancel();
  parent.cancel();
  EXPECT_TRUE(at_line(child.ctx, line));
  EXPECT_TRUE(at_line(parent.ctx, line + 1));
}

// Each with_* takes a place as its last argument; so does each cancel.
TEST(ContextCanceledAt, PlacesMayBeGiven) {
  heed::manual_scheduler time;
  const heed::context root = heed::background(time);
  const auto here = std::source_location::current();
  const auto line = here.line();
  heed::context ctx;
  {
    auto made = heed::with_cancel(root, here);
    ctx = made.ctx;
  }
  EXPECT_TRUE(at_line(ctx, line));
  auto deadline = heed::with_deadline(root, time.now() + 1s, {}, here);
  auto timeout = heed::with_timeout(root, 1s, {}, here);
  auto wall = heed::with_deadline(root, std::chrono::system_clock::now(), {}, here);
  time.advance(1s);
  EXPECT_TRUE(at_line(deadline.ctx, line));
  EXPECT_TRUE(at_line(timeout.ctx, line));
  EXPECT_TRUE(at_line(wall.ctx, line));
  auto called = heed::with_cancel(heed::without_cancel(heed::with_value(root, number_key, 1, here), here));
  called.cancel({}, here);
  EXPECT_TRUE(at_line(called.ctx, line));
  auto shared = heed::with_cancel(root);
  shared.cancel.share()({}, here);
  EXPECT_TRUE(at_line(shared.ctx, line));
}

}  // namespace
