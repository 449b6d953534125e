#!/usr/bin/env python3
"""Breaks the library in one place at a time and sees whether the model checker notices.

mutate.py [--only REGEX] [--since REPORT] [--jobs N] [--seconds S] [--list]

Orders: every memory order that is not relaxed is weakened, one at a time (acquire and release to relaxed, acq_rel to each half and
to relaxed, seq_cst to acq_rel). They are all in one program: in a copy of the sources each order asks at run time what it is to
be, and tells that it was asked, so that only those kernels run which come there.
Guards: each line of guards.txt is replaced, the files that see it are compiled, and all kernels run.

A mutant goes through the kernels quickly first; if none notices, each gets up to S seconds, with three preemptions and two old
values. `killed` names the kernel that failed; `compiler` means that it does not compile, `elsewhere` that no kernel comes there;
`survived` wants an explanation. --since leaves out what was killed in an earlier report and stands as it stood. Run it from anywhere: it works on a copy.
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
WEAKER = {
    "acquire": ["relaxed"],
    "release": ["relaxed"],
    "acq_rel": ["acquire", "release", "relaxed"],
    "seq_cst": ["acq_rel"],
}
NOT_EXPLORED = ["os_linux", "pool"]
ENGINE = ["engine", "memory", "locals", "posix", "mutants", "main"]
ORDER = re.compile(r"std::memory_order_(acquire|release|acq_rel|seq_cst)")
QUICK = ["--most", "1500", "--random", "700"]
COMPILER = (["ccache"] if shutil.which("ccache") else []) + ["g++"]


def explored(folder):
    """The library's files that carry orders, headers first."""
    files = sorted((folder / "include/heed").glob("*.hpp")) + sorted((folder / "src").glob("*.?pp"))
    return [f for f in files if f.stem not in NOT_EXPLORED]


class Site:
    def __init__(self, number, path, text, found):
        self.number, self.order = number, found[1]
        start, end = text.rfind("\n", 0, found.start()) + 1, text.find("\n", found.end())
        self.place = f"{path}:{text.count(chr(10), 0, found.start()) + 1}"
        self.line = text[start:end].strip()


def instrument(tree):
    """Has each order ask for itself; the sites."""
    sites = []
    for file in explored(tree):
        text = file.read_text()

        def ask(found):
            sites.append(Site(len(sites), file.relative_to(tree), text, found))
            return f"::model::ordered({len(sites) - 1}, {found[0]})"

        file.write_text(ORDER.sub(ask, text))
    return sites


def compile_one(tree, source, output):
    explored = source.parent.name != "model" or source.stem not in ENGINE
    flags = ["-std=c++20", "-O1" if explored else "-O3", "-w", f"-I{tree}/include", f'-DHEED_ATOMICS="{tree}/model/atomics.hpp"', "-DHEED_POOL_OFF",
             "-DHEED_MODEL"]
    if explored:
        flags.append("-fsanitize=thread")
    return subprocess.run([*COMPILER, *flags, "-c", source, "-o", output], capture_output=True).returncode


def sources(tree):
    return [p for p in (tree / "src").glob("*.cpp") if p.stem != "os_linux"] + list((tree / "model").glob("*.cpp"))


def object_of(folder, source):
    return folder / f"{source.parent.name}_{source.stem}.o"


def build(tree, objects, jobs):
    """The whole program, from a tree."""
    objects.mkdir()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(lambda s: compile_one(tree, s, object_of(objects, s)), sources(tree)))
    if any(done):
        sys.exit("the library itself does not compile")
    return link(objects.parent / f"{objects.name}.program", objects.iterdir())


def link(program, objects):
    subprocess.run(["g++", *objects, "-o", program, "-lpthread"], check=True, capture_output=True)
    return program


