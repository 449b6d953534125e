// Uses a bit of everything: inline functions, exported data, exported functions, the default scheduler.
#include <heed/heed.hpp>

#include <iostream>

inline constexpr heed::key<int> answer{"answer"};

int main() {
  auto [ctx, cancel] = heed::with_timeout(heed::background(), std::chrono::milliseconds(1));
  const heed::context child = heed::with_value(ctx, answer, 42);
  std::atomic<bool> ran{false};
  heed::after_func(child, [&] { ran = true, ran.notify_one(); });
  child.wait();
  ran.wait(false);
  std::cout << child << ": " << child.err().message() << '\n';
  return child.err() == heed::errc::deadline_exceeded && *child.value(answer) == 42 ? 0 : 1;
}
