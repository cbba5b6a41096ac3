"""`python -m benchmarks`: run the suite, print the tables, draw one plot."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

HERE = Path(__file__).parent


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--smoke", is_flag=True, help="Tiny sizes, one round each: does everything still run and agree?")
@click.option("-k", "expression", default="", help="Only benchmarks whose names match (as in pytest).")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads, ours and the peers'.")
@click.option("--peers", default="", help="Only these libraries, comma-separated (opencv,pillow,kornia,...).")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/benchmarks"), show_default=True)
def main(smoke: bool, expression: str, threads: int, peers: str, out: Path) -> None:
    """Time pydegrade against its peers on this machine.

    Results are compared before anything is timed; contenders take turns; every number belongs to this run alone. Peers
    that are not installed are skipped and listed (`make peers` installs them).

    \b
    Examples:
      python -m benchmarks --smoke
      python -m benchmarks -k "jpeg or roofline" --threads 1
    """
    os.environ["BENCH_SMOKE"] = "1" if smoke else ""
    os.environ["BENCH_THREADS"] = str(threads)
    os.environ["BENCH_PEERS"] = peers
    import pytest

    out.mkdir(parents=True, exist_ok=True)
    report = out / "report.json"
    report.unlink(missing_ok=True)
    arguments = [str(HERE), "-q", "-o", "python_files=bench_*.py", "-p", "no:cacheprovider"]
    arguments += [f"--benchmark-json={report}", "--benchmark-disable-gc", "--benchmark-quiet"]
    code = pytest.main([*arguments, *(["-k", expression] if expression else [])])
    # With failures the rest is still reported; the exit code tells.
    if not report.exists() or not report.stat().st_size:
        sys.exit(int(code) or 1)

    from . import report as reports

    results = json.loads(report.read_text())
    text = reports.tables(results)
    (out / "tables.md").write_text(text)
    click.echo(text)
    picture = reports.plot(results, out / "benchmarks.png")
    for path in [report, out / "tables.md", *([picture] if picture else [])]:
        click.echo(f"wrote {path.resolve()}")
    sys.exit(int(code))


if __name__ == "__main__":
    main()
