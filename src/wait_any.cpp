// Sleeping until a time, or until one of several contexts ends.
#include "os.hpp"

#include <heed/wait.hpp>

#include <memory>

namespace heed::inline v0 {
namespace {

struct ring {
  sync::atomic<std::uint32_t>* bell;
  void operator()() const noexcept {
    // release: the sleeper sees the context done. The bell outlives us: our callback's end waits.
    bell->store(1, std::memory_order_release);
    os::wake_one(*bell);
  }
};

// The first that is done; the size: none is.
std::size_t first_done(std::span<const context> contexts) noexcept {
  std::size_t i = 0;
  while (i < contexts.size() && !contexts[i].done()) ++i;
  return i;
}

}  // namespace

std::error_code sleep_until(const context& ctx, time_point t) {
  if (ctx.wait_until(t)) return ctx.err();
  return {};
}

std::size_t wait_any(std::span<const context> contexts) {
  if (contexts.empty()) misuse("heed: wait_any() of no contexts");
  std::size_t mortal = 0;
  const context* last = &contexts.front();
  for (const context& ctx : contexts) {
    if (!ctx.cancel_possible()) continue;
    ++mortal;
    last = &ctx;
  }
  std::size_t found = first_done(contexts);
  if (found < contexts.size()) return found;
  if (mortal <= 1) {
    last->wait();
    return static_cast<std::size_t>(last - contexts.data());
  }
  sync::atomic<std::uint32_t> bell{0};
  const auto callbacks = std::make_unique<std::optional<cancel_callback<ring>>[]>(mortal);
  std::size_t i = 0;
  for (const context& ctx : contexts) {
    if (ctx.cancel_possible()) callbacks[i++].emplace(ctx, ring{&bell});
  }
  // Each is done before it rings; and what was done before its callback was registered rang at once.
  while ((found = first_done(contexts)) == contexts.size()) {
    while (bell.load(std::memory_order_acquire) == 0) os::wait(bell, 0);
  }
  return found;
}

}  // namespace heed::inline v0
