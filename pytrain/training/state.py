"""Everything a run is, between two steps: weights, moments, averages, loss scale, position."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..files.checkpoint import load_state, save_state
from ..methods.contract import Method, Phase
from ..settings import OptimizerConfig
from .optim import build_optimizer
from .precision import Precision

STATE_NAME = "step_{step:09d}.safetensors"
STATE_PATTERN = re.compile(r"step_(\d{9,})\.safetensors")


@dataclass
class TrainState:
    """The changing part of a run. The loop is its only writer.

    Attributes:
        nets: networks by name, on the device of the run.
        averages: moving averages of nets, by the net's name; empty when the configuration asks for none.
        optimizers: by the name of their phase.
        trained: per phase the parameters its optimizer moves, by "net.parameter".
        scaler: loss scaling of fp16, None otherwise.
        step: number of finished steps; the next step has this number.
        bad_steps: steps with non-finite loss since the last good one.
        accepted: per phase the loss of the last step that was taken, for `train.skip_above`.
        rolled_back_at: the step whose state was returned to; -1 once a good step has followed.
        best: {score name: value, "step": where} of the model that is kept as the best; empty before the first.
        unreadable: training images that cannot be read, by name, and the sample from which on others are drawn instead.
        is_whole: False while a step has changed a part of it: only whole states are saved.
    """

    nets: dict[str, nn.Module]
    averages: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    trained: dict[str, dict[str, nn.Parameter]]
    scaler: torch.amp.GradScaler | None
    step: int = 0
    bad_steps: int = 0
    accepted: dict[str, float] = field(default_factory=dict)
    rolled_back_at: int = -1
    best: dict[str, float] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    is_whole: bool = True

    def published(self, name: str) -> nn.Module:
        """The net that is evaluated and saved as a model: its average where there is one."""
        return self.averages.get(name, self.nets[name])

    @torch.no_grad()
    def update_averages(self, decay: float, bad: Tensor | None = None) -> None:
        """average = decay * average + (1 - decay) * weights; buffers are copied.

        Args:
            decay: of the averages.
            bad: float32 scalar; where it is 1 and not 0, averages stay as they are, which the device decides.
        """
        for name, average in self.averages.items():
            net, mean = self.nets[name], list[Tensor](average.parameters())
            before = [] if bad is None else list(torch._foreach_mul(mean, bad))
            torch._foreach_lerp_(mean, list(net.parameters()), 1 - decay)
            if bad is not None:
                # Exact: one of the two factors is 1, the other 0.
                torch._foreach_mul_(mean, 1 - bad)
                torch._foreach_add_(mean, before)
            for old, new in zip(average.buffers(), net.buffers()):
                old.copy_(new if bad is None else torch.where(bad > 0, old, new))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything that files hold and steps change, by name, as views."""
        return _tensors(self)


def new_state(
    method: Method, nets: dict[str, nn.Module], optimizer: OptimizerConfig, ema_decay: float, precision: Precision
) -> TrainState:
    """A state at step 0.

    Args:
        method: whose phases need optimizers.
        nets: with the weights to start from, on their device and in their layout.
        optimizer: settings of all optimizers.
        ema_decay: 0 for no averages.
        precision: fp16 brings loss scaling.
    """
    trained = {phase.name: trained_parameters(phase, nets) for phase in method.phases}
    optimizers = {name: build_optimizer(optimizer, name, list(weights.values())) for name, weights in trained.items()}
    averages = {name: _average_of(nets[name]) for name in method.averaged} if ema_decay else {}
    scaler = torch.amp.GradScaler("cuda") if precision.name == "fp16" else None
    return TrainState(nets, averages, optimizers, trained, scaler)


