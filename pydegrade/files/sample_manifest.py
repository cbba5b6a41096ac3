"""The folder that `degrade sample` fills: files of pairs and tables about them, valid whenever the process ends.

A file gets its final name only when it is complete, and a sample is finished when all of its files have theirs. Which
samples are finished is therefore read from the folder itself; no journal can disagree with it. Tables are functions of
the finished samples, written anew at the end of every run.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import ImageError, PydegradeError, needs, shown
from ..tasks.several import MOST_CROPS, tasks_of_crop
from ..tasks.task import TaskBatch
from .atomic import append, make_folder, replacing, write_atomic, write_error
from .dataset import Crops, HrImages
from .lmdb_reader import LmdbReader
from .paths import csv_cell, display_name, open_regular, read_lines, sha256_of_file
from .pixels import Pixels
from .write import ENCODERS, encode_npy, encode_png

FORMATS = ("png", "npy", "lmdb")
RUN_FILE = "run.json"
MANIFEST_FILE = "manifest.csv"
_RUN_FILE_BYTES = 2**20
_NUMBER = re.compile(r"[0-9]{8,18}")
"""A sample's number as files and keys are called."""


class RecordError(PydegradeError):
    """An output folder that cannot take the run."""


@dataclass(frozen=True)
class RunIdentity:
    """What makes two starts the same run; everything else (batch, threads, versions) cannot change a bit.

    Attributes:
        space, digest, seed, start: the tasks; `start` is the index of the first.
        hr_digest: `HrImages.digest`, "" when only parameters are written.
        hr_size_px: side of the crops, 0 when only parameters are written.
        format: one of FORMATS, or "none".
        augment: how crops are mirrored and turned, one of `dataset.AUGMENTS`.
        addresses: digest of the tasks' addresses where they are not those that the space draws for consecutive numbers,
            else "".
        shard: "I/N" of a run of which this folder holds samples I, I + N, ...; "" of a whole one.
        clips: frames of each sample and how they are stored, "15 png"; "" where samples are images.
        more: what else degrades the crops, "lr_large codeformer-large@<digest>, ..." by the names of the images; ""
            where nothing does.
        crops: squares of each sample, 1 to `tasks.several.MOST_CROPS`.
    """

    space: str
    digest: str
    seed: int
    start: int
    hr_digest: str
    hr_size_px: int
    format: str
    augment: str = "hflip"
    addresses: str = ""
    shard: str = ""
    clips: str = ""
    more: str = ""
    crops: int = 1

    def facts(self) -> dict[str, Any]:
        """What run.json says; what is optional stands there only where it says something."""
        return {name: value for name, value in asdict(self).items() if value != _OPTIONAL.get(name)}

    @property
    def more_digests(self) -> dict[str, str]:
        """Name of further LR images -> digest of their space, as `more` has them."""
        entries = [entry.partition(" ") for entry in self.more.split(", ") if entry]
        return {name: space.rpartition("@")[2] for name, _, space in entries}


_OPTIONAL = {"addresses": "", "shard": "", "clips": "", "more": "", "crops": 1}


def open_run(folder: Path, identity: RunIdentity, tasks: int, facts: Mapping[str, Any]) -> None:
    """Make the folder ready for a run: a new one, or the same run as before with at least as many tasks.

    Raises:
        RecordError: the folder holds a different run, or files of something else, or the format needs a package that is
            not there. Nothing is written then.
        WriteError: the folder cannot be written to.
    """
    check_format(identity.format)
    path = folder / RUN_FILE
    if path.exists():
        _check_same_run(path, identity, tasks)
    elif folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RecordError(
            f"{display_name(folder)}: must be new, empty or a folder of an earlier run, got other files (no {RUN_FILE})"
        )
    write_atomic(path, (json.dumps({**identity.facts(), "tasks": tasks, **facts}, indent=2) + "\n").encode())


