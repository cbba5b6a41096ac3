"""`pytrain sweep`: a contact sheet of one image restored under several degradations."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.errors import PydegradeError
from pydegrade.shell import OUT_FILE, absolute, say, set_option


@click.command(name="sweep", short_help="Sheet of a swept degradation vector (dasr models).")
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CKPT",
              help="A model of method dasr.")  # fmt: skip
@click.option("--vector", "swept", multiple=True, required=True, metavar="NAME=LOW:HIGH[:COUNT]",
              help="Entry to sweep, in its unit; repeatable, one row each.")  # fmt: skip
@set_option("Entries that stay, as for infer --vector.")
@click.option("--crop", "crop_px", default=64, show_default=True, type=click.IntRange(min=8),
              help="Side of the central square that is shown, in LR px.")  # fmt: skip
@click.option("-o", "--out", required=True, type=OUT_FILE, help="The sheet, a .png, .jpg or .webp.")
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
    from pydegrade.shell import PICTURE_ENDINGS, check_file, encode_picture, write_file

    check_file(out, PICTURE_ENDINGS, "-o", [image, model])
    from .actions.sweep import swept_sheet

    rows = [_values(text) for text in swept]
    write_file(out, encode_picture(swept_sheet(image, model, rows, overrides, crop_px), out.suffix))
    say(absolute(out))


def _values(text: str) -> tuple[str, list[float]]:
    """Name and values of "NAME=LOW:HIGH[:COUNT]"."""
    name, _, span = text.partition("=")
    parts = span.split(":")
    try:
        low, high = float(parts[0]), float(parts[1])
        count = int(parts[2]) if len(parts) > 2 else 6
    except (ValueError, IndexError):
        raise PydegradeError(f"--vector must be NAME=LOW:HIGH[:COUNT], got {text!r}") from None
    if len(parts) > 3 or not 2 <= count <= 24:
        raise PydegradeError(f"--vector must be NAME=LOW:HIGH[:COUNT] with 2 to 24 values, got {text!r}")
    # Both ends exactly: high = low + (high - low) may fall outside of an entry's range by a rounding.
    weights = [number / (count - 1) for number in range(count)]
    return name, [low * (1 - weight) + high * weight for weight in weights]
