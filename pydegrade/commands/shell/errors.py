"""Which errors mean what: bad input, a failure on the way, memory that is used up."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ImageError, PydegradeError

DONE, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes; the last as shells number Ctrl-C (128 + SIGINT)."""

_ABOUT_THE_PATH = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.ELOOP, errno.EINVAL}
)
"""Errors of the operating system that say that a path cannot be used, whatever the state of the disk."""


class OutputError(PydegradeError):
    """Something that must not, or cannot, be written where the user asked for it; said before anything is written."""


class WriteError(Exception):
    """A write that failed on the way: the disk is full or read-only. The other files would meet the same."""


def os_error_text(error: OSError) -> str:
    """ "path: No space left on device" """
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename!s}: {reason}" if error.filename else reason


def is_about_the_path(error: OSError) -> bool:
    """Whether it is this path that is wrong, and not the disk or the system."""
    return error.errno in _ABOUT_THE_PATH


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the machine or of a GPU is used up, in Python, NumPy, our own code or torch."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # For memory of the CPU torch has no type of its own, on no system; its allocator names itself.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around a write: a path that cannot be used is an ImageError about that path, anything else a WriteError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if is_about_the_path(error):
            raise ImageError(f"{path}: cannot be written ({reason})") from None
        raise WriteError(f"{path}: cannot be written ({reason})") from error
