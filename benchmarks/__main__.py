"""`python -m benchmarks`: run the suite, print one table, draw one plot."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--smoke", is_flag=True, help="Tiny sizes, one round each: does everything still run and agree?")
@click.option("-k", "expression", default="", help="Only benchmarks whose names match (as in pytest).")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads, ours and the peers'.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/benchmarks"), show_default=True)
def main(smoke: bool, expression: str, threads: int, out: Path) -> None:
    """Time pydegrade against its peers on this machine.

    \b
    Examples:
      python -m benchmarks --smoke
      python -m benchmarks -k jpeg --threads 1
    """
    os.environ["BENCH_SMOKE"] = "1" if smoke else ""
    os.environ["BENCH_THREADS"] = str(threads)
    import pytest

    out.mkdir(parents=True, exist_ok=True)
    report = out / "report.json"
    arguments = [
        str(HERE),
        "-q",
        "-o",
        "python_files=bench_*.py",
        f"--benchmark-json={report}",
        "-p",
        "no:cacheprovider",
    ]
    arguments += ["--benchmark-disable-gc", "--benchmark-quiet", *(["-k", expression] if expression else [])]
    code = pytest.main(arguments)
    if code != 0:
        sys.exit(int(code))
    results = json.loads(report.read_text())
    text = table(results)
    (out / "table.md").write_text(text)
    click.echo(text)
    picture = plot(results, out / "benchmarks.png")
    for path in [report, out / "table.md", *([picture] if picture else [])]:
        click.echo(f"wrote {path.resolve()}")


def table(results: dict[str, Any]) -> str:
    """Markdown: one row per benchmark."""
    machine = results["pydegrade_machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, isa {machine['isa']}; "
        f"torch {machine['torch']}, Python {machine['python']}, commit {machine['commit']}; copy "
        f"{machine['copy_gb_per_s']:.1f} GB/s, matmul {machine['fma_gflops']:.0f} GFLOP/s",
        "",
        "| benchmark | min ms | median ms | MP/s | % copy | % matmul | best peer | ratio | wanted | peers, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for bench in results["benchmarks"]:
        info, stats = bench["extra_info"], bench["stats"]
        seconds = stats["min"]
        rate = f"{info['megapixels'] / seconds:.0f}" if info.get("megapixels") else ""
        copy = f"{100 * info['gigabytes'] / seconds / machine['copy_gb_per_s']:.0f}" if info.get("gigabytes") else ""
        flops = f"{100 * info['gigaflops'] / seconds / machine['fma_gflops']:.0f}" if info.get("gigaflops") else ""
        ratio = f"{info['ratio']:.1f}x" if info.get("ratio") else ""
        wanted = f"{info['target']:g}x" if info.get("target") else ""
        peers = ", ".join(f"{name} {1e3 * value:.2f}" for name, value in info.get("peers_min_s", {}).items())
        lines.append(
            f"| {bench['name'].removeprefix('test_')} | {1e3 * seconds:.3f} | {1e3 * stats['median']:.3f} | {rate} "
            f"| {copy} | {flops} | {info.get('ratio_to', '')} | {ratio} | {wanted} | {peers} |"
        )
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], path: Path) -> Path | None:
    """Horizontal bars: how many times faster than the best peer with the same result. None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [(bench["name"].removeprefix("test_"), bench["extra_info"]) for bench in results["benchmarks"]]
    rows = sorted(((name, info) for name, info in rows if info.get("ratio")), key=lambda row: float(row[1]["ratio"]))
    if not rows:
        return None
    machine = results["pydegrade_machine"]
    figure, axes = pyplot.subplots(figsize=(9, 0.32 * len(rows) + 1.4), layout="constrained")
    ratios = [float(info["ratio"]) for _, info in rows]
    axes.barh(range(len(rows)), ratios, color="#3b6ea5")
    axes.set_xscale("log")
    axes.axvline(1.0, color="#444444", linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{name}  (vs {info['ratio_to']})" for name, info in rows], fontsize=8)
    axes.set_xlim(min(0.7, 0.9 * min(ratios)), 1.6 * max(ratios))
    for place, ratio in enumerate(ratios):
        axes.text(ratio * 1.04, place, f"{ratio:.1f}x", va="center", fontsize=8)
    axes.set_xlabel("times faster than the best peer with the same result, same run, same threads")
    axes.set_title(f"{machine['cpu']}, {machine['threads']} threads, commit {machine['commit']}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)
    return path


if __name__ == "__main__":
    main()
