"""How everything here is timed, and what the machine could do at most."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pydegrade

HERE = Path(__file__).resolve().parent
SMOKE = os.environ.get("BENCH_SMOKE", "") not in ("", "0")

IMAGE_BYTES = 3 * 400 * 400 * 4
"""One image of the usual size: what an op reads in a chain, where each image goes through all its steps in turn."""
BATCH_BYTES = 12 * IMAGE_BYTES
"""Twelve of them: what an op reads when it is called alone on a batch."""


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one contender: on the clock, and of processors (`busy_s`)."""

    minimum_s: float
    median_s: float
    least_busy_s: float


def race(contenders: Mapping[str, Callable[[], Any]], seconds: float = 1.0, max_rounds: int = 40) -> dict[str, Timing]:
    """Time functions in turns: one call of each per round, after one call each to warm up.

    Args:
        contenders: name -> function of no arguments.
        seconds: stop after about this long (at least three rounds; one in a smoke run).
    """
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    busy: dict[str, list[float]] = {name: [] for name in contenders}
    least = 1 if SMOKE else 3
    begin = time.perf_counter()
    for done in range(1 if SMOKE else max_rounds):
        if done >= least and time.perf_counter() - begin > seconds:
            break
        for name, run in contenders.items():
            start, busy_before = time.perf_counter(), busy_s()
            run()
            times[name].append(time.perf_counter() - start)
            busy[name].append(busy_s() - busy_before)
    return {name: Timing(min(times[name]), statistics.median(times[name]), min(busy[name])) for name in contenders}


def busy_s() -> float:
    """Processor seconds that all threads of this process and its finished children have used. Unlike time on the clock it
    does not count waiting for a processor that other programs hold."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


# ---- ceilings


@dataclass(frozen=True)
class Ceilings:
    """Measured limits at some number of threads.

    Attributes:
        threads: how many.
        fma_gflops: float32 multiply-adds, two operations each.
        integer_gops: 32-bit additions and exclusive-ors.
        copy_image_gb_per_s: read + written, each thread copying buffers of IMAGE_BYTES (they stay in a cache).
        copy_batch_gb_per_s: the same, all threads together copying BATCH_BYTES (memory, where the cache is smaller).
        how: what measured the first two.
    """

    threads: int
    fma_gflops: float
    integer_gops: float
    copy_image_gb_per_s: float
    copy_batch_gb_per_s: float
    how: str


@functools.cache
def ceilings(threads: int) -> Ceilings:
    """Run benchmarks/ceilings.cpp, compiled for this processor; without a compiler, matrix products and copies of torch."""
    program = _ceilings_program()
    if program is None:
        return _ceilings_by_torch(threads)
    batch_share = BATCH_BYTES // threads
    done = subprocess.run(
        [str(program), str(threads), str(IMAGE_BYTES), str(batch_share)], capture_output=True, text=True, check=True
    )
    found = {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}
    return Ceilings(
        threads,
        found["fma_gflops"],
        found["integer_gops"],
        found[f"copy_gb_per_s_{IMAGE_BYTES}"],
        found[f"copy_gb_per_s_{batch_share}"],
        "benchmarks/ceilings.cpp",
    )


def _ceilings_program() -> Path | None:
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    compiler = next((path for name in names if (path := shutil.which(name))), None)
    source = HERE / "ceilings.cpp"
    if compiler is None:
        return None
    program = HERE.parent / "build" / "native" / f"ceilings-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        command = [compiler, "-std=c++17", "-O3", "-march=native", "-pthread", str(source), "-o", f"{program}.new"]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        os.replace(f"{program}.new", program)
    return program


def _ceilings_by_torch(threads: int) -> Ceilings:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    a, b = torch.ones(1024, 1024), torch.ones(1024, 1024)
    words = torch.ones(1 << 18, dtype=torch.int32)

    def copy(total_bytes: int) -> float:
        source = torch.ones(total_bytes // 4)
        target = torch.empty_like(source)
        return 2 * total_bytes / race({"copy": lambda: target.copy_(source)}, 0.3)["copy"].minimum_s / 1e9

    matmul = 2 * 1024**3 / race({"matmul": lambda: a @ b}, 0.5)["matmul"].minimum_s / 1e9
    integer = words.numel() / race({"add": lambda: words.add_(1)}, 0.3)["add"].minimum_s / 1e9
    made = Ceilings(
        threads, matmul, integer, copy(IMAGE_BYTES * threads), copy(BATCH_BYTES), "torch, lower than the peak"
    )
    torch.set_num_threads(before)
    return made


# ---- the machine


def machine(threads: int) -> dict[str, Any]:
    """Facts about the machine and the build, for a report."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "isa": pydegrade.isa_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pydegrade": pydegrade.__version__,
        "commit": _commit(),
        "flags": _flags(),
        "smoke": SMOKE,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0,
    }


def _cpu_name() -> str:
    """Model name, with family and model: clouds hide the name."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = {}
    for line in info.read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    if "model name" not in fields:
        return platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE, check=False
    )
    return done.stdout.strip() or "unknown"


def _flags() -> str:
    """What the kernels are compiled with, besides the instruction set."""
    text = (HERE.parent / "CMakeLists.txt").read_text()
    found = re.search(r"^set\(PYD_FLAGS (.+)\)$", text, re.MULTILINE)
    return found[1] if found else "unknown"


# ---- memory


def rss_mib() -> float:
    """Resident size of this process now."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak_rss_mib()
    return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20


def reset_peak_rss() -> None:
    """Let `peak_rss_mib` start from now, where the system allows it (Linux)."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def peak_rss_mib() -> float:
    """Largest resident size of this process, since `reset_peak_rss` on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
