"""WebP, AVIF and JPEG 2000: judged by their libraries, called as a user of Pillow calls them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade import ops
from pydegrade.errors import OpError

from .golden_pixels import picture

SIZES = [(1, 1), (3, 2), (1, 40), (33, 65), (48, 48)]


def through_pillow(image: torch.Tensor, format: str, **options: object) -> np.ndarray:
    levels = np.rint(np.clip(image.numpy().astype(np.float64), 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels.transpose(1, 2, 0)).save(file, format, **options)
    return np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")).transpose(2, 0, 1) / 255


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_the_files(size):
    images = torch.stack([picture(*size, seed) for seed in range(4)]) * 1.2 - 0.1
    qualities, methods = [0, 20, 79.6, 100], [0, 4, 6, 1]
    found = ops.webp(images, qualities, methods)
    for row, image in enumerate(images):
        wanted = through_pillow(image, "WEBP", quality=round(qualities[row]), method=methods[row])
        assert np.array_equal(found[row].numpy(), wanted.astype(np.float32))
    chroma, speeds = ["444", "422", "420", "400"], [10, 8, 6, 9]
    found = ops.avif(images, qualities, speeds, chroma)
    for row, image in enumerate(images):
        named = {"quality": round(qualities[row]), "speed": speeds[row], "subsampling": ":".join(chroma[row])}
        wanted = through_pillow(image, "AVIF", codec="aom", max_threads=1, **named)
        assert np.array_equal(found[row].numpy(), wanted.astype(np.float32))
    for mode, name, values in (
        ("ratio", "compression_ratio", [1, 5.5, 40, 900]),
        ("psnr", "psnr_db", [15, 25.5, 40, 60]),
    ):
        found = ops.jpeg2000(images, mode=mode, **{name: values})
        layers = {"ratio": "rates", "psnr": "dB"}[mode]
        for row, image in enumerate(images):
            wanted = through_pillow(
                image, "JPEG2000", quality_mode=layers, quality_layers=[values[row]], irreversible=True
            )
            assert np.array_equal(found[row].numpy(), wanted.astype(np.float32))


def test_a_ratio_is_that_of_the_file_and_a_psnr_is_reached():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((64, 64), Image.Resampling.BOX).resize((256, 256), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    smooth.save(file, "JPEG2000", quality_mode="rates", quality_layers=[20], irreversible=True)
    assert 0.9 < 256 * 256 * 3 / 20 / len(file.getvalue()) < 1.1
    image = torch.from_numpy(np.asarray(smooth).transpose(2, 0, 1) / np.float32(255))[None]
    for psnr_db in (30, 40):
        error = (ops.jpeg2000(image, psnr_db=psnr_db, mode="psnr") - image).square().mean().item()
        # The encoder measures the wavelet's coefficients, not the pixels.
        assert abs(-10 * np.log10(error) - psnr_db) < 3


def test_off_rows_are_untouched_and_nan_is_black():
    images = picture(20, 20)[None].repeat(2, 1, 1, 1) * 0.9 + 0.0123
    for codec in (ops.webp, ops.jpeg2000):
        on = "lossy" if codec is ops.webp else "ratio"
        out = codec(images, mode=["off", on])
        assert torch.equal(out[0], images[0])
        assert not torch.equal(out[1], images[1])
    broken = images.clone()
    broken[0, 0] = float("nan")
    black = images.clone()
    black[0, 0] = 0
    assert torch.equal(ops.webp(broken), ops.webp(black))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: ops.webp(i, 101), r"webp: quality must be in \[0, 100\], got 101"),
        (lambda i: ops.webp(i, 50, [1, 7]), r"webp: method must be in \[0, 6\], got 7 at row 1"),
        (lambda i: ops.webp(i, method=2.5), "webp: method must be a whole number, got 2.5"),
        (
            lambda i: ops.avif(i, subsampling="411"),
            "avif: subsampling must be one of '444', '422', '420', '400', got '411'",
        ),
        (lambda i: ops.jpeg2000(i, mode="rate"), "jpeg2000: mode must be one of 'off', 'ratio', 'psnr', got 'rate'"),
        (lambda i: ops.webp(i[0]), r"webp: images must be \[B, C, H, W\]"),
    ],
)
def test_wrong_values_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(torch.zeros(2, 3, 8, 8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["webp", "avif", "jpeg2000", "palette"])
def test_images_without_memory_give_the_shape(name):
    out = getattr(ops, name)(torch.zeros(2, 3, 8, 9, device="meta"))
    assert (out.device.type, out.shape) == ("meta", (2, 3, 8, 9))


def test_images_without_colour_are_refused():
    with pytest.raises(OpError, match="webp: images must have 3 channels, got 1"):
        ops.webp(torch.zeros(2, 1, 8, 8))
    space = pydegrade.Space.loads('[space]\nname="a"\nscale=1\nsource="t"\n[[slot]]\nname="w"\nop="webp"\nquality=50\n')
    with pytest.raises(OpError, match=r"slot \w+ \(a@.*\): op 'webp': .* images must have 3 channels"):
        pydegrade.degrade(torch.zeros(1, 4, 8, 8), pydegrade.sample(space, 0, [0]))
