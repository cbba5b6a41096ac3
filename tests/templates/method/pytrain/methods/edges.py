"""Method `edges`: a pixel loss that counts what lies at edges more."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pydegrade import TaskBatch, sample

from ..data.batch import Batch
from ..options import option, options, type_name
from .contract import Method, Nets, Phase, Setup, Terms
from .parts import load_space


@options("method")
class EdgesOptions:
    """Options of method `edges`."""

    type: Literal["edges"] = type_name("edges")
    space: str = option("auto", "preset or TOML file; auto: bicubic-x<scale>", path="toml")
    edge_weight: float = option(1.0, "of a full step between neighbours, beside the 1 of every pixel", ge=0)


class EdgesMethod(Method):
    """Minimises an L1 loss with a weight per pixel; see `EdgesOptions`."""

    def __init__(self, config: EdgesOptions, setup: Setup) -> None:
        self.setup = setup
        self.edge_weight = config.edge_weight
        self.space = load_space(f"bicubic-x{setup.scale}" if config.space == "auto" else config.space, setup.scale)
        self.phases = (Phase("generator", ("generator",), self.loss),)

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch:
        """One task per sample number."""
        return sample(self.space, self.setup.seed, indices, step)

    def loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """The weighted mean of the absolute differences."""
        difference = (nets["generator"](batch.lr) - batch.target).abs()
        return Terms({"edges": (difference * (1 + self.edge_weight * _edges(batch.target))).mean()})


def _edges(image_BCHW: Tensor) -> Tensor:
    """Absolute difference of every pixel to the one on its left, 0 in the first column."""
    edges = image_BCHW.diff(dim=-1, prepend=image_BCHW[..., :1])
    return edges.abs()
