// Merges and custom contexts: found by other ways than under their parent's lock, they get to no holds there
// (L3).
#include "counted.hpp"
#include "engine.hpp"
#include "kernels.hpp"

#include "../src/os.hpp"

#include <heed/heed.hpp>

#include <memory>
#include <optional>

namespace model {
namespace {

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;

// Its last handle goes while it is live, and a parent's walk finds it: try_hold() refuses.
void refused(bool by_first) {
  auto a = with_cancel(background());
  auto b = with_cancel(background());
  auto both = std::make_unique<cancelable>(heed::merge(a.ctx, b.ctx));
  both->cancel.release();
  spawn([&] { both.reset(); });
  spawn([&, c = (by_first ? a : b).cancel.share()] { c(); });
  join();
}
void refused_by_first() {
  refused(true);
}
void refused_by_second() {
  refused(false);
}

void refused_by_both() {
  auto a = with_cancel(background());
  auto b = with_cancel(background());
  auto both = std::make_unique<cancelable>(heed::merge(a.ctx, b.ctx));
  both->cancel.release();
  spawn([&] { both.reset(); });
  spawn([&, c = a.cancel.share()] { c(); });
  spawn([&, c = b.cancel.share()] { c(); });
  join();
}

// Its own cancel, and those of both parents.
void ended_three_times() {
  auto a = with_cancel(background());
  auto b = with_cancel(background());
  auto both = heed::merge(a.ctx, b.ctx);
  spawn([&, c = both.cancel.share()] {
    c("own");
    check(both.ctx.done(), "done");
  });
  spawn([&, c = a.cancel.share()] {
    c("a");
    check(both.ctx.done(), "I3 from a");
  });
  spawn([&, c = b.cancel.share()] {
    c("b");
    check(both.ctx.done(), "I3 from b");
  });
  join();
}

// A child of a merge, whose cancel meets those of both parents.
void child_of_a_merge() {
  auto a = with_cancel(background());
  auto b = with_cancel(background());
  auto both = heed::merge(a.ctx, b.ctx);
  auto child = std::make_unique<cancelable>(with_cancel(both.ctx));
  spawn([&] {
    child->cancel();
    child.reset();
  });
  spawn([&, c = a.cancel.share()] { c(); });
  spawn([&, c = b.cancel.share()] {
    c();
    check(both.ctx.done(), "I3");
  });
  join();
}

// M1 to M3: it is made while a parent far above is canceled, which has not got the mark yet.
void made_far_below() {
  auto top = with_cancel(background());
  auto a = with_cancel(top.ctx);
  auto b = with_cancel(background());
  std::optional<cancelable> both;
  spawn([&, c = top.cancel.share()] {
    c();
    check(a.ctx.done(), "I3");
  });
  spawn([&] { both.emplace(heed::merge(b.ctx, a.ctx)); });
  join();
  check(both->ctx.done(), "born done, or turned");
}

// Nobody can end either parent any more: the merge goes with the second who says so.
void parents_abandoned() {
  auto a = std::make_unique<cancelable>(with_cancel(background()));
  auto b = std::make_unique<cancelable>(with_cancel(background()));
  a->cancel.release();
  b->cancel.release();
  auto both = std::make_unique<cancelable>(heed::merge(a->ctx, b->ctx));
  both->cancel.release();
  spawn([&] { a.reset(); });
  spawn([&] { b.reset(); });
  spawn([&] { both.reset(); });
  join();
}

// It answers from both parents, and what it answers with stays, though nobody has them in hand any more.
constexpr heed::key<int> first_key{"first"};
constexpr heed::key<int> second_key{"second"};
constexpr heed::key<int> absent_key{"absent"};
void values_of_both() {
  auto top = with_cancel(background());
  auto a = std::make_unique<context>(heed::with_value(top.ctx, first_key, 1));
  auto b = std::make_unique<context>(heed::with_value(background(), second_key, 2));
  auto both = std::make_unique<cancelable>(heed::merge(*a, *b));
  spawn([&] { a.reset(); });
  spawn([&, c = top.cancel.share()] {
    b.reset();
    c();
  });
  spawn([&] {
    const context below = heed::with_value(both->ctx, absent_key, 3);
    both.reset();
    check(*below.value(first_key) == 1 && *below.value(second_key) == 2, "the values of both");
  });
  join();
}

// A foreign source, as custom.hpp wants it: who unsubscribes waits for a notification under way, unless
// inside it.
struct source {
  enum : std::uint32_t { idle, busy, over };
  heed::sync::atomic<std::uint32_t> state{idle};
  const void* runner = nullptr;
  class subscriber* told = nullptr;
  void fire();
};

class subscriber final : public heed::custom_context {
 public:
  subscriber(anchor a, source& s) : custom_context(a), of_(s) { s.told = this; }
  ~subscriber() override {
    std::uint32_t seen = source::idle;
    if (of_.state.compare_exchange_strong(seen, source::over, std::memory_order_acq_rel)) return;
    if (of_.runner == heed::os::this_thread()) return;
    while (of_.state.load(std::memory_order_acquire) == source::busy) heed::os::wait(of_.state, source::busy);
  }
  void end_it() { end(heed::errc::canceled, "foreign"); }

