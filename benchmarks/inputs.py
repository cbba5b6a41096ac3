"""Shared inputs: photographs that ship with scikit-image, cut to the sizes of the goals, and batches of tasks."""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import torch

import pydegrade

from . import peers
from .eager import EagerBatch
from .measure import SMOKE

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
BATCH = 2 if SMOKE else 12
SIDE_PX = 96 if SMOKE else 400
SEED = 0


def settle_threads(threads: int = THREADS) -> None:
    """Give ours and torch the same number of threads. OpenCV gets one: its peers spread images over Python threads,
    which is faster than the threads inside it (half of its functions have none)."""
    torch.set_num_threads(threads)
    pydegrade.set_num_threads(threads)
    cv2 = peers.library("opencv").module
    if cv2 is not None:
        cv2.setNumThreads(1)


@cache
def photographs(count: int = BATCH, side_px: int = SIDE_PX) -> torch.Tensor:
    """float32 [count, 3, side, side]: crops at fixed places of several photographs, so that inputs vary."""
    from skimage import data

    sources = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    crops = []
    for index in range(count):
        image = sources[index % len(sources)]
        if min(image.shape[:2]) < side_px:
            repeats = -(-side_px // min(image.shape[:2]))
            image = np.pad(
                image, [(0, image.shape[0] * (repeats - 1)), (0, image.shape[1] * (repeats - 1)), (0, 0)], "symmetric"
            )
        top = (37 * index) % (image.shape[0] - side_px + 1)
        left = (53 * index) % (image.shape[1] - side_px + 1)
        crops.append(image[top : top + side_px, left : left + side_px])
    return torch.from_numpy(np.stack(crops).astype(np.float32) / 255).permute(0, 3, 1, 2).contiguous()


@cache
def batches(space: str, count: int, batch: int = BATCH) -> tuple[pydegrade.TaskBatch, ...]:
    """`count` batches of tasks, consecutive indices from seed 0."""
    return tuple(pydegrade.sample(space, SEED, range(k * batch, (k + 1) * batch)) for k in range(count))


@cache
def eager_batches(space: str, count: int, batch: int = BATCH) -> tuple[EagerBatch, ...]:
    """The same tasks for the usual pipeline, which needs one size per batch.

    The size that counts for a whole batch is taken from the task at the middle of one of `count` equal strata of
    resize1.resize_factor, so that both sides process the same number of pixels on average.
    """
    tasks = pydegrade.sample(space, SEED, range(count * batch))
    order = np.argsort(tasks.column("resize1.resize_factor"), kind="stable")
    result = []
    for k in range(count):
        middle = order[k * batch + batch // 2]
        rows = np.concatenate([[middle], np.setdiff1d(order[k * batch : (k + 1) * batch], [middle])])
        chosen = tasks.take(rows)
        kernels = {slot: _padded_kernels(chosen, slot) for slot in ("blur1", "blur2", "sinc")}
        result.append(EagerBatch(chosen, 0, kernels))
    return tuple(result)


def _padded_kernels(tasks: pydegrade.TaskBatch, slot: str) -> torch.Tensor:
    kernels = torch.zeros(len(tasks), 21, 21)
    for row, kernel in enumerate(pydegrade.kernels.of_tasks(tasks, slot)):
        edge = (21 - kernel.shape[0]) // 2
        kernels[row, edge : 21 - edge, edge : 21 - edge] = torch.from_numpy(kernel)
    return kernels
