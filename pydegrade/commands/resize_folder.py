"""`degrade resize`: MATLAB's imresize on a file or a tree of images."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError
from ..files.io import MAX_PIXELS, decode_image, encode_png, image_size, list_images, write_atomic
from ..images.imresize import HIGHEST_SCALE, LOWEST_SCALE, Border, Kernel, imresize
from ..native import binding

_SCALE = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(?:/\s*([0-9]*\.?[0-9]+))?\s*")


@dataclass(frozen=True)
class ResizeJob:
    """What `degrade resize` is asked to do.

    Attributes:
        scale: output px per input px.
        kernel, antialias, border: as `imresize`.
        double: resize in double and round once, as MATLAB does after `im2double`; else round after each pass, as it
            does for uint8.
        modcrop: cut images at the bottom and the right to multiples of this many px first; 1 keeps them whole.
        suffix: appended to the names of results, before ".png".
        max_pixels: refuse larger images, and larger results.
    """

    scale: float
    kernel: Kernel = "bicubic"
    antialias: bool = True
    border: Border = "symmetric"
    double: bool = False
    modcrop: int = 1
    suffix: str = ""
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Resized:
    """What became of a list of images.

    Attributes:
        done: number of results written.
        skipped: one line for each image that could not be read or resized.
        notes: one line for each image that had to be converted ("a.png: alpha channel dropped").
    """

    done: int
    skipped: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


def parse_scale(text: str) -> float:
    """ "1/4", "0.25" or "4" as a number, the quotient rounded once."""
    match = _SCALE.fullmatch(text)
    value = 0.0
    if match is not None and (match[2] is None or float(match[2]) > 0):
        value = float(match[1]) / float(match[2] or 1)
    if not LOWEST_SCALE <= value <= HIGHEST_SCALE:
        raise ValueError(f"must be a number > 0 such as 1/4, 0.25 or 2, got {text!r}")
    return value


def whole_shrinkage(scale: float) -> int:
    """n of a scale 1/n.

    Raises:
        ImageError: the scale is none.
    """
    n = max(round(1 / scale), 1)
    if scale != 1 / n:
        raise ImageError(f"--modcrop: needs a scale of 1/n with a whole n, got {scale:g}")
    return n


def named_results(source: Path, out: Path, suffix: str = "") -> list[tuple[Path, Path]]:
    """(image, result) for a file or a folder; folders keep their inner structure.

    Raises:
        ImageError: no images, two results of one name, or results among the images.
    """
    if re.search(r"[/\\\0]", suffix):
        raise ImageError(f"--suffix: must not contain slashes, got {suffix!r}")
    if not source.is_dir():
        result = out if out.suffix.lower() == ".png" and not out.is_dir() else out / f"{source.stem}{suffix}.png"
        if result.resolve() == source.resolve():
            raise ImageError(f"{source}: the result would replace the image; choose another OUT or a --suffix")
        return [(source, result)]
    if out.resolve().is_relative_to(source.resolve()):
        raise ImageError(f"{out}: OUT must lie outside of IN, or the next run would take results for images")
    pairs, first_of = [], dict[Path, Path]()
    for path in list_images(source):
        relative = path.relative_to(source)
        result = out / relative.with_name(f"{relative.stem}{suffix}.png")
        if result in first_of:
            raise ImageError(f"{first_of[result]} and {path}: results would have the same name")
        first_of[result] = path
        pairs.append((path, result))
    return pairs


def uneven_images(paths: list[Path], n: int) -> int:
    """How many of the images that can be opened have a side that is no multiple of n."""
    count = 0
    for path in paths:
        try:
            count += any(side % n for side in image_size(path))
        except (ImageError, OSError):
            continue
    return count


def resize_images(pairs: list[tuple[Path, Path]], job: ResizeJob, finished: Callable[[], Any]) -> Resized:
    """Resize images on all threads; results appear under their names only when complete.

    Args:
        pairs: (image, result); existing results are replaced.
        job: how.
        finished: called after each image.
    """
    skipped, notes, done = [], [], 0
    with ThreadPoolExecutor(max_workers=binding.get_num_threads() + 1) as pool:
        futures = {pool.submit(_resize_one, path, result, job): path for path, result in pairs}
        try:
            for future in as_completed(futures):
                try:
                    notes += [f"{futures[future]}: {note}" for note in future.result()]
                    done += 1
                except ImageError as error:
                    skipped.append(str(error))
                finished()
        finally:
            # After Ctrl-C: what is being written gets finished, the rest is dropped.
            pool.shutdown(wait=True, cancel_futures=True)
    return Resized(done, tuple(sorted(skipped)), tuple(sorted(notes)))


def _resize_one(path: Path, result: Path, job: ResizeJob) -> tuple[str, ...]:
    """Resize a file; what had to be converted."""
    try:
        decoded = decode_image(path, job.max_pixels)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from None
    pixels: NDArray[np.uint8] = decoded.pixels[..., 0] if _is_gray(path) else decoded.pixels
    height, width = (side - side % job.modcrop for side in pixels.shape[:2])
    if height == 0 or width == 0:
        sides = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise ImageError(f"{path}: sides must be at least {job.modcrop} px, got {sides}")
    if height * width * job.scale**2 > job.max_pixels:
        limit = f"at most {job.max_pixels:,} pixels (--max-megapixels)"
        raise ImageError(f"{path}: the result must have {limit}, got about {height * width * job.scale**2:,.0f}")
    out = imresize(
        pixels[:height, :width],
        job.scale,
        kernel=job.kernel,
        antialias=job.antialias,
        border=job.border,
        semantics="im2double" if job.double else "class",
    )
    result.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(result, encode_png(out) if out.ndim == 3 else _gray_png(out))
    return decoded.notes


def _is_gray(path: Path) -> bool:
    """Whether a readable file has one channel of color; its result then has one too, as MATLAB's."""
    if path.suffix.lower() == ".npy":
        return False
    with Image.open(path) as image:
        return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _gray_png(pixels: NDArray[np.uint8]) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
