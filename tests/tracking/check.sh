#!/usr/bin/env bash
# Runs the program with HEED_TRACK=1, and compares what it writes to the standard error stream; runs it without, and
# with values that are refused. Usage: check.sh PROGRAM CASE
set -euo pipefail
program=$1
case=$2
source=$(dirname "$0")/program.cpp
fail() { echo "check: $*" >&2; exit 1; }

# The line of the case's function that has this mark.
line() {
  local n
  n=$(awk -v mark="// LINE $1\$" -v from="^void $function\\(" '
    $0 ~ from {inside = 1}
    inside && $0 ~ mark {print NR; exit}' "$source")
  [[ -n $n ]] || fail "$function has no line $1"
  echo "program.cpp:$n"
}

expect() {
  diff -u --label expected --label written <(printf '%s' "$1") <(printf '%s' "$2") || fail "$3"
}

# run VALUE: the program's standard error stream.
run() { env HEED_TRACK="$1" "$program" "$case" 2>&1 > /dev/null || fail "it ended with $?"; }

function=$case
one='heed: 1 context is still alive at exit:'
case $case in
  nothing_left | quick_exit | statics | races) expected= ;;
  left)
    expected="heed: 7 contexts are still alive at exit:
  #1 with_cancel under background, canceled, 0 handles, made at $(line server)
  #2 with_value(user) under #1, canceled, 0 handles, made at $(line user)
  #3 with_deadline under #2, canceled, 1 handle, made at $(line request)
  #4 without_cancel under #3, 0 handles, made at $(line apart)
  #5 with_value(user) under #4, 0 handles, made somewhere
  #6 with_custom under #5, canceled, 1 handle, made at $(line rpc)
  #7 with_cancel under todo, canceled, 1 handle, made at $(line todo)"
    ;;
  states)
    expected="heed: 6 contexts are still alive at exit:
  #1 background(scheduler), 0 handles, made at $(line root)
  #2 with_cancel under #1, live, 1 handle, made at $(line live)
  #3 with_deadline under #1, deadline exceeded, 1 handle, made at $(line late)
  #4 with_cancel under #1, live, 0 handles, made at $(line other)
  #5 merge under #2 and #4, live, 1 handle, made at $(line both)
  #6 with_value(two?lines) under #2, live, 1 handle, made at $(line odd)"
    ;;
  threads) expected="$one
  #1 with_value(user) under background, 1 handle, made at $(line last)" ;;
  fork)
    function=forked
    expected="heed: 2 contexts are still alive at exit:
  #1 with_value(user) under background, 1 handle, made at $(line parents)
  #2 with_value(user) under background, 1 handle, made at $(line childs)
$one
  #1 with_value(user) under background, 1 handle, made at $(line parents)"
    ;;
  no_memory)
    function=without_memory
    expected="$one
  #1 with_value(user) under background, 1 handle, made at $(line after)
heed: 1 context was not tracked, for want of memory"
    ;;
  merged)
    expected="n1 with_cancel: live, 2 handles, made at $(line b)
  n2 merge: live, 2 handles, made at $(line both)
    n3 with_cancel: live, 2 handles, made at $(line child)
n1 background
  n2 with_cancel: live, 2 handles, made at $(line a)
    n3 merge and under n5: live, 2 handles, made at $(line both)
      n4 with_cancel: live, 2 handles, made at $(line child)
  n5 with_cancel: live, 2 handles, made at $(line b)"
    ;;
  dump)
    expected="n1 with_cancel: live, 3 handles, made at $(line server)
  n2 with_value(user): live, 1 handle, made at $(line user)
    n3 with_deadline: canceled, cause: enough, at $(line end), deadline in 5.000s, 2 handles, made at $(line request)
      n4 without_cancel: 0 handles, made at $(line audit)
        n5 with_deadline: live, deadline in 10.000s, 2 handles, made at $(line audit)
n1 with_deadline: live, deadline in 10.000s, 2 handles, made at $(line audit)
n1 background
  n2 rpc: live, 2 handles, made at $(line rpc)
n3 background: 1 handle, made at program.cpp:ROOT
  n4 with_cancel: live, 3 handles, made at $(line server)
    n5 with_value(user): live, 1 handle, made at $(line user)
      n6 with_deadline: canceled, cause: enough, at $(line end), deadline at 3605.000s of its own clock, 2 handles, made at $(line request)
        n7 without_cancel: 0 handles, made at $(line audit)
          n8 with_deadline: live, deadline at 3610.000s of its own clock, 2 handles, made at $(line audit)
n9 todo
  n10 with_cancel: live, 2 handles, made at $(line todo)
n1 todo
  n2 with_cancel: live, 2 handles, made at $(line todo)"
    root=$(($(line server | cut -d : -f 2) - 1))
    expected=${expected/ROOT/$root}
    ;;
  explain)
    expected="background.with_cancel.with_deadline(in 5.000s)
live; what can end it:
  with_deadline, itself, made at $(line request): its deadline, in 5.000s; its cancel
  with_cancel, 1 step up, made at $(line server): its cancel
background.with_cancel.with_deadline(in 0.000s)
ended: context deadline exceeded
cause: none was given
where: $(line request) in void {anonymous}::explain()
what:  the deadline of with_deadline, itself, made at $(line request)"
    ;;
  *) fail "no such case" ;;
esac

written=$(run 1)
written=${written//(anonymous namespace)/{anonymous\}}  # as clang spells it
expect "$expected" "$written" "HEED_TRACK=1"

# Without: nothing at exit. These two print by themselves.
if [[ $case != dump && $case != merged && $case != explain ]]; then
  for off in '' 0; do
    written=$(run "$off")  # on a line of its own, so that a failure of the program is one of the test
    expect '' "$written" "HEED_TRACK=$off"
  done
  refused='heed: HEED_TRACK is neither 0 nor 1: contexts are not tracked'
  written=$(run yes)
  expect "$refused" "$written" "HEED_TRACK=yes"
fi
