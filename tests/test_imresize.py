"""imresize: equality with files and numbers that MATLAB made, with its float64 twin in NumPy, laws, messages."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade.images.imresize import _imresize_adjoint_elsewhere, _imresize_elsewhere, _taps, imresize

from .conftest import ROOT
from .reference import imresize as twin
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
    values = np.random.default_rng(0).random(2000) * 2
    expected = [float(Fraction(value) ** 3) for value in values.tolist()]
    assert twin.cube_of(values).tolist() == expected


# ---- The twin: equal in every bit


def padded_taps(
    in_px: int, out_px: int, scale: float, kernel: str, antialias: bool, border: str
) -> tuple[np.ndarray, np.ndarray]:
    """Tables of the compiled code in the twin's form."""
    start, index, weight = _taps(kernel, antialias, border, in_px, out_px, scale)
    count = np.diff(start)
    columns = np.arange(count.max())
    used = columns < count[:, None]
    places = np.where(used, start[:-1, None] + columns, 0)
    return np.where(used, index[places], 0), np.where(used, weight[places], 0.0)


def expected_by_twin(image: np.ndarray, scale: Any = None, size: Any = None, **arguments: Any) -> np.ndarray:
    if size is not None:
        scales = size[0] / image.shape[0], size[1] / image.shape[1]
    else:
        scales = scale if isinstance(scale, tuple) else (scale, scale)
        size = math.ceil(scales[0] * image.shape[0]), math.ceil(scales[1] * image.shape[1])
    # The sines of the Lanczos kernels are the compiled code's own; test_tables bounds their distance from NumPy's.
    table = padded_taps if arguments.get("kernel", "bicubic").startswith("lanczos") else None
    return twin.imresize(image, scales, size, **arguments, table=table)


@pytest.mark.representatives(4)
@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_tables(kernel: str, border: str) -> None:
    rng = np.random.default_rng(1)
    for antialias in (True, False):
        for _ in range(60):
            in_px, out_px = (int(side) for side in rng.integers(1, 40, 2))
            scale = out_px / in_px if rng.random() < 0.5 else float(rng.choice([1 / 2, 1 / 3, 0.75, 2.0, 3.3]))
            out_px = math.ceil(scale * in_px)
            index, weight = twin.contributions(in_px, out_px, scale, kernel, antialias, border)
            start, ours_index, ours_weight = _taps(kernel, antialias, border, in_px, out_px, scale)
            for j in range(out_px):
                here = slice(start[j], start[j + 1])
                if kernel.startswith("lanczos"):
                    dense, ours = np.zeros(in_px), np.zeros(in_px)
                    np.add.at(dense, index[j], weight[j])
                    np.add.at(ours, ours_index[here], ours_weight[here])
                    # Two ways to compute a sine, each within a unit of 2^-53.
                    np.testing.assert_allclose(ours, dense, rtol=0, atol=1e-15)
                else:
                    used = weight[j] != 0
                    np.testing.assert_array_equal(ours_index[here], index[j][used])
                    np.testing.assert_array_equal(ours_weight[here], weight[j][used])


@pytest.mark.slow
def test_every_small_size() -> None:
    """All pairs of sizes from 1 x 1 to 7 x 7, in turn with every kernel, border, dtype and rounding."""
    rng = np.random.default_rng(2)
    variants = [
        (dtype, kernel, border, semantics, antialias)
        for dtype in ("uint8", "uint16", "float32", "float64")
        for kernel in KERNELS
        for border in ("symmetric", "replicate")
        for semantics in ("class", "im2double")
        for antialias in (True, False)
    ]
    case = 0
    for height in range(1, 8):
        for width in range(1, 8):
            for out_height in range(1, 8):
                for out_width in range(1, 8):
                    dtype, kernel, border, semantics, antialias = variants[case * 37 % len(variants)]
                    case += 1
                    image = rng.integers(0, 256, (height, width, 1 + case % 4)) / (255 if dtype[0] == "f" else 1)
                    image = image.astype(dtype)
                    arguments = {
                        "size": (out_height, out_width),
                        "kernel": kernel,
                        "border": border,
                        "semantics": semantics,
                        "antialias": antialias,
                    }
                    expected = expected_by_twin(image, **arguments)
                    np.testing.assert_array_equal(imresize(image, **arguments), expected, str((case, arguments)))


# Exact in float; with exact ties between levels; neither; so many taps that float does not suffice.
SCALES = [
    0.5,
    0.25,
    2.0,
    4.0,
    1 / 3,
    3.0,
    0.6,
    0.75,
    1 / 1.5,
    0.35,
    1 / 7,
    1.7,
    (0.5, 0.3),
    (0.3, 0.5),
    (2.0, 0.4),
    0.004,
]


