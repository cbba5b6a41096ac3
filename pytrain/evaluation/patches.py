"""Running a network that knows one input size on whole images, by overlapping patches as IPT's release does.

The release's rule, for patches of P px at every P/4 px: a patch gives its central half, and where central halves
overlap they are averaged; along the image's edge the outermost patch gives its outer quarter too; what remains at the
bottom and the right, less than P/4 px, comes from patches that end at the edge and take over halfway. The rule acts on
rows and columns one after the other, so the weight of a patch at a pixel is a product, and every patch need run only
once. The one exception is kept: the release fills columns P/4 .. P - 1 of the first P/4 rows from the corner patch alone.

Shapes: image [1, C, H, W] -> [1, C', sH, sW]; patches [T, C, P, P] -> [T, C', sP, sP].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import ConfigError


def patch_weights(size_px: int, patch_px: int, stride_px: int, scale: int) -> tuple[list[int], Tensor]:
    """Where patches begin along one side, and how much each counts at every output position.

    Args:
        size_px: the side's length, at least `patch_px`.
        patch_px: a patch's side P, a multiple of 4.
        stride_px: distance of patches, at most P/2 so that central halves leave no gap.
        scale: the network's.
    Returns:
        Begins [T] in input px, and float32 [T, s size_px], which sums to 1 over the patches at every position.
    """
    quarter = patch_px // 4
    left_over = (size_px - patch_px) % stride_px
    whole = size_px - left_over
    last_from = last_patch_from(size_px, patch_px, stride_px, scale)
    begins = list(range(0, whole - patch_px + 1, stride_px))
    weights = torch.zeros(len(begins) + (left_over > 0), size_px * scale)

    # Central halves, averaged; the outer quarters of the first and the last patch.
    for number, begin in enumerate(begins):
        weights[number, (begin + quarter) * scale : (begin + patch_px - quarter) * scale] = 1
    weights[0, : quarter * scale] = 1
    weights[len(begins) - 1, (whole - quarter) * scale : whole * scale] = 1
    weights /= weights.sum(0).clamp(min=1)

    # The patch that ends at the edge takes over in the middle of what it shares with the others.
    if left_over:
        weights[:-1, last_from:] = 0
        weights[-1, last_from:] = 1
        begins.append(size_px - patch_px)
    return begins, weights


def last_patch_from(size_px: int, patch_px: int, stride_px: int, scale: int) -> int:
    """First output position along one side that comes from the patch that ends at the image's edge: half of what that
    patch shares with the others is before it."""
    left_over = (size_px - patch_px) % stride_px
    return (size_px - left_over) * scale - (patch_px - left_over) * scale // 2


@torch.no_grad()
def upscale_patches(
    net: nn.Module,
    image: Tensor,
    stride_px: int | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Run a network of one input size on one image.

    Args:
        net: with integer attributes `scale` and `patch_px`, called with [T, C, P, P]; P a multiple of 4. For an IPT of
            several tasks `net.one_task(name)`. Its mode and device are left as they are.
        image: [1, C, H, W] float in [0, 1], sides of at least P px, any device.
        stride_px: distance of patches; None is the release's P/4. P/2 needs a quarter of the patches, averages nothing
            and gives other pixels.
        batch_size: patches per forward pass; the release's is 64.
        progress: called with (patches done, patches in all) after each forward pass.
    Returns:
        [1, C', sH, sW] float32 on the image's device, not clipped. Equal to the release's rule up to float32 rounding of
        sums of four values.
    Raises:
        ConfigError: another shape, an image smaller than a patch, or a stride that leaves gaps.
    """
    scale, patch_px = int(net.scale), int(net.patch_px)  # type: ignore[arg-type]
    stride_px = patch_px // 4 if stride_px is None else stride_px
    if image.ndim != 4 or image.shape[0] != 1 or not image.is_floating_point():
        raise ConfigError(f"upscale: image must be float [1, C, H, W], got {image.dtype} {tuple(image.shape)}")
    height, width = image.shape[-2:]
    if min(height, width) < patch_px:
        raise ConfigError(
            f"upscale: image must be at least {patch_px}x{patch_px} px, the network's patch, got {height}x{width}"
        )
    if patch_px % 4 or not 1 <= stride_px <= patch_px // 2:
        raise ConfigError(
            f"upscale: stride_px must be in 1..{patch_px // 2} for patches of {patch_px}, got {stride_px}"
        )
    if batch_size < 1:
        raise ConfigError(f"upscale: batch_size must be at least 1, got {batch_size}")
    device = next((parameter.device for parameter in net.parameters()), image.device)
    tops, row_weights = patch_weights(height, patch_px, stride_px, scale)
    lefts, column_weights = patch_weights(width, patch_px, stride_px, scale)
    places = [(row, column) for row in range(len(tops)) for column in range(len(lefts))]

    # Each patch once; add it up times its share of every pixel.
    total: Tensor | None = None
    corner: Tensor | None = None
    side = patch_px * scale
    for begin in range(0, len(places), batch_size):
        chosen = places[begin : begin + batch_size]
        cut = [image[0, :, tops[r] : tops[r] + patch_px, lefts[c] : lefts[c] + patch_px] for r, c in chosen]
        out = net(torch.stack(cut).to(device)).float().to(image.device)
        if total is None:
            total = torch.zeros(1, out.shape[1], height * scale, width * scale, device=image.device)
            corner = out[0]
        for patch, (row, column) in zip(out, chosen):
            top, left = tops[row] * scale, lefts[column] * scale
            share = torch.outer(row_weights[row, top : top + side], column_weights[column, left : left + side])
            total[0, :, top : top + side, left : left + side] += patch * share.to(image.device)
        if progress:
            progress(min(begin + batch_size, len(places)), len(places))
    assert total is not None
    assert corner is not None

    # The release's exception, as far as patches at the right edge have not taken over.
    if stride_px == patch_px // 4:
        rows = patch_px // 4 * scale
        end = min(side, last_patch_from(width, patch_px, stride_px, scale))
        total[0, :, :rows, rows:end] = corner[:, :rows, rows:end]
    return total
