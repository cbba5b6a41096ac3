"""ECO against vanilla training at equal iterations: `python -m benchmarks.demo_eco`.

Trains a teacher, makes pairs with it, then trains fresh students by vanilla L1, by ECO's sigmoid and by its linear
schedule, each at several learning rates and over several seeds; same crops, same start, same length for all. Prints the
table, writes a result file and a plot. Settings of the published run are in configs/eco_edsr_x2.toml; these are for two
cores and minutes. A killed demonstration goes on when its command is given again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.result_files import Result, spending, spent, trained, write_result
from pytrain import nets
from pytrain.config.config import Config, loads
from pytrain.data.source import open_source, stream
from pytrain.evaluation.evaluate import evaluate
from pytrain.evaluation.sets import open_sets
from pytrain.files.checkpoint import load_model
from pytrain.methods.pairs import plan_pairs, write_pairs
from pytrain.training.degrade import assemble
from pytrain.training.opening import build_method

MIXES = ("vanilla", "sigmoid", "linear")
STEPS, TEACHER_STEPS, SEEDS, RATES = 400, 1500, 3, (1e-3, 2e-3)
TEST = "held-out"
"""What result files call the images."""

CONFIG = """
[run]
device = "cpu"
[net]
type = "srresnet"
scale = 2
num_features = 24
num_blocks = 3
[method]
type = "psnr"
[data]
crop_px = 48
batch = 8
[optimizer]
betas = [0.9, 0.99]
[schedule]
type = "cosine"
[train]
ema_decay = 0
precision = "fp32"
threads = 1
[evaluate]
protocols = ["y-uint8"]
[checkpoint]
every_steps = 1000000
[log]
every_steps = 50
"""


@dataclass(frozen=True)
class Curve:
    """One student's held-out PSNR in dB by step."""

    mix: str
    learning_rate: float
    seed: int
    psnr: dict[int, float]

    @property
    def final(self) -> float:
        """PSNR after the last step."""
        return self.psnr[max(self.psnr)]


def configuration(out: Path, test: tuple[Path, ...], *overrides: str) -> Config:
    """The common settings with a run's own."""
    named = [f"run.out='{out}'", f"run.name='{out.name}'"]
    chosen = json.dumps([{"name": "held-out", "hr": [str(path) for path in test]}])
    return loads(CONFIG, [*named, f"evaluate.sets={_toml(chosen)}", *overrides])


def _toml(text: str) -> str:
    """JSON of lists and flat objects as TOML."""
    return text.replace('": ', '" = ')


def curve_of(out: Path) -> dict[int, float]:
    """PSNR by step from a run's log."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["scores"]["held-out/psnr"] for line in lines if line["kind"] == "evaluate"}


def train_teacher(
    out: Path, train: tuple[Path, ...], test: tuple[Path, ...], steps: int, overrides: Sequence[str] = ()
) -> Path:
    """A network of the students' kind, trained longer and from another seed."""
    config = configuration(
        out / "teacher",
        test,
        f"data.hr={_paths(train)}",
        f"run.steps={steps}",
        "run.seed=1000",
        "optimizer.learning_rate=2e-3",
        f"evaluate.every_steps={steps}",
        *overrides,
    )
    return trained(config)


def train_student(
    out: Path, pairs: Path, test: tuple[Path, ...], steps: int, mix: str, rate: float, seed: int,
    overrides: Sequence[str] = (),
) -> Curve:  # fmt: skip
    """One student on blended pairs; "vanilla" sees only the real ones."""
    folder = out / f"{mix}_{rate:g}_{seed}"
    sets = ", ".join(f"{name}='{pairs / name}'" for name in ("sr_pretrained", "lr_pretrained"))
    config = configuration(
        folder,
        test,
        f"method={{type='eco', mix='{mix}', manifest='{pairs / 'manifest.json'}'}}",
        f"data.hr=['{pairs / 'hr'}']",
        f"data.lr='{pairs / 'lr'}'",
        f"data.sets={{{sets}}}",
        f"run.steps={steps}",
        f"run.seed={seed}",
        f"optimizer.learning_rate={rate}",
        f"evaluate.every_steps={max(1, steps // 6)}",
        *overrides,
    )
    trained(config)
    return Curve(mix, rate, seed, curve_of(folder))


