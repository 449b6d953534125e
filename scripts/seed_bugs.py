#!/usr/bin/env python3
"""Makes bugs that others have had in a copy of heed, one at a time, and tells what notices each: tests/seeded/bugs.toml.

seed_bugs.py [--only REGEX] [--jobs N] [--table] [--list]

For each it compiles only what the change touches, has the named kernels of the model checker run (by model/mutate.py), then the
named tests. All of these must pass without the bug, and at least one must not with it: the exit status is 1 otherwise. What takes
much longer than without the bug counts as noticed: it hangs. --table prints the rows of docs/seeded_bugs.md; --list only looks
whether each bug still has its place.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "model"))
import mutate  # noqa: E402

PATIENCE = 300  # seconds, without a bug; with one, TIMES as long as it took without, and SECONDS more
TIMES, SECONDS = 3, 15
FLAGS = ["-std=c++20", "-O1", "-g1", "-w", "-fPIC", "-fno-gnu-unique", "-fvisibility=hidden"]
KINDS = {"plain": [], "address": ["-fsanitize=address"], "no_pool": ["-DHEED_POOL_OFF"]}


class Bug:
    def __init__(self, name, entry):
        self.name, self.story, self.was = name, entry["case"], entry["was"]
        self.path, self.old, self.new = entry["in"], entry["old"].lstrip("\n"), entry["new"].lstrip("\n")
        self.kernels, self.tests = entry.get("kernels"), [t.partition(" ") for t in entry.get("tests", [])]
        self.plain, self.unnoticed = entry.get("plain", False), entry.get("unnoticed", False)
        self.seconds = entry.get("seconds", 5)  # for each kernel, where a quick look has not been enough
        text = (ROOT / self.path).read_text()
        if text.count(self.old) != 1:
            sys.exit(f"{name}: stands {text.count(self.old)} times in {self.path}: {self.old}")
        self.text = text.replace(self.old, self.new)

    def kind(self, test):
        """Tests of failing allocations replace operator new, and need each block to be one."""
        return "no_pool" if test.startswith("alloc/") else "plain" if self.plain else "address"


class Program:
    """A test file, or a program of tests/process, with the library."""

    def __init__(self, tree, objects, test, kind):
        self.tree, self.objects, self.test, self.kind = tree, objects, test, kind

    def compile(self, source, name):
        output = self.objects / f"{self.kind}_{name}.o"
        if not output.exists():
            command = [*mutate.COMPILER, *FLAGS, *KINDS[self.kind], f"-I{self.tree}/include", f"-I{self.tree}/src", "-c", source]
            part = output.with_suffix(f".{os.getpid()}")
            done = subprocess.run([*command, "-o", part], capture_output=True, text=True, cwd=self.tree)
            if done.returncode:
                raise RuntimeError(done.stderr)
            part.rename(output)
        return output

    def link(self, program, inputs, *more):
        subprocess.run(["g++", *KINDS[self.kind], "-o", program, *inputs, *more, "-lpthread", "-ldl"], check=True)
        return program

    def build(self, jobs, base=None, touched=()):
        """With `base`: all objects but the touched ones are that one's."""
        def one(source):
            name = str(source.relative_to(self.tree)).replace("/", "_")
            return (base if base and source not in touched else self).compile(
                source if not base or source in touched else base.tree / source.relative_to(self.tree), name)

        sources = sorted((self.tree / "src").glob("*.cpp"))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            library = list(pool.map(one, sources))
        own = one(self.tree / "tests" / self.test)
        program = self.objects / f"{self.kind}_{self.test.replace('/', '_')}.program"
        if not self.test.startswith("process/"):
            return self.link(program, [own, *library], "-lgtest", "-lgtest_main")
        if self.test == "process/plugins.cpp":
            plugin = one(self.tree / "tests/process/plugin.cpp")
            self.link(self.plugin(), [plugin, *library], "-shared")
        return self.link(program, [own, *library])

    def plugin(self):
        return self.objects / "plugin.so"

    def arguments(self, given):
        if not self.test.startswith("process/"):
            return [f"--gtest_filter={given}", "--gtest_brief=1"]
        if self.test == "process/plugins.cpp":
            return [given, self.plugin(), *(["200"] if given == "loop" else [])]
        return [given] if given else []


