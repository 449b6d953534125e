// A piece of work with two owners: the request that asked for it, and the server that may shut down. It ends
// with either, and says which one it was.
#include "check.hpp"

#include <heed/heed.hpp>

#include <chrono>
#include <string>

using namespace std::chrono_literals;

namespace {

constexpr heed::key<std::string> user_key{"user"};
constexpr heed::key<std::string> region_key{"region"};

// The server has values and an end of its own; so has each request, which did not grow out of the server's
// context.
struct server {
  heed::cancelable running = heed::with_cancel(heed::with_value(heed::background(), region_key, "north"));

  heed::cancelable accept(const heed::context& request) const { return heed::merge(request, running.ctx); }
};

}  // namespace

int main() {
  heed::manual_scheduler time;  // a second passes when we say so
  const server s;
  const auto ann =
      heed::with_timeout(heed::with_value(heed::background(time), user_key, "ann"), 1s, "ann's second");
  const auto bob = heed::with_cancel(heed::with_value(heed::background(time), user_key, "bob"));
  const auto job_of_ann = s.accept(ann.ctx);
  const auto job_of_bob = s.accept(bob.ctx);

  check(*job_of_ann.ctx.value(user_key) == "ann", "a job has the request's values");
  check(*job_of_ann.ctx.value(region_key) == "north", "and the server's");
  check(job_of_ann.ctx.deadline() == ann.ctx.deadline(), "its deadline is the earlier one of both");

  time.advance(1s);
  check(job_of_ann.ctx.err() == heed::errc::deadline_exceeded, "it ends with the request");
  check(job_of_ann.ctx.cause().message() == "ann's second", "and knows why");
  check(!job_of_bob.ctx.done() && !s.running.ctx.done(), "which says nothing to others, nor to the server");

  s.running.cancel("shutdown");
  check(job_of_bob.ctx.cause().message() == "shutdown", "and it ends with the server");
  check(!bob.ctx.done(), "which says nothing to the request");
}
