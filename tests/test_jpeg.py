"""JPEG: equality with libjpeg-turbo, the differentiable modes against float64, gradients, messages."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import ops
from pydegrade.native import binding
from pydegrade.native.packed import Layout
from pydegrade.ops import OPS
from pydegrade.plan import make_plan

from .devices import TensorFunction, on_device
from .reference import jpeg as reference

GOLDEN = Path(__file__).parent / "golden" / "jpeg.npz"
SUBSAMPLINGS = ("444", "422", "420", "440", "411")


@pytest.fixture
def jpeg(device: torch.device) -> TensorFunction:
    return on_device(ops.jpeg, device)


def tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [..., H, W, 3] -> float32 [B, 3, H, W] in [0, 1]."""
    pictures = pictures.reshape((-1, *pictures.shape[-3:]))
    return torch.from_numpy(pictures.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2).contiguous()


def picture(image: torch.Tensor) -> np.ndarray:
    """float32 [3, H, W], multiples of 1/255 -> uint8 [H, W, 3]; fails on anything else."""
    levels = torch.round(image * 255)
    # The op promises k / 255 correctly rounded, so equality and no tolerance.
    assert torch.equal(levels / 255, image)
    return levels.permute(1, 2, 0).numpy().astype(np.uint8)


def pillow(image: np.ndarray, quality: int, subsampling: str) -> np.ndarray:
    """Through libjpeg-turbo, by Pillow, or by OpenCV where Pillow has no such subsampling."""
    from PIL import Image

    if subsampling in ("440", "411"):
        import cv2

        # The sampling factors of the three components, a digit each.
        factors = {"440": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, "411": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411}
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors[subsampling]]
        _, written = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
        return np.asarray(Image.open(io.BytesIO(written.tobytes())))
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=":".join(subsampling))
    return np.asarray(Image.open(io.BytesIO(file.getvalue())))


def random_picture(
    rng: np.random.Generator, kind: str, height: int, width: int, sources: list[np.ndarray]
) -> np.ndarray:
    if kind == "photo":
        source = sources[rng.integers(len(sources))]
        top, left = rng.integers(source.shape[0] - height + 1), rng.integers(source.shape[1] - width + 1)
        return source[top : top + height, left : left + width].copy()
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "binary":
        return (rng.integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)
    return np.broadcast_to(rng.integers(0, 256, 3, np.uint8), (height, width, 3)).copy()


@pytest.fixture(scope="module")
def sources() -> list[np.ndarray]:
    from skimage import data

    return [data.astronaut(), data.coffee(), data.chelsea()]


# ---- libjpeg mode


@pytest.mark.parametrize("seed", range(6))
def test_equals_pillow_on_random_cases(jpeg: TensorFunction, seed: int, sources: list[np.ndarray]) -> None:
    rng = np.random.default_rng(seed)
    differing = []
    for case in range(100):
        kind = ("photo", "noise", "binary", "flat")[case % 4]
        # A third of the cases small: edges, and chroma of one or two samples, which libjpeg treats differently.
        height, width = rng.integers(1, 260 if case % 3 else 24, 2)
        quality, subsampling = int(rng.integers(1, 101)), SUBSAMPLINGS[rng.integers(len(SUBSAMPLINGS))]
        image = random_picture(rng, kind, height, width, sources)
        ours = picture(jpeg(tensor(image), quality, subsampling=subsampling)[0])
        if not np.array_equal(ours, pillow(image, quality, subsampling)):
            differing.append((kind, height, width, quality, subsampling))
    assert differing == []


