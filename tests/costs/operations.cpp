// What operations cost in instructions: run under callgrind, which writes a dump after each (check_costs.py).
#include <heed/heed.hpp>

#include <valgrind/callgrind.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr int times = 1000;

template <class F>
void measure(const char* name, F operation) {
  for (int i = 0; i < times; ++i) operation();  // what is made once is there from here on
  CALLGRIND_ZERO_STATS;
  for (int i = 0; i < times; ++i) operation();
  CALLGRIND_DUMP_STATS_AT(name);
}

// As far as the compiler knows, somebody looks at it.
template <class T>
void keep(const T& value) {
  asm volatile("" ::"r"(&value) : "memory");
}

constexpr heed::key<int> key{"key"};
constexpr heed::key<int> other_key{"other"};
constexpr heed::key<long> long_key{"long"};
constexpr heed::key<std::string> text_key{"text"};

// A chain of ten; only its lowest context is in hand in the end, and nothing cancels there.
heed::context chain(heed::context from) {
  for (int i = 0; i < 10; ++i) {
    heed::cancelable next = heed::with_cancel(from);
    next.cancel.release();
    from = std::move(next.ctx);
  }
  return from;
}

}  // namespace

int main() {
  const heed::context background;
  auto [live, cancel_live] = heed::with_cancel(background);
  auto [ended, cancel_ended] = heed::with_cancel(background);
  cancel_ended();
  heed::context values = live;
  for (int i = 0; i < 10; ++i) values = heed::with_value(values, i == 0 ? key : other_key, i);

  // heed's own threads are there, too: what fires is served by both.
  heed::cancelable fired = heed::with_cancel(background);
  const heed::cancelable early = heed::with_timeout(background, std::chrono::milliseconds(1));
  heed::after_func(early.ctx, [&] { fired.cancel(); });
  fired.ctx.wait();

  measure("nothing", [&] { keep(live); });
  measure("err, live", [&] {
    if (live.err()) std::abort();
    keep(live);
  });
  measure("err, canceled", [&] {
    if (!ended.err()) std::abort();
    keep(ended);
  });
  measure("copy", [&] { keep(heed::context(live)); });
  measure("with_cancel + cancel, background", [&] {
    auto c = heed::with_cancel(background);
    c.cancel();
  });
  measure("with_cancel + cancel, open parent", [&] {
    auto c = heed::with_cancel(live);
    c.cancel();
  });
  measure("with_cancel + cancel with a cause, open parent", [&] {
    auto c = heed::with_cancel(live);
    c.cancel(std::errc::io_error);
  });
  measure("with_cancel, canceled parent", [&] { keep(heed::with_cancel(ended)); });
  measure("with_timeout + cancel", [&] {
    auto c = heed::with_timeout(background, std::chrono::hours(1));
    c.cancel();
  });
  measure("with_value", [&] { keep(heed::with_value(live, key, 1)); });
  measure("with_value, of eight bytes", [&] { keep(heed::with_value(live, long_key, 1)); });
  measure("with_value, of a string", [&] { keep(heed::with_value(live, text_key, "text")); });
  {
    const heed::context base = heed::with_value(live, text_key, "a server's");
    measure("a request: a value, a context, cancel", [&] {
      const heed::context request = heed::with_value(base, key, 1);
      const auto [ctx, cancel] = heed::with_cancel(request);
      cancel();
    });
    measure("five values, one below the other", [&] {
      heed::context ctx = base;
      for (int i = 0; i < 5; ++i) ctx = heed::with_value(ctx, key, i);
      keep(ctx);
    });
  }
  measure("with_value twice, the first moved",
          [&] { keep(heed::with_value(heed::with_value(heed::background(), key, 1), other_key, 2)); });
  measure("with_cancel, a child gone, + cancel", [&] {
    const auto [ctx, cancel] = heed::with_cancel(heed::background());
    keep(heed::with_cancel(ctx));
    cancel();
  });
  measure("a chain of ten, background", [&] { keep(chain(background)); });
  measure("a chain of ten, canceled by its parent", [&] {
    const auto [ctx, cancel] = heed::with_cancel(background);
    const heed::context lowest = chain(ctx);
    cancel();
    keep(lowest);
  });
  measure("a chain of ten, canceled parent", [&] { keep(chain(ended)); });
  measure("without_cancel", [&] { keep(heed::without_cancel(live)); });
  measure("merge + cancel", [&] {
    auto c = heed::merge(live, background);
    c.cancel();
  });
  {
    const heed::cancelable timed = heed::with_timeout(background, std::chrono::hours(1));
    const heed::cancelable below = heed::with_cancel(timed.ctx);
    measure("deadline, of the parent", [&] { keep(below.ctx.deadline()); });
  }
  measure("value, nearest", [&] {
    if (!values.value(other_key)) std::abort();
    keep(values);
  });
  measure("value, below nine others", [&] {
    if (!values.value(key)) std::abort();
    keep(values);
  });
  measure("cancel_callback", [&] { keep(heed::cancel_callback(live, [] {})); });
  measure("after_func + stop", [&] {
    if (!heed::after_func(live, [] {})()) std::abort();
  });
  measure("a child made, canceled by its parent, dropped", [&] {
    static int once = 0;
    if (once++ % times != 0) return;  // making them is dear
    auto parent = heed::with_cancel(background);
    std::vector<heed::cancelable> children;
    for (int i = 0; i < times; ++i) children.push_back(heed::with_cancel(parent.ctx));
    parent.cancel();
  });
  return 0;
}
