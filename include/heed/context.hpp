// The context: one small handle that carries cancellation, deadline and values down a tree of work.
#pragma once

#include <heed/atomic.hpp>
#include <heed/error.hpp>
#include <heed/export.hpp>
#include <heed/key.hpp>
#include <heed/time.hpp>

#include <concepts>
#include <cstdint>
#include <iosfwd>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

namespace heed::inline v0 {

class context;
class scheduler;
class stop_token;
class tree;  // the library's side of these classes: src/tree.hpp
struct cancel_node;

// What err() reads: the one word that decides whether a context is done. Its bits are told in src/word.hpp;
// the lowest byte has these three, and nothing else.
struct scope {
  static constexpr std::uint64_t verdict = 0b0011;  // 0 live, else the errc
  static constexpr std::uint64_t closing = 0b0100;  // done, but its done_fd() is not readable yet
  sync::atomic<std::uint64_t> word{0};
  // Makes the fd readable when the word was seen with `closing`. Signal-safe, never waits.
  [[gnu::cold]] HEED_API void close() const noexcept;
};
/// The scope of every context that can never be canceled.
HEED_API extern const scope never_ending;

/// A handle on a context: copyable, never null, two pointers wide. Pass it as `const heed::context&`, first.
///
/// Go's `context.Context`. Any number of threads may use one context at once, also through the same handle as
/// long as none assigns to that handle. Copying costs one atomic increment, none for background() and todo().
/// A context keeps its ancestors and their values alive.
class HEED_API context {
 public:
  /// background(). Free.
  context() noexcept = default;
  context(const context& other) noexcept : node_(apart(other.node_)), scope_(other.scope_) {
    if (node_) retain(node_);
  }
  /// Moving is free; a moved-from context is background().
  context(context&& other) noexcept
      : node_(apart(std::exchange(other.node_, nullptr))),
        scope_(std::exchange(other.scope_, &never_ending)) {}
  context& operator=(context other) noexcept {
    node_head* const mine = node_;
    node_ = other.node_;
    asm("" : "+m"(node_));  // two stores, not one of 16 bytes put together first
    other.node_ = mine;
    std::swap(scope_, other.scope_);
    return *this;
  }
  /// Dropping the last handle of a context frees it, its timer and its fd, unless something below still needs
  /// it. Destroys its value, if it holds one: foreign code, run with no lock held.
  ~context() {
    if (node_) release(node_);
  }

  /// `{}` while live; then errc::canceled or errc::deadline_exceeded, for good. One atomic load (acquire):
  /// all that happened before the cancel() is visible once this is non-zero. Non-zero exactly when done is
  /// visible in every other form (waiters, done_fd(), callbacks). Lock-free, async-signal-safe. The promise
  /// of Go's `Context.Err`, and of its Done channel, which can lag behind Err there.
  std::error_code err() const noexcept {
    const std::uint8_t b = answer();
    if (is_live(b)) return {0, no_error.category()};
    settle(b);
    // 1 or 2 by its last bit, so that a compiler sees that this is not 0.
    static_assert(static_cast<int>(errc::canceled) == 1 && static_cast<int>(errc::deadline_exceeded) == 2);
    return {static_cast<int>(2 - (b & 1)), category()};
  }
  /// `bool(err())`, for loops: `while (!ctx.done()) ...`. The same load, the same promises.
  bool done() const noexcept {
    const std::uint8_t b = answer();
    if (!is_live(b)) settle(b);
    return b != 0;
  }
  /// Why it ended: null until done; then the cause given to the first cancel() or to the deadline that ended
  /// it or an ancestor, or err() as an error where none was given. Never changes afterwards. Thread-safe; one
  /// atomic increment at most. Go's `context.Cause`.
  error cause() const noexcept;
  /// The earliest deadline of its own and its ancestors', up to the nearest without_cancel(). Never changes.
  /// O(1) where there is none; else up to the nearest ancestor that has one.
  std::optional<time_point> deadline() const noexcept {
    // Made of a pointer, as compilers put an optional together in memory, and wait for that.
    const time_point* const at = cancel_possible() ? earliest(*scope_) : nullptr;
    return at ? std::optional(*at) : std::nullopt;
  }
  /// The value of the nearest context at or above this one that was made with this very key; nullptr if none.
  /// Lives as long as this context. Thread-safe; as the value itself is shared, T should be immutable or do
  /// its own locking. Contexts without values cost nothing, and values hardly more: most misses are told by
  /// one word, wherever one asks, and a hit passes values by eights.
  template <class T>
  const T* value(const key<T>& k) const noexcept {
    const node_head* head = node_;
    if (!head) return nullptr;
    if (!head->is_value()) [[unlikely]] {
      head = head->answering();
      if (!head) return nullptr;
    }
    if (!head->may_know(k)) return nullptr;
    if (head->is_value() && head->is_of(k)) [[likely]]
      return head->value<T>();
    return static_cast<const T*>(find(*head, k));
  }
  /// False: err() can never change; true for everything that can be canceled, also once it is. Go says
  /// the same by a nil Done channel.
  bool cancel_possible() const noexcept { return scope_ != &never_ending; }
  /// The line whose cancel() or deadline ended it; `{}` while live. For a deadline the line that set it; for
  /// a cancel_func that left its scope, the line that made it. The same for every descendant that it ended.
  std::optional<std::source_location> canceled_at() const noexcept;

