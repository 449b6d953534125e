// Knowing why: a server with requests in all states; what ended one of them, from which line; and the tree as
// text.
//     inspect         checks itself
//     inspect dot     the tree for Graphviz: inspect dot | dot -Tsvg; with HEED_TRACK=1 all of it, with lines
#include "check.hpp"

#include <heed/custom.hpp>
#include <heed/heed.hpp>
#include <heed/inspect.hpp>

#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

using namespace std::chrono_literals;

namespace {

inline constexpr heed::key<std::string> user_key{"user"};
inline constexpr heed::key<int> trace_key{"trace"};

class rpc_context : public heed::custom_context {
 public:
  explicit rpc_context(anchor a) : custom_context(a) {}
  std::string name() const override { return "rpc"; }
};

bool says(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

int main(int argc, char** argv) {
  heed::manual_scheduler time;  // so that the same is printed each time
  auto [server, shut_down] = heed::with_cancel(heed::background(time));

  // Ann's request asks two backends; one of them is too slow.
  const auto ann = heed::with_value(heed::with_value(server, user_key, "ann"), trace_key, 4711);
  auto [request, cancel] = heed::with_timeout(ann, 5s, "the request took too long");
  auto [users, cancel_users] = heed::with_timeout(request, 800ms, "users: no answer");
  auto [orders, cancel_orders] = heed::with_cancel(request);
  const heed::cancel_callback close_connection(orders, [] {});

  // Bob's came by RPC, and he went away.
  const auto bob = heed::with_value(server, user_key, "bob");
  auto [rpc, cancel_rpc, self] = heed::with_custom<rpc_context>(bob);
  const auto log_it = heed::after_func(server, [] {});
  cancel_rpc("the peer hung up");

  // What is written down for ann outlives her request.
  auto [audit, cancel_audit] = heed::with_timeout(heed::without_cancel(request), 1min);
  time.advance(1s);

  if (argc > 1 && argv[1] == std::string_view("dot")) {
    heed::dump(std::cout, server, heed::dump_format::dot);
    return 0;
  }

  std::cout << heed::explain(users) << '\n' << heed::explain(orders) << '\n';
  check(says(heed::explain(users), "cause: users: no answer"), "explain() tells why one ended");
  check(says(heed::explain(users), "inspect.cpp:"), "and which line set the deadline that passed");
  check(says(heed::explain(orders), "with_deadline, 1 step up: its deadline, in 4.000s; its cancel") ||
            heed::tracking(),
        "of a live one it tells what can end it");

  std::ostringstream tree;
  heed::dump(tree, server);
  std::cout << '\n' << tree.str() << '\n';
  check(says(tree.str(), "rpc: canceled, cause: the peer hung up"), "dump() shows the tree below a context");
  check(says(tree.str(), "values: user trace") || heed::tracking(), "with the keys of the values on the way");

  shut_down("maintenance");
  std::cout << heed::explain(orders);
  check(says(heed::explain(orders), "a cancel of with_cancel, 4 steps up"),
        "what ended a context may be far above it");
  check(says(heed::explain(audit), "nothing above without_cancel, 1 step up"),
        "or be kept off by a without_cancel");
}
