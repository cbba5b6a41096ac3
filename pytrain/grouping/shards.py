"""Scoring by processes that need not know each other: each measures some of the tasks, and the scores of one process are
made from what all of them left.

A shard leaves `scores-I-of-N.toml`: what it is made from, the precision, and a line for each task as `measurements` writes
it. A score is a function of network, task and settings, so it does not matter who measured it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pydegrade.files import folder_lock
from pydegrade.shell import all_shards

from ..errors import DataError
from ..files.checkpoint import atomic_write_text
from ..files.digested_toml import StageRecord, read_record, write_record
from ..training.distributed import World, choose_device
from . import scores
from .measurements import Measurement, Values
from .run import GroupingRun
from .runner import complete
from .stages import (
    Digests,
    Stage,
    drawn_tasks,
    measured_rows,
    score_sources,
    scorer_of,
    scoring_precision,
    stage_table,
    unfinished,
    write_scoring,
)

STAGE = "scores.shard"


@dataclass(frozen=True)
class ScoreShard:
    """What a shard left.

    Attributes:
        path: its file.
        number, count: which shard it is.
        precision: that its network computed with.
        lines: by name of a measurement and row, the line of JSON that says what was measured.
    """

    path: Path
    number: int
    count: int
    precision: Mapping[str, Any]
    lines: Mapping[str, Mapping[int, str]]


def score_shard(run: GroupingRun, place: tuple[int, int], say: Callable[[str], None]) -> Path:
    """Measure the tasks number, number + count, ... of what the indicator measures first.

    Args:
        run: from `open_grouping`.
        place: (number, count).
        say: takes lines for people.
    Returns:
        The shard's file.
    Raises:
        DataError: more shards than tasks, or a file that was made from something else.
        pydegrade.errors.OutputError: another process works on this shard.
    """
    number, count = place
    batch = drawn_tasks(run)
    if count > len(batch):
        raise DataError(f"--shard: {len(batch)} tasks make at most {len(batch)} shards, got {count}")
    path = shard_path(run, number, count)
    with folder_lock(run.folder, path.stem):
        world = _alone(run)
        complete(run, _stage(run, "tasks"), world, say)
        made_from = score_sources(run)
        if path.exists() and not run.redo:
            read_record(path, STAGE, made_from)
            return path
        parts = unfinished(path)
        precision = scoring_precision(run, parts, batch, made_from, world)
        measured: dict[str, list[str]] = {}
        for name, function, rows in _looks(run):
            mine = Measurement(scorer_of(run, batch, precision, world), function, name)
            found = measured_rows(run, mine, rows[number::count], parts / name, world)
            measured[name] = [_line(row, values) for row, values in found.items()]
        values = {"shard": f"{number}/{count}", "precision": dataclasses.asdict(precision), "measured": measured}
        about = "What one process measured of the tasks; `pytrain group merge` makes the scores of all shards."
        write_record(path, StageRecord(STAGE, made_from, values), about)
        shutil.rmtree(parts, ignore_errors=True)
    say(f"shard {number}/{count}: {sum(map(len, measured.values()))} measurements -> {path}")
    return path


def merge_scores(run: GroupingRun, paths: Sequence[Path], say: Callable[[str], None]) -> None:
    """Make scores.toml of all shards: the file that one process would have made, byte for byte.

    What the indicator looks at again after all first measurements (`halving`) is measured here.

    Args:
        run: from `open_grouping`.
        paths: files of the shards, in any order.
        say: takes lines for people.
    Raises:
        DataError: shards of two runs, damaged, or made from something else.
        pydegrade.errors.OutputError: one twice, or missing.
    """
    with folder_lock(run.folder):
        world = _alone(run)
        complete(run, _stage(run, "tasks"), world, say)
        made_from = score_sources(run)
        shards = _all_of_one_run([_read(path, made_from) for path in paths])
        parts = unfinished(run.path("scores.toml"))
        shutil.rmtree(parts, ignore_errors=True)
        write_scoring(parts, made_from, shards[0].precision)
        for name, _, rows in _looks(run):
            held = {row: line for shard in shards for row, line in shard.lines.get(name, {}).items()}
            for shard in shards:
                if sorted(shard.lines.get(name, {})) != sorted(rows[shard.number :: shard.count]):
                    raise DataError(f"{shard.path}: must hold the measurement {name} of the shard's tasks, got others")
            atomic_write_text(parts / name / "rank_0.jsonl", "".join(held[row] + "\n" for row in rows))
        complete(run, _stage(run, "score"), world, say)


def shard_path(run: GroupingRun, number: int, count: int) -> Path:
    """The file of a shard."""
    return run.path(f"scores-{number}-of-{count}.toml")


def _looks(run: GroupingRun) -> list[scores.Look]:
    return scores.first_looks(run.options.indicator, run.options.tasks, run.options.seed)


def _stage(run: GroupingRun, name: str) -> Stage:
    return next(stage for stage in stage_table(run) if stage.name == name)


def _alone(run: GroupingRun) -> World:
    """This process by itself, also where torchrun started it."""
    device = choose_device(run.config.run.device, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return World(0, 1, 1, device)


def _line(row: int, values: Values) -> str:
    return json.dumps({"row": row, **values}, allow_nan=False)


def _read(path: Path, made_from: Digests) -> ScoreShard:
    values = read_record(path, STAGE, made_from).values
    fault = DataError(f"{path}: must hold the measurements of a shard of `pytrain group score --shard`")
    number, _, count = str(values.get("shard", "")).partition("/")
    measured, precision = values.get("measured"), values.get("precision")
    if not (number.isdecimal() and count.isdecimal() and len(count) < 7 and int(number) < int(count)):
        raise fault
    if not isinstance(measured, dict) or not isinstance(precision, dict):
        raise fault
    lines: dict[str, dict[int, str]] = {}
    for name, texts in measured.items():
        try:
            lines[name] = {
                int(json.loads(text)["row"]): json.dumps(json.loads(text), allow_nan=False) for text in texts
            }
        except (ValueError, OverflowError, KeyError, TypeError, RecursionError):
            raise fault from None
    return ScoreShard(path, int(number), int(count), precision, lines)


def _all_of_one_run(shards: Sequence[ScoreShard]) -> list[ScoreShard]:
    """The shards in order."""
    first = shards[0]
    for shard in shards:
        if shard.count != first.count:
            raise DataError(
                f"{shard.path}: must be one of the {first.count} shards of {first.path}, got one of {shard.count}"
            )
        if shard.precision != first.precision:
            raise DataError(
                f"{shard.path}: must be computed as {first.path}, in {first.precision.get('name')}, got "
                f"{shard.precision.get('name')}; set train.precision, and score with --redo"
            )
    return all_shards(first.count, ((shard.number, str(shard.path), shard) for shard in shards))
