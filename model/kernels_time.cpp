// Deadlines that fire while something else happens.
#include "engine.hpp"
#include "kernels.hpp"

#include <heed/heed.hpp>
#include <heed/manual_scheduler.hpp>

#include <memory>
#include <optional>

namespace model {
namespace {

using heed::cancelable;
using heed::errc;
using namespace std::chrono_literals;

void fires_while_cancel() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = heed::with_timeout(heed::background(time), 1s, "late");
    bool won = false;
    spawn([&] { time.advance(2s); });
    spawn([&, c = cancel.share()] { won = c(); });
    join();
    check(ctx.err() == (won ? errc::canceled : errc::deadline_exceeded), "one verdict");
    check(won ? ctx.cause() == errc::canceled : ctx.cause().message() == "late", "and its cause");
  }
}

void fires_while_parent_cancels() {
  heed::manual_scheduler time;
  {
    auto [parent, cancel] = heed::with_cancel(heed::background(time));
    auto child = heed::with_timeout(parent, 1s);
    auto below = heed::with_cancel(child.ctx);
    spawn([&] { time.advance(2s); });
    spawn([&, c = cancel.share()] {
      c();
      check(child.ctx.done() && below.ctx.done(), "I3");
    });
    join();
    check(below.ctx.err() == child.ctx.err(), "the child's verdict below");
  }
}

void fires_while_dropped() {
  heed::manual_scheduler time;
  {
    auto made = std::make_unique<cancelable>(heed::with_timeout(heed::background(time), 1s));
    heed::context copy = made->ctx;
    spawn([&] { time.advance(2s); });
    spawn([&] { made.reset(); });
    spawn([c = std::move(copy)]() mutable { c = heed::context(); });
    join();
  }
}

// Its handles, and two that are detached below, have a hold each, and let go at once: who comes last, after
// two tries that others spoiled, finds the timer still armed, and the timer no hold that it could add to.
void fires_while_three_let_go() {
  heed::manual_scheduler time;
  {
    auto made = std::make_unique<cancelable>(heed::with_timeout(heed::background(time), 1s));
    made->cancel.release();
    std::unique_ptr<heed::context> far[2];
    for (auto& one : far) one = std::make_unique<heed::context>(heed::without_cancel(made->ctx));
    spawn([&] { time.advance(2s); });
    spawn([&] { made.reset(); });
    for (auto& one : far) spawn([&] { one.reset(); });
    join();
  }
}

// The deadline keeps the context, nobody else.
void fires_after_release() {
  heed::manual_scheduler time;
  {
    int runs = 0;
    auto made = std::make_unique<cancelable>(heed::with_timeout(heed::background(time), 1s));
    made->cancel.release();
    heed::after_func(made->ctx, [&] { ++runs; });
    spawn([&] { time.advance(2s); });
    spawn([&] { made.reset(); });
    join();
    time.run_pending();
    check(runs == 1, "it fired");
  }
}

void fires_while_it_is_made() {
  heed::manual_scheduler time;
  {
    auto [parent, cancel] = heed::with_cancel(heed::background(time));
    std::optional<cancelable> child;
    spawn([&] { time.advance(2s); });
    spawn([&] { child.emplace(heed::with_timeout(parent, 1s)); });
    spawn([&, c = cancel.share()] { c(); });
    join();
    check(child->ctx.done(), "by its parent at the latest");
  }
}

void two_advance() {
  heed::manual_scheduler time;
  {
    auto one = heed::with_timeout(heed::background(time), 1s);
    auto two = heed::with_timeout(one.ctx, 500ms);
    spawn([&] { time.advance(2s); });
    spawn([&] { time.advance(2s); });
    join();
    check(one.ctx.err() == errc::deadline_exceeded && two.ctx.err() == errc::deadline_exceeded,
          "both have passed");
  }
}

void wakes_who_waits() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = heed::with_timeout(heed::background(time), 1s);
    spawn([&] { ctx.wait(); });
    spawn([&] { time.advance(2s); });
    join();
    check(ctx.err() == errc::deadline_exceeded, "it has passed");
  }
}

}  // namespace

std::vector<kernel> time_kernels() {
  return {
      {"time.cancel", fires_while_cancel},    {"time.parent_cancels", fires_while_parent_cancels},
      {"time.dropped", fires_while_dropped},  {"time.three_let_go", fires_while_three_let_go},
      {"time.released", fires_after_release}, {"time.made", fires_while_it_is_made},
      {"time.two_advance", two_advance},      {"time.wakes", wakes_who_waits},
  };
}

}  // namespace model
