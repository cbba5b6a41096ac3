"""What every format's module answers in: the facts of a header, and the refusal of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SIDE_BLOCK_BYTES = 2**24
"""Largest profile, EXIF or XMP block that is looked at, also after unpacking."""

Colours = Literal["gray", "rgb", "cmyk"]


class FormatError(Exception):
    """A file that is refused, or damaged; the text lacks its name."""


@dataclass(frozen=True)
class Info:
    """What a file says about its pixels before any of them is decoded.

    Attributes:
        width, height: px as stored, before the orientation is applied.
        colours: of the decoded samples; palettes are looked up.
        alpha: whether a further channel, not premultiplied, follows the colours.
        depth_bits: of one stored sample, 1 to 16; up to 8 decoding gives uint8, above that uint16, both over their whole
            range.
        frames: still images have one; above one the number need not be exact.
        orientation: 1 to 8 as in Exif 2.32, tag 0x0112; 1 is upright.
        profile: the ICC profile, unchecked; None where there is none.
        bytes_per_px: memory of decoding a pixel, at most: what the decoder holds and the array that it gives.
        notes: one phrase for each block beside the pixels that cannot be read.
        details: what only the format's own decoder needs.
    """

    width: int
    height: int
    colours: Colours
    alpha: bool
    depth_bits: int
    frames: int = 1
    orientation: int = 1
    profile: bytes | None = None
    bytes_per_px: int = 24
    notes: tuple[str, ...] = ()
    details: Any = None
