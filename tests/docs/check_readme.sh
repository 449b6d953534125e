#!/usr/bin/env bash
# The example in README.md is examples/readme.cpp, letter by letter: what a reader copies is what the build
# compiles and a test runs. Usage: check_readme.sh [SOURCE_DIR]
set -euo pipefail
root=${1:-$(cd "$(dirname "$0")/../.." && pwd)}

# The first ```cpp block behind the marker; where there is none, nothing is printed, and that differs too.
in_readme() {
  awk '/<!-- examples\/readme.cpp -->/ {found = 1; next}
       found && /^```cpp$/ {inside = 1; next}
       inside && /^```$/ {exit}
       inside {print}' "$root/README.md"
}

if ! diff -u --label README.md --label examples/readme.cpp <(in_readme) "$root/examples/readme.cpp"; then
  echo "check_readme: the example in README.md is not examples/readme.cpp" >&2
  exit 1
fi
lines=$(wc -l < "$root/examples/readme.cpp")
if ((lines >= 40)); then
  echo "check_readme: examples/readme.cpp has $lines lines; it is to stay below 40" >&2
  exit 1
fi
echo "check_readme: ok"
