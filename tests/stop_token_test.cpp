// Stop tokens made of contexts, and contexts made of stop tokens.
#include <heed/stop_token.hpp>

#include "support.hpp"

#include <concepts>
#include <condition_variable>
#include <latch>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>

namespace {

using namespace heed_test;

// [stoptoken.concepts] of the C++26 draft, word for word but for the exposition-only names.
template <template <class> class>
struct check_type_alias_exists;

template <class Token>
concept stoppable_token = requires(const Token tok) {
  typename check_type_alias_exists<Token::template callback_type>;
  { tok.stop_requested() } noexcept -> std::same_as<bool>;
  { tok.stop_possible() } noexcept -> std::same_as<bool>;
  { Token(tok) } noexcept;
} && std::copyable<Token> && std::equality_comparable<Token> && std::swappable<Token>;

// In the draft it asks the parameter of a requires-expression, which compilers without P2280 refuse.
template <class Token>
concept unstoppable_token =
    stoppable_token<Token> && requires { requires std::bool_constant<(!Token().stop_possible())>::value; };

template <class T, class CallbackFn>
using stop_callback_for_t = typename T::template callback_type<CallbackFn>;

template <class CallbackFn, class Token, class Init = CallbackFn>
concept stoppable_callback_for =
    std::invocable<CallbackFn> && std::constructible_from<CallbackFn, Init> && requires {
      typename stop_callback_for_t<Token, CallbackFn>;
    } && std::constructible_from<stop_callback_for_t<Token, CallbackFn>, const Token&, Init>;

struct rvalue_only {
  int* calls;
  void operator()() && { ++*calls; }
};
struct from_int {
  explicit from_int(int) noexcept {}
  void operator()() const {}
};

static_assert(stoppable_token<heed::stop_token>);
static_assert(!unstoppable_token<heed::stop_token>);
static_assert(std::regular<heed::stop_token>);
static_assert(stoppable_callback_for<void (*)(), heed::stop_token>);
static_assert(stoppable_callback_for<rvalue_only, heed::stop_token>);
static_assert(stoppable_callback_for<from_int, heed::stop_token, int>);
static_assert(stoppable_callback_for<from_int&, heed::stop_token, from_int&>);
static_assert(!stoppable_callback_for<void (*)(int), heed::stop_token>);
static_assert(std::is_nothrow_default_constructible_v<heed::stop_token>);
static_assert(std::is_nothrow_constructible_v<heed::stop_token, const heed::context&>);
static_assert(!std::is_convertible_v<heed::context, heed::stop_token>);
static_assert(
    std::is_nothrow_constructible_v<heed::stop_callback<rvalue_only>, heed::stop_token, rvalue_only>);
static_assert(!std::is_copy_constructible_v<heed::stop_callback<rvalue_only>>);
static_assert(!std::is_move_constructible_v<heed::stop_callback<rvalue_only>>);
static_assert(!std::is_convertible_v<heed::context, heed::stop_bridge>);
static_assert(!std::is_copy_constructible_v<heed::stop_bridge>);
static_assert(!std::is_move_constructible_v<heed::stop_bridge>);

TEST(StopToken, FollowsItsContext) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  const heed::stop_token token(ctx);
  EXPECT_TRUE(token.stop_possible());
  EXPECT_FALSE(token.stop_requested());
  EXPECT_EQ(token.ctx(), ctx);
  cancel();
  EXPECT_TRUE(token.stop_possible());
  EXPECT_TRUE(token.stop_requested());
}

