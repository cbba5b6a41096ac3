"""What a command may write, and where: never an input, never a file of another kind, one process per folder; and a
record of what every result was made from, so that results of another model or another input are not taken for these.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, OutputError, WriteError
from ..files.atomic import append, replacing, write_atomic
from ..files.formats.table import READABLE_ENDINGS
from ..files.paths import sha256_of_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD_FILE = ".pydegrade.jsonl"
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
PICTURE_QUALITY = 95


# ---- single files


def _json(head: bytes) -> bool:
    return head.lstrip()[:1] in (b"{", b"[")


def _text(head: bytes) -> bool:
    return b"\0" not in head


_KINDS: dict[str, Callable[[bytes], bool]] = {
    ".png": lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    ".jpg": lambda head: head.startswith(b"\xff\xd8\xff"),
    ".jpeg": lambda head: head.startswith(b"\xff\xd8\xff"),
    ".webp": lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    ".npy": lambda head: head.startswith(b"\x93NUMPY"),
    ".json": _json,
    ".md": _text,
    # Pages are made by hand, too: only one of ours may be replaced.
    ".html": lambda head: head.startswith(b"<!doctype html><!-- degrade "),
    ".toml": lambda head: _text(head) and not head.startswith(b"#!"),
    # A zip file, or a pickle from before torch 1.6.
    ".pth": lambda head: head.startswith((b"PK\x03\x04", b"\x80\x02")),
    ".safetensors": lambda head: head[8:9] == b"{",
    # The first field of ONNX's ModelProto is its version, a small number.
    ".onnx": lambda head: head.startswith(b"\x08"),
}
"""Ending -> whether a file begins like one of that kind."""


def check_file(path: Path, endings: Sequence[str], option: str, inputs: Iterable[Path] = ()) -> None:
    """Refuse a place for one file before anything is computed.

    Args:
        path: where the command shall write.
        endings: which formats it knows, with dots, lower case.
        option: name of the option, for messages.
        inputs: files and folders that the command reads.
    Raises:
        OutputError: another ending, a folder, an input, an image in a folder that is read, or a file that holds something
            else than its ending says.
    """
    if path.suffix.lower() not in endings:
        raise OutputError(f"{option}: the name must end in {' or '.join(endings)}, got {path}")
    _check_parents(path.parent, option)
    if path.is_dir():
        raise OutputError(f"{option}: must be a file, {path} is a folder")
    check_targets([path], inputs, option)
    if not path.exists():
        return
    if not path.is_file():
        raise OutputError(f"{option}: {path} is no regular file; choose another name")
    head = path.read_bytes()[:64] if path.stat().st_size < 2**16 else _head(path)
    if head and not _KINDS[path.suffix.lower()](head):
        raise OutputError(
            f"{option}: {path} holds something else than its name says; remove it, or choose another name"
        )


def _head(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(64)


def check_targets(targets: Iterable[Path], inputs: Iterable[Path], option: str) -> None:
    """Refuse results that are the very files the command reads, and images that lie in a folder it reads: the next run
    would take them for images.

    Args:
        targets: places of results.
        inputs: files, and folders that are searched.
        option: name of the option, for messages.
    Raises:
        OutputError: naming the first.
    """
    inputs = list(inputs)
    read = {(found.st_dev, found.st_ino) for found in map(_stat, inputs) if found}
    searched = [(folder, folder.resolve()) for folder in inputs if folder.is_dir()]
    places: dict[Path, Path | None] = {}
    """Folder of results -> the input that it lies in."""
    for target in targets:
        found = _stat(target)
        if found and (found.st_dev, found.st_ino) in read:
            raise OutputError(f"{option}: {target} is an input, the result would replace it; choose another place")
        if not searched or target.suffix.lower() not in READABLE_ENDINGS:
            continue
        if target.parent not in places:
            real = target.parent.resolve()
            places[target.parent] = next((name for name, folder in searched if real.is_relative_to(folder)), None)
        if inside := places[target.parent]:
            raise _inside(target, inside, option)


def _inside(place: Path, source: Path, option: str) -> OutputError:
    return OutputError(f"{option}: {place} must lie outside of {source}, or the next run would take results for images")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _check_parents(folder: Path, option: str) -> None:
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if place.exists() or place.is_symlink():
            raise OutputError(f"{option}: {place} must be a folder, it is a file")


def write_file(path: Path, content: bytes) -> None:
    """Write one checked file atomically; its folder is made.

    Raises:
        WriteError: the disk is full, read-only.
    """
    write_atomic(path, content)


def encode_picture(pixels: NDArray[Any], ending: str) -> bytes:
    """uint8 [H, W, 3] in the format of an ending of PICTURE_ENDINGS."""
    if ending.lower() == ".png":
        from ..files.write import encode_png

        return encode_png(pixels, level=3)
    import imageio.v3 as iio

    options: dict[str, Any] = {} if ending.lower() == ".webp" else {"subsampling": 0}
    content: bytes = iio.imwrite("<bytes>", pixels, extension=ending.lower(), quality=PICTURE_QUALITY, **options)
    return content


# ---- folders


def check_folder(out: Path, sources: Iterable[Path], option: str = "--out", pictures: Iterable[Path] = ()) -> None:
    """Refuse a folder for results before anything is computed.

    Args:
        out: where results shall go; need not exist.
        sources: files and folders that the command reads.
        option: name of the option, for messages.
        pictures: images that the command writes below `out`, as far as they are known.
    Raises:
        OutputError: a file, or a folder inside a source: the next run would take results for inputs; or a picture that is
            an input or lies in one.
    """
    sources = list(sources)
    if (out.exists() or out.is_symlink()) and not out.is_dir():
        raise OutputError(f"{option}: must be a folder, {out} is a file")
    _check_parents(out, option)
    for source in sources:
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise _inside(out, source, option)
    check_targets(pictures, sources, option)


@dataclass(frozen=True)
class Made:
    """What the record says about one result.

    Attributes:
        command: that made it: "infer".
        source: digest of everything it depends on.
        sha256: of the file.
    """

    command: str
    source: str
    sha256: str


class Results:
    """Results in a folder, and the record of what they were made from.

    The record is a file of one JSON object a line, `.pydegrade.jsonl`. A line is written before its file, so a result
    without a line is of another origin: it is refused, unless the user forces it. A result whose bytes are not those of
    its line (half, changed) or that was made from something else is made anew.

    Args:
        folder: held by `folder_lock`.
        command: that makes the results.
        made_from: plain values that all results depend on: options, digest of the model.
        force: whether everything is made again, also over files of another origin.
        record: name of the record.
        others: pattern of the records of processes that share the work; they are read, too.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        made_from: Mapping[str, Any],
        force: bool = False,
        record: str = RECORD_FILE,
        others: str = "",
    ) -> None:
        self.folder, self.command, self.force, self._record = folder, command, force, folder / record
        self._job = json.dumps([command, dict(made_from)], sort_keys=True)
        shared = sorted(folder.glob(others)) if others else []
        self._made = {name: made for path in shared for name, made in _read_record(path, mend=False).items()}
        self._made.update(_read_record(self._record, mend=True))
        self._lock = threading.Lock()
        self._digests: dict[Path, tuple[State, str]] = {}

    def check(self, names: Iterable[str], inputs: Iterable[Path], option: str = "--out") -> None:
        """Refuse to write over inputs and over files that the record does not know, before anything is written.

        Args:
            names: of all results, with endings.
            inputs: files that the command reads, and folders that it searches.
        Raises:
            OutputError: naming the first.
        """
        names = list(names)
        check_targets((self.folder / name for name in names), inputs, option)
        if self.force:
            return
        foreign = []
        for name in names:
            made = self._made.get(name)
            if (made is None or made.command != self.command) and os.path.lexists(self.folder / name):
                foreign.append(f"{self.folder / name} is there" + (f", made by {made.command}" if made else ""))
        if foreign:
            more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
            raise OutputError(
                f"{option}: {foreign[0]}, and not from this command{more}; remove it, choose another folder, or --force"
            )

    def claim(self, name: str, facts: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Note that a folder of results is this command's, which `check` refuses where it is not, and what `claimed` says
        of it: plain values."""
        self._note(name, Made(self.command, json.dumps(dict(facts), sort_keys=True) if facts else "", ""))

    def claimed(self, name: str) -> dict[str, Any]:
        """What was noted by `claim`; empty where nothing was, or nothing that can be read."""
        made = self._made.get(name)
        if made is None or made.command != self.command:
            return {}
        try:
            facts = json.loads(made.source or "{}")
        except (ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def is_made(self, name: str, path: Path, part: str = "") -> bool:
        """Whether a result is there, whole, and made from this content of the input.

        Args:
            name: of the result, with ending.
            path: the input.
            part: what else tells results of one input apart: a task's address.
        """
        made = self._made.get(name)
        if self.force or made is None or not (self.folder / name).is_file():
            return False
        try:
            source = self._source(path, part)
        except (ImageError, OSError):
            return False  # making it will say what is wrong with the input
        return made.source == source and made.sha256 == sha256_of_file(self.folder / name)

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Around everything that is read of an input: it must not change meanwhile.

        Raises:
            OutputError: it did; nothing has been written.
        """
        before = self._digest(path)[0]
        yield
        if _state(path) != before:
            raise OutputError(f"{path}: changed while it was read")

    def write(self, name: str, content: bytes, path: Path, part: str = "") -> None:
        """Write a result, after its line of the record. Any thread may call.

        Raises:
            OutputError, WriteError: see `pydegrade.files.atomic`.
        """
        made = Made(self.command, self._source(path, part), hashlib.sha256(content).hexdigest())
        self._note(name, made)
        write_file(self.folder / name, content)

    @contextmanager
    def filling(self, name: str, path: Path, part: str = "") -> Iterator[Path]:
        """`write` of a result that may not fit into memory: around the filling of a temporary file, which then gets its
        name. An error leaves nothing. Arguments and errors as `write`."""
        with replacing(self.folder / name) as temporary:
            yield temporary
            self._note(name, Made(self.command, self._source(path, part), sha256_of_file(temporary)))

    def is_there(self, name: str, made: Made) -> bool:
        """Whether a result of another folder is here already, whole and with its line."""
        there = self._made.get(name)
        return there == made and (self.folder / name).is_file() and sha256_of_file(self.folder / name) == made.sha256

    @contextmanager
    def taking(self, name: str, made: Made) -> Iterator[Path]:
        """Around the filling of a temporary file with a result of another folder, which then gets its name and its line;
        see `filling`."""
        with replacing(self.folder / name) as temporary:
            yield temporary
            self._note(name, made)

    def _note(self, name: str, made: Made) -> None:
        line = json.dumps({"name": name, **vars(made)}) + "\n"
        with self._lock:
            if self._made.get(name) != made:
                append(self._record, line.encode())
                self._made[name] = made

    def _source(self, path: Path, part: str) -> str:
        text = "\0".join([self._job, self._digest(path)[1], part])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def _digest(self, path: Path) -> tuple[State, str]:
        """State and digest of an input, read anew only after it changed."""
        state = _state(path)
        with self._lock:
            known = self._digests.get(path)
        if known is None or known[0] != state:
            # What is no file has no bytes to come back to.
            known = (state, sha256_of_file(path) if path.is_file() else "")
            with self._lock:
                self._digests[path] = known
        return known


State = tuple[int, int, int]
"""Number, size and time of change of a file: equal before and after means unchanged."""


def _state(path: Path) -> State:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def made_of(folder: Path, record: str = RECORD_FILE) -> dict[str, Made]:
    """What the record of a folder says about its results, by name."""
    return _read_record(folder / record, mend=False)


def _read_record(path: Path, mend: bool) -> dict[str, Made]:
    """The last line about each result. A line that a killed process left half is dropped; `mend` writes the file anew
    without it, and without lines that were overtaken."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WriteError(f"{path}: cannot be read ({error.strerror})") from None
    made: dict[str, Made] = {}
    kept: dict[str, bytes] = {}
    for line in lines:
        try:
            values = json.loads(line)
            name = values.pop("name")
            entry = Made(**values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if isinstance(name, str) and line.endswith(b"\n") and all(isinstance(one, str) for one in vars(entry).values()):
            made[name], kept[name] = entry, line
    if mend and len(kept) != len(lines):
        write_file(path, b"".join(kept.values()))
    return made
