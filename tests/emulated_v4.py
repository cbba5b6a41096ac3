"""The loops of x86-64-v4 on a processor without AVX-512: `python -m tests.emulated_v4`.

Builds the module with the instructions written out (tests/native/avx512.h), in the place of v3's loops, and compares the
pixels of every preset and op with the stored ones. A processor that has AVX-512 runs v4 in the ordinary tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pydegrade import _C

from . import border

OPTION = "-DPYDEGRADE_EMULATE_V4=ON"
IN_PLACE_OF = "v3"
BUILT = border.ROOT / "build" / "emulated-v4"
COPIED = ("pydegrade", "pytrain", "tests/fuzz", "tests/__init__", "tests/golden", "configs", "pyproject")


def needless() -> bool:
    """Whether this processor has the instructions."""
    return _C.isa_of(*_C.cpu_words()) == "v4"


def copied_tree(folder: Path, module: Path) -> Path:
    """A folder with this tree's files and another compiled module; what was there before is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    tracked = subprocess.run(listed, cwd=border.ROOT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.split("\n")[:-1]:
        if name.startswith(COPIED) and (border.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(border.ROOT / name, folder / name)
    shutil.copy2(module, folder / "pydegrade")
    return folder


def main() -> int:
    tree = copied_tree(border.ROOT / "out" / "emulated-v4", border.build_module(BUILT, OPTION))
    print(f"v4's loops in the place of those of {IN_PLACE_OF}:", flush=True)
    environment = {**os.environ, "PYDEGRADE_ISA": IN_PLACE_OF, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "tests.golden_pixels"]
    return subprocess.run(command, cwd=tree, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
