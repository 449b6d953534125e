#!/usr/bin/env python3
"""What the tests of the preset `coverage` executed of the core (src/, include/heed), by lines and branches.

  scripts/coverage.py [--missing]     --missing: also every line and branch that is not covered

A line counts if there is more on it than braces: what follows a return up to the brace is a region, but no code. A branch
is one outcome of one condition that is not known at compile time. Fails below LINES and BRANCHES percent. What cannot be reached stands in
coverage_unreachable.txt with its reason, and is taken out; an entry that fits no line any more is an error.
"""
import collections
import json
import pathlib
import re
import subprocess
import sys

LINES, BRANCHES = 99.0, 95.0
ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/coverage"
CODE = re.compile(r"(?!#|//).*\w")
UNREACHABLE = ROOT / "scripts/coverage_unreachable.txt"


def programs():
    """All that is instrumented; heed_tests first, as llvm-cov takes the first of two versions of a function."""
    found = []
    for folder in ("tests", "conformance", "fuzz"):
        for path in sorted((BUILD / folder).rglob("*")):
            if path.is_file() and "CMakeFiles" not in path.parts and path.open("rb").read(4) == b"\x7fELF":
                found.append(path)
    return sorted(found, key=lambda path: path.name != "heed_tests")


def llvm_cov(how, profile):
    command = ["llvm-cov-19", *how, f"--instr-profile={profile}"]
    for index, path in enumerate(programs()):
        command += [str(path)] if index == 0 else ["--object", str(path)]
    done = subprocess.run([*command, str(ROOT / "src"), str(ROOT / "include/heed")], check=True,
                          stdout=subprocess.PIPE, text=True)
    return done.stdout


def name_of(path):
    return str(pathlib.Path(path).resolve().relative_to(ROOT))


def lines_of(lcov):
    """{file: {line: count}}"""
    files, here = collections.defaultdict(dict), None
    for row in lcov.splitlines():
        if row.startswith("SF:"):
            here = files[name_of(row[3:])]
        elif row.startswith("DA:"):
            line, count = row[3:].split(",")[:2]
            here[int(line)] = max(here.get(int(line), 0), int(count))
    return files


def folded_in(listing):
    """{(file, line, column)} of conditions that are known at compile time. Only the listing for people tells."""
    found, name = set(), None
    for row in listing.splitlines():
        if row.startswith("/") and row.endswith(":"):
            name = name_of(row[:-1])
        elif match := re.search(r"Branch \((\d+):(\d+)\): \[Folded", row):
            found.add((name, int(match[1]), int(match[2])))
    return found


def branches_of(text, folded):
    """{file: {(line, column, end line, end column): [times true, times false]}}, all instances of a template together."""
    files = collections.defaultdict(dict)
    for entry in json.loads(text)["data"][0]["files"]:
        name = name_of(entry["filename"])
        here = files[name]
        for line, column, to_line, to_column, yes, no, *_ in entry["branches"]:
            if yes == no == 0 and (name, line, column) in folded:
                continue
            both = here.setdefault((line, column, to_line, to_column), [0, 0])
            both[0] += yes
            both[1] += no
    return files


def unreachable():
    """{file: {text of the line: reason}}"""
    entries = collections.defaultdict(dict)
    for row in UNREACHABLE.read_text().splitlines():
        if row.strip() and not row.startswith("#"):
            name, text, reason = (part.strip() for part in row.split(" :: "))
            entries[name][text] = reason
    return entries


def main():
    profile = BUILD / "all.profdata"
    raw = sorted((BUILD / "profiles").glob("*.profraw"))
    subprocess.run(["llvm-profdata-19", "merge", "--failure-mode=all", "-o", profile, *raw], check=True)
    lines = lines_of(llvm_cov(["export", "--format=lcov", "--skip-functions"], profile))
    folded = folded_in(llvm_cov(["show", "--show-branches=count"], profile))
    branches = branches_of(llvm_cov(["export", "--format=text", "--skip-functions"], profile), folded)
    excused = unreachable()
    bad, missing, sums = [], [], [0, 0, 0, 0]
    print(f"{'file':34}{'lines':>8}{'covered':>9}{'branches':>10}{'covered':>9}")
    for name in sorted(lines):
        source = [line.strip() for line in (ROOT / name).read_text().splitlines()]
        bad += [f"{UNREACHABLE.name}: no such line in {name}: {text}" for text in excused[name] if text not in source]

        def excuse(line):
            return source[line - 1] in excused[name]

        counts = {line: count for line, count in lines[name].items() if CODE.match(source[line - 1])}
        open_lines = [line for line, count in counts.items() if count == 0 and not excuse(line)]
        all_lines = [line for line, count in counts.items() if count > 0] + open_lines
        outcomes = [(at, side, count) for at, both in branches[name].items() for side, count in zip(("true", "false"), both)]
        open_sides = [(at, side) for at, side, count in outcomes if count == 0 and not excuse(at[0])]
        all_sides = sum(count > 0 for _, _, count in outcomes) + len(open_sides)
        row = [len(all_lines), len(all_lines) - len(open_lines), all_sides, all_sides - len(open_sides)]
        sums = [a + b for a, b in zip(sums, row)]
        print(f"{name:34}{row[0]:8}{percent(*row[:2]):9.1f}{row[2]:10}{percent(*row[2:]):9.1f}")
        missing += [(name, line, "line", source[line - 1]) for line in open_lines]
        missing += [(name, at[0], f"never {side}, column {at[1]}", source[at[0] - 1]) for at, side in open_sides]
    if "--missing" in sys.argv:
        for name, line, what, text in sorted(missing):
            print(f"{name}:{line}: {what}: {text}")
    of_lines, of_branches = percent(*sums[:2]), percent(*sums[2:])
    print(f"the core: {of_lines:.2f} % of {sums[0]} lines, {of_branches:.2f} % of {sums[2]} branches")
    if of_lines < LINES or of_branches < BRANCHES:
        bad.append(f"below {LINES:g} % of lines or {BRANCHES:g} % of branches")
    for line in bad:
        print(f"FAILED: {line}")
    return bool(bad)


def percent(whole, part):
    return 100.0 * part / whole if whole else 100.0


if __name__ == "__main__":
    sys.exit(main())
