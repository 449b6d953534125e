// Who lives how long: contexts dropped in every order, by several threads.
#include "counted.hpp"
#include "engine.hpp"
#include "kernels.hpp"

#include <heed/heed.hpp>

#include <optional>

namespace model {
namespace {

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;

constexpr heed::key<int> number{"number"};

void handles_dropped() {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  context copy = made->ctx;
  spawn([&] { made.reset(); });
  spawn([c = std::move(copy)]() mutable {
    const context another = c;
    c = context();
  });
  join();
}

// Child and parent dropped, and the parent canceled: three threads.
void child_parent_cancel() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  auto child = std::make_unique<cancelable>(with_cancel(parent->ctx));
  const auto end = parent->cancel.share();
  spawn([&] { parent.reset(); });
  spawn([&] { child.reset(); });
  spawn([&] { end(); });
  join();
}

// A child whose parts go one by one, on two threads.
void parts_apart() {
  auto parent = with_cancel(background());
  auto child = with_cancel(parent.ctx);
  spawn([c = std::move(child.ctx)]() mutable { c = context(); });
  spawn([f = std::move(child.cancel)]() mutable { f = heed::cancel_func(); });
  spawn([&] { parent.cancel(); });
  join();
}

// Both at once, canceled before or not, while the parent is ended, or goes; by way of a value or not.
void left_at_once(bool canceled, bool parent_goes, bool by_value = false) {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  auto child = std::make_unique<cancelable>(
      with_cancel(by_value ? heed::with_value(parent->ctx, number, 1) : parent->ctx));
  const auto end = parent->cancel.share();
  spawn([&] {
    if (canceled) child->cancel();
    child.reset();
  });
  spawn([&] { parent_goes ? parent.reset() : static_cast<void>(end()); });
  join();
}

void two_children_and_parent() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  auto one = std::make_unique<cancelable>(with_cancel(parent->ctx));
  auto two = std::make_unique<cancelable>(with_cancel(parent->ctx));
  spawn([&] { parent.reset(); });
  spawn([&] { one.reset(); });
  spawn([&] { two.reset(); });
  join();
}

// The child outlives the parent's handles: what hangs there keeps it (L1).
void parent_left_to_its_child() {
  auto [top, cancel] = with_cancel(background());
  auto parent = std::make_unique<cancelable>(with_cancel(top));
  parent->cancel.release();
  auto child = std::make_unique<cancelable>(with_cancel(parent->ctx));
  spawn([&] { parent.reset(); });
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { child.reset(); });
  join();
  check(top.done(), "the top is done");
}

void chain_abandoned() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  auto child = std::make_unique<cancelable>(with_cancel(parent->ctx));
  child->cancel.release();
  auto grandchild = std::make_unique<cancelable>(with_cancel(child->ctx));
  grandchild->cancel.release();
  parent->cancel.release();
  spawn([&] { parent.reset(); });
  spawn([&] { child.reset(); });
  spawn([&] { grandchild.reset(); });
  join();
}

// L5: the child's last handle goes while its parent, that nobody can end any more, lets go of it.
template <bool is_merge>
void child_abandoned() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  parent->cancel.release();
  auto child = std::make_unique<cancelable>(is_merge ? heed::merge(parent->ctx, background())
                                                     : with_cancel(parent->ctx));
  child->cancel.release();
  spawn([&] { parent.reset(); });
  spawn([&] { child.reset(); });
  join();
}

void child_made_while_parent_goes() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  parent->cancel.release();
  context other = parent->ctx;
  spawn([&] { parent.reset(); });
  spawn([&] {
    auto [child, cancel] = with_cancel(other);
    other = context();
    check(!child.done(), "nobody has ended it");
  });
  join();
}

// One of several is given up while its parent's walk takes them off: what the walk leaves on it still says
// that it hangs there.
void sibling_dropped_while_turned() {
  auto [top, cancel] = with_cancel(background());
  auto one = std::make_unique<cancelable>(with_cancel(top));
  const auto two = with_cancel(top);
  one->cancel.release();
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { one.reset(); });
  join();
  check(two.ctx.done(), "the other child is done");
}

void dropped_while_turned() {
  auto [top, cancel] = with_cancel(background());
  auto middle = std::make_unique<cancelable>(with_cancel(top));
  middle->cancel.release();
  auto leaf = std::make_unique<cancelable>(with_cancel(middle->ctx));
  leaf->cancel.release();
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { middle.reset(); });
  spawn([&] { leaf.reset(); });
  join();
}

void canceled_child_leaves() {
  auto [top, cancel] = with_cancel(background());
  auto child = std::make_unique<cancelable>(with_cancel(top));
  auto below = std::make_unique<cancelable>(with_cancel(child->ctx));
  spawn([&] {
    child->cancel();
    child.reset();
  });
  spawn([&] { below.reset(); });
  spawn([&, c = cancel.share()] { c(); });
  join();
}

