"""TIFF through tifffile, whose tags are taken at their word: depth, layout, polarity, premultiplied alpha.

What tifffile cannot unpack without the package imagecodecs (LZW, JPEG) Pillow's libtiff unpacks, for 8-bit images in the
common layout, where both agree. Source: TIFF 6.0 and Adobe's technical notes.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from ...errors import needs
from ..strips import array_of, by_strips
from .info import SIDE_BLOCK_BYTES, Colours, FormatError, Info
from .side_blocks import checked_orientation, xmp_orientation

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Pillow's warnings about tags and EXIF would reach stderr as Python lines; what is wrong is an error or a note here.
warnings.filterwarnings("ignore", module=r"PIL\.(TiffImagePlugin|Image)", category=UserWarning)


class _Complaints(logging.Handler):
    """What tifffile says in its log about the file that this thread reads: it leaves out tags that it cannot read."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self.thread.lines = [*getattr(self.thread, "lines", ()), record.getMessage()]


_complaints = _Complaints()
logging.getLogger("tifffile").addHandler(_complaints)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS: dict[int, tuple[Colours, int]] = {
    _WHITE_IS_ZERO: ("gray", 1),
    _BLACK_IS_ZERO: ("gray", 1),
    _RGB: ("rgb", 3),
    _PALETTE: ("rgb", 1),
    _SEPARATED: ("cmyk", 4),
    _YCBCR: ("rgb", 3),
}
"""Photometric interpretation -> what it holds and in how many samples."""
_KINDS = {2: "signed integer", 3: "floating-point", 4: "undefined", 5: "complex integer", 6: "complex"}
_NONE, _OLD_JPEG, _JPEG = 1, 6, 7
_JPEG_IN_TILES = 33007
_PILLOW_UNPACKS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 34925, 50000, 50001}
_UNASSOCIATED, _ASSOCIATED = 2, 1
_ORIENTATION, _INK_SET, _XMP, _PROFILE, _SUBSAMPLING = 274, 332, 700, 34675, 530
_SHORT, _LONG = 3, 4
_MAX_SAMPLES = 16
_SLACK_BYTES = 2**24


@dataclass(frozen=True)
class _Details:
    photometric: int
    compression: int
    bits: int
    samples: int
    alpha_kind: int  # of the sample behind the colours; 0 where none is meant as alpha
    by_pillow: bool  # tifffile lacks the codec


def _opened(stream: BinaryIO) -> tifffile.TiffFile:
    # The vendors' flavours need not be told apart here: they cost time and read further tags.
    return tifffile.TiffFile(stream, is_ome=False, is_shaped=False, is_lsm=False, is_imagej=False)


def inspect(stream: BinaryIO) -> Info:
    """The facts of the first image of a file, from its tags."""
    stream.seek(0)
    _complaints.thread.lines = []
    with _opened(stream) as file:
        page: Any = file.pages[0]
        width, height, samples = int(page.imagewidth), int(page.imagelength), int(page.samplesperpixel)
        bits = _bits(page)
        compression, photometric = int(page.compression), int(page.photometric)
        colours, needed = _COLOURS.get(photometric, ("rgb", 0))
        if needed == 0:
            raise FormatError(f"pixels must be gray, palette, RGB, YCbCr or CMYK, got {_name(page.photometric)}")
        if int(page.sampleformat) != 1:
            kind = _KINDS.get(int(page.sampleformat), "unknown")
            raise FormatError(f"pixels must be unsigned integers of 1 to 16 bits, got {bits}-bit {kind} samples")
        if not 1 <= bits <= 16 or (bits > 8 and photometric in (_PALETTE, _SEPARATED, _YCBCR)):
            raise FormatError(
                f"pixels must be unsigned integers of 1 to 16 bits (8 in palettes, CMYK and YCbCr), got {bits} bits "
                f"of {_name(page.photometric)}"
            )
        if not needed <= samples <= _MAX_SAMPLES or int(page.imagedepth) != 1:
            raise FormatError(
                f"{_name(page.photometric)} must have {needed} to {_MAX_SAMPLES} samples in one plane, got {samples}"
            )
        if photometric == _SEPARATED and _integer(page, _INK_SET) not in (None, 1):
            raise FormatError("inks must be CMYK, got others (InkSet)")
        extra = [int(kind) for kind in page.extrasamples or ()]
        alpha_kind = extra[0] if samples > needed and extra and extra[0] in (_ASSOCIATED, _UNASSOCIATED) else 0
        alpha_kind = 0 if colours == "cmyk" else alpha_kind
        notes = ["a tag cannot be read, ignored"] if any("TiffTag" in line for line in _complaints.thread.lines) else []
        if samples - needed - bool(alpha_kind) > 0:
            notes.append(f"{samples - needed - bool(alpha_kind)} further channel(s) dropped")
        if photometric == _PALETTE and page.colormap is None:
            raise FormatError("corrupt or truncated (a palette image without its palette)")
        orientation = _orientation(page, notes)
        return Info(
            width,
            height,
            colours,
            bool(alpha_kind),
            8 if photometric == _PALETTE else bits,
            frames=_frames(file),
            orientation=orientation,
            profile=_block(page, _PROFILE),
            notes=tuple(notes),
            bytes_per_px=_bytes_per_px(page, samples, bits, photometric, alpha_kind),
            details=_Details(
                photometric, compression, bits, samples, alpha_kind, _by_pillow(page, photometric, compression, bits)
            ),
        )


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _bits(page: Any) -> int:
    bits = page.bitspersample
    if isinstance(bits, tuple):
        if len(set(bits)) != 1:
            raise FormatError(f"all channels must have the same depth, got {list(bits)} bits")
        bits = bits[0]
    return int(bits)


