"""`degrade match`: which space resembles photographs."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.options import IN_PATH, SEED, max_pixels_option


@click.command(name="match", short_help="Rank spaces by how they resemble photographs.")
@click.argument("photographs", nargs=-1, required=True, type=IN_PATH)
@click.option(
    "--space", "spaces", multiple=True, metavar="SPACE", help="One to compare; repeatable.  [default: all presets]"
)
@click.option(
    "--clean",
    type=click.Path(path_type=Path, exists=True),
    help="Clean images.  [default: photographs in scikit-image]",
)
@click.option(
    "--simulations",
    type=click.IntRange(8, 10_000),
    default=48,
    show_default=True,
    help="Clean crops degraded by each space.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@max_pixels_option()
def command(
    photographs: tuple[Path, ...],
    spaces: tuple[str, ...],
    clean: Path | None,
    simulations: int,
    seed: int,
    max_pixels: int,
) -> int:
    """Rank spaces by the distance of what they make from PHOTOGRAPHS, files and folders.

    The distance is that of statistics of squares (docs/fitting.md), with an interval of 90 % over resampled photographs;
    "first" is the share of these in which the space is the nearest. The nearest of all can still be far: look at both.

    \b
    Examples:
      degrade match photos
      degrade match photos --space mine.toml --space bsrgan-x4
    """
    from .actions.match import match_photographs

    return match_photographs(photographs, spaces, clean, simulations, seed, max_pixels)
