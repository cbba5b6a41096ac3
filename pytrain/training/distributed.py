"""Several processes as one run: started by torchrun, joined here, gradients averaged after each backward pass.

Gradients are averaged in one flat all-reduce per phase instead of through DistributedDataParallel: a phase may run a net
several times, differentiate through an update or leave a net out, and every process must skip the same bad steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import ConfigError
from ..settings import DeviceName


@dataclass(frozen=True)
class World:
    """This process among the processes of a run.

    Attributes:
        rank: number of this process, 0 is the one that writes files.
        size: number of processes.
        local_size: number of processes on this machine.
        device: where this process computes.
    """

    rank: int
    size: int
    local_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Every gradient becomes its mean over all processes. Parameters without one must be the same ones everywhere."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(gradient) for part, gradient in zip(parts, gradients)])

    def mean(self, values: Tensor) -> Tensor:
        """Elementwise mean over all processes."""
        if self.size > 1:
            values = values.to(self.device, copy=True)
            dist.all_reduce(values)
            values /= self.size
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes)

    def from_main(self, text: str) -> str:
        """The main process' text, in every process."""
        if self.size == 1:
            return text
        box = [text]
        dist.broadcast_object_list(box, src=0, device=self.device if self.device.type == "cuda" else None)
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """The small plain value of every process, in every process, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


def choose_device(name: DeviceName, local_rank: int = 0) -> torch.device:
    """The device of a configuration; "auto" takes CUDA where torch finds a device.

    Raises:
        ConfigError: "cuda" without a CUDA device, or more processes than devices.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not found):
        return torch.device("cpu")
    if not found:
        raise ConfigError("run.device must be 'cpu' or 'auto' here, got 'cuda': torch finds no CUDA device")
    if local_rank >= found:
        raise ConfigError(f"torchrun: --nproc-per-node must be at most {found}, the number of CUDA devices")
    return torch.device("cuda", local_rank)


@contextmanager
def join(device_name: DeviceName) -> Iterator[World]:
    """Join the processes that torchrun started; a plain process is a world of its own."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = choose_device(device_name, local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1:
        yield World(0, 1, 1, device)
        return
    if dist.is_initialized():
        raise ConfigError("torchrun: a process group exists already; call pytrain once per process")
    # Others wait while one process evaluates or scores its last tasks. One that dies is noticed by torchrun.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=1))
    try:
        yield World(rank, size, local_size, device)
    finally:
        dist.destroy_process_group()
