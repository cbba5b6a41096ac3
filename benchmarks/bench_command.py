"""Throughput of the command line, end to end: `degrade sample` against a torch eager script that writes the same images."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from . import inputs, peers
from .measure import SMOKE
from .peers import Peer

FEW, MANY = (4, 6) if SMOKE else (240, 4000)
SIDE_PX = 192
REPOSITORY = Path(__file__).resolve().parent.parent


def command(*words: str) -> None:
    """Run a module of this tree in a process of its own, with the threads of this run."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "PYDEGRADE_NUM_THREADS": str(inputs.THREADS),
        "OMP_NUM_THREADS": str(inputs.THREADS),
    }
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("file_format", "count"), [("png", FEW), ("npy", FEW), ("png", MANY)])
def test_degrade_sample(compare: Any, file_format: str, count: int) -> None:
    """Start of Python, reading of photographs, tasks, pixels, files, tables: all of it. With few pairs the start weighs;
    the script of the peer is too slow for many."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = (f"{folder}/{number}" for number in itertools.count())

        def ours() -> None:
            arguments = ("--tasks", str(count), "--hr-size", str(SIDE_PX), "--format", file_format)
            command("pydegrade", "sample", *arguments, "--out", next(fresh))

        def eager_script() -> None:
            size = ("--hr-size", str(SIDE_PX), "--threads", str(inputs.THREADS))
            command("benchmarks.eager_script", "--tasks", str(count), *size, "--out", next(fresh))

        contenders = []
        if (file_format, count) == ("png", FEW) and peers.module("opencv"):
            note = "writes the same kinds of files, one size per batch"
            contenders = [Peer("torch eager script", eager_script, None, note)]
        compare(
            ours,
            contenders,
            images=count,
            megapixels=count * SIDE_PX**2 / 1e6,
            seconds=1.0,
            least_rounds=1,
            throughput=True,
        )
