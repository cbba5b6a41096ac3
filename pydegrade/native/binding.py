"""The one door to the compiled module, which takes arrays and tensors as they are; thread counts are settled here."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import shown

try:
    from .. import _C
    from .._C import Slots as Slots
    from .._C import Steps as Steps
except ImportError as error:  # the source tree before a build
    raise ImportError(
        f"pydegrade's compiled module is missing ({error}); build it with `pip install .` or `make` in the source tree"
    ) from error

if _C.isa_name() == "none":
    raise ImportError(
        "pydegrade needs a processor with the instructions of x86-64-v2 (2009 and later); "
        f"this one lacks {_C.isa_lacks(*_C.cpu_words())}"
    )
if not _C.isa_request_honoured():
    warnings.warn(
        f"PYDEGRADE_ISA={os.environ.get('PYDEGRADE_ISA')!r} is not available here; using {_C.isa_name()}", stacklevel=2
    )

OPS: dict[str, int] = _C.OPS
"""Number of every op of csrc/ops/list.h in plans, by name."""
LIMITS: dict[str, int] = _C.LIMITS
"""What the arithmetic of csrc bears, by name: see _C.pyi."""
FIELDS = _C.FIELDS
"""Of every op of csrc/ops, its fields: see _C.pyi."""
OPS = _C.OPS
"""Codes of all ops by name, in the order of csrc/ops/list.h."""
COLUMNS = _C.COLUMNS
"""Of every op of csrc/ops, its columns as its plan.cpp takes them: name and dtype."""
RESIZING = _C.RESIZING
"""Ops of csrc/ops that change the size."""
PSF_TRIM = _C.PSF_TRIM
POISSON_WORDS = next(at_least for name, _, _, _, at_least, _, _ in FIELDS["noise"] if name == "poisson_tables")
"""Of the alias tables (csrc/math/poisson.h)."""

MAX_THREADS = 1024
"""More threads than this are refused: starting them costs memory and may end the process."""
_threads_override: int | None = None


def isa_name() -> str:
    """Instruction set in use: "v2", "v3" or "v4" (the x86-64 psABI levels), "base" elsewhere."""
    return str(_C.isa_name())


def set_num_threads(threads: int | None) -> None:
    """Fix the number of CPU threads used by pydegrade; None returns to the default.

    The default is PYDEGRADE_NUM_THREADS if set, else `torch.get_num_threads()`, and never more than the processors this
    process may run on; a number that is given here may be larger than that, up to 1024. Inside a torch data-loader worker
    torch's number is 1, and so is ours. Results never depend on it.
    """
    global _threads_override
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= MAX_THREADS):
        raise ValueError(
            f"set_num_threads: threads must be an integer in 1..{MAX_THREADS} or None, got {shown(threads)}"
        )
    _threads_override = threads


def get_num_threads() -> int:
    """Number of CPU threads the next call will use."""
    if _threads_override is not None:
        return _threads_override
    requested = os.environ.get("PYDEGRADE_NUM_THREADS", "")
    # Nine digits say whether it is beyond the limit; Python refuses to read thousands.
    number = int(requested.lstrip("0")[:9] or 0) if requested.isascii() and requested.isdigit() else 0
    wanted = min(number, MAX_THREADS) if number > 0 else torch.get_num_threads()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(wanted, available))


def call(name: str, **fields: Any) -> Any:
    """Run a function of csrc/functions.h.

    Args:
        fields: named as in its struct; arrays and CPU tensors, contiguous and of the dtype of the C++ field (`_C.FIELDS`
            lists those of every op), or None for one that may be left out.
    Raises:
        TypeError, ValueError: one line that names function and field.
    """
    _C.set_num_threads(get_num_threads())
    return getattr(_C, name)(fields)


def program(name: str, **fields: Any) -> bytes:
    """The program of a function of csrc/functions.h for the CUDA backend. Fields as for `call`, without those of pixels."""
    return bytes(getattr(_C, f"{name}_program")(fields))


def plan(**fields: Any) -> Steps:
    """Tasks of a space planned for images (csrc/chain/steps.h). Fields as for `call`: `TaskArgs`."""
    _C.set_num_threads(get_num_threads())
    return _C.plan(fields)


def run(steps: Steps, **fields: Any) -> bool:
    """Run planned steps on the CPU: src, dst, target, check_range. False when a source pixel is NaN or outside [0, 1]."""
    _C.set_num_threads(get_num_threads())
    return bool(steps.run(fields))


def neutral(op: int, **columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows in which an op does nothing, bool [N], from its columns [N]."""
    return _C.neutral({"op": op, "count": len(next(iter(columns.values()))), **columns})


def out_size(
    op: int,
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    final_height: NDArray[np.int64],
    final_width: NDArray[np.int64],
    **columns: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Height and width after an op of `RESIZING`, int64 [N], from sides before it, sides at the end, and its columns."""
    sides = {"height": height, "width": width, "final_height": final_height, "final_width": final_width}
    whole = {name: np.ascontiguousarray(side, np.int32) for name, side in sides.items()}
    return _C.out_size({"op": op, "count": len(height), **whole, **columns})