@pytest.mark.representatives(1)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_equals_pillow_at_all_small_sizes(jpeg: TensorFunction, subsampling: str) -> None:
    rng = np.random.default_rng(7)
    for height in range(1, 21):
        for width in range(1, 21):
            image = rng.integers(0, 256, (height, width, 3), np.uint8)
            ours = picture(jpeg(tensor(image), 71, subsampling=subsampling)[0])
            np.testing.assert_array_equal(ours, pillow(image, 71, subsampling), f"{height}x{width}")


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_equals_pillow_at_every_quality(jpeg: TensorFunction, subsampling: str, sources: list[np.ndarray]) -> None:
    image = sources[2][60:131, 140:237].copy()
    qualities = np.arange(1, 101)
    ours = jpeg(tensor(np.stack([image] * 100)), qualities, subsampling=subsampling)
    for quality, coded in zip(qualities.tolist(), ours):
        np.testing.assert_array_equal(picture(coded), pillow(image, quality, subsampling), f"quality {quality}")


def golden_cases(path: Path):
    arrays = np.load(path, allow_pickle=False)
    for key in arrays.files:
        if key.startswith("out__") and "gray" not in key:
            _, name, subsampling, quality = key.split("__")
            if subsampling in SUBSAMPLINGS:
                yield key, arrays[f"in__{name}"], subsampling, int(quality[1:]), arrays[key]


def check_golden(jpeg: TensorFunction, path: Path, at_least: int) -> None:
    count = 0
    for key, image, subsampling, quality, expected in golden_cases(path):
        np.testing.assert_array_equal(picture(jpeg(tensor(image), quality, subsampling=subsampling)[0]), expected, key)
        np.testing.assert_array_equal(reference.libjpeg(image, quality, subsampling), expected, key)
        count += 1
    assert count >= at_least


def test_equals_our_golden(jpeg: TensorFunction) -> None:
    check_golden(jpeg, GOLDEN, 36)


@pytest.mark.slow
def test_equals_shared_golden(jpeg: TensorFunction, shared: Path) -> None:
    check_golden(jpeg, shared / "golden" / "libjpeg_roundtrip.npz", 50)


def test_input_is_rounded_half_to_even_and_clipped(jpeg: TensorFunction) -> None:
    values = [
        float("nan"),
        -3.0,
        -0.0,
        0.5 / 255,
        1.5 / 255,
        2.5 / 255,
        254.5 / 255,
        1.0,
        7.0,
        float("inf"),
        -float("inf"),
    ]
    image = torch.tensor(values, dtype=torch.float32).repeat(3, 16, 2)[None].contiguous()
    levels = torch.round(torch.nan_to_num(image, nan=0.0).clamp(0, 1) * 255)
    assert torch.equal(jpeg(image, 90), jpeg(levels / 255, 90))


def test_levels_divided_by_255_are_correctly_rounded(jpeg: TensorFunction) -> None:
    # Flat pictures at quality 100 keep their level: every level of gray comes back as the quotient itself.
    levels = torch.arange(256, dtype=torch.float32)
    out = jpeg((levels / 255).view(256, 1, 1, 1).repeat(1, 3, 8, 8), 100)
    assert torch.equal(out, (levels / 255).view(256, 1, 1, 1).expand(256, 3, 8, 8))


