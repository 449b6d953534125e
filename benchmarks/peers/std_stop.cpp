// std::stop_token on the workloads that it can do. A stop_source has no parent: a child is a source of its
// own, and a stop_callback that forwards. There are no values and no deadlines.
#include "../harness.hpp"

#include <memory>
#include <optional>
#include <stop_token>

namespace {

template <bool stopped>
[[gnu::noinline]] void ask(const std::stop_token& token, std::size_t n) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (token.stop_requested() == stopped) [[likely]]
      ++right;
    bench::clobber();
  }
  bench::check(right == n, "an answer");
}

struct forward {
  std::stop_source to;
  void operator()() { to.request_stop(); }
};
struct child {
  explicit child(const std::stop_token& parent) : link(parent, forward{source}) {}
  std::stop_source source;
  std::stop_callback<forward> link;
};

void asking(bench::suite& s) {
  const std::stop_source live, ended_source;
  std::stop_source ended = ended_source;
  ended.request_stop();
  const std::stop_token ok = live.get_token(), over = ended.get_token();
  s.run("ErrOK", [&](std::size_t n) { ask<false>(ok, n); });
  s.run("ErrCanceled", [&](std::size_t n) { ask<true>(over, n); });
  for (std::size_t threads : s.sizes({1, 2, 3, 4, 6, 8})) {
    s.timed(bench::named("ErrOKParallel", "threads", threads), [&](std::size_t n) {
      return bench::parallel(threads, n, [&](bench::worker& w) {
        w.start();
        ask<false>(ok, w.n);
        w.stop();
      });
    });
    s.timed(bench::named("ErrCanceledParallel", "threads", threads), [&](std::size_t n) {
      return bench::parallel(threads, n, [&](bench::worker& w) {
        w.start();
        ask<true>(over, w.n);
        w.stop();
      });
    });
  }
}

void making(bench::suite& s) {
  s.run("WithCancel/Root=Background", [](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      std::stop_source source;
      if (!source.request_stop()) bench::wrong("request_stop()");
    }
  });
  const std::stop_source parent;
  const auto children = [token = parent.get_token()](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      child c(token);
      if (!c.source.request_stop()) bench::wrong("request_stop()");
    }
  };
  s.run("WithCancel/Root=OpenCanceler", children);
  for (std::size_t threads : s.sizes({1, 2, 3, 4, 6, 8})) {
    const auto shared = [&](std::size_t n, auto body) {
      return bench::parallel(threads, n, [&](bench::worker& w) {
        w.start();
        body(w.n);
        w.stop();
      });
    };
    s.timed(bench::named("CommonParentCancelBare", "threads", threads),
            [&](std::size_t n) { return shared(n, children); });
    s.timed(bench::named("CancelCallback", "threads", threads), [&](std::size_t n) {
      return shared(n, [token = parent.get_token()](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          const std::stop_callback callback(token, [] { bench::wrong("stop_callback ran"); });
          bench::clobber();
        }
      });
    });
  }
}

// Stopping recurses with the chain: no more than a thousand.
void trees(bench::suite& s) {
  for (std::size_t depth : s.sizes({1, 10, 100, 1000})) {
    s.run(bench::named("CancelTree", "depth", depth) + "/Root=OpenCanceler", [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        std::stop_source root;
        std::vector<std::unique_ptr<child>> chain;
        std::stop_token last = root.get_token();
        for (std::size_t d = 0; d < depth; ++d) {
          last = chain.emplace_back(std::make_unique<child>(last))->source.get_token();
        }
        root.request_stop();
        bench::check(last.stop_requested(), "a chain below what was stopped");
      }
    });
  }
  for (std::size_t children : s.sizes({1, 10, 100, 1000, 10'000, 100'000}, {1'000'000})) {
    s.parts(bench::named("FanOut", "children", children), [&]() -> bench::suite::part {
      std::vector<std::stop_source> roots(std::max<std::size_t>(1, 1000 / children));
      std::vector<std::unique_ptr<child>> below;
      below.reserve(roots.size() * children);
      for (const std::stop_source& root : roots) {
        for (std::size_t c = 0; c < children; ++c) below.push_back(std::make_unique<child>(root.get_token()));
      }
      const auto from = bench::clock::now();
      for (std::stop_source& root : roots) root.request_stop();
      const double ns = bench::ns_since(from);
      for (const auto& c : below) bench::check(c->source.stop_requested(), "a child");
      return {below.size(), ns};
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite s(argc, argv);
  asking(s);
  making(s);
  trees(s);
}
