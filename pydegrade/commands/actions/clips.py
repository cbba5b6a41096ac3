"""A run of `degrade sample --clips`: folders or video files of frames, degraded, and the tables about them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...engine import Pair, degrade_batch
from ...errors import ImageError
from ...files.atomic import make_folder, write_atomic
from ...files.clips import ClipSource, encode_video, find_clips, read_frames
from ...files.dataset import Augment, Crops, HrImage, HrImages, draw_crops, fitting_px
from ...files.lock import folder_lock
from ...files.paths import as_image_error, csv_cell, display_name, sha256_of_file
from ...files.pixels import Pixels, to_float, to_uint8
from ...files.sample_manifest import (
    MANIFEST_FILE,
    SUMS_FILE,
    RunIdentity,
    open_run,
    sha256_of,
    tables_of,
    write_sums_of,
    write_task_tables,
)
from ...files.write import encode_png
from ...native import rng
from ...shell.errors import os_error_text
from ...shell.progress import Progress
from ...tasks.space import Space
from ...tasks.task import TaskBatch
from .pairs import kinds_of
from .sample import SampleOutcome, facts_of
from .sample_record import Finished, append_samples, read_samples, write_samples

FORMATS = ("png", "mkv")


@dataclass(frozen=True)
class ClipCrops:
    """What is cut from which clip for each sample.

    Attributes:
        clips: all that hold so many frames.
        excluded: one line for each that was left out.
        crops: squares; `image` is the position of the clip.
        first: int64 [N], number of the first frame.
        frames: how many.
    """

    clips: tuple[ClipSource, ...]
    excluded: tuple[str, ...]
    crops: Crops
    first: NDArray[np.int64]
    frames: int

    @property
    def images(self) -> HrImages:
        return _as_images(self.clips)


def _as_images(clips: Sequence[ClipSource]) -> HrImages:
    """Each clip as an image: what crops are drawn from, and the digest of a run."""
    found = [
        HrImage(f"{clip.name} {clip.count}", clip.path, clip.height, clip.width, clip.size_bytes) for clip in clips
    ]
    return HrImages("clips", tuple(found), ())


def clip_crops(
    source: Path,
    frames: int,
    hr_size_px: int | None,
    space: Space,
    seed: int,
    indices: NDArray[np.int64],
    augment: Augment,
    max_pixels: int,
) -> ClipCrops:
    """Find clips and draw what is cut from them: uniform over clips, then over places in time and in the frame.

    Args:
        source: a folder or a video file (`find_clips`).
        frames: of each sample.
        hr_size_px: side of the squares; None: the space's, or what nine tenths of the clips hold.
        space: gives scale and usual side.
        seed, indices: of the samples.
        augment: how squares are mirrored, all frames alike.
        max_pixels: limit of a single frame.
    Raises:
        ImageError: nothing that can be used. OpError: a video file, and no PyAV.
    """
    if hr_size_px is not None and hr_size_px % space.scale:
        raise ImageError(f"--hr-size: must be a multiple of the scale {space.scale}, got {hr_size_px}")
    found, excluded = find_clips(source, max_pixels)
    short = [
        f"{clip.path}: {clip.count} frames, expected at least {frames} (--clips)"
        for clip in found
        if clip.count < frames
    ]
    long = [clip for clip in found if clip.count >= frames and min(clip.height, clip.width) >= space.scale]
    if not long:
        raise ImageError(f"{source}: no clip of {frames} frames among {len(found)}: {(short or ['too small'])[0]}")
    side = hr_size_px if hr_size_px is not None else fitting_px(_as_images(long), space)[0]
    small = [
        f"{clip.path}: {clip.width} x {clip.height} px, smaller than the crop of {side} px (--hr-size)"
        for clip in long
        if min(clip.height, clip.width) < side
    ]
    kept = tuple(clip for clip in long if min(clip.height, clip.width) >= side)
    if not kept:
        raise ImageError(f"{source}: no usable clip among {len(found)}: {small[0]}")
    crops = draw_crops(_as_images(kept), seed, indices, side, augment)
    u = rng.uniforms(seed, np.ascontiguousarray(indices), [("data.first_frame", 0)])[:, 0]
    starts = np.array([clip.count - frames + 1 for clip in kept], np.int64)[crops.image]
    first = np.minimum(np.floor(u * starts).astype(np.int64), starts - 1)
    return ClipCrops(kept, (*excluded, *short, *small), crops, first, frames)


def make_clips(
    out: Path, tasks: TaskBatch, cut: ClipCrops, file_format: str, augment: Augment, max_pixels: int, device: str
) -> SampleOutcome:
    """Make the clips of a run that are not there yet, then its tables.

    Args:
        out: the run's folder: new, empty, or of the same run.
        tasks: of the frames of all samples, one clip after the other.
        cut: what they are made from.
        file_format: "png", a folder of frames for each clip, or "mkv", a file of FFV1.
        augment: how crops were drawn.
        max_pixels: limit of a single frame.
        device: where they are degraded.
    Raises:
        OutputError: another process writes here. RecordError: the folder holds something else.
    """
    space, kinds, count = tasks.space, kinds_of(tasks), len(cut.first)
    identity = RunIdentity(
        space.name, space.digest, int(tasks.seeds[0]), int(tasks.indices[0]), cut.images.digest, cut.crops.side_px,
        "png", augment, clips=f"{cut.frames} {file_format}",
    )  # fmt: skip
    reasons: dict[int, str] = {}
    interrupted, made, started_s = False, 0, time.perf_counter()
    with folder_lock(out):
        open_run(out, identity, count, {**facts_of(space), "frames": cut.frames})
        files = [_files(kinds, index, cut.frames, file_format) for index in cut.crops.index.tolist()]
        record, digests = read_samples(out), _SourceDigests()
        finished: dict[int, Finished] = {}
        progress = Progress(count, 0, "clips")
        try:
            for row, index in enumerate(cut.crops.index.tolist()):
                try:
                    source = digests.of(cut, row)
                    if index not in record or record[index] != Finished(_sums(out, files[row]), source):
                        images = _made(
                            tasks.take(slice(row * cut.frames, (row + 1) * cut.frames)), cut, row, max_pixels, device
                        )
                        sums = [one for kind in kinds for one in _put(out, kind, index, images[kind], file_format)]
                        record[index] = Finished(tuple(sums), source)
                        append_samples(out, {index: record[index]})
                        made += 1
                    finished[index] = record[index]
                except ImageError as error:
                    reasons[index] = str(error)
                progress.advance(1)
        except KeyboardInterrupt:
            interrupted = True
            # Also what an earlier start left behind the place that this one has come to.
            for index, names in zip(cut.crops.index.tolist(), files):
                if index in record and index not in reasons and all((out / name).is_file() for name in names):
                    finished[index] = record[index]
        finally:
            progress.close()
        seconds = time.perf_counter() - started_s
        there = [row for row, index in enumerate(cut.crops.index.tolist()) if index in finished]
        rows = np.array([row * cut.frames + frame for row in there for frame in range(cut.frames)], np.int64)
        write_samples(out, finished)
        write_atomic(out / MANIFEST_FILE, _manifest(tasks, cut, kinds, file_format, there).encode())
        written = write_task_tables(out, tasks.take(rows), reasons)
        sums_of_files = {
            name: one for row in there for name, one in zip(files[row], finished[int(cut.crops.index[row])].sha256)
        }
        write_sums_of(out, sums_of_files, tables_of(out, "png", kinds))
    places = (*(out / kind for kind in kinds), out / MANIFEST_FILE, *written, out / SUMS_FILE)
    return SampleOutcome(made, len(there), seconds, places, reasons, (), interrupted)


def _name(kind: str, index: int, file_format: str) -> str:
    return f"{kind}/{index:06d}" + (".mkv" if file_format == "mkv" else "")


def _frame_name(number: int) -> str:
    return f"{number:05d}.png"


def _files(kinds: Sequence[str], index: int, frames: int, file_format: str) -> list[str]:
    """Names of all files of a sample, kind by kind, frame by frame."""
    clips = [_name(kind, index, file_format) for kind in kinds]
    if file_format == "mkv":
        return clips
    return [f"{clip}/{_frame_name(number)}" for clip in clips for number in range(frames)]


def _sums(out: Path, names: Sequence[str]) -> tuple[str, ...]:
    """SHA-256 of each; none where one of them cannot be read."""
    try:
        return tuple(sha256_of_file(out / name) for name in names)
    except (ImageError, OSError):
        return ()


class _SourceDigests:
    """SHA-256 of what samples are cut from: of the files of their frames, or of a video file; each file is read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, cut: ClipCrops, row: int) -> str:
        """Of the clip of a sample.

        Raises:
            ImageError: a file cannot be read.
        """
        clip, first = cut.clips[int(cut.crops.image[row])], int(cut.first[row])
        sums = []
        for path in clip.files[first : first + cut.frames] or (clip.path,):
            try:
                sums.append(self._known.get(path) or sha256_of_file(path))
            except OSError as error:
                raise as_image_error(path, error) from None
            self._known[path] = sums[-1]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _made(tasks: TaskBatch, cut: ClipCrops, row: int, max_pixels: int, device: str) -> dict[str, list[Pixels]]:
    """Frames of one sample by kind.

    Raises:
        ImageError: its frames cannot be read.
    """
    clip = cut.clips[int(cut.crops.image[row])]
    try:
        frames = read_frames(clip, int(cut.first[row]), cut.frames, max_pixels)
        hr = [_square(pixels, cut.crops, row) for pixels in frames]
    except OSError as error:
        raise ImageError(os_error_text(error)) from None
    except MemoryError:
        raise ImageError(f"{display_name(clip.path)}: out of memory") from None
    pair: Pair = degrade_batch(torch.stack([to_float(pixels) for pixels in hr]).to(torch.device(device)), tasks)
    return {"hr": hr, "target": [to_uint8(one) for one in pair.target], "lr": [to_uint8(one) for one in pair.lr]}


