// What the hardware asks for a whole operation: the memory that it has to write, and the locked instructions
// that none of its kind can do without, in as many functions as a library has for it. Nothing here is of use:
// no cause, no values, no second child, no error. Nothing here knows heed.
#include "rows.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <new>
#include <utility>

namespace {

// One line of memory for each thing that is made.
struct alignas(64) thing {
  std::atomic<std::uint64_t> word{0};
  thing* parent = nullptr;
  std::atomic<std::uint32_t> handles{2};
  std::atomic<std::uint32_t> lock{0};
  thing* below = nullptr;  // guarded by the lock
  std::uint64_t rest[3]{};
};
static_assert(sizeof(thing) == 64);

thread_local constinit thing* free_things = nullptr;

thing& take() {
  thing* t = free_things;
  if (t) [[likely]] {
    free_things = t->parent;
  } else {
    t = static_cast<thing*>(::operator new(sizeof(thing), std::align_val_t(64)));
  }
  return *::new (t) thing;
}
void give(thing& t) {
  t.parent = std::exchange(free_things, &t);
}

// A lock that nobody else wants: one locked instruction, and a store.
void lock(thing& t) {
  for (std::uint32_t free = 0; !t.lock.compare_exchange_weak(free, 1, std::memory_order_acquire); free = 0) {}
}
void unlock(thing& t) {
  t.lock.store(0, std::memory_order_release);
}
bool turn(thing& t) {
  std::uint64_t live = 0;
  return t.word.compare_exchange_strong(live, 1, std::memory_order_acq_rel);
}

[[gnu::noinline]] thing& make() {
  return take();
}
[[gnu::noinline]] thing& make_below(thing& parent) {
  thing& t = take();
  t.parent = &parent;
  lock(parent);
  parent.below = &t;
  unlock(parent);
  return t;
}
[[gnu::noinline]] void end(thing& t) {
  bench::check(turn(t), "a sketch's end");
}
[[gnu::noinline]] void drop(thing& t) {
  give(t);
}
[[gnu::noinline]] void drop_below(thing& t) {
  thing& parent = *t.parent;
  lock(parent);
  parent.below = nullptr;
  unlock(parent);
  give(t);
}

void child_of_nothing(std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    thing& t = make();
    end(t);
    drop(t);
  }
}
void child_of(thing& parent, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    thing& t = make_below(parent);
    end(t);
    drop_below(t);
  }
}

// Each thread has a parent of its own, as it has a shard of one.
void children_of_threads(bench::suite& s, const std::string& name, std::size_t threads) {
  s.timed("Floor/" + bench::named(name, "threads", threads), [&](std::size_t n) {
    return bench::parallel(threads, n, [](bench::worker& w) {
      thing parent;
      w.start();
      child_of(parent, w.n);
      w.stop();
    });
  });
}

// The second handle goes, while the first is still there.
[[gnu::noinline]] void give_up(thing& t) {
  t.handles.fetch_sub(1, std::memory_order_acq_rel);
}
// Its last handle goes; what is below keeps it.
[[gnu::noinline]] void give_up_last(thing& t) {
  bench::check(t.handles.load(std::memory_order_acquire) == 1, "a sketch's count");
  t.handles.store(0, std::memory_order_relaxed);
}
[[gnu::noinline]] void drop_up(thing* t) {
  while (t) {
    thing* above = t->parent;
    give(*t);
    t = above;
  }
}
// A chain, whose lowest is returned.
thing& chain(thing& from, std::size_t depth) {
  thing* at = &from;
  for (std::size_t d = 0; d < depth; ++d) {
    thing& next = make_below(*at);
    give_up(next);
    if (at != &from) give_up_last(*at);
    at = &next;
  }
  return *at;
}
[[gnu::noinline]] void end_all(thing& root) {
  bench::check(turn(root), "a sketch's root");
  for (thing* at = &root; at;) {
    lock(*at);
    thing* next = std::exchange(at->below, nullptr);
    if (next) turn(*next);
    unlock(*at);
    at = next;
  }
}
// Below what has ended: it hangs nowhere, and keeps its parent by a count.
[[gnu::noinline]] thing& make_ended(thing& parent) {
  thing& t = take();
  t.word.store(1, std::memory_order_release);
  t.parent = &parent;
  parent.handles.fetch_add(1, std::memory_order_relaxed);
  return t;
}

