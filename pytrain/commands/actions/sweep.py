"""An image restored under several degradations: `pytrain sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pydegrade.files import Pixels, read_rgb8, to_float, to_uint8
from pydegrade.sheet import Cell, SheetRow, render_sheet
from pydegrade.shell import say_notes

from ...evaluation.infer import NotFiniteError, check_finite
from ...evaluation.vector_editing import adaptive, estimate, parse_changes, sweep
from ...files.checkpoint import load_model

CELL_PX = 256


def swept_sheet(
    image: Path, model: Path, rows: Sequence[tuple[str, Sequence[float]]], fixed: Sequence[str], crop_px: int
) -> Pixels:
    """The central square of an image for each value of each swept entry.

    Args:
        image: the file.
        model: of method dasr.
        rows: (name of an entry, values in its unit).
        fixed: "NAME=VALUE": entries that stay.
        crop_px: side of the square in LR px.
    Raises:
        PytrainError, PydegradeError: an entry, model or image that cannot be used.
        NotFiniteError: the network gave NaN or infinity.
    """
    net = adaptive(load_model(model).net, str(model))
    picture = read_rgb8(image)
    say_notes(image, picture.notes)
    lr = to_float(picture.array)[None]
    changes = parse_changes(fixed, "--set")
    believed = estimate(net, lr)["parameters"]
    top, left = (max(0, (side - crop_px) // 2) for side in lr.shape[-2:])
    box = tuple(slice(begin * net.scale, (begin + crop_px) * net.scale) for begin in (top, left))
    sheet = []
    for name, values in rows:
        cells = []
        for value, result in zip(values, sweep(net, lr, name, values, changes)):
            try:
                check_finite(result)
            except NotFiniteError as error:
                raise NotFiniteError(f"{image}: {name} = {value:.3g}: {error}") from None
            cells.append(Cell(np.ascontiguousarray(to_uint8(result[0].clamp(0, 1))[box]), f"{value:.3g}"))
        sheet.append(SheetRow(f"{name}{_predicted(believed.get(name))}", tuple(cells)))
    return render_sheet(sheet, f"{image.name}, {model.name}", CELL_PX, CELL_PX)


def _predicted(value: float | str | None) -> str:
    return f", predicted {value:.3g}" if isinstance(value, float) else ""
