// heed's atomics for valgrind's drd, which knows locks but no memory orders: each operation tells it what it
// orders, and is a locked instruction, which drd does not take for an access that races. Always
// -DHEED_ATOMICS=... of this.
#pragma once

#include <valgrind/drd.h>

// What the shared_ptr of libstdc++ orders by its counts: before its first header.
#define _GLIBCXX_SYNCHRONIZATION_HAPPENS_BEFORE(at) ANNOTATE_HAPPENS_BEFORE(at)
#define _GLIBCXX_SYNCHRONIZATION_HAPPENS_AFTER(at) ANNOTATE_HAPPENS_AFTER(at)
#include <atomic>

namespace heed::inline v0::sync {

inline void before(const void* at, std::memory_order order) noexcept {
  if (order != std::memory_order_relaxed && order != std::memory_order_acquire) ANNOTATE_HAPPENS_BEFORE(at);
}
inline void after(const void* at, std::memory_order order) noexcept {
  if (order != std::memory_order_relaxed && order != std::memory_order_release) ANNOTATE_HAPPENS_AFTER(at);
}

template <class T, class Held>
class operations {
 public:
  using order = std::memory_order;
  static constexpr order strict = std::memory_order_seq_cst;

  constexpr operations() noexcept(noexcept(Held())) = default;
  template <class U>
  constexpr explicit operations(U&& u) noexcept : held_(u) {}

  T load(order o = strict) const noexcept {
    const void* const here = at();
    T seen{};
    held_.compare_exchange_strong(seen, seen);
    after(here, o);
    return seen;
  }
  void store(T v, order o = strict) noexcept {
    before(at(), o);
    held_.exchange(v);
  }
  T exchange(T v, order o = strict) noexcept {
    before(at(), o);
    const T was = held_.exchange(v);
    after(at(), o);
    return was;
  }
  bool compare_exchange_strong(T& expected, T v, order won, order lost) noexcept {
    before(at(), won);
    const bool done = held_.compare_exchange_strong(expected, v);
    after(at(), done ? won : lost);
    return done;
  }
  bool compare_exchange_strong(T& expected, T v, order o = strict) noexcept {
    return compare_exchange_strong(expected, v, o,
                                   o == std::memory_order_acq_rel ? std::memory_order_acquire : o);
  }
  bool compare_exchange_weak(T& expected, T v, order won, order lost) noexcept {
    return compare_exchange_strong(expected, v, won, lost);
  }
  bool compare_exchange_weak(T& expected, T v, order o = strict) noexcept {
    return compare_exchange_strong(expected, v, o);
  }
  T fetch_add(T v, order o = strict) noexcept {
    return change(o, [v](T was) { return static_cast<T>(was + v); });
  }
  T fetch_sub(T v, order o = strict) noexcept {
    return change(o, [v](T was) { return static_cast<T>(was - v); });
  }
  T fetch_or(T v, order o = strict) noexcept {
    return change(o, [v](T was) { return static_cast<T>(was | v); });
  }
  T fetch_and(T v, order o = strict) noexcept {
    return change(o, [v](T was) { return static_cast<T>(was & v); });
  }
  operator T() const noexcept { return load(); }
  T operator=(T v) noexcept {
    store(v);
    return v;
  }
  T operator++() noexcept { return static_cast<T>(fetch_add(1) + 1); }
  T operator--() noexcept { return static_cast<T>(fetch_sub(1) - 1); }

 private:
  // Its own accesses are no races: drd is told so each time, as it forgets where memory is freed.
  const void* at() const noexcept {
    DRD_IGNORE_VAR(held_);
    return &held_;
  }
  template <class F>
  T change(order o, F next) noexcept {
    before(at(), o);
    T seen{};
    while (!held_.compare_exchange_weak(seen, next(seen))) {}
    after(at(), o);
    return seen;
  }
  mutable Held held_{};
};

template <class T>
class atomic : public operations<T, std::atomic<T>> {
 public:
  using operations<T, std::atomic<T>>::operator=;
  constexpr atomic() noexcept = default;
  constexpr atomic(T v) noexcept : operations<T, std::atomic<T>>(v) {}
};

/// What it refers to is read plainly elsewhere only before and after the sharing.
template <class T>
class atomic_ref : public operations<T, std::atomic_ref<T>> {
 public:
  explicit atomic_ref(T& v) noexcept : operations<T, std::atomic_ref<T>>(v) {}
};

}  // namespace heed::inline v0::sync
