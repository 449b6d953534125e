// The platform's own, for Linux.
#include "os.hpp"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define HEED_HAS_RSEQ
#endif
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <system_error>

#if defined(__GLIBC__)
// Before glibc 2.34 in a library of their own, which is there where a plug-in is.
#pragma weak dlsym
#pragma weak dladdr1
// The ELF header of what this is linked into, as ld(1) defines it.
extern "C" [[gnu::weak, gnu::visibility("hidden")]] const ElfW(Ehdr) __ehdr_start;
#endif

namespace heed::inline v0::os {
namespace {

static_assert(sizeof(sync::atomic<std::uint32_t>) == 4, "the kernel reads the atomic as a plain word");

long futex(const sync::atomic<std::uint32_t>& word, int op, std::uint32_t value, const timespec* until,
           std::uint32_t kinds = FUTEX_BITSET_MATCH_ANY) noexcept {
  const int kept = errno;
  const long result = ::syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, value, until, nullptr, kinds);
  errno = kept;
  return result;
}

[[noreturn]] void fail(const char* what) {
  const std::error_code why(errno, std::system_category());
#if defined(__cpp_exceptions)
  throw std::system_error(why, what);
#else
  static_cast<void>(why);
  misuse(what);
#endif
}

#if defined(__GLIBC__) && !defined(HEED_NODELETE)
// Whether this code lies in the program itself, told without the loader's lock: a library that is just being
// loaded may wait for a thread that asks.
bool in_the_program() noexcept {
  const auto header = reinterpret_cast<std::uintptr_t>(&__ehdr_start);
  return header != 0 && header + __ehdr_start.e_phoff == ::getauxval(AT_PHDR);
}
void keep_module() noexcept {
  Dl_info module;
  void* map = nullptr;
  if (!&::dlsym || !&::dladdr1 ||
      ::dladdr1(reinterpret_cast<const void*>(&keep_module), &module, &map, RTLD_DL_LINKMAP) == 0)
    return;
  // By its name: whoever links a program statically is warned of one that names it in code.
  if (void* load = ::dlsym(RTLD_DEFAULT, "dlopen"))
    reinterpret_cast<decltype(&::dlopen)>(load)(static_cast<const link_map*>(map)->l_name,
                                                RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}
#endif

int new_event(unsigned count) {
  const int fd = ::eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) fail("heed: no file descriptor for done_fd()");
  return fd;
}

// Made once per process, whoever is first; a loser closes its own.
int process_wide(sync::atomic<int>& slot, unsigned count) {
  int fd = slot.load(std::memory_order_acquire);
  if (fd >= 0) return fd;
  const int mine = new_event(count);
  // acq_rel: publishes the descriptor's making, or sees the winner's.
  if (slot.compare_exchange_strong(fd, mine, std::memory_order_acq_rel, std::memory_order_acquire))
    return mine;
  ::close(mine);
  return fd;
}

constinit sync::atomic<int> never_fd{-1};
constinit sync::atomic<int> ready_fd{-1};  // nobody outside has it: divert_event() gives copies

void make_ready_event() {
  process_wide(ready_fd, 1);
  // A plug-in that contains heed may be unloaded, and shall leave nothing open. Where the process ends, this
  // comes, too: whatever still uses contexts then makes another one. A child that is forked in the midst of
  // this has ready_fd already, and does not wait here. never_fd stays: who asked for it may still poll it.
  static const struct unload {
    ~unload() {
      if (const int fd = ready_fd.exchange(-1, std::memory_order_acq_rel); fd >= 0) ::close(fd);
    }
  } at_unload;
}

// relaxed: only the child's one thread writes it, before others start
constinit sync::atomic<std::uint32_t> forks{0};

// From now on; 0, or the errno that tells why not.
int count_forks() noexcept {
  // No static with a guard: a child that was forked meanwhile would wait for it for ever. Registered twice,
  // it counts by two. relaxed: it orders nothing.
  static constinit sync::atomic<bool> counted{false};
  if (counted.load(std::memory_order_relaxed)) return 0;
  const int failed =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  if (failed == 0) counted.store(true, std::memory_order_relaxed);
  return failed;
}

}  // namespace

