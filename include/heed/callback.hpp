// Being told when a context ends: cancel_callback (at once, on the canceling thread) and after_func (later,
// elsewhere).
#pragma once

#include <heed/atomic.hpp>
#include <heed/context.hpp>
#include <heed/scheduler.hpp>

#include <concepts>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

namespace heed::inline v0 {

/// A place in a context's list of callbacks: the part of cancel_callback that does not know its F, and the
/// part of after_func that waits. Not for direct use.
class HEED_API callback_base {
 public:
  callback_base(const callback_base&) = delete;
  callback_base& operator=(const callback_base&) = delete;

 protected:
  enum class event { fire, abandon };  // abandon: nothing can end the context any more (detached ones only)
  using function = void (*)(callback_base&, event) noexcept;

  // Detached: whoever takes it off the list calls `f` and does not touch it again; retire() is not used.
  callback_base(function f, bool detached) noexcept : function_(f), detached_(detached) {}
  ~callback_base() = default;

  // Puts it on the list of ctx. False: ctx is done already (or can never be), and it is on no list.
  bool enlist(const context& ctx) noexcept;
  // Takes it off the list, if it is still there: true, and it has no owner any more. May run foreign code.
  bool unlist() noexcept;
  // The same in a few steps, which run nothing foreign; false: nothing has changed.
  bool unlist_quickly() noexcept;
  // Takes it off, or waits until its running call returns; at once inside that very call.
  void retire() noexcept;
  // Lets go of the context's memory, after somebody else has taken it off the list.
  void forget() noexcept;

 private:
  friend class tree;
  // The same as enlist() and unlist(), whatever there is to see to. `locked`: the lock of the context's own
  // shard is held.
  bool enlist_anywhere(const context& ctx, bool locked) noexcept;
  bool unlist_anywhere() noexcept;
  callback_base* next_ = nullptr;  // circular; null when on no list; guarded by the owner's lock
  callback_base* prev_ = nullptr;
  cancel_node* owner_ = nullptr;  // the context, whose memory it keeps
  function function_;
  bool* gone_ = nullptr;                    // while it runs: set when it is destroyed inside its own call
  const void* runner_ = nullptr;            // while it runs: the thread
  sync::atomic<std::uint32_t> running_{0};  // a futex: see src/callback.cpp
  bool detached_;
  std::uint8_t shard_ = 0;  // of the owner: the one it is on
};

/// Runs F when a context ends: `std::stop_callback` for contexts ([stopcallback]).
///
/// F runs at most once, on the thread that cancels, inside cancel(), when the context and everything below it
/// are done already; a deadline runs it on a thread of its scheduler. Where the context is done already it
/// runs at once, inside the constructor. No lock is held: F may call anything, on any context, this one
/// included. (While another thread is just ending the context, what is below may be a moment behind a
/// callback that runs so.) The order among the callbacks of one context is unspecified. An exception from F
/// terminates the program. No allocation; registering and unregistering take the context's own short lock.
template <class F>
class cancel_callback : private callback_base {
  static_assert(std::is_invocable_v<F&>, "heed::cancel_callback: F is called without arguments");

 public:
  using callback_type = F;

  /// Registers `f` (any `g` that makes an F). Throws only what F's constructor throws. While registered it
  /// keeps what can end the context alive (its node, deadline and ancestors' nodes), but no value below the
  /// nearest cancelable context: an F that reads values captures the context.
  template <class G>
    requires std::constructible_from<F, G>
  explicit(false) cancel_callback(const context& ctx, G&& g)
      : callback_base(&cancel_callback::call, false), f_(std::forward<G>(g)) {
    if (!enlist(ctx) && ctx.done()) call(*this, event::fire);
  }
  /// Unregisters. If F is running on another thread, waits until it has returned, and what it wrote is then
  /// visible here; inside F itself, returns at once. Never waits for another callback. So: do not hold a lock
  /// here that F takes, and do not destroy two callbacks from inside each other on two threads.
  ~cancel_callback() { retire(); }

 private:
  static void call(callback_base& self, event) noexcept { static_cast<cancel_callback&>(self).f_(); }
  [[no_unique_address]] F f_;
};

template <class F>
cancel_callback(const context&, F) -> cancel_callback<F>;

/// A function registered with after_func(): reference counted, holds its F until that has run or never will.
class HEED_API pending_function : private callback_base, private work {
 public:
  void retain() noexcept;
  void release() noexcept;
  bool stop() noexcept;
  // Registers it, or posts it when ctx is done. Takes over one count. Throws what scheduler::reserve()
  // throws.
  void start(const context& ctx, scheduler* on);

