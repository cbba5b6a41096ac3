"""Programs of the CUDA backend (csrc/cuda/program.h): made by the compiled module on the host, copied to the device once,
run by a small library that has nothing but kernels in it and one C function."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import PydegradeError
from . import binding

# enum Base of csrc/cuda/program.h; scratch memory follows from the arena.
_BASES = ("src", "dst", "target", "grad", "program", "poisson", "arena", "scratch")
_HEADER_WORDS = 6  # ProgramHeader: magic, bytes, launches, first_launch, scratch_start, arena_bytes
_MESSAGE_BYTES = 512


class DeviceError(PydegradeError, RuntimeError):
    """The device or its driver refused to run a program."""


@dataclass(frozen=True)
class Backend:
    """What runs programs: a shared library with the function pyd_run of csrc/cuda/launch.cu.

    Attributes:
        run: that function.
        stream: for a device, the address of its current stream (the test emulator takes a seed instead).
        tables: the Poisson tables by device, copied at their first use.
    """

    run: Any
    stream: Callable[[torch.device], int]
    tables: dict[torch.device, torch.Tensor] = field(default_factory=dict)

    @staticmethod
    def load(path: Path, stream: Callable[[torch.device], int]) -> Backend:
        run = ctypes.CDLL(str(path)).pyd_run
        run.restype = ctypes.c_int
        run.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p * len(_BASES),
            ctypes.c_int64 * len(_BASES),
            ctypes.c_uint64,
            ctypes.c_char_p,
            ctypes.c_int64,
        ]
        return Backend(run, stream)

    def poisson_tables(self, device: torch.device) -> torch.Tensor:
        """The tables of csrc/math/poisson.h on the device, 2.3 MB, int32."""
        if device not in self.tables:
            tables = np.empty(binding.POISSON_WORDS, np.uint32)
            binding.call("poisson_tables", out=tables)
            self.tables[device] = torch.from_numpy(tables.view(np.int32)).to(device)
        return self.tables[device]


@dataclass(frozen=True)
class Program:
    """A recorded program.

    Attributes:
        host: uint8, in page-locked memory where it goes to a GPU.
        device: the same bytes where the kernels read them.
        arena_bytes: scratch memory that a run needs.
        launches: number of kernel launches.
    """

    host: torch.Tensor
    device: torch.Tensor
    arena_bytes: int
    launches: int


def record(name: str, device: torch.device, **fields: Any) -> Program:
    """The program of an op of csrc/ops for a device. Fields as for the CPU op, without those of pixels."""
    return program_of(binding.program(name, **fields), device)


def program_of(words: bytes | NDArray[np.uint8], device: torch.device) -> Program:
    """A recorded program where its device finds it; the copy is queued on the current stream."""
    host = torch.empty(len(words), dtype=torch.uint8, pin_memory=device.type == "cuda")
    host.numpy()[:] = np.frombuffer(words, np.uint8)
    header = np.frombuffer(words, np.int64, _HEADER_WORDS)
    return Program(
        host=host,
        device=host.to(device, non_blocking=True),
        arena_bytes=int(header[5]),
        launches=int(header[2]),
    )


def run(
    program: Program,
    src: torch.Tensor,
    dst: torch.Tensor,
    *,
    target: torch.Tensor | None = None,
    grad: torch.Tensor | None = None,
    arena: torch.Tensor | None = None,
    backend: Backend | None = None,
) -> None:
    """Launch a program on the current stream; nothing is waited for.

    Args:
        program: from `record`, for the device of `src`.
        src, dst: float32, contiguous, packed as the recorded rows say.
        target: what a chain writes its targets to. grad: gradient of the output, for jpeg_adjoint.
        arena: uint8, at least program.arena_bytes, to use again and again; by default allocated for this run.
        backend: by default the one of the device.
    Raises:
        DeviceError: one line that says what is missing or what the driver answered.
    """
    device = src.device
    chosen = backend_of(device) if backend is None else backend
    if arena is None:
        arena = torch.empty(program.arena_bytes, dtype=torch.uint8, device=device)
    tensors = (src, dst, target, grad, program.device, chosen.poisson_tables(device), arena, None)
    for name, tensor in zip(_BASES, tensors):
        if tensor is not None and (tensor.device != device or not tensor.is_contiguous()):
            raise ValueError(f"run: {name} must be contiguous on {device}, got {tensor.device}")
    if arena.numel() < program.arena_bytes:
        raise ValueError(f"run: arena must have {program.arena_bytes} bytes, got {arena.numel()}")
    addresses = (ctypes.c_void_p * len(_BASES))(*(0 if tensor is None else tensor.data_ptr() for tensor in tensors))
    sizes = (ctypes.c_int64 * len(_BASES))(
        *(0 if tensor is None else tensor.numel() * tensor.element_size() for tensor in tensors)
    )
    message = ctypes.create_string_buffer(_MESSAGE_BYTES)

    def start() -> int:
        return int(
            chosen.run(program.host.data_ptr(), addresses, sizes, chosen.stream(device), message, _MESSAGE_BYTES)
        )

    if device.type == "cuda":
        with torch.cuda.device(device):
            status = start()
            if status == 0 and os.environ.get("PYDEGRADE_SYNC") == "1":
                torch.cuda.synchronize(device)
    else:
        status = start()
    if status != 0:
        raise DeviceError(f"pydegrade on {device}: {message.value.decode(errors='replace') or f'error {status}'}")


def call(name: str, *, src: torch.Tensor, dst: torch.Tensor, grad: torch.Tensor | None = None, **fields: Any) -> None:
    """Run an op of csrc/ops where its pixels are. Fields as for `binding.call`."""
    if src.device.type == "cpu":
        if grad is not None:
            fields["grad"] = grad
        binding.call(name, src=src, dst=dst, **fields)
    else:
        run(record(name, src.device, **fields), src, dst, grad=grad)


def library_path() -> Path:
    """Where a build with nvcc puts the kernels."""
    return Path(__file__).resolve().parent.parent / "_cuda.so"


def has_cuda_kernels() -> bool:
    """Whether this installation was built with CUDA kernels; says nothing about a GPU."""
    return library_path().exists()


@cache
def _cuda_backend() -> Backend:
    return Backend.load(library_path(), lambda device: int(torch.cuda.current_stream(device).cuda_stream))


def backend_of(device: torch.device) -> Backend:
    """The backend of a CUDA device."""
    if device.type != "cuda":
        raise DeviceError(f"pydegrade: images must be on the CPU or on CUDA, got {device}")
    if not has_cuda_kernels():
        raise DeviceError(
            "pydegrade: this installation has no CUDA kernels; "
            "install nvcc 12.8 or newer and build again with PYDEGRADE_CUDA=1"
        )
    return _cuda_backend()
