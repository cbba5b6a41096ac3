"""What the batch transforms of HYPIR and DiffBIR share: their keywords as a chain, and batches through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..errors import OptionsError, shown
from ..loading.degrader import Back, Degraded, degraded
from ..loading.forms import as_batch
from ..loading.numbers import SampleNumbers
from ..tasks.space import Space
from ..tasks.task import TaskBatch
from .chain import shrunk, toml_of
from .options import DIALECTS, JpegMode, OptionReader, read_chain

KERNELS: Mapping[str, Any] = {
    "kernel_list": ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"),
    "kernel_prob": (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
    "sinc_prob": 0.1,
    "blur_sigma": (0.2, 3.0),
    "betag_range": (0.5, 4.0),
    "betap_range": (1.0, 2.0),
    "kernel_list2": ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"),
    "kernel_prob2": (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
    "sinc_prob2": 0.1,
    "blur_sigma2": (0.2, 1.5),
    "betag_range2": (0.5, 4.0),
    "betap_range2": (1.0, 2.0),
    "final_sinc_prob": 0.8,
}
"""Kernels as both projects publish them. Theirs are drawn by the dataset, whose options a transform does not see."""

SCALES_OF_A_RANGE = 16
"""A range of `stage2_scale` is cut into so many equal parts, of which each image gets the middle of one."""


class BatchChain:
    """Degrades batches by a project's keywords.

    Args:
        dialect: "hypir" or "diffbir".
        options: the keywords.
        stage2_scale: how many times smaller LR is: a number, or a range that each image draws from.
        resize_back: whether LR is enlarged to the size of HR, bicubically.
        kernels: kernels other than KERNELS, by the names of the project's dataset.
        seed: of the tasks; None: torch's.
        jpeg: "libjpeg", or "diffjpeg_basicsr" for the projects' own approximation.
    """

    def __init__(
        self,
        dialect: str,
        options: Mapping[str, Any],
        stage2_scale: Any,
        resize_back: bool,
        kernels: Mapping[str, Any] | None,
        seed: int | None,
        jpeg: JpegMode,
    ) -> None:
        unknown = set(kernels or {}) - set(KERNELS)
        if unknown:
            raise OptionsError(f"kernels: must be of {', '.join(KERNELS)}, got {shown(sorted(unknown))}")
        given = {**KERNELS, **(kernels or {}), **options}
        whole = isinstance(stage2_scale, (int, float)) and stage2_scale == int(stage2_scale)
        self.back: Back | None = "torch_bicubic" if resize_back else None
        reader = OptionReader({}, DIALECTS[dialect], dialect)
        reader.values = {**given, "out_size": 512}
        if whole:
            self.space = Space.loads(toml_of(read_chain(reader, dialect, int(stage2_scale), jpeg=jpeg)))
            self.back = None if stage2_scale == 1 else self.back
        else:
            if not resize_back:
                raise OptionsError(
                    f"stage2_scale: must be a whole number without resize_back, got {shown(stage2_scale)}"
                )
            self.space = self._of_range(reader, dialect, _range(stage2_scale), jpeg)
            self.back = None
        self.numbers = SampleNumbers(seed)
        self._last: TaskBatch | None = None

    @property
    def last_addresses(self) -> list[str]:
        """The tasks of the last batch, none before the first."""
        return [] if self._last is None else self._last.addresses

    @staticmethod
    def _of_range(reader: OptionReader, dialect: str, limits: tuple[float, float], jpeg: JpegMode) -> Space:
        """A mixture of spaces of scale 1, one for each part of the range."""
        low, high = limits
        chain = read_chain(reader, dialect, 1, jpeg=jpeg)
        count = 1 if low == high else SCALES_OF_A_RANGE
        middles = [low + (high - low) * (part + 0.5) / count for part in range(count)]
        parts = {}
        for number, middle in enumerate(middles):
            text = toml_of(shrunk(chain, middle, "torch_bicubic"))
            parts[f"part{number}"] = text.replace(f'name = "{dialect}"', f'name = "part{number}"', 1)
        target = 'target = "usm"\n' if chain.usm == "target" else ""
        names = ", ".join(f'"{name}"' for name in parts)
        return Space.loads(
            f'[space]\nname = "{dialect}"\nscale = 1\nsource = "{dialect}: stage2_scale {low:g} to {high:g}"\n{target}'
            f"hr_px = {chain.hr_px}\n[mixture]\nspaces = [{names}]\n",
            parts,
        )

    @torch.no_grad()
    def __call__(self, hq: torch.Tensor) -> Degraded:
        """`degraded` of float [B, 3, H, W] in [0, 1]."""
        batch, _ = as_batch("RealESRGANBatchTransform", hq)
        tasks = self.numbers.tasks(self.space, len(batch))
        self._last = tasks
        return degraded(batch, tasks, self.back)


def _range(value: Any) -> tuple[float, float]:
    parts = [value, value] if isinstance(value, (int, float)) else value
    good = isinstance(parts, Sequence) and len(parts) == 2 and all(isinstance(part, (int, float)) for part in parts)
    if not good or not 1 <= parts[0] <= parts[1] <= 16:
        raise OptionsError(f"stage2_scale: must be a number or [low, high] in [1, 16], got {shown(value)}")
    return float(parts[0]), float(parts[1])
