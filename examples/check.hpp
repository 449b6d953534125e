// The examples check what they claim, so that they also serve as tests.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

inline void check(bool holds, const char* claim, std::source_location at = std::source_location::current()) {
  std::printf("%s %s\n", holds ? "yes " : "NO: ", claim);
  if (holds) return;
  std::fprintf(stderr, "%s:%u: it does not hold that %s\n", at.file_name(), at.line(), claim);
  std::_Exit(1);
}
