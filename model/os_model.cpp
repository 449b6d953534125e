// What the platform gives, under the checker: in the place of src/os_linux.cpp.
#include "../src/default_scheduler.hpp"
#include "../src/os.hpp"

#include "engine.hpp"
#include "os_model.hpp"

#include <array>
#include <cerrno>
#include <new>
#include <string>

namespace model {

namespace {
// write(2) and poll(2) on a descriptor order what comes before the one and after the other, and no more: who
// polls may find it as it was, unless something else has told of the write.
struct event {
  bool open = false;
  heed::sync::atomic<std::uint32_t> readable{0};
};
std::array<event, 64> events;  // 0: the one that never is readable, 1: the one that always is
std::array<char, 8> identities;
}  // namespace

bool readable(int fd) {
  const event& e = events[static_cast<std::size_t>(fd)];
  if (!e.open) fail("a closed descriptor is used");
  return e.readable.load(std::memory_order_acquire) != 0;
}

void reset_events() {
  for (event& e : events) e.open = false;
  events[0].open = events[1].open = true;
}

static bool threads_refused = false;

void refuse_threads(bool refuse) {
  threads_refused = refuse;
}

void fresh_process() {
  threads_refused = false;
  ::new (&heed::only_process_scheduler.value) heed::process_scheduler;
}

int open_events() {
  int count = -2;
  for (const event& e : events) count += e.open;
  return count;
}

}  // namespace model

namespace heed::inline v0::os {

using model::events;

time_point now() noexcept {
  return clock::now();  // posix.cpp
}
void wait(const sync::atomic<std::uint32_t>& word, std::uint32_t seen) noexcept {
  model::futex_wait(&word, seen, all_kinds, model::for_good);
}
void wait_until(const sync::atomic<std::uint32_t>& word, std::uint32_t seen, time_point until,
                std::uint32_t kinds) noexcept {
  model::futex_wait(&word, seen, kinds, until.time_since_epoch().count());
}
void wake_one(const sync::atomic<std::uint32_t>& word) noexcept {
  model::futex_wake(&word, 1, all_kinds);
}
void wake_all(const sync::atomic<std::uint32_t>& word) noexcept {
  model::futex_wake(&word, 1'000, all_kinds);
}
void wake(const sync::atomic<std::uint32_t>& word, int how_many, std::uint32_t kinds) noexcept {
  model::futex_wake(&word, how_many, kinds);
}

void prepare_barriers() noexcept {}
bool barrier_everywhere() noexcept {
  model::barrier_everywhere();
  return true;
}

int make_event() {
  for (std::size_t i = 2; i < events.size(); ++i) {
    if (events[i].open) continue;
    events[i].open = true;
    events[i].readable.store(0, std::memory_order_relaxed);
    return static_cast<int>(i);
  }
  model::fail("too many descriptors");
}
int never_event() {
  return 0;
}
void signal_event(int fd) noexcept {
  model::event& e = events[static_cast<std::size_t>(fd)];
  if (!e.open) model::fail("a closed descriptor is signaled");
  e.readable.fetch_or(1, std::memory_order_release);
}
void divert_event(int fd) noexcept {
  signal_event(fd);
}
void renew_event(int fd) {
  events[static_cast<std::size_t>(fd)].readable.store(0, std::memory_order_release);
}
void close_event(int fd) noexcept {
  model::system_call(&events[static_cast<std::size_t>(fd)]);
  events[static_cast<std::size_t>(fd)].open = false;
}

// There is one process.
std::uint32_t fork_generation() noexcept {
  return 0;
}
void at_fork(void (*)(), void (*)(), void (*)()) {}
int try_at_fork(void (*)(), void (*)(), void (*)()) noexcept {
  return 0;
}
void write_error(const char* text, std::size_t size) noexcept {
  model::fail("heed says: " + std::string(text, size));
}
void stay_loaded() noexcept {}

int start_thread(void (*body)()) noexcept {
  return !model::threads_refused && model::spawn_daemon(body) ? 0 : EAGAIN;
}
bool at_thread_exit(void (*)()) noexcept {
  return false;
}
exact_timers::exact_timers() noexcept : before_(0) {}
exact_timers::~exact_timers() = default;
// Threads 1 and 2 have a CPU each, so that a context on which they meet is split; the others share theirs.
unsigned cpu() noexcept {
  return model::this_thread() & 1;
}
unsigned cpu_count() noexcept {
  return 2;
}
const void* this_thread() noexcept {
  return &model::identities[model::this_thread()];
}

}  // namespace heed::inline v0::os
