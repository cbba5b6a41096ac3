"""What CUDA kernels do per value, counted by the block emulator: `python -m benchmarks.kernel_costs [--write]`.

Every op of gpu_check on one image; counts, not times, so that they are the same on every machine. Beside them stands the
least time that they leave an H200, by the ceilings that were measured at commit 1746c1f (64.3 TFLOP/s, 4276 GB/s), and what
the ops took there. `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pydegrade.native import devices
from pydegrade.native.packed import Layout
from pydegrade.ops.resize import MODES
from tests import device_cases, emulated

from .gpu_check import OpBench, op_benches

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MARKED = re.compile(r"(<!-- kernel costs -->\n).*?(\n<!-- end of kernel costs -->)", re.DOTALL)

# One image that divides into the tiles of every kernel; edges cost the more the smaller an image is.
HEIGHT_PX, WIDTH_PX = 320, 128
BATCH_VALUES = 48 * 3 * 400 * 400
MULTIPLY_ADDS_PER_S, BYTES_PER_S = 64.3e12 / 2, 4276e9

SKIPPING = (("torch_bilinear", 0.4), ("torch_bilinear", 0.25), ("torch_bicubic", 0.125))
"""Resizes that leave out pixels of the blur before them."""

TAKEN_US = {"sharpen": 733 + 705, "blur dense 21": 2 * 441 * BATCH_VALUES / 24.0e12 * 1e6}
"""Of B=48 of 3x400x400 on an H200, at commit 1746c1f, where it was written down; `sharpen` had other kernels then."""


@dataclass(frozen=True)
class Cost:
    """Of a kernel in an op, per value of its input.

    Attributes:
        multiply_adds: fused ones.
        shared: loads and stores of shared memory; four floats at once are one.
        global_: the same of global memory.
        bytes: that go over the latter, most of them from caches.
        least_bytes: of the op, its input read and its output written once.
    """

    multiply_adds: float
    shared: float
    global_: float
    bytes: float
    least_bytes: float

    @property
    def least_us(self) -> float:
        """Of B=48 of 3x400x400 on an H200, by arithmetic or by bytes, whichever is more."""
        return 1e6 * BATCH_VALUES * max(self.multiply_adds / MULTIPLY_ADDS_PER_S, self.least_bytes / BYTES_PER_S)


def costs(bench: OpBench, library: Path, backend: devices.Backend, height: int, width: int) -> dict[str, Cost]:
    """What an op's kernels do on one image, by kernel."""
    src = Layout.of_sizes(np.full(1, height), np.full(1, width))
    sides = [max(1, int(side * bench.factor)) for side in (height, width)]
    dst = Layout.of_sizes(*(np.full(1, side) for side in sides))
    both = bench.op in ("resize", "chain")
    rows = {"src_rows": src.fields(), "dst_rows": dst.fields()} if both else {"rows": src.fields()}
    program = devices.record(bench.op, torch.device("cpu"), **rows, **bench.fields)
    image = torch.rand(src.total, generator=torch.Generator().manual_seed(0))
    arena = torch.empty(program.arena_bytes, dtype=torch.uint8)
    devices.run(program, image, torch.empty(dst.total), arena=arena, backend=backend)
    return {
        kernel: Cost(
            work.multiply_adds / src.total,
            (work.shared_loads + work.shared_stores) / src.total,
            (work.global_loads + work.global_stores) / src.total,
            work.global_bytes / src.total,
            4 * (src.total + dst.total) / src.total,
        )
        for kernel, work in emulated.work(library).items()
        if kernel not in ("clear", "resize_tables", "point")
    }


def blur_and_resize(blur: OpBench, mode: str, factor: float, height: int, width: int) -> OpBench:
    """A chain of the two, where the resize reads some pixels of the blur alone."""
    template = device_cases.skipping_case(mode, [(height, width)]).fields
    last = [max(1, int(side * factor)) for side in (height, width)]
    resize = {
        "mode": np.full(1, MODES.index(mode), np.int32),
        "scale_y": np.full(1, factor),
        "scale_x": np.full(1, factor),
    }
    fields = template | {
        "has_target": False,
        "blur": blur.fields,
        "resize": resize,
        "step_start": np.array([0, 2]),
        "step_op": np.array([0, 1], np.int32),
        "step_item": np.zeros(2, np.int64),
        "step_height": np.array([height, last[0]], np.int32),
        "step_width": np.array([width, last[1]], np.int32),
    }
    return OpBench(f"{blur.label}, {mode} x{factor:g}", "chain", fields, factor)


def table(height: int = HEIGHT_PX, width: int = WIDTH_PX) -> str:
    """Markdown."""
    library = emulated.build()
    backend = emulated.load(library, lambda: 0)
    lines = [
        "| op | kernel | multiply-adds per value | shared accesses | global accesses | bytes | at least, us | taken, us |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ops = op_benches(1, torch.device("cpu"))
    blurs = [bench for bench in ops if bench.op == "blur"]
    chains = [blur_and_resize(blur, *skipping, height, width) for blur in blurs for skipping in SKIPPING]
    for bench in [*ops, *chains]:
        taken = f"{TAKEN_US[bench.label]:.0f}" if bench.label in TAKEN_US else ""
        for kernel, cost in costs(bench, library, backend, height, width).items():
            lines.append(
                f"| {bench.label} | `{kernel}` | {cost.multiply_adds:.1f} | {cost.shared:.1f} | {cost.global_:.2f} | "
                f"{cost.bytes:.1f} | {cost.least_us:.0f} | {taken} |"
            )
            taken = '"' if taken else ""
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    text = table()
    print(text)
    if given.write:
        page = PAGE.read_text()
        PAGE.write_text(MARKED.sub(lambda match: match[1] + text + match[2], page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
