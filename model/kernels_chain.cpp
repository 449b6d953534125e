// Contexts in a line, of which the top ends: the way down that pins nothing (L7), while the line is dropped,
// hung on, or ended elsewhere.
#include "engine.hpp"
#include "kernels.hpp"
#include "os_model.hpp"

#include <heed/heed.hpp>
#include <heed/manual_scheduler.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace model {
namespace {

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;
using namespace std::chrono_literals;
using made = std::unique_ptr<cancelable>;

made make(const context& parent) {
  return std::make_unique<cancelable>(with_cancel(parent));
}

// The top, which ends, and three below it.
struct line {
  explicit line(const context& root = background()) : top(with_cancel(root)) {}
  cancelable top;
  made upper = make(top.ctx);
  made middle = make(upper->ctx);
  made lower = make(middle->ctx);

  // By another thread, which sees that all below is done that is kept.
  void end() {
    spawn([this, c = top.cancel.share()] {
      check(c(), "nobody else ends it");
      check(!kept || kept->done(), "I3");
    });
  }
  // The contexts between are kept by what is below only.
  void keep_the_ends() {
    upper.reset();
    middle.reset();
  }
  const context* kept = nullptr;
};

// Their owners drop them meanwhile: all, from above or below; or as soon as they are seen to be done.
enum class drop_from { above, below, apart, done };
void dropped(drop_from where) {
  line l;
  l.end();
  switch (where) {
    case drop_from::above:
      spawn([&] {
        l.upper.reset();
        l.middle.reset();
        l.lower.reset();
      });
      break;
    case drop_from::below:
      spawn([&] {
        l.lower.reset();
        l.middle.reset();
        l.upper.reset();
      });
      break;
    case drop_from::apart:
      spawn([&] { l.upper.reset(); });
      spawn([&] { l.middle.reset(); });
      spawn([&] { l.lower.reset(); });
      break;
    case drop_from::done:
      spawn([&] {
        if (l.middle->ctx.done()) l.middle.reset();
        if (l.upper->ctx.done()) l.upper.reset();
      });
      spawn([&] {
        if (l.lower->ctx.done()) l.lower.reset();
      });
      break;
  }
  join();
}

// Their handles have gone before, without a cancel; then the lowest goes, by whose end those above go.
void lowest_goes() {
  line l;
  for (made* m : {&l.upper, &l.middle, &l.lower}) (*m)->cancel.release();
  l.keep_the_ends();
  l.end();
  spawn([&] { l.lower.reset(); });
  join();
}
// The handles between go while it is walked.
void kept_by_the_lowest() {
  line l;
  for (made* m : {&l.upper, &l.middle, &l.lower}) (*m)->cancel.release();
  l.kept = &l.lower->ctx;
  l.end();
  spawn([&] { l.keep_the_ends(); });
  join();
}

// One of them is ended by its own cancel meanwhile.
void middle_ends() {
  line l;
  l.kept = &l.lower->ctx;
  l.end();
  spawn([&] {
    if (l.middle->cancel()) check(l.lower->ctx.done(), "I3");
  });
  join();
}
void upper_and_lower_end() {
  line l;
  l.kept = &l.middle->ctx;
  l.end();
  spawn([&] {
    if (l.upper->cancel()) check(l.middle->ctx.done() && l.lower->ctx.done(), "I3");
  });
  spawn([&] { l.lower->cancel(); });
  join();
}

// Something comes to hang on one: which has a child already, or nothing yet.
void hung_on(bool lowest) {
  line l;
  l.kept = &l.lower->ctx;
  std::optional<cancelable> fresh;
  l.end();
  spawn([&] { fresh.emplace(with_cancel(lowest ? l.lower->ctx : l.middle->ctx)); });
  join();
  check(fresh->ctx.done(), "I3");
}
// Two at once, who split it.
void split_meanwhile() {
  line l;
  l.kept = &l.lower->ctx;
  std::optional<cancelable> one, two;
  l.end();
  spawn([&] { one.emplace(with_cancel(l.middle->ctx)); });
  spawn([&] { two.emplace(with_cancel(l.middle->ctx)); });
  join();
  check(one->ctx.done() && two->ctx.done(), "I3");
}
// A callback, which comes and goes, or is there; and its context is dropped as soon as it is done.
void called_back(bool there) {
  line l;
  int calls = 0;
  std::optional<heed::cancel_callback<std::function<void()>>> told;
  if (there) told.emplace(l.middle->ctx, [&] { ++calls; });
  l.end();
  spawn([&] {
    if (!there) told.emplace(l.middle->ctx, [&] { ++calls; });
    if (l.middle->ctx.done()) l.middle.reset();
    told.reset();
  });
  spawn([&] {
    if (l.lower->ctx.done()) l.lower.reset();
  });
  join();
  check(calls <= 1, "once");
}
// A function on the lowest, whose handles go while it is ended: it is posted, or destroyed unrun, and nothing
// is left.
void function_on(bool lowest) {
  heed::manual_scheduler time;
  bool ended = false;
  {
    line l(background(time));
    heed::after_func(lowest ? l.lower->ctx : l.middle->ctx,
                     [guard = std::shared_ptr<void>(nullptr, [&](void*) { ended = true; })] {});
    l.end();
    spawn([&] {
      l.lower.reset();
      l.middle.reset();
    });
    spawn([&] { l.upper.reset(); });
    join();
    time.run_pending();
  }
  check(ended, "posted, or destroyed unrun");
}

// Somebody waits for one; one has a descriptor.
void waited_for() {
  line l;
  l.end();
  spawn([&] { l.middle->ctx.wait(); });
  spawn([&] { static_cast<void>(l.lower->ctx.done_fd()); });
  join();
}

// Below a value, which holds what is above: not on the quick way.
void value_between() {
  constexpr static heed::key<int> number{"number"};
  auto top = with_cancel(background());
  auto upper = make(top.ctx);
  auto lower = make(heed::with_value(upper->ctx, number, 1));
  auto lowest = make(lower->ctx);
  spawn([&, c = top.cancel.share()] { c(); });
  spawn([&] {
    upper.reset();
    lower.reset();
  });
  spawn([&] { lowest.reset(); });
  join();
}

// Values on one, which hold it, go at the same time as what hangs there.
void held_by_values() {
  constexpr static heed::key<int> number{"number"};
  line l;
  context one = heed::with_value(l.middle->ctx, number, 1);
  context two = heed::with_value(l.middle->ctx, number, 2);
  l.middle.reset();
  spawn([&, c = l.top.cancel.share()] { c(); });
  spawn([&] { one = {}; });
  spawn([&] { two = {}; });
  spawn([&] { l.lower.reset(); });
  join();
}

// L8: its last handle goes while its parent ends it, and something else than a child with a plain word hangs
// there.
enum class hangs_there { callback, deadline, below_value };
void last_handle_goes(hangs_there what) {
  constexpr static heed::key<int> number{"number"};
  heed::manual_scheduler time;
  {
    line l(background(time));
    l.middle->cancel.release();
    l.lower.reset();
    std::optional<heed::cancel_callback<std::function<void()>>> told;
    context value;
    int calls = 0;
    if (what == hangs_there::callback) told.emplace(l.middle->ctx, [&] { ++calls; });
    if (what == hangs_there::deadline)
      l.lower = std::make_unique<cancelable>(heed::with_timeout(l.middle->ctx, 1s));
    if (what == hangs_there::below_value) {
      value = heed::with_value(l.middle->ctx, number, 1);
      l.lower = make(value);
    }
    l.end();
    spawn([&] { l.middle.reset(); });
    spawn([&] {
      told.reset();
      value = {};
      if (what == hangs_there::deadline) time.advance(2s);
      l.lower.reset();
    });
    join();
    check(calls <= 1, "once");
    time.run_pending();
  }
}

// A deadline below another one, or below a value there, made while what is above both ends.
void deadline_made_below(bool value) {
  constexpr static heed::key<int> number{"number"};
  fresh_process();
  auto top = with_cancel(background());
  auto timed = heed::with_timeout(top.ctx, 2s);
  const context parent = value ? heed::with_value(timed.ctx, number, 1) : timed.ctx;
  std::optional<cancelable> fresh;
  spawn([&] { fresh.emplace(heed::with_timeout(parent, 1s)); });
  spawn([&] {
    top.cancel();
    check(timed.ctx.done(), "I3");
  });
  join();
  check(fresh->ctx.err() == heed::errc::canceled, "I3");
}

// Done, with both handles in one hand, while the last hold of what was below it goes.
void left_done() {
  line l;
  l.top.cancel();
  spawn([&] { l.upper.reset(); });
  spawn([&] { l.middle.reset(); });
  spawn([&] { l.lower.reset(); });
  join();
}

}  // namespace

