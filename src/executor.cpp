#include "executor.hpp"

#include "default_scheduler.hpp"

#include <chrono>
#include <system_error>
#include <utility>

namespace heed::inline v0 {
namespace {
// Long enough to serve the next burst, short enough to be gone when somebody looks.
constexpr auto patience = std::chrono::milliseconds(250);
// How often the one that stays for reservations looks whether it may go.
constexpr auto duty = std::chrono::seconds(2);
}  // namespace

bool executor::summon() noexcept {
  if (lookers_ > 0 || !first_) return false;
  ++lookers_;
  if (idle_ > 0) {
    --idle_;
    ++summoned_;
    bell_.fetch_add(1, std::memory_order_relaxed);  // the lock orders it; futex compares it
    os::wake_one(bell_);
    return false;
  }
  ++threads_;
  return true;
}

int executor::start() noexcept {
  const int failed = os::start_thread([] { default_scheduler_threads().run(); });
  if (failed != 0) {
    const locked guard(lock_);
    --threads_;
    --lookers_;
  }
  return failed;
}

bool executor::enqueue(work& w, bool must) noexcept {
  bool start_one = false;
  {
    const locked guard(lock_);
    w.next = nullptr;  // and prev stays: a timer's tells whether it is in a wheel
    (last_ ? last_->next : first_) = &w;
    last_ = &w;
    start_one = summon();
  }
  if (!start_one || start() == 0 || must) return true;
  // Nobody is there to run it, unless others came meanwhile.
  const locked guard(lock_);
  if (threads_ > 0) return true;
  links* before = nullptr;
  links* at = first_;
  while (at && at != &w) before = std::exchange(at, at->next);
  if (!at) return true;
  (before ? before->next : first_) = w.next;
  if (last_ == &w) last_ = before;
  return false;
}

void executor::post(work& w) noexcept {
  enqueue(w, true);
}

bool executor::try_post(work& w) noexcept {
  return enqueue(w, false);
}

void executor::reserve() {
  {
    const locked guard(lock_);
    ++reserved_;
    if (threads_ > 0) return;
    ++threads_;
    ++lookers_;
  }
  if (const int failed = start()) {
    {
      const locked guard(lock_);
      --reserved_;
    }
#if defined(__cpp_exceptions)
    throw std::system_error(failed, std::system_category(), "heed: no thread for after_func");
#else
    static_cast<void>(failed);
    misuse("heed: no thread for after_func");
#endif
  }
}

void executor::unreserve() noexcept {
  const locked guard(lock_);
  --reserved_;  // the thread that stays for it finds out by itself
}

bool executor::rest() noexcept {
  ++idle_;
  time_point until = clock::now() + patience;
  for (;;) {
    const std::uint32_t seen = bell_.load(std::memory_order_relaxed);
    lock_.unlock();
    os::wait_until(bell_, seen, until);
    lock_.lock();
    if (summoned_ > 0) {
      --summoned_;
      return true;
    }
    if (clock::now() < until) continue;
    if (reserved_ > 0 && threads_ == 1) {  // X3
      until += duty;
      continue;
    }
    --idle_;
    return false;
  }
}

void executor::run() noexcept {
  lock_.lock();
  // This thread was counted as a looker by who started it.
  for (;;) {
    if (!first_) {
      --lookers_;
      if (!rest()) break;
      continue;
    }
    auto& item = static_cast<work&>(*first_);
    first_ = item.next;
    if (!first_) last_ = nullptr;
    --lookers_;
    const bool start_one = summon();  // X1, before we are busy
    const unsigned forks = forks_;
    lock_.unlock();
    if (start_one) start();
    item.run();
    lock_.lock();
    if (forks != forks_) ++threads_;  // the function forked, and this is the child: its one thread is ours
    ++lookers_;
  }
  --threads_;
  lock_.unlock();
}

void executor::after_fork_in_child() noexcept {
  threads_ = idle_ = lookers_ = summoned_ = 0;
  ++forks_;
  lock_.unlock();
}

}  // namespace heed::inline v0
