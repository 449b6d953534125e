// A request that ends when it is answered, after 5 seconds, or with the server: whichever comes first.
#include <heed/heed.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

inline constexpr heed::key<std::string> user_key{"user"};

// Whatever may take long takes a context, first, and stops when it ends.
void answer(const heed::context& ctx) {
  while (!ctx.done()) {         // one atomic load, however deep the tree is
    std::this_thread::yield();  // a step of the work
  }
  std::cout << *ctx.value(user_key) << "'s request: " << ctx.err().message() << ", " << ctx.cause()
            << " (line " << ctx.canceled_at()->line() << ")\n";
}

int main() {
  auto [server, shut_down] = heed::with_cancel(heed::background());
  heed::context ann = heed::with_value(server, user_key, "ann");
  auto [request, cancel] = heed::with_timeout(ann, 5s, "too slow");

  std::thread worker([ctx = request] { answer(ctx); });
  shut_down("maintenance");  // ends server, ann and request, before it returns
  worker.join();
}  // leaving scope cancels what is still live: nothing leaks, no timer stays behind
