// Leaving scope cancels, so a result that is thrown away is a context that is done at once.
#include <heed/heed.hpp>

void f(const heed::context& ctx) {
#if WRONG == 1
  heed::with_cancel(ctx);  // WRONG 1: nodiscard
#elif WRONG == 2
  heed::with_timeout(ctx, std::chrono::seconds(1));  // WRONG 2: nodiscard
#else
  auto [child, cancel] = heed::with_cancel(ctx);
#endif
}
