"""Builds and runs tests/native/driver.cpp: the CPU functions without Python, for counting instructions and for processors
that are not here."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DRIVER = Path(__file__).resolve().parent / "driver.cpp"
BUILDS = ROOT / "build" / "native"


def x86_compiler() -> str | None:
    """The compiler CMake would take: $CXX, else c++, else g++."""
    return next((path for name in (os.environ.get("CXX", ""), "c++", "g++") if (path := shutil.which(name))), None)


def arm_compiler() -> str | None:
    """A cross-compiler for arm64 (Debian: g++-aarch64-linux-gnu)."""
    names = ["aarch64-linux-gnu-g++", *(f"aarch64-linux-gnu-g++-{version}" for version in range(15, 9, -1))]
    return next((path for name in names if (path := shutil.which(name))), None)


@functools.cache
def compiler_version(compiler: str) -> str:
    """First line of --version, e.g. "g++ (Debian 12.2.0-14+deb12u1) 12.2.0", without the name it was called by."""
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].split(" ", 1)[-1]


def contract_flags() -> list[str]:
    """The flags of CMakeLists.txt, PYD_FLAGS: read, so that the two cannot differ."""
    found = re.search(r"^set\(PYD_FLAGS (.+)\)$", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    assert found, "CMakeLists.txt no longer sets PYD_FLAGS on one line"
    return found[1].split()


def loops() -> list[Path]:
    """What is compiled once per instruction set, as CMakeLists.txt has it."""
    csrc = ROOT / "csrc"
    return sorted(
        [*(csrc / "cpu").glob("*.cpp"), *(csrc / "ops").glob("*/*cpu.cpp"), *(csrc / "chain").glob("*cpu.cpp")]
    )


def host() -> list[Path]:
    """What is compiled once, without the bindings."""
    csrc = ROOT / "csrc"
    ops = [*(csrc / "ops").glob("*/plan.cpp"), *(csrc / "ops").glob("*/record.cpp")]
    chains = [csrc / "chain/steps.cpp", csrc / "chain/record.cpp", csrc / "cuda/record.cpp"]
    return sorted([*(csrc / "core").glob("*.cpp"), *ops, *chains, csrc / "functions.cpp"])


@functools.cache
def build(compiler: str, isa: str, *flags: str) -> Path:
    """Compile the driver and the loops for one instruction set.

    Args:
        compiler: path of a C++ compiler.
        isa: name of the namespace, PYD_ISA of CMakeLists.txt.
        flags: what selects the processor, and how to link ("-static" for an emulator, which then needs no libraries).
    Returns:
        A program, kept in build/native under a digest of everything that went into it.
    """
    # Nothing chooses among instruction sets here: there is one.
    core = [path for path in sorted((ROOT / "csrc/core").glob("*.cpp")) if path.name != "isa.cpp"]
    sources = [*loops(), *core, DRIVER]
    options = [*contract_flags(), *flags, "-std=c++17", f"-DPYD_ISA={isa}", f"-I{ROOT / 'csrc'}"]
    content = hashlib.sha256(repr((compiler_version(compiler), isa, flags, contract_flags())).encode())
    for path in sorted([*sources, *(ROOT / "csrc").rglob("*.h")]):
        content.update(path.name.encode() + path.read_bytes())
    program = BUILDS / f"driver-{isa}-{content.hexdigest()[:16]}"
    if program.exists():
        return program

    BUILDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILDS) as folder:
        objects = [Path(folder) / f"{number}.o" for number in range(len(sources))]

        def compile_one(source: Path, target: Path) -> None:
            only_loops = ["-fno-exceptions", "-fno-rtti"] if source in loops() else []
            _run([compiler, *options, *only_loops, "-c", str(source), "-o", str(target)])

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            list(pool.map(compile_one, sources, objects))
        linked = Path(folder) / "driver"
        _run([compiler, *flags, "-pthread", *map(str, objects), "-o", str(linked)])
        for outdated in BUILDS.glob(f"driver-{isa}-*"):
            outdated.unlink(missing_ok=True)
        os.replace(linked, program)
    return program


def hashes(program: Path, *emulator: str) -> dict[str, str]:
    """Case -> hash of its output, run directly or under an emulator."""
    lines = _run([*emulator, str(program)]).splitlines()
    return dict(line.split() for line in lines)


def count_instructions(program: Path) -> dict[str, int]:
    """Case -> instructions executed by one run of it, start-up and a first run excluded. Needs valgrind."""
    with tempfile.TemporaryDirectory() as folder:
        _run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/profile", str(program)])
        counts = {}
        # One profile per case, numbered; the last one has no number and covers what follows the last case.
        numbered = [path for path in Path(folder).glob("profile.*") if path.suffix[1:].isdigit()]
        for path in sorted(numbered, key=lambda path: int(path.suffix[1:])):
            text = path.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (\S+)$", text, re.MULTILINE)
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
            if name and total:
                counts[name[1]] = int(total[1])
    return counts


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr or done.stdout}")
    return done.stdout
