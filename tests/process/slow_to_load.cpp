// A library whose loading waits for another thread, in which the program uses heed.
#include <thread>

extern "C" void while_it_loads();  // the program's

static const struct loading {
  loading() { std::thread(while_it_loads).join(); }
} now;