def test_quantisation_by_reciprocal_is_division() -> None:
    # csrc/ops/jpeg/math.h divides by multiplying unsigned 16-bit numbers: all entries, all coefficients that 8-bit samples
    # can have (8 * 1024 at most), against the integer rule.
    coefficients = np.arange(-(1 << 13), (1 << 13) + 1, dtype=np.int64)
    for entry in range(1, 256):
        divisor = 8 * entry
        k = 8192 // divisor + 1
        b = 0
        while -(-(1 << (17 + b)) // divisor) < 1 << 16:
            b += 1
        reciprocal, scale = -(-(1 << (16 + b)) // divisor), 1 << (16 - b)
        shifted = coefficients - (coefficients < 0) + divisor // 2 + divisor * k
        assert shifted.min() >= 0
        assert max(shifted.max(), reciprocal, scale) < 1 << 16
        ours = ((shifted * reciprocal >> 16) * scale >> 16) - k
        exact = np.sign(coefficients) * ((np.abs(coefficients) + divisor // 2) // divisor)
        np.testing.assert_array_equal(ours, exact, f"entry {entry}")


def test_equals_pillow_where_coefficients_are_largest(jpeg: TensorFunction) -> None:
    # Blocks of 0 and 255 with the signs of each basis function, and of products of random ones, drive the 16-bit
    # sums of csrc/ops/jpeg/dct8.h to their limits; gray ones the luma, coloured ones the chroma.
    signs = np.sign(reference.islow_matrix())
    rng = np.random.default_rng(0)
    blocks = [np.outer(u, v) * sign for u in signs for v in signs for sign in (1, -1)]
    blocks += [np.outer(rng.choice([-1, 1], 8), rng.choice([-1, 1], 8)) for _ in range(128)]
    wide = np.concatenate([np.concatenate(blocks[i : i + 16], axis=1) for i in range(0, len(blocks), 16)])
    gray = np.repeat(np.where(wide > 0, 255, 0)[..., None], 3, axis=2)
    blue, red = gray * [0, 0, 1] + (255 - gray) * [1, 1, 0], gray * [1, 0, 0] + (255 - gray) * [0, 1, 1]
    for image in (gray, blue, red):
        for quality in (1, 10, 50, 90, 100):
            ours = picture(jpeg(tensor(image.astype(np.uint8)), quality, subsampling="444")[0])
            np.testing.assert_array_equal(ours, pillow(image.astype(np.uint8), quality, "444"), f"quality {quality}")


@pytest.mark.slow
def test_float_colour_conversion_is_the_integer_one() -> None:
    # csrc/math/color.h adds libjpeg's fixed-point products as float multiples of 2^-16: all partial sums must fit 24
    # bits, or be at least 2^24 and clipped to 255 afterwards.
    cb, cr, luma = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128), np.arange(0, 256, 5), indexing="ij")
    level = luma * 65536 + 32768
    partial = level - 22554 * cb
    np.testing.assert_array_equal(partial.astype(np.float32).astype(np.int64), partial)
    for total in (partial - 46802 * cr, level + 91881 * cr, level + 116130 * cb):
        rounded = total.astype(np.float32).astype(np.int64)
        np.testing.assert_array_equal(np.clip(rounded >> 16, 0, 255), np.clip(total >> 16, 0, 255))
    assert 255 * (19595 + 38470 + 7471) + 32768 <= 1 << 24
    assert (128 << 16) + 32767 + 255 * 32768 <= 1 << 24


# ---- Differentiable modes


def diff_cases() -> list[tuple[str, str, str]]:
    return [
        (mode, subsampling, rounding)
        for mode in ("diffjpeg", "diffjpeg_basicsr")
        for subsampling in (SUBSAMPLINGS if mode == "diffjpeg" else ("420",))
        for rounding in ("straight_through", "cubic")
    ]


@pytest.mark.representatives(4)
@pytest.mark.parametrize(("mode", "subsampling", "rounding"), diff_cases())
def test_diffjpeg_equals_float64(
    jpeg: TensorFunction, mode: str, subsampling: str, rounding: str, sources: list[np.ndarray]
) -> None:
    rng = np.random.default_rng(11)
    basicsr = mode == "diffjpeg_basicsr"
    for height, width in [(1, 1), (2, 3), (5, 4), (7, 16), (8, 8), (9, 17), (16, 15), (33, 47), (40, 140)]:
        image = random_picture(rng, "photo", height, width, sources)
        # Continuous values, so that no coefficient is a tie by construction.
        smooth = tensor(image) * 0.9 + 0.05 + torch.from_numpy(rng.random((1, 3, height, width), np.float32)) * 0.01
        for quality in (1.0, 12.5, 49.9, 50.0, 75.0, 93.25, 100.0):
            if basicsr and quality == 100.0:
                continue
            ours = jpeg(smooth, quality, mode=mode, subsampling=subsampling, rounding=rounding)[0].numpy()
            expected = reference.diffjpeg(smooth[0].double().numpy(), quality, subsampling, basicsr, rounding)
            # float32 errors of about 1e-4 level, unless a coefficient stands so close to a tie that they round it the
            # other way: a block then differs by up to entry / 4 levels. Such blocks are counted: at most one case.
            difference = np.abs(ours - expected) * 255
            assert np.mean(difference > 2e-3) <= (0 if rounding == "cubic" else 0.1), (height, width, quality)


def test_diffjpeg_basicsr_equals_released_numbers(jpeg: TensorFunction, shared: Path) -> None:
    arrays = np.load(shared / "golden" / "basicsr_diffjpeg.npz", allow_pickle=False)
    crop = arrays["crop_u8"]
    for key in arrays.files[1:]:
        _, part, quality, rounding = key.split("__")
        image = tensor(crop if part == "full" else crop[:121, :103])
        ours = jpeg(image, float(quality[1:]), mode="diffjpeg_basicsr",
                    rounding="straight_through" if rounding == "round" else "cubic")  # fmt: skip
        # Both add 64 float32 products per sample, in different orders: 2e-4 level apart at most, no rounding flipped.
        np.testing.assert_allclose(ours[0].numpy() * 255, arrays[key] * 255, atol=5e-4, rtol=0, err_msg=key)


def test_diffjpeg_is_close_to_libjpeg_and_works_at_quality_100(jpeg: TensorFunction, sources: list[np.ndarray]) -> None:
    image = tensor(sources[0][100:228, 180:340].copy())
    for subsampling in SUBSAMPLINGS:
        for quality, at_least in ((10, 38), (50, 38), (75, 38), (95, 42), (100, 47)):
            exact = jpeg(image, quality, subsampling=subsampling)
            close = jpeg(image, quality, mode="diffjpeg", subsampling=subsampling)
            psnr = -10 * float(torch.log10(((exact - close) ** 2).mean()))
            # docs/jpeg.md lists what was measured; these are about 3 dB below it. BasicSR's own is near 32 dB.
            assert psnr > at_least, (subsampling, quality, psnr)


def test_basicsr_at_quality_100_quantises_nothing(jpeg: TensorFunction, sources: list[np.ndarray]) -> None:
    # 4:2:0 with repeated chroma of an image with constant 2x2 cells loses nothing but float rounding (1e-4 level).
    cells = tensor(sources[1][100:116, 100:120].copy()).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    out = jpeg(cells, 100, mode="diffjpeg_basicsr")
    # The released colour matrices are inverse to each other only to six decimals: 255 * 2e-6 = 5e-4 level.
    torch.testing.assert_close(out, cells, atol=2e-3 / 255, rtol=0)


# ---- Gradients


@pytest.mark.parametrize(("mode", "subsampling"), [(m, s) for m, s, r in diff_cases() if r == "cubic"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (9, 11), (8, 6), (17, 23), (16, 32)])
def test_gradient_of_cubic_rounding_is_the_slope(
    jpeg: TensorFunction, mode: str, subsampling: str, height: int, width: int
) -> None:
    # The float64 reference is differentiable except at ties: its central differences along random directions.
    rng = np.random.default_rng(height * 100 + width)
    image = rng.uniform(0.3, 0.7, (3, height, width))
    weights = rng.normal(size=image.shape)
    leaf = torch.from_numpy(image.astype(np.float32))[None].requires_grad_()
    out = jpeg(leaf, 60.0, mode=mode, subsampling=subsampling, rounding="cubic")
    (out * torch.from_numpy(weights.astype(np.float32))).sum().backward()
    ours = leaf.grad[0].double().numpy()

    def value(x: np.ndarray) -> float:
        return float((reference.diffjpeg(x, 60.0, subsampling, mode == "diffjpeg_basicsr", "cubic") * weights).sum())

    exact = leaf.detach()[0].double().numpy()
    for _ in range(3):
        direction = rng.normal(size=image.shape)
        step = 1e-7
        slope = (value(exact + step * direction) - value(exact - step * direction)) / (2 * step)
        # Central differences of a cubic: error about step^2 plus 1e-16 / step; float32 gradients: 1e-5 relative to
        # their size; a wrong term anywhere would show as far more than this.
        scale = float(np.abs(ours).sum()) + 1e-3
        assert abs(slope - float((ours * direction).sum())) < 2e-4 * scale


@pytest.mark.parametrize(("mode", "subsampling"), [(m, s) for m, s, r in diff_cases() if r == "cubic"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (9, 11), (17, 34)])
def test_straight_through_gradient_is_the_transpose(
    jpeg: TensorFunction, mode: str, subsampling: str, height: int, width: int
) -> None:
    # Without rounding and clipping the codec is affine, and the two transforms cancel:
    # <A d, w> = <d, A^T w> with A from the float64 reference, the blocks left as they are.
    rng = np.random.default_rng(5)
    image = rng.uniform(0.35, 0.65, (3, height, width)).astype(np.float32)
    weights = rng.normal(size=image.shape)
    leaf = torch.from_numpy(image)[None].requires_grad_()
    # Quality 90 keeps the result inside (0, 1), so that nothing is clipped.
    out = jpeg(leaf, 90.0, mode=mode, subsampling=subsampling)
    assert float(out.detach().min()) > 0
    assert float(out.detach().max()) < 1
    (out * torch.from_numpy(weights.astype(np.float32))).sum().backward()

    def unrounded(x: np.ndarray) -> np.ndarray:
        planes = reference.diffjpeg_planes(x, subsampling, mode == "diffjpeg_basicsr")
        fy, fx = (2, 2) if mode == "diffjpeg_basicsr" else reference.FACTORS[subsampling]
        y = planes[0][:height, :width]
        u, v = (reference.upsample_float(plane, height, width, fy, fx, mode == "diffjpeg") for plane in planes[1:])
        return np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u]) / 255

    direction = rng.normal(size=image.shape)
    slope = ((unrounded(image + direction) - unrounded(image.astype(np.float64))) * weights).sum()
    ours = leaf.grad[0].double().numpy()
    # float32 sums of a few products: 1e-6 relative to the sum of magnitudes.
    assert abs(slope - float((ours * direction).sum())) < 1e-5 * float(np.abs(ours * direction).sum() + 1e-3)


