"""Images in tar files of webdataset's layout, read on demand by any number of processes.

The members of a sample share a key, what stands before the first dot of their name: `00000012.hr.png`, `00000012.json`.
Between key and ending stands the kind: "hr". Headers are walked here with every number checked; nothing is unpacked, no
link is followed, and a name never becomes a path. Source: POSIX.1-1988 (ustar), POSIX.1-2001 (pax), GNU tar's long names.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..errors import ImageError
from .formats.table import READABLE_ENDINGS
from .paths import display_name, open_regular

_BLOCK = 512
_MOST_NAME_BYTES = 2**16
_REGULAR = (b"0", b"\0", b"7")
_SILENT = (b"5", b"g")
"""Folders, and settings for all that follows, of which none moves a name."""


@dataclass(frozen=True)
class TarMember:
    """One regular member: its name, and where its content lies."""

    name: str
    start: int
    size: int

    @property
    def key(self) -> str:
        """Of its sample, folders included."""
        path = PurePosixPath(self.name)
        return (path.parent / path.name.partition(".")[0]).as_posix()

    @property
    def kind(self) -> str:
        """What stands between key and ending; "" for nothing."""
        return PurePosixPath(self.name).name.partition(".")[2].rpartition(".")[0]

    @property
    def ending(self) -> str:
        return PurePosixPath(self.name).suffix.lower()


class TarReader:
    """A tar whose members are known and whose contents are read on demand. Any thread may read.

    Attributes:
        images: members that may be images, by their endings, in the order of the file.
        kinds: what stands between their keys and endings.
        left_out: one line for each member that is no regular file, or whose name leads out of its folder.

    Raises:
        ImageError: no tar, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = open_regular(path)
        self._lock = threading.Lock()
        self._members: dict[str, TarMember] = {}
        left_out = []
        try:
            for name, kind, start, size in _walk(self._stream):
                reason = _fault(name, kind)
                if reason:
                    left_out.append(f"{display_name(path)}: member {display_name(name[:300])!r} {reason}")
                elif name in self._members:
                    raise ValueError(f"two members {display_name(name[:300])!r}")
                else:
                    self._members[name] = TarMember(name, start, size)
        except ValueError as error:
            self._stream.close()
            raise ImageError(f"{display_name(path)}: not a readable tar ({error})") from None
        self.left_out = tuple(left_out)
        self.images = tuple(one for one in self._members.values() if one.ending in READABLE_ENDINGS)
        self.kinds = tuple(dict.fromkeys(one.kind for one in self.images))

    def of_kind(self, kind: str, left_out: list[str]) -> Iterator[tuple[str, str, bytes]]:
        """(name, key, content) of the images of a kind, in the order of the file.

        Args:
            kind: what stands between key and ending.
            left_out: gets a line for each image that is called like one before it, but for capitals in its ending.
        """
        seen = set[str]()
        for member in self.images:
            if member.kind != kind:
                continue
            name = f"{member.key}{member.ending}"
            if name in seen:
                left_out.append(
                    f"{display_name(self._path)}: member {display_name(member.name[:300])!r} is called like another one"
                )
                continue
            seen.add(name)
            yield name, member.name, self.read(member.name)

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            ImageError: no such member, or the tar has been cut since it was opened.
        """
        member = self._members.get(name)
        if member is None:
            raise ImageError(f"{display_name(self._path)}: does not hold {display_name(name)!r}")
        with self._lock:
            self._stream.seek(member.start)
            content = self._stream.read(member.size)
        if len(content) != member.size:
            raise ImageError(f"{display_name(self._path)}: truncated since it was opened")
        return content


def _fault(name: str, kind: bytes) -> str:
    """Why a member is not read; "" for one that is."""
    if kind not in _REGULAR:
        return "is a link; links are not followed" if kind in (b"1", b"2") else "is no regular file"
    parts = PurePosixPath(name.replace("\\", "/"))
    if not name or parts.is_absolute() or ".." in parts.parts or "\0" in name or re.match(r"[A-Za-z]:", name):
        return "leads out of its folder"
    return ""


def _walk(stream: BinaryIO) -> Iterator[tuple[str, bytes, int, int]]:
    """(name, type, start, size) of every member, folders left out.

    Raises:
        ValueError: a header that cannot be.
    """
    file_bytes = stream.seek(0, 2)
    place, long_name, pax = 0, "", dict[str, str]()
    while place + _BLOCK <= file_bytes:
        stream.seek(place)
        head = stream.read(_BLOCK)
        if head.count(0) == _BLOCK:
            return
        if sum(head) - sum(head[148:156]) + 8 * 32 != _number(head[148:156]):
            raise ValueError(f"a header at {place} whose sum is wrong")
        kind, size, start = head[156:157], _number(head[124:136]), place + _BLOCK
        if kind in _REGULAR and "size" in pax:
            if not re.fullmatch(r"[0-9]{1,18}", pax["size"]):
                raise ValueError(f"a header at {place} with a size that is none")
            size = int(pax["size"])
        # Links and devices have no content, whatever their headers say.
        held = size if kind not in (b"1", b"2", b"3", b"4", b"5", b"6") else 0
        if start + held > file_bytes:
            raise ValueError(f"truncated, a member at {place} has {size:,} bytes")
        place = start + -(-held // _BLOCK) * _BLOCK
        if kind in (b"x", b"L", b"K"):
            if held > _MOST_NAME_BYTES:
                raise ValueError(f"a header at {start - _BLOCK} of {held:,} bytes")
            stream.seek(start)
            content = stream.read(held)
            if kind == b"x":
                pax = _records(content)
            elif kind == b"L":
                long_name = content.split(b"\0")[0].decode("utf-8", "surrogateescape")
            continue
        if kind not in _SILENT:
            yield long_name or pax.get("path") or _name(head), kind, start, held
            if "GNU.sparse.major" in pax or "GNU.sparse.map" in pax:
                raise ValueError("a sparse member")
        long_name, pax = "", {}
    raise ValueError("no end")


def _number(field: bytes) -> int:
    """A number of a header: octal text, or large ones in bytes.

    Raises:
        ValueError: neither.
    """
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", text):
        raise ValueError("a number that is none")
    return int(text or b"0", 8)


def _name(head: bytes) -> str:
    name = head[:100].split(b"\0")[0]
    prefix = head[345:500].split(b"\0")[0] if head[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")


def _records(content: bytes) -> dict[str, str]:
    """The settings of a pax header: "LENGTH name=value" and a line break each."""
    found = {}
    place = 0
    while place < len(content):
        match = re.match(rb"([0-9]{1,6}) ", content[place : place + 8])
        length = 0 if match is None else int(match[1])
        record = content[place : place + length]
        if match is None or length <= len(match[0]) or not record.endswith(b"\n"):
            raise ValueError("a header with records that are none")
        name, _, value = record[len(match[0]) : -1].decode("utf-8", "surrogateescape").partition("=")
        found[name] = value
        place += length
    return found
