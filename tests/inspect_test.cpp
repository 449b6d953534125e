// explain() and dump(): exact texts, under time by hand. With tracking on: tests/tracking.
#include <heed/inspect.hpp>

#include "json.hpp"
#include "support.hpp"

#include <heed/custom.hpp>

#include <pthread.h>

#include <iomanip>
#include <limits>
#include <memory>
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace heed_test;
using heed::dump_format;
using heed::explain;

constexpr heed::key<int> user_key{"user"};
constexpr heed::key<int> trace_key{"trace"};

std::string at(const std::source_location& where) {
  return std::string(where.file_name()) + ':' + std::to_string(where.line());
}
std::string in(const std::source_location& where) {
  return at(where) + " in " + where.function_name();
}

std::string dumped(const heed::context& root, dump_format f = dump_format::text) {
  std::ostringstream out;
  heed::dump(out, root, f);
  return out.str();
}

json parsed(const heed::context& root) {
  const std::string text = dumped(root, dump_format::json);
  const auto value = json_reader::read(text);
  EXPECT_TRUE(value) << text;
  return value.value_or(json());
}

// A custom context with a name and a deadline of one's choice.
class named : public heed::custom_context {
 public:
  named(anchor a, std::string name, heed::time_point when = heed::time_point::max())
      : custom_context(a), name_(std::move(name)), when_(when) {}
  std::string name() const override { return name_; }
  std::optional<heed::time_point> deadline() const noexcept override {
    if (when_ == heed::time_point::max()) return std::nullopt;
    return when_;
  }
  using custom_context::end;

 private:
  std::string name_;
  heed::time_point when_;
};

// The whole file runs with tracking off: it is about what is known without.
TEST(Inspect, TrackingIsOff) {
  EXPECT_FALSE(heed::tracking()) << "these tests need HEED_TRACK to be unset";
}

TEST(Explain, RootsNeverEnd) {
  EXPECT_EQ(explain(heed::background()), "background\nlive; nothing can end it\n");
  EXPECT_EQ(explain(heed::context()), explain(heed::background()));
  EXPECT_EQ(explain(heed::todo()), "todo\nlive; nothing can end it\n");
  heed::manual_scheduler time;
  EXPECT_EQ(explain(heed::background(time)), "background\nlive; nothing can end it\n");
  EXPECT_EQ(explain(heed::with_value(heed::background(), user_key, 1)),
            "background.with_value(user)\nlive; nothing can end it\n");
}

TEST(Explain, LiveTellsWhatCanEndIt) {
  heed::manual_scheduler time;
  auto [server, stop] = heed::with_cancel(heed::background(time));
  auto [rpc, cancel_rpc, self] = heed::with_custom<named>(server, "rpc");
  const auto user = heed::with_value(rpc, user_key, 1);
  auto [ctx, cancel] = heed::with_timeout(user, 5s);
  time.advance(250ms);
  EXPECT_EQ(explain(ctx),
            "background.with_cancel.rpc.with_value(user).with_deadline(in 4.750s)\n"
            "live; what can end it:\n"
            "  with_deadline, itself: its deadline, in 4.750s; its cancel\n"
            "  rpc, 2 steps up: its source; its cancel\n"
            "  with_cancel, 3 steps up: its cancel\n");
  EXPECT_EQ(explain(user),
            "background.with_cancel.rpc.with_value(user)\n"
            "live; what can end it:\n"
            "  rpc, 1 step up: its source; its cancel\n"
            "  with_cancel, 2 steps up: its cancel\n");
}

TEST(Explain, WithoutCancelCutsOff) {
  auto [server, stop] = heed::with_cancel(heed::background());
  const auto apart = heed::without_cancel(server);
  EXPECT_EQ(explain(apart),
            "background.with_cancel.without_cancel\n"
            "live; nothing can end it\n"
            "  nothing above without_cancel, itself, reaches it\n");
  auto [ctx, cancel] = heed::with_cancel(apart);
  EXPECT_EQ(explain(ctx),
            "background.with_cancel.without_cancel.with_cancel\n"
            "live; what can end it:\n"
            "  with_cancel, itself: its cancel\n"
            "  nothing above without_cancel, 1 step up, reaches it\n");
  const auto here = std::source_location::current();
  stop("over", here);
  EXPECT_EQ(explain(server), "background.with_cancel\nended: context canceled\ncause: over\nwhere: " +
                                 in(here) + "\nwhat:  a cancel of with_cancel, itself\n");
  EXPECT_NE(explain(ctx).find("live;"), std::string::npos);
}

