// A page is put together from several sources at once. The first that fails ends the others, its error is the
// result, and nothing runs any more when the function returns; no more than two sources are asked at a time.
#include "check.hpp"

#include <heed/group.hpp>
#include <heed/heed.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;

struct source {
  std::string name;
  enum { answers, hangs, fails } habit;
};

// Stands for what takes long: it looks at its context, or waits on it.
std::string ask(const heed::context& ctx, const source& s) {
  if (s.habit == source::fails) throw std::runtime_error(s.name + " is down");
  if (s.habit == source::hangs) ctx.wait();  // until somebody else has failed, or the caller has enough
  return ctx.done() ? "" : s.name + "; ";
}

// Each task has a place of its own in `parts`: no lock. wait() makes what they wrote visible.
std::pair<std::string, heed::error> page(const heed::context& ctx, const std::vector<source>& sources) {
  std::vector<std::string> parts(sources.size());
  heed::group fetch(ctx);
  fetch.set_limit(2);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    fetch.go([&, i](const heed::context& c) { parts[i] = ask(c, sources[i]); });
  }
  heed::error first = fetch.wait();
  std::string text;
  for (const std::string& part : parts) text += part;
  return {text, first};
}

// Groups nest: a task may have a group of its own, under its own context, and hand its error up.
heed::error two_pages(const heed::context& ctx, std::atomic<int>& made) {
  heed::group pages(ctx);
  for (const auto& sources : {std::vector<source>{{"a", source::answers}, {"b", source::hangs}},
                              std::vector<source>{{"c", source::answers}, {"d", source::fails}}}) {
    pages.go([&made, sources](const heed::context& c) {
      const heed::error e = page(c, sources).second;
      if (!e && !c.done()) ++made;
      return e;
    });
  }
  return pages.wait();
}

}  // namespace

int main() {
  auto [request, cancel] = heed::with_cancel(heed::background());

  const auto [text, none] =
      page(request, {{"news", source::answers}, {"weather", source::answers}, {"sport", source::answers}});
  check(!none && text == "news; weather; sport; ", "all answer, and the page is whole");

  const auto [rest, error] = page(request, {{"news", source::hangs}, {"weather", source::fails}});
  check(error.message() == "weather is down", "the first error is the result");
  check(error.as<std::runtime_error>() != nullptr, "it is the exception that was thrown");
  check(rest.empty(), "and has ended the source that would hang for ever");
  check(!request.done(), "the caller's own context goes on: cancel goes down, never up");

  std::atomic<int> made = 0;
  check(two_pages(request, made).message() == "d is down",
        "an error in an inner group comes out of the outer one");
  check(made == 0, "and has ended the other inner group");

  std::atomic<bool> saw = false;
  {
    heed::group left(request);
    left.go([&](const heed::context& c) {
      c.wait();
      saw = true;
    });
  }
  check(saw, "leaving the scope of a group cancels its tasks and joins them");

  heed::group late(request);
  cancel("the user has gone");
  late.go([](const heed::context& c) { return c.cause(); });
  check(late.wait().message() == "the user has gone", "a task that comes too late still runs, and sees why");
}
