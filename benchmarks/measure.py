"""How everything here is timed: contenders take turns, the minimum and the median of each are kept."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pydegrade

SMOKE = os.environ.get("BENCH_SMOKE", "") not in ("", "0")


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one contender."""

    minimum_s: float
    median_s: float
    rounds: int


def race(contenders: Mapping[str, Callable[[], Any]], seconds: float = 1.0, max_rounds: int = 30) -> dict[str, Timing]:
    """Time functions in turns: one call of each per round, after one call each to warm up.

    Args:
        contenders: name -> function of no arguments. Inputs should rotate inside the function.
        seconds: stop after about this long (at least three rounds, one in a smoke run).
    """
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    least = 1 if SMOKE else 3
    begin = time.perf_counter()
    for done in range(1 if SMOKE else max_rounds):
        if done >= least and time.perf_counter() - begin > seconds:
            break
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: Timing(min(values), statistics.median(values), len(values)) for name, values in times.items()}


@dataclass(frozen=True)
class Machine:
    """Where a run took place, and the ceilings measured in it."""

    cpu: str
    cores: int
    threads: int
    isa: str
    python: str
    torch: str
    numpy: str
    pydegrade: str
    commit: str
    copy_gb_per_s: float
    fma_gflops: float


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return done.stdout.strip() or "unknown"


def copy_gb_per_s() -> float:
    """Read + write bandwidth of a 64 MiB tensor copy at the current number of threads."""
    source = torch.ones(1 << 24)
    target = torch.empty_like(source)
    best = min(race({"copy": lambda: target.copy_(source)}, seconds=0.3).values(), key=lambda timing: timing.minimum_s)
    return 2 * source.numel() * 4 / best.minimum_s / 1e9


def fma_gflops() -> float:
    """float32 multiply-add rate of a large matrix product: what this machine's vector units reach."""
    a, b = torch.ones(1024, 1024), torch.ones(1024, 1024)
    best = race({"matmul": lambda: a @ b}, seconds=0.5)["matmul"]
    return 2 * 1024**3 / best.minimum_s / 1e9


def machine() -> dict[str, Any]:
    """Machine facts for a report, with the two ceilings."""
    facts = Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        threads=pydegrade.get_num_threads(),
        isa=pydegrade.isa_name(),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        pydegrade=pydegrade.__version__,
        commit=_commit(),
        copy_gb_per_s=copy_gb_per_s(),
        fma_gflops=fma_gflops(),
    )
    return asdict(facts)


def peak_memory_mib() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
