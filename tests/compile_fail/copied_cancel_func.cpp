// The duty to cancel has one owner; share() gives away the right alone.
#include <heed/heed.hpp>

#include <utility>

void f(heed::cancel_func& cancel) {
#if WRONG == 1
  heed::cancel_func copy = cancel;  // WRONG 1: deleted
#else
  heed::cancel_func moved = std::move(cancel);
  heed::canceler copy = moved.share();
  heed::canceler another = copy;
  another();
#endif
}
