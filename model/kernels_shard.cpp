// Contexts that are split into shards (H1, H2), and what hangs on them. Two threads have to meet for that,
// which takes a preemption or two; some of these call the core's own function for those who have met.
#include "counted.hpp"
#include "engine.hpp"
#include "kernels.hpp"

#include "../src/hanging.hpp"

#include <heed/heed.hpp>

#include <functional>
#include <memory>
#include <optional>

namespace model {
namespace {

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;
using callback = heed::cancel_callback<std::function<void()>>;

void two_split() {
  auto [ctx, cancel] = with_cancel(background());
  for (int i = 0; i < 2; ++i) {
    spawn([&] {
      meet(ctx);
      const auto child = with_cancel(ctx);
    });
  }
  join();
}

// A walk looks whether there are shards, and takes the lock: the parent is split before, between and after.
void split_while_turned() {
  auto [top, cancel] = with_cancel(background());
  auto parent = with_cancel(top);
  auto child = with_cancel(parent.ctx);
  spawn([&] { meet(parent.ctx); });
  spawn([&, c = cancel.share()] {
    c();
    check(parent.ctx.done() && child.ctx.done(), "I3");
  });
  join();
}

// The parent has shards already, and one child: the way for a single one is not taken.
void turned_with_shards() {
  auto [top, cancel] = with_cancel(background());
  auto parent = with_cancel(top);
  meet(parent.ctx);
  auto child = with_cancel(parent.ctx);
  std::optional<cancelable> late;
  spawn([&, c = cancel.share()] {
    c();
    check(parent.ctx.done() && child.ctx.done(), "I3");
  });
  spawn([&] { late.emplace(with_cancel(parent.ctx)); });
  spawn([&, c = child.cancel.share()] { c(); });
  join();
  check(late->ctx.done(), "born done, or turned");
}

void dropped_with_shards() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  parent->cancel.release();
  meet(parent->ctx);
  auto one = std::make_unique<cancelable>(with_cancel(parent->ctx));
  one->cancel.release();
  context other = parent->ctx;
  spawn([&] { parent.reset(); });
  spawn([&] { one.reset(); });
  spawn([&] {
    auto two = with_cancel(other);
    two.cancel.release();
    other = context();
  });
  join();
}

// Split between the look and the lock of who abandons, or makes an orphan.
void split_while_dropped() {
  auto [top, cancel] = with_cancel(background());
  auto parent = std::make_unique<cancelable>(with_cancel(top));
  auto child = std::make_unique<cancelable>(with_cancel(parent->ctx));
  context other = parent->ctx;
  parent->cancel.release();
  spawn([&] { parent.reset(); });
  spawn([o = std::move(other)]() mutable {
    meet(o);
    o = context();
  });
  spawn([&] { child.reset(); });
  join();
}

// The child leaves a parent that is being split.
void leaves_while_split() {
  auto parent = with_cancel(background());
  auto child = std::make_unique<cancelable>(with_cancel(parent.ctx));
  child->cancel.release();
  spawn([&] { meet(parent.ctx); });
  spawn([&] { child.reset(); });
  join();
}

void callbacks_with_shards() {
  auto [ctx, cancel] = with_cancel(background());
  int before = 0;
  const callback first(ctx, [&] { ++before; });
  spawn([&] {
    meet(ctx);
    const callback second(ctx, [] {});
  });
  spawn([&, c = cancel.share()] { c(); });
  join();
  check(before == 1, "it ran once, in whatever shard");
}

// Split between the look and the lock of who registers, or unregisters.
void registered_while_split() {
  auto [ctx, cancel] = with_cancel(background());
  int runs = 0;
  std::optional<callback> registered;
  spawn([&] { meet(ctx); });
  spawn([&] { registered.emplace(ctx, [&] { ++runs; }); });
  join();
  cancel();
  check(runs == 1, "it ran once, in whatever shard");
}
void unregistered_while_split() {
  auto [ctx, cancel] = with_cancel(background());
  int runs = 0;
  std::optional<callback> registered(std::in_place, ctx, [&] { ++runs; });
  spawn([&] { meet(ctx); });
  spawn([&] { registered.reset(); });
  join();
  cancel();
  check(runs == 0, "it was gone before the cancel");
}

// The last that hangs on a context without handles takes it along (L1).
void callback_goes_last() {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  std::optional<callback> registered(std::in_place, made->ctx, [] {});
  made->cancel.release();
  spawn([&] { made.reset(); });
  spawn([&] { registered.reset(); });
  join();
}

// What a walk found without callbacks is passed by afterwards (`no_callbacks`); one that comes in between is
// not.
void registered_while_turned() {
  auto [top, cancel] = with_cancel(background());
  auto middle = with_cancel(top);
  auto leaf = with_cancel(middle.ctx);
  heed::sync::atomic<int> runs{0};
  std::optional<callback> registered;
  spawn([&] { registered.emplace(middle.ctx, [&] { runs.fetch_add(1, std::memory_order_relaxed); }); });
  spawn([&, c = cancel.share()] { c(); });
  join();
  check(runs.load(std::memory_order_relaxed) == 1, "it ran once");
}

// The root of one walk is on the list that another one goes through: its `hung` is that one's (cancel.cpp).
void root_on_a_list() {
  auto [top, cancel] = with_cancel(background());
  auto middle = with_cancel(top);
  auto leaf = with_cancel(middle.ctx);
  auto beside = std::make_unique<cancelable>(with_cancel(top));
  beside->cancel.release();
  int runs = 0;
  const callback registered(leaf.ctx, [&] { ++runs; });
  spawn([&, c = middle.cancel.share()] { c(); });
  spawn([&, c = cancel.share()] {
    c();
    check(middle.ctx.done() && leaf.ctx.done(), "I3");
  });
  spawn([&] { beside.reset(); });
  join();
  check(runs == 1, "it ran once");
}

}  // namespace

std::vector<kernel> shard_kernels() {
  return {
      {"shard.two_split", two_split},
      {"shard.split_while_turned", split_while_turned},
      {"shard.turned", turned_with_shards},
      {"shard.dropped", dropped_with_shards},
      {"shard.split_while_dropped", split_while_dropped},
      {"shard.leaves_while_split", leaves_while_split},
      {"shard.callbacks", callbacks_with_shards},
      {"shard.registered_while_split", registered_while_split},
      {"shard.unregistered_while_split", unregistered_while_split},
      {"shard.callback_goes_last", callback_goes_last},
      {"shard.registered_while_turned", registered_while_turned},
      {"shard.root_on_a_list", root_on_a_list},
  };
}

}  // namespace model
