// The value must be something that makes a T.
#include <heed/heed.hpp>

#include <memory>
#include <string>

inline constexpr heed::key<int> number{"number"};
inline constexpr heed::key<std::unique_ptr<int>> owner{"owner"};

heed::context f(const heed::context& ctx) {
#if WRONG == 1
  return heed::with_value(ctx, number, std::string("7"));  // WRONG 1: no matching function
#elif WRONG == 2
  const std::unique_ptr<int> kept;
  return heed::with_value(ctx, owner, kept);  // WRONG 2: no matching function
#elif WRONG == 3
  return heed::with_value(ctx, number, std::in_place, 1, 2);  // WRONG 3: no matching function
#elif WRONG == 4
  const std::string* s = ctx.value(number);  // WRONG 4: cannot (convert|initialize)
  return heed::with_value(ctx, number, s ? 1 : 2);
#else
  const heed::context with_owner = heed::with_value(ctx, owner, std::make_unique<int>(7));
  return heed::with_value(with_owner, number, std::in_place, 7);
#endif
}
