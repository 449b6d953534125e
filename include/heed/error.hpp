// Why a context ended: the two verdicts as error codes, and `heed::error`, the cause.
#pragma once

#include <heed/atomic.hpp>
#include <heed/export.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <iosfwd>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace heed::inline v0 {

/// How a context ended. Go's `context.Canceled` and `context.DeadlineExceeded`.
///
/// Compares equal to the portable conditions: `errc::canceled == std::errc::operation_canceled`,
/// `errc::deadline_exceeded == std::errc::timed_out`.
enum class errc {
  canceled = 1,           ///< somebody called cancel(), or an ancestor was canceled
  deadline_exceeded = 2,  ///< the deadline passed first
};

}  // namespace heed::inline v0

template <>
struct std::is_error_code_enum<heed::errc> : std::true_type {};

namespace heed::inline v0 {

/// The category of `errc`; its name is "heed". Never destroyed, so it also serves static destructors.
class HEED_API error_category final : public std::error_category {
 public:
  constexpr error_category() noexcept = default;
  const char* name() const noexcept override;
  /// "context canceled" or "context deadline exceeded": the texts of Go's errors.
  std::string message(int value) const override;
  /// `std::errc::operation_canceled` or `std::errc::timed_out`.
  std::error_condition default_error_condition(int value) const noexcept override;
};

/// Keeps the one category object alive for good: a union does not destroy its member.
union HEED_API immortal_category {
  error_category value;
  constexpr immortal_category() noexcept : value() {}
  ~immortal_category() {}
};
/// The one category object. Use category().
HEED_API extern immortal_category the_category;

/// heed's error category. Constant initialized; thread-safe; free.
inline const std::error_category& category() noexcept {
  return the_category.value;
}

/// A `std::error_code()` that is made once, as its constructor calls `std::system_category()` each time, and
/// err() of a live context is to be a load. Use `std::error_code()`. Initialized before all of a program's
/// static objects that have no priority of their own; what runs still earlier may ask err() whether there is
/// an error, and no more.
HEED_API extern const std::error_code no_error;

/// Lets `std::error_code ec = heed::errc::canceled;` work ([syserr.errcode.constructors]).
inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), category()};
}

/// `errc::canceled == std::errc::operation_canceled`, `errc::deadline_exceeded == std::errc::timed_out`.
inline bool operator==(errc a, std::errc b) noexcept {
  return make_error_code(a) == b;
}

/// An enum that `make_error_code` turns into a `std::error_code`: any `is_error_code_enum`, and `std::errc`.
template <class T>
concept error_enum = std::is_enum_v<T> && requires(T e) {
  { make_error_code(e) } -> std::same_as<std::error_code>;
};

/// A reason: pointer-sized, immutable, shared, and possibly null. The counterpart of Go's `error` value.
///
/// Copying shares the same object and costs one atomic increment (none for null and for heed's own errc).
/// Thread-safety: like `std::shared_ptr<const T>`: distinct objects may be used by distinct threads even when
/// they share; the shared content never changes. It is destroyed on whichever thread drops the last copy.
class HEED_API error {
 public:
  class shared;  // the shared content; private to the library but for the template below

  /// Null: no error.
  error() noexcept = default;
  error(std::nullptr_t) noexcept {}
  /// From a code. Null when the code is 0. Heed's own errcs never allocate and never throw; another code may
  /// throw `std::bad_alloc`.
  error(std::error_code code);
  /// From any enum that `make_error_code` knows; as from its code.
  template <error_enum E>
  error(E e) : error(make_error_code(e)) {}
  /// From a message. `message()` gives it back. Throws `std::bad_alloc`.
  error(std::string message);
  /// From a message; a null pointer is refused with `std::invalid_argument`.
  error(const char* message);
  /// From a caught exception; null when `e` is null. `message()` is its `what()`.
  /// Where the library was built without exceptions it has no message.
  error(std::exception_ptr e);
  /// From an exception object, kept by value: `error(my_error{...})`. For an E derived from
  /// `std::system_error`, code() is that error's code. Exactly `std::exception` is refused at compile time:
  /// it would be a slice of what was meant.
  template <class E>
    requires std::derived_from<E, std::exception>
  error(E e);

  error(const error& other) noexcept;
  error(error&& other) noexcept : shared_(std::exchange(other.shared_, nullptr)) {}
  error& operator=(error other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
  }
  ~error() {
    if (shared_) let_go(shared_);
  }

  /// True when there is an error.
  explicit operator bool() const noexcept { return shared_ != nullptr; }
  /// The code it holds, or `{}` when it holds none. From an exception_ptr: the code of a `std::system_error`.
  std::error_code code() const noexcept;
  /// For people: the message, the code's message, or what(). Empty on null. May throw `std::bad_alloc`.
  std::string message() const;
  /// The T that it was made from, also from inside an exception_ptr, or nullptr. A base class of that type is
  /// found too where RTTI is on. Lives as long as any copy of this error.
  template <class T>
  const T* as() const noexcept;
  /// Throws what it was made from: the E (a copy), the exception_ptr's exception, `std::system_error(code)`,
  /// or `std::runtime_error(message)`. On null: `std::logic_error`. With exceptions off: aborts with the
  /// message.
  [[noreturn]] void raise() const;

