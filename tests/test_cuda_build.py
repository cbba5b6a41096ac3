"""What nvcc makes of the kernels: no spills, no stack, registers within a budget, IEEE arithmetic and nothing fused. Needs
nvcc, no GPU; the last test also needs cuobjdump."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch

from pydegrade.native import devices

from . import device_cases

ROOT = Path(__file__).resolve().parent.parent
BUDGET = json.loads((Path(__file__).parent / "cuda_budget.json").read_text())
ARCHITECTURES = ("80", "90", "120")
FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-Werror", "all-warnings", f"-I{ROOT / 'csrc'}"]


def kernels() -> list[str]:
    """Names in PYD_KERNELS of csrc/cuda/program.h and PYD_KERNELS_<op> of csrc/ops/<op>/fields.h."""
    files = [ROOT / "csrc/cuda/program.h", *sorted((ROOT / "csrc/ops").glob("*/fields.h"))]
    return [name for path in files for name in re.findall(r"X\((\w+), \d+, \d+\)", path.read_text())]


def compiled(kind: str, *flags: str) -> tuple[Path, str]:
    """The result of nvcc and what it said, from build/gate if these sources were compiled before."""
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    words = hashlib.sha256(repr((kind, flags, FLAGS)).encode())
    for path in sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".h", ".cuh", ".cu"}):
        words.update(path.read_bytes())
    folder = ROOT / "build" / "gate" / words.hexdigest()[:16]
    result, said = folder / f"kernels.{kind}", folder / "said.txt"
    partial = folder / f"kernels-{os.getpid()}.{kind}"  # another test process may be at the same
    if not said.exists():
        folder.mkdir(parents=True, exist_ok=True)
        ops = [f"-include={path}" for path in sorted((ROOT / "csrc/ops").glob("*/*kernel.cu"))]
        command = [nvcc, *FLAGS, *ops, *flags, f"--{kind}", str(ROOT / "csrc/cuda/kernels.cu"), "-o", str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "Unsupported gpu architecture" in done.stderr:
            pytest.skip("this nvcc is too old for sm_120")
        assert done.returncode == 0, done.stderr[-4000:]
        partial.replace(result)
        said.write_text(done.stderr)
    return result, said.read_text()


def resources() -> dict[str, dict[str, dict[str, int]]]:
    """Per architecture and kernel: registers, stack and spilled bytes."""
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES]
    _, said = compiled("fatbin", *targets, "-Xptxas", "-v", "--threads", "2")
    found: dict[str, dict[str, dict[str, int]]] = {}
    pattern = (
        r"Compiling entry function '_ZN3pyd\d+(\w+?)_kernelE\w+' for 'sm_(\d+)'.*?"
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"
    )
    for kernel, architecture, stack, stores, loads, registers in re.findall(pattern, said, re.S):
        found.setdefault(architecture, {})[kernel] = {
            "stack": int(stack),
            "spills": int(stores) + int(loads),
            "registers": int(registers),
        }
    return found


@pytest.mark.slow
def test_registers_spills_and_stack():
    found = resources()
    assert sorted(found) == sorted(ARCHITECTURES)
    for architecture, kernels_found in found.items():
        assert sorted(kernels_found) == sorted(kernels()) == sorted(BUDGET)
        for kernel, used in kernels_found.items():
            where = f"{kernel}, sm_{architecture}"
            assert used["stack"] == 0, where
            assert used["spills"] == 0, where
            assert used["registers"] <= BUDGET[kernel][architecture], where


@pytest.mark.slow
def test_arithmetic_is_ieee_and_nothing_is_fused():
    """In PTX an operation with `.rn` is rounded by itself; one without may be fused with its neighbour by the assembler."""
    text = compiled("ptx", "-arch=compute_90")[0].read_text()
    operations = Counter(re.findall(r"\t((?:add|sub|mul|fma|mad|div|sqrt|rcp|rsqrt)[.\w]*\.f(?:32|64))\s", text))
    assert set(operations) >= {"fma.rn.f32", "mul.rn.f32", "add.rn.f32", "div.rn.f32", "sqrt.rn.f32", "mul.rn.f64"}
    assert all(".rn." in name for name in operations), operations
    assert not re.search(r"\.approx|\.ftz|\b(ex2|lg2|sin|cos|tanh)\.", text)


def cuobjdump() -> str:
    """The tool, also as the package nvidia-cuda-cuobjdump installs it."""
    found = shutil.which("cuobjdump") or shutil.which("cuobjdump", path="/usr/local/cuda/bin")
    if found is None:
        places = [str(path.parent) for path in Path(torch.__file__).parent.parent.glob("nvidia/*/bin/cuobjdump")]
        found = next((tool for place in places if (tool := shutil.which("cuobjdump", path=place))), None)
    if found is None:
        pytest.skip("cuobjdump is not installed (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm)")
    return str(found)


@pytest.mark.slow
def test_machine_code():
    tool = cuobjdump()
    binary, _ = compiled("cubin", "-arch=sm_90")
    text = subprocess.run([tool, "-sass", str(binary)], capture_output=True, text=True, check=True).stdout
    code: dict[str, Counter[str]] = {}
    for line in text.splitlines():
        head = re.search(r"Function : _ZN3pyd\d+(\w+?)_kernelE", line)
        if head:
            current = code.setdefault(head[1], Counter())
        elif instruction := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\d+\s+)?([A-Z0-9_.]+)", line):
            current[instruction[1]] += 1
    assert sorted(code) == sorted(kernels())
    for kernel, instructions in code.items():
        assert not [name for name in instructions if re.match(r"LDL|STL", name)], f"{kernel} uses local memory"
        # Starts of the IEEE sequences for division and square root; what a fast logarithm or sine would begin with is not.
        functions = {name for name in instructions if name.startswith("MUFU")}
        assert functions <= {"MUFU.RCP", "MUFU.RCP64H", "MUFU.RSQ", "MUFU.RSQ64H"}, kernel
    # The inner loops of the filters: 64 fused multiply-adds for two loads of pixels and four of weights; then 16 for two.
    loads = code["blur"]["LDS.128"] + code["blur"]["LDS"]
    assert code["blur"]["FFMA"] > 7 * loads
    # Whole quads of noise are read and written at once.
    assert code["noise"]["LDG.E.128"] >= 3
    assert code["noise"]["STG.E.128"] >= 3


def test_library_stands_alone():
    """No CUDA runtime, driver or torch beside it: it loads where none of them is installed."""
    if not devices.has_cuda_kernels():
        pytest.skip("this installation was built without CUDA kernels")
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed (binutils)")
    said = subprocess.run(["readelf", "-d", devices.library_path()], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", said)
    assert needed
    assert all(re.match(r"(libstdc\+\+|libm|libgcc_s|libc|libpthread|libdl|librt|ld-linux)", name) for name in needed)


def test_library_explains_itself_without_a_driver():
    if not devices.has_cuda_kernels():
        pytest.skip("this installation was built without CUDA kernels")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    backend = devices.Backend.load(devices.library_path(), lambda device: 0)
    case = device_cases.sharpen_case([(1, 1)])
    program = devices.record("sharpen", device_cases.CPU, **case.rows(), **case.fields)
    with pytest.raises(devices.DeviceError, match=r"^pydegrade on cpu: .*driver") as caught:
        devices.run(program, case.data, torch.zeros_like(case.data), backend=backend)
    assert "\n" not in str(caught.value)
