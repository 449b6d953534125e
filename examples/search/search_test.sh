#!/bin/sh
# Runs the search on small generated trees: search_test.sh <search> <case>
set -eu
search=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

fail() {
  printf 'FAILED: %s\n--- stdout\n' "$*" >&2
  cat out >&2
  printf '%s\n' '--- stderr' >&2
  cat err >&2
  exit 1
}

# run <expected exit status> <arguments...>: its output is in the files out and err
run() {
  want=$1
  shift
  got=0
  "$search" "$@" >out 2>err || got=$?
  [ "$got" -eq "$want" ] || fail "exit status $got, not $want: search $*"
}

has() { grep -q -- "$1" out || fail "no \"$1\" in the output"; }
warns() { grep -q -- "$1" err || fail "no \"$1\" among the errors"; }
lacks() { ! grep -q -- "$1" out err || fail "there is \"$1\" in the output"; }

# 40 files in 4 directories, 3 lines each, the middle one has a needle: 40 matches.
tree() {
  for d in 1 2 3 4; do
    mkdir -p tree/$d
    for f in 0 1 2 3 4 5 6 7 8 9; do
      printf 'hay\nhay needle hay needle\nhay\n' >tree/$d/$f
    done
  done
}

case $2 in
finished)
  tree
  run 0 needle tree --runs 0
  has 'searched *40 files, 1.17 KiB'
  has 'found *40 matches in 40 files'
  has 'verdict *finished'
  has '^tree/[1-4]/[0-9]:2: hay needle hay needle$'
  has 'and 30 more matches not shown'
  run 1 absent tree --runs 0
  has 'found *0 matches in 0 files'
  run 0 needle tree tree/1/0 --runs 0 -j 7
  has 'searched *41 files'
  run 0 -E '^hay (needle|pin) .*needle$' tree --runs 0 --show 100
  has 'found *40 matches in 40 files'
  run 0 needle tree --runs 0 --show 0 -v
  lacks 'hay needle'
  has 'context *background.with_value(search, "needle" in tree).merge(background.with_cancel)'
  run 0 needle tree --runs 0 --tree
  has '^n1 with_cancel: live'
  has '^  n2 merge: live'
  run 124 needle tree --repeat --timeout 2s --tree -j 3
  has 'with_deadline: live, deadline in [01]'
  has 'value: worker'
  ;;

max_matches)
  tree
  for n in 1 7 39; do
    run 0 needle tree --max-matches $n --show 100
    has "found *$n match"
    has 'verdict *context canceled'
    has "why *enough: $n match"
    has 'where *examples/search/engine.cpp:[0-9]'
    has 'stopped .* later'
    [ "$(grep -c ':2: hay' out)" -eq $n ] || fail "not $n lines shown"
  done
  run 0 needle tree --max-matches 41
  has 'verdict *finished'
  ;;

timeout)
  tree
  for t in 0 0ms -1s; do
    run 124 needle tree --timeout=$t
    has 'searched *0 files'
    has 'verdict *context deadline exceeded'
    has "why *--timeout $t"
    has 'where *examples/search/engine.cpp:[0-9]'
  done
  run 124 needle tree --repeat --timeout 20ms
  has 'verdict *context deadline exceeded'
  for t in inf 1e300 600; do # never, never, ten minutes
    run 0 needle tree --timeout $t
    has 'verdict *finished'
  done
  ;;

interrupt) # while it waits for a pipe that has said something and may say more
  mkfifo in out.fifo
  for signal in INT TERM; do
    "$search" needle in >out.fifo 2>err &
    pid=$!
    exec 4<out.fifo 3>in
    printf 'a needle\n' >&3
    read -r line <&4
    kill -$signal $pid
    got=0
    wait $pid || got=$?
    { printf '%s\n' "$line" && cat <&4; } >out
    exec 3>&- 4<&-
    [ $got -eq $((128 + $(case $signal in INT) echo 2 ;; TERM) echo 15 ;; esac))) ] || fail "exit status $got"
    has '^in:1: a needle$'
    has 'found *1 match in 1 file'
    has 'verdict *context canceled'
    has "why *.*SIG$signal"
    has 'where *examples/search/interrupt.hpp:[0-9]'
    has 'stopped .* later'
  done
  ;;

