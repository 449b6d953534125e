// Contexts of your own kind: a foreign source of cancellation, a foreign deadline, a foreign lookup.
#pragma once

#include <heed/context.hpp>

#include <concepts>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

namespace heed::inline v0 {

/// Derive from it to bring a foreign kind of context into the tree: an RPC's server context, a browser
/// request, a job of a batch system. Make it with with_custom(). It takes part as child (its parent's end
/// ends it) and as parent (children end with it, without a watcher thread) and costs other contexts nothing.
///
/// Cancellation is pushed in, never polled out: your object subscribes to its source, and the source's
/// notification calls end(). err() stays one load. (Go's hook `AfterFunc(func()) func() bool` serves the same
/// end: there children subscribe one by one; here the context subscribes once.)
///
///     class rpc_context : public heed::custom_context {
///      public:
///       rpc_context(anchor a, rpc::call& call) : custom_context(a), sub_(call.on_abort([this] { end(); }))
///       {} const void* find(const heed::key_base& k) const noexcept override {
///         return &k == &peer_key ? &peer_ : nullptr;
///       }
///      private:
///       std::string peer_;
///       rpc::subscription sub_;      // unsubscribes in its destructor
///     };
///     auto [ctx, cancel, self] = heed::with_custom<rpc_context>(parent, call);
///
/// The object is destroyed with the context's memory, on the thread that drops the last handle, with no lock
/// held. Its subscription must not call end() once the destructor has returned.
class HEED_API custom_context {
 public:
  /// The node that the object belongs to: given to its constructor by with_custom().
  class anchor {
    friend class custom_slot;
    friend class custom_context;
    explicit anchor(cancel_node* n) noexcept : node(n) {}
    cancel_node* node;
  };

  custom_context(const custom_context&) = delete;
  custom_context& operator=(const custom_context&) = delete;
  virtual ~custom_context() = default;

  /// Your lookup: the address of the value for this key (the T of the `key<T>` whose address is `&k`), or
  /// nullptr to go on with the parent. Called by any thread, at any time, by value() of every context below.
  virtual const void* find(const key_base& k) const noexcept;
  /// Your deadline: told to those who ask deadline(), here and below. Asked once, when the context is made.
  /// It is your source that fires it: end(errc::deadline_exceeded).
  virtual std::optional<time_point> deadline() const noexcept;
  /// Its name in to_string(). "custom" unless you say otherwise.
  virtual std::string name() const;

 protected:
  explicit custom_context(anchor a) noexcept : node_(a.node) {}

  /// Ends this context, as a cancel() with this verdict, cause and place does; true: this call decided. May
  /// be called from the first moment of the constructor until the end of the destructor, by any thread. Where
  /// the context's last handle goes meanwhile, the destructor runs inside this call: a subscription must
  /// survive being unsubscribed from inside its own notification. Thread-safe, never allocates, never fails.
  bool end(errc verdict = errc::canceled, error cause = {},
           std::source_location where = std::source_location::current()) noexcept;

 private:
  cancel_node* node_;
};

/// What with_custom() gives: the context, what cancels it, and your object, which lives as long as the
/// context.
template <class C>
struct [[nodiscard]] custom {
  context ctx;
  cancel_func cancel;
  C& self;
};

/// A custom context under construction. Use with_custom().
class HEED_API custom_slot {
 public:
  custom_slot(const context& parent, std::size_t size, std::size_t align);
  custom_slot(const custom_slot&) = delete;
  custom_slot& operator=(const custom_slot&) = delete;
  ~custom_slot();  // frees the storage, unless it was committed
  custom_context::anchor anchor() const noexcept { return custom_context::anchor(node_); }
  void* storage() const noexcept;
  cancelable commit(custom_context& self, std::source_location where) &&;

 private:
  const context parent_;  // a copy: C's constructor may do anything, also with the original
  cancel_node* node_;
};

/// A parent, and the line that names it: lets with_custom() know its caller although it takes any arguments.
struct located_parent {
  template <std::same_as<context> Context>
  explicit(false)
      located_parent(const Context& c, std::source_location at = std::source_location::current()) noexcept
      : ctx(c), where(at) {}
  const context& ctx;
  std::source_location where;
};

/// A child of `parent` of your own kind: a C made from its anchor and `args`, in the context's one
/// allocation. Throws `std::bad_alloc` or what C's constructor throws; then nothing has changed. While C
/// exists its source counts as something that can still end the context.
template <class C, class... Args>
  requires std::derived_from<C, custom_context> && std::constructible_from<C, custom_context::anchor, Args...>
custom<C> with_custom(located_parent parent, Args&&... args) {
  custom_slot slot(parent.ctx, sizeof(C), alignof(C));
  C* self = ::new (slot.storage()) C(slot.anchor(), std::forward<Args>(args)...);
  auto made = std::move(slot).commit(*self, parent.where);
  return {std::move(made.ctx), std::move(made.cancel), *self};
}

}  // namespace heed::inline v0
