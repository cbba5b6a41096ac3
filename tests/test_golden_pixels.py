"""The pixels of every preset and op are those of the stored digests: on every instruction set, and for the CUDA kernels
under the block emulator."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from . import emulated, golden_pixels
from .conftest import ROOT
from .devices import use_emulator


def differing(made: dict[str, str]) -> list[str]:
    expected = golden_pixels.stored()
    return [name for name, value in made.items() if expected.get(name) != value]


def test_pixels_are_the_stored_ones():
    made = golden_pixels.everything()
    assert set(made) == set(golden_pixels.stored())
    assert differing(made) == []


@pytest.mark.parametrize("isa", ["v2", "v3", "v4"])
@pytest.mark.slow
def test_pixels_are_the_stored_ones_on_every_instruction_set(isa):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.golden_pixels"],
        cwd=ROOT,
        env=os.environ | {"PYDEGRADE_ISA": isa, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.stdout and not run.stdout.startswith(isa):
        pytest.skip(f"this processor has no {isa}")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.skipif(emulated.compiler() is None, reason="no C++ compiler for the emulator")
def test_pixels_of_the_cuda_kernels_are_the_stored_ones(monkeypatch):
    use_emulator(monkeypatch)
    assert differing(golden_pixels.digests(golden_pixels.preset_cases())) == []
    assert differing(golden_pixels.digests(golden_pixels.op_cases())) == []
