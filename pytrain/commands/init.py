"""`pytrain init`: a commented configuration with every option."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pydegrade.errors import OutputError
from pydegrade.shell import OUT_FILE, OUT_FOLDER, absolute, say


@click.command(name="init", short_help="Write a commented configuration to start from.")
@click.option("--method", help="See `pytrain methods`.")
@click.option(
    "--quickstart", is_flag=False, flag_value="quickstart", metavar="[NAME]",
    help="A configuration that trains in minutes, with nothing to download: quickstart, or METHOD_tiny.",
)  # fmt: skip
@click.option("--configs", type=OUT_FOLDER, help="Write all configurations that ship with pytrain into this folder.")
@click.option("--net", help="Network; default: what the method was published with.")
@click.option("--scale", type=click.IntRange(1, 8), default=4, show_default=True)
@click.option("-o", "--out", type=OUT_FILE, help="File to write, .toml.  [default: stdout]")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(
    method: str | None,
    quickstart: str | None,
    configs: Path | None,
    net: str | None,
    scale: int,
    out: Path | None,
    force: bool,
) -> None:
    """Write a commented configuration to start from: every option of a method, or one that runs as it is.

    The folder `configs` that the documents name is in the source tree; --configs configs writes it elsewhere.

    \b
    Examples:
      pytrain init --quickstart -o quickstart.toml
      pytrain init --quickstart dasr_tiny -o dasr.toml
      pytrain init --configs configs
      pytrain init --method psnr --net edsr --scale 2 -o edsr.toml
      pytrain init --method realesrgan -o my.toml
    """
    from pydegrade.shell import check_file, check_folder, write_file

    if sum(one is not None for one in (method, quickstart, configs)) != 1:
        raise click.UsageError("give either --method, --quickstart or --configs")
    if configs is not None:
        if out is not None:
            raise click.UsageError("--configs takes no -o: its value is the folder")
        from ..config.quickstart import shipped

        texts = shipped()
        check_folder(configs, (), "--configs")
        there = [configs / name for name, text in texts.items() if _differs(configs / name, text)]
        if there and not force:
            raise OutputError(f"{there[0]}: exists already, with other contents; choose another folder or give --force")
        for name, text in texts.items():
            write_file(configs / name, text.encode())
        say(f"{len(texts)} configurations", f"  {absolute(configs)}")
        return
    if out is not None:
        check_file(out, (".toml",), "-o")
        if out.exists() and not force:
            raise OutputError(f"{out}: exists already; choose another name or give --force")
    if quickstart is not None:
        from ..config.quickstart import quickstart as text_of

        text = text_of(quickstart)
    else:
        from ..config.describe import template

        text = template(method or "", net, scale)
    if out is None:
        say(*text.removesuffix("\n").split("\n"))
        return
    write_file(out, text.encode())
    say(f"{absolute(out)}; try: pytrain {'check' if quickstart is None else 'fit'} {shlex.quote(str(out))}")


def _differs(path: Path, text: str) -> bool:
    """Whether a file is there that writing would change."""
    return path.exists() and not (path.is_file() and path.read_bytes() == text.encode())
