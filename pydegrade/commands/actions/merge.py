"""Shards of a run of `degrade sample` put together: the folder that one process would have left."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ...errors import ImageError, OutputError
from ...files.atomic import replacing
from ...files.lock import folder_lock
from ...files.paths import display_name, open_regular, path_inside
from ...files.read import read_rgb8
from ...files.sample_manifest import (
    MANIFEST_FILE,
    SKIPPED_FILE,
    SUMS_FILE,
    PairStore,
    RunIdentity,
    check_format,
    check_tables,
    further_tasks_file,
    open_run,
    open_store,
    pair_name,
    read_run,
    read_sums,
    sha256_of,
    write_sums,
    write_task_tables,
)
from ...files.verify import read_entry
from ...files.write import write_image
from ...native import binding
from ...shell.outputs import RECORD_FILE
from ...shell.progress import Progress
from ...shell.shards import all_shards
from ...tasks.sampler import sample
from ...tasks.task import TaskBatch
from .pairs import kinds_of
from .sample import SHEET_PAIRS, sheet_of
from .sample_record import Finished, append_samples, read_samples, write_samples
from .tasks import TASKS

BATCH = 256
"""Samples between two notes of what is done."""

_FACTS = ("scale", "source", "versions", "hr", "hr_images", "images_per_sample")
"""What run.json says for people, taken over from the first shard."""


@dataclass(frozen=True)
class Part:
    """One shard.

    Attributes:
        folder: of it.
        identity: of the run, `shard` included.
        total: tasks of the whole run.
        facts: what else its run.json says.
        tasks: its finished tasks.
        more: further tasks of the same samples, by the name of their LR images.
        record: sample number -> what is known of its files, as SHA256SUMS has it too.
        reasons: sample number -> why it was skipped.
        header: first line of its manifest.
    """

    folder: Path
    identity: RunIdentity
    total: int
    facts: Mapping[str, Any]
    tasks: TaskBatch
    more: Mapping[str, TaskBatch]
    record: Mapping[int, Finished]
    reasons: Mapping[int, str]
    header: str

    @property
    def place(self) -> tuple[int, int]:
        number, _, count = self.identity.shard.partition("/")
        return int(number), int(count)


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        total: samples of the run.
        skipped: those that are not in it.
        damaged: one line for each that its shard holds otherwise than it was written.
        interrupted: whether Ctrl-C ended it.
    """

    total: int
    skipped: int
    damaged: tuple[str, ...]
    interrupted: bool


def merge(out: Path, shards: Sequence[Path]) -> Merged:
    """Put all shards of a run together.

    Args:
        out: new, empty, or of an earlier merge of the same.
        shards: folders that `degrade sample --shard` filled, in any order.
    Raises:
        OutputError, RecordError: shards of two runs, one twice, one missing, or one that is not finished.
    """
    parts = _all_of_one_run([_read(Path(folder)) for folder in shards])
    first = parts[0]
    identity = replace(first.identity, shard="")
    check_format(identity.format)
    tasks = _whole(parts)
    kinds = kinds_of(tasks, first.more, identity.crops)
    facts = {name: first.facts[name] for name in _FACTS if name in first.facts}
    with folder_lock(out):
        open_run(out, identity, first.total, facts)
        stored_bytes = sum(path.stat().st_size for part in parts for path in part.folder.glob("*.lmdb/data.mdb"))
        store = open_store(out, kinds, identity.format, stored_bytes)
        try:
            record, damaged, interrupted = _copied(out, parts, store, kinds)
        finally:
            store.close()

        # Tables and sheet, as `degrade sample` ends.
        write_samples(out, record)
        reasons = {index: reason for part in parts for index, reason in part.reasons.items()} | damaged
        there = np.array(sorted(record), np.int64)
        finished = tasks.take(np.isin(tasks.indices, there))
        more = {name: _sorted([part.more[name] for part in parts]) for name in first.more}
        _write_manifest(out, parts, record)
        write_task_tables(
            out, finished, reasons, {name: others.take(np.isin(others.indices, there)) for name, others in more.items()}
        )
        write_sums(out, identity.format, kinds, {index: one.sha256 for index, one in record.items()})
        shown = finished.take(slice(0, SHEET_PAIRS))
        if len(shown):
            hr, lr = ([_pixels(out, pair_name(kind, index, identity.format)) for index in shown.indices.tolist()]
                      for kind in ("hr", "lr"))  # fmt: skip
            write_image(out / "sheet.png", sheet_of(shown, hr, lr, identity.start), level=3)
    return Merged(first.total, first.total - len(record), tuple(damaged.values()), interrupted)


