"""What DASR learns on two cores: `python -m benchmarks.demo_dasr --train T91 --test Set5`.

One small SRResNet is trained on all three levels, then continuations of equal length start from it, per seed:

- `plain`: the same network, one set of weights;
- `dasr`: five experts mixed by a predictor, labels of the image's own task;
- `shuffled`: the same with labels of other samples, as in the released code;
- `unlabelled`: the same without the regression, so that the mixture follows the pixel loss alone;
- `oracle`, `level`, `constant`: the experts' shares follow the task's own 33 numbers, its level alone, or nothing.

All are judged on the same held-out crops, each with its own degradation, and on crops made small by bicubic alone. Gives
PSNR per set and photograph, the predictor's error against a constant, correlations per entry, how far the experts' shares
of the levels lie apart, what the vector of another image costs, and how far each entry moves the image; as a result file
and a plot. `--loss mse` takes the squared error, by which PSNR judges, in place of the published L1. A killed
demonstration goes on when its command is given again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import pydegrade
from benchmarks.result_files import Result, spending, spent, trained, write_result
from pydegrade import Pair
from pydegrade.shell import chosen_device
from pydegrade.tasks.vectors import ENTRIES
from pytrain import nets
from pytrain.config.config import Config, loads
from pytrain.data.source import DataConfig, open_source, stream
from pytrain.files.checkpoint import load_model
from pytrain.methods.dasr import Mixing, mixing_vector
from pytrain.training.degrade import to_float

KINDS = ("plain", "dasr", "shuffled", "unlabelled", "oracle", "level", "constant")
LEVELS = ("dasr-weak", "dasr-standard", "dasr-severe")
BICUBIC = "bicubic"
MIXINGS: dict[str, Mixing] = {"oracle": "truth", "level": "level", "constant": "constant"}
"""By arm; the others follow the estimate."""

TEST_CROP_PX, TEST_SEED = 192, 4242
MOST_BICUBIC = 320
"""Crops of the bicubic set: without noise and levels fewer say as much."""
CPU = torch.device("cpu")
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
num_features = 16
num_blocks = 2
[method]
type = "psnr"
space = "dasr-mixed"
[data]
crop_px = 128
batch = 8
[optimizer]
learning_rate = 1e-3
betas = [0.9, 0.99]
[schedule]
type = "cosine"
warmup_steps = 50
floor = 0.02
[train]
ema_decay = 0.99
threads = 1
[evaluate]
every_steps = 1000000
[checkpoint]
every_steps = 1000000
[log]
every_steps = 100
"""

DASR_NET = (
    "net={type='dasr', scale=4, num_features=16, num_blocks=2, num_experts=5, predictor_features=16, "
    "predictor_input='high_pass'}"
)


def configuration(out: Path, train: tuple[Path, ...], *overrides: str) -> Config:
    """The common settings with a run's own."""
    hr = json.dumps([str(path) for path in train])
    return loads(CONFIG, [f"run.out='{out}'", f"run.name='{out.name}'", f"data.hr={hr}", *overrides])


def train_all(
    out: Path, train: tuple[Path, ...], start_steps: int, steps: int, names: Sequence[str], loss: str,
    overrides: Sequence[str],
) -> None:  # fmt: skip
    """The common start, then every continuation."""
    pixels = f"method.loss={loss}"
    trained(configuration(out / "start", train, f"run.steps={start_steps}", "run.seed=1000", pixels, *overrides))
    start = model_of(out, "start")
    for name in names:
        kind, seed = name.split("_")
        own = [f"run.steps={steps}", f"run.seed={seed}", f"train.pretrained='{start}'"]
        if kind == "plain":
            own.append(pixels)
        else:
            shuffled, weight = str(kind == "shuffled").lower(), 0.0 if kind == "unlabelled" else 1.0
            method = f"type='dasr', loss='{loss}', perceptual_weight=0.0, gan_weight=0.0, shuffled_labels={shuffled}"
            mixing = MIXINGS.get(kind, "predicted")
            own += [DASR_NET, f"method={{{method}, regression_weight={weight}, mixing='{mixing}'}}"]
        trained(configuration(out / name, train, *own, *overrides))
        click.echo(f"{name} trained", err=True)


def continuations(seeds: int, kinds: Sequence[str] = KINDS) -> list[str]:
    """Names of the runs, KIND_SEED."""
    return [f"{kind}_{seed}" for seed in range(seeds) for kind in kinds]


