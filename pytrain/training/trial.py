"""What a run decides by trying: number format, memory layout, slices side by side. Decided once, before the first step.

The clock has a say in it, so two runs may decide differently. What was decided is therefore written into the run's
folder before the first number is computed, and whoever goes on with the run, also after a kill before its first
checkpoint, reads it there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from ..config.config import Config, digest
from ..data.batch import Batch
from ..data.source import Source, stream
from ..errors import CheckpointError
from ..files.checkpoint import atomic_write_text
from ..methods.contract import Method
from .degrade import assemble
from .distributed import World
from .precision import PLAIN, Precision, choose_precision, precision_from
from .recording import WARM_UP, Recorder, recorder_for, why_launched
from .slices import is_separable, slice_count

FILE_NAME = "precision.json"


def decided(
    folder: Path, config: Config, method: Method, source: Source, nets: dict[str, nn.Module], world: World
) -> Precision:
    """The precision of a new run: what its folder says a run of these weights decided, else what a trial decides.

    Args:
        folder: of the run; gets the decision before this returns.
        config, method, source: of the run.
        nets: with their first weights; not changed.
        world: the main process decides for all.
    """
    text = ""
    if world.is_main:
        path = folder / FILE_NAME
        run = _run(config, world)
        precision = _read(path, run)
        if precision is None:
            precision = _tried(config, method, source, nets, world)
            atomic_write_text(path, json.dumps({**run, "precision": asdict(precision)}, indent=1) + "\n")
        text = json.dumps(asdict(precision))
    return precision_from(json.loads(world.from_main(text)))


def _run(config: Config, world: World) -> dict[str, object]:
    """What a decision holds for."""
    train = config.train
    return {
        "config": digest(config),
        "device": str(world.device),
        "processes": world.size,
        "accumulate": train.accumulate,
        "compile": train.compile,
        "slices": train.parallel_slices,
        "threads": train.threads,
    }


def _read(path: Path, run: dict[str, object]) -> Precision | None:
    """The decision of an earlier start of the same run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return precision_from(found.pop("precision")) if {**found, **run} == found else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CheckpointError):
        return None


def _tried(config: Config, method: Method, source: Source, nets: dict[str, nn.Module], world: World) -> Precision:
    """What a trial on the first batch decides."""
    train = config.train
    rows = -(-config.data.batch // world.size // train.accumulate)

    def prepared(precision: Precision) -> tuple[dict[str, nn.Module], Batch]:
        copies = {name: precision.arranged(copy.deepcopy(net)) for name, net in nets.items()}
        with closing(stream(source, range(1), world.rank, world.size)) as batches:
            batch = assemble(method, next(batches), world.device)
        with torch.no_grad():
            return copies, precision.batch(method.prepare(copies, batch.take(slice(0, rows)), 0))

    def separable() -> bool:
        return is_separable(method, *prepared(PLAIN))

    def trial(precision: Precision) -> Callable[[], None]:
        copies, batch = prepared(precision)

        def step() -> None:
            with precision.autocast(world.device):
                terms = method.phases[0].loss(copies, batch, 0)
            torch.stack([value.float() for value in terms.losses.values()]).sum().backward()

        recorder = None if train.graphs == "off" or why_launched(config, method, world) else recorder_for(world.device)
        return step if recorder is None else repeated(step, recorder)

    precision = choose_precision(train.precision, world.device, trial)
    asked = train.parallel_slices if train.compile == "off" else 1
    count = slice_count(asked, world.device, rows, separable)
    slices = f"; {count} slices of a batch side by side" if count > 1 else ""
    return replace(precision, slices=count, reason=precision.reason + slices)


def repeated(step: Callable[[], None], recorder: Recorder) -> Callable[[], None]:
    """A step as the run will take it on a GPU: recorded, where that can be. Launches hide what a number format gains."""
    for _ in range(WARM_UP):
        step()
    try:
        return recorder.record(step)
    except RuntimeError:
        return step  # the run will meet the same, and say why
