"""`degrade estimate`: the degradation of images, by a trained DASR predictor."""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from pydegrade.files.io import list_images, read_image, to_float, write_atomic

from ..errors import DataError
from ..evaluation.steering import adaptive, estimate
from ..files.checkpoint import load_model


@click.command(name="estimate", short_help="Estimate the degradation of images by a DASR model.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CKPT",
              help="A model of method dasr, labels of scheme dasr33-global.")  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write all of it here.")
def command(images: tuple[Path, ...], model: Path, json_path: Path | None) -> None:
    """Print what a trained predictor believes about each image: blur, resize, noise, compression, in units.

    These are estimates of a network that was trained on one degradation model; docs/dasr.md says how far they can be
    trusted. Folders are searched.

    \b
    Examples:
      degrade estimate photo.jpg --model dasr.safetensors
      degrade estimate photos --model dasr.safetensors --json estimates.json
    """
    net = adaptive(load_model(model).net, str(model))
    paths = [path for source in images for path in (list_images(source) if source.is_dir() else [source])]
    found = {}
    for path in paths:
        image = to_float(read_image(path))[None]
        if min(image.shape[-2:]) < 8:
            raise DataError(f"{path}: must be at least 8 x 8 px, got {image.shape[-1]} x {image.shape[-2]}")
        with torch.no_grad():
            found[str(path)] = estimate(net, image)
        click.echo(str(path))
        for name, value in found[str(path)]["parameters"].items():
            click.echo(f"  {name:22s} {value if isinstance(value, str) else format(value, '.3g')}")
        click.echo("  experts' shares        " + ", ".join(f"{share:.3f}" for share in found[str(path)]["shares"]))
    if json_path is not None:
        write_atomic(json_path, (json.dumps(found, indent=1) + "\n").encode())
        click.echo(str(json_path.resolve()))
