"""A copy of the tree whose compiled module is built with AddressSanitizer and UndefinedBehaviorSanitizer.

`python -m tests.fuzz api --sanitized v3` runs a round in it: the first report of a sanitizer ends the child, which the
harness counts as a crash.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .. import border
from .product import ROOT

WHERE = ROOT / "out" / "fuzz-sanitized"


def build() -> Path:
    """The folder of the copy: this tree's files, and the module of `border.build_sanitized`."""
    module = border.build_sanitized()
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
    shutil.copy2(module, tree / "pydegrade")
    return tree


def environment(isa: str, tree: Path) -> dict[str, str]:
    """Variables under which Python can load the module, and runs the loops of one instruction set."""
    reports = WHERE / "report"
    return {
        **os.environ,
        "FUZZ_REPORTS": str(reports),
        "LD_PRELOAD": " ".join(border.sanitizer_libraries()),
        # Python itself leaks by design; a huge wish for memory is to fail as it does elsewhere.
        "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:abort_on_error=1:handle_segv=0:log_path={reports}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:abort_on_error=1:log_path={reports}",
        "PYDEGRADE_ISA": isa,
        "PYTHONPATH": str(tree),
    }
