// A temporary key would be gone before the context that names it.
#include <heed/heed.hpp>

inline constexpr heed::key<int> right{"right"};

heed::context f(const heed::context& ctx) {
#if WRONG == 1
  // WRONG 1: deleted
  return heed::with_value(ctx, heed::key<int>("wrong"), 1);
#elif WRONG == 2
  // WRONG 2: deleted
  return heed::with_value(ctx, heed::key<int>("wrong"), std::in_place, 1);
#elif WRONG == 3
  // WRONG 3: deleted
  return heed::with_value(heed::context(ctx), heed::key<int>("wrong"), 1);
#else
  return heed::with_value(ctx, right, 1);
#endif
}
