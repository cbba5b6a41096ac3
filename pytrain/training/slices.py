"""Threads that compute slices of one batch side by side, each with its own part of the cores.

On a CPU a convolution over half a batch on one core, twice at the same time, is faster than one over the whole batch on
two: cores meet once per step instead of in every operation, where another program on a core would stop both. Numbers are
in docs/training.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..methods.contract import Method, Nets, Terms

MOST = 4
"""Slices at most: Python runs one thread at a time, and every slice costs it some milliseconds per step."""

# Two sums of the same float32 numbers in another order; losses of slices that mean something else differ by far more.
SAME_LOSS = 1e-3

Item = TypeVar("Item")
Result = TypeVar("Result")


class SlicePool:
    """Threads that share torch's threads among them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._threads_each = max(1, torch.get_num_threads() // size)
        self._pool = ThreadPoolExecutor(size, "pytrain-slice", torch.set_num_threads, (self._threads_each,))

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results in the order of the items. The first error is raised once all are done."""
        before = torch.get_num_threads()
        # MKL has one number of threads for the whole process, which follows the last call.
        torch.set_num_threads(self._threads_each)
        try:
            futures = [self._pool.submit(work, item) for item in items]
            errors = [error for future in futures if (error := future.exception()) is not None]
            if errors:
                raise errors[0]
            return [future.result() for future in futures]
        finally:
            torch.set_num_threads(before)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def slice_count(asked: int, device: torch.device, rows: int, separable: Callable[[], bool]) -> int:
    """How many slices of a batch to compute side by side.

    Args:
        asked: by the configuration; 0: as many as there are threads, at most MOST, that divide the batch.
        device: of the run; only a CPU gains.
        rows: images that a process computes at a time.
        separable: whether the method's loss allows it; asked only when it matters.
    """
    if device.type != "cpu" or asked == 1:
        return 1
    if asked:
        return min(asked, rows)
    possible = [size for size in range(2, min(torch.get_num_threads(), rows, MOST) + 1) if rows % size == 0]
    return max(possible) if possible and separable() else 1


def is_separable(method: Method, nets: Nets, batch: Batch) -> bool:
    """Whether slices of a batch may be computed at the same time and averaged.

    They may not where the loss compares images of a batch with each other, draws random numbers (drop path) or changes
    buffers (spectral norm): which thread comes first would change the result. Found out by trying, on two halves. A
    method whose samples belong together in groups says so itself.

    Args:
        nets: copies that nobody needs afterwards.
        batch: at least two rows, prepared.
    """
    if len(method.phases) != 1 or method.group_rows > 1:
        return False
    loss = method.phases[0].loss
    buffers = [buffer for net in nets.values() for buffer in net.buffers()]
    buffers_before = [buffer.clone() for buffer in buffers]
    generator_before = torch.get_rng_state()
    half = len(batch) // 2
    whole = _total(loss(nets, batch, 0))
    halves = [_total(loss(nets, batch.take(rows), 0)) for rows in (slice(0, half), slice(half, len(batch)))]
    mean = (half * halves[0] + (len(batch) - half) * halves[1]) / len(batch)
    return (
        abs(whole - mean) <= SAME_LOSS * abs(whole)
        and torch.equal(torch.get_rng_state(), generator_before)
        and all(torch.equal(after, before) for after, before in zip(buffers, buffers_before))
    )


def _total(terms: Terms) -> float:
    return float(sum(value.detach().double() for value in terms.losses.values()))


@dataclass(frozen=True)
class SliceGradients:
    """What one slice of a batch gave: its terms, one gradient per trained parameter (None where it has none), seconds."""

    terms: Terms
    gradients: tuple[Tensor | None, ...]
    forward_s: float
    backward_s: float


def gradients_of(loss: Callable[[], Terms], share: float, trained: Sequence[nn.Parameter]) -> SliceGradients:
    """Terms and gradients of one slice.

    Args:
        loss: computes the terms.
        share: of the slice in the batch; the sum of the losses is multiplied by it.
        trained: what gradients are wanted for.
    """
    start_s = time.perf_counter()
    terms = loss()
    middle_s = time.perf_counter()
    gradients: tuple[Tensor | None, ...] = (None,) * len(trained)
    if terms.losses:
        total = torch.stack([value.float() for value in terms.losses.values()]).sum() * share
        gradients = torch.autograd.grad(total, trained, allow_unused=True)
    return SliceGradients(terms, gradients, middle_s - start_s, time.perf_counter() - middle_s)


def add_gradients(trained: Sequence[nn.Parameter], slices: Sequence[Sequence[Tensor | None]]) -> None:
    """Sum the slices' gradients into the parameters', in the order of the slices: the same bits in every run."""
    for parameter, *gradients in zip(trained, *slices):
        for gradient in gradients:
            if gradient is None:
                continue
            if parameter.grad is None:
                # In the parameter's layout, as the optimizer's fused code wants it.
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            else:
                parameter.grad += gradient
