#!/usr/bin/env bash
# The core header <heed/heed.hpp> costs its users only the standard headers listed in CONTRIBUTING.md, between the
# core-headers markers. With libstdc++ it also opens none of the costly ones behind their backs.
# Usage: check_includes.sh SOURCE_DIR COMPILER [FLAGS...]
set -euo pipefail
root=$1
compiler=("${@:2}")
failed=0
fail() {
  echo "check_includes: $*" >&2
  failed=1
}

# One name a line, as in `<atomic>`; the list in CONTRIBUTING.md may have several on a line.
allowed=$(sed -n '/<!-- core-headers:begin -->/,/<!-- core-headers:end -->/p' "$root/CONTRIBUTING.md" |
  grep -oE '<[a-z_]+>' | sort -u) || fail "CONTRIBUTING.md lists no core headers"

# All that <heed/heed.hpp> opens, each line "<dots> <path>".
opened=$("${compiler[@]}" -std=c++20 -I "$root/include" -fsyntax-only -H -x c++ - 2>&1 \
  <<< '#include <heed/heed.hpp>' | grep -E '^\.+ ')
mapfile -t ours < <(grep -oE '/.*/include/heed/[a-z_]+\.hpp$' <<< "$opened" | sort -u)
included=$(grep -hoE '^ *# *include *<[a-z_]+>' "${ours[@]}" | grep -oE '<[a-z_]+>' | sort -u)

for header in $(comm -13 <(echo "$allowed") <(echo "$included")); do
  fail "$header is not listed in CONTRIBUTING.md; it is included by" \
    "$(grep -lF "#include $header" "${ours[@]}" | sed 's|.*/||' | xargs)"
done
for header in $(comm -23 <(echo "$allowed") <(echo "$included")); do
  fail "$header stands in CONTRIBUTING.md, but no core header includes it"
done

# What libc++ opens inside its own headers is its own affair (there <chrono> brings <mutex> along).
costly='functional iostream thread mutex stop_token condition_variable future regex'
for header in $costly; do
  grep -qxF "<$header>" <<< "$allowed" && fail "<$header> must not be allowed"
  if grep -q '/c++/[0-9]*/string$' <<< "$opened" && grep -q "/c++/[0-9]*/$header\$" <<< "$opened"; then
    fail "<heed/heed.hpp> opens <$header>"
  fi
done

((failed == 0)) && echo "check_includes: ok, $(wc -w <<< "$included") standard headers"
exit $failed