@pytest.mark.parametrize("scale", SCALES)
def test_uint8_equals_the_twin(scale: Any) -> None:
    """The float path with its second look, on a photograph and on noise of two and of 256 levels."""
    rng = np.random.default_rng(3)
    images = [
        photograph(150, 131),
        rng.integers(0, 256, (83, 121, 3), np.uint8),
        rng.integers(0, 2, (90, 77), np.uint8) * 255,
        rng.integers(0, 256, (66, 50, 2), np.uint8),
        rng.integers(0, 256, (40, 75, 4), np.uint8),
    ]
    for image in images:
        np.testing.assert_array_equal(imresize(image, scale), expected_by_twin(image, scale))
    for kernel in ("bilinear", "box", "lanczos2", "lanczos3"):
        expected = expected_by_twin(images[1], scale, kernel=kernel)
        np.testing.assert_array_equal(imresize(images[1], scale, kernel=kernel), expected)  # type: ignore[arg-type]


def test_ties_do_occur() -> None:
    """At 2/3 exact ties are decided by the rounding of doubles, which float does not know: without the second look the
    test above would fail."""
    image = np.random.default_rng(3).integers(0, 256, (83, 121, 3), np.uint8)
    index, weight = twin.contributions(83, 56, 1 / 1.5, "bicubic", True, "symmetric")
    double = twin.along_rows(image.astype(np.float64), index, weight)
    single = np.zeros(double.shape, np.float32)
    for tap in range(index.shape[1]):
        single += weight[:, tap].astype(np.float32)[:, None, None] * image[index[:, tap]].astype(np.float32)
    assert (twin.rounded(double, 255) != twin.rounded(single.astype(np.float64), 255)).sum() >= 5


