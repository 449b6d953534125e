#include "rows.hpp"

#include <heed/heed.hpp>

#include <array>
#include <atomic>
#include <random>

namespace {

using namespace std::chrono_literals;

// Ten timeouts made, then canceled, while others wait; two threads.
void with_timeout(bench::suite& s, std::size_t waiting) {
  const std::string name = bench::named("WithTimeout", "concurrency", waiting);
  if (!s.wants(name)) return;
  // Made by two threads, as in Go's benchmark: what each keeps of its own is then about the same.
  std::array<std::vector<heed::cancel_func>, 2> others;
  std::atomic<std::size_t> threads = 0;
  bench::parallel(2, waiting, [&](bench::worker& w) {
    std::vector<heed::cancel_func>& mine = others[threads.fetch_add(1)];
    mine.reserve(w.n);
    w.start();
    for (std::size_t i = 0; i < w.n; ++i) {
      mine.push_back(heed::with_timeout(heed::background(), 1h).cancel);
    }
    w.stop();
  });
  s.timed(name, [&](std::size_t n) {
    return bench::parallel(2, n, [&](bench::worker& w) {
      std::array<heed::cancel_func, 10> ten;
      w.start();
      for (std::size_t i = 0; i < w.n; ++i) {
        for (heed::cancel_func& cancel : ten) cancel = heed::with_timeout(heed::background(), 1h).cancel;
        for (const heed::cancel_func& cancel : ten) {
          if (!cancel()) bench::wrong("cancel() of a timeout");
        }
      }
      w.stop();
    });
  });
}

double lateness(const heed::context& ctx) {
  return bench::ns_since(ctx.deadline().value());
}
void report(bench::suite& s, const std::string& name, const std::vector<double>& late) {
  for (const double ns : late) bench::check(ns >= 0, "a deadline came too early");
  s.report(name, late.size(),
           {{bench::quantile(late, 0.5), "p50-ns"}, {bench::quantile(late, 0.99), "p99-ns"}});
}

// A thread waits for one deadline at a time.
void alone(bench::suite& s) {
  if (!s.wants("Lateness/waiting=1")) return;
  std::vector<double> late;
  for (int i = 0; i < (s.once() ? 1 : 50); ++i) {
    const auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
    ctx.wait();
    late.push_back(lateness(ctx));
    bench::check(ctx.err() == heed::errc::deadline_exceeded, "err() after a deadline");
  }
  report(s, "Lateness/waiting=1", late);
}

// A thousand within a tenth of a second; a thread waits for one after the other.
void among_many(bench::suite& s) {
  if (!s.wants("Lateness/waiting=1000")) return;
  std::mt19937 random(1);
  std::vector<heed::duration> after(s.once() ? 10 : 1000);
  for (auto& d : after) d = 20ms + std::chrono::nanoseconds(random() % 100'000'000);
  std::sort(after.begin(), after.end());
  const auto from = heed::clock::now();
  std::vector<heed::cancelable> all;
  for (auto d : after) all.push_back(heed::with_deadline(heed::background(), from + d));
  std::vector<double> late;
  for (const heed::cancelable& one : all) {
    one.ctx.wait();
    late.push_back(lateness(one.ctx));
  }
  report(s, "Lateness/waiting=1000", late);
}

}  // namespace

void timers(bench::suite& s) {
  for (std::size_t waiting : s.sizes({40, 400, 4000, 40'000, 400'000}, {4'000'000})) with_timeout(s, waiting);
  alone(s);
  among_many(s);
}
