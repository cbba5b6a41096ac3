"""Degradations for training super-resolution networks: fast, exact, one task per image, replayable.

A *space* (TOML) is a distribution over degradations; a *task* is one drawn row of parameters with a stable address; the
engine runs one task per image. See `Space`, `sample`, `degrade`, and the commands `degrade --help`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .lazy import names_of

if TYPE_CHECKING:
    from . import ops
    from .engine import Pair, Prepared, Stage, degrade, degrade_batch, degrade_list, degrade_pairs, prepare, trace
    from .errors import ImageError, KernelError, PydegradeError, SpaceError, TaskError
    from .images import metrics
    from .images.blur_down import Subsampling, blur_down
    from .images.imresize import imresize
    from .images.kernel_estimate import EstimatedKernel, estimate_kernel
    from .images.metrics import psnr, ssim
    from .loading.dataset import PairDataset, PairStream
    from .loading.degrader import Degrader
    from .loading.numbers import SampleNumbers
    from .native.binding import get_num_threads, isa_name, set_num_threads
    from .native.rng import named_uniform, stream_seed
    from .ops import kernels
    from .tasks import vectors
    from .tasks.distribution_contract import Distribution, Known, register_distribution
    from .tasks.sampler import sample
    from .tasks.space import Space
    from .tasks.stream import TaskStream
    from .tasks.task import TaskBatch

    __version__: str

# Where each public name lives.
_HOMES = {
    ".engine": (
        "Pair",
        "Prepared",
        "Stage",
        "degrade",
        "degrade_batch",
        "degrade_list",
        "degrade_pairs",
        "prepare",
        "trace",
    ),
    ".errors": ("ImageError", "KernelError", "PydegradeError", "SpaceError", "TaskError"),
    ".images.blur_down": ("Subsampling", "blur_down"),
    ".images.imresize": ("imresize",),
    ".images.kernel_estimate": ("EstimatedKernel", "estimate_kernel"),
    ".images.metrics": ("psnr", "ssim"),
    ".loading.dataset": ("PairDataset", "PairStream"),
    ".loading.degrader": ("Degrader",),
    ".loading.numbers": ("SampleNumbers",),
    ".native.binding": ("get_num_threads", "isa_name", "set_num_threads"),
    ".native.rng": ("named_uniform", "stream_seed"),
    ".tasks.distribution_contract": ("Distribution", "Known", "register_distribution"),
    ".tasks.sampler": ("sample",),
    ".tasks.space": ("Space",),
    ".tasks.stream": ("TaskStream",),
    ".tasks.task": ("TaskBatch",),
}
_MODULES = {
    "kernels": ".ops.kernels",
    "metrics": ".images.metrics",
    "ops": ".ops",
    "vectors": ".tasks.vectors",
}

_name = names_of(__name__, _HOMES)

__all__ = [
    "Degrader",
    "Distribution",
    "EstimatedKernel",
    "ImageError",
    "KernelError",
    "Known",
    "Pair",
    "PairDataset",
    "PairStream",
    "Prepared",
    "PydegradeError",
    "SampleNumbers",
    "Space",
    "SpaceError",
    "Stage",
    "Subsampling",
    "TaskBatch",
    "TaskError",
    "TaskStream",
    "__version__",
    "blur_down",
    "degrade",
    "degrade_batch",
    "degrade_list",
    "degrade_pairs",
    "estimate_kernel",
    "get_num_threads",
    "imresize",
    "isa_name",
    "kernels",
    "metrics",
    "named_uniform",
    "ops",
    "prepare",
    "psnr",
    "register_distribution",
    "sample",
    "set_num_threads",
    "ssim",
    "stream_seed",
    "trace",
    "vectors",
]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pydegrade")
    except PackageNotFoundError:  # the source tree on PYTHONPATH, not installed
        return "0+source"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _MODULES:
        value = import_module(_MODULES[name], __name__)
    else:
        return _name(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