def run(program, arguments, limit=PATIENCE):
    """None: it passed; else how it did not."""
    with subprocess.Popen([program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", start_new_session=True) as child:
        try:
            said, _ = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its own session: with what it has forked
            child.communicate()
            return "hangs"
    if child.returncode == 77:
        sys.exit(f"{program} cannot run here")
    if child.returncode == 0:
        return None
    failed = re.findall(r"^\[  FAILED  \] ([\w/]+\.\w+)", said, re.M)
    found = re.search(r"AddressSanitizer: ([\w-]+)|LeakSanitizer: (detected memory leaks)", said)
    what = (found[1] or "leak") if found else f"signal {-child.returncode}" if child.returncode < 0 else "fails"
    return f"{', '.join(dict.fromkeys(failed))}: {what}" if failed else what


def notice(bug, base, folder, jobs, kernels, took):
    """What notices it."""
    noticed = []
    tree, objects = folder / bug.name, folder / f"{bug.name}_objects"
    shutil.copytree(base, tree)
    objects.mkdir()
    (tree / bug.path).write_text(bug.text)
    if bug.kernels:
        there = [k for k in kernels if re.fullmatch(bug.kernels, k)]
        said = mutate.judge_guard(folder, base, folder / "objects", bug.name, bug.path, bug.text, there, bug.seconds)
        if said.startswith("killed"):
            noticed.append("K " + said.removeprefix("killed: "))
    for test, _, given in bug.tests:
        mutant = Program(tree, objects, test, bug.kind(test))
        original = Program(base, folder / "base_objects", test, bug.kind(test))
        touched = [tree / bug.path]
        if bug.path.endswith(".hpp"):  # of a public header the test's own copy is what counts
            touched = [tree / "tests" / test]
            if bug.path.startswith("src"):
                touched += (tree / "src").glob("*.cpp")
        limit = SECONDS + TIMES * took[test, given, mutant.kind]
        said = run(mutant.build(jobs, original, touched), mutant.arguments(given), limit)
        if said:
            noticed.append(f"{test}{' ' + given if given else ''}: {said}")
    shutil.rmtree(tree)
    shutil.rmtree(objects)
    return noticed


def check_base(bugs, base, folder, jobs):
    """Nothing is noticed where there is nothing; how long each takes."""
    took = {}
    for test, given, kind in dict.fromkeys((t, g, b.kind(t)) for b in bugs for t, _, g in b.tests):
        original = Program(base, folder / "base_objects", test, kind)
        program, start = original.build(jobs), time.monotonic()
        said = run(program, original.arguments(given))
        took[test, given, kind] = time.monotonic() - start
        if said:
            sys.exit(f"without any bug {test} {given} does not pass: {said}")
    return took


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("--table", action="store_true")
    options.add_argument("--list", action="store_true")
    options = options.parse_args()
    entries = tomllib.loads((ROOT / "tests/seeded/bugs.toml").read_text())
    bugs = [Bug(name, entry) for name, entry in entries.items() if re.search(options.only, name)]
    if options.list:
        print("\n".join(f"{b.name}: {b.story}" for b in bugs))
        return
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ.update(CCACHE_BASEDIR=name, CCACHE_NOHASHDIR="1")
        (folder / "base_objects").mkdir()
        base, kernels = mutate.copy(folder / "base"), []
        if any(b.kernels for b in bugs):
            program = mutate.build(base, folder / "objects", options.jobs)
            kernels = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        took = check_base(bugs, base, folder, options.jobs)
        for bug in bugs:
            noticed = notice(bug, base, folder, options.jobs, kernels, took)
            as_wanted = bool(noticed) != bug.unnoticed
            wrong += not as_wanted
            if options.table:
                print(f"| {bug.story} | {bug.was} | {'<br>'.join(noticed) or 'nothing, as it must be'} |", flush=True)
            else:
                print(f"{bug.name}: {'; '.join(noticed) or 'not noticed'}{'' if as_wanted else '  WRONG'}", flush=True)
    print(f"{len(bugs)} bugs, {wrong} not as wanted", file=sys.stderr)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