def _run_facts(path: Path) -> tuple[dict[str, Any], int]:
    """(everything that a run.json says, number of tasks).

    Raises:
        RecordError: it says nothing of a run.
    """
    try:
        with open_regular(path) as stream:
            facts = json.loads(stream.read(_RUN_FILE_BYTES))
        return dict(facts), int(facts["tasks"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        reason = display_name(" ".join(f"{type(error).__name__}: {error}".split())[:120])
        raise RecordError(f"{display_name(path)}: not a description of a run ({reason})") from None


def read_run(folder: Path) -> tuple[RunIdentity, int, dict[str, Any]]:
    """(identity, number of tasks, everything that its run.json says) of a folder that `degrade sample` filled.

    Raises:
        RecordError: no such folder, or a run.json that names no run.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        got = f"a folder without {RUN_FILE}" if folder.is_dir() else "a file" if folder.exists() else "nothing"
        raise RecordError(f"{display_name(folder)}: must be a folder that degrade sample filled, got {got}")
    facts, tasks = _run_facts(path)
    values = {}
    for one in fields(RunIdentity):
        kind = int if one.type == "int" else str
        values[one.name] = facts.get(one.name, one.default)
        if type(values[one.name]) is not kind:
            raise RecordError(f"{display_name(path)}: {one.name} must be {_KIND_NAMES[kind]}")
        if kind is int and not 0 <= values[one.name] < 2**63:
            raise RecordError(f"{display_name(path)}: {one.name} must be in [0, 2^63), got {shown(values[one.name])}")
    if tasks < 0:
        raise RecordError(f"{display_name(path)}: tasks must be at least 0, got {shown(tasks)}")
    identity = RunIdentity(**values)
    if not _SHARD.fullmatch(identity.shard):
        raise RecordError(f"{display_name(path)}: shard must be I/N, got {display_name(identity.shard[:60])!r}")
    if identity.clips:
        raise RecordError(f"{display_name(folder)}: must hold images, got clips")
    if not 1 <= identity.crops <= MOST_CROPS:
        raise RecordError(f"{display_name(path)}: crops must be in [1, {MOST_CROPS}], got {shown(identity.crops)}")
    if not all(map(FURTHER_LR.fullmatch, identity.more_digests)):
        raise RecordError(f"{display_name(path)}: more must be names and spaces, got {shown(identity.more)}")
    if identity.format not in (*FORMATS, "none"):
        raise RecordError(f"{display_name(path)}: format must be one of {', '.join(FORMATS)}")
    return identity, tasks, facts


_SHARD = re.compile(r"|[0-9]{1,6}/[0-9]{1,6}")
FURTHER_LR = re.compile(r"lr_(?!.*(_crop[0-9]+|_address)$)[a-z0-9_]{1,40}")
"""What further LR images of a run may be called: no file, column or other image has such a name."""

_KIND_NAMES = {int: "a whole number", str: "a text"}


def _check_same_run(path: Path, identity: RunIdentity, tasks: int) -> None:
    try:
        before, tasks_before = _run_facts(path)
    except RecordError as error:
        raise RecordError(f"{error}; use another --out") from None
    where = display_name(path.parent)
    for name, value in asdict(identity).items():
        if before.get(name, _OPTIONAL.get(name)) != value:
            got = display_name(repr(before.get(name, _OPTIONAL.get(name)))[:120])
            raise RecordError(f"{where}: holds a run with {name} {got}, got {value!r}; use another --out")
    if tasks < tasks_before:
        raise RecordError(f"{where}: holds a run of {tasks_before} tasks, got {tasks}; use another --out")


# ---- pairs


class PairStore(Protocol):
    """Where the images of samples go. `put` may be called from any thread; the other methods from one."""

    def name(self, kind: str, index: int) -> str:
        """What a manifest calls the image, relative to the folder."""

    def finished(self) -> set[int]:
        """Samples of which all images are stored."""

    def put(self, index: int, images: Mapping[str, Pixels]) -> tuple[str, ...]:
        """Encode the images of one sample, by kind, and store them (at the latest at the next `flush`); their `sha256`."""

    def put_encoded(self, index: int, contents: Sequence[bytes]) -> tuple[str, ...]:
        """`put` of images that are encoded already, in the order of kinds."""

    def sha256(self, index: int) -> tuple[str, ...]:
        """SHA-256 of the stored images of a finished sample, in the order of kinds. Any thread may call.

        Raises:
            ImageError: one of them cannot be read.
        """

    def flush(self) -> None:
        """After this, a killed process does not lose what was put."""

    def close(self) -> None:
        """Write what readers of the format expect beside the images."""


def pair_name(kind: str, index: int, file_format: str) -> str:
    """What the image of a sample is called, below the run's folder: "lr/00000012.png", in an LMDB "lr.lmdb/00000012"."""
    return f"{kind}.lmdb/{index:08d}" if file_format == "lmdb" else f"{kind}/{index:08d}.{file_format}"


class FolderStore:
    """One file per image: `<folder>/<kind>/00000012.png` (or `.npy`)."""

    def __init__(self, folder: Path, kinds: Sequence[str], file_format: str) -> None:
        self._folder, self._kinds, self._format = folder, tuple(kinds), file_format
        self._encode: Callable[[Pixels], bytes] = ENCODERS[file_format]
        for kind in self._kinds:
            make_folder(folder / kind)

    def name(self, kind: str, index: int) -> str:
        return pair_name(kind, index, self._format)

    def finished(self) -> set[int]:
        return set.intersection(*(self._finished(self._folder / kind) for kind in self._kinds))

    def _finished(self, folder: Path) -> set[int]:
        suffix = "." + self._format
        return {
            int(path.stem)
            for path in folder.iterdir()
            if path.suffix == suffix and _NUMBER.fullmatch(path.stem) and _is_whole(path)
        }

    def put(self, index: int, images: Mapping[str, Pixels]) -> tuple[str, ...]:
        return self.put_encoded(index, [self._encode(images[kind]) for kind in self._kinds])

    def put_encoded(self, index: int, contents: Sequence[bytes]) -> tuple[str, ...]:
        for kind, content in zip(self._kinds, contents):
            write_atomic(self._folder / self.name(kind, index), content)
        return sha256_of(contents)

    def sha256(self, index: int) -> tuple[str, ...]:
        return sha256_of(self._content(kind, index) for kind in self._kinds)

    def _content(self, kind: str, index: int) -> bytes:
        with open_regular(self._folder / self.name(kind, index)) as stream:
            return stream.read()

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def sha256_of(contents: Iterable[bytes]) -> tuple[str, ...]:
    """SHA-256 of each, 64 hex digits."""
    return tuple(hashlib.sha256(content).hexdigest() for content in contents)


def _is_whole(path: Path) -> bool:
    """Whether a result has the beginning and the end that this program writes; another file under its name is made anew."""
    try:
        with open_regular(path) as stream:
            head = stream.read(8)
            if path.suffix == ".npy":
                return head.startswith(b"\x93NUMPY")
            stream.seek(-12, 2)
            return head == b"\x89PNG\r\n\x1a\n" and stream.read(12)[4:8] == b"IEND"
    except (ImageError, OSError):
        return False


_LMDB_LEAST_BYTES = 2 * 4096
"""Two pages of meta data, with which every LMDB begins."""


class LmdbStore:
    """One LMDB per kind in BasicSR's layout: `<folder>/<kind>.lmdb/{data.mdb,meta_info.txt}`.

    Keys are names without extension, values are PNG files, and each line of meta_info.txt reads
    `00000012.png (h,w,c) level`.
    """

    PNG_LEVEL = 1

    def __init__(self, folder: Path, kinds: Sequence[str], capacity_bytes: int) -> None:
        check_format("lmdb")
        import lmdb

        self._folder, self._kinds, self._error = folder, tuple(kinds), lmdb.Error
        self._environments: dict[str, Any] = {}
        for kind in self._kinds:
            path = folder / f"{kind}.lmdb"
            make_folder(path)
            data = path / "data.mdb"
            if data.exists() and data.stat().st_size < _LMDB_LEAST_BYTES:
                data.unlink()  # a full disk left it before its first pages were written
            if data.exists():
                LmdbReader(path)  # the lmdb package trusts what it maps: a damaged file must not reach it
            with self._failures(path):
                # Its own lock would be a mapped file, whose pages a full disk cannot back; the folder is locked already.
                self._environments[kind] = lmdb.open(str(path), map_size=capacity_bytes, lock=False)
        self._waiting: list[tuple[str, bytes, bytes]] = []
        self._lock = threading.Lock()

    @contextmanager
    def _failures(self, path: Path) -> Iterator[None]:
        """The package's errors as WriteError."""
        try:
            yield
        except self._error as error:
            raise write_error(path, OSError(" ".join(str(error).split()))) from None

    def name(self, kind: str, index: int) -> str:
        return pair_name(kind, index, "lmdb")

    def finished(self) -> set[int]:
        found = []
        for environment in self._environments.values():
            with environment.begin() as transaction:
                keys = [os.fsdecode(bytes(key)) for key in transaction.cursor().iternext(values=False)]
            found.append({int(key) for key in keys if _NUMBER.fullmatch(key)})
        return set.intersection(*found)

    def put(self, index: int, images: Mapping[str, Pixels]) -> tuple[str, ...]:
        return self.put_encoded(index, [encode_png(images[kind], level=self.PNG_LEVEL) for kind in self._kinds])

    def put_encoded(self, index: int, contents: Sequence[bytes]) -> tuple[str, ...]:
        key = f"{index:08d}".encode()
        with self._lock:
            self._waiting += [(kind, key, content) for kind, content in zip(self._kinds, contents)]
        return sha256_of(contents)

    def sha256(self, index: int) -> tuple[str, ...]:
        key = f"{index:08d}".encode()
        values = []
        for kind in self._kinds:
            path = self._folder / f"{kind}.lmdb"
            with self._failures(path), self._environments[kind].begin() as transaction:
                value = transaction.get(key)
            if value is None:
                raise ImageError(f"{display_name(path)}: does not hold {index:08d}")
            values.append(bytes(value))
        return sha256_of(values)

    def flush(self) -> None:
        with self._lock:
            waiting, self._waiting = sorted(self._waiting), []
        for kind, environment in self._environments.items():
            with self._failures(self._folder / f"{kind}.lmdb"), environment.begin(write=True) as transaction:
                for kind_of_value, key, value in waiting:
                    if kind_of_value == kind:
                        transaction.put(key, value)

    def close(self) -> None:
        for kind, environment in self._environments.items():
            lines = []
            with environment.begin() as transaction:
                for key, value in transaction.cursor():
                    # Width and height stand at fixed places of a PNG file (ISO/IEC 15948 section 11.2.2).
                    width, height = (int.from_bytes(value[at : at + 4], "big") for at in (16, 20))
                    lines.append(f"{os.fsdecode(bytes(key))}.png ({height},{width},3) {self.PNG_LEVEL}\n")
            write_atomic(self._folder / f"{kind}.lmdb" / "meta_info.txt", "".join(lines).encode())
            environment.close()


def check_format(file_format: str) -> None:
    """RecordError where a format needs a package that is not installed."""
    if file_format == "lmdb" and importlib.util.find_spec("lmdb") is None:
        raise RecordError(needs("--format lmdb", "lmdb", "lmdb"))


def open_store(folder: Path, kinds: Sequence[str], file_format: str, raw_bytes: int) -> PairStore:
    """The store of a format.

    Args:
        folder: of the run.
        kinds: names of the images of a sample, e.g. ("hr", "lr").
        file_format: one of FORMATS.
        raw_bytes: size of all images of the run before encoding, or of LMDBs that hold them; the map gets twice that.
    """
    if file_format != "lmdb":
        return FolderStore(folder, kinds, file_format)
    # A PNG can be slightly larger than its pixels, and LMDB stores values in whole pages.
    return LmdbStore(folder, kinds, capacity_bytes=2 * raw_bytes + 2**28)


# ---- tables


@dataclass(frozen=True)
class Samples:
    """Rows of tables: tasks, where their crops come from, and what their files are called.

    Attributes:
        tasks: N tasks.
        crops, images: the HR crop of each; None when only parameters are written.
        names: for each kind of image, its name for a sample number; empty when only parameters are written.
        more: further tasks on the same crops, N by name.
        further: crops 1, 2, ... of each sample, beside `crops`, N each.
    """

    tasks: TaskBatch
    crops: Crops | None = None
    images: HrImages | None = None
    names: Mapping[str, Callable[[int], str]] = field(default_factory=dict)
    more: Mapping[str, TaskBatch] = field(default_factory=dict)
    further: tuple[Crops, ...] = ()

    def take(self, rows: Any) -> Samples:
        """The same for some rows."""
        return replace(
            self,
            tasks=self.tasks.take(rows),
            crops=None if self.crops is None else self.crops.take(rows),
            more={name: tasks.take(rows) for name, tasks in self.more.items()},
            further=tuple(crops.take(rows) for crops in self.further),
        )


def manifest_columns(samples: Samples) -> dict[str, list[str]]:
    """Texts of a manifest by column name: index, address, crop, file names, addresses of further LR images and places of
    further crops, order of slots, every task column."""
    tasks, crops = samples.tasks, samples.crops
    index = tasks.indices.tolist()
    columns = {"index": [str(number) for number in index], "address": [csv_cell(text) for text in tasks.addresses]}
    if crops is not None and samples.images is not None:
        columns["source"] = [csv_cell(samples.images.images[image].name) for image in crops.image.tolist()]
        columns["top_px"] = [str(value) for value in crops.top.tolist()]
        columns["left_px"] = [str(value) for value in crops.left.tolist()]
        columns["side_px"] = [str(crops.side_px)] * len(crops)
        for name, flags in (("hflip", crops.hflip), ("vflip", crops.vflip), ("transpose", crops.transpose)):
            columns[name] = [str(int(value)) for value in flags.tolist()]
    for kind, name_of in samples.names.items():
        columns[kind] = [name_of(number) for number in index]
    for name, others in samples.more.items():
        columns[f"{name}_address"] = [csv_cell(text) for text in others.addresses]
    for crop, squares in enumerate(samples.further, start=1):
        columns[f"top_px_crop{crop + 1}"] = [str(value) for value in squares.top.tolist()]
        columns[f"left_px_crop{crop + 1}"] = [str(value) for value in squares.left.tolist()]
        for name, drawn in {"": tasks, **{f"{name}_": others for name, others in samples.more.items()}}.items():
            addresses = tasks_of_crop(drawn, crop).addresses
            columns[f"{name}address_crop{crop + 1}"] = [csv_cell(text) for text in addresses]
    slots = [slot.name for slot in tasks.space.slots]
    columns["order"] = [" ".join(slots[slot] for slot in row if slot >= 0) for row in tasks.program.tolist()]
    for name in tasks.columns:
        columns[name] = column_texts(tasks, name)
    return columns


def column_texts(tasks: TaskBatch, name: str) -> list[str]:
    """One task column as text: names of choices, and the shortest decimals that give back the same float32."""
    values = tasks.labels(name)
    known = {value: csv_cell(value) for value in {value for value in values if isinstance(value, str)}}
    return [known[value] if isinstance(value, str) else str(value) for value in values]


def manifest_header(samples: Samples) -> str:
    """The first line of a manifest."""
    return ",".join(manifest_columns(samples.take(np.zeros(0, np.int64)))) + "\n"


def manifest_lines(samples: Samples) -> str:
    """The rows of a manifest, without the header."""
    stream = StringIO()
    csv.writer(stream, lineterminator="\n").writerows(zip(*manifest_columns(samples).values()))
    return stream.getvalue()


def append_manifest(folder: Path, samples: Samples) -> None:
    """Add finished samples at the end, in one write. What a killed process leaves of a row is repaired at the next
    start, which writes the manifest anew."""
    append(folder / MANIFEST_FILE, manifest_lines(samples).encode())


def write_manifest(folder: Path, samples: Samples) -> None:
    """The manifest of exactly these samples."""
    write_atomic(folder / MANIFEST_FILE, (manifest_header(samples) + manifest_lines(samples)).encode())


def write_tables(folder: Path, samples: Samples, reasons: Mapping[int, str]) -> list[Path]:
    """Everything about the finished samples: manifest.csv, tasks.npz, tasks_lr_large.npz and so on of further LR images,
    and, where the space has one, dasr33.npy with dasr33_mask.npy; row r of each is the same sample. Missing samples and
    why are in skipped.csv.

    Args:
        folder: of the run.
        samples: the finished ones, in the order of their indices.
        reasons: sample number -> why it was skipped.
    Returns:
        The files written.
    """
    write_manifest(folder, samples)
    return [folder / MANIFEST_FILE, *write_task_tables(folder, samples.tasks, reasons, samples.more)]


def further_tasks_file(name: str) -> str:
    """What the table of the tasks of further LR images is called."""
    return f"tasks_{name}.npz"


def write_task_tables(
    folder: Path, tasks: TaskBatch, reasons: Mapping[int, str], more: Mapping[str, TaskBatch] | None = None
) -> list[Path]:
    """`write_tables` without the manifest."""
    tables = {"tasks.npz": tasks, **{further_tasks_file(name): others for name, others in (more or {}).items()}}
    written = [folder / name for name in tables]
    for path, table in zip(written, tables.values()):
        with replacing(path) as temporary:
            table.save(temporary)
    if "dasr33" in tasks.space.vectors:
        values, mask = tasks.vector("dasr33")
        for name, array in (("dasr33.npy", values), ("dasr33_mask.npy", mask)):
            write_atomic(folder / name, encode_npy(array))
            written.append(folder / name)
    skipped = folder / "skipped.csv"
    if reasons:
        stream = StringIO()
        csv.writer(stream, lineterminator="\n").writerows(
            [("index", "reason"), *((index, csv_cell(reason)) for index, reason in sorted(reasons.items()))]
        )
        write_atomic(skipped, stream.getvalue().encode())
        written.append(skipped)
    else:
        skipped.unlink(missing_ok=True)
    return written


# ---- sums


SUMS_FILE = "SHA256SUMS"
SKIPPED_FILE = "skipped.csv"
_TABLES = (MANIFEST_FILE, "tasks.npz", "dasr33.npy", "dasr33_mask.npy", SKIPPED_FILE)
_SUM = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
"""What stands in a list of sums -> what is meant, in lines that begin with a backslash."""


def tables_of(folder: Path, file_format: str, kinds: Sequence[str]) -> list[str]:
    """Names of everything in a run but its images, its description, its sums and its picture."""
    further = map(further_tasks_file, kinds)
    names = [*_TABLES, *further, *(f"{kind}.lmdb/meta_info.txt" for kind in kinds if file_format == "lmdb")]
    return [name for name in names if (folder / name).is_file()]


def write_sums(folder: Path, file_format: str, kinds: Sequence[str], samples: Mapping[int, Sequence[str]]) -> None:
    """SHA256SUMS of a run: a line for each image and each table, as the program sha256sum writes and checks them. Values of
    an LMDB stand there by their keys.

    Args:
        folder: of the run, tables written.
        file_format: one of FORMATS.
        kinds: names of the images of a sample.
        samples: sample number -> SHA-256 of its images, in the order of kinds.
    """
    images = {
        pair_name(kind, index, file_format): one
        for index, sums in sorted(samples.items())
        for kind, one in zip(kinds, sums)
    }
    write_sums_of(folder, images, tables_of(folder, file_format, kinds))


def write_sums_of(folder: Path, known: Mapping[str, str], tables: Iterable[str]) -> None:
    """SHA256SUMS of a folder: files by name whose SHA-256 is known, and those of tables, which are read."""
    with replacing(folder / SUMS_FILE) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{one}  {name}\n" for name, one in known.items())
        file.writelines(f"{sha256_of_file(folder / name)}  {name}\n" for name in tables)


def sum_line(sha256: str, name: str) -> str:
    """A line of SHA256SUMS, as the program sha256sum writes it: a name with line breaks or backslashes is escaped."""
    escaped = re.sub(r"[\\\n\r]", lambda found: next(key for key, one in _ESCAPES.items() if one == found[0]), name)
    mark = "" if escaped == name else "\\"
    return f"{mark}{sha256}  {escaped}\n"


def read_sums(path: Path) -> dict[str, str]:
    """Name -> SHA-256 of a list that `write_sums` or the program sha256sum wrote.

    Raises:
        ImageError: not there, or a line that is none of such a list.
    """
    sums = {}
    for number, line in enumerate(read_lines(path), start=1):
        found = _SUM.fullmatch(line)
        if found is None:
            shown = display_name(repr(line[:60]))
            raise ImageError(f"{display_name(path)}:{number}: must be a SHA-256 and a name, got {shown}")
        name = re.sub(r"\\[\\nr]", lambda one: _ESCAPES[one[0]], found[3]) if found[1] else found[3]
        sums[name] = found[2]
    if not sums:
        raise ImageError(f"{display_name(path)}: must list at least one file, got none")
    return sums


def check_tables(folder: Path, names: Iterable[str]) -> None:
    """Refuse a run whose tables are not those that it was finished with: they would say something else than its images.

    Args:
        folder: of the run, with SHA256SUMS.
        names: of tables; one that is neither there nor listed is as it should be.
    Raises:
        RecordError: naming the first.
    """
    sums = read_sums(folder / SUMS_FILE)
    for name in names:
        is_there = (folder / name).is_file()
        if (name in sums or is_there) and sums.get(name) != (sha256_of_file(folder / name) if is_there else ""):
            raise RecordError(
                f"{display_name(folder)}: {name} is not as {SUMS_FILE} says; the same `degrade sample` makes it anew"
            )
