#include "rows.hpp"

#include <heed/callback.hpp>
#include <heed/heed.hpp>

namespace {

template <class Body>
void on_one_context(bench::suite& s, const std::string& name, Body body) {
  const heed::cancelable one = heed::with_cancel(heed::background());
  for (std::size_t threads : s.sizes({1, 2, 3, 4, 6, 8})) {
    s.timed(bench::named(name, "threads", threads), [&](std::size_t n) {
      return bench::parallel(threads, n, [&](bench::worker& w) {
        w.start();
        for (std::size_t i = 0; i < w.n; ++i) body(one.ctx);
        w.stop();
      });
    });
  }
}

}  // namespace

void callbacks(bench::suite& s) {
  on_one_context(s, "AfterFunc", [](const heed::context& ctx) {
    const heed::stop_func stop = heed::after_func(ctx, [] { bench::wrong("after_func ran"); });
    if (!stop()) bench::wrong("stop()");
  });
  on_one_context(s, "CancelCallback", [](const heed::context& ctx) {
    const heed::cancel_callback callback(ctx, [] { bench::wrong("cancel_callback ran"); });
    bench::clobber();
  });
}
