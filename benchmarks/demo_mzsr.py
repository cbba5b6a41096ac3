"""MZSR against its rivals on unseen kernels: `python -m benchmarks.demo_mzsr`.

Trains a small network on bicubic pairs (stage A); goes on from it by meta-learning (method mzsr) and, with as many
samples, by plain training on the same kernels (joint). Then adapts all three, and ZSSR from scratch, to images whose
kernels none has seen. Every network is adapted at every rate of a list; the rate at which it is judged is its own, the
best on other images. The published sizes are in configs/mzsr_x2.toml.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import pydegrade
from benchmarks.result_files import Result, spending, spent, trained, write_result
from pydegrade import kernels
from pydegrade.files.dataset import decode, find_images
from pydegrade.files.pixels import to_float
from pydegrade.shell import chosen_device
from pytrain.config.config import loads
from pytrain.evaluation.adapt import adapt, zssr
from pytrain.files.checkpoint import load_model

CONFIG = """
[run]
device = "cpu"
[net]
type = "mzsr"
num_features = 16
num_layers = 5
[method]
type = "psnr"
[data]
crop_px = 32
batch = 16
[optimizer]
learning_rate = 2e-3
betas = [0.9, 0.999]
[schedule]
type = "cosine"
[train]
ema_decay = 0
precision = "fp32"
threads = 1
[evaluate]
every_steps = 1000000
[checkpoint]
every_steps = 1000000
[log]
every_steps = 50
"""

SIDE_PX = 192
INNER_RATE = 0.05
RATES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
STEPS = (1, 10)
CPU = torch.device("cpu")
FALLING = ("joint", "mzsr")
"""Networks that are adapted at falling rates too, as far as the last of STEPS."""
TUNING = "tuning"
"""What result files call the set on which rates are chosen; it holds every kernel in turn."""

KERNELS = {
    "round, variance 2.0": kernels.gaussian(15, 2.0**0.5),
    "4 by 1, angle -0.5": kernels.gaussian(15, 2.0, 1.0, -0.5),
    "round, variance 1.0": kernels.gaussian(15, 1.0),
    "round, variance 4.5": kernels.gaussian(15, 4.5**0.5),
}
"""Variances in HR px^2; the kernels of training have 1 to 5."""


def model(out: Path, train: Sequence[Path], *overrides: str) -> Path:
    """The model file of a run."""
    return trained(loads(CONFIG, [f"run.out={out}", f"data.hr={json.dumps(list(map(str, train)))}", *overrides]))


def photographs(folders: Sequence[Path], count: int | None = None) -> dict[str, NDArray[np.uint8]]:
    """Central squares of the images in some folders, by name."""
    squares = {}
    for image in find_images(folders, side_px=SIDE_PX).images[:count]:
        pixels = decode(image).array
        top, left = ((side - SIDE_PX) // 2 for side in pixels.shape[:2])
        squares[image.name] = np.ascontiguousarray(pixels[top : top + SIDE_PX, left : left + SIDE_PX])
    return squares


def score(image: torch.Tensor, hr: NDArray[np.uint8]) -> float:
    """PSNR over RGB in dB, 4 px of border cut."""
    found = pydegrade.psnr(image[0].cpu(), torch.from_numpy(hr.transpose(2, 0, 1).copy()), "rgb-uint8-border4")
    return round(found.value, 4)


def arm(name: str, steps: int, rate: float) -> str:
    """What result files call a network after some steps at a rate, a constant one, or a first one that falls."""
    return f"{name}, {steps} steps at {rate:g}" if steps else f"{name}, 0 steps"


def adapted(
    net: Any, lr: torch.Tensor, kernel: Any, rates: Sequence[float], falling: bool = False
) -> dict[tuple[int, float], torch.Tensor]:
    """The results after every number of steps at every rate; (0, 0.0) is the network as it is. Falling rates fall by the
    ratios of the published ones, so that their first step is that of a constant one."""
    if falling:
        most = STEPS[-1:]
        return {
            (found.steps, rate): found.image
            for rate in rates
            for found in adapt(net, lr, kernel, most, rate=rate, falling=True)
        }
    ((_, untouched),) = ((found.steps, found.image) for found in adapt(net, lr, kernel, (0,), rate=0.0))
    results = {(0, 0.0): untouched}
    for rate in rates:
        results |= {(found.steps, rate): found.image for found in adapt(net, lr, kernel, STEPS, rate=rate)}
    return results


def measure(
    values: dict[str, Any], set_name: str, kernel: NDArray[np.float64], hr: NDArray[np.uint8],
    models: dict[str, Path], seed: int, zssr_steps: Sequence[int], device: torch.device = CPU,
) -> None:  # fmt: skip
    """Append PSNR of one image under one kernel to `values`, by set, arm and seed; networks work on `device`.

    "mzsr, estimated kernel" adapts with what `pydegrade.estimate_kernel` finds instead of the true kernel.
    """

    def note(name: str, image: torch.Tensor, seed_name: str = str(seed)) -> None:
        values.setdefault(set_name, {}).setdefault(name, {}).setdefault(seed_name, []).append(score(image, hr))

    pixels = pydegrade.blur_down(hr, kernel, 2)
    lr = to_float(pixels)[None].to(device)
    for name, path in models.items():
        net = load_model(path).net.to(device)
        for (steps, rate), image in adapted(net, lr, kernel, RATES).items():
            note(arm(name, steps, rate), image)
        if name in FALLING:
            for (steps, rate), image in adapted(net, lr, kernel, RATES, falling=True).items():
                note(arm(f"{name}, falling", steps, rate), image)
        if name == "mzsr":
            estimated = pydegrade.estimate_kernel(pixels, 2).kernel
            for (steps, rate), image in adapted(net, lr, estimated, RATES).items():
                note(arm(f"{name}, estimated kernel", steps, rate), image)
    # Neither depends on a network's seed.
    if seed == 0 and set_name != TUNING:
        note("bicubic", pydegrade.imresize(lr[0].cpu(), 2)[None].clamp(0, 1), "-")
        config = load_model(models["mzsr"]).config
        for found in zssr(config, lr, kernel, zssr_steps, seed=0):
            note(f"zssr, {found.steps} steps", found.image, "-")


def train_networks(
    folder: Path, train: Sequence[Path], seed: int, pretrain: int, meta: int, overrides: Sequence[str] = ()
) -> dict[str, Path]:
    """Model files of one seed."""
    start = f"run.seed={seed}"
    stage_a = model(folder / "a", train, start, f"run.steps={pretrain}", *overrides)
    more = (start, f"train.pretrained={stage_a}", f"run.steps={meta}", "optimizer.learning_rate=1e-3")
    method = f"method={{type='mzsr', tasks=2, inner_steps=3, inner_rate={INNER_RATE}}}"
    learned = model(folder / "mzsr", train, *more, method, *overrides)
    joint = model(folder / "joint", train, *more, "method={type='psnr', space='mzsr-direct-x2'}", *overrides)
    return {"pretrained": stage_a, "joint": joint, "mzsr": learned}


def run(
    out: Path, train: Sequence[Path], test: Sequence[Path], tune: Sequence[Path], seeds: int, pretrain: int, meta: int,
    zssr_steps: int, tuning_images: int = 3, overrides: Sequence[str] = (),
) -> Result:  # fmt: skip
    """The whole demonstration."""
    squares, tuning = photographs(test), photographs(tune, tuning_images)
    if len(tuning) < tuning_images:
        raise click.UsageError(
            f"--tune: must hold at least {tuning_images} images to choose rates on, got {len(tuning)}"
        )
    values: dict[str, Any] = {}
    device = chosen_device(loads(CONFIG, overrides).run.device)
    for seed in range(seeds):
        models = train_networks(out / f"seed{seed}", train, seed, pretrain, meta, overrides)
        click.echo(f"seed {seed}: trained", err=True)
        measured = out / f"seed{seed}" / "measured"
        if not (measured / "done.json").exists():
            with spending(measured):
                own: dict[str, Any] = {}
                for kernel in KERNELS.values():
                    for hr in tuning.values():
                        measure(own, TUNING, kernel, hr, models, seed, (), device)
                for kernel_name, kernel in KERNELS.items():
                    for hr in squares.values():
                        measure(own, kernel_name, kernel, hr, models, seed, tuple(sorted({10, zssr_steps})), device)
                measured.mkdir(parents=True, exist_ok=True)
                (measured / "values.json").write_text(json.dumps(own))
        for set_name, arms in json.loads((measured / "values.json").read_text()).items():
            for name, by_seed in arms.items():
                values.setdefault(set_name, {}).setdefault(name, {}).update(by_seed)
    folders = [("train", train), ("test", test), ("tune", tune)]
    given = " ".join(f"--{name} {path.name}" for name, paths in folders for path in paths)
    given += "".join(f" --set {override}" for override in overrides)
    return Result(
        study="mzsr",
        command=f"python -m benchmarks.demo_mzsr {given} --seeds {seeds} --pretrain {pretrain} --meta {meta}",
        settings={
            "seeds": seeds, "pretrain": pretrain, "meta": meta, "zssr_steps": zssr_steps, "side_px": SIDE_PX,
            "rates": list(RATES), "steps": list(STEPS), "inner_rate": INNER_RATE, "protocol": "psnr-rgb-uint8-border4",
            **{name: [path.name for path in paths] for name, paths in folders},
        },
        unit="dB",
        items={TUNING: [f"{name}, {kernel}" for kernel in KERNELS for name in tuning]}
        | {kernel: list(squares) for kernel in KERNELS},
        values=values,
        **spent(out),
    )  # fmt: skip


def best_rate(result: Result, name: str, steps: int) -> float:
    """The rate that is best for a network on the tuning set.

    Raises:
        ValueError: a network that was not adapted at every rate, and so has no best one.
    """
    missing = [rate for rate in result.settings["rates"] if arm(name, steps, rate) not in result.values[TUNING]]
    if missing:
        raise ValueError(
            f"mzsr: {name} must have results after {steps} steps at every rate, got none at {missing[0]:g}"
        )
    return max(result.settings["rates"], key=lambda rate: result.mean(TUNING, arm(name, steps, rate)))


def best_arm(result: Result, name: str, steps: int) -> str:
    """A network after so many steps at its best rate."""
    return arm(name, steps, best_rate(result, name, steps) if steps else 0.0)


def has_falling(result: Result) -> bool:
    """Whether networks were adapted at falling rates, too."""
    return arm(f"{FALLING[0]}, falling", STEPS[-1], result.settings["rates"][0]) in result.values[TUNING]


def kernel_sets(result: Result) -> list[str]:
    """The sets that are reported."""
    return [name for name in result.items if name != TUNING]


def table(result: Result) -> str:
    """PSNR by kernel; every network at its own best rate for that number of steps."""
    most = result.settings["zssr_steps"]
    falls = has_falling(result)
    lines = [
        f"| Kernel (variances in HR px²) | bicubic | ZSSR 10 / {most} | joint 0 / 1 / 10 | MZSR 0 / 1 / 10 | "
        f"{'falling rates, 10: joint / MZSR | ' if falls else ''}MZSR, estimated kernel, 1 / 10 |",
        f"|---|---|---|---|---|{'---|' if falls else ''}---|",
    ]
    for kernel in kernel_sets(result):
        groups = [["bicubic"], [f"zssr, {count} steps" for count in (10, most)]]
        groups += [[best_arm(result, name, steps) for steps in (0, 1, 10)] for name in ("joint", "mzsr")]
        groups += [[best_arm(result, f"{name}, falling", 10) for name in FALLING]] if falls else []
        groups += [[best_arm(result, "mzsr, estimated kernel", steps) for steps in (1, 10)]]
        cells = [" / ".join(f"{result.mean(kernel, name):.2f}" for name in names) for names in groups]
        lines.append(f"| {kernel} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(result: Result) -> str:
    """MZSR minus its rivals: mean over seeds with the interval over images, and the range over seeds."""
    rivals = {
        "bicubic": (("mzsr", 1), "bicubic"),
        "MZSR without a step": (("mzsr", 10), best_arm(result, "mzsr", 0)),
        "joint as it is": (("mzsr", 10), best_arm(result, "joint", 0)),
        "joint": (("mzsr", 10), best_arm(result, "joint", 10)),
        "joint at MZSR's rate": (("mzsr", 10), arm("joint", 10, best_rate(result, "mzsr", 10))),
        **(
            {
                "MZSR at falling rates": (("mzsr", 10), best_arm(result, "mzsr, falling", 10)),
                "joint, both at falling rates": (("mzsr, falling", 10), best_arm(result, "joint, falling", 10)),
                "joint as it is, MZSR at falling rates": (("mzsr, falling", 10), best_arm(result, "joint", 0)),
            }
            if has_falling(result)
            else {}
        ),
        "ZSSR": (("mzsr", 10), f"zssr, {result.settings['zssr_steps']} steps"),
        "MZSR with the estimated kernel": (("mzsr", 10), best_arm(result, "mzsr, estimated kernel", 10)),
    }
    lines = ["| MZSR minus | after steps | " + " | ".join(kernel_sets(result)) + " |"]
    lines.append("|---" * (2 + len(kernel_sets(result))) + "|")
    for title, ((name, steps), rival) in rivals.items():
        cells = []
        for kernel in kernel_sets(result):
            found = result.minus(kernel, best_arm(result, name, steps), rival)
            cells.append(f"{found.over_items()}; {found.over_seeds()}")
        count = (
            rival.partition(", ")[2].removeprefix("estimated kernel, ").removeprefix("falling, ").partition(" steps")[0]
        )
        lines.append(f"| {title} | {steps}{f' and {count}' if count else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rates(result: Result) -> str:
    """What every network is worth on the tuning set, by rate."""
    listed = result.settings["rates"]
    lines = ["| After steps | no step | " + " | ".join(f"{rate:g}" for rate in listed) + " |"]
    lines.append("|---" * (2 + len(listed)) + "|")
    for name in ("pretrained", "joint", "mzsr"):
        for steps in result.settings["steps"]:
            best = best_rate(result, name, steps)
            cells = []
            for rate in listed:
                text = f"{result.mean(TUNING, arm(name, steps, rate)):.2f}"
                cells.append(f"**{text}**" if rate == best else text)
            start = f"{result.mean(TUNING, arm(name, 0, 0.0)):.2f}"
            lines.append(f"| {name}, {steps} | {start} | {' | '.join(cells)} |")
    return "\n".join(lines)


FOLDER = click.Path(path_type=Path, exists=True)


@click.command()
@click.option("--train", multiple=True, required=True, type=FOLDER, help="Clean images.")
@click.option("--test", multiple=True, required=True, type=FOLDER, help="Held-out images.")
@click.option(
    "--tune", multiple=True, required=True, type=FOLDER, help="Other images: rates are chosen on the first 3."
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--pretrain", default=250, show_default=True, help="Steps of stage A.")
@click.option("--meta", default=150, show_default=True, help="Steps of meta-learning, and of the joint rival.")
@click.option("--zssr-steps", default=1000, show_default=True, help="Most steps of ZSSR.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option of every run.")
@click.option("--out", default="out/demo_mzsr", show_default=True, type=click.Path(path_type=Path, file_okay=False))
def main(
    train: tuple[Path, ...], test: tuple[Path, ...], tune: tuple[Path, ...], seeds: int, pretrain: int, meta: int,
    zssr_steps: int, overrides: tuple[str, ...], out: Path,
) -> None:  # fmt: skip
    """Compare MZSR, its start, joint training and ZSSR on unseen kernels, each at its best rate.

    \b
    Example:
      python -m benchmarks.demo_mzsr --train T91 --test Set5 --tune BSD20 --seeds 3
    """
    torch.set_num_threads(1)
    out = out.resolve()
    train, test, tune = (tuple(path.resolve() for path in paths) for paths in (train, test, tune))
    result = run(out, train, test, tune, seeds, pretrain, meta, zssr_steps, overrides=overrides)
    write_result(result, out / "mzsr.json")
    click.echo("\n\n".join(write(result) for write in (table, differences, rates)))
    click.echo(f"{result.seconds:.0f} s of processor; {out / 'mzsr.json'}")


if __name__ == "__main__":
    main()
