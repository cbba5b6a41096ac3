"""Shards of `degrade apply`: what each says of itself, and the folder that one process would have left."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import ImageError, OutputError
from ...files.atomic import write_atomic
from ...files.lock import folder_lock
from ...files.paths import display_name, open_regular, path_inside, read_lines, sha256_of_file
from ...files.sample_manifest import SUMS_FILE, read_sums, sum_line
from ...shell.outputs import Made, Results, made_of
from ...shell.progress import Progress
from ...shell.shards import all_shards

SHARD_FILE = "shard.json"
TASKS_CSV = "tasks.csv"
"""Image, address and fingerprint of every result, where images have tasks of their own."""
_MOST_BYTES = 2**26


@dataclass(frozen=True)
class AppliedShard:
    """What SHARD_FILE says.

    Attributes:
        number, count: of the shard: images number, number + count, ... in natural order.
        images: of the whole run.
        digest: of names, tasks and options of the whole run; shards of one run have the same.
        space, format: digest of the tasks' space, and of the results' format, for messages.
        one_each: whether each image has a task of its own, so that there is a TASKS_CSV.
        skipped: names of images of the shard that have no results.
    """

    number: int
    count: int
    images: int
    digest: str
    space: str
    format: str
    one_each: bool
    skipped: tuple[str, ...] = ()


def run_digest(names: Sequence[str], tasks: Sequence[str], options: Sequence[Any]) -> str:
    """SHA-256, 64 hex digits, of names of images, texts of tasks and plain options."""
    return hashlib.sha256(
        json.dumps([list(names), list(tasks), list(options)]).encode("utf-8", "surrogatepass")
    ).hexdigest()


def write_shard(out: Path, shard: AppliedShard, results: Sequence[str]) -> None:
    """SHARD_FILE and SHA256SUMS of a shard that is done.

    Args:
        out: its folder, held.
        shard: what it is.
        results: names of the results that are there.
    """
    write_atomic(out / SHARD_FILE, (json.dumps(asdict(shard), indent=2) + "\n").encode())
    names = [*results, *([TASKS_CSV] if shard.one_each else []), SHARD_FILE]
    lines = (sum_line(sha256_of_file(out / name), name) for name in names)
    write_atomic(out / SUMS_FILE, "".join(lines).encode("utf-8", "surrogateescape"))


def is_applied_shard(folder: Path) -> bool:
    """Whether a folder is a finished shard of `degrade apply`."""
    return (folder / SHARD_FILE).is_file()


@dataclass(frozen=True)
class MergedResults:
    """What became of shards.

    Attributes:
        images: of the run.
        copied, kept: results of this start, and of an earlier one.
        skipped: images without results.
        damaged: one line for each result that is not as it was written.
    """

    images: int
    copied: int
    kept: int
    skipped: tuple[str, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """A shard: its folder, what it says, the SHA-256 of its results, lines of its record and of its table."""

    folder: Path
    shard: AppliedShard
    sums: Mapping[str, str]
    record: Mapping[str, Made]
    table: tuple[str, ...]


def merge_applied(out: Path, folders: Sequence[Path]) -> MergedResults:
    """Copy all shards of a run of `degrade apply` into one folder, each file compared with its shard's SHA256SUMS.

    Args:
        out: checked folder: new, empty, or of an earlier start.
        folders: the shards, in any order.
    Raises:
        OutputError: shards of two runs, one twice, one missing, or one that is damaged or not finished.
    """
    parts = _all_of_one_run([_read(Path(folder)) for folder in folders])
    first = parts[0].shard
    skipped = tuple(sorted(name for part in parts for name in part.shard.skipped))
    copied = kept = 0
    damaged: list[str] = []
    with folder_lock(out):
        results = Results(out, "apply", {})
        names = [name for part in parts for name in part.sums]
        results.check([*names, *([TASKS_CSV] if first.one_each else [])], [], "OUT")
        progress = Progress(len(names), 0, "results")
        try:
            for part in parts:
                for name, wanted in part.sums.items():
                    try:
                        if results.is_there(name, part.record[name]):
                            kept += 1
                        else:
                            source = part.folder / name  # checked when it was read; here a backslash is a letter
                            with results.taking(name, part.record[name]) as temporary, open_regular(source) as stream:
                                with open(temporary, "wb") as target:
                                    shutil.copyfileobj(stream, target, 2**20)
                                if sha256_of_file(temporary) != wanted:
                                    raise ImageError(f"{display_name(source)}: is not as {SUMS_FILE} says")
                            copied += 1
                    except ImageError as error:
                        damaged.append(str(error))
                    progress.advance()
        finally:
            progress.close()
        if first.one_each:
            results.claim(TASKS_CSV)
            rows = [parts[row % first.count].table[1 + row // first.count] for row in range(first.images)]
            text = "\n".join([parts[0].table[0], *rows, ""])
            write_atomic(out / TASKS_CSV, text.encode("utf-8", "surrogateescape"))
    return MergedResults(first.images, copied, kept, skipped, tuple(damaged))


def _read(folder: Path) -> _Part:
    """A shard, what it says compared with its SHA256SUMS."""
    where = display_name(folder)
    if not (is_applied_shard(folder) and (folder / SUMS_FILE).is_file()):
        raise OutputError(
            f"{where}: must be a finished shard of degrade apply, got a folder without {SHARD_FILE} and {SUMS_FILE}"
        )
    sums = dict(read_sums(folder / SUMS_FILE))
    if sums.pop(SHARD_FILE, "") != sha256_of_file(folder / SHARD_FILE):
        raise OutputError(f"{where}: {SHARD_FILE} is not as {SUMS_FILE} says")
    shard = _shard(folder / SHARD_FILE)
    table: tuple[str, ...] = ()
    if shard.one_each:
        if sums.pop(TASKS_CSV, "") != sha256_of_file(folder / TASKS_CSV):
            raise OutputError(
                f"{where}: {TASKS_CSV} is not as {SUMS_FILE} says; its line of `degrade apply` makes it anew"
            )
        table = tuple(read_lines(folder / TASKS_CSV))
        if len(table) != 1 + len(range(shard.number, shard.images, shard.count)):
            raise OutputError(f"{where}: {TASKS_CSV} must have a row for each image of the shard")
    record = made_of(folder)
    for name, wanted in sums.items():
        try:
            path_inside(folder, name)
        except ImageError as error:
            raise OutputError(str(error)) from None
        if name not in record or record[name].sha256 != wanted:
            raise OutputError(f"{where}: its record and {SUMS_FILE} differ about {display_name(name)}")
    return _Part(folder, shard, sums, record, table)


def _shard(path: Path) -> AppliedShard:
    kinds = {"number": int, "count": int, "images": int, "digest": str, "space": str, "format": str, "one_each": bool}
    try:
        with open_regular(path) as stream:
            said = json.loads(stream.read(_MOST_BYTES))
        values = {name: said[name] for name in kinds}
        skipped = said["skipped"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise OutputError(f"{display_name(path)}: must describe a shard of degrade apply") from None
    right = all(type(values[name]) is kind for name, kind in kinds.items()) and isinstance(skipped, list)
    if not (
        right and all(isinstance(one, str) for one in skipped) and 0 <= values["number"] < values["count"] <= 10**6
    ):
        raise OutputError(f"{display_name(path)}: must describe a shard of degrade apply")
    return AppliedShard(**values, skipped=tuple(skipped))


def _all_of_one_run(parts: Sequence[_Part]) -> list[_Part]:
    """The shards in order."""
    first = parts[0]
    for part in parts:
        for name, what in (("count", "number of shards"), ("images", "number of images"), ("space", "space"),
                           ("format", "format"), ("digest", "images, tasks and options")):  # fmt: skip
            ours, theirs = getattr(first.shard, name), getattr(part.shard, name)
            if ours != theirs:
                raise OutputError(
                    f"{display_name(part.folder)}: must be of the run of {display_name(first.folder)}, whose {what} "
                    f"{'are' if name == 'digest' else 'is'} {display_name(str(ours)[:16])}, got "
                    f"{display_name(str(theirs)[:16])}"
                )
    return all_shards(first.shard.count, ((part.shard.number, display_name(part.folder), part) for part in parts))
