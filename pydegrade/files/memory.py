"""One budget of memory that all workers of a command share, so that several large images are not decoded at once."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ImageError
from .paths import display_name

BUDGET_BYTES = 2**30
"""What images in work may take together, by default."""
BYTES_PER_FILE_BYTE = 500
"""By default a file may take this many times its own size, alone, where that is more: a photograph of 24 megapixels and
6 MB needs about 1.5 GB for a whole chain of ops, while a small file that claims to be as large is not to be believed."""

_limit_bytes: int | None = None


def set_limit(total_bytes: int | None) -> None:
    """The total of budgets that are made from now on in this process: what a command was told by --max-memory, a limit
    for files of any size; None: the default."""
    global _limit_bytes
    _limit_bytes = total_bytes


class MemoryBudget:
    """Lets work begin only while what is in work fits into the budget, in the order of asking.

    Something larger than the whole budget is refused.

    Args:
        total_bytes: for everything that is held at a time; None: what `set_limit` said last, else BUDGET_BYTES and, for a
            file alone, BYTES_PER_FILE_BYTE.
    """

    def __init__(self, total_bytes: int | None = None) -> None:
        chosen = _limit_bytes if total_bytes is None else total_bytes
        self.total_bytes = BUDGET_BYTES if chosen is None else chosen
        self._per_file_byte = BYTES_PER_FILE_BYTE if chosen is None else 0
        self._held = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def is_chosen(self) -> bool:
        """Whether somebody named the total: what could be more than a file seems to ask for counts then, too."""
        return self._per_file_byte == 0

    @contextmanager
    def hold(self, needed_bytes: int, name: str | os.PathLike[str] = "an image", file_bytes: int = 0) -> Iterator[None]:
        """Wait until that much fits, hold it for the block. Hold all that one piece of work needs at once: whoever
        holds and asks for more may wait for ever.

        Args:
            needed_bytes: of memory, at the work's peak.
            name: of the image, for the message.
            file_bytes: size of the image's file.
        Raises:
            ImageError: more than the whole budget.
        """
        needed = max(0, needed_bytes)
        if needed > max(self.total_bytes, self._per_file_byte * file_bytes):
            raise ImageError(
                f"{display_name(name)}: must be worked on in {self.total_bytes / 1e9:.3g} GB of memory, needs "
                f"{needed / 1e9:.3g}; raise the limit (--max-memory) if that is meant"
            )
        needed = min(needed, self.total_bytes)  # larger than all: alone
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._held + needed > self.total_bytes:
                    self._changed.wait()
                self._held += needed
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held -= needed
                self._changed.notify_all()
