// A result that tells whether the lock is held must be looked at; locks are not copied; no less than no
// units.
#include <heed/sync.hpp>

#include <mutex>

constinit heed::mutex m;
constinit heed::semaphore s(2);

#if WRONG == 1
constinit heed::semaphore less(-1);  // WRONG 1: misuse
#elif WRONG == 2
heed::semaphore converted = 3;  // WRONG 2: conversion from|no viable conversion
#endif

void f(const heed::context& ctx) {
#if WRONG == 3
  m.lock(ctx);  // WRONG 3: nodiscard
#elif WRONG == 4
  s.acquire(ctx);  // WRONG 4: nodiscard
#elif WRONG == 5
  heed::mutex copy(m);  // WRONG 5: deleted
#elif WRONG == 6
  heed::semaphore copy(s);  // WRONG 6: deleted
#else
  if (m.lock(ctx)) return;
  const std::lock_guard lock(m, std::adopt_lock);
  if (!s.acquire(ctx)) s.release();
#endif
}
