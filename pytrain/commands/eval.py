"""`pytrain eval`: PSNR and SSIM of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pydegrade.shell import SEED, Choice, absolute, chosen_device, say, set_option

from .options import load_config, model_options

if TYPE_CHECKING:
    from ..evaluation.settings import Reference


@click.command(name="eval", short_help="Measure PSNR and SSIM of models.")
@click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@set_option("Change an option of CONFIG.")
@click.option(
    "--model", "models", multiple=True, metavar="FILE|bicubic",
    help="Model file, or a baseline: bicubic, bicubic-y-double. May be repeated.  "
    "[default: bicubic, and the best model of CONFIG's run]",
)  # fmt: skip
@click.option("--hr", multiple=True, type=click.Path(path_type=Path), help="Without CONFIG: a set of clean images.")
@click.option(
    "--card", type=click.Path(path_type=Path), metavar="CARD",
    help="Without CONFIG: --hr is the folder that `degrade sample --card CARD` made. It is compared with the card first, "
    "and the card's protocol holds.",
)  # fmt: skip
@click.option("--lr", type=click.Path(path_type=Path), help="Without CONFIG: the low-resolution partners of --hr.")
@click.option(
    "--space", "spaces", multiple=True, metavar="NAME",
    help="Without CONFIG: how LR is made: bicubic (MATLAB's, 8 bits), a preset or a TOML file. May be repeated.  "
    "[default: bicubic]",
)  # fmt: skip
@click.option(
    "--reference", type=Choice(("hr", "target")), default="hr", show_default=True,
    help="For --space with a sharpened training target: make LR from the plain image and compare with it, or from and "
    "with the target.",
)  # fmt: skip
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the tasks of --space.")
@click.option("--scale", type=click.IntRange(1, 8), help="Needed where only baselines are measured without CONFIG.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="Such as y-uint8 or rgb-uint8-border0.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME",
    help="A perceptual metric of pyiqa: lpips, dists, niqe, musiq; lpips=FILE takes its weights from a file. May be "
    "repeated.",
)  # fmt: skip
@click.option("--per-image", is_flag=True, help="A line for every image.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Also write all numbers here."
)
@click.option("--save-images", "folder", type=click.Path(path_type=Path), metavar="DIR",
    help="Write results here, with HR, LR and eval.json; `degrade gallery DIR` makes a page of them.",
)  # fmt: skip
@model_options
def command(
    config_path: Path | None,
    overrides: tuple[str, ...],
    models: tuple[str, ...],
    hr: tuple[Path, ...],
    card: Path | None,
    lr: Path | None,
    spaces: tuple[str, ...],
    reference: Reference,
    seed: int,
    scale: int | None,
    protocols: tuple[str, ...],
    metrics: tuple[str, ...],
    per_image: bool,
    json_path: Path | None,
    folder: Path | None,
    tile_px: int,
    overlap_px: int,
    device: str,
) -> None:
    """Measure PSNR and SSIM of models, on the sets of CONFIG or on --hr.

    Every number comes with its protocol: channel, rounding, border. LR is made by MATLAB's bicubic or by degradation
    spaces with a fixed seed, one table row per set and model.

    \b
    Examples:
      pytrain eval configs/quickstart.toml
      pytrain eval --hr Set5 --model edsr.pth --model bicubic
      pytrain eval --hr Set5 --model x4.pth --space realesrgan-x4 --json s.json
      pytrain eval --hr Set5 --model x4.pth --metric lpips --metric niqe
      pytrain eval --card card.toml --hr out/test --model x4.pth
    """
    from pydegrade.shell import check_file, write_file

    from ..errors import ConfigError

    if json_path is not None:
        check_file(json_path, (".json",), "--json")
    if config_path is None:
        if overrides:
            raise ConfigError("eval: --set changes options of CONFIG, got no CONFIG")
        if not models:
            raise ConfigError("eval: --model must name a model file or bicubic, got none")
    elif hr or lr or spaces or scale or card:
        raise ConfigError("eval: CONFIG names the sets; leave out --hr, --card, --lr, --space and --scale")
    if card is not None and (lr or spaces or scale):
        raise ConfigError("eval: --card says what LR is; leave out --lr, --space and --scale")
    from ..evaluation.results import table
    from .actions.eval import described_sets, measure, of_card, of_config

    where = chosen_device(device)
    if card is not None:
        request = of_card(card, hr, reference, models)
    elif config_path is None:
        request = described_sets(hr, lr, spaces, seed, reference, models, scale)
    else:
        request = of_config(load_config(config_path, overrides), models, str(config_path))
    results = measure(request.changed(protocols, tile_px, overlap_px, metrics), where, folder)
    say(*table(results, per_image).removesuffix("\n").split("\n"))
    if json_path is not None:
        write_file(json_path, ("[" + ",\n".join(result.to_json().rstrip() for result in results) + "]\n").encode())
    for path in filter(None, (json_path, folder)):
        say(absolute(path))
