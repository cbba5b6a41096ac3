"""One line on stderr that says how far a long job is."""

from __future__ import annotations

import sys
import time
from typing import TextIO

BAR_CELLS = 28
SECONDS_BETWEEN_DRAWS = 0.2
SECONDS_BETWEEN_LOG_LINES = 10.0


class Progress:
    """A bar that redraws itself on a terminal; elsewhere (a log file, CI) a plain line every ten seconds.

    Args:
        total: number of steps of the whole job.
        done: steps finished by an earlier run; they do not count for the speed.
        unit: what a step is, in the plural.
    """

    def __init__(self, total: int, done: int = 0, unit: str = "images", stream: TextIO | None = None) -> None:
        self._total, self._done, self._done_before, self._unit = total, done, done, unit
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._started_s = time.perf_counter()
        self._drawn_s = self._started_s

    @property
    def per_second(self) -> float:
        """Steps per second of this run so far."""
        elapsed_s = time.perf_counter() - self._started_s
        return (self._done - self._done_before) / elapsed_s if elapsed_s > 0 else 0.0

    def advance(self, steps: int) -> None:
        """Note finished steps and redraw when the last drawing is old enough."""
        self._done += steps
        now_s = time.perf_counter()
        pause_s = SECONDS_BETWEEN_DRAWS if self._is_terminal else SECONDS_BETWEEN_LOG_LINES
        if now_s - self._drawn_s >= pause_s:
            self._drawn_s = now_s
            self._draw()

    def close(self) -> None:
        """Leave the terminal with a clean line."""
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _draw(self) -> None:
        speed = self.per_second
        text = f"{self._done}/{self._total} {self._unit}  {speed:.1f} {self._unit}/s"
        if speed > 0:
            text += f"  {_duration((self._total - self._done) / speed)} left"
        if self._is_terminal:
            filled = BAR_CELLS * self._done // max(1, self._total)
            self._stream.write(f"\r\x1b[K[{'#' * filled}{'.' * (BAR_CELLS - filled)}] {text}")
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
