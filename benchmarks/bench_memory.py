"""Peak memory of a large batch, each contender in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import inputs
from .measure import SMOKE

BATCH = 8 if SMOKE else 48
LIMIT_MIB = 400

# The images are there before; what a call needs on top, its result included, is the peak while it runs.
SCRIPT = """
import sys, torch, pydegrade
from benchmarks import eager, inputs, measure
which, batch = sys.argv[1], int(sys.argv[2])
inputs.settle_threads()
hr = inputs.photographs(4).repeat(batch // 4, 1, 1, 1)
if which == "pydegrade":
    tasks = pydegrade.sample("realesrgan-x4", 0, range(batch))
    run = lambda: pydegrade.degrade_batch(hr, tasks)
else:
    theirs, kernel = inputs.eager_batches("realesrgan-x4", 1, batch)[0], eager.usm_kernel()
    run = lambda: eager.realesrgan_chain(hr, theirs, kernel)
before = measure.rss_mib()
measure.reset_peak_rss()
run()
print(measure.peak_rss_mib() - before)
"""


def extra_mib(which: str) -> float:
    """MiB above the inputs, imports and tasks."""
    repository = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", SCRIPT, which, str(BATCH)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_peak_memory(benchmark: Any) -> None:
    """MiB above the inputs at B=48 of 3x400x400, released setting with USM: at most 400. `target` [B, 3, H, W], 88 MiB, is
    part of the result."""
    ours = benchmark.pedantic(lambda: extra_mib("pydegrade"), rounds=1, warmup_rounds=0)
    benchmark.extra_info.update(
        memory={"batch": BATCH, "limit_mib": LIMIT_MIB, "pydegrade": ours, "torch eager": extra_mib("torch eager")},
        images=BATCH,
        threads=inputs.THREADS,
    )
    assert ours < LIMIT_MIB
