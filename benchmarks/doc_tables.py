"""Tables of the documents, written from result files: `python -m benchmarks.doc_tables`.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; NAME is a key of TABLES. `--check` writes
nothing and fails where a document differs from what its result file says; a test does the same.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks import demo_dasr, demo_eco, demo_fit, demo_ipt, demo_mzsr, demo_tgsr
from benchmarks.result_files import RESULTS, Result, read_result

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(\n<!-- end of table -->)", re.DOTALL)

TABLES: dict[str, tuple[str, Callable[[Result], str]]] = {
    "dasr": ("dasr", demo_dasr.table),
    "dasr-predictor": ("dasr", demo_dasr.predictor_table),
    "dasr-moves": ("dasr", demo_dasr.moves_table),
    "dasr-origin": ("dasr", lambda result: origin(result)),
    "eco": ("eco", demo_eco.table),
    "eco-origin": ("eco", lambda result: f"{origin(result)}\n\n{demo_eco.summary(result)}"),
    "mzsr": ("mzsr", demo_mzsr.table),
    "mzsr-differences": ("mzsr", demo_mzsr.differences),
    "mzsr-rates": ("mzsr", demo_mzsr.rates),
    "mzsr-origin": ("mzsr", lambda result: origin(result)),
    "fit": ("fit", demo_fit.table),
    "fit-means": ("fit", demo_fit.means_table),
    "fit-origin": ("fit", lambda result: origin(result)),
    "ipt": ("ipt", demo_ipt.table),
    "ipt-unseen": ("ipt", demo_ipt.unseen_table),
    "ipt-origin": ("ipt", lambda result: origin(result)),
    "tgsr": ("tgsr", demo_tgsr.table),
    "tgsr-controls": ("tgsr", demo_tgsr.controls),
    "conflict": ("conflict", demo_tgsr.conflict_table),
    "conflict-origin": ("conflict", lambda result: origin(result)),
    "tgsr-origin": ("tgsr", lambda result: origin(result)),
}
"""Name in a document: study, and what writes the table from it."""


def origin(result: Result) -> str:
    """Where a table comes from, as a sentence."""
    count = int(result.settings["seeds"])
    seeds = "seed 0" if count == 1 else f"seeds 0 to {count - 1}"
    facts = result.machine
    return (
        f"`{result.command}`, commit {result.commit}, {seeds}; {result.seconds / 60:.0f} minutes of "
        f"one core ({facts['cpu'].partition(' (')[0]}, {facts['isa']}, torch {facts['torch']}). Every number: "
        f"benchmarks/results/{result.study}.json."
    )


def documents() -> list[Path]:
    """All Markdown of the project that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown(folder: Path) -> str:
    """All tables of the result files below a folder, each under its name: what `benchmarks/gpu_science.sh` ends with."""
    found = {path.stem: path.parent for path in sorted(folder.glob("*/*.json"))}
    parts = []
    for name, (study, write) in TABLES.items():
        if study in found:
            parts.append(f"## {name}\n\n{write(read_result(study, found[study])).strip()}")
    return "\n\n".join(parts) or f"no result file in {folder}"


def renewed(text: str, where: str = "", folder: Path = RESULTS) -> str:
    """A document with its marked tables as the result files give them.

    Raises:
        ValueError: a marker of no known table, or one without its end.
    """

    def written(match: re.Match[str]) -> str:
        head, name, _, end = match.groups()
        if name not in TABLES:
            raise ValueError(f"{where}: table must be one of {', '.join(TABLES)}, got {name}")
        study, write = TABLES[name]
        return f"{head}\n{write(read_result(study, folder)).strip()}\n{end}"

    marks = text.count("<!-- table:"), text.count("<!-- end of table -->")
    found = len(MARKED.findall(text))
    if marks != (found, found):
        raise ValueError(f"{where}: {marks[0]} tables begin and {marks[1]} end, {found} of them as pairs")
    return MARKED.sub(written, text)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 where a document is stale.")
@click.option(
    "--show", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Write nothing; print the tables of the result files in the folders of this one.",
)  # fmt: skip
def main(check: bool, show: Path | None) -> None:
    """Write the tables of the documents from benchmarks/results."""
    if show is not None:
        click.echo(shown(show))
        return
    stale = [path for path in documents() if renewed(path.read_text(), path.name) != path.read_text()]
    for path in stale:
        if not check:
            path.write_text(renewed(path.read_text(), path.name))
        click.echo(f"{path.relative_to(ROOT)}: {'stale' if check else 'renewed'}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