def signal_to_noise(
    out: Path, pairs: Path, test: tuple[Path, ...], model: Path, mix: str, batches: int, overrides: Sequence[str] = ()
) -> float:
    """|mean g|^2 / sum var(g) of the loss gradient over batches, at trained weights, on noise-free or real pairs.

    Noise-free pairs are those of step 0 of the sigmoid schedule; real pairs are vanilla's.
    """
    sets = ", ".join(f"{name}='{pairs / name}'" for name in ("sr_pretrained", "lr_pretrained"))
    config = configuration(
        out / "unused",
        test,
        f"method={{type='eco', mix='{mix}', manifest='{pairs / 'manifest.json'}'}}",
        f"data.hr=['{pairs / 'hr'}']",
        f"data.lr='{pairs / 'lr'}'",
        f"data.sets={{{sets}}}",
        "run.seed=77",
        *overrides,
    )
    method = build_method(config)
    net = load_model(model).net
    source = open_source(config.data, method.images, 2, config.run.seed)
    gradients = []
    for raw in stream(source, range(batches), 0, 1):
        batch = method.prepare({}, assemble(method, raw, torch.device("cpu")), 0)
        net.zero_grad()
        terms = method.phases[0].loss({"generator": net}, batch, 0)
        torch.stack(list(terms.losses.values())).sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None]))
    stack = torch.stack(gradients).double()
    return float(stack.mean(0).square().sum() / stack.var(0).sum())


def _paths(paths: tuple[Path, ...]) -> str:
    return json.dumps([str(path) for path in paths])


def run(
    out: Path, train: tuple[Path, ...], test: tuple[Path, ...], steps: int, teacher_steps: int, seeds: int,
    rates: tuple[float, ...], batches: int = 40, overrides: Sequence[str] = (),
) -> Result:  # fmt: skip
    """The whole demonstration; returns what it measured: PSNR of every image after the last step, curves as facts."""
    model = train_teacher(out, train, test, teacher_steps, overrides)
    teacher = load_model(model).net
    write_pairs(plan_pairs([str(path) for path in train], teacher, "uint8"), teacher, out / "pairs")
    curves = []
    for seed in range(seeds):
        for rate in rates:
            for mix in MIXES:
                curves.append(train_student(out, out / "pairs", test, steps, mix, rate, seed, overrides))
                last = curves[-1]
                click.echo(f"seed {seed}  rate {rate:g}  {mix:8s} {last.final:.3f} dB", err=True)
    with spending(out / "measuring"):
        ratios = []
        for seed in range(seeds):
            student = out / f"vanilla_{rates[0]:g}_{seed}" / "models" / "last.safetensors"
            found = [
                signal_to_noise(out, out / "pairs", test, student, mix, batches, overrides)
                for mix in ("sigmoid", "vanilla")
            ]
            ratios.append(round(found[0] / found[1], 3))

        # Every image, of every network.
        measuring = configuration(out, test).evaluate
        sets = open_sets(measuring, 2)
        networks: dict[str, dict[str, Any]] = {"bicubic": {"-": "bicubic"}, "teacher": {"-": teacher}}
        for curve in curves:
            folder = out / f"{curve.mix}_{curve.learning_rate:g}_{curve.seed}"
            last_model = load_model(folder / "models" / "last.safetensors").net
            networks.setdefault(arm(curve.mix, curve.learning_rate), {})[str(curve.seed)] = last_model
        values: dict[str, dict[str, list[float]]] = {}
        for name, by_seed in networks.items():
            for seed_name, net in by_seed.items():
                psnr = evaluate(net, sets, measuring).sets[0].scores[0]
                values.setdefault(name, {})[seed_name] = [round(value, 4) for value in psnr.values]
    return Result(
        study="eco",
        command=f"python -m benchmarks.demo_eco {_arguments(train, test, steps, teacher_steps, seeds, rates, overrides)}",
        settings={
            "train": [path.name for path in train], "test": [path.name for path in test], "steps": steps,
            "teacher_steps": teacher_steps, "seeds": seeds, "rates": list(rates),
            "parameters": nets.num_parameters(teacher), "protocol": psnr.protocol,
        },
        unit="dB",
        items={TEST: [image.name for image in sets[0].hr.images]},
        values={TEST: values},
        facts={"signal_to_noise_ratios": ratios, "curves": [vars(curve) for curve in curves]},
        **spent(out),
    )  # fmt: skip


def arm(mix: str, rate: float) -> str:
    """What result files call a student."""
    return f"{mix}, rate {rate:g}"


def _arguments(
    train: tuple[Path, ...], test: tuple[Path, ...], steps: int, teacher_steps: int, seeds: int,
    rates: tuple[float, ...], overrides: Sequence[str],
) -> str:  # fmt: skip
    """The command line, without what is as by default."""
    given = [f"--train {path.name}" for path in train] + [f"--test {path.name}" for path in test]
    for name, value, default in (
        ("steps", steps, STEPS),
        ("teacher-steps", teacher_steps, TEACHER_STEPS),
        ("seeds", seeds, SEEDS),
    ):
        given += [f"--{name} {value}"] if value != default else []
    given += [f"--rate {rate:g}" for rate in rates if rates != RATES]
    return " ".join([*given, *(f"--set {override}" for override in overrides)])


