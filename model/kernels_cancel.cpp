// Cancel against cancel, against who looks, and against who comes to hang below.
#include "engine.hpp"
#include "kernels.hpp"
#include "os_model.hpp"

#include <heed/heed.hpp>

#include <optional>

namespace model {
namespace {

using heed::background;
using heed::errc;
using heed::with_cancel;

// I2: one of two decides, and verdict, cause and place are that one's.
void two_cancels() {
  auto [ctx, cancel] = with_cancel(background());
  struct outcome {
    bool won = false;
  } first, second;
  spawn([&, c = cancel.share()] {
    first.won = c(errc::deadline_exceeded);
    check(ctx.done(), "done when cancel() has returned");
  });
  spawn([&, c = cancel.share()] {
    second.won = c();
    check(ctx.done(), "done when cancel() has returned");
  });
  join();
  check(first.won != second.won, "one call decided");
  check(ctx.cause() == (first.won ? errc::deadline_exceeded : errc::canceled), "the cause is the winner's");
  check(ctx.err() == errc::canceled && ctx.canceled_at().has_value(), "verdict and place");
}

// I1, I2, I4: who sees the verdict sees all that came before.
void reader_sees_all() {
  auto [ctx, cancel] = with_cancel(background());
  auto* payload = new int(0);
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c("why");
  });
  spawn([&] {
    if (!ctx.err()) return;
    check(*payload == 1, "what came before cancel()");
    check(ctx.cause() && !ctx.cause().code(), "the cause");
    check(ctx.canceled_at().has_value(), "the place");
  });
  join();
  check(*payload == 1, "the payload");
  delete payload;
}

// The same from below: the reader's context was turned by its parent.
void reader_below_sees_all() {
  auto [ctx, cancel] = with_cancel(background());
  auto below = with_cancel(ctx);
  auto* payload = new int(0);
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c("why");
    check(below.ctx.done(), "I3");
  });
  spawn([&] {
    if (!below.ctx.done()) return;
    check(*payload == 1, "what came before cancel()");
    check(ctx.done(), "parents before children");
    check(below.ctx.cause() == ctx.cause(), "the parent's cause");
    check(below.ctx.canceled_at().has_value(), "the place");
  });
  join();
  delete payload;
}

// The same where something hangs below, so that the end takes two steps.
void reader_of_parent_sees_all() {
  auto [ctx, cancel] = with_cancel(background());
  auto below = with_cancel(ctx);
  auto* payload = new int(0);
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c("why");
  });
  spawn([&] {
    if (!ctx.done()) return;
    check(*payload == 1, "what came before cancel()");
    check(ctx.cause().message() == "why", "the cause");
    check(ctx.canceled_at().has_value(), "the place");
  });
  join();
  delete payload;
}

void stays_canceled() {
  auto [ctx, cancel] = with_cancel(background());
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] {
    const bool before = ctx.done();
    const bool after = ctx.done();
    check(!before || after, "err() never goes back");
  });
  join();
}

// Two contexts under one parent; the parent ends while one of them does.
void parent_and_child_cancel() {
  auto [parent, cancel] = with_cancel(background());
  auto child = with_cancel(parent);
  bool child_won = false;
  spawn([&, c = cancel.share()] {
    c("parent");
    check(parent.done() && child.ctx.done(), "I3");
  });
  spawn([&, c = child.cancel.share()] { child_won = c(errc::canceled); });
  join();
  check(child.ctx.cause() == (child_won ? heed::error(errc::canceled) : parent.cause()), "whose cause it is");
}

// I3's story: the middle one is in mid-cancel when the upper one is canceled.
void middle_in_mid_cancel() {
  auto [top, cancel_top] = with_cancel(background());
  auto middle = with_cancel(top);
  auto left = with_cancel(middle.ctx);
  auto right = with_cancel(middle.ctx);
  spawn([&, c = middle.cancel.share()] {
    if (c()) check(left.ctx.done() && right.ctx.done(), "I3 below the middle");
  });
  spawn([&, c = cancel_top.share()] {
    c();
    check(middle.ctx.done() && left.ctx.done() && right.ctx.done(), "I3 below the top");
  });
  join();
}

void chain_in_mid_cancel() {
  auto [top, cancel_top] = with_cancel(background());
  auto a = with_cancel(top);
  auto b = with_cancel(a.ctx);
  auto c = with_cancel(b.ctx);
  spawn([&, end = b.cancel.share()] {
    if (end()) check(c.ctx.done(), "I3 below b");
  });
  spawn([&, end = a.cancel.share()] {
    if (end()) check(b.ctx.done() && c.ctx.done(), "I3 below a");
  });
  spawn([&, end = cancel_top.share()] {
    end();
    check(a.ctx.done() && b.ctx.done() && c.ctx.done(), "I3 below the top");
  });
  join();
}

