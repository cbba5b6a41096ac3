"""Images in an LMDB of BasicSR's layout: `x.lmdb/{data.mdb, meta_info.txt}`, read by any number of processes.

Each line of meta_info.txt reads `name.png (height,width,channels) level`; the key of that image is its name without the
extension, the value is an image file.
"""

from __future__ import annotations

import re
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ImageError

_LINE = re.compile(r"(?P<name>.*\S)\s+\((?P<height>\d+),\s*(?P<width>\d+)(?:,\s*\d+)?\)(?:\s.*)?")


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
        raise ImageError(f"{path}: must be an LMDB folder with data.mdb, got {got}")
    listing = path / "meta_info.txt"
    if not listing.is_file():
        raise ImageError(f"{path}: must hold meta_info.txt with lines like 'name.png (480,480,3) 1', got none")
    entries = []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ImageError(f"{listing}:{number}: must be like 'name.png (480,480,3) 1', got {line.strip()[:80]!r}")
        name = match["name"]
        entries.append(LmdbEntry(name, str(Path(name).with_suffix("")), int(match["height"]), int(match["width"])))
    if not entries:
        raise ImageError(f"{listing}: must list at least one image, got none")
    return entries


class LmdbReader:
    """An open LMDB. Any thread may read; not for use in a forked process."""

    def __init__(self, path: Path) -> None:
        try:
            import lmdb
        except ImportError:
            raise ImageError(f"{path}: reading an LMDB needs the lmdb package: pip install lmdb") from None
        self._path = path
        try:
            self._environment: Any = lmdb.open(
                str(path), readonly=True, lock=False, readahead=False, create=False, max_spare_txns=16
            )
        except lmdb.Error as error:
            raise ImageError(f"{path}: not a readable LMDB ({' '.join(str(error).split())})") from None
        # LMDB maps the file without looking at its length; reading past the end of a cut one would kill the process.
        pages = self._environment.info()["last_pgno"] + 1
        needed_bytes, got_bytes = pages * self._environment.stat()["psize"], (path / "data.mdb").stat().st_size
        if got_bytes < needed_bytes:
            raise ImageError(f"{path / 'data.mdb'}: truncated, must have {needed_bytes:,} bytes, got {got_bytes:,}")

    def read(self, key: str) -> bytes:
        """The image file stored under a key.

        Raises:
            ImageError: no such key.
        """
        with self._environment.begin() as transaction:
            value: bytes | None = transaction.get(key.encode())
        if value is None:
            raise ImageError(f"{self._path}: meta_info.txt lists key {key!r}, data.mdb does not hold it")
        return value

    def sizes(self, keys: list[str]) -> list[int]:
        """Bytes of the values of several keys. Errors as `read`."""
        found = []
        with self._environment.begin(buffers=True) as transaction:
            for key in keys:
                value = transaction.get(key.encode())
                if value is None:
                    raise ImageError(f"{self._path}: meta_info.txt lists key {key!r}, data.mdb does not hold it")
                found.append(len(value))
        return found


# LMDB forbids opening a file twice in one process (lmdb.h, "Caveats"), so all readers of a process share one; it closes
# when the last of them is gone.
_readers: weakref.WeakValueDictionary[Path, LmdbReader] = weakref.WeakValueDictionary()
_readers_lock = threading.Lock()


def open_lmdb(path: Path) -> LmdbReader:
    """The process's reader of an LMDB.

    Raises:
        ImageError: not an LMDB, or the lmdb package is missing.
    """
    resolved = path.resolve()
    with _readers_lock:
        reader = _readers.get(resolved)
        if reader is None:
            reader = _readers[resolved] = LmdbReader(path)
    return reader
