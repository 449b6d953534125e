// A deadline is a point on steady_clock or system_clock; what another clock's points mean is its owner's to
// say.
#include <heed/heed.hpp>

struct user_clock {
  using duration = std::chrono::seconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<user_clock>;
  static constexpr bool is_steady = false;
  static time_point now() { return time_point(duration(1)); }
};

void f(const heed::context& ctx) {
#if WRONG == 1
  auto [child, cancel] = heed::with_deadline(ctx, user_clock::now());  // WRONG 1: to_time_point
#elif WRONG == 2
  static_cast<void>(ctx.wait_until(user_clock::now()));  // WRONG 2: to_time_point|no matching|cannot convert
#else
  auto [child, cancel] = heed::with_deadline(ctx, std::chrono::system_clock::now());
  auto [later, cancel_later] = heed::with_deadline(child, std::chrono::steady_clock::now());
#endif
}
