// A foreign source of cancellation as a context: a call of some RPC library, which knows nothing of heed, can
// be aborted by its peer, and has a deadline and a peer. The object subscribes once and pushes the end in, so
// err() stays one load and no thread watches. (For a std::stop_token there is with_stop_token().)
#include "check.hpp"

#include <heed/custom.hpp>
#include <heed/heed.hpp>

#include <functional>
#include <string>
#include <utility>

using namespace std::chrono_literals;

namespace {

// What the library has. One thread here; see tests/support.hpp for a source that several threads use.
struct rpc_call {
  std::string peer;
  heed::time_point give_up;
  std::function<void()> on_abort;
  void abort() const {
    if (on_abort) on_abort();
  }
};

inline constexpr heed::key<std::string> peer_key{"peer"};

class rpc_context : public heed::custom_context {
 public:
  rpc_context(anchor a, rpc_call& call) : custom_context(a), call_(call) {
    call_.on_abort = [this] { end(heed::errc::canceled, "aborted by the peer"); };
  }
  ~rpc_context() override { call_.on_abort = nullptr; }  // no call comes after that

  const void* find(const heed::key_base& k) const noexcept override {
    return &k == &peer_key ? &call_.peer : nullptr;
  }
  std::optional<heed::time_point> deadline() const noexcept override { return call_.give_up; }
  std::string name() const override { return "rpc"; }

 private:
  rpc_call& call_;
};

}  // namespace

int main() {
  rpc_call call{"10.0.0.7", heed::clock::now() + 1h, {}};
  {
    auto [ctx, cancel, self] = heed::with_custom<rpc_context>(heed::background(), call);
    auto [child, cancel_child] = heed::with_timeout(ctx, 2h);

    check(!child.err(), "nothing has ended yet");
    check(*child.value(peer_key) == "10.0.0.7", "a child finds what the custom context answers");
    check(child.deadline() == call.give_up, "and has its deadline, which is the earlier one");

    call.abort();
    check(child.err() == heed::errc::canceled, "the foreign source ends the child, before abort() returns");
    check(child.cause().message() == "aborted by the peer", "with its cause");
  }
  check(!call.on_abort, "with the context's last handle the subscription is gone");

  auto [parent, cancel_parent] = heed::with_cancel(heed::background());
  auto below = heed::with_custom<rpc_context>(parent, call);
  cancel_parent();
  check(below.ctx.done(), "and as a child it ends with its parent");
}
