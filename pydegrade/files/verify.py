"""A folder compared with a card, or with its SHA256SUMS."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import CardError, ImageError
from ..native import binding
from .card import Card, Digests, pixels_sha256, read_card
from .lmdb_reader import open_lmdb
from .paths import display_name, natural_key, open_regular, path_inside, sha256_of_file
from .read import read_picture
from .sample_manifest import SUMS_FILE, read_sums

NOT_OF_THE_SET = ("run.json", "sheet.png", SUMS_FILE)
"""Files of a run that are no part of the set: folders and versions of a machine, a picture for people, sums of the rest."""


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        lines: "differs  lr/00000003.png" and so on, in the order of names.
        equal, differ, missing, extra: numbers of files.
    """

    lines: tuple[str, ...]
    equal: int
    differ: int
    missing: int
    extra: int


def listed(path: Path, card: Card | None = None) -> Mapping[str, Digests]:
    """What a card, or a SHA256SUMS, says about files.

    Args:
        path: the file.
        card: what it holds, where that was read already.
    Raises:
        CardError, ImageError: it is neither, or a card that names no files.
    """
    if card is None and path.name == SUMS_FILE:
        return {name: Digests(sha256) for name, sha256 in read_sums(path).items()}
    files = (card or read_card(path)).files
    if not files:
        raise CardError(f"{display_name(path)}: names no files; make its set, and a card of that")
    return files


def compare(files: Mapping[str, Digests], folder: Path, pixels: bool = False) -> Compared:
    """Every file of a set against what a folder holds, and what it holds beyond it.

    Args:
        files: from `listed`.
        folder: of the set.
        pixels: images are equal where their pixels are.
    """
    here = set(_entries(folder))

    def verdict(name: str) -> tuple[str, str]:
        if name not in here:
            return name, "missing"
        return name, _difference(folder, name, files[name], pixels)

    with ThreadPoolExecutor(max_workers=binding.get_num_threads() + 1) as pool:
        verdicts = list(pool.map(verdict, files))
    extra = [(name, "extra") for name in here - files.keys()]
    found = sorted((one for one in verdicts + extra if one[1]), key=lambda one: natural_key(one[0]))
    missing = sum(word == "missing" for _, word in found)
    lines = tuple(f"{word.partition(' ')[0]:<8} {display_name(name)}{_behind(word)}" for name, word in found)
    return Compared(
        lines, len(verdicts) - (len(found) - len(extra)), len(found) - missing - len(extra), missing, len(extra)
    )


def _behind(word: str) -> str:
    reason = word.partition(" ")[2]
    return f": {display_name(reason)}" if reason else ""


def _difference(folder: Path, name: str, said: Digests, pixels: bool) -> str:
    """ "" for an equal file, else "differs", with a reason where there is one."""
    try:
        if entry_sha256(folder, name) == said.sha256:
            return ""
        if not said.pixels:
            return "differs"
        if digests_of(name, read_entry(folder, name)).pixels != said.pixels:
            return "differs"
    except ImageError as error:
        return f"differs {error}"
    return "" if pixels else "differs same pixels, packed in other bytes (--pixels)"


def _entries(folder: Path) -> Iterator[str]:
    """Names of everything in a folder that may be part of a set: files, and values of LMDBs."""
    for parent, folders, inside in os.walk(folder):
        place = Path(parent).relative_to(folder).as_posix()
        prefix = "" if place == "." else f"{place}/"
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (f"{prefix}{name}" for name in folders if Path(parent, name).is_symlink())
        names = [name for name in inside if not name.startswith(".") and prefix + name not in NOT_OF_THE_SET]
        if place.endswith(".lmdb") and "data.mdb" in names:
            try:
                yield from (f"{prefix}{key}" for key in open_lmdb(Path(parent)).keys)
                names.remove("data.mdb")
            except ImageError:
                pass  # no set's data.mdb; its values are missing
        yield from (f"{prefix}{name}" for name in names)


# ---- what files hold


def read_entry(folder: Path, name: str) -> bytes:
    """A file of a set, or the value of an LMDB in it ("lr.lmdb/00000012").

    Raises:
        ImageError: not there, not to be read, or outside of the folder.
    """
    path = path_inside(folder, name)
    if _is_value(path):
        return open_lmdb(path.parent).read(path.name)
    with open_regular(path) as stream:
        return stream.read()


def entry_sha256(folder: Path, name: str) -> str:
    """SHA-256 of `read_entry`. Arguments and errors as there."""
    path = path_inside(folder, name)
    if _is_value(path):
        return hashlib.sha256(read_entry(folder, name)).hexdigest()
    return sha256_of_file(path)


def _is_value(path: Path) -> bool:
    return path.parent.suffix == ".lmdb" and path.suffix == ""


def digests_of(name: str, content: bytes) -> Digests:
    """Digests of a file's content; of its pixels where it is a PNG.

    Raises:
        ImageError: pixels that cannot be decoded.
    """
    is_png = content[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = pixels_sha256(read_picture(name, content=content).array) if is_png else ""
    return Digests(hashlib.sha256(content).hexdigest(), pixels)
