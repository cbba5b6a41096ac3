"""Runs of `degrade sample` as files of many samples: tar in webdataset's layout, Parquet as Hugging Face stores images."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ImageError, OutputError
from ...files.lock import folder_lock
from ...files.parquet_reader import pyarrow_parquet
from ...files.paths import display_name
from ...files.sample_manifest import (
    SUMS_FILE,
    RunIdentity,
    check_tables,
    further_tasks_file,
    pair_name,
    read_run,
    sha256_of,
)
from ...files.verify import read_entry
from ...shell.outputs import Results
from ...shell.progress import Progress
from ...tasks.task import TaskBatch
from .pack_formats import FORMATS, WRITERS, PackedSample
from .pairs import kinds_of
from .sample_record import Finished, read_samples
from .tasks import TASKS, task_object

_PACKED = re.compile(rf"(pairs(-[0-9]+)?)-[0-9]{{6,}}[.]({'|'.join(FORMATS)})")


@dataclass(frozen=True)
class Packed:
    """What became of a run.

    Attributes:
        samples, whole: how many it holds, and how many the run or shard has when it is done.
        total: files that it makes.
        made, kept: of this start, and of earlier ones.
        damaged: one line for each file that a damaged sample kept from being made.
        interrupted: whether Ctrl-C ended it.
    """

    samples: int
    whole: int
    total: int
    made: int
    kept: int
    damaged: tuple[str, ...]
    interrupted: bool


def pack(run: Path, out: Path, samples: int, force: bool = False, file_format: str = "tar") -> Packed:
    """Write the finished samples of a run as files of many, in order, a sample at a time.

    Args:
        run: folder or shard.
        out: checked folder.
        samples: per file.
        force: make files again that are there, also over files of another origin.
        file_format: one of `pack_formats.FORMATS`.
    Raises:
        OutputError, RecordError: a folder that holds no pairs, a result over a file of another origin, or files in `out`
            that are no part of the same whole.
        ImageError: Parquet without pyarrow.
    """
    identity, asked, _ = read_run(run)
    where = display_name(run)
    if identity.format == "none" or not ((run / TASKS).is_file() and (run / SUMS_FILE).is_file()):
        raise OutputError(f"{where}: must hold pairs and their tables; `degrade sample` ends a run that was killed")
    if file_format == "parquet":
        pyarrow_parquet()
        if identity.format == "npy":
            raise OutputError(f"{where}: holds npy files, which no reader of Parquet takes for images; make it as png")
    check_tables(run, [TASKS])
    tasks, record = TaskBatch.load(run / TASKS), read_samples(run)
    kinds = kinds_of(tasks, identity.more_digests, identity.crops)
    more = _more_tasks(run, identity, tasks)
    prefix = f"pairs-{identity.shard.partition('/')[0]}" if identity.shard else "pairs"
    starts = range(0, len(tasks), samples)
    names = {
        f"{prefix}-{number:06d}.{file_format}": slice(start, start + samples) for number, start in enumerate(starts)
    }
    made = kept = 0
    damaged: list[str] = []
    interrupted = False
    with folder_lock(out, prefix):
        results = Results(out, "pack", {"samples": samples}, force, f".pydegrade-{prefix}.jsonl")
        results.check(names, [])
        _check_others(out, prefix, names)
        _check_same(out, prefix, results, {"samples": samples, **_same_run(identity)})
        progress = Progress(len(tasks), 0, "samples")
        try:
            for name, rows in names.items():
                part = tasks.take(rows)
                if results.is_made(name, run / SUMS_FILE, name):
                    kept += 1
                    progress.advance(len(part))
                    continue
                try:
                    with (
                        results.filling(name, run / SUMS_FILE, name) as temporary,
                        WRITERS[file_format](temporary, kinds) as add,
                    ):
                        others = {name: table.take(rows) for name, table in more.items()}
                        for row in range(len(part)):
                            add(_sample(run, part, others, row, kinds, identity.format, record))
                            progress.advance()
                    made += 1
                except ImageError as error:
                    damaged.append(f"{name}: {error}")
        except KeyboardInterrupt:
            interrupted = True
        finally:
            progress.close()
    number, _, count = identity.shard.partition("/")
    whole = len(range(int(number), asked, max(int(count), 1))) if count else asked
    return Packed(len(tasks), whole, len(names), made, kept, tuple(damaged), interrupted)


def _more_tasks(run: Path, identity: RunIdentity, tasks: TaskBatch) -> dict[str, TaskBatch]:
    """Further tasks of the samples, by the name of their LR images.

    Raises:
        OutputError: tables that are not of the run's samples.
    """
    check_tables(run, map(further_tasks_file, identity.more_digests))
    more = {name: TaskBatch.load(run / further_tasks_file(name)) for name in identity.more_digests}
    for name, others in more.items():
        if others.indices.tolist() != tasks.indices.tolist():
            raise OutputError(
                f"{display_name(run)}: {TASKS} and {further_tasks_file(name)} must be of the same samples"
            )
    return more


def _same_run(identity: RunIdentity) -> dict[str, Any]:
    """What tells one run from another."""
    names = ("space", "digest", "seed", "start", "hr_digest", "shard")
    several = {"more": identity.more, "crops": identity.crops} if identity.more or identity.crops > 1 else {}
    return {**{name: getattr(identity, name) for name in names}, **several}


def _check_same(out: Path, prefix: str, results: Results, facts: Mapping[str, Any]) -> None:
    """OutputError where files are there that an earlier start made of another run, or with other numbers: made anew one by
    one, a reader would meet samples twice meanwhile. --force makes them anew."""
    before = results.claimed(prefix)
    is_there = any(match and match[1] == prefix for match in (_PACKED.fullmatch(path.name) for path in out.iterdir()))
    if before and is_there and not results.force:
        for name, value in facts.items():
            got = before.get(name)
            if got != value:
                raise OutputError(
                    f"{display_name(out)}: holds files with {name} {display_name(repr(got)[:120])}, got {value!r}; choose "
                    "another folder, or --force"
                )
    results.claim(prefix, facts)


def _check_others(out: Path, prefix: str, names: Container[str]) -> None:
    """OutputError where other files are there whose samples a reader of the folder would meet twice, or of another run: of
    fewer samples a file, or of a whole run beside those of shards."""
    for path in sorted(out.glob("pairs-*")):
        match = _PACKED.fullmatch(path.name)
        if match is None or path.name in names:
            continue
        if match[1] == prefix or "pairs" in (match[1], prefix):
            raise OutputError(
                f"OUT: {display_name(path)} is of another run, or of another --samples; remove it, or choose another folder"
            )


def _sample(
    run: Path,
    tasks: TaskBatch,
    more: Mapping[str, TaskBatch],
    row: int,
    kinds: tuple[str, ...],
    file_format: str,
    record: dict[int, Finished],
) -> PackedSample:
    """A sample with the contents of its files.

    Raises:
        ImageError: an image that is not as it was written.
    """
    index = int(tasks.indices[row])
    contents = [read_entry(run, pair_name(kind, index, file_format)) for kind in kinds]
    if index not in record or record[index].sha256 != sha256_of(contents):
        raise ImageError(f"{display_name(run)}: sample {index} is not as it was written")
    ending = "png" if file_format == "lmdb" else file_format
    task = task_object(tasks, row)
    if more:
        task["more"] = {name: task_object(others, row) for name, others in more.items()}
    return PackedSample(index, dict(zip(kinds, contents)), ending, task)
