// Task groups: functions that run side by side under one context, which the first error ends.
#pragma once

#include <heed/atomic.hpp>
#include <heed/context.hpp>
#include <heed/error.hpp>
#include <heed/scheduler.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

namespace heed::inline v0 {

class group_state;  // src/group.cpp

/// A task of a group: the part that does not know its F. Not for direct use.
class HEED_API group_task : private work {
 protected:
  // With a context: calls F with it. With null: destroys F and frees the storage.
  using handler = error (*)(group_task&, const context*);
  group_task(handler h, std::source_location place) noexcept
      : work(&group_task::on_step), handler_(h), place_(place) {}
  ~group_task() = default;
  // The exception that is being handled, as an error.
  static error caught() noexcept;

 private:
  friend class group;
  friend class group_state;
  static bool on_step(work& w, step s) noexcept;
  void free() noexcept { static_cast<void>(handler_(*this, nullptr)); }

  handler handler_;
  group_state* group_ = nullptr;
  sync::atomic<std::uint32_t>* caller_ = nullptr;  // the go() that waits until it is started
  std::source_location place_;                     // of go()
};

/// What a group takes as a task: `f(ctx)`, f being an lvalue, gives nothing, a `std::error_code` or an
/// `error`.
template <class F>
concept group_function = std::is_object_v<F> && requires(F& f, const context& ctx) {
  requires std::is_void_v<decltype(f(ctx))> ||
               std::same_as<std::remove_cvref_t<decltype(f(ctx))>, std::error_code> ||
               std::same_as<std::remove_cvref_t<decltype(f(ctx))>, error>;
};

/// A task with its F. Not for direct use.
template <class F>
class stored_task final : public group_task {
 public:
  template <class G>
  stored_task(G&& g, std::source_location place)
      : group_task(&stored_task::handle, place), f_(std::forward<G>(g)) {}

 private:
  ~stored_task() = default;
  static error handle(group_task& base, const context* ctx) {
    auto& self = static_cast<stored_task&>(base);
    if (!ctx) {
      delete &self;
      return {};
    }
#if defined(__cpp_exceptions)
    try {
      return self.call(*ctx);
    } catch (...) {
      return caught();
    }
#else
    return self.call(*ctx);
#endif
  }
  error call(const context& ctx) {
    if constexpr (std::is_void_v<decltype(f_(ctx))>) {
      f_(ctx);
      return {};
    } else {
      return error(f_(ctx));
    }
  }

  F f_;
};

/// Tasks that share one context: the first error ends it, and so the others. Go's
/// `golang.org/x/sync/errgroup`.
///
///     heed::group fetch(ctx);
///     for (const auto& url : urls) fetch.go([&](const heed::context& c) { return get(c, url); });
///     if (heed::error e = fetch.wait()) return e;
///
/// A task is called with ctx() and returns nothing, a `std::error_code` or an `error`; a code of 0 and a null
/// error are success; an exception becomes the error (`as<E>()` finds it, `raise()` throws it again). The
/// first failure cancels ctx() with it as the cause, and the line of its go() as the place. Every task that
/// was accepted runs, also after a cancel: then it sees its context done. Leaving the scope of the group
/// cancels and joins.
///
/// Tasks run on threads of the default scheduler, or are posted to the scheduler of the parent, or to one
/// named. With a limit of n, the default scheduler needs n threads for them, and no more.
///
/// Thread-safe but for the destructor: any thread may call any member, tasks included. Not to be used across
/// fork() while tasks run: the child has none of their threads.
class HEED_API group {
 public:
  /// Its context is a with_cancel() child of `parent`. Starts no thread. Throws `std::bad_alloc`.
  explicit group(const context& parent, std::source_location where = std::source_location::current());
  /// Its tasks are run by `on`, which must outlive the group.
  group(const context& parent, scheduler& on, std::source_location where = std::source_location::current());
  group(const group&) = delete;
  group& operator=(const group&) = delete;
  /// Cancels (canceled_at() is then the line of the constructor) and joins, as wait() does. A limit of 0
  /// counts as 1 by then. Inside one of its own tasks: aborts with a message, for it would wait for itself.
  /// On a scheduler that this very thread drives, drive it first: it only blocks.
  ~group();

