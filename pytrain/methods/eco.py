"""Method `eco`: noise-free pairs first, real pairs last (AAAI 2024, arXiv:2312.17526).

A clean image y = E[y | x] + noise, and the noise cannot be learned from x. Early steps therefore learn from a teacher's
output and that output made small again, a pair without noise; a(step) rises from 0 to 1 and mixes in the real pair:

    input  = (1 - a) lr_pretrained + a lr
    target = (1 - a) sr_pretrained + a hr

With `mix = "vanilla"`, a = 1 throughout: the baseline on the same data. With `unit = "sample"`, a is the chance that a
sample is the real pair, and nothing is blended.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import pydegrade
from pydegrade import TaskBatch

from ..data.batch import Batch
from ..errors import CheckpointError, ConfigError, of_option
from ..files.checkpoint import load_model
from ..nets import build
from ..options import option, options, type_name
from .contract import Method, Nets, Phase, Setup, Terms
from .pairs import Recipe, check_manifest, read_manifest, weights_sha256
from .parts import PIXEL_LOSSES, PixelLossName, load_space

Mix = Literal["sigmoid", "linear", "vanilla"]


@options("method")
class EcoOptions:
    """Options of method `eco`."""

    type: Literal["eco"] = type_name("eco")
    mix: Mix = option("sigmoid", "a(step): sigmoid as released, linear as in its README, or vanilla: 1 throughout")
    unit: Literal["batch", "sample"] = option(
        "batch",
        "what a(step) decides: batch: every pair is a blend with this weight; sample: each pair is the real one with this "
        "chance, else the one without noise",
    )
    mix_shift: float = option(0.0, "sigmoid: delay of the real pair, in tenths of the run")
    pairs: Literal["disk", "live"] = option(
        "disk", "disk: four sets made by `degrade pairs`; live: the teacher runs here"
    )
    manifest: str = option("", "disk: manifest.json of the pairs", path=True)
    teacher: str = option("", "model file of the frozen teacher; live: required; disk: checked when given", path=True)
    space: str = option("auto", "live: preset or TOML file that makes lr; auto: bicubic-x<scale>", path="toml")
    recipe: Recipe = option("uint8", "how lr was made: uint8 (MATLAB on 8-bit images) or im2double")
    loss: PixelLossName = option("l1", "what is minimised between output and target")
    loss_scale: float = option(1.0, "factor of the loss; ECO's release has 255, which clip_value = 0.1 refers to", gt=0)

    def __post_init__(self) -> None:
        if self.pairs == "live" and not self.teacher:
            raise ConfigError("method.teacher must name a model file where method.pairs = 'live', got ''")
        if self.pairs == "live" and self.recipe != "uint8":
            raise ConfigError(f"method.recipe must be 'uint8' where method.pairs = 'live', got {self.recipe!r}")
        if self.pairs == "disk" and self.space != "auto":
            raise ConfigError(f"method.space must be 'auto' where method.pairs = 'disk', got {self.space!r}")
        if self.pairs == "disk" and not self.manifest:
            raise ConfigError(
                "method.manifest must name the manifest.json of the pairs (degrade pairs writes it), got ''"
            )


def real_share(mix: Mix, progress: float, shift: float = 0.0) -> float:
    """a: the weight of the real pair.

    Args:
        mix: "linear": a = t; "sigmoid": a = 1/2 + clip(1.2 (sigmoid(10 t - 5 - shift) - 1/2), -1/2, 1/2), which is 0 up to
            t = 0.26 and 1 from t = 0.74; "vanilla": 1.
        progress: t, finished share of the run, in [0, 1].
        shift: of the sigmoid.
    """
    if mix == "vanilla":
        return 1.0
    if mix == "linear":
        return progress
    rise = 1 / (1 + math.exp(-(10 * progress - 5 - shift)))
    return 0.5 + min(0.5, max(-0.5, 1.2 * (rise - 0.5)))


class EcoMethod(Method):
    """One network, one pixel loss, on blended pairs; see `EcoOptions`."""

    def __init__(self, config: EcoOptions, setup: Setup) -> None:
        self.config = config
        self.setup = setup
        self.phases = (Phase("generator", ("generator",), self.loss),)
        self.pixel_loss = PIXEL_LOSSES[config.loss]
        live = config.pairs == "live"
        self.images = ("hr",) if live else ("hr", "lr", "sr_pretrained", "lr_pretrained")
        space = f"bicubic-x{setup.scale}" if config.space == "auto" else config.space
        self.space = load_space(space, setup.scale) if live else None

    def nets(self) -> dict[str, nn.Module]:
        """The student and, for live pairs, the frozen teacher.

        Raises:
            DataError: pairs of another scale, recipe or teacher.
            CheckpointError: a teacher of another scale, or one that the student starts from.
        """
        config, setup = self.config, self.setup
        # A file that fits in part is a network of its own sizes.
        own = None if setup.partial else setup.net
        with of_option("train.pretrained"):
            student = load_model(setup.pretrained, config=own).net if setup.pretrained else None
        student_sha256 = None if student is None else weights_sha256(student)
        with of_option("method.teacher"):
            teacher = load_model(config.teacher, scale=setup.scale).net if config.teacher else None
        teacher_sha256 = None if teacher is None else weights_sha256(teacher)
        nets = {"generator": build(setup.net)}
        if config.pairs == "disk":
            manifest = read_manifest(Path(config.manifest))
            check_manifest(manifest, setup.scale, config.recipe, teacher_sha256, student_sha256, config.manifest)
            return nets
        if student_sha256 == teacher_sha256:
            raise CheckpointError(
                f"method.teacher: {config.teacher} must not be what the student starts from; ECO learns nothing then"
            )
        assert teacher is not None
        return {**nets, "teacher": teacher.eval().requires_grad_(False)}

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch | None:
        """The degradation of live pairs, MATLAB's bicubic unless configured; None for pairs from disk."""
        return None if self.space is None else pydegrade.sample(self.space, self.setup.seed, indices, step)

    def prepare(self, nets: Nets, batch: Batch, step: int) -> Batch:
        """The blended pair of this step."""
        share = real_share(self.config.mix, step / self.setup.steps, self.config.mix_shift)
        if share == 1.0:
            return batch
        if self.space is None:
            sr, lr = batch.extra["sr_pretrained"], batch.extra["lr_pretrained"]
        else:
            sr = nets["teacher"](batch.lr).float().clamp(0, 1).mul(255).add(0.5).floor().div(255)
            # What made lr of hr makes it of the teacher's output too, with the same noise.
            assert batch.tasks is not None
            lr = pydegrade.degrade(sr.contiguous(), batch.tasks)
        weight = self._weight(batch, share)
        return replace(batch, lr=_blend(lr, batch.lr, weight), target=_blend(sr, batch.target, weight))

    def _weight(self, batch: Batch, share: float) -> Tensor | float:
        """Of the real pair: the share itself, or 1 for a share of the samples and 0 for the others, [B, 1, 1, 1]."""
        if self.config.unit == "batch":
            return share
        is_real = pydegrade.named_uniform(self.setup.seed, batch.indices, "eco.real") < share
        return torch.from_numpy(is_real).to(batch.lr)[:, None, None, None]

    def loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """The pixel loss between output and blended target; the share of the real pair is shown."""
        value = self.config.loss_scale * self.pixel_loss(nets["generator"](batch.lr), batch.target)
        share = real_share(self.config.mix, step / self.setup.steps, self.config.mix_shift)
        return Terms({self.config.loss: value}, shown={"real_share": torch.tensor(share, device=value.device)})


def _blend(pretrained: Tensor, real: Tensor, weight: Tensor | float) -> Tensor:
    return torch.lerp(pretrained, real, weight).clamp(0, 1)
