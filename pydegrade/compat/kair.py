"""KAIR: `from pydegrade.compat.kair import degradation_bsrgan`, or `utils.utils_blindsr.degradation_bsrgan = ...`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..errors import PydegradeError, shown
from ..loading.degrader import degraded
from ..loading.forms import as_batch
from ..loading.numbers import SampleNumbers
from ..tasks.space import Space
from .options import bsrgan_toml

_numbers = SampleNumbers(None)


@cache
def _space(scale: int) -> Space:
    if scale == 4:
        return Space.load("bsrgan-x4")
    return Space.loads(bsrgan_toml(f"bsrgan-x{scale}", scale, 80 * scale))


def degradation_bsrgan(
    img: np.ndarray[Any, Any], sf: int = 4, lq_patchsize: int = 72, isp_model: None = None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A pair of BSRGAN's degradation, both cut to one random patch.

    Args:
        img: [H, W, 3] float in [0, 1], RGB; cut at the bottom and the right to multiples of sf.
        sf: scale, 1 to 16.
        lq_patchsize: side of the LR patch.
        isp_model: None; the camera step has no published model.
    Returns:
        (lq float32 [lq_patchsize, lq_patchsize, 3], hq float32 [sf lq_patchsize, sf lq_patchsize, 3]).
    Raises:
        PydegradeError, a ValueError: an image that is too small, or none.
    """
    if isp_model is not None:
        raise PydegradeError("degradation_bsrgan: isp_model must be None, the camera step has no published model")
    if not isinstance(img, np.ndarray) or img.ndim != 3 or img.shape[2] != 3:
        raise PydegradeError(f"degradation_bsrgan: expected an array [H, W, 3], got {shown(img)}")
    if not isinstance(sf, (int, np.integer)) or not 1 <= sf <= 16:
        raise PydegradeError(f"degradation_bsrgan: sf must be a whole number in 1..16, got {shown(sf)}")
    if not isinstance(lq_patchsize, (int, np.integer)) or lq_patchsize < 1:
        raise PydegradeError(f"degradation_bsrgan: lq_patchsize must be a whole number >= 1, got {shown(lq_patchsize)}")
    height, width = (side - side % sf for side in img.shape[:2])
    if min(height, width) < lq_patchsize * sf:
        raise PydegradeError(
            f"degradation_bsrgan: an image must hold {lq_patchsize * sf} px, got {img.shape[0]} x {img.shape[1]}"
        )
    hr, form = as_batch("degradation_bsrgan", np.ascontiguousarray(img[:height, :width], np.float32))
    made = degraded(hr, _numbers.tasks(_space(int(sf)), 1), crop_px=lq_patchsize * int(sf))
    return form.of(made.lr), form.of(made.hr)
