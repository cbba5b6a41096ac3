"""Each op against every well-known way to the same result, B=12 of 3x400x400.

A peer is timed only after its result has been compared with ours (noise: the same distribution). Libraries that work on one
image get as many Python threads as ours has, one image each. What differs by design is timed for orientation and marked.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pydegrade
from pydegrade import ops

from . import eager, floors, inputs, peers, stitched
from .peers import Agreement, Array, Peer, each, interleaved

SUMS = "float32 sums in another order"


def pixels(images: torch.Tensor) -> float:
    """Megapixels (positions, not values)."""
    return images.shape[0] * images.shape[-2] * images.shape[-1] / 1e6


def values_gb(*tensors: torch.Tensor) -> float:
    """Gigabytes that must at least move: each tensor once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e9


# ---- blur


@pytest.mark.parametrize("size_px", [7, 13, 21])
def test_blur_dense(compare: Any, size_px: int) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    angles = np.linspace(0.2, 1.2, len(hr)).astype(np.float32)
    kernels = [pydegrade.kernels.gaussian(size_px, 3.0, 1.4, float(angle)).astype(np.float32) for angle in angles]
    tensor = torch.from_numpy(np.stack(kernels))
    exact = peers.values(2e-6, SUMS)
    contenders = [Peer("torch eager", lambda: eager.filter2d(hr, tensor), exact)]

    if cv2 := peers.module("opencv"):
        run = each(
            lambda pair: cv2.filter2D(pair[0], -1, pair[1], borderType=cv2.BORDER_REFLECT_101),
            list(zip(interleaved(hr), kernels)),
            inputs.THREADS,
        )
        contenders.append(Peer("opencv", run, peers.values(2e-5, "filter2D uses a float32 FFT above 11x11")))
    if kornia := peers.module("kornia"):
        contenders.append(Peer("kornia", lambda: kornia.filters.filter2d(hr, tensor, border_type="reflect"), exact))
    if peers.module("basicsr"):
        from basicsr.utils.img_process_util import filter2D

        contenders.append(Peer("basicsr", lambda: filter2D(hr, tensor), exact))
    flops = 2 * size_px**2 * hr.numel() / 1e9
    compare(
        lambda: ops.blur(hr, tensor),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        gigaflops=flops,
        target=1.5,
    )


