"""Method `psnr`: one network, one pixel loss, on pairs from disk or degraded on the fly. The classical setting."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pydegrade import TaskBatch, sample

from ..data.batch import Batch
from ..options import option, options, require, type_name
from .contract import Method, Nets, Phase, Setup, Terms
from .parts import PIXEL_LOSSES, PixelLossName, PixelOptions, further_terms, load_space


@options("method")
class PsnrOptions(PixelOptions):
    """Options of method `psnr`."""

    type: Literal["psnr"] = type_name("psnr")
    space: str = option(
        "auto", "preset or TOML file; auto: bicubic-x<scale> (MATLAB); none: pairs from data.lr", path="toml"
    )
    loss: PixelLossName = option("l1", "what is minimised between output and target")

    def __post_init__(self) -> None:
        require(bool(self.space), "method.space", "a preset, a TOML file, auto or none", self.space)


class PsnrMethod(Method):
    """Minimises one pixel loss; see `PsnrOptions`."""

    def __init__(self, config: PsnrOptions, setup: Setup) -> None:
        self.setup = setup
        name = f"bicubic-x{setup.scale}" if config.space == "auto" else config.space
        self.space = None if name == "none" else load_space(name, setup.scale)
        self.images = ("hr", "lr") if self.space is None else ("hr",)
        self.mixes_pairs = self.space is not None
        self.config: PixelOptions = config
        self.pixel_loss = PIXEL_LOSSES[config.loss]
        self.phases = (Phase("generator", ("generator",), self.loss),)

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch | None:
        """One task per sample number, or None for pairs from disk."""
        return None if self.space is None else sample(self.space, self.setup.seed, indices, step)

    def recorded_as(self, step: int) -> Hashable:
        """All steps are alike."""
        return "psnr"

    def loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """The pixel loss between output and target, and the terms beside it."""
        sr = nets["generator"](batch.lr)
        terms: dict[str, Tensor] = {self.config.loss: self.pixel_loss(sr, batch.target)}
        return Terms({**terms, **further_terms(self.config, sr, batch.target)})
