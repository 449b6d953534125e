// What a walk turns by one exchange, what goes by a hold less, and what ends without a claim.
#include "engine.hpp"
#include "kernels.hpp"

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
using callback = heed::cancel_callback<std::function<void()>>;

constexpr heed::key<int> number{"number"};

// A function that says when it is destroyed.
struct counted_function {
  explicit counted_function(int* n) : ended(n) {}
  counted_function(counted_function&& other) noexcept : ended(std::exchange(other.ended, nullptr)) {}
  ~counted_function() {
    if (ended) ++*ended;
  }
  void operator()() const {}
  int* ended;
};

// Two children of a context without handles, one of them below a value: it has a hold of its own.
void apart_orphan() {
  auto [top, cancel] = with_cancel(background());
  auto middle = std::make_unique<cancelable>(with_cancel(top));
  middle->cancel.release();
  std::unique_ptr<cancelable> far, near;
  {
    context value = heed::with_value(middle->ctx, number, 1);
    far = std::make_unique<cancelable>(with_cancel(value));
  }
  near = std::make_unique<cancelable>(with_cancel(middle->ctx));
  far->cancel.release();
  near->cancel.release();
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] {
    middle.reset();
    far.reset();
  });
  spawn([&] { near.reset(); });
  join();
}

// The same where what is canceled goes itself.
void apart_at_the_root() {
  auto top = std::make_unique<cancelable>(with_cancel(background()));
  std::unique_ptr<cancelable> far, near;
  {
    context value = heed::with_value(top->ctx, number, 1);
    far = std::make_unique<cancelable>(with_cancel(value));
  }
  near = std::make_unique<cancelable>(with_cancel(top->ctx));
  far->cancel.release();
  near->cancel.release();
  spawn([&, c = top->cancel.share()] { c(); });
  spawn([&] { top.reset(); });
  spawn([&] {
    far.reset();
    near.reset();
  });
  join();
}

// One ends itself while it is turned; another is dropped.
void own_end_among() {
  auto [top, cancel] = with_cancel(background());
  auto one = std::make_unique<cancelable>(with_cancel(top));
  auto two = std::make_unique<cancelable>(with_cancel(top));
  auto three = std::make_unique<cancelable>(with_cancel(top));
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] {
    one->cancel("why");
    one.reset();
  });
  spawn([&] { three.reset(); });
  join();
  check(two->ctx.done(), "it is done");
  two.reset();
}

// Who leaves a chunk is replaced by the last, which the walk may have turned already.
void swapped() {
  auto [top, cancel] = with_cancel(background());
  std::unique_ptr<cancelable> c[3];
  for (auto& one : c) {
    one = std::make_unique<cancelable>(with_cancel(top));
    one->cancel.release();
  }
  spawn([&, end = cancel.share()] { end(); });
  spawn([&] {
    c[0].reset();
    c[2].reset();
  });
  spawn([&] { c[1].reset(); });
  join();
}

// A child comes, another goes, both are turned.
void grow_and_turn() {
  auto [top, cancel] = with_cancel(background());
  auto one = std::make_unique<cancelable>(with_cancel(top));
  one->cancel.release();
  std::optional<cancelable> late;
  spawn([&, end = cancel.share()] { end(); });
  spawn([&] { one.reset(); });
  spawn([&] { late.emplace(with_cancel(top)); });
  join();
  check(late->ctx.done(), "it is done");
}

// A walk that finds no callbacks on its root leaves it alone afterwards: one that comes meanwhile runs all
// the same.
void callback_on_root() {
  auto [ctx, cancel] = with_cancel(background());
  auto below = with_cancel(ctx);
  heed::sync::atomic<int> runs{0};
  std::optional<callback> registered;
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { registered.emplace(ctx, [&] { runs.fetch_add(1, std::memory_order_relaxed); }); });
  spawn([&] {
    if (ctx.done()) static_cast<void>(ctx.cause());
  });
  join();
  check(runs.load(std::memory_order_relaxed) == 1, "it has run once");
  registered.reset();
}

// The same on a child that is turned by one exchange.
void callback_on_turned() {
  auto [top, cancel] = with_cancel(background());
  auto one = with_cancel(top);
  auto two = std::make_unique<cancelable>(with_cancel(top));
  heed::sync::atomic<int> runs{0};
  std::optional<callback> registered;
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { registered.emplace(one.ctx, [&] { runs.fetch_add(1, std::memory_order_relaxed); }); });
  spawn([&] {
    auto below = with_cancel(two->ctx);
    two.reset();
  });
  join();
  check(runs.load(std::memory_order_relaxed) == 1, "it has run once");
  registered.reset();
}