void trees(bench::suite& s) {
  s.run("Floor/WithCancel/Root=Background", child_of_nothing);
  thing open;
  s.run("Floor/WithCancel/Root=OpenCanceler", [&](std::size_t n) { child_of(open, n); });
  children_of_threads(s, "CommonParentCancelBare", 2);
  for (std::size_t depth : s.sizes({1, 10, 100, 1000})) {
    const std::string name = "Floor/" + bench::named("CancelTree", "depth", depth);
    s.run(name + "/Root=Background", [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        thing& root = make();
        give_up(root);
        drop_up(&chain(root, depth - 1));
      }
    });
    s.run(name + "/Root=OpenCanceler", [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        thing& root = make();
        thing& leaf = chain(root, depth);
        end_all(root);
        drop_up(&leaf);
      }
    });
    s.run(name + "/Root=ClosedCanceler", [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        thing& root = make();
        end(root);
        thing* at = &root;
        for (std::size_t d = 0; d < depth; ++d) {
          thing& next = make_ended(*at);
          give_up(next);
          if (at != &root) give_up(*at);
          at = &next;
        }
        drop_up(at);
      }
    });
  }
}

// Ending what lies in an array: one exchange each, fetched ahead.
void fan_out(bench::suite& s, std::size_t count) {
  s.parts("Floor/" + bench::named("FanOut", "children", count), [&]() -> bench::suite::part {
    std::vector<thing> things(count);
    std::vector<thing*> at;
    for (thing& t : things) at.push_back(&t);
    const auto from = bench::clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      __builtin_prefetch(at[std::min(i + 32, count - 1)], 1);
      turn(*at[i]);
    }
    return {count, bench::ns_since(from)};
  });
}

// A chain of which each but the first counts on the one before, whose handle goes then; or takes that over.
template <bool counting>
[[gnu::noinline]] thing& make_value(thing* parent) {
  if (counting && parent) parent->handles.fetch_add(1, std::memory_order_relaxed);
  thing& t = take();
  t.parent = parent;
  return t;
}
template <bool counting>
void chain_of_values(std::size_t length) {
  thing* at = nullptr;
  for (std::size_t v = 0; v < length; ++v) {
    thing& next = make_value<counting>(at);
    if (counting && at) give_up(*at);
    at = &next;
  }
  drop_up(at);
}
void value_chains(bench::suite& s) {
  for (std::size_t length : s.sizes({1, 10, 100})) {
    s.run("Floor/" + bench::named("WithValueChain", "length", length), [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) chain_of_values<true>(length);
    });
    s.run("Floor/" + bench::named("WithValueChainMoved", "length", length), [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) chain_of_values<false>(length);
    });
  }
}

// Ten that read the clock and hang on a list of timers; all ended, and taken off.
void timeouts(bench::suite& s) {
  thing wheel;
  s.run("Floor/WithTimeout", [&](std::size_t n) {
    std::array<thing*, 10> made;
    for (std::size_t i = 0; i < n; ++i) {
      for (thing*& t : made) {
        const auto now = bench::clock::now();
        t = &make_below(wheel);
        t->rest[0] = static_cast<std::uint64_t>(now.time_since_epoch().count());
      }
      for (thing* t : made) {
        end(*t);
        drop_below(*t);
      }
    }
  });
}

}  // namespace

void sketches(bench::suite& s) {
  trees(s);
  for (std::size_t count : s.sizes({1000, 100'000}, {1'000'000})) fan_out(s, count);
  value_chains(s);
  // A function is no less: hung on another, decided by its own word, and taken off.
  for (std::size_t threads : s.sizes({1, 2})) children_of_threads(s, "AfterFunc", threads);
  timeouts(s);
}