def test_gradient_stops_where_the_result_was_clipped(jpeg: TensorFunction) -> None:
    leaf = torch.full((1, 3, 16, 16), 1.2).requires_grad_()
    jpeg(leaf, 95, mode="diffjpeg").sum().backward()
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


def test_gradient_of_libjpeg_only_when_asked(jpeg: TensorFunction) -> None:
    values = torch.linspace(-0.2, 1.2, 3 * 12 * 10).view(1, 3, 12, 10)
    leaf = values.clone().requires_grad_()
    jpeg(leaf, 50).sum().backward()
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))
    leaf = values.clone().requires_grad_()
    weights = torch.rand(leaf.shape)
    (jpeg(leaf, 50, libjpeg_gradient=True) * weights).sum().backward()
    inside = (values >= 0) & (values <= 1)
    assert torch.equal(leaf.grad, torch.where(inside, weights, 0.0))


def test_gradient_of_off_is_the_gradient(jpeg: TensorFunction) -> None:
    leaf = torch.rand(2, 3, 5, 7, requires_grad=True)
    weights = torch.rand(leaf.shape)
    (jpeg(leaf, [40.0, 60.0], mode="off") * weights).sum().backward()
    assert torch.equal(leaf.grad, weights)


# ---- Laws


def mixed_batch() -> tuple[torch.Tensor, list[float], list[str], list[str]]:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(9, 3, 70, 53, generator=generator)
    qualities = [1, 20.5, 33.3, 50, 77.7, 88.8, 90, 99.5, 100.0]
    modes = ["libjpeg", "diffjpeg", "diffjpeg_basicsr"] * 3
    return images, qualities, modes, [*SUBSAMPLINGS, *SUBSAMPLINGS][:9]


