// The first use of heed's threads, while another thread loads a library and waits: heed needs no lock of the
// loader's.
#include "program.hpp"

#include <heed/heed.hpp>

#include <dlfcn.h>

using namespace std::chrono_literals;

extern "C" [[gnu::visibility("default")]] void while_it_loads() {
  const auto timed = heed::with_timeout(heed::background(), 1ms);
  timed.ctx.wait();
}

int main(int, char** arguments) {
  process::check(::dlopen(arguments[1], RTLD_NOW) != nullptr, "dlopen");
}