def model_of(out: Path, name: str) -> Path:
    """The model file of a run."""
    return out / name / "models" / "last.safetensors"


def held_out(
    test: tuple[Path, ...], count: int, space: str = "dasr-mixed"
) -> Iterator[tuple[list[str], pydegrade.TaskBatch, Pair]]:
    """Photographs, tasks and pairs on which every network is judged: `count` crops, their degradations drawn."""
    rows = 16
    data = DataConfig(hr=tuple(str(path) for path in test), crop_px=TEST_CROP_PX, batch=rows)
    source = open_source(data, ("hr",), 4, TEST_SEED)
    images = source.images["hr"].images
    for raw in stream(source, range(count // rows), 0, 1):
        names = [images[position].name for position in source.crops(raw.indices).image.tolist()]
        tasks = pydegrade.sample(space, TEST_SEED, raw.indices)
        yield names, tasks, pydegrade.degrade_batch(to_float(raw.images["hr"]), tasks)


@torch.no_grad()
def judge(
    out: Path, names: list[str], test: tuple[Path, ...], count: int, device: torch.device = CPU
) -> dict[str, dict[str, NDArray[Any]]]:
    """What the networks do with the same held-out crops.

    Returns:
        By name: `psnr` [N] in dB; of adaptive networks also `wrong` [N], PSNR with the predicted vector of a crop of
        another level, `true` [N], with the task's own numbers, `estimate` [N, 33], `shares` [N, 5] and, of the first 16
        crops, `moved`, see `moves`. Under "truth": `vector` and `mask` [N, 33], `level` [N], `photograph` [N], names.
    """
    loaded = {name: load_model(model_of(out, name)).net.to(device) for name in names}
    found: dict[str, dict[str, list[Any]]] = {name: defaultdict(list) for name in ["truth", *names]}
    for names_of_crops, tasks, pair in held_out(test, count):
        vector, mask = tasks.vector("dasr33-global")
        level = np.asarray(tasks.component)
        for key, value in {
            "vector": vector,
            "mask": mask,
            "level": level,
            "photograph": np.array(names_of_crops),
        }.items():
            found["truth"][key].append(value)
        # For each row the next one of another level; rows of a batch are independent draws.
        places = np.arange(len(level))
        other = [next(k for k in np.roll(places, -row) if level[k] != level[row]) for row in places]
        lr = pair.lr.to(device)
        for name, net in loaded.items():
            if not isinstance(net, nets.DASR):
                found[name]["psnr"].append(psnr(net(lr), pair.target))
                continue
            estimate, shares = net.predictor(lr)
            if not found[name]["moved"]:
                found[name]["moved"].append(moves(net, lr, estimate, shares[other]))
            true = torch.from_numpy(vector)
            given = mixing_vector(MIXINGS.get(name.partition("_")[0], "predicted"), tasks, true)
            shares = shares if given is None else net.predictor.shares(given.to(device))
            by_truth = net.predictor.shares(true.to(device))
            for key, mixing in {"psnr": shares, "wrong": shares[other], "true": by_truth}.items():
                found[name][key].append(psnr(net.generator(lr, mixing), pair.target))
            found[name]["estimate"].append(estimate.cpu().numpy())
            found[name]["shares"].append(shares.cpu().numpy())
    return {name: {key: np.concatenate(values) for key, values in by_key.items()} for name, by_key in found.items()}


def moves(net: nets.DASR, lr: torch.Tensor, estimate: torch.Tensor, others: torch.Tensor) -> NDArray[np.float64]:
    """How far the output moves, mean absolute difference in 8-bit levels.

    For each entry of SHOWN between 0.1 and 0.9 of its range, the others as estimated; last, with the shares of a crop of
    another level.
    """
    own = net.generator(lr, net.predictor.shares(estimate))
    differences = []
    for name in SHOWN:
        ends = []
        for value in (0.1, 0.9):
            vector = estimate.clone()
            vector[:, ENTRIES.index(name)] = value
            ends.append(net.generator(lr, net.predictor.shares(vector)))
        differences.append(ends[1] - ends[0])
    differences.append(net.generator(lr, others) - own)
    return np.array([255 * float(one.abs().mean()) for one in differences])


@torch.no_grad()
def judge_bicubic(
    out: Path, names: list[str], test: tuple[Path, ...], count: int, device: torch.device = CPU
) -> tuple[list[str], dict[str, Any]]:
    """Photographs, and PSNR by arm, seed and photograph, on crops that MATLAB's bicubic alone has made small. Arms whose
    shares follow the 33 numbers are left out: bicubic has none."""
    loaded = {
        name: load_model(model_of(out, name)).net.to(device) for name in names if name.partition("_")[0] not in MIXINGS
    }
    found: dict[str, list[Any]] = defaultdict(list)
    photographs: list[str] = []
    for names_of_crops, _, pair in held_out(test, count, "bicubic-x4"):
        photographs += names_of_crops
        for name, net in loaded.items():
            found[name] += psnr(net(pair.lr.to(device)), pair.target)
    items = sorted(set(photographs))
    arms: dict[str, dict[str, list[float]]] = {}
    for name, values in found.items():
        kind, _, seed = name.partition("_")
        means = [np.mean([one for one, own in zip(values, photographs) if own == item]) for item in items]
        arms.setdefault(kind, {})[seed or "-"] = [round(float(mean), 4) for mean in means]
    return items, arms


def psnr(image: torch.Tensor, target: torch.Tensor) -> tuple[float, ...]:
    """PSNR in dB per row: RGB, clipped, not rounded, without a border of 4 px."""
    return pydegrade.psnr(image.cpu().clamp(0, 1), target, "rgb-unrounded-border4").values


def predictor_quality(truth: dict[str, NDArray[Any]], own: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Regression error against the best constant, correlation per entry, distance of the levels' shares."""
    vector, mask, level = truth["vector"], truth["mask"], truth["level"]
    estimate, shares = own["estimate"], own["shares"]
    correlations, within, spreads = {}, {}, {}
    for name in SHOWN:
        entry = ENTRIES.index(name)
        rows = mask[:, entry]
        correlations[name] = correlation(vector[rows, entry], estimate[rows, entry])
        each = [rows & (level == number) for number in range(3)]
        within[name] = [correlation(vector[own_rows, entry], estimate[own_rows, entry]) for own_rows in each]
        # A correlation says nothing where the estimate hardly moves.
        spreads[name] = float(estimate[rows, entry].std() / vector[rows, entry].std())
    weak, severe = shares[level == 0], shares[level == 2]
    error = np.sqrt(weak.var(0, ddof=1) / len(weak) + severe.var(0, ddof=1) / len(severe))
    return {
        "regression_l1": float(np.abs(vector - estimate).mean()),
        "constant_l1": float(np.abs(vector - np.median(vector, axis=0)).mean()),
        "correlations": correlations,
        "correlations_within_levels": within,
        "spreads": spreads,
        "shares_by_level": [shares[level == number].mean(0).tolist() for number in range(3)],
        "largest_distance_in_standard_errors": float((np.abs(weak.mean(0) - severe.mean(0)) / error).max()),
    }


def correlation(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    """Pearson's, None where there is nothing to correlate."""
    if len(first) < 3 or first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def run(
    out: Path, train: tuple[Path, ...], test: tuple[Path, ...], start_steps: int, steps: int, seeds: int,
    loss: str = "l1", crops: int = 960, arms: Sequence[str] = KINDS, overrides: Sequence[str] = (),
) -> tuple[Result, dict[str, dict[str, NDArray[Any]]]]:  # fmt: skip
    """The whole demonstration; returns what it measured, and what that was computed from."""
    if not {"plain", "dasr"} <= set(arms):
        raise click.UsageError(
            f"--arm must name plain and dasr, which the others are compared with, got {', '.join(arms)}"
        )
    names = continuations(seeds, [kind for kind in KINDS if kind in arms])
    train_all(out, train, start_steps, steps, names, loss, overrides)
    with spending(out / "judging"):
        device = chosen_device(configuration(out, train, *overrides).run.device)
        found = judge(out, ["start", *names], test, crops, device)
        bicubic = judge_bicubic(out, ["start", *names], test, min(crops, MOST_BICUBIC), device)
    truth = found["truth"]
    items, values = by_photograph(found)
    items[BICUBIC], values[BICUBIC] = bicubic
    given = " ".join([
        *(f"--train {path.name}" for path in train), *(f"--test {path.name}" for path in test),
        *(f"--arm {kind}" for kind in arms if tuple(arms) != KINDS), *(f"--set {override}" for override in overrides),
    ])  # fmt: skip
    result = Result(
        study="dasr",
        command=f"python -m benchmarks.demo_dasr {given} --start-steps {start_steps} --steps {steps} --seeds {seeds} "
        f"--loss {loss} --crops {crops}",
        settings={
            "train": [path.name for path in train], "test": [path.name for path in test], "start_steps": start_steps,
            "steps": steps, "seeds": seeds, "loss": loss, "crops": len(truth["level"]),
            "protocol": "rgb-unrounded-border4 against target",
        },
        unit="dB",
        items=items,
        values=values,
        facts={
            "predictor": {
                name: predictor_quality(truth, own)
                for name, own in found.items()
                if "estimate" in own and name.partition("_")[0] not in MIXINGS
            },
            "moved": {
                name: dict(zip((*SHOWN, "all, as a crop of another level"), np.round(own["moved"], 4).tolist()))
                for name, own in found.items()
                if "moved" in own
            },
        },
        **spent(out),
    )  # fmt: skip
    return result, found


def by_photograph(found: dict[str, dict[str, NDArray[Any]]]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Items and values of a Result: by level the mean over the crops of each photograph. Crops of one photograph are alike,
    so photographs are what an interval is about. "dasr, wrong" has the vector of a crop of another level, "dasr, true" the
    task's own numbers."""
    level, photograph = found["truth"]["level"], found["truth"]["photograph"]
    items, values = {}, {}
    for number, set_name in enumerate(LEVELS):
        items[set_name] = sorted(set(photograph[level == number].tolist()))
        rows = [(level == number) & (photograph == name) for name in items[set_name]]
        arms: dict[str, dict[str, list[float]]] = {}
        for name, own in found.items():
            if name == "truth":
                continue
            kind, _, seed = name.partition("_")
            for key in ("psnr", "wrong", "true"):
                if key in own:
                    arm = kind if key == "psnr" else f"{kind}, {key}"
                    means = [round(float(own[key][some].mean()), 4) for some in rows]
                    arms.setdefault(arm, {})[seed or "-"] = means
        values[set_name] = arms
    return items, values


def shown(correlations: list[float | None]) -> str:
    """Two digits each."""
    return ", ".join("-" if r is None else f"{r:+.2f}" for r in correlations)


def table(result: Result) -> str:
    """PSNR per level, and each arm minus the plain network: interval over photographs, range over seeds."""
    lines = ["| | " + " | ".join(f"{name}, dB | minus plain" for name in result.items) + " |"]
    lines.append("|---" * (1 + 2 * len(result.items)) + "|")
    for arm in result.values[LEVELS[0]]:
        cells = []
        for name in result.items:
            if arm not in result.values[name]:
                cells += ["", ""]
                continue
            gain = "" if arm == "plain" else result.minus(name, arm, "plain")
            text = f"{gain.over_items()}; {gain.over_seeds()}" if gain else ""
            cells += [f"{result.mean(name, arm):.2f}", text]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def predictor_table(result: Result) -> str:
    """What the predictors know, a column for each."""
    found = result.facts["predictor"]
    lines = ["| | " + " | ".join(found) + " |", "|---" * (1 + len(found)) + "|"]
    rows = {
        "regression L1": lambda one: f"{one['regression_l1']:.3f}",
        "of the best constant": lambda one: f"{one['regression_l1'] / one['constant_l1']:.2f}",
        **{f"r {name}": (lambda one, name=name: shown([one["correlations"][name]])) for name in SHOWN},
        **{
            f"r within weak, standard, severe, {name}": (
                lambda one, name=name: shown(one["correlations_within_levels"][name])
            )
            for name in SHOWN
        },
        **{f"spread of the estimate, {name}": (lambda one, name=name: f"{one['spreads'][name]:.3f}") for name in SHOWN},
        "shares, weak - severe, standard errors": lambda one: f"{one['largest_distance_in_standard_errors']:.1f}",
    }
    for title, text in rows.items():
        lines.append(f"| {title} | " + " | ".join(text(one) for one in found.values()) + " |")
    return "\n".join(lines)


def moves_table(result: Result) -> str:
    """How far one entry moves the output, in 8-bit levels, mean over seeds."""
    moved = [own for name, own in result.facts["moved"].items() if name.startswith("dasr_")]
    lines = ["| Entry moved from 0.1 to 0.9 of its range | mean change of the output, 8-bit levels |", "|---|---|"]
    lines += [f"| {name} | {np.mean([own[name] for own in moved]):.3f} |" for name in moved[0]]
    return "\n".join(lines)


def plot(result: Result, found: dict[str, dict[str, NDArray[Any]]], path: Path) -> None:
    """Gains per level; estimates against the truth; shares per level."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 5, figsize=(17, 3.5))
    places = np.arange(len(LEVELS))
    short = [level.removeprefix("dasr-") for level in LEVELS]
    axes[0].bar(
        places, [result.minus(level, "dasr", "plain").interval.mean for level in LEVELS], color="tab:blue", alpha=0.5
    )
    for place, level in zip(places, LEVELS):
        by_seed = result.minus(level, "dasr", "plain").by_seed
        axes[0].plot([place] * len(by_seed), by_seed, "o", color="tab:blue")
    axes[0].axhline(0, color="black", linewidth=0.8)
    axes[0].set_xticks(places, short)
    axes[0].set_title("PSNR, adaptive minus plain, dB")

    truth, own = found["truth"], found["dasr_0"]
    for axis, name in zip(axes[1:4], ("blur1.sigma_x_px", "noise1.level", "jpeg1.quality")):
        entry = ENTRIES.index(name)
        for number, colour in enumerate(("tab:green", "tab:orange", "tab:red")):
            rows = truth["mask"][:, entry] & (truth["level"] == number)
            axis.plot(truth["vector"][rows, entry], own["estimate"][rows, entry], ".", color=colour, markersize=3,
                      label=short[number])  # fmt: skip
        r = result.facts["predictor"]["dasr_0"]["correlations"][name]
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        axis.set_title(f"{name}, r = {r:.2f}")
        axis.set_xlabel("truth, normalised")
    axes[1].set_ylabel("estimate")
    axes[1].legend(frameon=False, markerscale=3)

    means = np.array(result.facts["predictor"]["dasr_0"]["shares_by_level"])
    for number, colour in enumerate(("tab:green", "tab:orange", "tab:red")):
        axes[4].bar(np.arange(means.shape[1]) + 0.27 * (number - 1), means[number], 0.25, color=colour)
    axes[4].set_title("mean share of each expert")
    axes[4].set_xlabel("expert")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


@click.command()
@click.option(
    "--train", multiple=True, required=True, type=click.Path(path_type=Path, exists=True), help="Clean images."
)
@click.option(
    "--test", multiple=True, required=True, type=click.Path(path_type=Path, exists=True), help="Held-out images."
)
@click.option("--out", default="out/demo_dasr", show_default=True, type=click.Path(path_type=Path))
@click.option("--start-steps", default=800, show_default=True, help="Of the network that all start from.")
@click.option("--steps", default=3000, show_default=True, help="Of every continuation.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--loss", type=click.Choice(("l1", "mse")), default="l1", show_default=True, help="Of the pixels.")
@click.option(
    "--arm", "arms", multiple=True, type=click.Choice(KINDS), default=KINDS, help="Repeatable.  [default: all]"
)
@click.option("--crops", default=960, show_default=True, type=click.IntRange(16), help="That all are judged on.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option of every run.")
@click.option("--image", type=click.Path(path_type=Path), help="Where the plot goes.  [default: OUT/dasr.png]")
def main(
    train: tuple[Path, ...], test: tuple[Path, ...], out: Path, start_steps: int, steps: int, seeds: int,
    loss: str, arms: tuple[str, ...], crops: int, overrides: tuple[str, ...], image: Path | None,
) -> None:  # fmt: skip
    """DASR against the same network without experts, at equal iterations, on your images.

    \b
    Example:
      python -m benchmarks.demo_dasr --train T91 --train BSD20 --test Set14
    """
    out = out.resolve()
    train, test = (tuple(path.resolve() for path in paths) for paths in (train, test))
    result, found = run(out, train, test, start_steps, steps, seeds, loss, crops, arms, overrides)
    write_result(result, out / "dasr.json")
    np.savez_compressed(out / "judged.npz", **{f"{name}/{key}": value for name, by_key in found.items()
                                               for key, value in by_key.items()})  # fmt: skip
    click.echo("\n\n".join(write(result) for write in (table, predictor_table, moves_table)))
    plot(result, found, image or out / "dasr.png")
    click.echo(f"{result.seconds:.0f} s of processor; {out / 'dasr.json'}, {image or out / 'dasr.png'}")


if __name__ == "__main__":
    main()