def test_rows_do_not_depend_on_their_batch(jpeg: TensorFunction) -> None:
    images, qualities, modes, subsamplings = mixed_batch()
    whole = jpeg(images, qualities, modes, subsamplings)
    order = [4, 0, 8, 2, 6, 1, 3, 7, 5]
    permuted = jpeg(
        images[order], [qualities[i] for i in order], [modes[i] for i in order], [subsamplings[i] for i in order]
    )
    assert torch.equal(permuted, whole[order])
    for row in range(9):
        alone = jpeg(images[row : row + 1], qualities[row], modes[row], subsamplings[row])
        assert torch.equal(alone[0], whole[row])


def test_threads_change_nothing(jpeg: TensorFunction) -> None:
    images, qualities, modes, subsamplings = mixed_batch()
    large = images[:3].repeat(1, 1, 5, 6).contiguous()
    results = []
    try:
        for threads in (1, 2, 7):
            binding.set_num_threads(threads)
            leaf = large.clone().requires_grad_()
            out = jpeg(leaf, qualities[:3], modes[:3], subsamplings[:3], rounding="cubic")
            (out * large).sum().backward()
            results.append((jpeg(images, qualities, modes, subsamplings), out.detach(), leaf.grad))
    finally:
        binding.set_num_threads(None)
    for result in results[1:]:
        for one, other in zip(results[0], result):
            assert torch.equal(one, other)


