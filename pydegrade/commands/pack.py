"""`degrade pack`: a run as tar files for streaming readers."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.errors import BAD_INPUT, INTERRUPTED
from ..shell.options import OUT_FOLDER, force_option
from ..shell.text import absolute, complain, say, warn


@click.command(name="pack", short_help="A run as tar files for streaming readers.")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", metavar="OUT", type=OUT_FOLDER)
@click.option(
    "--samples", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="How many go into a tar."
)
@force_option()
def command(run: Path, out: Path, samples: int, force: bool) -> int:
    """Pack RUN, a folder or a shard of `degrade sample`, into tar files in the layout of webdataset.

    OUT gets pairs-000000.tar and so on (of shard I: pairs-I-000000.tar). A sample is 00000012.hr.png, 00000012.lr.png,
    00000012.target.png where there is one, and 00000012.json: its address and every parameter. The same run gives the same
    bytes. A tar gets its name when it is complete; those that are there and of this run are kept.

    \b
    Examples:
      degrade pack out/run tars
      degrade pack run-3-of-64 tars --samples 5000
    """
    from ..files.paths import display_name
    from ..shell.outputs import check_folder
    from .actions.pack import pack

    check_folder(out, [run], "OUT")
    done = pack(run, out, samples, force)
    for line in done.damaged:
        warn(line)
    if done.interrupted:
        return complain(f"degrade pack: interrupted with {done.made + done.kept} of {done.total} tars done; the same "
                        "command continues", INTERRUPTED)  # fmt: skip
    if done.damaged:
        return complain(f"degrade pack: {len(done.damaged)} of {done.total} tars not made; `degrade sample` makes the "
                        "samples anew", BAD_INPUT)  # fmt: skip
    if done.samples < done.whole:
        part = f"holds {done.samples} of its {done.whole} samples; `degrade sample` makes the others"
        warn(f"{display_name(run)}: {part}")
    kept = f", {done.kept} {'is' if done.kept == 1 else 'are'} there already" if done.kept else ""
    say(f"{done.made} tar{'' if done.made == 1 else 's'} of up to {samples} samples{kept}")
    say(f"  {absolute(out)}")
    return 0
