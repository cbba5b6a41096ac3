"""Draw a run's loss and PSNR: `python -m benchmarks.plot_training out/quickstart -o docs/images/quickstart.png`.

Reads the run's config.toml and log.jsonl; measures bicubic on the same sets for comparison.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytrain.config import config as configs
from pytrain.evaluation.evaluate import evaluate
from pytrain.evaluation.sets import open_sets
from pytrain.training import log

LOSS_COLOR = "#4c72b0"
SET_COLORS = ("#c44e52", "#55a868", "#8172b3", "#937860")


def losses(records: Sequence[Mapping[str, Any]]) -> tuple[str, list[int], list[float]]:
    """(name, steps, values) of the first loss in a log."""
    shown = ("kind", "step", "time", *log.SPEEDS)
    steps = [record for record in records if record["kind"] == "step"]
    names = [key for record in steps for key in record if key not in shown and not key.startswith(("time_", "norm_"))]
    found = [record for record in steps if names and names[0] in record]
    return names[0] if names else "loss", [record["step"] for record in found], [float(r[names[0]]) for r in found]


def scores(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    """PSNR by set: steps and values in dB."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for record in records:
        for name, value in record["scores"].items() if record["kind"] == "evaluate" else ():
            if name.endswith("/psnr"):
                steps, values = found.setdefault(name.removesuffix("/psnr"), ([], []))
                steps.append(record["step"])
                values.append(float(value))
    return found


def draw(folder: Path, path: Path) -> None:
    """Loss on the left, PSNR of every set beside bicubic's on the right.

    Args:
        folder: of a run.
        path: picture to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    run = configs.load(folder / "config.toml")
    records = log.read(folder / "log.jsonl")
    baseline = evaluate("bicubic", open_sets(run.evaluate, int(run.net.scale)), run.evaluate).scores

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    name, steps, values = losses(records)
    left.plot(steps, values, color=LOSS_COLOR)
    left.set(xlabel="step", ylabel=f"training loss ({name})", ylim=(0, 1.1 * max(values, default=1)))
    for color, (set_name, (set_steps, psnr_db)) in zip(SET_COLORS, scores(records).items()):
        right.plot(set_steps, psnr_db, marker="o", color=color, label=f"{set_name}, {run.run.name}")
        bicubic_db = baseline[f"{set_name}/psnr"]
        right.axhline(bicubic_db, linestyle="--", color=color, label=f"{set_name}, bicubic {bicubic_db:.2f} dB")
        label = f"{psnr_db[-1]:.2f} dB"
        right.annotate(label, (set_steps[-1], psnr_db[-1]), (0, 7), textcoords="offset points", ha="right")
    right.set(xlabel="step", ylabel="PSNR in dB (Y, 8 bits)")
    right.margins(y=0.2)
    right.legend(loc="center right", frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    parser = argparse.ArgumentParser(description="Draw a run's loss and PSNR.")
    parser.add_argument("folder", type=Path, help="folder of a run, such as out/quickstart")
    parser.add_argument("-o", "--out", type=Path, required=True, help="picture to write")
    options = parser.parse_args(arguments)
    draw(options.folder, options.out)
    print(options.out.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
