#!/usr/bin/env bash
# check.sh MODEL: spin visits all states of MODEL.pml and must find no error, and one in each of its mutants.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/$model.pml" "$work"
cd "$work"

# explore VARIANT: the errors that it has, by the claim, an assertion or a deadlock; prints what spin said.
explore() {
  spin ${1:+-D"$1"} -a "$model.pml" > log || { cat log; exit 1; }
  errors=0
  states=
  local build
  for build in "" "-DNOCLAIM -DSAFETY"; do # with a claim, pan does not look for deadlocks
    [[ -n $build ]] || grep -q '^ltl' "$model.pml" || continue
    gcc -O1 -w $build -o pan pan.c
    ./pan $([[ -n $build ]] || echo -a) -m1000000 > out
    grep -q 'errors:' out && ! grep -qE 'max search depth too small|out of memory' out || { cat out; exit 1; }
    errors=$((errors + $(grep -oP 'errors: \K[0-9]+' out)))
    states="$states $(grep -oP '\d+(?= states, stored)' out)"
    grep '^pan:1:' out || true
  done
}

explore ""
echo "$model: errors: $errors, states:$states"
((errors == 0))
mutants=$(grep -oE 'MUTANT_[A-Z_]+' "$model.pml" | sort -u)
(($(wc -w <<< "$mutants") >= 2))
for mutant in $mutants; do
  explore "$mutant"
  echo "$model, $mutant: errors: $errors"
  ((errors > 0))
done
