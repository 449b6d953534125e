// Callbacks and functions: registered, fired, stopped and destroyed at once.
#include "engine.hpp"
#include "kernels.hpp"

#include <heed/heed.hpp>
#include <heed/manual_scheduler.hpp>

#include <functional>
#include <memory>
#include <optional>

namespace model {
namespace {

constexpr heed::key<int> in_front{"in_front"};

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;
using callback = heed::cancel_callback<std::function<void()>>;

// I6: exactly once, by the canceler or at registration.
void registered_while_cancel() {
  auto [ctx, cancel] = with_cancel(background());
  heed::sync::atomic<int> runs{0};
  std::optional<callback> registered;
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { registered.emplace(ctx, [&] { runs.fetch_add(1, std::memory_order_relaxed); }); });
  join();
  check(runs.load(std::memory_order_relaxed) == 1, "it ran once");
}

// I6: not after its end, and what it wrote is visible then.
void destroyed_while_cancel() {
  auto [ctx, cancel] = with_cancel(background());
  auto written = std::make_unique<int>(0);
  auto registered = std::make_unique<callback>(ctx, [&] { *written = 1; });
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] {
    registered.reset();
    const int seen = *written;  // a race, if it still ran
    written.reset();
    check(seen == 0 || seen == 1, "what it wrote");
  });
  join();
}

void two_destroyed_while_cancel() {
  auto [ctx, cancel] = with_cancel(background());
  auto state = std::make_unique<int>(0);
  auto one = std::make_unique<callback>(ctx, [&] { ++*state; });
  auto two = std::make_unique<callback>(ctx, [] {});
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] {
    one.reset();
    state.reset();
  });
  spawn([&] { two.reset(); });
  join();
}

// Destroys itself, and then the other one, from inside.
void destroys_itself() {
  auto [ctx, cancel] = with_cancel(background());
  std::unique_ptr<callback> own, other;
  own = std::make_unique<callback>(ctx, [&] {
    auto& next = other;  // what is captured goes with it
    own.reset();
    next.reset();
  });
  other = std::make_unique<callback>(ctx, [] {});
  auto another = std::make_unique<callback>(ctx, [] {});
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { another.reset(); });
  join();
  check(!own && !other, "both are gone");
}

// Lets go of the last handle from inside.
void destroys_the_context() {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  auto below = std::make_unique<cancelable>(with_cancel(made->ctx));
  const auto end = made->cancel.share();
  std::optional<callback> registered;
  registered.emplace(below->ctx, [&] {
    check(below->ctx.done(), "done inside");
    made.reset();
    below.reset();
  });
  spawn([&] { end(); });
  spawn([&] { end(); });
  join();
  check(!made && !below, "both are gone");
}

// I3, I5: callbacks find all below done, and may make contexts.
void acts_from_inside() {
  auto [ctx, cancel] = with_cancel(background());
  auto child = with_cancel(ctx);
  heed::sync::atomic<int> runs{0};
  callback registered(ctx, [&, c = cancel.share()] {
    check(child.ctx.done(), "what is below is done");
    check(!c(), "decided already");
    check(with_cancel(ctx).ctx.done(), "born done");
    callback another(ctx, [&] { runs.fetch_add(1, std::memory_order_relaxed); });
    ctx.wait();
  });
  spawn([&, c = cancel.share()] { c(); });
  spawn([&, c = child.cancel.share()] { c(); });
  join();
  check(runs.load(std::memory_order_relaxed) == 1, "the inner one ran once");
}

void callbacks_meet() {
  auto [ctx, cancel] = with_cancel(background());
  for (int i = 0; i < 2; ++i) {
    spawn([&] { const callback registered(ctx, [] {}); });
  }
  spawn([&, c = cancel.share()] { c(); });
  join();
}

// stop() against firing: one of them.
void stopped_while_cancel() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    int runs = 0;
    bool stopped = false;
    const auto stop = heed::after_func(ctx, [&] { ++runs; });
    spawn([&, c = cancel.share()] { c(); });
    spawn([&] { stopped = stop(); });
    join();
    time.run_pending();
    check(runs == (stopped ? 0 : 1), "it ran, or was stopped");
    check(!stop(), "decided already");
  }
}

void stopped_twice() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    heed::sync::atomic<int> stops{0};
    auto captured = std::make_shared<int>(1);
    auto stop = heed::after_func(ctx, [captured] {});
    captured.reset();
    for (int i = 0; i < 2; ++i) {
      spawn([&, s = stop] {
        if (s()) stops.fetch_add(1, std::memory_order_relaxed);
      });
    }
    stop = {};
    spawn([&, c = cancel.share()] { c(); });
    join();
    check(static_cast<int>(time.run_pending()) + stops.load(std::memory_order_relaxed) == 1,
          "once, or stopped once");
  }
}

