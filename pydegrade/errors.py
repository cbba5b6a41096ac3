"""What the package raises for bad input: one line each, with name, expectation, value and place."""

from __future__ import annotations

import difflib
import errno
from collections import Counter
from collections.abc import Iterable
from typing import Any


class PydegradeError(ValueError):
    """Base of all errors about values that a caller passed.

    Attributes:
        exit_code: with which a command ends that such an error leaves. Errors of other packages that have one are said in
            one line, too.
    """

    exit_code = 2


class SpaceError(PydegradeError):
    """A space file that cannot be understood; the message names file, line, key and value."""


class TaskError(PydegradeError):
    """An address or a task file that does not fit the space it names."""


class OpError(PydegradeError):
    """An op that contradicts itself, cannot be loaded, or answered with something else than it declared."""


class KernelError(PydegradeError):
    """A blur kernel that cannot be read or used."""


class ImageError(PydegradeError):
    """A file that is not an image this package reads."""


class OptionsError(PydegradeError):
    """Options of another project that cannot be read, or that no space can follow."""


class CardError(PydegradeError):
    """A card (`files.card`) that cannot be read, is cut off, or does not fit the images or the program that are here."""


class OutputError(PydegradeError):
    """Something that must not, or cannot, be written where the user asked for it; said before anything is written."""


class WriteError(Exception):
    """A write that failed on the way: the disk is full or read-only. The other files would meet the same.

    Nobody's input is wrong, so this is no `PydegradeError`.
    """

    exit_code = 1


def shown(value: Any) -> str:
    """A value as a message shows it: one line, at most 80 letters, whatever a file or a caller gave."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, (list, tuple, dict)) and len(value) > 20:
        kind = {list: "list", dict: "table"}.get(type(value), type(value).__name__)
        return f"a {kind} of {len(value)} entries"
    try:
        dtype, shape = getattr(value, "dtype", None), tuple(getattr(value, "shape", ()))
        if dtype is not None and (shape or getattr(value, "is_meta", False)):
            return f"{type(value).__name__} {dtype} of shape {list(shape)}"
        text = " ".join(repr(value).split("\n"))
    except Exception:  # repr of a caller's own class may raise anything
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'sigma_x_px'?"` when a known name is close to `name`, else the list of known names.

    A list longer than a paragraph is cut to those that are most alike; where nothing is known, nothing is said.
    """
    names = list(known)
    if not names:
        return ""
    longer = [other for other in names if other.startswith(f"{name}-")]
    if name and 2 <= len(longer) <= 5:  # the beginning of several: "realesrgan"
        return f"; did you mean {', '.join(map(repr, longer[:-1]))} or {longer[-1]!r}?"
    if len(name) > 100:  # a comparison takes time with the square of the length
        return f"; known: {_listed(names, names)}"
    # Among equals the one with the same letters: "realesrgan-4x" is "realesrgan-x4" and not "realesrgan-x2".
    alike = [
        (difflib.SequenceMatcher(None, name, other).ratio(), (Counter(name) & Counter(other)).total())
        for other in names
    ]
    if max(alike)[0] >= 0.6:
        return f"; did you mean {names[alike.index(max(alike))]!r}?"
    by_likeness = sorted(range(len(names)), key=lambda number: alike[number], reverse=True)
    return f"; known: {_listed(names, [names[number] for number in by_likeness])}"


_LIST_CHARACTERS = 360


def _listed(names: list[str], ranked: list[str]) -> str:
    """All names, or as many as fit a paragraph, the first of `ranked`, in the order of `names`."""
    length = 0
    kept = set()
    for name in ranked:
        length += len(name) + 2
        if length > _LIST_CHARACTERS:
            break
        kept.add(name)
    left = f" and {len(names) - len(kept)} more" if len(kept) < len(set(names)) else ""
    return ", ".join(name for name in names if name in kept) + left


def needs(what: str, package: str, extra: str, error: BaseException | None = None) -> str:
    """What every message says of a package that is not there, or cannot be imported: who needs it, and which extra has it.

    Args:
        what: begins the sentence.
        error: that importing it ended with, where it may be another one than that the package is missing.
    """
    why = f" ({' '.join(str(error).split())[:80]})" if error is not None else ""
    return f"{what} needs the package {package}{why}: pip install 'pydegrade[{extra}]'"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on the host or on a device.

    By type: Python's MemoryError, the system's ENOMEM, torch's OutOfMemoryError. What torch raises as a plain RuntimeError
    is known by the name of the allocator in its message.
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # Without importing torch, which an error of another kind need not wait for.
    if any(kind.__name__ == "OutOfMemoryError" and kind.__module__ == "torch" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in ALLOCATORS)


ALLOCATORS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""How torch's allocator of host memory and CUDA's libraries name themselves, on every system."""
