"""AVIF: the pixels of a real file, written by libaom and read by dav1d."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike

from ..errors import OpError
from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .pillow_codec import required, through_file

Mode = Literal["off", "lossy"]
Subsampling = Literal["444", "422", "420", "400"]
MODES: tuple[Mode, ...] = ("off", "lossy")
SUBSAMPLINGS: tuple[Subsampling, ...] = ("444", "422", "420", "400")


@decided_by("mode")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["mode"] != 0
    return {"quality": on, "speed": on, "subsampling": on}


def _library() -> str:
    version = required("avif", "AVIF", "11.3")
    from PIL import _avif

    if not _avif.encoder_codec_available("aom"):
        raise OpError("this Pillow writes AVIF without libaom; the wheels on PyPI have it since Pillow 11.3")
    return f"libavif {version}, {_avif.codec_versions()}"


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if columns["mode"] == "off":
        return image
    return through_file(
        "avif",
        image,
        "AVIF",
        quality=round(columns["quality"]),
        speed=int(columns["speed"]),
        subsampling=":".join(columns["subsampling"]),
        codec="aom",
        # Threads would divide one image among themselves; here each has its own.
        max_threads=1,
    )


OP = Op(
    name="avif",
    columns=(
        Column("mode", "off, or lossy (the pixels of a real file).", choices=MODES, neutral="off"),
        Column("quality", "Of libavif; rounded to a whole number.", 0.0, 100.0, neutral=75.0),
        Column("speed", "Effort: 0 searches longest, 10 is fast.", 0, 10, neutral=6, integer=True),
        Column(
            "subsampling",
            "Chroma: 444 full, 422 half the width, 420 half of both, 400 none (gray).",
            choices=SUBSAMPLINGS,
            neutral="420",
        ),
    ),
    active=_active,
    apply=_apply,
    library=_library,
    concurrent=True,
    switch="mode",
    switched_on="lossy",
)


def avif(
    images: torch.Tensor,
    quality: float | ArrayLike | torch.Tensor = 75,
    speed: int | ArrayLike | torch.Tensor = 6,
    subsampling: Subsampling | Sequence[Subsampling] = "420",
    mode: Mode | Sequence[Mode] = "lossy",
) -> torch.Tensor:
    """What is left of each image after AVIF, written by libaom and read by dav1d through Pillow.

    Values are clipped and rounded to 8 bits first, half to even. Images run beside each other, each on one thread. On CUDA
    the pixels make a round trip over the host. No gradient.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB in [0, 1].
        quality: number or [B], 0 to 100, rounded to a whole number.
        speed: whole number or [B], 0 (smallest file) to 10 (fast); 10 takes a seventh of the time of 6.
        subsampling: "444", "422", "420" or "400", one or B.
        mode: "lossy" or "off", one or B.
    Returns:
        [B, 3, H, W] float32, multiples of 1/255 in [0, 1].
    Raises:
        TypeError, ValueError: the message gives the first bad row. OpError: this Pillow has no AVIF.
    Source: AV1 Image File Format 1.1 (Alliance for Open Media); among the codecs of APISR (Wang et al. 2024).
    """
    return plain.run(OP, images, {"mode": mode, "quality": quality, "speed": speed, "subsampling": subsampling})
