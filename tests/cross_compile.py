"""Compiles csrc for systems that are not here, with the compiler of the package `ziglang`: `python -m tests.cross_compile`.

Every file but the Python binding, once per instruction set of its target, with warnings as errors; nothing is linked or
run. What this shows is that headers, types and builtins are there, not that bits are equal.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import native

CSRC = native.ROOT / "csrc"
TARGETS: Mapping[str, Mapping[str, str]] = {
    "x86_64-windows-gnu": {"v2": "x86_64_v2", "v3": "x86_64_v3", "v4": "x86_64_v4"},
    "x86_64-macos": {"v2": "x86_64_v2", "v3": "x86_64_v3"},
    "aarch64-macos": {"base": "baseline"},
    "aarch64-linux-gnu": {"base": "baseline"},
    "x86_64-linux-gnu.2.28": {"v2": "x86_64_v2"},
}
"""Target of zig -> name of each instruction set (PYD_ISA) and zig's name of it."""


def zig() -> list[str] | None:
    """The command of zig's compiler, or None where the package is not installed."""
    done = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, check=False)
    return [sys.executable, "-m", "ziglang", "c++"] if done.returncode == 0 else None


def faults(compiler: Sequence[str], target: str, jobs: int = 2) -> list[str]:
    """What the compiler says of a target: an entry per file that does not compile."""
    plain = next(iter(TARGETS[target].values()))
    work = [(path, plain, []) for path in native.host()]
    for isa, cpu in TARGETS[target].items():
        work += [(path, cpu, ["-fno-exceptions", "-fno-rtti", f"-DPYD_ISA={isa}"]) for path in native.loops()]

    def compiled(one: tuple[Path, str, list[str]]) -> str:
        path, cpu, flags = one
        command = [
            *compiler,
            "-target",
            target,
            f"-mcpu={cpu}",
            "-std=c++17",
            *native.contract_flags(),
            "-Werror",
            *flags,
        ]
        with tempfile.TemporaryDirectory() as folder:
            # zig waits for ever where it shall check the syntax alone.
            output = ["-c", str(path), "-o", f"{folder}/{path.stem}.o"]
            done = subprocess.run([*command, f"-I{CSRC}", *output], capture_output=True, text=True, check=False)
        return f"{target} {cpu} {path.relative_to(CSRC)}:\n{done.stderr}" if done.returncode else ""

    with ThreadPoolExecutor(jobs) as pool:
        return [fault for fault in pool.map(compiled, work) if fault]


def main(targets: Sequence[str]) -> int:
    """Exit code 1 where a file does not compile, 2 without zig."""
    compiler = zig()
    if compiler is None:
        print("needs the package ziglang: pip install ziglang", file=sys.stderr)
        return 2
    failed = False
    for target in targets or TARGETS:
        found = faults(compiler, target)
        print(f"{target}: {'compiles' if not found else f'{len(found)} files do not compile'}", flush=True)
        print("\n".join(found), end="", file=sys.stderr)
        failed = failed or bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
