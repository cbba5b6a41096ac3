"""What a network costs: parameters, multiply-adds, memory and time of one image.

Multiply-adds and memory are found on shapes alone (torch's meta device), so they are the same on every machine; networks
that need numbers are run on the CPU for them. Time is measured.
"""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ..nets import channels_of, num_parameters


@dataclass(frozen=True)
class Cost:
    """Of one network and one low-resolution image.

    Attributes:
        name: of the network.
        scale: HR side over LR side.
        parameters: trained numbers.
        macs: multiply-adds of convolutions and matrix products; other arithmetic is not counted, as is usual.
        memory_bytes: largest sum of the tensors that are alive at once, without weights and workspaces, float32.
        seconds: of every timed call, in order; empty where nothing was timed.
    """

    name: str
    scale: int
    parameters: int
    macs: int
    memory_bytes: int
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float | None:
        """The middle of the timed calls."""
        return statistics.median(self.seconds) if self.seconds else None


def cost(
    name: str, open_net: Callable[[torch.device], nn.Module], side_px: int, device: torch.device, repeats: int
) -> Cost:
    """Measure a network on a square image.

    Args:
        name: for the table.
        open_net: makes the network on a device, torch's meta device among them; it has an integer attribute `scale`.
        side_px: of the image, before upscaling.
        device: that is timed.
        repeats: timed calls, after one that is not timed; 0: none.
    """
    shapes, macs, memory_bytes = _counted(open_net, side_px)
    seconds = _timed(open_net(device).eval(), side_px, repeats) if repeats else []
    return Cost(name, int(shapes.scale), num_parameters(shapes), macs, memory_bytes, tuple(seconds))  # type: ignore[arg-type]


@torch.no_grad()
def _counted(open_net: Callable[[torch.device], nn.Module], side_px: int) -> tuple[nn.Module, int, int]:
    """(network, multiply-adds, bytes) of a call."""
    for device in (torch.device("meta"), torch.device("cpu")):
        # The counter of multiply-adds follows modules by their gradients.
        net = open_net(device).eval().requires_grad_(False)
        image = torch.zeros(1, channels_of(net), side_px, side_px, device=device)
        flops, memory = FlopCounterMode(display=False), _Alive()
        try:
            with memory, flops:
                net(image)
        except NotImplementedError:
            continue  # an operation that has no form without numbers
        return net, flops.get_total_flops() // 2, memory.most_bytes
    raise AssertionError("a network runs on the CPU")


@torch.no_grad()
def _timed(net: nn.Module, side_px: int, repeats: int) -> list[float]:
    """Seconds of every call but the first."""
    device = next(net.parameters()).device
    image = torch.rand(1, channels_of(net), side_px, side_px, generator=torch.Generator().manual_seed(0)).to(device)
    seconds = []
    for number in range(repeats + 1):
        begin_s = time.perf_counter()
        net(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number:
            seconds.append(time.perf_counter() - begin_s)
    return seconds


class _Alive(TorchDispatchMode):
    """Follows the memory of the tensors that operations make, each storage once, until its last tensor is gone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most_bytes = 0
        self._bytes = 0
        self._tensors: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, Tensor):
                self._note(tensor)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = int(storage._cdata), storage.nbytes()
        if place not in self._tensors:
            self._tensors[place] = 0
            self._bytes += size
            self.most_bytes = max(self.most_bytes, self._bytes)
        self._tensors[place] += 1
        weakref.finalize(tensor, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._tensors[place] -= 1
        if not self._tensors[place]:
            del self._tensors[place]
            self._bytes -= size


def table(costs: Sequence[Cost], side_px: int) -> list[list[str]]:
    """Rows of text, a heading first."""
    rows = [["network", "scale", "parameters", f"GMAC at {side_px} px", "memory, MB", "ms per image"]]
    for one in costs:
        spent = f"{1e3 * one.median_s:.1f} ({1e3 * min(one.seconds):.1f} at least)" if one.median_s else "-"
        rows.append(
            [one.name, f"x{one.scale}", f"{one.parameters:,}", f"{one.macs / 1e9:.2f}", f"{one.memory_bytes / 1e6:.1f}",
             spent]
        )  # fmt: skip
    return rows
