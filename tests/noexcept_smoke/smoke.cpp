// The core API with exceptions and RTTI off: a program that checks itself, without a test framework.
#include <heed/group.hpp>
#include <heed/heed.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <system_error>

namespace {

using namespace std::chrono_literals;

// The macro gives the text and the line; what it counts is how many checks there were.
int checks = 0;
#define CHECK(condition) check(condition, #condition, __LINE__)
void check(bool holds, const char* text, int line) {
  ++checks;
  if (holds) return;
  std::printf("smoke.cpp:%d: %s\n", line, text);
  std::exit(1);
}

inline constexpr heed::key<std::string> name_key{"name"};
inline constexpr heed::key<int> number_key{"number"};

void errors() {
  CHECK(!heed::error());
  CHECK(heed::error(heed::errc::canceled) == heed::errc::canceled);
  CHECK(heed::errc::deadline_exceeded == std::errc::timed_out);
  CHECK(heed::error("why").message() == "why");
  CHECK(heed::error("why") != heed::error("why"));
  const heed::error full(std::make_error_code(std::errc::no_space_on_device));
  CHECK(full.code() == std::errc::no_space_on_device);
  CHECK(heed::error(full) == full);
}

void cancel() {
  auto [parent, cancel_parent] = heed::with_cancel(heed::background());
  auto [child, cancel_child] = heed::with_cancel(parent);
  const heed::context apart = heed::without_cancel(child);
  CHECK(!child.done() && !child.err() && !child.cause());
  CHECK(!heed::background().cancel_possible() && child.cancel_possible() && !apart.cancel_possible());

  CHECK(cancel_parent("enough"));
  CHECK(!cancel_parent("again"));
  CHECK(child.err() == heed::errc::canceled);
  CHECK(child.cause().message() == "enough");
  CHECK(child.canceled_at().has_value());
  CHECK(!apart.done());
  CHECK(!cancel_child());
  child.wait();
  CHECK(child.wait_for(0s));

  heed::context scoped;
  {
    auto made = heed::with_cancel(heed::background());
    scoped = made.ctx;
    heed::canceler share = made.cancel.share();
    CHECK(!scoped.done());
  }
  CHECK(scoped.done());
}

void values() {
  const heed::context ctx =
      heed::with_value(heed::with_value(heed::background(), name_key, "ann"), number_key, std::in_place, 7);
  CHECK(ctx.value(name_key) && *ctx.value(name_key) == "ann");
  CHECK(*ctx.value(number_key) == 7);
  CHECK(*heed::with_value(ctx, number_key, 8).value(number_key) == 8);
  CHECK(!heed::todo().value(number_key));
  CHECK(ctx.to_string() == "background.with_value(name, ann).with_value(number, 7)");
}

void deadlines() {
  heed::manual_scheduler time;
  const heed::context root = heed::background(time);
  auto [ctx, cancel] = heed::with_timeout(root, 5s, "too slow");
  auto [never, cancel_never] = heed::with_timeout(root, std::chrono::duration<double>::max());
  auto [past, cancel_past] = heed::with_timeout(root, -1s);
  CHECK(past.err() == heed::errc::deadline_exceeded);
  CHECK(ctx.deadline() == time.now() + 5s);
  time.advance(5s - 1ns);
  CHECK(!ctx.done());
  time.advance(1ns);
  CHECK(ctx.err() == heed::errc::deadline_exceeded);
  CHECK(ctx.cause().message() == "too slow");
  time.advance(std::chrono::hours(24 * 365));
  CHECK(!never.done());
}

void callbacks() {
  heed::manual_scheduler time;
  auto [ctx, cancel] = heed::with_cancel(heed::background(time));
  int inside = 0;
  int later = 0;
  heed::cancel_callback callback(ctx, [&] { ++inside; });
  {
    heed::cancel_callback gone(ctx, [&] { inside += 100; });
  }
  heed::after_func(ctx, [&] { ++later; });
  heed::stop_func stop = heed::after_func(ctx, [&] { later += 100; });
  CHECK(stop());
  CHECK(!stop());
  cancel();
  CHECK(inside == 1 && later == 0);
  CHECK(time.run_pending() == 1);
  CHECK(later == 1);
  heed::cancel_callback at_once(ctx, [&] { ++inside; });
  CHECK(inside == 2);
}

class job final : public heed::custom_context {
 public:
  explicit job(anchor a) noexcept : custom_context(a) {}
  void abort() { end(heed::errc::canceled, "aborted"); }
};

void custom_contexts() {
  auto [ctx, cancel, self] = heed::with_custom<job>(heed::background());
  auto [child, cancel_child] = heed::with_cancel(ctx);
  self.abort();
  CHECK(child.cause().message() == "aborted");
}

void real_time() {
  auto [ctx, cancel] = heed::with_timeout(heed::background(), 1ms);
  CHECK(ctx.done_fd() >= 0);
  ctx.wait();
  CHECK(ctx.err() == heed::errc::deadline_exceeded);
}

void groups() {
  heed::group g(heed::background());
  g.set_limit(2);
  std::atomic<int> ran{0};
  for (int i = 0; i < 5; ++i) g.go([&ran](const heed::context&) { ++ran; });
  while (!g.try_go([](const heed::context&) { return std::make_error_code(std::errc::io_error); })) {}
  CHECK(g.wait() == std::errc::io_error);
  CHECK(ran == 5 && g.ctx().cause() == std::errc::io_error);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "misuse") == 0) {
    const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    auto [ctx, cancel] = heed::with_timeout(heed::background(), nan);
    return 0;
  }
  errors();
  cancel();
  values();
  deadlines();
  callbacks();
  custom_contexts();
  real_time();
  groups();
  std::printf("%d checks passed\n", checks);
}
