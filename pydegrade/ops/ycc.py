"""Y, Cb, Cr of an image and back, in float: full range, chroma around zero."""

from __future__ import annotations

import torch

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Weights of red and blue in Y: ITU-R BT.601-7, BT.709-6, BT.2020-2."""


def ycc_of(image: torch.Tensor, matrix: str = "bt601") -> torch.Tensor:
    """[3, H, W] RGB -> Y, Cb = (B - Y) / (2 - 2 kb), Cr = (R - Y) / (2 - 2 kr)."""
    kr, kb = KR_KB[matrix]
    luma = (image[0] * kr + image[1] * (1.0 - kr - kb)) + image[2] * kb
    return torch.stack([luma, (image[2] - luma) * (0.5 / (1.0 - kb)), (image[0] - luma) * (0.5 / (1.0 - kr))])


def rgb_of(planes: torch.Tensor, matrix: str = "bt601") -> torch.Tensor:
    """The inverse of `ycc_of`."""
    kr, kb = KR_KB[matrix]
    kg = 1.0 - kr - kb
    luma, cb, cr = planes[0], planes[1], planes[2]
    green = (luma - cb * (2.0 * kb * (1.0 - kb) / kg)) - cr * (2.0 * kr * (1.0 - kr) / kg)
    return torch.stack([luma + cr * (2.0 - 2.0 * kr), green, luma + cb * (2.0 - 2.0 * kb)])
