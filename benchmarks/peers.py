"""The other libraries: which are here, and how a contender is described.

Absent ones are skipped and listed as absent in the report, with the reason.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]
Images = torch.Tensor | list[Array]
"""Results: a tensor [B, 3, h, w], or B arrays [h, w, 3]; floats in [0, 1], or uint8."""

MODULES = {
    "opencv": "cv2",
    "pillow": "PIL.Image",
    "scikit-image": "skimage",
    "simplejpeg": "simplejpeg",
    "kornia": "kornia",
    "albumentations": "albumentations",
    "basicsr": "basicsr.data.degradations",
}


@dataclass(frozen=True)
class Library:
    """One peer library: its module, or why it is not here."""

    module: ModuleType | None
    version: str
    reason: str


@functools.cache
def library(name: str) -> Library:
    """Import a peer at its first use."""
    # albumentations would ask the network for a newer version of itself.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    top = MODULES[name].partition(".")[0]
    try:
        if name == "basicsr":
            _open_basicsr()
        found = importlib.import_module(MODULES[name])
        version = getattr(importlib.import_module(top), "__version__", None) or importlib.metadata.version(top)
    except Exception as error:  # a half-broken installation of a peer must not stop the run
        return Library(None, "", f"{type(error).__name__}: {error}".splitlines()[0])
    return Library(found, str(version), "")


def _open_basicsr() -> None:
    """Make modules of basicsr 1.4.2 (2022) importable one by one.

    Its packages import all of it, training and its dependencies included, and degradations.py takes a function from
    torchvision.transforms.functional_tensor, a module that torchvision removed in 2023; it is written out here.
    """
    spec = None if "basicsr" in sys.modules else importlib.util.find_spec("basicsr")
    if spec is None or not spec.submodule_search_locations:
        return
    root = Path(spec.submodule_search_locations[0])
    for package in ("basicsr", "basicsr.data", "basicsr.utils"):
        opened = ModuleType(package)
        opened.__path__ = [str(root.joinpath(*package.split(".")[1:]))]
        sys.modules[package] = opened
    gone: Any = ModuleType("torchvision.transforms.functional_tensor")
    gone.rgb_to_grayscale = _gray_of
    sys.modules.setdefault(gone.__name__, gone)


def _gray_of(images: torch.Tensor, num_output_channels: int = 1) -> torch.Tensor:
    """torchvision's rgb_to_grayscale: [..., 3, H, W] -> [..., 1 or 3, H, W]."""
    red, green, blue = images.unbind(-3)
    gray = (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)
    return gray if num_output_channels == 1 else gray.expand(images.shape)


def module(name: str) -> Any:
    """The peer's module, or None when it is absent or was not asked for (BENCH_PEERS)."""
    wanted = os.environ.get("BENCH_PEERS", "")
    if wanted and name not in wanted.split(","):
        return None
    return library(name).module


def summary() -> dict[str, str]:
    """Name -> version, or "absent (why)"."""
    found = {name: library(name) for name in MODULES}
    return {
        "torch eager": torch.__version__,
        "numpy": np.__version__,
        **{name: one.version or f"absent ({one.reason})" for name, one in found.items()},
    }


# ---- contenders


@dataclass(frozen=True)
class Agreement:
    """How a peer's result is compared with ours before anything is timed.

    Attributes:
        error: (ours, theirs) -> a number that is small when they agree.
        tolerance: the largest such number that is accepted.
        reason: why it is not zero.
    """

    error: Callable[[torch.Tensor, torch.Tensor], float]
    tolerance: float
    reason: str


@dataclass(frozen=True)
class Peer:
    """One contender.

    Attributes:
        name: library, with its setting where several are timed.
        run: makes the result; its return value is compared with ours.
        agreement: how; None for something timed for orientation only, whose result differs by design.
        note: in what it differs (required then).
    """

    name: str
    run: Callable[[], Images]
    agreement: Agreement | None
    note: str = ""


def largest_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max())


def values(tolerance: float, reason: str) -> Agreement:
    """Every value within `tolerance` of ours."""
    return Agreement(largest_difference, tolerance, reason)


def as_tensor(images: Images) -> torch.Tensor:
    """float32 [B, 3, h, w] in [0, 1] from whatever a peer returns."""
    if not isinstance(images, torch.Tensor):
        images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


# ---- running libraries that know one image and one thread


_pools: dict[int, ThreadPoolExecutor] = {}


def each(function: Callable[[Any], Any], items: list[Any], threads: int) -> Callable[[], list[Any]]:
    """Apply to all items on `threads` Python threads (these libraries release the GIL), as a careful user would."""
    if threads == 1:
        return lambda: [function(item) for item in items]
    pool = _pools.setdefault(threads, ThreadPoolExecutor(threads))
    return lambda: list(pool.map(function, items))


def interleaved(images: torch.Tensor) -> list[Array]:
    """float32 arrays [H, W, 3], the layout OpenCV, scikit-image and albumentations take."""
    return [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]
