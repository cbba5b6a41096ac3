"""A run of `degrade sample`: a folder of pairs and the tables about them, valid whenever the process ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ... import __version__
from ...engine import degrade_pairs
from ...errors import OutputError
from ...files.dataset import Augment, CropReader
from ...files.lock import folder_lock
from ...files.pixels import Pixels, to_float, to_uint8
from ...files.sample_manifest import (
    SUMS_FILE,
    PairStore,
    RunIdentity,
    Samples,
    append_manifest,
    open_run,
    open_store,
    write_manifest,
    write_sums,
    write_tables,
)
from ...files.write import write_image
from ...native import binding
from ...sheet import PAIR_WIDTH_PX, pair_rows, render_sheet
from ...shell.progress import Progress
from ...shell.shards import merge_line, shard_folder
from ...shell.text import say
from ...tasks.space import Space
from ...tasks.task import TaskBatch
from .pairs import Outcome, SampleRequest, crop_or_reason, write_pairs
from .sample_record import Finished, SourceDigests, append_samples, read_samples, still_finished, write_samples

SHEET_PAIRS = 24


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a run: its samples number, number + count, ...

    Attributes:
        number: in [0, count).
        count: how many parts.
        tasks: of the whole run, at least `count`.
    """

    number: int
    count: int
    tasks: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @staticmethod
    def of(place: tuple[int, int], tasks: int) -> Shard:
        """The shard of (number, count).

        Raises:
            OutputError: one of them would be empty.
        """
        if place[1] > tasks:
            raise OutputError(f"--shard: {tasks} samples make at most {tasks} shards, got {place[1]}")
        return Shard(*place, tasks)

    @property
    def rows(self) -> slice:
        """Of the whole run's tasks."""
        return slice(self.number, None, self.count)

    def folder(self, out: Path) -> Path:
        """Where it goes: OUT-I-of-N, beside OUT."""
        return shard_folder(out, (self.number, self.count))

    def merge_line(self, out: Path) -> str:
        """What a shell makes one folder of, once all parts are there."""
        return merge_line(out, self.count)


@dataclass(frozen=True)
class RunOptions:
    """What identifies a run beside its tasks and images.

    Attributes:
        start: index of the first sample.
        file_format: one of `files.sample_manifest.FORMATS`.
        augment: how crops are mirrored.
        addresses: see `RunIdentity.addresses`.
        shard: where the tasks are those of one part of the run.
    """

    start: int
    file_format: str
    augment: Augment
    addresses: str = ""
    shard: Shard | None = None


@dataclass(frozen=True)
class SampleOutcome:
    """What a run left.

    Attributes:
        made: pairs, or clips, of this run.
        finished: those in the folder.
        seconds: of making them.
        written: folders and files, for people.
        reasons: sample number -> why it was skipped.
        notes: one line for each photograph that had to be converted.
        interrupted: whether Ctrl-C ended it.
    """

    made: int
    finished: int
    seconds: float
    written: tuple[Path, ...]
    reasons: Mapping[int, str]
    notes: tuple[str, ...]
    interrupted: bool


def write_parameters(out: Path, tasks: TaskBatch, more: Mapping[str, TaskBatch]) -> list[Path]:
    """The tables of a run without images, `more` as in `SampleRequest`; what was written."""
    space = tasks.space
    identity = RunIdentity(
        space.name, space.digest, int(tasks.seeds[0]), int(tasks.indices[0]), "", 0, "none", more=_spaces_of(more)
    )
    with folder_lock(out):
        open_run(out, identity, len(tasks), facts_of(space))
        return write_tables(out, Samples(tasks, more=more), {})


def _spaces_of(more: Mapping[str, TaskBatch]) -> str:
    """What `RunIdentity.more` says."""
    return ", ".join(f"{name} {tasks.space.name}@{tasks.space.digest}" for name, tasks in more.items())


