// thread_local for fibers: they run on one thread, so its variables are changed with them (locals.cpp).
#pragma once

#include <vector>

namespace model {

class thread_locals {
 public:
  void reset();        // as a new thread has them
  void keep();         // the thread's own are this fiber's
  void bring() const;  // and are to be so again

 private:
  std::vector<char> bytes_;
};

}  // namespace model
