"""Does a space learned from photographs train a better network for them? `python -m benchmarks.demo_fit`.

A hidden space makes a folder of degraded photographs, and `degrade fit` learns a space from that folder alone. Then one
small SRResNet each is trained on other clean images with the fitted space, with the hidden one (what fitting could reach),
with the wide one that fitting begins with (what is known without a photograph), with realesrgan-x4 as it is and without
the sharpening of its target, and with bicubic; same crops, same length. All are judged by PSNR on photographs that
nothing else has seen, degraded by the hidden space. Every seed has a folder, a fit and networks of its own. A killed
demonstration goes on when its command is given again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

import pydegrade
from benchmarks.result_files import Result, spending, spent, trained, write_result
from pydegrade.commands import cli
from pydegrade.engine import degrade_list
from pydegrade.files.dataset import decode, find_images
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.fitting.prior import wide_space
from pytrain.config.config import loads
from pytrain.files.checkpoint import load_model
from tests.hidden_spaces import JUDGED, hidden_space, truth

SCALE = 4
HIDDEN, RATES, SEEDS, STEPS, PHOTOGRAPHS, SIMULATIONS = (8, 5), (2e-3,), 3, 400, 60, 1500
FOLDER_SEED, TEST_SEED = 500, 4242
TEST_CROP_PX = 192
TASKS = 4
"""Of the hidden space for each photograph that is judged."""
PROTOCOL = "rgb-uint8-border4"
ENLARGED = "bicubic enlargement, no network"
OWN, COMMON = ("hidden", "fitted"), ("wide", "realesrgan-x4", "realesrgan-x4, target not sharpened", "bicubic-x4")
"""Arms with networks of each hidden space, and arms whose networks serve all of them."""

CONFIG = """
[run]
device = "cpu"
[net]
type = "srresnet"
scale = 4
num_features = 16
num_blocks = 3
[method]
type = "psnr"
[data]
crop_px = 64
batch = 8
[optimizer]
betas = [0.9, 0.99]
[schedule]
type = "cosine"
warmup_steps = 50
floor = 0.02
[train]
ema_decay = 0.99
precision = "fp32"
threads = 1
[evaluate]
every_steps = 1000000
[checkpoint]
every_steps = 1000000
[log]
every_steps = 100
"""

NOT_SHARPENED = """[space]
name = "realesrgan-not-sharpened-x4"
base = "realesrgan-x4"
target = "hr"
without = ["usm"]
"""


def write_folder(folder: Path, space: pydegrade.Space, sources: Sequence[Path], count: int, seed: int) -> None:
    """Photographs that the space made of the images, in turn, as PNG: no table tells the quality of their JPEG."""
    images = find_images(sources, side_px=TEST_CROP_PX).images
    tasks = pydegrade.sample(space, FOLDER_SEED + seed, range(count))
    folder.mkdir(parents=True, exist_ok=True)
    clean = []
    for number in range(count):
        pixels = decode(images[number % len(images)]).array
        height, width = (side // SCALE * SCALE for side in pixels.shape[:2])
        clean.append(to_float(pixels[:height, :width].copy()))
    for number, image in enumerate(degrade_list(clean, tasks)):
        Image.fromarray(to_uint8(image)).save(folder / f"{number:03d}.png")


def fitted(folder: Path, common: Path, simulations: int) -> Path:
    """The space that `degrade fit` learns from folder/photographs. Simulations do not depend on the photographs, so that
    those of the first fit, kept in `common`, serve all."""
    space, kept = folder / "fitted.toml", folder / ".fitted.fit.npz"
    if not (folder / "fit" / "done.json").exists():
        with spending(folder / "fit"):
            if common.exists():
                shutil.copy(common, kept)
            arguments = ["fit", str(folder / "photographs"), "-o", str(space), "--simulations", str(simulations)]
            code = cli.cli.main([*arguments, "--scale", str(SCALE)], standalone_mode=False)
            if code:
                raise click.ClickException(f"degrade fit: exit code {code}")
            if not common.exists():
                shutil.copy(kept, common)
    return space


def network(out: Path, train: Sequence[Path], space: str, rate: float, seed: int, overrides: Sequence[str]) -> Path:
    """The model file of a run."""
    own = [f"run.out={out}", f"run.seed={seed}", f"method.space={space}", f"optimizer.learning_rate={rate}"]
    return trained(loads(CONFIG, [*own, f"data.hr={json.dumps(list(map(str, train)))}", *overrides]))


def held_out(test: Sequence[Path], space: pydegrade.Space) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """By photograph: its central square TASKS times, [TASKS, 3, S, S] in [0, 1], and what the space makes of them."""
    found = {}
    for number, image in enumerate(find_images(test, side_px=TEST_CROP_PX).images):
        pixels = decode(image).array
        top, left = ((side - TEST_CROP_PX) // 2 for side in pixels.shape[:2])
        square = to_float(pixels[top : top + TEST_CROP_PX, left : left + TEST_CROP_PX].copy())
        tasks = pydegrade.sample(space, TEST_SEED, range(number * TASKS, (number + 1) * TASKS))
        pair = pydegrade.degrade_batch(square[None].expand(TASKS, -1, -1, -1).contiguous(), tasks)
        found[image.name] = pair.target, pair.lr
    return found


@torch.no_grad()
def judged(net: Any, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """PSNR in dB of every photograph: the mean over its tasks."""
    found = [pydegrade.psnr(net(lr).clamp(0, 1), target, PROTOCOL).values for target, lr in pairs.values()]
    return [round(float(np.mean(values)), 4) for values in found]


def measured(model: Path, name: str, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """What `judged` says of a run's model on a set, kept in the run's folder."""
    folder = model.parent.parent / f"measured-{name}"
    if not (folder / "done.json").exists():
        with spending(folder):
            values = judged(load_model(model).net, pairs)
            folder.mkdir(exist_ok=True)
            (folder / "values.json").write_text(json.dumps(values))
    found: list[float] = json.loads((folder / "values.json").read_text())
    return found


def arm(name: str, rate: float) -> str:
    """What result files call a network."""
    return f"{name}, rate {rate:g}"


def run(
    out: Path, train: Sequence[Path], photographs: Sequence[Path], test: Sequence[Path], hidden: Sequence[int],
    rates: Sequence[float], seeds: int, steps: int, count: int = PHOTOGRAPHS, simulations: int = SIMULATIONS,
    overrides: Sequence[str] = (),
) -> Result:  # fmt: skip
    """The whole demonstration."""
    spaces = {space.name: space for space in (hidden_space(number, SCALE) for number in hidden)}
    pairs = {name: held_out(test, space) for name, space in spaces.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("plain", NOT_SHARPENED), ("wide", wide_space(SCALE).to_toml())):
        (out / f"{name}.toml").write_text(text)
    common = dict(zip(COMMON, (str(out / "wide.toml"), "realesrgan-x4", str(out / "plain.toml"), "bicubic-x4")))
    values: dict[str, Any] = {name: {} for name in spaces}
    means: dict[str, Any] = {}

    def steps_at(rate: float) -> list[str]:
        return [f"run.steps={steps}", *overrides]

    for name, space in spaces.items():
        enlarged = judged(lambda lr: torch.stack([pydegrade.imresize(one, SCALE) for one in lr]), pairs[name])
        values[name][ENLARGED] = {"-": enlarged}
        (out / f"{name}.toml").write_text(space.to_toml())
        means[name] = {"hidden": {one: round(truth(space, one), 3) for one in JUDGED}}
    for seed in range(seeds):
        for name, space in spaces.items():
            folder = out / f"seed{seed}" / name
            if not (folder / "photographs").exists():
                write_folder(folder / "photographs", space, photographs, count, seed)
            own = {
                "hidden": str(out / f"{name}.toml"),
                "fitted": str(fitted(folder, out / "simulations.npz", simulations)),
            }
            learned = pydegrade.Space.load(own["fitted"])
            means[name][f"fitted {seed}"] = {one: round(truth(learned, one), 3) for one in JUDGED}
            for title, where in own.items():
                for rate in rates:
                    model = network(folder / f"{title}_{rate:g}", train, where, rate, seed, steps_at(rate))
                    values[name].setdefault(arm(title, rate), {})[str(seed)] = measured(model, name, pairs[name])
        for number, (title, where) in enumerate(common.items()):
            for rate in rates:
                folder = out / f"seed{seed}" / f"common{number}_{rate:g}"
                model = network(folder, train, where, rate, seed, steps_at(rate))
                for name in spaces:
                    values[name].setdefault(arm(title, rate), {})[str(seed)] = measured(model, name, pairs[name])
        click.echo(f"seed {seed}: done", err=True)
    folders = [("train", train), ("photographs", photographs), ("test", test)]
    given = " ".join(f"--{name} {path.name}" for name, paths in folders for path in paths)
    given += "".join(f" --hidden {number}" for number in hidden if tuple(hidden) != HIDDEN)
    given += "".join(f" --rate {rate:g}" for rate in rates if tuple(rates) != RATES)
    given += "".join(f" --set {override}" for override in overrides)
    return Result(
        study="fit",
        command=f"python -m benchmarks.demo_fit {given} --seeds {seeds} --steps {steps}",
        settings={
            "seeds": seeds, "steps": steps, "rates": list(rates), "hidden": list(spaces), "count": count,
            "simulations": simulations, "tasks": TASKS, "side_px": TEST_CROP_PX, "protocol": f"psnr-{PROTOCOL}",
            **{name: [path.name for path in paths] for name, paths in folders},
        },
        unit="dB",
        items={name: list(found) for name, found in pairs.items()},
        values=values,
        facts={"means": means},
        **spent(out),
    )  # fmt: skip


def best_arm(result: Result, set_name: str, name: str) -> str:
    """An arm at the rate that is best for it."""
    return max((arm(name, rate) for rate in result.settings["rates"]), key=lambda one: result.mean(set_name, one))


def table(result: Result) -> str:
    """PSNR by space of the training, each at its own best rate, and the fitted space minus it: 95 % over photographs, and
    the range over seeds."""
    sets = list(result.values)
    lines = [
        "| Trained with | " + " | ".join(f"{name}, dB | fitted minus this" for name in sets) + " |",
        "|---" * (1 + 2 * len(sets)) + "|",
    ]
    for title in (*OWN, *COMMON, ENLARGED):
        cells = []
        for name in sets:
            chosen = title if title == ENLARGED else best_arm(result, name, title)
            gain = result.minus(name, best_arm(result, name, "fitted"), chosen)
            cells += [
                f"{result.mean(name, chosen):.2f}",
                "" if title == "fitted" else f"{gain.over_items()}; {gain.over_seeds()}",
            ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def means_table(result: Result) -> str:
    """Means of the hidden spaces, and of what was fitted for each seed."""
    lines = ["| Space | Mean of | true | fitted, by seed |", "|---|---|---|---|"]
    for name, found in result.facts["means"].items():
        for one in JUDGED:
            by_seed = ", ".join(f"{values[one]:.3g}" for title, values in found.items() if title != "hidden")
            lines.append(f"| {name} | {one} | {found['hidden'][one]:.3g} | {by_seed} |")
    return "\n".join(lines)


FOLDER = click.Path(path_type=Path, exists=True)


@click.command()
@click.option("--train", multiple=True, required=True, type=FOLDER, help="Clean images that networks are trained on.")
@click.option("--photographs", multiple=True, required=True, type=FOLDER, help="Images that the folder is made of.")
@click.option("--test", multiple=True, required=True, type=FOLDER, help="Held-out images.")
@click.option("--hidden", multiple=True, type=int, default=HIDDEN, show_default=True, help="Numbers of hidden spaces.")
@click.option("--rate", "rates", multiple=True, type=float, default=RATES, show_default=True)
@click.option("--seeds", default=SEEDS, show_default=True, type=click.IntRange(min=1))
@click.option("--steps", default=STEPS, show_default=True, help="Of every network.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option of every run.")
@click.option("--out", default="out/demo_fit", show_default=True, type=click.Path(path_type=Path, file_okay=False))
def main(
    train: tuple[Path, ...], photographs: tuple[Path, ...], test: tuple[Path, ...], hidden: tuple[int, ...],
    rates: tuple[float, ...], seeds: int, steps: int, overrides: tuple[str, ...], out: Path,
) -> None:  # fmt: skip
    """Train with a fitted space, with the hidden one that it stands for, and with spaces for anything.

    \b
    Example:
      python -m benchmarks.demo_fit --train T91 --photographs BSD20 --test Set5 --test Set14
    """
    torch.set_num_threads(1)
    train, photographs, test = (tuple(path.resolve() for path in paths) for paths in (train, photographs, test))
    out = out.resolve()
    result = run(out, train, photographs, test, hidden, rates, seeds, steps, overrides=overrides)
    write_result(result, out / "fit.json")
    click.echo(f"{table(result)}\n\n{means_table(result)}")
    click.echo(f"{result.seconds:.0f} s of processor; {out / 'fit.json'}")


if __name__ == "__main__":
    main()
