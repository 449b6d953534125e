// heed's atomics under the checker: as large as what they hold, and each operation is a step that the
// explorer sees.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include <atomic>  // std::memory_order

namespace model {

// What the engine does for an atomic at this address (engine.cpp). Values are widened to 64 bits.
std::uint64_t load(const void* at, std::size_t size, std::memory_order order) noexcept;
void store(void* at, std::size_t size, std::uint64_t value, std::memory_order order) noexcept;
enum class change { exchange, add, sub, fetch_or, fetch_and };
std::uint64_t modify(void* at, std::size_t size, change c, std::uint64_t operand,
                     std::memory_order order) noexcept;
bool compare_exchange(void* at, std::size_t size, std::uint64_t& expected, std::uint64_t desired,
                      std::memory_order success, std::memory_order failure) noexcept;
// In mutants (mutate.py) each order is written so: what it is to be, perhaps a weaker one (mutants.cpp).
std::memory_order ordered(unsigned site, std::memory_order usual) noexcept;

template <class T>
std::uint64_t widen(const T& value) noexcept {
  std::uint64_t wide = 0;
  std::memcpy(&wide, std::addressof(value), sizeof value);
  return wide;
}
template <class T>
T narrow(std::uint64_t wide) noexcept {
  std::remove_const_t<T> value;
  std::memcpy(static_cast<void*>(std::addressof(value)), &wide, sizeof value);
  return value;
}

constexpr std::memory_order for_failure(std::memory_order o) noexcept {
  if (o == std::memory_order_acq_rel) return std::memory_order_acquire;
  return o == std::memory_order_release ? std::memory_order_relaxed : o;
}

template <class T>
class operations {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  static constexpr std::memory_order strongest = std::memory_order_seq_cst;

 public:
  constexpr explicit operations(T* at) noexcept : at_(at) {}
  T load(std::memory_order o = strongest) const noexcept { return narrow<T>(model::load(at_, sizeof(T), o)); }
  void store(T v, std::memory_order o = strongest) const noexcept {
    model::store(at_, sizeof(T), widen(v), o);
  }
  T exchange(T v, std::memory_order o = strongest) const noexcept {
    return by(change::exchange, widen(v), o);
  }
  T fetch_add(T v, std::memory_order o = strongest) const noexcept { return by(change::add, widen(v), o); }
  T fetch_sub(T v, std::memory_order o = strongest) const noexcept { return by(change::sub, widen(v), o); }
  T fetch_or(T v, std::memory_order o = strongest) const noexcept {
    return by(change::fetch_or, widen(v), o);
  }
  T fetch_and(T v, std::memory_order o = strongest) const noexcept {
    return by(change::fetch_and, widen(v), o);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) const noexcept {
    std::uint64_t wide = widen(expected);
    const bool done = model::compare_exchange(at_, sizeof(T), wide, widen(desired), success, failure);
    if (!done) expected = narrow<T>(wide);
    return done;
  }

 private:
  T by(change c, std::uint64_t operand, std::memory_order o) const noexcept {
    return narrow<T>(model::modify(at_, sizeof(T), c, operand, o));
  }
  T* at_;
};

template <class T>
class atomic {
  static constexpr std::memory_order strongest = std::memory_order_seq_cst;

 public:
  constexpr atomic() noexcept = default;
  constexpr atomic(T v) noexcept : value_(v) {}
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(std::memory_order o = strongest) const noexcept { return on().load(o); }
  void store(T v, std::memory_order o = strongest) noexcept { on().store(v, o); }
  T exchange(T v, std::memory_order o = strongest) noexcept { return on().exchange(v, o); }
  T fetch_add(T v, std::memory_order o = strongest) noexcept { return on().fetch_add(v, o); }
  T fetch_sub(T v, std::memory_order o = strongest) noexcept { return on().fetch_sub(v, o); }
  T fetch_or(T v, std::memory_order o = strongest) noexcept { return on().fetch_or(v, o); }
  T fetch_and(T v, std::memory_order o = strongest) noexcept { return on().fetch_and(v, o); }
  bool compare_exchange_strong(T& e, T d, std::memory_order s, std::memory_order f) noexcept {
    return on().compare_exchange_strong(e, d, s, f);
  }
  bool compare_exchange_strong(T& e, T d, std::memory_order o = strongest) noexcept {
    return on().compare_exchange_strong(e, d, o, for_failure(o));
  }
  // Never fails for no reason here: loops around it are the same either way.
  bool compare_exchange_weak(T& e, T d, std::memory_order s, std::memory_order f) noexcept {
    return on().compare_exchange_strong(e, d, s, f);
  }
  bool compare_exchange_weak(T& e, T d, std::memory_order o = strongest) noexcept {
    return on().compare_exchange_strong(e, d, o, for_failure(o));
  }

 private:
  operations<T> on() const noexcept { return operations<T>(const_cast<T*>(std::addressof(value_))); }
  alignas(sizeof(T)) T value_{};
};

}  // namespace model

namespace heed::inline v0::sync {
template <class T>
using atomic = model::atomic<T>;

template <class T>
class atomic_ref : public model::operations<T> {
 public:
  explicit atomic_ref(T& of) noexcept : model::operations<T>(std::addressof(of)) {}
};
}  // namespace heed::inline v0::sync
