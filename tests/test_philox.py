"""Every implementation of Philox gives the known answers of Random123, from one file."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pydegrade.native import binding, rng

from . import emulated, native
from .children import ROOT
from .reference.philox import philox

ANSWERS = ROOT / "tests/golden/philox4x32_10.txt"
PROGRAM = ROOT / "tests/native/philox.cpp"
X86 = platform.machine() in ("x86_64", "AMD64")
LEVELS = ("v2", "v3", "v4")


def known() -> list[tuple[list[int], list[int], list[int]]]:
    """Counter, key, result."""
    lines = [line.split() for line in ANSWERS.read_text().splitlines() if not line.startswith("#")]
    assert all(line[:2] == ["philox4x32", "10"] for line in lines)
    words = [[int(word, 16) for word in line[2:]] for line in lines]
    assert len(words) >= 3
    return [(row[:4], row[4:6], row[6:]) for row in words]


@pytest.mark.parametrize("words", [rng.words, philox], ids=["compiled module", "NumPy reference"])
def test_python_gives_the_known_answers(words):
    counter, key, expected = (np.array(column, np.uint32) for column in zip(*known()))
    assert np.array_equal(words(key, counter), expected)


def answers(folder: Path, compiler: str | None, *flags: str, emulator: tuple[str, ...] = ()) -> list[list[str]]:
    """What the program prints, line by line, for every known answer."""
    assert compiler is not None
    command = [compiler, "-std=c++17", "-O2", *native.contract_flags(), *flags, f"-I{ROOT / 'csrc'}"]
    built = subprocess.run([*command, str(PROGRAM), "-o", str(folder / "philox")], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    lines = [" ".join(f"{word:08x}" for word in [*counter, *key]) for counter, key, _ in known()]
    run = [*emulator, str(folder / "philox")]
    done = subprocess.run(run, input="\n".join(lines), capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def expected(*ways: str) -> list[list[str]]:
    return [[way, *(f"{word:08x}" for word in result)] for _, _, result in known() for way in ways]


WAYS = ["one", *["lanes"] * 16]


@pytest.mark.slow
@pytest.mark.skipif(native.x86_compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("isa", LEVELS if X86 else ["base"])
def test_every_instruction_set_gives_the_known_answers(isa, tmp_path):
    if X86 and isa > binding.isa_name():
        pytest.skip(f"this processor has no {isa}")
    flags = [f"-march=x86-64-{isa}"] if X86 else []
    assert answers(tmp_path, native.x86_compiler(), f"-DPYD_ISA={isa}", *flags) == expected(*WAYS)


@pytest.mark.slow
def test_arm64_gives_the_known_answers(tmp_path):
    compiler = native.arm_compiler()
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("needs an arm64 cross-compiler and emulator (Debian: g++-aarch64-linux-gnu, qemu-user-static)")
    made = answers(tmp_path, compiler, "-DPYD_ISA=base", "-static", emulator=(emulator,))
    assert made == expected(*WAYS)


@pytest.mark.skipif(emulated.compiler() is None, reason="no C++ compiler for the emulator")
def test_cuda_source_gives_the_known_answers(tmp_path):
    assert answers(tmp_path, emulated.compiler(), "-DPYD_EMULATED") == expected("one")
