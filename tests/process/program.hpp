// What the programs here share: they say what they check, and end at the first thing that does not hold.
#pragma once

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>

namespace process {

inline constexpr int skipped = 77;  // what ctest takes for it

inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::_Exit(1);
}

inline void says(const char* what) {
  std::printf("%s\n", what);
  std::fflush(stdout);
}

inline bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

/// Runs it in a forked child and gives what that exited with; -1: a signal ended it.
template <class F>
int in_child(F&& body) {
  const pid_t child = ::fork();
  check(child >= 0, "fork");
  if (child == 0) {
    ::alarm(60);
    body();
    std::fflush(stdout);
    std::_Exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace process
