// The explorer: runs a kernel again and again, each time in another order of its threads' steps (README.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace model {

// For kernels. A kernel is a function that runs as thread 0, spawns others, joins them, and checks what it
// finds.
void spawn_raw(void (*body)(void*), void* self);
template <class F>
void spawn(F f) {
  spawn_raw(
      [](void* self) {
        auto* stored = static_cast<F*>(self);
        (*stored)();
        delete stored;
      },
      new F(std::move(f)));
}
void join();                               // waits for all that were spawned
void settle();                             // waits until all threads that heed has started sleep
void check(bool holds, const char* what);  // an error of the kernel if it does not
[[noreturn]] void fail(const std::string& what);

// Time stands still while somebody can go on; then it passes until one who sleeps is woken by it. Or a kernel
// has it pass.
void advance(std::int64_t nanoseconds);

// What os_model.cpp stands on: the kernel's side of a futex, a clock, a descriptor, and threads.
inline constexpr std::int64_t for_good = INT64_MAX;
std::int64_t time_now();
void futex_wait(const void* at, std::uint32_t seen, std::uint32_t kinds, std::int64_t until);
void futex_wake(const void* at, int how_many, std::uint32_t kinds);
// A thread that nobody joins: a kernel is over when all these sleep. False: no room for one more.
bool spawn_daemon(void (*body)());
void system_call(
    const void* on);        // a step on an object of the operating system's, totally ordered with all others
void barrier_everywhere();  // a step after which all threads know of all writes so far
void look(const void* on);  // a step that orders nothing
unsigned this_thread() noexcept;

// How to explore.
struct settings {
  int preemptions = 2;          // how often a thread that could go on is interrupted
  int stale_reads = 1;          // how often a load gives something else than the newest value
  std::uint64_t most = 10'000;  // executions
  double seconds = 0;           // not 0: no longer than so
  bool random = false;
  std::uint64_t seed = 1;
  std::string replay;  // a schedule
  bool replays = false;
};
struct result {
  std::uint64_t executions = 0;
  bool exhaustive = false;
};
result explore(const char* name, void (*kernel)(), const settings& how);

}  // namespace model
