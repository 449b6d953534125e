// A std::exception by value is a slice of whatever was caught: its message is lost.
#include <heed/heed.hpp>

#include <stdexcept>

heed::error f(const std::exception& caught) {
#if WRONG == 1
  // WRONG 1: heed::error: a plain std::exception is a slice of the one you caught
  return heed::error(caught);
#else
  static_cast<void>(caught);
  return heed::error(std::runtime_error("named"));
#endif
}
