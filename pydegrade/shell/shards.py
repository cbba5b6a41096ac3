"""Parts of a run for several processes: `--shard I/N`, written out or taken from what started the process."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from ..errors import OutputError

Shard = TypeVar("Shard")
SHARD_HELP = "0 <= I < N; auto: from SLURM's array, torchrun's ranks, or both."


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """(number, count) of "I/N", or of "auto".

    "auto" is the task of a SLURM job array, the rank of a torchrun, or, where both are there, every rank of every task.

    Args:
        text: what the user wrote.
        environment: variables SLURM_ARRAY_TASK_ID, _COUNT, _MIN and _STEP; RANK and WORLD_SIZE.
    Raises:
        OutputError: neither form, or no such variables.
    """
    if text == "auto":
        places = [place for place in (_array_task(environment), _rank(environment)) if place is not None]
        if not places:
            raise OutputError(
                "--shard auto: needs SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, or RANK and WORLD_SIZE, got neither"
            )
        number, count = 0, 1
        for part, parts in places:
            number, count = number * parts + part, count * parts
        return number, count
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise OutputError(f"--shard must be I/N with 0 <= I < N, got {text[:60]!r}")
    return int(match[1]), int(match[2])


def all_shards(count: int, shards: Iterable[tuple[int, str, Shard]]) -> list[Shard]:
    """The shards of a run in the order of their numbers.

    Args:
        count: of all of them.
        shards: number, name for people, and the shard itself.
    Raises:
        OutputError: one is there twice, or some are missing, of which the first eight are named.
    """
    found: dict[int, tuple[str, Shard]] = {}
    for number, name, shard in shards:
        if number in found:
            raise OutputError(f"{found[number][0]} and {name}: both are shard {number}/{count}; name each once")
        found[number] = name, shard
    missing = [number for number in range(count) if number not in found]
    if missing:
        listed = ", ".join(f"{number}/{count}" for number in missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise OutputError(f"all {count} shards of a run make a whole one, missing: {listed}")
    return [found[number][1] for number in range(count)]


def shard_folder(out: Path, place: tuple[int, int]) -> Path:
    """Where shard (number, count) of a run goes: OUT-I-of-N, beside OUT."""
    whole = _named(out)
    return whole.with_name(f"{whole.name}-{place[0]}-of-{place[1]}")


def merge_line(out: Path, count: int) -> str:
    """What a shell makes one folder of, once all shards are there."""
    whole = shlex.quote(str(_named(out)))
    return f"degrade merge {whole} {whole}-*-of-{count}"


def _named(out: Path) -> Path:
    """A folder by its name, whatever "." and ".." it was given by."""
    return out if out.name not in ("", "..") else out.resolve()


def _array_task(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """(number, count) of a task of a job array; arrays may begin at any number and have any step."""
    if "SLURM_ARRAY_TASK_ID" not in environment and "SLURM_ARRAY_TASK_COUNT" not in environment:
        return None
    task = _number(environment, "SLURM_ARRAY_TASK_ID")
    first = _number(environment, "SLURM_ARRAY_TASK_MIN", "0")
    step = _number(environment, "SLURM_ARRAY_TASK_STEP", "1")
    count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
    number, between = divmod(task - first, max(step, 1))
    if between or not 0 <= number < count:
        raise OutputError(
            f"--shard auto: SLURM_ARRAY_TASK_ID must be one of {count} numbers from {first} on, {step} apart, got {task}; "
            "start a whole array, or give I/N"
        )
    return number, count


def _rank(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """(rank, processes) of a torchrun."""
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return None
    rank, size = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    if rank >= size:
        raise OutputError(f"--shard auto: RANK must be below WORLD_SIZE, got {rank} and {size}")
    return rank, size


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    text = environment.get(name, default)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise OutputError(f"--shard auto: {name} must be a whole number, got {text[:60]!r}")
    return int(text)
