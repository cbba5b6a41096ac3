"""Writing so that a file is either absent (or the old one) or complete, also when the process is killed.

The content goes into a hidden file next to the result, whose name says which process on which machine fills it, and is
renamed at the end. What killed processes leave behind can therefore be told from what living ones are writing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ..errors import OutputError, WriteError
from .paths import display_name

_NAME = re.compile(r"\.pydegrade-([0-9a-f]{8})-([0-9]+)-([0-9]+)-[0-9]+\.partial")
_FOREIGN_LEFTOVER_S = 86400.0
"""Age at which what another machine left is taken for dead: its processes cannot be asked."""

_ABOUT_THE_PATH = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.ELOOP,
        errno.EINVAL,
        errno.EEXIST,
    }
)
"""Errors of the operating system that say that a path cannot be used, whatever the state of the disk."""

_numbers = itertools.count()


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """A temporary file to fill; leaving the block puts it in the place of `path` in one step, an error removes it.

    Args:
        path: the result; its folder is created.
        durable: make the content and the rename survive a power failure (costs a wait for the disk).
    Raises:
        OutputError: no file can be at that path: a name that is too long, a folder in its place.
        WriteError: full or read-only disk, no permission. What was at `path` is untouched.
    """
    # Strings: pathlib takes longer than the system takes to write a small image.
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, _partial_name())
    replaced = False
    try:
        if folder and not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
        yield Path(temporary)
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        replaced = True
        if durable:
            _sync_folder(Path(folder))
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        if not replaced:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _partial_name() -> str:
    """Of a file that this process fills, another one each time."""
    number = os.getpid()
    return f".pydegrade-{_machine()}-{number}-{_own_start(number)}-{next(_numbers)}.partial"


def write_atomic(path: str | os.PathLike[str], content: bytes, durable: bool = False) -> None:
    """`replacing` for a content that is there as a whole. Arguments and errors as there."""
    with replacing(path, durable) as temporary:
        # Without Python's file object, which asks the system three things more and copies.
        file = _created(temporary)
        try:
            left = memoryview(content)
            while len(left):
                left = left[os.write(file, left) :]
        finally:
            os.close(file)


def _created(path: str | os.PathLike[str]) -> int:
    """The descriptor of a new file, and never of what a link leads to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        # Of a dead process of this number, on a system that does not say when it began.
        os.unlink(path)
        return os.open(path, flags, 0o666)


def append(path: str | os.PathLike[str], content: bytes) -> None:
    """Put bytes at the end of a file in one write. Errors as `replacing`; a killed process may leave a part of them."""
    try:
        with open(path, "ab", buffering=0) as stream:
            stream.write(content)
    except OSError as error:
        raise write_error(path, error) from None


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder and those above it, where they are missing. Errors as `replacing`."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from None


def write_error(path: str | os.PathLike[str], error: OSError) -> OutputError | WriteError:
    """An operating system's error about a result, in one line: name, reason, room on a disk that is full."""
    reason = error.strerror or display_name(str(error))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            reason += f", {shutil.disk_usage(Path(path).parent).free / 1e6:.1f} MB free"
    line = f"{display_name(path)}: cannot be written ({reason}); what was saved there before is untouched"
    return OutputError(line) if is_about_the_path(error) else WriteError(line)


def is_about_the_path(error: OSError) -> bool:
    """Whether it is this path that is wrong, and not the disk or the system."""
    return error.errno in _ABOUT_THE_PATH


def remove_leftovers(folder: str | os.PathLike[str]) -> int:
    """Delete what killed processes left behind in a folder and those below it; the number of files.

    Files of living processes stay. Files that another machine began stay for a day.
    """
    count = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            found = _NAME.fullmatch(name)
            path = Path(parent, name)
            if found and not _is_alive(path, found[1], int(found[2]), int(found[3])):
                with contextlib.suppress(OSError):
                    path.unlink()
                    count += 1
    return count


def _is_alive(path: Path, machine: str, pid: int, started: int) -> bool:
    if machine != _machine():
        try:
            return time.time() - path.stat().st_mtime < _FOREIGN_LEFTOVER_S
        except OSError:
            return True
    return _process_exists(pid) and _started(pid) == started


def _process_exists(pid: int) -> bool:
    if os.name == "nt":
        return True  # signals would end it; what it leaves stays
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _started(pid: int) -> int:
    """When a process began, in ticks since the machine did; 0 where the system does not say. Process numbers come again,
    together with the time they do not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])  # field 22, proc(5)
    except (OSError, ValueError, IndexError):
        return 0


@cache
def _own_start(pid: int) -> int:
    """`_started` of this process; a fork has another number."""
    return _started(pid)


@cache
def _machine() -> str:
    """Eight hex digits of the machine, new after each of its starts where it says so."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return hashlib.sha256(f"{platform.node()} {boot}".encode()).hexdigest()[:8]


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where the system can sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
