#include "rows.hpp"

#include <heed/heed.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace {

using namespace std::chrono_literals;
constexpr heed::key<int> key{"key"};

double resident() {
  std::size_t total = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> total >> pages;
  return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// How much a process grows by `count` contexts, the handles on them not counted. In a process of its own,
// whose allocator has nothing in stock.
template <class Make>
void grow(bench::suite& s, const std::string& name, Make make) {
  if (!s.wants(name)) return;
  const std::size_t count = s.once() ? 1000 : 1'000'000;
  std::fflush(stdout);
  const pid_t child = fork();
  bench::check(child >= 0, "fork()");
  if (child == 0) {
    std::vector<decltype(make())> handles(count);  // written, so that their pages are there
    handles.front() = make();                      // and so that what is made once is
    const double before = resident();
    for (auto& h : handles) h = make();
    const double bytes = resident() - before;
    s.report(name, count, {{bytes / static_cast<double>(count), "B/ctx"}});
    std::_Exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  bench::check(status == 0, "the process that grows");
}

}  // namespace

void memory(bench::suite& s) {
  const heed::cancelable open = heed::with_cancel(heed::background());
  grow(s, "Memory/kind=WithCancel", [] { return heed::with_cancel(heed::background()); });
  grow(s, "Memory/kind=WithCancel/Root=OpenCanceler", [&] { return heed::with_cancel(open.ctx); });
  grow(s, "Memory/kind=WithTimeout", [] { return heed::with_timeout(heed::background(), 1h); });
  grow(s, "Memory/kind=WithValue", [] { return heed::with_value(heed::background(), key, 1); });
}
