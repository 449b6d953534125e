#include "rows.hpp"

#include <heed/heed.hpp>

#include <numeric>
#include <random>

namespace {

constexpr heed::key<std::string_view> key{"key"};
constexpr heed::key<std::size_t> request_number{"request"};

// Go's benchmark divides 0 by 1 a hundred times here. Its compiler sees that this is 0, and leaves a loop
// that only counts; ours would leave nothing. So this counts, too.
void count() {
  for (int i = 0; i < 100; ++i) bench::clobber();
}

// Threads that make and cancel children of one parent. Go's counts in between; that is most of what it
// measures here, so there is a row without.
template <bool counting>
double common_parent(const heed::context& parent, std::size_t threads, std::size_t n) {
  return bench::parallel(threads, n, [&](bench::worker& w) {
    w.start();
    for (std::size_t i = 0; i < w.n; ++i) {
      const auto [ctx, cancel] = heed::with_cancel(parent);
      if (*ctx.value(key) != "value") bench::wrong("value()");
      if (counting) count();
      cancel();
      if (counting) count();
    }
    w.stop();
  });
}
void common_parents(bench::suite& s) {
  const heed::context root = heed::with_value(heed::background(), key, "value");
  const heed::cancelable parent = heed::with_cancel(root);
  s.timed("CommonParentCancel", [&](std::size_t n) { return common_parent<true>(parent.ctx, 2, n); });
  for (std::size_t threads : s.sizes({1, 2, 3, 4, 6, 8})) {
    s.timed(bench::named("CommonParentCancelBare", "threads", threads),
            [&](std::size_t n) { return common_parent<false>(parent.ctx, threads, n); });
  }
}

// What a server does: requests that derive from one context, which has a value; each has one, too.
void requests(bench::suite& s) {
  const heed::cancelable top = heed::with_cancel(heed::background());
  const heed::context base = heed::with_value(top.ctx, key, "value");
  for (std::size_t threads : s.sizes({1, 2, 3, 4, 6, 8})) {
    s.timed(bench::named("RequestsOfOneServer", "threads", threads), [&](std::size_t n) {
      return bench::parallel(threads, n, [&](bench::worker& w) {
        w.start();
        for (std::size_t i = 0; i < w.n; ++i) {
          const heed::context request = heed::with_value(base, request_number, i);
          const auto [ctx, cancel] = heed::with_cancel(request);
          if (*ctx.value(request_number) != i) bench::wrong("value()");
          cancel();
        }
        w.stop();
      });
    });
  }
}

void with_cancel(bench::suite& s) {
  const heed::cancelable open = heed::with_cancel(heed::background());
  const auto loop = [](const heed::context& parent, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto [ctx, cancel] = heed::with_cancel(parent);
      if (!cancel()) bench::wrong("cancel()");
    }
  };
  s.run("WithCancel/Root=Background", [&](std::size_t n) { loop(heed::background(), n); });
  s.run("WithCancel/Root=OpenCanceler", [&](std::size_t n) { loop(open.ctx, n); });
}

// A chain; its cancel_funcs are given up, as Go's benchmark ignores them. The lowest context.
heed::context chain(heed::context from, std::size_t depth) {
  for (std::size_t d = 0; d < depth; ++d) {
    heed::cancelable next = heed::with_cancel(from);
    next.cancel.release();
    from = std::move(next.ctx);
  }
  return from;
}
void cancel_tree(bench::suite& s) {
  for (std::size_t depth : s.sizes({1, 10, 100, 1000}, {10'000, 100'000, 1'000'000})) {
    const std::string name = bench::named("CancelTree", "depth", depth);
    s.run(name + "/Root=Background", [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        const heed::context leaf = chain(heed::background(), depth);
        bench::check(!leaf.done(), "a chain below background()");
      }
    });
    s.run(name + "/Root=OpenCanceler", [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        const auto [ctx, cancel] = heed::with_cancel(heed::background());
        const heed::context leaf = chain(ctx, depth);
        cancel();
        bench::check(leaf.done(), "a chain below what was canceled");
      }
    });
    s.run(name + "/Root=ClosedCanceler", [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        const auto [ctx, cancel] = heed::with_cancel(heed::background());
        cancel();
        const heed::context leaf = chain(ctx, depth);
        bench::check(leaf.done(), "a chain below what is canceled");
      }
    });
  }
}

// Other contexts that leave holes in memory, in random order: what is made next fills those, at random
// places, whichever allocator is used. Every second one stays, so that the holes do not grow together.
class holes {
 public:
  explicit holes(std::size_t count) {
    contexts_.reserve(2 * count);
    for (std::size_t i = 0; i < 2 * count; ++i) contexts_.push_back(heed::with_cancel(heed::background()));
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    for (std::size_t i : order) contexts_[2 * i] = {};
  }

 private:
  std::vector<heed::cancelable> contexts_;
};

// Only cancel() is timed. Per child.
void fan_out(bench::suite& s, const std::string& name, std::size_t children, bool shuffled) {
  s.parts(name, [&]() -> bench::suite::part {
    // At least a thousand children for two looks at the clock.
    const std::size_t parents = std::max<std::size_t>(1, 1000 / children);
    const holes around(shuffled ? parents * children : 0);
    std::vector<heed::cancelable> roots, below;
    roots.reserve(parents);
    below.reserve(parents * children);
    for (std::size_t p = 0; p < parents; ++p) {
      roots.push_back(heed::with_cancel(heed::background()));
      for (std::size_t c = 0; c < children; ++c) below.push_back(heed::with_cancel(roots.back().ctx));
    }
    const auto from = bench::clock::now();
    for (const heed::cancelable& root : roots) root.cancel();
    const double ns = bench::ns_since(from);
    for (const heed::cancelable& child : below) bench::check(child.ctx.done(), "a child");
    return {below.size(), ns};
  });
}

}  // namespace

void tree(bench::suite& s) {
  common_parents(s);
  requests(s);
  with_cancel(s);
  cancel_tree(s);
  for (std::size_t children : s.sizes({1, 10, 100, 1000, 10'000, 100'000}, {1'000'000})) {
    fan_out(s, bench::named("FanOut", "children", children), children, false);
  }
  for (std::size_t children : s.sizes({1000, 100'000}, {1'000'000})) {
    fan_out(s, bench::named("FanOutShuffled", "children", children), children, true);
  }
}
