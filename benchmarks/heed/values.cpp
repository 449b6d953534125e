#include "rows.hpp"

#include <heed/group.hpp>
#include <heed/heed.hpp>

#include <deque>
#include <random>
#include <span>

namespace {

using int_key = heed::key<int>;

// Keys at random addresses: drawn from many.
class drawer {
 public:
  drawer() {
    for (int i = 0; i < 1 << 16; ++i) keys_.emplace_back("key");
  }
  const int_key* draw() { return &keys_[random_() % keys_.size()]; }
  /// n different ones.
  std::vector<const int_key*> draw(std::size_t n) {
    std::vector<const int_key*> keys;
    while (keys.size() < n) {
      const int_key* k = draw();
      if (std::find(keys.begin(), keys.end(), k) == keys.end()) keys.push_back(k);
    }
    return keys;
  }

 private:
  std::deque<int_key> keys_;
  std::mt19937 random_{1};
};

// The first key is the farthest away, with the value 0.
heed::context chain(const std::vector<const int_key*>& keys) {
  heed::context ctx;
  int i = 0;
  for (const int_key* k : keys) ctx = heed::with_value(ctx, *k, i++);
  return ctx;
}

// As a C++ program may write it, which needs the parent only for this.
heed::context chain_of_moved(const std::vector<const int_key*>& keys) {
  heed::context ctx;
  int i = 0;
  for (const int_key* k : keys) ctx = heed::with_value(std::move(ctx), *k, i++);
  return ctx;
}

// A chain, and what it is asked for.
struct questions {
  heed::context ctx;
  std::vector<const int_key*> keys;
};
questions for_what_is_absent(drawer& keys, std::size_t depth) {
  const auto present = keys.draw(depth);
  questions q{chain(present), {}};
  while (q.keys.size() < 128) {
    const int_key* k = keys.draw();
    if (std::find(present.begin(), present.end(), k) == present.end()) q.keys.push_back(k);
  }
  return q;
}
questions for_the_farthest(drawer& keys, std::size_t depth) {
  const auto present = keys.draw(depth);
  return {chain(present), std::vector(128, present.front())};
}

// Eight chains in turn, 128 questions each.
template <bool there>
void lookups(bench::suite& s, const std::string& name, const std::vector<questions>& all) {
  for (const questions& q : all)
    bench::check(!there || *q.ctx.value(*q.keys.front()) == 0, "the farthest value");
  s.run(name, [&](std::size_t n) {
    for (std::size_t left = n; left > 0;) {
      for (const questions& q : all) {
        const std::span<const int_key* const> keys(q.keys.data(), std::min(left, q.keys.size()));
        for (const int_key* k : keys) {
          if ((q.ctx.value(*k) != nullptr) != there) [[unlikely]]
            bench::wrong("value()");
          bench::clobber();
        }
        left -= keys.size();
      }
    }
  });
}

}  // namespace

void values(bench::suite& s) {
  drawer keys;
  for (std::size_t length : s.sizes({1, 10, 100, 1000})) {
    const auto used = keys.draw(length);
    for (const auto& [name, make] :
         {std::pair("WithValueChain", &chain), std::pair("WithValueChainMoved", &chain_of_moved)}) {
      s.run(bench::named(name, "length", length), [&](std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
          const heed::context ctx = make(used);
          bench::check(ctx.value(*used.back()) != nullptr, "a chain's value");
        }
      });
    }
  }
  for (std::size_t depth : s.sizes({1, 10, 50, 100, 1000})) {
    std::vector<questions> absent, farthest;
    for (int i = 0; i < 8; ++i) {
      absent.push_back(for_what_is_absent(keys, depth));
      farthest.push_back(for_the_farthest(keys, depth));
    }
    lookups<false>(s, bench::named("ValueMiss", "depth", depth), absent);
    lookups<true>(s, bench::named("ValueHit", "depth", depth), farthest);
  }

  // Go's: one context, one key that it has not.
  const int_key absent{"absent"};
  for (std::size_t depth : s.sizes({10, 20, 30, 50, 100})) {
    const heed::context ctx = chain(keys.draw(depth));
    s.run(bench::named("DeepValueSameGoRoutine", "depth", depth), [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        if (ctx.value(absent) != nullptr) [[unlikely]]
          bench::wrong("value()");
        bench::clobber();
      }
    });
    // A new thread is no goroutine: here the task is handed to a thread that waits for work, and waited for.
    heed::group tasks(heed::background());
    s.run(bench::named("DeepValueNewGoRoutine", "depth", depth), [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        bool right = false;
        tasks.go([&](const heed::context&) { right = ctx.value(absent) == nullptr; });
        tasks.wait();
        bench::check(right, "value() in a task");
      }
    });
  }
}
