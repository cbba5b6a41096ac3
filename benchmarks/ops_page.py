"""Write docs/ops.md and its pictures: every op, kind, shape and mode at three strengths on one photograph.

`python -m benchmarks.ops_page` writes docs/ops.md and docs/images/ops_*.webp; tests/test_ops_page.py asks that every op and
every name of a choice column that acts stands in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pydegrade import kernels, ops
from pydegrade.files.pixels import to_uint8
from pydegrade.sheet import Cell, SheetRow, render_sheet

ROOT = Path(__file__).resolve().parents[1]
CELL_PX = 304, 152
"""Width and height; three of them and their gaps are 976 px."""


@dataclass(frozen=True)
class Shown:
    """A row: the op, what is fixed, and the column that grows, with three values; `files` for an op that takes some."""

    op: str
    fixed: dict[str, Any]
    column: str
    values: tuple[Any, Any, Any]
    files: tuple[Any, ...] = ()

    @property
    def title(self) -> str:
        return ", ".join([self.op, *(f"{name} {value}" for name, value in self.fixed.items())])


def _shapes(column: str, values: tuple[Any, Any, Any], *shapes: str, **fixed: Any) -> list[Shown]:
    return [Shown("blur", {"shape": shape, **fixed}, column, values) for shape in shapes]


def _noises(column: str, values: tuple[Any, Any, Any], *kinds: str) -> list[Shown]:
    return [Shown("noise", {"kind": kind}, column, values) for kind in kinds]


FAMILIES: dict[str, tuple[str, list[Shown]]] = {
    "codecs": (
        "Codecs",
        [
            *(
                Shown("jpeg", {"subsampling": chroma}, "quality", (60, 30, 10))
                for chroma in ("444", "422", "440", "420", "411")
            ),
            Shown("webp", {}, "quality", (60, 30, 5)),
            Shown("avif", {}, "quality", (50, 25, 5)),
            *(Shown("video", {"codec": codec}, "crf", (28, 36, 46)) for codec in ("h264", "h265")),
            *(Shown("video", {"codec": codec}, "qscale", (8, 16, 31)) for codec in ("mpeg2", "mpeg4")),
            *(Shown("video", {"codec": codec}, "crf", (40, 52, 63)) for codec in ("vp9", "av1")),
            Shown("video", {"codec": "h264", "control": "bitrate"}, "bits_per_frame", (50_000.0, 10_000.0, 2_000.0)),
            Shown("jpeg2000", {"mode": "ratio"}, "compression_ratio", (20, 60, 150)),
            Shown("jpeg2000", {"mode": "psnr"}, "psnr_db", (36, 30, 24)),
        ],
    ),
    "blur": (
        "Blur",
        [
            *_shapes("sigma_x_px", (0.8, 1.6, 3.0), "iso", "generalized_iso", "plateau_iso", size_px=21, beta=2.0),
            *_shapes(
                "sigma_x_px",
                (1.0, 2.5, 5.0),
                *("aniso", "generalized_aniso", "plateau_aniso"),
                size_px=21,
                sigma_y_px=0.6,
                angle_rad=0.6,
                beta=2.0,
            ),
            Shown("blur", {"shape": "sinc", "size_px": 21}, "cutoff_rad", (2.0, 1.2, 0.7)),
            *_shapes("radius_px", (1.5, 3.0, 6.0), "box", "disk", "polygon", size_px=15),
            Shown("blur", {"shape": "motion", "size_px": 31, "angle_rad": 0.6}, "radius_px", (3.0, 7.0, 14.0)),
            Shown(
                "kernel_pool",
                {},
                "number",
                (1, 2, 3),
                (kernels.gaussian(21, 4.0, 0.8, 0.6), kernels.polygon(5.0, 5), kernels.motion(16.0, -0.6)),
            ),
            Shown("median", {}, "size_px", (3, 5, 9)),
        ],
    ),
    "sharpening": (
        "Sharpening",
        [
            Shown("sharpen", {}, "weight", (0.5, 1.0, 2.0)),
            Shown("unsharp", {"weight": 2.0}, "sigma_px", (0.8, 2.0, 5.0)),
        ],
    ),
    "noise": (
        "Noise",
        [
            *_noises("sigma_8bit", (8.0, 20.0, 40.0), "gaussian", "speckle", "uniform", "luma", "chroma"),
            Shown("noise", {"kind": "gaussian", "gray": True}, "sigma_8bit", (8.0, 20.0, 40.0)),
            *_noises("poisson_gain", (0.5, 1.5, 4.0), "poisson"),
            Shown("film_grain", {"radius_px": 1.2}, "sigma_8bit", (6.0, 12.0, 24.0)),
            Shown("film_grain", {"sigma_8bit": 16.0, "gray": True}, "radius_px", (0.5, 1.5, 3.0)),
            *_noises("density", (0.01, 0.05, 0.2), "salt_pepper"),
            *_noises("shot_gain", (0.002, 0.01, 0.05), "shot_read"),
            Shown(
                "noise",
                {"kind": "correlated"},
                "covariance_8bit2",
                tuple(  # type: ignore[arg-type]
                    [[v, 0.8 * v, 0], [0.8 * v, v, 0], [0, 0, 0.3 * v]] for v in (60.0, 300.0, 1200.0)
                ),
            ),
        ],
    ),
    "colour": (
        "Colour",
        [
            Shown("color", {}, "brightness", (0.6, 1.3, 1.6)),
            Shown("color", {}, "contrast", (0.5, 1.4, 2.0)),
            Shown("color", {}, "saturation", (0.0, 0.5, 2.0)),
            Shown("color", {}, "hue_turns", (-0.1, 0.1, 0.4)),
            Shown("color", {}, "offset_b_8bit", (-40.0, 20.0, 60.0)),
            Shown("color", {"white_8bit": 200.0}, "black_8bit", (0.0, 40.0, 80.0)),
            Shown("color", {}, "gamma", (0.5, 1.5, 2.2)),
            Shown("channel_shift", {"planes": "rgb"}, "x1_px", (1, 3, 8)),
            Shown("channel_shift", {"planes": "ycc", "x3_px": 4}, "x2_px", (2, 4, 10)),
            Shown("haze", {"depth_slope": 0.5}, "beta", (0.4, 1.0, 2.0)),
            Shown("low_light", {}, "gamma", (1.5, 2.5, 4.0)),
        ],
    ),
    "few_colours": (
        "Few colours, print, blocks",
        [
            Shown("chroma", {"up": "nearest"}, "subsampling", ("422", "420", "410")),
            Shown("chroma", {"up": "bilinear"}, "subsampling", ("440", "411", "410")),
            *(
                Shown("quantize", {"dither": dither}, "levels", (8, 4, 2))
                for dither in ("none", "bayer2", "bayer4", "bayer8", "floyd_steinberg", "atkinson", "jarvis")
            ),
            Shown("palette", {"method": "median_cut"}, "colors", (64, 16, 6)),
            Shown("palette", {"method": "octree", "dither": "floyd_steinberg"}, "colors", (64, 16, 6)),
            Shown("palette", {"method": "max_coverage"}, "colors", (64, 16, 6)),
            *(
                Shown("screentone", {"inks": inks, "dot": dot}, "cell_px", (3.0, 5.0, 9.0))
                for inks, dot in (
                    ("gray", "circle"),
                    ("gray", "diamond"),
                    ("gray", "line"),
                    ("rgb", "circle"),
                    ("cmyk", "circle"),
                )
            ),
            Shown("pixelate", {}, "block_px", (2.0, 4.0, 8.0)),
            Shown("bc1", {}, "fit", ("box", "diagonal", "refined")),
        ],
    ),
    "analog": (
        "Analog video",
        [
            Shown("analog", {}, "comb_px", (1.0, 3.0, 8.0)),
            Shown("analog", {}, "chroma_delay_px", (2.0, 5.0, 12.0)),
            Shown("analog", {"ghost_px": 14.0}, "ghost_gain", (-0.2, 0.2, 0.5)),
        ],
    ),
    "rain": ("Rain", [Shown("rain", {"length_px": 30.0}, "streaks_per_kpx", (1.0, 3.0, 8.0))]),
    "resize": (
        "Resize, to a quarter and back with the same mode",
        [
            Shown("resize", {}, "mode", modes)
            for modes in (
                ("torch_area", "torch_bilinear", "torch_bicubic"),
                ("torch_bilinear_aa", "torch_bicubic_aa", "torch_nearest_exact"),
                ("cv2_linear", "cv2_cubic", "cv2_area"),
                ("matlab_bicubic", "matlab_bilinear", "matlab_box"),
                ("matlab_lanczos2", "matlab_lanczos3", "matlab_nearest"),
                ("lanczos3", "mitchell", "catmull_rom"),
                ("hermite", "b_spline", "decimate"),
            )
        ]
        + [Shown("dpid", {"resize_factor": 0.25}, "detail", (0.5, 1.0, 2.0))],
    ),
}


def photograph() -> torch.Tensor:
    """[1, 3, 152, 304]: eyes and whiskers of scikit-image's cat Chelsea (Stefan van der Walt, CC0)."""
    from skimage import data

    cut = data.chelsea()[60 : 60 + CELL_PX[1], 70 : 70 + CELL_PX[0]]
    return torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1), np.float32) / 255)[None]