PROBE = """
import hashlib, json, sys
import torch
from pydegrade.native import binding
from pydegrade.native.packed import Layout
from pydegrade.ops import jpeg
generator = torch.Generator().manual_seed(3)
digest = hashlib.sha256()
for height, width in [(1, 1), (3, 18), (21, 34), (37, 53)]:
    images = torch.rand(3, 3, height, width, generator=generator) * 1.2 - 0.1
    for mode in ("libjpeg", "diffjpeg", "diffjpeg_basicsr"):
        for subsampling in SUBSAMPLINGS:
            for rounding in ("straight_through", "cubic"):
                leaf = images.clone().requires_grad_()
                out = jpeg(leaf, [7, 61, 96], mode, subsampling, rounding=rounding, libjpeg_gradient=True)
                (out * images).sum().backward()
                digest.update(out.detach().numpy().tobytes() + leaf.grad.numpy().tobytes())
print(json.dumps([binding.isa_name(), digest.hexdigest()]))
""".replace("SUBSAMPLINGS", repr(SUBSAMPLINGS))


@pytest.mark.slow
def test_instruction_sets_give_the_same_bits() -> None:
    digests = {}
    for isa in ("v2", "v3", "v4"):
        environment = {**os.environ, "PYDEGRADE_ISA": isa, "PYTHONWARNINGS": "ignore"}
        run = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
        used, digest = json.loads(run.stdout)
        digests[used] = digest
    if len(digests) < 2:
        pytest.skip("this processor runs only one of the instruction sets")
    assert len(set(digests.values())) == 1, digests


def test_inputs_are_never_written_to(jpeg: TensorFunction) -> None:
    images, qualities, modes, subsamplings = mixed_batch()
    quality = torch.tensor(qualities)
    before = images.clone(), quality.clone()
    leaf = images.requires_grad_()
    jpeg(leaf, quality, modes, subsamplings).sum().backward()
    assert torch.equal(images.detach(), before[0])
    assert torch.equal(quality, before[1])


def test_off_copies_and_empty_batches_work(jpeg: TensorFunction) -> None:
    images = torch.rand(2, 3, 4, 5)
    assert torch.equal(jpeg(images, 50, mode="off"), images)
    assert jpeg(images[:0], 50).shape == (0, 3, 4, 5)
    assert jpeg(images[:0], torch.zeros(0)).shape == (0, 3, 4, 5)


def test_views_and_strides_are_understood(jpeg: TensorFunction) -> None:
    images = torch.rand(2, 12, 14, 3)
    assert torch.equal(jpeg(images.permute(0, 3, 1, 2), 60), jpeg(images.permute(0, 3, 1, 2).contiguous(), 60))


# ---- torch.library


