#!/usr/bin/env bash
# What dump() writes is read by those it is written for. Usage: check_reader.sh PROGRAM json|dot
set -euo pipefail
program=$1
format=$2
for track in 0 1; do
  if [[ $format == json ]]; then
    command -v python3 > /dev/null || { echo "skipped: no python3"; exit 77; }
    HEED_TRACK=$track "$program" json | python3 -c '
import json, sys
all = json.loads(sys.stdin.buffer.read().decode("utf-8"))
ended = [c for c in all["contexts"] if c["state"] == "canceled"]
assert ended[0]["cause"] == "\\N \"quoted\" \\\t\ufffd\u00e4 <i> &lt; {|}", ended
assert any("k\"\\\n<b>&amp;\ufffd" in c["values"] for c in all["contexts"]), all
'
  else
    command -v dot > /dev/null || { echo "skipped: no dot (package graphviz)"; exit 77; }
    said=$(HEED_TRACK=$track "$program" dot | dot -Tsvg 2>&1 > /dev/null) || { echo "dot refuses it: $said"; exit 1; }
    [[ -z $said ]] || { echo "dot says: $said"; exit 1; }
  fi
done