// What is linked while the parent ends is born done, or is turned.
void attach_while_cancel() {
  auto [parent, cancel] = with_cancel(background());
  std::optional<heed::cancelable> child;
  spawn([&, c = cancel.share()] { c("why"); });
  spawn([&] { child.emplace(with_cancel(parent)); });
  join();
  check(child->ctx.done() && child->ctx.cause() == parent.cause(),
        "the child is done, with its parent's cause");
}

void attach_two_while_cancel() {
  auto [parent, cancel] = with_cancel(background());
  auto sibling = with_cancel(parent);
  std::optional<heed::cancelable> one, two;
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { one.emplace(with_cancel(parent)); });
  spawn([&] { two.emplace(with_cancel(parent)); });
  join();
  check(one->ctx.done() && two->ctx.done() && sibling.ctx.done(), "all children are done");
}

void attach_below_middle_while_cancel() {
  auto [top, cancel_top] = with_cancel(background());
  auto middle = with_cancel(top);
  std::optional<heed::cancelable> leaf;
  spawn([&, c = cancel_top.share()] { c(); });
  spawn([&, c = middle.cancel.share()] { c(); });
  spawn([&] { leaf.emplace(with_cancel(middle.ctx)); });
  join();
  check(leaf->ctx.done(), "the leaf is done");
}

// done_fd() and err() are one (I1).
void descriptor_while_cancel() {
  reset_events();
  {
    auto [ctx, cancel] = with_cancel(background());
    const int fd = ctx.done_fd();
    spawn([&, c = cancel.share()] {
      c();
      check(readable(fd), "readable when cancel() has returned");
    });
    spawn([&] {
      if (ctx.done()) check(readable(fd), "err() tells, and the descriptor does not");
    });
    spawn([&] {
      if (readable(fd)) check(ctx.done(), "the descriptor tells, and err() does not");
    });
    join();
  }
  check(open_events() == 0, "the descriptor is closed");
}

void descriptor_made_while_cancel() {
  reset_events();
  {
    auto [parent, cancel] = with_cancel(background());
    auto child = with_cancel(parent);
    spawn([&, c = cancel.share()] {
      c();
      check(readable(child.ctx.done_fd()), "made after it has ended");
    });
    spawn([&] {
      const int fd = child.ctx.done_fd();
      if (child.ctx.done()) check(readable(fd), "made meanwhile");
    });
    spawn([&] { check(child.ctx.done_fd() == child.ctx.done_fd(), "the same each time"); });
    join();
    check(readable(child.ctx.done_fd()), "readable at the end");
  }
  check(open_events() == 0, "the descriptors are closed");
}

// Two parents, both ended.
void merge_both_parents() {
  auto a = with_cancel(background());
  auto b = with_cancel(background());
  auto both = heed::merge(a.ctx, b.ctx);
  auto below = with_cancel(both.ctx);
  spawn([&, c = a.cancel.share()] {
    c("a");
    check(both.ctx.done() && below.ctx.done(), "I3 from a");
  });
  spawn([&, c = b.cancel.share()] {
    c("b");
    check(both.ctx.done() && below.ctx.done(), "I3 from b");
  });
  join();
  check(both.ctx.cause() == a.ctx.cause() || both.ctx.cause() == b.ctx.cause(), "one of the two causes");
  check(below.ctx.cause() == both.ctx.cause(), "the same below");
}

void merge_made_while_cancel() {
  auto a = with_cancel(background());
  auto b = with_cancel(background());
  std::optional<heed::cancelable> both;
  spawn([&, c = b.cancel.share()] { c("b"); });
  spawn([&] { both.emplace(heed::merge(a.ctx, b.ctx)); });
  join();
  check(both->ctx.done() && both->ctx.cause() == b.ctx.cause(), "the merge is done");
}

}  // namespace

std::vector<kernel> cancel_kernels() {
  return {
      {"cancel.two", two_cancels},
      {"cancel.reader", reader_sees_all},
      {"cancel.reader_below", reader_below_sees_all},
      {"cancel.reader_of_parent", reader_of_parent_sees_all},
      {"cancel.stays", stays_canceled},
      {"cancel.parent_and_child", parent_and_child_cancel},
      {"cancel.middle_in_mid_cancel", middle_in_mid_cancel},
      {"cancel.chain_in_mid_cancel", chain_in_mid_cancel},
      {"cancel.attach", attach_while_cancel},
      {"cancel.attach_two", attach_two_while_cancel},
      {"cancel.attach_below_middle", attach_below_middle_while_cancel},
      {"cancel.descriptor", descriptor_while_cancel},
      {"cancel.descriptor_made", descriptor_made_while_cancel},
      {"cancel.merge_both_parents", merge_both_parents},
      {"cancel.merge_made", merge_made_while_cancel},
  };
}

}  // namespace model
