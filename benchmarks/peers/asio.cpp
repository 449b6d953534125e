// Boost.Asio on the workloads that it can do: steady_timer as the deadline, cancellation_signal as the way to
// be told. A signal and its slot belong to one thread.
#include "../harness.hpp"

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <optional>
#include <random>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

template <bool canceled>
[[gnu::noinline]] void ask(const asio::cancellation_state& state, std::size_t n) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if ((state.cancelled() != asio::cancellation_type::none) == canceled) [[likely]]
      ++right;
    bench::clobber();
  }
  bench::check(right == n, "an answer");
}

void signals(bench::suite& s) {
  asio::cancellation_signal live, ended;
  const asio::cancellation_state ok(live.slot()), over(ended.slot());
  ended.emit(asio::cancellation_type::terminal);
  s.run("ErrOK", [&](std::size_t n) { ask<false>(ok, n); });
  s.run("ErrCanceled", [&](std::size_t n) { ask<true>(over, n); });

  asio::cancellation_signal signal;
  s.run("CancelCallback/threads=1", [&](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      signal.slot().assign([](asio::cancellation_type) { bench::wrong("a slot's handler ran"); });
      bench::clobber();
      signal.slot().clear();
    }
  });
  s.run("WithCancel/Root=Background", [](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      asio::cancellation_signal one;
      const asio::cancellation_state state(one.slot());
      one.emit(asio::cancellation_type::terminal);
      if (state.cancelled() == asio::cancellation_type::none) bench::wrong("emit()");
    }
  });
}

// Ten timers started, then canceled, while others wait; two threads share one io_context, and run the
// handlers, too.
void with_timeout(bench::suite& s, std::size_t waiting) {
  const std::string name = bench::named("WithTimeout", "concurrency", waiting);
  if (!s.wants(name)) return;
  asio::io_context io;
  std::deque<asio::steady_timer> others;
  for (std::size_t i = 0; i < waiting; ++i) {
    others.emplace_back(io, 1h).async_wait([](const boost::system::error_code&) {});
  }
  s.timed(name, [&](std::size_t n) {
    std::atomic<std::size_t> canceled = 0;
    const double ns = bench::parallel(2, n, [&](bench::worker& w) {
      std::deque<asio::steady_timer> ten;
      for (int i = 0; i < 10; ++i) ten.emplace_back(io);
      w.start();
      for (std::size_t i = 0; i < w.n; ++i) {
        for (asio::steady_timer& t : ten) {
          t.expires_after(1h);
          t.async_wait([&](const boost::system::error_code& e) {
            if (e == asio::error::operation_aborted) canceled.fetch_add(1, std::memory_order_relaxed);
          });
        }
        for (asio::steady_timer& t : ten) {
          if (t.cancel() != 1) bench::wrong("cancel() of a timer");
        }
        io.poll();
      }
      w.stop();
    });
    io.poll();
    bench::check(canceled == 10 * n, "timers that were canceled");
    return ns;
  });
}

void lateness(bench::suite& s, std::size_t waiting) {
  const std::string name = bench::named("Lateness", "waiting", waiting);
  if (!s.wants(name)) return;
  std::mt19937 random(1);
  std::vector<double> late;
  asio::io_context io;
  for (int round = 0; round < (waiting > 1 || s.once() ? 1 : 50); ++round) {
    std::deque<asio::steady_timer> timers;
    const auto from = bench::clock::now();
    for (std::size_t i = 0; i < waiting; ++i) {
      const auto after = waiting == 1 ? 1ms : 20ms + std::chrono::nanoseconds(random() % 100'000'000);
      auto& t = timers.emplace_back(io, from + after);
      t.async_wait(
          [&t, &late](const boost::system::error_code&) { late.push_back(bench::ns_since(t.expiry())); });
    }
    io.run();
    io.restart();
  }
  for (const double ns : late) bench::check(ns >= 0, "a timer came too early");
  s.report(name, late.size(),
           {{bench::quantile(late, 0.5), "p50-ns"}, {bench::quantile(late, 0.99), "p99-ns"}});
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite s(argc, argv);
  signals(s);
  for (std::size_t waiting : s.sizes({40, 400, 4000, 40'000, 400'000}, {4'000'000})) with_timeout(s, waiting);
  for (std::size_t waiting : s.sizes({1, 1000})) lateness(s, waiting);
}
