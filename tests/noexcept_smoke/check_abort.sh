#!/usr/bin/env bash
# The command must abort, with a message that says what was wrong. Usage: check_abort.sh COMMAND...
set -uo pipefail
ulimit -c 0
message=$("$@" 2>&1)
status=$?
printf '%s\n' "$message"
if ((status != 134)); then # 128 + SIGABRT
  echo "ended with $status instead of aborting" >&2
  exit 1
fi
grep -q 'heed: a duration is NaN' <<< "$message"
