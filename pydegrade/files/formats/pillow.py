"""The formats that Pillow decodes as they are: WebP, BMP, GIF, AVIF, JPEG 2000, TGA.

Each is opened by the class of its own plugin, never by `Image.open`, which would try others, some of which start
programs.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.TgaImagePlugin import TgaImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..strips import array_of
from .info import Colours, FormatError, Info
from .side_blocks import orientation_of

# Pillow's warnings about EXIF would reach stderr as Python lines; what is wrong is an error or a note here.
warnings.filterwarnings("ignore", module=r"PIL\.(TiffImagePlugin|Image)", category=UserWarning)

_CLASSES: dict[str, type[ImageFile]] = {
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "AVIF": AvifImageFile,
    "JPEG 2000": Jpeg2KImageFile,
    "TGA": TgaImageFile,
}
_MODES: dict[str, tuple[Colours, bool]] = {
    "1": ("gray", False),
    "L": ("gray", False),
    "LA": ("gray", True),
    "P": ("rgb", False),
    "PA": ("rgb", True),
    "RGB": ("rgb", False),
    "RGBX": ("rgb", False),
    "RGBA": ("rgb", True),
    "YCbCr": ("rgb", False),
    "CMYK": ("cmyk", False),
    "I;16": ("gray", False),
}
_HEAD_BYTES = 2**16


@dataclass(frozen=True)
class _Details:
    name: str
    renamed_exif: bool  # the EXIF block had to be hidden from the decoder
    gray_bits: int  # of a JPEG 2000 with one channel, which Pillow shifts up to 8 or 16; 0 elsewhere


def inspect(stream: BinaryIO, name: str) -> Info:
    """The facts of a file; `name` is one of the formats above."""
    stream.seek(0)
    notes: list[str] = []
    renamed = False
    try:
        image = _CLASSES[name](stream)
    except Exception:
        # A damaged EXIF block ends Pillow's reading of AVIF: without it the pixels are readable.
        stream.seek(0)
        content = stream.read()
        if name != "AVIF" or b"Exif" not in content[:_HEAD_BYTES]:
            raise
        image = _CLASSES[name](BytesIO(_without_exif(content)))
        notes.append("EXIF cannot be read")
        renamed = True
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    bits, gray_bits = 8, 0
    if name == "JPEG 2000":
        bits, gray_bits = _jpeg2000_depth(head)
    elif name == "AVIF" and (at := head.find(b"av1C")) >= 0 and head[at + 6 : at + 7] and head[at + 6] & 0x40:
        notes.append(f"{12 if head[at + 6] & 0x20 else 10} bits rounded to 8")
    if image.mode not in _MODES:
        raise FormatError(f"pixels must be gray, palette, RGB or CMYK integers, got Pillow's mode {image.mode!r}")
    colours, alpha = _MODES[image.mode]
    info = image.info
    exif, xmp = info.get("exif"), info.get("xmp")
    orientation, more = orientation_of(
        exif if isinstance(exif, bytes) and not renamed else None, xmp if isinstance(xmp, bytes) else None
    )
    several = bool(getattr(image, "is_animated", False))
    frames = int(getattr(image, "n_frames", 1)) if name in ("WebP", "AVIF") else 2 if several else 1
    profile = info.get("icc_profile")
    return Info(
        image.width,
        image.height,
        colours,
        alpha or "transparency" in info,
        bits,
        frames=frames,
        orientation=orientation,
        profile=profile if isinstance(profile, bytes) else None,
        notes=(*notes, *more),
        details=_Details(name, renamed, gray_bits),
    )


def _without_exif(content: bytes) -> bytes:
    """The same file, whose EXIF item has a type that no decoder knows."""
    return content[:_HEAD_BYTES].replace(b"Exif", b"none") + content[_HEAD_BYTES:]


def _jpeg2000_depth(head: bytes) -> tuple[int, int]:
    """(bits, bits of a single channel that Pillow shifts up, else 0) from the SIZ marker (ITU-T T.800, A.5.1)."""
    at = head.find(b"\xff\x4f\xff\x51")
    sizes = head[at + 4 :]
    count = int.from_bytes(sizes[36:38], "big") if at >= 0 else 0
    depths = {sizes[38 + 3 * channel] for channel in range(count) if 38 + 3 * channel < len(sizes)}
    if len(depths) != 1:
        raise FormatError(f"all channels must have the same depth, got {sorted(depths)}")
    stated = depths.pop()
    bits = (stated & 0x7F) + 1
    if stated & 0x80:
        raise FormatError(f"pixels must be unsigned integers, got {bits}-bit signed ones")
    if count == 1 and bits <= 16:
        return bits, bits
    if bits != 8:
        raise FormatError(f"a JPEG 2000 of several channels must have 8 bits, got {bits}")
    return bits, 0


def decode(content: bytes, info: Info) -> NDArray[Any]:
    """Pixels of a whole file: uint8 or uint16, [H, W] or [H, W, C]; CMYK as [H, W, 4]."""
    details: _Details = info.details
    with _CLASSES[details.name](BytesIO(_without_exif(content) if details.renamed_exif else content)) as opened:
        opened.load()
        if opened.size != (info.width, info.height):
            raise FormatError("corrupt or truncated (the pixels have another size than the header)")
        image = _plain_mode(opened, info)
        array = array_of(image)
    if details.gray_bits not in (0, 8, 16):
        stored = array.astype(np.int64) >> ((8 if details.gray_bits < 8 else 16) - details.gray_bits)
        peak, white = 2**details.gray_bits - 1, 255 if details.gray_bits < 8 else 65535
        array = ((2 * stored * white + peak) // (2 * peak)).astype(np.uint8 if white == 255 else np.uint16)
    return array.astype(np.uint16) if array.dtype.itemsize == 2 else array


def _plain_mode(image: Image.Image, info: Info) -> Image.Image:
    if image.mode == "I;16" or image.mode == "CMYK":
        return image
    wanted = {("gray", False): "L", ("gray", True): "LA", ("rgb", False): "RGB", ("rgb", True): "RGBA"}
    return image.convert(wanted[info.colours, info.alpha])
