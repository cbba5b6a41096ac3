"""`degrade fit`: a space learned from photographs."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.options import IN_PATH, OUT_FILE, SEED, max_pixels_option


@click.command(name="fit", short_help="Learn a space from photographs.")
@click.argument("photographs", nargs=-1, required=True, type=IN_PATH)
@click.option("-o", "--output", required=True, type=OUT_FILE, help="The space, a file .toml.")
@click.option(
    "--start", metavar="SPACE", help="Space to begin with: its slots, and at most its ranges.  [default: a wide one]"
)
@click.option(
    "--scale", type=click.IntRange(1, 8), help="HR pixels to a pixel of the photographs.  [default: 4, or SPACE's]"
)
@click.option(
    "--clean",
    type=click.Path(path_type=Path, exists=True),
    help="Clean images.  [default: photographs in scikit-image]",
)
@click.option(
    "--simulations", type=click.IntRange(100, 100_000), default=3000, show_default=True, help="Clean crops degraded."
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@max_pixels_option()
def command(
    photographs: tuple[Path, ...],
    output: Path,
    start: str | None,
    scale: int | None,
    clean: Path | None,
    simulations: int,
    seed: int,
    max_pixels: int,
) -> int:
    """Learn from PHOTOGRAPHS, files and folders, the space that makes such photographs, with intervals.

    Clean images are degraded by tasks of a wide space, and what pixels and files show of these is compared with what they
    show of the photographs. Beside the space a page (.html) shows both side by side, and says what could not be told. The
    simulations are kept in a hidden file beside it: the same command goes on with them. docs/fitting.md says how it works
    and how far the intervals can be trusted.

    \b
    Examples:
      degrade fit photos -o mine.toml --clean DIV2K_train_HR
      degrade fit photos -o mine.toml --start realesrgan-x4
    """
    from ..shell.outputs import check_file
    from .actions.fit import FitOptions, check_is_fitted, fit_photographs

    check_file(output, (".toml",), "-o", [*photographs, *(Path(one) for one in (start, clean) if one)])
    page = output.with_suffix(".html")
    check_file(page, (".html",), "-o")
    check_is_fitted(output, page)
    return fit_photographs(photographs, FitOptions(output, page, start, scale, clean, simulations, seed, max_pixels))