TEST(StopToken, DefaultNeverStops) {
  const heed::stop_token token;
  EXPECT_FALSE(token.stop_possible());
  EXPECT_FALSE(token.stop_requested());
  int calls = 0;
  const heed::stop_callback callback(token, [&calls] { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(StopToken, EqualIsTheSameStopState) {
  static constexpr heed::key<int> number{"number"};
  auto a = heed::with_cancel(heed::background());
  auto b = heed::with_cancel(heed::background());
  heed::stop_token one(a.ctx);
  heed::stop_token other(b.ctx);
  EXPECT_EQ(one, heed::stop_token(a.ctx));
  EXPECT_EQ(one, heed::stop_token(heed::with_value(a.ctx, number, 1)));
  EXPECT_NE(one, other);
  EXPECT_NE(one, heed::stop_token());
  EXPECT_EQ(heed::stop_token(heed::todo()), heed::stop_token());
  swap(one, other);
  EXPECT_EQ(other, heed::stop_token(a.ctx));
  one.swap(other);
  EXPECT_EQ(one, heed::stop_token(a.ctx));
}

TEST(StopToken, CallbackIsCalledOnceAsAnRvalue) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  const heed::stop_token token(ctx);
  int calls = 0;
  int late = 0;
  {
    heed::stop_token::callback_type<rvalue_only> before(token, rvalue_only{&calls});
    {
      const heed::stop_callback gone(token, [&late] { ++late; });
    }
    cancel();
    EXPECT_EQ(calls, 1);
  }
  const heed::stop_callback after(token, rvalue_only{&calls});
  EXPECT_EQ(calls, 2) << "at once where it has stopped";
  EXPECT_EQ(late, 0);
}

TEST(StopToken, CallbackMayEndItself) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  struct ends {
    std::optional<heed::stop_callback<ends>>* self;
    void operator()() && { self->reset(); }
  };
  std::optional<heed::stop_callback<ends>> callback;
  callback.emplace(heed::stop_token(ctx), ends{&callback});
  cancel();
  EXPECT_FALSE(callback);
}

TEST(StopBridge, TokenStopsWithTheContext) {
  auto [parent, cancel] = heed::with_cancel(heed::background());
  auto child = heed::with_cancel(parent);
  const heed::stop_bridge bridge(child.ctx);
  const std::stop_token token = bridge.token();
  EXPECT_EQ(token, bridge.token());
  EXPECT_TRUE(token.stop_possible());
  EXPECT_FALSE(token.stop_requested());
  bool told = false;
  const std::stop_callback callback(token, [&told] { told = true; });
  cancel();
  EXPECT_TRUE(token.stop_requested());
  EXPECT_TRUE(told) << "inside cancel()";
}

TEST(StopBridge, OfAContextThatHasEnded) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  cancel();
  const heed::stop_bridge bridge(ctx);
  EXPECT_TRUE(bridge.token().stop_requested());
}

TEST(StopBridge, OfAContextThatCanNeverEnd) {
  const heed::stop_bridge bridge((heed::context()));
  EXPECT_FALSE(bridge.token().stop_possible());
  EXPECT_FALSE(bridge.token().stop_requested());
}

TEST(StopBridge, TokenOutlivesTheBridge) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::stop_token token;
  {
    const heed::stop_bridge bridge(ctx);
    token = bridge.token();
  }
  EXPECT_FALSE(token.stop_possible());
  cancel();
  EXPECT_FALSE(token.stop_requested());
}

TEST(StopBridge, EndsInsideWhatItTells) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  auto bridge = std::make_unique<heed::stop_bridge>(ctx);
  std::optional<std::stop_callback<std::function<void()>>> callback;
  int calls = 0;
  callback.emplace(bridge->token(), [&] {
    ++calls;
    bridge.reset();
  });
  cancel();
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(bridge);
}

TEST(StopBridge, StopsAJthread) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::jthread worker([](const std::stop_token& asked) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait(lock, asked, [] { return false; });
  });
  const heed::stop_bridge stops(ctx, worker.get_stop_source());
  EXPECT_EQ(stops.token(), worker.get_stop_token());
  cancel();
  worker.join();  // without the bridge it would wait for good
  EXPECT_TRUE(stops.token().stop_requested());
}

TEST(StopBridge, StoppingTheThreadSaysNothingToTheContext) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  std::stop_source source;
  const heed::stop_bridge stops(ctx, source);
  source.request_stop();
  EXPECT_TRUE(is_live(ctx));
  cancel();
}

TEST(StopBridge, WakesAConditionVariable) {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  const heed::stop_bridge bridge(ctx);
  std::mutex mutex;
  std::condition_variable_any changed;
  bool ready = false;
  bool waiting = false;
  bool result = true;
  thread waiter([&] {
    std::unique_lock lock(mutex);
    result = changed.wait(lock, bridge.token(), [&] {
      waiting = true;
      return ready;
    });
  });
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return waiting;
  }));
  cancel();
  waiter.join();
  EXPECT_FALSE(result);
  std::unique_lock lock(mutex);
  ready = true;
  EXPECT_TRUE(changed.wait(lock, bridge.token(), [&] { return ready; })) << "the predicate comes first";
}

TEST(WithStopToken, EndsWithTheToken) {
  std::stop_source source;
  const auto line = std::source_location::current().line() + 1;
  auto [ctx, cancel] = heed::with_stop_token(heed::background(), source.get_token());
  auto child = heed::with_cancel(ctx);
  EXPECT_TRUE(is_live(ctx));
  EXPECT_EQ(ctx.to_string(), "background.with_stop_token");
  EXPECT_TRUE(source.request_stop());
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
  EXPECT_TRUE(is_done(child.ctx, heed::errc::canceled));
  EXPECT_EQ(ctx.cause(), heed::errc::canceled);
  EXPECT_EQ(ctx.canceled_at()->line(), line);
  EXPECT_EQ(child.ctx.canceled_at()->line(), line);
  EXPECT_FALSE(cancel());
}

