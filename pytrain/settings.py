"""The parts of a configuration that belong to the run as a whole: frozen values, checked where they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import ConfigError

DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
CompileMode = Literal["off", "default", "reduce-overhead"]


def option(default: Any, help_text: str, unit: str = "", **metadata: Any) -> Any:
    """A field of a configuration: its default, and the text that `pytrain init` and the JSON schema show.

    Further metadata: `path=True` for texts that are paths (relative ones begin at the file's folder), `path="toml"` where
    only names that end in .toml are; `net=True` for a network's configuration, whose table has a `type`.
    """
    described = {"help": help_text, "unit": unit, **metadata}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=described)
    return field(default=default, metadata=described)


def require(holds: bool, where: str, must: str, got: object) -> None:
    """ConfigError "where must be ..., got ..." unless the condition holds."""
    if not holds:
        raise ConfigError(f"{where} must be {must}, got {got!r}")


@dataclass(frozen=True)
class RunConfig:
    """What the run is called, how long it is and where its files go."""

    steps: int = option(100_000, "optimizer steps")
    name: str = option("run", "name of the run")
    out: str = option("", "folder for checkpoints, logs and images; empty: out/<name>")
    seed: int = option(0, "crops, tasks, noise and fresh weights follow from it")
    device: DeviceName = option("auto", "auto: a CUDA device where there is one")

    def __post_init__(self) -> None:
        require(self.steps > 0, "run.steps", "> 0", self.steps)
        require(0 <= self.seed < 2**63, "run.seed", "in [0, 2^63)", self.seed)
        named = bool(self.name) and "/" not in self.name and self.name not in (".", "..")
        require(named, "run.name", "a plain name, without /", self.name)


@dataclass(frozen=True)
class TrainConfig:
    """How a step is computed."""

    precision: PrecisionName = option("auto", "auto: bf16 where the processor has it and a short trial finds it faster")
    compile: CompileMode = option("off", "torch.compile of the trained nets; reduce-overhead uses CUDA graphs")
    accumulate: int = option(1, "slices into which a batch is cut to save memory; the result is that of one step")
    ema_decay: float = option(0.999, "decay of the moving average of the weights; 0: none")
    threads: int = option(0, "CPU threads of torch and of the degradations; 0: all, shared between processes")
    crew: int = option(
        0, "slices of a batch that threads compute side by side on a CPU; 0: one per thread where the loss allows it"
    )
    pretrained: str = option("", "model file that the trained network starts from", path=True)
    bad_steps: int = option(3, "steps with non-finite loss in a row before the run rolls back to its last checkpoint")
    skip_above: float = option(0.0, "skip a step whose loss exceeds this many times the last accepted one; 0: never")

    def __post_init__(self) -> None:
        require(self.skip_above >= 0, "train.skip_above", ">= 0", self.skip_above)
        require(self.accumulate >= 1, "train.accumulate", ">= 1", self.accumulate)
        require(0 <= self.ema_decay < 1, "train.ema_decay", "in [0, 1)", self.ema_decay)
        require(self.threads >= 0, "train.threads", ">= 0", self.threads)
        require(self.crew >= 0, "train.crew", ">= 0", self.crew)
        require(self.bad_steps >= 1, "train.bad_steps", ">= 1", self.bad_steps)


@dataclass(frozen=True)
class CheckpointConfig:
    """When training states and model files are written."""

    every_steps: int = option(5000, "steps between checkpoints")
    keep_last: int = option(3, "training states kept besides the best")
    keep_best: str = option("", "metric whose best model is kept, set/metric: set5/psnr; empty: the first set's PSNR")

    def __post_init__(self) -> None:
        require(self.every_steps > 0, "checkpoint.every_steps", "> 0", self.every_steps)
        require(self.keep_last >= 1, "checkpoint.keep_last", ">= 1", self.keep_last)


@dataclass(frozen=True)
class LogConfig:
    """What is written while the run goes on; log.jsonl always is."""

    every_steps: int = option(100, "steps between lines")
    tensorboard: bool = option(False, "also write TensorBoard events (needs the package tensorboard)")
    wandb: str = option("", "also send to this project of Weights & Biases (needs the package wandb)")

    def __post_init__(self) -> None:
        require(self.every_steps > 0, "log.every_steps", "> 0", self.every_steps)


@dataclass(frozen=True)
class OptimizerConfig:
    """One optimizer per phase, all of this kind."""

    type: Literal["adam", "adamw", "lamb"] = option("adam", "kind")
    learning_rate: float = option(2e-4, "of every phase that learning_rates does not name")
    learning_rates: dict[str, float] = option({}, "by phase: { discriminator = 1e-4 }")
    betas: tuple[float, float] = option((0.9, 0.99), "decay of the moments")
    eps: float = option(1e-8, "added to the root of the second moment")
    weight_decay: float = option(0.0, "adam: added to the gradient (L2); adamw, lamb: decoupled")
    clip_norm: float = option(0.0, "largest norm of a phase's gradient; 0: no limit")
    clip_value: float = option(0.0, "largest magnitude of a gradient's entries; 0: no limit")
    bias_correction: bool = option(True, "lamb: moments corrected for their start from zero")
    max_weight_norm: float = option(0.0, "lamb: limit of the weight norm in the ratio; 0: none")

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optimizer.learning_rate", "> 0", self.learning_rate)
        for name, rate in self.learning_rates.items():
            require(rate >= 0, f"optimizer.learning_rates.{name}", ">= 0", rate)
        require(all(0 <= beta < 1 for beta in self.betas), "optimizer.betas", "in [0, 1)", self.betas)
        require(self.eps > 0, "optimizer.eps", "> 0", self.eps)
        require(self.weight_decay >= 0, "optimizer.weight_decay", ">= 0", self.weight_decay)
        for name in ("clip_norm", "clip_value", "max_weight_norm"):
            require(getattr(self, name) >= 0, f"optimizer.{name}", ">= 0", getattr(self, name))

    def rate(self, phase: str) -> float:
        """The learning rate of a phase before its schedule."""
        return self.learning_rates.get(phase, self.learning_rate)


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes; every kind can begin with a linear warm-up."""

    type: Literal["constant", "multistep", "cosine", "linear"] = option("constant", "shape over the run")
    warmup_steps: int = option(0, "steps of linear rise from 0")
    milestones: tuple[int, ...] = option((), "multistep: steps at which the rate is multiplied by gamma")
    gamma: float = option(0.5, "multistep: the factor")
    floor: float = option(0.0, "cosine, linear: last rate as a share of the first")
    periods: tuple[int, ...] = option(
        (), "cosine: lengths in steps of periods that each start anew; empty: one, the run"
    )

    def __post_init__(self) -> None:
        require(self.warmup_steps >= 0, "schedule.warmup_steps", ">= 0", self.warmup_steps)
        require(list(self.milestones) == sorted(set(self.milestones)), "schedule.milestones", "rising", self.milestones)
        require(0 < self.gamma <= 1, "schedule.gamma", "in (0, 1]", self.gamma)
        require(0 <= self.floor <= 1, "schedule.floor", "in [0, 1]", self.floor)
        require(all(period > 0 for period in self.periods), "schedule.periods", "> 0", self.periods)
