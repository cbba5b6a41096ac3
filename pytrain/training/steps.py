"""Takes the steps of a run: on CUDA as one recording that is repeated, where that can be; else phase by phase.

A recorded step is the same kernels, so weights come out with the bits of a step that is launched. What it computed is
looked at when the next step has been queued: the device never waits for the host. A gradient that is not finite leaves
everything as it was on the device itself; the host hears of it one step later.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..data.batch import Batch
from ..errors import is_out_of_memory, one_line
from .clock import Clock
from .descend import UpdateRule, descend, descend_unseen, not_finite
from .meter import Meter
from .optim import set_rate
from .recording import MOST_DEVIATION, WARM_UP, Recorder, deviation, recordable, why_launched
from .run import Run, pass_over
from .schedule import rate_factor
from .state import TrainState

MOST_RECORDINGS = 8
"""Of one run; each keeps its batch and holds memory."""


@dataclass(frozen=True)
class _Recording:
    """A step on a GPU.

    Attributes:
        inputs: what it reads, in place of a step's batch.
        names, values: what it found, in a vector that every repetition overwrites.
        repeat: queues it.
        moments: the optimizers' states that it writes to; a restored run has others.
    """

    inputs: Batch
    names: tuple[str, ...]
    values: Tensor
    repeat: Callable[[], None]
    moments: tuple[object, ...]


@dataclass(frozen=True)
class _Pending:
    """A step that has been queued and not been looked at."""

    step: int
    batch: Batch
    names: tuple[str, ...]
    fetched: Callable[[], list[float]]


class Steps:
    """The steps of one run.

    Args:
        run: what was opened.
        meter: gets the values of every step that was taken.
        recorder: records on the device; None: every step is launched.
        rest: returns when no other thread of the run uses the device.
        first_step: for the log.
    """

    def __init__(
        self, run: Run, meter: Meter, recorder: Recorder | None, rest: Callable[[], None], first_step: int = 0
    ) -> None:
        self._run, self._meter, self._rest = run, meter, rest
        self._silent = replace(run.compute, clock=Clock(torch.device("cpu")), pool=None)
        self._recordings: dict[Hashable, _Recording] = {}
        self._launches: dict[Hashable, int] = {}
        self._pending: _Pending | None = None
        self._recorder = recorder
        if recorder is not None and run.config.train.graphs == "off":
            self._recorder = None
        elif recorder is not None and (reason := why_launched(run.config, run.method, run.world)):
            self._launch_from_now(first_step, reason)

    def take(self, batch: Batch, state: TrainState) -> None:
        """Take the step `state.step`, or pass over it where it is not finite; then the next one has its turn.

        Args:
            batch: as the phases see it.
            state: changed; `settle` brings it up to date.
        """
        step, recorder = state.step, self._recorder
        key = self._key(batch, step) if recorder is not None else None
        recording = self._recording_of(key, state)
        if recording is not None and recorder is not None:
            pending = self._repeated(recording, batch, state, recorder)
            state.step += 1
            self.settle(state)
            self._pending = pending
            # After a step that was not finite, and where one such step is one too many, nothing runs ahead.
            if state.bad_steps or self._run.config.train.bad_steps == 1:
                self.settle(state)
            return
        self.settle(state)
        count = self._launches[key] = self._launches.get(key, 0) + 1
        if recorder is not None and count > WARM_UP and len(self._recordings) < MOST_RECORDINGS:
            batch, values, where = self._record(key, batch, state, recorder)
        else:
            batch, values, where = self._launch(batch, state)
        state.step += 1
        self._account(step, batch, values, where, state)

    def settle(self, state: TrainState) -> None:
        """Look at what has been queued: after this, the state is that of the steps before `state.step`."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        found = dict(zip(pending.names, pending.fetched()))
        norms = ((phase, found.get(f"norm_{phase.name}", 0.0)) for phase in self._run.method.phases)
        where = next((not_finite(phase, norm) for phase, norm in norms if not math.isfinite(norm)), "")
        values = {name: torch.tensor(value) for name, value in found.items()}
        self._account(pending.step, pending.batch, values, where, state)

    def _account(self, step: int, batch: Batch, values: Mapping[str, Tensor], where: str, state: TrainState) -> None:
        """Note a step that was taken, or passed over, which then has no values."""
        if where:
            values = {}
            pass_over(self._run, state, batch, where, step)
        else:
            state.bad_steps, state.rolled_back_at = 0, -1
        self._meter.add(values)

    # ---- Phase by phase

    def _launch(self, batch: Batch, state: TrainState) -> tuple[Batch, dict[str, Tensor], str]:
        """(the batch with what phases kept, values, what was not finite) of a step."""
        run, compute, factor = self._run, self._run.compute, self._rate_factor(state.step)
        values: dict[str, Tensor] = {}
        for phase in run.method.phases:
            batch, done = descend(phase, batch, state, compute, self._update(phase.name, factor))
            if done.skipped:
                run.log.event("skipped", step=state.step, what=done.where)
            if not done.finite:
                return batch, values, done.where
            values.update(done.values)
        if state.scaler:
            state.scaler.update()
        if run.config.train.ema_decay:
            with compute.clock.part("optimizer"):
                state.update_averages(run.config.train.ema_decay)
        return batch, values, ""

    def _update(self, phase: str, factor: float) -> UpdateRule:
        config = self._run.config
        return UpdateRule(
            config.optimizer.rate(phase) * factor,
            config.train.accumulate,
            config.optimizer.clip_norm,
            config.optimizer.clip_value,
            config.train.skip_above,
        )

    def _rate_factor(self, step: int) -> float:
        return rate_factor(self._run.config.schedule, step, self._run.config.run.steps)

    # ---- Recorded

    def _key(self, batch: Batch, step: int) -> Hashable:
        """What steps must have in common to be repetitions of one."""
        images = tuple((name, tensor.shape, tensor.stride(), tensor.dtype) for name, tensor in _tensors(batch))
        return self._run.method.recorded_as(step), images

    def _recording_of(self, key: Hashable, state: TrainState) -> _Recording | None:
        recording = self._recordings.get(key)
        moments = tuple(optimizer.state for optimizer in state.optimizers.values())
        if recording is not None and any(one is not other for one, other in zip(moments, recording.moments)):
            # The run went back to a checkpoint: recordings write to moments that nobody reads any more.
            self._recordings.clear()
            return None
        return recording

    def _repeated(self, recording: _Recording, batch: Batch, state: TrainState, recorder: Recorder) -> _Pending:
        """Queue a step, and the way of its values to the host."""
        with self._run.compute.clock.part("graph"):
            for (_, old), (_, new) in zip(_tensors(recording.inputs), _tensors(batch)):
                old.copy_(new, non_blocking=True)
            factor = self._rate_factor(state.step)
            for name, optimizer in state.optimizers.items():
                set_rate(optimizer, self._run.config.optimizer.rate(name) * factor)
            recording.repeat()
            fetched = recorder.fetch(recording.values)
        # Of the batch only what names it is kept.
        named = replace(recording.inputs, indices=batch.indices, tasks=batch.tasks)
        return _Pending(state.step, named, recording.names, fetched)

    def _record(
        self, key: Hashable, batch: Batch, state: TrainState, recorder: Recorder
    ) -> tuple[Batch, dict[str, Tensor], str]:
        """Record a step and repeat it once; then take it as it always was, and see that both do the same."""
        self._rest()
        start = _copies(state)
        recording, reason = None, ""
        found: dict[str, Tensor] = {}
        device = self._run.world.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            try:
                recording = self._recorded(batch, state, recorder)
                self._repeated(recording, batch, state, recorder)
                found = _copies(state)
            except RuntimeError as error:
                recording, reason = None, _why(error)
        _put_back(state, start)
        if recording is None:
            self._launch_from_now(state.step, reason)
            return self._launch(batch, state)
        try:
            taken = self._launch(batch, state)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            recording, reason = None, _why(error)
        if recording is None:
            self._launch_from_now(state.step, reason)
            _put_back(state, start)
            return self._launch(batch, state)
        share = _most_deviation(start, _copies(state), found)
        if share > MOST_DEVIATION:
            reason = f"a recorded step moves the state elsewhere, {share:.0%} of the way apart"
            self._launch_from_now(state.step, reason)
        else:
            self._recordings[key] = recording
        return taken

    def _recorded(self, batch: Batch, state: TrainState, recorder: Recorder) -> _Recording:
        run, compute = self._run, self._silent
        inputs = replace(
            batch,
            lr=batch.lr.clone(),
            target=batch.target.clone(),
            hr=batch.hr.clone(),
            extra={name: value.clone() for name, value in batch.extra.items()},
        )
        names: tuple[str, ...] = ()
        values = torch.empty(0)

        def step() -> None:
            nonlocal names, values
            part, bad = inputs, torch.zeros((), device=inputs.lr.device)
            found: dict[str, Tensor] = {}
            for phase in run.method.phases:
                part, of_phase, bad = descend_unseen(phase, part, state, compute, self._update(phase.name, 0.0), bad)
                found.update(of_phase)
            if run.config.train.ema_decay:
                state.update_averages(run.config.train.ema_decay, bad)
            names, values = tuple(found), torch.stack([value.float() for value in found.values()])

        with recordable(state.optimizers.values()):
            repeat = recorder.record(step)
        moments = tuple(optimizer.state for optimizer in state.optimizers.values())
        return _Recording(inputs, names, values, repeat, moments)

    def _launch_from_now(self, step: int, reason: str) -> None:
        """No recordings any more; one line says why."""
        self._recorder = None
        self._recordings.clear()
        if self._run.world.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
        text = f"steps are launched kernel by kernel, not as one CUDA graph: {reason}"
        self._run.log.event("hint", step=step, text=text)


def _why(error: RuntimeError) -> str:
    if is_out_of_memory(error):
        return "the memory of the device does not hold one beside a step"
    return f"a step cannot be recorded ({one_line(error)})"


def _tensors(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    yield from (("lr", batch.lr), ("target", batch.target), ("hr", batch.hr), *sorted(batch.extra.items()))


def _copies(state: TrainState) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.tensors()}


@torch.no_grad()
def _put_back(state: TrainState, values: Mapping[str, Tensor]) -> None:
    for name, tensor in state.tensors():
        tensor.copy_(values[name])


def _most_deviation(start: Mapping[str, Tensor], expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> float:
    """The largest `deviation` of weights, averages and each kind of moment: these move by different orders of magnitude."""
    kinds: dict[str, list[str]] = {}
    for name in expected:
        kind, _, rest = name.partition("/")
        kinds.setdefault(kind + rest.rpartition("/")[2] if kind.startswith("optimizer.") else kind, []).append(name)
    return max(
        deviation(*([values[name] for name in names] for values in (start, expected, found)))
        for names in kinds.values()
    )
