"""The programs that are measured: how each is built, run, and why it may be missing."""
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"


class Missing(Exception):
    """A peer cannot be measured here; the text says why."""


def output_of(*command, cwd=ROOT, env=None, timeout=900):
    """The standard output of a command. Raises Missing with the end of its errors where it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, text=True, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    except OSError as e:
        raise Missing(str(e)) from e
    except subprocess.TimeoutExpired as e:
        raise Missing(f"{Path(command[0]).name} did not end within {timeout} s") from e
    if done.returncode:
        raise Missing(f"{Path(command[0]).name} failed: " + (done.stderr or done.stdout)[-2000:])
    return done.stdout


def build_cpp(target):
    output_of("cmake", "--preset", "release")
    targets = output_of("cmake", "--build", "--preset", "release", "--target", "help")
    if not re.search(rf"^{target}: ", targets, re.MULTILINE):
        raise Missing("its headers were not found when heed was configured")
    output_of("cmake", "--build", "--preset", "release", "--parallel", str(os.cpu_count()), "--target", target)
    return ROOT / "build" / "release" / "benchmarks" / target


class Cpp:
    """A program that takes harness.hpp's options."""

    def __init__(self, name, target):
        self.name, self.target = name, target

    def build(self):
        self.program = build_cpp(self.target)
        return output_of("g++", "--version").splitlines()[0]

    def run(self, ms, only, large, rows):
        command = [str(self.program), "--ms", str(ms)]
        command += ["--only", only] if only else []
        command += ["--large"] if large else []
        return output_of(*command)

    def once(self):
        """Each row a single time, in its smallest size: to learn which there are."""
        return output_of(str(self.program), "--once")

    def rename(self, row):
        return row


class Go:
    name = "Go"
    # Nothing is downloaded: the module has no dependencies, and the toolchain is the one that is there.
    environment = {"CGO_ENABLED": "0", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}

    def build(self):
        go = shutil.which("go") or "/usr/local/go/bin/go"
        source = ROOT / "benchmarks" / "peers" / "go"
        self.program = OUT / "go_peer"
        version = output_of(go, "version", env=self.environment, cwd=source).strip()
        output_of(go, "test", "-c", "-o", str(self.program), ".", env=self.environment, cwd=source)
        return version

    def run(self, ms, only, large, rows):
        command = [str(self.program), "-test.run=^$", "-test.bench=.", f"-test.benchtime={ms}ms", f"-only={only or ''}"]
        return output_of(*command, *(["-large"] if large else []), env=self.environment)

    def rename(self, row):
        # Go appends the number of processors; and see BenchmarkErrOKKinds.
        return re.sub(r"-\d+$", "", row).replace("Kinds/", "/")


class Rust:
    name = "tokio"

    def build(self):
        cargo = shutil.which("cargo") or str(Path.home() / ".cargo" / "bin" / "cargo")
        source = ROOT / "benchmarks" / "peers" / "rust"
        version = output_of("rustc", "--version").strip()
        output_of(cargo, "build", "--release", "--locked", "--quiet", "--target-dir", str(OUT / "cargo"), cwd=source)
        self.program = OUT / "cargo" / "release" / "heed-bench-tokio"
        lock = (source / "Cargo.lock").read_text()
        crates = [f"{c} " + re.search(rf'name = "{c}"\nversion = "(.*)"', lock)[1] for c in ("tokio", "tokio-util")]
        return ", ".join([version, *crates])

    def run(self, ms, only, large, rows):
        only_rows = ["--rows", ",".join(r for r in rows if re.search(only, r))] if only else []
        return output_of(str(self.program), "--ms", str(ms), *(["--large"] if large else []), *only_rows)

    def rename(self, row):
        return row


def programs():
    """heed comes first: without it there is nothing to compare."""
    return [Cpp("heed", "bench_heed"), Go(), Rust(), Cpp("std::stop_token", "bench_std_stop"),
            Cpp("Boost.Asio", "bench_asio")]
