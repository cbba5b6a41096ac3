"""Method `ipt`: one transformer learns many restoration tasks, then is fine-tuned on one (CVPR 2021, arXiv:2012.00364).

Every step has one task, drawn from the step's number. Its clean crops are `patch_px` times its scale wide, so that the
network's input always has the one size that it knows; the loss is L1 plus a contrastive term, which asks that tokens of
one image be more alike than tokens of different images.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pydegrade import Space, TaskBatch, sample

from .. import nets as networks
from ..data.batch import Batch
from ..errors import ConfigError, nearest
from ..options import option, options, require, type_name
from . import losses
from .contract import Method, Nets, Phase, Setup, Terms
from .parts import PIXEL_LOSSES, PixelLossName, drawn_for_step, load_space

Contrastive = Literal["paper", "released", "off"]


@options("method")
class IptOptions:
    """Options of method `ipt`."""

    type: Literal["ipt"] = type_name("ipt")
    finetune: str = option("", "the one task of net.tasks to train on; empty: all, one drawn per step")
    spaces: dict[str, str] = option({}, "preset or TOML file of tasks whose name does not say it", path="toml")
    loss: PixelLossName = option("l1", "what is minimised between output and target")
    loss_scale: float = option(255.0, "factor of the pixel loss; published: images in 0 to 255", gt=0)
    contrastive: Contrastive = option("paper", "form of the contrastive term; fine-tuning has none")
    contrastive_weight: float = option(0.1, "of the contrastive term", ge=0)
    contrastive_images: int = option(
        0, "images compared with each other, a divisor of data.batch; 0: all of a step", ge=0
    )
    contrastive_tokens: int = option(64, "tokens per image that are compared, spread evenly; 0: all", ge=0)

    def __post_init__(self) -> None:
        compared = self.contrastive_images
        require(compared != 1, "method.contrastive_images", "0 or >= 2", compared)


def space_name(task: str) -> str | None:
    """The preset that a task's name means, None for other names.

    "sr-xS" is MATLAB's bicubic, "denoise-30" and "denoise-50" are Gaussian noise of that deviation in 8-bit steps,
    "derain" is our own light rain.
    """
    if re.fullmatch(r"sr-x[234]", task):
        return f"bicubic-{task.removeprefix('sr-')}"
    named = {"denoise-30": "ipt-denoise-30", "denoise-50": "ipt-denoise-50", "derain": "ipt-derain-light"}
    return named.get(task)


class IptMethod(Method):
    """One network, one task per step; see `IptOptions`.

    Heads and tails of the other tasks get no gradient, and Adam passes over them. The queries of all tasks are one tensor,
    as in the release: rows of other tasks have gradient zero, so moments of earlier steps may still move them.
    """

    def __init__(self, config: IptOptions, setup: Setup) -> None:
        self.config = config
        self.setup = setup
        net = setup.net
        if not isinstance(net, networks.IPTConfig):
            raise ConfigError(f"net.type must be 'ipt' for method ipt, got {net.type!r}")
        if config.finetune and config.finetune not in net.tasks:
            raise ConfigError(
                f"method.finetune must be one of net.tasks ({', '.join(net.tasks)}), got {config.finetune!r}"
                f"{nearest(config.finetune, net.tasks)}"
            )
        self.tasks = (config.finetune,) if config.finetune else net.tasks
        self.scales = dict(zip(net.tasks, net.scales))
        largest_px = net.patch_px * max(self.scales[task] for task in self.tasks)
        if setup.crop_px != largest_px:
            raise ConfigError(
                f"data.crop_px must be net.patch_px times the largest scale that is trained, {largest_px}, "
                f"got {setup.crop_px}"
            )
        self.spaces = {task: self._space(task) for task in self.tasks}
        self.pixel_loss = PIXEL_LOSSES[config.loss]
        self.compared = 0
        if config.contrastive != "off" and config.contrastive_weight > 0 and not config.finetune:
            self.compared = config.contrastive_images or setup.batch
            if setup.batch % self.compared or setup.batch < 2:
                must = f"a divisor of data.batch {setup.batch}, at least 2"
                raise ConfigError(f"method.contrastive_images must be {must}, got {self.compared}")
        # Batches are cut between sets of images that are compared with each other.
        self.group_rows = max(1, self.compared)
        self.phases = (Phase("generator", ("generator",), self.loss),)

    def _space(self, task: str) -> Space:
        name = self.config.spaces.get(task) or space_name(task)
        if name is None:
            raise ConfigError(
                f"net.tasks: {task!r} names no degradation (sr-x2, sr-x3, sr-x4, denoise-30, denoise-50, derain do); "
                f"give it one: method.spaces = {{ {task} = ... }}"
            )
        return load_space(name, self.scales[task], f"method.spaces.{task}")

    def task_of(self, step: int) -> str:
        """The task of a step."""
        return drawn_for_step(self.setup.seed, step, "ipt.task", self.tasks)

    def hr_side_px(self, step: int) -> int:
        """Clean crops of this side give inputs of `patch_px`."""
        return int(self.setup.net.patch_px) * self.scales[self.task_of(step)]

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch:
        """One degradation per sample, all of the step's task."""
        return sample(self.spaces[self.task_of(step)], self.setup.seed, indices, step)

    def recorded_as(self, step: int) -> Hashable:
        """The task: each has its own head and tail."""
        return self.task_of(step)

    def loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """Pixel loss and, in pretraining, the contrastive term; only the task's head, query and tail take part."""
        config = self.config
        out, tokens_BNE = nets["generator"](batch.lr, self.task_of(step), with_tokens=True)
        terms: dict[str, Tensor] = {config.loss: config.loss_scale * self.pixel_loss(out, batch.target)}
        if self.compared:
            terms["contrastive"] = config.contrastive_weight * self._contrastive(tokens_BNE)
        return Terms(terms)

    def _contrastive(self, tokens_BNE: Tensor) -> Tensor:
        """The mean over sets of images that are compared with each other."""
        if len(tokens_BNE) % self.compared:
            raise ConfigError(
                f"ipt: a part of a batch must be sets of {self.compared} images, which are compared with each other, got "
                f"{len(tokens_BNE)}"
            )
        count = self.config.contrastive_tokens
        if 0 < count < tokens_BNE.shape[1]:
            chosen = torch.arange(count, device=tokens_BNE.device) * tokens_BNE.shape[1] // count
            tokens_BNE = tokens_BNE[:, chosen]
        kind = cast(losses.ContrastiveKind, self.config.contrastive)
        sets = tokens_BNE.split(self.compared)
        return torch.stack([losses.contrastive(tokens, kind) for tokens in sets]).mean()


__all__ = ["IptMethod", "IptOptions", "space_name"]