void values_dropped() {
  int ended = 0;
  {
    auto [top, cancel] = with_cancel(background());
    context value = heed::with_value(top, counted_key, std::in_place, &ended);
    auto below = std::make_unique<cancelable>(with_cancel(value));
    spawn([v = std::move(value)]() mutable {
      check(v.value(counted_key) != nullptr, "the value");
      v = context();
    });
    spawn([&] { below.reset(); });
    spawn([&, c = cancel.share()] { c(); });
    join();
  }
  check(ended == 1, "destroyed once");
}

void values_share_a_scope() {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  context one = heed::with_value(made->ctx, number, 1);
  context two = heed::with_value(one, number, 2);
  spawn([&] { made.reset(); });
  spawn([v = std::move(one)]() mutable { v = context(); });
  spawn([v = std::move(two)]() mutable {
    check(*v.value(number) == 2, "the nearest");
    v = context();
  });
  join();
}

// A value that is moved into its child, while another thread gives up a handle on it, or a child of it.
void value_moved(bool in_scope) {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  context one = heed::with_value(in_scope ? made->ctx : background(), number, 1);
  context copy = one;
  context sibling = heed::with_value(one, number, 3);
  spawn([&] { made.reset(); });
  spawn([v = std::move(copy), w = std::move(sibling)]() mutable {
    w = context();
    check(*v.value(number) == 1, "it is kept by this handle");
    v = context();
  });
  spawn([v = std::move(one)]() mutable {
    v = heed::with_value(std::move(v), number, 2);
    check(*v.value(number) == 2, "the nearest");
    v = context();
  });
  join();
}

// The same of a scope, which then is in hand by the value only.
void scope_moved() {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  made->cancel.release();
  int ended = 0;
  heed::after_func(made->ctx, counted_end(&ended));
  context given = made->ctx;
  spawn([&] { made.reset(); });
  spawn([&, v = std::move(given)]() mutable {
    v = heed::with_value(std::move(v), number, 1);
    check(ended == 0, "a value is in hand");
    v = context();
  });
  join();
  check(ended == 1, "abandoned with the value");
}

// What has a hold gives it up while the last handle goes.
void detached_goes() {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  made->cancel.release();
  context detached = heed::without_cancel(made->ctx);
  spawn([&] { detached = context(); });
  spawn([&] { made.reset(); });
  join();
}

// What leans, and its child, go while another leans on it: who has handles counts by one, who has none holds.
void leaning_go(bool trivial) {
  auto scope = std::make_unique<cancelable>(with_cancel(background()));
  scope->cancel.release();
  int ended = 0;
  heed::after_func(scope->ctx, counted_end(&ended));
  int destroyed = 0;
  context one = trivial ? heed::with_value(scope->ctx, number, 1)
                        : heed::with_value(scope->ctx, counted_key, std::in_place, &destroyed);
  context two = heed::with_value(one, number, 2);
  auto child = std::make_unique<cancelable>(with_cancel(one));
  scope.reset();
  spawn([&] { one = context(); });
  spawn([&] { child.reset(); });
  spawn([&] {
    check(ended == 0, "a value is in hand");
    two = context();
  });
  join();
  check(ended == 1, "abandoned with the last value");
  check(destroyed == (trivial ? 0 : 1), "destroyed once");
}

// A value that is its bytes, and whose handles two threads have.
void value_handles_dropped() {
  context one = heed::with_value(background(), number, 1);
  context two = one;
  spawn([v = std::move(one)]() mutable {
    check(*v.value(number) == 1, "the value");
    v = context();
  });
  spawn([v = std::move(two)]() mutable {
    check(*v.value(number) == 1, "the value");
    v = context();
  });
  join();
}

// Children with a value in between hold their parent themselves (L2), whether they hang there alone or not.
void children_of_values() {
  auto top = std::make_unique<cancelable>(with_cancel(background()));
  const auto end = top->cancel.share();
  auto one = std::make_unique<cancelable>(with_cancel(heed::with_value(top->ctx, number, 1)));
  auto two = std::make_unique<cancelable>(with_cancel(heed::with_value(top->ctx, number, 2)));
  auto beside = std::make_unique<cancelable>(with_cancel(top->ctx));
  one->cancel.release();
  spawn([&] { end(); });
  spawn([&] { one.reset(); });
  spawn([&] { top.reset(); });
  join();
  check(two->ctx.done() && beside->ctx.done(), "I3");
}

// The last that hangs on a parent without handles does so below a value: what kept the parent for all goes
// with it.
void orphan_below_value() {
  auto [top, cancel] = with_cancel(background());
  auto parent = std::make_unique<cancelable>(with_cancel(top));
  parent->cancel.release();
  auto child = std::make_unique<cancelable>(with_cancel(heed::with_value(parent->ctx, number, 1)));
  child->cancel.release();
  spawn([&] { parent.reset(); });
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { child.reset(); });
  join();
}

