#!/usr/bin/env python3
"""Compares what operations cost, in instructions, with what they did when it was last recorded.

check_costs.py PROGRAM LIBRARY COMPILER RECORDED [--record]

PROGRAM runs under callgrind; LIBRARY is weighed with size(1). RECORDED has lines of compiler, operation and figure, with tabs
between. More than 3 % above (and half an instruction: the small ones) is a failure; less is not, but asks for a new
record. For a compiler that has no record yet the figures are printed only. --record writes them.
"""
import pathlib
import subprocess
import sys
import tempfile

TIMES = 1000


def instructions(program):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "dump")
        # heed's own threads start when they get to it, perhaps while something else is measured.
        subprocess.run(["valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}",
                        program], check=True)
        found = {}
        for dump in pathlib.Path(folder).glob("*-01"):
            text = dump.read_text()
            name = next((line.partition("Client Request: ")[2] for line in text.splitlines()
                         if "Client Request: " in line), None)
            total = next((int(line.split()[1]) for line in text.splitlines() if line.startswith(("totals:", "summary:"))), 0)
            if name:
                found[name] = total / TIMES
        nothing = found.pop("nothing")
        return {name: total - nothing for name, total in found.items()}


def code_bytes(library):
    lines = subprocess.run(["size", "-t", library], check=True, capture_output=True, text=True).stdout.splitlines()
    return {"bytes of code": float(lines[-1].split()[0])}


def main():
    program, library, compiler, path = sys.argv[1:5]
    recorded = pathlib.Path(path)
    now = {**instructions(program), **code_bytes(library)}
    assert len(now) > 10, "the dumps of callgrind could not be read"
    rows = [line.split("\t") for line in recorded.read_text().splitlines() if line and not line.startswith("#")]
    if "--record" in sys.argv:
        kept = [row for row in rows if row[0] != compiler] + [[compiler, n, f"{x:.1f}"] for n, x in now.items()]
        head = [line for line in recorded.read_text().splitlines() if line.startswith("#")]
        recorded.write_text("\n".join(head + ["\t".join(row) for row in sorted(kept)]) + "\n")
        return 0
    then = {name: float(figure) for c, name, figure in rows if c == compiler}
    worse = 0
    for name, figure in now.items():
        note = ""
        if name not in then:
            note = "no record"
        elif figure > then[name] * 1.03 + 0.5:
            note = f"was {then[name]:.1f}: WORSE"
            worse += 1
        elif figure < then[name] * 0.97 - 0.5:
            note = f"was {then[name]:.1f}: better, record it"
        print(f"{figure:10.1f}  {name:45} {note}")
    if not then:
        print(f"{compiler} has no record: nothing was compared")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
