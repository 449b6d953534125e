// Waiting for a context in the coroutines of Asio, without including Asio: its names are found when a
// coroutine of its kind awaits. Included by heed/coroutine.hpp; there is nothing to call here.
//
// Inside `boost::asio::awaitable` (Boost 1.81 or later) `co_await heed::done(ctx)` is an asynchronous
// operation like Asio's own. When the context ends, the coroutine's handler is posted to its executor, by the
// context's scheduler (or the one named). Where registering fails, it gives the failure's code (ENOMEM, say):
// the coroutine is suspended by then. (Where there is no memory for the operation itself, run() throws, and
// the coroutine is destroyed, as with Asio's own operations.) It takes part in Asio's per-operation
// cancellation, and so, inside an `awaitable` of its own, in `||` and `&&`: then it gives
// std::errc::operation_canceled (which no context's err() is equal to as a code). When the execution_context
// is destroyed, waiting coroutines are destroyed with it, as those that wait for a timer are, and no thread
// of heed's touches it afterwards, though the context ends at that moment: its destructor waits for the few
// who are just posting. A post for which there is no memory terminates the program, as an exception from an
// after_func does.
#pragma once

#include <heed/callback.hpp>
#include <heed/context.hpp>

#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace heed::inline v0 {

/// A handler as Asio's coroutines make it: move-only, with an executor that knows its execution context.
template <class H>
concept loop_handler = requires(const std::remove_cvref_t<H>& h) { h.get_executor().context(); };

/// A wait in an event loop that is not ours, and may end before the context does. Not for direct use.
class HEED_API loop_wait : public std::enable_shared_from_this<loop_wait> {
 public:
  loop_wait(const loop_wait&) = delete;
  loop_wait& operator=(const loop_wait&) = delete;
  virtual ~loop_wait();

 private:
  friend class loop_waits;
  virtual void resume(std::error_code result) noexcept = 0;  // hands it to the loop
  virtual void destroy() noexcept = 0;                       // the coroutine, unresumed
  // All guarded by the lock of the waits that it is one of.
  std::shared_ptr<loop_wait> self_;  // null: it is none of them (any more)
  loop_wait* next_ = nullptr;
  loop_wait* prev_ = nullptr;
  stop_func stop_;

 protected:
  loop_wait() noexcept = default;
};

/// The waits in one event loop, owned by it and by each of them: decides who gets a wait, a context's end,
/// its cancellation by the loop, or the loop's own end. No lock is held while it calls. Not for direct use.
class HEED_API loop_waits {
 public:
  loop_waits();  // may throw std::bad_alloc
  loop_waits(const loop_waits&) = delete;
  loop_waits& operator=(const loop_waits&) = delete;
  ~loop_waits();
  /// Takes it in, and registers it with the context. Where that fails, resumes it with the failure's code.
  void start(const std::shared_ptr<loop_wait>& w, const std::shared_ptr<loop_waits>& self, const context& ctx,
             scheduler* on);
  /// Resumes it with this result, unless somebody else was first.
  void finish(loop_wait& w, std::error_code result) noexcept;
  /// Destroys all that still wait; waits until those have returned who are just handing one to the loop.
  void close() noexcept;

 private:
  struct state;
  std::shared_ptr<loop_wait> take(loop_wait& w) noexcept;
  std::unique_ptr<state> state_;
};

/// The service of an Asio execution context that ends the waits in it. Not for direct use.
template <class ExecutionContext>
class loop_service final : public ExecutionContext::service {
 public:
  static inline typename ExecutionContext::id id;
  explicit loop_service(ExecutionContext& owner)
      : ExecutionContext::service(owner), waits(std::make_shared<loop_waits>()) {}
  ~loop_service() override = default;
  const std::shared_ptr<loop_waits> waits;

 private:
  void shutdown() override { waits->close(); }
};

/// A wait that knows its handler. Not for direct use.
template <class Handler>
class handler_wait final : public loop_wait {
 public:
  explicit handler_wait(Handler&& h) : handler_(std::move(h)) {}
  // Has the loop call it, later, on its own executor.
  static void post_to_loop(Handler&& h, std::error_code result) {
    const auto executor = h.get_executor();
    post(executor, [h = std::move(h), result]() mutable {  // Asio's, found by its argument
      if constexpr (std::is_invocable_v<Handler&, std::error_code, std::error_code>) {
        h(std::error_code(), result);
      } else {
        h(result);
      }
    });
  }

 private:
  void resume(std::error_code result) noexcept override {
    post_to_loop(std::move(*handler_), result);
    handler_.reset();
  }
  void destroy() noexcept override { handler_.reset(); }
  std::optional<Handler> handler_;
};

/// Has the loop call the handler with the context's err() when that ends. Not for direct use. `ctx` is a
/// copy: once registered, the coroutine may go on elsewhere, and its own be gone.
template <class H>
void await_on_loop(H&& handler, context ctx, scheduler* on) {
  using handler_type = std::remove_cvref_t<H>;
  using wait_type = handler_wait<handler_type>;
  if (const std::error_code err = ctx.err()) return wait_type::post_to_loop(std::forward<H>(handler), err);
  // execution_context itself, which each of Asio's contexts is derived from.
  auto& loop = handler.get_executor().context();
  using loop_type = std::remove_cvref_t<decltype(loop)>;
  using root = std::remove_reference_t<decltype(std::declval<typename loop_type::service&>().context())>;
  const std::shared_ptr<loop_waits> waits = use_service<loop_service<root>>(static_cast<root&>(loop)).waits;

  auto slot = [&] {
    if constexpr (requires { handler.get_cancellation_slot(); })
      return handler.get_cancellation_slot();
    else
      return nullptr;
  }();
  const auto w = std::make_shared<wait_type>(std::forward<H>(handler));
  if constexpr (requires { slot.is_connected(); }) {
    if (slot.is_connected()) {
      slot.assign([waits, weak = std::weak_ptr<loop_wait>(w)](auto) {
        if (const auto still = weak.lock()) {
          waits->finish(*still, std::make_error_code(std::errc::operation_canceled));
        }
      });
    }
  }
  waits->start(w, waits, ctx, on);
}

}  // namespace heed::inline v0
