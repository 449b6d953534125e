// Task groups: who may start when, who hands over to whom, and when nobody touches the group any more.
#include <heed/group.hpp>

#include "annotations.hpp"
#include "default_scheduler.hpp"
#include "tree.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace heed::inline v0 {
namespace {

// The groups whose tasks this thread is running just now: more than one where a task drives a scheduler.
struct frame {
  const group_state* of;
  const frame* below;
};
thread_local constinit const frame* running = nullptr;

}  // namespace

// A place within the limit belongs to a task from its start to its end, or to a try_go() that is making its
// task. Who gives one up hands it to the task that waits longest, if there is one. So (with the lock free):
//   G1  Nothing waits, or all places are taken.
//   G2  Who brings `unfinished_` to 0 does so in its last use of the group, but for the address of the bell.
// On the default scheduler a thread that ends a task runs the next one itself; only where nothing waits does
// it give up the place, and it tells the executor before, so that who gets the place next finds this thread
// and starts none.
class group_state {
 public:
  group_state(const context& parent, scheduler& on, std::source_location where)
      : own_(with_cancel(parent, where)), made_(where), on_(on),
        on_default_(&on == &heed::default_scheduler()) {
    scheduler_use::add(on_);
  }
  group_state(const group_state&) = delete;
  group_state& operator=(const group_state&) = delete;
  ~group_state() { scheduler_use::remove(on_); }

  const context& ctx() const noexcept { return own_.ctx; }
  bool inside() const noexcept {
    for (const frame* f = running; f; f = f->below) {
      if (f->of == this) return true;
    }
    return false;
  }
  void cancel(error why, std::source_location where) const noexcept { own_.cancel(std::move(why), where); }
  void cancel_where_made() const noexcept { own_.cancel({}, made_); }

  void start(group_task& t) {
    on_.reserve();  // may throw: before anything has changed (I11)
    t.group_ = this;
    sync::atomic<std::uint32_t> started{0};
    bool at_once = false;
    {
      const locked guard(lock_);
      ++unfinished_;
      if (active_ < limit()) {
        ++active_;
        at_once = true;
      } else {
        // A task that waits here for a place may hold the very place, or be the thread that would make room.
        const bool wait = on_default_ && !inside();
        t.caller_ = wait ? &started : nullptr;
        t.next = nullptr;
        (last_ ? last_->next : first_) = &t;
        last_ = &t;
        if (!wait) return;
      }
    }
    if (at_once) return on_.post(t);
    // acquire: pairs with tell_caller().
    while (started.load(std::memory_order_acquire) == 0) os::wait_until(started, 0, patience());
  }

  bool enter() {
    {
      const locked guard(lock_);
      if (active_ >= limit()) return false;
      ++active_;
      ++unfinished_;
    }
    struct undo {
      group_state* g;
      ~undo() {
        if (g) g->leave();
      }
    } failed{this};
    on_.reserve();  // may throw
    failed.g = nullptr;
    return true;
  }
  void post(group_task& t) noexcept {
    t.group_ = this;
    on_.post(t);
  }
  void unreserve() noexcept { on_.unreserve(); }
  // Gives up a place in which no task ran; the caller goes on using the group.
  void leave() noexcept {
    links* next = nullptr;
    bool wake = false;
    {
      const locked guard(lock_);
      --active_;
      next = admit();
      wake = one_less();
    }
    if (wake) os::wake_all(bell_);
    post_all(next);
  }

  void set_limit(std::size_t n) noexcept {
    links* next = nullptr;
    {
      const locked guard(lock_);
      limit_ = n;
      next = admit();
    }
    post_all(next);
  }
  // For the end: what waits must have its turn, even if a task sets the limit to 0 now.
  void lift_limit_of_zero() noexcept {
    links* next = nullptr;
    {
      const locked guard(lock_);
      least_ = 1;
      next = admit();
    }
    post_all(next);
  }

  // Until nothing is unfinished, or was so for a moment.
  void join() noexcept {
    lock_.lock();
    // relaxed: the lock orders it; futex compares it.
    for (const std::uint32_t seen = bell_.load(std::memory_order_relaxed);
         unfinished_ != 0 && bell_.load(std::memory_order_relaxed) == seen;) {
      ++asleep_;
      lock_.unlock();
      os::wait_until(bell_, seen, patience());
      lock_.lock();
      --asleep_;
    }
    lock_.unlock();
  }
  error first() noexcept {
    const locked guard(lock_);
    return error_;
  }

  // Runs, or drops, a task that the scheduler hands over.
  static void turn(group_task& t, bool run) noexcept;

 private:
  // The first failure stays, and is the cause.
  void fail(error e, std::source_location where) noexcept {
    {
      const locked guard(lock_);
      if (error_) return;
      error_ = e;
    }
    cancel(std::move(e), where);
  }
  // The task is over: the next one for this thread to run, or null. The group may be gone then.
  group_task* finish() noexcept;

  // How long to sleep: for good, but where no thread can be had for what is queued (X3). This may be the only
  // one.
  time_point patience() const noexcept {
    if (!on_default_ || !default_scheduler_threads().starving()) return time_point::max();
    return saturating_add(os::now(), std::chrono::milliseconds(20));
  }

  // With the lock held.
  std::size_t limit() const noexcept HEED_REQUIRES(lock_) { return std::max(limit_, least_); }
  // Takes off the queue what waits longest.
  group_task& pop() noexcept HEED_REQUIRES(lock_);
  // Takes places for what waits, as many as there are; linked by next.
  links* admit() noexcept HEED_REQUIRES(lock_);
  // One unfinished less. True: wake who sleeps on the bell, once the lock is free.
  bool one_less() noexcept HEED_REQUIRES(lock_);

