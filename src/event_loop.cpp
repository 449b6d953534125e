// The waits in event loops that are not ours: who gets one, and how a loop's end waits for those who post to
// it.
#include "annotations.hpp"
#include "sync.hpp"

#include <heed/event_loop.hpp>

#include <new>
#include <utility>

namespace heed::inline v0 {

struct loop_waits::state {
  futex_lock lock;  // guards all below but the futex's own waiting, and the links of each wait
  loop_wait* first HEED_GUARDED_BY(lock) = nullptr;
  bool closed HEED_GUARDED_BY(lock) = false;
  // How many are handing a wait to the loop. Changed under the lock; futex compares it.
  sync::atomic<std::uint32_t> busy{0};
};

loop_wait::~loop_wait() = default;

loop_waits::loop_waits() : state_(std::make_unique<state>()) {}
loop_waits::~loop_waits() = default;

// Off the list, the lock being held; null: it is on it no more. Unchecked: where it is declared nobody sees
// the lock.
std::shared_ptr<loop_wait> loop_waits::take(loop_wait& w) noexcept HEED_UNCHECKED {
  if (!w.self_) return nullptr;
  (w.prev_ ? w.prev_->next_ : state_->first) = w.next_;
  if (w.next_) w.next_->prev_ = w.prev_;
  return std::move(w.self_);
}

void loop_waits::start(const std::shared_ptr<loop_wait>& w, const std::shared_ptr<loop_waits>& self,
                       const context& ctx, scheduler* on) {
  bool closed = false;
  {
    const locked guard(state_->lock);
    closed = state_->closed;
    if (!closed) {
      w->self_ = w;
      w->next_ = state_->first;
      w->prev_ = nullptr;
      if (w->next_) w->next_->prev_ = w.get();
      state_->first = w.get();
    }
  }
  if (closed) return w->destroy();
  // The function holds the context: nothing gives it up before it has run or was stopped, which one of
  // finish() and close() sees to.
  const auto f = [w, self, ctx] { self->finish(*w, ctx.err()); };
  stop_func stop;
  const auto enlist = [&] { stop = on ? after_func(ctx, f, *on) : after_func(ctx, f); };
#if defined(__cpp_exceptions)
  // The coroutine is suspended already: it is told by the result.
  try {
    enlist();
  } catch (const std::system_error& e) {
    return finish(*w, e.code());
  } catch (const std::bad_alloc&) {
    return finish(*w, std::make_error_code(std::errc::not_enough_memory));
  }
#else
  enlist();
#endif
  {
    const locked guard(state_->lock);
    if (w->self_) {
      w->stop_ = std::move(stop);
      return;
    }
  }
  stop();  // finished or closed meanwhile, by somebody who could not stop it
}

void loop_waits::finish(loop_wait& w, std::error_code result) noexcept {
  std::shared_ptr<loop_wait> mine;
  stop_func stop;
  {
    const locked guard(state_->lock);
    mine = take(w);
    if (!mine) return;
    stop = std::move(mine->stop_);
    // relaxed: the lock orders it.
    state_->busy.fetch_add(1, std::memory_order_relaxed);
  }
  stop();
  mine->resume(result);
  bool last = false;
  {
    const locked guard(state_->lock);
    last = state_->busy.fetch_sub(1, std::memory_order_relaxed) == 1 && state_->closed;
  }
  if (last) os::wake_all(state_->busy);
}

void loop_waits::close() noexcept {
  for (;;) {
    std::shared_ptr<loop_wait> mine;
    stop_func stop;
    {
      const locked guard(state_->lock);
      state_->closed = true;
      if (!state_->first) break;
      mine = take(*state_->first);
      stop = std::move(mine->stop_);
    }
    stop();
    mine->destroy();
  }
  for (;;) {
    std::uint32_t busy = 0;
    {
      // The lock orders what they did before it came to 0.
      const locked guard(state_->lock);
      busy = state_->busy.load(std::memory_order_relaxed);
    }
    if (busy == 0) return;
    os::wait(state_->busy, busy);
  }
}

}  // namespace heed::inline v0
