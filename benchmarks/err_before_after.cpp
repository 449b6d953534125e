// What err() costs when a mutex guards the verdict, and when it is one atomic word: heed's beginning, as an
// experiment. Go's contexts locked a mutex in Err() until 1.25; "before" does the same on a node of heed's
// shape, "after" is heed itself, through its public interface. Both have a handle of two pointers, the second
// of which leads straight to the word, however many values lie between; only the way to read the word
// differs.
#include "benchstat.hpp"

#include <heed/heed.hpp>

#include <benchmark/benchmark.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

struct locked_scope {
  mutable std::mutex mutex;
  std::uint32_t word = 0;  // 0 live, else the errc; guarded by the mutex
};

class locked_context {
 public:
  explicit locked_context(const locked_scope& s) noexcept : scope_(&s) {}
  std::error_code err() const noexcept {
    const std::lock_guard lock(scope_->mutex);
    if (scope_->word == 0) return {};
    return {static_cast<int>(scope_->word), heed::category()};
  }

 private:
  [[maybe_unused]] const void* node_ = nullptr;  // as in heed's handle; err() has no use for it in either
  const locked_scope* scope_;
};

template <bool ended, class Context>
void ask(benchmark::State& state, const Context& ctx) {
  std::int64_t right = 0;
  for (auto _ : state) {
    if (bool(ctx.err()) == ended) [[likely]]
      ++right;
    benchmark::ClobberMemory();  // nothing is remembered from one call to the next, not even what ctx points
                                 // to
  }
  if (right != state.iterations()) state.SkipWithError("err() is wrong");
}

// Keeps what was measured instead of printing it.
class collector : public benchmark::BenchmarkReporter {
 public:
  struct measured {
    benchstat::sample seconds;  // per call
    std::vector<std::int64_t> calls;
  };
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& r : runs) {
      if (r.error_occurred) throw std::runtime_error(r.run_name.function_name + ": " + r.error_message);
      measured& m = results[r.run_name.function_name];
      m.seconds.push_back(r.real_accumulated_time / static_cast<double>(r.iterations));
      m.calls.push_back(r.iterations);
    }
  }
  std::map<std::string, measured> results;
};

int run(int argc, char** argv) {
  int rounds = 10;
  bool quick = false;
  std::string go_bench;
  CLI::App app("err(): a mutex before, one atomic load after.", "err_before_after");
  app.add_option("--rounds", rounds, "measurements of each")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--quick", quick, "short measurements");
  app.add_option("--go-bench", go_bench, "also write them to this file, for: benchstat -col /impl FILE");
  CLI11_PARSE(app, argc, argv);
  std::FILE* const file = go_bench.empty() ? nullptr : std::fopen(go_bench.c_str(), "w");
  if (!go_bench.empty() && !file) throw std::runtime_error("cannot write " + go_bench);

  // glibc's mutex is cheaper while a process has one thread only. Whoever needs a context has more.
  auto [rest, over] = heed::with_cancel(heed::background());
  const std::jthread company([&] { rest.wait(); });
  struct at_exit {  // before the join above
    heed::canceler cancel;
    ~at_exit() { cancel(); }
  } const guard{over.share()};

  static constexpr heed::key<int> depth{"depth"};
  locked_scope locked_live, locked_ended;
  locked_ended.word = static_cast<std::uint32_t>(heed::errc::canceled);
  auto [live, cancel_live] = heed::with_cancel(heed::background());
  auto [ended, cancel_ended] = heed::with_cancel(heed::background());
  cancel_ended();
  heed::context live_below = live, ended_below = ended;
  for (int i = 0; i < 10; ++i) {
    live_below = heed::with_value(live_below, depth, i);
    ended_below = heed::with_value(ended_below, depth, i);
  }

  std::vector<std::string> names;
  using ask_it = std::function<void(benchmark::State&)>;
  const auto ok = [](auto& ctx) -> ask_it { return [&ctx](benchmark::State& s) { ask<false>(s, ctx); }; };
  const auto canceled = [](auto& ctx) -> ask_it {
    return [&ctx](benchmark::State& s) { ask<true>(s, ctx); };
  };
  const auto add = [&](const std::string& name, int threads, const ask_it& before, const ask_it& after) {
    names.push_back(name);
    for (const auto& [impl, it] : {std::pair("before", before), std::pair("after", after)}) {
      auto* b = benchmark::RegisterBenchmark((name + "/impl=" + impl).c_str(), it);
      b->MinTime(quick ? 0.002 : 0.05)->Threads(threads)->UseRealTime();
    }
  };
  const locked_context locked(locked_live), locked_done(locked_ended);
  for (const int threads : {1, 2}) {
    const std::string suffix = threads == 1 ? "" : "/threads=2";
    add("ErrOK" + suffix, threads, ok(locked), ok(live));
    add("ErrCanceled" + suffix, threads, canceled(locked_done), canceled(ended));
    add("ErrOK/values=10" + suffix, threads, ok(locked), ok(live_below));
    add("ErrCanceled/values=10" + suffix, threads, canceled(locked_done), canceled(ended_below));
  }

  int one = 1;
  benchmark::Initialize(&one, argv);
  collector c;
  // Each round measures every row once: before, after, before, after, ...
  for (int round = 0; round < rounds; ++round) benchmark::RunSpecifiedBenchmarks(&c, ".");

  std::vector<benchstat::row> rows;
  for (const std::string& name : names) {
    const collector::measured& before = c.results[name + "/impl=before"];
    const collector::measured& after = c.results[name + "/impl=after"];
    rows.push_back({name, before.seconds, after.seconds});
    for (const auto& [impl, m] : {std::pair("before", &before), std::pair("after", &after)}) {
      for (std::size_t i = 0; file && i < m->calls.size(); ++i) {
        std::fprintf(file, "Benchmark%s/impl=%s\t%lld\t%.4f ns/op\n", name.c_str(), impl,
                     static_cast<long long>(m->calls[i]), m->seconds[i] * 1e9);
      }
    }
  }
  if (file && std::fclose(file) != 0) throw std::runtime_error("cannot write " + go_bench);
  std::puts("before: err() locks a mutex; after: heed's err(), one atomic load\n");
  std::fputs(benchstat::table(rows).c_str(), stdout);
#ifndef NDEBUG
  std::puts("\nThis is no optimized build: the numbers say nothing.");
#endif
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "err_before_after: %s\n", e.what());
    return 2;
  }
}