  void post_all(links* tasks) noexcept;
  static void tell_caller(group_task& t) noexcept;

  const cancelable own_;
  const std::source_location made_;
  scheduler& on_;
  const bool on_default_;

  futex_lock lock_;  // guards all below
  std::size_t limit_ HEED_GUARDED_BY(lock_) = std::numeric_limits<std::size_t>::max();
  std::size_t least_ HEED_GUARDED_BY(lock_) = 0;       // what the limit counts as, at least
  std::size_t active_ HEED_GUARDED_BY(lock_) = 0;      // places that are taken
  std::size_t unfinished_ HEED_GUARDED_BY(lock_) = 0;  // those, and what waits
  std::size_t asleep_ HEED_GUARDED_BY(lock_) = 0;      // in join()
  links* first_ HEED_GUARDED_BY(lock_) = nullptr;      // what waits, in order
  links* last_ HEED_GUARDED_BY(lock_) = nullptr;
  error error_ HEED_GUARDED_BY(lock_);
  sync::atomic<std::uint32_t> bell_{0};  // a futex: changes when unfinished_ comes to 0
};

group_task& group_state::pop() noexcept {
  auto& t = static_cast<group_task&>(*first_);
  first_ = t.next;
  if (!first_) last_ = nullptr;
  return t;
}

links* group_state::admit() noexcept {
  links* first = nullptr;
  links** last = &first;
  for (; first_ && active_ < limit(); ++active_) {
    group_task& t = pop();
    t.next = nullptr;
    *last = &t;
    last = &t.next;
  }
  return first;
}

bool group_state::one_less() noexcept {
  if (--unfinished_ != 0) return false;
  bell_.fetch_add(1, std::memory_order_relaxed);  // the lock orders it; futex compares it
  return asleep_ != 0;
}

// Before the task can end: its caller's word is on the stack of a go() that returns as soon as it is set.
void group_state::tell_caller(group_task& t) noexcept {
  sync::atomic<std::uint32_t>* caller = std::exchange(t.caller_, nullptr);
  if (!caller) return;
  // release: go() returns after all that led to this. Only the address is used after the store.
  caller->store(1, std::memory_order_release);
  os::wake_one(*caller);
}

void group_state::post_all(links* tasks) noexcept {
  while (tasks) {
    auto& t = static_cast<group_task&>(*std::exchange(tasks, tasks->next));
    tell_caller(t);
    on_.post(t);
  }
}

group_task* group_state::finish() noexcept {
  const bool on_default = on_default_;
  scheduler& on = on_;
  const sync::atomic<std::uint32_t>& bell = bell_;
  group_task* next = nullptr;
  bool wake = false;
  {
    const locked guard(lock_);
    if (first_ && active_ <= limit()) {
      next = &pop();
    } else {
      // Before the place is free: who takes it will post, and must find us. From here on nothing foreign
      // runs.
      if (on_default) default_scheduler_threads().returning();
      --active_;
    }
    wake = one_less();
  }
  if (wake) os::wake_all(bell);  // G2
  if (!next) return nullptr;
  tell_caller(*next);
  if (on_default) return next;
  on.post(*next);
  return nullptr;
}

void group_state::turn(group_task& task, bool run) noexcept {
  group_state& g = *task.group_;
  const frame here{&g, running};
  running = &here;
  for (group_task* t = &task; t;) {
    // What is dropped did not do its work: that is no success.
    error e = std::exchange(run, true) ? t->handler_(*t, &g.ctx()) : error(errc::canceled);
    if (e) g.fail(std::exchange(e, {}), t->place_);
    t->free();
    g.on_.unreserve();
    t = g.finish();
  }
  running = here.below;
}

bool group_task::on_step(work& w, step s) noexcept {
  group_state::turn(static_cast<group_task&>(w), s == step::run);
  return true;
}

error group_task::caught() noexcept {
#if defined(__cpp_exceptions)
  try {
    return std::current_exception();
  } catch (...) {  // no memory for it: it still is a failure
    return errc::canceled;
  }
#else
  return std::current_exception();
#endif
}

group::group(const context& parent, std::source_location where)
    : group(parent, scheduler_of(tree::of(parent)), where) {}

group::group(const context& parent, scheduler& on, std::source_location where)
    : state_(std::make_unique<group_state>(parent, on, where)), ctx_(state_->ctx()) {}

group::~group() {
  if (state_->inside()) abort_with("heed: a group is destroyed by one of its own tasks");
  state_->cancel_where_made();
  state_->lift_limit_of_zero();
  state_->join();
}

void group::set_limit(std::size_t n) noexcept {
  state_->set_limit(n);
}

void group::start(group_task& task) {
  struct undo {
    group_task* t;
    ~undo() {
      if (t) t->free();
    }
  } failed{&task};
  state_->start(task);
  failed.t = nullptr;
}

bool group::enter() {
  return state_->enter();
}

void group::post(group_task& task) noexcept {
  state_->post(task);
}

void group::leave() noexcept {
  state_->unreserve();
  state_->leave();
}

error group::wait(std::source_location where) {
  if (state_->inside()) misuse("heed: group::wait() inside a task of the same group would wait for itself");
  state_->join();
  error first = state_->first();
  state_->cancel(first, where);
  return first;
}

void group::refuse_null(bool null) {
  if (null) misuse("heed: a group's task is a null pointer");
}

}  // namespace heed::inline v0
