// Waiting on the standard's condition variables until a context ends: how the waiter is told, although the
// thread that cancels may hold the user's mutex and so must never wait for it.
#include "default_scheduler.hpp"
#include "helpers.hpp"
#include "os.hpp"

#include <heed/wait.hpp>

#include <utility>

namespace heed::inline v0 {

// The danger is the window between the waiter's last look at the context and its sleep: a notification that
// falls into it is lost. The user's mutex, which the waiter holds there, would exclude it, but the callback
// cannot take it.

// --- std::condition_variable ---
//
// One word says where the waiter is; both sides change it by a read-modify-write.
//   C1  The waiter goes awake -> asleep with the mutex held, and back when it has it again. A callback that
//       finds it awake has nothing to do: the waiter will find `told` before it sleeps, and not sleep.
//   C2  A callback that finds it asleep, and then gets the mutex by try_lock(), knows that the waiter has
//       given the mutex up since: it was asleep with the mutex held, and that came before, by acquire. The
//       waiter gives it up and begins to wait in one step ([thread.condition.general]), so notify_all()
//       reaches it.
//   C3  If try_lock() fails, the holder may be the waiter in its window, somebody else, or the canceling
//       thread itself. So it notifies, which suffices but in the first case, and has a helper lock the mutex
//       on a thread that can wait for it. While that has the mutex, C2 holds of all whose callbacks want it
//       (helpers.hpp).
//   C4  The callback and the helper live in the waiter's frame: leave() waits for both. The callback never
//       blocks, so the waiter may hold the mutex meanwhile. A helper that has not begun is taken back: who
//       leaves is not in its window. For one that has, the waiter gives the mutex up; then the context has
//       ended, and wait() looks at the predicate afterwards.
namespace {
enum at : std::uint32_t { awake, asleep, told };             // condition_sleeper::state_
enum helper : std::uint32_t { unneeded, posted, finished };  // condition_sleeper::helper_
}  // namespace

condition_sleeper::condition_sleeper(const context& ctx, std::condition_variable& cv,
                                     std::unique_lock<std::mutex>& lock)
    : work(&condition_sleeper::on_step), cv_(cv), lock_(lock), mutex_(*lock.mutex()) {
  process_scheduler::prepare_for_threads();  // before a helper may start its first thread
  callback_.emplace(ctx, teller{this});
}

void condition_sleeper::sleep() {
  std::uint32_t s = awake;
  // release: C2's acquire. acquire, where it is told: the context is seen done.
  if (!state_.compare_exchange_strong(s, asleep, std::memory_order_release, std::memory_order_acquire))
    return;
  cv_.wait(lock_);
  s = asleep;
  // acquire, where it is told, as above; being awake tells nobody anything.
  state_.compare_exchange_strong(s, awake, std::memory_order_acquire);
}

void condition_sleeper::tell() noexcept {
  // acquire: C2. release: the waiter sees the context done.
  if (state_.exchange(told, std::memory_order_acq_rel) != asleep) return;  // C1
  // The canceling thread may be the mutex's owner, for which the standard leaves try_lock() undefined; a
  // std::mutex is a pthread mutex of the default kind, and for those POSIX wants EBUSY
  // (pthread_mutex_trylock(3p)).
  if (mutex_.try_lock()) {
    mutex_.unlock();
    cv_.notify_all();  // C2
    return;
  }
  // relaxed: the callback's end orders it, for leave(); and the executor's lock, for the helper.
  helper_.store(posted, std::memory_order_relaxed);
  cv_.notify_all();
  helpers::want(*this);  // C3
}

bool condition_sleeper::on_step(work& w, step) noexcept {
  auto& leader = static_cast<condition_sleeper&>(w);
  std::mutex& mutex = leader.mutex_;
  mutex.lock();
  condition_sleeper* chain = helpers::take(leader);
  // The mutex may go with the last waiter, and no waiter goes before it is told so below.
  mutex.unlock();
  for (condition_sleeper* s = &leader; s;) {
    condition_sleeper& one = *std::exchange(s, chain);
    if (chain) chain = chain->chain_;
    one.cv_.notify_all();
    const sync::atomic<std::uint32_t>& address = one.helper_;
    // release: the last access. Only the address is used after it.
    one.helper_.store(finished, std::memory_order_release);
    os::wake_all(address);
  }
  return true;
}

void condition_sleeper::leave() noexcept {
  callback_.reset();  // C4
  // relaxed: written by the callback, whose end we have just seen.
  if (helper_.load(std::memory_order_relaxed) == unneeded) return;
  if (helpers::withdraw(*this)) return helper_.store(unneeded, std::memory_order_relaxed);
  lock_.unlock();
  // acquire: the helper is done with us, the mutex and the condition variable.
  while (helper_.load(std::memory_order_acquire) == posted) os::wait(helper_, posted);
  lock_.lock();
  helper_.store(unneeded, std::memory_order_relaxed);  // left once is enough; nobody else has it
}

constinit futex_lock helpers::board_;
constinit condition_sleeper* helpers::leaders_ = nullptr;

void helpers::lead(condition_sleeper& s) noexcept {
  s.next_leader_ = std::exchange(leaders_, &s);
  default_scheduler_threads().post(s);
}

void helpers::remove(condition_sleeper& leader) noexcept {
  condition_sleeper** at = &leaders_;
  while (*at != &leader) at = &(*at)->next_leader_;
  *at = leader.next_leader_;
}

void helpers::want(condition_sleeper& s) noexcept {
  const locked guard(board_);
  s.chain_ = nullptr;
  for (condition_sleeper* l = leaders_; l; l = l->next_leader_) {
    if (&l->mutex_ != &s.mutex_) continue;
    s.chain_ = std::exchange(l->chain_, &s);
    return;
  }
  lead(s);
}

bool helpers::withdraw(condition_sleeper& s) noexcept {
  const locked guard(board_);
  for (condition_sleeper* l = leaders_; l; l = l->next_leader_) {
    if (l == &s) {
      if (!default_scheduler_threads().withdraw(s)) return false;
      remove(s);
      if (s.chain_) lead(*s.chain_);
      return true;
    }
    for (condition_sleeper** at = &l->chain_; *at; at = &(*at)->chain_) {
      if (*at != &s) continue;
      *at = s.chain_;
      return true;
    }
  }
  return false;
}

condition_sleeper* helpers::take(condition_sleeper& leader) noexcept {
  const locked guard(board_);
  remove(leader);
  return leader.chain_;
}

void helpers::before_fork() noexcept {
  board_.lock();
}
void helpers::after_fork_in_parent() noexcept {
  board_.unlock();
}
void helpers::after_fork_in_child() noexcept {
  leaders_ = nullptr;
  board_.unlock();
}

// --- std::condition_variable_any ---
//
// It takes any lock, so it is given one that tells when it is unlocked; that needs no helper.
//   A1  wait() calls unlock() and blocks in one step as far as notifications can tell
//       ([thread.condition.general]): both implementations hold a mutex of their own there, which
//       notify_all() takes too. So a notification by who has seen settle(), which unlock() calls first,
//       reaches the waiter.
//   A2  A callback that finds the waiter awake has nothing to do (C1). One that finds it asleep notifies
//       (A1).
//   A3  One that finds it entering, between the two, waits for settle(). Meanwhile the waiter does nothing
//       but take the condition variable's own mutex, so this is short; it does not wait for anything that the
//       canceling thread may have locked. It sleeps meanwhile, so it is safe on one core, too.
namespace {
enum any_at : std::uint32_t { any_awake, any_entering, any_asleep, any_told, any_told_entering };
}  // namespace

any_sleeper::any_sleeper(const context& ctx, std::condition_variable_any& cv) noexcept : cv_(cv) {
  callback_.emplace(ctx, teller{this});
}

bool any_sleeper::enter() noexcept {
  std::uint32_t s = any_awake;
  // acquire, where it is told: the context is seen done. Not release: settle() publishes.
  return state_.compare_exchange_strong(s, any_entering, std::memory_order_acquire);
}

void any_sleeper::settle() noexcept {
  std::uint32_t s = any_entering;
  // release: who finds it asleep notifies after this (A1).
  if (state_.compare_exchange_strong(s, any_asleep, std::memory_order_release, std::memory_order_relaxed))
    return;
  // told meanwhile. release: likewise, for who waits in tell().
  state_.store(any_told, std::memory_order_release);
  os::wake_all(state_);
}

void any_sleeper::wake() noexcept {
  std::uint32_t s = any_asleep;
  // acquire, where it is told: the context is seen done; being awake tells nobody anything.
  state_.compare_exchange_strong(s, any_awake, std::memory_order_acquire);
}

void any_sleeper::tell() noexcept {
  std::uint32_t s = state_.load(std::memory_order_relaxed);
  // acq_rel: release, so that the waiter sees the context done; acquire: A1.
  while (!state_.compare_exchange_weak(s, s == any_entering ? any_told_entering : any_told,
                                       std::memory_order_acq_rel, std::memory_order_relaxed)) {}
  if (s == any_awake) return;  // A2
  if (s == any_entering) {     // A3. acquire: A1
    while (state_.load(std::memory_order_acquire) == any_told_entering) os::wait(state_, any_told_entering);
  }
  cv_.notify_all();
}

}  // namespace heed::inline v0
