"""The `degrade` command."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .. import __version__
from ..engine import degrade_pairs, trace
from ..errors import ImageError, PydegradeError, TaskError
from ..files.dataset import AUGMENTS, Augment, CropReader, HrImages, draw_crops, find_images
from ..files.io import (
    ENCODERS,
    MAX_PIXELS,
    Pixels,
    decode_image,
    list_images,
    to_float,
    to_uint8,
    write_atomic,
    write_png,
)
from ..files.records import (
    FORMATS,
    PairStore,
    RunIdentity,
    Samples,
    append_manifest,
    open_run,
    open_store,
    write_manifest,
    write_tables,
)
from ..images.imresize import BORDERS, KERNELS, Border, Kernel
from ..tasks.sampler import sample as sample_tasks
from ..tasks.space import Space, preset_names
from ..tasks.task import TaskBatch
from .job import Outcome, PairJob, degrade_one, kinds_of, write_pairs
from .progress import Progress
from .resize_folder import ResizeJob, named_results, parse_scale, resize_images, uneven_images, whole_shrinkage
from .sheet import PAIR_WIDTH_PX, pair_rows, render_sheet, stage_rows

BUNDLED_HR_SIZE_PX = 192
"""Side of crops from scikit-image's photographs: the smallest is 300 px high, and a first run should be quick."""