def packed_arguments(batch: int) -> tuple:
    from pydegrade.native.packed import Layout

    height, width = np.array([9, 16, 1][:batch]), np.array([17, 5, 1][:batch])
    layout = Layout.of_sizes(height, width)
    data = torch.rand(layout.total)
    per_row = [torch.from_numpy(values) for values in (layout.offset, layout.height, layout.width)]
    codes = [torch.tensor(values[:batch], dtype=torch.int32) for values in ([1, 2, 3], [0, 1, 2], [0, 1, 1])]
    quality = torch.tensor([40.0, 62.5, 80.0][:batch])
    return data, (*per_row, 3, codes[0], quality, codes[1], codes[2], True)


@pytest.mark.slow
def test_opcheck() -> None:
    data, arguments = packed_arguments(3)
    torch.library.opcheck(torch.ops.pydegrade.jpeg.default, (data.requires_grad_(), *arguments))
    torch.library.opcheck(torch.ops.pydegrade.jpeg_adjoint.default, (torch.rand_like(data), data.detach(), *arguments))


def test_packed_rows_of_different_sizes(jpeg: TensorFunction) -> None:
    data, arguments = packed_arguments(3)
    out = torch.ops.pydegrade.jpeg(data, *arguments)
    dense = jpeg(data[: 3 * 9 * 17].view(1, 3, 9, 17), 40, mode="libjpeg", subsampling="444")
    assert torch.equal(out[: 3 * 9 * 17], dense.view(-1))


def test_packed_layout_is_checked() -> None:
    data, arguments = packed_arguments(3)
    with pytest.raises(ValueError, match="jpeg: the layout does not fit 100 values"):
        torch.ops.pydegrade.jpeg(data[:100], *arguments)


# ---- Declaration and messages


SPACE = """
[space]
name = "compressed"
scale = 1
source = "a test"

[[slot]]
name = "jpeg1"
op = "jpeg"
quality = { uniform = [1.0, 100.0] }
"""


def test_declaration() -> None:
    op = next(op for op in OPS if op.name == "jpeg")
    assert [column.name for column in op.columns] == ["mode", "quality", "subsampling"]
    assert op.column("mode").choices == ("off", "libjpeg", "diffjpeg", "diffjpeg_basicsr")
    columns = {
        "mode": np.array([0, 1, 2, 3], np.int32),
        "quality": np.array([50.5, 50.6, 50.6, 50.6], np.float32),
        "subsampling": np.array([2, 0, 1, 2], np.int32),
    }
    np.testing.assert_array_equal(op.neutral(columns), [True, False, False, False])
    np.testing.assert_array_equal(op.active(columns)["subsampling"], [False, True, True, False])
    expected = np.array([50.5, 51, 50.6, 50.6], np.float32)
    np.testing.assert_array_equal(op.used(columns)["quality"], expected)
    tasks = pydegrade.sample(pydegrade.Space.loads(SPACE), 0, range(4))
    tasks = replace(tasks, columns={f"jpeg1.{name}": values for name, values in columns.items()})
    params = make_plan(tasks, Layout.of_sizes(np.full(4, 16), np.full(4, 16))).params["jpeg"]
    np.testing.assert_array_equal(params["quality"], expected[1:])  # "off" is no step
    np.testing.assert_array_equal(params["subsampling"], columns["subsampling"][1:])
    assert not params["rounding"].any()


