// Counts that are spread over the processors (src/crowd.cpp): what many threads derive from, made, left, and
// dropped in every order.
#include "counted.hpp"
#include "engine.hpp"
#include "kernels.hpp"

#include <heed/heed.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace model {
namespace {

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;
using heed::with_value;

constexpr heed::key<int> number{"number"};

// As if another value had given up its handle, on what has two handles at least, and is in a scope or one.
void meet_at_handles(const context& c) {
  check(!heed::crowd::release(*heed::tree::of(c), false), "nothing is released");
}

// What all derive from, with as many handles as threads.
struct base {
  int ended = 0;
  context own;
  std::vector<context> of;
  base(const context& above, std::size_t threads) : own(with_value(above, counted_key, &ended)) {
    of.assign(threads, own);
  }
};

// Nobody has met yet: two children go at the same moment, then two more come.
void met() {
  base b(background(), 0);
  std::optional<cancelable> one(with_cancel(b.own));
  std::optional<cancelable> two(with_cancel(b.own));
  for (auto* child : {&one, &two}) {
    spawn([&b, child] {
      child->reset();
      *child = with_cancel(b.own);
    });
  }
  join();
  b.own = context();
  one.reset();
  check(b.ended == 0, "a child still needs it");
  two.reset();
  check(b.ended == 1, "destroyed once");
}

// Each thread makes a child and gives up its handle, in this order or with the child dropped before.
void come_and_go(const context& above, bool child_first, bool row_first) {
  base b(above, 2);
  meet_at_holds(b.own);
  if (row_first) static_cast<void>(with_cancel(b.own));
  b.own = context();
  for (context& mine : b.of) {
    spawn([&mine, child_first] {
      std::optional<cancelable> child(with_cancel(mine));
      if (child_first) child.reset();
      mine = context();
    });
  }
  join();
  check(b.ended == 1, "destroyed once");
}

// A child that was made on one processor goes on another, while the last handle goes; the other child was
// counted before the row was there.
void left_elsewhere() {
  base b(background(), 0);
  std::optional<cancelable> early(with_cancel(b.own));
  meet_at_holds(b.own);
  std::optional<cancelable> late(with_cancel(b.own));
  spawn([&] { late.reset(); });
  spawn([&] { early.reset(); });
  spawn([&] { b.own = context(); });
  join();
  check(b.ended == 1, "destroyed once");
}

// A value that is its bytes goes by a way of its own.
void trivial_value() {
  context own = with_value(background(), number, 1);
  meet_at_holds(own);
  std::optional<cancelable> child(with_cancel(own));
  spawn([&] { own = context(); });
  spawn([&] { child.reset(); });
  join();
}

// A deadline has a way of its own, too; in a scope, that ends meanwhile.
void deadline_below() {
  auto scope = with_cancel(background());
  base b(scope.ctx, 0);
  meet_at_holds(b.own);
  std::optional<cancelable> child(heed::with_timeout(b.own, std::chrono::hours(1)));
  const auto end = scope.cancel.share();
  spawn([&] { b.own = context(); });
  spawn([&] { child.reset(); });
  spawn([&] { end(); });
  join();
  check(b.ended == 1, "destroyed once");
}

// Threads meet while the last handle goes.
void met_while_left() {
  base b(background(), 0);
  std::optional<cancelable> one(with_cancel(b.own));
  std::optional<cancelable> two(with_cancel(b.own));
  spawn([&] { one.reset(); });
  spawn([&] { two.reset(); });
  spawn([&] { b.own = context(); });
  join();
  check(b.ended == 1, "destroyed once");
}

// A row goes to the next node as soon as the last one is gone: nobody may still be counting there.
void row_goes_on() {
  base first(background(), 0);
  meet_at_holds(first.own);
  std::optional<cancelable> child(with_cancel(first.own));
  base second(background(), 1);
  meet_at_holds(second.own);
  spawn([&] { child.reset(); });
  spawn([&] { first.own = context(); });
  spawn([&] {
    const auto made = with_cancel(second.of[0]);
    second.of[0] = context();
  });
  join();
  check(first.ended == 1 && second.ended == 0, "each for itself");
  second.own = context();
  check(second.ended == 1, "destroyed once");
}

// What a value moved from holds its parent by is the new one's.
void moved_from() {
  base b(background(), 0);
  meet_at_holds(b.own);
  std::optional<cancelable> child(with_cancel(b.own));
  spawn([&] { child.reset(); });
  spawn([&] { b.own = with_value(std::move(b.own), number, 1); });
  join();
  check(b.ended == 0, "there is one below");
  b.own = context();
  check(b.ended == 1, "destroyed once");
}

// Values of a crowd on a scope that is ended, while all of them go.
void scope_ends() {
  auto parent = with_cancel(background());
  auto scope = std::make_unique<cancelable>(with_cancel(parent.ctx));
  const context spare = scope->ctx;
  meet_at_holds(scope->ctx);
  meet_at_handles(scope->ctx);
  std::optional<context> one(with_value(scope->ctx, number, 1));
  std::optional<cancelable> child(with_cancel(*one));
  spawn([&] { parent.cancel(); });
  spawn([&] {
    const context two = with_value(*one, number, 2);
    one.reset();
    scope.reset();
  });
  spawn([&] { child.reset(); });
  join();
  check(spare.err() == heed::errc::canceled, "canceled");
}

// A scope in whose hand only values are: nothing is abandoned before the last of them goes.
void in_hand_by_values(bool before) {
  auto scope = std::make_unique<cancelable>(with_cancel(background()));
  scope->cancel.release();
  int ended = 0;
  heed::after_func(scope->ctx, counted_end(&ended));
  std::vector<context> values;
  if (before) values.push_back(with_value(scope->ctx, number, 1));  // counted in one place
  {
    const context spare = scope->ctx;
    meet_at_handles(scope->ctx);
  }
  while (values.size() < 2) values.push_back(with_value(scope->ctx, number, 2));
  spawn([&] { scope.reset(); });
  spawn([&] {
    const context more = with_value(values[1], number, 3);
    values[1] = context();
    check(ended == 0, "a value is in hand");
  });
  spawn([&] {
    check(ended == 0, "a value is in hand");
    values[0] = context();
  });
  join();
  check(ended == 1, "abandoned with the last value");
}

// Nobody has met yet: two values of one scope go at once, and two more come.
void values_meet() {
  auto scope = std::make_unique<cancelable>(with_cancel(background()));
  int ended = 0;
  heed::after_func(scope->ctx, counted_end(&ended));
  scope->cancel.release();
  context one = with_value(scope->ctx, number, 1);
  context two = with_value(scope->ctx, number, 2);
  for (context* mine : {&one, &two}) {
    spawn([&scope, mine] {
      *mine = context();
      *mine = with_value(scope->ctx, number, 3);
    });
  }
  join();
  scope.reset();
  one = context();
  check(ended == 0, "a value is in hand");
  two = context();
  check(ended == 1, "abandoned with the last value");
}

// The same for what leans on a value, that has no other handle in the end: before it is spread or after.
void values_meet_at_value(bool spread_between) {
  auto scope = std::make_unique<cancelable>(with_cancel(background()));
  int ended = 0;
  heed::after_func(scope->ctx, counted_end(&ended));
  context base = with_value(scope->ctx, number, 1);
  scope->cancel.release();
  scope.reset();
  context one = with_value(base, number, 2);
  if (spread_between) meet_at_handles(base);
  context two = with_value(base, number, 3);
  context three = with_value(base, number, 4);
  spawn([&] {
    base = context();
    one = context();
    check(ended == 0, "a value is in hand");
  });
  spawn([&] { two = context(); });
  join();
  check(ended == 0, "a value is in hand");
  three = context();
  check(ended == 1, "abandoned with the last value");
}

// Three values go at once that lean on one, while the only row is another's: all is counted in one place.
void values_meet_without_row() {
  base other(background(), 0);
  meet_at_holds(other.own);
  static_cast<void>(with_cancel(other.own));
  auto scope = std::make_unique<cancelable>(with_cancel(background()));
  scope->cancel.release();
  base b(scope->ctx, 0);
  scope.reset();
  context leaning[] = {with_value(b.own, number, 1), with_value(b.own, number, 2),
                       with_value(b.own, number, 3)};
  b.own = context();
  for (context& mine : leaning) spawn([&mine] { mine = context(); });
  join();
  check(b.ended == 1, "destroyed once");
}

// Two threads come to spread the same count, and one who makes a child makes the row at the same moment; a
// value goes meanwhile.
void spread_at_once(bool row_by_child) {
  auto scope = std::make_unique<cancelable>(with_cancel(background()));
  const context one = scope->ctx;
  const context two = scope->ctx;
  if (row_by_child) meet_at_holds(scope->ctx);
  const auto meet = [](const context& c) {
    meet_at_handles(c);
    const context value = with_value(c, number, 1);
  };
  spawn([&] { meet(one); });
  spawn([&] { row_by_child ? static_cast<void>(heed::without_cancel(two)) : meet(two); });
  spawn([&] { const context value = with_value(scope->ctx, number, 1); });
  join();
  check((heed::tree::of(scope->ctx)->handles.load() & heed::node::second_up) == 0, "no flag is touched");
  check(heed::crowd::count_handles(*heed::tree::of(scope->ctx)) == 4,
        "two copies, a context, its cancel_func");
}

// What hangs on two shards of a crowded scope, and keeps it, goes while its last handle does: what that was
// counted by, and what it is dropped from, are the same number (N1).
void orphans_go() {
  auto parent = with_cancel(background());
  auto scope = std::make_unique<cancelable>(with_cancel(parent.ctx));
  scope->cancel.release();
  {
    const auto hooked = with_cancel(scope->ctx);  // what is bare is not split
    unsigned which = 0;
    heed::lock_contended(*heed::node_of(heed::tree::scope_of(scope->ctx)), which).lock.unlock();
  }
  meet_at_holds(scope->ctx);
  static_cast<void>(heed::without_cancel(scope->ctx));  // by now there is a row
  context value = with_value(scope->ctx, number, 1);
  context detached = heed::without_cancel(value);
  std::optional<cancelable> one(with_cancel(value));
  std::optional<cancelable> two;
  spawn([&] { two = with_cancel(value); });  // on another CPU
  join();
  value = context();
  spawn([&] { scope.reset(); });
  spawn([&] {
    one.reset();
    two.reset();
  });
  join();
  detached = context();
}

}  // namespace

