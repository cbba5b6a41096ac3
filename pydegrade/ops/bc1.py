"""BC1: the colours of a compressed texture, blocks of 4 x 4 px between two colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F

from ..errors import OpError
from . import plain
from .declaration import Column, Op

Fit = Literal["off", "box", "diagonal", "refined"]
FITS: tuple[Fit, ...] = ("off", "box", "diagonal", "refined")

# Of the first colour in thirds, by place in a block's palette.
_THIRDS = (3, 0, 2, 1)


def _expanded(colours: torch.Tensor) -> torch.Tensor:
    """Colours [N, 3] of 5, 6, 5 bits -> 8 bits, the high bits repeated below."""
    red, green, blue = colours.unbind(1)
    return torch.stack([red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2], 1)


def _rounded(colours: torch.Tensor) -> torch.Tensor:
    """8-bit colours [N, 3] -> the nearest of 5, 6, 5 bits."""
    tops = torch.tensor([31, 63, 31], device=colours.device)
    return (2 * colours * tops + 255) // 510


def _palette(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """[N, 4, 3] 8-bit colours between two of 5, 6, 5 bits."""
    a, b = _expanded(first), _expanded(second)
    return torch.stack([(share * a + (3 - share) * b) // 3 for share in _THIRDS], 1)


def _nearest(blocks: torch.Tensor, palette: torch.Tensor) -> torch.Tensor:
    """[N, 16]: of every pixel the first of the nearest colours."""
    return (blocks[:, :, None] - palette[:, None]).square().sum(3).argmin(2)


def _refit(blocks: torch.Tensor, chosen: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> tuple[Any, Any]:
    """The two colours that lie best for the places chosen, by least squares; as they were where all places are one."""
    share = torch.tensor(_THIRDS, device=blocks.device)[chosen]  # thirds of the first colour
    other = 3 - share
    aa, bb, ab = ((u * v).sum(1) for u, v in ((share, share), (other, other), (share, other)))
    ax, bx = ((u[:, :, None] * blocks).sum(1) for u in (share, other))
    # 3 x = share a + other b: integers up to the one division.
    determinant = (aa * bb - ab * ab)[:, None]
    solved = [3 * (q[:, None] * x - ab[:, None] * y) for q, x, y in ((bb, ax, bx), (aa, bx, ax))]
    held = determinant.clamp(min=1)
    found = [((2 * value + held) // (2 * held)).clamp(0, 255) for value in solved]
    fine = determinant > 0
    return tuple(torch.where(fine, _rounded(new), old) for new, old in zip(found, (first, second)))  # type: ignore[return-value]


def _coded(blocks: torch.Tensor, fit: str) -> torch.Tensor:
    """Blocks [N, 16, 3] of 8-bit RGB, int64 -> what BC1 leaves of them."""
    low, high = blocks.amin(1), blocks.amax(1)
    inset = (high - low) >> 4
    low, high = low + inset, high - inset
    if fit != "box":
        # Red and blue that fall where green rises: the other diagonal of the box.
        away = 16 * blocks - blocks.sum(1, keepdim=True)
        falls = (away * away[:, :, 1:2]).sum(1) < 0
        low, high = torch.where(falls, high, low), torch.where(falls, low, high)
    first, second = _rounded(high), _rounded(low)
    palette = _palette(first, second)
    chosen = _nearest(blocks, palette)
    if fit == "refined":
        palette = _palette(*_refit(blocks, chosen, first, second))
        chosen = _nearest(blocks, palette)
    return palette.gather(1, chosen[:, :, None].expand(-1, -1, 3))


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if columns["fit"] == "off":
        return image
    if image.shape[0] != 3:
        raise OpError(f"bc1: images must have 3 channels, got {image.shape[0]}")
    height, width = image.shape[1:]
    whole = F.pad(image[None].clamp(0.0, 1.0), (0, -width % 4, 0, -height % 4), "replicate")[0]
    rows, places = whole.shape[1] // 4, whole.shape[2] // 4
    levels = (whole * 255).round().to(torch.int64).reshape(3, rows, 4, places, 4)
    blocks = levels.permute(1, 3, 2, 4, 0).reshape(-1, 16, 3)
    coded = _coded(blocks, columns["fit"]).reshape(rows, places, 4, 4, 3).permute(4, 0, 2, 1, 3)
    made = coded.reshape(3, 4 * rows, 4 * places)[:, :height, :width]
    return made.to(torch.float32) * (1.0 / 255.0)


OP = Op(
    name="bc1",
    columns=(Column("fit", "How the two colours of a block are found.", choices=FITS, neutral="off"),),
    apply=_apply,
    concurrent=True,
    switch="fit",
)


def bc1(images: torch.Tensor, fit: Fit | Sequence[Fit] = "refined") -> torch.Tensor:
    """What BC1 (DXT1, S3TC) leaves of a texture: 4 bits a pixel. No gradient.

    Every block of 4 x 4 px keeps two colours of 5, 6 and 5 bits, c0 and c1, and of each pixel which of c0, c1,
    (2 c0 + c1) / 3 and (c0 + 2 c1) / 3 is nearest, in whole 8-bit levels rounded down. Sides that are no multiples of 4
    are laid out with the last row and column.

    Fits: "box" takes the corners of the block's colours, least and largest of each channel, moved inwards by a 16th
    (van Waveren 2006, Real-Time DXT Compression); "diagonal" the diagonal of that box along which red and blue go with
    green; "refined" moves its ends once by least squares for the places that were chosen.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA; clipped to [0, 1] and rounded to 8 bits.
        fit: "off", "box", "diagonal" or "refined", one or B.
    Returns:
        [B, 3, H, W] float32, multiples of 1/255.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: Khronos Data Format Specification 1.3, section 18.1.
    """
    return plain.run(OP, images, {"fit": fit})
