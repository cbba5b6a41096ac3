"""What DASR learns on two cores: `python -m benchmarks.demo_dasr --train T91 --test Set5`.

One small SRResNet is trained on all three levels, then three continuations of equal length start from it, per seed:

- `plain`: the same network, one set of weights;
- `dasr`: five experts mixed by a predictor, labels of the image's own task;
- `shuffled`: the same with labels of other samples, as in the released code (first seed only).

Prints PSNR per level, the predictor's error against a constant, correlations per column, and how far the experts'
shares of the levels lie apart; writes all of it as JSON and a plot.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import pydegrade
from benchmarks.quiet import quiet
from pydegrade.vectors import ENTRIES
from pytrain import loop, nets
from pytrain.checkpoint import load_model
from pytrain.config import Config, loads
from pytrain.data import DataConfig, open_source, stream

LEVELS = ("dasr-weak", "dasr-standard", "dasr-severe")
SHOWN = (
    "blur1.sigma_x_px",
    "blur1.sigma_y_px",
    "resize1.resize_factor",
    "noise1.level",
    "jpeg1.quality",
    "jpeg2.quality",
)

CONFIG = """
[run]
device = "cpu"
[net]
type = "srresnet"
scale = 4
num_features = 24
num_blocks = 3
[method]
type = "psnr"
space = "dasr-mixed"
[data]
crop_px = 128
batch = 8
[optimizer]
betas = [0.9, 0.99]
[schedule]
type = "cosine"
warmup_steps = 50
floor = 0.02
[train]
ema_decay = 0.99
threads = 1
[checkpoint]
every_steps = 1000000
[log]
every_steps = 100
"""

DASR_NET = "net={type='dasr', scale=4, num_features=24, num_blocks=3, num_experts=5, predictor_features=32}"


def configuration(out: Path, train: tuple[Path, ...], test: tuple[Path, ...], *overrides: str) -> Config:
    """The common settings with a run's own; every level is measured on the same central squares."""
    images = json.dumps([str(path) for path in test])
    sets = ", ".join(f"{{name='{level}', hr={images}, space='{level}', crop_px=240}}" for level in LEVELS)
    hr = json.dumps([str(path) for path in train])
    common = [f"run.out='{out}'", f"run.name='{out.name}'", f"data.hr={hr}", f"evaluate.sets=[{sets}]"]
    return loads(CONFIG, [*common, *overrides])


def psnr_of(out: Path) -> dict[str, float]:
    """PSNR per level at the end of a run."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    scores = [line["scores"] for line in lines if line["kind"] == "evaluate"][-1]
    return {level: scores[f"{level}/psnr"] for level in LEVELS}


def train_all(
    out: Path, train: tuple[Path, ...], test: tuple[Path, ...], start_steps: int, steps: int, seeds: int
) -> None:
    """The common start, then every continuation."""
    base = [
        f"run.steps={start_steps}",
        "run.seed=1000",
        "optimizer.learning_rate=1e-3",
        f"evaluate.every_steps={start_steps}",
    ]
    loop.fit(configuration(out / "start", train, test, *base), log=quiet)
    start = out / "start" / "models" / "last.safetensors"
    for seed in range(seeds):
        kinds = ["plain", "dasr", *(["shuffled"] if seed == 0 else [])]
        for kind in kinds:
            own = [
                f"run.steps={steps}",
                f"run.seed={seed}",
                "optimizer.learning_rate=1e-3",
                f"train.pretrained='{start}'",
            ]
            own += [f"evaluate.every_steps={steps}"]
            if kind != "plain":
                flag = "true" if kind == "shuffled" else "false"
                method = f"type='dasr', perceptual_weight=0.0, gan_weight=0.0, shuffled_labels={flag}"
                own += [DASR_NET, f"method={{{method}}}"]
            loop.fit(configuration(out / f"{kind}_{seed}", train, test, *own), log=quiet)
            psnr = ", ".join(
                f"{level.removeprefix('dasr-')} {value:.2f}" for level, value in psnr_of(out / f"{kind}_{seed}").items()
            )
            click.echo(f"seed {seed}  {kind:8s} {psnr}", err=True)


def predictions(model: Path, test: tuple[Path, ...], count: int) -> dict[str, NDArray[Any]]:
    """What a trained predictor says about `count` held-out crops, and the truth: vector, mask, estimate, shares, level."""
    net = load_model(model).net
    assert isinstance(net, nets.DASR)
    source = open_source(DataConfig(hr=tuple(str(path) for path in test), crop_px=128, batch=16), ("hr",), 4, 4242)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("vector", "mask", "estimate", "shares", "level")}
    with torch.no_grad():
        for raw in stream(source, range(count // 16), 0, 1):
            tasks = pydegrade.sample("dasr-mixed", 4242, raw.indices)
            lr = pydegrade.degrade(loop.to_float(raw.images["hr"]), tasks)
            vector, mask = tasks.vector("dasr33-global")
            estimate, shares = net.predictor(lr)
            found = (vector, mask, estimate.numpy(), shares.numpy(), np.asarray(tasks.component))
            for name, value in zip(parts, found):
                parts[name].append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


def measured(found: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Regression error against the best constant, correlation per column, distance of the levels' shares."""
    vector, mask, estimate = found["vector"], found["mask"], found["estimate"]
    correlations = {}
    for name in SHOWN:
        entry = ENTRIES.index(name)
        rows = mask[:, entry]
        correlations[name] = float(np.corrcoef(vector[rows, entry], estimate[rows, entry])[0, 1])
    shares, level = found["shares"], found["level"]
    weak, severe = shares[level == 0], shares[level == 2]
    error = np.sqrt(weak.var(0, ddof=1) / len(weak) + severe.var(0, ddof=1) / len(severe))
    return {
        "regression_l1": float(np.abs(vector - estimate).mean()),
        "constant_l1": float(np.abs(vector - np.median(vector, axis=0)).mean()),
        "correlations": correlations,
        "shares_by_level": [shares[level == number].mean(0).tolist() for number in range(3)],
        "largest_distance_in_standard_errors": float((np.abs(weak.mean(0) - severe.mean(0)) / error).max()),
    }