@pytest.mark.parametrize(("size_px", "sigma_px"), [(21, 3.0), (51, 8.0)])
def test_blur_isotropic(compare: Any, size_px: int, sigma_px: float) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    line = pydegrade.kernels.gaussian(size_px, sigma_px).sum(0).astype(np.float32)
    horizontal = torch.from_numpy(line).view(1, 1, 1, size_px)
    vertical = horizontal.view(1, 1, size_px, 1)
    exact = peers.values(2e-6, SUMS)

    def torch_separable() -> torch.Tensor:
        flat = F.pad(hr.view(-1, 1, *hr.shape[-2:]), [size_px // 2] * 4, mode="reflect")
        return F.conv2d(F.conv2d(flat, horizontal), vertical).view(hr.shape)

    contenders = [Peer("torch eager", torch_separable, exact)]
    arrays = interleaved(hr)
    if cv2 := peers.module("opencv"):
        run = each(
            lambda image: cv2.sepFilter2D(image, -1, line, line, borderType=cv2.BORDER_REFLECT_101),
            arrays,
            inputs.THREADS,
        )
        contenders.append(Peer("opencv", run, exact))
    if kornia := peers.module("kornia"):
        sizes, sigmas = (size_px, size_px), (sigma_px, sigma_px)
        contenders.append(Peer("kornia", lambda: kornia.filters.gaussian_blur2d(hr, sizes, sigmas, "reflect"), exact))
    if peers.module("scikit-image"):
        from skimage.filters import gaussian

        # Its "mirror" is reflect-101; the radius is truncate * sigma.
        truncate = (size_px // 2) / sigma_px

        def smooth(image: Array) -> Array:
            return gaussian(image, sigma=sigma_px, mode="mirror", truncate=truncate, channel_axis=-1)

        contenders.append(Peer("scikit-image", each(smooth, arrays, inputs.THREADS), exact))
    if albumentations := peers.module("albumentations"):
        blur = albumentations.GaussianBlur(blur_limit=(size_px, size_px), sigma_limit=(sigma_px, sigma_px), p=1.0)
        run = each(lambda image: blur(image=image)["image"], arrays, inputs.THREADS)
        contenders.append(Peer("albumentations", run, None, "its own choice of kernel size"))
    compare(
        lambda: ops.blur(hr, shape="iso", size_px=size_px, sigma_x_px=sigma_px),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        gigaflops=4 * size_px * hr.numel() / 1e9,
        target=1.5,
    )


def test_sharpen(compare: Any) -> None:
    """USM of Real-ESRGAN. One pixel at the threshold moves the soft mask by at most its largest weight, 0.0025, of what
    the sharpening adds; float32 puts a few pixels on the other side."""
    inputs.settle_threads()
    hr = inputs.photographs()
    kernel = eager.usm_kernel()
    close = peers.values(3e-3, "a pixel at the threshold may fall on the other side")
    contenders = [Peer("torch eager", lambda: eager.usm_sharpen(hr, kernel), close)]
    if peers.module("opencv"):
        contenders.append(Peer("opencv", each(stitched.sharpen, interleaved(hr), inputs.THREADS), close))
    if peers.module("basicsr"):
        from basicsr.utils.img_process_util import USMSharp

        sharpener = USMSharp(50)
        contenders.append(Peer("basicsr", lambda: sharpener(hr), close))
    compare(
        lambda: ops.sharpen(hr),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        gigaflops=8 * 51 * hr.numel() / 1e9,
        target=1.5,
        seconds=8,
    )


# ---- resize


@pytest.mark.parametrize("mode", ["torch_bicubic", "torch_bilinear", "torch_area"])
@pytest.mark.parametrize("factor", [0.5, 0.7, 1.3])
def test_resize(compare: Any, mode: str, factor: float) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    torch_mode = mode.removeprefix("torch_")

    def run() -> torch.Tensor:
        return ops.resize(hr, resize_factor=factor, mode=mode)

    height, width = run().shape[-2:]
    contenders = [
        Peer(
            "torch eager",
            lambda: F.interpolate(hr, scale_factor=factor, mode=torch_mode),
            peers.values(2e-6, SUMS),
        )
    ]
    arrays = interleaved(hr)
    # Libraries that take a size use the ratio of the sizes, which is our factor only when it divides evenly.
    even = hr.shape[-1] * factor == width
    cv2 = peers.module("opencv")
    if cv2 and even and mode != "torch_area":
        code = {"torch_bicubic": cv2.INTER_CUBIC, "torch_bilinear": cv2.INTER_LINEAR}[mode]
        resize = each(lambda image: cv2.resize(image, (width, height), interpolation=code), arrays, inputs.THREADS)
        # Its coordinates are rounded to multiples of 1/2048 in some builds.
        contenders.append(Peer("opencv", resize, peers.values(1e-3, "coordinates rounded to 1/2048 px")))
    if cv2 and even and mode == "torch_area" and factor < 1:
        shrink = each(
            lambda image: cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), arrays, inputs.THREADS
        )
        # Windows that do not divide evenly are weighted by OpenCV and rounded to whole pixels by torch.
        same = peers.values(2e-6, SUMS) if factor == 0.5 else None
        contenders.append(Peer("opencv", shrink, same, "" if same else "exact windows, torch's are whole pixels"))
    if even and mode == "torch_bilinear" and factor > 1 and peers.module("scikit-image"):
        from skimage.transform import resize as skimage_resize

        def enlarge(image: Array) -> Array:
            return skimage_resize(image, (height, width), order=1, mode="edge", anti_aliasing=False)

        close = peers.values(1e-4, "torch and so ours computes coordinates in float32: 400 px times 6e-8")
        contenders.append(Peer("scikit-image", each(enlarge, arrays, inputs.THREADS), close))
    if even and mode == "torch_bilinear" and factor > 1 and (pillow := peers.module("pillow")):

        def enlarge_planes(image: torch.Tensor) -> Array:
            planes = [
                pillow.fromarray(plane).resize((width, height), pillow.Resampling.BILINEAR) for plane in image.numpy()
            ]
            return np.stack([np.asarray(plane) for plane in planes], axis=-1)

        run_pillow = each(enlarge_planes, list(hr), inputs.THREADS)
        close = peers.values(1e-4, "torch and so ours computes coordinates in float32: 400 px times 6e-8")
        contenders.append(Peer("pillow", run_pillow, close))
    compare(run, contenders, megapixels=pixels(hr), gigabytes=values_gb(hr, run()), target=1.5)


# ---- noise


def same_spread(hr: torch.Tensor, tolerance: float) -> Agreement:
    """Two noises of one distribution: standard deviations of what was added agree."""

    def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
        return abs(float((ours - hr).std() - (theirs - hr).std()))

    return Agreement(error, tolerance, "standard deviations of two independent draws, clipping included")


@pytest.mark.parametrize("gray", [0, 1], ids=["colour", "gray"])
def test_noise_gaussian(compare: Any, gray: int) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    sigma, flags = torch.full((len(hr),), 20.0), torch.full((len(hr),), float(gray))
    # Half a million draws and more per side: the spread of the estimate is below 1e-4; ten times that.
    alike = same_spread(hr, 2e-3)
    contenders = [Peer("torch eager", lambda: eager.gaussian_noise(hr, sigma, flags), alike)]
    arrays = list(enumerate(interleaved(hr)))
    generators = [np.random.default_rng(seed) for seed in range(len(hr))]

    def numpy_noise(item: tuple[int, Array]) -> Array:
        index, image = item
        shape = (*image.shape[:2], 1) if gray else image.shape
        noise = generators[index].standard_normal(shape, np.float32) * np.float32(20 / 255)
        return np.clip(image + noise, 0, 1)

    contenders.append(Peer("numpy", each(numpy_noise, arrays, inputs.THREADS), alike))
    if (cv2 := peers.module("opencv")) and not gray:

        def opencv_noise(item: tuple[int, Array]) -> Array:
            noise = np.empty_like(item[1])
            cv2.randn(noise, (0.0,) * 3, (20 / 255,) * 3)
            return np.clip(item[1] + noise, 0, 1)

        contenders.append(Peer("opencv", each(opencv_noise, arrays, inputs.THREADS), alike))
    if peers.module("scikit-image") and not gray:
        from skimage.util import random_noise

        def skimage_noise(item: tuple[int, Array]) -> Array:
            return random_noise(item[1], mode="gaussian", var=(20 / 255) ** 2, rng=generators[item[0]])

        contenders.append(Peer("scikit-image", each(skimage_noise, arrays, inputs.THREADS), alike))
    if (albumentations := peers.module("albumentations")) and not gray:
        spread = (20 / 255, 20 / 255)
        added = albumentations.GaussNoise(std_range=spread, per_channel=True, noise_scale_factor=1.0, p=1.0)
        run = each(lambda item: added(image=item[1])["image"], arrays, inputs.THREADS)
        contenders.append(Peer("albumentations", run, alike))
    if peers.module("basicsr"):
        from basicsr.data.degradations import add_gaussian_noise_pt

        contenders.append(Peer("basicsr", lambda: add_gaussian_noise_pt(hr, sigma, flags, clip=True), alike))
    compare(
        lambda: ops.noise(hr, kind="gaussian", sigma_8bit=20.0, gray=gray),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        gigaops=((1 if gray else 3) * (floors.PHILOX_PER_WORD + floors.NORMAL) + 3 * floors.ADD_AND_CLIP)
        * pixels(hr)
        / 1e3,
        target=5.0,
        against=("torch eager",),
    )


@pytest.mark.parametrize("gray", [0, 1], ids=["colour", "gray"])
def test_noise_poisson(compare: Any, gray: int) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    gain, flags = torch.full((len(hr),), 1.5), torch.full((len(hr),), float(gray))
    alike = same_spread(hr, 3e-3)
    contenders = [Peer("torch eager", lambda: eager.poisson_noise(hr, gain, flags), alike)]
    step = stitched.Step("noise", {"kind": "poisson", "gray": gray, "poisson_gain": 1.5}, None, 0, 0)
    generators = [np.random.default_rng(seed) for seed in range(len(hr))]
    run = each(
        lambda item: stitched.OPS["noise"](item[1], step, generators[item[0]]),
        list(enumerate(interleaved(hr))),
        inputs.THREADS,
    )
    contenders.append(Peer("numpy", run, alike))
    if peers.module("basicsr"):
        from basicsr.data.degradations import add_poisson_noise_pt

        contenders.append(Peer("basicsr", lambda: add_poisson_noise_pt(hr, gain, True, False, flags), alike))
    if peers.module("scikit-image") and not gray:
        from skimage.util import random_noise

        run = each(
            lambda item: random_noise(item[1], mode="poisson", rng=generators[item[0]]),
            list(enumerate(interleaved(hr))),
            inputs.THREADS,
        )
        contenders.append(Peer("scikit-image", run, None, "gain 1 only"))
    if (albumentations := peers.module("albumentations")) and not gray:
        shot = albumentations.ShotNoise(scale_range=(0.1, 0.1), p=1.0)
        run = each(lambda image: shot(image=image)["image"], interleaved(hr), inputs.THREADS)
        contenders.append(Peer("albumentations", run, None, "another model, in linear light"))
    compare(
        lambda: ops.noise(hr, kind="poisson", poisson_gain=1.5, gray=gray),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        gigaops=((1 if gray else 3) * (floors.PHILOX_PER_WORD + floors.POISSON) + 3 * floors.ADD_AND_CLIP)
        * pixels(hr)
        / 1e3,
        target=10.0,
        seconds=6.0,
    )


# ---- jpeg


@pytest.mark.parametrize("subsampling", ["420", "444"])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg(compare: Any, subsampling: str, quality: int) -> None:
    """A round trip through a file's pixels, on one thread everywhere. "Same result" means every pixel equal."""
    inputs.settle_threads(1)
    hr = inputs.photographs()
    arrays = [np.round(image * 255).astype(np.uint8) for image in interleaved(hr)]
    quantised = (hr * 255).round() / 255
    # Multiples of 1/255 as floats: half a level apart would already be another pixel.
    equal = peers.values(1e-6, "none: the same 8-bit pixels, divided by 255 in float32")
    contenders = []
    if pillow := peers.module("pillow"):

        def by_pillow(array: Array) -> Array:
            buffer = io.BytesIO()
            pillow.fromarray(array).save(buffer, "JPEG", quality=quality, subsampling={"420": 2, "444": 0}[subsampling])
            return np.asarray(pillow.open(buffer))

        contenders.append(Peer("pillow", each(by_pillow, arrays, 1), equal))
    if cv2 := peers.module("opencv"):
        code = stitched.jpeg_sampling(cv2, subsampling)
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, code]

        # The flag saves OpenCV the exchange of channels in decoding; encoding has no such flag.
        def by_opencv(array: Array) -> Array:
            file = cv2.imencode(".jpg", cv2.cvtColor(array, cv2.COLOR_RGB2BGR), settings)[1]
            return cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)

        contenders.append(Peer("opencv", each(by_opencv, arrays, 1), equal))
    if simplejpeg := peers.module("simplejpeg"):
        for name, fast in (("simplejpeg exact", False), ("simplejpeg fast", True)):

            def by_simplejpeg(array: Array, fast: bool = fast) -> Array:
                file = simplejpeg.encode_jpeg(array, quality, colorsubsampling=subsampling, fastdct=fast)
                return simplejpeg.decode_jpeg(file, fastdct=fast, fastupsample=fast)

            error = peers.largest_difference(
                peers.as_tensor(ops.jpeg(quantised, quality=quality, subsampling=subsampling)),
                peers.as_tensor(each(by_simplejpeg, arrays, 1)()),
            )
            # libjpeg-turbo's TurboJPEG interface takes the fast forward DCT below quality 96.
            same = equal if error <= equal.tolerance else None
            note = "" if same else "other pixels: fast DCT in encoding, whatever it is told"
            contenders.append(Peer(name, each(by_simplejpeg, arrays, 1), same, note))
    if albumentations := peers.module("albumentations"):
        compression = albumentations.ImageCompression(quality_range=(quality, quality), p=1.0)
        run = each(lambda array: compression(image=array)["image"], arrays, 1)
        contenders.append(Peer("albumentations", run, None, "4:2:0, and codes RGB as if it were BGR"))
    compare(
        lambda: ops.jpeg(quantised, quality=quality, subsampling=subsampling),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        gigaops=(floors.JPEG_420 if subsampling == "420" else floors.JPEG_444) * pixels(hr) / 1e3,
        threads=1,
        target=3.0 if (subsampling, quality) == ("420", 75) else 0.0,
    )


