"""Peak memory of a large batch, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from . import inputs
from .measure import SMOKE

BATCH = 8 if SMOKE else 48

SCRIPT = """
import resource, sys, torch, pydegrade
from benchmarks import inputs
batch = int(sys.argv[1])
inputs.settle_threads()
hr = inputs.photographs(4).repeat(batch // 4, 1, 1, 1)
pydegrade.degrade(hr[:1], pydegrade.sample("realesrgan-x4", 1, [0]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pydegrade.degrade_batch(hr, pydegrade.sample("realesrgan-x4", 0, range(batch)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_peak_memory(benchmark: Any) -> None:
    """MiB above the inputs at B=48 of 3x400x400: at most 400."""
    command = [sys.executable, "-c", SCRIPT, str(BATCH)]
    run = benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, text=True, check=True), rounds=1, warmup_rounds=0
    )
    extra_mib = float(run.stdout)
    benchmark.extra_info.update(
        extra_mib=extra_mib, megapixels=0.0, ratio=0.0, peers_min_s={}, images=BATCH, threads=inputs.THREADS
    )
    assert extra_mib < 400
