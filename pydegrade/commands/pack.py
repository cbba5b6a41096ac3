"""`degrade pack`: a run as files of many samples, for streaming readers."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.errors import BAD_INPUT, INTERRUPTED
from ..shell.options import OUT_FOLDER, Choice, force_option
from ..shell.text import absolute, complain, say, warn


@click.command(name="pack", short_help="A run as tar or Parquet files, for readers that stream.")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", metavar="OUT", type=OUT_FOLDER)
@click.option(
    "--samples", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="How many go into a file."
)
@click.option("--format", "file_format", type=Choice(("tar", "parquet")), default="tar", show_default=True)
@force_option()
def command(run: Path, out: Path, samples: int, file_format: str, force: bool) -> int:
    """Pack RUN, a folder or a shard of `degrade sample`, into tar files in the layout of webdataset, or Parquet files as
    Hugging Face's datasets store images.

    OUT gets pairs-000000.tar and so on (of shard I: pairs-I-000000.tar). A sample is 00000012.hr.png, 00000012.lr.png,
    00000012.target.png where there is one, and 00000012.json: its address and every parameter. The same run gives the same
    bytes. A file gets its name when it is complete; those that are there and of this run are kept. In Parquet a sample is
    a row: index, address, an image hr, lr, target, and task, its parameters as JSON. Both are read again by --hr OUT/hr.

    \b
    Examples:
      degrade pack out/run tars
      degrade pack run-3-of-64 tars --samples 5000
      degrade pack out/run dataset --format parquet
    """
    from ..files.paths import display_name
    from ..shell.outputs import check_folder
    from .actions.pack import pack

    check_folder(out, [run], "OUT")
    done = pack(run, out, samples, force, file_format)
    word = "tar" if file_format == "tar" else "file"
    for line in done.damaged:
        warn(line)
    if done.interrupted:
        return complain(f"degrade pack: interrupted with {done.made + done.kept} of {done.total} {word}s done; the same "
                        "command continues", INTERRUPTED)  # fmt: skip
    if done.damaged:
        return complain(f"degrade pack: {len(done.damaged)} of {done.total} {word}s not made; `degrade sample` makes the "
                        "samples anew", BAD_INPUT)  # fmt: skip
    if done.samples < done.whole:
        part = f"holds {done.samples} of its {done.whole} samples; `degrade sample` makes the others"
        warn(f"{display_name(run)}: {part}")
    kept = f", {done.kept} {'is' if done.kept == 1 else 'are'} there already" if done.kept else ""
    say(f"{done.made} {word}{'' if done.made == 1 else 's'} of up to {samples} samples{kept}")
    say(f"  {absolute(out)}")
    return 0
