// Threads that derive from one context until they meet, and who is last.
#include "rounds.hpp"

#include <heed/heed.hpp>

#include <memory>
#include <optional>

using namespace std::chrono_literals;

namespace {

constexpr heed::key<int> number{"number"};
constexpr heed::key<std::shared_ptr<int>> witness{"witness"};

// What a server does: for each request a value, a deadline and a few steps below.
void serve(const heed::context& base, int requests) {
  for (int i = 0; i < requests; ++i) {
    const heed::context request = heed::with_value(base, number, i);
    auto [ctx, cancel] = heed::with_timeout(request, 1h);
    const auto step = heed::with_cancel(heed::without_cancel(ctx));
    EXPECT_EQ(*ctx.value(number), i);
    EXPECT_FALSE(step.ctx.err());
  }
}

}  // namespace

// The context that all derive from goes with the last that needs it: with a child, or the last handle.
TEST(CrowdRace, GoesWithTheLast) {
  const auto value = std::make_shared<int>();
  std::optional<heed::cancelable> scope;
  heed::context of_first;
  heed::context of_second;
  heed::context of_third;
  std::optional<heed::cancelable> left;
  race::rounds(
      3000 / slower,
      [&] {
        scope.emplace(heed::with_cancel(heed::background()));
        of_first = heed::with_value(scope->ctx, witness, value);
        of_second = of_third = of_first;
      },
      {[&] {
         serve(of_first, 20);
         of_first = {};
       },
       [&] {
         serve(of_second, 20);
         left = heed::with_cancel(of_second);
         of_second = {};
       },
       [&] {
         serve(of_third, 10);
         of_third = {};
       }},
      [&] {
        EXPECT_EQ(value.use_count(), 2) << "a child needs it";
        scope->cancel();
        EXPECT_TRUE(left->ctx.done());
        scope.reset();
        EXPECT_EQ(value.use_count(), 2) << "a child needs it";
        left.reset();
        EXPECT_EQ(value.use_count(), 1) << "nothing needs it";
      });
}

// A scope that only values have in hand, on two threads; what is to run when it ends is kept so long, and no
// longer.
TEST(CrowdRace, ValuesHaveTheirScopeInHand) {
  std::shared_ptr<int> function;
  heed::context of_first;
  heed::context of_second;
  std::optional<heed::cancelable> scope;
  race::rounds(
      3000 / slower,
      [&] {
        function = std::make_shared<int>();
        scope.emplace(heed::with_cancel(heed::background()));
        heed::after_func(scope->ctx, [function] {});
        of_first = heed::with_value(scope->ctx, number, 1);
        of_second = heed::with_value(scope->ctx, number, 2);
        scope->cancel.release();
      },
      {[&] {
         serve(of_first, 20);
         EXPECT_EQ(function.use_count(), 2);
         of_first = {};
       },
       [&] {
         for (int i = 0; i < 40; ++i) of_second = heed::with_value(std::as_const(of_second), number, i);
         scope.reset();
         serve(of_second, 5);
       }},
      [&] {
        EXPECT_EQ(function.use_count(), 2) << "a value has it in hand";
        of_second = {};
        EXPECT_EQ(function.use_count(), 1) << "nothing can end it any more";
      });
}
