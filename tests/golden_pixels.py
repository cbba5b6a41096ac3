"""The cases whose pixels are stored in tests/golden/pixels.json: every preset, and every op over its grid.

`python -m tests.golden_pixels` prints which digests differ from the file; with `--write` it renews the file, which is right
only when pixels were meant to change: then a version is raised (`Column.version`), and the change log says so.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import pydegrade
from pydegrade.ops import OPS, PLAIN_OPS
from pydegrade.tasks.space import preset_names

STORED = Path(__file__).parent / "golden" / "pixels.json"
TASKS_OF_A_PRESET = 10
# In px of the low-resolution image: odd sides, one line, one pixel.
LR_SIZES = [(13, 21), (17, 9), (31, 33), (1, 15), (23, 1), (1, 1), (16, 40), (37, 11), (8, 8), (25, 27)]


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """float32 [3, H, W]: waves with texture in multiples of 1/255, made from integers so that every machine agrees."""
    y, x = np.mgrid[0:height, 0:width]
    level = (x * (3 + seed % 5) + y * (1 + seed % 7) + (x * y * (seed + 1)) // 16) % 256
    texture = (x * x + 3 * y + 41 * seed) % 64
    planes = np.stack([level, (level + texture) % 256, 255 - level])
    return torch.from_numpy(planes.astype(np.float32) / np.float32(255))


def digest(*arrays: torch.Tensor | np.ndarray | None) -> str:
    """16 hex digits over bytes, shapes and dtypes."""
    state = hashlib.sha256()
    for array in arrays:
        values = array.detach().contiguous().numpy() if isinstance(array, torch.Tensor) else np.ascontiguousarray(array)
        state.update(f"{values.dtype} {values.shape};".encode() + values.tobytes())
    return state.hexdigest()[:16]


def preset_cases() -> Iterator[tuple[str, Callable[[], str]]]:
    for preset in preset_names():
        space = pydegrade.Space.load(preset)
        if space.libraries:
            continue  # the library decides
        tasks = pydegrade.sample(space, 20, range(TASKS_OF_A_PRESET))
        sizes = [(height * space.scale, width * space.scale) for height, width in LR_SIZES]
        for row, (height, width) in enumerate(sizes):

            def run(
                row: int = row, height: int = height, width: int = width, tasks: pydegrade.TaskBatch = tasks
            ) -> str:
                (pair,) = pydegrade.degrade_pairs([picture(height, width, row)], tasks.take([row]))
                return digest(pair.lr, pair.target)

            yield f"{preset} i{row} {height}x{width}", run


def with_gradient(function: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> str:
    """Digest of an op's result and of its gradient for a fixed gradient of the result."""
    leaf = images.clone().requires_grad_()
    out = function(leaf)
    grad = picture(*out.shape[-2:], 5)[: out.shape[1]].expand_as(out) - 0.5
    (back,) = torch.autograd.grad(out, leaf, grad)
    return digest(out, back)


def batch(channels: int = 3) -> list[torch.Tensor]:
    """Three [2, C, H, W] batches: an odd size, one around the tiles of kernels, one line."""
    return [
        torch.stack([picture(height, width, seed)[:channels] for seed in (1, 2)])
        for height, width in ((19, 23), (33, 66), (1, 9))
    ]


