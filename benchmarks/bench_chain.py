"""Whole chains: against the usual pipeline in torch eager ops, against OpenCV calls stitched together, and against the sum
of the floors of their steps."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch

import pydegrade

from . import eager, floors, inputs, measure, peers, stitched
from .measure import SMOKE
from .peers import Agreement, Peer

PRESETS = (
    *("realesrgan-x4", "realesrgan-x2", "bsrgan-x4"),
    *("dasr-weak", "dasr-standard", "dasr-severe", "dasr-mixed", "bicubic"),
)
BATCHES = 1 if SMOKE else 6
FEW_BATCHES = 1 if SMOKE else 2
"""For contenders that take half a second per image, the sharpening in eager ops above all."""

# The resizes of torch take their step from the drawn factor, those of OpenCV from the sizes: up to half a pixel apart.
# Where a space draws OpenCV's own modes, float32 rounding remains, and borders where Pillow stands in for MATLAB.
STITCHED_LEVELS = {"bsrgan-x4": 0.25, "bicubic": 0.25}
STITCHED_LEVELS_TORCH = 4.5


@pytest.mark.parametrize(
    ("space", "usm"),
    [("realesrgan-x4", False), ("realesrgan-x4", True), ("realesrgan-x2", True)],
    ids=["realesrgan-x4-without_usm", "realesrgan-x4", "realesrgan-x2"],
)
def test_chain(compare: Any, space: str, usm: bool) -> None:
    """`degrade_batch` on consecutive tasks, against torch eager (one size per batch) and stitched OpenCV calls."""
    inputs.settle_threads()
    hr = inputs.photographs()
    count = FEW_BATCHES if usm else BATCHES
    ours = inputs.batches(space, count)
    if not usm:
        ours = tuple(floors.without(tasks, "sharpen") for tasks in ours)
    contenders = [_eager(space, count, hr, usm), *_stitched(ours, hr, STITCHED_LEVELS_TORCH)]
    targets = {("realesrgan-x4", False): 18.0, ("realesrgan-x4", True): 80.0}
    _compare(compare, ours, hr, contenders, targets.get((space, usm), 0.0))


@pytest.mark.parametrize("space", PRESETS[2:])
def test_preset(compare: Any, space: str) -> None:
    """The other presets, against stitched OpenCV calls: no torch pipeline gives every image its own parameters."""
    inputs.settle_threads()
    hr = inputs.photographs()
    ours = inputs.batches(space, FEW_BATCHES)
    _compare(compare, ours, hr, _stitched(ours, hr, STITCHED_LEVELS.get(space, STITCHED_LEVELS_TORCH)), 0.0)


def _compare(
    compare: Any, ours: tuple[pydegrade.TaskBatch, ...], hr: torch.Tensor, contenders: list[Peer], target: float
) -> None:
    images = len(ours) * len(hr)
    compare(
        lambda: torch.cat([pydegrade.degrade_batch(hr, tasks).lr for tasks in ours]),
        contenders,
        megapixels=images * hr.shape[-1] ** 2 / 1e6,
        images=images,
        target=target,
        against=("torch eager",),
        seconds=6.0,
    )


def _eager(space: str, count: int, hr: torch.Tensor, usm: bool) -> Peer:
    """The released pipeline draws sizes and kinds once per batch, so pixels cannot be compared: it must make images with
    the statistics of ours. Every formula in it is compared with ours by itself in bench_ops.py."""
    theirs = inputs.eager_batches(space, count)
    kernel = eager.usm_kernel() if usm else None

    def error(made: torch.Tensor, peer: torch.Tensor) -> float:
        assert made.shape == peer.shape
        return max(abs(float(made.mean() - peer.mean())), abs(float(made.std() - peer.std())))

    alike = Agreement(error, 0.08, "mean and contrast of all LR images; sizes and kinds are drawn once per batch")
    return Peer(
        "torch eager", lambda: torch.cat([eager.realesrgan_chain(hr, batch, kernel) for batch in theirs]), alike
    )


def _stitched(ours: tuple[pydegrade.TaskBatch, ...], hr: torch.Tensor, levels: float) -> list[Peer]:
    """The same tasks by OpenCV, NumPy and Pillow. Compared with the noise off, in mean 8-bit levels per image."""
    if not peers.module("opencv") or not peers.module("pillow"):
        return []
    arrays = peers.interleaved(hr)

    def work(tasks: tuple[pydegrade.TaskBatch, ...]) -> list[tuple[Any, ...]]:
        rows = [row for batch in tasks for row in stitched.steps_of(batch, hr)]
        generators = [np.random.default_rng(seed) for seed in range(len(rows))]
        return list(zip(arrays * len(tasks), rows, generators))

    run = peers.each(lambda item: stitched.degrade(*item), work(ours), inputs.THREADS)

    quiet = tuple(floors.without(tasks, "noise") for tasks in ours)
    clean = torch.cat([pydegrade.degrade(hr, tasks) for tasks in quiet])
    made = peers.as_tensor(peers.each(lambda item: stitched.degrade(*item), work(quiet), inputs.THREADS)())
    error = float((clean - made).abs().mean()) * 255
    note = "mean 8-bit levels with the noise off; resizes in torch and OpenCV differ by up to half a pixel"
    return [Peer("opencv stitched", run, Agreement(lambda ours, theirs: error, levels, note))]


# ---- roofline


@pytest.mark.parametrize("threads", sorted({1, inputs.THREADS}))
@pytest.mark.parametrize("space", ["realesrgan-x4", "bsrgan-x4", "dasr-severe"])
def test_roofline(compare: Any, space: str, threads: int) -> None:
    """Time per image against the sum of the floors of its steps, and where the time goes: what an op costs is the time of
    the whole chain less the time without that op, measured in turns. Resizes cannot be left out; they are the rest."""
    inputs.settle_threads(threads)
    hr = inputs.photographs()
    tasks = inputs.batches(space, FEW_BATCHES)
    images = len(tasks) * len(hr)
    floor = [floors.roofline(batch, hr, measure.ceilings(threads)) for batch in tasks]

    def run(chosen: tuple[pydegrade.TaskBatch, ...]) -> None:
        for batch in chosen:
            pydegrade.degrade_batch(hr, batch)

    used = {slot.op for slot in tasks[0].space.slots} - {"resize"}
    variants = {op: tuple(floors.without(batch, op) for batch in tasks) for op in sorted(used)}
    contenders = {op: functools.partial(run, chosen) for op, chosen in variants.items()}
    times = measure.race({"all": lambda: run(tasks), **contenders}, seconds=5.0)
    # Processor seconds over threads: differences of clock times would drown in what neighbours do.
    whole_s = times["all"].least_busy_s / threads
    cost_s = {op: whole_s - times[op].least_busy_s / threads for op in contenders}
    cost_s["resize, copies, rounding, planning"] = whole_s - sum(cost_s.values())
    floor_s: dict[str, float] = {}
    for part in floor:
        for name, value in part.seconds.items():
            floor_s[name] = floor_s.get(name, 0.0) + value
    inputs.settle_threads(threads)
    compare(
        lambda: run(tasks),
        megapixels=images * hr.shape[-1] ** 2 / 1e6,
        images=images,
        threads=threads,
        roofline={
            "space": space,
            "floor_ms_per_image": {name: 1e3 * value / images for name, value in floor_s.items()},
            "floor_total_ms_per_image": 1e3 * sum(part.total_s for part in floor) / images,
            "busy_ms_per_image": 1e3 * whole_s / images,
            "cost_ms_per_image": {name: 1e3 * value / images for name, value in cost_s.items()},
            "wanted_factor": 2.5,
            "ceilings": asdict(measure.ceilings(threads)),
        },
        seconds=1.5,
    )


# ---- scaling


@pytest.mark.parametrize("threads", sorted({1, inputs.THREADS}))
def test_scaling_batch(compare: Any, threads: int) -> None:
    """ms per image by batch size, the sizes taking turns on the same 96 images and tasks."""
    inputs.settle_threads(threads)
    total = 4 if SMOKE else 96
    hr = inputs.photographs()
    images = torch.cat([hr] * (total // len(hr)))
    tasks = pydegrade.sample("realesrgan-x4", inputs.SEED, range(total))
    sizes = [size for size in (1, 2, 12, 48, 96) if size <= total]

    def run(batch: int) -> None:
        for begin in range(0, total, batch):
            pydegrade.degrade(images[begin : begin + batch], tasks.take(np.arange(begin, begin + batch)))

    times = measure.race({str(size): functools.partial(run, size) for size in sizes}, seconds=12.0)
    table = {size: 1e3 * timing.minimum_s / total for size, timing in times.items()}
    compare(
        lambda: run(sizes[-1]),
        images=total,
        megapixels=total * hr.shape[-1] ** 2 / 1e6,
        threads=threads,
        scaling={"batch": table},
        seconds=1.0,
    )


@pytest.mark.parametrize("threads", sorted({1, inputs.THREADS}))
def test_scaling_side(compare: Any, threads: int) -> None:
    """ns per HR pixel by image size, B=12, the sizes taking turns."""
    inputs.settle_threads(threads)
    sides = (32, 64) if SMOKE else (100, 200, 400, 800)
    tasks = inputs.batches("realesrgan-x4", 1, inputs.BATCH)[0]
    images = {side: inputs.photographs(inputs.BATCH, side) for side in sides}
    contenders = {str(side): functools.partial(pydegrade.degrade, images[side], tasks) for side in sides}
    times = measure.race(contenders, seconds=6.0)
    table = {side: 1e9 * timing.minimum_s / (inputs.BATCH * int(side) ** 2) for side, timing in times.items()}
    largest = sides[-1]
    compare(
        contenders[str(largest)],
        images=inputs.BATCH,
        megapixels=inputs.BATCH * largest**2 / 1e6,
        threads=threads,
        scaling={"side": table},
        seconds=1.0,
    )
