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
