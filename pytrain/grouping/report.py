"""`pytrain group report`: what was found, as pictures and one page that needs nothing beside it.

Scores and improvements as histograms, the parameters of each group against the whole space, and what every group's
degradations look like. Colours are a fixed order of hues that colour-blind readers tell apart; G0 is gray.
"""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pydegrade import TaskBatch, TaskError, degrade_batch
from pydegrade.files import Pixels, to_uint8, write_image
from pydegrade.sheet import pair_rows, render_sheet

from ..errors import ConfigError, DataError, needs
from ..files.digested_toml import read_record
from ..methods.groups import Group, read_groups
from .run import GroupingRun

INK, FAINT, GRID = "#1f2328", "#6e7781", "#e6e8eb"
WHOLE = "#9aa1a9"
HUES = ("#c2452d", "#d98e04", "#2a7f62", "#2f6db5", "#7a4fa3", "#5b6470")
"""Of G1, G2, ...: falling improvement."""

EXAMPLES = 6
"""Tasks of every group that are shown."""

PARAMETERS = 9
"""Parameters whose distributions are drawn: those that differ most between groups and the whole space."""


def write_report(run: GroupingRun) -> list[Path]:
    """Draw everything from the files of the stages.

    Args:
        run: whose stages have run.
    Returns:
        What was written, the page first: report/index.html, report/*.png.
    Raises:
        ConfigError: matplotlib is not installed. DataError: a stage's file is missing.
    """
    folder = run.folder / "report"
    try:
        tasks = TaskBatch.load(run.path("tasks.npz"))
    except TaskError as error:
        raise DataError(str(error)) from None
    scored = read_record(run.path("scores.toml"), "scores").values
    groups = read_groups(run.method.groups, run.space, ("groups",)).groups
    figures = {
        "scores": _scores_figure(run, scored),
        "improvements": _improvements_figure(run, groups),
        "parameters": _parameters_figure(tasks, groups),
    }
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, facecolor="white")
        written.append(path)
    for group in groups:
        path = folder / f"{group.name}.png"
        write_image(path, group_sheet(run, group), level=3)
        written.append(path)
    page = folder / "index.html"
    page.write_text(_page(run, scored, groups, written), encoding="utf-8")
    return [page, *written]


def group_sheet(run: GroupingRun, group: Group) -> Pixels:
    """A contact sheet of a group: HR and LR of its first tasks on the validation crops."""
    count = min(EXAMPLES, len(group.tasks))
    crops = run.validation
    rows = np.arange(count) % len(crops)
    hr = torch.from_numpy(crops.images[rows]).to(torch.float32).div_(255.0)
    tasks = group.tasks.take(slice(0, count))
    lr = degrade_batch(hr, tasks).lr
    heading = f"{group.name}: {len(group.tasks)} tasks, {group.about}"
    pairs = pair_rows(tasks, [to_uint8(image) for image in hr], [to_uint8(image) for image in lr], pairs_per_row=2)
    return render_sheet(pairs, heading, cell_width_px=388)


# ---- Figures


