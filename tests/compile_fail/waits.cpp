// Waits that could only be wrong: the lock of another condition variable, what is no predicate, a foreign
// clock.
#include <heed/wait.hpp>

#include <condition_variable>
#include <mutex>

struct user_clock {
  using duration = std::chrono::seconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<user_clock>;
  static constexpr bool is_steady = false;
  static time_point now() { return time_point(duration(1)); }
};

std::error_code f(const heed::context& ctx, std::condition_variable& cv, std::condition_variable_any& any,
                  std::mutex& m, std::recursive_mutex& r) {
  std::unique_lock lock(m);
  std::unique_lock other(r);
#if WRONG == 1
  return heed::wait(ctx, cv, other, [] { return true; });  // WRONG 1: no matching function
#elif WRONG == 2
  return heed::wait(ctx, cv, lock, [] {});  // WRONG 2: no matching function
#elif WRONG == 3
  return heed::wait(ctx, any, r, [](int) { return true; });  // WRONG 3: no matching function
#elif WRONG == 4
  return heed::wait(ctx, cv, std::unique_lock(m), [] { return true; });  // WRONG 4: no matching function
#elif WRONG == 5
  return heed::sleep_for(ctx, 5);  // WRONG 5: no matching function
#elif WRONG == 6
  return heed::sleep_until(ctx, user_clock::now());  // WRONG 6: to_time_point
#else
  if (const auto e = heed::wait(ctx, cv, lock, [] { return 1; })) return e;
  return heed::wait(ctx, any, other, [] { return true; });
#endif
}
