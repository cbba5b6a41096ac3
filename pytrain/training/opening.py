"""What a configuration names, built and checked before anything is computed: method, networks, folder.

`pytrain check` and a run open the same things by the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..config.config import Config
from ..errors import ConfigError, nearest, of_option
from ..files.checkpoint import load_into, unfitting
from ..methods.contract import Method, Setup
from ..methods.registry import METHODS
from ..nets import MZSRConfig
from ..nets.weights import read_weights

MOST_NAMED = 12


def out_folder(config: Config) -> Path:
    """Absolute folder of a run."""
    return (Path(config.run.out) if config.run.out else Path("out") / config.run.name).resolve()


def build_method(config: Config) -> Method:
    """The method that a configuration names, given the facts of the run."""
    setup = Setup(
        net=config.net,
        seed=config.run.seed,
        crop_px=config.data.crop_px,
        batch=config.data.batch,
        steps=config.run.steps,
        pretrained=config.train.pretrained,
        partial=config.train.partial,
    )
    return METHODS[config.method.type].build(config.method, setup)


def fresh_nets(config: Config, method: Method, device: torch.device) -> dict[str, nn.Module]:
    """The method's nets with their first weights: drawn from the seed, or read from model files; frozen where untrained."""
    torch.manual_seed(config.run.seed)
    nets = method.nets()
    main = method.averaged[0]
    files = {**method.pretrained(), **({main: config.train.pretrained} if config.train.pretrained else {})}
    for name, path in files.items():
        with of_option("train.pretrained" if name == main else f"method.{name}_pretrained"):
            load_into(nets[name], method.configs()[name], path, partial=name == main and config.train.partial)
    trained = {name for phase in method.phases for name in phase.trains}
    for name, net in nets.items():
        net.to(device)
        if name not in trained:
            net.eval().requires_grad_(False)
    return nets


def left_fresh(config: Config, method: Method, net: nn.Module) -> str:
    """A line that names what a file loaded in part does not give the trained network; "" where none is loaded in part."""
    path = config.train.pretrained
    if not (path and config.train.partial):
        return ""
    fresh = unfitting(net, method.configs()[method.averaged[0]], read_weights(path), path)
    named = ", ".join(fresh[:MOST_NAMED]) + (f" and {len(fresh) - MOST_NAMED} more" if len(fresh) > MOST_NAMED else "")
    return f"{path}: all but {len(fresh)} tensors are loaded, fresh: {named or 'none'}"


def check_phases(config: Config, method: Method) -> None:
    """ConfigError when `optimizer.learning_rates` names a phase that the method does not have."""
    phases = [phase.name for phase in method.phases]
    for name in config.optimizer.learning_rates:
        if name not in phases:
            raise ConfigError(
                f"optimizer.learning_rates: must name phases ({', '.join(phases)}), got {name!r}{nearest(name, phases)}"
            )


def check_batch(config: Config, method: Method, processes: int = 1) -> None:
    """ConfigError when the batch cannot be shared by the processes, or would be cut within groups of samples that the
    method needs together."""
    if config.data.batch % processes:
        raise ConfigError(
            f"data.batch must be a multiple of the {processes} processes of torchrun, got {config.data.batch}"
        )
    if method.group_rows == 1:
        return
    groups, parts = config.data.batch // method.group_rows, config.train.accumulate * processes
    if groups % parts:
        shared = f" times {processes} processes" if processes > 1 else ""
        raise ConfigError(
            f"train.accumulate{shared} must divide the {groups} groups of {method.group_rows} samples that this method "
            f"needs together, got {config.train.accumulate}"
        )
    if config.train.parallel_slices > 1:
        got = config.train.parallel_slices
        raise ConfigError(f"train.parallel_slices must be 0 or 1 for this method, got {got}")


NO_BEST = (
    "no best model is kept: PSNR does not rank what a perceptual or GAN loss trains; models/last is the result, "
    "checkpoint.keep_best names a score to choose by all the same"
)


def best_by(config: Config, method: Method, scores: Sequence[str]) -> str:
    """The score whose best value decides which model is kept as the best; "" where none does.

    Args:
        config: `checkpoint.keep_best` names one of `scores`, or nothing.
        method: of the run.
        scores: that are measured, in order.
    """
    return config.checkpoint.keep_best or (scores[0] if scores and method.ranked_by_psnr else "")


def check_adapting(config: Config) -> None:
    """ConfigError when a set adapts another network than MZSR's to its images."""
    for one in config.evaluate.sets:
        if one.adapt_steps and not isinstance(config.net, MZSRConfig):
            raise ConfigError(
                f"evaluate.sets ({one.name}): adapt_steps must be 0 for a network of type {config.net.type}, only mzsr "
                f"adapts to an image, got {one.adapt_steps}"
            )


def check_kept(config: Config, scores: Sequence[str]) -> None:
    """The score that decides which model is kept as the best must be measured.

    Raises:
        ConfigError: `checkpoint.keep_best` is none of `scores`.
    """
    wanted = config.checkpoint.keep_best
    if wanted and wanted not in scores:
        measured = f"one of {', '.join(scores)}" if scores else "empty where evaluate.sets has no set"
        raise ConfigError(f"checkpoint.keep_best must be {measured}, got {wanted!r}{nearest(wanted, scores)}")
