"""`degrade sample`: draw tasks, cut crops, write pairs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..shell.errors import BAD_INPUT, INTERRUPTED
from ..shell.images import say_left_out
from ..shell.options import SEED, START, TASKS, Choice, check_last_index, chosen_device
from ..shell.ray_engine import check_engine, engine_options, on_ray
from ..shell.shards import SHARD_HELP, merge_line, parse_shard
from ..shell.text import absolute, complain, say, warn
from .hr_options import AUGMENTS, BUNDLED_HR_SIZE_PX, hr_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..files.dataset import Augment
    from ..tasks.task import TaskBatch
    from .actions.sample import RunOptions, SampleOutcome
    from .actions.sources import CroppedImages

FORMATS = ("png", "npy", "lmdb", "mkv")
MOST_LR = 64
MOST_CROPS = 64
"""As in `tasks.several`, which waits for torch."""


@click.command(name="sample", short_help="Draw N tasks and write N pairs.")
@click.option("--tasks", "count", type=TASKS, metavar="N", help="How many pairs.  [required without --card]")
@click.option(
    "--card", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CARD",
    help="Make the set of this card (degrade card) from the images of --hr.",
)  # fmt: skip
@click.option("--space", "space_name", default="realesrgan-x4", show_default=True, help="Preset or TOML file.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--start", type=START, default=0, show_default=True, help="Index of the first sample.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to fill.  [default: out/SPACE-sSEED]")
@click.option(
    "--format", "file_format", type=Choice(FORMATS), default="png", show_default=True,
    help="mkv: of clips, without loss (FFV1).",
)  # fmt: skip
@click.option(
    "--clips", type=click.IntRange(1, 2**16), metavar="T",
    help="Each sample is a clip of T frames; --hr holds folders of frames or video files.",
)  # fmt: skip
@click.option("--params-only", is_flag=True, help="Tasks, manifest and vectors, no images.")
@click.option("--meta-info", type=click.Path(path_type=Path, exists=True), help="List of files of --hr to use.")
@click.option(
    "--augment", type=Choice(AUGMENTS), default="hflip", show_default=True,
    help="How crops are mirrored: left to right, or all eight symmetries of the square.",
)  # fmt: skip
@click.option(
    "--lr-per-hr", type=click.IntRange(1, MOST_LR), metavar="K", default=1, show_default=True,
    help="LR images of each HR crop, by K tasks of the space: lr/, lr_2/ to lr_K/.",
)  # fmt: skip
@click.option(
    "--more",
    multiple=True,
    metavar="lr_NAME=SPACE",
    help="An LR image more of each HR crop, by another space: lr_NAME/.",
)
@click.option(
    "--crops", type=click.IntRange(1, MOST_CROPS), metavar="C", default=1, show_default=True,
    help="Squares of each sample's image, degraded by one task: hr/, lr/, hr_crop2/, lr_crop2/ and on.",
)  # fmt: skip
@click.option("--shard", metavar="I/N|auto", help=f"Make samples I, I + N, ... alone, in OUT-I-of-N. {SHARD_HELP}")
@engine_options
@click.option("--batch", type=click.IntRange(min=1), default=48, show_default=True, help="Samples in memory at once.")
@hr_options
def command(
    count: int | None,
    card: Path | None,
    space_name: str,
    seed: int,
    start: int,
    out: Path | None,
    file_format: str,
    clips: int | None,
    params_only: bool,
    meta_info: Path | None,
    augment: Augment,
    lr_per_hr: int,
    more: tuple[str, ...],
    crops: int,
    shard: str | None,
    engine: str,
    shards: int | None,
    batch: int,
    hr: Path | None,
    hr_size: int | None,
    max_pixels: int,
    device: str,
) -> int:
    """Draw N tasks and write N pairs.

    The folder gets hr/ (clean crops), lr/ (the same, degraded), target/ (sharpened crops, only for spaces whose
    training target is sharpened), tasks.npz, manifest.csv (one row per sample), dasr33.npy, run.json, SHA256SUMS and
    sheet.png.

    Sample i depends on the space, the seed, i and the list of images; on nothing else. The command can be interrupted
    and run again: finished samples stay as they are. With a larger N it continues where it ended.

    For contrastive losses and the like a sample has several LR images of one HR crop (--lr-per-hr, --more), or
    several crops that one task degrades (--crops); docs/commands.md says what their files are called.

    Many processes, here or on many machines, make one run by --shard: each starts the same line with its own I, and
    `degrade merge` makes the folder that one process would have left.

    \b
    Examples:
      degrade sample --tasks 4000
      degrade sample --tasks 800 --space bsrgan-x4 --hr DIV2K_train_HR
      degrade sample --tasks 100000 --hr photos --format lmdb --hr-size 256
      degrade sample --tasks 1000000 --params-only --seed 7
      degrade sample --card card.toml --hr DIV2K_valid_HR --out again
      degrade sample --tasks 4000 --hr photos --lr-per-hr 2 --crops 2
      degrade sample --space codeformer-small --more lr_large=codeformer-large \\
          --hr FFHQ --tasks 70000
      degrade sample --tasks 1000000 --hr photos --out run --shard 3/64
      degrade sample --tasks 200 --clips 15 --space realbasicvsr-x4 --hr REDS
      degrade sample --tasks 1000000 --hr photos --out run --engine ray
    """
    check_engine(engine, shards, shard)
    if clips is not None:
        for given, name in (
            (card, "--card"),
            (shard, "--shard"),
            (engine == "ray", "--engine ray"),
            (params_only, "--params-only"),
            (meta_info, "--meta-info"),
            (lr_per_hr > 1, "--lr-per-hr"),
            (more, "--more"),
            (crops > 1, "--crops"),
        ):
            if given:
                raise click.UsageError(f"--clips: does not go with {name}")
        if file_format not in ("png", "mkv"):
            raise click.UsageError(f"--clips: --format must be png or mkv, got {file_format}")
    elif file_format == "mkv":
        raise click.UsageError("--format mkv is for clips; give --clips T")
    if params_only and crops > 1:
        raise click.UsageError("--crops: --params-only makes no images to be cut")
    place = None if shard is None else parse_shard(shard)
    if place is not None and params_only:
        raise click.UsageError("--shard: --params-only makes no images to be shared out")
    if engine == "ray":
        if params_only:
            raise click.UsageError("--engine ray: --params-only makes no images to be shared out")
        return _on_ray(count, card, space_name, seed, out, shards, device)
    if card is not None:
        return _from_card(card, out, place, hr, batch, max_pixels, device)
    if count is None:
        raise click.MissingParameter(param_hint="'--tasks'", param_type="option")
    check_last_index(start, count)
    if clips is not None:
        return _clips(count, clips, space_name, seed, start, out, file_format, augment, hr, hr_size, max_pixels, device)
    from ..files.sample_manifest import check_format
    from ..shell.outputs import check_folder
    from ..tasks.sampler import sample
    from ..tasks.space import Space, preset_names
    from .actions.pairs import kinds_of
    from .actions.sample import RunOptions, Shard, write_parameters
    from .actions.several import check_sides, spaces_of_line
    from .actions.sources import cropped_images

    # What may be wrong, before anything is written.
    where = chosen_device(device)
    space = Space.load(space_name)
    whole = out or Path("out") / f"{space.name}-s{seed}"
    part = None if place is None else Shard.of(place, count)
    folder = whole if part is None else part.folder(whole)
    check_folder(folder, [] if hr is None else [hr])
    tasks = sample(space, seed, range(start, start + count))
    further = spaces_of_line(lr_per_hr, more, space, seed)
    others = {name: one.tasks(range(start, start + count)) for name, one in further.items()}
    say(f"space {space.name}@{space.digest[:8]}, scale {space.scale}, seed {seed}, samples {start} to "
        f"{start + count - 1}{'' if part is None else f', shard {part}'}")  # fmt: skip
    if params_only:
        for path in write_parameters(folder, tasks, others):
            say(f"  {absolute(path)}")
        return 0
    check_format(file_format)
    found = cropped_images(hr, hr_size, space, BUNDLED_HR_SIZE_PX, max_pixels, meta_info)
    say_left_out(found.images.excluded)
    check_sides(further, found.side_px)
    if found.note:
        warn(found.note)
    kinds = ", ".join(kinds_of(tasks, others, crops))
    found_alone = space_name in preset_names() or out is None
    own = "" if found_alone else f" --space {shlex.quote(str(whole))}"
    then = f"({kinds}) of {space.name}@{space.digest[:8]}; try: degrade show {tasks.addresses[0]}{own}"
    options = RunOptions(start, file_format, augment, shard=part)
    return _pairs(whole, tasks, found, options, batch, max_pixels, str(where), then, others, crops)


def _clips(
    count: int,
    frames: int,
    space_name: str,
    seed: int,
    start: int,
    out: Path | None,
    file_format: str,
    augment: Augment,
    hr: Path | None,
    hr_size: int | None,
    max_pixels: int,
    device: str,
) -> int:
    """Make the clips of a run and say what became of them; the exit code."""
    from ..files.clips import check_writable
    from ..shell.outputs import check_folder
    from ..tasks.sampler import sample
    from ..tasks.space import Space
    from .actions.clips import clip_crops, make_clips

    if hr is None:
        raise click.UsageError("--clips: --hr must name a folder of clips or a video file")
    where = chosen_device(device)
    space = Space.load(space_name)
    folder = out or Path("out") / f"{space.name}-s{seed}-clips"
    check_folder(folder, [hr])
    if file_format == "mkv":
        check_writable()
    tasks = sample(space, seed, range(start, start + count), frames=frames)
    cut = clip_crops(hr, frames, hr_size, space, seed, tasks.indices[::frames], augment, max_pixels)
    say(f"space {space.name}@{space.digest[:8]}, scale {space.scale}, seed {seed}, clips {start} to {start + count - 1} of "
        f"{frames} frames of {cut.crops.side_px} px from {len(cut.clips)} clips ({hr})")  # fmt: skip
    say_left_out(cut.excluded)
    done = make_clips(folder, tasks, cut, file_format, augment, max_pixels, str(where))
    if code := _ended(folder, done, count, "clips"):
        return code
    say(f"{count} clips of {space.name}@{space.digest[:8]}; first: {tasks.take(slice(0, frames)).clip_addresses[0]}")
    return 0


def _on_ray(
    count: int | None,
    card: Path | None,
    space_name: str,
    seed: int,
    out: Path | None,
    shards: int | None,
    device: str,
) -> int:
    """All shards of the line as tasks of a Ray cluster."""
    if card is not None:
        from ..files.card import read_card

        tasks = read_card(card).tasks
        name, seed, count = tasks.space.name, int(tasks.seeds[0]), len(tasks)
    elif count is None:
        raise click.MissingParameter(param_hint="'--tasks'", param_type="option")
    else:
        from ..tasks.space import Space

        name = Space.load(space_name).name
    code, made = on_ray(shards, count, gpu=device == "cuda")
    say(f"{made} shards on Ray; all together: {merge_line(out or Path('out') / f'{name}-s{seed}', made)}")
    return code


CARD_SAYS = (
    "count",
    "space_name",
    "seed",
    "start",
    "file_format",
    "params_only",
    "meta_info",
    "augment",
    "hr_size",
    "clips",
    "lr_per_hr",
    "more",
    "crops",
)
"""Options whose values stand in a card."""


def _from_card(
    path: Path,
    out: Path | None,
    place: tuple[int, int] | None,
    hr: Path | None,
    batch: int,
    max_pixels: int,
    device: str,
) -> int:
    """Make the set of a card."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if name in CARD_SAYS and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--card: the card says what {option.opts[0]} is; give one of them")
    from ..files.card import read_card
    from ..files.sample_manifest import check_format
    from ..shell.outputs import check_folder
    from .actions.card import images_of_card
    from .actions.sample import RunOptions, Shard

    where = chosen_device(device)
    card = read_card(path)
    space = card.tasks.space
    whole = out or Path("out") / f"{space.name}-s{card.seed}"
    part = None if place is None else Shard.of(place, len(card.tasks))
    check_folder(whole if part is None else part.folder(whole), [] if hr is None else [hr])
    check_format(card.file_format)
    say(f"card of {len(card.tasks)} samples of {space.name}@{space.digest[:8]}, scale {space.scale}, seed {card.seed}")
    found = images_of_card(card, hr, max_pixels)
    options = RunOptions(card.start, card.file_format, card.augment, card.addresses_digest, part)
    then = f"of the card; try: degrade verify {shlex.quote(str(path))} {shlex.quote(str(whole))}"
    return _pairs(whole, card.tasks, found, options, batch, max_pixels, str(where), then)


