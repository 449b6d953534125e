#!/usr/bin/env python3
"""The functions of the library that no kernel enters: functions.py [--lines]

Builds the model checker with gcov's counters (in build/functions), runs all kernels for a short while, and prints the functions of
src/ and include/heed/ that were compiled and never entered, as a Markdown table for docs/explored.md. --lines: also how many lines
of each file were never reached.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/functions"


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def main():
    run("cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_CXX_FLAGS=--coverage -Wno-error", "-DHEED_BUILD_TESTS=ON",
        "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
    run("cmake", "--build", BUILD, "--target", "heed_model", "--parallel", str(os.cpu_count()))
    for old in BUILD.rglob("*.gcda"):
        old.unlink()
    last = run(BUILD / "model/heed_model", "--seed", "1", "--most", "2000", "--random", "1000").splitlines()[-1]
    data = [str(p) for p in (BUILD / "model/CMakeFiles/heed_explored.dir").rglob("*.gcda")]
    functions, lines = {}, {}
    for text in run("gcov", "--json-format", "--stdout", "--demangled-names", *data, cwd=BUILD).splitlines():
        for file in json.loads(text)["files"]:
            path = os.path.relpath(os.path.join(BUILD, file["file"]), ROOT)
            if not re.match(r"src/|include/heed/", path):
                continue
            for f in file["functions"]:
                name = re.sub(r"heed::v0::|\(anonymous namespace\)::|\[abi:cxx11\]|std::__cxx11::basic_string<[^<>]*<char>[^<>]*<char> > ", "",
                              f["demangled_name"])
                key = (path, f["start_line"])
                count, _ = functions.get(key, (0, name))
                functions[key] = (count + f["execution_count"], name)
            for line in file["lines"]:
                key = (path, line["line_number"])
                lines[key] = lines.get(key, 0) + line["count"]
    missed = {}
    for (path, _), (count, name) in sorted(functions.items()):
        if count == 0:
            missed.setdefault(path, []).append(re.sub(r"\(.*", "", name.replace("operator()", "operator@")).replace("operator@", "operator()"))
    files = sorted({path for path, _ in functions})
    print(f"{len(functions)} functions, {len(functions) - sum(map(len, missed.values()))} entered ({last})\n")
    print("| file | functions | not entered |\n|---|---|---|")
    for path in files:
        all_of = sum(p == path for p, _ in functions)
        names = ", ".join(f"`{n}`" for n in dict.fromkeys(missed.get(path, [])))
        print(f"| `{path}` | {all_of} | {names or '–'} |")
    if "--lines" in sys.argv:
        print("\n| file | lines | not reached |\n|---|---|---|")
        for path in files:
            own = [n for (p, _), n in lines.items() if p == path]
            print(f"| `{path}` | {len(own)} | {own.count(0)} |")


if __name__ == "__main__":
    main()
