// For valgrind's drd: what it may not take for accesses. Linked with --wrap=syscall.
#include <sys/syscall.h>
#include <valgrind/drd.h>
#include <cstdarg>

extern "C" long __real_syscall(long number, ...);

// drd takes any futex(2) for a plain read and a plain write of the word. Who waits reads it atomically, and
// writes nothing. Who wakes uses the address only: the word may be gone by then, with the group or lock it
// was in, and its memory another object's.
extern "C" long __wrap_syscall(long number, ...) {
  va_list given;
  va_start(given, number);
  long a[6];
  for (long& each : a) each = va_arg(given, long);
  va_end(given);
  if (number == SYS_futex) ANNOTATE_IGNORE_READS_AND_WRITES_BEGIN();
  const long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == SYS_futex) ANNOTATE_IGNORE_READS_AND_WRITES_END();
  return result;
}