def degraded(row: Shown, value: Any, image: torch.Tensor) -> torch.Tensor:
    """The photograph after one op."""
    function: Callable[..., torch.Tensor] = getattr(ops, row.op)
    if row.op == "resize":
        size = image.shape[-2] // 4, image.shape[-1] // 4
        small = function(image, size, mode=value)
        # Decimation cannot enlarge.
        return function(small, tuple(image.shape[-2:]), mode="torch_nearest_exact" if value == "decimate" else value)
    files = [row.files] if row.files else []
    if row.op == "dpid":
        small = function(image, **row.fixed, **{row.column: value})
        return ops.resize(small, tuple(image.shape[-2:]), mode="torch_nearest_exact")
    return function(image, *files, **row.fixed, **{row.column: value})


def written(value: Any) -> str:
    return value if isinstance(value, str) else f"{value[0][0]:g} ..." if isinstance(value, list) else f"{value:g}"


def main() -> None:
    image = photograph()
    text = [
        "# Every op at three strengths",
        "",
        "Written by `python -m benchmarks.ops_page`. The photograph is a part of scikit-image's cat Chelsea, 304 x 152 px,",
        "shown at its size; the sheets are lossy WebP of quality 80. docs/spaces.md has all columns with their ranges;",
        "`help(pydegrade.ops.<op>)` formulas and",
        "sources. `blur`, `resize`, `noise`, `jpeg`, `sharpen`, `rain` are compiled, for the CPU and for CUDA; the others",
        "are plain torch, and codecs and palettes make a round trip over the host.",
        "",
        "![The photograph](images/ops_photograph.png)",
    ]
    for name, (heading, rows) in FAMILIES.items():
        drawn = [
            SheetRow(
                row.title,
                tuple(
                    Cell(
                        to_uint8(degraded(row, value, image)[0].clamp(0, 1)),
                        captions=(f"{row.column} {written(value)}",),
                    )
                    for value in row.values
                ),
            )
            for row in rows
        ]
        sheet = Image.fromarray(render_sheet(drawn, "", *CELL_PX))
        assert sheet.width <= 1000, sheet.width
        sheet.save(ROOT / f"docs/images/ops_{name}.webp", quality=80, method=6)
        text += ["", f"## {heading}", "", f"![{heading}](images/ops_{name}.webp)"]
    Image.fromarray(to_uint8(image[0])).save(ROOT / "docs/images/ops_photograph.png")
    (ROOT / "docs/ops.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
