"""What `degrade fit` does: photographs in, a space and its page out."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import OutputError
from ...files.dataset import find_images
from ...files.lock import folder_lock
from ...fitting.fit import check_start, fit, steps_of
from ...fitting.prior import wide_space
from ...fitting.simulate import Simulator, holding, side_for
from ...fitting.space_file import FIRST_LINE, said
from ...shell.errors import INTERRUPTED
from ...shell.outputs import write_file
from ...shell.progress import Progress
from ...shell.text import absolute, complain, say, warn
from ...tasks.space import Space
from .fit_page import PAGE_BEGINS, fit_page
from .photographs import read_all, shorter_sides_px


@dataclass(frozen=True)
class FitOptions:
    """What was asked for; see `degrade fit --help`."""

    output: Path
    page: Path
    start: str | None
    scale: int | None
    clean: Path | None
    simulations: int
    seed: int
    max_pixels: int


def check_is_fitted(output: Path, page: Path) -> None:
    """Refuse to replace a space or a page that somebody wrote.

    Raises:
        OutputError: a file is there, and not from `degrade fit`.
    """
    for path, begins in ((output, FIRST_LINE), (page, PAGE_BEGINS)):
        if not path.is_file():
            continue
        with path.open("rb") as stream:
            head = stream.read(len(begins))
        if head not in (b"", begins.encode()):
            raise OutputError(f"-o: {path} is a file that degrade fit did not write; choose another name")


def fit_photographs(sources: Sequence[Path], options: FitOptions) -> int:
    """Learn, write, say; the exit code.

    Raises:
        PydegradeError: photographs, clean images or the space to begin with cannot be used.
    """
    started_s = time.perf_counter()
    start = wide_space(options.scale or 4) if options.start is None else Space.load(options.start)
    if options.start is not None and options.scale not in (None, start.scale):
        raise OutputError(
            f"--scale: {start.name} has scale {start.scale}, got {options.scale}; leave one of the two out"
        )
    check_start(start)
    items, sides = shorter_sides_px(sources, options.max_pixels)
    clean = find_images([options.clean] if options.clean else [], side_px=start.scale, max_pixels=options.max_pixels)
    side = side_for(clean, start.scale, sides)
    simulator = Simulator(start, holding(clean, side * start.scale), side, options.seed, options.max_pixels)
    photographs, fates = read_all(items, side, options.max_pixels)
    if fates.interrupted:
        return fates.end("degrade fit")

    kept = options.output.with_name(f".{options.output.stem}.fit.npz")
    folder = options.output.resolve().parent
    progress = Progress(steps_of(options.simulations), unit="simulations")
    try:
        with folder_lock(folder):
            found = fit(photographs, simulator, options.simulations, options.output.stem, kept, progress.reach)
            progress.close()
            made = fit_page(photographs, found, simulator)
            write_file(options.output, found.text.encode())
            write_file(options.page, made)
    except KeyboardInterrupt:
        return complain(
            "degrade fit: interrupted; the same command goes on with the simulations that are there", INTERRUPTED
        )
    finally:
        progress.close()

    used, images = len(photographs), len(simulator.images.images)
    say(f"{used} photograph{'s' if used > 1 else ''}, squares of {side} px, {time.perf_counter() - started_s:.0f} s")
    say(f"{options.simulations} simulations of {start.name} on {images} clean images")
    for fact in found.facts:
        say(fact)
    for one in found.populations:
        if one.identified:
            say(f"  {said(one)}")
    for note in found.notes:
        warn(note)
    for path in (options.output, options.page):
        say(absolute(path))
    seen = " ".join(shlex.quote(str(path)) for path in sources[:1])
    say(f"try: degrade gallery {shlex.quote(str(options.output))} --photographs {seen}")
    return fates.end("degrade fit")
