"""The CUDA kernels as C++: built by the host's compiler, run block by block by csrc/cuda/emulate.cpp."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import count
from pathlib import Path
from threading import Lock

from pydegrade.native import devices

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
FLAGS = ("-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-fvisibility=hidden")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g1")


def compiler() -> str | None:
    """The C++ compiler that built the extension, or any."""
    return next(
        (path for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if (path := shutil.which(name))), None
    )


def machine_flags() -> list[str]:
    """Fused multiply-adds as instructions where the processor has them: the same bits, twenty times faster."""
    try:
        has_fma = " fma " in Path("/proc/cpuinfo").read_text()
    except OSError:
        has_fma = False
    return ["-mfma", "-mavx2"] if has_fma else []


def _compile(source: Path, target: Path, flags: list[str], include: Path, csrc: Path) -> None:
    language = ["-x", "c++"] if source.suffix == ".cu" else []
    # Another test process may be at the same file.
    partial = target.with_suffix(f".{os.getpid()}")
    command = [str(compiler()), *FLAGS, *WARNINGS, *flags, "-DPYD_EMULATED", f"-I{include}", f"-I{csrc}"]
    done = subprocess.run(
        [*command, *language, "-c", str(source), "-o", str(partial)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    partial.replace(target)


def kernels(csrc: Path = CSRC) -> list[Path]:
    """Files with kernels: the shared ones and those of every op."""
    return [csrc / "cuda/point.cu", *sorted((csrc / "ops").glob("*/*kernel.cu"))]


def build(
    flags: tuple[str, ...] = ("-O1",),
    changed: Mapping[str, str] | None = None,
    objects: Path | None = None,
    csrc: Path = CSRC,
) -> Path:
    """The library, from build/emulated if these sources were built before.

    Args:
        flags: more flags for compiler and linker.
        changed: texts of files that replace the real ones (planted defects), by path under csrc ("cuda/filter.cuh").
        objects: folder of an unchanged build with the same flags, for the files that need not be compiled again.
        csrc: the sources.
    """
    words = hashlib.sha256(repr((flags, machine_flags(), sorted((changed or {}).items()))).encode())
    for path in sorted(path for path in csrc.rglob("*") if path.suffix in {".h", ".cuh", ".cu", ".cpp"}):
        words.update(path.relative_to(csrc).as_posix().encode() + path.read_bytes())
    folder = ROOT / "build" / "emulated" / words.hexdigest()[:16]
    library = folder / "emulated.so"
    if library.exists():
        return library
    include = folder / "changed"
    include.mkdir(parents=True, exist_ok=True)
    for name, text in (changed or {}).items():
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        (include / name).write_text(text)

    # A changed header concerns every file that includes it; only headers that kernels include themselves are ever changed.
    jobs, ready = [], []
    for source in [*kernels(csrc), csrc / "cuda/emulate.cpp"]:
        name = source.relative_to(csrc).as_posix()
        target = f"{name.replace('/', '-')}.o"
        text = source.read_text()
        concerned = changed is None or name in changed or any(f'"{header}"' in text for header in changed)
        if concerned or objects is None:
            jobs.append((include / name if changed and name in changed else source, folder / target))
        else:
            ready.append(objects / target)
    every = [*flags, *machine_flags()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: _compile(*job, every, include, csrc), jobs))
    partial = folder / f"emulated-{os.getpid()}.so"
    linked = [str(target) for _, target in jobs] + [str(path) for path in ready]
    subprocess.run([str(compiler()), *flags, "-shared", *linked, "-o", str(partial)], check=True)
    partial.replace(library)
    return library


@dataclass(frozen=True)
class Work:
    """What all launches of a kernel did in a program: struct Work of csrc/cuda/emulate.cpp. Four floats are one load."""

    launches: int
    blocks: int
    multiply_adds: int
    shared_loads: int
    shared_stores: int
    global_loads: int
    global_stores: int
    global_bytes: int


def work(library: Path) -> dict[str, Work]:
    """Of the last program that the library ran, by kernel."""
    answer = ctypes.CDLL(str(library)).pyd_work
    answer.restype = ctypes.c_char_p
    numbers = (ctypes.c_int64 * len(fields(Work)))()
    found = {}
    for kernel in count():
        name = answer(kernel, numbers)
        if name is None:
            return found
        if numbers[0]:
            found[name.decode()] = Work(*numbers)
    raise AssertionError("unreachable")


# One emulated device has one stack of threads: programs run one after the other, as on a stream.
_LOCK = Lock()


def load(library: Path, seed: Callable[[], int]) -> devices.Backend:
    """The library as a backend; `seed` gives the orders of threads and blocks of each run (0: ascending)."""
    backend = devices.Backend.load(library, lambda device: seed())

    def run(*arguments: object) -> int:
        with _LOCK:
            return int(backend.run(*arguments))

    return replace(backend, run=run)
