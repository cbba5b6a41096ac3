"""The parts of a configuration that belong to the run as a whole: frozen values, checked where they are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .options import option, options, require, require_name

DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
CompileMode = Literal["off", "default", "reduce-overhead"]

MOST_STEPS = 10**9
"""Of a run, and of whatever counts in steps."""

MOST_SEEDS = 2**62
"""Seeds are below; those above belong to streams of their own (`pydegrade.stream_seed`), which no run shares."""

Decay = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=MOST_STEPS)]


@options("run")
class RunConfig:
    """What the run is called, how long it is and where its files go."""

    steps: int = option(100_000, "optimizer steps", ge=1, le=MOST_STEPS)
    name: str = option("run", "name of the run", most=200, moves_weights=False)
    out: str = option("", "folder for checkpoints, logs and images; empty: out/<name>", moves_weights=False)
    seed: int = option(0, "crops, tasks, noise and fresh weights follow from it", ge=0, lt=MOST_SEEDS)
    device: DeviceName = option("auto", "auto: a CUDA device where there is one", moves_weights=False)

    def __post_init__(self) -> None:
        require_name(self.name, "run.name")
        require("\0" not in self.out, "run.out", "a path", self.out)


@options("train")
class TrainConfig:
    """How a step is computed."""

    precision: PrecisionName = option("auto", "auto: bf16 where the processor has it and a short trial finds it faster")
    compile: CompileMode = option(
        "off", "torch.compile of the trained nets; reduce-overhead uses CUDA graphs", moves_weights=False
    )
    graphs: Literal["auto", "off"] = option(
        "auto", "CUDA: repeat a step as one recorded graph after the first ones, where that can be", moves_weights=False
    )
    accumulate: int = option(
        1,
        "slices into which a batch is cut to save memory; the result is that of one step",
        ge=1,
        le=2**16,
        moves_weights=False,
    )
    ema_decay: float = option(0.999, "decay of the moving average of the weights; 0: none", ge=0, lt=1)
    threads: int = option(
        0,
        "CPU threads of torch and of the degradations; 0: all, shared between processes",
        ge=0,
        le=1024,
        moves_weights=False,
    )
    parallel_slices: int = option(
        0,
        "slices of a batch that threads compute side by side on a CPU; 0: one per thread where the loss allows it",
        formerly="crew",
        ge=0,
        le=1024,
    )
    pretrained: str = option("", "model file that the trained network starts from", path=True)
    partial: bool = option(
        False,
        "load what fits of train.pretrained by name and shape, an x4 from an x2; the rest stays fresh and is named",
    )
    bad_steps: int = option(
        3,
        "steps with non-finite loss in a row before the run rolls back to its last checkpoint",
        ge=1,
        le=MOST_STEPS,
        moves_weights=False,
    )
    skip_above: float = option(
        0.0, "skip a step whose loss exceeds this many times the last accepted one; 0: never", ge=0
    )


@options("checkpoint")
class CheckpointConfig:
    """When training states and model files are written."""

    every_steps: int = option(5000, "steps between checkpoints", ge=1, le=MOST_STEPS)
    keep_last: int = option(3, "training states kept besides the best", ge=1, le=MOST_STEPS)
    keep_best: str = option(
        "", "score whose best model is kept: set5/psnr; empty: the first set's PSNR, none with a perceptual or GAN loss"
    )
    onnx: bool = option(False, "also write last.onnx and best.onnx (needs the packages onnx and onnxscript)")


@options("log")
class LogConfig:
    """What is written while the run goes on; log.jsonl always is."""

    every_steps: int = option(100, "steps between lines", ge=1, le=MOST_STEPS)
    tensorboard: bool = option(False, "also write TensorBoard events (needs the package tensorboard)")
    wandb: str = option("", "also send to this project of Weights & Biases (needs the package wandb)")
    trackio: str = option("", "also write to this project of trackio, on this machine (needs the package trackio)")


@options("optimizer")
class OptimizerConfig:
    """One optimizer per phase, all of this kind."""

    type: Literal["adam", "adamw", "lamb"] = option("adam", "kind")
    learning_rate: float = option(2e-4, "of every phase that learning_rates does not name", gt=0)
    learning_rates: dict[str, Rate] = option({}, "by phase: { discriminator = 1e-4 }")
    betas: tuple[Decay, Decay] = option((0.9, 0.99), "decay of the moments")
    eps: float = option(1e-8, "added to the root of the second moment", gt=0)
    weight_decay: float = option(0.0, "adam: added to the gradient (L2); adamw, lamb: decoupled", ge=0)
    clip_norm: float = option(0.0, "largest norm of a phase's gradient; 0: no limit", ge=0)
    clip_value: float = option(0.0, "largest magnitude of a gradient's entries; 0: no limit", ge=0)
    bias_correction: bool = option(True, "lamb: moments corrected for their start from zero")
    max_weight_norm: float = option(0.0, "lamb: limit of the weight norm in the ratio; 0: none", ge=0)

    def rate(self, phase: str) -> float:
        """The learning rate of a phase before its schedule."""
        return self.learning_rates.get(phase, self.learning_rate)


@options("schedule")
class ScheduleConfig:
    """How the learning rate changes; every kind can begin with a linear warm-up."""

    type: Literal["constant", "multistep", "cosine", "linear"] = option("constant", "shape over the run")
    warmup_steps: int = option(0, "steps of linear rise from 0", ge=0, le=MOST_STEPS)
    milestones: tuple[int, ...] = option((), "multistep: steps at which the rate is multiplied by gamma", most=1000)
    gamma: float = option(0.5, "multistep: the factor", gt=0, le=1)
    floor: float = option(0.0, "cosine, linear: last rate as a share of the first", ge=0, le=1)
    periods: tuple[Count, ...] = option(
        (), "cosine: lengths in steps of periods that each start anew; empty: one, the run", most=1000
    )

    def __post_init__(self) -> None:
        require(list(self.milestones) == sorted(set(self.milestones)), "schedule.milestones", "rising", self.milestones)
