"""What one call of `pytrain group` works on: its configuration, checked, and where its files lie."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydegrade import Space

from ..config.config import Config, method_name
from ..data.source import open_source, stream
from ..errors import ConfigError, of_option
from ..files.checkpoint import load_model
from ..methods.groups import network_digest
from ..methods.parts import load_space
from ..methods.tgsr import GroupingOptions, TgsrOptions
from ..nets import config_to_dict
from ..settings import OptimizerConfig
from ..training.distributed import World
from .indicators import GRADIENT_BATCHES
from .inputs import CropPixels, gathered, validation_crops
from .scoring import TuneSettings

REPLICAS, MOST_REPLICAS = 2, 8
"""Of a network on one GPU: two hide the gaps between the other's kernels, many only share its time."""


@dataclass(frozen=True)
class GroupingRun:
    """What a configuration asks `pytrain group` for, checked.

    Attributes:
        config: whole configuration; its method is `tgsr`.
        options: its `[method.grouping]`.
        folder: where all files go: that of `method.groups`.
        space: of the tasks.
        model: file of the pretrained network.
        network: digest of its weights.
        workers: processes for scoring, or replicas on a GPU; 0: as many as there are cores, or REPLICAS.
        redo: whether files that were made from something else are made again.
    """

    config: Config
    options: GroupingOptions
    folder: Path
    space: Space
    model: Path
    network: str
    workers: int
    redo: bool

    @cached_property
    def net(self) -> dict[str, Any]:
        """The network's configuration as plain values."""
        return config_to_dict(self.config.net)

    @cached_property
    def method(self) -> TgsrOptions:
        """The configuration of the method."""
        method = self.config.method
        assert isinstance(method, TgsrOptions)
        return method

    @cached_property
    def optimizer(self) -> OptimizerConfig:
        """Of scoring and joint fine-tuning."""
        rate = self.options.learning_rate or self.config.optimizer.learning_rate
        return replace(self.config.optimizer, learning_rate=rate, learning_rates={})

    @cached_property
    def tune(self) -> TuneSettings:
        """How tasks are fine-tuned on."""
        options = self.options
        batch = options.batch or self.config.data.batch
        return TuneSettings(options.iterations, options.average, batch, self.method.loss, self.optimizer)

    @cached_property
    def crops(self) -> CropPixels:
        """Training crops of scoring."""
        options = self.options
        crop_px = options.crop_px or self.config.data.crop_px
        data = replace(self.config.data, crop_px=crop_px, batch=self.tune.batch)
        source = open_source(data, ("hr",), self.space.scale, options.seed)
        with stream(source, range(options.iterations)) as batches:
            return gathered(((raw.indices, raw.images) for raw in batches), source.describe())

    @cached_property
    def validation(self) -> CropPixels:
        """Crops that gains and improvements are measured on."""
        options = self.options
        return validation_crops(options.validation_hr, options.validation_crops, options.validation_px, options.seed)

    @property
    def rounds(self) -> int:
        """How often the network is fine-tuned on all unsatisfactory tasks that are left."""
        return len(self.bounds) if self.options.regroup else 1

    @property
    def bounds(self) -> tuple[float, ...]:
        """One threshold in dB, or one share, per group."""
        return self.options.shares or self.options.thresholds_db

    def path(self, name: str) -> Path:
        """A file of the grouping."""
        return self.folder / name

    @property
    def groups_path(self) -> Path:
        """What all stages work for."""
        return Path(self.method.groups)

    def members_path(self, number: int) -> Path:
        """The file with the tasks of a round: all unsatisfactory ones in round 1, then those in no group yet."""
        return self.path("unsatisfactory.toml" if number == 1 else f"rest{number}.toml")

    def joint_path(self, number: int) -> Path:
        """The network of a round."""
        return self.path(f"joint{number}.safetensors")

    def improvements_path(self, number: int) -> Path:
        """The improvements of a round."""
        return self.path(f"pis{number}.toml")

    def processes(self, world: World) -> int:
        """How many processes measure."""
        return 1 if world.device.type == "cuda" else self.workers or available_cores()

    def replicas(self, world: World) -> int:
        """How many replicas of the network a process has on its GPU; 1 on a CPU."""
        return min(self.workers or REPLICAS, MOST_REPLICAS) if world.device.type == "cuda" else 1


def open_grouping(config: Config, workers: int | None = None, redo: bool = False) -> GroupingRun:
    """Check a configuration and open what every stage needs.

    Args:
        config: from `pytrain.config.config.load`.
        workers: processes for scoring; None: as configured.
        redo: make files again that were made from something else.
    Raises:
        ConfigError, CheckpointError, DataError: one line.
    """
    method = config.method
    if not isinstance(method, TgsrOptions):
        raise ConfigError(f"method.type must be tgsr, whose tasks have groups, got {method_name(method)!r}")
    if not method.groups:
        raise ConfigError("method.groups must name the file that `pytrain group` is to write, got ''")
    if not config.train.pretrained:
        raise ConfigError("train.pretrained must name the network whose tasks are scored, got ''")
    options = method.grouping
    scale = int(config.net.scale)
    for name, side_px in (("crop_px", options.crop_px), ("validation_px", options.validation_px)):
        if side_px % scale:
            raise ConfigError(f"method.grouping.{name} must be a multiple of the scale {scale}, got {side_px}")
    if options.indicator == "gradient" and options.iterations < GRADIENT_BATCHES:
        least = f"at least {GRADIENT_BATCHES}, the batches that the indicator gradient takes"
        raise ConfigError(f"method.grouping.iterations must be {least}, got {options.iterations}")
    if options.validation_px <= 2 * scale:
        least = f"more than twice the border of {scale} px that PSNR cuts off"
        raise ConfigError(f"method.grouping.validation_px must be {least}, got {options.validation_px}")
    space = load_space(f"realesrgan-x{scale}" if method.space == "auto" else method.space, scale)
    model = Path(config.train.pretrained)
    with of_option("train.pretrained"):
        load_model(model, config.net)
    network = network_digest(model, config.net)
    chosen = workers if workers is not None else options.workers
    return GroupingRun(config, options, Path(method.groups).parent, space, model, network, chosen, redo)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
