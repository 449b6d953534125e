#!/usr/bin/env python3
"""Compares what operations cost, in instructions, with what they did when it was last recorded.

check_costs.py PROGRAM LIBRARY COMPILER RECORDED [--record]

PROGRAM runs under callgrind; LIBRARY is weighed with size(1). RECORDED has lines of compiler, operation, instructions and, on
x86, how many of them are locked, with tabs between. More than 3 % above (and half an instruction: the small ones), or a
quarter of a locked one more, is a failure; less is not, but asks for a new record. For a compiler that has no record yet the
figures are printed only. --record writes them.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

TIMES = 1000


def locked_addresses(program):
    """Where `program` has locked instructions: read-modify-writes, which wait for all stores before them."""
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], check=True, capture_output=True, text=True).stdout
    # An exchange with memory is locked, said or not.
    return {int(m[1], 16) for m in re.finditer(r"^ *([0-9a-f]+):\s+(?:lock |xchg .*\()", listing, re.M)}


def counted(dump, program, locked):
    """Of one dump of callgrind: its name, and how many instructions ran, and how many of the locked ones."""
    name, total, of_locked, is_program, after_call = None, 0, 0, False, False
    for line in dump.read_text().splitlines():
        if "Client Request: " in line:
            name = line.partition("Client Request: ")[2]
        elif line.startswith(("totals:", "summary:")):
            total = int(line.split()[1])
        elif line.startswith("ob="):
            is_program = line[3:] == program
        elif line.startswith("calls="):
            after_call = True  # the next line is what was called, not what is here
        elif line.startswith("0x"):
            address, _, count = line.split()
            if is_program and not after_call and int(address, 16) in locked:
                of_locked += int(count)
            after_call = False
    return name, total / TIMES, of_locked / TIMES


def instructions(program):
    locked = locked_addresses(program)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "dump")
        # heed's own threads start when they get to it, perhaps while something else is measured.
        subprocess.run(["valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes", "--dump-instr=yes",
                        "--compress-pos=no", "--compress-strings=no", f"--callgrind-out-file={out}", program], check=True)
        dumps = [counted(dump, program, locked) for dump in pathlib.Path(folder).glob("*-01")]
    found = {name: (total, of_locked) for name, total, of_locked in dumps if name}
    nothing = found.pop("nothing")[0]
    return {name: (total - nothing, of_locked if locked else None) for name, (total, of_locked) in found.items()}


def code_bytes(library):
    lines = subprocess.run(["size", "-t", library], check=True, capture_output=True, text=True).stdout.splitlines()
    return {"bytes of code": (float(lines[-1].split()[0]), None)}


def main():
    program, library, compiler, path = sys.argv[1:5]
    recorded = pathlib.Path(path)
    now = {**instructions(program), **code_bytes(library)}
    assert len(now) > 10, "the dumps of callgrind could not be read"
    rows = [line.split("\t") for line in recorded.read_text().splitlines() if line and not line.startswith("#")]
    if "--record" in sys.argv:
        kept = [row for row in rows if row[0] != compiler]
        kept += [[compiler, n] + [f"{x:.1f}" for x in figures if x is not None] for n, figures in now.items()]
        head = [line for line in recorded.read_text().splitlines() if line.startswith("#")]
        recorded.write_text("\n".join(head + ["\t".join(row) for row in sorted(kept)]) + "\n")
        return 0
    then = {name: [float(x) for x in figures] for c, name, *figures in rows if c == compiler}
    worse = 0
    for name, (figure, locked) in now.items():
        was, *of_locked = then.get(name, [None])
        note = ""
        if was is None:
            note = "no record"
        elif figure > was * 1.03 + 0.5 or (of_locked and locked > of_locked[0] + 0.25):
            note = f"was {was:.1f}{f', {of_locked[0]:.1f} locked' if of_locked else ''}: WORSE"
            worse += 1
        elif figure < was * 0.97 - 0.5 or (of_locked and locked < of_locked[0] - 0.25):
            note = f"was {was:.1f}{f', {of_locked[0]:.1f} locked' if of_locked else ''}: better, record it"
        print(f"{figure:10.1f} {'' if locked is None else f'{locked:.1f} locked':>12}  {name:45} {note}")
    if not then:
        print(f"{compiler} has no record: nothing was compared")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
