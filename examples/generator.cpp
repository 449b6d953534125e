// A generator on its own thread, stopped by a cancel: the consumer takes what it needs, leaves the scope, and
// nothing is left running. Also how a condition variable is woken by a context: a cancel_callback notifies
// it.
#include "check.hpp"

#include <heed/heed.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

namespace {

// Hands one number at a time from one thread to another; gives up when the context ends.
class handoff {
 public:
  bool put(const heed::context& ctx, int value) {
    return when(ctx, [&] { return !value_; }, [&] { value_ = value; });
  }
  std::optional<int> take(const heed::context& ctx) {
    std::optional<int> taken;
    when(ctx, [&] { return value_.has_value(); }, [&] { std::swap(taken, value_); });
    return taken;
  }

 private:
  bool when(const heed::context& ctx, auto ready, auto act) {
    // Before the lock: its end may wait for the callback, which takes the lock.
    const heed::cancel_callback wake(ctx, [&] {
      const std::lock_guard lock(mutex_);  // so that the waiter is not just between its test and its sleep
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready() || ctx.done(); });
    if (ctx.err()) return false;
    act();
    changed_.notify_all();
    return true;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<int> value_;
};

}  // namespace

int main() {
  handoff numbers;
  int last_offered = 0;
  std::jthread generator;  // declared before the context: joined after the cancel
  {
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    generator = std::jthread([&numbers, &last_offered, ctx] {
      for (int n = 1; numbers.put(ctx, n); ++n) last_offered = n;
    });
    int sum = 0;
    for (int i = 0; i < 5; ++i) sum += numbers.take(ctx).value_or(0);
    check(sum == 15, "the first five numbers arrive: 1 + 2 + 3 + 4 + 5 = 15");
  }  // leaving the scope cancels
  generator.join();
  check(last_offered >= 5, "the generator made at least those five");
  check(last_offered <= 6, "it ran at most one ahead, and has ended");
}
