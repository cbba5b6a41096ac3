"""`degrade merge`: one folder of the shards of a run."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.errors import BAD_INPUT, INTERRUPTED
from ..shell.options import OUT_FOLDER
from ..shell.text import absolute, complain, say, warn


@click.command(name="merge", short_help="One folder of the shards of a run.")
@click.argument("out", metavar="OUT", type=OUT_FOLDER)
@click.argument(
    "shards", metavar="SHARD...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
def command(out: Path, shards: tuple[Path, ...]) -> int:
    """Copy all SHARDs of a run of `degrade sample` or `degrade apply` into OUT: the folder that one process would have
    left, byte for byte.

    Every file is compared with SHA256SUMS of its shard on the way. A sample whose files are not as they were written is
    left out and named; `degrade sample` with the line of the run and --out OUT makes it. The command can be interrupted
    and run again. Of an LMDB, keys and values are those of the one process; where its pages lie may differ.

    \b
    Example:
      degrade sample --tasks 4000 --hr photos --out run --shard 0/2
      degrade sample --tasks 4000 --hr photos --out run --shard 1/2
      degrade merge run run-0-of-2 run-1-of-2
    """
    from ..shell.outputs import check_folder
    from .actions.apply_shards import is_applied_shard
    from .actions.merge import merge

    check_folder(out, shards, "OUT")
    if any(map(is_applied_shard, shards)):
        return _results(out, shards)
    done = merge(out, shards)
    for line in done.damaged:
        warn(line)
    if done.interrupted:
        return complain("degrade merge: interrupted; the same command continues", INTERRUPTED)
    say(absolute(out))
    if done.skipped:
        return complain(
            f"degrade merge: {done.skipped} of {done.total} samples skipped, listed in {out / 'skipped.csv'}", BAD_INPUT
        )
    say(f"{done.total} samples of {len(shards)} shards")
    return 0


def _results(out: Path, shards: tuple[Path, ...]) -> int:
    """Of `degrade apply`."""
    from .actions.apply_shards import merge_applied

    done = merge_applied(out, shards)
    for line in done.damaged:
        warn(line)
    for name in done.skipped:
        warn(f"{name}: its shard has no result of it")
    say(absolute(out))
    if done.damaged or done.skipped:
        left = f"{len(done.skipped)} of {done.images} images skipped, {len(done.damaged)} results damaged"
        return complain(f"degrade merge: {left}; `degrade apply` of the shard makes them", BAD_INPUT)
    say(f"{done.copied + done.kept} results of {done.images} images, {len(shards)} shards")
    return 0
