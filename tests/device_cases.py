"""What the CUDA kernels are compared on: packed batches of many sizes for every op, and the CPU's answer to each.

The same cases run under the block emulator, under it with sanitizers, with defects planted in the kernels, and on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import pydegrade
from pydegrade.native import binding, devices
from pydegrade.native.packed import Layout
from pydegrade.plan import make_plan

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """One call of an op of csrc/functions.h; `fields` are those of its parameters."""

    label: str
    op: str
    src: Layout
    dst: Layout
    data: torch.Tensor
    fields: dict[str, Any]
    grad: torch.Tensor | None = None

    def rows(self) -> dict[str, Any]:
        if self.op.startswith("resize") or self.op == "chain":
            return {"src_rows": self.src.fields(), "dst_rows": self.dst.fields()}
        return {"rows": self.src.fields()}


def answer(case: Case) -> torch.Tensor:
    """The CPU's result."""
    out = poisoned(case.dst.total)
    grad = {} if case.grad is None else {"grad": case.grad}
    chain = {"target": None, "check_range": False} if case.op == "chain" else {}
    binding.call(case.op, src=case.data, dst=out, **grad, **chain, **case.rows(), **case.fields)
    return out


def device_answer(case: Case, backend: devices.Backend | None, device: torch.device = CPU) -> torch.Tensor:
    """The kernels' result, on the CPU; what they leave unwritten is NaN."""
    chain = {"has_target": False} if case.op == "chain" else {}
    program = devices.record(case.op, device, **chain, **case.rows(), **case.fields)
    out = poisoned(case.dst.total).to(device)
    arena = torch.full((program.arena_bytes,), 255, dtype=torch.uint8, device=device)
    grad = None if case.grad is None else case.grad.to(device)
    devices.run(program, case.data.to(device), out, grad=grad, arena=arena, backend=backend)
    return out.cpu()


def poisoned(count: int) -> torch.Tensor:
    """float32 NaN with a payload that no op makes."""
    return torch.from_numpy(np.full(count, 0xFFDEADBE, np.uint32).view(np.float32))


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


def layout(sizes: list[tuple[int, int]], channels: int = 3) -> Layout:
    """Rows with gaps of different lengths between them, so that nothing relies on neat offsets."""
    height, width = (np.array([size[axis] for size in sizes], np.int32) for axis in (0, 1))
    packed = Layout.of_sizes(height, width, channels)
    return Layout(packed.offset + np.cumsum(np.arange(len(sizes)) % 5), height, width, channels)


def image_data(rows: Layout, seed: int, values: str = "pixels") -> torch.Tensor:
    """Smooth pixels with noise in [0, 1], some exactly 0 and 1; or signed gradients."""
    rng = np.random.default_rng(seed)
    noise = rng.random(rows.total, dtype=np.float32)
    if values == "gradient":
        return torch.from_numpy(noise - np.float32(0.5))
    waves = np.sin(np.arange(rows.total, dtype=np.float32) * np.float32(0.07)) * np.float32(0.5)
    return torch.from_numpy(np.clip(waves + noise * np.float32(1.2), 0, 1).astype(np.float32))


SMALL = [(height, width) for height in (1, 2, 3, 5, 8) for width in (1, 2, 4, 7, 9)]
# Around the tiles of the filters (32 x 64), of resize (16 x 128) and of JPEG (16 x 64).
EDGES = [(31, 65), (33, 63), (32, 64), (17, 66), (15, 129), (70, 16), (64, 3)]
TINY = [(1, 1), (3, 2), (18, 67)]