def _by_pillow(page: Any, photometric: int, compression: int, bits: int) -> bool:
    """Whether Pillow must unpack the pixels, since tifffile lacks the codec.

    Raises:
        FormatError: neither can.
    """
    subsampled = photometric == _YCBCR and compression not in (_JPEG, _JPEG_IN_TILES)
    if compression != _OLD_JPEG and not subsampled and not _codec_missing(compression) and not _packing_missing(bits):
        return False
    plain = bits == 8 and int(page.planarconfig) == 1 and photometric != _WHITE_IS_ZERO
    few = int(page.samplesperpixel) <= (2 if photometric in (_BLACK_IS_ZERO, _PALETTE) else 4)
    if plain and few and compression in _PILLOW_UNPACKS and int(page.fillorder) == 1:
        return True
    what = f"compression {_name(page.compression)}" if _codec_missing(compression) else f"{bits}-bit samples"
    if compression == _OLD_JPEG or subsampled:
        raise FormatError(f"{_name(page.photometric)} with compression {_name(page.compression)} is not read")
    raise FormatError(needs(f"{what} of this layout: reading it", "imagecodecs", "tiff"))


def _codec_missing(compression: int) -> bool:
    if compression == _NONE:
        return False
    try:
        tifffile.TIFF.DECOMPRESSORS[compression]
    except KeyError:
        return True
    return False


def _packing_missing(bits: int) -> bool:
    return bits not in (1, 8, 16) and importlib.util.find_spec("imagecodecs") is None


def _frames(file: Any) -> int:
    """1, or 2 for several; smaller copies and masks of the first page do not count."""
    try:
        second = file.pages[1]
        kind = int(second.subfiletype)
    except Exception:
        return 1  # there is none, or it is damaged: then it is not what is read
    return 1 if kind & 0b101 else 2


def _integer(page: Any, code: int) -> int | None:
    tag = page.tags.get(code)
    return tag.value if tag is not None and isinstance(tag.value, int) else None


def _block(page: Any, code: int) -> bytes | None:
    tag = page.tags.get(code)
    if tag is None:
        return None
    value = tag.value
    if isinstance(value, tuple) and all(isinstance(item, int) and 0 <= item < 256 for item in value):
        value = bytes(value)
    return value[:SIDE_BLOCK_BYTES] if isinstance(value, bytes) else None


def _orientation(page: Any, notes: list[str]) -> int:
    tag = page.tags.get(_ORIENTATION)
    try:
        if tag is not None:
            if int(tag.dtype) not in (_SHORT, _LONG) or not isinstance(tag.value, int):
                raise ValueError("orientation is no integer, ignored")
            return checked_orientation(int(tag.value), "TIFF") or 1
        packet = _block(page, _XMP)
        return (xmp_orientation(packet) if packet else None) or 1
    except ValueError as error:
        notes.append(str(error))
        return 1


