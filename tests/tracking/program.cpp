// What HEED_TRACK=1 is tested with: program CASE. The lines that must be listed are marked with their names,
// and check.sh looks them up.
#include "../sanitizers.hpp"

#include <heed/custom.hpp>
#include <heed/heed.hpp>
#include <heed/inspect.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

// Counts, and fails for threads that ask for it. Here for the case no_memory.
thread_local bool no_memory = false;

constexpr heed::key<std::string> user_key{"user"};

struct rpc : heed::custom_context {
  explicit rpc(anchor a) : custom_context(a) {}
  std::string name() const override { return "rpc"; }
};

// Keeps a context for good, where a leak checker still sees it.
template <class T>
void leak(T made) {
  static std::vector<T*>* all = new std::vector<T*>;
  all->push_back(new T(std::move(made)));
}

// A static object that was made before any context was: its end comes after all others'.
struct holder {
  std::vector<heed::context> held;
};
holder early;

void left() {
  auto [server, stop] = heed::with_cancel(heed::background());  // LINE server
  const auto user = heed::with_value(server, user_key, "ann");  // LINE user
  auto [request, cancel] = heed::with_timeout(user, 1000h);     // LINE request
  const auto apart = heed::without_cancel(request);             // LINE apart
  const auto placed = heed::with_value(apart, user_key, std::in_place, "bob");
  auto made = heed::with_custom<rpc>(placed);                  // LINE rpc
  auto [todo, cancel_todo] = heed::with_cancel(heed::todo());  // LINE todo
  { auto [gone, cancel_gone] = heed::with_cancel(server); }
  cancel("over");
  leak(request);
  leak(std::move(made.ctx));
  leak(todo);
  // The cancel_funcs leave their scopes here.
}

void states() {
  static constexpr heed::key<std::string> odd_key{"two\nlines"};
  static auto& time = *new heed::manual_scheduler;
  const auto root = heed::background(time);                 // LINE root
  auto [live, cancel_live] = heed::with_cancel(root);       // LINE live
  auto [late, cancel_late] = heed::with_timeout(root, 1s);  // LINE late
  auto [other, cancel_other] = heed::with_cancel(root);     // LINE other
  auto [both, cancel_both] = heed::merge(live, other);      // LINE both
  const auto odd = heed::with_value(live, odd_key, "ann");  // LINE odd
  time.advance(2s);
  cancel_live.release();
  cancel_other.release();
  cancel_both.release();
  leak(late);
  leak(both);
  leak(odd);
}

void statics() {
  static heed::context late = heed::with_value(heed::background(), user_key, "late");
  early.held.push_back(heed::with_value(late, user_key, "early"));
  static heed::manual_scheduler time;
  static heed::context root = heed::background(time);
  static heed::cancelable in_static = heed::with_timeout(root, 1h);
}

void threads() {
  std::vector<std::thread> all;
  for (int t = 0; t < 4; ++t) {
    all.emplace_back([] {
      auto [server, stop] = heed::with_cancel(heed::background());
      std::vector<heed::context> many;
      for (int i = 0; i < 3000; ++i) many.push_back(heed::with_value(server, user_key, "ann"));
    });
  }
  for (auto& each : all) each.join();
  leak(heed::with_value(heed::background(), user_key, "ann"));  // LINE last
}

// While another thread has the list's lock, over and over: the child must find it free.
void fork_while_busy() {
  std::atomic<bool> over{false};
  std::thread busy([&over] {
    while (!over) auto [ctx, cancel] = heed::with_cancel(heed::background());
  });
  for (int i = 0; i < 100; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      {
        auto [ctx, cancel] = heed::with_cancel(heed::background());
      }
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) std::abort();
  }
  over = true;
  busy.join();
}

void forked() {
  leak(heed::with_value(heed::background(), user_key, "ann"));  // LINE parents
  // The sanitizers' own locks are not free in the child of a process with threads.
  if (!under_asan && !under_tsan) fork_while_busy();
  const pid_t child = ::fork();
  if (child == 0) {
    leak(heed::with_value(heed::background(), user_key, "bob"));  // LINE childs
    std::exit(0);
  }
  ::waitpid(child, nullptr, 0);
}

void without_memory() {
  no_memory = true;
  {
    auto [ctx, cancel] = heed::with_cancel(heed::background());  // the context's own memory is there
    if (ctx.err()) std::abort();
  }
  no_memory = false;
  leak(heed::with_value(heed::background(), user_key, "ann"));  // LINE after
}

