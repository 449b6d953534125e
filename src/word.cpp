// Waiting for the word, and telling the kernel of it.
#include "word.hpp"

#include "os.hpp"

namespace heed::inline v0 {

constinit const scope never_ending;

// Called by readers too, also in a signal handler: two syscall-free loads, one write(2), one atomic and.
void scope::close() const noexcept {
  auto& mutable_word = const_cast<std::atomic<std::uint32_t>&>(word);  // never_ending never gets here
  // acquire: `fd` was written before has_fd was set.
  const std::uint32_t w = word.load(std::memory_order_acquire);
  if ((w & word::closing) == 0) return;
  if ((w >> word::generation_shift) == os::fork_generation()) {
    os::signal_event(fd);
  } else {
    os::divert_event(fd);  // the parent process shares the eventfd: it must not see what its child does
  }
  // release: who sees the bit gone may poll the fd. Any number of threads may do all this; it is idempotent.
  mutable_word.fetch_and(~word::closing, std::memory_order_release);
}

namespace word {

std::uint32_t raise(scope& s, std::uint32_t set) noexcept {
  // acq_rel: publishes what the bit stands for; sees what came before a verdict that is already there.
  return s.word.fetch_or(set, std::memory_order_acq_rel);
}

std::uint32_t await_until(scope& s, std::uint32_t bits, time_point until) noexcept {
  // acquire: whoever waits for a verdict sees what came before it.
  std::uint32_t w = s.word.load(std::memory_order_acquire);
  for (;;) {
    if (w & bits) return w;
    if ((w & waiters) == 0) {
      // The bit and the value that futex compares are one word: a change after this is not slept through.
      if (!s.word.compare_exchange_weak(w, w | waiters, std::memory_order_acquire)) continue;
      w |= waiters;
    }
    if (until != time_point::max() && clock::now() >= until) return w;
    os::wait_until(s.word, w, until);
    w = s.word.load(std::memory_order_acquire);
  }
}

std::uint32_t await(scope& s, std::uint32_t bits) noexcept {
  return await_until(s, bits, time_point::max());
}

void announce(scope& s, std::uint32_t before) noexcept {
  if (before & has_fd) s.close();
  if (before & waiters) os::wake_all(s.word);
}

}  // namespace word
}  // namespace heed::inline v0
