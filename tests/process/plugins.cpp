// dlopen and dlclose of a library that uses heed, in a loop; and two of them with one engine (case 30).
//   plugins loop A N          A is loaded, used and closed 200 times, and was unloaded at least N times
//   plugins stay A            A is closed while a thread of the heed inside it runs
//   plugins pair A B          (with libheed.so) contexts go from one to the other
#include "plugin.hpp"

#include "program.hpp"

#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <latch>
#include <string>
#include <thread>

using process::check;

namespace {

template <class F>
F* find(void* library, const char* name) {
  void* found = ::dlsym(library, name);
  check(found != nullptr, name);
  return reinterpret_cast<F*>(found);
}

void* load(const char* path, int how) {
  void* library = ::dlopen(path, RTLD_NOW | how);
  if (!library) std::fprintf(stderr, "%s\n", ::dlerror());
  check(library != nullptr, "dlopen");
  return library;
}

long entries(const char* folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

bool mapped(const char* path) {
  std::ifstream maps("/proc/self/maps");
  const std::string name = std::filesystem::path(path).filename();
  for (std::string line; std::getline(maps, line);) {
    if (line.find(name) != std::string::npos) return true;
  }
  return false;
}

void loop(const char* path, int at_least) {
  long descriptors = 0;
  int unloaded = 0;
  for (int i = 0; i < 200; ++i) {
    void* library = load(path, RTLD_LOCAL);
    std::latch used{1};
    std::latch gone{1};
    std::thread outlives([&] {  // it has used the code, and ends when that is gone
      check(find<plugin_use>(library, "use")() == 0, "the plug-in uses contexts");
      used.count_down();
      gone.wait();
    });
    used.wait();
    check(process::in_child([&] { check(find<plugin_use>(library, "use")() == 0, "in a child"); }) == 0 ||
              i % 20,
          "a fork while it is loaded");
    check(::dlclose(library) == 0, "dlclose");
    if (!mapped(path)) ++unloaded;
    gone.count_down();
    outlives.join();
    if (i % 20 == 0) check(process::in_child([] {}) == 0, "a fork once it is gone");
    if (i == 0) descriptors = entries("/proc/self/fd");
  }
  check(unloaded >= at_least, "it is unloaded");
  check(entries("/proc/self/fd") == descriptors, "no descriptor is left open");
  std::printf("200 times loaded and used, %d times unloaded\n", unloaded);
}

void stay(const char* path) {
  void* library = load(path, RTLD_LOCAL);
  check(find<plugin_use>(library, "use_threads")() == 0, "the plug-in has deadlines");
  check(::dlclose(library) == 0, "dlclose");
  check(mapped(path), "its threads have their code");
  library = load(path, RTLD_LOCAL);
  check(find<plugin_use>(library, "use_threads")() == 0, "and run");
}

void pair(const char* one, const char* other) {
  void* a = load(one, RTLD_GLOBAL);  // as if both had been linked: one key for one name
  void* b = load(other, RTLD_GLOBAL);
  check(find<plugin_use>(a, "use") != find<plugin_use>(b, "use"), "two libraries");
  check(find<plugin_key_address>(a, "key_address")() == find<plugin_key_address>(b, "key_address")(),
        "one key");
  heed::context ctx;
  find<plugin_give>(a, "give")(&ctx);
  const int* seen = find<plugin_take>(b, "take")(&ctx);
  check(seen && *seen == 7, "the other finds the value");
  check(ctx.value(plugin_key) == seen, "so does the program");
  auto made = heed::with_cancel(ctx);
  int told = 0;
  const heed::cancel_callback cb(made.ctx, [&] { ++told; });
  check(find<plugin_use>(b, "use")() == 0 && made.cancel() && told == 1, "and all go on");
  ctx = {};
  made = heed::with_cancel(heed::background());  // what was made in the libraries is gone
  ::dlclose(a);
  check(find<plugin_use>(b, "use")() == 0, "one may go");
  ::dlclose(b);
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = arguments[1];
  if (what == "loop" && count == 4) loop(arguments[2], std::atoi(arguments[3]));
  if (what == "stay" && count == 3) stay(arguments[2]);
  if (what == "pair" && count == 4) pair(arguments[2], arguments[3]);
}
