"""The roofline of a chain: the least time each step of each task could take on this machine, and their sum.

The floor of a step is the largest of three times: its bytes (image read once, result written once) at the bandwidth with
which one image is copied in cache, its multiply-adds at the peak of the vector units, and its integer and other lane
operations at the peak of integer additions. The ceilings are measured in the same run (measure.py). No implementation
reaches the sum: loads beside multiply-adds, borders, tails and what runs between the loops all come on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import pydegrade
from pydegrade.native import binding
from pydegrade.native.packed import dense_layout
from pydegrade.ops.resize import MODES
from pydegrade.plan import Plan, make_plan

from .measure import Ceilings

OP_NAMES = {code: name for name, code in binding.OPS.items()}
SEPARABLE, DENSE = 1, 2

# Lane operations, counted from the formulas, a fused multiply-add as one.
PHILOX_PER_WORD = 20
"""Philox4x32-10: ten rounds of two 32x32 -> 64 multiplications (two lane operations each) and four exclusive-ors give four
words; the key schedule is the same for all lanes."""
NORMAL = 17
"""Box-Muller with short polynomials, per normal: logarithm 10, square root 2, sine or cosine 4, product 1."""
ADD_AND_CLIP = 4
POISSON = 30
"""Rounding to a level 4, one gathered table entry (16: a gather loads two lanes per cycle where arithmetic does 32),
comparison, selection and first count 6, back to pixels 4."""
JPEG_420 = 120
"""Per pixel: colours to YCbCr and back 30, resampling of chroma 12, 1.5 planes of two transforms in two directions at 7.5
(Loeffler's 12 products and 32 sums and 16 for rounding, per 8 values) 45, quantising and back 18, floats to integers
and back 15."""
JPEG_444 = 171
"""The same with 3 planes and no resampling."""

# Taps of a mode per output sample where it enlarges, and whether they widen by 1 / scale where it shrinks.
TAPS = {"bilinear": 2, "linear": 2, "bicubic": 4, "cubic": 4, "box": 1, "lanczos2": 4, "lanczos3": 6, "nearest": 1}


@dataclass(frozen=True)
class Roofline:
    """Sum of floors.

    Attributes:
        seconds: op name -> seconds of floor over all rows.
        total_s: their sum and reading HR and writing LR once at memory bandwidth.
    """

    seconds: dict[str, float]
    total_s: float


def roofline(tasks: pydegrade.TaskBatch, hr: torch.Tensor, limits: Ceilings) -> Roofline:
    """Floors of these tasks on these images, all threads of `limits` working on different images."""
    plan = make_plan(tasks, dense_layout(hr))
    seconds = dict.fromkeys(OP_NAMES.values(), 0.0)
    moved = 0.0
    for row in range(len(tasks)):
        height, width = int(plan.src.height[row]), int(plan.src.width[row])
        moved += 3 * 4 * height * width + 3 * 4 * int(plan.dst.height[row]) * int(plan.dst.width[row])
        for step in range(int(plan.step_start[row]), int(plan.step_start[row + 1])):
            size = (int(plan.step_height[step]), int(plan.step_width[step]))
            name = OP_NAMES[int(plan.step_op[step])]
            gflop, gop = work(plan, name, int(plan.step_item[step]), (height, width), size)
            gbytes = 3 * 4 * (height * width + size[0] * size[1]) / 1e9
            seconds[name] += max(
                gbytes / limits.copy_image_gb_per_s, gflop / limits.fma_gflops, gop / limits.integer_gops
            )
            height, width = size
    seconds["read HR, write LR"] = moved / 1e9 / limits.copy_batch_gb_per_s
    return Roofline({name: value for name, value in seconds.items() if value > 0}, sum(seconds.values()))


def work(plan: Plan, op: str, item: int, src: tuple[int, int], dst: tuple[int, int]) -> tuple[float, float]:
    """(GFLOP of multiply-adds, G lane operations) of one step on three planes."""
    params = plan.params[op]
    pixels = dst[0] * dst[1] / 1e9
    if op == "blur":
        size, path = int(params["size_px"][item]), int(params["path"][item])
        taps = {SEPARABLE: 2 * size, DENSE: size * size}.get(path, 0)
        return 2 * 3 * taps * pixels, 0.0
    if op == "sharpen":
        radius = int(params["radius_px"][item])
        return 2 * 3 * 4 * (radius + 1 - radius % 2) * pixels, 0.0
    if op == "resize":
        return 2 * 3 * _resize_taps(MODES[int(params["mode"][item])], src, dst) / 1e9, 0.0
    if op == "noise":
        fields = 1 if int(params["gray"][item]) else 3
        draw = POISSON if int(params["kind"][item]) == 2 else NORMAL
        return 0.0, (fields * (PHILOX_PER_WORD + draw) + 3 * ADD_AND_CLIP) * pixels
    full_chroma = int(params["subsampling"][item]) == 0
    return 0.0, (JPEG_444 if full_chroma else JPEG_420) * pixels


def _resize_taps(mode: str, src: tuple[int, int], dst: tuple[int, int]) -> float:
    """Multiply-adds per plane of two passes in the cheaper order."""
    family, _, kind = mode.partition("_")
    if mode == "decimate":
        return 0.0
    taps = []
    for before, after in zip(src, dst):
        widening = max(before / after, 1.0)
        if kind == "area":
            taps.append(np.ceil(widening) if widening > 1 else 1.0)
        else:
            taps.append(TAPS[kind] * (widening if family == "matlab" else 1.0))
    both = dst[0] * dst[1]
    vertical_first = taps[0] * dst[0] * src[1] + taps[1] * both
    horizontal_first = taps[1] * src[0] * dst[1] + taps[0] * both
    return float(min(vertical_first, horizontal_first))


def without(tasks: pydegrade.TaskBatch, op: str) -> pydegrade.TaskBatch:
    """The same tasks with every slot of one op switched off, where that is possible without changing sizes."""
    neutral = {
        "blur": ("shape", "delta"),
        "noise": ("kind", "off"),
        "jpeg": ("mode", "off"),
        "sharpen": ("weight", 0.0),
    }
    name, value = neutral[op]
    return tasks.replace(**{f"{slot.name}.{name}": value for slot in tasks.space.slots if slot.op == op})
