"""Resize: float64 formulas, torch, OpenCV and MATLAB outputs, laws, gradients, equal bits everywhere, messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import pydegrade
from pydegrade import ops
from pydegrade.native import binding
from pydegrade.native.packed import Layout
from pydegrade.ops import OPS
from pydegrade.ops.resize import MODES, RULES
from pydegrade.plan import Plan, make_plan

from .devices import TensorFunction, on_device
from .reference import resize as reference

OP = next(op for op in OPS if op.name == "resize")
TORCH_MODES = (
    "torch_area",
    "torch_bilinear",
    "torch_bicubic",
    "torch_bilinear_aa",
    "torch_bicubic_aa",
    "torch_nearest_exact",
)
CV2_MODES = ("cv2_linear", "cv2_cubic", "cv2_area")
# Pixels in [0, 1], two passes of a few dozen float32 multiply-adds whose absolute weights sum to at most 1.9 per axis.
FLOAT_TOLERANCE = 1e-6


@pytest.fixture
def resize(device: torch.device) -> TensorFunction:
    return on_device(ops.resize, device)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def distance(ours: torch.Tensor, expected: torch.Tensor | np.ndarray) -> float:
    expected = torch.as_tensor(expected)
    assert ours.shape == expected.shape
    return float((ours.double() - expected.double()).abs().max())


# ---- Against formulas


def test_modes_are_those_of_the_compiled_module() -> None:
    from pydegrade import _C

    assert MODES == _C.RESIZE_MODES


@pytest.mark.representatives(1)
@pytest.mark.parametrize("mode", MODES)
def test_equals_float64_matrices(resize: TensorFunction, mode: str) -> None:
    rng = np.random.default_rng(MODES.index(mode))
    sizes = [tuple(int(side) for side in rng.integers(1, 40, 4)) for _ in range(30)]
    for height, width, out_height, out_width in [
        *sizes,
        (1, 1, 7, 5),
        (64, 130, 1, 2),
        (3, 2, 48, 32),
        (70, 33, 70, 33),
        # Rows long enough for the vector loops, at scales with one, two and four vectors per window.
        (24, 150, 31, 260),
        (24, 150, 17, 101),
        (24, 211, 9, 73),
        (33, 170, 11, 20),
    ]:
        if mode == "decimate":
            out_height, out_width = -(-height // 3), -(-width // 2)
        image = noise(1, 2, height, width, seed=height)
        ours = resize(image, (out_height, out_width), mode=mode)
        expected = reference.resize(image.double().numpy(), (out_height, out_width), mode)
        # torch's bilinear and bicubic coordinates are float32: up to n px, off by n * 2^-24 px at slopes up to 2.25.
        largest_px = max(64, height, width)
        tolerance = FLOAT_TOLERANCE + (largest_px * 2**-24 * 2 * 2.25 if mode in TORCH_MODES[1:] else 0)
        assert distance(ours, expected) <= tolerance, (height, width, out_height, out_width)


@pytest.mark.parametrize("factor", [1 / 3, 0.5, 0.7, 1.3, 2.0])
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.startswith("matlab")])
def test_matlab_modes_use_the_factor(resize: TensorFunction, mode: str, factor: float) -> None:
    image = noise(1, 1, 23, 31)
    ours = resize(image, resize_factor=factor, mode=mode)
    size = int(np.ceil(round(23 * factor, 6))), int(np.ceil(round(31 * factor, 6)))
    assert distance(ours, reference.resize(image.double().numpy(), size, mode, factor)) <= FLOAT_TOLERANCE


# ---- Against other programs


def torch_resize(image: torch.Tensor, mode: str, **arguments: Any) -> torch.Tensor:
    name = mode.removeprefix("torch_").removesuffix("_aa").replace("_", "-")
    options = {} if name in ("area", "nearest-exact") else {"align_corners": False, "antialias": mode.endswith("_aa")}
    made = functional.interpolate(image, mode=name, **arguments, **options)
    if mode.endswith("_aa") and made.shape[-1] == 1:
        # torch repeats the first row of an antialiased result of one column; that of the transposed image is right.
        if "size" in arguments:
            arguments = {"size": arguments["size"][::-1]}
        made = functional.interpolate(image.mT.contiguous(), mode=name, **arguments, **options).mT
    return made


@pytest.mark.parametrize("mode", TORCH_MODES)
def test_equals_torch(resize: TensorFunction, mode: str) -> None:
    rng = np.random.default_rng(5)
    # torch sums whole windows in float32, thousands of px at strong shrinkage, so area is compared with its double.
    precise = mode == "torch_area"
    for case in range(60):
        height, width, out_height, out_width = (int(side) for side in rng.integers(1, 12 if case % 3 == 0 else 300, 4))
        image = noise(1, 2, height, width, seed=case)
        theirs = image.double() if precise else image
        ours = resize(image, (out_height, out_width), mode=mode)
        expected = torch_resize(theirs, mode, size=(out_height, out_width))
        assert distance(ours, expected) <= FLOAT_TOLERANCE, (height, width, out_height, out_width)
        lowest = max(1 / 64, 1.001 / min(height, width))
        factor = float(np.exp(rng.uniform(np.log(lowest), np.log(4)))) if lowest < 1 else 2.3
        ours = resize(image, resize_factor=factor, mode=mode)
        assert distance(ours, torch_resize(theirs, mode, scale_factor=factor)) <= FLOAT_TOLERANCE, (
            height,
            width,
            factor,
        )


@pytest.mark.parametrize("mode", TORCH_MODES)
@pytest.mark.parametrize(
    ("size", "out"), [((1, 1), (16, 16)), ((512, 3), (8, 48)), ((640, 640), (10, 10)), ((1, 64), (16, 1))]
)
def test_equals_torch_at_extreme_ratios(
    resize: TensorFunction, mode: str, size: tuple[int, int], out: tuple[int, int]
) -> None:
    image = noise(1, 3, *size)
    theirs = image.double() if mode == "torch_area" else image
    assert distance(resize(image, out, mode=mode), torch_resize(theirs, mode, size=out)) <= FLOAT_TOLERANCE


@pytest.mark.parametrize(("mode", "name"), [("lanczos3", "LANCZOS"), ("catmull_rom", "BICUBIC")])
def test_equals_pillow(resize: TensorFunction, mode: str, name: str) -> None:
    from PIL import Image

    rng = np.random.default_rng(6)
    for case in range(40):
        height, width, out_height, out_width = (int(side) for side in rng.integers(1, 12 if case % 3 == 0 else 200, 4))
        image = noise(1, 1, height, width, seed=case)
        theirs = Image.fromarray(image[0, 0].numpy(), "F").resize((out_width, out_height), Image.Resampling[name])
        ours = resize(image, (out_height, out_width), mode=mode)
        assert distance(ours[0, 0], np.array(theirs)) <= FLOAT_TOLERANCE, (height, width, out_height, out_width)


@pytest.mark.parametrize("mode", CV2_MODES)
def test_equals_opencv(resize: TensorFunction, mode: str) -> None:
    import cv2

    method = {"cv2_linear": cv2.INTER_LINEAR, "cv2_cubic": cv2.INTER_CUBIC, "cv2_area": cv2.INTER_AREA}[mode]
    # OpenCV 5 keeps fractions of coordinates in double, as we do; OpenCV 4, and 5 for images narrower than the cubic
    # kernel, round coordinates to float32 first, which moves them by up to 200 * 2^-24 px at slopes up to 2.25.
    in_double = int(cv2.__version__.split(".")[0]) >= 5
    rng = np.random.default_rng(6)
    for case in range(100):
        height, width, out_height, out_width = (int(side) for side in rng.integers(1, 12 if case % 3 == 0 else 200, 4))
        image = noise(1, 3, height, width, seed=case)
        expected = cv2.resize(image[0].permute(1, 2, 0).numpy(), (out_width, out_height), interpolation=method)
        ours = resize(image, (out_height, out_width), mode=mode)[0].permute(1, 2, 0)
        tolerance = FLOAT_TOLERANCE if in_double and (width >= 4 or mode != "cv2_cubic") else 6e-5
        where = (height, width, out_height, out_width)
        assert distance(ours, expected.reshape(out_height, out_width, 3)) <= tolerance, where


def test_equals_matlab(resize: TensorFunction, shared: Path) -> None:
    arrays = np.load(shared / "golden" / "matlab_imresize_mat.npz", allow_pickle=False)
    cases = json.loads((shared / "golden" / "matlab_imresize_mat.json").read_text())
    compared = 0
    for name, case in cases.items():
        expected = np.atleast_3d(arrays[f"out__{name}"])
        key = f"in__{name}" if f"in__{name}" in arrays.files else f"in_u8__{name}"
        image = np.atleast_3d(arrays[key]).astype(np.float64) / (255 if key.startswith("in_u8") else 1)
        shrinks = expected.shape[0] < image.shape[0] or expected.shape[1] < image.shape[1]
        # The modes always low-pass and mirror; MATLAB without antialiasing or of 2011 is for `pydegrade.imresize`.
        if case["border"] != "symmetric" or (case["method"] == "bicubic" and shrinks and not case["antialiasing"]):
            continue
        planes = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        ours = resize(planes, expected.shape[:2], mode=f"matlab_{case['method']}")[0].permute(1, 2, 0)
        # float32 arithmetic: relative to the largest value.
        assert distance(ours, expected) <= FLOAT_TOLERANCE * max(1, np.abs(image).max()), name
        compared += 1
    assert compared >= 8


def test_equals_interpolate_goldens(resize: TensorFunction, shared: Path) -> None:
    arrays = np.load(shared / "golden" / "basicsr_ops.npz", allow_pickle=False)
    image = torch.from_numpy(arrays["crop_u8"].astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None]
    names = [name for name in arrays.files if name.startswith("interp__")]
    assert len(names) == 15
    for name in names:
        _, mode, how = name.split("__")
        kind, value = how.split("_")
        if kind == "size":
            height, width = value.split("x")
            ours = resize(image, (int(height), int(width)), mode=f"torch_{mode}")
        else:
            ours = resize(image, resize_factor=float(value), mode=f"torch_{mode}")
        assert distance(ours[0], arrays[name]) <= FLOAT_TOLERANCE, name
    for factor in (0.5, 0.25, 2.0):
        ours = resize(image, resize_factor=factor, mode="matlab_bicubic")[0]
        # The original works in float32 with float32 weights.
        assert distance(ours, arrays[f"basicsr_imresize__{factor:f}"]) <= 2e-6


# ---- Laws


@pytest.mark.parametrize("mode", MODES)
def test_constant_stays_constant_and_factor_one_is_the_image(resize: TensorFunction, mode: str) -> None:
    for out in ((5, 9), (31, 1), (80, 64), (17, 70)):
        flat = torch.full((1, 1, 17, 33), 0.7)
        # Rounding of up to ten weights and sums per axis.
        assert distance(resize(flat, out, mode=mode), torch.full((1, 1, *out), 0.7)) <= 5e-7
    image = noise(2, 3, 19, 37)
    interpolates = mode not in ("mitchell", "b_spline")  # at whole distances the weights of the others are 0 and 1
    assert torch.equal(resize(image, (19, 37), mode=mode), image) == interpolates
    assert torch.equal(resize(image, resize_factor=1.0, mode=mode), image) == interpolates


def test_decimate_takes_every_nth_px(resize: TensorFunction) -> None:
    image = noise(1, 2, 23, 40)
    for n in (1, 2, 3, 4, 7):
        assert torch.equal(resize(image, resize_factor=1 / n, mode="decimate"), image[:, :, ::n, ::n])
        assert torch.equal(
            resize(image, resize_factor=float(np.float32(1 / n)), mode="decimate"), image[:, :, ::n, ::n]
        )


@pytest.mark.parametrize("mode", MODES)
def test_adjoint_is_the_transposed_map(resize: TensorFunction, mode: str) -> None:
    for size, out in (((9, 14), (4, 31)), ((3, 2), (40, 5)), ((40, 33), (1, 2)), ((1, 5), (6, 5))):
        pixels = size[0] * size[1]
        basis = torch.eye(pixels).reshape(pixels, 1, *size)
        matrix = resize(basis, out, mode=mode).reshape(pixels, -1)
        image = noise(2, 3, *size, seed=1).requires_grad_()
        weights = noise(2, 3, *out, seed=2) - 0.5
        (gradient,) = torch.autograd.grad(resize(image, out, mode=mode), image, weights)
        expected = (weights.double().flatten(2) @ matrix.double().T).reshape(gradient.shape)
        # Sums of up to 1320 products in float32.
        assert distance(gradient, expected) <= 3e-6 * max(1.0, float(expected.abs().max()))


def test_gradient_of_the_gradient_is_the_map(resize: TensorFunction) -> None:
    image = noise(1, 2, 9, 8).requires_grad_()
    weights = noise(1, 2, 5, 12).requires_grad_()
    (gradient,) = torch.autograd.grad(resize(image, (5, 12)), image, weights, create_graph=True)
    direction = noise(1, 2, 9, 8, seed=3)
    (second,) = torch.autograd.grad(gradient, weights, direction)
    assert torch.equal(second, resize(direction, (5, 12)))


@pytest.mark.slow
def test_opcheck() -> None:
    images = noise(2, 2, 7, 9).requires_grad_()
    integers = (torch.tensor([7, 7], dtype=torch.int32), torch.tensor([9, 9], dtype=torch.int32))
    sizes = (torch.tensor([5, 10], dtype=torch.int32), torch.tensor([12, 3], dtype=torch.int32))
    modes = torch.tensor([2, 6], dtype=torch.int32)
    scales = torch.zeros(2, dtype=torch.float64)
    layout = (torch.tensor([0, 126]), *integers, 2)
    total = 2 * (60 + 30)
    torch.library.opcheck(
        torch.ops.pydegrade.resize,
        (images.detach().reshape(-1).requires_grad_(), *layout, *sizes, modes, scales, scales, total),
    )
    grad = noise(total).requires_grad_()
    torch.library.opcheck(torch.ops.pydegrade.resize_adjoint, (grad, *layout, *sizes, modes, scales, scales, 252))


def test_op_refuses_layouts_outside_its_memory() -> None:
    one = torch.ones(1, dtype=torch.int32)
    scale = torch.zeros(1, dtype=torch.float64)
    arguments = (torch.zeros(1, dtype=torch.int64), 3 * one, 3 * one, 1, 2 * one, 2 * one, one, scale, scale)
    with pytest.raises(ValueError, match="resize: the layout of data does not fit 8 values"):
        torch.ops.pydegrade.resize(torch.zeros(8), *arguments, 4)
    with pytest.raises(ValueError, match="resize: the layout of the result does not fit 3 values"):
        torch.ops.pydegrade.resize(torch.zeros(9), *arguments, 3)


# ---- Equal bits

DIGEST = """
import hashlib, sys, torch
sys.path[:0] = {path!r}
from pydegrade.native import binding
from pydegrade.ops.resize import MODES, resize
print(binding.isa_name())
digest = hashlib.sha256()
for mode in MODES:
    for size, out in (
        ((37, 53), (20, 91)), ((70, 66), (35, 33)), ((5, 3), (33, 40)), ((90, 7), (11, 3)),
        ((20, 150), (24, 260)), ((20, 150), (14, 101)), ((20, 211), (10, 73)), ((20, 170), (30, 20)),
    ):
        image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)).requires_grad_()
        result = resize(image, out, mode=mode)
        (gradient,) = torch.autograd.grad(result, image, result.detach())
        digest.update(result.detach().numpy().tobytes() + gradient.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_same_bits_on_every_instruction_set() -> None:
    levels = [level for level in ("v2", "v3", "v4") if level <= binding.isa_name()]
    if not levels:
        pytest.skip("one instruction set in this build")
    digests = set()
    for level in levels:
        run = subprocess.run(
            [sys.executable, "-c", DIGEST.format(path=sys.path)],
            env={**os.environ, "PYDEGRADE_ISA": level},
            capture_output=True,
            text=True,
            check=True,
        )
        name, digest = run.stdout.split()
        assert name == level
        digests.add(digest)
    assert len(digests) == 1


@pytest.mark.parametrize("mode", MODES)
def test_same_bits_for_any_threads_and_batch(resize: TensorFunction, mode: str) -> None:
    images = noise(5, 3, 150, 90)
    for out in ((70, 41), (200, 133)):
        together = resize(images, out, mode=mode)
        assert torch.equal(together, torch.cat([resize(image[None], out, mode=mode) for image in images]))
        for threads in (1, 3):
            try:
                binding.set_num_threads(threads)
                assert torch.equal(resize(images, out, mode=mode), together)
            finally:
                binding.set_num_threads(None)


def test_modes_and_factors_per_image(resize: TensorFunction) -> None:
    images = noise(3, 3, 40, 40)
    modes = ["torch_area", "matlab_bicubic", "cv2_cubic"]
    mixed = resize(images, resize_factor=[0.5, 0.5, 0.5], mode=modes)
    for row, mode in enumerate(modes):
        assert torch.equal(mixed[row : row + 1], resize(images[row : row + 1], resize_factor=0.5, mode=mode))
    before = images.clone()
    resize(images.permute(0, 1, 3, 2), (9, 9))
    assert torch.equal(images, before)
    assert torch.equal(
        resize(images.permute(0, 1, 3, 2), (9, 8)), resize(images.permute(0, 1, 3, 2).contiguous(), (9, 8))
    )
    assert resize(torch.empty(2, 3, 8, 8, device="meta"), (4, 5)).shape == (2, 3, 4, 5)
    assert resize(torch.empty(0, 3, 8, 8), (4, 5)).shape == (0, 3, 4, 5)


# ---- Declaration


def columns_of(mode: str, factor: float, rule: str) -> dict[str, np.ndarray]:
    return {
        "mode": np.array([MODES.index(mode)], np.int32),
        "resize_factor": np.array([factor], np.float32),
        "rule": np.array([RULES.index(rule)], np.int32),
    }


SPACE = """
[space]
name = "resized"
scale = 1
source = "a test"

[[slot]]
name = "first"
op = "resize"
resize_factor = { uniform = [0.1, 2.0] }

[[slot]]
name = "last"
op = "resize"
rule = "final"
resize_factor = { uniform = [1.0, 1.0] }
"""


def planned(mode: str, factor: float, rule: str, sides: list[int]) -> Plan:
    """One resize for each side; a second one goes back to the side itself, which is the final one."""
    tasks = pydegrade.sample(pydegrade.Space.loads(SPACE), 0, range(len(sides)))
    columns = {f"first.{name}": np.full(len(sides), value[0]) for name, value in columns_of(mode, factor, rule).items()}
    columns["last.rule"] = np.full(len(sides), RULES.index("final"), np.int32)
    return make_plan(replace(tasks, columns=columns), Layout.of_sizes(np.array(sides), np.array(sides)))


def out_sizes(mode: str, factor: float, rule: str, sides: list[int]) -> list[int]:
    """Sides after the first resize; where it leaves the size alone it is no step, and the second one is none either."""
    plan = planned(mode, factor, rule, sides)
    assert (plan.step_height == plan.step_width).all()
    assert (plan.step_slot[plan.step_start[:-1][np.diff(plan.step_start) > 0]] == 0).all()
    return [
        int(plan.step_height[first]) if last > first else side
        for first, last, side in zip(plan.step_start, plan.step_start[1:], sides)
    ]


def test_sizes() -> None:
    sides = list(range(1, 400))
    for divisor in (2, 3, 4, 7, 8):
        assert out_sizes("matlab_bicubic", 1 / divisor, "input", sides) == [-(-n // divisor) for n in sides]
        assert out_sizes("decimate", 1 / divisor, "input", sides) == [-(-n // divisor) for n in sides]
    stored = float(np.float32(0.37))
    assert out_sizes("torch_area", 0.37, "input", sides) == [max(int(n * stored), 1) for n in sides]
    assert out_sizes("torch_bicubic", 1.31, "input", [128]) == [167]
    assert out_sizes("matlab_bicubic", 0.6, "input", [5]) == [3]
    assert out_sizes("torch_bicubic", 1.5, "final", [101]) == [151]
    assert out_sizes("matlab_bicubic", 0.3, "final", [101]) == [30]
    assert out_sizes("torch_bicubic", 0.015625, "final", [3]) == [1]


def test_declaration() -> None:
    assert [column.name for column in OP.columns] == ["mode", "resize_factor", "rule"]

    def scale(mode: str, factor: float, rule: str) -> float:
        params = planned(mode, factor, rule, [64]).params["resize"]
        assert params["scale_y"][0] == params["scale_x"][0]
        return float(params["scale_y"][0])

    assert scale("torch_bicubic", 0.3, "input") == float(np.float32(0.3))
    assert scale("matlab_bicubic", 1 / 3, "input") == 1 / 3
    assert scale("matlab_bicubic", 1.3, "input") == float(np.float32(1.3))
    assert scale("torch_bicubic", 0.3, "final") == 0
    assert scale("cv2_cubic", 0.3, "input") == 0
    assert OP.neutral(columns_of("torch_bicubic", 1.0, "input")).all()
    assert not OP.neutral(columns_of("torch_bicubic", 1.0, "final")).any()
    assert not OP.active(columns_of("torch_bicubic", 1.0, "input"))["mode"].any()
    assert OP.active(columns_of("torch_bicubic", 1.5, "input"))["rule"].all()


# ---- Messages


IMAGES = torch.ones(2, 3, 4, 4)
EITHER = "give either size or resize_factor"
MODE_NAMES = ", ".join(map(repr, MODES))
MESSAGES = [
    (([[1.0]], (2, 2)), TypeError, "images must be a tensor [B, C, H, W], got list"),
    ((IMAGES[0], (2, 2)), ValueError, "images must be [B, C, H, W] with C, H, W >= 1, got shape [3, 4, 4]"),
    ((IMAGES.double(), (2, 2)), TypeError, "images must be float32, got torch.float64"),
    ((IMAGES,), ValueError, EITHER),
    ((IMAGES, (2, 2), 0.5), ValueError, EITHER),
    ((IMAGES, (2, 0)), ValueError, "size must be (height, width), whole numbers >= 1, got (2, 0)"),
    ((IMAGES, 2), ValueError, "size must be (height, width), whole numbers >= 1, got 2"),
    ((IMAGES, None, 17), ValueError, "resize_factor must be in [0.015625, 16], got 17"),
    ((IMAGES, None, [1, float("nan")]), ValueError, "resize_factor must be in [0.015625, 16], got nan at row 1"),
    ((IMAGES, None, [1, 1, 1]), ValueError, "resize_factor must be a number or of shape [2], got shape [3]"),
    (
        (IMAGES, None, [1, 2]),
        ValueError,
        "resize_factor must give all images one size, got 4 x 4 at row 0 and 8 x 8 at row 1",
    ),
    ((IMAGES, (2, 2), None, ["torch_area"]), ValueError, "mode must be one name or 2, got 1"),
    ((IMAGES, (2, 2), None, "bicubic"), ValueError, f"mode must be one of {MODE_NAMES}, got 'bicubic'"),
    ((IMAGES, (2, 2), None, ["decimate", "x"]), ValueError, f"mode must be one of {MODE_NAMES}, got 'x' at row 1"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), MESSAGES)
def test_messages(resize: TensorFunction, arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        resize(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == f"resize: {message}"
