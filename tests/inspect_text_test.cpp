// What dump() and to_string() make of odd text, odd times and every kind of context.
#include <heed/inspect.hpp>

#include "json.hpp"
#include "support.hpp"

#include <heed/custom.hpp>

#include <algorithm>
#include <chrono>
#include <deque>
#include <source_location>
#include <sstream>
#include <string>
#include <utility>

namespace {

using namespace heed_test;
using heed::dump_format;

std::string dumped(const heed::context& root, dump_format f) {
  std::ostringstream out;
  heed::dump(out, root, f);
  return out.str();
}

// A custom context with a name of one's choice.
class called : public heed::custom_context {
 public:
  called(anchor a, std::string name) : custom_context(a), name_(std::move(name)) {}
  std::string name() const override { return name_; }

 private:
  std::string name_;
};

std::string name_in_json(const std::string& name) {
  auto [ctx, cancel, self] = heed::with_custom<called>(heed::background(), name);
  const auto read = json_reader::read(dumped(ctx, dump_format::json));
  return read ? (*read)["contexts"].items.at(0)["name"].text : "not JSON";
}

// dot refuses a quoted string of more than 16384 bytes, and with it the whole picture.
TEST(DumpText, NoStringIsTooLongForDot) {
  std::deque<heed::key<int>> keys;
  auto [top, cancel_top] = heed::with_cancel(heed::background());
  heed::context named = top;
  const std::string name(300, '&');
  for (int i = 0; i < 100; ++i) named = heed::with_value(named, keys.emplace_back(name.c_str()), i);
  auto [ctx, cancel, self] = heed::with_custom<called>(named, std::string(20'000, '\x02'));
  cancel(std::string(599, '\x01') + "\u00e9" + std::string(20'000, '"'));
  const std::string text = dumped(top, dump_format::dot);
  EXPECT_NE(text.find(R"(\\x01\\x01 ...\n)"), std::string::npos) << text;  // cut between two characters
  std::size_t longest = 0;
  for (std::size_t from = 0; (from = text.find('"', from)) != std::string::npos;) {
    std::size_t to = from + 1;
    while (text[to] != '"') to += text[to] == '\\' ? 2 : 1;
    longest = std::max(longest, to - from);
    from = to + 1;
  }
  EXPECT_LT(longest, 16'384U);
  EXPECT_GT(longest, 5'000U);
}

}  // namespace

TEST(DumpText, CharactersOfEachLengthStay) {
  for (const std::string good :
       {"a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xe1\x80\x80", "\xed\x9f\xbf", "\xef\xbf\xbd",
        "\xf0\x90\x80\x80", "\xf1\x80\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(name_in_json(good), good);
  }
}

TEST(DumpText, EachByteThatIsNoUtf8IsReplaced) {
  const std::string bad = "\xef\xbf\xbd";
  const std::pair<std::string, std::string> cases[] = {
      {"\x80", bad},                                // goes on, but nothing has begun
      {"\xc3", bad},                                // ends too soon
      {"\xe2\x82", bad + bad},                      //
      {"\xc3(", bad + "("},                         // does not go on
      {"\xe2\x82(", bad + bad + "("},               //
      {"\xc0\xaf", bad + bad},                      // not the shortest form
      {"\xe0\x9f\xbf", bad + bad + bad},            //
      {"\xf0\x8f\xbf\xbf", bad + bad + bad + bad},  //
      {"\xed\xa0\x80", bad + bad + bad},            // half of a pair
      {"\xf4\x90\x80\x80", bad + bad + bad + bad},  // beyond the last
      {"\xf5\x80\x80\x80", bad + bad + bad + bad},  //
      {"\xff", bad},
  };
  for (const auto& [given, wanted] : cases) EXPECT_EQ(name_in_json(given), wanted);
}

TEST(DumpText, EachKindHasItsShapeAndEachStateItsColor) {
  static constexpr heed::key<int> k{"k"};
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  auto [late, cancel_late] = heed::with_timeout(ctx, std::chrono::seconds(1));
  const auto first = [](const heed::context& c) {
    const std::string text = dumped(c, dump_format::dot);
    const std::size_t from = text.find("n1 [") + 4;
    return text.substr(from, text.find(", color") - from);
  };
  const std::string never = ", fillcolor=\"#f4f6fb\"";
  EXPECT_EQ(first(heed::background()), "shape=ellipse, style=filled" + never);
  EXPECT_EQ(first(heed::background(time)), "shape=ellipse, style=filled" + never);
  EXPECT_EQ(first(heed::todo()), "shape=ellipse, style=filled" + never);
  EXPECT_EQ(first(heed::with_value(ctx, k, 1)), "shape=note, style=filled" + never);
  EXPECT_EQ(first(heed::without_cancel(ctx)), "shape=box, style=\"filled,dashed\"" + never);
  EXPECT_EQ(first(ctx), "shape=box, style=\"filled,rounded\", fillcolor=\"#e6f4ea\"");
  EXPECT_EQ(first(late), "shape=box, style=filled, peripheries=2, fillcolor=\"#e6f4ea\"");
  EXPECT_EQ(first(heed::merge(ctx, late).ctx), "shape=invtrapezium, style=filled, fillcolor=\"#e6f4ea\"");
  time.advance(std::chrono::seconds(1));
  EXPECT_EQ(first(late), "shape=box, style=filled, peripheries=2, fillcolor=\"#fff0e0\"");
  cancel();
  EXPECT_EQ(first(ctx), "shape=box, style=\"filled,rounded\", fillcolor=\"#eceff1\"");
}

// What is farther away than a duration can say is as far away as it can say.
TEST(DumpText, TimesTooFarApartToSubtract) {
  heed::manual_scheduler early(heed::time_point(-std::chrono::hours(1)));
  auto [far, cancel_far] =
      heed::with_deadline(heed::background(early), heed::time_point::max() - std::chrono::nanoseconds(1));
  EXPECT_EQ(far.to_string(), "background.with_deadline(in 9223372036.855s)");
  heed::manual_scheduler time;
  auto [past, cancel_past] = heed::with_deadline(heed::background(time), heed::time_point::min());
  EXPECT_EQ(past.to_string(), "background.with_deadline(9223372036.855s ago)");
}

// Who cancels may leave the place out.
TEST(DumpText, EndedNowhereInParticular) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  cancel("over", std::source_location());
  EXPECT_NE(heed::explain(ctx).find("where: somewhere\n"), std::string::npos) << heed::explain(ctx);
  EXPECT_NE(dumped(ctx, dump_format::text).find("cause: over, at somewhere"), std::string::npos)
      << dumped(ctx, dump_format::text);
}

TEST(DumpText, AKeyWithoutAName) {
  const char* const none = nullptr;
  const heed::key<int> nameless(none);
  EXPECT_EQ(heed::with_value(heed::background(), nameless, 1).to_string(), "background.with_value(, 1)");
}

// A value has no edge label of its own; what hangs below two has both.
TEST(DumpText, SeveralValuesOnOneEdge) {
  static constexpr heed::key<int> a{"a"};
  static constexpr heed::key<int> b{"b"};
  auto [top, cancel_top] = heed::with_cancel(heed::background());
  auto [ctx, cancel] = heed::with_cancel(heed::with_value(heed::with_value(top, a, 1), b, 2));
  EXPECT_NE(dumped(top, dump_format::dot).find(R"(n1 -> n2 [label="a\nb"])"), std::string::npos)
      << dumped(top, dump_format::dot);
}