def make_pairs(out: Path, request: SampleRequest, options: RunOptions) -> SampleOutcome:
    """Make the missing pairs of a run, then its tables and its sheet.

    Args:
        out: the run's folder: new, empty, or of the same run.
        request: what to make.
        options: what else identifies it.
    Raises:
        OutputError: another process writes here.
        RecordError: the folder holds something else.
    """
    tasks, space, kinds = request.tasks, request.tasks.space, request.kinds
    side_px, count = request.crops.side_px, len(request.tasks)
    identity = RunIdentity(
        space.name, space.digest, int(tasks.seeds[0]), options.start, request.images.digest, side_px,
        options.file_format, options.augment, options.addresses, "" if options.shard is None else str(options.shard),
        more=_spaces_of(request.more), crops=1 + len(request.further),
    )  # fmt: skip
    facts = {
        **facts_of(space),
        "hr": request.images.origin,
        "hr_images": len(request.images.images),
        "images_per_sample": list(kinds),
    }
    with folder_lock(out):
        open_run(out, identity, count if options.shard is None else options.shard.tasks, facts)
        store = open_store(out, kinds, options.file_format, raw_bytes=3 * side_px**2 * len(kinds) * count)
        names = {kind: partial(store.name, kind) for kind in kinds}
        samples = Samples(tasks, request.crops, request.images, names, request.more, request.further)
        return _filled(out, request, store, samples, options.file_format)


def facts_of(space: Space) -> dict[str, Any]:
    """What run.json holds for people beside what identifies the run."""
    versions = {"pydegrade": __version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"scale": space.scale, "source": space.source, "versions": versions}


def _filled(out: Path, request: SampleRequest, store: PairStore, samples: Samples, file_format: str) -> SampleOutcome:
    count = len(request.tasks)
    digests = SourceDigests(request.images)
    record = read_samples(out)
    before = still_finished(record, request.tasks.indices, request.crops, store, digests, binding.get_num_threads() + 1)
    record = {index: record[index] for index in request.tasks.indices[before].tolist()}
    if len(before):
        say(f"{len(before)} of {count} samples are there from an earlier run")
    write_samples(out, record)
    write_manifest(out, samples.take(before))

    # Make pairs. Ctrl-C ends this part only: tables of what is done follow all the same.
    progress = Progress(count, len(before), "pairs")

    def finished(rows: NDArray[np.int64], made: dict[int, Finished]) -> None:
        append_samples(out, made)
        record.update(made)
        append_manifest(out, samples.take(rows))
        progress.advance(len(rows))

    outcome = Outcome()
    interrupted = False
    started_s = time.perf_counter()
    try:
        outcome = write_pairs(request, store, np.setdiff1d(np.arange(count), before), digests, finished)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.close()
    seconds = time.perf_counter() - started_s

    # Tables and sheet.
    done = np.nonzero(np.isin(request.tasks.indices, np.array(sorted(record), np.int64)))[0]
    store.close()
    write_samples(out, record)
    reasons = {int(request.tasks.indices[row]): reason for row, reason in outcome.skipped.items()}
    written = write_tables(out, samples.take(done), reasons)
    write_sums(out, file_format, list(samples.names), {index: one.sha256 for index, one in record.items()})
    written.append(out / SUMS_FILE)
    sheet = _sheet(request, done[:SHEET_PAIRS])
    if sheet is not None:
        write_image(out / "sheet.png", sheet, level=3)
        written.append(out / "sheet.png")
    folders = [out / Path(name(0)).parent for name in samples.names.values()]
    return SampleOutcome(
        len(done) - len(before), len(done), seconds, (*folders, *written), reasons, outcome.notes, interrupted
    )


def _sheet(request: SampleRequest, rows: NDArray[np.int64]) -> Pixels | None:
    """Contact sheet of some samples of a request, without those whose image is gone by now; None when none is left."""
    reader = CropReader(request.images, request.cache_bytes, request.max_pixels)
    crops = {int(row): crop_or_reason(reader, request.images, request.crops, int(row)) for row in rows}
    hr = {row: crop for row, crop in crops.items() if not isinstance(crop, str)}
    if not hr:
        return None
    tasks = request.tasks.take(np.array(list(hr)))
    lr = [to_uint8(pair.lr) for pair in degrade_pairs([to_float(pixels) for pixels in hr.values()], tasks)]
    return sheet_of(tasks, list(hr.values()), lr, int(request.tasks.indices[0]))


def sheet_of(tasks: TaskBatch, hr: list[Pixels], lr: list[Pixels], first: int) -> Pixels:
    """Contact sheet of a run: its first samples, HR beside LR; `first` is the number of the run's first sample."""
    space = f"{tasks.space.name}@{tasks.space.digest[:8]}"
    heading = f"{space}, seed {tasks.seeds[0]}: HR and LR of samples {first} and on"
    return render_sheet(
        pair_rows(tasks, hr, lr), heading, cell_width_px=PAIR_WIDTH_PX, cell_height_px=PAIR_WIDTH_PX // 2
    )
