"""`degrade pairs`: ECO's four aligned sets from a pretrained network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pydegrade.shell import (
    IN_PATH,
    OUT_FOLDER,
    SHARD_HELP,
    Choice,
    absolute,
    check_engine,
    chosen_device,
    device_option,
    engine_options,
    max_pixels_option,
    on_ray,
    parse_shard,
    say,
)

if TYPE_CHECKING:
    from ..methods.pairs import Recipe

RECIPES = ("uint8", "im2double")


@click.command(name="pairs", short_help="ECO: pretrained pairs beside real pairs.")
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CKPT",
              help="The frozen teacher: any model file that `pytrain infer` takes.")  # fmt: skip
@click.option("--hr", multiple=True, type=IN_PATH,
              help="Folder or file of clean images, repeatable; default: photographs of scikit-image.")  # fmt: skip
@click.option("--scale", type=click.IntRange(min=2), help="Factor that the model must have.  [default: the model's]")
@click.option("--out", required=True, type=OUT_FOLDER, help="Folder for the four sets.")
@click.option("--recipe", type=Choice(RECIPES), default="uint8", show_default=True,
              help="MATLAB's bicubic on 8-bit images (rounded after each direction), or im2double.")  # fmt: skip
@click.option(
    "--tile", "tile_px", type=click.IntRange(min=48), help="Side of the teacher's tiles in LR px.  [default: whole]"
)
@click.option(
    "--shard", metavar="I/N|auto", help=f"Make images I, I + N, ... {SHARD_HELP} Under torchrun auto by itself."
)
@engine_options
@max_pixels_option()
@device_option("cpu")
def command(
    model: Path,
    hr: tuple[Path, ...],
    scale: int | None,
    out: Path,
    recipe: Recipe,
    tile_px: int | None,
    shard: str | None,
    engine: str,
    shards: int | None,
    max_pixels: int,
    device: str,
) -> int:
    """Make hr, lr, sr_pretrained and lr_pretrained for every clean image.

    The teacher upscales lr; its output, made small again by MATLAB's bicubic, is a pair without noise, from which method
    `eco` learns first. Files that are there and were made from the same image by the same teacher are kept, so a stopped
    run goes on; manifest.json is written when all are there.

    \b
    Examples:
      degrade pairs --model edsr_x2.pth --hr DIV2K_train_HR --out pairs
      degrade pairs --model edsr_x2.pth --hr photos --out pairs --shard 0/4
      torchrun --nproc-per-node=4 -m pydegrade pairs --model edsr.pth --out pairs
    """
    check_engine(engine, shards, shard)
    if engine == "ray":
        code, _ = on_ray(shards, gpu=device == "cuda")
        if code:
            return code
        # All images are there: what is left is to look at them, and to write the manifest.
    place = _place(shard) if engine == "local" else (0, 1)
    from pydegrade.shell import check_folder

    check_folder(out, hr)
    from ..files.checkpoint import load_model
    from ..methods.pairs import MANIFEST_FILE, plan_pairs, write_pairs

    where = chosen_device(device)
    local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if where.type == "cuda" else "cpu"
    teacher = load_model(model, scale=scale).net.to(local)
    request = plan_pairs(hr, teacher, recipe, place, max_pixels)
    written = write_pairs(request, teacher, out, tile_px)
    mine = written.fates.total
    of = f" of {len(request.names)} (shard {place[0]}/{place[1]})" if place[1] > 1 else ""
    say(f"{mine} images{of}, x{request.identity.scale}, recipe {recipe}, in {written.seconds:.1f} s", err=True)
    say(absolute(out / MANIFEST_FILE if written.complete else out))
    return written.fates.end("degrade pairs")


def _place(shard: str | None) -> tuple[int, int]:
    """(number, count) of this process' shard; a process of torchrun need not be told."""
    if shard is not None:
        return parse_shard(shard)
    ranks = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE") if name in os.environ}
    return parse_shard("auto", ranks) if ranks else (0, 1)
