"""Other processors than this one: the NEON build is compiled, not run; Python's results use no function whose last digit
another machine may give otherwise."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from . import cross_compile, native

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror"]


def arm_compiler() -> str | None:
    names = ["aarch64-linux-gnu-g++", *(f"aarch64-linux-gnu-g++-{version}" for version in range(15, 9, -1))]
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.mark.representatives(2)
@pytest.mark.parametrize("source", native.loops(), ids=lambda path: str(path.relative_to(ROOT / "csrc")))
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
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.representatives(1)
@pytest.mark.parametrize("source", native.host(), ids=lambda path: str(path.relative_to(ROOT / "csrc")))
def test_core_compiles_for_arm64(source):
    compiler = arm_compiler()
    if compiler is None:
        pytest.skip("no cross-compiler for arm64 (Debian: g++-aarch64-linux-gnu)")
    command = [compiler, *FLAGS, f"-I{ROOT / 'csrc'}", "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Left to the machine's library or to the order in which BLAS adds.
INEXACT = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2",
    "sinh", "cosh", "tanh", "asin", "acos", "atan", "atan2", "power", "pow", "hypot", "cbrt", "linalg", "fft", "dot",
    "matmul", "einsum", "inner", "vdot", "tensordot", "convolve", "correlate", "interp", "hanning",
}  # fmt: skip
# Of these nothing exact is promised: estimates, and decibels.
PROMISE_NOTHING = {("images/kernel_estimate.py", ""), ("images/metrics.py", "log10")}
ESTIMATES = "fitting/"


@pytest.mark.slow
def test_what_is_promised_exactly_is_made_of_exact_operations():
    found = set()
    for path in sorted((ROOT / "pydegrade").rglob("*.py")):
        name = path.relative_to(ROOT / "pydegrade").as_posix()
        if name.startswith(ESTIMATES):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            used = ""
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used = node.attr if node.value.id in ("np", "math") and node.attr in INEXACT else ""
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                used = "@"
            if used and (name, "") not in PROMISE_NOTHING and (name, used) not in PROMISE_NOTHING:
                found.add(f"{name}:{node.lineno}: {used}")
    assert not found


@pytest.mark.slow
def test_scores_do_not_depend_on_numpys_instruction_set():
    script = (
        "import numpy as np, pydegrade\n"
        "g = np.random.default_rng(5)\n"
        "for _ in range(20):\n"
        "    a, b = g.integers(0, 256, (2, 37, 41), np.uint8)\n"
        "    print(pydegrade.ssim(a, b).value.hex(), pydegrade.ssim(a / 255, b / 255, 'y-double-border1').value.hex())\n"
    )
    core = getattr(np, "_core", None) or np.core
    known = core._multiarray_umath
    features = [name for name in known.__cpu_dispatch__ if known.__cpu_features__.get(name)]
    results = set()
    for disabled in (features, features[-1:], []):
        environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(disabled), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, env=environment, check=True
        )
        results.add(done.stdout)
    assert len(results) == 1


@pytest.mark.slow
@pytest.mark.parametrize("target", ["x86_64-windows-gnu", "aarch64-macos"])
def test_sources_compile_for_systems_that_are_not_here(target):
    compiler = cross_compile.zig()
    if compiler is None:
        pytest.skip("no zig (pip install ziglang)")
    assert cross_compile.faults(compiler, target) == []


def test_packages_import_nothing_that_windows_lacks():
    """Modules of the standard library that only POSIX systems have; signals are asked for by names that both have."""
    absent = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "posix"}
    for path in [*(ROOT / "pydegrade").rglob("*.py"), *(ROOT / "pytrain").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not absent & {name.split(".")[0] for name in names}, f"{path}:{getattr(node, 'lineno', 0)}"
