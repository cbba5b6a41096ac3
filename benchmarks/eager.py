"""The usual pipeline, as SR projects run it today: the released Real-ESRGAN formulas in torch eager ops.

Written from the published definitions (blur by grouped convolution over reflect padding, F.interpolate,
torch.randn and torch.poisson noise with one torch.unique per image, a DiffJPEG of a dozen eager ops, a dense 51x51 USM).
As in the original, what decides an image's size or path is one draw for the whole batch; the rest is per image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from pydegrade import TaskBatch

MODES = {"torch_area": "area", "torch_bilinear": "bilinear", "torch_bicubic": "bicubic"}


def filter2d(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Each image of [B, 3, H, W] with its own kernel of [B, k, k], or all with one of [1, k, k]; reflect borders."""
    size = kernels.shape[-1]
    batch, channels, height, width = images.shape
    padded = F.pad(images, [size // 2] * 4, mode="reflect")
    if kernels.shape[0] == 1:
        flat = padded.reshape(batch * channels, 1, *padded.shape[-2:])
        return F.conv2d(flat, kernels[None]).view(batch, channels, height, width)
    flat = padded.reshape(1, batch * channels, *padded.shape[-2:])
    weight = kernels.repeat_interleave(channels, 0)[:, None]
    return F.conv2d(flat, weight, groups=batch * channels).view(batch, channels, height, width)


def usm_kernel() -> torch.Tensor:
    """The dense 51x51 Gaussian of USMSharp(radius=50): sigma by OpenCV's rule, 8.0."""
    x = torch.arange(51, dtype=torch.float64) - 25
    line = torch.exp(-(x**2) / (2 * 8.0**2))
    line = line / line.sum()
    return (line[:, None] * line[None]).float()[None]


def usm_sharpen(images: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    residual = images - filter2d(images, kernel)
    mask = (residual.abs() * 255 > 10).float()
    soft = filter2d(mask, kernel)
    sharp = torch.clamp(images + 0.5 * residual, 0, 1)
    return soft * sharp + (1 - soft) * images


def gaussian_noise(images: torch.Tensor, sigma_8bit: torch.Tensor, gray: torch.Tensor) -> torch.Tensor:
    batch, _, height, width = images.shape
    sigma = sigma_8bit.view(batch, 1, 1, 1) / 255
    noise = torch.randn_like(images) * sigma
    if float(gray.sum()) > 0:
        noise_gray = torch.randn(height, width, device=images.device).view(1, 1, height, width) * sigma
        flag = gray.view(batch, 1, 1, 1)
        noise = noise * (1 - flag) + noise_gray * flag
    return torch.clamp(images + noise, 0, 1)


def poisson_noise(images: torch.Tensor, gain: torch.Tensor, gray: torch.Tensor) -> torch.Tensor:
    batch = images.shape[0]

    def draw(values: torch.Tensor) -> torch.Tensor:
        values = torch.clamp((values * 255.0).round(), 0, 255) / 255.0
        counts = [len(torch.unique(values[row])) for row in range(batch)]
        powers = [2 ** math.ceil(math.log2(count)) for count in counts]
        levels = torch.tensor(powers, dtype=values.dtype, device=values.device).view(batch, 1, 1, 1)
        return torch.poisson(values * levels) / levels - values

    flag = gray.view(batch, 1, 1, 1)
    noise = draw(images)
    if float(gray.sum()) > 0:
        weights = torch.tensor([0.2989, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
        noise = noise * (1 - flag) + draw((images * weights).sum(1, keepdim=True)).expand_as(images) * flag
    return torch.clamp(images + noise * gain.view(batch, 1, 1, 1), 0, 1)


_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
).T
_CHROMA = np.full((8, 8), 99, np.float32)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


@cache
def _constants(device: torch.device) -> tuple[torch.Tensor, ...]:
    """For the 4-D tensordots of DiffJPEG: forward [8,8,8,8], its scale, inverse, its scale; luma and chroma tables."""
    k = np.arange(8)
    basis = np.cos((2 * k[:, None] + 1) * k[None] * np.pi / 16)
    forward = torch.from_numpy(np.einsum("xu,yv->xyuv", basis, basis)).float()
    alpha = np.array([1 / np.sqrt(2)] + [1] * 7)
    scale = torch.from_numpy(np.outer(alpha, alpha)).float()
    inverse = forward.permute(2, 3, 0, 1).contiguous()
    tensors = (forward, scale * 0.25, inverse, scale, torch.from_numpy(_LUMA.copy()), torch.from_numpy(_CHROMA))
    return tuple(tensor.to(device) for tensor in tensors)


def _blocks(plane: torch.Tensor) -> torch.Tensor:
    batch, height, width = plane.shape
    blocks = plane.view(batch, height // 8, 8, width // 8, 8).permute(0, 1, 3, 2, 4)
    return blocks.reshape(batch, -1, 8, 8)


def _merge(blocks: torch.Tensor, height: int, width: int) -> torch.Tensor:
    batch = blocks.shape[0]
    planes = blocks.view(batch, height // 8, width // 8, 8, 8).permute(0, 1, 3, 2, 4)
    return planes.reshape(batch, height, width)


def _codec(plane: torch.Tensor, table: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    forward, forward_scale, inverse, inverse_scale, _, _ = _constants(plane.device)
    coefficients = forward_scale * torch.tensordot(_blocks(plane) - 128, forward, dims=2)
    step = table * factor.view(-1, 1, 1, 1)
    coefficients = torch.round(coefficients / step) * step
    blocks = 0.25 * torch.tensordot(coefficients * inverse_scale, inverse, dims=2) + 128
    return _merge(blocks, plane.shape[1], plane.shape[2])


def diffjpeg(images: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """DiffJPEG of the released code: float quality, transposed luma table, zero padding to 16, nearest chroma."""
    factor = torch.where(quality < 50, 5000.0 / quality, 200.0 - 2 * quality) / 100.0
    height, width = images.shape[-2:]
    padded = F.pad(torch.clamp(images, 0, 1), (0, -width % 16, 0, -height % 16)) * 255
    r, g, b = padded.unbind(1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb = F.avg_pool2d((-0.168736 * r - 0.331264 * g + 0.5 * b + 128)[:, None], 2)[:, 0]
    cr = F.avg_pool2d((0.5 * r - 0.418688 * g - 0.081312 * b + 128)[:, None], 2)[:, 0]
    luma, chroma = _constants(images.device)[4:]
    y = _codec(y, luma, factor)
    cb, cr = (_codec(plane, chroma, factor).repeat_interleave(2, 1).repeat_interleave(2, 2) - 128 for plane in (cb, cr))
    rgb = torch.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 1)
    return torch.clamp(rgb, 0, 255)[..., :height, :width] / 255


@dataclass(frozen=True)
class EagerBatch:
    """Draws of one batch of the usual pipeline, taken from tasks of ours.

    Attributes:
        tasks: B tasks: per-image draws.
        shared: row of `tasks` whose sizes, modes, kinds and order count for the whole batch.
        kernels: blur1, blur2, sinc as float32 [B, 21, 21], zero-padded as the data workers of the original hand them over.
    """

    tasks: TaskBatch
    shared: int
    kernels: dict[str, torch.Tensor]


def realesrgan_chain(hr: torch.Tensor, batch: EagerBatch, usm: torch.Tensor | None) -> torch.Tensor:
    """HR [B, 3, H, W] -> LR [B, 3, H / 4, W / 4] as the released model does it; `usm` is `usm_kernel()` or None."""
    tasks, row, scale = batch.tasks, batch.shared, batch.tasks.space.scale
    height, width = hr.shape[-2:]

    def per_image(name: str) -> torch.Tensor:
        return torch.from_numpy(tasks.column(name).astype(np.float32)).to(hr.device)

    def shared(name: str) -> float:
        return float(tasks.column(name)[row])

    def mode(slot: str) -> str:
        return MODES[tasks.labels(f"{slot}.mode")[row]]

    def noise(images: torch.Tensor, slot: str) -> torch.Tensor:
        if tasks.labels(f"{slot}.kind")[row] == "gaussian":
            return gaussian_noise(images, per_image(f"{slot}.sigma_8bit").clamp(min=1), per_image(f"{slot}.gray"))
        return poisson_noise(images, per_image(f"{slot}.poisson_gain"), per_image(f"{slot}.gray"))

    out = hr if usm is None else usm_sharpen(hr, usm)
    out = filter2d(out, batch.kernels["blur1"])
    out = F.interpolate(out, scale_factor=shared("resize1.resize_factor"), mode=mode("resize1"))
    out = diffjpeg(noise(out, "noise1"), per_image("jpeg1.quality"))
    if tasks.labels("blur2.shape")[row] != "delta":
        out = filter2d(out, batch.kernels["blur2"])
    factor = shared("resize2.resize_factor")
    size = (int(height / scale * factor), int(width / scale * factor))
    out = noise(F.interpolate(out, size=size, mode=mode("resize2")), "noise2")
    final = (height // scale, width // scale)
    order = [tasks.space.slots[slot].name for slot in tasks.program[row]]
    if order.index("sinc") < order.index("jpeg2"):
        out = filter2d(F.interpolate(out, size=final, mode=mode("resize3")), batch.kernels["sinc"])
        out = diffjpeg(out, per_image("jpeg2.quality"))
    else:
        out = diffjpeg(out, per_image("jpeg2.quality"))
        out = filter2d(F.interpolate(out, size=final, mode=mode("resize3")), batch.kernels["sinc"])
    return torch.clamp((out * 255.0).round(), 0, 255) / 255.0
