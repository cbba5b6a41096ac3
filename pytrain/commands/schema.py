"""`pytrain schema`: the JSON schema of configurations."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pydegrade.shell import OUT_FILE, absolute, say


@click.command(name="schema", short_help="JSON schema of configurations, for editors.")
@click.option("-o", "--out", type=OUT_FILE, help="File to write, .json.  [default: stdout]")
def command(out: Path | None) -> None:
    """Print the JSON schema of configurations, for editors.

    Editors that know TOML schemas (taplo, Even Better TOML) complete and check a file whose first line is
    `#:schema pytrain.schema.json`.

    \b
    Example:
      pytrain schema -o pytrain.schema.json
    """
    from pydegrade.shell import check_file, write_file

    if out is not None:
        check_file(out, (".json",), "-o")
    from ..config.describe import schema

    text = json.dumps(schema(), indent=1, ensure_ascii=False)
    if out is None:
        say(*text.split("\n"))
    else:
        write_file(out, f"{text}\n".encode())
        say(absolute(out))
