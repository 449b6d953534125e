// Callbacks are called without arguments.
#include <heed/heed.hpp>

void f(const heed::context& ctx) {
#if WRONG == 1
  // WRONG 1: heed::cancel_callback: F is called without arguments
  heed::cancel_callback callback(ctx, [](int) {});
#elif WRONG == 2
  heed::after_func(ctx, [](int) {});  // WRONG 2: no matching function
#else
  heed::cancel_callback callback(ctx, [] {});
  heed::after_func(ctx, [] {});
#endif
}