def styled_pyplot(command: str = "pytrain group report") -> Any:
    """matplotlib's pyplot in the style of the reports; ConfigError where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(needs(command, "matplotlib", "plots", error)) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {
            "font.size": 9,
            "axes.edgecolor": FAINT,
            "axes.labelcolor": INK,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": GRID,
            "xtick.color": FAINT,
            "ytick.color": FAINT,
        }
    )
    return pyplot


def _scores_figure(run: GroupingRun, scored: dict[str, Any] | Any) -> Any:
    """How many tasks gain how much, and where the unsatisfactory ones begin."""
    pyplot = styled_pyplot()
    gain = np.array(scored["gain"])
    unit = scored["unit"]
    edge = np.sort(gain)[::-1][max(0, round(run.options.share * len(gain)) - 1)]
    figure, axes = pyplot.subplots(figsize=(7.2, 3.2), layout="constrained")
    axes.hist(
        [gain[gain < edge], gain[gain >= edge]],
        np.histogram_bin_edges(gain, bins=40),
        stacked=True,
        color=[WHOLE, HUES[0]],
        label=["satisfactory", f"unsatisfactory ({run.options.share:.0%})"],
    )
    axes.axvline(edge, color=INK, linewidth=1)
    axes.set_title(f"Score of {len(gain)} tasks, indicator {scored['indicator']}")
    axes.set_xlabel("gain in PSNR from fine-tuning on the task alone, dB" if unit == "dB" else "score (order only)")
    axes.set_ylabel("tasks")
    axes.legend(frameon=False)
    return figure


def _improvements_figure(run: GroupingRun, groups: tuple[Group, ...]) -> Any:
    """PIS of every round, coloured by the group that took the task."""
    pyplot = styled_pyplot()
    rounds = [number for number in range(1, run.rounds + 1) if run.improvements_path(number).exists()]
    figure, grid = pyplot.subplots(
        len(rounds), 1, figsize=(7.2, 1.0 + 2.2 * len(rounds)), sharex=True, squeeze=False, layout="constrained"
    )
    group_of = {address: number for number, group in enumerate(groups) for address in group.tasks.addresses}
    for number, axes in zip(rounds, grid[:, 0]):
        members = read_groups(run.members_path(number), run.space, ("unsatisfactory",)).groups[0].tasks
        pis = np.array(read_record(run.improvements_path(number), "improvements").values["improvement_db"])
        taken = np.array([group_of.get(address, -1) for address in members.addresses])
        shown = [-1, *range(len(groups))]
        axes.hist(
            [pis[taken == one] for one in shown],
            np.histogram_bin_edges(pis, bins=40),
            stacked=True,
            color=[WHOLE if one < 0 else HUES[one % len(HUES)] for one in shown],
            label=["in no group (G0 only)", *(group.name for group in groups)],
        )
        if not run.options.shares:
            for threshold in run.options.thresholds_db:
                axes.axvline(threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_title(f"Improvement of {len(pis)} tasks by joint fine-tuning, round {number}")
        axes.set_ylabel("tasks")
    grid[0, 0].legend(frameon=False)
    grid[-1, 0].set_xlabel("performance improvement score, dB")
    return figure


def _parameters_figure(tasks: TaskBatch, groups: tuple[Group, ...]) -> Any:
    """Distributions of the parameters in which groups and the whole space differ most."""
    pyplot = styled_pyplot()
    names = differing_parameters(tasks, groups)[:PARAMETERS]
    columns = 3
    rows = -(-max(1, len(names)) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(8.4, 2.3 * rows), squeeze=False, layout="constrained")
    labels = ["G0", *(group.name for group in groups)]
    colors = [WHOLE, *(HUES[number % len(HUES)] for number in range(len(groups)))]
    for axes, name in zip(grid.flat, names):
        batches = [tasks, *(group.tasks for group in groups)]
        column = tasks.space.column(name)
        if column.choices:
            used = [
                code for code in range(len(column.choices)) if any((one.column(name) == code).any() for one in batches)
            ]
            bottom = np.zeros(len(batches))
            shades = np.linspace(0.35, 1.0, len(used))
            for code, shade in zip(used, shades):
                parts = np.array([(one.column(name) == code).mean() for one in batches])
                bars = axes.bar(labels, parts, bottom=bottom, color=colors, alpha=shade, edgecolor="white", width=0.7)
                for bar, part, base in zip(bars, parts, bottom):
                    if part > 0.12:
                        label = column.choices[code].removeprefix("torch_")
                        axes.text(bar.get_x() + bar.get_width() / 2, base + part / 2, label, ha="center", va="center",
                                  fontsize=6, color=INK)  # fmt: skip
                bottom += parts
            axes.set_ylabel("share")
        else:
            values = [one.column(name)[one.mask(name)] for one in batches]
            kept = [(place, value) for place, value in enumerate(values) if len(value)]
            boxes = axes.boxplot(
                [value for _, value in kept], positions=[place for place, _ in kept], widths=0.6, patch_artist=True,
                showfliers=False, medianprops={"color": INK}, whiskerprops={"color": FAINT}, capprops={"color": FAINT},
            )  # fmt: skip
            for box, (place, _) in zip(boxes["boxes"], kept):
                box.set(facecolor=colors[place], edgecolor=FAINT)
            axes.set_xticks(range(len(labels)), labels)
            axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_title(name, fontsize=9)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    figure.suptitle(
        "Parameters in which the groups differ most from the whole space (G0)", x=0.01, ha="left", fontsize=10
    )
    return figure


def differing_parameters(tasks: TaskBatch, groups: tuple[Group, ...]) -> list[str]:
    """Names of columns, those first whose distribution in some group is farthest from that of all tasks.

    The distance is that of Kolmogorov and Smirnov for numbers and of total variation for choices, times the root of the
    group's size, so that small groups do not win by chance.
    """
    distances = {}
    for name in tasks.columns:
        column = tasks.space.column(name)
        distance = _total_variation if column.choices else _kolmogorov
        everything = tasks.column(name)[tasks.mask(name)]
        found = [(group.tasks.column(name)[group.tasks.mask(name)]) for group in groups]
        distances[name] = max(
            (
                np.sqrt(len(values)) * distance(values, everything)
                for values in found
                if len(values) and len(everything)
            ),
            default=0.0,
        )
    return sorted((name for name, distance in distances.items() if distance > 0), key=lambda name: -distances[name])


def _kolmogorov(some: NDArray[Any], all_values: NDArray[Any]) -> float:
    points = np.concatenate([some, all_values])
    parts = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (some, all_values)]
    return float(np.abs(parts[0] - parts[1]).max())


def _total_variation(some: NDArray[Any], all_values: NDArray[Any]) -> float:
    codes = np.unique(np.concatenate([some, all_values]))
    return float(sum(abs((some == code).mean() - (all_values == code).mean()) for code in codes) / 2)


# ---- The page


def _page(run: GroupingRun, scored: Any, groups: tuple[Group, ...], pictures: list[Path]) -> str:
    head = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>TGSR groups: {html.escape(run.space.name)}</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .8rem;text-align:left;"
        "border-bottom:1px solid #e6e8eb}td.n{text-align:right;font-variant-numeric:tabular-nums}"
        "img{max-width:100%;height:auto}code{font-size:.9em}figure{margin:2rem 0}</style>"
    )
    facts = [
        ("space", f"{run.space.name}@{run.space.digest[:8]}"),
        ("tasks", f"{len(scored['gain'])}, seed {run.options.seed}"),
        ("network", f"{run.net['type']}, weights {run.network}"),
        ("indicator", f"{scored['indicator']}, {len(scored['measured'])} tasks measured in full"),
        ("validation", run.validation.origin),
    ]
    facts_html = "".join(f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in facts)
    rows = ""
    for group in groups:
        gain, improvement = group.values["gain"], group.values["improvement_db"]
        rows += (
            f"<tr><td>{html.escape(group.name)}</td><td class=n>{len(group.tasks)}</td>"
            f"<td class=n>{improvement.mean():+.3f}</td><td class=n>{improvement.min():+.3f}</td>"
            f"<td class=n>{gain.mean():+.3f}</td><td>{html.escape(group.about)}</td>"
            f"<td><code>{html.escape(group.tasks.addresses[0])}</code></td></tr>"
        )
    table = (
        "<table><tr><th>group</th><th>tasks</th><th>mean PIS, dB</th><th>least, dB</th><th>mean score</th><th></th>"
        f"<th>its first task</th></tr>{rows}</table><p>See any of them: <code>degrade show ADDRESS</code>, "
        "<code>degrade apply IMAGE --task ADDRESS --out DIR</code>.</p>"
    )
    figures = "".join(
        f"<figure><img alt='{html.escape(path.stem)}' src='data:image/png;base64,"
        f"{base64.b64encode(path.read_bytes()).decode()}'></figure>"
        for path in pictures
    )
    return f"{head}<h1>Groups of tasks</h1><table>{facts_html}</table>{table}{figures}</html>\n"
