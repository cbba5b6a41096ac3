"""Reading image files, the only place that decodes any.

Two views of a file: `read_picture` gives the channels and the depth it holds, with its colour profile (what is to be
written again keeps them), `read_rgb8` gives 8-bit RGB (what networks learn from). docs/files.md has the table of what
happens to depth, alpha, orientation and profiles. Headers are read first: sizes are known before a pixel is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ..errors import ImageError
from .color import is_srgb, profile_name, profile_problem, to_srgb
from .formats.info import FormatError, Info
from .formats.table import FORMATS, Format, recognised
from .paths import as_image_error, display_name, open_regular
from .pixels import Pixels
from .strips import converted

MAX_PIXELS = 2**27
"""Default limit of a single image: 134 million pixels, 400 MB decoded; above every single-shot camera."""

_HEAD_BYTES = 64
_MOST_BYTES_PER_PIXEL = 16
_SLACK_BYTES = 2**28
"""A file that is larger than its pixels could be, by more than this, is not read: pixels are not what it holds."""

_SWAP_SIDES = frozenset({5, 6, 7, 8})
"""Exif orientations (2.32, tag 0x0112) of images that lie on their side."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded.

    Attributes:
        format: its name.
        height, width: px, upright.
        channels: of the decoded picture: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        depth_bits: of a stored sample.
        file_bytes: size of the file.
        array_bytes: memory of the decoded array.
        decode_bytes: memory that decoding takes at most, the result and any view of `Picture` included
            (`MemoryBudget.hold` it).
    """

    format: str
    height: int
    width: int
    channels: int
    depth_bits: int
    file_bytes: int
    array_bytes: int
    decode_bytes: int


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        array: uint8 or uint16, upright: [H, W] gray, [H, W, 2] gray and alpha, [H, W, 3] RGB, [H, W, 4] RGB and alpha (not
            premultiplied). Not to be written to.
        profile: the file's ICC profile, which belongs to these pixels; None: there is none, or they are sRGB.
        notes: one phrase for whatever was converted, left out or damaged ("alpha channel dropped").
    """

    array: NDArray[Any]
    profile: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Channels, alpha included."""
        return 1 if self.array.ndim == 2 else self.array.shape[2]

    @property
    def gray(self) -> bool:
        """Whether it has one channel of brightness and no colours."""
        return self.channels <= 2

    def opaque(self) -> Picture:
        """The same without alpha; a note, where any pixel was not opaque. The stored colours stay: blending would need a
        background that nobody chose."""
        if self.channels not in (2, 4):
            return self
        alpha = self.array[..., -1]
        notes = self.notes if alpha.min() == np.iinfo(alpha.dtype).max else (*self.notes, "alpha channel dropped")
        colours = self.array[..., 0] if self.channels == 2 else self.array[..., :3]
        return replace(self, array=np.ascontiguousarray(colours), notes=notes)

    def rgb(self) -> Picture:
        """Three channels of the same depth, without alpha, with the profile. Gray under a profile of its own becomes
        sRGB, since three channels cannot keep that profile."""
        picture = self.opaque()
        if not picture.gray:
            return picture
        if picture.profile is not None:
            picture = picture._gray_as_srgb()
        if picture.gray:
            return replace(picture, array=np.repeat(picture.array[..., None], 3, axis=2), profile=None)
        return picture

    def rgb8(self) -> Picture:
        """Three channels of 8 bits, for networks to learn from: 16-bit values v become round(v / 257); the stored values
        stay also under a profile that is not sRGB's, as in every published pipeline, and a note names it."""
        picture = self
        if self.array.dtype == np.uint16:
            picture = replace(self, array=converted(self.array, _rounded8), notes=(*self.notes, "16 bits rounded to 8"))
        picture = picture.opaque()
        if picture.profile is not None:
            picture = replace(picture, profile=None, notes=(*picture.notes, *picture._profile_notes()))
        return picture.rgb()

    def planes8(self, channels: int) -> Picture:
        """8 bits in the channels of a network, [H, W, channels]; see `rgb8` for depth and profiles.

        Args:
            channels: 1: brightness, as `luma` gives it for RGB; 3: RGB; 4: RGB and alpha, which is opaque where the file
                has none.
        """
        picture = self.rgb8()
        if channels == 3:
            return picture
        if channels == 1:
            return replace(picture, array=luma(picture.array)[..., None])
        if channels != 4:
            raise ValueError(f"planes8: channels must be 1, 3 or 4, got {channels}")
        planes = np.full((*picture.array.shape[:2], 4), 255, np.uint8)
        planes[..., :3] = picture.array
        if self.channels in (2, 4):
            stored = self.array[..., -1]
            planes[..., 3] = stored if stored.dtype == np.uint8 else converted(stored, _rounded8)
        notes = tuple(note for note in picture.notes if note != "alpha channel dropped")
        return replace(picture, array=planes, notes=notes)

    def _profile_notes(self) -> tuple[str, ...]:
        assert self.profile is not None
        try:
            if is_srgb(self.profile, "gray" if self.gray else "rgb"):
                return ()
        except ImageCms.PyCMSError:
            return ("colour profile is damaged, ignored",)
        return (f"colour profile {profile_name(self.profile)} not applied, values as stored",)

    def _gray_as_srgb(self) -> Picture:
        """8-bit sRGB out of opaque gray with a profile; unchanged where that is sRGB's or of no use."""
        assert self.profile is not None
        try:
            if is_srgb(self.profile, "gray"):
                return replace(self, profile=None)
            if self.array.dtype == np.uint16:
                return replace(self, profile=None, notes=(*self.notes, *self._profile_notes()))
            profile = self.profile
            colours = converted(self.array, lambda part: to_srgb(part, profile, "gray"))
        except ImageCms.PyCMSError:
            return replace(self, profile=None, notes=(*self.notes, "colour profile is damaged, ignored"))
        return Picture(colours, None, (*self.notes, f"converted from {profile_name(self.profile)} to sRGB"))


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness of 8-bit RGB, uint8 [H, W, 3] -> [H, W] from 0 to 255: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), what
    Pillow's and OpenCV's gray and MATLAB's `rgb2gray` are up to a rounding. Gray images come back as they are.

    In integers: (19595 R + 38470 G + 7471 B + 2^15) / 2^16, as Pillow computes it.
    """
    return converted(pixels, _luma)


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16).astype(np.uint8)


def _rounded8(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


class ImageFile:
    """An opened image file: its header is read and checked, its pixels are not. From `open_image`."""

    def __init__(self, path: Path, stream: BinaryIO, max_pixels: int) -> None:
        self._path, self._stream = path, stream
        with _refusals(path):
            file_bytes = stream.seek(0, os.SEEK_END)
            if file_bytes == 0:
                raise FormatError("must be an image, got an empty file")
            stream.seek(0)
            self._format = _recognised(stream.read(_HEAD_BYTES), path)
            try:
                self._info = self._format.inspect(stream)
            except MemoryError:  # a decoder believed a size that the file names
                raise FormatError("corrupt or truncated (more memory is asked for than there is)") from None
            _check(self._info, max_pixels, file_bytes)
        self.header = _header(self._format, self._info, file_bytes)

    def decode(self) -> Picture:
        """The pixels with the channels and the depth of the file.

        Raises:
            ImageError: damaged pixels, or the file changed since it was opened.
        """
        info = self._info
        with _refusals(self._path):
            self._stream.seek(0)
            content = self._stream.read()
            if len(content) != self.header.file_bytes:
                raise FormatError("changed while it was read")
            array = self._format.decode(content, info)
            del content
            if array.shape[:2] != (info.height, info.width):
                raise FormatError(f"corrupt or truncated (got {array.shape[1]} x {array.shape[0]} px)")
            # The bytes of a number lie as in the machine, whatever the file has.
            return _finished(array.astype(array.dtype.newbyteorder("="), copy=False), info)


@contextmanager
def open_image(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None
) -> Iterator[ImageFile]:
    """Open an image file and read its header, for code that decides by it before it decodes.

    Args:
        path: file in one of the formats of docs/files.md, recognised by its content.
        max_pixels: refuse larger images.
        content: the file's bytes where it is not a file of its own (a value in an LMDB); `path` then only names it.
    Raises:
        ImageError: not there, no regular file, no image, damaged header, animated, too large, of a kind that is not
            read. One line.
        OSError: this process has no more file handles, or a disk or network fails.
    """
    with open_regular(path) if content is None else BytesIO(content) as stream:
        yield ImageFile(Path(path), stream, max_pixels)


def read_picture(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None) -> Picture:
    """Decode a still image with the channels, the depth and the colour profile of its file.

    Palettes are looked up, also their transparency; depths other than 8 and 16 are scaled to the next of the two; white
    is the largest value, also where the file stores it as zero; CMYK becomes sRGB; the orientation (EXIF, XMP) is applied.

    Args, Raises: see `open_image`; damaged pixels are an ImageError too.
    """
    with open_image(path, max_pixels, content) as file:
        return file.decode()


def read_rgb8(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None) -> Picture:
    """Decode a still image to 8-bit RGB, uint8 [H, W, 3], without alpha: `read_picture(...).rgb8()`."""
    return read_picture(path, max_pixels, content).rgb8()


def read_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of `read_rgb8` alone: uint8 [H, W, 3], contiguous, the caller's own."""
    return np.array(read_rgb8(path, max_pixels).array, order="C")


