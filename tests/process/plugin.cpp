// A plug-in that uses heed. use() starts no thread: the code may go afterwards at any time.
#include "plugin.hpp"

#include <heed/manual_scheduler.hpp>

using namespace std::chrono_literals;

#define PLUGIN extern "C" [[gnu::visibility("default")]]

PLUGIN int use() {
  heed::manual_scheduler time;
  auto [top, cancel] = heed::with_cancel(heed::background(time));
  auto [timed, stop] = heed::with_timeout(top, 1s, "late");
  auto [both, end] = heed::merge(heed::with_value(timed, plugin_key, 1), top);
  int told = 0;
  const heed::cancel_callback cb(both, [&] { ++told; });
  heed::after_func(both, [&] { ++told; });
  if (both.done_fd() < 0 || both.done()) return 1;
  time.advance(1s);
  if (time.run_pending() != 1 || told != 2) return 2;
  if (both.cause().message() != "late" || top.done() || !cancel("end")) return 3;
  return *both.value(plugin_key) == 1 ? 0 : 4;
}

PLUGIN int use_threads() {
  const auto first = heed::with_timeout(heed::background(), 1ms);
  first.ctx.wait();
  const auto second = heed::with_timeout(heed::background(), 1h);  // heed's thread sleeps for this one
  return first.ctx.done() && !second.ctx.done() ? 0 : 1;
}

PLUGIN void give(heed::context* ctx) {
  *ctx = heed::with_value(*ctx, plugin_key, 7);
}
PLUGIN const int* take(const heed::context* ctx) {
  return ctx->value(plugin_key);
}
PLUGIN const void* key_address() {
  return &plugin_key;
}
