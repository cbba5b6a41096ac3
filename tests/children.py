"""Processes that tests start, kill and wait for. Nothing here depends on how fast they are: what interrupts a process
happens at a place in its work, and the one limit of time only ends tests that hang.

    python -m tests.children SIGKILL "*/lr/*.png" 61 pydegrade sample --tasks 96 ...

runs a module as `python -m` does; just before a file whose path matches the pattern gets its final name for the 61st time,
the process sends itself the signal. 60 files are there then, and the 61st is a file half on its way.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import runpy
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

HANG_S = 900
"""After this nothing is slow any more, it hangs."""


def environment(**more: str) -> dict[str, str]:
    """This process's, with the repository where Python finds it first."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **more}


def interrupted(signal_name: str, pattern: str, number: int, module: str, *arguments: object) -> list[str]:
    """The command that runs a module until a file matching `pattern` is named for the `number`-th time."""
    return [
        sys.executable,
        "-m",
        "tests.children",
        signal_name,
        pattern,
        str(number),
        module,
        *(str(argument) for argument in arguments),
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline_s, "hangs"
        time.sleep(0.005)


def wait_until_gone(pids: tuple[int, ...]) -> None:
    """Until none of the processes runs; they may be anybody's children."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended, _, _ = select.select([descriptor], [], [], HANG_S)
            assert ended, f"process {pid} still runs"
        finally:
            os.close(descriptor)


def main() -> None:
    signal_name, pattern, number, module, *arguments = sys.argv[1:]
    named = itertools.count(1)

    def watch(event: str, values: tuple[Any, ...]) -> None:
        # os.rename and os.replace, of whatever module and thread.
        if event == "os.rename" and fnmatch.fnmatch(os.fsdecode(values[1]), pattern) and next(named) == int(number):
            os.kill(os.getpid(), signal.Signals[signal_name])

    sys.addaudithook(watch)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
