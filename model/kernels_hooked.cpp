// Contexts on which something is hung for the first time (H4), or was once: how they end, and how they go at
// once.
#include "engine.hpp"
#include "kernels.hpp"
#include "os_model.hpp"

#include <heed/heed.hpp>

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

// H4: two that are the first, and one who ends it.
void two_come_first() {
  auto [ctx, cancel] = with_cancel(background());
  std::optional<cancelable> child;
  int calls = 0;
  spawn([&] { child.emplace(with_cancel(ctx)); });
  spawn([&] {
    const heed::cancel_callback told(ctx, [&] { ++calls; });
    check(!ctx.done() || calls <= 1, "once");
  });
  spawn([&, c = cancel.share()] { c(); });
  join();
  check(child->ctx.done() && calls <= 1, "whoever was first");
}

// What looks at its own shard without hanging anything there: a descriptor, and a picture.
void looked_at_first() {
  auto [ctx, cancel] = with_cancel(background());
  std::optional<cancelable> child;
  spawn([&] { static_cast<void>(ctx.done_fd()); });
  spawn([&] { child.emplace(with_cancel(ctx)); });
  spawn([&, c = cancel.share()] { c(); });
  join();
  check(child->ctx.done(), "as without");
}

// A descriptor for what has ended, and had none: nobody else ever had that lock.
void looked_at_last() {
  auto [ctx, cancel] = with_cancel(background());
  cancel();
  for (int i = 0; i < 2; ++i) spawn([&] { static_cast<void>(ctx.done_fd()); });
  join();
}

// It ends with its one child, on which something comes to hang meanwhile, or which goes, or is canceled.
enum class child_does { nothing, hook, go, cancel };
void ends_with_child(child_does what) {
  auto parent = with_cancel(background());
  auto child = make(parent.ctx);
  std::optional<cancelable> below;
  spawn([&, c = parent.cancel.share()] {
    check(c(), "nobody else ends it");
    if (what == child_does::hook || what == child_does::cancel) check(child->ctx.done(), "I3");
  });
  if (what == child_does::hook) spawn([&] { below.emplace(with_cancel(child->ctx)); });
  if (what == child_does::go) spawn([&] { child.reset(); });
  if (what == child_does::cancel) spawn([&] { child->cancel(); });
  join();
  check(parent.ctx.done() && (!below || below->ctx.done()), "I3");
}

// Whoever sees it done drops it, while it is still being ended.
void dropped_as_soon_as_done(bool with_child) {
  auto parent = make(background());
  auto child = make(parent->ctx);
  if (!with_child) child.reset();
  spawn([&] { parent->cancel(); });
  spawn([&] {
    if (parent->ctx.done()) parent.reset();
  });
  spawn([&] { child.reset(); });
  join();
}

// Its parts go apart, the last of them while it is being ended.
void parts_dropped_as_soon_as_done() {
  auto parent = make(background());
  auto child = make(parent->ctx);
  context copy = parent->ctx;
  spawn([&, c = parent->cancel.share()]() mutable {
    c();
    c = {};
  });
  spawn([&] {
    if (copy.done()) parent.reset();
    copy = {};
  });
  spawn([&] { child.reset(); });
  join();
}

// Two in a line end at once: who ends the upper one waits until the lower one is through with its own child.
void ends_below_one_that_ends() {
  auto top = with_cancel(background());
  auto parent = with_cancel(top.ctx);
  auto child = with_cancel(parent.ctx);
  spawn([&] { parent.cancel(); });
  spawn([&] {
    top.cancel();
    check(parent.ctx.done() && child.ctx.done(), "I3");
  });
  join();
}

// merge() waits until it is settled, and has to be woken.
void merged_while_it_ends() {
  auto parent = with_cancel(background());
  auto other = with_cancel(background());
  auto child = with_cancel(parent.ctx);
  std::optional<cancelable> both;
  spawn([&, c = parent.cancel.share()] { c(); });
  spawn([&] { both.emplace(heed::merge(other.ctx, parent.ctx)); });
  join();
  check(both->ctx.done() && child.ctx.done(), "ended by its second parent");
}

// Live, with both handles in one hand: its child goes, or has ended before, or leaves it and goes on.
enum class child_goes { open, canceled, and_stays };
void left_live(child_goes how, bool below) {
  auto top = with_cancel(background());
  auto parent = make(below ? top.ctx : background());
  auto child = make(parent->ctx);
  std::optional<cancelable> grandchild;
  if (how == child_goes::and_stays) grandchild.emplace(with_cancel(child->ctx));
  spawn([&] {
    if (how != child_goes::open) child->cancel();
    child.reset();
  });
  spawn([&] { parent.reset(); });
  if (below) spawn([&] { top.cancel(); });
  join();
}

// The same for a deadline, which time meets on its way out.
void deadline_left_live(bool hooked) {
  fresh_process();
  auto timed = std::make_unique<cancelable>(heed::with_timeout(background(), 1s));
  if (hooked) static_cast<void>(with_cancel(timed->ctx));
  spawn([&] { timed.reset(); });
  spawn([] { advance(1'000'000'000); });
  join();
  settle();
}

}  // namespace

std::vector<kernel> hooked_kernels() {
  return {
      {"hooked.two_come_first", two_come_first},
      {"hooked.looked_at_first", looked_at_first},
      {"hooked.looked_at_last", looked_at_last},
      {"hooked.ends_with_child", [] { ends_with_child(child_does::nothing); }},
      {"hooked.ends_while_child_is_hooked", [] { ends_with_child(child_does::hook); }},
      {"hooked.ends_while_child_goes", [] { ends_with_child(child_does::go); }},
      {"hooked.ends_while_child_ends", [] { ends_with_child(child_does::cancel); }},
      {"hooked.dropped_as_soon_as_done", [] { dropped_as_soon_as_done(false); }},
      {"hooked.dropped_as_soon_as_done_with_child", [] { dropped_as_soon_as_done(true); }},
      {"hooked.parts_dropped_as_soon_as_done", parts_dropped_as_soon_as_done},
      {"hooked.ends_below_one_that_ends", ends_below_one_that_ends},
      {"hooked.merged_while_it_ends", merged_while_it_ends},
      {"hooked.left_live", [] { left_live(child_goes::open, false); }},
      {"hooked.left_live_below", [] { left_live(child_goes::open, true); }},
      {"hooked.left_live_child_canceled", [] { left_live(child_goes::canceled, false); }},
      {"hooked.left_live_child_stays", [] { left_live(child_goes::and_stays, false); }},
      {"hooked.left_live_child_stays_below", [] { left_live(child_goes::and_stays, true); }},
      {"hooked.deadline_left_live", [] { deadline_left_live(false); }},
      {"hooked.hooked_deadline_left_live", [] { deadline_left_live(true); }},
  };
}

}  // namespace model
