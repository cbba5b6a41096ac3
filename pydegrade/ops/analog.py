"""Analog video: rows of two fields, chroma that comes late, and a ghost of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import OpError
from . import plain
from .clip import of_first_size
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .ycc import rgb_of, ycc_of


def _neutral(columns: Columns) -> BoolArray:
    still = (columns["comb_px"] == 0) & (columns["chroma_delay_px"] == 0) & (columns["ghost_gain"] == 0)
    return np.asarray(still & (columns["weave"] == 0))


@decided_by("ghost_gain")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return {"ghost_px": columns["ghost_gain"] != 0}


def _later(planes: torch.Tensor, by_px: float) -> torch.Tensor:
    """Planes [..., W] moved to the right, between px linearly; what comes in repeats the first column, or the last."""
    width = planes.shape[-1]
    at = torch.arange(width, dtype=torch.float64) - by_px
    left = at.floor()
    share = (at - left).to(torch.float32).to(planes.device)
    first, second = (side.clamp(0, width - 1).long().to(planes.device) for side in (left, left + 1))
    return planes[..., first] * (1.0 - share) + planes[..., second] * share


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    made = image.clone()
    if columns["comb_px"] != 0:
        made[:, 1::2] = _later(made[:, 1::2], columns["comb_px"])
    if columns["chroma_delay_px"] != 0:
        if image.shape[0] != 3:
            raise OpError(f"analog: chroma_delay_px takes images of 3 channels, got {image.shape[0]}")
        ycc = ycc_of(made)
        made = rgb_of(torch.cat([ycc[:1], _later(ycc[1:], columns["chroma_delay_px"])]))
    gain = columns["ghost_gain"]
    if gain != 0:
        made = (made + gain * _later(made, columns["ghost_px"])) * (1.0 / (1.0 + gain))
    return made


def _apply_clip(
    frames: Sequence[torch.Tensor], columns: Mapping[str, Any], words: tuple[int, int, int, int]
) -> list[torch.Tensor]:
    same = of_first_size(frames)
    if columns["weave"]:
        woven = [frame.clone() for frame in same]
        for frame, following in zip(woven, same[1:]):
            frame[:, 1::2] = following[:, 1::2]
        same = woven
    return [_apply(frame, columns, words) for frame in same]


OP = Op(
    name="analog",
    columns=(
        Column("weave", "1: odd rows of a frame are those of the next one; an image has none.", 0, 1, integer=True),
        Column("comb_px", "How far odd rows lie to the right.", -16.0, 16.0),
        Column("chroma_delay_px", "How far colours lie to the right of the luma.", -16.0, 16.0),
        Column("ghost_gain", "Strength of a second picture.", -0.5, 0.5),
        Column("ghost_px", "How far it lies to the right.", -128.0, 128.0, neutral=8.0),
    ),
    active=_active,
    neutral=_neutral,
    apply=_apply,
    apply_clip=_apply_clip,
    concurrent=True,
)


def analog(
    images: torch.Tensor,
    *,
    weave: bool | ArrayLike | torch.Tensor = False,
    comb_px: float | ArrayLike | torch.Tensor = 0.0,
    chroma_delay_px: float | ArrayLike | torch.Tensor = 0.0,
    ghost_gain: float | ArrayLike | torch.Tensor = 0.0,
    ghost_px: float | ArrayLike | torch.Tensor = 8.0,
    clip: bool = False,
) -> torch.Tensor:
    """What interlacing, a late chroma signal and a second path of the signal do to a picture. No gradient.

    In this order: odd rows (the second, the fourth ...) move to the right by `comb_px`, as the second field of a scene
    that moves; Cb and Cr of BT.601 move by `chroma_delay_px`; and the picture x becomes (x + g x(. - d)) / (1 + g), a ghost
    of gain g at d px (multipath reception). Between px values are linear, beyond the border they repeat the last.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA; C is 3 for `chroma_delay_px`.
        weave: truth value or [B]: of a clip, odd rows are those of the next frame (the last frame keeps its own), which is
            real interlacing.
        comb_px, chroma_delay_px: number or [B], -16 to 16; 0 is none.
        ghost_gain: number or [B], -0.5 to 0.5; 0 is none.
        ghost_px: number or [B], -128 to 128.
        clip: the images are the frames of one clip, in their order, and each parameter has one value.
    Returns:
        [B, C, H, W] float32.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    """
    given: dict[str, Any] = {"weave": weave, "comb_px": comb_px, "chroma_delay_px": chroma_delay_px}
    given |= {"ghost_gain": ghost_gain, "ghost_px": ghost_px}
    return plain.run_clip(OP, images, given) if clip else plain.run(OP, images, given)