def blur_case(sizes: list[tuple[int, int]], op: str = "blur", largest: int = 51, seed: int = 1) -> Case:
    rng = np.random.default_rng(seed)
    rows = layout(sizes)
    count = len(sizes)
    choices = [size for size in (3, 5, 7, 13, 15, 21, 31, 51, 1) if size <= largest]
    size_px = np.array([choices[i % len(choices)] for i in range(count)], np.int32)
    path = np.array([(2, 1, 2, 1, 2, 0)[i % 6] for i in range(count)], np.int32)
    start = np.concatenate([[0], np.cumsum(2 * size_px.astype(np.int64) ** 2)])[:-1]
    weights = rng.random(int(2 * (size_px.astype(np.int64) ** 2).sum()), dtype=np.float32) - np.float32(0.3)
    border = (np.arange(count) // 3 % 2).astype(np.int32)
    fields = {"weights": weights, "start": start, "size_px": size_px, "path": path, "border": border}
    return Case(f"{op} {len(sizes)} images", op, rows, rows, image_data(rows, seed), fields)


def sharpen_case(sizes: list[tuple[int, int]], seed: int = 2) -> Case:
    rows = layout(sizes)
    index = np.arange(len(sizes))
    fields = {
        "weight": np.array([0.5, 1.5, 0.0], np.float32)[index % 3],
        "radius_px": np.array([50, 7, 0, 100, 51], np.int32)[index % 5],
        "threshold_8bit": np.array([10, 0], np.float32)[index % 2],
    }
    return Case(f"sharpen {len(sizes)} images", "sharpen", rows, rows, image_data(rows, seed), fields)


def noise_case(sizes: list[tuple[int, int]], channels: int = 3, seed: int = 3) -> Case:
    rng = np.random.default_rng(seed)
    rows = layout(sizes, channels)
    index = np.arange(len(sizes))
    kinds = [0, 1, 2, 3, 4, 5, 6, 7, 2, 1] if channels == 3 else [0, 1, 2, 4, 5, 6, 7]
    tables = np.empty(binding.POISSON_WORDS, np.uint32)
    binding.call("poisson_tables", out=tables)
    fields = {
        "kind": np.array(kinds, np.int32)[index % len(kinds)],
        "sigma": rng.random(len(sizes), dtype=np.float32) / 4,
        "gain": rng.random(len(sizes), dtype=np.float32) * 3,
        "gray": (index // 2 % 2).astype(np.int32) * (channels == 3),
        "matrix": rng.random((len(sizes), 9), dtype=np.float32) / 8,
        "key": rng.integers(0, 2**32, (len(sizes), 4), dtype=np.uint32),
        "poisson_tables": tables,
    }
    return Case(f"noise {channels} channels", "noise", rows, rows, image_data(rows, seed), fields)


def rain_case(sizes: list[tuple[int, int]], channels: int = 3, seed: int = 8) -> Case:
    rng = np.random.default_rng(seed)
    rows = layout(sizes, channels)
    index = np.arange(len(sizes))
    fields = {
        "streaks_per_kpx": np.array([2, 0.5, 20, 0], np.float32)[index % 4],
        "length_px": np.array([30, 128, 5, 60, 1], np.float32)[index % 5],
        "width_px": np.array([1.5, 16, 0.5], np.float32)[index % 3],
        "angle_rad": np.array([0.3, -1.3, 1.3, 0, -0.5], np.float32)[index % 5],
        "blur_px": np.array([1.2, 0, 16, 3], np.float32)[index // 2 % 4],
        "brightness": np.array([0.5, 1, 0.1], np.float32)[index // 3 % 3],
        "key": rng.integers(0, 2**32, (len(sizes), 4), dtype=np.uint32),
    }
    return Case(f"rain {channels} channels", "rain", rows, rows, image_data(rows, seed), fields)


def resize_cases(
    sizes: list[tuple[int, int]], adjoint: bool, modes: tuple[int, ...] = tuple(range(13))
) -> Iterator[Case]:
    """All modes at once, one per row; factors that shrink, keep and enlarge, on one axis more than on the other."""
    for factor_y, factor_x, given in ((0.31, 0.5, 1), (1.7, 2.3, 0), (1.0, 0.21, 0), (4.0, 0.9, 1)):
        index = np.arange(len(sizes))
        mode = np.array(modes, np.int32)[(index + int(10 * factor_y)) % len(modes)]
        source, result = (
            layout(sizes),
            layout([(max(1, round(height * factor_y)), max(1, round(width * factor_x))) for height, width in sizes]),
        )
        scale = (given * factor_y * np.ones(len(sizes)), given * factor_x * np.ones(len(sizes)))
        fields = {"mode": mode, "scale_y": scale[0], "scale_x": scale[1]}
        label = f"{factor_y} x {factor_x}"
        if adjoint:
            yield Case(
                f"resize_adjoint {label}", "resize_adjoint", result, source, image_data(result, 5, "gradient"), fields
            )
        else:
            yield Case(f"resize {label}", "resize", source, result, image_data(source, 4), fields)


def extreme_resize_case() -> Case:
    """Shrinking so far that what lies between the passes does not fit into shared memory."""
    source, result = layout([(1, 9000), (9000, 1), (40, 300)]), layout([(1, 1), (1, 1), (1, 3)])
    fields = {"mode": np.array([6, 10, 0], np.int32), "scale_y": np.zeros(3), "scale_x": np.zeros(3)}
    return Case("resize, extreme", "resize", source, result, image_data(source, 6), fields)


def jpeg_case(sizes: list[tuple[int, int]], adjoint: bool = False, seed: int = 7, first_mode: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    rows = layout(sizes)
    index = np.arange(len(sizes))
    mode = ((index + first_mode) % 4).astype(np.int32)
    quality = np.array([1, 35, 50, 75, 92, 100, 63.5], np.float32)[rng.integers(0, 7, len(sizes))]
    fields = {
        "mode": mode,
        "quality": np.where(mode == 1, np.floor(quality), quality).astype(np.float32),
        "subsampling": (index // 4 % 5).astype(np.int32),
        "rounding": (index // 2 % 2).astype(np.int32),
    }
    data = image_data(rows, seed)
    if not adjoint:
        return Case(f"jpeg {len(sizes)} images", "jpeg", rows, rows, data, fields)
    grad = image_data(rows, seed + 1, "gradient")
    fields["libjpeg_gradient"] = (index % 8 != 1).astype(np.int32)
    return Case("jpeg_adjoint", "jpeg_adjoint", rows, rows, data * 1.2 - 0.1, fields, grad)


SKIPPING = """
[space]
name = "skipping"
scale = 1
source = "tests"
[[slot]]
name = "blur1"
op = "blur"
shape = {{ choice = ["iso", "aniso", "plateau_iso", "sinc", "delta"], weights = [0.35, 0.35, 0.1, 0.1, 0.1] }}
size_px = {{ integers = [1, {largest}], step = 2 }}
sigma_x_px = {{ uniform = [0.1, 9.0] }}
sigma_y_px = {{ uniform = [0.1, 9.0] }}
angle_rad = {{ uniform = [-3.0, 3.0] }}
cutoff_rad = {{ uniform = [0.7, 3.1] }}
border = {{ choice = ["reflect_101", "symmetric"] }}
[[slot]]
name = "resize1"
op = "resize"
mode = "{mode}"
resize_factor = {factor}
[[slot]]
name = "back"
op = "resize"
rule = "final"
mode = "cv2_linear"
"""
"""A blur before a resize: kernels of every path, and wide and narrow ones; factors from all pixels read to hardly any."""


def skipping_tasks(mode: str, count: int, largest: int = 51, seed: int = 3) -> pydegrade.TaskBatch:
    """Tasks that blur and then resize by `mode`, and at last to the size of before."""
    factor = "{ choice = [0.5, 0.25, 0.125] }" if mode == "decimate" else "{ reciprocal_uniform = [1.0, 30.0] }"
    text = SKIPPING.format(mode=mode, factor=factor, largest=largest)
    return pydegrade.sample(pydegrade.Space.loads(text), seed, range(count))


def skipping_case(mode: str, sizes: list[tuple[int, int]], largest: int = 51, seed: int = 3) -> Case:
    """The pixels that a resize reads of a blur, where it reads some alone."""
    rows = layout(sizes)
    plan = make_plan(skipping_tasks(mode, len(sizes), largest, seed), rows)
    fields = {name: value for name, value in plan.fields.items() if name not in ("src_rows", "dst_rows")}
    return Case(f"blur before {mode}", "chain", rows, rows, image_data(rows, seed), fields | {"round_8bit": False})


def all_cases() -> Iterator[Case]:
    """Every op and its adjoint over the small sizes and those around the tiles."""
    yield blur_case(SMALL + EDGES)
    yield blur_case([*SMALL, (20, 23)], "blur_adjoint", largest=13)
    yield sharpen_case(SMALL[::3] + EDGES)
    yield noise_case(SMALL + EDGES)
    yield noise_case(SMALL, channels=1)
    yield rain_case(SMALL[::2] + EDGES)
    yield rain_case(SMALL[1::4], channels=1)
    yield from resize_cases(SMALL + EDGES[:4] + [(12, 40), (21, 9)], adjoint=False)
    yield from resize_cases([*SMALL, (12, 40), (21, 9)], adjoint=True)
    yield extreme_resize_case()
    for mode in ("torch_bilinear", "cv2_cubic", "matlab_nearest"):
        yield skipping_case(
            mode, [(97, 131), (64, 33), (130, 17), (40, 256), (31, 66), (1, 90), (75, 1), (8, 8), (50, 70)], seed=10
        )
    for first_mode in range(4):
        yield jpeg_case(SMALL + EDGES, first_mode=first_mode, seed=7 + first_mode)
        yield jpeg_case(SMALL + EDGES[:2], adjoint=True, first_mode=first_mode, seed=20 + first_mode)


def few_cases() -> Iterator[Case]:
    """Every kernel at least once, small enough for slow builds."""
    yield blur_case([*TINY, (5, 9), (33, 20)], largest=21)
    yield blur_case([*TINY[:2], (9, 8)], "blur_adjoint", largest=7)
    # High enough for the ring of rows to come round.
    yield sharpen_case([(43, 6), (19, 67), (1, 1)])
    yield noise_case([*TINY, (5, 6), (9, 4), (2, 2)])
    yield rain_case([*TINY, (5, 9)])
    # High enough for the rows of a block not to be loaded at once.
    yield skipping_case("torch_bilinear", [(9, 14), (96, 140), (1, 9), (40, 21)], largest=25, seed=0)
    for adjoint in (False, True):
        yield from list(resize_cases([*TINY[:2], (14, 33), (40, 20)], adjoint))[:2]
        sizes = [*TINY, (9, 20), (16, 16), (17, 5), (34, 3), (8, 70), (9, 23), (16, 40), (30, 12), (5, 64)]
        sizes += [(9, 37), (18, 33), (3, 70), (16, 20)]
        yield jpeg_case(sizes, adjoint)


def compare(cases: Iterator[Case], backend: devices.Backend | None, device: torch.device = CPU) -> list[str]:
    """Labels of cases whose result differs from the CPU's, or that stopped with an error."""
    wrong: list[str] = []
    for case in cases:
        try:
            got = device_answer(case, backend, device)
        except devices.DeviceError as error:
            wrong.append(f"{case.label}: {error}")
            continue
        expected = answer(case)
        # Gaps between rows are nobody's: the CPU leaves them, the kernels too.
        if not same_bits(got, expected):
            bad = int((got.view(torch.int32) != expected.view(torch.int32)).sum())
            wrong.append(f"{case.label}: {bad} of {len(got)} values differ")
    return wrong
