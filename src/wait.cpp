// Blocking until a context is done: threads on the word itself, event loops on done_fd().
#include "forked.hpp"
#include "hanging.hpp"

#include <heed/callback.hpp>

namespace heed::inline v0 {
namespace {

// What a thread sleeps on when the time is not the kernel's: a scheduler's timer wakes it, or a callback.
class alarm final : public timer {
 public:
  explicit alarm(time_point when) noexcept : timer(&alarm::on_step, when) {}
  ~alarm() = default;

  void ring() noexcept {
    // release: what came before is seen by the sleeper. Only the address is used after the store.
    bell_.store(1, std::memory_order_release);
    os::wake_all(bell_);
  }
  void sleep() noexcept {
    while (bell_.load(std::memory_order_acquire) == 0) os::wait(bell_, 0);
  }
  // After disarm(): a timer that had expired already still runs.
  void finish() noexcept {
    for (std::uint32_t s = state_.load(std::memory_order_acquire); s == expired;
         s = state_.load(std::memory_order_acquire)) {
      os::wait(state_, expired);
    }
  }

 private:
  enum : std::uint32_t { armed, expired, ran };
  static bool on_step(work& w, step s) noexcept {
    auto& self = static_cast<alarm&>(static_cast<timer&>(w));
    switch (s) {
      case step::claim:
        self.state_.store(expired, std::memory_order_relaxed);
        return true;  // disarm() orders it
      case step::turn: return true;
      default:
        self.ring();
        // release: the last access; the sleeper may go on from here.
        self.state_.store(ran, std::memory_order_release);
        os::wake_all(self.state_);
        return true;
    }
  }
  sync::atomic<std::uint32_t> bell_{0};
  sync::atomic<std::uint32_t> state_{armed};
};

void wait_by(scheduler& s, const context& ctx, time_point until) {
  if (s.now() >= until) return;
  alarm a(until);
  const cancel_callback wake(ctx, [&a] { a.ring(); });
  s.arm(a, until);
  // A clock that is driven by hand may have passed it before it was armed, and not move again.
  if (s.now() < until) a.sleep();
  s.disarm(a);
  a.finish();
}

// Where a deadline comes well before `t`: until then. So a timer of this thread's own wakes it when the timer
// thread wakes; what is left to wait for then, the verdict, finds its CPU awake, and one asleep would hear of
// it some 15 µs later. Only for the first to wait: many would all be woken twice. A deadline that a merge has
// from another clock wakes it for nothing.
void await_own_deadline(cancel_node& n, time_point t) noexcept {
  // relaxed: a guess. Two that both take themselves for the first lose nothing by it.
  if (n.word.load(std::memory_order_relaxed) & word::waiters) return;
  const time_point* const due = earliest_deadline(&n);
  if (!due || *due <= os::now() || *due >= t) return;
  // Who waits for as long as the deadline takes shall mostly find it passed: time for the timer thread.
  if (t - *due < std::chrono::microseconds(100)) return;
  const os::exact_timers exact;
  word::await_until(n, word::verdict, *due);
}

void sleep_until(time_point until) noexcept {
  const sync::atomic<std::uint32_t> nobody{0};
  while (until == time_point::max() || os::now() < until) os::wait_until(nobody, 0, until);
}

}  // namespace

void context::wait() const {
  wait_until(time_point::max());
}

bool context::wait_until(time_point t) const {
  if (done()) return true;
  cancel_node* n = node_of(scope_);
  scheduler& s = scheduler_of(tree::of(*this));
  if (&s != &default_scheduler() && t != time_point::max()) {
    wait_by(s, *this, t);
  } else if (n) {
    if (forked::is_child.load(std::memory_order_relaxed)) [[unlikely]] {
      forked::await_until(*n, t);
    } else {
      if (&s == &default_scheduler()) await_own_deadline(*n, t);  // by its clock
      word::await_until(*n, word::verdict, t);
    }
  } else {
    sleep_until(t);
  }
  return done();
}

int context::done_fd() const {
  cancel_node* n = node_of(scope_);
  if (!n) return os::never_event();
  const auto here = static_cast<std::uint16_t>(os::fork_generation());
  sync::atomic<std::uint16_t>& made_in = n->own.fd_made_in;
  // acquire, both: the descriptor was put under its number before.
  const std::uint64_t w = n->word.load(std::memory_order_acquire);
  if ((w & word::has_fd) && made_in.load(std::memory_order_acquire) == here) {
    if (w & word::closing) n->close();
    return n->fd;
  }
  const int fresh =
      (w & word::has_fd) ? -1 : os::make_event();  // may throw: before anything has changed (I11)
  lock_own(*n);
  const locked guard(n->own.lock, locked::already);  // between those who make it
  std::uint64_t now = n->word.load(std::memory_order_acquire);
  if ((now & word::has_fd) == 0) {
    n->fd = fresh;
  } else {
    if (fresh >= 0) os::close_event(fresh);  // another thread was first
    if (made_in.load(std::memory_order_relaxed) == here) return n->fd;
    // Made before a fork: what it shares with the parent process is left behind.
    if (now & word::verdict) {
      os::divert_event(n->fd);
    } else {
      os::renew_event(n->fd);
    }
  }
  // release: the descriptor, for close(). Before the word tells of it.
  made_in.store(here, std::memory_order_release);
  // Either the one who ends the context sees the bit, and signals what is there by then; or we see the
  // verdict, and signal before the bit lets anybody else have the fd (I1). release: the fd.
  do {
    if (now & word::verdict) os::signal_event(n->fd);
  } while (!n->word.compare_exchange_weak(now, now | word::has_fd, std::memory_order_acq_rel,
                                          std::memory_order_acquire));
  return n->fd;
}

}  // namespace heed::inline v0
