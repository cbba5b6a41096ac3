"""`fit`: the training loop, read from top to bottom.

A step is a function of (weights, moments, step number): crops, tasks, noise and dropout follow from the number. So a run
that was killed and resumed gives the bits of one that was not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..config.config import Config
from ..data.source import stream
from .degrade import PlannedStream, degraded
from .distributed import World, join
from .meter import Meter
from .process import settled, stop_signals
from .recording import recorder_for
from .run import OpenLog, Run, leave, measure, note_unreadable, open_run, save
from .schedule import rate_factor
from .state import TrainState
from .steps import Steps

__all__ = ["FitResult", "fit", "train"]


@dataclass(frozen=True)
class FitResult:
    """What a run ended with.

    Attributes:
        step: number of finished steps.
        interrupted: whether a signal ended it early; `--resume` goes on.
        scores: the last evaluation, {"set/metric": value}.
        files: model files and the newest state.
        seconds: of this process, from start to end.
    """

    step: int
    interrupted: bool
    scores: Mapping[str, float] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    seconds: float = 0.0


def fit(
    config: Config,
    *,
    resume: str | Path | None = None,
    log: OpenLog | None = None,
    world: World | None = None,
) -> FitResult:
    """Train as a configuration says.

    Args:
        config: from `pytrain.config.config.load`.
        resume: None starts anew and refuses a folder that holds states; "auto" goes on from the newest readable state of
            the run's folder; a path from that state.
        log: (folder, is_main) -> where values and events go; None: console and log.jsonl as the configuration says.
        world: processes that were joined already; None joins those that torchrun started.
    Raises:
        ConfigError, DataError, CheckpointError: bad input, one line.
        PytrainError: the loss stays non-finite after a rollback, or memory ran out. What the run had reached is saved
            where no step was half done.
    """
    started_s = time.perf_counter()
    joined = join(config.run.device) if world is None else contextlib.nullcontext(world)
    with joined as world, settled(config.train.threads, world):
        run, state = open_run(config, world, resume, log)
        with closing(run), stop_signals() as stop:
            try:
                result = train(run, state, stop)
            except Exception as error:
                reported = leave(run, state, error)
                if reported is error:
                    raise
                raise reported from None
    return FitResult(result.step, result.interrupted, result.scores, result.files, time.perf_counter() - started_s)


def train(run: Run, state: TrainState, stop: Callable[[], bool]) -> FitResult:
    """Steps until the end of the run or a signal.

    Args:
        run: what was opened.
        state: where to go on from; changed.
        stop: whether a signal has come.
    """
    config, method, compute, log = run.config, run.method, run.compute, run.log
    world, clock, steps = compute.world, compute.clock, config.run.steps
    random_buffers = any(True for phase in method.phases for net in phase.trains for _ in state.nets[net].buffers())
    reports = config.log.every_steps, config.evaluate.every_steps, config.checkpoint.every_steps
    meter = Meter()
    scores: Mapping[str, float] = {}
    interrupted = evaluated = False

    span = range(state.step, steps)
    with (
        closing(stream(run.source, span, world.rank, world.size, state.unreadable)) as raw_batches,
        closing(PlannedStream(raw_batches, method, world.device)) as batches,
    ):
        taker = Steps(run, meter, recorder_for(world.device), batches.rest, state.step)
        clock.report()  # what opening took belongs to no step
        while state.step < steps:
            step = state.step

            # A signal ends the run between two steps, in all processes at the same one.
            if interrupted := world.any(stop()):
                break

            # Data and tasks: which crops follows from the sample numbers, and these from the step; the method selects a
            # task for every sample.
            with clock.part("read"):
                planned = next(batches)
            raw = planned.raw
            assert raw.step == step
            note_unreadable(run, state, raw.unreadable)

            # Degrade every sample by its task.
            with clock.part("degrade"):
                batch = degraded(planned, world.device)

            # Prepare: labels, blended targets, the memory layout of the nets. Nets that draw while they train (drop path)
            # draw from the step's own stream.
            torch.manual_seed((config.run.seed * 1_000_003 + step * world.size + world.rank) % 2**63)
            with clock.part("prepare"), torch.no_grad():
                batch = compute.precision.batch(method.prepare(compute.nets, batch, step))

            # Descend, phase by phase, and average the weights. Spectral norm writes to its buffers in the forward pass: the
            # state is no longer that of a step then.
            state.is_whole = not random_buffers
            taker.take(batch, state)
            state.is_whole = True

            # A step that was only queued counts before it is reported or saved.
            if state.step == steps or any(state.step % every == 0 for every in reports):
                taker.settle(state)

            # Log.
            log.tick(state.step)
            if state.step % config.log.every_steps == 0 or state.step == steps:
                line = meter.take(world, clock, config.data.batch)
                rate = config.optimizer.learning_rate * rate_factor(config.schedule, state.step - 1, steps)
                log.step(state.step, {**line, "learning_rate": rate})
                for text in meter.hints(line):
                    log.event("hint", step=state.step, text=text)

            # Evaluate.
            if evaluated := state.step % config.evaluate.every_steps == 0:
                scores = measure(run, state)

            # Checkpoint.
            if state.step % config.checkpoint.every_steps == 0 and state.step < steps:
                save(run, state, scores, final=False)
        taker.settle(state)

    # The end of the run is measured and saved whatever the intervals are.
    if not interrupted and not evaluated:
        scores = measure(run, state)
    files = save(run, state, scores, final=True)
    log.event("interrupted" if interrupted else "done", step=state.step, files=[str(path) for path in files])
    return FitResult(state.step, interrupted, scores, files)
