"""Names of files: which files of a folder are images, what their results are called, how names are shown.

A name is whatever the file system holds, also bytes that are no text: Python carries those as lone surrogates, which must
never reach a terminal or a UTF-8 file as they are.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from ..errors import ImageError
from .formats.table import OTHER_ENDINGS, READABLE_ENDINGS

NAME_BYTES = 255
"""Longest name that Linux' and macOS' file systems take."""

ENDING_BYTES = 32
"""Room that is left in a result's name for what is put behind it: "_target.png", the number of a task."""

RESULT_ENDING = ".png"

SIDE_TEXT_BYTES = 2**28
"""Largest list of files that is read."""

_OUR_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What an operating system says when not the file, but this process or the machine is at its limit."""
_FAILING = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "EREMOTEIO", "ENODEV", "ENXIO")
    if hasattr(errno, name)
)
"""What it says when a disk or a network fails, whatever the file holds."""


# ---- showing


def display_name(name: str | os.PathLike[str]) -> str:
    """A name or a text that holds names, for terminals, logs and tables: on one line, without control characters.

    Control characters (terminal sequences), marks that turn the direction of writing, and bytes of a name that are no
    text appear as `\\x1b`, `\\u202e`, `\\xff`. Applied twice it changes nothing more.
    """
    text = os.fspath(name)
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # an undecodable byte (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def csv_cell(text: str) -> str:
    """A text for a table: shown as `display_name` does, and never taken for a formula by a spreadsheet. Numbers stay."""
    shown = display_name(text)
    is_formula = shown[:1] in ("=", "+", "-", "@") and not _NUMBER.fullmatch(shown)
    return "'" + shown if is_formula else shown


_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|[+-]?inf")


# ---- opening


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading; never waits for a pipe and never touches a device.

    Raises:
        ImageError: not there, not to be read, or no regular file; one line.
        OSError: this process has no more file handles, or the machine no memory: nothing that the file could help.
    """
    try:
        _check_regular(path, os.stat(path).st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
        raw = open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags))  # noqa: SIM115
        stream = _Reader(raw)
    except OSError as error:
        raise as_image_error(path, error) from None
    try:
        _check_regular(path, os.fstat(stream.fileno()).st_mode)
    except BaseException:
        stream.close()
        raise
    return stream


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file of any size, 64 hex digits. Errors as `open_regular`."""
    sha = hashlib.sha256()
    with open_regular(path) as stream:
        while block := stream.read(2**20):
            sha.update(block)
    return sha.hexdigest()


class _Reader(io.BufferedReader):
    """A reader that asks for no more than the file has: Python allocates what is asked for, and damaged files state sizes
    of any number of bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGE_READ_BYTES:
            size = max(0, min(size, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


_LARGE_READ_BYTES = 2**16


def _check_regular(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ImageError(f"{display_name(path)}: must be a file, got {_kind(mode)}")


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")


def as_image_error(path: str | os.PathLike[str], error: OSError) -> ImageError:
    """What to raise when a file cannot be read: an ImageError about the file, or, where the file is not to blame, the
    error itself, which is raised here."""
    if error.errno in _OUR_FAULT:
        raise error
    if error.errno in _FAILING:
        raise OSError(error.errno, error.strerror, display_name(path))
    return ImageError(f"{display_name(path)}: {error.strerror or display_name(str(error))}")


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a list of files that are not empty, without a byte order mark. Errors as `open_regular`.

    Bytes that are no UTF-8 are kept as Python keeps them in file names.
    """
    if not os.path.exists(path):
        raise ImageError(f"{display_name(path)}: must be a text file with one image name a line, got nothing")
    with open_regular(path) as stream:
        content = stream.read(SIDE_TEXT_BYTES + 1)
    if len(content) > SIDE_TEXT_BYTES:
        raise ImageError(f"{display_name(path)}: a list must have at most {SIDE_TEXT_BYTES:,} bytes")
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    return [line.strip() for line in re.split(r"\r\n|\n|\r", text) if line.strip()]


# ---- folders


@dataclass(frozen=True)
class ImageFiles:
    """The images of a folder.

    Attributes:
        paths: of all files that have an ending of an image that can be read, in natural order; also of links to nothing,
            pipes and devices with such a name, which reading refuses as it refuses a damaged file.
        left_out: one line for everything else that may hold images: subfolders that cannot be opened, links to folders,
            images of formats that are not read.
        unreadable: those of `left_out` that are folders which cannot be opened.
    """

    paths: tuple[Path, ...]
    left_out: tuple[str, ...]
    unreadable: tuple[str, ...] = ()


def list_images(folder: str | os.PathLike[str], recursive: bool = True) -> ImageFiles:
    """Image files of a folder by their ending, in natural order of the relative path; hidden files are left out.

    Links to files are followed, links to folders are not: they may lead out of the folder, or in circles.

    Raises:
        ImageError: no such folder, not to be read, or no image in it.
        OSError: this process has no more file handles.
    """
    folder = Path(folder)
    if not folder.is_dir():
        got = "nothing" if not folder.exists() else "a file"
        raise ImageError(f"{display_name(folder)}: must be a folder with images, got {got}")
    found: list[Path] = []
    left_out: list[str] = []
    unreadable: list[str] = []
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(parent) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if parent == folder:
                raise as_image_error(folder, error) from None
            unreadable.append(f"{as_image_error(parent, error)}; its images are left out")
            continue
        for entry in inside:
            if entry.name.startswith("."):
                continue
            try:
                _sort_in(entry, recursive, waiting, found, left_out)
            except OSError as error:
                left_out.append(str(as_image_error(entry.path, error)))
    if not found:
        more = f"; {[*unreadable, *left_out][0]}" if unreadable or left_out else ""
        endings = ", ".join(sorted(READABLE_ENDINGS))
        raise ImageError(f"{display_name(folder)}: must contain images ({endings}), got none{more}")
    found.sort(key=lambda path: natural_key(path.relative_to(folder).as_posix()))
    return ImageFiles(tuple(found), tuple(sorted([*left_out, *unreadable])), tuple(sorted(unreadable)))


def _sort_in(
    entry: os.DirEntry[str], recursive: bool, waiting: list[Path], found: list[Path], left_out: list[str]
) -> None:
    """One entry of a folder: to be searched, an image, something to name, or none of our business."""
    path = Path(entry.path)
    if entry.is_dir(follow_symlinks=False):
        if recursive:
            waiting.append(path)
    elif entry.is_symlink() and entry.is_dir():
        if recursive:
            left_out.append(f"{display_name(path)}: a link to a folder is not followed; name the folder itself")
    elif path.suffix.lower() in READABLE_ENDINGS:
        found.append(path)
    elif path.suffix.lower() in OTHER_ENDINGS:
        left_out.append(f"{display_name(path)}: images of this format are not read")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which img2 comes before img10; ties between equal numbers ("01", "1") go by spelling.

    Numbers are runs of the digits 0 to 9 of any length; other scripts' digits are letters here.
    """
    parts = re.split(r"([0-9]+)", name)
    keys = [
        (1, len(part.lstrip("0")), part.lstrip("0")) if position % 2 else (0, 0, part.lower())
        for position, part in enumerate(parts)
    ]
    return (*keys, (0, 0, name))


def path_inside(folder: str | os.PathLike[str], name: str) -> Path:
    """The file that a list or table inside `folder` names, refused if it lies outside.

    Raises:
        ImageError: absolute, with "..", with a drive, or through a link that leads out of the folder.
    """
    folder = Path(folder)
    relative = PurePosixPath(name.replace("\\", "/"))
    escapes = relative.is_absolute() or ".." in relative.parts or PureWindowsPath(name).drive != "" or "\0" in name
    try:
        os.fsencode(name)
        if escapes or not (folder / relative).resolve().is_relative_to(folder.resolve()):
            raise ImageError(
                f"{display_name(folder)}: file names must stay inside the folder, got {display_name(repr(name))}"
            )
    except (OSError, RuntimeError, UnicodeEncodeError):  # too long, a circle of links, or no text
        raise ImageError(f"{display_name(folder)}: no file can have the name {display_name(name[:300])!r}") from None
    return folder / relative


# ---- results


def unique_names(
    relatives: Sequence[PurePath], results_of: Callable[[str], Iterable[str]] = lambda name: (name,)
) -> list[str]:
    """What the results of images are called, without ending: the image's name, but for those whose results would meet,
    where the ending stays in the name. Of x.jpg, x.bmp and x.png, only x.png is "x": its ending is that of results.

    Names that leave no room for an ending on a file system are cut, and marked by a digest of the whole name.

    Args:
        relatives: paths of images below their folders, all different.
        results_of: name -> names of all results, if these could be equal for different names.
    Raises:
        ImageError: names that stay equal.
    """
    whole = [False] * len(relatives)
    while True:
        names = [
            _fitting(relative, relative.name if keeps else relative.stem) for relative, keeps in zip(relatives, whole)
        ]
        owners: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            for result in dict.fromkeys(results_of(name)):
                owners.setdefault(os.path.normcase(result), []).append(row)
        shared = [rows for rows in owners.values() if len(rows) > 1]
        if not shared:
            return names
        short = {row for rows in shared for row in rows if not whole[row]}
        longer = {row for rows in shared for row in rows if row in short and not _is_only_png(relatives, rows, row)}
        if not short:
            one, other = (display_name(relatives[row]) for row in shared[0][:2])
            raise ImageError(f"{one} and {other}: results would have the same name; run them separately")
        for row in longer or short:
            whole[row] = True


def _is_only_png(relatives: Sequence[PurePath], rows: Sequence[int], row: int) -> bool:
    """Of images that would share a result, the only one whose own ending is that of results."""
    return [other for other in rows if relatives[other].suffix.lower() == RESULT_ENDING] == [row]


def _fitting(relative: PurePath, name: str) -> str:
    """The path with another last part, which is cut if it leaves no room for suffix and ending."""
    room = NAME_BYTES - ENDING_BYTES
    if len(os.fsencode(name)) > room:
        mark = "~" + hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]
        while len(os.fsencode(name + mark)) > room:
            name = name[:-1]
        name += mark
    return relative.with_name(name).as_posix()
