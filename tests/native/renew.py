"""`python -m tests.native.renew`: write tests/golden/instructions.toml from this tree, after a change that was meant."""

from __future__ import annotations

import shutil
import sys

from . import ROOT, build, compiler_version, contract_flags, count_instructions, x86_compiler

GOLDEN = ROOT / "tests/golden/instructions.toml"
ISA, PROCESSOR = "v3", "-march=x86-64-v3"  # valgrind knows no AVX-512

HEADER = """\
# Instructions that one run of each case of tests/native/driver.cpp executes (valgrind --tool=callgrind, one thread).
# tests/test_instructions.py fails when a case needs more. Renew after a change that was meant, and say why in the commit:
#   python -m tests.native.renew
"""


def main() -> None:
    compiler = x86_compiler()
    if compiler is None or shutil.which("valgrind") is None:
        sys.exit("renew: needs a C++ compiler and valgrind")
    counts = count_instructions(build(compiler, ISA, PROCESSOR))
    lines = [
        f'compiler = "{compiler_version(compiler)}"',
        f'flags = "{" ".join([*contract_flags(), PROCESSOR])}"',
        "",
        "# Counts repeat exactly for one compiler and one libc. Another patch release of either moves them by a per mille",
        "# or so (scheduling of loop tails, memcpy); a loop that stopped being vectorised moves them by tens of per cent.",
        "tolerance = 0.03",
        "",
        "[count]",
        *(f"{name} = {count}" for name, count in counts.items()),
    ]
    GOLDEN.write_text(HEADER + "\n".join(lines) + "\n")
    print(f"wrote {GOLDEN}: {len(counts)} cases, {sum(counts.values()) / 1e6:.1f} million instructions")


if __name__ == "__main__":
    main()
