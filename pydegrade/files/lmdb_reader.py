"""Images in an LMDB of BasicSR's layout: `x.lmdb/{data.mdb, meta_info.txt}`, read by any number of processes.

Each line of meta_info.txt reads `name.png (height,width,channels) level`; the key of that image is its name without the
extension, the value is an image file.

The file is walked here, page by page and with every number checked, rather than by the lmdb package, which maps it into
memory and trusts it: a damaged page would end the process. Source: mdb.c of LMDB 0.9, data version 1, 64-bit
little-endian, which is what every current machine writes.
"""

from __future__ import annotations

import os
import re
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import ImageError
from .paths import display_name, open_regular, read_lines

_LINE = re.compile(r"(?P<name>.*\S)\s+\((?P<height>[0-9]{1,9}),\s*(?P<width>[0-9]{1,9})(?:,\s*[0-9]{1,9})?\)(?:\s.*)?")

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_HEAD = struct.Struct("<QHHHH")  # number, pad, flags, lower, upper
_META = struct.Struct("<IIQQ")  # magic, version, address, map size
_TREE = struct.Struct(
    "<IHHQQQQQ"
)  # pad (page size, in the first tree), flags, depth, pages of three kinds, entries, root
_NODE = struct.Struct("<HHHH")  # size or page number in two parts, flags or a third part, size of the key
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_BIG_DATA = 1
_NO_PAGE = 2**64 - 1
_MAX_DEPTH = 32


@dataclass(frozen=True)
class LmdbEntry:
    """One line of meta_info.txt: name with extension, key, and the size in px that the line states."""

    name: str
    key: str
    height: int
    width: int


def is_lmdb(path: Path) -> bool:
    """Whether a path names an LMDB, there or not: by its ending, or because the folder holds a data.mdb."""
    return path.suffix.lower() == ".lmdb" or (path / "data.mdb").is_file()