  /// Blocks this thread until done; forever where cancel is not possible. No spinning: one futex. In a forked
  /// child it ends contexts whose deadline was set before the fork at their time (see docs/guide.md), and
  /// below a merge there may throw `std::bad_alloc`. A thread that waits for a deadline may have a timer
  /// slack (prctl(2)) of 1 ns meanwhile. All of this is so for the waits below, too.
  void wait() const;
  /// Blocks until done (true) or until the duration has passed (false); a context that is done gives true,
  /// whatever the duration. Any duration type; too long ones saturate to forever; NaN is misuse
  /// (`std::invalid_argument`). Under a manual_scheduler its clock counts.
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& d) const {
    return wait_until(end_of(saturate(d), [this] { return now(); }));
  }
  /// Blocks until done (true) or until `t` by this context's clock (false). Never returns false early.
  /// Under a scheduler that is not the default one it may throw what arm() throws.
  bool wait_until(time_point t) const;
  /// As above, for a steady_clock point in other units or a system_clock point (converted once, now).
  template <class Clock, class Duration>
  bool wait_until(const std::chrono::time_point<Clock, Duration>& t) const {
    return wait_until(to_time_point(t, [this] { return now(); }));
  }
  /// A file descriptor that is readable once the context is done, level-triggered, for poll, select, epoll.
  /// Owned by the context: never read, write or close it. Made on first use (the same each time), closed with
  /// the context. Where cancel is not possible: valid, never readable, one for the whole process. Throws
  /// `std::system_error` when no descriptor can be had; a later call may succeed. In a forked child call it
  /// anew before use: see docs/guide.md.
  int done_fd() const;

  /// The way down to it: "background.with_cancel.with_deadline(...).with_value(user, ann)". Text, and types
  /// that convert to it, arithmetic types, and types with a `to_string` are printed; of others the type's
  /// name. Calls the value's conversion: foreign code.
  std::string to_string() const;

  /// The present by the clock of this context's scheduler.
  time_point now() const noexcept;

  /// The same context: copies of one handle. background() equals every other background().
  friend bool operator==(const context& a, const context& b) noexcept { return a.node_ == b.node_; }

 private:
  friend class tree;
  friend class stop_token;
  friend struct cancelable;
  friend class derived;
  // Takes over one count on the handle.
  context(node_head* n, const scope* s) noexcept : node_(n), scope_(s) {}
  // 0: live; else the verdict, and perhaps `closing`. A byte, since compilers compare that as it is, where
  // two bits of a word are first cut out.
  std::uint8_t answer() const noexcept {
    return static_cast<std::uint8_t>(scope_->word.load(std::memory_order_acquire));
  }
  // As most are. Asked first, so that who goes on with a live context has one branch for it. With 0.8, not as
  // a certainty: else compilers move the other way far off, and a loop over what is done jumps to and fro.
  static bool is_live(std::uint8_t b) noexcept { return __builtin_expect_with_probability(b == 0, 1, 0.8); }
  void settle(std::uint8_t b) const noexcept {
    if (b > scope::verdict) [[unlikely]]
      scope_->close();
  }
  // Keeps a compiler from moving both words by one load of 16 bytes: right after two stores of 8, as with_*()
  // just made them, that would wait until these have reached the cache.
  static node_head* apart(node_head* n) noexcept {
    asm("" : "+r"(n));
    return n;
  }
  static void retain(node_head* n) noexcept;
  static void release(node_head* head) noexcept;
  static const void* find(const node_head& from, const key_base& k) noexcept;
  static const time_point* earliest(const scope& s) noexcept;

