// A foreign source of cancellation as a context: here a std::stop_token, which knows nothing of heed. The
// object subscribes once and pushes the end in, so err() stays one load and no thread watches. It also
// answers lookups of its own.
#include "check.hpp"

#include <heed/custom.hpp>
#include <heed/heed.hpp>

#include <stop_token>
#include <string>

using namespace std::chrono_literals;

namespace {

inline constexpr heed::key<std::string> peer_key{"peer"};

class stop_token_context : public heed::custom_context {
 public:
  stop_token_context(anchor a, std::stop_token token, std::string peer)
      : custom_context(a), peer_(std::move(peer)), subscription_(std::move(token), on_stop{this}) {}

  const void* find(const heed::key_base& k) const noexcept override {
    return &k == &peer_key ? &peer_ : nullptr;
  }
  std::string name() const override { return "stop_token"; }

 private:
  struct on_stop {
    stop_token_context* self;
    void operator()() const { self->end(heed::errc::canceled, "the stop_source was asked to stop"); }
  };
  const std::string peer_;
  std::stop_callback<on_stop> subscription_;  // last: gone before the rest, and no call comes after that
};

}  // namespace

int main() {
  std::stop_source source;
  auto [ctx, cancel, self] =
      heed::with_custom<stop_token_context>(heed::background(), source.get_token(), "10.0.0.7");
  auto [child, cancel_child] = heed::with_timeout(ctx, 1h);

  check(!child.err(), "nothing has ended yet");
  check(*child.value(peer_key) == "10.0.0.7", "a child finds what the custom context answers");

  source.request_stop();
  check(child.err() == heed::errc::canceled,
        "the foreign source ends the child, before request_stop() returns");
  check(child.cause().message() == "the stop_source was asked to stop", "with its cause");

  auto [parent, cancel_parent] = heed::with_cancel(heed::background());
  std::stop_source never;
  auto below = heed::with_custom<stop_token_context>(parent, never.get_token(), "10.0.0.8");
  cancel_parent();
  check(below.ctx.done(), "and as a child it ends with its parent");
  check(!never.stop_requested(), "which says nothing to the foreign source");
}
