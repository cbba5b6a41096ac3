"""JPEG 2000: the pixels of a real file, with the irreversible wavelet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike

from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .pillow_codec import required, through_file

Mode = Literal["off", "ratio", "psnr"]
MODES: tuple[Mode, ...] = ("off", "ratio", "psnr")
_RATIO, _PSNR = MODES.index("ratio"), MODES.index("psnr")


@decided_by("mode")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return {"compression_ratio": columns["mode"] == _RATIO, "psnr_db": columns["mode"] == _PSNR}


def _library() -> str:
    return f"OpenJPEG {required('jpg_2000', 'JPEG 2000', '2.4')}"


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if columns["mode"] == "off":
        return image
    by_ratio = columns["mode"] == "ratio"
    return through_file(
        "jpeg2000",
        image,
        "JPEG2000",
        quality_mode="rates" if by_ratio else "dB",
        quality_layers=[columns["compression_ratio"] if by_ratio else columns["psnr_db"]],
        irreversible=True,
    )


OP = Op(
    name="jpeg2000",
    columns=(
        Column(
            "mode",
            "off, ratio (a file of that size) or psnr (of that quality), both the pixels of a real file.",
            choices=MODES,
            neutral="off",
        ),
        Column("compression_ratio", "Mode ratio: bytes of the raw image per byte.", 1.0, 1000.0, neutral=20.0),
        Column("psnr_db", "Mode psnr: what the encoder aims at, dB.", 15.0, 60.0, neutral=35.0),
    ),
    active=_active,
    apply=_apply,
    library=_library,
    concurrent=True,
    switch="mode",
)


def jpeg2000(
    images: torch.Tensor,
    compression_ratio: float | ArrayLike | torch.Tensor = 20,
    psnr_db: float | ArrayLike | torch.Tensor = 35,
    mode: Mode | Sequence[Mode] = "ratio",
) -> torch.Tensor:
    """What is left of each image after JPEG 2000, written and read by OpenJPEG through Pillow.

    One quality layer, one tile, the 9/7 wavelet with the irreversible colour transform. Values are clipped and rounded to 8
    bits first, half to even. Images run beside each other, each on one thread. On CUDA the pixels make a round trip over
    the host. No gradient.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB in [0, 1].
        compression_ratio: number or [B], 1 to 1000, for "ratio": 24 bits per pixel divided by the bits of the file.
        psnr_db: number or [B], 15 to 60, for "psnr": what the encoder aims at.
        mode: "ratio", "psnr" or "off", one or B.
    Returns:
        [B, 3, H, W] float32, multiples of 1/255 in [0, 1].
    Raises:
        TypeError, ValueError: the message gives the first bad row. OpError: this Pillow has no JPEG 2000.
    Source: ITU-T T.800 (2002).
    """
    given = {"mode": mode, "compression_ratio": compression_ratio, "psnr_db": psnr_db}
    return plain.run(OP, images, given)
