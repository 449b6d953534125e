// Stop tokens: contexts for code that takes a stop token, and stop tokens for code that takes a context.
#pragma once

#include <heed/callback.hpp>
#include <heed/context.hpp>
#include <heed/custom.hpp>

#include <concepts>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <version>

// libc++ 19 has <stop_token> with -fexperimental-library only; without it there are no bridges to std.
#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

namespace heed::inline v0 {

template <class F>
class stop_callback;

/// A context seen as a stop token: models `stoppable_token` ([stoptoken.concepts] of the C++26 draft, P2300),
/// for senders and whatever else is written against that concept. Ending the context is requesting the stop.
///
/// Holds its context. Copying costs what copying a context does and never throws; thread-safe as a context.
class stop_token {
 public:
  /// What std::stop_callback is to std::stop_token.
  template <class F>
  using callback_type = stop_callback<F>;

  /// Of background(): never stops.
  stop_token() noexcept = default;
  /// Of `ctx`.
  explicit stop_token(const context& ctx) noexcept : ctx_(ctx) {}

  /// `ctx.done()`: one atomic load (acquire).
  bool stop_requested() const noexcept { return ctx_.done(); }
  /// `ctx.cancel_possible()`: also true once it has stopped.
  bool stop_possible() const noexcept { return ctx_.cancel_possible(); }
  /// The context, for its cause and deadline.
  const context& ctx() const noexcept { return ctx_; }

  void swap(stop_token& other) noexcept { std::swap(ctx_, other.ctx_); }
  friend void swap(stop_token& a, stop_token& b) noexcept { a.swap(b); }
  /// The same stop state ([stoptoken]): they stop together, by one word. So contexts that differ by values
  /// only give equal tokens, and all tokens that never stop are equal.
  bool operator==(const stop_token& other) const noexcept { return ctx_.scope_ == other.ctx_.scope_; }

 private:
  context ctx_;
};

/// Runs F when the token's context ends: a cancel_callback with the interface of `std::stop_callback`
/// ([stopcallback]), and its promises: at once, inside the constructor, where it has ended already; else on
/// the thread that cancels; the destructor waits for a call on another thread. F is called as an rvalue.
/// Throws only what F's constructor throws; an exception from F terminates the program.
template <class F>
class stop_callback {
  static_assert(std::invocable<F> && std::destructible<F>,
                "heed::stop_callback: F is called without arguments");

 public:
  using callback_type = F;

  template <class G>
    requires std::constructible_from<F, G>
  explicit stop_callback(const stop_token& token, G&& g) noexcept(std::is_nothrow_constructible_v<F, G>)
      : callback_(token.ctx(), std::forward<G>(g)) {}
  stop_callback(const stop_callback&) = delete;
  stop_callback& operator=(const stop_callback&) = delete;
  ~stop_callback() = default;

 private:
  struct once {
    template <class G>
    explicit once(G&& g) noexcept(std::is_nothrow_constructible_v<F, G>) : f(std::forward<G>(g)) {}
    void operator()() { std::forward<F>(f)(); }
    [[no_unique_address]] F f;
  };
  cancel_callback<once> callback_;
};

template <class F>
stop_callback(stop_token, F) -> stop_callback<F>;

#if defined(__cpp_lib_jthread)

/// The way out: a std::stop_token that stops when a context ends, for std::condition_variable_any,
/// std::jthread and whatever takes one. The stop is requested on the thread that cancels, inside cancel(),
/// and so run the stop_callbacks of the token.
///
///     heed::stop_bridge bridge(ctx);
///     condition.wait(lock, bridge.token(), [&] { return !queue.empty(); });   // false where ctx has ended
///
/// Lives as long as the end of the context is to be passed on; tokens may outlive it, and then never stop any
/// more (or have stopped). Its destructor waits while the stop is being requested on another thread: do not
/// hold a lock there which a stop_callback of the token takes. Ending the bridge from inside such a callback
/// is fine.
class stop_bridge {
 public:
  /// Throws `std::bad_alloc`. Where the context can never end, `token().stop_possible()` is false.
  explicit stop_bridge(const context& ctx)
      : stop_bridge(ctx, ctx.cancel_possible() ? std::stop_source() : std::stop_source(std::nostopstate)) {}
  /// Asks `source` to stop when the context ends: `stop_bridge stops(ctx, thread.get_stop_source())` for a
  /// std::jthread. Stopping the source otherwise says nothing to the context. Never throws.
  stop_bridge(const context& ctx, std::stop_source source) noexcept
      : source_(std::move(source)), callback_(ctx, on_end{&source_}) {}
  stop_bridge(const stop_bridge&) = delete;
  stop_bridge& operator=(const stop_bridge&) = delete;
  ~stop_bridge() = default;

  /// A token of its source. Thread-safe.
  std::stop_token token() const noexcept { return source_.get_token(); }

 private:
  struct on_end {
    std::stop_source* source;
    void operator()() const noexcept {
      std::stop_source keep(*source);  // what is told may end the bridge
      keep.request_stop();
    }
  };
  std::stop_source source_;
  cancel_callback<on_end> callback_;  // last: gone before the source
};

/// The context behind with_stop_token(). Not for direct use.
class stop_token_context final : public custom_context {
 public:
  stop_token_context(anchor a, std::stop_token token, std::source_location where)
      : custom_context(a), where_(where), callback_(std::move(token), on_stop{this}) {}
  std::string name() const override { return "with_stop_token"; }

 private:
  struct on_stop {
    stop_token_context* self;
    void operator()() const noexcept { self->end(errc::canceled, {}, self->where_); }
  };
  const std::source_location where_;
  std::stop_callback<on_stop> callback_;  // last: gone before the rest
};

/// The way in: a child that also ends when the token is stopped, with errc::canceled, inside request_stop();
/// canceled_at() is then the line of this call. Born done where it has stopped already. Where it can never
/// stop, a with_cancel(). The context's end says nothing to the token.
///
/// The token is let go with the last handle, wherever that goes, also inside request_stop(). While it can
/// stop it counts as something that can still end the context (see after_func()). Dropping the last handle
/// waits while request_stop() is telling this context on another thread. One allocation: throws
/// `std::bad_alloc`, and then nothing has changed. Thread-safe.
inline cancelable with_stop_token(const context& parent, std::stop_token token,
                                  std::source_location where = std::source_location::current()) {
  if (!token.stop_possible()) return with_cancel(parent, where);
  auto made = with_custom<stop_token_context>(located_parent(parent, where), std::move(token), where);
  return {std::move(made.ctx), std::move(made.cancel)};
}

#endif

}  // namespace heed::inline v0
