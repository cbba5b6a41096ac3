"""A log for demonstrations that run many trainings."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from pytrain.log import Log
from pytrain.settings import LogConfig


def quiet(folder: Path, is_main: bool) -> Log:
    """A log that only writes its file."""
    return Log(folder, LogConfig(), 1, is_main, stream=StringIO())
