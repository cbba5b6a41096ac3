"""A copy of the tree whose compiled module is built with AddressSanitizer and UndefinedBehaviorSanitizer.

`python -m tests.fuzz api --sanitized v3` runs a round in it: the first report of a sanitizer ends the child, which the
harness counts as a crash. Where the processor has no AVX-512, `--sanitized v4` watches v4's loops with its instructions
written out (tests/emulated_v4.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from .. import border, emulated_v4
from .product import ROOT

SLOWER = {"native": 3, "emulated": 20}
"""Times that a call may take longer under sanitizers, and with its instructions written out as well."""
WHERE = ROOT / "out" / "fuzz-sanitized"
SANITIZED_V4 = ROOT / "build" / "sanitized-v4"


def build(isa: str) -> Path:
    """The folder of the copy: this tree's files, and a module with sanitizers that has the loops of `isa`."""
    if isa == "v4" and not emulated_v4.needless():
        module = border.build_module(SANITIZED_V4, "-DPYDEGRADE_SANITIZE=ON", emulated_v4.OPTION)
    else:
        module = border.build_sanitized()
    return emulated_v4.copied_tree(WHERE / "tree", module)


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
        "PYDEGRADE_ISA": isa if isa != "v4" or emulated_v4.needless() else emulated_v4.IN_PLACE_OF,
        "FUZZ_SLOWER": str(SLOWER["emulated" if isa == "v4" and not emulated_v4.needless() else "native"]),
        "PYTHONPATH": str(tree),
    }
