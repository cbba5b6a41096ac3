"""`pytrain plot`: a run's loss and PSNR as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.shell import OUT_FILE, PICTURE_ENDINGS, absolute, say


@click.command(name="plot", short_help="Draw a run's loss and PSNR.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=OUT_FILE, help="Picture to write: .png, .jpg, .webp.  [default: RUN/plot.png]")
def command(folder: Path, out: Path | None) -> None:
    """Draw loss and PSNR of a run over its steps, beside bicubic's PSNR on the same sets.

    \b
    Examples:
      pytrain plot out/quickstart
      pytrain plot out/quickstart -o quickstart.png
    """
    from pydegrade.shell import check_file, write_file

    from .actions.plot import drawn

    path = folder / "plot.png" if out is None else out
    check_file(path, PICTURE_ENDINGS, "-o")
    write_file(path, drawn(folder, path.suffix.lower()))
    say(absolute(path))
