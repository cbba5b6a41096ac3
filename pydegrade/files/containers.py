"""Files that hold many images: an LMDB in BasicSR's layout, tars in webdataset's, Parquet as Hugging Face stores images.

A source names one of them, a folder of tars or of Parquet files, or one kind of image in it: `pairs/hr`, where `pairs` is
such a folder or file and `hr` a column, or what stands between key and ending of a tar's members.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ImageError, nearest
from .formats.table import READABLE_ENDINGS
from .lmdb_reader import open_lmdb
from .parquet_reader import ParquetReader, pyarrow_parquet
from .paths import display_name, natural_key
from .tar_reader import TarReader

ENDINGS = (".tar", ".parquet")


class Values(Protocol):
    """What holds images by key."""

    def read(self, key: str) -> bytes:
        """The image file stored under a key; ImageError where there is none."""


@dataclass(frozen=True)
class Packed:
    """Tars, or Parquet files, and which of their images are meant.

    Attributes:
        files: in natural order.
        kind: as a source names it; "" where it names none.
        whole: whether the source is one file, whose images need no prefix.
    """

    files: tuple[Path, ...]
    kind: str
    whole: bool


@dataclass(frozen=True)
class PackedImage:
    """An image of `images_of`: its name in lists, its file, its key there, and its content."""

    name: str
    path: Path
    key: str
    content: bytes


def packed_source(source: Path) -> Packed | None:
    """What a source means; None for one that is no tar, Parquet file, or folder of them."""
    for place, kind in ((source, ""), (source.parent, source.name)):
        if place.suffix.lower() in ENDINGS and place.is_file():
            return Packed((place,), kind, True)
        if kind and source.exists():
            break
        files = _files_in(place)
        if files:
            return Packed(files, kind, False)
    return None


def _files_in(folder: Path) -> tuple[Path, ...]:
    """The tars, or Parquet files, of a folder that holds no images and no folders beside them."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return ()
    endings = {Path(name).suffix.lower() for name, _ in found}
    held = [ending for ending in ENDINGS if ending in endings]
    if len(held) != 1 or any(is_folder for _, is_folder in found) or endings & set(READABLE_ENDINGS):
        return ()
    names = sorted((name for name, _ in found if Path(name).suffix.lower() == held[0]), key=natural_key)
    return tuple(folder / name for name in names)


def images_of(packed: Packed, left_out: list[str]) -> Iterator[PackedImage]:
    """The images of a source, a file after the other; each is read, so that its size is known. No two of a file share a
    name.

    Args:
        packed: from `packed_source`.
        left_out: gets a line for each file that is damaged or holds no images, and for what is not read of the others.
    Raises:
        ImageError: no such kind, several kinds where none is named, or Parquet without pyarrow.
    """
    if any(path.suffix.lower() == ".parquet" for path in packed.files):
        pyarrow_parquet()  # what is missing for all files is no fault of the first
    for path in packed.files:
        prefix = "" if packed.whole else f"{path.stem}/"
        try:
            reader = open_packed(path)
        except ImageError as error:
            left_out.append(str(error))
            continue
        left_out += reader.left_out
        if not reader.kinds:
            left_out.append(f"{display_name(path)}: holds no images")
            continue
        for name, key, content in reader.of_kind(_kind(path, packed.kind, reader.kinds), left_out):
            yield PackedImage(prefix + name, path, key, content)


def _kind(path: Path, asked: str, known: tuple[str, ...]) -> str:
    """The one kind that is meant."""
    listed = ", ".join(display_name(kind or "images without a kind") for kind in known[:8])
    if asked:
        if asked not in known:
            hint = nearest(asked, known)
            raise ImageError(f"{display_name(path)}: holds no {display_name(asked)!r}, only {listed}{hint}")
        return asked
    if len(known) > 1:
        raise ImageError(
            f"{display_name(path)}: holds images of several kinds, {listed}; name one: {display_name(path)}/{known[0]}"
        )
    return known[0]


def open_container(path: Path) -> Values:
    """The process's reader of a container.

    Raises:
        ImageError: not there, of no such kind, or damaged.
    """
    return open_packed(path) if path.suffix.lower() in ENDINGS else open_lmdb(path)


_readers: dict[Path, tuple[tuple[int, ...], int, TarReader | ParquetReader]] = {}
_readers_lock = threading.Lock()


def open_packed(path: Path) -> TarReader | ParquetReader:
    """The process's reader of a tar or a Parquet file; one is kept for each, until its file changes.

    Raises:
        ImageError: not there, or damaged.
    """
    kind = TarReader if path.suffix.lower() == ".tar" else ParquetReader
    resolved = path.resolve()
    try:
        found = os.stat(resolved)
    except OSError:
        return kind(path)  # which says what is wrong
    state = (found.st_ino, found.st_size, found.st_mtime_ns)
    with _readers_lock:
        kept = _readers.get(resolved)
        # A process that was forked must not share its parent's place in the file.
        if kept is None or kept[0] != state or kept[1] != os.getpid():
            kept = _readers[resolved] = (state, os.getpid(), kind(path))
    return kept[2]
