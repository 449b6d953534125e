// A queue with a condition variable, as everybody has written one, whose pop() a context can end; and a
// semaphore that keeps the number of jobs under way small, whose acquire() it can end, too.
#include "check.hpp"

#include <heed/heed.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <queue>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

template <class T>
class queue {
 public:
  void push(T value) {
    const std::lock_guard lock(mutex_);
    items_.push(std::move(value));
    ready_.notify_one();
  }
  // The next item; none, if ctx ends before there is one. What is there is handed out, even at the end.
  std::optional<T> pop(const heed::context& ctx) {
    std::unique_lock lock(mutex_);
    if (heed::wait(ctx, ready_, lock, [&] { return !items_.empty(); })) return std::nullopt;
    T value = std::move(items_.front());
    items_.pop();
    return value;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::queue<T> items_;
};

}  // namespace

int main() {
  auto [ctx, cancel] = heed::with_cancel(heed::background());
  queue<int> jobs;
  queue<int> results;
  heed::semaphore under_way(2);  // no more than two at once, however many workers there are
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < 4; ++i) {
      workers.emplace_back([&, work = ctx] {
        while (const auto job = jobs.pop(work)) {
          if (under_way.acquire(work)) return;
          results.push(*job * *job);
          under_way.release();
        }
      });
    }
    int sum = 0;
    for (int i = 1; i <= 10; ++i) jobs.push(i);
    for (int i = 1; i <= 10; ++i) sum += *results.pop(ctx);
    check(sum == 385, "ten jobs are done");

    auto [patience, give_up] = heed::with_timeout(ctx, 10ms);
    check(!results.pop(patience), "a pop with a deadline ends, though nothing comes");
    check(patience.err() == heed::errc::deadline_exceeded, "for that reason");

    jobs.push(11);
    check(*results.pop(ctx) == 121, "and the workers are still there");
    cancel("closing time");
  }
  check(true, "all workers have stopped waiting, and are joined");

  check(heed::sleep_for(ctx, 1h) == heed::errc::canceled,
        "under a canceled context nobody sleeps for an hour");
  auto [other, cancel_other] = heed::with_cancel(heed::background());
  check(heed::wait_any({other, ctx}) == 1, "the second of two is done");
}