IMAGES = torch.rand(3, 3, 8, 9)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"quality": 0}, ValueError, "jpeg: quality must be in [1, 100], got 0"),
        ({"quality": 101}, ValueError, "jpeg: quality must be in [1, 100], got 101"),
        ({"quality": float("nan")}, ValueError, "jpeg: quality must be in [1, 100], got nan"),
        ({"quality": [50, 0, 50]}, ValueError, "jpeg: quality must be in [1, 100], got 0 at row 1"),
        ({"quality": 75.5}, ValueError, "jpeg: quality must be a whole number in mode 'libjpeg', got 75.5"),
        (
            {"quality": [75.5, 60.0, 60.5], "mode": ["diffjpeg", "libjpeg", "libjpeg"]},
            ValueError,
            "jpeg: quality must be a whole number in mode 'libjpeg', got 60.5 at row 2",
        ),
        ({"quality": [1, 2]}, ValueError, "jpeg: quality must be a number or of shape [3], got shape [2]"),
        (
            {"mode": "jpeg"},
            ValueError,
            "jpeg: mode must be one of 'off', 'libjpeg', 'diffjpeg', 'diffjpeg_basicsr', got 'jpeg'",
        ),
        ({"mode": ["libjpeg"]}, ValueError, "jpeg: mode must be one name or 3, got 1"),
        (
            {"subsampling": ["420", "410", "420"]},
            ValueError,
            "jpeg: subsampling must be one of '444', '422', '420', '440', '411', got '410' at row 1",
        ),
        ({"rounding": "half"}, ValueError, "jpeg: rounding must be one of 'straight_through', 'cubic', got 'half'"),
        (
            {"images": IMAGES[:, :1]},
            ValueError,
            "jpeg: images must be [B, 3, H, W] with H, W >= 1, got shape [3, 1, 8, 9]",
        ),
        ({"images": IMAGES[0]}, ValueError, "jpeg: images must be [B, 3, H, W] with H, W >= 1, got shape [3, 8, 9]"),
        (
            {"images": IMAGES[:, :, :0]},
            ValueError,
            "jpeg: images must be [B, 3, H, W] with H, W >= 1, got shape [3, 3, 0, 9]",
        ),
        ({"images": IMAGES.double()}, TypeError, "jpeg: images must be float32 in [0, 1], got torch.float64"),
        ({"images": IMAGES.numpy()}, TypeError, "jpeg: images must be a tensor [B, 3, H, W], got ndarray"),
    ],
)
def test_messages(jpeg: TensorFunction, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        jpeg(**{"images": IMAGES, "quality": 75, **arguments})
    assert str(caught.value) == message


# ---- Inside a chain


def test_chain_of_jpeg_steps_works_in_place_and_on_tiny_images(jpeg: TensorFunction) -> None:
    # Rows of 3, 1 and 2 steps: the first step reads the source, the others rewrite the chain's own buffer.
    from pydegrade.native.packed import pack, unpack

    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, height, width, generator=generator) for height, width in ((37, 50), (1, 1), (2, 19))]
    steps = [(0, 1, 80.0, "420"), (0, 2, 61.5, "422"), (0, 1, 35.0, "444"), (1, 1, 50.0, "420"), (2, 3, 44.0, "420"),
             (2, 1, 70.0, "422")]  # fmt: skip
    names = ("off", "libjpeg", "diffjpeg", "diffjpeg_basicsr")
    data, layout = pack(images)
    out = torch.empty_like(data)
    rows = np.array([row for row, *_ in steps])
    binding.call(
        "chain",
        src_rows=layout.fields(),
        dst_rows=layout.fields(),
        src=data,
        dst=out,
        target=None,
        target_step=np.zeros(3, np.int32),
        step_start=np.array([0, 3, 4, 6], np.int64),
        step_op=np.full(6, 3, np.int32),
        step_item=np.arange(6, dtype=np.int64),
        step_height=layout.height[rows].copy(),
        step_width=layout.width[rows].copy(),
        check_range=0,
        round_8bit=0,
        jpeg={
            "mode": np.array([mode for _, mode, _, _ in steps], np.int32),
            "quality": np.array([quality for _, _, quality, _ in steps], np.float32),
            "subsampling": np.array([SUBSAMPLINGS.index(name) for *_, name in steps], np.int32),
            "rounding": np.zeros(6, np.int32),
        },
    )
    expected = [image[None] for image in images]
    for row, mode, quality, subsampling in steps:
        expected[row] = jpeg(expected[row], quality, mode=names[mode], subsampling=subsampling)
    for ours, image in zip(unpack(out, layout), expected):
        assert torch.equal(ours, image[0])