def table(result: Result) -> str:
    """What came out, as Markdown."""
    lines = [
        "| Schedule | Rate | PSNR, dB | Minus vanilla at that rate [95 % over images] | Over seeds | Minus vanilla at its "
        "best rate |",
        "|---|---|---|---|---|---|",
    ]
    rates = result.settings["rates"]
    best = max((arm("vanilla", rate) for rate in rates), key=lambda name: result.mean(TEST, name))
    for rate in rates:
        for mix in MIXES:
            name = arm(mix, rate)
            gain, over = result.minus(TEST, name, arm("vanilla", rate)), result.minus(TEST, name, best)
            cells = ["", ""] if mix == "vanilla" else [gain.over_items(3), gain.over_seeds(3)]
            last = "" if name == best else over.over_items(3)
            lines.append(f"| {mix} | {rate:g} | {result.mean(TEST, name):.3f} | {' | '.join(cells)} | {last} |")
    return "\n".join(lines)


def summary(result: Result) -> str:
    """What stands around the table."""
    ratios = ", ".join(f"{ratio:.2f}" for ratio in result.facts["signal_to_noise_ratios"])
    return (
        f"Bicubic {result.mean(TEST, 'bicubic'):.2f} dB, teacher {result.mean(TEST, 'teacher'):.2f} dB, over "
        f"{len(result.items[TEST])} images. Signal-to-noise ratio of the gradient, noise-free pairs over real pairs, at "
        f"vanilla's weights (rate {result.settings['rates'][0]:g}), by seed: {ratios}."
    )


def plot(result: Result, path: Path) -> None:
    """Mean curve of each schedule minus vanilla's, per learning rate, with the spread over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = [
        Curve(**{**curve, "psnr": {int(k): v for k, v in curve["psnr"].items()}}) for curve in result.facts["curves"]
    ]
    rates = sorted({curve.learning_rate for curve in curves})
    seeds = sorted({curve.seed for curve in curves})
    figure, axes = pyplot.subplots(1, len(rates), figsize=(5.2 * len(rates), 3.6), sharey=True, squeeze=False)
    for axis, rate in zip(axes[0], rates):
        by_key = {(curve.mix, curve.seed): curve.psnr for curve in curves if curve.learning_rate == rate}
        steps = sorted(by_key["vanilla", seeds[0]])
        for mix, colour in (("sigmoid", "tab:blue"), ("linear", "tab:orange")):
            gains = torch.tensor(
                [[by_key[mix, seed][step] - by_key["vanilla", seed][step] for step in steps] for seed in seeds]
            )
            axis.plot(steps, gains.mean(0), color=colour, label=f"ECO, {mix} schedule")
            axis.fill_between(steps, gains.amin(0), gains.amax(0), color=colour, alpha=0.15)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_title(f"learning rate {rate:g}")
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("PSNR-Y minus vanilla's, dB")
    axes[0][0].legend(frameon=False)
    figure.suptitle(f"ECO minus vanilla, held-out photographs; mean and range over {len(seeds)} seeds")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


@click.command()
@click.option(
    "--train", multiple=True, required=True, type=click.Path(path_type=Path, exists=True), help="Clean images."
)
@click.option(
    "--test", multiple=True, required=True, type=click.Path(path_type=Path, exists=True), help="Held-out images."
)
@click.option("--out", default="out/demo_eco", show_default=True, type=click.Path(path_type=Path))
@click.option("--steps", default=STEPS, show_default=True, help="Of every student.")
@click.option("--teacher-steps", default=TEACHER_STEPS, show_default=True)
@click.option("--seeds", default=SEEDS, show_default=True)
@click.option("--rate", "rates", multiple=True, type=float, default=RATES, show_default=True)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option of every run.")
@click.option("--image", type=click.Path(path_type=Path), help="Where the plot goes.  [default: OUT/eco.png]")
def main(
    train: tuple[Path, ...], test: tuple[Path, ...], out: Path, steps: int, teacher_steps: int, seeds: int,
    rates: tuple[float, ...], overrides: tuple[str, ...], image: Path | None,
) -> None:  # fmt: skip
    """ECO against vanilla at equal iterations, on your images.

    \b
    Example:
      python -m benchmarks.demo_eco --train T91 --test Set5
    """
    out = out.resolve()
    train, test = (tuple(path.resolve() for path in paths) for paths in (train, test))
    result = run(out, train, test, steps, teacher_steps, seeds, rates, overrides=overrides)
    write_result(result, out / "eco.json")
    click.echo(f"{table(result)}\n\n{summary(result)}")
    plot(result, image or out / "eco.png")
    click.echo(f"{result.seconds:.0f} s of processor; {out / 'eco.json'}, {image or out / 'eco.png'}")


if __name__ == "__main__":
    main()