# ---- reading shards


def _read(folder: Path) -> Part:
    """A shard, its tables compared with its SHA256SUMS.

    Raises:
        OutputError: no shard, a damaged one, or one that is not finished.
    """
    where = display_name(folder)
    identity, total, facts = read_run(folder)
    number, _, count = identity.shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and len(count) < 7 and int(number) < int(count) <= total):
        raise OutputError(f"{where}: must be a shard (degrade sample --shard I/N), got a whole run")
    if not (folder / SUMS_FILE).is_file():
        raise OutputError(
            f"{where}: must be a finished shard, got one without {SUMS_FILE}; its `degrade sample` ends it"
        )
    sums = read_sums(folder / SUMS_FILE)
    check_tables(folder, (MANIFEST_FILE, TASKS, *map(further_tasks_file, identity.more_digests), SKIPPED_FILE))
    tasks = TaskBatch.load(folder / TASKS)
    if tasks.space.digest != identity.digest:
        raise OutputError(f"{where}: run.json and {TASKS} must be of one space, got two")
    more = {name: TaskBatch.load(folder / further_tasks_file(name)) for name in identity.more_digests}
    for name, others in more.items():
        if others.space.digest != identity.more_digests[name] or others.indices.tolist() != tasks.indices.tolist():
            raise OutputError(f"{where}: run.json, {TASKS} and {further_tasks_file(name)} must be of one run")
    kinds = kinds_of(tasks, more, identity.crops)
    known = read_samples(folder)
    record = {index: known[index] for index in tasks.indices.tolist() if index in known}
    for index, one in record.items():
        if one.sha256 != tuple(sums.get(pair_name(kind, index, identity.format), "") for kind in kinds):
            raise OutputError(f"{where}: {RECORD_FILE} and {SUMS_FILE} differ about sample {index}")
    reasons = _reasons(folder / SKIPPED_FILE)
    expected = len(range(int(number), total, int(count)))
    if len(tasks) + len(reasons) != expected or len(record) != len(tasks):
        raise OutputError(
            f"{where}: must be finished, got {len(record)} of {expected} samples; the same `degrade sample` makes the "
            f"rest ({RECORD_FILE} belongs to it)"
        )
    if not identity.addresses and ((tasks.indices - identity.start) % int(count) != int(number)).any():
        raise OutputError(f"{where}: must hold the samples of shard {identity.shard}, got others")
    with _manifest(folder) as file:
        header = file.readline()
        if [index for index, _ in _rows(file)] != tasks.indices.tolist():
            raise OutputError(f"{where}: {MANIFEST_FILE} and {TASKS} must be of the same samples")
    return Part(folder, identity, total, facts, tasks, more, record, reasons, header)