TEST(Explain, TheCancelOfAnAncestorAndTheWayDown) {
  heed::manual_scheduler time;
  auto [server, stop] = heed::with_cancel(heed::background(time));
  const auto user = heed::with_value(server, user_key, 1);
  auto [ctx, cancel] = heed::with_timeout(user, 5s, "too slow");
  const auto here = std::source_location::current();
  stop("maintenance", here);
  EXPECT_EQ(explain(ctx),
            "background.with_cancel.with_value(user).with_deadline(in 5.000s)\n"
            "ended: context canceled\n"
            "cause: maintenance\n"
            "where: " +
                in(here) +
                "\n"
                "what:  a cancel of with_cancel, 2 steps up\n"
                "down:  with_cancel.with_value(user).with_deadline(in 5.000s)\n");
  EXPECT_EQ(explain(user),
            "background.with_cancel.with_value(user)\nended: context canceled\ncause: maintenance\nwhere: " +
                in(here) +
                "\nwhat:  a cancel of with_cancel, 1 step up\ndown:  with_cancel.with_value(user)\n");
}

TEST(Explain, TheLineOfADeadline) {
  heed::manual_scheduler time;
  const auto here = std::source_location::current();
  auto [ctx, cancel] = heed::with_timeout(heed::background(time), 5s, {}, here);
  auto [below, cancel_below] = heed::with_cancel(ctx);
  time.advance(6s);
  const std::string rest =
      "ended: context deadline exceeded\ncause: none was given\nwhere: " + in(here) + '\n';
  EXPECT_EQ(explain(ctx), "background.with_deadline(1.000s ago)\n" + rest +
                              "what:  the deadline of with_deadline, itself\n");
  EXPECT_EQ(explain(below), "background.with_deadline(1.000s ago).with_cancel\n" + rest +
                                "what:  the deadline of with_deadline, 1 step up\n"
                                "down:  with_deadline(1.000s ago).with_cancel\n");
}

TEST(Explain, ACancelFuncThatLeftItsScopeAndACanceledDeadline) {
  heed::manual_scheduler time;
  heed::context ctx;
  const auto here = std::source_location::current();
  {
    auto made = heed::with_timeout(heed::background(time), 5s, "slow", here);
    ctx = made.ctx;
  }
  EXPECT_EQ(explain(ctx),
            "background.with_deadline(in 5.000s)\nended: context canceled\ncause: none was given\nwhere: " +
                in(here) + "\nwhat:  a cancel of with_deadline, itself\n");
}

TEST(Explain, ASourceOfOnesOwn) {
  auto [rpc, cancel, self] = heed::with_custom<named>(heed::background(), "rpc");
  const auto here = std::source_location::current();
  self.end(heed::errc::deadline_exceeded, "peer gone", here);
  EXPECT_EQ(explain(rpc), "background.rpc\nended: context deadline exceeded\ncause: peer gone\nwhere: " +
                              in(here) + "\nwhat:  a cancel, or the source, of rpc, itself\n");
}

