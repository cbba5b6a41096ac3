"""The number of executed instructions per op must not grow: the regression gate that noise of the machine cannot move.

Also here, because it runs the same program: a build for arm64 gives the same bits, under an emulator.
"""

from __future__ import annotations

import platform
import re
import shutil
import warnings

import pytest

from . import native
from .native.renew import GOLDEN, ISA, PROCESSOR

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

X86 = platform.machine() in ("x86_64", "AMD64")


def major(version: str) -> str:
    """Major version in the first line of --version: "12" of "(Debian 12.2.0-14) 12.2.0"."""
    return re.findall(r"(\d+)\.\d+", version)[-1]


@pytest.mark.slow
def test_no_case_needs_more_instructions_than_recorded():
    compiler = native.x86_compiler()
    if not X86 or compiler is None or shutil.which("valgrind") is None:
        pytest.skip("instructions are counted on x86-64 with valgrind (Debian: valgrind)")
    recorded = tomllib.loads(GOLDEN.read_text())
    version = native.compiler_version(compiler)
    if major(version) != major(recorded["compiler"]):
        pytest.skip(f"counts are recorded for {recorded['compiler']}, this is {version}")
    counts = native.count_instructions(native.build(compiler, ISA, PROCESSOR))
    if not counts:
        pytest.skip("the compiler does not find valgrind/callgrind.h")
    advice = "if the change was meant: python -m tests.native.renew"
    assert counts.keys() == recorded["count"].keys(), f"cases differ from {GOLDEN.name}; {advice}"
    change = {name: counts[name] / recorded["count"][name] - 1 for name in counts}
    worse = {name: f"{share:+.1%}" for name, share in change.items() if share > recorded["tolerance"]}
    assert not worse, f"more instructions than recorded: {worse}; {advice}"
    better = {name: f"{share:+.1%}" for name, share in change.items() if share < -recorded["tolerance"]}
    if better:
        warnings.warn(f"fewer instructions than recorded, the gate is loose: {better}; {advice}", stacklevel=1)


@pytest.mark.slow
def test_arm64_gives_the_same_bits():
    compiler, cross = native.x86_compiler(), native.arm_compiler()
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not X86 or compiler is None or cross is None or emulator is None:
        pytest.skip("needs an arm64 cross-compiler and emulator (Debian: g++-aarch64-linux-gnu, qemu-user-static)")
    here = native.hashes(native.build(compiler, ISA, PROCESSOR))
    there = native.hashes(native.build(cross, "base", "-static"), emulator)
    assert len(here) > 35
    assert [name for name in here if here[name] != there.get(name)] == []
    # Different cases give different pixels, so equal hashes mean something.
    assert len(set(here.values())) == len(here)
