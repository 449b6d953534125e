// Coroutines that wait for a context: `std::error_code why = co_await heed::done(ctx);`
#pragma once

#include <heed/atomic.hpp>
#include <heed/callback.hpp>
#include <heed/context.hpp>
#include <heed/event_loop.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

namespace heed::inline v0 {

class done_awaiter;

/// What done() gives: to be awaited, once or often, in a coroutine of any type. Copyable; holds its context.
/// (Asio awaits temporaries only: there a named one is to be copied or moved,
/// `co_await heed::done_awaitable(named)`.)
class [[nodiscard]] done_awaitable {
 public:
  done_awaiter operator co_await() const noexcept;
  /// For the coroutines of Asio, which await operations of the form `op(handler)`: see heed/event_loop.hpp.
  template <class Handler>
    requires loop_handler<Handler>
  void operator()(Handler&& handler) const {
    await_on_loop(std::forward<Handler>(handler), ctx_, on_);
  }

 private:
  friend class done_awaiter;
  friend done_awaitable done(const context& ctx) noexcept;
  friend done_awaitable done(const context& ctx, scheduler& on) noexcept;
  done_awaitable(context ctx, scheduler* on) noexcept : ctx_(std::move(ctx)), on_(on) {}
  context ctx_;
  scheduler* on_;
};

/// One `co_await heed::done(ctx)`: lives in the coroutine's frame. Not for direct use.
class done_awaiter {
 public:
  explicit done_awaiter(const done_awaitable& a) noexcept : ctx_(a.ctx_), on_(a.on_) {}
  done_awaiter(const done_awaiter&) = delete;
  done_awaiter& operator=(const done_awaiter&) = delete;
  ~done_awaiter() {
    // acq_rel: a function that comes now finds it gone; one that came before had us resumed, so that what it
    // did is known anyway.
    if (state_ && state_->word.exchange(gone, std::memory_order_acq_rel) != fired) stop_();
  }

  bool await_ready() const noexcept { return ctx_.done(); }
  // noinline: once it has registered, the frame may be resumed and destroyed by another thread while this one
  // is still in here, so none of its variables may live in the frame.
  [[gnu::noinline]] bool await_suspend(std::coroutine_handle<> waiting_one) {
    const auto state = std::make_shared<shared>(waiting_one);
    auto f = [state] { state->fire(); };
    stop_ = on_ ? after_func(ctx_, std::move(f), *on_) : after_func(ctx_, std::move(f));
    state_ = state;
    std::uint32_t expected = registering;
    // release: the frame, to the one who resumes it. From here on `this` may be gone. False: it has fired
    // already, on another thread; acquire: await_resume() sees the context done.
    return state->word.compare_exchange_strong(expected, waiting, std::memory_order_acq_rel);
  }
  std::error_code await_resume() const noexcept { return ctx_.err(); }

 private:
  enum : std::uint32_t { registering, waiting, fired, gone };
  // What the awaiter and the function registered with after_func() share.
  struct shared {
    explicit shared(std::coroutine_handle<> h) noexcept : waiting_one(h) {}
    void fire() {
      // acquire: the frame, as the one who suspended it left it. release: to one who does not suspend after
      // all.
      if (word.exchange(fired, std::memory_order_acq_rel) == waiting) waiting_one.resume();
    }
    sync::atomic<std::uint32_t> word{registering};
    const std::coroutine_handle<> waiting_one;
  };
  const context ctx_;  // a handle: so the function is not given up as long as we wait
  scheduler* const on_;
  std::shared_ptr<shared> state_;
  stop_func stop_;
};

inline done_awaiter done_awaitable::operator co_await() const noexcept {
  return done_awaiter(*this);
}

/// `co_await heed::done(ctx)` suspends the coroutine until the context ends, and gives its err(). Where it
/// has ended already nothing is suspended.
///
/// Resumes on a thread of the context's scheduler, never inside cancel(): it is an after_func() that resumes.
/// (When the context ends while the coroutine is just about to suspend, it goes on at once, where it is.)
/// Inside Asio's `awaitable` it resumes on the coroutine's own executor: see heed/event_loop.hpp. Where the
/// context can never end, it waits until it is destroyed.
///
/// A coroutine that waits may be destroyed, and is then never resumed, though the context ends later, or is
/// ending at that moment on another thread. As for every coroutine, it must not be destroyed while it is
/// being resumed: where the scheduler has threads of its own, who destroys has to know that it has not got
/// that far, for instance because stopping and resuming are decided under one lock, or because the context
/// cannot end yet. With a manual_scheduler, or an event loop of one thread, whatever that very thread
/// destroys is safe.
///
/// Thread-safe as after_func(), whose errors `co_await` throws (inside Asio: gives as a code):
/// `std::bad_alloc`, `std::system_error`; nothing is registered then. Two allocations where it suspends. An
/// exception that leaves the resumed coroutine by its promise terminates the program. As Go's `<-ctx.Done()`.
[[nodiscard]] inline done_awaitable done(const context& ctx) noexcept {
  return {ctx, nullptr};
}
/// As above, resumed by `on` instead of the context's own scheduler. `on` must outlive the wait.
[[nodiscard]] inline done_awaitable done(const context& ctx, scheduler& on) noexcept {
  return {ctx, &on};
}

}  // namespace heed::inline v0

// Inside boost::asio::awaitable it is an asynchronous operation of Asio's, too. Only these two traits need to
// know it; declared here as Asio declares them, so that either header may come first.
namespace boost::asio {
template <typename T, typename... Args>
struct is_async_operation;
template <typename T, typename... Args>
struct completion_signature_of;
}  // namespace boost::asio

template <class T>
  requires std::same_as<std::remove_cvref_t<T>, heed::done_awaitable>
struct boost::asio::is_async_operation<T> : std::true_type {};
template <class T>
  requires std::same_as<std::remove_cvref_t<T>, heed::done_awaitable>
struct boost::asio::completion_signature_of<T> {
  using type = void(std::error_code);
};

// Asio without Boost, but only where it is in use: else `namespace asio = boost::asio;` would fail.
#if defined(ASIO_STANDALONE) || defined(ASIO_VERSION)
namespace asio {
template <typename T, typename... Args>
struct is_async_operation;
template <typename T, typename... Args>
struct completion_signature_of;
}  // namespace asio

template <class T>
  requires std::same_as<std::remove_cvref_t<T>, heed::done_awaitable>
struct asio::is_async_operation<T> : std::true_type {};
// There std::error_code is an operation's error, which is thrown; so the result needs a second place.
template <class T>
  requires std::same_as<std::remove_cvref_t<T>, heed::done_awaitable>
struct asio::completion_signature_of<T> {
  using type = void(std::error_code, std::error_code);
};
#endif
