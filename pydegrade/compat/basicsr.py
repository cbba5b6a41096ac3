"""BasicSR and Real-ESRGAN: their degradation functions, layers, dataset and `feed_data`.

    import pydegrade.compat.basicsr as ours
    RealESRGANModel.feed_data = ours.feed_data                          # and RealESRNetModel's
    RealESRGANDataset.__getitem__ = ours.RealESRGANDataset.__getitem__  # without kernels that nobody reads

Random numbers are the package's own, a function of torch's seed and a counter that workers, epochs and ranks share no
number of; they do not follow `random.seed` and NumPy's global generator.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..errors import OptionsError, shown
from ..files.dataset import decode, find_images
from ..files.lmdb_reader import key_of
from ..files.paths import path_inside, read_lines
from ..files.read import read_rgb8
from ..loading.forms import as_batch
from ..loading.numbers import SampleNumbers
from ..native import rng
from ..ops import blur, jpeg, kernels, noise, sharpen
from .feeding import degraded_batch

CROP_PX = 400
"""Side of what Real-ESRGAN's dataset gives; fixed in its code."""

_numbers = SampleNumbers(None)


def _drawn(*names: str) -> list[float]:
    """Uniform numbers in [0, 1) of the next sample number."""
    numbers = _numbers.next(1)
    return rng.uniforms(numbers.seed, numbers.indices, [(f"basicsr.{name}", 0) for name in names])[0].tolist()


def _between(limits: Sequence[float], u: float) -> float:
    return float(limits[0]) + (float(limits[1]) - float(limits[0])) * u


# ---- feed_data


@torch.no_grad()
def feed_data(self: Any, data: dict[str, Any]) -> None:
    """Sets self.gt, self.lq and, for RealESRGANModel, self.gt_usm of a batch: crops of the option gt_size, gt_usm sharpened
    from the crop. Kernels of the dataset are not used, and no pool mixes batches.

    Args:
        self: a RealESRGANModel or a RealESRNetModel (which has the option gt_usm: then gt is the sharpened image).
        data: "gt" float [B, 3, H, W] in [0, 1]; outside of training "lq" and perhaps "gt".
    """
    net = "gt_usm" in self.opt and "l1_gt_usm" not in self.opt
    if self.is_train and self.opt.get("high_order_degradation", True):
        made = degraded_batch(self, "realesrgan", data["gt"].to(self.device))
        self.lq = made.lr
        self.gt = made.target if net else made.hr
        if not net:
            self.gt_usm = sharpen(made.hr)
        return
    self.lq = data["lq"].to(self.device)
    if "gt" in data:
        self.gt = data["gt"].to(self.device)
        self.gt_usm = sharpen(self.gt)


# ---- layers


