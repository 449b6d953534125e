// What the standard library asks of the system below it: the clock, and what std::mutex and
// std::condition_variable are made of. These take the place of the C library's: all threads of a kernel are
// one to that.
#include "atomics.hpp"
#include "engine.hpp"
#include "memory.hpp"

#include <pthread.h>
#include <time.h>

#include <cerrno>
#include <chrono>
#include <climits>

namespace {

constexpr std::uint32_t any_kind = ~std::uint32_t{0};

// Each has a word at its beginning, 0 at first, as the static initializers make it.
model::operations<std::uint32_t> word_of(void* object) {
  return model::operations<std::uint32_t>(static_cast<std::uint32_t*>(object));
}

bool try_lock(pthread_mutex_t* m) {
  std::uint32_t free = 0;
  return word_of(m).compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed);
}

void unlock(pthread_mutex_t* m) {
  if (word_of(m).exchange(0, std::memory_order_release) == 2) model::futex_wake(m, 1, any_kind);
}

void notify(pthread_cond_t* c, int how_many) {
  // relaxed: a condition variable orders nothing.
  word_of(c).fetch_add(1, std::memory_order_relaxed);
  model::futex_wake(c, how_many, any_kind);
}

}  // namespace

std::chrono::steady_clock::time_point std::chrono::steady_clock::now() noexcept {
  if (model::running) return time_point(duration(model::time_now()));
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return time_point(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

extern "C" {

int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
  if (!model::running || try_lock(m)) return 0;
  while (word_of(m).exchange(2, std::memory_order_acquire) != 0)
    model::futex_wait(m, 2, any_kind, model::for_good);
  return 0;
}
int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
  return !model::running || try_lock(m) ? 0 : EBUSY;
}
int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
  if (model::running) unlock(m);
  return 0;
}

// Who notifies after this has unlocked changes the word that it compares: no wake-up is lost, as POSIX wants
// it.
int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m) {
  if (!model::running) return 0;
  const std::uint32_t seen = word_of(c).load(std::memory_order_relaxed);
  unlock(m);
  model::futex_wait(c, seen, any_kind, model::for_good);
  return pthread_mutex_lock(m);
}
int pthread_cond_signal(pthread_cond_t* c) noexcept {
  if (model::running) notify(c, 1);
  return 0;
}
int pthread_cond_broadcast(pthread_cond_t* c) noexcept {
  if (model::running) notify(c, INT_MAX);
  return 0;
}
int pthread_cond_destroy(pthread_cond_t*) noexcept {
  return 0;
}
}