def trained_parameters(phase: Phase, nets: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """The parameters that a phase moves: all of its nets' that are not frozen, by "net.parameter"."""
    return {
        f"{name}.{key}": parameter
        for name in phase.trains
        for key, parameter in nets[name].named_parameters()
        if parameter.requires_grad
    }


def _average_of(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net).eval().requires_grad_(False)


# Files.


def save(folder: Path, state: TrainState, meta: Mapping[str, Any]) -> Path:
    """Write the state as `folder/step_000001000.safetensors`, atomically.

    Args:
        folder: of the run's states.
        state: what is saved.
        meta: further JSON values: configuration, precision, images.
    Raises:
        CheckpointError: it cannot be written; older files are untouched.
    """
    path = folder / STATE_NAME.format(step=state.step)
    described = {
        **meta,
        "step": state.step,
        "bad_steps": state.bad_steps,
        "accepted": state.accepted,
        "rolled_back_at": state.rolled_back_at,
        "best": {name: str(score) for name, score in state.best.items()},  # JSON knows no infinity
        "unreadable": state.unreadable,
        "scaler": state.scaler.state_dict() if state.scaler else None,
    }
    save_state(path, dict(_tensors(state)), described)
    return path


def _tensors(state: TrainState) -> Iterator[tuple[str, Tensor]]:
    for kind, nets in (("net", state.nets), ("average", state.averages)):
        for name, net in nets.items():
            for key, value in net.state_dict().items():
                yield f"{kind}.{name}/{key}", value
    for phase, optimizer in state.optimizers.items():
        for key, parameter in state.trained[phase].items():
            for moment, value in optimizer.state.get(parameter, {}).items():
                yield f"optimizer.{phase}/{key}/{moment}", value


def load_meta(path: Path) -> dict[str, Any]:
    """The further values given to `save`, without touching any state.

    Raises:
        CheckpointError: unreadable or damaged file.
    """
    return load_state(path)[1]


def restore(path: Path, state: TrainState) -> dict[str, Any]:
    """Put a saved state into a state of the same configuration.

    Args:
        path: from `save`.
        state: changed only after the whole file has been read and found to fit.
    Returns:
        The further values given to `save`.
    Raises:
        CheckpointError: unreadable or damaged file, or other nets than this run's; names the first that differs.
    """
    tensors, meta = load_state(path)
    expected = {key for key, _ in _tensors(state) if not key.startswith("optimizer.")}
    found = {key for key in tensors if not key.startswith("optimizer.")}
    if found != expected:
        missing, unexpected = sorted(expected - found), sorted(found - expected)
        first = f"{missing[0]} is missing" if missing else f"{unexpected[0]} belongs to no net of this run"
        raise CheckpointError(f"{path}: must hold the nets of this configuration, {first}")
    misshapen = [(key, value) for key, value in _tensors(state) if key in tensors and tensors[key].shape != value.shape]
    if misshapen:
        key, value = misshapen[0]
        raise CheckpointError(f"{path}: {key} must have shape {tuple(value.shape)}, got {tuple(tensors[key].shape)}")

    for kind, nets in (("net", state.nets), ("average", state.averages)):
        for name, net in nets.items():
            prefix = f"{kind}.{name}/"
            net.load_state_dict({key: tensors[prefix + key] for key in net.state_dict()})
    for phase, optimizer in state.optimizers.items():
        _restore_moments(optimizer, state.trained[phase], f"optimizer.{phase}/", tensors)
    if state.scaler and meta["scaler"]:
        state.scaler.load_state_dict(meta["scaler"])
    state.step = int(meta.pop("step"))
    state.bad_steps = int(meta.pop("bad_steps"))
    state.accepted = meta.pop("accepted")
    state.rolled_back_at = int(meta.pop("rolled_back_at"))
    state.best = {name: float(score) for name, score in meta.pop("best").items()}
    state.unreadable = meta.pop("unreadable", {})
    state.is_whole = True
    del meta["scaler"]
    return meta


def _restore_moments(
    optimizer: torch.optim.Optimizer, trained: Mapping[str, nn.Parameter], prefix: str, tensors: Mapping[str, Tensor]
) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    numbers = {key: number for number, key in enumerate(trained)}
    for name, value in tensors.items():
        if name.startswith(prefix):
            key, moment = name.removeprefix(prefix).rsplit("/", 1)
            # In the parameter's memory layout: sums over a tensor run in the order of its memory.
            if value.shape == trained[key].shape:
                value = torch.empty_like(trained[key], requires_grad=False).copy_(value)
            moments.setdefault(numbers[key], {})[moment] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def saved_states(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of the states in a folder, newest first."""
    found = [(STATE_PATTERN.fullmatch(path.name), path) for path in folder.glob("step_*.safetensors")]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def restore_newest(folder: Path, state: TrainState) -> tuple[Path, dict[str, Any], list[str]]:
    """Restore the newest state of a folder that can be read; damaged ones are passed over.

    Returns:
        (file, the further values given to `save`, one line for each file that was passed over).
    Raises:
        CheckpointError: there is no state, or none can be read.
    """
    candidates = saved_states(folder)
    if not candidates:
        raise CheckpointError(f"{folder}: holds no training state to resume from")
    problems: list[str] = []
    for _, path in candidates:
        try:
            return path, restore(path, state), problems
        except CheckpointError as error:
            problems.append(str(error))
    raise CheckpointError(f"{folder}: none of {len(candidates)} training states can be read; the newest: {problems[0]}")


def remove_old(folder: Path, keep_last: int) -> None:
    """Delete all but the newest states."""
    for _, path in saved_states(folder)[keep_last:]:
        path.unlink(missing_ok=True)
