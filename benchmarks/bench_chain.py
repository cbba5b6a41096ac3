"""Whole chains: ours against the usual pipeline in torch eager ops, with and without USM, and how time scales."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import pydegrade

from . import eager, inputs
from .measure import SMOKE

COUNT = 1 if SMOKE else 6


def without_usm(tasks: pydegrade.TaskBatch) -> pydegrade.TaskBatch:
    return tasks.replace(**{"usm.weight": 0.0})


@pytest.mark.parametrize("usm", [False, True], ids=["without_usm", "with_usm"])
def test_realesrgan_x4(compare: Any, usm: bool) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    ours = [tasks if usm else without_usm(tasks) for tasks in inputs.batches("realesrgan-x4", COUNT)]
    theirs = inputs.eager_batches("realesrgan-x4", COUNT)
    kernel = eager.usm_kernel() if usm else None

    # Same statistics of the result, since the draws of noise differ: mean and contrast of all LR images.
    made = torch.cat([pydegrade.degrade(hr, tasks) for tasks in ours])
    peer = torch.cat([eager.realesrgan_chain(hr, batch, kernel) for batch in theirs])
    assert made.shape == peer.shape
    assert abs(float(made.mean() - peer.mean())) < 0.05
    assert abs(float(made.std() - peer.std())) < 0.08

    def run_ours() -> None:
        for tasks in ours:
            pydegrade.degrade_batch(hr, tasks)

    def run_eager() -> None:
        for batch in theirs:
            eager.realesrgan_chain(hr, batch, kernel)

    images = COUNT * len(hr)
    compare(
        run_ours,
        {"torch eager": run_eager},
        megapixels=images * hr.shape[-1] ** 2 / 1e6,
        images=images,
        target=80.0 if usm else 18.0,
        seconds=60.0 if usm else 20.0,
    )


@pytest.mark.parametrize("space", ["bicubic", "realesrgan-x2", "bsrgan-x4", "dasr-mixed"])
def test_preset(compare: Any, space: str) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    turn = itertools.cycle(inputs.batches(space, COUNT))
    compare(
        lambda: pydegrade.degrade_batch(hr, next(turn)),
        megapixels=hr.shape[0] * hr.shape[-1] ** 2 / 1e6,
        images=len(hr),
    )


@pytest.mark.parametrize("batch", [1, 2, 12, 48, 96])
def test_batch_size(compare: Any, batch: int) -> None:
    """Time per image should not depend on the batch."""
    inputs.settle_threads()
    hr = inputs.photographs(12)
    tasks = pydegrade.sample("realesrgan-x4", 0, range(96))
    images = torch.cat([hr] * 8)

    def run() -> None:
        for begin in range(0, 96, batch):
            pydegrade.degrade(images[begin : begin + batch], tasks.take(np.arange(begin, begin + batch)))

    compare(run, megapixels=96 * hr.shape[-1] ** 2 / 1e6, images=96, seconds=4.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(compare: Any, threads: int) -> None:
    inputs.settle_threads(threads)
    hr = inputs.photographs()
    tasks = inputs.batches("realesrgan-x4", 1)[0]
    compare(lambda: pydegrade.degrade(hr, tasks), megapixels=hr.shape[0] * hr.shape[-1] ** 2 / 1e6, images=len(hr))


@pytest.mark.parametrize("side_px", [100, 200, 400] if SMOKE else [100, 200, 400, 800])
def test_image_side(compare: Any, side_px: int) -> None:
    """Time should grow with the number of pixels."""
    inputs.settle_threads()
    hr = inputs.photographs(12, side_px)
    tasks = inputs.batches("realesrgan-x4", 1, 12)[0]
    compare(lambda: pydegrade.degrade(hr, tasks), megapixels=hr.shape[0] * side_px**2 / 1e6, images=len(hr))
