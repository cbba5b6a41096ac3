"""`degrade import`: a space from another project's option file."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ..shell.options import OUT_FILE, Choice
from ..shell.text import absolute, say

DIALECTS = (
    "realesrgan",
    "osediff",
    "pasd",
    "hypir",
    "diffbir",
    "stablesr",
    "redux",
    "neosr",
    "kair",
    "wtp",
    "resshift",
    "faces",
)


@click.command(name="import", short_help="Make a space of another project's option file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--dialect", type=Choice(DIALECTS), metavar="PROJECT",
    help=f"Whose options they are: {', '.join(DIALECTS)}.  [default: found out, where they tell]",
)  # fmt: skip
@click.option("--scale", type=click.IntRange(1, 16), help="The SR factor, where the file does not say it.")
@click.option(
    "--usm", type=Choice(("none", "lq", "target")),
    help="Sharpening: none, for LR only, or of the target too.  [default: the project's]",
)  # fmt: skip
@click.option(
    "--jpeg", type=Choice(("libjpeg", "diffjpeg_basicsr")), default="libjpeg", show_default=True,
    help="Pixels of real files, or the projects' approximation.",
)  # fmt: skip
@click.option("--name", help="Of the space.  [default: the file's]")
@click.option("-o", "--out", type=OUT_FILE, help="File to write, .toml.  [default: stdout]")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(
    file: Path,
    dialect: str | None,
    scale: int | None,
    usm: str | None,
    jpeg: str,
    name: str | None,
    out: Path | None,
    force: bool,
) -> None:
    """Make a commented space of FILE, the options by which another project degrades its training images.

    Read are .yml of Real-ESRGAN, BasicSR, traiNNer-redux, OSEDiff, PiSA-SR, PASD; .yaml of HYPIR, DiffBIR, StableSR;
    .toml of neosr; .json of KAIR; .hcl of wtp_dataset_destroyer; ResShift's .yaml; the face chains of GFPGAN, CodeFormer,
    DiffBIR stage 1 and DifFace. The report says which options were mapped, which were not, and which the project itself
    never reads. Nothing in the file is executed.

    \b
    Examples:
      degrade import train_realesrgan_x4plus.yml -o mine.toml
      degrade import params_realesrgan.yml -o osediff.toml
      degrade import train_span_otf.toml --name span
    """
    from ..compat.options import imported
    from ..errors import OutputError
    from ..shell.outputs import check_file, write_file

    if out is not None:
        check_file(out, (".toml",), "-o", [file])
        if out.exists() and not force:
            raise OutputError(f"{out}: exists already; choose another name or give --force")
    made = imported(file, dialect=dialect, scale=scale, usm=usm, jpeg=jpeg, name=name)  # type: ignore[arg-type]
    say(*str(made.report).split("\n"), err=True)
    if made.report.back is not None:
        say(f"LR is enlarged afterwards: pydegrade.Degrader(space, back={made.report.back!r})", err=True)
    if made.report.crop_px is not None:
        say(f"HR is cut afterwards: pydegrade.Degrader(space, crop_px={made.report.crop_px})", err=True)
    if out is None:
        say(*made.text.removesuffix("\n").split("\n"))
        return
    write_file(out, made.text.encode())
    say(f"{absolute(out)}; try: degrade check {shlex.quote(str(out))}")