std::vector<kernel> crowd_kernels() {
  return {
      {"crowd.met", met},
      {"crowd.met_while_left", met_while_left},
      {"crowd.come_and_go", [] { come_and_go(background(), false, false); }},
      {"crowd.come_and_go_with_row", [] { come_and_go(background(), false, true); }},
      {"crowd.come_and_go_child_first", [] { come_and_go(background(), true, true); }},
      {"crowd.come_and_go_in_scope",
       [] {
         const auto scope = with_cancel(background());
         come_and_go(scope.ctx, false, true);
       }},
      {"crowd.left_elsewhere", left_elsewhere},
      {"crowd.trivial_value", trivial_value},
      {"crowd.deadline_below", deadline_below},
      {"crowd.row_goes_on", row_goes_on},
      {"crowd.moved_from", moved_from},
      {"crowd.scope_ends", scope_ends},
      {"crowd.in_hand_by_values", [] { in_hand_by_values(false); }},
      {"crowd.in_hand_by_values_from_before", [] { in_hand_by_values(true); }},
      {"crowd.values_meet", values_meet},
      {"crowd.values_meet_at_value", [] { values_meet_at_value(false); }},
      {"crowd.values_meet_at_spread_value", [] { values_meet_at_value(true); }},
      {"crowd.values_meet_without_row", values_meet_without_row},
      {"crowd.spread_at_once", [] { spread_at_once(false); }},
      {"crowd.spread_while_row_is_made", [] { spread_at_once(true); }},
      {"crowd.orphans_go", orphans_go},
  };
}

}  // namespace model
