"""Degradations for training super-resolution networks: fast, exact, one task per image, replayable.

A *space* (TOML) is a distribution over degradations; a *task* is one drawn row of parameters with a stable address; the
engine runs one task per image. See `Space`, `sample`, `degrade`, and the commands `degrade --help`.
"""

from importlib.metadata import PackageNotFoundError, version

from . import ops
from .engine import Pair, Stage, degrade, degrade_batch, degrade_list, degrade_pairs, trace
from .errors import ImageError, KernelError, PydegradeError, SpaceError, TaskError
from .images import metrics
from .images.blur_down import blur_down
from .images.imresize import imresize
from .images.kernel_estimate import EstimatedKernel, estimate_kernel
from .images.metrics import psnr, ssim
from .native.binding import get_num_threads, isa_name, set_num_threads
from .ops import kernels
from .tasks import vectors
from .tasks.sampler import sample
from .tasks.space import Space
from .tasks.task import TaskBatch

try:
    __version__ = version("pydegrade")
except PackageNotFoundError:  # the source tree on PYTHONPATH, not installed
    __version__ = "0+source"

__all__ = [
    "EstimatedKernel",
    "ImageError",
    "KernelError",
    "Pair",
    "PydegradeError",
    "Space",
    "SpaceError",
    "Stage",
    "TaskBatch",
    "TaskError",
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
    "ops",
    "psnr",
    "sample",
    "set_num_threads",
    "ssim",
    "trace",
    "vectors",
]