def read_header(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None) -> Header:
    """What an image file says about itself. Errors as `open_image`."""
    with open_image(path, max_pixels, content) as file:
        return file.header


def image_size(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) in px of the upright image, from the header. Errors as `open_image`."""
    header = read_header(path, max_pixels)
    return header.height, header.width


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Errors inside the block as one line about the file."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except FormatError as error:
        raise ImageError(f"{display_name(path)}: {error}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            as_image_error(path, error)  # raises what the file is not to blame for
        # Damaged files surface as OSError, SyntaxError, ValueError, struct.error, IndexError and more, by format.
        reason = display_name(" ".join(str(error).split())[:200]) or type(error).__name__
        raise ImageError(f"{display_name(path)}: corrupt or truncated ({reason})") from None


def _recognised(head: bytes, path: Path) -> Format:
    found = recognised(head, path.suffix.lower())
    if found is None:
        names = ", ".join(one.name for one in FORMATS)
        raise FormatError(f"must be an image file, got something else than {names}")
    return found


def _check(info: Info, max_pixels: int, file_bytes: int) -> None:
    if info.width < 1 or info.height < 1:
        raise FormatError(f"sides must be at least 1 px, got {info.width} x {info.height}")
    pixels = info.width * info.height
    if pixels > max_pixels:
        raise FormatError(
            f"must have at most {max_pixels:,} pixels, got {info.width} x {info.height} = {pixels:,}; "
            f"raise the limit (max_pixels, --max-megapixels) if that is meant"
        )
    if info.frames > 1:
        raise FormatError("must be a still image, got several frames")
    if file_bytes > _MOST_BYTES_PER_PIXEL * pixels + _SLACK_BYTES:
        raise FormatError(f"must not be larger than its pixels, got {file_bytes:,} bytes for {pixels:,} pixels")


def _header(form: Format, info: Info, file_bytes: int) -> Header:
    height, width = info.height, info.width
    if info.orientation in _SWAP_SIDES:
        height, width = width, height
    channels = (1 if info.colours == "gray" else 3) + info.alpha
    # The content, for some formats also without its side blocks, and what takes most: decoding, turning, or the views of
    # `Picture` (16 bits rounded to 8 beside the stored ones, then without alpha).
    sample_bytes = 1 if info.depth_bits <= 8 else 2
    array_bytes = (4 if info.colours == "cmyk" else channels) * sample_bytes
    turned = array_bytes * (1 if info.orientation == 1 else 2)
    viewed = array_bytes + (channels if sample_bytes == 2 else 0) + 3
    pixel_bytes = max(info.bytes_per_px, turned, viewed)
    return Header(
        form.name,
        height,
        width,
        channels,
        info.depth_bits,
        file_bytes,
        array_bytes * height * width,
        (2 if form.module in ("png", "jpeg", "pillow") else 1) * file_bytes + pixel_bytes * height * width,
    )


def _finished(array: NDArray[Any], info: Info) -> Picture:
    """A decoded array as a picture: CMYK converted, upright, the profile checked."""
    notes = list(info.notes)
    profile = info.profile
    problem = None if profile is None else profile_problem(profile, info.colours)
    if problem is not None:
        notes.append(problem)
        profile = None
    if info.colours == "cmyk":
        array, note = _from_cmyk(array, profile)
        notes.append(note)
        profile = None
    return Picture(_upright(array, info.orientation), profile, tuple(notes))


def _from_cmyk(array: NDArray[np.uint8], profile: bytes | None) -> tuple[NDArray[np.uint8], str]:
    if profile is not None:
        try:
            turned = converted(array, lambda part: to_srgb(part, profile, "cmyk"))
            return turned, f"CMYK converted from {profile_name(profile)} to sRGB"
        except ImageCms.PyCMSError:
            pass
    return converted(array, _naive_rgb), "CMYK converted without a colour profile"


def _naive_rgb(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(np.ascontiguousarray(array), "CMYK").convert("RGB"))


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A transposition of the first two axes and mirrors, as Pillow does to its own images."""
    if orientation in _SWAP_SIDES:
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)