time_point now() noexcept {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC,
                  &t);  // what steady_clock::now() calls; and the clock of wait_until() below
  return time_point(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

void wait(const sync::atomic<std::uint32_t>& word, std::uint32_t seen) noexcept {
  futex(word, FUTEX_WAIT_BITSET, seen, nullptr);
}

void wait_until(const sync::atomic<std::uint32_t>& word, std::uint32_t seen, time_point until,
                std::uint32_t kinds) noexcept {
  if (until == time_point::max()) {
    futex(word, FUTEX_WAIT_BITSET, seen, nullptr, kinds);
    return;
  }
  const auto since = until.time_since_epoch();
  if (since.count() <= 0) return;
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(since);
  const timespec at{static_cast<time_t>(whole.count()), static_cast<long>((since - whole).count())};
  // steady_clock is CLOCK_MONOTONIC, and FUTEX_WAIT_BITSET takes an absolute time on it (futex(2)).
  futex(word, FUTEX_WAIT_BITSET, seen, &at, kinds);
}

void wake_one(const sync::atomic<std::uint32_t>& word) noexcept {
  futex(word, FUTEX_WAKE_BITSET, 1, nullptr);
}
void wake_all(const sync::atomic<std::uint32_t>& word) noexcept {
  futex(word, FUTEX_WAKE_BITSET, INT_MAX, nullptr);
}
void wake(const sync::atomic<std::uint32_t>& word, int how_many, std::uint32_t kinds) noexcept {
  futex(word, FUTEX_WAKE_BITSET, static_cast<std::uint32_t>(how_many), nullptr, kinds);
}

// A process has to say first that it will use them (membarrier(2)); its children inherit that.
void prepare_barriers() noexcept {
  static constinit sync::atomic<bool> prepared{false};
  // relaxed, both: whoever does it a second time does no harm.
  if (prepared.load(std::memory_order_relaxed)) return;
  const int kept = errno;
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
    prepared.store(true, std::memory_order_relaxed);
  errno = kept;
}

bool barrier_everywhere() noexcept {
  const int kept = errno;
  const bool done = ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
  errno = kept;
  return done;
}

int make_event() {
  // Uncounted, a child would share the descriptor.
  if (const int e = count_forks()) {
    errno = e;
    fail("heed: pthread_atfork");
  }
  // relaxed: whether it is there; process_wide() and divert_event() order the rest.
  if (ready_fd.load(std::memory_order_relaxed) < 0) make_ready_event();
  return new_event(0);
}

int never_event() {
  return process_wide(never_fd, 0);
}

void signal_event(int fd) noexcept {
  const int kept = errno;
  // To the top at once, so that a second write adds nothing (EAGAIN): who waits by edge is told once
  // (eventfd(2)).
  const std::uint64_t top = UINT64_MAX - 1;
  [[maybe_unused]] const auto written = ::write(fd, &top, sizeof top);
  errno = kept;
}

void divert_event(int fd) noexcept {
  const int kept = errno;
  int ready = ready_fd.load(std::memory_order_acquire);
  const bool gone = ready < 0;  // the process is ending
  if (gone) ready = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  while (::dup3(ready, fd, O_CLOEXEC) < 0 && (errno == EINTR || errno == EBUSY)) {}
  if (gone) ::close(ready);
  errno = kept;
}

void renew_event(int fd) {
  const int fresh = new_event(0);
  int result = 0;
  do {
    result = ::dup3(fresh, fd, O_CLOEXEC);
  } while (result < 0 && (errno == EINTR || errno == EBUSY));
  ::close(fresh);
}

void close_event(int fd) noexcept {
  const int kept = errno;
  ::close(fd);
  errno = kept;
}

std::uint32_t fork_generation() noexcept {
  static_cast<void>(count_forks());  // tried again next time
  return forks.load(std::memory_order_relaxed) & 0xffffU;
}

void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  if (const int e = try_at_fork(before, in_parent, in_child)) {
    errno = e;
    fail("heed: pthread_atfork");
  }
}

int try_at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept {
  return ::pthread_atfork(before, in_parent, in_child);
}