std::vector<kernel> chain_kernels() {
  return {
      {"chain.dropped_from_above", [] { dropped(drop_from::above); }},
      {"chain.dropped_from_below", [] { dropped(drop_from::below); }},
      {"chain.dropped_apart", [] { dropped(drop_from::apart); }},
      {"chain.dropped_when_done", [] { dropped(drop_from::done); }},
      {"chain.lowest_goes", lowest_goes},
      {"chain.kept_by_the_lowest", kept_by_the_lowest},
      {"chain.middle_ends", middle_ends},
      {"chain.upper_and_lower_end", upper_and_lower_end},
      {"chain.hung_on_the_middle", [] { hung_on(false); }},
      {"chain.hung_on_the_lowest", [] { hung_on(true); }},
      {"chain.split_meanwhile", split_meanwhile},
      {"chain.called_back", [] { called_back(true); }},
      {"chain.callback_comes", [] { called_back(false); }},
      {"chain.function_on_the_middle", [] { function_on(false); }},
      {"chain.function_on_the_lowest", [] { function_on(true); }},
      {"chain.waited_for", waited_for},
      {"chain.value_between", value_between},
      {"chain.held_by_values", held_by_values},
      {"chain.last_handle_goes_callback", [] { last_handle_goes(hangs_there::callback); }},
      {"chain.last_handle_goes_deadline", [] { last_handle_goes(hangs_there::deadline); }},
      {"chain.last_handle_goes_below_value", [] { last_handle_goes(hangs_there::below_value); }},
      {"chain.deadline_made_below_deadline", [] { deadline_made_below(false); }},
      {"chain.deadline_made_below_value", [] { deadline_made_below(true); }},
      {"chain.left_done", left_done},
  };
}

}  // namespace model
