// What the platform gives: clock, futex, eventfd, threads, fork. A port is one file: another src/os_*.cpp.
#pragma once

#include <heed/atomic.hpp>
#include <heed/time.hpp>

#include <cstddef>
#include <cstdint>

namespace heed::inline v0::os {

// The present on heed::clock; nothing else of the library reads it.
time_point now() noexcept;

// Blocks while `word` holds `seen`; may return for no reason.
void wait(const sync::atomic<std::uint32_t>& word, std::uint32_t seen) noexcept;
// The same, until `until` on heed::clock at the latest; time_point::max() means for good. `kinds`: a bit for
// each kind of waking that is waited for.
inline constexpr std::uint32_t all_kinds = ~std::uint32_t{0};
void wait_until(const sync::atomic<std::uint32_t>& word, std::uint32_t seen, time_point until,
                std::uint32_t kinds = all_kinds) noexcept;
// Only the address is used: the word may be gone already, and then a stranger wakes for no reason.
void wake_one(const sync::atomic<std::uint32_t>& word) noexcept;
void wake_all(const sync::atomic<std::uint32_t>& word) noexcept;
// Wakes so many of those who wait for one of these kinds.
void wake(const sync::atomic<std::uint32_t>& word, int how_many, std::uint32_t kinds) noexcept;

// Has every thread of the process pass a barrier: all that it did before, in the order of its program, comes
// before what this thread does next, and what this thread did before comes before all that it does next.
// False: that cannot be had, or was not prepared.
bool barrier_everywhere() noexcept;
// To be called before each of these: the first time the kernel takes some 10 ms where a process has several
// threads.
void prepare_barriers() noexcept;

// A descriptor for poll: not readable until signal_event(). Throws std::system_error.
int make_event();
// The one descriptor of the process that is never readable; never closed. Throws std::system_error. (The one
// that always is belongs to divert_event(). make_event() makes it at the latest, and it is closed where the
// library is unloaded.)
int never_event();
// Makes it readable, for good. Signal-safe; keeps errno; repeating it is harmless.
void signal_event(int fd) noexcept;
// Gives the number `fd` to the descriptor that is always readable, away from what it shares with a parent
// process. As signal_event() otherwise.
void divert_event(int fd) noexcept;
// Gives the number `fd` to a fresh descriptor that is not readable. Throws std::system_error.
void renew_event(int fd);
void close_event(int fd) noexcept;

// Counts the forks between the first process and this one, modulo 2^16.
std::uint32_t fork_generation() noexcept;
// Has these called around every fork(), from now on.
void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)());
// The same; 0, or the errno that tells why not.
int try_at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept;
// Writes it all to the standard error stream, as far as that is possible.
void write_error(const char* text, std::size_t size) noexcept;

// Starts a detached thread with all signals blocked but those of its own faults; 0, or the errno that tells
// why not.
int start_thread(void (*body)()) noexcept;
// From here on the code of this library is not unloaded, where it lies inside a plug-in, say: dlclose() lets
// it be. Takes the loader's lock, so it is called with none of heed's.
void stay_loaded() noexcept;
// Has `last` called when the calling thread ends, after its thread_local objects are gone; once, and not
// where the whole process ends. One function for the process. False: that cannot be had.
bool at_thread_exit(void (*last)()) noexcept;
// While it lives, the timed waits of the thread that made it end as exactly as the kernel can; afterwards as
// before.
class exact_timers {
 public:
  exact_timers() noexcept;
  ~exact_timers();
  exact_timers(const exact_timers&) = delete;
  exact_timers& operator=(const exact_timers&) = delete;

 private:
  long before_;
};
// The CPU that this thread runs on, or a number that stands for it: a hint, it may be another one by now.
unsigned cpu() noexcept;
// How many CPUs there are.
unsigned cpu_count() noexcept;
// Identifies the calling thread among the living.
const void* this_thread() noexcept;

}  // namespace heed::inline v0::os