void write_error(const char* text, std::size_t size) noexcept {
  const int kept = errno;
  while (size > 0) {
    const ssize_t written = ::write(STDERR_FILENO, text, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    text += written;
    size -= static_cast<std::size_t>(written);
  }
  errno = kept;
}

int start_thread(void (*body)()) noexcept {
  pthread_attr_t attributes;
  if (const int e = ::pthread_attr_init(&attributes)) return e;
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // A new thread inherits the mask: the program's signals go to the program's own threads, but for those that
  // a thread raises by its own fault: a crash handler is to see them.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) ::sigdelset(&all, fault);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_t thread;
  const int e = ::pthread_create(
      &thread, &attributes,
      [](void* arg) -> void* {
        reinterpret_cast<void (*)()>(arg)();
        return nullptr;
      },
      reinterpret_cast<void*>(body));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return e;
}

void stay_loaded() noexcept {
#if defined(__GLIBC__) && !defined(HEED_NODELETE)   // others do not unload
  static constinit sync::atomic<bool> done{false};  // relaxed: once more is harmless
  if (done.load(std::memory_order_relaxed)) return;
  if (!in_the_program()) keep_module();
  done.store(true, std::memory_order_relaxed);
#endif
}

bool at_thread_exit(void (*last)()) noexcept {
  constexpr std::uint64_t none = UINT64_MAX;
  static constinit sync::atomic<std::uint64_t> made{none};  // relaxed throughout: a number, nothing behind it
  std::uint64_t key = made.load(std::memory_order_relaxed);
  if (key == none) {
    pthread_key_t fresh;
    if (::pthread_key_create(&fresh, [](void* f) { reinterpret_cast<void (*)()>(f)(); }) != 0) return false;
    if (made.compare_exchange_strong(key, fresh, std::memory_order_relaxed)) {
      key = fresh;
      // A plug-in that contains heed may be unloaded: no thread shall call into it afterwards.
      static const struct unload {
        ~unload() {
          ::pthread_key_delete(
              static_cast<pthread_key_t>(made.exchange(none - 1, std::memory_order_relaxed)));
        }
      } at_unload;
    } else {
      ::pthread_key_delete(fresh);
    }
  }
  return key < none - 1 &&
         ::pthread_setspecific(static_cast<pthread_key_t>(key), reinterpret_cast<void*>(last)) == 0;
}

// The slack is in nanoseconds; its default of 50 µs is for laptops. Threads with real-time scheduling have
// none (PR_SET_TIMERSLACK(2const)). By syscall(), as prctl() gives an int.
static long change_timers(long option, long slack) noexcept {
  const int kept = errno;
  const long result = ::syscall(SYS_prctl, option, slack, 0L, 0L, 0L);
  errno = kept;
  return result;
}
exact_timers::exact_timers() noexcept : before_(change_timers(PR_GET_TIMERSLACK, 0)) {
  if (before_ > 1) change_timers(PR_SET_TIMERSLACK, 1);
}
exact_timers::~exact_timers() {
  if (before_ > 1) change_timers(PR_SET_TIMERSLACK, before_);
}

unsigned cpu() noexcept {
#if defined(HEED_HAS_RSEQ)
  // What the kernel keeps current for restartable sequences (rseq(2)): one load, where sched_getcpu() is a
  // call.
  if (__rseq_size > 0) {
    const auto* area = static_cast<const char*>(__builtin_thread_pointer()) + __rseq_offset;
    return __atomic_load_n(reinterpret_cast<const unsigned*>(area + offsetof(struct rseq, cpu_id_start)),
                           __ATOMIC_RELAXED);
  }
#endif
  const int number = ::sched_getcpu();
  return number < 0 ? 0 : static_cast<unsigned>(number);
}

unsigned cpu_count() noexcept {
  // relaxed: whoever asks first, or second, gets the same.
  static constinit sync::atomic<unsigned> known{0};
  unsigned count = known.load(std::memory_order_relaxed);
  if (count == 0) {
    const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
    count = online < 1 ? 1 : static_cast<unsigned>(online);
    known.store(count, std::memory_order_relaxed);
  }
  return count;
}

const void* this_thread() noexcept {
  static thread_local constinit char here = 0;
  return &here;
}

}  // namespace heed::inline v0::os