  node_head* node_ = nullptr;  // null: background()
  const scope* scope_ = &never_ending;
};

/// Prints to_string().
HEED_API std::ostream& operator<<(std::ostream& out, const context& ctx);

/// The root of everything: never canceled, no deadline, no values. Free. Go's `context.Background`.
inline context background() noexcept {
  return {};
}
/// Like background(), for where it is not clear yet which context to pass. Free. Go's `context.TODO`.
HEED_API context todo() noexcept;
/// A root whose deadlines and after_funcs run on `s`, which must outlive every context below (its destructor
/// checks). Otherwise like background(). Throws `std::bad_alloc`.
HEED_API context background(scheduler& s, std::source_location where = std::source_location::current());

/// Cancels a context, from anywhere: a copyable function object, made by cancel_func::share(). Fits
/// `std::function<void()>`. Its scope ends nothing and keeps nothing from ending; it keeps the context's
/// memory, as a context handle does. A default or moved-from one does nothing.
class HEED_API canceler {
 public:
  canceler() noexcept = default;
  canceler(const canceler& other) noexcept;
  canceler(canceler&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  canceler& operator=(canceler other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~canceler();
  /// As cancel_func::operator().
  bool operator()(error cause = {},
                  std::source_location where = std::source_location::current()) const noexcept;

 private:
  friend class cancel_func;
  explicit canceler(cancel_node* n) noexcept : node_(n) {}
  cancel_node* node_ = nullptr;
};

/// The right, and the duty, to cancel one context: move-only, and leaving its scope cancels (Go's `defer
/// cancel()`).
class [[nodiscard]] HEED_API cancel_func {
 public:
  /// Nothing to cancel; also the state of a moved-from one.
  cancel_func() noexcept = default;
  cancel_func(cancel_func&& other) noexcept
      : scope_(std::exchange(other.scope_, nullptr)), made_(other.made_) {}
  /// Cancels what it held, then takes over.
  cancel_func& operator=(cancel_func&& other) noexcept;
  /// Cancels; canceled_at() is then the line of the with_* call that made it.
  ~cancel_func() {
    if (scope_) leave_scope(*scope_, made_);
  }

  /// Ends the context and everything below it, now: when it returns, the context is done, and if this call
  /// decided, so is every descendant that is not below a without_cancel(), and the cancel_callbacks have run,
  /// on this thread. True: this call decided; its cause (null: errc::canceled) and place stand for good.
  /// False: it had been decided before, or there is nothing to cancel. Thread-safe; never allocates, never
  /// fails; not for signal handlers (see docs/guide.md for the way there).
  [[gnu::always_inline]] bool operator()(
      error cause = {}, std::source_location where = std::source_location::current()) const noexcept {
    if (!scope_) return false;
    return cause ? end_because(*scope_, cause, where) : end(*scope_, where);
  }
  /// A copyable function object that makes the same call. One atomic increment.
  canceler share() const noexcept;
  /// Gives the duty up without canceling: the parent or the deadline ends the context, or nothing does.
  void release() noexcept;

 private:
  friend class tree;
  friend struct cancelable;
  cancel_func(scope* s, std::source_location made) noexcept : scope_(s), made_(made) {}
  static bool end(scope& s, std::source_location where) noexcept;
  static bool end_because(scope& s, error& cause, std::source_location where) noexcept;
  static void leave_scope(scope& s, std::source_location made) noexcept;
  scope* scope_ = nullptr;
  std::source_location made_;
};

/// A context and what cancels it: `auto [ctx, cancel] = heed::with_cancel(parent);`
///
/// Leaving scope, it does what its parts would do one after the other: `cancel` cancels, then `ctx` is
/// dropped. Where it has both parts of one context, on which nothing hangs, that is one step. As any object,
/// for one thread at a time; its parts say for themselves what threads may do with them.
struct [[nodiscard]] HEED_API cancelable {
  context ctx;
  cancel_func cancel;

  /// background(), and nothing to cancel.
  cancelable() noexcept = default;
  /// A context, and nothing to cancel.
  explicit cancelable(context c) noexcept : ctx(std::move(c)) {}
  /// Of any two parts.
  cancelable(context c, cancel_func f) noexcept : ctx(std::move(c)), cancel(std::move(f)) {}
  /// Moved part by part, and assigned so: `ctx`, then `cancel`, which cancels what it held.
  cancelable(cancelable&&) noexcept = default;
  cancelable& operator=(cancelable&&) noexcept = default;
  [[gnu::always_inline]] ~cancelable() {
    if (!cancel.scope_ || ctx.node_ != head_of(cancel.scope_) || !leave(*cancel.scope_)) return;
    cancel.scope_ = nullptr;
    ctx.node_ = nullptr;
  }

 private:
  friend class tree;
  friend class derived;
  // Takes over two handles.
  cancelable(scope& s, std::source_location where) noexcept : ctx(head_of(&s), &s), cancel(&s, where) {}
  // What has a scope of its own follows it.
  static node_head* head_of(scope* s) noexcept { return reinterpret_cast<node_head*>(s + 1); }
  // Gives up both handles where that is quick and runs nothing foreign; false: it has not.
  static bool leave(scope& s) noexcept;
};

/// How with_cancel(), with_deadline(), with_timeout() and with_value() make a child. Use those.
class HEED_API derived {
 public:
  static cancelable child(const context& parent, std::source_location where) {
    return {*make(parent, where), where};
  }
  // Always inlined, as out of line both handles would go through memory.
  [[gnu::always_inline]] static cancelable until(const context& parent, time_point when, error cause,
                                                 std::source_location where) {
    return {*make_until(parent, when, cause ? &cause : nullptr, where), where};
  }
  [[gnu::always_inline]] static cancelable within(const context& parent, duration timeout, error cause,
                                                  std::source_location where) {
    return {*make_within(parent, timeout, cause ? &cause : nullptr, where), where};
  }
  // Of an object that is its bytes, in words; and of one that node_head::fits_inside().
  static context value(const context& parent, const key_base& k, const value_type& type,
                       const std::uint64_t* words, std::source_location where) {
    return {make_value(parent, k, type, words, where), parent.scope_};
  }
  static context small_value(const context& parent, const key_base& k, const value_type& type,
                             std::uint32_t bytes, std::source_location where) {
    return {make_small_value(parent, k, type, bytes, where), parent.scope_};
  }
  // The same, of a parent that is moved from.
  static context value(context&& parent, const key_base& k, const value_type& type,
                       const std::uint64_t* words, std::source_location where) {
    if (node_head* made = make_value_of(parent, k, type, words)) return in_place_of(parent, made);
    return instead_of(parent, make_value(parent, k, type, words, where));
  }
  static context small_value(context&& parent, const key_base& k, const value_type& type, std::uint32_t bytes,
                             std::source_location where) {
    if (node_head* made = make_small_value_of(parent, k, type, bytes)) return in_place_of(parent, made);
    return instead_of(parent, make_small_value(parent, k, type, bytes, where));
  }

 private:
  // Made in the library, and handed over in a register. `cause`: null, or what is moved from. The first three
  // go the quick way where they can.
  [[gnu::returns_nonnull]] static scope* make(const context& parent, std::source_location where);
  [[gnu::returns_nonnull]] static scope* make_until(const context& parent, time_point when, error* cause,
                                                    std::source_location where);
  [[gnu::returns_nonnull]] static scope* make_within(const context& parent, duration timeout, error* cause,
                                                     std::source_location where);
  static scope* make_until_anyhow(const context& parent, time_point when, error* cause,
                                  std::source_location where);
  static scope* make_within_anyhow(const context& parent, duration timeout, error* cause,
                                   std::source_location where);
  [[gnu::returns_nonnull]] static node_head* make_value(const context& parent, const key_base& k,
                                                        const value_type& type, const std::uint64_t* words,
                                                        std::source_location where);
  [[gnu::returns_nonnull]] static node_head* make_small_value(const context& parent, const key_base& k,
                                                              const value_type& type, std::uint32_t bytes,
                                                              std::source_location where);
  // They keep the parent by what the handle is counted as; null: they cannot, or not quickly.
  static node_head* make_value_of(const context& given, const key_base& k, const value_type& type,
                                  const std::uint64_t* words);
  static node_head* make_small_value_of(const context& given, const key_base& k, const value_type& type,
                                        std::uint32_t bytes);
  // What was made takes over what the handle held; or the handle is dropped.
  static context in_place_of(context& parent, node_head* made) noexcept {
    parent.node_ = nullptr;
    return {made, std::exchange(parent.scope_, &never_ending)};
  }
  static context instead_of(context& parent, node_head* made) noexcept {
    context old = std::move(parent);
    return {made, old.scope_};
  }
};

/// A child that ends when its cancel is called or when its parent ends, whichever is first. Born done below a
/// done parent. One allocation, and one more for every 14 children of a parent, mostly served by heed's pool:
/// throws `std::bad_alloc`, and then nothing has changed. Thread-safe. Go's `WithCancel` and
/// `WithCancelCause`.
inline cancelable with_cancel(const context& parent,
                              std::source_location where = std::source_location::current()) {
  return derived::child(parent, where);
}

/// A child that also ends at `when`, with errc::deadline_exceeded and `cause` (null: the errc itself), never
/// before. One in the past is done at once. Where the parent's deadline is earlier, it is a with_cancel().
/// Also starts the scheduler's timer thread when it is the first: throws `std::system_error` when that cannot
/// be had, or `std::bad_alloc`, and then nothing has changed. `time_point::max()` never fires. Go's
/// `WithDeadline` and `WithDeadlineCause`.
[[gnu::always_inline]] inline cancelable with_deadline(
    const context& parent, time_point when, error cause = {},
    std::source_location where = std::source_location::current()) {
  return derived::until(parent, when, std::move(cause), where);
}
/// As above, for a steady_clock point in other units or a system_clock point. The latter is converted once,
/// now: a later step of the wall clock does not move it.
template <class Clock, class Duration>
cancelable with_deadline(const context& parent, const std::chrono::time_point<Clock, Duration>& when,
                         error cause = {}, std::source_location where = std::source_location::current()) {
  if constexpr (std::same_as<Clock, std::chrono::system_clock>) {  // the same, with one look less at the time
    return derived::within(parent, time_left(when), std::move(cause), where);
  } else {
    return derived::until(parent, to_time_point(when, [&] { return parent.now(); }), std::move(cause), where);
  }
}

/// with_deadline() at now + `timeout`, by the parent's clock. Any duration type; saturates:
/// `duration::max()` and infinity never fire; zero and less are done at once; NaN is misuse
/// (`std::invalid_argument`). Go's `WithTimeout` and `WithTimeoutCause`.
template <class Rep, class Period>
[[gnu::always_inline]] inline cancelable with_timeout(
    const context& parent, const std::chrono::duration<Rep, Period>& timeout, error cause = {},
    std::source_location where = std::source_location::current()) {
  return derived::within(parent, saturate(timeout), std::move(cause), where);
}

/// A child with the parent's values that does not end when the parent does: no deadline, no err(), no cause.
/// One allocation: `std::bad_alloc`. Go's `WithoutCancel`.
HEED_API context without_cancel(const context& parent,
                                std::source_location where = std::source_location::current());

/// A child of two parents: it ends when its cancel is called or when either parent ends, whichever is first,
/// with that one's verdict, cause and place; born done where one of them is done (where both are, it takes
/// after `a`). Its deadline is the earlier of theirs; values are looked up in `a`, then in `b`; what runs for
/// it runs on the scheduler of `a`. Leaves no trace in either parent once it is gone; needs no thread.
/// Thread-safe; parents may be merges themselves, or the same.
///
/// Where the two have different schedulers, the deadlines are compared as numbers, and each fires by its own
/// clock; and a cancel(), dump() or deadline under way on one side may hold what is on the other for a
/// moment: both schedulers must outlive it.
///
/// At most four small allocations (two of them where the parents have children): throws `std::bad_alloc`, or
/// `std::system_error` when the first merge of the process cannot register with fork(); then nothing has
/// changed. Costs a step per context above that has had no merge below it, and n log n for n values where
/// both parents have some. While a context with a merge below is being ended (without the callbacks), others
/// of the kind wait: one lock of the process. Asked for in golang/go#36503.
HEED_API cancelable merge(const context& a, const context& b,
                          std::source_location where = std::source_location::current());

/// A context under construction that will hold a value. Use with_value().
class HEED_API value_slot {
 public:
  value_slot(const context& parent, const key_base& k, const value_type& type);
  value_slot(const value_slot&) = delete;
  value_slot& operator=(const value_slot&) = delete;
  ~value_slot();  // frees the storage, unless it was committed
  void* storage() const noexcept;
  context commit(std::source_location where) && noexcept;

 private:
  node_head* node_;
};

/// A child that carries a value: `value(k)` finds it there and below, until a nearer context with the same
/// key hides it. The value is anything that makes a T; it is kept in place, in the context's one allocation,
/// and destroyed exactly once, when the last context that needs it goes. Costs nothing to err(). Throws
/// `std::bad_alloc` or what T's constructor throws; then nothing has changed. Go's `WithValue`.
template <class T, class V = T>
  requires std::constructible_from<T, V> && (!std::same_as<std::remove_cvref_t<V>, std::in_place_t>)
context with_value(const context& parent, const key<T>& k, V&& value,
                   std::source_location where = std::source_location::current()) {
  // Where a constructor runs, it runs after all that may fail, and where the value stays.
  if constexpr (node_head::is_small<T, V>) {
    return derived::small_value(parent, k, value_type_of<T>, node_head::bytes_of(T(std::forward<V>(value))),
                                where);
  } else if constexpr (node_head::is_its_bytes<T, V>) {
    const node_head::words<T> words(T(std::forward<V>(value)));
    return derived::value(parent, k, value_type_of<T>, words.at, where);
  } else {
    value_slot slot(parent, k, value_type_of<T>);
    ::new (slot.storage()) T(std::forward<V>(value));
    return std::move(slot).commit(where);
  }
}
/// As above, of a parent that is moved from: `ctx = with_value(std::move(ctx), k, v)`. Where something can
/// end the parent, or it is a value and that was its last handle, the child keeps it by what the handle kept
/// it by, so that for values of 32 bytes at most that are no more than their bytes nothing is counted.
/// Afterwards `parent` is background(); where this throws, it is as it was. Meanwhile no other thread may use
/// that handle; other handles they may.
template <class T, class V = T>
  requires std::constructible_from<T, V> && (!std::same_as<std::remove_cvref_t<V>, std::in_place_t>)
context with_value(context&& parent, const key<T>& k, V&& value,
                   std::source_location where = std::source_location::current()) {
  if constexpr (node_head::is_small<T, V>) {
    return derived::small_value(std::move(parent), k, value_type_of<T>,
                                node_head::bytes_of(T(std::forward<V>(value))), where);
  } else if constexpr (node_head::is_its_bytes<T, V>) {
    const node_head::words<T> words(T(std::forward<V>(value)));
    return derived::value(std::move(parent), k, value_type_of<T>, words.at, where);
  } else {
    context made = with_value(std::as_const(parent), k, std::forward<V>(value), where);
    parent = context();
    return made;
  }
}
/// As above, the value made in place from `args`: for types that do not move.
template <class T, std::same_as<std::in_place_t> InPlace, class... Args>
  requires std::constructible_from<T, Args...>
context with_value(const context& parent, const key<T>& k, InPlace, Args&&... args) {
  value_slot slot(parent, k, value_type_of<T>);
  ::new (slot.storage()) T(std::forward<Args>(args)...);
  return std::move(slot).commit(std::source_location());
}
/// Refused: a temporary key is gone before the context.
template <class T, class... Rest>
context with_value(const context& parent, const key<T>&& k, Rest&&...) = delete;
template <class T, class... Rest>
context with_value(context&& parent, const key<T>&& k, Rest&&...) = delete;

}  // namespace heed::inline v0
