"""`degrade estimate`: what a trained DASR predictor believes about images."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.shell import IN_PATH, OUT_FILE, absolute, chosen_device, device_option, max_pixels_option, say


@click.command(name="estimate", short_help="Estimate the degradation of images by a DASR model.")
@click.argument("images", nargs=-1, required=True, type=IN_PATH)
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CKPT",
              help="A model of method dasr, labels of scheme dasr33-global.")  # fmt: skip
@click.option("--json", "json_path", type=OUT_FILE, help="Also write all of it here.")
@max_pixels_option()
@device_option("cpu")
def command(images: tuple[Path, ...], model: Path, json_path: Path | None, max_pixels: int, device: str) -> int:
    """Print what a trained predictor believes about each image: blur, resize, noise, compression, in units.

    These are estimates of a network that was trained on one degradation model; docs/dasr.md says how far they can be
    trusted. Folders are searched.

    \b
    Examples:
      degrade estimate photo.jpg --model dasr.safetensors
      degrade estimate photos --model dasr.safetensors --json estimates.json
    """
    from pydegrade.shell import check_file, write_file

    if json_path is not None:
        check_file(json_path, (".json",), "--json", [*images, model])
    from .actions.estimate import estimate_images, to_json

    found, fates = estimate_images(images, model, chosen_device(device), max_pixels, say)
    if json_path is not None and found:
        write_file(json_path, to_json(found))
        say(absolute(json_path))
    return fates.end("degrade estimate")
