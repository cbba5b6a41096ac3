"""The first cases of every round. Cases that still fail stand in known.json, and only those may."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = ("images", "names", "spaces", "configs", "models", "files", "options", "api", "kills")


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUNDS)
def test_every_case_of_the_short_round_holds(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "--short"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
