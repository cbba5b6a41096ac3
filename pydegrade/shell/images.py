"""Commands that walk over images: what results are called, and one fate for each image."""

from __future__ import annotations

import gc
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ImageError, is_out_of_memory
from ..files.paths import list_images, unique_names
from .errors import BAD_INPUT, DONE, INTERRUPTED, exit_code, os_error_text
from .progress import Progress
from .text import complain, say


@dataclass(frozen=True)
class Item:
    """One image of a run.

    Attributes:
        name: what its result is called below the output folder, without ending, "/" between folders.
        path: the file.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Items:
    """The images of a run.

    Attributes:
        images: all of them.
        unreadable: one line for each folder that cannot be opened; every one counts as an image that failed.
        folders: that were searched.
    """

    images: tuple[Item, ...]
    unreadable: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def inputs(self) -> list[Path]:
        """What is read: no result may replace a file of it, or lie in a folder of it."""
        return [*(item.path for item in self.images), *self.folders]


def find_items(sources: Sequence[Path], results_of: Callable[[str], Iterable[str]] = lambda name: (name,)) -> Items:
    """All images of files and folders, folders searched with everything below them, each with a name of its own.

    Names are paths relative to the folder, without ending. Where that would give two images one result, the ending stays
    in the name: x.jpg beside x.png gives "x.jpg" and "x". Images of one relative path in several folders get the
    folder's name in front. A file that is named twice is taken once.

    Args:
        sources: files and folders that exist.
        results_of: name -> names of all results, if these could be equal for different names.
    Raises:
        ImageError: a folder without images, or names that stay equal.
    """
    # Every file once, with its place in its folder.
    found: dict[Path, tuple[Path, Path]] = {}
    unreadable: list[str] = []
    for source in sources:
        paths: Sequence[Path] = [source]
        if source.is_dir():
            listed = list_images(source)
            paths = listed.paths
            say_left_out(listed.left_out)
            unreadable += listed.unreadable
        for path in paths:
            relative = path.relative_to(source) if source.is_dir() else Path(source.name)
            found.setdefault(_same(path), (relative, path))
    places = Counter(relative for relative, _ in found.values())
    relatives = [
        Path(path.resolve().parents[len(relative.parts) - 1].name, relative) if places[relative] > 1 else relative
        for relative, path in found.values()
    ]
    names = unique_names(relatives, results_of)
    images = tuple(Item(name, path) for name, (_, path) in zip(names, found.values()))
    return Items(images, tuple(unreadable), tuple(source for source in sources if source.is_dir()))


def check_suffix(suffix: str) -> None:
    """Refuse a suffix of names that would lead to another folder.

    Raises:
        ImageError: it holds a slash.
    """
    if re.search(r"[/\\\0]", suffix):
        raise ImageError(f"--suffix: must not contain slashes, got {suffix!r}")


def _same(path: Path) -> Path:
    """The same value for all spellings of one file; links stay files of their own."""
    return path.parent.resolve() / path.name


@dataclass
class Fates:
    """What became of the images of a run.

    Attributes:
        total: how many there are.
        done: how many have their results.
        failed: one line for each that has not.
        interrupted: whether Ctrl-C ended the run.
    """

    total: int
    done: int = 0
    failed: list[str] = field(default_factory=list)
    interrupted: bool = False

    def end(self, command: str) -> int:
        """Say how many images failed; the exit code."""
        if self.interrupted:
            left = f"interrupted with {self.done} of {self.total} images done; the same command continues"
            return complain(f"{command}: {left}", INTERRUPTED)
        if self.failed:
            return complain(f"{command}: {len(self.failed)} of {self.total} images skipped", BAD_INPUT)
        return DONE


def each(
    pending: Sequence[Item],
    make: Callable[[Item], Iterable[str]],
    progress: Progress,
    *,
    items: Items | None = None,
    workers: int = 1,
    steps: int = 1,
    memory_hint: str = "",
) -> Fates:
    """Do every image; one that is damaged, gone, changed, too large for the limit or for the memory is named and
    counted, and the others are done.

    Args:
        pending: what to do.
        make: reads, computes and writes one; returns notes ("alpha channel dropped"), which are printed with the file's
            name. Errors of the disk must come as `WriteError`: these end the run.
        progress: gets a step per image; closed at the end.
        items: the whole run, whose other images are done already; None: these are all.
        workers: threads.
        steps: of `progress` per image; 0: `make` counts.
        memory_hint: what to do about an image that is too large for the memory.
    """
    items = items or Items(tuple(pending))
    fates = Fates(len(items.images) + len(items.unreadable), len(items.images) - len(pending), [*items.unreadable])

    def note(item: Item, result: Callable[[], Iterable[str]]) -> None:
        try:
            for text in result():
                progress.say(f"note: {item.path}: {text}")
            fates.done += 1
        except BrokenPipeError:
            raise  # who read stdout is gone; no image is to blame
        except Exception as error:
            if is_out_of_memory(error):
                _free_memory()
                reason = f"out of memory; {memory_hint}" if memory_hint else "out of memory"
            elif isinstance(error, OSError):
                reason = os_error_text(error)
            elif exit_code(error) == BAD_INPUT:
                reason = str(error)
            else:
                raise
            _fail(fates, progress, item, reason)
        progress.advance(steps)

    try:
        if workers <= 1:
            for item in pending:
                note(item, lambda item=item: make(item))  # type: ignore[misc]
        else:
            _in_threads(pending, make, note, workers)
    except KeyboardInterrupt:
        fates.interrupted = True
    finally:
        progress.close()
    return fates


def _in_threads(
    items: Sequence[Item],
    make: Callable[[Item], Iterable[str]],
    note: Callable[[Item, Callable[[], Iterable[str]]], None],
    workers: int,
) -> None:
    def made(item: Item) -> list[str]:
        return list(make(item))

    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures: dict[Future[list[str]], Item] = {pool.submit(made, item): item for item in items}
        try:
            for future in as_completed(futures):
                note(futures[future], future.result)
        finally:
            # After Ctrl-C: what is being written gets finished, the rest is dropped.
            pool.shutdown(wait=True, cancel_futures=True)


def _fail(fates: Fates, progress: Progress, item: Item, reason: str) -> None:
    line = reason if str(item.path) in reason else f"{item.path}: {reason}"
    fates.failed.append(line)
    progress.say(f"warning: skipped: {line}")


def _free_memory() -> None:
    """After running out of memory: let the next image begin with what there is."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def say_notes(path: Path, notes: Iterable[str]) -> None:
    """Say what had to be converted or left out of an image that a command reads by itself."""
    for note in notes:
        say(f"note: {path}: {note}", err=True)


def say_left_out(lines: Sequence[str]) -> None:
    """Name files that a search left out."""
    for line in lines:
        say(f"warning: left out: {line}", err=True)