def read_entries(path: Path) -> list[LmdbEntry]:
    """The images of an LMDB in the order of its meta_info.txt.

    Raises:
        ImageError: no such LMDB, no meta_info.txt, or a line that does not state a size.
    """
    if not (path / "data.mdb").is_file():
        got = "a folder without it" if path.is_dir() else "a file" if path.exists() else "nothing"
        raise ImageError(f"{display_name(path)}: must be an LMDB folder with data.mdb, got {got}")
    listing = path / "meta_info.txt"
    if not listing.is_file():
        raise ImageError(
            f"{display_name(path)}: must hold meta_info.txt with lines like 'name.png (480,480,3) 1', got none"
        )
    entries = []
    for number, line in enumerate(read_lines(listing), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            shown = display_name(repr(line[:80]))
            raise ImageError(f"{display_name(listing)}:{number}: must be like 'name.png (480,480,3) 1', got {shown}")
        name = match["name"]
        entries.append(LmdbEntry(name, key_of(name), int(match["height"]), int(match["width"])))
    if not entries:
        raise ImageError(f"{display_name(listing)}: must list at least one image, got none")
    return entries


def key_of(name: str) -> str:
    """The key of an image: its name without the last ending."""
    stem, ending = os.path.splitext(name)
    return stem if ending else name


class LmdbReader:
    """An LMDB whose keys are known and whose values are read on demand. Any thread may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = open_regular(path / "data.mdb")
        self._lock = threading.Lock()
        try:
            self._values = dict(_walk(self._stream))
        except (struct.error, ValueError, IndexError) as error:
            self._stream.close()
            raise ImageError(f"{display_name(path / 'data.mdb')}: not a readable LMDB ({error})") from None

    def __len__(self) -> int:
        return len(self._values)

    @property
    def keys(self) -> list[str]:
        """All keys, in the order of their bytes."""
        return [os.fsdecode(key) for key in self._values]

    def read(self, key: str) -> bytes:
        """The image file stored under a key.

        Raises:
            ImageError: no such key, or the file has been cut since it was opened.
        """
        start, size = self._place(key)
        with self._lock:
            self._stream.seek(start)
            value = self._stream.read(size)
        if len(value) != size:
            raise ImageError(f"{display_name(self._path / 'data.mdb')}: truncated since it was opened")
        return value

    def sizes(self, keys: list[str]) -> list[int]:
        """Bytes of the values of several keys. Errors as `read`."""
        return [self._place(key)[1] for key in keys]

    def _place(self, key: str) -> tuple[int, int]:
        place = self._values.get(os.fsencode(key))
        if place is None:
            raise ImageError(
                f"{display_name(self._path)}: meta_info.txt lists key {display_name(repr(key))}, "
                f"data.mdb does not hold it"
            )
        return place


def _walk(stream: BinaryIO) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """(key, (offset, size) of its value) of all entries of the main tree.

    Raises:
        ValueError, struct.error: a number that cannot be.
    """
    file_bytes = stream.seek(0, os.SEEK_END)
    page_bytes, root, entries, last_page = _newest_tree(stream)
    pages = file_bytes // page_bytes
    if last_page >= pages:
        raise ValueError(f"truncated, must have {(last_page + 1) * page_bytes:,} bytes, got {file_bytes:,}")
    seen: set[int] = set()
    count = 0
    waiting = [] if root == _NO_PAGE else [(root, 0)]
    while waiting:
        number, depth = waiting.pop()
        if number in seen or not 2 <= number < pages or depth > _MAX_DEPTH:
            raise ValueError(f"a tree of pages that leads to page {number}")
        seen.add(number)
        stream.seek(number * page_bytes)
        page = stream.read(page_bytes)
        own, _, flags, lower, _ = _PAGE_HEAD.unpack_from(page)
        nodes = (lower - _PAGE_HEAD.size) // 2
        if own != number or lower > page_bytes or nodes < 0 or flags & 0xF not in (_BRANCH, _LEAF):
            raise ValueError(f"page {number}")
        offsets = struct.unpack_from(f"<{nodes}H", page, _PAGE_HEAD.size)
        if flags & _BRANCH:
            children = [_child(page, offset) for offset in offsets]
            waiting += [(child, depth + 1) for child in reversed(children)]
            continue
        for offset in offsets:
            low, high, node_flags, key_bytes = _NODE.unpack_from(page, offset)
            size = low | high << 16
            key_start = offset + _NODE.size
            value_start = number * page_bytes + key_start + key_bytes
            end = (number + 1) * page_bytes
            if node_flags == _BIG_DATA:
                (first,) = struct.unpack_from("<Q", page, key_start + key_bytes)
                value_start = first * page_bytes + _PAGE_HEAD.size
                end = file_bytes
                if not 2 <= first < pages:
                    raise ValueError(f"page {number} refers to page {first}")
            elif node_flags:
                raise ValueError("it holds trees in trees, which image sets do not")
            if key_start + key_bytes > page_bytes or value_start + size > end:
                raise ValueError(f"an entry of page {number} beyond its end")
            count += 1
            yield page[key_start : key_start + key_bytes], (value_start, size)
    if count != entries:
        raise ValueError(f"{entries} entries stated, {count} found")


def _child(page: bytes, offset: int) -> int:
    low, high, higher, _ = _NODE.unpack_from(page, offset)
    return int(low | high << 16 | higher << 32)


def _newest_tree(stream: BinaryIO) -> tuple[int, int, int, int]:
    """(size of a page, root page, entries, last page) of the newer of the two meta pages."""
    found = []
    page_bytes = 4096
    for number in (0, 1):
        stream.seek(number * page_bytes)
        page = stream.read(4096)
        if number == 0 and len(page) < 512:
            raise ValueError("truncated")
        start = _PAGE_HEAD.size
        flags = _PAGE_HEAD.unpack_from(page)[2]
        magic, version, _, _ = _META.unpack_from(page, start)
        if magic != _MAGIC or version & 0xFFFF != _VERSION or not flags & _META_PAGE:
            raise ValueError("no LMDB of version 1")
        free, main = (_TREE.unpack_from(page, start + _META.size + tree * _TREE.size) for tree in (0, 1))
        last_page, transaction = struct.unpack_from("<QQ", page, start + _META.size + 2 * _TREE.size)
        if number == 0:
            page_bytes = free[0]
            if page_bytes < 512 or page_bytes > 2**16 or page_bytes & (page_bytes - 1):
                raise ValueError(f"pages of {page_bytes} bytes")
        found.append((transaction, (page_bytes, main[7], main[6], last_page)))
    return max(found)[1]


_readers: dict[Path, tuple[tuple[int, ...], LmdbReader]] = {}
"""By resolved path: state of the file and process, and the reader. A process that was forked must not share its parent's
place in the file."""
_readers_lock = threading.Lock()


def open_lmdb(path: Path) -> LmdbReader:
    """The process's reader of an LMDB; one is kept for each, until its file changes.

    Raises:
        ImageError: not an LMDB, or a damaged one.
    """
    resolved = path.resolve()
    try:
        found = os.stat(resolved / "data.mdb")
    except OSError:
        return LmdbReader(path)  # which says what is wrong
    state = (found.st_ino, found.st_size, found.st_mtime_ns, os.getpid())
    with _readers_lock:
        kept = _readers.get(resolved)
        if kept is None or kept[0] != state:
            kept = _readers[resolved] = (state, LmdbReader(path))
    return kept[1]