def _square(pixels: Pixels, crops: Crops, row: int) -> Pixels:
    top, left = int(crops.top[row]), int(crops.left[row])
    square = pixels[top : top + crops.side_px, left : left + crops.side_px]
    square = square[:, ::-1] if crops.hflip[row] else square
    square = square[::-1] if crops.vflip[row] else square
    return np.array(square.transpose(1, 0, 2) if crops.transpose[row] else square, order="C")


def _put(out: Path, kind: str, index: int, frames: Sequence[Pixels], file_format: str) -> tuple[str, ...]:
    """Store a clip as a file, or as a folder of frames, which has its name once all of them are there.

    Where a folder has that name already, its frames are replaced one by one, and what else lies there stays.

    Returns:
        SHA-256 of each file.
    """
    path = out / _name(kind, index, file_format)
    if file_format == "mkv":
        content = encode_video(frames)
        write_atomic(path, content)
        return sha256_of([content])
    contents = [encode_png(pixels) for pixels in frames]
    names = [_frame_name(number) for number in range(len(contents))]
    partial = path.with_name(f".{path.name}.partial")
    make_folder(path.parent)
    shutil.rmtree(partial, ignore_errors=True)
    for name, content in zip(names, contents):
        write_atomic((path if path.is_dir() else partial) / name, content)
    if not path.is_dir():
        os.replace(partial, path)
    return sha256_of(contents)


def _manifest(tasks: TaskBatch, cut: ClipCrops, kinds: Sequence[str], file_format: str, rows: Sequence[int]) -> str:
    """One line for each clip: what it was cut from, by which task, and where it lies."""
    addresses = tasks.clip_addresses
    crops = cut.crops
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    squares = ("top_px", "left_px", "side_px", "hflip", "vflip", "transpose")
    writer.writerow(["index", "address", "source", "first_frame", "frames", *squares, *kinds])
    for row in rows:
        index = int(crops.index[row])
        place: list[Any] = [crops.top[row], crops.left[row], crops.side_px]
        place += [int(flags[row]) for flags in (crops.hflip, crops.vflip, crops.transpose)]
        source = csv_cell(cut.clips[int(crops.image[row])].name)
        names = [_name(kind, index, file_format) for kind in kinds]
        writer.writerow([index, csv_cell(addresses[row]), source, cut.first[row], cut.frames, *place, *names])
    return stream.getvalue()
