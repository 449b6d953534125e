// A process ends while deadlines are armed and threads sleep in every wait there is (case 28). Contexts are
// used in atexit handlers and in the destructors of static and thread_local objects.
#include "program.hpp"

#include <heed/group.hpp>
#include <heed/heed.hpp>
#include <heed/sync.hpp>
#include <heed/wait.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;
using process::check;

namespace {

void use(const char* where) {
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1h);
  int told = 0;
  const heed::cancel_callback cb(ctx, [&] { ++told; });
  heed::after_func(ctx, [] {});
  check(ctx.done_fd() >= 0 && cancel(where) && told == 1 && ctx.cause().message() == where, where);
}

struct at_end {
  const char* where;
  heed::cancelable kept = heed::with_timeout(heed::background(), 1h);
  ~at_end() { use(where); }
};

at_end in_static{"in a static destructor"};

// They sleep for good: the process ends under them. What they use is never destroyed.
void start_waiters() {
  struct things {
    heed::cancelable never = heed::with_cancel(heed::background());
    heed::mutex held;
    heed::semaphore none{0};
    std::mutex standard;
    std::condition_variable cv;
    std::atomic<int> started{0};
  };
  auto& all = *new things;
  all.held.lock();
  const auto start = [&all](auto wait) {
    std::thread([&all, wait] {
      thread_local at_end in_thread{"in a thread_local destructor"};
      ++all.started;
      wait(all);
    }).detach();
  };
  start([](things& t) { t.never.ctx.wait(); });
  start([](things& t) { t.never.ctx.wait_for(1h); });
  start([](things& t) { static_cast<void>(t.held.lock(t.never.ctx)); });
  start([](things& t) { static_cast<void>(t.none.acquire(t.never.ctx)); });
  start([](things& t) {
    const std::array two{t.never.ctx, heed::background()};
    heed::wait_any(two);
  });
  start([](things& t) {
    std::unique_lock lock(t.standard);
    static_cast<void>(heed::wait(t.never.ctx, t.cv, lock, [] { return false; }));
  });
  while (all.started < 6) std::this_thread::yield();
  for (int i = 1; i <= 200; ++i) heed::with_timeout(heed::background(), i * 100us).cancel.release();
}

}  // namespace

int main(int, char** arguments) {
  thread_local at_end in_main{"in main's thread_local destructor"};
  static_cast<void>(in_main.kept);
  std::atexit([] { use("in atexit"); });
  std::at_quick_exit([] { use("in at_quick_exit"); });
  std::thread([] {
    thread_local at_end in_thread{"in a thread_local destructor"};
    (void)in_thread;
  }).join();
  start_waiters();
  const char* how = arguments[1];
  std::printf("ends by %s\n", how);
  std::fflush(stdout);
  if (std::strcmp(how, "exit") == 0) std::exit(0);
  if (std::strcmp(how, "quick_exit") == 0) std::quick_exit(0);
  if (std::strcmp(how, "exit_elsewhere") == 0) std::thread([] { std::exit(0); }).join();
  return 0;
}
