// Waiting for the word, and telling the kernel of it.
#include "word.hpp"

#include "os.hpp"
#include "tree.hpp"

#include <bit>
#include <climits>

namespace heed::inline v0 {

constinit const scope never_ending;

// Called by readers too, also in a signal handler: a few loads, one system call, one atomic and.
void scope::close() const noexcept {
  auto& n = *node_of(this);  // never_ending never gets here
  // acquire: `fd` was written before has_fd was set.
  if ((n.word.load(std::memory_order_acquire) & word::closing) == 0) return;
  // acquire: done_fd() puts a child process's descriptor under the number before it writes this. It looks for
  // a verdict afterwards, by an operation on the word: so one of us signals the fresh one.
  if (n.own.fd_made_in.load(std::memory_order_acquire) == os::fork_generation()) {
    os::signal_event(n.fd);
  } else {
    os::divert_event(n.fd);  // the parent process shares the eventfd: it must not see what its child does
  }
  // release: who sees the bit gone may poll the fd. Any number of threads may do all this; it is idempotent.
  n.word.fetch_and(~word::closing, std::memory_order_release);
}

namespace word {

namespace {

// The half of the word that the kernel compares: the one with the flags.
const sync::atomic<std::uint32_t>& low_half(const scope& s) noexcept {
  constexpr std::size_t offset = std::endian::native == std::endian::little ? 0 : 4;
  // Only its address is used.
  return *reinterpret_cast<const sync::atomic<std::uint32_t>*>(reinterpret_cast<const char*>(&s.word) +
                                                               offset);
}

// What threads sleep for: the verdict, or that all below is done, too. Nobody sleeps for the latter before
// there is a verdict; so who writes the verdict wakes one kind only, and need not have the kernel look
// through all who sleep.
constexpr std::uint32_t for_verdict = 1;
constexpr std::uint32_t for_settled = 2;

// Who ends a context wakes one, and each who wakes wakes so many more: cancel() costs the same however many
// sleep. With more of them the first goes on later; with fewer, the last wakes later.
constexpr int passed_on = 3;

}  // namespace

std::uint64_t await_until(scope& s, std::uint64_t bits, time_point until) noexcept {
  // acquire: whoever waits for a verdict sees what came before it.
  std::uint64_t w = s.word.load(std::memory_order_acquire);
  const std::uint32_t kind = (bits & verdict) ? for_verdict : for_settled;
  for (bool slept = false;; slept = true) {
    if (w & bits) {
      if (slept && kind == for_verdict) os::wake(low_half(s), passed_on, kind);
      return w;
    }
    if ((w & waiters) == 0) {
      // The bit and the value that futex compares are one word: a change after this is not slept through.
      if (!s.word.compare_exchange_weak(w, w | waiters, std::memory_order_acquire)) continue;
      w |= waiters;
    }
    if (until != time_point::max() && os::now() >= until) return w;
    os::wait_until(low_half(s), static_cast<std::uint32_t>(w), until, kind);
    w = s.word.load(std::memory_order_acquire);
  }
}

std::uint64_t await(scope& s, std::uint64_t bits) noexcept {
  if (bits == settled) await_until(s, verdict, time_point::max());
  return await_until(s, bits, time_point::max());
}

void announce(scope& s, std::uint64_t before) noexcept {
  if (before & has_fd) s.close();
  if ((before & waiters) == 0) return;
  os::wake(low_half(s), 1, for_verdict);
}

void wake_settled(scope& s) noexcept {
  os::wake(low_half(s), INT_MAX, for_settled);
}

}  // namespace word
}  // namespace heed::inline v0
