"""DiffBIR's batch transform.

batch_transform:
  target: pydegrade.compat.diffbir.RealESRGANBatchTransform
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .batches import BatchChain
from .hypir import _CHAIN
from .options import JpegMode


class RealESRGANBatchTransform:
    """Takes a dictionary with "hq" and "txt", gives (hq, lq, txt).

    Args:
        use_sharpener: whether LR is made from sharpened images, which are hq then.
        queue_size: accepted and not used: every image has its own task, no pool is needed.
        stage2_scale: how many times smaller LR is: a number, or [low, high], from which each image draws one of 16 values.
        kernels: kernels other than the published ones, by the names of the project's dataset (blur_sigma, sinc_prob, ...):
            those that the dataset draws are not used.
        seed: of the tasks; None: torch's.
        jpeg: "libjpeg", or "diffjpeg_basicsr" for the project's own approximation.
        others: as the project's.
    """

    def __init__(
        self,
        use_sharpener: bool,
        queue_size: int,
        resize_prob: Sequence[float],
        resize_range: Sequence[float],
        gray_noise_prob: float,
        gaussian_noise_prob: float,
        noise_range: Sequence[float],
        poisson_scale_range: Sequence[float],
        jpeg_range: Sequence[float],
        second_blur_prob: float,
        stage2_scale: float | Sequence[float],
        resize_prob2: Sequence[float],
        resize_range2: Sequence[float],
        gray_noise_prob2: float,
        gaussian_noise_prob2: float,
        noise_range2: Sequence[float],
        poisson_scale_range2: Sequence[float],
        jpeg_range2: Sequence[float],
        *,
        kernels: Mapping[str, Any] | None = None,
        seed: int | None = None,
        jpeg: JpegMode = "libjpeg",
    ) -> None:
        options = {name: value for name, value in locals().items() if name in _CHAIN}
        self.chain = BatchChain("diffbir", options, stage2_scale, True, kernels, seed, jpeg)

    def __call__(self, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """(hq float [B, H, W, 3] in [-1, 1], lq float [B, H, W, 3] in [0, 1], txt)."""
        made = self.chain(batch["hq"])
        hq = (made.target * 2 - 1).permute(0, 2, 3, 1).contiguous()
        return hq, made.lr.permute(0, 2, 3, 1).contiguous(), batch["txt"]
