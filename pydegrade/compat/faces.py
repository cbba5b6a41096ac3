"""Chains of one stage for faces (GFPGAN, CodeFormer, DiffBIR stage 1, DifFace, OSEDiff's faces) as spaces upon `gfpgan`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .chain import toml_choice, toml_text, toml_uniform

if TYPE_CHECKING:
    from .options import OptionReader

SHAPES = ("iso", "aniso")
FACES_PX = 512


def faces_toml(reader: OptionReader, name: str, source: str) -> str:
    """The text of a space.

    A range that is absent or null is a step that does not happen, as in those projects.
    """
    values = reader.values
    side = int(reader.number("out_size" if "out_size" in values else "gt_size", 1, 65535, FACES_PX, "hr_px"))
    slots: list[list[str]] = []
    without: list[str] = []

    size = int(reader.number("blur_kernel_size", 1, 51, 41, "blur1.size_px"))
    if size % 2 == 0:
        raise reader.fail("blur_kernel_size", "odd")
    names = reader.get("kernel_list", list(SHAPES), "blur1.shape")
    good = isinstance(names, (list, tuple)) and names and all(isinstance(one, str) and one in SHAPES for one in names)
    if not good:
        raise reader.fail("kernel_list", f"a list of {', '.join(SHAPES)}")
    weights = [1.0] * len(names)
    if "kernel_prob" in values:
        weights = reader.weights("kernel_prob", len(names), "blur1.shape, weights")
    shares: dict[str, float] = {}
    for one, weight in zip(names, weights):
        shares[one] = shares.get(one, 0.0) + weight
    sigma = toml_uniform(reader.span("blur_sigma", None, "blur1.sigma_x_px, sigma_y_px"))
    slots.append([
        *_of("blur1"), f"shape = {toml_choice(list(shares.items()))}", f"size_px = {size}", f"sigma_x_px = {sigma}",
        f"sigma_y_px = {sigma}",
    ])  # fmt: skip

    low, high = reader.span("downsample_range", None, "down.resize_factor, its reciprocal")
    if low <= 0:
        raise reader.fail("downsample_range", "[low, high] above 0")
    factor = repr(1 / low) if low == high else f"{{ reciprocal_uniform = [{low!r}, {high!r}] }}"
    slots.append([*_of("down"), f"resize_factor = {factor}"])

    if values.get("noise_range") is None:
        without.append("noise1")
    else:
        slots.append(
            [*_of("noise1"), f"sigma_8bit = {toml_uniform(reader.span('noise_range', None, 'noise1.sigma_8bit'))}"]
        )
    if values.get("jpeg_range") is None:
        without.append("jpeg1")
    else:
        low, high = reader.span("jpeg_range", None, "jpeg1.quality, whole")
        last = max(math.floor(low), math.ceil(high) - 1)  # OpenCV takes the whole part of a quality below the upper end
        quality = f"{math.floor(low)}" if last == math.floor(low) else f"{{ integers = [{math.floor(low)}, {last}] }}"
        slots.append([*_of("jpeg1"), f"quality = {quality}"])

    without += _colours(reader, slots)
    for key in [key for key in values if key.endswith("_large")]:
        reader.unsupported[key] = "the large degradation of a pair of two: the preset codeformer-large"
    if values.get("use_motion_kernel"):
        reader.unsupported["use_motion_kernel"] = "kernels of motion from a file: an own pool of kernels"
    elif "use_motion_kernel" in values:
        reader.mapped["use_motion_kernel"] = "nothing to do"
        if "motion_kernel_prob" in values:
            reader.mapped["motion_kernel_prob"] = "nothing to do"
    if "use_hflip" in values:
        reader.unsupported["use_hflip"] = "crops are mirrored by who cuts them: --augment, PairDataset(augment=...)"

    left_out = ", ".join(toml_text(one) for one in without)
    head = [
        "[space]",
        f"name = {toml_text(name)}",
        'base = "gfpgan"',
        f"source = {toml_text(source)}",
        f"hr_px = {side}",
        *([f"without = [{left_out}]"] if without else []),
    ]
    return "\n\n".join("\n".join(part) for part in [head, *slots]) + "\n"


def _of(name: str) -> list[str]:
    return ["[[slot]]", f"name = {toml_text(name)}"]


def _colours(reader: OptionReader, slots: list[list[str]]) -> list[str]:
    """The colours of LR; gives the slots and gates that there are none of."""
    values: Mapping[str, Any] = reader.values
    without: list[str] = []
    for key, slot, gate in (("color_jitter_prob", "shift", "shifted"), ("color_jitter_pt_prob", "jitter", "jittered")):
        share = 0.0 if values.get(key) is None else reader.prob(key, None, f"{gate}.on")
        if values.get(key, 0) is None:
            reader.mapped[key] = "nothing to do"
        if share == 0:
            without += [slot, gate]
            continue
        slots.append(["[[gate]]", f"name = {toml_text(gate)}", f"on = {{ bernoulli = {share!r} }}"])
        if slot == "shift":
            most = reader.number("color_jitter_shift", 0, 255, 20, "shift.offset_r_8bit, g, b")
            offsets = [f"offset_{plane}_8bit = {toml_uniform((-most, most))}" for plane in "rgb"]
            slots.append([*_of("shift"), *offsets])
            continue
        lines = []
        for option, column, default in (
            ("brightness", "brightness", (0.5, 1.5)),
            ("contrast", "contrast", (0.5, 1.5)),
            ("saturation", "saturation", (0.0, 1.5)),
            ("hue", "hue_turns", (-0.1, 0.1)),
        ):
            lines.append(f"{column} = {toml_uniform(reader.span(option, default, f'jitter.{column}'))}")
        slots.append([*_of("jitter"), *lines])
    if values.get("color_jitter_prob") is None and "color_jitter_shift" in values:
        reader.mapped["color_jitter_shift"] = "nothing to do"
    gray = 0.0 if values.get("gray_prob") is None else reader.prob("gray_prob", None, "gray.gray")
    if gray > 0 and values.get("gt_gray"):
        reader.unsupported["gray_prob"] = "HR turns gray too (gt_gray), which a space cannot say"
        reader.unsupported["gt_gray"] = "see gray_prob"
        gray = 0.0
    elif "gt_gray" in values:
        reader.mapped["gt_gray"] = "nothing to do"
    if gray > 0:
        slots.append([*_of("gray"), f"gray = {{ bernoulli = {gray!r} }}"])
    else:
        without.append("gray")
    return without
