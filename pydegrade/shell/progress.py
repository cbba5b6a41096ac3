"""How far a long run is: a bar with speed and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from .text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

BAR_CELLS = 24
SECONDS_BETWEEN_DRAWS = 0.2
SECONDS_BETWEEN_LOG_LINES = 10.0


class Progress:
    """A bar that redraws itself on a terminal; elsewhere (a log file, CI) a plain line every ten seconds.

    Args:
        total: number of steps of the whole run.
        done: steps finished by an earlier run; they do not count for the speed.
        unit: what a step is, in the plural.
        stream: default: stderr.
    """

    def __init__(self, total: int, done: int = 0, unit: str = "images", stream: TextIO | None = None) -> None:
        self._total, self._done, self._done_before, self._unit = total, done, done, unit
        self._stream = stream or sys.stderr
        self._started_s = time.perf_counter()
        self._drawn_s = self._started_s
        self._bar: RichProgress | None = None
        self._is_terminal = self._stream.isatty()

    @property
    def per_second(self) -> float:
        """Steps per second of this run so far."""
        elapsed_s = time.perf_counter() - self._started_s
        return (self._done - self._done_before) / elapsed_s if elapsed_s > 0 else 0.0

    def advance(self, steps: int = 1) -> None:
        """Note finished steps and redraw when the last drawing is old enough."""
        self.reach(self._done + steps)

    def reach(self, done: int) -> None:
        """`advance` to a number of finished steps, those of earlier runs included."""
        self._done = done
        now_s = time.perf_counter()
        pause_s = SECONDS_BETWEEN_DRAWS if self._is_terminal else SECONDS_BETWEEN_LOG_LINES
        if now_s - self._drawn_s < pause_s:
            return
        self._drawn_s = now_s
        if not self._is_terminal:
            self._stream.write(f"{self._done}/{self._total} {self._unit}  {self._speed()}\n")
            self._stream.flush()
            return
        if self._bar is None:
            self._bar = self._opened()
        self._bar.update(self._bar.task_ids[0], completed=self._done, note=self._speed())
        self._bar.refresh()

    def say(self, line: str, style: str = "") -> None:
        """A line of its own, above the bar; on a terminal in a style of rich ("yellow")."""
        if self._is_terminal:
            self._console.print(printable(line), style=style or None, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(printable(line) + "\n")
            self._stream.flush()

    @property
    def columns(self) -> int:
        """Width of the terminal in characters."""
        return self._console.width

    def close(self) -> None:
        """Leave the terminal with a clean line. May be called again."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _speed(self) -> str:
        speed = self.per_second
        text = f"{speed:.1f} {self._unit}/s"
        return f"{text}  {_duration((self._total - self._done) / speed)} left" if speed > 0 else text

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=self._stream, highlight=False)

    def _opened(self) -> RichProgress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        # No thread redraws: commands fork, and a lock that a thread holds would stay held in the child.
        bar = Progress(
            BarColumn(bar_width=BAR_CELLS), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            console=self._console, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        bar.add_task("", total=self._total, note="")
        bar.start()
        return bar


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
