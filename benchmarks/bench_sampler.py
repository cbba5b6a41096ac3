"""The sampler: 4000 tasks with everything that follows from them, a million rows, and one task after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pydegrade

from . import inputs
from .measure import SMOKE
from .peers import Agreement, Peer

ROWS = 20_000 if SMOKE else 1_000_000
TASKS = 200 if SMOKE else 4000
BLURS = ("blur1", "blur2", "sinc")
SPACES = ("bicubic-x4", "realesrgan-x4", "bsrgan-x4", "dasr-mixed")
SINGLE = 20 if SMOKE else 200
STREAM = 20 if SMOKE else 1024


@pytest.mark.parametrize("space", SPACES)
def test_sampler_rows(compare: Any, space: str) -> None:
    inputs.settle_threads(1)
    compare(lambda: pydegrade.sample(space, 0, range(TASKS)), threads=1, tasks=TASKS)


@pytest.mark.parametrize("space", SPACES)
def test_sampler_one(compare: Any, space: str) -> None:
    """Tasks drawn one by one: numbers far from each other, as a shuffled data set asks for them. Wanted: 0.2 ms each."""
    inputs.settle_threads(1)
    loaded = pydegrade.Space.load(space)
    numbers = range(0, SINGLE * 10**6, 10**6)
    compare(
        lambda: [pydegrade.sample(loaded, 0, [n]) for n in numbers], threads=1, tasks=SINGLE, wanted_ms=0.2 * SINGLE
    )


@pytest.mark.parametrize("space", SPACES)
def test_sampler_stream(compare: Any, space: str) -> None:
    """The same one by one in sequence, drawn ahead. Wanted: 60 us each."""
    inputs.settle_threads(1)
    loaded = pydegrade.Space.load(space)

    def run() -> None:
        stream = pydegrade.TaskStream(loaded, 0)
        for number in range(STREAM):
            stream[number]

    compare(run, threads=1, tasks=STREAM, wanted_ms=0.06 * STREAM)


def test_sampler_kernels(compare: Any) -> None:
    """Blur kernels of all tasks, against the released formulas in NumPy, one kernel at a time as they are used."""
    inputs.settle_threads(1)
    tasks = pydegrade.sample("realesrgan-x4", 0, range(TASKS))

    def run() -> list[np.ndarray[Any, Any]]:
        return [kernel for slot in BLURS for kernel in pydegrade.kernels.of_tasks(tasks, slot)]

    def numpy_kernels() -> list[np.ndarray[Any, Any]]:
        return [kernel for slot in BLURS for kernel in _numpy_kernels(tasks, slot)]

    errors = [float(np.abs(ours - theirs).max()) for ours, theirs in zip(run(), numpy_kernels())]
    exact = Agreement(lambda ours, theirs: max(errors), 1e-7, "parameters are float32; both compute in float64")
    compare(
        lambda: [run(), np.zeros((1, 1, 3))][1:],
        [Peer("numpy, scipy", lambda: [numpy_kernels(), np.zeros((1, 1, 3))][1:], exact)],
        threads=1,
        tasks=TASKS,
        seconds=6.0,
    )


def test_sampler_everything(compare: Any) -> None:
    """Rows, fingerprints, image keys, DASR vectors and 12,000 blur kernels, on one thread. Wanted: 40 ms."""
    inputs.settle_threads(1)

    def run() -> None:
        tasks = pydegrade.sample("realesrgan-x4", 0, range(TASKS))
        tasks.fingerprints()
        tasks.image_keys()
        tasks.vector()
        for slot in BLURS:
            pydegrade.kernels.of_tasks(tasks, slot)

    compare(run, threads=1, tasks=TASKS, wanted_ms=40.0)


def test_sampler_million(compare: Any) -> None:
    inputs.settle_threads()
    compare(lambda: pydegrade.sample("realesrgan-x4", 0, range(ROWS)), tasks=ROWS, seconds=5.0)


def _numpy_kernels(tasks: pydegrade.TaskBatch, slot: str) -> list[np.ndarray[Any, Any]]:
    """The formulas of BasicSR's degradations.py, a kernel at a time."""
    from scipy.special import j1

    names = ("size_px", "sigma_x_px", "sigma_y_px", "angle_rad", "beta", "cutoff_rad")
    columns = [tasks.column(f"{slot}.{name}").astype(np.float64).tolist() for name in names]
    made = []
    for shape, size, sigma_x, sigma_y, angle, beta, cutoff in zip(tasks.labels(f"{slot}.shape"), *columns):
        if shape == "delta":
            made.append(np.ones((1, 1)))
            continue
        line = np.arange(int(size)) - int(size) // 2
        x, y = np.meshgrid(line, line)
        if shape == "sinc":
            radius = np.hypot(x, y)
            with np.errstate(invalid="ignore", divide="ignore"):
                kernel = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
            kernel[radius == 0] = cutoff**2 / (4 * np.pi)
        else:
            if shape.endswith("iso") and not shape.endswith("aniso"):
                sigma_y = sigma_x
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
            points = np.stack([x, y], -1)
            distance = np.sum(points @ inverse * points, -1)
            if shape.startswith("generalized"):
                kernel = np.exp(-0.5 * distance**beta)
            elif shape.startswith("plateau"):
                kernel = 1 / (1 + distance**beta)
            else:
                kernel = np.exp(-0.5 * distance)
        made.append(kernel / kernel.sum())
    return made
