#!/usr/bin/env bash
# err() and done() are one load and a test: looks at the machine code of every form in forms.cpp.
# Usage: check.sh SOURCE_DIR COMPILER [FLAGS...]
set -euo pipefail
root=$1
compiler=("${@:2}")
if [[ $("${compiler[@]}" -dumpmachine) != x86_64-* ]]; then
  echo "machine_code: skipped, it reads x86-64 only"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${compiler[@]}" -std=c++20 -O2 -I "$root/include" -c "$root/tests/machine_code/forms.cpp" -o "$work/forms.o"
objdump -dr -C --no-show-raw-insn "$work/forms.o" > "$work/listing"

# The instructions and relocations of one function, each behind its address in hexadecimal.
code_of() {
  awk -v begin="<$1>:" '
    NF == 2 && $2 ~ /^<.*>:$/ {inside = ($2 == begin); next}
    inside && NF && !/\t(nop|data16|cs nop)/ {sub(/:[ \t]+/, " "); sub(/^[ \t]+/, ""); print}
  ' "$work/listing"
}

# The part of a function that runs while nothing rare happens. Of a loop: from where its first backward jump leads
# up to that jump. Else all up to the first ret: compilers lay an [[unlikely]] path behind it, or elsewhere.
hot_part_of() {
  local code from to
  code=$(code_of "$1")
  if [[ $1 == *_while_* ]]; then
    while read -r to op from _; do
      if [[ $op == j* && $from =~ ^[0-9a-f]+$ ]] && ((16#$from < 16#$to)); then
        sed -n "/^$from /,/^$to /p" <<< "$code"
        return
      fi
    done <<< "$code"
  else
    sed '/ ret/q' <<< "$code"
  fi
}

# What is wrong with a form; nothing when it is as it must be.
faults_of() {
  local all hot
  all=$(code_of "$1"; code_of "$1.cold")
  hot=$(hot_part_of "$1")
  [[ -n $hot ]] || echo "was not found"
  ! grep -qE ' lock | xchg .*\(' <<< "$all" || echo "locks the bus"
  # The rare path may call scope::close(): a done_fd() of a context just canceled is not readable yet.
  ! grep -A1 ' call ' <<< "$all" | grep 'R_X86_64' | grep -qv 'scope::close()' || echo "calls something else"
  ! grep -q ' call ' <<< "$hot" || echo "calls on the hot path"
  # The handle tells where the word is; then comes the word itself, first in its scope.
  [[ $1 == *_stored || $(grep -c '(%r' <<< "$hot") -eq 2 ]] || echo "does not touch memory twice"
  [[ $(grep -cE ' mov +\(%r[a-z0-9]+\),%r[a-z0-9]+$' <<< "$hot") -eq 1 ]] ||
    echo "does not load the word once"
}

failed=0
complain() {
  echo "machine_code: $1: $2" >&2
  { code_of "$1"; code_of "$1.cold"; } | sed 's/^/    /' >&2
  failed=1
}
for form in $(grep -oE '\bform_[a-z_]+' "$root/tests/machine_code/forms.cpp"); do
  faults=$(faults_of "$form")
  [[ -z $faults ]] || complain "$form" "${faults//$'\n'/, }"
done
# And the check itself can fail.
[[ $(faults_of wrong_call) == *"calls on the hot path"* ]] || complain wrong_call "was not caught"
[[ $(faults_of wrong_lock) == *"locks the bus"* ]] || complain wrong_lock "was not caught"
exit $failed