// Threads that meet on one context split it (H1, H2).
void split_by_children() {
  auto [parent, cancel] = with_cancel(background());
  for (int i = 0; i < 2; ++i) {
    spawn([&] {
      auto [one, c1] = with_cancel(parent);
      auto [two, c2] = with_cancel(parent);
    });
  }
  join();
}

void split_while_cancel() {
  auto [parent, cancel] = with_cancel(background());
  std::optional<cancelable> one, two;
  spawn([&] { one.emplace(with_cancel(parent)); });
  spawn([&] { two.emplace(with_cancel(parent)); });
  spawn([&, c = cancel.share()] {
    c();
    check(parent.done(), "done");
  });
  join();
  check(one->ctx.done() && two->ctx.done(), "both are done");
}

// Born below a parent that has ended: it keeps that one, and hangs nowhere (L2).
void born_done() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  parent->cancel("why");
  auto child = std::make_unique<cancelable>(with_cancel(parent->ctx));
  context grandchild = with_cancel(child->ctx).ctx;
  spawn([&] { parent.reset(); });
  spawn([&] { child.reset(); });
  spawn([g = std::move(grandchild)]() mutable {
    check(g.cause().message() == "why", "the cause of the first");
    g = context();
  });
  join();
}

// The same below a value or not, while it ends: what is born done tells why.
void born_done_meanwhile(bool by_value) {
  auto parent = with_cancel(background());
  const context above = by_value ? heed::with_value(parent.ctx, number, 1) : parent.ctx;
  std::optional<cancelable> child;
  spawn([&, c = parent.cancel.share()] { c("why"); });
  spawn([&] {
    child.emplace(with_cancel(above));
    check(!child->ctx.done() || child->ctx.cause().message() == "why", "the cause");
  });
  join();
}

// The cause is shared by who gives it, who asks, and the context.
void causes_shared() {
  auto [ctx, cancel] = with_cancel(background());
  spawn([&, c = cancel.share()] {
    heed::error why("text");
    c(why);
    check(ctx.cause() == why, "the cause");
  });
  spawn([&] {
    const heed::error seen = ctx.cause();
    check(!seen || seen.message() == "text", "null, or the cause");
  });
  join();
}

void merge_dropped() {
  auto a = std::make_unique<cancelable>(with_cancel(background()));
  auto b = std::make_unique<cancelable>(with_cancel(background()));
  auto both = std::make_unique<cancelable>(heed::merge(a->ctx, b->ctx));
  spawn([&] { both.reset(); });
  spawn([&] {
    a->cancel();
    a.reset();
  });
  spawn([&] { b.reset(); });
  join();
}

}  // namespace

std::vector<kernel> life_kernels() {
  return {
      {"life.handles", handles_dropped},
      {"life.child_parent_cancel", child_parent_cancel},
      {"life.parts_apart", parts_apart},
      {"life.left_open", [] { left_at_once(false, false); }},
      {"life.left_canceled", [] { left_at_once(true, false); }},
      {"life.left_open_by_both", [] { left_at_once(false, true); }},
      {"life.left_canceled_by_both", [] { left_at_once(true, true); }},
      {"life.left_open_value", [] { left_at_once(false, false, true); }},
      {"life.left_canceled_value", [] { left_at_once(true, false, true); }},
      {"life.left_open_value_by_both", [] { left_at_once(false, true, true); }},
      {"life.two_children_and_parent", two_children_and_parent},
      {"life.parent_left_to_its_child", parent_left_to_its_child},
      {"life.chain_abandoned", chain_abandoned},
      {"life.child_abandoned", child_abandoned<false>},
      {"life.merge_abandoned", child_abandoned<true>},
      {"life.child_made_while_parent_goes", child_made_while_parent_goes},
      {"life.sibling_dropped_while_turned", sibling_dropped_while_turned},
      {"life.dropped_while_turned", dropped_while_turned},
      {"life.canceled_child_leaves", canceled_child_leaves},
      {"life.values", values_dropped},
      {"life.values_share_a_scope", values_share_a_scope},
      {"life.value_moved", [] { value_moved(true); }},
      {"life.value_moved_on_background", [] { value_moved(false); }},
      {"life.scope_moved", scope_moved},
      {"life.detached_goes", detached_goes},
      {"life.leaning_go", [] { leaning_go(false); }},
      {"life.trivial_leaning_go", [] { leaning_go(true); }},
      {"life.value_handles", value_handles_dropped},
      {"life.children_of_values", children_of_values},
      {"life.orphan_below_value", orphan_below_value},
      {"life.split_by_children", split_by_children},
      {"life.split_while_cancel", split_while_cancel},
      {"life.born_done", born_done},
      {"life.born_done_meanwhile", [] { born_done_meanwhile(false); }},
      {"life.born_done_meanwhile_below_value", [] { born_done_meanwhile(true); }},
      {"life.causes_shared", causes_shared},
      {"life.merge", merge_dropped},
  };
}

}  // namespace model
