// heed's side of ./bench: every workload through the public API, with default options.
#include "rows.hpp"

#include <exception>

int main(int argc, char** argv) {
  try {
    bench::suite s(argc, argv);
    memory(s);
    floors(s);
    sketches(s);
    reads(s);
    tree(s);
    values(s);
    timers(s);
    callbacks(s);
    waking(s);
  } catch (const std::exception& e) {
    bench::wrong(e.what());
  }
}
