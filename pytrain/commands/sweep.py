"""`pytrain sweep`: a contact sheet of one image restored under several degradations."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.commands.shell.options import OUT_FILE, set_option
from pydegrade.commands.shell.text import say

CELL_PX = 256


@click.command(name="sweep", short_help="Sheet of a swept degradation vector (dasr models).")
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CKPT",
              help="A model of method dasr.")  # fmt: skip
@click.option("--vector", "swept", multiple=True, required=True, metavar="NAME=LOW:HIGH[:COUNT]",
              help="Entry to sweep, in its unit; repeatable, one row each.")  # fmt: skip
@set_option("Entries that stay, as for infer --vector.")
@click.option("--crop", "crop_px", default=64, show_default=True, type=click.IntRange(min=8),
              help="Side of the central square that is shown, in LR px.")  # fmt: skip
@click.option("-o", "--out", required=True, type=OUT_FILE, help="The sheet, a .png or .jpg.")
def command(
    image: Path, model: Path, swept: tuple[str, ...], overrides: tuple[str, ...], crop_px: int, out: Path
) -> None:
    """Restore IMAGE again and again while one entry of its degradation vector moves.

    The network predicts the vector once; the swept entry is replaced, all others stay. Larger blur entries make the result
    sharper, larger noise entries smoother.

    \b
    Example:
      pytrain sweep photo.png --model dasr.pth \\
          --vector blur1.sigma_x_px=0.2:3:6 -o sweep.png
    """
    from pydegrade.commands.shell.outputs import PICTURE_ENDINGS, check_file, encode_picture, write_file

    check_file(out, PICTURE_ENDINGS, "-o", [image, model])
    import numpy as np

    from pydegrade.commands.sheet import Cell, SheetRow, render_sheet
    from pydegrade.files.pixels import to_float, to_uint8
    from pydegrade.files.read import read_image

    from ..evaluation.infer import check_finite
    from ..evaluation.steering import adaptive, estimate, parse_changes, sweep
    from ..files.checkpoint import load_model

    net = adaptive(load_model(model).net, str(model))
    lr = to_float(read_image(image))[None]
    changes = parse_changes(overrides, "--set")
    believed = estimate(net, lr)["parameters"]
    top, left = (max(0, (side - crop_px) // 2) for side in lr.shape[-2:])
    box = tuple(slice(begin * net.scale, (begin + crop_px) * net.scale) for begin in (top, left))
    rows = []
    for text in swept:
        name, values = _values(text)
        results = sweep(net, lr, name, values, changes)
        for result in results:
            check_finite(result)
        cells = [
            Cell(np.ascontiguousarray(to_uint8(result[0].clamp(0, 1))[box]), f"{value:.3g}")
            for value, result in zip(values, results)
        ]
        rows.append(SheetRow(f"{name}{_predicted(believed.get(name))}", tuple(cells)))
    sheet = render_sheet(rows, f"{image.name}, {model.name}", CELL_PX, CELL_PX)
    write_file(out, encode_picture(sheet, out.suffix))
    say(str(out.resolve()))


def _predicted(value: float | str | None) -> str:
    return f", predicted {value:.3g}" if isinstance(value, float) else ""


def _values(text: str) -> tuple[str, list[float]]:
    """Name and values of "NAME=LOW:HIGH[:COUNT]"."""
    from ..errors import ConfigError

    name, _, span = text.partition("=")
    parts = span.split(":")
    try:
        low, high = float(parts[0]), float(parts[1])
        count = int(parts[2]) if len(parts) > 2 else 6
    except (ValueError, IndexError):
        raise ConfigError(f"--vector must be NAME=LOW:HIGH[:COUNT], got {text!r}") from None
    if len(parts) > 3 or not 2 <= count <= 24:
        raise ConfigError(f"--vector must be NAME=LOW:HIGH[:COUNT] with 2 to 24 values, got {text!r}")
    # Both ends exactly: high = low + (high - low) may fall outside of an entry's range by a rounding.
    weights = [number / (count - 1) for number in range(count)]
    return name, [low * (1 - weight) + high * weight for weight in weights]
