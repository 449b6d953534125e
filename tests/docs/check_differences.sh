#!/usr/bin/env bash
# The differences that conformance/differences.hpp knows by name are those that docs/go_parity.md gives reasons for.
# Usage: check_differences.sh [SOURCE_DIR]
set -euo pipefail
root=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
known=$(grep -oE '^    \{"[^"]+",' "$root/conformance/differences.hpp" | cut -d '"' -f 2 | sort)
listed=$(sed -n '/^## The differences that the oracle meets/,$p' "$root/docs/go_parity.md" |
  grep -oE '^\| `[^`]+`' | cut -d '`' -f 2 | sort)
if [[ -z $known || $known != "$listed" ]]; then
  echo "check_differences: differences.hpp and go_parity.md name different ones:" >&2
  diff <(echo "$known") <(echo "$listed") >&2
  exit 1
fi
echo "check_differences: ok, $(wc -l <<< "$known") differences"