  /// Equal: the same object (copies of one error), or both hold the same error_code, or both are null. Two
  /// errors made from equal strings differ, as in Go.
  friend bool operator==(const error& a, const error& b) noexcept {
    return a.shared_ == b.shared_ || (a.shared_ && b.shared_ && a.same_code(b));
  }
  /// Equal: it holds this code; or it is null and the code is 0.
  friend bool operator==(const error& e, const std::error_code& code) noexcept { return e.holds(code); }
  /// Equal: it holds a code that is equivalent to this condition.
  friend bool operator==(const error& e, const std::error_condition& condition) noexcept {
    return e.shared_ ? e.code() && e.code() == condition : !condition;
  }
  /// As with the code, or the condition, that the enum stands for.
  template <class E>
    requires(std::is_error_code_enum_v<E> || std::is_error_condition_enum_v<E>)
  friend bool operator==(const error& e, E value) noexcept {
    if constexpr (std::is_error_code_enum_v<E>) {
      return e == std::error_code(value);
    } else {
      return e == std::error_condition(value);
    }
  }

 private:
  // A type's identity without RTTI: the address of its tag.
  template <class T>
  static constexpr char type_tag = 0;
  template <class E>
  static shared* make(E&& e);
  static void let_go(shared* s) noexcept;
  bool same_code(const error& other) const noexcept;
  bool holds(const std::error_code& code) const noexcept;
  // The object behind the exception, when its type has this tag (or, with RTTI, any std::exception in it).
  const void* stored(const void* tag) const noexcept;
  const std::exception* stored_exception() const noexcept;
  std::exception_ptr stored_pointer() const noexcept;

  shared* shared_ = nullptr;
};

/// Prints message(), or "null".
HEED_API std::ostream& operator<<(std::ostream& out, const error& e);

/// What an error shares: made by error's constructors only. Public so that templates can derive from it.
class HEED_API error::shared {
 public:
  // An immortal one has the count 0, for good; others are deleted when they get there.
  explicit shared(const void* tag, bool immortal = false) noexcept : count_(immortal ? 0 : 1), tag_(tag) {}
  shared(const shared&) = delete;
  shared& operator=(const shared&) = delete;
  virtual ~shared() = default;
  virtual std::error_code code() const noexcept { return {}; }
  virtual std::string message() const = 0;
  [[noreturn]] virtual void raise() const = 0;
  virtual const std::exception* exception() const noexcept { return nullptr; }
  virtual std::exception_ptr pointer() const noexcept { return nullptr; }
  virtual const void* object() const noexcept { return nullptr; }

 private:
  friend class error;
  mutable sync::atomic<std::uint32_t> count_;
  const void* tag_;  // identifies the type that it was made from
};

/// Prints `message` on standard error and aborts: what heed does instead of throwing when exceptions are off.
[[noreturn]] HEED_API void abort_with(const char* message) noexcept;

template <class E>
error::shared* error::make(E&& e) {
  using type = std::remove_cvref_t<E>;
  class kept final : public shared {
   public:
    explicit kept(E&& from) : shared(&type_tag<type>), value_(std::forward<E>(from)) {}
    std::error_code code() const noexcept override {
      if constexpr (std::derived_from<type, std::system_error>) {
        return value_.code();
      } else {
        return {};
      }
    }
    std::string message() const override {
      const char* text = value_.what();
      return text ? text : "";
    }
    [[noreturn]] void raise() const override {
#if defined(__cpp_exceptions)
      throw value_;
#else
      abort_with(value_.what());
#endif
    }
    const std::exception* exception() const noexcept override { return &value_; }
    const void* object() const noexcept override { return &value_; }

   private:
    type value_;
  };
  return new kept(std::forward<E>(e));
}

template <class E>
  requires std::derived_from<E, std::exception>
error::error(E e) {
  static_assert(!std::same_as<E, std::exception>,
                "heed::error: a plain std::exception is a slice of the one you caught; "
                "use std::current_exception(), or name the derived type");
  shared_ = make(std::move(e));
}

template <class T>
const T* error::as() const noexcept {
  if (const void* exact = stored(&type_tag<T>)) return static_cast<const T*>(exact);
#if defined(__cpp_rtti)
  if constexpr (std::derived_from<T, std::exception>) {
    if (const std::exception* e = stored_exception()) return dynamic_cast<const T*>(e);
  }
#endif
#if defined(__cpp_exceptions)
  if (std::exception_ptr held = stored_pointer()) {
    // The exception object lives as long as any exception_ptr to it, so its address stays good.
    try {
      std::rethrow_exception(std::move(held));
    } catch (const T& found) {
      return &found;
    } catch (...) {}
  }
#endif
  return nullptr;
}

}  // namespace heed::inline v0
