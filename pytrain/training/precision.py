"""Number format and memory layout of a step, chosen by a short trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..errors import CheckpointError, ConfigError, one_line
from ..settings import PrecisionName

# bf16 must win by this much: far enough from 1 that two trials on a busy machine decide the same, so that two runs of one
# configuration on one machine give the same weights.
REQUIRED_GAIN = 1.3
TRIAL_STEPS = 3


@dataclass(frozen=True)
class Precision:
    """How the nets compute; weights, moments and averages are float32 in every case.

    Attributes:
        name: "fp32", "bf16" or "fp16": what autocast uses for convolutions and matrix products.
        channels_last: whether images and weights lie in memory with the channel innermost.
        reason: one line for people.
        slices: how many slices of a batch are computed side by side; 1: the batch as a whole.
    """

    name: Literal["fp32", "bf16", "fp16"]
    channels_last: bool
    reason: str
    slices: int = 1

    @property
    def layout(self) -> torch.memory_format:
        """torch's name of the layout."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which losses are computed."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16 if self.name == "bf16" else torch.float16)

    @torch.no_grad()
    def arranged(self, net: nn.Module) -> nn.Module:
        """The same module with its 4-D weights in this layout; banks of kernels (5-D) have none and stay as they are."""
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.dim() == 4:
                tensor.data = tensor.data.contiguous(memory_format=self.layout)
        return net

    def image(self, image: Tensor) -> Tensor:
        """An image batch in this layout."""
        return image.contiguous(memory_format=self.layout)

    def batch(self, batch: Batch) -> Batch:
        """A batch whose images that nets read are in this layout."""
        return replace(batch, lr=self.image(batch.lr), target=self.image(batch.target))


PLAIN = Precision("fp32", False, "fp32, as configured")


def precision_from(values: Mapping[str, Any], where: str = "precision") -> Precision:
    """The precision of a record, the inverse of `dataclasses.asdict`.

    Args:
        values: of the record.
        where: the file, for messages.
    Raises:
        CheckpointError: other members than this version writes.
    """
    # States written before this member was renamed go on with the same bits.
    values = {"slices" if name == "crew" else name: value for name, value in values.items()}
    wanted = [member.name for member in fields(Precision)]
    if sorted(values) != sorted(wanted):
        got = ", ".join(sorted(values))
        raise CheckpointError(
            f"{where}: the precision must have {', '.join(wanted)}, got {got}; another version of pytrain wrote it"
        )
    return Precision(**values)


def choose_precision(
    name: PrecisionName, device: torch.device, trial: Callable[[Precision], Callable[[], None]]
) -> Precision:
    """The precision of a configuration.

    Args:
        name: "auto" tries bf16 with channels_last against fp32 and takes it when it is REQUIRED_GAIN times as fast.
        device: of the run.
        trial: precision -> a function that computes one loss and its gradient, on copies of the nets.
    Raises:
        ConfigError: fp16 on a CPU.
    """
    if name == "fp32":
        return PLAIN
    if name == "bf16":
        return Precision("bf16", True, "bf16 with channels_last, as configured")
    if name == "fp16":
        if device.type != "cuda":
            raise ConfigError("train.precision must be fp32, bf16 or auto on a CPU, got 'fp16'")
        return Precision("fp16", True, "fp16 with channels_last and loss scaling, as configured")
    candidate = Precision("bf16", True, "")
    try:
        plain_s, candidate_s = _least_seconds([trial(PLAIN), trial(candidate)], device)
    except RuntimeError as error:
        return Precision("fp32", False, f"fp32: bf16 cannot run here ({one_line(error)})")
    gain = plain_s / candidate_s
    if gain >= REQUIRED_GAIN:
        return Precision("bf16", True, f"bf16 with channels_last: {gain:.1f}x as fast as fp32 in a trial")
    return Precision("fp32", False, f"fp32: bf16 is {gain:.1f}x as fast in a trial, {REQUIRED_GAIN}x is asked for")


def _least_seconds(steps: list[Callable[[], None]], device: torch.device) -> list[float]:
    """Least seconds per step function, interleaved, after one run each to warm up.

    On a CPU seconds of the processor: other programs on the machine must not decide for us.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    least = [float("inf")] * len(steps)
    for turn in range(TRIAL_STEPS + 1):
        for number, step in enumerate(steps):
            _synchronize(device)
            start_s = clock()
            step()
            _synchronize(device)
            if turn:
                least[number] = min(least[number], clock() - start_s)
    return least


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
