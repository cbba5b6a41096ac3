"""How much memory a training step takes, found without computing one: shapes alone are run, on torch's meta device."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..config.config import Config
from ..data.batch import Batch
from ..methods.contract import Method
from ..nets import image_channels


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one training process, without torch itself, its workspaces and the cache of decoded images.

    Attributes:
        weights, gradients, moments, averages: of all nets, float32.
        activations: what the largest phase keeps for its backward pass, in float32; None where a network cannot be run
            on shapes alone. bf16 and fp16 take about half.
        slice_images: images that are in memory at once (the batch, cut by `train.accumulate`).
    """

    weights: int
    gradients: int
    moments: int
    averages: int
    activations: int | None
    slice_images: int

    @property
    def total(self) -> int:
        """All that is known."""
        return self.weights + self.gradients + self.moments + self.averages + (self.activations or 0)

    def describe(self) -> str:
        """One line for people."""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "moments": self.moments,
            "average": self.averages,
        }
        text = ", ".join(f"{name} {size_text(size)}" for name, size in parts.items() if size)
        images = f"{self.slice_images} image{'s' * (self.slice_images > 1)} at once"
        if self.activations is None:
            return f"at least {size_text(self.total)}: {text}; activations of this network are not known"
        return f"about {size_text(self.total)}: {text}, activations {size_text(self.activations)} ({images}, fp32)"


def size_text(size_bytes: float) -> str:
    """`"1.2 GB"`, with decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes / 1e3:.0f} kB"


def estimate(config: Config, method: Method, nets: Mapping[str, nn.Module], processes: int = 1) -> MemoryEstimate:
    """What a step of a configuration takes.

    Args:
        config: the run.
        method: of the run.
        nets: its networks, anywhere; they are not changed.
        processes: that share the batch.
    """
    trained_names = {name for phase in method.phases for name in phase.trains}
    weights = {name: _bytes(net) for name, net in nets.items()}
    trained = sum(weights[name] for name in trained_names)
    averages = sum(weights[name] for name in method.averaged) if config.train.ema_decay else 0
    slice_images = -(-config.data.batch // processes // config.train.accumulate)
    try:
        activations: int | None = _activations(config, method, nets, slice_images)
    except Exception:
        # Networks of others (spandrel) may do what only real tensors can.
        activations = None
    return MemoryEstimate(sum(weights.values()), trained, 2 * trained, averages, activations, slice_images)


def _bytes(net: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*net.parameters(), *net.buffers()))


def _activations(config: Config, method: Method, nets: Mapping[str, nn.Module], images: int) -> int:
    """Bytes that autograd keeps between forward and backward, of the phase that keeps most."""
    shapes = {name: copy.deepcopy(net).to("meta") for name, net in nets.items()}
    indices = np.arange(images, dtype=np.int64)
    # The last step of a run: every loss that starts later than the others has started.
    step = config.run.steps - 1
    tasks = method.select(step, indices)
    crop_px = method.hr_side_px(step) or config.data.crop_px
    scale = int(config.net.scale) if tasks is None else tasks.space.scale
    channels = image_channels(config.net)
    hr = torch.empty(images, channels, crop_px, crop_px, device="meta")
    lr = torch.empty(images, channels, crop_px // scale, crop_px // scale, device="meta")
    extra = {name: lr if name.startswith("lr") else hr for name in method.images if name not in ("hr", "lr")}
    if tasks is not None:
        extra |= {name: label.to("meta") for name, label in method.labels(step, tasks).items()}
    batch = Batch(indices, lr, hr, hr, tasks, extra)
    with torch.no_grad():
        batch = method.prepare(shapes, batch, step)
    largest = 0
    for phase in method.phases:
        trained = set(phase.trains)
        for name, net in shapes.items():
            net.requires_grad_(name in trained)
        kept = _Kept([tensor for net in shapes.values() for tensor in (*net.parameters(), *net.buffers())])
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
            terms = phase.loss(shapes, batch, step)
        batch = batch.with_extra(terms.kept)
        largest = max(largest, kept.total_bytes)
    return largest


class _Kept:
    """Adds up the memory of tensors that a graph keeps, each once, without the weights."""

    def __init__(self, weights: list[Tensor]) -> None:
        self.total_bytes = 0
        self._alive = list(weights)
        self._seen = {_storage(tensor) for tensor in weights}

    def pack(self, tensor: Tensor) -> Tensor:
        if _storage(tensor) not in self._seen:
            self._seen.add(_storage(tensor))
            self._alive.append(tensor)  # or its place could be taken by another one
            self.total_bytes += tensor.untyped_storage().nbytes()
        return tensor


def _storage(tensor: Tensor) -> int:
    # Tensors of the meta device have no address; the storage object has.
    return int(tensor.untyped_storage()._cdata)


def available_bytes(device: torch.device) -> int | None:
    """Memory that is free on a CUDA device, or the machine's whole memory; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
