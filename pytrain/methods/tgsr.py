"""Method `tgsr`: training on groups of tasks that the network does not master, next to the whole space.

Each image draws a group uniformly, G0 (a fresh draw from the whole space) among them, then a task uniformly within the
group; small groups are seen often per task. The losses are those of `realesrnet`, or with `stage = "realesrgan"` those of
that method. The groups come from `pytrain group`, which reads `[method.grouping]` of the same configuration.

Source: Zhang et al. 2023, "Real-World Image Super-Resolution as Multi-Task Learning", NeurIPS, section 4. The authors'
release has neither grouping nor training.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pydegrade import TaskBatch, named_uniform, sample

from ..data.batch import Batch
from ..data.source import MOST_CROP_PX, MOST_IMAGES
from ..errors import ConfigError, DataError
from ..nets import config_to_dict
from ..options import Texts, option, options, require, type_name
from ..settings import MOST_STEPS
from .contract import Method, Nets, Setup
from .groups import Groups, network_digest, read_groups
from .parts import PixelOptions, load_space
from .realesrgan import GanOptions, RealesrganMethod, RealesrganOptions, RealesrnetMethod, RealesrnetOptions

IndicatorName = Literal["auto", "full", "steps", "halving", "gradient", "last_layer", "surrogate"]


@options("method.grouping")
class GroupingOptions:
    """How `pytrain group` finds the groups; defaults as published, what is ours says so."""

    tasks: int = option(4000, "how many tasks are drawn and scored", ge=2, le=10**7)
    seed: int = option(0, "of the tasks, of the crops they are scored on and of the joint fine-tuning", ge=0, lt=2**62)
    indicator: IndicatorName = option("auto", "how tasks are scored; auto: see docs/tgsr.md")
    iterations: int = option(100, "steps of fine-tuning per task", ge=1, le=MOST_STEPS)
    average: int = option(10, "the score is the mean gain after each of the last so many steps", ge=1, le=MOST_STEPS)
    batch: int = option(0, "images per step of scoring; 0: data.batch", ge=0, le=MOST_IMAGES)
    crop_px: int = option(0, "side of the HR crops of scoring; 0: data.crop_px", "px", ge=0, le=MOST_CROP_PX)
    learning_rate: float = option(0.0, "of scoring and joint fine-tuning, constant; 0: optimizer.learning_rate", ge=0)
    validation_hr: Texts = option(
        (), "images that gains are measured on, a folder or files; empty: photographs of scikit-image", path=True
    )
    validation_crops: int = option(8, "how many crops of them, the same ones for every task", ge=1, le=MOST_IMAGES)
    validation_px: int = option(128, "side of these crops", "px", ge=1, le=MOST_CROP_PX)
    share: float = option(
        0.4, "share of the tasks, those with the largest gain, that is called unsatisfactory", gt=0, lt=1
    )
    joint_steps: int = option(10_000, "steps of the fine-tuning on all unsatisfactory tasks", ge=1, le=MOST_STEPS)
    thresholds_db: tuple[float, ...] = option((0.8, 0.6, 0.4, 0.2), "least improvement of groups G1, G2, ...", "dB")
    shares: tuple[float, ...] = option(
        (), "instead of thresholds: share of the unsatisfactory tasks that goes to G1, G2, ..., by falling improvement"
    )
    regroup: bool = option(
        True, "after each group is taken out, fine-tune again on the rest, as published; false: one fine-tuning for all"
    )
    workers: int = option(
        0, "scoring processes of one thread each, on a GPU replicas; 0: one per core, 2 on a GPU", ge=0, le=1024
    )

    def __post_init__(self) -> None:
        where = "method.grouping"
        require(self.average <= self.iterations, f"{where}.average", "at most iterations", self.average)
        falling = list(self.thresholds_db) == sorted(set(self.thresholds_db), reverse=True)
        require(bool(self.thresholds_db) and falling, f"{where}.thresholds_db", "strictly falling", self.thresholds_db)
        shares_fit = all(0 < share <= 1 for share in self.shares) and sum(self.shares) <= 1 + 1e-9
        require(shares_fit, f"{where}.shares", "positive with a sum of at most 1", self.shares)


@options("method")
class TgsrOptions(GanOptions):
    """Options of method `tgsr`: those of `realesrgan`, which count with `stage = "realesrgan"`, and its own."""

    type: Literal["tgsr"] = type_name("tgsr")
    stage: Literal["realesrnet", "realesrgan"] = option(
        "realesrnet", "whose losses: the pixel loss alone, or with perceptual and GAN loss, as published"
    )
    groups: str = option(
        "",
        "the groups file: `pytrain group` writes it, with its other stages next to it, and training reads it",
        path=True,
    )
    whole_space: bool = option(True, "whether G0, fresh draws from the whole space, is one of the groups")
    whole_share: float = option(
        0.0,
        "share of the samples that G0 gets, so that training forgets less; 0: as many as each group, as published",
        ge=0,
        lt=1,
    )
    network: Literal["same", "any"] = option(
        "same", "same: training begins with the weights on which the groups were found; any: it need not"
    )
    grouping: GroupingOptions = option(GroupingOptions(), "how `pytrain group` finds the groups")

    def __post_init__(self) -> None:
        allowed = self.whole_space or self.whole_share == 0
        require(allowed, "method.whole_share", "0 where method.whole_space is false", self.whole_share)
        if self.stage == "realesrgan":
            self.check_files()


class TgsrMethod(Method):
    """The base method on tasks of groups; see `TgsrOptions`."""

    def __init__(self, config: TgsrOptions, setup: Setup) -> None:
        name = f"realesrgan-x{setup.scale}" if config.space == "auto" else config.space
        self.space = load_space(name, setup.scale)
        self.base = _base_method(config, setup)
        self.phases = self.base.phases
        self.ranked_by_psnr = self.base.ranked_by_psnr
        self.config = config
        self.setup = setup

    @cached_property
    def members(self) -> tuple[TaskBatch, NDArray[np.int64]]:
        """Tasks of all groups in order, and the number of each group's tasks; read and checked at first use."""
        path = self.config.groups
        if not path:
            raise ConfigError("method.groups must name the file that `pytrain group` wrote, got ''")
        try:
            found = read_groups(path, self.space)
        except DataError as error:
            raise ConfigError(f"method.groups: {error}") from None
        if self.config.network == "same":
            check_network(found, self.setup, path)
        sizes = np.array([len(group.tasks) for group in found.groups], np.int64)
        return TaskBatch.concat([group.tasks for group in found.groups]), sizes

    def nets(self) -> dict[str, nn.Module]:
        """Those of the base method; a groups file that does not fit is refused here, before the first step."""
        assert len(self.members[1])
        return self.base.nets()

    def configs(self) -> Mapping[str, Any]:
        """Those of the base method."""
        return self.base.configs()

    def pretrained(self) -> Mapping[str, str]:
        """Those of the base method."""
        return self.base.pretrained()

    def draw(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What every sample number draws: (group, row of the groups' tasks), int64 [B] each.

        Groups count from 0 when the whole space is one of them, which is then number 0 and has row -1; else from 1.
        """
        _, sizes = self.members
        chance = named_uniform(self.setup.seed, indices, "tgsr.group")
        if share := self.config.whole_share:
            rest = np.maximum(chance - share, 0) / (1 - share)
            group = np.where(chance < share, 0, 1 + _whole(rest, len(sizes)))
        else:
            first = 0 if self.config.whole_space else 1
            group = first + _whole(chance, len(sizes) + 1 - first)
        listed = np.maximum(group - 1, 0)
        starts = np.cumsum(sizes) - sizes
        member = starts[listed] + _whole(named_uniform(self.setup.seed, indices, "tgsr.task"), sizes[listed])
        return group, np.where(group == 0, -1, member)

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch:
        """One task per sample number; its noise field is the sample's own."""
        _, member = self.draw(indices)
        fresh, listed = np.nonzero(member < 0)[0], np.nonzero(member >= 0)[0]
        parts = []
        if len(fresh):
            parts.append(sample(self.space, self.setup.seed, np.ascontiguousarray(indices[fresh]), step))
        if len(listed):
            parts.append(self.members[0].take(member[listed]).with_noise(indices[listed]))
        if not parts:
            return sample(self.space, self.setup.seed, indices, step)
        return TaskBatch.concat(parts).take(np.argsort(np.concatenate([fresh, listed])))

    def recorded_as(self, step: int) -> Hashable | None:
        """As the base method."""
        return self.base.recorded_as(step)

    def prepare(self, nets: Nets, batch: Batch, step: int) -> Batch:
        """As the base method."""
        return self.base.prepare(nets, batch, step)


def _base_method(config: TgsrOptions, setup: Setup) -> Method:
    if config.stage == "realesrnet":
        shared = {member.name: getattr(config, member.name) for member in fields(PixelOptions)}
        return RealesrnetMethod(RealesrnetOptions(**shared), setup)
    names = [member.name for member in fields(GanOptions)]
    return RealesrganMethod(RealesrganOptions(**{name: getattr(config, name) for name in names}), setup)


def check_network(found: Groups, setup: Setup, path: str) -> None:
    """ConfigError unless training begins with the network on which the groups were found."""
    hint = 'or set method.network = "any"'
    wanted = dict(found.net)
    given = config_to_dict(setup.net)
    for key in {**wanted, **given}:
        if wanted.get(key) != given.get(key):
            raise ConfigError(
                f"net.{key} must be {wanted.get(key)!r} as in {path}, got {given.get(key)!r}; train that network, {hint}"
            )
    if not setup.pretrained:
        raise ConfigError(f"train.pretrained must name the network with digest {found.network}, got ''; {hint}")
    digest = network_digest(setup.pretrained, setup.net)
    if digest != found.network:
        raise ConfigError(
            f"train.pretrained must have the weights that {path} was made from, digest {found.network}, got {digest}; "
            f"train from those, {hint}"
        )


def _whole(uniform: NDArray[np.float64], count: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Whole numbers in [0, count) from numbers in [0, 1)."""
    return np.minimum(np.floor(uniform * count).astype(np.int64), np.asarray(count, np.int64) - 1)
