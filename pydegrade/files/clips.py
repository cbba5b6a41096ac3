"""Clips: frames from folders and from video files, and lossless video files of frames.

A video file is opened as what its ending says and read through a handle of this process: nothing that stands in it makes
another file or address be opened.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from ..ops.video import pyav
from .paths import as_image_error, display_name, list_images, natural_key, open_regular
from .pixels import Pixels
from .read import read_header, read_image

VIDEO_ENDINGS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi",
}  # fmt: skip
"""Endings of video files, and FFmpeg's names of what they hold."""


@dataclass(frozen=True)
class ClipSource:
    """Frames that follow each other: a folder of images, or a video file.

    Attributes:
        name: relative to the folder that was searched, "/" between parts; "." for that folder itself.
        path: the folder, or the file.
        height, width: px, of every frame.
        count: frames.
        size_bytes: of all files.
        files: images in natural order; empty for a video file.
    """

    name: str
    path: Path
    height: int
    width: int
    count: int
    size_bytes: int
    files: tuple[Path, ...] = ()


def find_clips(source: Path, max_pixels: int) -> tuple[tuple[ClipSource, ...], tuple[str, ...]]:
    """Clips in a folder and below it, in natural order of their names, or the one of a video file.

    Args:
        source: a video file; or a folder, of which every folder with images is a clip, and every video file.
        max_pixels: limit of a single frame.
    Returns:
        (clips, one line for each that was left out with the reason).
    Raises:
        ImageError: nothing there, or nothing that can be used. OpError: a video file, and no PyAV.
    """
    found: list[ClipSource] = []
    left_out: list[str] = []

    def take(make: Any, *arguments: Any) -> None:
        try:
            found.append(make(*arguments))
        except (ImageError, OSError) as error:
            left_out.append(str(error if isinstance(error, ImageError) else as_image_error(arguments[1], error)))

    if source.is_file() and source.suffix.lower() in VIDEO_ENDINGS:
        take(_of_video, source.name, source, max_pixels)
    elif source.is_dir():
        for name, folder, files, videos in _folders(source, left_out):
            if files:
                take(_of_folder, name, folder, files, max_pixels)
            for path in videos:
                take(_of_video, path.relative_to(source).as_posix(), path, max_pixels)
    if not found:
        endings = ", ".join(VIDEO_ENDINGS)
        more = f": {left_out[0]}" if left_out else ""
        raise ImageError(
            f"{display_name(source)}: must be a folder that holds folders of frames or video files ({endings}), got "
            f"none{more}"
        )
    found.sort(key=lambda clip: natural_key(clip.name))
    return tuple(found), tuple(left_out)


def _folders(source: Path, left_out: list[str]) -> Iterator[tuple[str, Path, list[Path], list[Path]]]:
    """(name, folder, images, videos) of a folder and all below it. Links to folders are not followed."""
    waiting = [source]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError as error:
            left_out.append(str(as_image_error(folder, error)))
            continue
        below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
        waiting += below[::-1]
        videos = [
            Path(entry.path)
            for entry in entries
            if entry.is_file() and entry.name[0] != "." and Path(entry.name).suffix.lower() in VIDEO_ENDINGS
        ]
        try:
            images = list(list_images(folder, recursive=False).paths)
        except ImageError:
            images = []
        yield folder.relative_to(source).as_posix(), folder, images, videos


def _of_folder(name: str, folder: Path, files: Sequence[Path], max_pixels: int) -> ClipSource:
    headers = [read_header(path, max_pixels) for path in files]
    first = headers[0]
    for path, header in zip(files, headers):
        if (header.height, header.width) != (first.height, first.width):
            raise ImageError(
                f"{display_name(folder)}: frames must have one size, got {first.width} x {first.height} px in "
                f"{display_name(files[0].name)} and {header.width} x {header.height} px in {display_name(path.name)}"
            )
    total = sum(header.file_bytes for header in headers)
    return ClipSource(name, folder, first.height, first.width, len(files), total, tuple(files))


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[tuple[Any, Any]]:
    """(container, video stream) of a file; ImageError, one line, for what FFmpeg cannot read."""
    av = pyav()
    with open_regular(path) as file:
        try:
            with av.open(file, format=VIDEO_ENDINGS[path.suffix.lower()], metadata_errors="ignore") as container:
                if not container.streams.video:
                    raise ImageError(f"{display_name(path)}: holds no video")
                stream = container.streams.video[0]
                height, width = stream.codec_context.height, stream.codec_context.width
                if not 0 < height * width <= max_pixels:
                    raise ImageError(
                        f"{display_name(path)}: frames of {width} x {height} px, the limit is {max_pixels} px "
                        "(--max-megapixels)"
                    )
                stream.codec_context.thread_count = 1
                yield container, stream
        except (av.FFmpegError, ValueError, EOFError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
            raise ImageError(f"{display_name(path)}: cannot be read as a video: {reason}") from None


def _of_video(name: str, path: Path, max_pixels: int) -> ClipSource:
    with _opened(path, max_pixels) as (container, stream):
        count = sum(1 for packet in container.demux(stream) if packet.size)
        if not count:
            raise ImageError(f"{display_name(path)}: holds no frames")
        context = stream.codec_context
        return ClipSource(name, path, context.height, context.width, count, path.stat().st_size)


def read_frames(clip: ClipSource, first: int, count: int, max_pixels: int) -> Iterator[Pixels]:
    """`count` frames from number `first` on, uint8 [H, W, 3], one after the other.

    Raises:
        ImageError: a frame that cannot be decoded or has another size by now; fewer frames than there seemed to be.
    """
    given = 0
    for pixels in _decoded(clip, first, count, max_pixels):
        if pixels.shape[:2] != (clip.height, clip.width):
            raise ImageError(
                f"{display_name(clip.path)}: frames must have one size, got {clip.width} x {clip.height} and "
                f"{pixels.shape[1]} x {pixels.shape[0]} px in frame {first + given}"
            )
        given += 1
        yield pixels
    if given < count:
        raise ImageError(f"{display_name(clip.path)}: expected {first + count} frames, got {first + given}")


def _decoded(clip: ClipSource, first: int, count: int, max_pixels: int) -> Iterator[Pixels]:
    if clip.files:
        for path in clip.files[first : first + count]:
            yield read_image(path, max_pixels)
        return
    with _opened(clip.path, max_pixels) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if number >= first + count:
                return
            if frame.height * frame.width > max_pixels:
                raise ImageError(f"{display_name(clip.path)}: frame {number} has {frame.width} x {frame.height} px")
            if number >= first:
                yield frame.to_ndarray(format="rgb24")


def check_writable() -> None:
    """OpError, one line, where no video file can be written: there is no PyAV."""
    pyav()


def encode_video(frames: Sequence[Pixels], rate: int = 25) -> bytes:
    """A Matroska file of FFV1 that holds the frames without loss.

    Args:
        frames: uint8 [H, W, 3], RGB, of one size.
        rate: frames per second.
    """
    av = pyav()
    file = io.BytesIO()
    with av.open(file, "w", format="matroska", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=rate, options={"level": "3", "flags": "+bitexact"})
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0], frames[0].shape[1], "bgr0"
        stream.thread_count = 1
        for number, pixels in enumerate(frames):
            planes = np.ascontiguousarray(pixels)
            frame = av.VideoFrame.from_ndarray(planes, format="rgb24").reformat(format="bgr0")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