// The last handle of what a function hangs on, against its parent's cancel and end.
void hooked_function_canceled() {
  heed::manual_scheduler time;
  int gone = 0;
  {
    auto top = std::make_unique<cancelable>(with_cancel(background(time)));
    auto middle = std::make_unique<cancelable>(with_cancel(top->ctx));
    middle->cancel.release();
    { auto stop = heed::after_func(middle->ctx, counted_function(&gone)); }
    spawn([&, c = top->cancel.share()] { c(); });
    spawn([&] { top.reset(); });
    spawn([&] { middle.reset(); });
    join();
    static_cast<void>(time.run_pending());
    check(gone == 1, "F destroyed once");
  }
}

// The same with a child.
void hooked_child() {
  auto top = std::make_unique<cancelable>(with_cancel(background()));
  auto middle = std::make_unique<cancelable>(with_cancel(top->ctx));
  middle->cancel.release();
  auto leaf = std::make_unique<cancelable>(with_cancel(middle->ctx));
  leaf->cancel.release();
  spawn([&, c = top->cancel.share()] { c(); });
  spawn([&] {
    top.reset();
    middle.reset();
  });
  spawn([&] { leaf.reset(); });
  join();
}

// A deadline's handles go while its parent is canceled and goes.
void deadline_child() {
  auto parent = std::make_unique<cancelable>(with_cancel(background()));
  auto made = std::make_unique<cancelable>(heed::with_timeout(parent->ctx, 1h));
  spawn([&, c = parent->cancel.share()] { c(); });
  spawn([&] { made.reset(); });
  spawn([&] { parent.reset(); });
  join();
}

// One of two cancels has a cause to write, the other has none and claims nothing.
void direct_against_claim() {
  auto top = with_cancel(background());
  auto leaf = with_cancel(top.ctx);
  bool one = false, two = false;
  spawn([&, c = top.cancel.share()] {
    one = c();
    check(top.ctx.done() && (!one || leaf.ctx.done()), "I3 one");
  });
  spawn([&, c = top.cancel.share()] {
    two = c("why");
    check(top.ctx.done(), "done two");
  });
  spawn([&] {
    if (leaf.ctx.done()) {
      auto why = leaf.ctx.cause();
      check(bool(why), "a cause");
      check(top.ctx.cause() == why, "the same");
    }
  });
  join();
  check(one != two, "one decided");
  check((top.ctx.cause().message() == "why") == two, "cause");
}

// Sleepers on children that are turned.
void waiters_among() {
  auto [top, cancel] = with_cancel(background());
  auto one = with_cancel(top);
  auto two = with_cancel(top);
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] {
    one.ctx.wait();
    check(top.done(), "parents first");
  });
  spawn([&] { two.ctx.wait(); });
  join();
}

// A descriptor made while a child is turned.
void fd_among() {
  auto [top, cancel] = with_cancel(background());
  auto one = with_cancel(top);
  auto two = with_cancel(top);
  spawn([&, c = cancel.share()] { c(); });
  spawn([&] { static_cast<void>(one.ctx.done_fd()); });
  spawn([&] {
    if (one.ctx.done()) check(top.done(), "parents first");
  });
  join();
  check(one.ctx.done() && two.ctx.done(), "it is done");
}

// What is given back as a block, dropped from three sides.
void small_values() {
  auto top = std::make_unique<cancelable>(with_cancel(background()));
  context v = heed::with_value(top->ctx, number, 1);
  context d = heed::without_cancel(v);
  context w = heed::with_value(d, number, 2);
  spawn([x = v, y = w]() mutable {
    check(*y.value(number) == 2, "2");
    x = context();
    y = context();
  });
  spawn([x = std::move(w), d2 = std::move(d)]() mutable {
    d2 = context();
    x = context();
  });
  spawn([&, x = std::move(v)]() mutable {
    top.reset();
    x = context();
  });
  join();
}

}  // namespace

std::vector<kernel> walk_kernels() {
  return {
      {"walk.apart_orphan", apart_orphan},
      {"walk.apart_at_the_root", apart_at_the_root},
      {"walk.own_end_among", own_end_among},
      {"walk.swapped", swapped},
      {"walk.grow_and_turn", grow_and_turn},
      {"walk.callback_on_root", callback_on_root},
      {"walk.callback_on_turned", callback_on_turned},
      {"walk.hooked_function_canceled", hooked_function_canceled},
      {"walk.hooked_child", hooked_child},
      {"walk.deadline_child", deadline_child},
      {"walk.direct_against_claim", direct_against_claim},
      {"walk.waiters_among", waiters_among},
      {"walk.fd_among", fd_among},
      {"walk.small_values", small_values},
  };
}

}  // namespace model