endless) # while it searches a tree over and over
  tree
  mkfifo out.fifo
  "$search" needle tree --repeat --show 1000 >out.fifo 2>err &
  pid=$!
  exec 4<out.fifo
  i=0
  while [ $i -lt 100 ]; do # more than the tree has: it has started over
    read -r line <&4
    i=$((i + 1))
  done
  kill -INT $pid
  cat <&4 >out
  got=0
  wait $pid || got=$?
  [ $got -eq 130 ] || fail "exit status $got"
  has 'verdict *context canceled'
  has 'why *.*SIGINT'
  ;;

odd_files)
  mkdir -p empty tree
  run 1 needle empty --runs 0
  has 'searched *0 files, 0 B'
  has 'verdict *finished'
  ln -s . tree/loop
  ln -s nowhere tree/dangling
  ln -s "$tmp/tree/text" tree/link
  mkfifo tree/pipe
  printf 'a needle' >tree/text # no newline at the end
  : >tree/nothing
  printf 'x\0needle needle\n\0needle\n' >tree/binary
  # A line longer than any buffer, the needle across the buffer's end, and more lines behind it.
  awk 'BEGIN { for (i = 0; i < 65533; ++i) printf "x"; printf "needle"; for (i = 0; i < 70000; ++i) printf "y";
               printf "needle\nnext\nneedle\n" }' >tree/long
  run 0 needle tree --runs 0
  has 'searched *4 files'
  has 'found *4 matches in 3 files'
  has 'skipped *3 links not followed, 1 special file'
  has '^tree/text:1: a needle$'
  has '^tree/binary: binary file matches$'
  has '^tree/long:3: needle$'
  run 0 needle tree --runs 0 --follow
  has 'searched *5 files'
  has 'skipped *1 vanished or dangling, 1 special file'
  truncate -s 64M tree/huge
  printf 'needle' >>tree/huge
  run 0 needle tree/huge --runs 0
  has 'searched *1 file, 64'
  has 'binary file matches'
  mkdir -p "tree/$(printf 'a b\nc')"
  printf 'needle\n' >"tree/$(printf 'a b\nc')/x y"
  run 0 needle "tree/$(printf 'a b\nc')" --runs 0
  has 'found *1 match in 1 file'
  ln -s loop2 loop1
  ln -s loop1 loop2
  run 2 needle loop1 tree/text --runs 0
  warns '^search: loop1: Too many levels of symbolic links$'
  has 'found *1 match in 1 file'
  if [ "$(id -u)" -ne 0 ]; then # root may read everything
    printf 'needle\n' >tree/secret
    chmod 0 tree/secret
    run 2 needle tree --runs 0
    warns '^search: tree/secret: Permission denied$'
    has '1 not readable'
  fi
  ;;

bad_arguments)
  : >out
  run 2 needle nowhere
  warns '^search: nowhere: No such file or directory$'
  run 2 ''
  warns 'the pattern is empty'
  run 2 -E '(' .
  warns 'regular expression "("'
  for t in nan soon 5x ''; do
    run 2 needle . "--timeout=$t"
    warns timeout
  done
  run 2 needle . --jobs 0
  run 2 needle . --max-matches 0
  run 2 needle . --no-such-option
  run 0 --help
  has '124 *the deadline passed first'
  if [ -c /dev/full ]; then
    printf 'needle\n' >x
    got=0
    "$search" needle x --runs 0 >/dev/full 2>err || got=$?
    [ $got -eq 2 ] || fail "exit status $got on a full disk"
    warns 'cannot write'
  fi
  ;;

midway)
  tree
  i=0
  while [ $i -lt 200 ]; do # enough to be stopped in the middle of it
    cat tree/1/* tree/2/* tree/3/* tree/4/*
    i=$((i + 1))
  done >tree/more
  for i in 0 1 2 3 4 5 6 7 8 9; do cp tree/more tree/more$i; done
  run 0 needle tree --runs 6 --show 0
  has '^ *6  '
  has 'stopped because *runs *median *worst'
  run 0 needle tree --max-matches 20 --runs 5 --show 0
  has 'enough: 20 matches *5 '
  ;;

*) fail "no such case: $2" ;;
esac
