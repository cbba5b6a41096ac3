"""Where a step's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARTS = ("read", "degrade", "prepare", "forward", "backward", "optimizer", "graph", "evaluate", "save")
"""Of a step that a GPU repeats from a recording, "graph" is forward, backward and optimizer."""


class Clock:
    """Adds up seconds per part of a step; what no part claims is "idle".

    On CUDA work is queued, so parts are measured between events on the stream and read once per report; time that the
    device waits for the host shows up as idle.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._started_s = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The time inside belongs to `name`, one of PARTS."""
        if self._cuda and name not in ("read", "save"):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            try:
                yield
            finally:
                end.record()
                self._events.append((name, begin, end))
            return
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start_s

    @contextmanager
    def split(self) -> Iterator[dict[str, float]]:
        """The time inside belongs to the parts that the block puts into the dictionary, in proportion to its numbers."""
        start_s = time.perf_counter()
        shares: dict[str, float] = {}
        try:
            yield shares
        finally:
            spent_s, total = time.perf_counter() - start_s, sum(shares.values())
            for name, share in shares.items():
                self._seconds[name] += spent_s * share / total if total else 0.0

    def report(self) -> dict[str, float]:
        """Seconds per part since the last report, with "idle" and "total"; starts anew."""
        if self._events:
            torch.cuda.synchronize()
            for name, begin, end in self._events:
                self._seconds[name] += begin.elapsed_time(end) / 1000
            self._events.clear()
        now_s = time.perf_counter()
        total_s = now_s - self._started_s
        seconds = dict(self._seconds)
        seconds["idle"] = max(0.0, total_s - sum(seconds.values()))
        seconds["total"] = total_s
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._started_s = now_s
        return seconds
