"""A copy of the tree whose compiled module is built with AddressSanitizer and UndefinedBehaviorSanitizer.

`python -m tests.fuzz api --sanitized v3` runs a round in it: the first report of a sanitizer ends the child, which the
harness counts as a crash.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from .product import ROOT

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"
WHERE = ROOT / "out" / "fuzz-sanitized"


def sources_digest() -> str:
    names = subprocess.run(
        ["git", "ls-files", "csrc", "CMakeLists.txt"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]
    digest = hashlib.sha256(FLAGS.encode())
    for name in names:
        digest.update(name.encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def build() -> Path:
    """The folder of the copy: this tree's files, and a module that is built anew when a source has changed."""
    work, mark = WHERE / "build", WHERE / "digest"
    digest = sources_digest()
    if not mark.is_file() or mark.read_text() != digest:
        work.mkdir(parents=True, exist_ok=True)
        # Configured here and not by setup.py, which would also strip and place the module.
        configure = [
            "cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(work), "-DCMAKE_BUILD_TYPE=None",
            f"-DCMAKE_CXX_FLAGS={FLAGS}", f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={_pybind11()}",
        ]  # fmt: skip
        subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["cmake", "--build", str(work), "--target", "_C", "--parallel", "2"], check=True, stdout=subprocess.DEVNULL
        )
        mark.write_text(digest)
    tree = WHERE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.split("\n")[:-1]:
        if (
            name.startswith(("pydegrade", "pytrain", "tests/fuzz", "tests/__init__", "configs", "pyproject"))
            and (ROOT / name).is_file()
        ):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    shutil.copy2(next(work.glob(f"_C*{suffix}")), tree / "pydegrade")
    return tree


def _pybind11() -> str:
    import pybind11

    return str(pybind11.get_cmake_dir())


def environment(isa: str, tree: Path) -> dict[str, str]:
    """Variables under which Python can load the module, and runs the loops of one instruction set."""
    compiler = os.environ.get("CXX", "g++")
    # With libstdc++, or the sanitizer does not find what it must call when torch throws.
    libraries = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    reports = WHERE / "report"
    return {
        **os.environ,
        "FUZZ_REPORTS": str(reports),
        "LD_PRELOAD": " ".join(libraries),
        # Python itself leaks by design; a huge wish for memory is to fail as it does elsewhere.
        "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:abort_on_error=1:handle_segv=0:log_path={reports}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:abort_on_error=1:log_path={reports}",
        "PYDEGRADE_ISA": isa,
        "PYTHONPATH": str(tree),
    }
