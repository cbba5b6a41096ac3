"""HYPIR's batch transform.

batch_transform:
  target: pydegrade.compat.hypir.RealESRGANBatchTransform
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .batches import BatchChain
from .options import JpegMode


class RealESRGANBatchTransform:
    """Takes a dictionary with `hq_key`, gives {"GT", "LQ", *extra_keys}.

    Args:
        hq_key, extra_keys: keys of the batch: clean images, float [B, 3, H, W] in [0, 1]; and what is kept beside them.
        use_sharpener: whether LR is made from sharpened images, which are GT then.
        queue_size: accepted and not used: every image has its own task, no pool is needed.
        kernels: kernels other than the published ones, by the names of the project's dataset (blur_sigma, sinc_prob, ...):
            those that the dataset draws are not used.
        seed: of the tasks; None: torch's.
        jpeg: "libjpeg", or "diffjpeg_basicsr" for the project's own approximation.
        others: as the project's.
    """

    def __init__(
        self,
        hq_key: str,
        extra_keys: Sequence[str],
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
        resize_back: bool = True,
        *,
        kernels: Mapping[str, Any] | None = None,
        seed: int | None = None,
        jpeg: JpegMode = "libjpeg",
    ) -> None:
        options = {name: value for name, value in locals().items() if name in _CHAIN}
        self.hq_key, self.extra_keys = hq_key, extra_keys
        self.chain = BatchChain("hypir", options, stage2_scale, resize_back, kernels, seed, jpeg)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """GT and LQ, float [B, 3, H, W] in [0, 1], and what is kept."""
        made = self.chain(batch[self.hq_key])
        return {"GT": made.target, "LQ": made.lr, **{key: batch[key] for key in self.extra_keys}}


_CHAIN = {
    *("use_sharpener", "second_blur_prob"),
    *(
        f"{name}{stage}"
        for name in (
            "resize_prob",
            "resize_range",
            "gray_noise_prob",
            "gaussian_noise_prob",
            "noise_range",
            "jpeg_range",
        )
        for stage in ("", "2")
    ),
    *("poisson_scale_range", "poisson_scale_range2"),
}
