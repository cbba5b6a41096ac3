"""The sources compile for processors that are not here: the NEON build is compiled in tests, not run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror"]


def arm_compiler() -> str | None:
    names = ["aarch64-linux-gnu-g++", *(f"aarch64-linux-gnu-g++-{version}" for version in range(15, 9, -1))]
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.mark.parametrize("source", sorted(path.name for path in (ROOT / "csrc/cpu").glob("*.cpp")))
def test_loops_compile_for_arm64(source):
    compiler = arm_compiler()
    if compiler is None:
        pytest.skip("no cross-compiler for arm64 (Debian: g++-aarch64-linux-gnu)")
    command = [
        compiler,
        *FLAGS,
        "-fno-exceptions",
        "-fno-rtti",
        "-DPYD_ISA=base",
        f"-I{ROOT / 'csrc'}",
        "-fsyntax-only",
    ]
    done = subprocess.run([*command, str(ROOT / "csrc/cpu" / source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", sorted(path.name for path in (ROOT / "csrc/core").glob("*.cpp")))
def test_core_compiles_for_arm64(source):
    compiler = arm_compiler()
    if compiler is None:
        pytest.skip("no cross-compiler for arm64 (Debian: g++-aarch64-linux-gnu)")
    command = [compiler, *FLAGS, f"-I{ROOT / 'csrc'}", "-fsyntax-only", str(ROOT / "csrc/core" / source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
