"""One budget of memory that all workers of a command share, so that several large images are not decoded at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

BUDGET_BYTES = 2**30
"""What images in work may take together, by default."""


class MemoryBudget:
    """Lets work begin only while what is in work fits into the budget, in the order of asking.

    Something larger than the whole budget waits until it is alone: how large a single image may be is said by
    `max_pixels`, not here.

    Args:
        total_bytes: for everything that is held at a time.
    """

    def __init__(self, total_bytes: int = BUDGET_BYTES) -> None:
        self.total_bytes = total_bytes
        self._held = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, needed_bytes: int) -> Iterator[None]:
        """Wait until that much fits, hold it for the block. Hold all that one piece of work needs at once: whoever
        holds and asks for more may wait for ever."""
        needed = min(max(0, needed_bytes), self.total_bytes)
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
