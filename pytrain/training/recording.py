"""Work on a GPU that is recorded once and repeated: one launch in place of thousands.

A repetition runs the same kernels on the same memory: what changes from one to the next stands in tensors that were there
while it was recorded. Nothing in it may wait for the GPU or decide by what the GPU has computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from ..config.config import Config, method_name
from ..methods.contract import Method
from .distributed import World

# Launched before a step is recorded: in the first ones torch's libraries choose their kernels and take their memory.
WARM_UP = 3
# Recorded work must move weights to within this share of the way that the same work moves them unrecorded. Kernels that add
# in any order, and bfloat16 after them, differ by far less; a recording that misses something differs by all of it.
MOST_DEVIATION = 0.1


class Recorder(Protocol):
    """What records on a device; tests have one for the CPU."""

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        """A function that repeats what `body` queues. Nothing is computed while it is recorded; no other thread may use the
        device meanwhile."""

    def fetch(self, values: Tensor) -> Callable[[], list[float]]:
        """Copy a vector to the host behind all that is queued; the function that is returned waits for it."""


class CudaRecorder:
    """Records CUDA graphs; those of one recorder share their memory and must not run side by side."""

    def __init__(self, device: torch.device) -> None:
        self._pool: Any = None  # torch's name of the memory
        # Of its own: libraries keep a workspace per stream, which recordings that run side by side must not share.
        self._stream = torch.cuda.Stream(device)

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        # Errors of this thread alone: that of autograd, which queues the backward pass, is another one.
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            body()
        self._pool = graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay

    def fetch(self, values: Tensor) -> Callable[[], list[float]]:
        """See `Recorder`."""
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()

        def wait() -> list[float]:
            arrived.synchronize()
            found: list[float] = host.tolist()
            return found

        return wait


def recorder_for(device: torch.device) -> Recorder | None:
    """What records on a device; None on a CPU, where launches cost nothing."""
    return CudaRecorder(device) if device.type == "cuda" else None


def can_be_recorded(optimizer: torch.optim.Optimizer) -> bool:
    """Whether all that a step of the optimizer reads and writes is on the device: true of torch's fused kernels."""
    return all(group.get("fused") and isinstance(group["lr"], Tensor) for group in optimizer.param_groups)


@contextmanager
def recordable(optimizers: Iterable[torch.optim.Optimizer]) -> Iterator[None]:
    """torch records the step of an optimizer only where it says so; fused kernels compute the same either way."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, was in zip(groups, before):
            group["capturable"] = was


def deviation(start: list[Tensor], expected: list[Tensor], found: list[Tensor]) -> float:
    """How far apart two ends of a way are, as a share of the way; 0 for equal ends, infinite where one is not finite."""
    apart = sum(float((one - other).double().square().sum()) for one, other in zip(expected, found))
    moved = sum(float((one - other).double().square().sum()) for one, other in zip(expected, start))
    if apart == 0:
        return 0.0
    return (apart / moved) ** 0.5 if moved > 0 and apart < float("inf") else float("inf")


def why_launched(config: Config, method: Method, world: World) -> str:
    """Why no step of a run can be recorded, in one line; "" where it can be."""
    train = config.train
    reasons = {
        f"the losses of method {method_name(config.method)} depend on more than their batch": (
            method.recorded_as(0) is None
        ),
        f"optimizer.type {config.optimizer.type} counts its steps on the host": config.optimizer.type == "lamb",
        "train.skip_above looks at every loss": train.skip_above > 0,
        "train.precision fp16 scales losses by what it finds": train.precision == "fp16",
        "train.compile has graphs of its own": train.compile != "off",
        "gradients are averaged over processes": world.size > 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