def _reasons(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    try:
        with open_regular(path) as stream:
            rows = list(csv.reader(stream.read().decode("utf-8", "replace").splitlines()))[1:]
    except csv.Error:
        rows = [[]]
    if not all(len(row) == 2 and row[0].isdecimal() and len(row[0]) < 19 for row in rows):
        raise OutputError(f"{display_name(path)}: must be a table of numbers and reasons")
    return {int(index): reason for index, reason in rows}


def _all_of_one_run(parts: Sequence[Part]) -> list[Part]:
    """The shards in order.

    Raises:
        OutputError: naming the first that does not belong, or those that are missing.
    """
    first = parts[0]
    for other in parts[1:]:
        ours, theirs = (
            {**asdict(one.identity), "tasks": one.total, "shard": one.place[1], "header": one.header}
            for one in (first, other)
        )
        for name, value in ours.items():
            if theirs[name] != value:
                what = {"shard": "number of shards", "tasks": "number of tasks"}.get(name, name)
                raise OutputError(
                    f"{display_name(other.folder)}: must be of the run of {display_name(first.folder)}, whose {what} is "
                    f"{display_name(str(value)[:80])}, got {display_name(str(theirs[name])[:80])}"
                )
    return all_shards(first.place[1], ((part.place[0], display_name(part.folder), part) for part in parts))


def _whole(parts: Sequence[Part]) -> TaskBatch:
    """The tasks of the run, those of skipped samples too where the space draws them."""
    first = parts[0]
    if not first.identity.addresses:
        start = first.identity.start
        return sample(first.tasks.space, first.identity.seed, range(start, start + first.total))
    return _sorted([part.tasks for part in parts])


def _sorted(parts: Sequence[TaskBatch]) -> TaskBatch:
    tasks = TaskBatch.concat(parts)
    return tasks.take(np.argsort(tasks.indices, kind="stable"))


# ---- copying


def _copied(
    out: Path, parts: Sequence[Part], store: PairStore, kinds: Sequence[str]
) -> tuple[dict[int, Finished], dict[int, str], bool]:
    """Copy what is not there yet: (record of what is there, sample number -> why it is not, whether Ctrl-C ended it)."""
    there = store.finished() & read_samples(out).keys()
    record: dict[int, Finished] = {}
    damaged: dict[int, str] = {}
    wanted = _in_order(parts)
    progress = Progress(len(wanted), 0, "samples")

    def copied(one: tuple[int, Part]) -> str:
        """ "" for a sample that is stored now, else what is wrong with it."""
        index, part = one
        said = part.record[index].sha256
        try:
            if index in there and store.sha256(index) == said:
                return ""
        except ImageError:
            pass  # what is stored there is damaged
        try:
            names = [pair_name(kind, index, part.identity.format) for kind in kinds]
            contents = [read_entry(part.folder, name) for name in names]
        except ImageError as error:
            return str(error)
        wrong = [name for name, sha256, found in zip(names, said, sha256_of(contents)) if sha256 != found]
        if wrong:
            return f"{display_name(part.folder / wrong[0])}: is not as {SUMS_FILE} says"
        store.put_encoded(index, contents)
        return ""

    interrupted = False
    try:
        with ThreadPoolExecutor(max_workers=binding.get_num_threads() + 1) as pool:
            for begin in range(0, len(wanted), BATCH):
                batch = wanted[begin : begin + BATCH]
                reasons = list(pool.map(copied, batch))
                store.flush()
                damaged |= {index: reason for (index, _), reason in zip(batch, reasons) if reason}
                made = {index: part.record[index] for (index, part), reason in zip(batch, reasons) if not reason}
                append_samples(out, made)
                record |= made
                progress.advance(len(batch))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.close()
    return record, damaged, interrupted


def _in_order(parts: Sequence[Part]) -> list[tuple[int, Part]]:
    return sorted(((index, part) for part in parts for index in part.record), key=lambda one: one[0])


def _pixels(folder: Path, name: str) -> Any:
    """The stored pixels of an image."""
    if name.endswith(".npy"):
        with open_regular(path_inside(folder, name)) as stream:
            return np.load(stream, allow_pickle=False)
    return read_rgb8(folder / name, content=read_entry(folder, name)).array


# ---- the manifest


def _write_manifest(out: Path, parts: Sequence[Part], record: Mapping[int, Finished]) -> None:
    """The rows of all shards in order, a row at a time."""
    with ExitStack() as stack:
        files = [stack.enter_context(_manifest(part.folder)) for part in parts]
        for file in files:
            file.readline()
        temporary = stack.enter_context(replacing(out / MANIFEST_FILE))
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as target:
            target.write(parts[0].header)
            for index, line in heapq.merge(*map(_rows, files)):
                if index in record:
                    target.write(line)


def _manifest(folder: Path) -> TextIO:
    return open(folder / MANIFEST_FILE, encoding="utf-8", errors="surrogateescape", newline="\n")


def _rows(file: TextIO) -> Iterator[tuple[int, str]]:
    for line in file:
        number = line.partition(",")[0]
        if not (number.isdecimal() and len(number) < 19):
            raise OutputError(f"{display_name(file.name)}: every row must begin with a sample's number")
        yield int(number), line
