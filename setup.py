"""Builds pydegrade._C with CMake and Ninja and, where nvcc is found, pydegrade/_cuda.so; everything else about the package
is in pyproject.toml.

PYDEGRADE_CUDA=0 forbids the CUDA kernels, 1 requires them. PYDEGRADE_CUDA_ARCHITECTURES="90" (or "80 120") builds for those
processors only.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CUDA = "pydegrade._cuda"
ARCHITECTURES = "80 86 89 90 100 120"
NVCC_AT_LEAST = (12, 8)  # the first that knows sm_120
# Part of the contract, not tuning: without contraction the kernels give the CPU's bits. cudart is linked statically, so the
# library loads on machines without CUDA.
NVCC_FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-cudart", "static", "-Xfatbin", "-compress-all", "--threads", "2"]
HOST_FLAGS = "-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra"


def find_nvcc() -> "str | None":
    """nvcc, when it is wanted, there and new enough."""
    wish = os.environ.get("PYDEGRADE_CUDA", "")
    if wish == "0":
        return None
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    found = "not found"
    if nvcc is not None:
        answer = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
        release = re.search(r"release (\d+)\.(\d+)", answer)
        if release and (int(release[1]), int(release[2])) >= NVCC_AT_LEAST:
            return nvcc
        found = f"{release[0]} in {nvcc}" if release else f"{nvcc} did not tell its release"
    if wish == "1":
        sys.exit(f"setup.py: PYDEGRADE_CUDA=1 needs nvcc {'.'.join(map(str, NVCC_AT_LEAST))} or newer, got: {found}")
    return None


def cuda_architectures() -> "list[str]":
    """Flags for every processor, and for those to come as PTX of the newest."""
    numbers = os.environ.get("PYDEGRADE_CUDA_ARCHITECTURES", ARCHITECTURES).split()
    flags = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    return [*flags, f"-gencode=arch=compute_{numbers[-1]},code=compute_{numbers[-1]}"]


class CMakeBuild(build_ext):
    """_C, configured and built by CMake; _cuda by one call of nvcc. Both are written where setuptools expects them."""

    def get_ext_filename(self, fullname: str) -> str:
        # Not a Python module: loaded with ctypes, the same for every version of Python.
        if fullname.split(".")[-1] == CUDA.split(".")[-1]:
            return os.path.join(*fullname.split(".")) + ".so"
        return super().get_ext_filename(fullname)

    def build_extension(self, ext: Extension) -> None:
        if ext.name == CUDA:
            self.build_cuda(Path(self.get_ext_fullpath(ext.name)).resolve())
        else:
            self.build_cpu(ext)

    def build_cuda(self, library: Path) -> None:
        sources = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".h", ".cuh", ".cu")]
        command = [
            str(NVCC),
            *NVCC_FLAGS,
            "-Xcompiler",
            HOST_FLAGS,
            *cuda_architectures(),
            f"-I{ROOT / 'csrc'}",
            *(f"-include={path}" for path in sorted((ROOT / "csrc/ops").glob("*/*kernel.cu"))),
            "-shared",
        ]
        stamp = Path(self.build_temp).resolve() / "cuda_command.txt"
        newest = max(path.stat().st_mtime for path in [*sources, ROOT / "setup.py"])
        built = library.exists() and library.stat().st_mtime > newest
        if built and stamp.exists() and stamp.read_text() == " ".join(command):
            return
        library.parent.mkdir(parents=True, exist_ok=True)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([*command, str(ROOT / "csrc/cuda/kernels.cu"), "-o", str(library)], check=True)
        stamp.write_text(" ".join(command))

    def build_cpu(self, ext: Extension) -> None:
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(build),
            "-G",
            "Ninja",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ]
        # Where macOS builds say which processors they are for.
        if architectures := re.findall(r"-arch (\S+)", os.environ.get("ARCHFLAGS", "")):
            configure.append(f"-DCMAKE_OSX_ARCHITECTURES={';'.join(architectures)}")
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build), "--parallel", jobs], check=True)
        # What type checkers read of the module. Not of one for another processor, which does not load here.
        module = Path(self.get_ext_fullpath(ext.name)).resolve()
        subprocess.run(
            [sys.executable, str(ROOT / "csrc/stub.py"), str(module), str(ROOT / "pydegrade/_C.pyi")], check=False
        )


class WithConfigs(build_py):
    """The packages, and in them the configurations of the repository, for `pytrain init --quickstart`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "pytrain" / "configs"
            target.mkdir(parents=True, exist_ok=True)
            for path in sorted((ROOT / "configs").glob("*.toml")):
                shutil.copyfile(path, target / path.name)


NVCC = find_nvcc()
modules = [Extension("pydegrade._C", sources=[])]
if NVCC is not None:
    modules.append(Extension(CUDA, sources=[]))
else:
    # Kernels of an earlier build would not fit this one.
    (ROOT / "pydegrade/_cuda.so").unlink(missing_ok=True)
setup(ext_modules=modules, cmdclass={"build_ext": CMakeBuild, "build_py": WithConfigs})
