"""Which instruction set is chosen, from the words of cpuid and xgetbv: real ones, and made-up ones that lack something."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pydegrade import _C

# Word (leaf 1 ecx, leaf 7 ebx, 0x80000001 ecx, xcr0) and bit of every feature; the psABI's lists (Linux's names).
V2 = {
    "cx16": (0, 13),
    "lahf_lm": (2, 0),
    "popcnt": (0, 23),
    "pni": (0, 0),
    "sse4_1": (0, 19),
    "sse4_2": (0, 20),
    "ssse3": (0, 9),
}
V3 = {
    "avx": (0, 28), "avx2": (1, 5), "bmi1": (1, 3), "bmi2": (1, 8), "f16c": (0, 29), "fma": (0, 12), "abm": (2, 5),
    "movbe": (0, 22), "osxsave": (0, 27), "xmm saved": (3, 1), "ymm saved": (3, 2),
}  # fmt: skip
V4 = {
    "avx512f": (1, 16), "avx512bw": (1, 30), "avx512cd": (1, 28), "avx512dq": (1, 17), "avx512vl": (1, 31),
    "opmask saved": (3, 5), "zmm saved": (3, 6), "zmm16 saved": (3, 7),
}  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent


def words(*features: dict[str, tuple[int, int]], without: str = "") -> list[int]:
    made = [0, 0, 0, 0]
    for name, (word, bit) in {name: at for group in features for name, at in group.items()}.items():
        if name != without:
            made[word] |= 1 << bit
    return made


def test_levels_need_every_feature_of_their_list():
    assert _C.isa_of(*words()) == "none"
    assert _C.isa_of(*words(V2)) == "v2"
    assert _C.isa_of(*words(V2, V3)) == "v3"
    assert _C.isa_of(*words(V2, V3, V4)) == "v4"
    for lower, features in (("none", V2), ("v2", V3), ("v3", V4)):
        for name in features:
            assert _C.isa_of(*words(V2, V3, V4, without=name)) == lower, name


def test_what_is_missing_is_named():
    assert _C.isa_lacks(*words(V2)) == ""
    assert _C.isa_lacks(*words(V2, V3, without="popcnt")) == "popcnt"
    assert _C.isa_lacks(0, 0, 0, 0) == "cmpxchg16b, lahf_sahf, popcnt, sse3, sse4.1, sse4.2, ssse3"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="cpuid is x86-64's")
def test_this_processor_is_what_its_system_says():
    here = _C.cpu_words()
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    for name, (word, bit) in {**V2, **V3, **V4}.items():
        if " " not in name and name != "osxsave":
            assert (here[word] >> bit & 1) == (name in flags), name
    # A lower level may be asked for; a higher one is not there.
    for level in ("v2", "v3", "v4"):
        command = [sys.executable, "-c", "from pydegrade import _C; print(_C.isa_name(), _C.isa_request_honoured())"]
        environment = os.environ | {"PYDEGRADE_ISA": level, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        expected = level if level <= _C.isa_of(*here) else _C.isa_of(*here)
        assert done.stdout.split() == [expected, str(level <= _C.isa_of(*here))], done.stderr


@pytest.mark.slow
def test_a_processor_without_v2_gets_one_line():
    code = """
import sys, types
from pydegrade import _C
fake = types.ModuleType("pydegrade._C")
fake.__dict__.update({**vars(_C), "isa_name": lambda: "none", "cpu_words": lambda: (1 << 13, 0, 0, 0)})
import pydegrade.native.binding
for name in [name for name in sys.modules if name.startswith("pydegrade")]:
    del sys.modules[name]
sys.modules["pydegrade._C"] = fake
import pydegrade.native.binding
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last == (
        "ImportError: pydegrade needs a processor with the instructions of x86-64-v2 (2009 and later); "
        "this one lacks lahf_sahf, popcnt, sse3, sse4.1, sse4.2, ssse3"
    )