void dump() {
  heed::manual_scheduler time;
  const auto root = heed::background(time);
  auto [server, stop] = heed::with_cancel(root);                                        // LINE server
  const auto user = heed::with_value(server, user_key, "ann");                          // LINE user
  auto [request, cancel] = heed::with_timeout(user, 5s);                                // LINE request
  auto [audit, cancel_audit] = heed::with_timeout(heed::without_cancel(request), 10s);  // LINE audit
  auto made = heed::with_custom<rpc>(heed::background());                               // LINE rpc
  auto [todo, cancel_todo] = heed::with_cancel(heed::todo());                           // LINE todo
  cancel("enough");                                                                     // LINE end
  heed::dump(std::cerr, server);
  heed::dump(std::cerr, audit);
  heed::dump(std::cerr, heed::background());
  heed::dump(std::cerr, heed::todo());
}

void merged() {
  auto [a, cancel_a] = heed::with_cancel(heed::background());  // LINE a
  auto [b, cancel_b] = heed::with_cancel(heed::background());  // LINE b
  auto [both, cancel_both] = heed::merge(a, b);                // LINE both
  auto [child, cancel_child] = heed::with_cancel(both);        // LINE child
  heed::dump(std::cerr, b);
  heed::dump(std::cerr, heed::background());
}

void explain() {
  heed::manual_scheduler time;
  auto [server, stop] = heed::with_cancel(heed::background(time));  // LINE server
  auto [request, cancel] = heed::with_timeout(server, 5s);          // LINE request
  std::cerr << heed::explain(request);
  time.advance(5s);
  std::cerr << heed::explain(request);
}

// A tree whose texts are of the odd kind, in a format for others to read.
void odd(heed::dump_format f) {
  static constexpr heed::key<int> odd_key{"k\"\\\n<b>&amp;\x80"};
  auto [server, stop] = heed::with_cancel(heed::background());
  auto [request, cancel] = heed::with_timeout(heed::with_value(server, odd_key, 1), 1000h);
  auto [apart, cancel_apart] = heed::with_cancel(heed::without_cancel(request));
  auto [never, cancel_never] = heed::with_deadline(server, heed::time_point::max());
  cancel("\\N \"quoted\" \\\t\xff\xc3\xa4 <i> &lt; {|}");
  heed::dump(std::cout, server, f);
}

// Dumps and lists, while other threads make and free contexts under schedulers of their own.
void races() {
  std::atomic<bool> over{false};
  std::vector<std::thread> all;
  for (int t = 0; t < 7; ++t) {
    all.emplace_back([&over] {
      while (!over) {
        heed::manual_scheduler time;
        auto [server, stop] = heed::with_cancel(heed::background(time));
        auto [request, cancel] = heed::with_timeout(heed::with_value(server, user_key, "ann"), 5s);
        const heed::cancel_callback callback(request, [] {});
        auto made = heed::with_custom<rpc>(heed::without_cancel(request));
        time.advance(5s);
        auto plain = heed::with_custom<rpc>(heed::background());
        const bool made_at = heed::explain(request).find("made at") != std::string::npos;
        if (made_at != heed::tracking()) std::abort();
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    for (const auto f : {heed::dump_format::text, heed::dump_format::dot, heed::dump_format::json}) {
      std::ostream nowhere(nullptr);
      heed::dump(nowhere, heed::background(), f);
    }
  }
  over = true;
  for (auto& each : all) each.join();
}

}  // namespace

void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return no_memory ? nullptr : std::malloc(n);
}
void* operator new(std::size_t n) {
  return std::malloc(n ? n : 1);
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}

int main(int argc, char** argv) {
  const std::string_view which = argc > 1 ? argv[1] : "";
  if (which == "nothing_left") {
    auto [ctx, cancel] = heed::with_cancel(heed::background());
    auto [timed, cancel_timed] = heed::with_timeout(heed::with_value(ctx, user_key, "ann"), 1h);
  } else if (which == "left") {
    left();
  } else if (which == "states") {
    states();
  } else if (which == "statics") {
    statics();
  } else if (which == "threads") {
    threads();
  } else if (which == "fork") {
    forked();
  } else if (which == "quick_exit") {
    leak(heed::with_value(heed::background(), user_key, "ann"));
    std::quick_exit(0);
  } else if (which == "no_memory") {
    without_memory();
  } else if (which == "dump") {
    dump();
  } else if (which == "merged") {
    merged();
  } else if (which == "explain") {
    explain();
  } else if (which == "json") {
    odd(heed::dump_format::json);
  } else if (which == "dot") {
    odd(heed::dump_format::dot);
  } else if (which == "races") {
    races();
  } else {
    return 2;
  }
}
