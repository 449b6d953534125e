// A coroutine that waits for a context, on an event loop of one thread: it is resumed there, never inside
// cancel(), and may be destroyed there while it waits.
#include "check.hpp"

#include <heed/coroutine.hpp>
#include <heed/heed.hpp>

#include <coroutine>
#include <exception>
#include <string>
#include <utility>

using namespace std::chrono_literals;

namespace {

// Any coroutine type will do: this one starts at once, and is destroyed with its object.
class task {
 public:
  struct promise_type {
    task get_return_object() noexcept {
      return task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  task& operator=(task&&) = delete;
  ~task() {
    if (handle_) handle_.destroy();
  }
  bool ended() const { return handle_.done(); }

 private:
  explicit task(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
  std::coroutine_handle<promise_type> handle_;
};

// Parameters by value: they live in the coroutine.
task say_goodbye(heed::context ctx, std::string& said) {
  const std::error_code why = co_await heed::done(ctx);
  said = "goodbye: " + why.message() + ", " + ctx.cause().message();
}

}  // namespace

int main() {
  heed::manual_scheduler loop;  // stands for an event loop: run_pending() is a turn of it
  auto [ctx, cancel] = heed::with_timeout(heed::background(loop), 5s);
  std::string said;
  const task waiting = say_goodbye(ctx, said);
  check(!waiting.ended(), "it waits");
  cancel("that is all");
  check(said.empty(), "nothing is resumed inside cancel()");
  loop.run_pending();
  check(said == "goodbye: context canceled, that is all", "the loop resumes it");
  check(say_goodbye(ctx, said).ended(), "where the context has ended already, nobody waits");

  auto [other, cancel_other] = heed::with_cancel(heed::background(loop));
  said.clear();
  {
    const task doomed = say_goodbye(other, said);
    check(!doomed.ended(), "another one waits");
  }
  cancel_other();
  loop.run_pending();
  check(said.empty(), "it was destroyed while it waited, and is not resumed");
}