def op_cases() -> Iterator[tuple[str, Callable[[], str]]]:
    ops = pydegrade.ops
    choices = {op.name: {column.name: column.choices for column in op.columns} for op in OPS}

    def case(name: str, function: Callable[[torch.Tensor], torch.Tensor], channels: int = 3, gradient: bool = True):
        def run() -> str:
            each = [with_gradient(function, i) if gradient else digest(function(i)) for i in batch(channels)]
            return hashlib.sha256("".join(each).encode()).hexdigest()[:16]

        return name, run

    for shape in choices["blur"]["shape"]:
        for size_px in (3, 7, 21, 51):
            for border in choices["blur"]["border"]:
                if shape in ("box", "disk", "polygon", "motion") and border != "reflect_101":
                    continue
                named = {"size_px": size_px, "sigma_x_px": [0.7, 2.9], "sigma_y_px": 1.7, "angle_rad": [0.4, -2.0]}
                named |= {"beta": [0.6, 1.8], "cutoff_rad": [1.1, 2.7], "border": border, "shape": shape}
                named |= {"radius_px": [1.3, 4.4], "blades": [5, 8]}
                yield case(f"blur {shape} {size_px} {border}", lambda i, n=named: ops.blur(i, **n))
    for mode in choices["resize"]["mode"]:
        for factor in (0.25, 0.37, 0.75, 1.0, 1.6, 4.0):
            if mode == "decimate" and factor > 1:
                continue

            def by_factor(i: torch.Tensor, mode: str = mode, factor: float = factor) -> torch.Tensor:
                size = (max(1, round(i.shape[-2] * factor)), max(1, round(i.shape[-1] * factor)))
                return (
                    ops.resize(i, size=size, mode=mode)
                    if min(size) < 2
                    else ops.resize(i, resize_factor=factor, mode=mode)
                )

            yield case(f"resize {mode} {factor:g}", by_factor)
    for kind in choices["noise"]["kind"]:
        for gray in (False, True):
            named = {"kind": kind, "gray": gray, "sigma_8bit": [3.0, 25.0], "poisson_gain": [0.3, 2.5], "seed": 4}
            named |= {"density": 0.1, "shot_gain": [0.001, 0.05]}
            if gray and kind in ("luma", "chroma"):
                continue
            if kind == "correlated":
                if gray:
                    continue
                named |= {"covariance_8bit2": [[90, 20, -30], [20, 140, 10], [-30, 10, 60]]}
            yield case(f"noise {kind} {'gray' if gray else 'colour'}", lambda i, n=named: ops.noise(i, **n))
    for mode in choices["jpeg"]["mode"]:
        for subsampling in choices["jpeg"]["subsampling"]:
            for quality in (1, 30, 75, 100):
                named = {"quality": [quality, min(quality + 9, 100)], "mode": mode, "subsampling": subsampling}
                yield case(f"jpeg {mode} {subsampling} {quality}", lambda i, n=named: ops.jpeg(i, **n))
        yield case(f"jpeg {mode} cubic", lambda i, m=mode: ops.jpeg(i, [40, 80], m, rounding="cubic"))
    for radius_px in (1, 7, 50):
        for threshold_8bit in (0.0, 10.0):
            named = {"weight": [0.5, 1.5], "radius_px": radius_px, "threshold_8bit": threshold_8bit}
            yield case(
                f"sharpen {radius_px} {threshold_8bit:g}", lambda i, n=named: ops.sharpen(i, **n), gradient=False
            )
    for streaks in (0.5, 20.0):
        named = {"streaks_per_kpx": streaks, "length_px": [9.0, 60.0], "width_px": [0.8, 4.0], "angle_rad": [0.3, -1.0]}
        named |= {"blur_px": [0.0, 3.0], "brightness": 0.6, "seed": 4}
        yield case(f"rain {streaks:g}", lambda i, n=named: ops.rain(i, **n))

    for op in PLAIN_OPS:
        if op.library is not None or op.files is not None:
            continue  # the library, or a file, decides
        for share in (0.2, 0.6, 0.9):
            values: dict[str, object] = {}
            for column in op.columns:
                low, high = column.limits
                at = low + share * (high - low)
                if column.choices:
                    values[column.name] = column.choices[round(at)]
                elif column.integer:
                    values[column.name] = int(at) // 2 * 2 + 1 if column.name == "size_px" else int(at)
                else:
                    values[column.name] = at
            yield case(f"{op.name} {share:g}", lambda i, o=op, v=values: getattr(ops, o.name)(i, **v), gradient=False)


def image_cases() -> Iterator[tuple[str, Callable[[], str]]]:
    """What always runs on the CPU."""
    eight_bit = (picture(29, 37, 3).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    kinds = {"uint8": eight_bit, "uint16": eight_bit.astype(np.uint16) * 257, "float64": eight_bit / 255}
    kinds["float32"] = kinds["float64"].astype(np.float32)
    for dtype, image in kinds.items():
        for kernel in ("bicubic", "bilinear", "box", "lanczos2", "lanczos3", "nearest"):
            for scale in (0.25, 0.4, 2.0):
                for antialias in (True, False):
                    yield (
                        f"imresize {dtype} {kernel} {scale:g} {'antialias' if antialias else 'plain'}",
                        lambda i=image, k=kernel, s=scale, a=antialias: digest(
                            pydegrade.imresize(i, s, kernel=k, antialias=a)
                        ),
                    )
    for subsampling in ("direct", "bicubic"):
        kernel = pydegrade.kernels.generalized(15, 2.0, 1.0, 0.6, 1.4)
        yield (
            f"blur_down {subsampling}",
            lambda s=subsampling, k=kernel: digest(pydegrade.blur_down(eight_bit, k, 2, s)),
        )


def digests(cases: Iterator[tuple[str, Callable[[], str]]]) -> dict[str, str]:
    return {name: run() for name, run in cases}


def everything() -> dict[str, str]:
    return digests(preset_cases()) | digests(op_cases()) | digests(image_cases())


def stored() -> dict[str, str]:
    return json.loads(STORED.read_text())


def main() -> None:
    made = everything()
    if "--write" in sys.argv:
        STORED.write_text(json.dumps(made, indent=0) + "\n")
        print(f"{len(made)} digests written to {STORED}")
        return
    old = stored() if STORED.exists() else {}
    different = [name for name in {**old, **made} if old.get(name) != made.get(name)]
    print(pydegrade.isa_name(), f"{len(made)} digests, {len(different)} differ from the stored ones")
    for name in different:
        print(f"  {name}: {old.get(name)} stored, {made.get(name)} now")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
