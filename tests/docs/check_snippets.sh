#!/usr/bin/env bash
# The C++ blocks of docs/guide.md compile, each in a namespace of its own.
# Usage: check_snippets.sh [SOURCE_DIR] [COMPILER [FLAGS...]]
set -euo pipefail
root=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
shift || true
(($# > 0)) || set -- "${CXX:-c++}"

headers='heed/heed.hpp heed/coroutine.hpp heed/group.hpp heed/inspect.hpp heed/stop_token.hpp heed/sync.hpp heed/wait.hpp
  algorithm atomic cassert chrono climits condition_variable cstdint deque filesystem fstream functional future iostream
  memory memory_resource mutex optional span stdexcept stop_token string string_view system_error thread utility vector
  poll.h signal.h sys/socket.h time.h unistd.h'
source=$(
  for header in $headers; do echo "#include <$header>"; done
  echo 'using namespace std::chrono_literals;'
  awk -v file="$root/docs/guide.md" '
    /^```cpp$/ {inside = 1; blocks++; printf "namespace snippet_%d {\n#line %d \"%s\"\n", blocks, NR + 1, file; next}
    inside && /^```$/ {inside = 0; print "}"; next}
    inside {print}
    END {if (blocks == 0) print "#error docs/guide.md has no C++ block"}' "$root/docs/guide.md"
)
"$@" -std=c++20 -I"$root/include" -Wall -Wextra -Wno-unused -fsyntax-only -x c++ - <<< "$source"
echo "check_snippets: ok, $(grep -c '^namespace snippet_' <<< "$source") blocks"