TEST(Explain, ALongWayIsCutInTheMiddle) {
  std::vector<heed::cancelable> chain;
  heed::context last;
  for (int i = 0; i < 100; ++i) last = chain.emplace_back(heed::with_cancel(last)).ctx;
  const std::string text = explain(last);
  EXPECT_NE(text.find("with_cancel.(69 more).with_cancel"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  and 84 more above\n"), std::string::npos) << text;
  EXPECT_LT(text.size(), 1500U);
}

TEST(Dump, EveryKindAndState) {
  heed::manual_scheduler time;
  const auto here = std::source_location::current();
  auto [server, stop] = heed::with_cancel(heed::background(time));
  const auto user = heed::with_value(heed::with_value(server, trace_key, 1), user_key, 1);
  auto [request, cancel] = heed::with_timeout(user, 5s);
  auto [never, cancel_never] = heed::with_deadline(request, heed::time_point::max());
  auto [rpc, cancel_rpc, self] = heed::with_custom<named>(request, "rpc", time.now() + 2s);
  auto [late, cancel_late] = heed::with_timeout(server, 1s, "slow", here);
  auto [early, cancel_early] = heed::with_cancel(server);
  const heed::cancel_callback one(request, [] {});
  const heed::cancel_callback two(request, [] {});
  const auto stop_function = heed::after_func(rpc, [] {});
  const auto also = server;
  time.advance(1s);
  cancel_early("enough", here);
  const std::string tree =
      "n1 with_cancel: live, 4 handles\n"
      "  n2 with_deadline: live, deadline in 4.000s, values: trace user, 2 handles, 2 cancel_callbacks\n"
      "    n3 with_cancel: live, 2 handles\n"
      "    n4 rpc: live, deadline in 1.000s, 2 handles, 1 after_func\n"
      "  n5 with_deadline: deadline exceeded, cause: slow, at " +
      at(here) +
      ", deadline in 0.000s, 2 handles\n"
      "  n6 with_cancel: canceled, cause: enough, at " +
      at(here) + ", 2 handles\n";
  EXPECT_EQ(dumped(server), tree) << "with_deadline below an earlier one is a with_cancel";
  stop("over", here);
  EXPECT_EQ(dumped(server), "n1 with_cancel: canceled, cause: over, at " + at(here) + ", 4 handles\n");
}

TEST(Dump, ADeadlineThatNeverFires) {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_deadline(heed::background(time), heed::time_point::max());
  EXPECT_EQ(dumped(ctx), "n1 with_deadline: live, deadline never, 2 handles\n");
  EXPECT_EQ(parsed(ctx)["contexts"].items.at(0)["deadline_in_s"].is, json::type::null);
}

TEST(Dump, BelowAValueOnlyWhatHangsBelowIt) {
  auto [server, stop] = heed::with_cancel(heed::background());
  const auto ann = heed::with_value(server, user_key, 1);
  const auto bob = heed::with_value(server, user_key, 2);
  auto [of_ann, cancel_ann] = heed::with_cancel(heed::with_value(ann, trace_key, 1));
  auto [of_bob, cancel_bob] = heed::with_cancel(bob);
  EXPECT_EQ(dumped(ann),
            "n1 with_value(user): live, 1 handle\n"
            "  n2 with_cancel: live, value: trace, 2 handles\n");
  stop();
  EXPECT_EQ(dumped(ann).substr(0, 29), "n1 with_value(user): canceled");
}

TEST(Dump, WhereNothingIsKnown) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  EXPECT_EQ(dumped(heed::background()),
            "n1 background\n(what hangs under background is known with HEED_TRACK=1 only)\n");
  EXPECT_EQ(dumped(heed::todo()), "n1 todo\n(what hangs under todo is known with HEED_TRACK=1 only)\n");
  EXPECT_EQ(
      dumped(heed::without_cancel(ctx)),
      "n1 without_cancel: 1 handle\n(what hangs under without_cancel is known with HEED_TRACK=1 only)\n");
  EXPECT_EQ(dumped(heed::with_value(heed::background(), user_key, 1)),
            "n1 with_value(user): 1 handle\n(what hangs under with_value is known with HEED_TRACK=1 only)\n");
}

TEST(Dump, Json) {
  heed::manual_scheduler time;
  auto [server, stop] = heed::with_cancel(heed::background(time));
  auto [request, cancel] = heed::with_timeout(heed::with_value(server, user_key, 1), 1500ms);
  auto [rpc, cancel_rpc, self] = heed::with_custom<named>(request, "rpc");
  const auto here = std::source_location::current();
  cancel("why", here);
  const auto all = parsed(server);
  EXPECT_EQ(all["tracked"].text, "false");
  EXPECT_EQ(all["root"].text, "n1");
  ASSERT_EQ(all["contexts"].items.size(), 2U);
  const json& first = all["contexts"].items[0];
  const json& second = all["contexts"].items[1];
  EXPECT_EQ(first["id"].text, "n1");
  EXPECT_TRUE(first["parents"].items.empty());
  EXPECT_EQ(first["kind"].text, "with_cancel");
  EXPECT_EQ(first["state"].text, "live");
  EXPECT_EQ(first["handles"].text, "2");
  EXPECT_FALSE(first.has("cause") || first.has("deadline_in_s") || first.has("made_at"));
  EXPECT_EQ(second["parents"].items.at(0).text, "n1");
  EXPECT_EQ(second["kind"].text, "with_deadline");
  EXPECT_EQ(second["state"].text, "canceled");
  EXPECT_EQ(second["deadline_in_s"].text, "1.500");
  EXPECT_EQ(second["values"].items.at(0).text, "user");
  EXPECT_EQ(second["cause"].text, "why");
  EXPECT_EQ(second["ended_at"]["line"].text, std::to_string(here.line()));
  EXPECT_EQ(parsed(rpc)["contexts"].items.at(0)["name"].text, "rpc");
}

TEST(Dump, ForeignTextIsEscaped) {
  using namespace std::string_literals;
  const std::string odd = "a\"b\\c\nd\x01\x7f&lt;\xc3\xa4\xff\xed\xa0\x80"s;
  auto [rpc, cancel, self] = heed::with_custom<named>(heed::background(), odd);
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(parsed(rpc)["contexts"].items.at(0)["name"].text,
            "a\"b\\c\nd\x01\x7f&lt;\xc3\xa4" + bad + bad + bad + bad);
  EXPECT_NE(dumped(rpc).find("n1 a\"b\\c\\x0ad\\x01\\x7f&lt;\xc3\xa4" + bad), std::string::npos)
      << dumped(rpc);
  EXPECT_NE(dumped(rpc, dump_format::dot).find(R"(n1  a\"b\\c\\x0ad\\x01\\x7f&amp;lt;)"), std::string::npos);
  static constexpr heed::key<int> odd_key{"k\"\\\n"};
  auto [below, cancel_below] = heed::with_cancel(heed::with_value(rpc, odd_key, 1));
  EXPECT_EQ(parsed(rpc)["contexts"].items.at(1)["values"].items.at(0).text, "k\"\\\n");
  cancel_below("\"\t\xf5");
  EXPECT_EQ(parsed(below)["contexts"].items.at(0)["cause"].text, "\"\t" + bad);
}

TEST(Dump, TheStreamsFormattingHasNoPartInIt) {
  struct points : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\1"; }
  };
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_timeout(heed::background(time), 12345s);
  std::ostringstream out;
  out.imbue(std::locale(std::locale(), new points));
  out << std::hex << std::showpos << std::setw(200) << std::setfill('*');
  heed::dump(out, ctx);
  EXPECT_EQ(out.str(), "n1 with_deadline: live, deadline in 12345.000s, 2 handles\n");
}

