"""Running a network on whole images: tiles whose seams cannot be seen, and images with alpha, gray or 16 bits.

Shapes: image [1, C, H, W] -> [1, C', sH, sW], s the network's `scale`; arrays [H, W] or [H, W, 1 to 4].

Tiles overlap. In the zone that two tiles share, each tile's outer 3/8 counts nothing, so that what a tile cannot know
about its surroundings stays unseen, and in the 1/4 between them one tile fades into the other. A network whose
receptive field reaches at most 3/8 of the overlap gives the untiled result to float rounding; deeper ones (RRDBNet,
SwinIR) differ by what little their outermost pixels contribute. RCAN averages over its whole input: there every tile
has its own mean, and tiling changes the result slightly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..nets import channels_of
from .patches import upscale_patches

# How far from a tile's inner edge its pixels begin to count, as a part of the overlap.
MARGIN = 3 / 8


class NotFiniteError(DataError):
    """A network's result that no image can hold."""


def check_finite(image: Tensor) -> None:
    """NotFiniteError where a result holds NaN or infinity: as pixels it would be black or white without a word."""
    if not torch.isfinite(image).all():
        raise NotFiniteError("the network's result is not finite (NaN or infinity)")


def tile_spans(size_px: int, tile_px: int, overlap_px: int, multiple_px: int = 1) -> list[tuple[int, int]]:
    """Where tiles begin and end along one side, evenly spread.

    Args:
        size_px: the side's length.
        tile_px: the largest tile, rounded up to `multiple_px`.
        overlap_px: what neighbours share at least.
        multiple_px: every tile begins at a multiple of this and, but for the last, has such a length.
    Returns:
        [(begin, end), ...] covering [0, size_px) in order; one span when the side fits into a tile.
    """
    tile_px = -(-tile_px // multiple_px) * multiple_px
    if size_px <= tile_px:
        return [(0, size_px)]
    # Rounding a begin down may shorten an overlap by less than one multiple: plan for it.
    step_px = tile_px - (-(-overlap_px // multiple_px) * multiple_px)
    cells = -(-(size_px - tile_px) // multiple_px)
    count = -(-cells * multiple_px // step_px) + 1
    begins = [(cells * number // (count - 1)) * multiple_px for number in range(count)]
    return [(begin, min(begin + tile_px, size_px)) for begin in begins]


def blend_weights(spans: list[tuple[int, int]], overlap_px: int, scale: int) -> list[Tensor]:
    """Weights of each span's output pixels, float32 [s (end - begin)]; over all spans they sum to 1 at every pixel."""
    weights = []
    for number, (begin, end) in enumerate(spans):
        # Distance from the inner edges in output pixels, centre of the pixel; outer edges of the image do not fade.
        length = (end - begin) * scale
        position = torch.arange(length, dtype=torch.float64) + 0.5
        distance = torch.full((length,), float("inf"), dtype=torch.float64)
        if number > 0:
            distance = torch.minimum(distance, position)
        if number < len(spans) - 1:
            distance = torch.minimum(distance, length - position)
        ramp_px = max(overlap_px * scale * (1 - 2 * MARGIN), 1.0)
        weights.append(((distance - overlap_px * scale * MARGIN) / ramp_px).clamp(0, 1))

    # Divide by the sum, so that spans that share more than the overlap blend as well.
    total = torch.zeros(spans[-1][1] * scale, dtype=torch.float64)
    for (begin, end), weight in zip(spans, weights):
        total[begin * scale : end * scale] += weight
    return [(weight / total[begin * scale : end * scale]).float() for (begin, end), weight in zip(spans, weights)]


@torch.no_grad()
def upscale(
    net: nn.Module,
    image: Tensor,
    tile_px: int | None = None,
    overlap_px: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Run a network on one image, whole or in overlapping tiles.

    Args:
        net: with an integer attribute `scale`, and `multiple_px` where it works in cells (SwinIR's windows). Its mode
            and device are left as they are. A network of one input size has `patch_px` (IPT); it always runs in patches
            by the rule of `pytrain.evaluation.patches`, whatever the tile.
        image: [1, C, H, W] float in [0, 1], any size of at least one pixel, any device.
        tile_px: side of a tile in input pixels; None runs the image whole. 0 is an error.
        overlap_px: what neighbouring tiles share, in input pixels; below `tile_px`.
        progress: called with (tiles done, tiles in all) after each tile.
    Returns:
        [1, C', sH, sW] float32 on the image's device, not clipped.
    Raises:
        ConfigError: another shape, or a tile that is not larger than the overlap.
    """
    if image.ndim != 4 or image.shape[0] != 1 or min(image.shape[-2:]) < 1:
        raise ConfigError(f"upscale: image must be [1, C, H, W], got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ConfigError(f"upscale: image must be a float tensor in [0, 1], got {image.dtype}")
    if isinstance(getattr(net, "patch_px", None), int):
        return upscale_patches(net, image, progress=progress)
    # A network that adapts to an image does so once, not once per tile.
    for_image: Callable[[Tensor], nn.Module] | None = getattr(net, "for_image", None)
    net = for_image(image) if for_image else net
    scale, multiple_px = _scale(net), int(getattr(net, "multiple_px", 1))
    height, width = image.shape[-2:]
    if tile_px is None:
        tile_px = max(height, width)
    elif overlap_px < 0 or tile_px - (-(-overlap_px // multiple_px) * multiple_px) < multiple_px:
        cells = f" by at least {multiple_px} px" if multiple_px > 1 else ""
        raise ConfigError(f"upscale: tile_px must be above overlap_px {overlap_px}{cells}, got {tile_px}")

    rows = tile_spans(height, tile_px, overlap_px, multiple_px)
    columns = tile_spans(width, tile_px, overlap_px, multiple_px)
    if len(rows) == len(columns) == 1:
        out = _run(net, image)
        if progress:
            progress(1, 1)
        return out.float().to(image.device)

    # Add up the tiles, each times its share of every pixel.
    total: Tensor | None = None
    row_weights = blend_weights(rows, overlap_px, scale)
    column_weights = blend_weights(columns, overlap_px, scale)
    for row, (top, bottom) in enumerate(rows):
        for column, (left, right) in enumerate(columns):
            tile = _run(net, image[..., top:bottom, left:right]).float().to(image.device)
            share = row_weights[row][:, None] * column_weights[column][None, :]
            if total is None:
                total = torch.zeros(1, tile.shape[1], height * scale, width * scale, device=image.device)
            place = total[..., top * scale : bottom * scale, left * scale : right * scale]
            place += tile * share.to(image.device)
            if progress:
                progress(row * len(columns) + column + 1, len(rows) * len(columns))
    assert total is not None
    return total


def _scale(net: nn.Module) -> int:
    scale = getattr(net, "scale", None)
    if not isinstance(scale, int) or scale < 1:
        raise ConfigError(f"upscale: net must have an integer attribute scale, got {scale!r}")
    return scale


def _run(net: nn.Module, tile: Tensor) -> Tensor:
    """One forward pass on the network's own device."""
    parameter = next(net.parameters(), None)
    out: Tensor = net(tile if parameter is None else tile.to(parameter.device))
    return out


def upscale_array(
    net: nn.Module,
    array: NDArray[Any],
    tile_px: int | None = None,
    overlap_px: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[Any]:
    """Run a network on an image array, keeping the array's type and its channels.

    Args:
        net: takes and gives 3 channels, or 1 or 4 as its `in_channels` says; see `upscale`.
        array: [H, W], [H, W, 1] gray; [H, W, 2] gray and alpha; [H, W, 3] RGB; [H, W, 4] RGB and alpha. uint8, uint16
            or float in [0, 1].
        tile_px, overlap_px, progress: see `upscale`; the progress of alpha comes as a second run.
    Returns:
        [sH, sW, the same channels] of the same type, clipped and, for integers, rounded half up. An RGB network runs gray
        as three equal channels, whose mean is taken, and alpha like a gray image, unless it is constant. A gray network
        runs every channel by itself. A network of four channels runs colours and alpha together; what has no alpha is
        opaque for it.
    Raises:
        ConfigError: another shape or type.
        NotFiniteError: the network gave NaN or infinity.
    """
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if channels not in (1, 2, 3, 4):
        raise ConfigError(f"upscale_array: array must be [H, W] or [H, W, 1 to 4], got shape {array.shape}")
    peak = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0, "float64": 1.0, "float16": 1.0}.get(array.dtype.name)
    if peak is None:
        raise ConfigError(f"upscale_array: array must be uint8, uint16 or float, got {array.dtype}")
    planes = torch.from_numpy(np.ascontiguousarray(array.reshape(*array.shape[:2], channels), dtype=np.float32))
    planes = (planes / peak).permute(2, 0, 1)[None]

    own_channels = channels_of(net)
    if own_channels not in (1, 3, 4):
        raise ConfigError(f"upscale_array: net must take 1, 3 or 4 channels, got {own_channels}")

    def run(image: Tensor) -> Tensor:
        if own_channels == 1:
            planes_out = [upscale(net, plane, tile_px, overlap_px, progress) for plane in image.split(1, 1)]
            return torch.cat(planes_out, 1)
        out = upscale(net, image.expand(1, 3, -1, -1).contiguous(), tile_px, overlap_px, progress)
        return out if image.shape[1] == 3 else out.mean(1, keepdim=True)

    num_colours = 3 if channels >= 3 else 1
    colours, alpha = planes[:, :num_colours], planes[:, num_colours:]
    if own_channels == 4:
        opaque = alpha if alpha.shape[1] else torch.ones_like(planes[:, :1])
        together = torch.cat([colours.expand(1, 3, -1, -1), opaque], 1)
        out = upscale(net, together, tile_px, overlap_px, progress)
        results = [out[:, :3] if num_colours == 3 else out[:, :3].mean(1, keepdim=True), out[:, 3 : 3 + alpha.shape[1]]]
    else:
        results = [run(colours)]
        if alpha.shape[1] and bool((alpha == alpha[0, 0, 0, 0]).all()):
            results.append(alpha[..., :1, :1].expand(1, 1, *results[0].shape[-2:]))
        elif alpha.shape[1]:
            results.append(run(alpha))

    # Back to the array's type.
    # The result is the largest there is: its copies are made in place.
    whole = torch.cat(results, 1)[0] if len(results) > 1 else results[0][0]
    del results
    check_finite(whole)
    out = whole.clamp(0, 1)
    del whole
    if array.dtype.kind == "u":
        out.mul_(peak).add_(0.5).floor_()
    result = out.permute(1, 2, 0).numpy().astype(array.dtype)
    return result[..., 0] if array.ndim == 2 else result
