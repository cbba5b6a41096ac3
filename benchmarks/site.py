"""The site: `python -m benchmarks.site` builds it in out/site, and a warning ends it (`pip install 'pydegrade[site]'`).

Pages are the documents of docs/, the README as the start, and what is written from the code: every command with its help,
the public Python names, the 33 numbers of DASR. Nothing that is generated is kept in the repository.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import yaml

import pydegrade
from pydegrade import vectors
from pydegrade.commands import cli as degrade_cli
from pytrain.commands import cli as pytrain_cli

ROOT = Path(__file__).resolve().parent.parent

NAVIGATION = {
    "Start": "index.md",
    "Concepts": {
        "Architecture": "architecture.md",
        "Spaces": "spaces.md",
        "Image files": "files.md",
        "Random numbers": "rng.md",
        "Bicubic": "bicubic.md",
        "JPEG": "jpeg.md",
    },
    "Commands": {
        "The command lines": "commands.md",
        "degrade": "reference/degrade.md",
        "pytrain": "reference/pytrain.md",
    },
    "Presets and ops": {
        "Presets": "presets.md",
        "Ops": "ops.md",
        "Fitting": "fitting.md",
        "The 33 numbers of DASR": "reference/dasr33.md",
    },
    "Python": {
        "In a training program": "python.md",
        "Reference": "reference/python.md",
        "Ops": "reference/ops.md",
        "Coming from other projects": "migration.md",
        "Adding": "adding.md",
    },
    "Training": {
        "Training": "training.md",
        "Methods": "methods.md",
        "DASR": "dasr.md",
        "TGSR": "tgsr.md",
        "ECO": "eco.md",
        "MZSR": "mzsr.md",
        "IPT": "ipt.md",
    },
    "Performance": {"Performance": "performance.md", "CUDA": "cuda.md"},
    "Troubleshooting": "troubleshooting.md",
}
"""Title -> page, or a table of them."""


def command_pages(name: str, group: click.Group) -> str:
    """Every command of a program with its help as `-h` prints it, on one page."""
    parts = [f"# {name}\n\nWhat `{name} -h` and `{name} COMMAND -h` print."]

    def add(command: click.Command, path: Sequence[str], parent: click.Context | None) -> None:
        context = click.Context(command, parent, path[-1], terminal_width=100, **command.context_settings)
        parts.append(f"{'#' * max(2, len(path))} {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```")
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                if found is not None and not found.hidden:
                    add(found, [*path, below], context)

    add(group, [name], None)
    return "\n\n".join(parts) + "\n"


def python_page() -> str:
    """The public names of pydegrade, by the module where they live, for mkdocstrings."""
    parts = ["# Python reference\n\nAll of it is imported from `pydegrade`."]
    for module, names in pydegrade._HOMES.items():
        parts += [f"::: pydegrade{module}.{name}" for name in names]
    parts += [f"::: pydegrade{module}" for module in (".ops.kernels", ".images.metrics", ".tasks.vectors", ".compat")]
    return "\n\n".join(parts) + "\n"


def ops_page() -> str:
    """The public functions of pydegrade.ops."""
    functions = [name for name in pydegrade.ops.__all__ if name.islower()]
    homes = {name: getattr(pydegrade.ops, name).__module__ for name in functions}
    listed = [f"::: {home}.{name}" for name, home in homes.items() if home.startswith("pydegrade.")]
    return "\n\n".join(["# Ops as functions\n\nAll of them are in `pydegrade.ops`.", *listed]) + "\n"


def dasr33_page() -> str:
    """The 33 entries as a table."""
    lines = ["# The 33 numbers of DASR", "", "`tasks.vector()` gives them; docs/dasr.md says what they are for.", ""]
    lines += ["| Entry | Is | Kind |", "|---|---|---|"]
    for place, entry in enumerate(vectors.TABLE):
        flag = entry.label or entry.column == "gray"
        kind = "0 or 1" if flag else "(value - low) / (high - low), the range of the level or of all"
        lines.append(f"| {place} | `{entry.name}` | {kind} |")
    return "\n".join(lines) + "\n"


def linked(text: str, up: str = "") -> str:
    """Documents that a text names become links, but in code."""
    pieces = re.split(r"(```.*?```|`[^`\n]*`|\[[^\]]*\]\([^)]*\))", text, flags=re.S)
    for place in range(0, len(pieces), 2):
        pieces[place] = re.sub(r"\bdocs/(\w+\.md)", rf"[docs/\1]({up}\1)", pieces[place])
    return "".join(pieces)


def write_sources(folder: Path) -> None:
    """The pages, ready for mkdocs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    for page in folder.glob("*.md"):
        page.write_text(linked(page.read_text(encoding="utf-8")), encoding="utf-8")
    start = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/images/", "](images/")
    (folder / "index.md").write_text(linked(start), encoding="utf-8")
    written = {
        "degrade": command_pages("degrade", degrade_cli.cli),
        "pytrain": command_pages("pytrain", pytrain_cli.cli),
        "python": python_page(),
        "ops": ops_page(),
        "dasr33": linked(dasr33_page(), "../"),
    }
    (folder / "reference").mkdir()
    for name, text in written.items():
        (folder / "reference" / f"{name}.md").write_text(text, encoding="utf-8")


def navigation(table: object) -> object:
    """NAVIGATION as mkdocs wants it."""
    if isinstance(table, dict):
        return [{title: navigation(entry) for title, entry in [item]} for item in table.items() for item in [item]]
    return table


def settings(sources: Path, target: Path) -> dict[str, object]:
    """mkdocs.yml."""
    options = {
        "docstring_style": "google",
        "show_root_heading": True,
        "show_root_full_path": False,
        "show_source": False,
        "heading_level": 2,
        "members_order": "source",
        "filters": ["!^_"],
    }
    return {
        "site_name": "pydegrade",
        "docs_dir": str(sources),
        "site_dir": str(target),
        "nav": navigation(NAVIGATION),
        "theme": {"name": "material", "font": False, "features": ["navigation.sections", "content.code.copy"]},
        "plugins": ["search", {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)], "options": options}}}}],
        "markdown_extensions": [
            "admonition",
            "tables",
            "pymdownx.highlight",
            "pymdownx.superfences",
            {"toc": {"permalink": True}},
        ],
    }


def build(target: Path) -> subprocess.CompletedProcess[str]:
    """Write the pages beside `target` and run mkdocs strictly."""
    sources = target.parent / "site_pages"
    write_sources(sources)
    configuration = target.parent / "mkdocs.yml"
    configuration.write_text(yaml.safe_dump(settings(sources, target), sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(configuration)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)


def main() -> int:
    """mkdocs' exit code, and its words."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "out" / "site")
    target = parser.parse_args().out.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    done = build(target)
    print(done.stdout + done.stderr, end="")
    print(target / "index.html" if done.returncode == 0 else "the site was not built")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