def decode(content: bytes, info: Info) -> NDArray[Any]:
    """Pixels of the first image of a file: uint8 or uint16, [H, W] or [H, W, C]; CMYK as [H, W, 4]."""
    details: _Details = info.details
    with _opened(BytesIO(content)) as file:
        page: Any = file.pages[0]
        _check_segments(page, len(content), info, details)
        if details.by_pillow:
            values = _by_libtiff(content, details)
        else:
            values = page.asarray(squeeze=False, maxworkers=1)  # [planes, 1, H, W, samples]
            values = values[:, 0].view(np.uint8) if values.dtype == bool else values[:, 0]
            values = np.moveaxis(values, 0, -1)[..., 0, :] if len(values) > 1 else values[0]
        if values.shape != (info.height, info.width, details.samples):
            raise FormatError("corrupt or truncated (the pixels do not fill the image)")
        # In parts: each of its steps makes a copy.
        return by_strips(
            info.height, info.width, lambda top, bottom: _as_stated(values[top:bottom], page, info, details)
        )


def _bytes_per_px(page: Any, samples: int, bits: int, photometric: int, alpha_kind: int) -> int:
    """The samples as stored; beside them first the largest strip or tile as it is unpacked, then the array."""
    sample_bytes = 1 if bits <= 8 else 2
    pixels = max(1, int(page.imagewidth) * int(page.imagelength))
    segment = -(-int(np.prod(page.chunks)) * sample_bytes // pixels)
    channels = 3 if photometric == _PALETTE else samples
    return samples * sample_bytes + max(segment * (1 if page.predictor == 1 else 2), channels * sample_bytes)


def _check_segments(page: Any, file_bytes: int, info: Info, details: _Details) -> None:
    """Every strip or tile stands within the file, and none is so large that unpacking it would exhaust the memory."""
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) != len(counts) or any(
        offset <= 0 or count <= 0 or offset + count > file_bytes for offset, count in zip(offsets, counts)
    ):
        raise FormatError("corrupt or truncated (pixels beyond the end of the file)")
    if len(offsets) < int(np.prod(page.chunked)):
        raise FormatError("corrupt or truncated (strips or tiles are missing)")
    image_bytes = info.width * info.height * details.samples * (1 if details.bits <= 8 else 2)
    if int(np.prod(page.chunks)) * (1 if details.bits <= 8 else 2) > 4 * image_bytes + _SLACK_BYTES:
        raise FormatError(f"tiles must be about as large as the image, got {list(page.chunks)}")


def _by_libtiff(content: bytes, details: _Details) -> NDArray[Any]:
    """8-bit samples of a chunky image, unpacked by libtiff."""
    with TiffImageFile(BytesIO(content)) as image:
        image.load()
        # Pillow turns images by itself at a moment that depends on its version; here it must not.
        if details.photometric == _YCBCR and image.mode != "RGB":
            return np.asarray(image.convert("RGB"))
        return array_of(image).reshape(image.height, image.width, -1)


def _as_stated(values: NDArray[Any], page: Any, info: Info, details: _Details) -> NDArray[Any]:
    """Stored samples as tags mean them: scaled, white up, palette looked up, alpha not premultiplied."""
    colours = {"gray": 1, "rgb": 1 if details.photometric == _PALETTE else 3, "cmyk": 4}[info.colours]
    alpha = values[..., colours : colours + 1] if details.alpha_kind else values[..., :0]
    values = values[..., :colours]
    peak = 2**details.bits - 1
    white = 255 if details.bits <= 8 else 65535
    if details.photometric == _PALETTE:
        table = np.asarray(page.colormap).reshape(3, -1)
        # 16-bit entries, of which old writers filled the lower half only (libtiff, checkcmap).
        table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
        if values.max() >= table.shape[1]:
            raise FormatError("corrupt or truncated (a pixel beyond the palette)")
        values = table.T[values[..., 0]]
    elif details.photometric == _WHITE_IS_ZERO:
        values = peak - values
    if peak != white:
        scale = ((np.arange(peak + 1, dtype=np.int64) * 2 * white + peak) // (2 * peak)).astype(
            np.uint8 if white == 255 else np.uint16
        )
        values = values if details.photometric == _PALETTE else scale[values]
        alpha = scale[alpha]
    if details.alpha_kind == _ASSOCIATED and not details.by_pillow:
        values = _straight(values, alpha, white)
    array = np.concatenate([values, alpha.astype(values.dtype, copy=False)], axis=2) if details.alpha_kind else values
    return array[..., 0] if array.shape[2] == 1 else array


def _straight(values: NDArray[Any], alpha: NDArray[Any], white: int) -> NDArray[Any]:
    """Colours that were multiplied by alpha, divided by it; black where nothing is left of them."""
    divisor = np.maximum(alpha.astype(np.int64), 1)
    return np.minimum((values.astype(np.int64) * white + divisor // 2) // divisor, white).astype(values.dtype)
