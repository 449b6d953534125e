// What is visible to whom, when, in the ways that the other kernels pass by.
#include "engine.hpp"
#include "kernels.hpp"
#include "os_model.hpp"

#include <heed/heed.hpp>
#include <heed/inspect.hpp>
#include <heed/manual_scheduler.hpp>
#include <heed/memory.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <sstream>

namespace model {
namespace {

using heed::background;
using heed::cancelable;
using heed::context;
using heed::with_cancel;
using callback = heed::cancel_callback<std::function<void()>>;

// I4 where the end is one step: nothing hangs there, and there is no cause.
void reader_of_one_step() {
  auto [ctx, cancel] = with_cancel(background());
  auto payload = std::make_unique<int>(0);
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c();
  });
  spawn([&] {
    if (!ctx.done()) return;
    check(*payload == 1, "what came before cancel()");
    check(ctx.canceled_at().has_value(), "the place");
  });
  join();
}

// The same for a deadline of heed's own scheduler.
void reader_of_deadline() {
  fresh_process();
  auto [ctx, cancel] = heed::with_timeout(background(), std::chrono::seconds(1));
  auto payload = std::make_unique<int>(0);
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c();
  });
  spawn([&] {
    if (ctx.done()) check(*payload == 1, "what came before cancel()");
  });
  join();
}

// Who cancels second and is told so sees what came before the first.
void second_sees_first(heed::error its_cause) {
  auto [ctx, cancel] = with_cancel(background());
  auto payload = std::make_unique<int>(0);
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c();
  });
  spawn([&, c = cancel.share(), cause = std::move(its_cause)] {
    if (!c(cause)) check(*payload == 1, "what came before the first cancel()");
  });
  join();
}

// A callback that is registered too late runs at once, and sees it too.
void late_callback_sees_all() {
  auto [ctx, cancel] = with_cancel(background());
  auto payload = std::make_unique<int>(0);
  std::optional<callback> registered;
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c();
  });
  spawn([&] { registered.emplace(ctx, [&] { check(*payload == 1, "what came before cancel()"); }); });
  join();
}

// I1: a function that starts because it has ended looks at the descriptor, and asks nothing else.
void late_function_looks_at_descriptor() {
  reset_events();
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    const int fd = ctx.done_fd();
    spawn([c = cancel.share()] { c(); });
    spawn([&] {
      heed::after_func(ctx, [&] { check(readable(fd), "the descriptor tells it, too"); });
      time.run_pending();
    });
    join();
    time.run_pending();
  }
}

// A function sees all that came before, too: nothing else would order it.
void late_function_sees_all() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto payload = std::make_unique<int>(0);
    spawn([&, c = cancel.share()] {
      *payload = 1;
      c();
    });
    spawn([&] {
      heed::after_func(ctx, [&] { check(*payload == 1, "what came before cancel()"); });
      time.run_pending();
    });
    join();
    time.run_pending();
  }
}

// What is born too late does, too.
void late_child_sees_all() {
  auto [ctx, cancel] = with_cancel(background());
  auto sibling = with_cancel(ctx);
  auto payload = std::make_unique<int>(0);
  spawn([&, c = cancel.share()] {
    *payload = 1;
    c("why");
  });
  spawn([&] {
    const auto child = with_cancel(ctx);
    if (!child.ctx.done()) return;
    check(*payload == 1, "what came before cancel()");
    check(child.ctx.cause().message() == "why", "the cause");
  });
  join();
}

// The last who has an error frees its text: here two contexts' ends and who has asked.
void cause_outlives() {
  auto made = std::make_unique<cancelable>(with_cancel(background()));
  made->cancel("why");
  heed::error one = made->ctx.cause();
  heed::error two = one;
  spawn([&] { made.reset(); });
  spawn([e = std::move(one)]() mutable {
    check(e.message() == "why", "the text");
    e = {};
  });
  spawn([e = std::move(two)]() mutable { e = {}; });
  join();
}

// A picture pins what it looks at, under the lock under which others leave.
void picture_while_dropped() {
  auto [ctx, cancel] = with_cancel(background());
  auto child = std::make_unique<cancelable>(with_cancel(ctx));
  child->cancel.release();
  spawn([&] {
    std::ostringstream out;
    heed::dump(out, ctx);
    check(!out.str().empty(), "a picture");
  });
  spawn([&] { child.reset(); });
  join();
}

void picture_while_cancel() {
  auto [ctx, cancel] = with_cancel(background());
  auto child = with_cancel(ctx);
  spawn([&] {
    std::ostringstream out;
    heed::dump(out, ctx, heed::dump_format::json);
    static_cast<void>(heed::explain(child.ctx));
  });
  spawn([&, c = cancel.share()] { c("why"); });
  join();
}

// A memory of a root's own may go when nobody is in it.
class counted_memory final : public heed::memory {
 public:
  void* allocate(std::size_t bytes, std::size_t) override {
    ++blocks_;
    return ::operator new(bytes);
  }
  void deallocate(void* room, std::size_t, std::size_t) noexcept override {
    --blocks_;
    ::operator delete(room);
  }
  int blocks() const { return blocks_; }

 private:
  int blocks_ = 0;  // a race, if two threads are here in no order
};

void memory_goes_last() {
  auto kept_in = std::make_unique<counted_memory>();
  context root = background(*kept_in);
  auto below = std::make_unique<cancelable>(with_cancel(root));
  root = {};
  spawn([&] { below.reset(); });
  spawn([&] {
    kept_in->wait_unused();
    check(kept_in->blocks() == 0, "all was given back");
    kept_in.reset();
  });
  join();
}

void two_wait_for_memory() {
  auto kept_in = std::make_unique<counted_memory>();
  auto below = std::make_unique<cancelable>(with_cancel(background(*kept_in)));
  spawn([&] { below.reset(); });
  for (int i = 0; i < 2; ++i) {
    spawn([&] {
      kept_in->wait_unused();
      check(kept_in->blocks() == 0, "all was given back");
    });
  }
  join();
}

}  // namespace

std::vector<kernel> see_kernels() {
  return {
      {"see.one_step", reader_of_one_step},
      {"see.deadline", reader_of_deadline},
      {"see.second_cancel", [] { second_sees_first({}); }},
      {"see.second_cancel_because", [] { second_sees_first(heed::errc::canceled); }},
      {"see.late_callback", late_callback_sees_all},
      {"see.late_function", late_function_sees_all},
      {"see.late_function_descriptor", late_function_looks_at_descriptor},
      {"see.late_child", late_child_sees_all},
      {"see.cause", cause_outlives},
      {"picture.dropped", picture_while_dropped},
      {"picture.cancel", picture_while_cancel},
      {"memory.goes_last", memory_goes_last},
      {"memory.two_wait", two_wait_for_memory},
  };
}

}  // namespace model