 private:
  source& of_;
};

void source::fire() {
  runner = heed::os::this_thread();
  std::uint32_t seen = idle;
  if (!state.compare_exchange_strong(seen, busy, std::memory_order_acq_rel)) return;
  told->end_it();
  state.store(over, std::memory_order_release);
  heed::os::wake_all(state);
}

void custom_ended_and_canceled() {
  source from;
  auto made = heed::with_custom<subscriber>(background(), from);
  auto child = with_cancel(made.ctx);
  spawn([&] { from.fire(); });
  spawn([&, c = made.cancel.share()] { c("own"); });
  join();
  check(made.ctx.done() && child.ctx.done(), "done");
  check(child.ctx.cause() == made.ctx.cause(), "one cause");
}

// end() comes while the last handle goes: it holds the context, or finds that nobody can see it any more.
void custom_ended_while_dropped() {
  source from;
  auto made = std::make_unique<heed::custom<subscriber>>(heed::with_custom<subscriber>(background(), from));
  made->cancel.release();
  spawn([&] { from.fire(); });
  spawn([&] { made.reset(); });
  join();
}

// The same where threads have met: whoever ends it has a pin, but no handle.
void custom_ended_while_crowded() {
  source from;
  auto made = std::make_unique<heed::custom<subscriber>>(heed::with_custom<subscriber>(background(), from));
  made->cancel.release();
  meet_at_holds(made->ctx);
  spawn([&] { from.fire(); });
  spawn([&] { made.reset(); });
  join();
}

// The same for the walk of its parent, and for both.
void custom_turned_while_dropped() {
  source from;
  auto top = with_cancel(background());
  auto made = std::make_unique<heed::custom<subscriber>>(heed::with_custom<subscriber>(top.ctx, from));
  made->cancel.release();
  spawn([&, c = top.cancel.share()] { c(); });
  spawn([&] { made.reset(); });
  join();
}

void custom_ended_and_turned() {
  source from;
  auto top = with_cancel(background());
  auto made = std::make_unique<heed::custom<subscriber>>(heed::with_custom<subscriber>(top.ctx, from));
  made->cancel.release();
  spawn([&, c = top.cancel.share()] { c(); });
  spawn([&] { from.fire(); });
  spawn([&] { made.reset(); });
  join();
}

}  // namespace

std::vector<kernel> merge_kernels() {
  return {
      {"merge.refused_by_first", refused_by_first},
      {"merge.refused_by_second", refused_by_second},
      {"merge.refused_by_both", refused_by_both},
      {"merge.ended_three_times", ended_three_times},
      {"merge.child", child_of_a_merge},
      {"merge.made_far_below", made_far_below},
      {"merge.abandoned", parents_abandoned},
      {"merge.values", values_of_both},
      {"custom.ended_and_canceled", custom_ended_and_canceled},
      {"custom.ended_while_dropped", custom_ended_while_dropped},
      {"custom.ended_while_crowded", custom_ended_while_crowded},
      {"custom.turned_while_dropped", custom_turned_while_dropped},
      {"custom.ended_and_turned", custom_ended_and_turned},
  };
}

}  // namespace model
