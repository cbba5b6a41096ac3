"""The contract between a method and the loop.

A method says what a step learns from and what it minimises; the loop owns devices, precision, optimizers, accumulation,
averages of weights, checkpoints, logs and processes. Everything here is a value or a pure function of values: the step
number is the only state of a run besides weights and moments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pydegrade import TaskBatch

from ..data.batch import NO_EXTRA, Batch
from ..nets import build

Nets = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Setup:
    """Facts of the run that every method gets.

    Attributes:
        net: configuration of the network that is trained, one of the dataclasses in `pytrain.nets.NETS`.
        seed: of the run: tasks, crops and fresh weights follow from it.
        crop_px: side of the HR crops.
        batch: images of one optimizer step, over all processes.
        steps: length of the run.
        pretrained: model file that the trained network starts from; "" for fresh weights.
        partial: whether that file may be of other sizes, see `train.partial`.
    """

    net: Any
    seed: int
    crop_px: int
    batch: int
    steps: int
    pretrained: str = ""
    partial: bool = False

    @property
    def scale(self) -> int:
        """The factor of the network."""
        return int(self.net.scale)


@dataclass(frozen=True)
class Terms:
    """What a phase's loss function returns.

    Attributes:
        losses: weighted terms by name, scalars with gradient; their sum is minimised, each is logged.
        shown: further scalars for the log only, without gradient.
        kept: tensors (first dimension B, without gradient) that later phases of the same step find in `batch.extra`.
    """

    losses: Mapping[str, Tensor]
    shown: Mapping[str, Tensor] = field(default_factory=lambda: NO_EXTRA)
    kept: Mapping[str, Tensor] = field(default_factory=lambda: NO_EXTRA)


LossFunction = Callable[[Nets, Batch, int], Terms]


@dataclass(frozen=True)
class Phase:
    """One descent within a step: one optimizer, one loss.

    Attributes:
        name: names the optimizer in checkpoints, logs and `optimizer.learning_rates`.
        trains: names of the nets whose weights it moves; all others are frozen (`requires_grad` off) while it runs, but
            gradients flow through them.
        loss: (nets, batch, step) -> Terms. Pure: the same arguments give the same terms. Called under autocast when the
            precision asks for it, once per slice of an accumulated batch, on a CPU from several threads at once; must be
            a mean over the images it is given.
    """

    name: str
    trains: tuple[str, ...]
    loss: LossFunction


class Method:
    """What `pytrain.methods.registry.METHODS[name].build(config, setup)` returns. Holds values, no changing state.

    A method derives from this class, sets `phases`, and writes over what differs from the defaults here: one network, the
    generator, that learns from clean crops which the method degrades.

    Attributes:
        setup: facts of the run; set by every method's `__init__`.
        phases: run in this order in every step; at least one.
        images: names of the images that the data must supply per sample: ("hr",) for degradation on the fly, ("hr",
            "lr") for pairs from disk; ECO's pairs have four.
        averaged: names of the nets of which a moving average is kept (where the configuration asks for one); the first is
            the model that is evaluated and published.
        group_rows: the loss compares samples of a group, which are as many consecutive sample numbers: batches are cut
            between groups only, and never computed by several threads at once. 1: samples do not know each other.
        mixes_pairs: a share of the samples may be real pairs, whose LR image no task has made: nothing but the LR image
            depends on the tasks then, no label and no loss.
        ranked_by_psnr: whether the higher PSNR is the better model. A perceptual or a GAN loss lowers PSNR on purpose: then
            no best model is kept unless `checkpoint.keep_best` names a score.
    """

    setup: Setup
    phases: tuple[Phase, ...]
    images: tuple[str, ...] = ("hr",)
    averaged: tuple[str, ...] = ("generator",)
    group_rows: int = 1
    mixes_pairs: bool = False
    ranked_by_psnr: bool = True

    def nets(self) -> dict[str, nn.Module]:
        """Fresh networks by name, on the CPU, float32; weights are drawn from torch's global generator, which the loop
        has seeded. Nets that no phase trains (a teacher, a feature extractor) belong here too, in evaluation mode."""
        return {"generator": build(self.setup.net)}

    def configs(self) -> Mapping[str, Any]:
        """Configuration of every net that has a file format of its own (the generator, a discriminator), by name."""
        return {"generator": self.setup.net}

    def pretrained(self) -> Mapping[str, str]:
        """Model files that nets other than the generator start from, by name: of "x" by `method.x_pretrained`."""
        return {}

    def model_metadata(self) -> Mapping[str, Any]:
        """Further JSON values of the model files: what whoever uses the model must know of its training."""
        return {}

    def hr_side_px(self, step: int) -> int | None:
        """The step learns from the top left square of this side of every HR crop; None: from all of it. For tasks of
        different scale that share one size of the network's input."""
        return None

    def recorded_as(self, step: int) -> Hashable | None:
        """What the losses of a step depend on besides nets and the batch's tensors; None: on more than can be said.

        On CUDA steps of one answer are one recording that is repeated (a CUDA graph): the step's number, `batch.indices`,
        `batch.tasks` and whatever Python decides are those of the step that was recorded. Without a promise to the
        contrary every step is launched by itself.
        """
        return None

    def labels(self, step: int, tasks: TaskBatch) -> Mapping[str, Tensor]:
        """What `batch.extra` gets from the tasks alone: tensors on the CPU, first dimension B. On CUDA they are made and
        copied while the step before runs."""
        return NO_EXTRA

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch | None:
        """The degradation of every sample, or None where the data supplies `lr`."""
        raise NotImplementedError(f"{type(self).__name__}.select")

    def prepare(self, nets: Nets, batch: Batch, step: int) -> Batch:
        """The batch as the phases see it: blended targets, labels. Without gradient, in float32, once per step."""
        return batch


def frozen(values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same tensors cut from their gradients, read-only: for `Terms.shown` and `Terms.kept`."""
    return MappingProxyType({name: value.detach() for name, value in values.items()})