def _pairs(
    whole: Path,
    tasks: TaskBatch,
    found: CroppedImages,
    options: RunOptions,
    batch: int,
    max_pixels: int,
    device: str,
    then: str,
    others: Mapping[str, TaskBatch] | None = None,
    crops: int = 1,
) -> int:
    """Make the pairs of a run, or of its shard, and say what became of them.

    Args:
        whole: folder of the run; a shard's lies beside it.
        tasks: of the run.
        found: what crops are cut from.
        options: what else identifies the run.
        batch, max_pixels, device: as of `SampleRequest`.
        then: what a finished run is said to be, behind the number of its pairs.
        others: further tasks of the run on the same crops, by the name of their LR images.
        crops: of each sample.
    Returns:
        the exit code.
    """
    from .actions.pairs import SampleRequest
    from .actions.sample import make_pairs

    say(f"HR crops of {found.side_px} px from {len(found.images.images)} images ({found.images.origin})")
    part = options.shard
    out = whole if part is None else part.folder(whole)
    rows = slice(None) if part is None else part.rows
    mine = tasks.take(rows)
    count = len(mine)
    first, *further = (found.crops(int(tasks.seeds[0]), mine.indices, options.augment, place) for place in range(crops))
    more = {name: drawn.take(rows) for name, drawn in (others or {}).items()}
    request = SampleRequest(mine, first, found.images, more, tuple(further), batch, device, max_pixels=max_pixels)
    done = make_pairs(out, request, options)
    if code := _ended(out, done, count, "pairs"):
        return code
    if part is None:
        say(f"{count} pairs {then}")
    else:
        say(f"{count} of {len(tasks)} pairs; all shards together: {part.merge_line(whole)}")
    return 0


def _ended(folder: Path, done: SampleOutcome, count: int, what: str) -> int:
    """Say what became of a run's pairs or clips; the exit code, 0 where none of them is missing."""
    if done.made:
        say(f"{done.made} {what} in {done.seconds:.1f} s, {done.made / done.seconds:.1f} {what}/s")
    for path in done.written:
        say(f"  {absolute(path)}")
    for line in (*done.notes, *sorted(set(done.reasons.values()))):
        warn(line)
    if done.interrupted:
        return complain(
            f"degrade: interrupted with {done.finished} of {count} {what} done; the same command continues", INTERRUPTED
        )
    if done.reasons:
        return complain(
            f"degrade: {len(done.reasons)} of {count} samples skipped, listed in {folder / 'skipped.csv'}", BAD_INPUT
        )
    return 0