  /// What the tasks run under. Ends with the first error, with the parent, or when wait() returns.
  const context& ctx() const noexcept { return ctx_; }

  /// At most `n` tasks at once; 0: no further one is started until it is raised. Without a call there is no
  /// limit. May be called at any time: raising starts what waits; lowering lets tasks that run come to their
  /// end, and starts no others until enough have. Go's `SetLimit`, which may not be called while tasks run.
  void set_limit(std::size_t n) noexcept;

  /// Has `f` run. At the limit, blocks until it is started: a producer is so held back to the speed of its
  /// tasks. Callers that wait are served in order, and a cancel does not interrupt them: the tasks end, and
  /// make room. Inside a task of this group, and where the scheduler is not the default one (this may be its
  /// only thread), it does not block: the task queues. (What nobody can see: a task of an inner group, or
  /// another thread, whose end a task of this group waits for. There it blocks, as in Go.) Where threads
  /// cannot be had, tasks wait for those that are busy; a task that blocks on other tasks, as one that waits
  /// for an inner group, needs a thread for those.
  ///
  /// One allocation. Throws `std::bad_alloc`, what F's constructor throws, and what scheduler::reserve()
  /// throws (`std::system_error` where there is no thread and none can be had); then nothing was accepted.
  /// Go's `Go`.
  template <class F>
  void go(F&& f, std::source_location where = std::source_location::current()) {
    require_function<F>(f);
    start(*new stored_task<std::decay_t<F>>(std::forward<F>(f), where));
  }

  /// As go(), but never blocks or queues: false at the limit, and `f` is untouched. True: accepted. Go's
  /// `TryGo`.
  template <class F>
  bool try_go(F&& f, std::source_location where = std::source_location::current()) {
    require_function<F>(f);
    if (!enter()) return false;
    struct entered {
      group* in;
      ~entered() {
        if (in) in->leave();
      }
    } place{this};
    group_task& task = *new stored_task<std::decay_t<F>>(std::forward<F>(f), where);
    place.in = nullptr;
    post(task);
    return true;
  }

  /// Blocks until all tasks accepted before are over, and what they captured is destroyed; then ends ctx(),
  /// if nothing else has (canceled_at() is then this line), and returns the first error, null where there was
  /// none. That error is also `ctx().cause()`, unless the parent, or an earlier wait(), ended the context
  /// first. What the tasks did is visible here.
  ///
  /// Any number of threads may wait, any number of times. go() is still allowed afterwards; such a task finds
  /// the context done, and is to be waited for again. On a scheduler that this very thread drives, drive it
  /// first. Inside a task of this group: misuse (`std::invalid_argument`), for it would wait for itself. Go's
  /// `Wait`.
  error wait(std::source_location where = std::source_location::current());

 private:
  template <class F>
  static void require_function(const std::remove_reference_t<F>& f) {
    static_assert(
        group_function<std::decay_t<F>>,
        "heed::group: a task is called with a const heed::context& and returns void, std::error_code or "
        "heed::error");
    static_assert(std::constructible_from<std::decay_t<F>, F>,
                  "heed::group: the task cannot be copied: move it into the group");
    if constexpr (std::is_pointer_v<std::remove_reference_t<F>>) refuse_null(f == nullptr);
  }
  static void refuse_null(bool null);
  // Takes the task over, and frees it when it throws.
  void start(group_task& task);
  // A place within the limit: to be followed by post() or leave().
  bool enter();
  void post(group_task& task) noexcept;
  void leave() noexcept;

  std::unique_ptr<group_state> state_;
  context ctx_;
};

}  // namespace heed::inline v0