@pytest.mark.parametrize("semantics", ["class", "im2double"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_every_dtype_equals_the_twin(dtype: str, semantics: str) -> None:
    rng = np.random.default_rng(4)
    for scale in (1 / 3, 0.5, 0.75, 2.0, (1.4, 0.45), (0.45, 1.4), 0.01):
        image = rng.random((70, 93, 3)) * (65535 if dtype == "uint16" else 255)
        image = image.astype(dtype) if dtype[0] == "u" else (image / 255 - 0.2).astype(dtype)
        expected = expected_by_twin(image, scale, semantics=semantics)
        np.testing.assert_array_equal(imresize(image, scale, semantics=semantics), expected)  # type: ignore[arg-type]


@pytest.mark.slow
def test_extreme_ratios() -> None:
    rng = np.random.default_rng(5)
    for dtype in (np.uint8, np.float64):
        tall = (rng.random((4096, 3)) * 255).astype(dtype)
        for image, size in ((tall, (3, 3)), (tall, (3, 4096)), (tall[:3], (4096, 3)), (tall.T, (3, 3)), (tall, (1, 1))):
            np.testing.assert_array_equal(imresize(image, size=size), expected_by_twin(image, size=size))
    one = np.array([[77]], np.uint8)
    for size in ((1, 1), (4096, 3), (1, 5)):
        assert (imresize(one, size=size) == 77).all()
    assert imresize(one, 1e-6).tolist() == [[77]]


def digest_of_results() -> str:
    """Of every path: dtypes, roundings, orders, gradients."""
    rng = np.random.default_rng(6)
    digest = hashlib.sha256()
    for scale in (0.5, 1 / 3, 2.0, (1.4, 0.45), 0.01):
        for dtype in ("uint8", "uint16", "float32", "float64"):
            image = (rng.random((45, 71, 3)) * 255).astype(dtype)
            for kernel in KERNELS:
                for semantics in ("class", "im2double"):
                    digest.update(imresize(image, scale, kernel=kernel, semantics=semantics).tobytes())  # type: ignore[arg-type]
        leaf = torch.rand(2, 3, 40, 31, generator=torch.Generator().manual_seed(0)).requires_grad_()
        imresize(leaf, scale).square().sum().backward()  # type: ignore[arg-type]
        assert leaf.grad is not None
        digest.update(leaf.grad.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.slow
def test_same_bits_for_threads_and_instruction_sets() -> None:
    expected = digest_of_results()
    pydegrade.set_num_threads(3)
    try:
        assert digest_of_results() == expected
    finally:
        pydegrade.set_num_threads(None)
    program = (
        "import pydegrade; from tests.test_imresize import digest_of_results; "
        "print(pydegrade.isa_name(), digest_of_results())"
    )
    tried = set()
    for isa in ("v2", "v3", "v4"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=os.environ | {"PYDEGRADE_ISA": isa, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        used, found = done.stdout.split()
        tried.add(used)
        assert found == expected, used
    assert tried


def test_other_devices_give_the_same_bits() -> None:
    """The torch operations that serve GPUs, run here."""
    rng = np.random.default_rng(7)
    for scale in (0.5, 1 / 3, (1.4, 0.45), 0.05):
        scales = scale if isinstance(scale, tuple) else (scale, scale)
        for dtype in ("uint8", "uint16", "float32", "float64"):
            image = torch.from_numpy((rng.random((2, 3, 41, 29)) * 255).astype(dtype))
            for rule in (
                ("bicubic", True, "symmetric"),
                ("lanczos3", False, "replicate"),
                ("nearest", True, "symmetric"),
            ):
                for semantics in ("class", "im2double"):
                    ours = imresize(image, scale, None, *rule, semantics)  # type: ignore[arg-type]
                    elsewhere = _imresize_elsewhere(image, *ours.shape[2:], *scales, *rule, semantics)
                    assert torch.equal(ours, elsewhere)
                if dtype.startswith("float"):
                    grad = torch.rand_like(ours)
                    back = torch.ops.pydegrade.imresize_adjoint(grad, 41, 29, *scales, *rule)
                    assert torch.equal(back, _imresize_adjoint_elsewhere(grad, 41, 29, *scales, *rule))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_bits() -> None:
    image = torch.from_numpy(photograph(90, 77)).permute(2, 0, 1)
    for scale in (0.5, 1 / 3, 1.4):
        for dtype in (torch.uint8, torch.float32, torch.float64):
            assert torch.equal(imresize(image.to(dtype).cuda(), scale).cpu(), imresize(image.to(dtype), scale))


# ---- Gradients


def test_adjoint_is_the_transposed_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (0.5, 1 / 3, 0.75, 2.0, (1.4, 0.45), (0.45, 1.4), 0.02):
        for kernel in KERNELS:
            for border in ("symmetric", "replicate"):
                x = torch.rand(2, 1, 13, 17, dtype=torch.float64, generator=generator).requires_grad_()
                y = imresize(x, scale, kernel=kernel, border=border)  # type: ignore[arg-type]
                weight = torch.rand(y.shape, dtype=torch.float64, generator=generator)
                (grad,) = torch.autograd.grad((y * weight).sum(), x)
                # <A x, w> = <x, A^T w>, sums of some hundred doubles of size one.
                assert (y * weight).sum().item() == pytest.approx((x * grad).sum().item(), abs=1e-11)


@pytest.mark.slow
def test_gradcheck() -> None:
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    for scale in (0.5, 1.7, (0.4, 2.0)):
        assert torch.autograd.gradcheck(lambda image, scale=scale: imresize(image, scale), x)
        assert torch.autograd.gradgradcheck(lambda image, scale=scale: imresize(image, scale).square(), x)


def test_float32_gradient_is_the_rounded_double_one() -> None:
    x = torch.rand(3, 20, 24)
    grads = []
    for image in (x.clone().requires_grad_(), x.double().requires_grad_()):
        imresize(image, 1 / 3).sum().backward()
        grads.append(image.grad)
    assert grads[0] is not None
    assert grads[0].dtype == torch.float32
    assert torch.equal(grads[0], grads[1].float())  # type: ignore[union-attr]


@pytest.mark.slow
def test_opcheck() -> None:
    rule = (0.5, 0.5, "bicubic", True, "symmetric")
    torch.library.opcheck(
        torch.ops.pydegrade.imresize.default, (torch.rand(1, 3, 8, 10).requires_grad_(), 4, 5, *rule, "class")
    )
    torch.library.opcheck(
        torch.ops.pydegrade.imresize.default,
        (torch.rand(2, 3, 8, 10).to(memory_format=torch.channels_last), 4, 5, *rule, "class"),
    )
    torch.library.opcheck(
        torch.ops.pydegrade.imresize_adjoint.default, (torch.rand(1, 3, 4, 5).requires_grad_(), 8, 10, *rule)
    )
    meta = imresize(torch.empty(2, 3, 9, 9, device="meta"), 0.5)
    assert (meta.shape, meta.device.type) == ((2, 3, 5, 5), "meta")


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


def test_views_and_read_only_arrays_simply_work() -> None:
    image = photograph(60, 70)
    image.setflags(write=False)
    views = [
        image,
        image[3:50, 7:61],
        image[::-1],
        image[:, ::-1],
        image[..., ::-1],
        image[::2, ::3],
        image.transpose(1, 0, 2),
        image[..., 1],
        image[..., 1:],
        image[..., 2:],
        image[:, 5:6],
        np.broadcast_to(image[:1], image.shape),
        image.astype(">u2"),
    ]
    for scale in (0.5, 1.3):
        for view in views:
            plain = np.ascontiguousarray(view).astype(view.dtype.newbyteorder("="))
            ours = imresize(view, scale)
            np.testing.assert_array_equal(ours, imresize(plain, scale))
            assert ours.dtype == plain.dtype
            assert ours.flags.c_contiguous
    planes = torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous()
    batch = torch.stack([planes, planes.flip(1), planes.flip(2)])
    expected = imresize(batch, 0.5)
    for view in (
        batch.to(memory_format=torch.channels_last),
        batch.repeat(1, 2, 1, 1)[:, :3],
        torch.nn.functional.pad(batch, (2, 3, 1, 4))[:, :, 1:-4, 2:-3],
        batch.flip(0)[[2, 1, 0]],
        batch.mT.contiguous().mT,
    ):
        assert torch.equal(view, batch)
        assert torch.equal(imresize(view, 0.5), expected)
    assert imresize(batch.to(memory_format=torch.channels_last), 0.5).is_contiguous(memory_format=torch.channels_last)
    assert imresize(batch[:0], 0.5).shape == (0, 3, 30, 35)
    assert imresize(image[..., :0], 0.5).shape == (30, 35, 0)


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
    image = photograph(30, 47)
    # The free side follows from the scale of the other, rounded up: 47 * 10 / 30 = 15.67.
    assert imresize(image, size=(10, None)).shape == (10, 16, 3)
    np.testing.assert_array_equal(imresize(image, size=(10, None)), imresize(image, 10 / 30))
    np.testing.assert_array_equal(imresize(image, size=(None, 11)), imresize(image, 11 / 47))


@pytest.mark.slow
def test_the_open_side_is_the_exact_quotient_rounded_up() -> None:
    assert imresize(np.zeros((100, 100)), size=(7, None)).shape == (7, 7)
    for height in range(1, 121):
        for width in (1, 47, height, 3 * height):
            for given in (1, 2, 7, 49, height):
                assert imresize(np.zeros((height, width)), size=(given, None)).shape == (
                    given,
                    -(-given * width // height),
                )
                assert imresize(np.zeros((width, height)), size=(None, given)).shape == (
                    -(-given * width // height),
                    given,
                )


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
        ((GRAY, 0), ValueError, "scale must be a number from 1e-06 to 1e+06 or (vertical, horizontal), got 0"),
        (
            (GRAY, (1, 2, 3)),
            ValueError,
            "scale must be a number from 1e-06 to 1e+06 or (vertical, horizontal), got (1, 2, 3)",
        ),
        (
            (GRAY, float("nan")),
            ValueError,
            "scale must be a number from 1e-06 to 1e+06 or (vertical, horizontal), got nan",
        ),
        ((GRAY, -0.5), ValueError, "scale must be a number from 1e-06 to 1e+06 or (vertical, horizontal), got -0.5"),
        ((GRAY, 1e30), ValueError, "scale must be a number from 1e-06 to 1e+06 or (vertical, horizontal), got 1e+30"),
        (
            (GRAY, (1, "2")),
            ValueError,
            "scale must be a number from 1e-06 to 1e+06 or (vertical, horizontal), got (1, '2')",
        ),
        (
            (np.zeros((40, 1)), 5e5),
            ValueError,
            "the result must have at most 16777216 px on each side, got 20000000 x 500000 (height x width)",
        ),
        ((GRAY, 2, None, "box", 2), TypeError, "antialias must be True or False, got 2"),
        (
            (GRAY, None, (3, 0)),
            ValueError,
            "size must be (height, width), whole numbers >= 1, one of them may be None, got (3, 0)",
        ),
        (
            (GRAY, None, (10**400, None)),
            ValueError,
            f"size must be at most 16777216 px on each side, got (1{75 * chr(48)}...",
        ),
        (
            (GRAY, None, 3),
            ValueError,
            "size must be (height, width), whole numbers >= 1, one of them may be None, got 3",
        ),
        (
            (GRAY, None, (None, None)),
            ValueError,
            "size must be (height, width), whole numbers >= 1, one of them may be None, got (None, None)",
        ),
        (
            (GRAY, None, (3.5, 3)),
            ValueError,
            "size must be (height, width), whole numbers >= 1, one of them may be None, got (3.5, 3)",
        ),
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
