"""WebP: the pixels of a real lossy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike

from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .pillow_codec import required, through_file

Mode = Literal["off", "lossy"]
MODES: tuple[Mode, ...] = ("off", "lossy")


@decided_by("mode")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["mode"] != 0
    return {"quality": on, "method": on}


def _library() -> str:
    return f"libwebp {required('webp', 'WebP', '2.0')}"


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if columns["mode"] == "off":
        return image
    # Pillow hands whole qualities on, as files have them.
    return through_file("webp", image, "WEBP", quality=round(columns["quality"]), method=int(columns["method"]))


OP = Op(
    name="webp",
    columns=(
        Column("mode", "off, or lossy (the pixels of a real file; chroma 4:2:0).", choices=MODES, neutral="off"),
        Column("quality", "Of libwebp; rounded to a whole number.", 0.0, 100.0, neutral=80.0),
        Column("method", "Effort: 0 is fast, 6 searches longest.", 0, 6, neutral=4, integer=True),
    ),
    active=_active,
    apply=_apply,
    library=_library,
    concurrent=True,
    switch="mode",
    switched_on="lossy",
)


def webp(
    images: torch.Tensor,
    quality: float | ArrayLike | torch.Tensor = 80,
    method: int | ArrayLike | torch.Tensor = 4,
    mode: Mode | Sequence[Mode] = "lossy",
) -> torch.Tensor:
    """What is left of each image after lossy WebP, written and read by libwebp through Pillow.

    Values are clipped and rounded to 8 bits first, half to even. Images run beside each other, each on one thread. On CUDA
    the pixels make a round trip over the host. No gradient.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB in [0, 1]; sides of 1 to 16383 px.
        quality: number or [B], 0 to 100, rounded to a whole number.
        method: whole number or [B], 0 (fast) to 6 (smallest file).
        mode: "lossy" or "off", one or B.
    Returns:
        [B, 3, H, W] float32, multiples of 1/255 in [0, 1].
    Raises:
        TypeError, ValueError: the message gives the first bad row. OpError: this Pillow has no WebP.
    Source: RFC 9649; APISR (Wang et al. 2024) draws quality 20 to 95 and method 0 to 6.
    """
    return plain.run(OP, images, {"mode": mode, "quality": quality, "method": method})