def swapped(model: Path, test: tuple[Path, ...]) -> float:
    """Loss in dB when every image is restored with the vector of an image of another level; 96 held-out crops."""
    net = load_model(model).net
    assert isinstance(net, nets.DASR)
    source = open_source(DataConfig(hr=tuple(str(path) for path in test), crop_px=128, batch=16), ("hr",), 4, 777)
    losses: list[float] = []
    with torch.no_grad():
        for raw in stream(source, range(6), 0, 1):
            tasks = pydegrade.sample("dasr-mixed", 777, raw.indices)
            pair = pydegrade.degrade_batch(loop.to_float(raw.images["hr"]), tasks)
            shares = net.predictor(pair.lr)[1]
            level = torch.as_tensor(np.asarray(tasks.component))
            for row in range(len(shares)):
                others = torch.nonzero(level != level[row]).flatten()
                if not len(others):
                    continue
                lr, target = pair.lr[row : row + 1], pair.target[row : row + 1]
                own, wrong = (net.generator(lr, shares[number : number + 1]) for number in (row, int(others[0])))
                error = [(image.clamp(0, 1) - target).square().mean() for image in (own, wrong)]
                losses.append(float(10 * torch.log10(error[1] / error[0])))
    return statistics.mean(losses)


def run(
    out: Path,
    train: tuple[Path, ...],
    test: tuple[Path, ...],
    start_steps: int,
    steps: int,
    seeds: int,
    crops: int = 960,
) -> dict[str, Any]:
    """The whole demonstration; returns what it measured as plain values. `crops`: on which predictors are judged."""
    started_s = time.perf_counter()
    train_all(out, train, test, start_steps, steps, seeds)
    kinds = [f"{kind}_{seed}" for seed in range(seeds) for kind in ("plain", "dasr")] + ["shuffled_0"]
    models = {name: out / name / "models" / "last.safetensors" for name in kinds}
    return {
        "start_steps": start_steps,
        "steps": steps,
        "psnr": {name: psnr_of(out / name) for name in ["start", *kinds]},
        "predictor": {
            name: measured(predictions(path, test, crops))
            for name, path in models.items()
            if not name.startswith("plain")
        },
        "swapped_db": {name: swapped(path, test) for name, path in models.items() if not name.startswith("plain")},
        "seconds": time.perf_counter() - started_s,
    }


def tables(result: dict[str, Any]) -> str:
    """What came out, as Markdown."""
    lines = ["| run | weak | standard | severe |", "|---|---|---|---|"]
    for name, psnr in result["psnr"].items():
        lines.append(f"| {name} | " + " | ".join(f"{psnr[level]:.2f}" for level in LEVELS) + " |")
    seeds = sorted(int(name[5:]) for name in result["psnr"] if name.startswith("dasr_"))
    gains = {
        level: [result["psnr"][f"dasr_{seed}"][level] - result["psnr"][f"plain_{seed}"][level] for seed in seeds]
        for level in LEVELS
    }
    lines.append(
        "| dasr - plain, mean | " + " | ".join(f"{statistics.mean(gains[level]):+.3f}" for level in LEVELS) + " |"
    )
    lines += ["", "| | " + " | ".join(result["predictor"]) + " |", "|---" * (1 + len(result["predictor"])) + "|"]
    rows = {
        "regression L1": lambda one: f"{one['regression_l1']:.3f}",
        "of the best constant": lambda one: f"{one['regression_l1'] / one['constant_l1']:.2f}",
        **{f"r {name}": (lambda one, name=name: f"{one['correlations'][name]:+.2f}") for name in SHOWN},
        "shares, weak - severe, standard errors": lambda one: f"{one['largest_distance_in_standard_errors']:.1f}",
    }
    for title, text in rows.items():
        lines.append(f"| {title} | " + " | ".join(text(one) for one in result["predictor"].values()) + " |")
    lines.append(
        "| vector of another level, dB | "
        + " | ".join(f"{-value:+.2f}" for value in result["swapped_db"].values())
        + " |"
    )
    return "\n".join(lines)


@click.command()
@click.option(
    "--train", multiple=True, required=True, type=click.Path(path_type=Path, exists=True), help="Clean images."
)
@click.option(
    "--test", multiple=True, required=True, type=click.Path(path_type=Path, exists=True), help="Held-out images."
)
@click.option("--out", default="out/demo_dasr", show_default=True, type=click.Path(path_type=Path))
@click.option("--start-steps", default=1500, show_default=True, help="Of the network that all start from.")
@click.option("--steps", default=3000, show_default=True, help="Of every continuation.")
@click.option("--seeds", default=2, show_default=True)
def main(
    train: tuple[Path, ...], test: tuple[Path, ...], out: Path, start_steps: int, steps: int, seeds: int
) -> None:  # fmt: skip
    """DASR against the same network without experts, at equal iterations, on your images.

    \b
    Example:
      python -m benchmarks.demo_dasr --train T91 --train BSD20 --test Set14
    """
    out = out.resolve()
    train, test = (tuple(path.resolve() for path in paths) for paths in (train, test))
    result = run(out, train, test, start_steps, steps, seeds)
    (out / "result.json").write_text(json.dumps(result, indent=1))
    click.echo(tables(result))
    click.echo(f"{result['seconds']:.0f} s; {out / 'result.json'}")


if __name__ == "__main__":
    main()
