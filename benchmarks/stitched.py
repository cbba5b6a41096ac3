"""The careful user's pipeline: the same tasks, image by image, stitched together from OpenCV, NumPy and Pillow calls.

Unlike the usual torch pipeline it can give every image its own parameters. Sizes and kernels are handed to it ready, so
that only the work on pixels is compared. Isotropic blurs and the sharpening run separably, images on parallel threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import pydegrade
from pydegrade.native.packed import dense_layout
from pydegrade.plan import make_plan

from . import peers
from .peers import Array

COVARIANCE = ("rr", "rg", "rb", "rg", "gg", "gb", "rb", "gb", "bb")


@dataclass(frozen=True)
class Step:
    """One slot of one task.

    Attributes:
        op: blur, resize, noise, jpeg or sharpen.
        values: its columns by short name; names for choices.
        kernel: blur: float32 [k, k], or the line [k] of a separable one.
        height, width: size afterwards, px.
    """

    op: str
    values: Mapping[str, Any]
    kernel: Array | None
    height: int
    width: int


def steps_of(tasks: pydegrade.TaskBatch, hr: torch.Tensor) -> list[list[Step]]:
    """What each task does, slots that do nothing left out."""
    plan = make_plan(tasks, dense_layout(hr))
    slots = tasks.space.slots
    kernels = {slot.name: pydegrade.kernels.of_tasks(tasks, slot.name) for slot in slots if slot.op == "blur"}
    labels = {
        f"{slot.name}.{column.name}": tasks.labels(f"{slot.name}.{column.name}")
        if column.choices
        else tasks.column(f"{slot.name}.{column.name}").tolist()
        for slot in slots
        for column in tasks.space.op(slot.name).columns
    }

    def one(row: int, step: int) -> Step:
        slot = slots[plan.step_slot[step]]
        columns = tasks.space.op(slot.name).columns
        values = {column.name: labels[f"{slot.name}.{column.name}"][row] for column in columns}
        kernel = None
        if slot.op == "blur":
            kernel = kernels[slot.name][row].astype(np.float32)
            if values["shape"] == "iso" and values["shift_px"] == 0:
                kernel = kernel.sum(0)
        return Step(slot.op, values, kernel, int(plan.step_height[step]), int(plan.step_width[step]))

    starts = plan.step_start.tolist()
    return [[one(row, step) for step in range(starts[row], starts[row + 1])] for row in range(len(tasks))]


def degrade(image: Array, steps: list[Step], generator: np.random.Generator) -> Array:
    """float32 [H, W, 3] in [0, 1] -> uint8 [h, w, 3]."""
    for step in steps:
        image = OPS[step.op](image, step, generator)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _blur(image: Array, step: Step, generator: np.random.Generator) -> Array:
    cv2 = peers.module("opencv")
    kernel = step.kernel
    assert kernel is not None
    if kernel.ndim == 1:
        return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def _resize(image: Array, step: Step, generator: np.random.Generator) -> Array:
    cv2 = peers.module("opencv")
    mode, size = step.values["mode"], (step.width, step.height)
    if mode == "decimate":
        every = round(image.shape[0] / step.height)
        return np.ascontiguousarray(image[::every, ::every])
    if mode == "matlab_bicubic":
        # Pillow's bicubic has MATLAB's kernel and widening; the two differ only at borders.
        pillow = peers.library("pillow").module
        planes = [pillow.fromarray(np.ascontiguousarray(image[..., c])).resize(size, pillow.BICUBIC) for c in range(3)]
        return np.stack([np.asarray(plane) for plane in planes], axis=-1)
    kind = mode.partition("_")[2]
    code = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "bilinear": cv2.INTER_LINEAR}.get(kind, cv2.INTER_CUBIC)
    return cv2.resize(image, size, interpolation=code)


def _noise(image: Array, step: Step, generator: np.random.Generator) -> Array:
    kind, gray = step.values["kind"], bool(step.values["gray"])
    shape = (*image.shape[:2], 1) if gray else image.shape
    if kind == "gaussian":
        noise = generator.standard_normal(shape, np.float32) * np.float32(step.values["sigma_8bit"] / 255)
    elif kind == "correlated":
        covariance = np.array([step.values[f"cov_{pair}_8bit2"] for pair in COVARIANCE]).reshape(3, 3) / 255**2
        noise = generator.multivariate_normal(np.zeros(3), covariance, image.shape[:2]).astype(np.float32)
    else:
        base = image @ np.array([[0.2989], [0.587], [0.114]], np.float32) if gray else image
        level = np.round(np.clip(base, 0, 1) * 255)
        counts = np.bincount(level.astype(np.uint8).ravel(), minlength=256)
        peak = 2.0 ** math.ceil(math.log2(np.count_nonzero(counts)))
        clean = level / np.float32(255)
        drawn = generator.poisson(clean * np.float32(peak)).astype(np.float32) / np.float32(peak)
        noise = (drawn - clean) * np.float32(step.values["poisson_gain"])
    return np.clip(image + noise, 0, 1)


def _jpeg(image: Array, step: Step, generator: np.random.Generator) -> Array:
    cv2 = peers.module("opencv")
    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    code = jpeg_sampling(cv2, step.values["subsampling"])
    settings = [cv2.IMWRITE_JPEG_QUALITY, round(step.values["quality"]), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, code]
    # The file's channel order does not matter to a round trip only if it is the codec's: OpenCV wants BGR.
    data = cv2.imencode(".jpg", cv2.cvtColor(levels, cv2.COLOR_RGB2BGR), settings)[1]
    decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return decoded.astype(np.float32) * np.float32(1 / 255)


def jpeg_sampling(cv2: Any, subsampling: str) -> int:
    """OpenCV's code for "444", "422" or "420"."""
    return int(getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling}"))


def sharpen_line() -> Array:
    """float32 [51]: the Gaussian of USMSharp(radius=50), sigma by OpenCV's rule, 8.0."""
    x = np.arange(51) - 25
    line = np.exp(-(x**2) / (2 * 8.0**2))
    return (line / line.sum()).astype(np.float32)


def sharpen(image: Array, weight: float = 0.5, threshold_8bit: float = 10.0) -> Array:
    """USM of Real-ESRGAN with two separable filters, float32 [H, W, 3]."""
    cv2 = peers.module("opencv")
    line = sharpen_line()
    residual = image - cv2.sepFilter2D(image, -1, line, line, borderType=cv2.BORDER_REFLECT_101)
    mask = (np.abs(residual) * 255 > threshold_8bit).astype(np.float32)
    mask = cv2.sepFilter2D(mask, -1, line, line, borderType=cv2.BORDER_REFLECT_101)
    return mask * np.clip(image + np.float32(weight) * residual, 0, 1) + (1 - mask) * image


def _sharpen(image: Array, step: Step, generator: np.random.Generator) -> Array:
    return sharpen(image, step.values["weight"], step.values["threshold_8bit"])


OPS = {"blur": _blur, "resize": _resize, "noise": _noise, "jpeg": _jpeg, "sharpen": _sharpen}
