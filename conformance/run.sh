#!/usr/bin/env bash
# Holds heed against Go's context package. CHECK is the program that check.cpp makes.
# HEED_EMULATOR: what runs CHECK where this machine cannot.
#   run.sh recorded CHECK          what Go said when it was recorded: recorded.txt.gz; needs no Go
#   run.sh fresh CHECK [N [SEED]]  N new programs, run by the Go that is installed (100,000; a random seed)
#   run.sh record [N [SEED]]       writes recorded.txt.gz anew (2,000; 1)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# go_says SEED N: transcripts of N programs.
go_says() {
  local built
  built=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$built'" EXIT
  (cd "$here/go" && GOTOOLCHAIN=local go test -c -o "$built/oracle" .) >&2
  "$built/oracle" -seed "$1" -programs "$2" -test.timeout 0
}

case ${1:-} in
  recorded) gzip -dc "$here/recorded.txt.gz" | ${HEED_EMULATOR:-} "$2" --all-met ;;
  fresh)
    command -v go > /dev/null || { echo "SKIPPED: there is no Go here"; exit 77; }
    [[ $(go env GOVERSION) =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge 26 ]] ||
      { echo "SKIPPED: this is older than Go 1.26: $(go env GOVERSION)"; exit 77; }
    seed=${4:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
    echo "$(go env GOVERSION), seed $seed"
    go_says "$seed" "${3:-100000}" | "$2" --all-met
    ;;
  record) go_says "${3:-1}" "${2:-2000}" | gzip -9n > "$here/recorded.txt.gz" ;;
  *) sed -n '2,6s/^# //p' "$0"; exit 2 ;;
esac
