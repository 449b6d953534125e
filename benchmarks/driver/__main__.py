"""The driver of ./bench: builds the programs, runs them in turn, round after round, and reports."""
import argparse
import re
import sys
import time

from programs import OUT, Missing, programs
from report import text
from results import Results, parse


def options():
    p = argparse.ArgumentParser(
        prog="./bench",
        description="Measures heed beside Go's context and other peers, all in turn, round after round.",
        epilog="Raw results go to build/bench/NAME.txt, for benchstat: benchstat build/bench/{heed,Go}.txt")
    p.add_argument("--quick", action="store_true", help="short measurements, no large sizes: under 2 minutes")
    p.add_argument("--rounds", type=int, default=10, metavar="N", help="how often each program runs (10)")
    p.add_argument("--only", metavar="REGEX", help="only rows that match, such as 'ErrOK$' or 'WithTimeout|Lateness'")
    p.add_argument("--ms", type=float, metavar="T", help="milliseconds per row and round (10; with --quick 2)")
    o = p.parse_args()
    if o.rounds < 1:
        p.error("--rounds must be 1 or more")
    if o.ms is None:
        o.ms = 2 if o.quick else 10
    if not 0 < o.ms <= 10_000:
        p.error("--ms must be more than 0, and 10000 at most")
    try:
        re.compile(o.only or "")
    except re.error as e:
        p.error(f"--only: {e}")
    # The largest sizes take seconds each: three rounds of them must do.
    o.large_rounds = 0 if o.quick else min(3, o.rounds)
    return o


def built():
    ready, versions = [], {}
    for program in programs():
        print(f"Building: {program.name}", flush=True)
        try:
            versions[program.name] = program.build()
            ready.append(program)
        except Missing as e:
            if program.name == "heed":
                sys.exit(f"heed's own benchmarks do not build: {e}")
            print(f"SKIPPED: {program.name}: {e}", flush=True)
    return ready, versions


def measure(o, ready):
    results = Results()
    OUT.mkdir(parents=True, exist_ok=True)
    files = {p.name: open(OUT / f"{p.name}.txt", "w", encoding="utf-8") for p in ready}
    start = time.monotonic()
    for round_ in range(o.rounds):
        for program in ready:
            print(f"\rRound {round_ + 1} of {o.rounds}, {program.name}, {time.monotonic() - start:.0f} s ... ",
                  end="", flush=True)
            try:
                output = program.run(o.ms, o.only, round_ < o.large_rounds)
            except Missing as e:
                sys.exit(f"\n{program.name}: {e}")
            for row, count, metrics in parse(output, program.rename):
                # Go prints a line for a benchmark whose sub-benchmarks were all left out.
                if o.only and not re.search(o.only, row):
                    continue
                results.add(program.name, round_, row, metrics)
                shown = "\t".join(f"{value:g} {unit}" for unit, value in metrics.items())
                files[program.name].write(f"Benchmark{row}\t{count}\t{shown}\n")
    print(f"\rDone in {time.monotonic() - start:.0f} s." + " " * 30 + "\n")
    for f in files.values():
        f.close()
    return results


def main():
    o = options()
    ready, _ = built()
    results = measure(o, ready)
    if not results.order:
        sys.exit(f"No row matches {o.only!r}.")
    report = text(results, [p.name for p in ready])
    (OUT / "report.txt").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
