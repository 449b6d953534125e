#!/usr/bin/env bash
# Every test that docs/*.md names as `Suite.Name` exists in the test sources, and every exported name of Go's
# package context has its row in docs/go_parity.md. Usage: check_parity.sh [SOURCE_DIR]
set -euo pipefail
root=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
parity=$root/docs/go_parity.md
failed=0

# "Suite.Name", one a line, of every TEST, TEST_F, TEST_P, TYPED_TEST; also where clang-format broke the line.
defined=$(find "$root/tests" -name '*.cpp' -exec cat {} + | tr '\n' ' ' |
  grep -oE '\b(TYPED_)?TEST(_F|_P)?\( *[A-Za-z0-9_]+ *, *[A-Za-z0-9_]+ *\)' |
  sed -E 's/.*\( *([A-Za-z0-9_]+) *, *([A-Za-z0-9_]+) *\)/\1.\2/' | sort -u)

# `Suite.Name` in backticks, both parts capitalized; Go's own `Context.Err` and the like are no tests.
cited=$(grep -ohE '`[A-Z][A-Za-z0-9]+\.[A-Z][A-Za-z0-9_]+`' "$root"/docs/*.md | tr -d '`' |
  grep -vE '^Context\.(Deadline|Done|Err|Value)$' | sort -u)
if [[ -z $cited ]]; then
  echo "check_parity: docs/go_parity.md names no test at all" >&2
  exit 1
fi
while read -r test; do
  if ! grep -qxF -- "$test" <<< "$defined"; then
    echo "check_parity: $test is named in docs/, but no test source defines it" >&2
    failed=1
  fi
done <<< "$cited"

exported='Background TODO Context Deadline Done Err Value Canceled DeadlineExceeded CancelFunc CancelCauseFunc
  WithCancel WithCancelCause Cause AfterFunc WithoutCancel WithDeadline WithDeadlineCause WithTimeout
  WithTimeoutCause WithValue'
for name in $exported; do
  if ! grep -qE "^\| .*\`(Context\.)?$name[\`( ]" "$parity"; then
    echo "check_parity: docs/go_parity.md has no row for Go's $name" >&2
    failed=1
  fi
done
((failed == 0)) && echo "check_parity: ok, $(wc -l <<< "$cited") tests"
exit $failed
