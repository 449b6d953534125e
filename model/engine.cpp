// Fibers, choices, and the search over them. Steps on memory are in memory.cpp.
#include "engine.hpp"

#include "locals.hpp"
#include "memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

// Saves what a function must keep, and goes on where another fiber has saved it (System V ABI, x86-64).
extern "C" void model_switch(void** from, void* to);
asm(R"(
.globl model_switch
model_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace model {
namespace {

enum class state : unsigned char { none, ready, asleep, joining, settling, finished };

struct fiber {
  state is = state::none;
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  void (*body)(void*) = nullptr;
  void* argument = nullptr;
  const void* asleep_on = nullptr;
  std::uint32_t kinds = 0;
  std::int64_t until = for_good;
  bool daemon = false;
  thread_locals locals;
};
constexpr std::size_t stack_size = 256 * 1024;
constexpr std::uint64_t most_steps = 50'000;

struct choice {
  std::uint32_t step;
  what kind;
  std::uint8_t nth;  // of this kind since the step began
  std::uint8_t picked;
  std::uint8_t of;
};

const char* kernel_name = "";
settings how;
std::array<fiber, threads> fibers;
void* explorer = nullptr;  // its stack pointer
std::vector<choice> path;
std::size_t at = 0;
int preemptions = 0;
int stale = 0;
std::uint32_t steps = 0;
std::int64_t now = 0;
std::array<std::uint8_t, 128> so_far;  // choices of each kind since the step began
std::vector<choice> to_replay;
std::mt19937_64 random_source;

// All choices that were not the first of their kind: "12s1,40r1".
std::string schedule() {
  std::string all;
  for (const choice& c : path) {
    if (c.picked == 0) continue;
    all += (all.empty() ? "" : ",") + std::to_string(c.step) + static_cast<char>(c.kind) +
           std::to_string(c.picked);
    if (c.nth > 0) all += "." + std::to_string(c.nth);
  }
  return all.empty() ? "none" : all;
}

std::vector<choice> parsed(const std::string& text) {
  std::vector<choice> all;
  const char* c = text.c_str();
  while (*c >= '0' && *c <= '9') {
    char* end = nullptr;
    choice one{static_cast<std::uint32_t>(std::strtoul(c, &end, 10)), what::step, 0, 0, 0};
    one.kind = static_cast<what>(*end);
    one.picked = static_cast<std::uint8_t>(std::strtoul(end + 1, &end, 10));
    if (*end == '.') one.nth = static_cast<std::uint8_t>(std::strtoul(end + 1, &end, 10));
    all.push_back(one);
    c = *end == ',' ? end + 1 : end;
  }
  return all;
}

void go_to(unsigned next) {
  const unsigned me = current;
  if (next == me) return;
  current = next;
  fibers[me].locals.keep();
  fibers[next].locals.bring();
  model_switch(&fibers[me].stack_pointer, fibers[next].stack_pointer);
}

// It is so late now: for those who sleep no longer than that.
void pass_until(std::int64_t t) {
  now = std::max(now, t);
  for (fiber& f : fibers) {
    if (f.is == state::asleep && f.until <= now) f.is = state::ready;
  }
}

bool is_over(const fiber& f) {
  return f.is == state::none || f.is == state::finished;
}
bool all_joined() {
  return std::all_of(fibers.begin() + 1, fibers.end(), [](const fiber& f) { return is_over(f) || f.daemon; });
}

// Picks who goes on. The running thread, if it can, comes first: to leave it then is a preemption.
void reschedule() {
  std::array<unsigned, threads> ready{};
  unsigned count = 0;
  const bool can_go_on = fibers[current].is == state::ready;
  if (can_go_on) ready[count++] = current;
  if (!can_go_on || how.replays || preemptions < how.preemptions) {
    for (unsigned t = 0; t < threads; ++t) {
      if (t != current && fibers[t].is == state::ready) ready[count++] = t;
    }
  }
  if (count > 0) {
    const auto picked = static_cast<unsigned>(
        choose(can_go_on ? what::step : what::turn, static_cast<int>(count), can_go_on ? 8 : 0));
    if (can_go_on && picked > 0) ++preemptions;
    return go_to(ready[picked]);
  }
  // Nobody can go on.
  if (fibers[0].is == state::settling) {
    fibers[0].is = state::ready;
    return go_to(0);
  }
  // Time passes for one who sleeps until some time; not for heed's own threads alone, once the kernel is
  // over.
  for (unsigned t = 0; t < threads && fibers[0].is != state::finished; ++t) {
    if (fibers[t].is == state::asleep && fibers[t].until != for_good) ready[count++] = t;
  }
  if (count > 0) {
    const unsigned t = ready[static_cast<unsigned>(choose(what::timeout, static_cast<int>(count)))];
    pass_until(fibers[t].until);
    return go_to(t);
  }
  for (unsigned t = 0; t < threads; ++t) {
    if (!fibers[t].daemon && !is_over(fibers[t]))
      fail("deadlock: all threads sleep, thread " + std::to_string(t) + " among them");
  }
  const unsigned me = current;
  model_switch(&fibers[me].stack_pointer, explorer);
}

// The first frame of each fiber.
void begin() {
  fiber& me = fibers[current];
  me.body(me.argument);
  system_call(&me);
  me.is = state::finished;
  if (fibers[0].is == state::joining && all_joined()) fibers[0].is = state::ready;
  reschedule();
  std::abort();  // nobody goes on with what is finished
}

void prepare(unsigned t, void (*body)(void*), void* argument) {
  fiber& f = fibers[t];
  if (!f.stack) {
    f.stack = static_cast<char*>(::mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  f.is = state::ready;
  f.body = body;
  f.argument = argument;
  f.daemon = false;
  f.locals.reset();
  // begin() starts as after a call: the stack pointer is 8 off a multiple of 16.
  auto* top = reinterpret_cast<void**>(f.stack + stack_size - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&begin);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.stack_pointer = top;
}

// The next path in depth-first order; false: that was the last.
bool advance() {
  while (!path.empty() && path.back().picked + 1 == path.back().of) path.pop_back();
  if (path.empty()) return false;
  ++path.back().picked;
  return true;
}

}  // namespace

int choose(what kind, int options, int seldom) {
  if (options <= 1) return 0;
  const std::uint8_t nth = so_far[static_cast<std::size_t>(kind)]++;
  if (how.replays) {
    for (const choice& c : to_replay) {
      if (c.step == steps && c.kind == kind && c.nth == nth && c.picked < options) return c.picked;
    }
    return 0;
  }
  if (at < path.size()) return path[at++].picked;
  int picked = 0;
  if (how.random && (seldom == 0 || random_source() % static_cast<unsigned>(seldom) == 0))
    picked = static_cast<int>(random_source() % static_cast<unsigned>(options));
  const own_memory guard;
  path.push_back({steps, kind, nth, static_cast<std::uint8_t>(picked), static_cast<std::uint8_t>(options)});
  ++at;
  return picked;
}

bool replays() {
  return how.replays;
}
void count_step() {
  if (++steps > most_steps) fail("livelock: no end after " + std::to_string(most_steps) + " steps");
  so_far.fill(0);
}

bool may_read_stale() {
  return how.replays || stale < how.stale_reads;
}
void has_read_stale() {
  ++stale;
}

void yield() {
  reschedule();
}

unsigned this_thread() noexcept {
  return current;
}

static unsigned free_fiber() {
  unsigned t = 1;
  while (t < threads && fibers[t].is != state::none) ++t;
  return t;
}

void spawn_raw(void (*body)(void*), void* self) {
  const unsigned t = free_fiber();
  if (t == threads) fail("the kernel has too many threads");
  born(t);
  prepare(t, body, self);
}

bool spawn_daemon(void (*body)()) {
  const unsigned t = free_fiber();
  if (t == threads) return false;
  born(t);
  prepare(t, [](void* b) { reinterpret_cast<void (*)()>(b)(); }, reinterpret_cast<void*>(body));
  fibers[t].daemon = true;
  return true;
}

void join() {
  if (!all_joined()) {
    fibers[0].is = state::joining;
    reschedule();
  }
  for (unsigned t = 1; t < threads; ++t) {
    if (fibers[t].daemon) continue;
    if (fibers[t].is == state::finished) joined(t);
    fibers[t].is = state::none;
  }
}

void settle() {
  fibers[0].is = state::settling;
  reschedule();
  for (unsigned t = 1; t < threads; ++t) {
    if (fibers[t].daemon && fibers[t].is != state::none) seen(t);
  }
}

std::int64_t time_now() {
  look(&now);
  return now;
}

void advance(std::int64_t nanoseconds) {
  look(&now);
  pass_until(now + nanoseconds);
}

void check(bool holds, const char* what) {
  if (!holds) fail(what);
}

void fail(const std::string& error) {
  running = false;
  std::printf("FAILED: %s: %s\n  replay: --only '^%s$' --replay %s\n", kernel_name, error.c_str(),
              kernel_name, how.replays ? "the same" : schedule().c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void futex_wait(const void* on, std::uint32_t seen, std::uint32_t kinds, std::int64_t until) {
  if (!running) return;
  system_call(on);
  if (newest(on) != seen || until <= now) return;
  fiber& me = fibers[current];
  me.is = state::asleep;
  me.asleep_on = on;
  me.kinds = kinds;
  me.until = until;
  reschedule();
}

void futex_wake(const void* on, int how_many, std::uint32_t kinds) {
  if (!running) return;
  system_call(on);
  for (; how_many > 0; --how_many) {
    std::array<unsigned, threads> sleepers{};
    unsigned count = 0;
    for (unsigned t = 0; t < threads; ++t) {
      if (fibers[t].is == state::asleep && fibers[t].asleep_on == on && (fibers[t].kinds & kinds))
        sleepers[count++] = t;
    }
    if (count == 0) return;
    fibers[sleepers[static_cast<unsigned>(choose(what::wake, static_cast<int>(count)))]].is = state::ready;
  }
}

static void execute(void (*kernel)()) {
  at = 0;
  steps = 0;
  preemptions = stale = 0;
  now = std::int64_t{1} << 40;
  for (fiber& f : fibers) f.is = state::none;
  start_memory();
  prepare(0, [](void* k) { reinterpret_cast<void (*)()>(k)(); }, reinterpret_cast<void*>(kernel));
  current = 0;
  running = true;
  fibers[0].locals.bring();
  model_switch(&explorer, fibers[0].stack_pointer);
  running = false;
  end_memory();  // leaks
}

result explore(const char* name, void (*kernel)(), const settings& wanted) {
  kernel_name = name;
  how = wanted;
  random_source.seed(wanted.seed);
  path.clear();
  forget_shared();
  result r;
  how.replays = !wanted.replay.empty();
  // Once for what the library finds out but once in a process (is HEED_TRACK set?): an execution that does is
  // of other steps than all after it, and what is printed of one of those would not be found again.
  to_replay.clear();
  execute(kernel);
  path.clear();
  to_replay = parsed(wanted.replay);
  const auto from = std::chrono::steady_clock::now();
  for (;;) {
    execute(kernel);
    ++r.executions;
    if (how.replays) return r;
    if (shares_more()) {  // places that a thread was not interrupted at until now: from the beginning
      path.clear();
      continue;
    }
    if (r.executions >= wanted.most) return r;
    if (wanted.seconds > 0 && r.executions % 256 == 0 &&
        std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count() > wanted.seconds)
      return r;
    if (wanted.random) {
      path.clear();
    } else if (!advance()) {
      r.exhaustive = true;
      return r;
    }
  }
}

}  // namespace model
