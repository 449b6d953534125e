// Time driven by hand: deadlines and after_funcs without threads, repeatable to the instruction.
#pragma once

#include <heed/scheduler.hpp>

#include <memory>

namespace heed::inline v0 {

/// A scheduler whose clock moves only when told to: for tests and simulation.
///
///     heed::manual_scheduler time;
///     auto [ctx, cancel] = heed::with_timeout(heed::background(time), 5s);
///     time.advance(5s);   // ctx.err() == heed::errc::deadline_exceeded, here and now
///
/// Thread-safety: every member may be called by any thread; one that wants a repeatable run uses one thread.
/// Two threads in advance() at once take turns, deadline by deadline. Derive from it to see, or count, what
/// is asked of a scheduler.
class HEED_API manual_scheduler : public scheduler {
 public:
  /// Starts at `start`. May throw `std::bad_alloc`.
  explicit manual_scheduler(time_point start = time_point(std::chrono::hours(1)));
  /// Destroys posted work unrun. Aborts with a message when a deadline is still armed.
  ~manual_scheduler() override;

  time_point now() const noexcept override;
  /// Moves the clock by `d` (negative: not at all) and fires what is due, in the order of the deadlines and
  /// for equal ones in the order of their making, on this thread, callbacks included; now() is each deadline
  /// in turn. Also fires deadlines that the callbacks add, if they are due. Saturates.
  void advance(duration d);
  /// As advance(), to a point in time; one in the past fires what is overdue and moves nothing.
  void advance_to(time_point t);
  /// Runs posted work (after_funcs), in the order of its posting, on this thread, until none is left,
  /// including what that work posts; returns how many ran.
  std::size_t run_pending();

  void arm(timer& t, time_point when) override;
  void disarm(timer& t) noexcept override;
  void post(work& w) noexcept override;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace heed::inline v0
