"""DPID: shrinking that keeps what stands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..native import binding
from . import plain
from .arguments import check_images, numbers
from .declaration import BoolArray, Column, Columns, Op, Sides, decided_by
from .elementary import power


@decided_by("resize_factor")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return {"detail": columns["resize_factor"] != 1}


def _out_size(columns: Columns, *sides: Sides) -> tuple[Sides, Sides]:
    """That of `resize` with rule "input"."""
    codes = np.zeros(len(sides[0]), np.int32)
    factor = np.ascontiguousarray(columns["resize_factor"], np.float32)
    return binding.out_size(binding.OPS["resize"], *sides, mode=codes, resize_factor=factor, rule=codes)


@dataclass(frozen=True)
class _Axis:
    """What each of `count` output samples covers of an axis: `taps` samples at `index` [taps, count] and how much of them,
    `share` [taps, count]."""

    index: torch.Tensor
    share: torch.Tensor

    @staticmethod
    def of(length: int, count: int, device: torch.device) -> _Axis:
        ratio = length / count
        start = np.arange(count) * ratio
        end = np.minimum(start + ratio, length)
        first = np.floor(start)
        taps = int((np.ceil(end) - first).max())
        place = first + np.arange(taps)[:, None]
        share = np.clip(np.minimum(place + 1, end) - np.maximum(place, start), 0.0, 1.0)
        index = np.minimum(place, length - 1).astype(np.int64)
        return _Axis(torch.from_numpy(index).to(device), torch.from_numpy(share.astype(np.float32)).to(device))


def _smoothed(image: torch.Tensor) -> torch.Tensor:
    """[1 2 1] along both axes, of the neighbours that there are."""
    for axis in (1, 2):
        length = image.shape[axis]
        weight = torch.full((length,), 4.0, device=image.device)
        weight[0] -= 1.0
        weight[-1] -= 1.0
        total = image * 2.0
        if length > 1:
            nothing = torch.zeros_like(image.narrow(axis, 0, 1))
            total = total + torch.cat([nothing, image.narrow(axis, 0, length - 1)], axis)
            total = total + torch.cat([image.narrow(axis, 1, length - 1), nothing], axis)
        image = total / weight.reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
    return image


def _shrunk(image: torch.Tensor, height: int, width: int, detail: float) -> torch.Tensor:
    channels = image.shape[0]
    rows, columns = (_Axis.of(old, new, image.device) for old, new in zip(image.shape[1:], (height, width)))
    pixels = [
        (image[:, y[:, None], x[None, :]], share_y[:, None] * share_x[None, :])
        for y, share_y in zip(rows.index, rows.share)
        for x, share_x in zip(columns.index, columns.share)
    ]
    area = torch.zeros_like(pixels[0][1])
    mean = torch.zeros_like(pixels[0][0])
    for pixel, share in pixels:
        area = area + share
        mean = mean + pixel * share
    guide = _smoothed(mean / area)
    weights, total = torch.zeros_like(area), torch.zeros_like(mean)
    for pixel, share in pixels:
        squares = torch.zeros_like(area)
        for difference in pixel - guide:
            squares = squares + difference * difference
        distance = torch.sqrt(squares / channels)
        weight = share * (distance if detail == 1.0 else power(distance.contiguous(), detail))
        weights = weights + weight
        total = total + pixel * weight
    # Of finite values whose squares are not, the guide.
    found = (weights > 0.0) & torch.isfinite(total)
    return torch.where(found, total / torch.where(found, weights, torch.ones_like(weights)), guide)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    factor, detail = columns["resize_factor"], columns["detail"]
    if factor == 1.0:
        return image
    return _shrunk(image, *_size(image, factor), detail)


def _size(image: torch.Tensor, factor: float) -> tuple[int, int]:
    """Height and width of [..., H, W] afterwards."""
    height, width = (np.array([side], np.int64) for side in image.shape[-2:])
    made = _out_size({"resize_factor": np.array([factor])}, height, width, height, width)
    return int(made[0][0]), int(made[1][0])


OP = Op(
    name="dpid",
    columns=(
        Column("resize_factor", "Output px per px; rounded as `resize` does.", 1 / 64, 1.0, neutral=1.0),
        Column("detail", "Exponent of the distance; 0.1 is nearly the mean.", 0.1, 4.0, neutral=1.0),
    ),
    active=_active,
    out_size=_out_size,
    nothing_at_equal_size=lambda columns: np.ones(len(columns["detail"]), bool),
    apply=_apply,
    concurrent=True,
    switch="resize_factor",
)


def dpid(
    images: torch.Tensor, resize_factor: float = 0.5, detail: float | ArrayLike | torch.Tensor = 1.0
) -> torch.Tensor:
    """Detail-preserving downscaling: each output pixel is a mean in which a pixel counts the more the more it differs.

    Out of the pixels p that an output pixel covers, each with the share a(p) of its area, comes sum a |p - g|^detail p /
    sum a |p - g|^detail. The guide g is their plain mean, smoothed with [1 2 1] along both axes over the neighbours that
    there are, and the result where nothing differs from it; |.| is the root mean square over the channels. No gradient.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        resize_factor: one number for all, 1/64 to 1; sides are cut to whole px, at least 1.
        detail: number or [B], 0.1 to 4. The paper's lambda; it uses 0.5 and 1.
    Returns:
        [B, C, h, w] float32.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: Weber et al. 2016, "Rapid, detail-preserving image downscaling", section 3, and the released code; among the
        resizes of wtp_dataset_destroyer.
    """
    check_images("dpid", images)
    factor = float(numbers("dpid", "resize_factor", resize_factor, 1, 1 / 64, 1)[0])
    made = plain.run(OP, images, {"resize_factor": factor, "detail": detail})
    if len(images) and not images.is_meta:
        return made
    return images.new_empty((*images.shape[:2], *_size(images, factor)))
