"""What a run says: Markdown tables and one plot, from the JSON that pytest-benchmark wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Results = Mapping[str, Any]


def tables(results: Results) -> str:
    """All tables of a run, those that would be empty left out."""
    parts = [_machine(results), _contest(results), _roofline(results), _scaling(results), _sampler(results)]
    parts += [_throughput(results), _memory(results)]
    return "\n".join(part for part in parts if part)


def _machine(results: Results) -> str:
    facts = results["pydegrade"]
    machine = facts["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; {machine['threads']} threads, instruction set {machine['isa']}; "
        f"Python {machine['python']}, torch {machine['torch']}, commit {machine['commit']}; load average at the end "
        f"{machine['load_average']:.1f}. Inputs: {facts['batch']} photographs of 3x{facts['side_px']}x"
        f"{facts['side_px']}, seed {facts['seed']}{', smoke run: times mean nothing' if machine['smoke'] else ''}.",
        "",
    ]
    for threads, limits in facts["ceilings"].items():
        lines.append(
            f"Ceilings, {threads} thread{'s' if threads != '1' else ''}: {limits['fma_gflops']:.0f} GFLOP/s of float32 "
            f"multiply-adds, {limits['integer_gops']:.0f} Gop/s of 32-bit integers, copy "
            f"{limits['copy_image_gb_per_s']:.0f} GB/s (one image, in cache), {limits['copy_batch_gb_per_s']:.0f} GB/s "
            f"(twelve images), read + written ({limits['how']})."
        )
    here = [f"{name} {version}" for name, version in facts["libraries"].items() if not version.startswith("absent")]
    gone = [f"{name} {version}" for name, version in facts["libraries"].items() if version.startswith("absent")]
    lines += ["", f"Peers: {', '.join(here)}.", f"Absent: {'; '.join(gone) or 'none'}.", ""]
    return "\n".join(lines)


def _named(results: Results, key: str) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, float]]]:
    """(name, extra_info, stats) of the benchmarks that recorded `key`."""
    for bench in results["benchmarks"]:
        if bench["extra_info"].get(key):
            yield bench["name"].removeprefix("test_"), bench["extra_info"], bench["stats"]


def _contest(results: Results) -> str:
    """One row per benchmark with peers or a known amount of work."""
    limits = results["pydegrade"]["ceilings"]
    rows, notes = [], []
    for name, info, stats in _named(results, "megapixels"):
        if info.get("scaling") or info.get("roofline") or info.get("throughput"):
            continue
        seconds, ceiling = stats["min"], limits.get(str(info["threads"]))
        per_image = f"{1e3 * seconds / info['images']:.2f}" if info.get("images") else ""
        rate = f"{info['megapixels'] / seconds:.0f}"
        moved = f"{info['gigabytes'] / seconds:.1f}" if info.get("gigabytes") else ""
        copy = arithmetic = ""
        if ceiling and info.get("gigabytes"):
            copy = f"{100 * info['gigabytes'] / seconds / ceiling['copy_batch_gb_per_s']:.0f}"
        if ceiling and info.get("gigaflops"):
            arithmetic = f"{100 * info['gigaflops'] / seconds / ceiling['fma_gflops']:.0f} fma"
        if ceiling and info.get("gigaops"):
            arithmetic = f"{100 * info['gigaops'] / seconds / ceiling['integer_gops']:.0f} int"
        others = []
        for peer, one in info.get("peers", {}).items():
            mark = "" if one["same_result"] else "*"
            others.append(f"{peer}{mark} {1e3 * one['min_s']:.1f} / {1e3 * one['median_s']:.1f}")
            if mark and one["note"] and (line := f"{peer}, {name.split('[')[0]}: {one['note']}") not in notes:
                notes.append(line)
        ratio = f"**{info['ratio']:.1f}x** | {info['busy_ratio']:.1f}x" if info.get("ratio") else " | "
        wanted = ""
        if info.get("target"):
            of = "" if info["best_peer"] in info["target_peers"] else f" of {info['target_peers'][0]}"
            met = "reached" if info["target_reached"] >= info["target"] else "not reached"
            by_cpu = f", {info['target_reached_busy']:.1f}x by CPU time" if of else ""
            wanted = f"{info['target']:g}x{of}: {info['target_reached']:.1f}x{by_cpu}, {met}"
        rows.append(
            f"| {name} | {1e3 * seconds:.2f} / {1e3 * stats['median']:.2f} | {per_image} | {rate} | {moved} | {copy} "
            f"| {arithmetic} | {info.get('best_peer', '')} | {ratio} | {wanted} | {', '.join(others)} |"
        )
    if not rows:
        return ""
    head = [
        "## Against the peers",
        "",
        "Times in ms, minimum / median. The ratio is taken to the best peer with the same result; * marks another "
        "result, timed for orientation. Wanted: against torch eager for chains and Gaussian noise, else against "
        'the best of torch, OpenCV and Pillow. "By CPU time" is the same ratio of processor seconds over all threads: '
        "neighbours on the machine disturb it less.",
        "",
        "| benchmark | ours | per image | MP/s | GB/s | % of copy | % of peak | best peer | ratio "
        "| by CPU time | wanted | peers |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    tail = ["", *(f"\\* {note}." for note in notes), ""] if notes else [""]
    return "\n".join([*head, *rows, *tail])


def _roofline(results: Results) -> str:
    rows = []
    for _, info, stats in _named(results, "roofline"):
        line = info["roofline"]
        taken = 1e3 * stats["min"] / info["images"]
        floor = line["floor_total_ms_per_image"]
        floors = ", ".join(f"{name} {value:.3f}" for name, value in line["floor_ms_per_image"].items())
        costs = ", ".join(f"{name} {value:.3f}" for name, value in line["cost_ms_per_image"].items())
        rows.append(
            f"| {line['space']} | {info['threads']} | {taken:.3f} | {line['busy_ms_per_image']:.3f} | {floor:.3f} "
            f"| **{taken / floor:.2f}** | {line['busy_ms_per_image'] / floor:.2f} | {line['wanted_factor']:g} | {floors} "
            f"| {costs} |"
        )
    if not rows:
        return ""
    head = [
        "## Time per image against the sum of its floors",
        "",
        "ms per image. CPU: processor seconds divided by the threads. Floors: benchmarks/floors.py. Cost of an op: CPU of "
        "the chain with it less that without it.",
        "",
        "| space | threads | taken | CPU | floor | factor | by CPU | wanted | floors | cost |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _scaling(results: Results) -> str:
    found: dict[str, dict[str, dict[str, float]]] = {"batch": {}, "side": {}}
    for _, info, _ in _named(results, "scaling"):
        for kind, values in info["scaling"].items():
            found[kind][str(info["threads"])] = values
    parts = []
    titles = {"batch": "ms per image (3x400x400) by batch size", "side": "ns per HR pixel by side of the image, B=12"}
    for kind, by_threads in found.items():
        if not by_threads:
            continue
        columns = list(next(iter(by_threads.values())))
        number = "{:.2f}" if kind == "batch" else "{:.1f}"
        parts += [
            f"realesrgan-x4, {titles[kind]}:",
            "",
            f"| threads | {' | '.join(columns)} |",
            f"|---{'|---' * len(columns)}|",
            *(
                f"| {threads} | {' | '.join(number.format(values[column]) for column in columns)} |"
                for threads, values in sorted(by_threads.items())
            ),
        ]
        if len(by_threads) == 2:
            one, two = (by_threads[threads] for threads in sorted(by_threads))
            gains = " | ".join(f"{one[column] / two[column]:.2f}x" for column in columns)
            parts.append(f"| gain | {gains} |")
        parts.append("")
    return "\n".join(["## Scaling", "", *parts]) if parts else ""


def _sampler(results: Results) -> str:
    rows = []
    for name, info, stats in _named(results, "tasks"):
        peers = ", ".join(f"{peer} {1e3 * one['busy_s']:.0f} ms of CPU" for peer, one in info.get("peers", {}).items())
        wanted = f"{info['wanted_ms']:g} ms" if info.get("wanted_ms") else ""
        rows.append(
            f"| {name} | {info['tasks']:,} | {info['threads']} | {1e3 * stats['min']:.1f} / {1e3 * stats['median']:.1f} "
            f"| {1e3 * info['busy_s']:.1f} | {wanted} | {peers} |"
        )
    if not rows:
        return ""
    head = [
        "## Sampler",
        "",
        "| benchmark | tasks | threads | ms | CPU ms | wanted | peers |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _throughput(results: Results) -> str:
    rows = []
    for name, info, stats in _named(results, "throughput"):
        peers = ", ".join(
            f"{peer} {info['images'] / one['min_s']:.1f}, {one['busy_s']:.1f} s of CPU ({one['note']})"
            for peer, one in info["peers"].items()
        )
        rows.append(
            f"| {name} | {info['images']} | {info['images'] / stats['min']:.1f} | {info['busy_s']:.1f} | {peers} |"
        )
    if not rows:
        return ""
    head = [
        "## Command line, pairs/s from start to end",
        "",
        "| command | pairs | ours | CPU s | peer |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _memory(results: Results) -> str:
    lines = []
    for _, info, _ in _named(results, "memory"):
        memory = info["memory"]
        lines.append(
            f"Peak memory above the inputs, B={memory['batch']}: pydegrade {memory['pydegrade']:.0f} MiB (at most "
            f"{memory['limit_mib']} wanted), torch eager {memory['torch eager']:.0f} MiB."
        )
    return "\n".join(["## Memory", "", *lines, ""]) if lines else ""


# ---- plot

# Colours of Okabe and Ito, told apart by colour-blind readers too; a marker of its own for each as well.
MARKS = {
    "torch eager": ("#D55E00", "o"),
    "opencv": ("#0072B2", "s"),
    "pillow": ("#009E73", "D"),
    "numpy": ("#000000", "v"),
    "scikit-image": ("#56B4E9", "^"),
    "kornia": ("#CC79A7", "P"),
    "albumentations": ("#E69F00", "X"),
    "basicsr": ("#999999", "*"),
}
SAME_LIBRARY = {"opencv stitched": "opencv", "torch eager script": "torch eager", "numpy, scipy": "numpy"}


def plot(results: Results, path: Path) -> Path | None:
    """One row per benchmark, one mark per peer with the same result: how many times longer it takes than ours, on a
    logarithmic scale. None without matplotlib or peers."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = []
    for name, info, stats in _named(results, "peers"):
        counted = {
            SAME_LIBRARY.get(peer, peer): one["min_s"] / stats["min"]
            for peer, one in info["peers"].items()
            if (one["same_result"] or info.get("throughput")) and SAME_LIBRARY.get(peer, peer) in MARKS
        }
        if counted:
            rows.append((name, counted))
    if not rows:
        return None
    rows.reverse()
    facts, batch, side = (results["pydegrade"][name] for name in ("machine", "batch", "side_px"))
    everything = [ratio for _, ratios in rows for ratio in ratios.values()]

    figure, axes = pyplot.subplots(figsize=(9, 0.215 * len(rows) + 1.7), layout="constrained")
    axes.axvspan(1e-9, 1.0, color="#f4f4f4", zorder=0)
    axes.axvline(1.0, color="#444444", linewidth=1, zorder=1)
    for place, (_, ratios) in enumerate(rows):
        axes.plot([min(1, *ratios.values()), max(1, *ratios.values())], [place, place], color="#dddddd", zorder=1)
        for peer, ratio in ratios.items():
            colour, marker = MARKS[peer]
            axes.scatter(ratio, place, s=30, color=colour, marker=marker, linewidths=0, zorder=3)
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, 0.8 * min(everything)), 1.4 * max(everything))
    axes.set_ylim(-0.7, len(rows) - 0.3)
    labels = [f"{_readable(name)}   {min(ratios.values()):.1f}x" for name, ratios in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=7.5)
    ticks = [
        tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= 1.4 * max(everything)
    ]
    axes.set_xticks([tick for tick in ticks if tick >= axes.get_xlim()[0]])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.minorticks_off()
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#e8e8e8", zorder=0)
    axes.set_xlabel(
        "time of the peer / our time (gray: the peer is faster). Beside each name: the fastest peer.", fontsize=8
    )
    seen = [peer for peer in MARKS if any(peer in ratios for _, ratios in rows)]
    handles = [axes.scatter([], [], s=30, color=MARKS[peer][0], marker=MARKS[peer][1], label=peer) for peer in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(seen), frameon=False, fontsize=8)
    axes.set_title(
        f"Same result, same run, {facts['threads']} threads (JPEG and kernels: one); {batch} images of 3x{side}x{side}\n"
        f"{facts['cpu']}, {facts['cores']} cores, instruction set {facts['isa']}, commit {facts['commit']}",
        fontsize=8,
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)
    return path


def _readable(name: str) -> str:
    """As people write it: blur_dense[7] becomes "blur dense, 7"."""
    head, _, tail = name.partition("[")
    return f"{head.replace('_', ' ')}{', ' + tail.rstrip(']').replace('_', ' ') if tail else ''}"