def run(program, options, limit):
    """None: no kernel noticed; else what one said."""
    try:
        done = subprocess.run([program, "--seed", "1", *options], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return "killed: never ends"
    failed = re.search(r"^FAILED: ([\w.]+): (.*)$", done.stdout, re.M)
    if failed:
        return f"killed: {failed[1]}: {failed[2]}"
    return None if done.returncode == 0 else f"killed: ended with {done.returncode}"


def judge(program, kernels, seconds, extra):
    only = ["--only", "^(" + "|".join(map(re.escape, kernels)) + ")$"]
    deep = ["--preemptions", "3", "--stale", "2", "--most", "1000000000", "--random", "100000000", "--seconds", str(seconds)]
    return (run(program, [*extra, *only, *QUICK], 300) or
            (run(program, [*extra, *only, *deep], 600 + 3 * seconds * len(kernels)) if seconds > 0 else None) or "survived")


def kernels_of(program):
    """Each kernel, and the sites that it comes to."""
    out = subprocess.run([program, "--seed", "1", "--sites", *QUICK], capture_output=True, text=True, check=True).stdout
    return {name: set(map(int, numbers.split())) for name, numbers in re.findall(r"^(\S+) +\d.*\nsites(.*)$", out, re.M)}


def judge_order(program, kernels, site, weaker, seconds):
    there = [k for k, sites in kernels.items() if site.number in sites]
    # Those that come to few places first: they are short, and this one matters to them.
    there.sort(key=lambda k: len(kernels[k]))
    return judge(program, there, seconds, ["--mutant", f"{site.number}:{weaker}"]) if there else "elsewhere"


def judge_guard(folder, base, objects, number, path, text, kernels, seconds):
    tree, mine = folder / f"mutant{number}", folder / f"objects{number}"
    mine.mkdir()
    try:
        shutil.copytree(base, tree)
        (tree / path).write_text(text)
        sees = sources(tree) if path.startswith("include") else (
            [s for s in sources(tree) if s.parent.name == "src" or "../src/" in s.read_text()] if path.endswith(".hpp") else [tree / path])
        for source in sees:
            if compile_one(tree, source, object_of(mine, source)):
                return "compiler"
        there = {o.name for o in mine.iterdir()}
        program = link(folder / f"program{number}", [*mine.iterdir(), *(o for o in objects.iterdir() if o.name not in there)])
        return judge(program, kernels, seconds, [])
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        shutil.rmtree(mine, ignore_errors=True)
        (folder / f"program{number}").unlink(missing_ok=True)


def guards():
    for line in (ROOT / "model/guards.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        path, old, new = (line + " ").split(" => ")
        text = (ROOT / path).read_text()
        if text.count(old) != 1:
            sys.exit(f"guards.txt: stands {text.count(old)} times in {path}: {old}")
        new = new.rstrip()
        place = text.count("\n", 0, text.index(old)) + 1
        yield f"{path}:{place} `{old}` -> `{new}`", path, text.replace(old, new)


def without_line(what):
    return re.sub(r":\d+ ", " ", what, count=1)


def killed_in(report):
    rows = [line.split("\t") for line in report.read_text().splitlines() if "\t" in line]
    return {without_line(what) for what, outcome in rows if outcome.startswith("killed")}


def copy(tree):
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git", "docs", "corpus"))
    return tree


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    options.add_argument("--since", type=pathlib.Path)
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("--seconds", type=float, default=2)
    options.add_argument("--list", action="store_true")
    options = options.parse_args()
    known = killed_in(options.since) if options.since else set()
    wanted = lambda m: re.search(options.only, m[0]) and without_line(m[0]) not in known
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        asking = copy(folder / "asking")
        orders = [(f"{site.place} {site.order} -> {weaker} `{site.line}`", site, weaker)
                  for site in instrument(asking) for weaker in WEAKER[site.order]]
        orders = list(filter(wanted, orders))
        replaced = list(filter(wanted, guards()))
        if options.list:
            print("\n".join(m[0] for m in replaced + orders))
            return
        base = copy(folder / "base")
        if replaced:
            build(base, folder / "objects", options.jobs)
        program = build(asking, folder / "asking_objects", options.jobs)
        kernels = kernels_of(program)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            jobs = [(what, pool.submit(judge_order, program, kernels, site, weaker, options.seconds))
                    for what, site, weaker in orders]
            jobs += [(what, pool.submit(judge_guard, folder, base, folder / "objects", i, path, text, list(kernels), options.seconds))
                     for i, (what, path, text) in enumerate(replaced)]
            outcomes = []
            for what, job in jobs:
                outcomes.append(job.result())
                print(f"{what}\t{outcomes[-1]}", flush=True)
    killed = sum(o.startswith("killed") for o in outcomes)
    print(f"{len(outcomes)} mutants, {killed} killed, {outcomes.count('survived')} survived, "
          f"{outcomes.count('elsewhere')} where no kernel comes")


if __name__ == "__main__":
    main()
