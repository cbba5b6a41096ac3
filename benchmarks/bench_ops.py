"""Each op against the fastest well-known way to the same result: torch, OpenCV, Pillow, simplejpeg, kornia.

A peer enters only after its result has been compared with ours (noise: with the same distribution).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pydegrade
from pydegrade import ops

from . import eager, inputs

try:
    import cv2
except ImportError:
    cv2 = None


def pixels(images: torch.Tensor) -> float:
    """Megapixels (positions, not values)."""
    return images.shape[0] * images.shape[-2] * images.shape[-1] / 1e6


def values_gb(*tensors: torch.Tensor) -> float:
    """Gigabytes that must at least move: each tensor once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e9


def interleaved(images: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    """HWC arrays, the layout OpenCV is fastest in."""
    return [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]


def each(function: Callable[[Any], Any], arrays: list[Any]) -> Callable[[], list[Any]]:
    return lambda: [function(array) for array in arrays]


def agree(ours: torch.Tensor, theirs: list[np.ndarray[Any, Any]] | torch.Tensor, tolerance: float) -> None:
    if isinstance(theirs, list):
        theirs = torch.from_numpy(np.stack(theirs)).permute(0, 3, 1, 2)
    assert float((ours - theirs).abs().max()) <= tolerance


@pytest.mark.parametrize("size_px", [7, 13, 21])
def test_blur_dense(compare: Any, size_px: int) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    angles = np.linspace(0.2, 1.2, len(hr)).astype(np.float32)
    kernels = [pydegrade.kernels.gaussian(size_px, 3.0, 1.4, float(angle)).astype(np.float32) for angle in angles]
    tensor = torch.from_numpy(np.stack(kernels))
    arrays = list(zip(interleaved(hr), kernels))
    peers = {"torch": lambda: eager.filter2d(hr, tensor)}
    ours = ops.blur(hr, tensor)
    agree(ours, peers["torch"](), 2e-6)
    if cv2 is not None:
        peers["opencv"] = each(
            lambda pair: cv2.filter2D(pair[0], -1, pair[1], borderType=cv2.BORDER_REFLECT_101), arrays
        )
        agree(ours, peers["opencv"](), 2e-5)  # OpenCV switches to an FFT above 11x11
    flops = 2 * size_px**2 * hr.numel() / 1e9
    compare(lambda: ops.blur(hr, tensor), peers, megapixels=pixels(hr), gigaflops=flops, target=1.5)


@pytest.mark.parametrize(("size_px", "sigma_px"), [(21, 3.0), (51, 8.0)])
def test_blur_isotropic(compare: Any, size_px: int, sigma_px: float) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    line = pydegrade.kernels.gaussian(size_px, sigma_px).sum(0).astype(np.float32)
    horizontal = torch.from_numpy(line).view(1, 1, 1, size_px)
    vertical = horizontal.view(1, 1, size_px, 1)

    def torch_separable() -> torch.Tensor:
        flat = F.pad(hr.view(-1, 1, *hr.shape[-2:]), [size_px // 2] * 4, mode="reflect")
        return F.conv2d(F.conv2d(flat, horizontal), vertical).view(hr.shape)

    def run() -> torch.Tensor:
        return ops.blur(hr, shape="iso", size_px=size_px, sigma_x_px=sigma_px)

    peers: dict[str, Callable[[], Any]] = {"torch": torch_separable}
    agree(run(), torch_separable(), 2e-6)
    if cv2 is not None:
        peers["opencv"] = each(
            lambda image: cv2.sepFilter2D(image, -1, line, line, borderType=cv2.BORDER_REFLECT_101), interleaved(hr)
        )
        agree(run(), peers["opencv"](), 2e-6)
    compare(run, peers, megapixels=pixels(hr), gigaflops=4 * size_px * hr.numel() / 1e9, target=1.5)


def test_sharpen(compare: Any) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    kernel = eager.usm_kernel()
    line = kernel[0].sum(0).numpy()

    def opencv_usm(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        soft = cv2.sepFilter2D(image, -1, line, line, borderType=cv2.BORDER_REFLECT_101)
        residual = image - soft
        mask = (np.abs(residual) * 255 > 10).astype(np.float32)
        mask = cv2.sepFilter2D(mask, -1, line, line, borderType=cv2.BORDER_REFLECT_101)
        return mask * np.clip(image + 0.5 * residual, 0, 1) + (1 - mask) * image

    peers: dict[str, Callable[[], Any]] = {"torch": lambda: eager.usm_sharpen(hr, kernel)}
    # One pixel at the threshold moves the soft mask by at most its largest weight, 0.0025.
    agree(ops.sharpen(hr), eager.usm_sharpen(hr, kernel), 3e-3)
    if cv2 is not None:
        peers["opencv"] = each(opencv_usm, interleaved(hr))
    compare(
        lambda: ops.sharpen(hr),
        peers,
        megapixels=pixels(hr),
        gigaflops=8 * 51 * hr.numel() / 1e9,
        target=1.5,
        seconds=8,
    )


@pytest.mark.parametrize("mode", ["torch_bicubic", "torch_bilinear", "torch_area"])
@pytest.mark.parametrize("factor", [0.5, 0.7, 1.3])
def test_resize(compare: Any, mode: str, factor: float) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    torch_mode = mode.removeprefix("torch_")
    peers: dict[str, Callable[[], Any]] = {"torch": lambda: F.interpolate(hr, scale_factor=factor, mode=torch_mode)}

    def run() -> torch.Tensor:
        return ops.resize(hr, resize_factor=factor, mode=mode)

    ours = run()
    agree(ours, peers["torch"](), 2e-6)
    if cv2 is not None and mode != "torch_area":
        code = {"torch_bicubic": cv2.INTER_CUBIC, "torch_bilinear": cv2.INTER_LINEAR}[mode]
        width, height = ours.shape[-1], ours.shape[-2]
        if hr.shape[-1] * factor == width:  # otherwise OpenCV's coordinates differ
            peers["opencv"] = each(
                lambda image: cv2.resize(image, (width, height), interpolation=code), interleaved(hr)
            )
            agree(ours, peers["opencv"](), 1e-4)
    compare(run, peers, megapixels=pixels(hr), gigabytes=values_gb(hr, ours), target=1.5)


@pytest.mark.parametrize("gray", [0, 1], ids=["colour", "gray"])
def test_noise_gaussian(compare: Any, gray: int) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    sigma = torch.full((len(hr),), 20.0)
    flags = torch.full((len(hr),), float(gray))

    def run() -> torch.Tensor:
        return ops.noise(hr, kind="gaussian", sigma_8bit=20.0, gray=gray)

    peers: dict[str, Callable[[], Any]] = {"torch": lambda: eager.gaussian_noise(hr, sigma, flags)}
    assert abs(float((run() - hr).std() - (peers["torch"]() - hr).std())) < 1e-3
    if cv2 is not None and not gray:
        generator = np.random.default_rng(0)

        def numpy_noise(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.clip(image + generator.standard_normal(image.shape, np.float32) * np.float32(20 / 255), 0, 1)

        peers["numpy"] = each(numpy_noise, interleaved(hr))
    compare(run, peers, megapixels=pixels(hr), gigabytes=values_gb(hr, hr), target=5.0)


@pytest.mark.parametrize("gray", [0, 1], ids=["colour", "gray"])
def test_noise_poisson(compare: Any, gray: int) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    gain, flags = torch.full((len(hr),), 1.5), torch.full((len(hr),), float(gray))

    def run() -> torch.Tensor:
        return ops.noise(hr, kind="poisson", poisson_gain=1.5, gray=gray)

    def theirs() -> torch.Tensor:
        return eager.poisson_noise(hr, gain, flags)

    assert abs(float((run() - hr).std() - (theirs() - hr).std())) < 2e-3
    compare(run, {"torch": theirs}, megapixels=pixels(hr), gigabytes=values_gb(hr, hr), target=10.0, seconds=6.0)


@pytest.mark.parametrize("subsampling", ["420", "444"])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg(compare: Any, subsampling: str, quality: int) -> None:
    """One thread everywhere: codecs of the peers have no other setting."""
    inputs.settle_threads(1)
    hr = inputs.photographs()
    arrays = [np.round(image * 255).astype(np.uint8) for image in interleaved(hr)]
    quantised = (hr * 255).round() / 255

    def run() -> torch.Tensor:
        return ops.jpeg(quantised, quality=quality, subsampling=subsampling)

    from PIL import Image

    def pillow(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "JPEG", quality=quality, subsampling={"420": 2, "444": 0}[subsampling])
        return np.asarray(Image.open(buffer))

    expected = torch.from_numpy(np.stack([pillow(array) for array in arrays])).permute(0, 3, 1, 2)
    assert torch.equal((run() * 255).round().to(torch.uint8), expected)
    peers: dict[str, Callable[[], Any]] = {"pillow": each(pillow, arrays)}
    exact = ["pillow"]
    if cv2 is not None:
        sampling = {"420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}[
            subsampling
        ]
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        peers["opencv"] = each(lambda a: cv2.imdecode(cv2.imencode(".jpg", a, settings)[1], cv2.IMREAD_COLOR), arrays)
        exact.append("opencv")
    # simplejpeg encodes with the fast DCT below quality 96 whatever it is told, so it never has the same result.
    try:
        import simplejpeg
    except ImportError:
        pass
    else:
        for name, fast in (("simplejpeg exact decode", False), ("simplejpeg fast", True)):
            peers[name] = each(
                lambda a, fast=fast: simplejpeg.decode_jpeg(
                    simplejpeg.encode_jpeg(a, quality, colorsubsampling=subsampling, fastdct=fast),
                    fastdct=fast,
                    fastupsample=fast,
                ),
                arrays,
            )
    compare(run, peers, megapixels=pixels(hr), against=tuple(exact), target=3.0 if subsampling == "420" else 1.5)


def test_diffjpeg(compare: Any) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    quality = torch.linspace(30, 95, len(hr))

    def run() -> torch.Tensor:
        return ops.jpeg(hr, quality=quality, mode="diffjpeg_basicsr")

    theirs = eager.diffjpeg(hr, quality)
    # Coefficients at a rounding boundary may flip under float32; each moves its block by at most a few levels.
    assert float(((run() - theirs).abs() > 1e-4).float().mean()) < 2e-3
    compare(run, {"torch": lambda: eager.diffjpeg(hr, quality)}, megapixels=pixels(hr), target=1.5)
