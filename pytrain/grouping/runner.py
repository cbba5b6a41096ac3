"""Runs the stages of a grouping in the order of their table, each only where its file is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

from pydegrade.files import folder_lock

from ..errors import DataError
from ..training.distributed import World, join
from .run import GroupingRun
from .stages import STAGES, Stage, stage_table

Say = Callable[[str], None]


def run_stages(run: GroupingRun, names: Sequence[str] = STAGES, say: Say = print) -> None:
    """Run stages in order. Under torchrun, all processes call this.

    Args:
        run: from `open_grouping`.
        names: out of STAGES; "joint" and "improve" do every round that they can.
        say: takes lines for people.
    Raises:
        PytrainError: one line; finished stages and finished tasks stay.
        OutputError: another process works in the folder.
    """
    run_stage_table(run, stage_table(run), say, names)


def run_stage_table(run: GroupingRun, table: Sequence[Stage], say: Say, names: Sequence[str] | None = None) -> None:
    """Run stages of a table in order, those of some names or all; see `run_stages`."""
    is_main = os.environ.get("RANK", "0") == "0"
    with folder_lock(run.folder) if is_main else nullcontext(), join(run.config.run.device) as world:
        for stage in table:
            asked = names is None or stage.name in names
            if asked and not (stage.waits and any(not need.exists() for need in stage.needs)):
                complete(run, stage, world, say if world.is_main else _silent)


def complete(run: GroupingRun, stage: Stage, world: World, say: Say) -> None:
    """Make the file of a stage, unless it is there and was made from what it would be made from now.

    Raises:
        DataError: it was made from something else, and the run does not redo.
    """
    made_from = stage.sources()
    made = None
    if not _is_done(run, stage, partial(stage.check, made_from), world):
        made = stage.make(made_from, world)
        world.wait()  # until nobody reads unfinished work any more
        if world.is_main:
            made.write(stage.path)
    if world.is_main and stage.unfinished is not None:
        shutil.rmtree(stage.unfinished, ignore_errors=True)
    world.wait()
    if made is not None:
        say(f"{stage.name:8} {made.summary} -> {stage.path}")


def _is_done(run: GroupingRun, stage: Stage, check: Callable[[], object], world: World) -> bool:
    """The main process looks, the others hear: while they looked, it might already write."""
    found = "no"
    if world.is_main and stage.path.exists():
        try:
            check()
            found = "yes"
        except DataError as error:
            found = "no" if run.redo else str(error)
    found = world.from_main(found)
    if found not in ("yes", "no"):
        raise DataError(found)
    return found == "yes"


def _silent(line: str) -> None:
    pass
