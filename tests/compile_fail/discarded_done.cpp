// done(ctx) does nothing unless it is awaited; a stop_bridge is where its callback is.
#include <heed/coroutine.hpp>
#include <heed/stop_token.hpp>

#include <memory>
#include <utility>

void f(const heed::context& ctx) {
#if WRONG == 1
  heed::done(ctx);  // WRONG 1: nodiscard
#elif WRONG == 2
  heed::stop_token token(ctx);
  heed::stop_callback callback(token,
                               [](int) {});  // WRONG 2: (no matching|no viable|F is called without arguments)
#elif WRONG == 3
  heed::stop_token token = ctx;  // WRONG 3: (conversion|no viable)
#else
  [[maybe_unused]] auto end = heed::done(ctx);
  heed::stop_token token(ctx);
  heed::stop_callback callback(token, [] {});
#endif
}
