"""Which errors mean what: bad input, a failure on the way, memory that is used up."""

from __future__ import annotations

DONE, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes; the last as shells number Ctrl-C (128 + SIGINT)."""


def os_error_text(error: OSError) -> str:
    """ "path: No space left on device" """
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename!s}: {reason}" if error.filename else reason