def filter2D(img: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Each image filtered by its kernel, mirrored at the borders.

    Args:
        img: float32 [B, C, H, W].
        kernel: [B, k, k], or [1, k, k] for all images; k odd, at most 51.
    """
    if not isinstance(kernel, torch.Tensor) or kernel.dim() not in (2, 3):
        raise TypeError(f"filter2D: kernel must be a tensor [B, k, k], got {shown(kernel)}")
    weights = kernel.detach().cpu()
    return blur(img, weights[0] if len(weights) == 1 else weights)


class USMSharp(torch.nn.Module):
    """Unsharp masking of batches, `pydegrade.ops.sharpen`; `sigma` must be 0, OpenCV's rule."""

    def __init__(self, radius: int = 50, sigma: float = 0) -> None:
        super().__init__()
        if sigma:
            raise OptionsError(f"USMSharp: sigma must be 0 (by OpenCV's rule), got {shown(sigma)}")
        self.radius = radius + (radius % 2 == 0)

    def forward(self, img: torch.Tensor, weight: float = 0.5, threshold: float = 10) -> torch.Tensor:
        """float32 [B, C, H, W] in [0, 1] -> the same, sharpened."""
        return sharpen(img, weight, self.radius, threshold)


class DiffJPEG(torch.nn.Module):
    """The approximation of JPEG, `pydegrade.ops.jpeg(mode="diffjpeg_basicsr")`; `quality` is never written to.

    Args:
        differentiable: round coefficients by x + (x - round x)^3, which has a gradient, instead of to the nearest.
        mode: other modes of `pydegrade.ops.jpeg`: "libjpeg" gives the pixels of real files.
    """

    def __init__(self, differentiable: bool = True, mode: Any = "diffjpeg_basicsr") -> None:
        super().__init__()
        self.differentiable, self.mode = differentiable, mode

    def forward(self, x: torch.Tensor, quality: Any) -> torch.Tensor:
        """float32 [B, 3, H, W] in [0, 1] -> the same, compressed by a quality in [1, 100] or one per image."""
        values = quality.detach() if isinstance(quality, torch.Tensor) else torch.as_tensor(quality)
        if self.mode == "libjpeg":
            values = values.float().round()
        return jpeg(x, values, self.mode, rounding="cubic" if self.differentiable else "straight_through")


def usm_sharp(img: NDArray[np.float32], weight: float = 0.5, radius: int = 50, threshold: float = 10) -> NDArray[Any]:
    """`USMSharp` of one array [H, W, C] in [0, 1]."""
    batch, form = as_batch("usm_sharp", img)
    out: NDArray[Any] = form.of(sharpen(batch, weight, radius, threshold))
    return out


# ---- kernels


def circular_lowpass_kernel(cutoff: float, kernel_size: int, pad_to: int = 0) -> NDArray[np.float64]:
    """A sinc kernel [k, k], or padded by zeros to [pad_to, pad_to]."""
    kernel = kernels.sinc(kernel_size, cutoff)
    return np.pad(kernel, (pad_to - kernel_size) // 2) if pad_to > kernel_size else kernel


def random_mixed_kernels(
    kernel_list: Sequence[str],
    kernel_prob: Sequence[float],
    kernel_size: int = 21,
    sigma_x_range: Sequence[float] = (0.6, 5),
    sigma_y_range: Sequence[float] = (0.6, 5),
    rotation_range: Sequence[float] = (-math.pi, math.pi),
    betag_range: Sequence[float] = (0.5, 8),
    betap_range: Sequence[float] = (0.5, 8),
    noise_range: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """A random kernel [k, k] of one of the families iso, aniso, generalized_iso, ..., plateau_aniso, with sum 1.

    Args:
        kernel_list, kernel_prob: families and their weights.
        kernel_size: odd, 1 to 51.
        betag_range, betap_range: of generalized and plateau kernels; half of the draws lie below 1.
        noise_range: factors on the values of all but plateau kernels.
    """
    chosen, u_x, u_y, u_angle, half, u_beta = _drawn("kernel", "sigma_x", "sigma_y", "angle", "half", "beta")
    lists = all(isinstance(given, (Sequence, np.ndarray)) for given in (kernel_list, kernel_prob))
    if not lists or not 0 < len(kernel_list) == len(kernel_prob):
        raise OptionsError(
            "random_mixed_kernels: kernel_list and kernel_prob must be lists of one length, got "
            f"{shown(kernel_list)} and {shown(kernel_prob)}"
        )
    edges = np.cumsum(kernel_prob)
    kind = kernel_list[min(int(np.searchsorted(edges / edges[-1], chosen, side="right")), len(kernel_list) - 1)]
    family, _, turned = kind.rpartition("_") if "_" in kind else ("gaussian", "", kind)
    if family not in ("gaussian", "generalized", "plateau") or turned not in ("iso", "aniso"):
        raise OptionsError(f"random_mixed_kernels: unknown kernel {shown(kind)}")
    sigma_x = _between(sigma_x_range, u_x)
    axes: tuple[Any, ...] = (sigma_x,)
    if turned == "aniso":
        axes = (sigma_x, _between(sigma_y_range, u_y), _between(rotation_range, u_angle))
    if family == "gaussian":
        kernel = kernels.gaussian(kernel_size, *axes)
    else:
        limits = betag_range if family == "generalized" else betap_range
        beta = _between((limits[0], 1), u_beta) if half < 0.5 else _between((1, limits[1]), u_beta)
        kernel = getattr(kernels, family)(kernel_size, *axes, beta=beta)
    if noise_range is not None and family != "plateau":
        numbers = _numbers.next(1)
        count = kernel.size
        factors = rng.uniforms(numbers.seed, numbers.indices, [("basicsr.factor", draw) for draw in range(count)])
        kernel = kernel * _values_between(noise_range, factors.reshape(kernel.shape))
    return kernel / kernel.sum()


def _values_between(limits: Sequence[float], u: NDArray[np.float64]) -> NDArray[np.float64]:
    return float(limits[0]) + (float(limits[1]) - float(limits[0])) * u


# ---- noise


def _noisy(img: Any, kind: Any, amount: Any, gray: Any, clip: bool, rounds: bool, where: str) -> Any:
    """Noise of the next sample numbers, one per image."""
    if not clip:
        raise OptionsError(f"{where}: clip must be True")
    batch, form = as_batch(where, img)
    numbers = _numbers.next(len(batch))
    amounts = {"sigma_8bit": amount} if kind == "gaussian" else {"poisson_gain": amount}
    out = noise(batch, kind, gray=gray, seed=numbers.seed, index=numbers.indices, **amounts)
    return form.of(out.mul(255).round().div(255) if rounds else out)


def _random(img: Any, limits: Sequence[float], gray_prob: float, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """An amount and a gray flag for each image."""
    count = len(img) if isinstance(img, torch.Tensor) and img.dim() == 4 else 1
    numbers = _numbers.next(count)
    u = rng.uniforms(numbers.seed, numbers.indices, [(f"basicsr.{name}", 0), (f"basicsr.{name}.gray", 0)])
    return _values_between(limits, u[:, 0]), (u[:, 1] < gray_prob).astype(np.int32)


def add_gaussian_noise_pt(
    img: torch.Tensor, sigma: Any = 10, gray_noise: Any = 0, clip: bool = True, rounds: bool = False
) -> torch.Tensor:
    """[B, 3, H, W] with Gaussian noise of `sigma` 8-bit levels, a number or [B], clipped to [0, 1]."""
    out: torch.Tensor = _noisy(img, "gaussian", sigma, gray_noise, clip, rounds, "add_gaussian_noise_pt")
    return out


def random_add_gaussian_noise_pt(
    img: torch.Tensor,
    sigma_range: Sequence[float] = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
) -> torch.Tensor:
    """[B, 3, H, W] with Gaussian noise, each image of its own sigma in 8-bit levels, clipped to [0, 1]."""
    amount, gray = _random(img, sigma_range, gray_prob, "gaussian")
    out: torch.Tensor = _noisy(img, "gaussian", amount, gray, clip, rounds, "random_add_gaussian_noise_pt")
    return out


def add_poisson_noise_pt(
    img: torch.Tensor, scale: Any = 1.0, clip: bool = True, rounds: bool = False, gray_noise: Any = 0
) -> torch.Tensor:
    """[B, 3, H, W] with Poisson noise times `scale`, a number or [B], clipped to [0, 1]."""
    out: torch.Tensor = _noisy(img, "poisson", scale, gray_noise, clip, rounds, "add_poisson_noise_pt")
    return out


def random_add_poisson_noise_pt(
    img: torch.Tensor,
    scale_range: Sequence[float] = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
) -> torch.Tensor:
    """[B, 3, H, W] with Poisson noise, each image of its own scale, clipped to [0, 1]."""
    amount, gray = _random(img, scale_range, gray_prob, "poisson")
    out: torch.Tensor = _noisy(img, "poisson", amount, gray, clip, rounds, "random_add_poisson_noise_pt")
    return out


def add_gaussian_noise(
    img: NDArray[Any], sigma: float = 10, clip: bool = True, rounds: bool = False, gray_noise: bool = False
) -> NDArray[Any]:
    """An array [H, W, 3] in [0, 1] with Gaussian noise of `sigma` 8-bit levels, clipped to [0, 1]."""
    out: NDArray[Any] = _noisy(img, "gaussian", sigma, gray_noise, clip, rounds, "add_gaussian_noise")
    return out


def random_add_gaussian_noise(
    img: NDArray[Any],
    sigma_range: Sequence[float] = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
) -> NDArray[Any]:
    """An array [H, W, 3] in [0, 1] with Gaussian noise of a random sigma in 8-bit levels."""
    amount, gray = _random(img, sigma_range, gray_prob, "gaussian")
    out: NDArray[Any] = _noisy(img, "gaussian", amount, gray, clip, rounds, "random_add_gaussian_noise")
    return out


def add_poisson_noise(
    img: NDArray[Any], scale: float = 1.0, clip: bool = True, rounds: bool = False, gray_noise: bool = False
) -> NDArray[Any]:
    """An array [H, W, 3] in [0, 1] with Poisson noise times `scale`, clipped to [0, 1]."""
    out: NDArray[Any] = _noisy(img, "poisson", scale, gray_noise, clip, rounds, "add_poisson_noise")
    return out


def random_add_poisson_noise(
    img: NDArray[Any],
    scale_range: Sequence[float] = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
) -> NDArray[Any]:
    """An array [H, W, 3] in [0, 1] with Poisson noise of a random scale."""
    amount, gray = _random(img, scale_range, gray_prob, "poisson")
    out: NDArray[Any] = _noisy(img, "poisson", amount, gray, clip, rounds, "random_add_poisson_noise")
    return out


def add_jpg_compression(img: NDArray[Any], quality: float = 90) -> NDArray[np.float32]:
    """An array [H, W, 3] in [0, 1], in OpenCV's order of channels, after JPEG: libjpeg-turbo's pixels."""
    batch, form = as_batch("add_jpg_compression", img)
    if not isinstance(quality, (int, float, np.number)) or not math.isfinite(quality):
        raise TypeError(f"add_jpg_compression: quality must be a number in [1, 100], got {shown(quality)}")
    out: NDArray[Any] = form.of(jpeg(batch.clamp(0, 1).flip(1), float(round(quality))).flip(1))
    return out.astype(np.float32)


def random_add_jpg_compression(img: NDArray[Any], quality_range: Sequence[float] = (90, 100)) -> NDArray[np.float32]:
    """`add_jpg_compression` at a random quality."""
    return add_jpg_compression(img, _between(quality_range, _drawn("quality")[0]))


# ---- dataset


class RealESRGANDataset(Dataset[dict[str, Any]]):
    """Real-ESRGAN's dataset without its kernels: {"gt": float32 [3, 400, 400], "gt_path"}.

    Images are mirrored and turned by the options use_hflip and use_rot, cut to 400 px at a random place, or mirrored at the
    bottom and the right up to that.

    Args:
        opt: dataroot_gt, io_backend.type ("disk" or "lmdb"), meta_info, use_hflip, use_rot; the others are not read.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__()
        self.opt = opt
        self.gt_folder = opt["dataroot_gt"]
        lmdb = opt.get("io_backend", {}).get("type", "disk") == "lmdb"
        if not lmdb and opt.get("meta_info"):
            names = [line.split(" ")[0] for line in read_lines(opt["meta_info"])]
            self.paths = [str(path_inside(Path(self.gt_folder), name)) for name in names if name]
        else:
            found = find_images([self.gt_folder])
            self.paths = [image.key if image.key else str(image.path) for image in found.images]
        if not self.paths:
            raise OptionsError(f"meta_info: {shown(str(opt.get('meta_info')))} lists no image")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        flip, down, turn, u_top, u_left = _drawn("hflip", "vflip", "rot", "top", "left")
        image = _whole(self, path)
        if self.opt.get("use_hflip", True) and flip < 0.5:
            image = image[:, ::-1]
        if self.opt.get("use_rot", False):
            image = image[::-1] if down < 0.5 else image
            image = image.transpose(1, 0, 2) if turn < 0.5 else image
        height, width = image.shape[:2]
        missing = ((0, max(0, CROP_PX - height)), (0, max(0, CROP_PX - width)), (0, 0))
        image = np.pad(image, missing, mode="reflect")
        height, width = image.shape[:2]
        top, left = int(u_top * (height - CROP_PX + 1)), int(u_left * (width - CROP_PX + 1))
        square = np.ascontiguousarray(image[top : top + CROP_PX, left : left + CROP_PX].transpose(2, 0, 1))
        return {"gt": torch.from_numpy(square) / 255, "gt_path": path}


def _whole(dataset: Any, path: str) -> NDArray[np.uint8]:
    """A whole image, uint8 [H, W, 3] RGB, by its path or its key in the LMDB of the dataset's folder."""
    if not os.fspath(dataset.gt_folder).endswith(".lmdb"):
        return read_rgb8(path).array
    kept = dataset.__dict__.get("_pydegrade")
    if kept is None or kept[0] != os.getpid():  # an LMDB that was opened before a fork must not be read after it
        images = {image.key: image for image in find_images([dataset.gt_folder]).images}
        kept = dataset.__dict__["_pydegrade"] = os.getpid(), images
    return decode(kept[1][key_of(path)]).array
