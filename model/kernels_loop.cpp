// Waits in an event loop that is not ours (event_loop.cpp): the context's end, the loop's cancellation and
// the loop's own end contend for each, and one gets it. Afterwards nobody touches the loop.
#include "engine.hpp"
#include "kernels.hpp"

#include <heed/event_loop.hpp>
#include <heed/heed.hpp>
#include <heed/manual_scheduler.hpp>

#include <memory>
#include <system_error>
#include <utility>

namespace model {
namespace {

using heed::background;
using heed::context;
using heed::with_cancel;

// What a handler and its loop are to a wait. Plain numbers, so that it is a race if two have the wait.
struct loop {
  int resumed = 0;
  int destroyed = 0;
  std::error_code result;
  const std::shared_ptr<heed::loop_waits> waits = std::make_shared<heed::loop_waits>();
};

class in_loop final : public heed::loop_wait {
 public:
  explicit in_loop(loop& of) : of_(of) {}

 private:
  void resume(std::error_code result) noexcept override {
    ++of_.resumed;
    of_.result = result;
  }
  void destroy() noexcept override { ++of_.destroyed; }
  loop& of_;
};

std::shared_ptr<in_loop> start(loop& l, const context& ctx) {
  auto w = std::make_shared<in_loop>(l);
  l.waits->start(w, l.waits, ctx, nullptr);
  return w;
}
// As a shutdown does: what comes after it may take the loop away. How often it had been resumed.
int end(std::unique_ptr<loop>& l) {
  l->waits->close();
  check(l->resumed + l->destroyed == 1, "one of them has got it");
  const int resumed = l->resumed;
  l.reset();
  return resumed;
}

void closed_while_cancel() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto l = std::make_unique<loop>();
    start(*l, ctx);
    spawn([&, c = cancel.share()] {
      c();
      time.run_pending();
    });
    spawn([&] { end(l); });
    join();
    time.run_pending();
  }
}

// The loop gives the operation up, by a handle on the wait alone.
void given_up_while_cancel() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto l = std::make_unique<loop>();
    const auto w = start(*l, ctx);
    spawn([&, c = cancel.share()] {
      c();
      time.run_pending();
    });
    spawn([&, waits = l->waits] {
      waits->finish(*w, std::make_error_code(std::errc::operation_canceled));
      waits->finish(*w, std::make_error_code(std::errc::operation_canceled));
    });
    join();
    check(l->resumed == 1, "once");
    check(l->result == heed::errc::canceled || l->result == std::errc::operation_canceled, "with its reason");
    time.run_pending();
    end(l);
  }
}

// All three.
void given_up_while_closed() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto l = std::make_unique<loop>();
    const auto w = start(*l, ctx);
    spawn([&, c = cancel.share()] {
      c();
      time.run_pending();
    });
    spawn([&, waits = l->waits] { waits->finish(*w, std::make_error_code(std::errc::operation_canceled)); });
    spawn([&] { end(l); });
    join();
    time.run_pending();
  }
}

// It is just being registered: the end of the context, or of the loop, comes before there is anything to
// stop.
void started_while_cancel() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto l = std::make_unique<loop>();
    spawn([&, c = cancel.share()] {
      c();
      time.run_pending();
    });
    spawn([&] { start(*l, ctx); });
    join();
    time.run_pending();
    check(l->resumed == 1, "once");
    check(end(l) == 1, "and not destroyed");
  }
}

void started_while_closed() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto l = std::make_unique<loop>();
    spawn([&, c = cancel.share()] {
      c();
      time.run_pending();
    });
    spawn([&] { start(*l, ctx); });
    spawn([&] { l->waits->close(); });
    join();
    time.run_pending();
    end(l);
  }
}

// The loop ends meanwhile, and the context does not: nothing of the loop is left with that.
void closed_while_started() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    auto l = std::make_unique<loop>();
    const std::weak_ptr<heed::loop_waits> left = l->waits;
    spawn([&] { start(*l, ctx); });
    spawn([&] { l->waits->close(); });
    join();
    check(end(l) == 0, "destroyed");
    check(left.expired(), "nothing keeps it");
  }
}

// Two in one loop: the one that leaves, twice, is in the middle of what close() goes through.
void two_while_closed() {
  heed::manual_scheduler time;
  {
    auto [ctx, cancel] = with_cancel(background(time));
    const auto other = with_cancel(background(time));
    auto l = std::make_unique<loop>();
    const auto stays = start(*l, other.ctx);
    const auto ends = start(*l, ctx);
    spawn([&, c = cancel.share()] {
      c();
      time.run_pending();
    });
    spawn(
        [&, waits = l->waits] { waits->finish(*ends, std::make_error_code(std::errc::operation_canceled)); });
    spawn([&] {
      l->waits->close();
      check(l->destroyed >= 1 && l->resumed + l->destroyed == 2, "each has been got by one");
      l.reset();
    });
    join();
  }
}

}  // namespace

std::vector<kernel> loop_kernels() {
  return {
      {"loop.closed", closed_while_cancel},
      {"loop.given_up", given_up_while_cancel},
      {"loop.given_up_while_closed", given_up_while_closed},
      {"loop.started", started_while_cancel},
      {"loop.started_while_closed", started_while_closed},
      {"loop.closed_while_started", closed_while_started},
      {"loop.two", two_while_closed},
  };
}

}  // namespace model
