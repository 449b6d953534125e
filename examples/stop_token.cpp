// Stop tokens and contexts, both ways: standard code that takes a std::stop_token stops with a context, and
// code that takes a context stops with a std::jthread.
#include "check.hpp"

#include <heed/heed.hpp>
#include <heed/stop_token.hpp>

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace {

// Standard all through: nothing here knows of contexts.
bool wait_for_work(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any arrived;
  std::unique_lock lock(mutex);
  return arrived.wait(lock, stop, [] { return false; });  // no work ever comes
}

// Takes a context, and knows of no stop tokens.
heed::error serve(const heed::context& ctx) {
  ctx.wait();
  return ctx.cause();
}

}  // namespace

int main() {
  auto [server, shut_down] = heed::with_cancel(heed::background());

  // Out: a token for those who want one.
  const heed::stop_bridge bridge(server);
  bool found_work = true;
  std::jthread waiter([&found_work, stop = bridge.token()] { found_work = wait_for_work(stop); });

  // Out, to a thread that has a stop_source of its own.
  bool asked = false;
  std::jthread worker([&asked](const std::stop_token& own) { asked = !wait_for_work(own); });
  const heed::stop_bridge stops(server, worker.get_stop_source());

  shut_down("maintenance");
  waiter.join();
  worker.join();
  check(!found_work, "the condition variable woke up, without work");
  check(asked, "and the jthread was asked to stop");

  // In: the thread's own token ends a context, and with it everything below.
  heed::error why;
  std::jthread inner([&why](std::stop_token stop) {
    auto [ctx, cancel] = heed::with_stop_token(heed::background(), std::move(stop));
    why = serve(ctx);
  });
  inner.request_stop();
  inner.join();
  check(why == heed::errc::canceled, "the context ended with the jthread");

  // A stop token in its own right, for code written against the concept stoppable_token.
  const heed::stop_token token(server);
  check(token.stop_requested(), "a context is a stop token, too");
  bool told = false;
  const heed::stop_callback callback(token, [&told] { told = true; });
  check(told, "with callbacks, which run at once where it has stopped");
}
