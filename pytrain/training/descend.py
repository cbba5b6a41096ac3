"""One phase of one step: loss, gradient, update."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..methods.contract import Nets, Phase, Terms
from .clock import Clock
from .distributed import World
from .optim import set_rate
from .precision import Precision
from .slices import SliceGradients, SlicePool, add_gradients, gradients_of
from .state import TrainState


@dataclass(frozen=True)
class Compute:
    """Where and how losses are computed; the same for all steps of a run.

    Attributes:
        nets: what losses call: the nets of the state, compiled where that was asked for.
        precision: number format and layout.
        world: the processes that share a batch.
        clock: measures the parts of a step.
        pool: computes slices of a batch side by side; None: one after the other.
    """

    nets: Nets
    precision: Precision
    world: World
    clock: Clock
    pool: SlicePool | None = None


@dataclass(frozen=True)
class UpdateRule:
    """How a phase's gradient becomes a step.

    Attributes:
        rate: learning rate of this step.
        accumulate: slices into which the batch is cut.
        clip_norm: largest gradient norm; 0: no limit.
        clip_value: largest magnitude of a gradient's entry; 0: no limit.
        skip_above: no update when the loss is more than this many times the last accepted one; 0: always update.
    """

    rate: float
    accumulate: int = 1
    clip_norm: float = 0.0
    clip_value: float = 0.0
    skip_above: float = 0.0


@dataclass(frozen=True)
class Descent:
    """What a phase of a step did.

    Attributes:
        values: mean of each loss term and shown value.
        finite: whether loss and gradient were; the weights are unchanged otherwise.
        skipped: whether the loss was too far above the last accepted one; the weights are unchanged then.
        where: what was wrong, for people.
    """

    values: Mapping[str, Tensor]
    finite: bool = True
    skipped: bool = False
    where: str = ""


def descend(
    phase: Phase, batch: Batch, state: TrainState, compute: Compute, update: UpdateRule
) -> tuple[Batch, Descent]:
    """Minimise a phase's loss by one step.

    Args:
        phase: what is minimised and which nets move.
        batch: this process' share of the step's batch.
        state: its weights and moments change, unless the gradient is not finite.
        compute: where and how.
        update: how the gradient becomes a step.
    Returns:
        (the batch with what the phase kept for later ones, what happened).
    """
    batch, sums, moved = _differentiated(phase, batch, state, compute, update)
    optimizer, values = state.optimizers[phase.name], sums.values
    if not moved:
        return batch, Descent(values)

    # Take the step at all? Every process must come to the same answer.
    if update.skip_above:
        loss = float(compute.world.mean(torch.stack([values[name] for name in sums.minimised]).sum()))
        limit = update.skip_above * state.accepted.get(phase.name, math.inf)
        if loss > limit:
            return batch, Descent(values, skipped=True, where=f"{phase.name}: loss {loss:.4g}, at most {limit:.4g}")
        if math.isfinite(loss):
            state.accepted[phase.name] = loss

    # Average over processes, clip, update.
    with compute.clock.part("optimizer"):
        compute.world.average_gradients(moved)
        if state.scaler:
            state.scaler.unscale_(optimizer)
        norm = _norm_of(moved)
        finite = math.isfinite(float(norm))
        if finite:
            _clip(moved, norm, update)
        set_rate(optimizer, update.rate)
        if state.scaler:
            # Scaling skips and shrinks by itself; overflow at its start is no trouble of the data.
            state.is_whole = False
            state.scaler.step(optimizer)
            finite = True
        elif finite:
            state.is_whole = False
            optimizer.step()
    values[f"norm_{phase.name}"] = norm.detach()
    return batch, Descent(values, finite, where="" if finite else not_finite(phase, float(norm)))


def descend_unseen(
    phase: Phase, batch: Batch, state: TrainState, compute: Compute, update: UpdateRule, bad: Tensor
) -> tuple[Batch, dict[str, Tensor], Tensor]:
    """`descend` without a look at anything that was computed, so that it can be recorded: the device decides.

    Args:
        phase, batch, state, compute: as `descend` takes them; the optimizer is fused and has its rate in a tensor.
        update: its rate counts where the optimizer is, not here, and nothing is skipped by its loss.
        bad: float32 scalar, 1 where an earlier phase of this step was not finite, else 0.
    Returns:
        (the batch with what the phase kept, mean of each value, `bad` with this phase in it). Weights and moments are
        unchanged where the last is 1.
    """
    batch, sums, moved = _differentiated(phase, batch, state, compute, update)
    values = sums.values
    if not moved:
        return batch, values, bad
    norm = _norm_of(moved)
    bad = torch.maximum(bad, 1 - torch.isfinite(norm).float())
    _clip(moved, norm, update)
    optimizer: Any = state.optimizers[phase.name]
    optimizer.found_inf = bad  # fused kernels leave everything as it is where this is 1
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf
    values[f"norm_{phase.name}"] = norm.detach()
    return batch, values, bad


def not_finite(phase: Phase, norm: float) -> str:
    """What was wrong, for people."""
    return f"{phase.name}: gradient norm {norm}"


def _differentiated(
    phase: Phase, batch: Batch, state: TrainState, compute: Compute, update: UpdateRule
) -> tuple[Batch, _Sums, list[nn.Parameter]]:
    """(the batch with what the phase kept, its terms, the parameters that have a gradient now)."""
    _freeze_others(phase, state)
    trained = list(state.trained[phase.name].values())
    state.optimizers[phase.name].zero_grad(set_to_none=True)

    # Loss and gradient, slice by slice; the gradients add up in the parameters.
    sums = _Sums()
    for rows in slices_of(len(batch), update.accumulate):
        part = batch.take(rows) if update.accumulate > 1 else batch
        if compute.pool is not None:
            _backward_side_by_side(phase, part, len(batch), state, compute, compute.pool, sums)
        else:
            _backward(phase, part, len(part) / len(batch), state, compute, sums)
    return batch.with_extra(sums.kept()), sums, [one for one in trained if one.grad is not None]


def _norm_of(moved: list[nn.Parameter]) -> Tensor:
    return torch.nn.utils.get_total_norm([parameter.grad for parameter in moved if parameter.grad is not None])


def _clip(moved: list[nn.Parameter], norm: Tensor, update: UpdateRule) -> None:
    if update.clip_value:
        torch.nn.utils.clip_grad_value_(moved, update.clip_value)
    if update.clip_norm:
        torch.nn.utils.clip_grads_with_norm_(moved, update.clip_norm, norm)


def slices_of(count: int, parts: int) -> Iterator[slice]:
    """`parts` consecutive ranges that cover `count` rows, none empty."""
    bounds = [count * number // parts for number in range(parts + 1)]
    return (slice(begin, end) for begin, end in itertools.pairwise(bounds) if end > begin)


@dataclass
class _Sums:
    """Terms of a batch, added up over its slices."""

    values: dict[str, Tensor] = field(default_factory=dict)
    minimised: tuple[str, ...] = ()
    _kept: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, terms: Terms, share: float) -> None:
        """Terms of a slice that is this share of the batch."""
        for name, value in {**terms.losses, **terms.shown}.items():
            zero = torch.zeros((), device=value.device)
            self.values[name] = self.values.get(name, zero) + share * value.detach().float()
        for name, value in terms.kept.items():
            self._kept.setdefault(name, []).append(value)
        self.minimised = tuple(terms.losses)

    def kept(self) -> dict[str, Tensor]:
        """What the phase keeps for later ones, of the whole batch."""
        return {name: torch.cat(parts) if len(parts) > 1 else parts[0] for name, parts in self._kept.items()}


def _backward(phase: Phase, part: Batch, share: float, state: TrainState, compute: Compute, sums: _Sums) -> None:
    """Loss and gradient of a slice that is this share of the batch."""
    with compute.clock.part("forward"), compute.precision.autocast(compute.world.device):
        terms = phase.loss(compute.nets, part, state.step)
    sums.add(terms, share)
    if terms.losses:
        with compute.clock.part("backward"):
            loss = torch.stack([value.float() for value in terms.losses.values()]).sum() * share
            (state.scaler.scale(loss) if state.scaler else loss).backward()


def _backward_side_by_side(
    phase: Phase, part: Batch, rows: int, state: TrainState, compute: Compute, pool: SlicePool, sums: _Sums
) -> None:
    """Loss and gradient of a part of a batch of so many rows, cut into a slice per thread."""
    trained = list(state.trained[phase.name].values())

    def gradients(piece: Batch) -> SliceGradients:
        with compute.precision.autocast(compute.world.device):
            return gradients_of(lambda: phase.loss(compute.nets, piece, state.step), len(piece) / rows, trained)

    with compute.clock.split() as seconds:
        pieces = [part.take(piece) for piece in slices_of(len(part), pool.size)]
        computed = pool.map(gradients, pieces)
        add_gradients(trained, [one.gradients for one in computed])
        for one, piece in zip(computed, pieces):
            sums.add(one.terms, len(piece) / rows)
        seconds.update(forward=sum(one.forward_s for one in computed), backward=sum(one.backward_s for one in computed))


def _freeze_others(phase: Phase, state: TrainState) -> None:
    """Only the phase's own weights collect gradients."""
    if len(state.trained) == 1:
        return
    own = state.trained[phase.name]
    for trained in state.trained.values():
        for key, parameter in trained.items():
            parameter.requires_grad_(key in own)