// Nobody can end the context any more: the function goes unrun.
void abandoned_while_stopped() {
  heed::manual_scheduler time;
  {
    auto made = std::make_unique<cancelable>(with_cancel(background(time)));
    made->cancel.release();
    auto captured = std::make_shared<int>(1);
    auto stop = heed::after_func(made->ctx, [captured] {});
    captured.reset();
    heed::context other = made->ctx;
    spawn([&] { made.reset(); });
    spawn([o = std::move(other)]() mutable { o = heed::context(); });
    spawn([&] { stop(); });
    join();
    check(time.run_pending() == 0, "it never ran");
  }
}

// As above, two levels further down: what is between has no handles any more. A merge does not find out by
// itself (L9).
template <bool is_merge>
void abandoned_far_below() {
  heed::manual_scheduler time;
  {
    auto parent = std::make_unique<cancelable>(with_cancel(background(time)));
    parent->cancel.release();
    auto child = std::make_unique<cancelable>(is_merge ? heed::merge(parent->ctx, background())
                                                       : with_cancel(parent->ctx));
    child->cancel.release();
    auto below = std::make_unique<cancelable>(with_cancel(child->ctx));
    below->cancel.release();
    heed::after_func(below->ctx, [] { check(false, "nobody has ended it"); });
    child.reset();
    spawn([&] { parent.reset(); });
    spawn([&] { below.reset(); });
    join();
    time.run_pending();
  }
}

context below(const context& parent, bool by_value) {
  return by_value ? heed::with_value(parent, in_front, 0) : parent;
}

// The last handle of a context goes on the thread that has just hung a function on it, while its parent is
// abandoned: who of the two abandons it has to find that function. By way of the context itself, or of a
// value in front of it. And right below the parent, so that it finds out by itself (L9), or below a value.
template <bool by_value, bool below_value = false>
void abandoned_while_hung() {
  heed::manual_scheduler time;
  bool ended = false;
  {
    auto parent = std::make_unique<cancelable>(with_cancel(background(time)));
    parent->cancel.release();
    context mine;
    {
      auto child = with_cancel(below(parent->ctx, below_value));
      child.cancel.release();
      mine = by_value ? heed::with_value(child.ctx, in_front, 1) : child.ctx;
    }
    spawn([&] { parent.reset(); });
    spawn([&] {
      heed::after_func(mine, [guard = std::shared_ptr<void>(nullptr, [&](void*) { ended = true; })] {
        check(!guard, "nobody has ended it");
      });
      mine = context();
    });
    join();
    time.run_pending();
  }
  check(ended, "a function that nobody can call any more is destroyed");
}

// One of two children is given up while its parent is abandoned: its link is what says where it hangs, and
// afterwards belongs to who abandons it.
template <bool by_value, bool below_value = false>
void abandoned_in_a_chunk() {
  heed::manual_scheduler time;
  {
    auto parent = std::make_unique<cancelable>(with_cancel(background(time)));
    parent->cancel.release();
    context mine;
    const auto other = std::make_unique<cancelable>(with_cancel(parent->ctx));
    {
      auto child = with_cancel(below(parent->ctx, below_value));
      child.cancel.release();
      heed::after_func(child.ctx, [] { check(false, "nobody has ended it"); });
      mine = by_value ? heed::with_value(child.ctx, in_front, 1) : child.ctx;
    }
    spawn([&] { parent.reset(); });
    spawn([&] { mine = context(); });
    join();
    time.run_pending();
  }
}

void function_below_abandoned() {
  heed::manual_scheduler time;
  {
    auto parent = std::make_unique<cancelable>(with_cancel(background(time)));
    auto child = std::make_unique<cancelable>(with_cancel(parent->ctx));
    const auto end = parent->cancel.share();
    child->cancel.release();
    int runs = 0;
    heed::after_func(child->ctx, [&] { ++runs; });
    spawn([&] { child.reset(); });
    spawn([&] {
      end();
      parent.reset();
    });
    join();
    time.run_pending();
    check(runs == 1, "the parent has ended it");
  }
}

}  // namespace

std::vector<kernel> callback_kernels() {
  return {
      {"callback.registered", registered_while_cancel},
      {"callback.destroyed", destroyed_while_cancel},
      {"callback.two_destroyed", two_destroyed_while_cancel},
      {"callback.destroys_itself", destroys_itself},
      {"callback.destroys_the_context", destroys_the_context},
      {"callback.acts_from_inside", acts_from_inside},
      {"callback.threads_meet", callbacks_meet},
      {"function.stopped", stopped_while_cancel},
      {"function.stopped_twice", stopped_twice},
      {"function.abandoned", abandoned_while_stopped},
      {"function.abandoned_far_below", abandoned_far_below<false>},
      {"function.abandoned_far_below_merge", abandoned_far_below<true>},
      {"function.hung_abandoned", abandoned_while_hung<false>},
      {"function.hung_abandoned_by_value", abandoned_while_hung<true>},
      {"function.hung_abandoned_below_value", abandoned_while_hung<false, true>},
      {"function.chunk_abandoned", abandoned_in_a_chunk<false>},
      {"function.chunk_abandoned_by_value", abandoned_in_a_chunk<true>},
      {"function.chunk_abandoned_below_value", abandoned_in_a_chunk<false, true>},
      {"function.below_abandoned", function_below_abandoned},
  };
}

}  // namespace model
