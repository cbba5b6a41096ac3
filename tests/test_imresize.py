"""imresize: equality with files and numbers that MATLAB made, an independent formula, laws, messages."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pydegrade.imresize import imresize

from .reference import resize as reference

KERNELS = ("bicubic", "bilinear", "box", "nearest", "lanczos2", "lanczos3")


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def cropped(image: np.ndarray, divisor: int) -> np.ndarray:
    return image[: image.shape[0] // divisor * divisor, : image.shape[1] // divisor * divisor]


def photograph(height: int, width: int) -> np.ndarray:
    from skimage import data

    return data.astronaut()[100 : 100 + height, 150 : 150 + width].copy()


# ---- MATLAB's outputs: equality, no tolerance, for uint8


@pytest.mark.parametrize("divisor", [2, 4])
@pytest.mark.parametrize("name", ["baby", "bird", "butterfly", "head", "woman"])
def test_equals_matlab_set5(shared: Path, name: str, divisor: int) -> None:
    golden = shared / "golden"
    image = cropped(read(golden / "set5" / "HR" / f"{name}.png"), divisor)
    expected = read(golden / "set5" / "LR_bicubic" / f"X{divisor}" / f"{name}x{divisor}.png")
    np.testing.assert_array_equal(imresize(image, 1 / divisor), expected)
    legacy = read(golden / "legacy_rcan_set5" / f"x{divisor}" / f"{name}_LRBI_x{divisor}.png")
    np.testing.assert_array_equal(imresize(image, 1 / divisor, border="replicate"), legacy)
    assert (legacy != expected).any()


def test_equals_old_matlab_set14(shared: Path) -> None:
    folder = shared / "golden" / "legacy_selfexsr" / "Set14"
    images = sorted(folder.glob("*/*_HR.png"))
    assert len(images) >= 2
    for path in images:
        divisor = int(path.parent.name[1:])
        expected = read(path.with_name(path.name.replace("_HR", "_LR")))
        np.testing.assert_array_equal(imresize(read(path), 1 / divisor, border="replicate"), expected, path.name)


def test_equals_matlab_im2double(shared: Path) -> None:
    folder = shared / "golden" / "baboon_im2double"
    image = read(folder / "baboon.png")
    for divisor in (2, 4):
        expected = read(folder / f"baboon_down_x{divisor}_matlab.png")
        np.testing.assert_array_equal(imresize(image, 1 / divisor, semantics="im2double"), expected)
        assert (imresize(image, 1 / divisor) != expected).any()
    enlarged = imresize(image, 3, semantics="im2double")
    np.testing.assert_array_equal(enlarged[:400, :400], read(folder / "baboon_up_x3_matlab_topleft400.png"))
    np.testing.assert_array_equal(enlarged[-200:, -200:], read(folder / "baboon_up_x3_matlab_bottomright200.png"))


def test_equals_matlab_doubles(shared: Path) -> None:
    arrays = np.load(shared / "golden" / "matlab_imresize_mat.npz", allow_pickle=False)
    cases = json.loads((shared / "golden" / "matlab_imresize_mat.json").read_text())
    for name, case in cases.items():
        if f"in__{name}" in arrays.files:
            image = arrays[f"in__{name}"]
        else:
            image = arrays[f"in_u8__{name}"] / 255
        arguments = {"kernel": case["method"], "antialias": case["antialiasing"], "border": case["border"]}
        ours = imresize(image, size=case["out_size"], **arguments)
        # The last digits of MATLAB's weights are unknown; legacy_4x4 was printed with four decimals.
        tolerance = 5.1e-5 if name == "legacy_4x4" else 1e-15 * max(1, np.abs(image).max())
        np.testing.assert_allclose(ours, arrays[f"out__{name}"], rtol=0, atol=tolerance, err_msg=name)


# ---- Formula


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
def test_equals_dense_matrices(kernel: str, antialias: bool) -> None:
    rng = np.random.default_rng(KERNELS.index(kernel))
    for _ in range(20):
        height, width, out_height, out_width = (int(side) for side in rng.integers(1, 30, 4))
        if not antialias:
            out_height, out_width = out_height + height, out_width + width
        image = rng.random((height, width))
        expected = reference.resize(image, (out_height, out_width), f"matlab_{kernel}")
        ours = imresize(image, size=(out_height, out_width), kernel=kernel, antialias=antialias)  # type: ignore[arg-type]
        # Double arithmetic; sines of the Lanczos kernels add a few units of 2^-53.
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-13)


def test_without_antialiasing_weights_ignore_the_scale() -> None:
    image = np.random.default_rng(0).random((12, 9))
    rows = [reference.cubic(2 * (j + 0.5) - 0.5 - i, -0.5) for j in range(1, 5) for i in range(12)]
    ours = imresize(image, (0.5, 1.0), antialias=False)
    np.testing.assert_allclose(ours[1:5], np.reshape(rows, (4, 12)) @ image, rtol=0, atol=1e-15)


def test_uint8_is_rounded_half_away_after_each_pass() -> None:
    # 1/2 of a box of two: (1 + 2) / 2 = 1.5 -> 2 after the first pass, then (2 + 3) / 2 = 2.5 -> 3.
    image = np.array([[1, 3], [2, 3]], np.uint8)
    assert imresize(image, 0.5, kernel="box").tolist() == [[3]]
    # Rounded once: 9 / 4 = 2.25 -> 2.
    assert imresize(image, 0.5, kernel="box", semantics="im2double").tolist() == [[2]]
    assert imresize(image.astype(np.float64), 0.5, kernel="box").tolist() == [[2.25]]
    ties = np.array([[0, 1, 4, 7]], np.uint16)
    assert imresize(ties, (1, 0.5), kernel="box").tolist() == [[1, 6]]


def test_smaller_scale_first_and_rows_on_a_tie() -> None:
    image = np.array([[0, 1], [0, 0]], np.uint8)
    # Rows first: [0, 0.5 -> 1], then 0.5 -> 1. Columns first: [0.5 -> 1, 0], then 0.5 -> 1.
    assert imresize(image, 0.5, kernel="box").tolist() == [[1]]
    image = np.array([[0, 1, 0, 0], [0, 0, 1, 0]], np.uint8)
    # Columns first (1/4): 1/4 -> 0 and 1/4 -> 0. Rows first would give 1/2 -> 1 twice and then 2/4 -> 1.
    assert imresize(image, (0.5, 0.25), kernel="box").tolist() == [[0]]
    assert imresize(image.T.copy(), (0.25, 0.5), kernel="box").tolist() == [[0]]
    # Rows first: two columns of 2/4 -> 1, then 2/4 -> 1. Columns first: 1/4 -> 0 everywhere.
    image = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], np.uint8)
    assert imresize(image, 0.25, kernel="box").tolist() == [[1]]
    assert imresize(image.T.copy(), 0.25, kernel="box").tolist() == [[0]]


def test_cube_is_correctly_rounded() -> None:
    from pydegrade.imresize import _cube

    values = np.random.default_rng(0).random(2000) * 2
    expected = [float(Fraction(value) ** 3) for value in values.tolist()]
    assert _cube(values).tolist() == expected


# ---- Laws


@pytest.mark.parametrize("kernel", KERNELS)
def test_constant_and_identity(kernel: str) -> None:
    flat = np.full((17, 23, 3), 77, np.uint8)
    for scale in (0.21, 0.5, 1.7, (2.0, 0.3)):
        assert (imresize(flat, scale, kernel=kernel) == 77).all()  # type: ignore[arg-type]
    image = photograph(21, 34)
    np.testing.assert_array_equal(imresize(image, 1.0, kernel=kernel), image)  # type: ignore[arg-type]


def test_layouts_agree() -> None:
    image = photograph(40, 52)
    expected = imresize(image, 0.5)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    ours = imresize(tensor, 0.5)
    assert ours.dtype == torch.uint8
    np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), expected)
    batch = imresize(torch.stack([tensor, tensor.flip(2)]), 0.5)
    assert torch.equal(batch[0], ours)
    assert torch.equal(batch[1], imresize(tensor.flip(2), 0.5))
    for channel in range(3):
        np.testing.assert_array_equal(imresize(image[..., channel], 0.5), expected[..., channel])
        assert torch.equal(imresize(tensor[channel], 0.5), ours[channel])
    np.testing.assert_array_equal(imresize(np.asfortranarray(image), 0.5), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_keeps_dtype_and_input(dtype: str) -> None:
    image = photograph(20, 24).astype(dtype)
    before = image.copy()
    double = imresize(image.astype(np.float64), 1.5)
    ours = imresize(image, 1.5)
    assert ours.dtype == image.dtype
    assert ours.shape == (30, 36, 3)
    np.testing.assert_array_equal(image, before)
    if dtype.startswith("float"):
        np.testing.assert_array_equal(ours, double.astype(dtype))
        assert double.min() < 0 or double.max() > 255 or double.std() > 0
    else:
        # Rounding by at most 1/2 per pass, the first one weighted by cubic weights of magnitude sum at most 1.25.
        assert np.abs(ours - np.clip(double, 0, np.iinfo(dtype).max)).max() <= 1.2


def test_sizes() -> None:
    for side in range(1, 60):
        for scale in (0.5, 0.25, 0.75, 1.3, 2.0):
            assert imresize(np.zeros((side, 1)), scale).shape[0] == math.ceil(scale * side)
    assert imresize(np.zeros((7, 9, 2)), size=(3, 20)).shape == (3, 20, 2)
    assert imresize(np.zeros((8, 8)), (0.5, 2)).shape == (4, 16)


# ---- Messages

GRAY = np.zeros((4, 4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1.0]], 2), TypeError, "image must be an array or a tensor, got list"),
        ((GRAY.astype(int), 2), TypeError, "image must be uint8, uint16, float32 or float64, got int64"),
        ((GRAY[0], 2), ValueError, "image must be [H, W] or [H, W, C] with H, W >= 1, got shape [4]"),
        ((GRAY[:0], 2), ValueError, "image must be [H, W] or [H, W, C] with H, W >= 1, got shape [0, 4]"),
        (
            (torch.zeros(4), 2),
            ValueError,
            "image must be [H, W], [C, H, W] or [N, C, H, W] with H, W >= 1, got shape [4]",
        ),
        ((GRAY,), ValueError, "give either scale or size"),
        ((GRAY, 2, (3, 3)), ValueError, "give either scale or size"),
        ((GRAY, 0), ValueError, "scale must be a number > 0 or (vertical, horizontal), got 0"),
        ((GRAY, (1, 2, 3)), ValueError, "scale must be a number > 0 or (vertical, horizontal), got (1, 2, 3)"),
        ((GRAY, float("nan")), ValueError, "scale must be a number > 0 or (vertical, horizontal), got nan"),
        ((GRAY, None, (3, 0)), ValueError, "size must be (height, width), whole numbers >= 1, got (3, 0)"),
        ((GRAY, None, 3), ValueError, "size must be (height, width), whole numbers >= 1, got 3"),
        (
            (GRAY, 2, None, "cubic"),
            ValueError,
            "kernel must be one of 'bicubic', 'bilinear', 'box', 'nearest', 'lanczos2', 'lanczos3', got 'cubic'",
        ),
        (
            (GRAY, 2, None, "box", True, "wrap"),
            ValueError,
            "border must be one of 'symmetric', 'replicate', got 'wrap'",
        ),
        (
            (GRAY, 2, None, "box", True, "replicate", "uint8"),
            ValueError,
            "semantics must be one of 'class', 'im2double', got 'uint8'",
        ),
    ],
)
def test_messages(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        imresize(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == f"imresize: {message}"
