// Time by hand in a unit test: code with deadlines of minutes is tested in microseconds, without threads, and
// every run is the same. The code under test only sees a context; the test gives it one whose clock it moves.
#include "check.hpp"

#include <heed/heed.hpp>

#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

// The code under test: a lease that must be renewed within 30 s, or its owner is told.
class lease {
 public:
  lease(const heed::context& parent, std::vector<std::string>& log) : parent_(parent), log_(log) { renew(); }
  ~lease() { stop_(); }

  void renew() {
    stop_();  // of the old term nothing is to be told any more
    term_ = heed::with_timeout(parent_, 30s, heed::error("lease not renewed"));
    stop_ = heed::after_func(term_.ctx, [this] { log_.push_back(term_.ctx.cause().message()); });
  }
  bool held() const { return !term_.ctx.done(); }

 private:
  heed::context parent_;
  std::vector<std::string>& log_;
  heed::cancelable term_;
  heed::stop_func stop_;
};

}  // namespace

int main() {
  heed::manual_scheduler time;
  std::vector<std::string> log;
  {
    lease l(heed::background(time), log);
    time.advance(29s);
    check(l.held(), "after 29 s it is held");
    l.renew();
    time.advance(29s);
    check(l.held(), "renewed, it is held after 58 s");
    time.advance(999ms);
    check(l.held(), "and one millisecond before its end");
    time.advance(1ms);
    check(!l.held(), "at 30 s exactly it ends");
    check(log.empty(), "the after_func waits for its turn");
    check(time.run_pending() == 1, "one function is due");
    check(log == std::vector<std::string>{"lease not renewed"}, "the owner is told, once");
  }
  time.advance(1h);
  check(time.run_pending() == 0, "nothing comes later");
}
