"""The sampler: 4000 tasks with everything that follows from them, and a million rows."""

from __future__ import annotations

from typing import Any

import pydegrade

from . import inputs
from .measure import SMOKE

ROWS = 20_000 if SMOKE else 1_000_000
BLURS = ("blur1", "blur2", "sinc")


def test_rows_4000(compare: Any) -> None:
    inputs.settle_threads(1)
    compare(lambda: pydegrade.sample("realesrgan-x4", 0, range(4000)))


def test_everything_4000(compare: Any) -> None:
    """Rows, fingerprints, image keys, DASR vectors and 12,000 blur kernels, on one thread."""
    inputs.settle_threads(1)

    def run() -> None:
        tasks = pydegrade.sample("realesrgan-x4", 0, range(4000))
        tasks.fingerprints()
        tasks.image_keys()
        tasks.vector()
        for slot in BLURS:
            pydegrade.kernels.of_tasks(tasks, slot)

    compare(run)


def test_rows_1000000(compare: Any) -> None:
    inputs.settle_threads(2)
    compare(lambda: pydegrade.sample("realesrgan-x4", 0, range(ROWS)), seconds=5.0)