TEST(Dump, NoSuchFormat) {
  EXPECT_THROW(dumped(heed::background(), static_cast<dump_format>(7)), std::invalid_argument);
}

// Case: a name() that throws; nothing is left pinned.
TEST(Dump, AnExceptionFromName) {
  struct rude : heed::custom_context {
    explicit rude(anchor a, std::atomic<int>& alive) : custom_context(a), token(alive) {}
    std::string name() const override { throw std::runtime_error("no name"); }
    tracked token;
  };
  std::atomic<int> alive{0};
  auto [server, stop] = heed::with_cancel(heed::background());
  {
    auto [ctx, cancel, self] = heed::with_custom<rude>(server, alive);
    EXPECT_THROW(dumped(server), std::runtime_error);
    EXPECT_THROW(explain(ctx), std::runtime_error);
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(dumped(server), "n1 with_cancel: live, 2 handles\n");
}

// A name() that changes the tree: no lock is held while it runs (I5).
TEST(Dump, ForeignCodeMayDoAnything) {
  static heed::context* also = nullptr;
  struct busy : heed::custom_context {
    explicit busy(anchor a) : custom_context(a) {}
    std::string name() const override {
      auto [child, cancel] = heed::with_cancel(*also);
      const heed::cancel_callback callback(*also, [] {});
      return "busy " + std::to_string(dumped(child).size());
    }
  };
  auto [ctx, cancel, self] = heed::with_custom<busy>(heed::background());
  also = &ctx;
  EXPECT_EQ(dumped(ctx), "n1 busy 32: live, 2 handles\n");
}

// Many children of one context: more than are taken in one go.
TEST(Dump, ManyChildrenInOrder) {
  auto [server, stop] = heed::with_cancel(heed::background());
  for (const int count : {1, 63, 64, 65, 128, 1000}) {
    std::vector<heed::custom<named>> all;
    for (int i = 0; i < count; ++i) all.push_back(heed::with_custom<named>(server, std::to_string(i)));
    const auto list = parsed(server)["contexts"].items;
    ASSERT_EQ(list.size(), static_cast<std::size_t>(count) + 1);
    for (int i = 0; i < count; ++i) {
      const json& one = list[static_cast<std::size_t>(i) + 1];
      EXPECT_EQ(one["name"].text, std::to_string(i));
      EXPECT_EQ(one["id"].text, 'n' + std::to_string(i + 2));
    }
  }
}

// I7: no stack for depth; and the text stays linear.
TEST(Dump, DeepOnASmallStack) {
  static const int depth = scaled(50'000);  // a frame for each would not fit
  const auto body = [](void*) -> void* {
    std::vector<heed::cancelable> chain;
    chain.reserve(static_cast<std::size_t>(depth));
    heed::context last;
    for (int i = 0; i < depth; ++i) last = chain.emplace_back(heed::with_cancel(last)).ctx;
    for (const auto f : {dump_format::text, dump_format::json}) {
      const std::string all = dumped(chain.front().ctx, f);
      EXPECT_NE(all.find('n' + std::to_string(depth)), std::string::npos);
      EXPECT_LT(all.size(), static_cast<std::size_t>(depth) * 250);
    }
    EXPECT_NE(dumped(chain.front().ctx).find("n20 with_cancel under n19: live"), std::string::npos);
    EXPECT_LT(explain(last).size(), 2000U);
    chain.front().cancel();
    EXPECT_LT(explain(last).size(), 2000U);
    return nullptr;
  };
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 256 * 1024);
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &small, body, nullptr), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&small);
}

