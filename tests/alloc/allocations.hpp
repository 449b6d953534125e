// The counting operator new of this executable (alloc_test.cpp): it counts, and fails when it is told to.
// What is thread_local is of this thread only: the scheduler's threads and the test runner allocate as they
// like.
#pragma once

#include <atomic>

extern thread_local long allocated;           // so many succeeded
extern thread_local long until_failure;       // so many more succeed, then they fail; negative: never
extern thread_local bool fail_once;           // only one fails, and those after it succeed
extern thread_local long failures;            // so many failed
extern std::atomic<long> live;                // blocks that there are, of all threads
extern thread_local void (*on_allocation)();  // called before each of this thread's

template <class F>
long allocations(F&& f) {
  const long before = allocated;
  f();
  return allocated - before;
}
