"""Planning: tasks to steps, and steps to a program for CUDA, without images; processor time of one thread.

`python -m benchmarks.bench_planning [SPACE ...]` prints a line per space (default: all presets).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import pydegrade
from pydegrade.native import binding
from pydegrade.native.packed import Layout
from pydegrade.plan import make_plan
from pydegrade.tasks.space import preset_names

from .measure import SMOKE

BATCHES = (1, 12, 48)
REPEATS = 5 if SMOKE else 60


def least_us(run: Callable[[], object]) -> float:
    """Least processor time of this thread over many calls, us."""
    least = float("inf")
    for _ in range(REPEATS):
        start = time.thread_time_ns()
        run()
        least = min(least, time.thread_time_ns() - start)
    return least / 1000


def planning_us(space: str, batch: int) -> tuple[float, float]:
    """Time to plan and to record a batch of HR crops of the space's size."""
    tasks = pydegrade.sample(space, 3, range(batch))
    side = np.full(batch, tasks.space.hr_px or 96)
    rows = Layout.of_sizes(side, side)
    plan = make_plan(tasks, rows)
    has_target = tasks.space.target != "hr"
    # Steps of ops in plain torch have no place in a program.
    program = math.nan if plan.torch_ops else least_us(lambda: plan.steps.program(has_target))
    return least_us(lambda: make_plan(tasks, rows)), program


def main() -> None:
    torch.set_num_threads(1)
    binding.set_num_threads(1)
    print("us, plan + program:", ", ".join(f"B={batch}" for batch in BATCHES))
    for space in sys.argv[1:] or preset_names():
        times = [planning_us(space, batch) for batch in BATCHES]
        print(f"{space:24}", "  ".join(f"{plan:5.0f} + {program:4.0f}" for plan, program in times), flush=True)


if __name__ == "__main__":
    main()
