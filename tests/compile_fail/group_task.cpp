// What a group takes as a task, and that it stays where it is.
#include <heed/group.hpp>

#include <memory>

void f(heed::group& g, const heed::context&) {
#if WRONG == 1
  // WRONG 1: a task is called with a const heed::context& and returns void, std::error_code or heed::error
  g.go([] {});
#elif WRONG == 2
  g.go([](const heed::context&) { return 1; });  // WRONG 2: returns void, std::error_code or heed::error
#elif WRONG == 3
  g.try_go([](heed::context&) {});  // WRONG 3: called with a const heed::context&
#elif WRONG == 4
  auto once = [p = std::make_unique<int>(1)](const heed::context&) {};
  g.go(once);  // WRONG 4: the task cannot be copied: move it into the group
#elif WRONG == 5
  heed::group copy = g;  // WRONG 5: deleted
#elif WRONG == 6
  heed::group moved = std::move(g);  // WRONG 6: deleted
#else
  g.go([](const heed::context&) {});
  g.try_go([](const heed::context& c) { return c.err(); });
  g.go([p = std::make_unique<int>(1)](heed::context) -> heed::error { return "no"; });
#endif
}