// A dump takes nothing into its hands for good.
TEST(Dump, LeavesNothingBehind) {
  std::atomic<int> alive{0};
  static constexpr heed::key<tracked> k{"k"};
  auto [server, stop] = heed::with_cancel(heed::background());
  {
    auto [ctx, cancel] = heed::with_cancel(heed::with_value(server, k, alive));
    EXPECT_EQ(dumped(server),
              "n1 with_cancel: live, 2 handles\n  n2 with_cancel: live, value: k, 2 handles\n");
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

}  // namespace

// A merge has two parents: it stands under the first one that is in the picture, and tells of the other.
TEST(Inspect, Merge) {
  heed::manual_scheduler time;
  auto [server, stop] = heed::with_cancel(heed::background(time));
  auto [left, cancel_left] = heed::with_timeout(heed::with_value(server, user_key, 1), 5s);
  auto [right, cancel_right] = heed::with_cancel(heed::with_value(server, trace_key, 2));
  auto [ctx, cancel] = heed::merge(left, right);
  auto [child, cancel_child] = heed::with_cancel(ctx);
  EXPECT_EQ(dumped(server),
            "n1 with_cancel: live, 2 handles\n"
            "  n2 with_deadline: live, deadline in 5.000s, value: user, 2 handles\n"
            "    n3 merge and under n5: live, deadline in 5.000s, 2 handles\n"
            "      n4 with_cancel: live, 2 handles\n"
            "  n5 with_cancel: live, value: trace, 2 handles\n");
  EXPECT_EQ(dumped(right),
            "n1 with_cancel: live, 2 handles\n"
            "  n2 merge: live, deadline in 5.000s, 2 handles\n"
            "    n3 with_cancel: live, 2 handles\n");
  EXPECT_NE(dumped(server, dump_format::dot).find("n5 -> n3"), std::string::npos);
  EXPECT_NE(dumped(server, dump_format::json).find("\"parents\": [\"n2\", \"n5\"]"), std::string::npos);
  EXPECT_EQ(explain(child),
            "background.with_cancel.with_value(user).with_deadline(in 5.000s)"
            ".merge(background.with_cancel.with_value(trace).with_cancel).with_cancel\n"
            "live; what can end it:\n"
            "  with_cancel, itself: its cancel\n"
            "  merge, 1 step up: its cancel\n"
            "  with_deadline, 2 steps up: its deadline, in 5.000s; its cancel\n"
            "  with_cancel, 2 steps up: its cancel\n"
            "  with_cancel, 4 steps up: its cancel\n");
  const auto line = std::source_location::current();
  cancel_right("enough");
  const std::string why = explain(child);
  EXPECT_NE(why.find("cause: enough\nwhere: " + std::string(line.file_name()) + ':' +
                     std::to_string(line.line() + 1)),
            std::string::npos)
      << why;
  EXPECT_NE(why.find("what:  a cancel of with_cancel, 2 steps up"), std::string::npos) << why;
}

// explain() stays short above merges, too.
TEST(Inspect, MergeOfALongWayIsShort) {
  heed::context deep;
  std::vector<heed::cancelable> keep;
  for (int i = 0; i < 2000; ++i) deep = keep.emplace_back(heed::with_cancel(deep)).ctx;
  heed::context ctx;
  for (int i = 0; i < 20; ++i) ctx = keep.emplace_back(heed::merge(ctx, deep)).ctx;
  EXPECT_LT(explain(ctx).size(), 6000U);
  EXPECT_GT(ctx.to_string().size(), 20 * 2000 * std::string(".with_cancel").size()) << "this one has it all";
}

TEST(Inspect, MergeOfOneContextTwice) {
  auto [server, stop] = heed::with_cancel(heed::background());
  auto [ctx, cancel] = heed::merge(server, server);
  EXPECT_EQ(dumped(server),
            "n1 with_cancel: live, 2 handles\n"
            "  n2 merge: live, 2 handles\n");
}