 protected:
  enum class action { call, destroy, free };  // run F; destroy F; free the storage, F being gone
  using handler = void (*)(pending_function&, action) noexcept;
  // `trivial`: destroying F does nothing.
  pending_function(handler h, bool trivial) noexcept
      : callback_base(&pending_function::on_event, true), work(&pending_function::on_step), handler_(h),
        trivial_(trivial) {}
  ~pending_function() = default;
  // Room for one, from where heed keeps small blocks. Throws `std::bad_alloc`.
  static void* take(std::size_t bytes);
  static void give(void* room, std::size_t bytes) noexcept;

 private:
  static void on_event(callback_base& base, event e) noexcept;
  static bool on_step(work& w, step s) noexcept;
  void start_anyhow(const context& ctx, scheduler* on);
  void post_now() noexcept;
  bool stop_anyhow() noexcept;
  void let_go() noexcept;

  handler handler_;
  scheduler* scheduler_ = nullptr;
  sync::atomic<std::uint32_t> count_{2};  // the registration's, and the first stop_func's
  // waiting, fired, stopped, abandoned: the first to change it decides
  sync::atomic<std::uint16_t> state_{0};
  const bool trivial_;
};

/// Stops an after_func. Copyable; its own end does nothing; a default or moved-from one stops nothing.
class HEED_API stop_func {
 public:
  stop_func() noexcept = default;
  explicit stop_func(pending_function* f) noexcept : function_(f) {}  // takes over one count
  stop_func(const stop_func& other) noexcept : function_(other.function_) {
    if (function_) function_->retain();
  }
  stop_func(stop_func&& other) noexcept : function_(std::exchange(other.function_, nullptr)) {}
  stop_func& operator=(stop_func other) noexcept {
    std::swap(function_, other.function_);
    return *this;
  }
  ~stop_func() {
    if (function_) function_->release();
  }
  /// True: F will not run, and this is the call that decided so; F is destroyed before it returns. (Also
  /// true, once, for an F that was abandoned: the thread that noticed destroys it.) False: F has been
  /// started, or was stopped before. Never waits for F. Thread-safe; true at most once among all copies. As
  /// the stop function of Go's AfterFunc.
  bool operator()() const noexcept { return function_ && function_->stop(); }

 private:
  pending_function* function_ = nullptr;
};

/// One after_func with its F. Not for direct use.
template <class F>
class stored_function final : public pending_function {
 public:
  template <class G>
  explicit stored_function(G&& g)
      : pending_function(&stored_function::handle, std::is_trivially_destructible_v<F>),
        f_(std::forward<G>(g)) {}

  static void* operator new(std::size_t bytes) {
    if constexpr (alignof(stored_function) <= alignof(void*)) {
      return take(bytes);
    } else {
      return ::operator new(bytes, std::align_val_t(alignof(stored_function)));
    }
  }
  static void operator delete(void* room) noexcept {
    if constexpr (alignof(stored_function) <= alignof(void*)) {
      give(room, sizeof(stored_function));
    } else {
      ::operator delete(room, std::align_val_t(alignof(stored_function)));
    }
  }

 private:
  ~stored_function() {}
  static void handle(pending_function& base, action a) noexcept {
    auto& self = static_cast<stored_function&>(base);
    switch (a) {
      case action::call: static_cast<void>(self.f_()); return;
      case action::destroy: self.f_.~F(); return;
      case action::free: delete &self; return;
    }
  }
  union {
    F f_;  // destroyed as soon as it has run or never will
  };
};

/// Has `f` run once, later, on a thread of the context's scheduler, when the context ends; where it has ended
/// already, as soon as may be. Never inside cancel() and never inside this call; a function that blocks holds
/// none of the others back. Several on one context are independent and in no order. Go's `context.AfterFunc`.
///
/// F is kept, and runs, while something can still end the context: a handle, a cancel_func or canceler, an
/// armed deadline, on it or on an ancestor. When nothing can any more, F is destroyed unrun. An F that
/// captures the context itself keeps it alive until then. An exception from F terminates the program.
///
/// One allocation; secures what firing needs: throws `std::bad_alloc`, or `std::system_error` where no thread
/// can be had, and then nothing is registered. Should a thread not be had later, functions queue.
template <class F>
  requires std::constructible_from<std::decay_t<F>, F> && std::is_invocable_v<std::decay_t<F>&>
stop_func after_func(const context& ctx, F&& f) {
  auto* entry = new stored_function<std::decay_t<F>>(std::forward<F>(f));
  stop_func stop(entry);
  entry->start(ctx, nullptr);
  return stop;
}
/// As above, run by `on` instead of the context's own scheduler. `on` must outlive the registration.
template <class F>
  requires std::constructible_from<std::decay_t<F>, F> && std::is_invocable_v<std::decay_t<F>&>
stop_func after_func(const context& ctx, F&& f, scheduler& on) {
  auto* entry = new stored_function<std::decay_t<F>>(std::forward<F>(f));
  stop_func stop(entry);
  entry->start(ctx, &on);
  return stop;
}

}  // namespace heed::inline v0
