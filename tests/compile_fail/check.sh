#!/usr/bin/env bash
# A snippet must compile as it stands, and must not with -DWRONG=n, for each n that it has a line for:
#     // WRONG 1: a regular expression that the compiler's message matches
# Usage: check.sh SNIPPET COMPILER [FLAGS...]
set -euo pipefail
snippet=$1
compile=("${@:2}" -std=c++20 -fsyntax-only -Wall -Werror "$snippet")

"${compile[@]}" || { echo "the right form does not compile" >&2; exit 1; }

failed=0
wrongs=$(grep -oE '// WRONG [0-9]+: .*' "$snippet") || { echo "has no wrong form" >&2; exit 1; }
while read -r _ _ number expected; do
  number=${number%:}
  if message=$("${compile[@]}" -DWRONG="$number" 2>&1); then
    echo "WRONG $number compiles" >&2
    failed=1
  elif ! grep -qE -- "$expected" <<< "$message"; then
    printf 'WRONG %s fails, but not with "%s":\n%s\n' "$number" "$expected" "$message" >&2
    failed=1
  fi
done <<< "$wrongs"
exit $failed
