"""The compiled module stands alone: one build serves every torch, and wide instructions stay where they belong."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from pydegrade import _C


def output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (binutils)")
    return subprocess.run([*command, _C.__file__], capture_output=True, text=True, check=True).stdout


def test_no_symbol_of_torch_and_no_openmp():
    libraries = re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d"))
    assert libraries
    assert all(re.match(r"(libstdc\+\+|libm|libgcc_s|libc|libpthread|ld-linux)", name) for name in libraries), libraries
    undefined = output("nm", "-D", "--undefined-only")
    assert not re.search(r"torch|c10|_ZN2at|omp_|GOMP", undefined)


# What a processor of an older level does not have: any vector instruction of the newer encoding (VEX and EVEX mnemonics
# begin with v) below v3, 512-bit registers, the upper sixteen vector registers and masks below v4.
BEFORE_V3 = re.compile(r"^v(?!err|erw|mcall|mlaunch)")
BEFORE_V4 = re.compile(r"%zmm|%[xy]mm(1[6-9]|2[0-9]|3[01])|%k[0-7]")


@pytest.mark.slow
def test_instructions_stay_in_their_namespace():
    function, leaks, seen = "", set(), set()
    for line in output("objdump", "-d", "--no-show-raw-insn").splitlines():
        head = re.match(r"^[0-9a-f]+ <(.+)>:$", line)
        if head:
            function = head[1]
            continue
        instruction = line.partition(":\t")[2]
        # Mangled names spell the namespace as 2v3, also inside the name of a lambda or a template.
        level = next((name for name in ("v2", "v3", "v4") if f"2{name}" in function), "other")
        if "%zmm" in instruction or "%ymm" in instruction:
            seen.add(level)
        if (level in ("v2", "other") and BEFORE_V3.match(instruction)) or (
            level != "v4" and BEFORE_V4.search(instruction)
        ):
            leaks.add(function)
    if not seen:
        pytest.skip("this build has no vector code of x86-64")
    assert {"v3", "v4"} <= seen
    assert not leaks, sorted(leaks)[:5]
