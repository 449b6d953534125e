// The hot path in its usual forms, to be looked at by check.sh.
#include <heed/heed.hpp>

extern "C" {
bool form_done(const heed::context& ctx) {
  return ctx.done();
}

// Who passes a context by value pays for the copy where it is made; the test itself stays the same.
bool form_by_value(heed::context ctx) {
  return ctx.done();
}

int form_if_err(const heed::context& ctx) {
  if (ctx.err()) return 1;
  return 0;
}

// The second word of a live context's error_code is known only once the program runs: it is loaded, too.
void form_stored(const heed::context& ctx, std::error_code& to) {
  to = ctx.err();
}

long form_while_not_err(const heed::context& ctx) {
  long turns = 0;
  while (!ctx.err()) ++turns;
  return turns;
}

long form_while_not_done(const heed::context& ctx) {
  long turns = 0;
  while (!ctx.done()) ++turns;
  return turns;
}

// What check.sh must catch: a call, and a read-modify-write, in the hot path.
bool wrong_call(const heed::context& ctx) {
  return ctx.cause() == heed::errc::canceled;
}
bool wrong_lock(const heed::context& ctx, std::atomic<int>& polls) {
  polls.fetch_add(1);
  return ctx.done();
}
}
