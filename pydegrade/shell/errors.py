"""Which errors mean what: bad input, a failure on the way, memory that is used up."""

from __future__ import annotations

from ..errors import is_out_of_memory
from ..files.atomic import is_about_the_path

DONE, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes; the last as shells number Ctrl-C (128 + SIGINT)."""


def os_error_text(error: OSError) -> str:
    """ "path: No space left on device" """
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename!s}: {reason}" if error.filename else reason


def exit_code(error: Exception) -> int | None:
    """With which code a command ends that an error leaves; None for a defect, which keeps its traceback."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code
    if isinstance(error, OSError):
        return BAD_INPUT if is_about_the_path(error) else FAILURE
    return FAILURE if is_out_of_memory(error) else None
