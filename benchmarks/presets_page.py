"""Write docs/presets.md and its pictures: every preset on one photograph, a sheet per family.

`python -m benchmarks.presets_page` writes docs/presets.md and docs/images/presets_*.webp; tests/test_presets_page.py asks
that the text is that of the presets.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pydegrade
from pydegrade.files.pixels import to_uint8
from pydegrade.sheet import Cell, SheetRow, render_sheet
from pydegrade.tasks.space import preset_names

ROOT = Path(__file__).resolve().parents[1]
HR_PX = 448, 224
"""Width and height of the photograph; a cell shows it at half its size, LR of scale 4 twice as large as it is."""
CELL_PX = 224, 112
SEED = 32
"""Its first samples show each of the three levels of dasr-mixed, colour jitter and halftone."""

INTRODUCTION = f"""
Written by `python -m benchmarks.presets_page`. The first four or eight samples of seed {SEED}, of scikit-image's cat
Chelsea (Stefan van der Walt, CC0), for faces of its astronaut (NASA, public domain) enlarged by 1.75:
{HR_PX[0]} x {HR_PX[1]} px, shown at half their size; LR of scale 4 is shown twice as large as it is.
`degrade preview --space NAME` makes a sheet of your own images, stage by stage; docs/spaces.md says where presets differ
from the released code.
""".strip()


def families() -> dict[str, list[pydegrade.Space]]:
    """Presets by family, both in alphabetical order."""
    found: dict[str, list[pydegrade.Space]] = {}
    for space in sorted(map(pydegrade.Space.load, preset_names()), key=lambda space: (space.family, space.name)):
        found.setdefault(space.family, []).append(space)
    return found


def picture_of(family: str) -> str:
    return f"presets_{re.sub('[^a-z]+', '_', family.lower())}.webp"


def text() -> str:
    """docs/presets.md."""
    lines = [
        "# Every preset on one photograph",
        "",
        textwrap.fill(INTRODUCTION, 124, break_long_words=False, break_on_hyphens=False),
    ]
    for family, spaces in families().items():
        lines += [
            "",
            f"## {family}",
            "",
            f"![{family}](images/{picture_of(family)})",
            "",
            "| Preset | Scale | Source |",
            "|---|---|---|",
        ]
        lines += [f"| `{space.name}` | {space.scale} | {space.source} |" for space in spaces]
    return "\n".join(lines) + "\n"


def photograph(family: str) -> torch.Tensor:
    """[3, 224, 448] in [0, 1]."""
    from skimage import data

    if family == "Faces":
        face = Image.fromarray(data.astronaut()[40:168, 100:356]).resize(HR_PX, Image.Resampling.BICUBIC)
        pixels = np.asarray(face)
    else:
        pixels = data.chelsea()[30 : 30 + HR_PX[1], : HR_PX[0]]
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / 255)


def rows_of(space: pydegrade.Space, image: torch.Tensor, samples: int) -> list[SheetRow]:
    """The photograph by the first samples of a preset, four in a row."""
    height, width = (side // space.scale * space.scale for side in image.shape[1:])
    tasks = pydegrade.sample(space, SEED, range(samples))
    made = pydegrade.degrade(image[None, :, :height, :width].repeat(samples, 1, 1, 1), tasks)
    pictures = [Image.fromarray(to_uint8(lr)).resize(CELL_PX, Image.Resampling.BOX) for lr in made]
    cells = [Cell(np.asarray(picture)) for picture in pictures]
    titles = [f"{space.name}: {space.summary}", *[""] * samples]
    return [SheetRow(titles[at // 4], tuple(cells[at : at + 4])) for at in range(0, samples, 4)]


def main() -> None:
    for family, spaces in families().items():
        image = photograph(family)
        clean = SheetRow("HR", (Cell(to_uint8(image)),))
        # A family of few presets has room for more of each.
        rows = [row for space in spaces for row in rows_of(space, image, 8 if len(spaces) <= 3 else 4)]
        sheet = Image.fromarray(render_sheet([clean, *rows], "", *CELL_PX))
        assert sheet.width <= 1000, sheet.width
        sheet.save(ROOT / "docs/images" / picture_of(family), quality=75, method=6)
    (ROOT / "docs/presets.md").write_text(text())


if __name__ == "__main__":
    main()
