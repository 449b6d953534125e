// fork() while other threads cancel (case 29): the child may exit, exec, or use contexts of its own; what it
// cancels never makes a descriptor of the parent readable.
#include "program.hpp"

#include <heed/heed.hpp>
#include <heed/sync.hpp>

#include <unistd.h>
#include <atomic>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using process::check;
using process::says;

namespace {

// A tree from background(), used in every way.
void use_contexts() {
  auto [top, cancel] = heed::with_cancel(heed::background());
  auto [timed, stop] = heed::with_timeout(top, 1ms, "own");
  auto [both, end] = heed::merge(top, timed);
  int told = 0;
  const heed::cancel_callback cb(both, [&] { ++told; });
  const int fd = both.done_fd();
  check(!process::readable(fd) || both.done(), "child: a new descriptor");
  both.wait();
  check(timed.cause().message() == "own" && !top.done(), "child: its own deadline");
  cancel("in the child");
  check(top.cause().message() == "in the child" && process::readable(fd), "child: its own cancel");
}

}  // namespace

int main() {
  auto quiet = heed::with_cancel(heed::background());  // nobody uses it while a fork is under way
  const int fd = quiet.ctx.done_fd();
  std::atomic<bool> over{false};
  std::atomic<long> canceled{0};
  std::vector<std::thread> others;
  for (int n = 0; n < 3; ++n) {
    others.emplace_back([&] {
      while (!over) {
        auto [top, cancel] = heed::with_cancel(heed::background());
        std::vector<heed::cancelable> below;
        for (int i = 0; i < 20; ++i) below.push_back(heed::with_timeout(top, 1h));
        auto both = heed::merge(top, below.front().ctx);
        static_cast<void>(both.ctx.done_fd());
        cancel();
        check(both.ctx.done() && process::readable(both.ctx.done_fd()), "parent: its own cancel");
        ++canceled;
      }
    });
  }
  while (canceled < 10) std::this_thread::yield();
  says("40 forks of each kind while three threads cancel");
  for (int round = 0; round < 40; ++round) {
    check(process::in_child([] {}) == 0, "a child that exits");
    check(process::in_child([] {
            ::execl("/bin/true", "true", nullptr);
            std::_Exit(9);
          }) == 0,
          "a child that executes another program");
    check(process::in_child(use_contexts) == 0, "a child that uses contexts");
    check(process::in_child([&] {
            check(quiet.cancel("in the child"), "child: cancels what it inherited");
            check(quiet.ctx.done() && process::readable(fd), "child: sees it");
          }) == 0,
          "a child that cancels");
    check(!quiet.ctx.done() && !process::readable(fd), "the parent sees nothing of it");
  }
  over = true;
  for (auto& each : others) each.join();
  check(quiet.cancel() && process::readable(fd), "the parent's own cancel");
}