SHEET_PAIRS = 24
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells number it (128 + SIGINT)."""

Command = TypeVar("Command", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and leaves with its exit code.

    0: done. 2: wrong usage or bad input, said in one line on stderr. 1: failure. 130: interrupted.
    """
    # The limit on image sizes is ours (--max-megapixels); Pillow's own would add a second one that no option moves.
    Image.MAX_IMAGE_PIXELS = None
    try:
        code = cli.main(args=arguments, prog_name="degrade", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        name = context.command_path if context else "degrade"
        code = _complain(f"{name}: {error.format_message()} (see {name} --help)", 2)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("degrade: interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has left (`| head`); Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except ValueError as error:
        code = _complain(f"degrade: {error}", 2)
    except OSError as error:
        code = _complain(f"degrade: {error}", 2 if isinstance(error, FileNotFoundError) else 1)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(line: str, code: int) -> int:
    click.echo(" ".join(line.split()), err=True)
    return code


def _warn(line: str) -> None:
    click.echo(f"warning: {line}", err=True)


ENTRY_POINTS = "degrade.commands"
"""Group of entry points by which an installed package adds a command: name -> module:object, a `click.Command`."""


@cache
def _added_commands() -> dict[str, EntryPoint]:
    """Commands of other packages by name; none is loaded before it is asked for."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _unavailable(entry: EntryPoint, reason: str) -> click.Command:
    """Stands for a command that does not load, so that all others and `degrade -h` go on working."""
    line = " ".join(f"{entry.name} ({entry.value}) cannot be loaded: {reason}".split())

    def fail(ignored: tuple[str, ...]) -> None:
        raise OSError(line)

    arguments = click.Argument(["ignored"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True}
    return click.Command(entry.name, settings, fail, [arguments], short_help="Cannot be loaded.", help=line)


class _Commands(click.Group):
    """The commands of this file, and those that other packages add; a name that both have is this file's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_added_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        entry = _added_commands().get(cmd_name)
        if own is not None or entry is None:
            return own
        try:
            command = entry.load()
        except Exception as error:  # whatever a foreign module does while it is imported
            return _unavailable(entry, f"{type(error).__name__}: {error}")
        if not isinstance(command, click.Command):
            return _unavailable(entry, f"must be a click.Command, got {type(command).__name__}")
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="degrade")
def cli() -> None:
    """Make training pairs for super-resolution: degrade clean images, each by a task of its own.

    A space (a preset or a TOML file) describes a distribution over degradations; a task is one drawn row of parameters,
    and its address rebuilds it anywhere.

    \b
    First steps:
      degrade sample --tasks 4000           4000 pairs from photographs, nothing to download
      degrade preview -o sheet.png          what the default space does, stage by stage
      degrade spaces                        which spaces there are
    """


# ---- options that several commands share


def _image_options(command: Command) -> Command:
    """Options of every command that reads images."""
    limit = click.option(
        "--max-megapixels",
        type=click.FloatRange(min=0, min_open=True),
        default=MAX_PIXELS / 1e6,
        help=f"Refuse larger images.  [default: {MAX_PIXELS / 1e6:.0f}]",
    )
    device = click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
    return limit(device(command))


def _hr_options(command: Command) -> Command:
    """Options of commands that cut crops from clean images."""
    source = click.option(
        "--hr",
        type=click.Path(path_type=Path),
        help="Folder of clean images (searched recursively), LMDB or one image.  [default: photographs in scikit-image]",
    )
    side = click.option(
        "--hr-size",
        type=click.IntRange(min=1),
        metavar="PX",
        help=f"Side of the HR crops.  [default: the space's; {BUNDLED_HR_SIZE_PX} without --hr]",
    )
    return source(side(_image_options(command)))


def _check_device(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise PydegradeError("--device: cuda needs a GPU and a CUDA build of torch, got neither; use --device cpu")


def _hr_images(
    hr: Path | None, hr_size: int | None, space: Space, max_megapixels: float, meta_info: Path | None = None
) -> tuple[HrImages, int]:
    """The clean images, and the side of crops."""
    side_px = hr_size
    if side_px is None:
        side_px = space.hr_px if hr is not None else min(space.hr_px, BUNDLED_HR_SIZE_PX)
    if side_px % space.scale:
        raise ImageError(f"--hr-size: must be a multiple of the scale {space.scale}, got {side_px}")
    images = find_images(
        [hr] if hr is not None else [], side_px=side_px, meta_info=meta_info, max_pixels=_pixels(max_megapixels)
    )
    return images, side_px


def _pixels(megapixels: float) -> int:
    return round(megapixels * 1e6)


# ---- sample


@cli.command()
@click.option("--tasks", "count", type=click.IntRange(min=1), required=True, metavar="N", help="How many pairs.")
@click.option("--space", "space_name", default="realesrgan-x4", show_default=True, help="Preset or TOML file.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True)
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the first sample.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to fill.  [default: out/SPACE-sSEED]")
@click.option("--format", "file_format", type=click.Choice(FORMATS), default="png", show_default=True)
@click.option("--params-only", is_flag=True, help="Tasks, manifest and vectors, no images.")
@click.option("--meta-info", type=click.Path(path_type=Path, exists=True), help="List of files of --hr to use.")
@click.option(
    "--augment",
    type=click.Choice(AUGMENTS),
    default="hflip",
    show_default=True,
    help="How crops are mirrored: left to right, or all eight symmetries of the square.",
)
@click.option("--batch", type=click.IntRange(min=1), default=48, show_default=True, help="Samples in memory at once.")
@_hr_options
def sample(
    count: int,
    space_name: str,
    seed: int,
    start: int,
    out: Path | None,
    file_format: str,
    params_only: bool,
    meta_info: Path | None,
    augment: Augment,
    batch: int,
    hr: Path | None,
    hr_size: int | None,
    max_megapixels: float,
    device: str,
) -> int:
    """Draw N tasks and write N pairs.

    The folder gets hr/ (clean crops), lr/ (the same, degraded), target/ (sharpened crops, only for spaces whose
    training target is sharpened), tasks.npz, manifest.csv (one row per sample), dasr33.npy, run.json and sheet.png.

    Sample i depends on the space, the seed, i and the list of images; on nothing else. The command can be interrupted
    and run again: finished samples stay as they are. With a larger N it continues where it ended.

    \b
    Examples:
      degrade sample --tasks 4000
      degrade sample --tasks 800 --space bsrgan-x4 --hr DIV2K_train_HR --out data/bsrgan
      degrade sample --tasks 100000 --hr photos --format lmdb --hr-size 256
      degrade sample --tasks 1000000 --params-only --seed 7
    """
    _check_device(device)
    space = Space.load(space_name)
    out = out or Path("out") / f"{space.name}-s{seed}"
    tasks = sample_tasks(space, seed, range(start, start + count))
    click.echo(f"space {_space_text(space)}, scale {space.scale}, seed {seed}, samples {start} to {start + count - 1}")
    if params_only:
        identity = RunIdentity(space.name, space.digest, seed, start, "", 0, "none")
        open_run(out, identity, count, _facts(space))
        for path in write_tables(out, Samples(tasks), {}):
            click.echo(f"  {path.resolve()}")
        return 0

    images, side_px = _hr_images(hr, hr_size, space, max_megapixels, meta_info)
    for line in images.excluded:
        _warn(f"left out: {line}")
    crops = draw_crops(images, seed, tasks.indices, side_px, augment)
    click.echo(f"HR crops of {side_px} px from {len(images.images)} images ({images.origin})")
    kinds = kinds_of(tasks)
    identity = RunIdentity(space.name, space.digest, seed, start, images.digest, side_px, file_format, augment)
    facts = {**_facts(space), "hr": images.origin, "hr_images": len(images.images), "images_per_sample": list(kinds)}
    open_run(out, identity, count, facts)
    store = open_store(out, kinds, file_format, raw_bytes=3 * side_px**2 * len(kinds) * count)

    job = PairJob(tasks, crops, images, batch, device, max_pixels=_pixels(max_megapixels))
    samples = Samples(tasks, crops, images, {kind: partial(store.name, kind) for kind in kinds})
    return _make_pairs(out, job, store, samples)


def _facts(space: Space) -> dict[str, Any]:
    """What run.json holds for people beside what identifies the job."""
    versions = {"pydegrade": __version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"scale": space.scale, "source": space.source, "versions": versions}


def _make_pairs(out: Path, job: PairJob, store: PairStore, samples: Samples) -> int:
    """Make the missing pairs, then the tables and the sheet; the exit code."""
    count = len(job.tasks)
    there = _finished_rows(store, job.tasks)
    if len(there):
        click.echo(f"{len(there)} of {count} samples are there from an earlier run")
    write_manifest(out, samples.take(there))

    # Make pairs. Ctrl-C ends this part only: tables of what is done follow all the same.
    progress = Progress(count, len(there), "pairs")

    def finished(rows: NDArray[np.int64]) -> None:
        append_manifest(out, samples.take(rows))
        progress.advance(len(rows))

    outcome = Outcome()
    interrupted = False
    started_s = time.perf_counter()
    try:
        outcome = write_pairs(job, store, np.setdiff1d(np.arange(count), there), finished)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.close()
    elapsed_s = time.perf_counter() - started_s

    # Tables and sheet.
    done = _finished_rows(store, job.tasks)
    store.close()
    reasons = {int(job.tasks.indices[row]): reason for row, reason in outcome.skipped.items()}
    written = write_tables(out, samples.take(done), reasons)
    if len(done):
        write_png(out / "sheet.png", _job_sheet(job, done[:SHEET_PAIRS]), level=6)
        written.append(out / "sheet.png")

    # Report.
    made = len(done) - len(there)
    if made:
        click.echo(f"{made} pairs in {elapsed_s:.1f} s, {made / elapsed_s:.1f} pairs/s")
    folders = [out / Path(name(0)).parent for name in samples.names.values()]
    for path in [*folders, *written]:
        click.echo(f"  {path.resolve()}")
    for note in outcome.notes:
        _warn(note)
    for reason in sorted(set(reasons.values())):
        _warn(reason)
    if interrupted:
        return _complain(
            f"degrade: interrupted with {len(done)} of {count} pairs done; the same command continues", 130
        )
    if reasons:
        return _complain(f"degrade: {len(reasons)} of {count} samples skipped, listed in {out / 'skipped.csv'}", 2)
    click.echo(f"{len(done)} pairs of {_space_text(job.tasks.space)}; try: degrade show {job.tasks.addresses[0]}")
    return 0


def _space_text(space: Space) -> str:
    return f"{space.name}@{space.digest[:8]}"


def _finished_rows(store: PairStore, tasks: TaskBatch) -> NDArray[np.int64]:
    return np.nonzero(np.isin(tasks.indices, np.array(sorted(store.finished()), np.int64)))[0]


def _job_sheet(job: PairJob, rows: NDArray[np.int64]) -> Pixels:
    """Contact sheet of some samples of a job."""
    reader = CropReader(job.images, job.cache_bytes, job.max_pixels)
    tasks = job.tasks.take(rows)
    hr = [reader.read(job.crops, int(row)) for row in rows]
    lr = [to_uint8(pair.lr) for pair in degrade_pairs([to_float(pixels) for pixels in hr], tasks)]
    heading = f"{_space_text(tasks.space)}, seed {tasks.seeds[0]}: HR and LR of samples {tasks.indices[0]} and on"
    return render_sheet(
        pair_rows(tasks, hr, lr), heading, cell_width_px=PAIR_WIDTH_PX, cell_height_px=PAIR_WIDTH_PX // 2
    )


# ---- apply


@cli.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--task", "task_source", required=True, metavar="ADDRESS|FILE", help="A task's address, or a tasks.npz.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option("--space", "space_name", help="TOML file of the space, if the address names one of your own.")
@click.option("--format", "file_format", type=click.Choice(["png", "npy"]), default="png", show_default=True)
@click.option("--with-target", is_flag=True, help="Also write what a loss should compare with: NAME_target.")
@_image_options
def apply(
    images: tuple[Path, ...],
    task_source: str,
    out: Path,
    space_name: str | None,
    file_format: str,
    with_target: bool,
    max_megapixels: float,
    device: str,
) -> int:
    """Degrade IMAGES (files or folders) by one task, or by each task of a file.

    Sides that are not multiples of the scale are cut at the bottom and the right. Noise belongs to the task, not to the
    file: the same address on the same pixels gives the same bits as `degrade sample` wrote, on any machine.

    With one task, results are OUT/NAME.png; with several, OUT/NAME/00000.png and so on, numbered like the tasks.

    \b
    Examples:
      degrade apply photo.jpg --task realesrgan-x4@1f3c9a7e/s7/i123 --out degraded
      degrade apply Set14 --task out/run/tasks.npz --out degraded
    """
    _check_device(device)
    tasks = _load_tasks(task_source, space_name)
    named_paths = _named_images(images)
    progress = Progress(len(named_paths) * len(tasks), unit="images")
    failed = 0
    for name, path in named_paths:
        try:
            hr = _whole_cells(path, tasks.space.scale, _pixels(max_megapixels))
        except (ImageError, OSError) as error:
            progress.close()
            _warn(f"skipped: {error}")
            failed += 1
            continue
        for rows, pairs in degrade_one(to_float(hr).to(device), tasks):
            for row, pair in zip(rows, pairs):
                stem = out / name if len(tasks) == 1 else out / name / f"{row:05d}"
                stem.parent.mkdir(parents=True, exist_ok=True)
                encode = ENCODERS[file_format]
                write_atomic(f"{stem}.{file_format}", encode(to_uint8(pair.lr)))
                if with_target:
                    write_atomic(f"{stem}_target.{file_format}", encode(to_uint8(pair.target)))
            progress.advance(len(rows))
    progress.close()
    click.echo(
        f"{len(named_paths) - failed} of {len(named_paths)} images degraded, {progress.per_second:.1f} results/s"
    )
    click.echo(f"  {out.resolve()}")
    return _complain(f"degrade apply: {failed} of {len(named_paths)} images skipped", 2) if failed else 0


def _load_tasks(source: str, space_name: str | None) -> TaskBatch:
    """One task from its address, or all tasks of a file."""
    if "@" in source and not Path(source).exists():
        return TaskBatch.from_addresses([source], **({} if space_name is None else {"space": Space.load(space_name)}))
    if not Path(source).is_file():
        raise TaskError(f"--task: must be an address (space@digest/sSEED/iINDEX) or a file of tasks, got {source!r}")
    tasks = TaskBatch.load(source)
    if len(tasks) == 0:
        raise TaskError(f"{source}: holds no task")
    return tasks


def _named_images(sources: Sequence[Path]) -> list[tuple[str, Path]]:
    """(name of the result without extension, file) of all images; folders keep their inner structure."""
    named = []
    for source in sources:
        paths = list_images(source) if source.is_dir() else [source]
        folder = source if source.is_dir() else source.parent
        named += [(path.relative_to(folder).with_suffix("").as_posix(), path) for path in paths]
    first_of: dict[str, Path] = {}
    for name, path in named:
        if name in first_of:
            raise ImageError(f"{first_of[name]} and {path}: results would have the same name; run them separately")
        first_of[name] = path
    return named


def _whole_cells(path: Path, scale: int, max_pixels: int) -> Pixels:
    """The image, cut at the bottom and the right to sides that are multiples of the scale; says what it did to it."""
    decoded = decode_image(path, max_pixels)
    height, width = (side - side % scale for side in decoded.pixels.shape[:2])
    if height == 0 or width == 0:
        raise ImageError(f"{path}: sides must be at least the scale {scale}, got {_sides(decoded.pixels)}")
    notes = list(decoded.notes)
    if (height, width) != decoded.pixels.shape[:2]:
        notes.append(f"cut from {_sides(decoded.pixels)} to {width} x {height} px, multiples of the scale {scale}")
    for note in notes:
        click.echo(f"{path}: {note}", err=True)
    return np.ascontiguousarray(decoded.pixels[:height, :width])


def _sides(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


# ---- resize


def _scale(ctx: click.Context, param: click.Parameter, value: str) -> float:
    try:
        return parse_scale(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@cli.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, exists=True))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--scale", callback=_scale, required=True, metavar="1/N|S", help="Output px per input px: 1/4, 0.25, 2.")
@click.option("--kernel", type=click.Choice(KERNELS), default="bicubic", show_default=True)
@click.option("--double", is_flag=True, help="MATLAB after im2double: round once, at the end.")
@click.option("--modcrop", is_flag=True, help="Cut images to multiples of N first, as benchmark sets are.")
@click.option("--suffix", default="", metavar="TEXT", help="Appended to names: x4 gives babyx4.png.")
@click.option(
    "--border", type=click.Choice(BORDERS), default="symmetric", show_default=True, help="At the edges; see above."
)
@click.option("--no-antialias", is_flag=True, help="No low-pass filter when shrinking.")
@click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0, min_open=True),
    default=MAX_PIXELS / 1e6,
    help=f"Refuse larger images and results.  [default: {MAX_PIXELS / 1e6:.0f}]",
)
def resize(
    source: Path,
    out: Path,
    scale: float,
    kernel: Kernel,
    double: bool,
    modcrop: bool,
    suffix: str,
    border: Border,
    no_antialias: bool,
    max_megapixels: float,
) -> int:
    """Resize IN (an image, or a folder with all its subfolders) as MATLAB's imresize does, into PNG files under OUT.

    With one image, OUT may be the name of a PNG file. Gray images stay gray. Running again makes everything again.

    MATLAB rounds uint8 images to whole levels after each of the two passes. Most public benchmark sets are of that kind
    (SwinIR's, SRFBN's and DPSR's Set5), and so are ECO's training pairs, made "without im2double": the default. Code
    that converts to double first (im2double, imresize, imwrite; BasicSR's way) rounds once: --double. On Set5 the two
    differ in 10 to 14 % of the samples, by one or two levels.

    Old MATLAB releases repeated the edge instead of mirroring it; --border replicate reproduces public sets of that
    age (SelfExSR's and RCAN's Set5, Set14, BSD100, Urban100).

    \b
    Examples:
      degrade resize Set5/HR Set5/LR_bicubic/X4 --scale 1/4 --modcrop --suffix x4
      degrade resize photo.jpg small.png --scale 0.5
      degrade resize LR upscaled --scale 4 --double
    """
    n = whole_shrinkage(scale) if modcrop else 1
    pairs = named_results(source, out, suffix)
    if not modcrop and scale < 1 and scale == 1 / round(1 / scale):
        uneven = uneven_images([path for path, _ in pairs], round(1 / scale))
        if uneven:
            _warn(
                f"{uneven} of {len(pairs)} images have sides that are no multiples of {round(1 / scale)}; see --modcrop"
            )
    job = ResizeJob(scale, kernel, not no_antialias, border, double, n, suffix, _pixels(max_megapixels))
    progress = Progress(len(pairs), unit="images")
    done = 0

    def finished() -> None:
        nonlocal done
        done += 1
        progress.advance(1)

    try:
        outcome = resize_images(pairs, job, finished)
    except KeyboardInterrupt:
        progress.close()
        return _complain(f"degrade: interrupted with {done} of {len(pairs)} images done", INTERRUPTED)
    progress.close()
    for line in [*outcome.notes, *(f"skipped: {reason}" for reason in outcome.skipped)]:
        _warn(line)
    click.echo(f"{outcome.done} of {len(pairs)} images resized, {progress.per_second:.1f} images/s")
    click.echo(f"  {(out if source.is_dir() else pairs[0][1]).resolve()}")
    if outcome.skipped:
        return _complain(f"degrade resize: {len(outcome.skipped)} of {len(pairs)} images skipped", 2)
    return 0


# ---- show, preview, spaces


@cli.command()
@click.argument("task_source", metavar="ADDRESS|FILE")
@click.option("--space", "space_name", help="TOML file of the space, if the address names one of your own.")
@click.option("--first", type=click.IntRange(min=1), default=10, show_default=True, help="Tasks of a file to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per task and line.")
def show(task_source: str, space_name: str | None, first: int, as_json: bool) -> None:
    """Say what a task does, in words and numbers.

    \b
    Examples:
      degrade show realesrgan-x4@1f3c9a7e/s7/i123
      degrade show out/run/tasks.npz --first 3
      degrade show out/run/tasks.npz --first 4000 --json > tasks.jsonl
    """
    tasks = _load_tasks(task_source, space_name)
    count = min(first, len(tasks))
    for row in range(count):
        if as_json:
            click.echo(json.dumps(_task_object(tasks, row)))
        else:
            click.echo(tasks.describe(row) + "\n")
    if count < len(tasks):
        click.echo(f"{count} of {len(tasks)} tasks shown (--first)", err=True)


def _task_object(tasks: TaskBatch, row: int) -> dict[str, Any]:
    one = tasks.take([row])
    slots = [slot.name for slot in tasks.space.slots]
    return {
        "address": one.addresses[0],
        "fingerprint": f"{int(one.fingerprints()[0]):016x}",
        "space": tasks.space.name,
        "digest": tasks.space.digest,
        "scale": tasks.space.scale,
        "order": [slots[slot] for slot in one.program[0].tolist() if slot >= 0],
        "columns": {name: _plain(one.labels(name)[0]) for name in tasks.columns},
    }


def _plain(value: Any) -> Any:
    """A NumPy value as JSON knows it; float32 as the shortest decimal that gives it back."""
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value


@cli.command()
@click.option("--space", "space_name", default="realesrgan-x4", show_default=True, help="Preset or TOML file.")
@click.option("--task", "task_source", metavar="ADDRESS|FILE", help="Show these tasks instead of drawing new ones.")
@click.option("--n", "count", type=click.IntRange(1, 200), default=16, show_default=True, help="Rows of the sheet.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True)
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the first sample.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("sheet.png"), show_default=True
)
@_hr_options
def preview(
    space_name: str,
    task_source: str | None,
    count: int,
    seed: int,
    start: int,
    output: Path,
    hr: Path | None,
    hr_size: int | None,
    max_megapixels: float,
    device: str,
) -> None:
    """Draw a contact sheet: one row per task, the image after every slot, with its parameters.

    \b
    Examples:
      degrade preview -o sheet.png
      degrade preview --space bsrgan-x4 --n 8 --hr photos -o bsrgan.png
      degrade preview --task out/run/tasks.npz -o run.png
    """
    _check_device(device)
    if task_source is None:
        tasks = sample_tasks(Space.load(space_name), seed, range(start, start + count))
    else:
        tasks = _load_tasks(task_source, None)
        tasks = tasks.take(np.arange(min(count, len(tasks))))
    images, side_px = _hr_images(hr, hr_size, tasks.space, max_megapixels)
    for line in images.excluded:
        _warn(f"left out: {line}")
    crops = draw_crops(images, seed, tasks.indices, side_px)
    reader = CropReader(images, max_pixels=_pixels(max_megapixels))
    hr_crops = [to_float(reader.read(crops, row)).to(device) for row in range(len(tasks))]
    rows = stage_rows(tasks, trace(hr_crops, tasks))
    heading = f"{_space_text(tasks.space)}, scale {tasks.space.scale}: each row one task, from HR to LR"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_png(output, render_sheet(rows, heading), level=6)
    click.echo(str(output.resolve()))


@cli.command()
def spaces() -> None:
    """List the presets: name, digest, scale, slots, source."""
    presets = [Space.load(name) for name in preset_names()]
    width = max(len(space.name) for space in presets)
    for space in presets:
        click.echo(
            f"{space.name:{width}}  {space.digest[:8]}  x{space.scale}  {' '.join(slot.name for slot in space.slots)}"
        )
        click.echo(f"{'':{width}}  {space.source}\n")
