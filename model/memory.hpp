// Memory as the C++ standard lets threads see it, and who may touch which of it (memory.cpp). For the engine
// only.
#pragma once

#include <cstdint>

namespace model {

inline constexpr unsigned threads = 5;

extern bool running;      // a kernel is under way: else everything is plain memory
extern unsigned current;  // the thread that runs

// While one lives, what is allocated is the checker's own, and no part of what it explores.
extern int own_allocations;
struct own_memory {
  own_memory() { ++own_allocations; }
  ~own_memory() { --own_allocations; }
};

// The engine's side. What is chosen: who goes on after a step, or when one cannot; which value is read; who
// is woken; for whom time passes.
enum class what : char { step = 's', turn = 't', read = 'r', wake = 'w', timeout = 'o' };
// `seldom`: at random, another than the first only in one of so many cases.
int choose(what w, int options, int seldom = 0);
bool may_read_stale();
void has_read_stale();
void count_step();
bool replays();
void yield();  // a step is about to be taken: perhaps another thread goes first

// Memory's side.
void start_memory();
void end_memory();      // fails where something is still allocated
void born(unsigned t);  // by the current thread
void joined(unsigned t);
void seen(unsigned t);                 // what it did so far comes before what the current thread does now
std::uint32_t newest(const void* at);  // what the operating system sees
// Threads are interrupted where they touch what others touch, too. Which places these are is found on the
// way.
void forget_shared();
bool shares_more();  // more were found since this was asked last

}  // namespace model
