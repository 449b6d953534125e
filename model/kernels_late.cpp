// L9: a context that is in hand finds out by itself that its parent was abandoned, when its last handle goes.
// What only it could still be ended by, or what hangs there, must not wait for longer.
#include "counted.hpp"
#include "engine.hpp"
#include "kernels.hpp"

#include <heed/heed.hpp>
#include <heed/manual_scheduler.hpp>

#include <memory>
#include <optional>

namespace model {
namespace {

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;

context below(const context& parent) {
  auto made = with_cancel(parent);
  made.cancel.release();
  return std::move(made.ctx);
}

// A function that is to be destroyed unrun.
struct function {
  heed::manual_scheduler time;  // first: the contexts go before it
  const context root = background(time);
  int ended = 0;
  void hang_on(const context& ctx) { heed::after_func(ctx, counted_end(&ended)); }
  void check_ended() {
    time.run_pending();
    check(ended == 1, "nobody can call it any more");
  }
};

enum class split_up { nothing, the_parent, the_child };
template <split_up what>
void both_go() {
  function f;
  context parent = below(f.root);
  if (what == split_up::the_parent) meet(parent);
  context child = below(parent);
  if (what == split_up::the_child) meet(child);
  const context in_hand = below(child);
  f.hang_on(child);
  spawn([&] { parent = {}; });
  spawn([&] { child = {}; });
  join();
  f.check_ended();
}

// Nothing was ever hung on it before (H4).
void hung_meanwhile() {
  function f;
  context parent = below(f.root);
  context child = below(parent);
  std::optional<context> in_hand;
  spawn([&] { parent = {}; });
  spawn([&] {
    in_hand.emplace(below(child));
    f.hang_on(child);
    child = {};
  });
  join();
  f.check_ended();
}

void three_go() {
  function f;
  context parent = below(f.root);
  context child = below(parent);
  context grandchild = below(child);
  const context in_hand = below(grandchild);
  f.hang_on(grandchild);
  spawn([&] { parent = {}; });
  spawn([&] { child = {}; });
  spawn([&] { grandchild = {}; });
  join();
  f.check_ended();
}

// What is between has no handle any more, but a table: it is abandoned with its parent.
void both_go_around_a_table() {
  function f;
  context parent = below(f.root);
  context between = below(parent);
  meet(between);
  context child = below(between);
  const context in_hand = below(child);
  between = {};
  f.hang_on(child);
  spawn([&] { parent = {}; });
  spawn([&] { child = {}; });
  join();
  f.check_ended();
}

// Of two, which lie in a chunk.
void siblings_go() {
  function f;
  function g;
  context parent = below(f.root);
  context one = below(parent);
  context two = below(parent);
  f.hang_on(one);
  g.hang_on(two);
  spawn([&] { parent = {}; });
  spawn([&] { one = {}; });
  spawn([&] { two = {}; });
  join();
  f.check_ended();
  g.check_ended();
}

// Two handles on the child, on two threads: the second of them finds out.
void handles_go() {
  function f;
  context parent = below(f.root);
  context child = below(parent);
  context same = child;
  const context in_hand = below(child);
  f.hang_on(child);
  spawn([&] { parent = {}; });
  spawn([&] { child = {}; });
  spawn([&] { same = {}; });
  join();
  f.check_ended();
}

// The parent has ended, and then has no handle either: that is not being left alone.
void parent_ends() {
  heed::manual_scheduler time;
  int runs = 0;
  {
    auto parent = std::make_unique<cancelable>(with_cancel(background(time)));
    context child = below(parent->ctx);
    const context in_hand = below(child);
    heed::after_func(child, [&] { ++runs; });
    spawn([&] {
      parent->cancel();
      parent.reset();
    });
    spawn([&] { child = {}; });
    join();
    check(in_hand.done(), "I3");
    time.run_pending();
  }
  check(runs == 1, "the parent has ended it");
}

// The same where that handle goes while the parent's walk is under way.
void parent_ends_without_handles() {
  heed::manual_scheduler time;
  int runs = 0;
  {
    auto parent = std::make_unique<cancelable>(with_cancel(background(time)));
    context child = below(parent->ctx);
    const context in_hand = below(child);
    heed::after_func(child, [&] { ++runs; });
    spawn([&cancel = parent->cancel] { cancel(); });
    spawn([&] {
      if (parent->ctx.done()) parent.reset();
    });
    spawn([&] { child = {}; });
    join();
    parent.reset();
    check(in_hand.done(), "I3");
    time.run_pending();
  }
  check(runs == 1, "the parent has ended it");
}

// The same by a callback, while the rest of the walk's list is still to be told.
void parent_dropped_by_its_callback() {
  heed::manual_scheduler time;
  int runs = 0;
  {
    auto parent = std::make_unique<cancelable>(with_cancel(background(time)));
    context child = below(parent->ctx);
    static_cast<void>(below(child));
    const context other = below(parent->ctx);
    heed::after_func(other, [&] { ++runs; });
    const heed::cancel_callback drop(parent->ctx, [&] { parent.reset(); });
    spawn([&cancel = parent->cancel] { cancel(); });
    spawn([&] { child = {}; });
    join();
    check(other.done(), "I3");
    time.run_pending();
  }
  check(runs == 1, "the parent has ended it");
}

// The lowest goes last, while those above are let go of: whoever frees them has to see that all is over.
void lowest_goes() {
  context parent = below(background());
  context child = below(parent);
  context grandchild = below(child);
  spawn([&] { parent = {}; });
  spawn([&] {
    child = {};
    grandchild = {};
  });
  join();
}

}  // namespace

std::vector<kernel> late_kernels() {
  return {
      {"late.both_go", both_go<split_up::nothing>},
      {"late.both_go_from_a_table", both_go<split_up::the_parent>},
      {"late.both_go_with_a_table", both_go<split_up::the_child>},
      {"late.both_go_around_a_table", both_go_around_a_table},
      {"late.hung_meanwhile", hung_meanwhile},
      {"late.three_go", three_go},
      {"late.siblings_go", siblings_go},
      {"late.handles_go", handles_go},
      {"late.parent_ends", parent_ends},
      {"late.parent_ends_without_handles", parent_ends_without_handles},
      {"late.parent_dropped_by_its_callback", parent_dropped_by_its_callback},
      {"late.lowest_goes", lowest_goes},
  };
}

}  // namespace model
