#!/usr/bin/env python3
"""Breaks the library in one place at a time and sees whether the model checker notices.

mutate.py [--only REGEX] [--jobs N] [--most N] [--list]

Every memory order in the sources below is weakened, one at a time (acquire and release to relaxed, acq_rel to each half and to
relaxed, seq_cst to acq_rel), and every line of GUARDS is replaced. For each the one file is compiled (a header: all files), and the
kernels run. `killed` names the kernel that failed; `compiler` means that it does not compile; `survived` wants an
explanation. Run it from anywhere; it works on a copy.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPLORED = ["cancel", "life", "derive", "callback", "shard", "word", "merge", "wait", "wait_any", "locks", "values", "read",
            "manual_scheduler"]
HEADERS = ["src/tree.hpp", "src/sync.hpp", "src/word.hpp", "include/heed/context.hpp"]
WEAKER = {
    "acquire": ["relaxed"],
    "release": ["relaxed"],
    "acq_rel": ["acquire", "release", "relaxed"],
    "seq_cst": ["acq_rel"],
}
# Guards: a file, what stands there, and what is put in its place. Each must stand there exactly once.
GUARDS = [line.split(" => ") for line in (ROOT / "model/guards.txt").read_text().splitlines()
          if line and not line.startswith("#")]


def orders(path):
    """(place, description, new text) for each order in a file."""
    text = (ROOT / path).read_text()
    for found in re.finditer(r"std::memory_order_(acquire|release|acq_rel|seq_cst)", text):
        line = text.count("\n", 0, found.start()) + 1
        for weaker in WEAKER[found[1]]:
            yield (f"{path}:{line} {found[1]} -> {weaker}", path,
                   text[:found.start(1)] + weaker + text[found.end(1):])


def guards():
    for path, old, new in GUARDS:
        text = (ROOT / path).read_text()
        if text.count(old) != 1:
            sys.exit(f"guards.txt: stands {text.count(old)} times in {path}: {old}")
        line = text.count("\n", 0, text.index(old)) + 1
        yield f"{path}:{line} `{old}` -> `{new}`", path, text.replace(old, new)


def flags(tree):
    return ["-std=c++20", "-O1", f"-I{tree}/include", f'-DHEED_ATOMICS="{tree}/model/atomics.hpp"', "-DHEED_POOL_OFF",
            "-DHEED_MODEL"]


def compile_one(tree, source, output):
    instrumented = [] if source.parent.name == "model" and source.stem in ("engine", "memory", "main") else ["-fsanitize=thread"]
    return subprocess.run(["g++", *flags(tree), *instrumented, "-w", "-c", source, "-o", output], capture_output=True).returncode


def object_name(source):
    return f"{source.parent.name}_{source.stem}.o"


def sources(tree):
    own = [p for p in (tree / "src").glob("*.cpp") if p.stem != "os_linux"]
    return own + list((tree / "model").glob("*.cpp"))


def build_base(folder):
    tree = folder / "base"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git", "docs", "corpus"))
    objects = folder / "objects"
    objects.mkdir()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {s: pool.submit(compile_one, tree, s, objects / object_name(s)) for s in sources(tree)}
    if any(job.result() for job in jobs.values()):
        sys.exit("the library itself does not compile")
    return tree, objects


def judge(folder, base, base_objects, number, path, text, most):
    """What becomes of one mutant."""
    tree = folder / f"mutant{number}"
    objects = folder / f"objects{number}"
    objects.mkdir()
    try:
        shutil.copytree(base, tree)
        (tree / path).write_text(text)
        header = path.endswith(".hpp")
        changed = [s for s in sources(tree) if s == tree / path or (
            header and (s.stem in EXPLORED or s.stem.startswith("kernels")))]
        for source in changed:
            if compile_one(tree, source, objects / object_name(source)):
                return "compiler"
        mine = {o.name for o in objects.iterdir()}
        rest = [o for o in base_objects.iterdir() if o.name not in mine]
        program = folder / f"program{number}"
        linked = subprocess.run(["g++", *objects.iterdir(), *rest, "-o", program, "-lpthread"], capture_output=True)
        if linked.returncode:
            return "linker"
        try:
            run = subprocess.run([program, "--most", str(most), "--random", "1000", "--seed", "1"], capture_output=True, text=True,
                                 timeout=600)
        except subprocess.TimeoutExpired:
            return "killed: never ends"
        failed = re.search(r"^FAILED: ([\w.]+): (.*)$", run.stdout, re.M)
        if failed:
            return f"killed: {failed[1]}: {failed[2]}"
        return "survived" if run.returncode == 0 else f"killed: ended with {run.returncode}"
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        shutil.rmtree(objects, ignore_errors=True)
        (folder / f"program{number}").unlink(missing_ok=True)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("--most", type=int, default=5000)
    options.add_argument("--list", action="store_true")
    options = options.parse_args()
    mutants = list(guards())
    for path in [f"src/{stem}.cpp" for stem in EXPLORED] + HEADERS:
        mutants += orders(path)
    mutants = [m for m in mutants if re.search(options.only, m[0])]
    if options.list:
        print("\n".join(m[0] for m in mutants))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        base, objects = build_base(folder)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            jobs = [(what, pool.submit(judge, folder, base, objects, i, path, text, options.most))
                    for i, (what, path, text) in enumerate(mutants)]
            outcomes = []
            for what, job in jobs:
                outcomes.append(job.result())
                print(f"{what}\t{outcomes[-1]}", flush=True)
    killed = sum(o.startswith("killed") for o in outcomes)
    print(f"{len(outcomes)} mutants, {killed} killed, {outcomes.count('survived')} survived")


if __name__ == "__main__":
    main()