TEST(WithStopToken, EndsWithItsParentAndByItsCancel) {
  std::stop_source source;
  auto parent = heed::with_cancel(heed::background());
  auto one = heed::with_stop_token(parent.ctx, source.get_token());
  auto two = heed::with_stop_token(parent.ctx, source.get_token());
  EXPECT_TRUE(one.cancel("enough"));
  EXPECT_EQ(one.ctx.cause().message(), "enough");
  EXPECT_TRUE(is_live(two.ctx));
  parent.cancel("all");
  EXPECT_EQ(two.ctx.cause().message(), "all");
  EXPECT_FALSE(source.stop_requested()) << "up to the token nothing goes";
  source.request_stop();
  EXPECT_EQ(two.ctx.cause().message(), "all");
}

TEST(WithStopToken, ThatHasStopped) {
  std::stop_source source;
  source.request_stop();
  auto [ctx, cancel] = heed::with_stop_token(heed::background(), source.get_token());
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
  EXPECT_FALSE(cancel("late"));
}

TEST(WithStopToken, BelowAParentThatHasEnded) {
  std::stop_source source;
  auto parent = heed::with_cancel(heed::background());
  parent.cancel("before");
  auto child = heed::with_stop_token(parent.ctx, source.get_token());
  EXPECT_EQ(child.ctx.cause().message(), "before");
}

TEST(WithStopToken, ThatCanNeverStop) {
  std::stop_token orphan = std::stop_source().get_token();
  for (const std::stop_token& token : {std::stop_token(), orphan}) {
    auto [ctx, cancel] = heed::with_stop_token(heed::background(), token);
    EXPECT_TRUE(is_live(ctx));
    EXPECT_TRUE(cancel("by hand"));
    EXPECT_EQ(ctx.cause().message(), "by hand");
  }
}

TEST(WithStopToken, ScopeEndCancelsAndNamesTheLine) {
  std::stop_source source;
  heed::context ctx;
  unsigned line = 0;
  {
    line = std::source_location::current().line() + 1;
    auto made = heed::with_stop_token(heed::background(), source.get_token());
    ctx = made.ctx;
  }
  EXPECT_TRUE(is_done(ctx, heed::errc::canceled));
  EXPECT_EQ(ctx.canceled_at()->line(), line);
}

TEST(WithStopToken, LastHandleGoesInsideRequestStop) {
  std::stop_source source;
  auto made =
      std::make_unique<heed::cancelable>(heed::with_stop_token(heed::background(), source.get_token()));
  made->cancel.release();
  bool told = false;
  heed::cancel_callback callback(made->ctx, [&] {
    told = true;
    made.reset();
  });
  source.request_stop();
  EXPECT_TRUE(told);
  EXPECT_FALSE(made);
}

TEST(WithStopToken, AnotherCallbackDropsTheContext) {
  std::stop_source source;
  auto made =
      std::make_unique<heed::cancelable>(heed::with_stop_token(heed::background(), source.get_token()));
  const std::stop_callback drop(source.get_token(), [&made] { made.reset(); });
  source.request_stop();
  EXPECT_FALSE(made);
}

TEST(WithStopToken, LetsTheTokenGo) {
  auto source = std::make_unique<std::stop_source>();
  const std::stop_token watched = source->get_token();
  {
    auto made = heed::with_stop_token(heed::background(), watched);
    EXPECT_TRUE(is_live(made.ctx));
  }
  EXPECT_TRUE(source->request_stop()) << "nobody is told any more";
}

TEST(WithStopToken, InsideAJthread) {
  heed::error cause;
  std::latch started(1);
  std::jthread worker([&](std::stop_token asked) {
    auto [ctx, cancel] = heed::with_stop_token(heed::background(), std::move(asked));
    started.count_down();
    ctx.wait();
    cause = ctx.cause();
  });
  started.wait();
  worker.request_stop();
  worker.join();
  EXPECT_EQ(cause, heed::errc::canceled);
}

TEST(WithStopToken, ThereAndBack) {
  std::stop_source source;
  auto [ctx, cancel] = heed::with_stop_token(heed::background(), source.get_token());
  const heed::stop_bridge bridge(ctx);
  EXPECT_FALSE(bridge.token().stop_requested());
  source.request_stop();
  EXPECT_TRUE(bridge.token().stop_requested());
}

TEST(WithStopToken, AfterFuncWaitsForTheToken) {
  heed::manual_scheduler time;
  std::stop_source source;
  int ran = 0;
  {
    auto [ctx, cancel] = heed::with_stop_token(heed::background(time), source.get_token());
    heed::after_func(ctx, [&ran] { ++ran; });
    source.request_stop();
  }
  EXPECT_EQ(time.run_pending(), 1U);
  EXPECT_EQ(ran, 1);
}

}  // namespace
