"""`degrade pairs`: ECO's four aligned sets from a pretrained network."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import torch

from pydegrade.commands.progress import Progress

from ..errors import DataError
from ..files.checkpoint import load_model
from ..methods.pairs import MANIFEST_FILE, RECIPES, Recipe, plan_pairs, write_pairs


@click.command(name="pairs", short_help="ECO: pretrained pairs beside real pairs.")
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CKPT",
              help="The frozen teacher: any model file that `pytrain infer` takes.")  # fmt: skip
@click.option("--hr", multiple=True, type=click.Path(path_type=Path, exists=True),
              help="Folder or file of clean images, repeatable; default: photographs of scikit-image.")  # fmt: skip
@click.option("--scale", type=click.IntRange(min=2), help="Factor that the model must have.  [default: the model's]")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the four sets."
)
@click.option("--recipe", type=click.Choice(RECIPES), default="uint8", show_default=True,
              help="MATLAB's bicubic on 8-bit images (rounded after each direction), or im2double.")  # fmt: skip
@click.option(
    "--tile", "tile_px", type=click.IntRange(min=48), help="Side of the teacher's tiles in LR px.  [default: whole]"
)
@click.option(
    "--shard", metavar="I/N", help="Make images I, I + N, ...; 0 <= I < N. Under torchrun: one shard a process."
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def command(
    model: Path,
    hr: tuple[Path, ...],
    scale: int | None,
    out: Path,
    recipe: Recipe,
    tile_px: int | None,
    shard: str | None,
    device: str,
) -> None:
    """Make hr, lr, sr_pretrained and lr_pretrained for every clean image.

    The teacher upscales lr; its output, made small again by MATLAB's bicubic, is a pair without noise, from which method
    `eco` learns first. Files that exist are kept, so a stopped run goes on; manifest.json is written when all are there.

    \b
    Examples:
      degrade pairs --model edsr_x2.pth --hr DIV2K_train_HR --out pairs
      degrade pairs --model edsr_x2.pth --hr DIV2K_train_HR --out pairs --shard 0/4
      torchrun --nproc-per-node=4 -m pydegrade pairs --model edsr_x2.pth --hr DIV2K_train_HR --out pairs
    """
    loaded = load_model(model, scale=scale)
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError("--device must be cpu here, got cuda: torch finds no CUDA device")
    place = _place(shard)
    teacher = loaded.net.to(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else "cpu")
    job = plan_pairs(hr, teacher, recipe, place)
    mine = len(range(place[0], len(job.names), place[1]))
    progress = Progress(mine, unit="images")
    started_s = time.perf_counter()
    counted = 0

    def finished(count: int) -> None:
        nonlocal counted
        progress.advance(count - counted)
        counted = count

    try:
        whole = write_pairs(job, teacher, out, tile_px, finished)
    finally:
        progress.close()
    seconds = time.perf_counter() - started_s
    of = f" of {len(job.names)} (shard {place[0]}/{place[1]})" if place[1] > 1 else ""
    click.echo(f"{mine} images{of}, x{job.identity.scale}, recipe {recipe}, in {seconds:.1f} s", err=True)
    click.echo(str((out / MANIFEST_FILE if whole else out).resolve()))


def _place(shard: str | None) -> tuple[int, int]:
    """(number, count) of this process' shard."""
    if shard is None:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    number, _, count = shard.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise DataError(f"--shard must be I/N with 0 <= I < N, got {shard!r}")
    return int(number), int(count)
