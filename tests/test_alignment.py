"""Where things lie: a blob keeps its place through every preset, resize mode and `blur_down`, so that pairs are aligned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade.ops import OPS
from pydegrade.tasks.space import preset_names

SIDE_PX = 192
TASKS = 80
# Sources that shift by themselves: direct subsampling keeps the first pixel of every `scale`, which lies
# (scale - 1) / 2 HR px to the upper left of their middle, so the LR image lies that much to the lower right.
SHIFTED_LR_PX = {f"mzsr-direct-x{scale}": (scale - 1) / 2 / scale for scale in (2, 3, 4)}
# Modes whose coordinates follow a given factor, as torch's `scale_factor` and MATLAB's `scale` do; others use the sizes.
BY_FACTOR = ("torch_bilinear", "torch_bicubic", "matlab")
# The others change values and move nothing; left out, for they would blur what is measured.
_MOVE = ("blur", "resize", "sharpen", "unsharp")


def blob(center_y: float, center_x: float, side_px: int = SIDE_PX, sigma_px: float = 9.0) -> torch.Tensor:
    y, x = np.mgrid[0:side_px, 0:side_px]
    value = np.exp(-((y - center_y) ** 2 + (x - center_x) ** 2) / (2 * sigma_px**2))
    return torch.from_numpy(value.astype(np.float32)).expand(3, -1, -1).contiguous()


def centroid(image: torch.Tensor) -> tuple[float, float]:
    """(y, x) in px; values below a twentieth of the peak are left out, as sharpening and rounding disturb them."""
    plane = image[0].double().numpy()
    weight = np.where(plane > plane.max() / 20, plane, 0.0)
    y, x = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
    return float((y * weight).sum() / weight.sum()), float((x * weight).sum() / weight.sum())


def reduced(center: float, scale: float) -> float:
    """Where a coordinate lies after a resize whose pixels cover equal areas."""
    return (center + 0.5) * scale - 0.5


def without_levels(tasks: pydegrade.TaskBatch) -> pydegrade.TaskBatch:
    moving = {slot.name for slot in tasks.space.slots if slot.op in _MOVE}
    return tasks.replace(order=[",".join(name for name in order if name in moving) for order in tasks.orders()])


def expected_place(
    tasks: pydegrade.TaskBatch, row: int, stages: list[pydegrade.Stage], place: float, axis: int
) -> float:
    """Where a coordinate of the HR image lies in the last stage when no blur moves it.

    Resizes by a factor use that factor for coordinates although the size is rounded down, so the last fraction of a
    pixel is cut off at the right and at the bottom; the resize to the final size then stretches what is left.
    Real-ESRGAN and its kin do so: a place moves by up to the cut fraction, which is part of the published model.
    """
    side = stages[0].image.shape[axis]
    for stage in stages[1:]:
        scale = stage.image.shape[axis] / side
        slot = next((slot for slot in tasks.space.slots if slot.name == stage.slot), None)
        if slot is not None and slot.op == "resize" and f"{slot.name}.resize_factor" in tasks.columns:
            drawn = f"{slot.name}.rule" in tasks.columns
            rule = tasks.labels(f"{slot.name}.rule")[row] if drawn else tasks.space.column(f"{slot.name}.rule").neutral
            if rule == "input" and tasks.labels(f"{slot.name}.mode")[row].startswith(BY_FACTOR):
                scale = float(tasks.column(f"{slot.name}.resize_factor")[row])
        place, side = reduced(place, scale), stage.image.shape[axis]
    return place


def tolerance(tasks: pydegrade.TaskBatch, row: int, stages: list[pydegrade.Stage], axis: int) -> float:
    """0.3 px of the smallest image of the chain, in px of the last one: what is enlarged afterwards is no more exact.

    Picking the nearest pixel may move everything by half a pixel of the image it picks from.
    """
    sides = [stage.image.shape[axis] for stage in stages]
    picked = [
        0.5 * sides[-1] / before
        for before, stage in zip(sides, stages[1:])
        if f"{stage.slot}.mode" in tasks.columns and "nearest" in tasks.labels(f"{stage.slot}.mode")[row]
    ]
    return 0.3 * sides[-1] / min(sides) + sum(picked)


@pytest.mark.representatives(1)
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_keeps_a_blob_in_its_place(preset):
    space = pydegrade.Space.load(preset)
    tasks = without_levels(pydegrade.sample(space, 5, range(TASKS)))
    shift = SHIFTED_LR_PX.get(preset, 0.0)
    center = (SIDE_PX * 0.46, SIDE_PX * 0.53)
    hr = blob(*center)
    for first in range(0, TASKS, 40):
        part = tasks.take(np.arange(first, first + 40))
        for row, stages in enumerate(pydegrade.trace([hr] * 40, part)):
            for axis, found in zip((1, 2), centroid(stages[-1].image)):
                off = found - expected_place(part, row, stages, center[axis - 1], axis) - shift
                allowed = tolerance(part, row, stages, axis)
                assert abs(off) < allowed, f"{off:+.2f} LR px, allowed {allowed:.2f}\n{part.describe(row)}"


MODES = next(op for op in OPS if op.name == "resize").column("mode").choices


# Decimation takes whole factors only.
@pytest.mark.parametrize(
    ("mode", "factor"),
    [(mode, factor) for mode in MODES for factor in (0.25, 0.5, 0.7, 1.5) if mode != "decimate" or factor <= 0.5],
)
def test_every_resize_mode_keeps_a_blob_in_its_place(mode, factor):
    center = (80.0, 101.0)
    out = pydegrade.ops.resize(blob(*center)[None], resize_factor=factor, mode=mode)[0]
    # Decimation keeps the first pixel of each block; that shift is its definition.
    shift = (1 - factor) / 2 if mode == "decimate" else 0.0
    # Nearest modes, and MATLAB's box when enlarging, take one neighbour of a coordinate that lies halfway.
    tolerance = (
        0.51 if mode in ("matlab_nearest", "torch_nearest_exact") or (mode == "matlab_box" and factor > 1) else 0.02
    )
    scale = factor if mode.startswith(BY_FACTOR) else out.shape[-1] / SIDE_PX
    for found, place in zip(centroid(out), center):
        assert abs(found - reduced(place, scale) - shift) < tolerance


@pytest.mark.parametrize(("subsampling", "shift"), [("direct", 0.25), ("bicubic", 0.0)])
def test_blur_down_keeps_a_blob_in_its_place(subsampling, shift):
    kernel = pydegrade.kernels.gaussian(15, 1.5)
    center = (80.0, 101.0)
    made = pydegrade.blur_down(blob(*center).permute(1, 2, 0).numpy(), kernel, 2, subsampling)
    for found, place in zip(centroid(torch.from_numpy(made).permute(2, 0, 1)), center):
        assert abs(found - reduced(place, 0.5) - shift) < 0.02


def test_a_shifted_blur_moves_the_image_to_the_upper_left():
    space = pydegrade.Space.loads(
        '[space]\nname = "s"\nscale = 1\nsource = "test"\n[[slot]]\nname = "blur"\nop = "blur"\nshape = "iso"\n'
        "size_px = 25\nsigma_x_px = 2.0\nshift_px = 1.5\n"
    )
    out = pydegrade.degrade(blob(80.0, 101.0)[None], pydegrade.sample(space, 0, [0]))[0]
    for found, place in zip(centroid(out), (80.0, 101.0)):
        assert abs(found - (place - 1.5)) < 0.02


def test_addresses_of_the_other_direction_are_refused():
    with pytest.raises(pydegrade.TaskError, match="the space has changed since"):
        pydegrade.TaskBatch.from_addresses(["bsrgan-x4@71519ada/s0/i3"])
