"""Which errors mean what: bad input, a failure on the way, memory that is used up."""

from __future__ import annotations

import sys

DONE, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes; the last as shells number Ctrl-C (128 + SIGINT)."""


def os_error_text(error: OSError) -> str:
    """ "path: No space left on device" """
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename!s}: {reason}" if error.filename else reason


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the machine or of a GPU is used up, in Python, NumPy, our own code or torch."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # For memory of the CPU torch has no type of its own, on no system; its allocator names itself.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
