"""The driver of ./bench: builds the programs, runs them in turn, round after round, and reports."""
import argparse
import itertools
import os
import platform
import re
import shlex
import sys
import time
from datetime import date
from pathlib import Path

from plots import draw
from programs import OUT, ROOT, Missing, programs
from report import markdown, text
from results import Results, parse
from rows import families

QUICK = 90  # seconds
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def options():
    p = argparse.ArgumentParser(
        prog="./bench",
        description="Measures heed beside Go's context and other peers, all in turn, round after round.",
        epilog="Raw results go to build/bench/NAME.txt, for benchstat: benchstat build/bench/{heed,Go}.txt")
    p.add_argument("--quick", action="store_true", help="short measurements, no large sizes, as many rounds as fit into 90 s")
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
    # Few rows at a time, so that what is compared is measured within a second or so.
    parts = [f"({o.only})|^Floor/"] if o.only else list(families(row for row, _, _ in parse(ready[0].once())))
    OUT.mkdir(parents=True, exist_ok=True)
    files = {p.name: open(OUT / f"{p.name}.txt", "w", encoding="utf-8") for p in ready}
    start = time.monotonic()
    for round_ in range(o.rounds):
        elapsed = time.monotonic() - start
        if o.quick and round_ and elapsed * (round_ + 1) / round_ > QUICK:
            print(f"\rNo time for more than {round_} rounds: the machine is slow, or busy." + " " * 20)
            o.rounds = round_
            break
        if sys.stdout.isatty():
            print(f"\rRound {round_ + 1} of {o.rounds}, {elapsed:.0f} s ...   ", end="", flush=True)
        for part, program in itertools.product(range(len(parts)), ready):
            try:
                output = program.run(o.ms, parts[part], round_ < o.large_rounds, results.order)
            except Missing as e:
                sys.exit(f"\n{program.name}: {e}")
            for row, count, metrics in parse(output, program.rename):
                # Go prints a line for a benchmark whose sub-benchmarks were all left out.
                if not re.search(parts[part], row):
                    continue
                results.add(program.name, (round_, part), row, metrics)
                shown = "\t".join(f"{value:g} {unit}" for unit, value in metrics.items())
                files[program.name].write(f"Benchmark{row}\t{count}\t{shown}\n")
    print(f"\r{o.rounds} rounds in {time.monotonic() - start:.0f} s." + " " * 30 + "\n")
    for f in files.values():
        f.close()
    return results


def machine():
    """The processor, as the kernel names it, and the system."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    return f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}"


def publish(whole, generated):
    """docs/performance.md between its markers; what is not a whole run goes to build/bench only."""
    page = ROOT / "docs" / "performance.md" if whole else OUT / "performance.md"
    old = page.read_text(encoding="utf-8") if whole else f"{BEGIN}\n{END}\n"
    before, after = old.partition(BEGIN)[0], old.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{generated}{END}{after}", encoding="utf-8")
    print(f"Written: {page.relative_to(ROOT)}" + ("" if whole else " (docs/ only by a whole run: no --quick, no --only)"))


def main():
    o = options()
    load = os.getloadavg()[0]
    ready, versions = built()
    results = measure(o, ready)
    if all(row.startswith("Floor/") for row in results.order):
        sys.exit(f"No row matches {o.only!r} (the floors are always there).")
    names = [p.name for p in ready]
    report = text(results, names)
    (OUT / "report.txt").write_text(report, encoding="utf-8")
    print(report)
    whole = not o.quick and not o.only and o.rounds >= 10
    plots = draw(results, names, (ROOT / "docs" if whole else OUT) / "plots")
    command = "./bench" + "".join(f" {shlex.quote(a)}" for a in sys.argv[1:])
    publish(whole, markdown(results, names, [
        f"`{command}`, {date.today().isoformat()}: {o.rounds} rounds, {o.ms:g} ms per row and round; the largest sizes in "
        f"{o.large_rounds} of the rounds",
        f"{machine()}; load before the run: {load:.1f}" + (" (the machine was not quiet)" if load > 0.5 else ""),
        *(f"{name}: {version}" for name, version in versions.items()),
    ], plots))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
