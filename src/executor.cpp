#include "executor.hpp"

#include "default_scheduler.hpp"

#include <chrono>
#include <system_error>
#include <utility>

namespace heed::inline v0 {
namespace {
// Long enough to serve the next burst, short enough to be gone when somebody looks.
constexpr auto patience = std::chrono::milliseconds(250);

// Where this thread is, if it is one of the executor's: in an item, or on its way back from it.
enum class position : unsigned char { elsewhere, inside, returning };
thread_local constinit position here = position::elsewhere;
}  // namespace

int executor::start() noexcept {
  const int failed = os::start_thread([] { default_scheduler_threads().run(); });
  if (failed == 0) {
    ++threads_;
    ++lookers_;
  }
  return failed;
}

bool executor::summon() noexcept {
  if (lookers_ > 0) return true;
  if (idle_ == 0) return start() == 0;
  --idle_;
  ++summoned_;
  ++lookers_;
  bell_.fetch_add(1, std::memory_order_relaxed);  // the lock orders it; futex compares it
  os::wake_one(bell_);
  return true;
}

void executor::enqueue(work& first, work& last) noexcept {
  // `prev` stays: a timer's tells whether it is in a wheel.
  set_next(last, nullptr);
  if (last_) {
    set_next(*last_, &first);
  } else {
    first_ = &first;
  }
  last_ = &last;
}

void executor::post(work& w) noexcept {
  const locked guard(lock_);
  enqueue(w, w);
  summon();  // if that fails, a thread that is busy now will come (X3)
}

bool executor::try_post(work& first, work& last) noexcept {
  const locked guard(lock_);
  if (!summon()) return false;
  enqueue(first, last);
  return true;
}

bool executor::take_out(work& w) noexcept {
  links* before = nullptr;
  for (links* at = first_; at; before = std::exchange(at, at->next)) {
    if (at != &w) continue;
    if (before) {
      set_next(*before, w.next);
    } else {
      first_ = w.next;
    }
    if (last_ == &w) last_ = before;
    return true;
  }
  return false;
}

bool executor::withdraw(work& w) noexcept {
  const locked guard(lock_);
  return take_out(w);
}

bool executor::starving() noexcept {
  const locked guard(lock_);
  return first_ && !summon();
}

void executor::reserve() {
  int failed = 0;
  {
    const locked guard(lock_);
    if (threads_ == 0) failed = start();
    if (failed == 0) reserved_.store(true, std::memory_order_relaxed);
  }
  if (failed == 0) return;
#if defined(__cpp_exceptions)
  throw std::system_error(failed, std::system_category(), "heed: no thread to run functions");
#else
  misuse("heed: no thread to run functions");
#endif
}

void executor::returning() noexcept {
  if (here != position::inside) return;
  here = position::returning;
  const locked guard(lock_);
  ++lookers_;
}

bool executor::rest() noexcept {
  ++idle_;
  time_point until = os::now() + patience;
  for (;;) {
    const std::uint32_t seen = bell_.load(std::memory_order_relaxed);
    lock_.unlock();
    os::wait_until(bell_, seen, until);
    lock_.lock();
    if (summoned_ > 0) {
      --summoned_;
      return true;
    }
    if (os::now() < until) continue;
    if (ready() && threads_ == 1) {  // X3
      until = time_point::max();
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
    if (first_) summon();  // X1, before we are busy
    const unsigned forks = forks_;
    lock_.unlock();
    here = position::inside;
    item.run();
    lock_.lock();
    if (forks != forks_) ++threads_;  // the function forked, and this is the child: its one thread is ours
    if (std::exchange(here, position::elsewhere) == position::inside) ++lookers_;
  }
  --threads_;
  lock_.unlock();
}

void executor::after_fork_in_child() noexcept {
  first_ = last_ = nullptr;
  threads_ = idle_ = lookers_ = summoned_ = 0;
  reserved_.store(false, std::memory_order_relaxed);
  ++forks_;
  lock_.unlock();
}

}  // namespace heed::inline v0
