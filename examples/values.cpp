// Values that go through layers which know nothing of them: a server attaches who asks and what is traced, a
// library in the middle adds its own deadline, and the bottom finds both. A nearer value hides a farther one.
#include "check.hpp"

#include <heed/heed.hpp>

#include <string>
#include <string_view>

using namespace std::chrono_literals;

namespace {

struct user {
  std::string name;
  int id = 0;
};
std::string to_string(const user& u) {
  return u.name;
}  // for context::to_string()

inline constexpr heed::key<user> user_key{"user"};
inline constexpr heed::key<std::string> trace_key{"trace"};

std::string query(const heed::context& ctx) {  // the bottom: a database client, say
  const user* who = ctx.value(user_key);
  const std::string* trace = ctx.value(trace_key);
  return (who ? who->name : "nobody") + "/" + (trace ? *trace : "untraced");
}

std::string middle(const heed::context& ctx) {  // only wants things to be quick
  auto [quick, cancel] = heed::with_timeout(ctx, 1min);
  return query(quick);
}

std::string serve(const heed::context& ctx, std::string_view trace) {
  const heed::context traced = heed::with_value(ctx, trace_key, trace);
  const heed::context known = heed::with_value(traced, user_key, user{"ann", 7});
  return middle(known);
}

}  // namespace

int main() {
  check(query(heed::background()) == "nobody/untraced", "where nothing was attached nothing is found");
  check(serve(heed::background(), "4711") == "ann/4711", "the bottom finds what the top attached");

  const heed::context as_ann = heed::with_value(heed::background(), user_key, user{"ann", 7});
  const heed::context as_bob = heed::with_value(as_ann, user_key, user{"bob", 8});
  check(as_bob.value(user_key)->name == "bob", "a nearer value hides a farther one");
  check(as_ann.value(user_key)->name == "ann", "and does not change it");

  static constexpr heed::key<user> other_key{"user"};
  check(as_bob.value(other_key) == nullptr,
        "a key is known by its address: the same name is not the same key");
  check(as_ann.to_string() == "background.with_value(user, ann)", "a context tells its way down");
}
