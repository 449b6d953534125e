#include "futex.hpp"
#include "rows.hpp"

#include <heed/heed.hpp>

namespace {

using namespace std::chrono_literals;

struct context {
  heed::cancelable one = heed::with_cancel(heed::background());
  void wait() { one.ctx.wait(); }
  void end() { one.cancel(); }
  bool ended() const { return one.ctx.done(); }
};
// The floor, for one waiter.
struct bare_word {
  word over = 0;
  void wait() {
    while (!ended()) ::wait(over, 0);
  }
  void end() {
    over.store(1, std::memory_order_release);
    ::wake(over);
  }
  bool ended() const { return over.load(std::memory_order_acquire) == 1; }
};

// From the call of cancel() until all waiters run, and what cancel() itself took. The waiters have had time
// to fall asleep, and so has the core that they wake on. None ends before all have woken, and before cancel()
// has returned: to end a thread takes the kernel longer than to wake one, and those that wait for a core
// would wait for that. (Go keeps its threads.)
template <class Subject>
void wake_up(bench::suite& s, const std::string& name, std::size_t waiters) {
  if (!s.wants(name)) return;
  std::vector<double> first, last, canceling;
  for (int round = 0; round < (s.once() ? 1 : 20); ++round) {
    Subject one;
    std::vector<double> woken(waiters);
    bench::clock::time_point from;
    std::latch ready(static_cast<std::ptrdiff_t>(waiters) + 1),
        awake(static_cast<std::ptrdiff_t>(waiters) + 1);
    std::vector<std::thread> threads;
    for (double& at : woken) {
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        one.wait();
        at = bench::ns_since(from);
        bench::check(one.ended(), "a waiter woke too early");
        awake.arrive_and_wait();
      });
    }
    ready.arrive_and_wait();
    std::this_thread::sleep_for(500us);
    from = bench::clock::now();
    one.end();
    canceling.push_back(bench::ns_since(from));
    awake.arrive_and_wait();
    for (std::thread& t : threads) t.join();
    first.push_back(*std::min_element(woken.begin(), woken.end()));
    last.push_back(*std::max_element(woken.begin(), woken.end()));
  }
  s.report(name, last.size(),
           {{bench::quantile(last, 0.5), "ns/op"},
            {bench::quantile(first, 0.5), "first-ns"},
            {bench::quantile(canceling, 0.5), "cancel-ns"}});
}

}  // namespace

void waking(bench::suite& s) {
  wake_up<bare_word>(s, "Floor/FutexWake", 1);
  for (std::size_t waiters : s.sizes({1, 10, 100})) {
    wake_up<context>(s, bench::named("WakeUp", "waiters", waiters), waiters);
  }
}