def test_jpeg_one_image(compare: Any) -> None:
    """One image that stays in cache, as in a chain: bytes in memory do not count here."""
    inputs.settle_threads(1)
    hr = inputs.photographs()[:1]
    quantised = (hr * 255).round() / 255
    array = np.round(interleaved(hr)[0] * 255).astype(np.uint8)
    contenders = []
    if cv2 := peers.module("opencv"):
        code = stitched.jpeg_sampling(cv2, "420")
        settings = [cv2.IMWRITE_JPEG_QUALITY, 75, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, code]

        def by_opencv(array: Array) -> Array:
            file = cv2.imencode(".jpg", cv2.cvtColor(array, cv2.COLOR_RGB2BGR), settings)[1]
            return cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)

        equal = peers.values(1e-6, "none: the same 8-bit pixels, divided by 255 in float32")
        contenders.append(Peer("opencv", each(by_opencv, [array], 1), equal))
    compare(
        lambda: ops.jpeg(quantised, quality=75),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        gigaops=floors.JPEG_420 * pixels(hr) / 1e3,
        threads=1,
        target=3.0,
    )


def test_diffjpeg(compare: Any) -> None:
    inputs.settle_threads()
    hr = inputs.photographs()
    quality = torch.linspace(30, 95, len(hr))

    def share_that_differs(ours: torch.Tensor, theirs: torch.Tensor) -> float:
        return float(((ours - theirs).abs() > 1e-4).float().mean())

    few = Agreement(
        share_that_differs, 2e-3, "share of pixels in blocks where a coefficient sat at a rounding boundary"
    )
    contenders = [Peer("torch eager", lambda: eager.diffjpeg(hr, quality), few)]
    if peers.module("basicsr"):
        from basicsr.utils.diffjpeg import DiffJPEG

        # It overwrites the tensor of qualities it is given.
        codec = DiffJPEG(differentiable=False)
        contenders.append(Peer("basicsr", lambda: codec(hr, quality=quality.clone()), few))
    if kornia := peers.module("kornia"):
        run = lambda: kornia.enhance.jpeg_codec_differentiable(hr, quality)  # noqa: E731
        contenders.append(Peer("kornia", run, None, "its own approximation"))
    compare(
        lambda: ops.jpeg(hr, quality=quality, mode="diffjpeg_basicsr"),
        contenders,
        megapixels=pixels(hr),
        gigabytes=values_gb(hr, hr),
        target=1.5,
    )
