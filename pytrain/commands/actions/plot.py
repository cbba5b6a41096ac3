"""A run's loss and PSNR for `pytrain plot`: from its config.toml and log.jsonl, with bicubic's PSNR on the same sets."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import config as configs
from ...errors import ConfigError, DataError, needs
from ...evaluation.evaluate import evaluate
from ...evaluation.sets import open_sets
from ...training import log

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


def drawn(folder: Path, ending: str) -> bytes:
    """Loss on the left, PSNR of every set beside bicubic's on the right.

    Args:
        folder: of a run.
        ending: of the picture, with its dot.
    Raises:
        ConfigError: matplotlib is not installed. DataError: no run's folder.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise ConfigError(needs("pytrain plot", "matplotlib", "plots", error)) from None
    for name in ("config.toml", log.FILE_NAME):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: must be the folder of a run, it has no {name}")

    run = configs.load(folder / "config.toml")
    records = log.read(folder / "log.jsonl")
    shown = scores(records)
    sets = open_sets(run.evaluate, int(run.net.scale)) if shown else ()
    baseline = evaluate("bicubic", sets, run.evaluate).scores if sets else {}

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    name, steps, values = losses(records)
    left.plot(steps, values, color=LOSS_COLOR)
    left.set(xlabel="step", ylabel=f"training loss ({name})", ylim=(0, 1.1 * max(values, default=1)))
    for color, (set_name, (set_steps, psnr_db)) in zip(SET_COLORS, shown.items()):
        right.plot(set_steps, psnr_db, marker="o", color=color, label=f"{set_name}, {run.run.name}")
        bicubic_db = baseline.get(f"{set_name}/psnr", float("nan"))
        right.axhline(bicubic_db, linestyle="--", color=color, label=f"{set_name}, bicubic {bicubic_db:.2f} dB")
        label = f"{psnr_db[-1]:.2f} dB"
        right.annotate(label, (set_steps[-1], psnr_db[-1]), (0, 7), textcoords="offset points", ha="right")
    right.set(xlabel="step", ylabel="PSNR in dB (Y, 8 bits)")
    right.margins(y=0.2)
    if shown:
        right.legend(loc="center right", frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    content = io.BytesIO()
    figure.savefig(content, dpi=110, format=ending.removeprefix("."))
    pyplot.close(figure)
    return content.getvalue()
