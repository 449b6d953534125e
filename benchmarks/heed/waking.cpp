#include "rows.hpp"

#include <heed/heed.hpp>

namespace {

using namespace std::chrono_literals;

// From the call of cancel() until all waiters run, and what cancel() itself took. The waiters have had time
// to fall asleep, and so has the core that they wake on. None ends before all have woken, and before cancel()
// has returned: to end a thread takes the kernel longer than to wake one, and those that wait for a core
// would wait for that. (Go keeps its threads.)
void wake(bench::suite& s, std::size_t waiters) {
  const std::string name = bench::named("WakeUp", "waiters", waiters);
  if (!s.wants(name)) return;
  std::vector<double> first, last, canceling;
  for (int round = 0; round < (s.once() ? 1 : 20); ++round) {
    const heed::cancelable one = heed::with_cancel(heed::background());
    std::vector<double> woken(waiters);
    bench::clock::time_point from;
    std::latch ready(static_cast<std::ptrdiff_t>(waiters) + 1),
        awake(static_cast<std::ptrdiff_t>(waiters) + 1);
    std::vector<std::thread> threads;
    for (double& at : woken) {
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        one.ctx.wait();
        at = bench::ns_since(from);
        bench::check(one.ctx.done(), "a waiter woke too early");
        awake.arrive_and_wait();
      });
    }
    ready.arrive_and_wait();
    std::this_thread::sleep_for(500us);
    from = bench::clock::now();
    one.cancel();
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
  for (std::size_t waiters : s.sizes({1, 10, 100})) wake(s, waiters);
}
