"""JPEG: markers are walked here, pixels are decoded by libjpeg through Pillow, without the blocks beside them.

Source: ITU-T T.81; JFIF 1.02; Adobe's APP14 (Technical Note 5116).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from ..strips import array_of
from .info import SIDE_BLOCK_BYTES, FormatError, Info
from .side_blocks import orientation_of

SIGNATURE = b"\xff\xd8\xff"
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_DQT = 0xDB
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_BLOCKS = range(0xE0, 0xF0)
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker within entropy-coded data, where 0xFF stands before 0x00 or a restart marker only."""

MAX_SCANS = 64
MAX_SCANNED_PIXELS = 2**29
"""A progressive file may ask for any number of passes over all pixels. Encoders write up to about 20; more are taken from
small images only."""

_JFIF = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"


@dataclass(frozen=True)
class _Segment:
    """A marker and where the bytes behind its length stand."""

    marker: int
    start: int
    length: int


def _segments(stream: BinaryIO) -> Iterator[_Segment]:
    """The segments up to the first scan, which is the last one given."""
    position = 2
    while True:
        stream.seek(position)
        head = stream.read(2)
        if len(head) < 2 or head[0] != 0xFF:
            raise FormatError("corrupt or truncated (no marker where one must begin)")
        if head[1] == 0xFF:  # fill bytes may stand before a marker
            position += 1
            continue
        marker = head[1]
        if marker in (_SOI, _EOI) or marker < 0xC0:
            raise FormatError(f"corrupt or truncated (marker {marker:#x} before the pixels)")
        if 0xD0 <= marker <= 0xD7:
            position += 2
            continue
        size = stream.read(2)
        length = int.from_bytes(size, "big") - 2
        if len(size) < 2 or length < 0:
            raise FormatError("corrupt or truncated (it ends before the pixels)")
        yield _Segment(marker, position + 4, length)
        if marker == _SOS:
            return
        position += 4 + length


def inspect(stream: BinaryIO) -> Info:
    """The facts of a file, from the segments before its pixels."""
    frame = b""
    buffered = False  # whether libjpeg keeps all coefficients: several scans follow
    exif = xmp = None
    profile_parts: dict[int, bytes] = {}
    profile_count = 0
    for segment in _segments(stream):
        if segment.marker == _SOS:
            stream.seek(segment.start)
            buffered = buffered or stream.read(1) != frame[5:6]
        if segment.marker in _FRAMES or segment.marker in (0xE1, 0xE2):
            stream.seek(segment.start)
            body = stream.read(segment.length)
            if segment.marker in _FRAMES:
                frame = body
                buffered = segment.marker in (0xC2, 0xCA)
                if segment.marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
                    raise FormatError("must be a baseline or progressive JPEG, got a lossless or hierarchical one")
            elif body.startswith(b"Exif\0\0"):
                exif = body if exif is None else exif
            elif body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                xmp = body[29:] if xmp is None else xmp
            elif body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
                profile_parts[body[12]] = body[14:]
                profile_count = body[13]
    if len(frame) < 6:
        raise FormatError("corrupt or truncated (no frame before the pixels)")
    precision, height, width, components = struct.unpack_from(">BHHB", frame)
    if precision != 8:
        raise FormatError(f"samples of a JPEG must have 8 bits, got {precision}")
    if components not in (1, 3, 4):
        raise FormatError(f"must have 1, 3 or 4 components, got {components}")
    if height == 0:
        raise FormatError("must state its height at the beginning, got 0 (stated behind the pixels)")

    profile, notes = None, []
    if profile_parts:
        if sorted(profile_parts) == list(range(1, profile_count + 1)):
            profile = b"".join(profile_parts[number] for number in sorted(profile_parts))[:SIDE_BLOCK_BYTES]
        else:
            notes.append("colour profile is incomplete, ignored")
    orientation, more = orientation_of(exif, xmp)
    return Info(
        width,
        height,
        {1: "gray", 3: "rgb", 4: "cmyk"}[components],  # type: ignore[arg-type]
        False,
        8,
        orientation=orientation,
        profile=profile,
        bytes_per_px=_bytes_per_px(components, buffered),
        notes=(*notes, *more),
    )


_ZIGZAG = sorted(range(64), key=lambda at: (at // 8 + at % 8, (at // 8 if (at // 8 + at % 8) % 2 else at % 8)))
"""Place in a block, row by row, of the n-th entry of a table in a file (T.81, figure A.6)."""


@dataclass(frozen=True)
class Coding:
    """How the pixels of a file were coded.

    Attributes:
        tables: for each component its quantisation table, 64 entries row by row; those of T.81, annex K, begin with 16, 11.
        sampling: for each component its horizontal and vertical sampling factors, 1 to 4.
        exif: the EXIF block without its prefix; b"" where there is none.
    """

    tables: tuple[tuple[int, ...], ...]
    sampling: tuple[tuple[int, int], ...]
    exif: bytes


def coding(stream: BinaryIO) -> Coding:
    """Tables and sampling of a file that `inspect` accepts.

    Raises:
        FormatError: a table is missing or cut off.
    """
    tables: dict[int, tuple[int, ...]] = {}
    frame, exif = b"", b""
    for segment in _segments(stream):
        if segment.marker not in _FRAMES and segment.marker not in (_DQT, 0xE1):
            continue
        stream.seek(segment.start)
        body = stream.read(segment.length)
        if segment.marker in _FRAMES:
            frame = body
        elif segment.marker == _DQT:
            tables.update(_tables(body))
        elif body.startswith(b"Exif\0\0") and not exif:
            exif = body[6:]
    components = [frame[at : at + 3] for at in range(6, len(frame) - 2, 3)]
    try:
        return Coding(
            tuple(tables[component[2]] for component in components),
            tuple((component[1] >> 4, component[1] & 15) for component in components),
            exif,
        )
    except KeyError:
        raise FormatError("corrupt or truncated (a quantisation table is missing)") from None


def _tables(body: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Number and entries of every table of a segment (T.81, B.2.4.1)."""
    place = 0
    while place < len(body):
        entry_bytes = 2 if body[place] >> 4 else 1
        stored = body[place + 1 : place + 1 + 64 * entry_bytes]
        if len(stored) < 64 * entry_bytes:
            raise FormatError("corrupt or truncated (a quantisation table is cut off)")
        entries = [0] * 64
        for order, at in enumerate(_ZIGZAG):
            entries[at] = int.from_bytes(stored[order * entry_bytes : (order + 1) * entry_bytes], "big")
        yield body[place] & 15, tuple(entries)
        place += 1 + 64 * entry_bytes


def _bytes_per_px(components: int, buffered: bool) -> int:
    """Pillow's image, and beside it first libjpeg's coefficients (all of them where the file has several scans), then the
    array."""
    held = 1 if components == 1 else 4
    return held + max(components, 2 * components if buffered else 0)


def decode(content: bytes, info: Info) -> NDArray[Any]:
    """Pixels of a whole file: uint8, [H, W], [H, W, 3] or, CMYK, [H, W, 4]."""
    with JpegImageFile(BytesIO(_clean(content, info))) as image:
        if image.size != (info.width, info.height):
            raise FormatError("corrupt or truncated (two frames of different sizes)")
        if image.mode == "YCbCr":
            return np.asarray(image.convert("RGB"))
        return array_of(image)


def _clean(content: bytes, info: Info) -> bytes:
    """The file without the blocks beside its pixels, up to its end marker (behind it stand previews and films).

    What decides about colours stays: that there is a JFIF block, and the transform that Adobe's block states.
    """
    pieces = [content[:2]]
    body_start = 2
    for segment in _segments(BytesIO(content)):
        body_start = segment.start - 4
        if segment.marker in (*_BLOCKS, _COM):
            body = content[segment.start : segment.start + segment.length]
            if segment.marker == 0xE0 and body.startswith(b"JFIF"):
                pieces.append(_JFIF)
            elif segment.marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
                pieces.append(b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + body[11:12])
        elif segment.marker != _SOS:
            pieces.append(content[segment.start - 4 : segment.start + segment.length])
    pieces.append(content[body_start : _end_of_scans(content, body_start, info)])
    return b"".join(pieces)


def _end_of_scans(content: bytes, position: int, info: Info) -> int:
    """Where the first end marker behind the scans ends, or the file; refuses files whose scans would take minutes."""
    scans = 0
    while position + 4 <= len(content):
        marker = content[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _EOI:
            return position + 2
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        if marker == _SOS:
            scans += 1
            if scans > MAX_SCANS or (scans > 20 and scans * info.width * info.height > MAX_SCANNED_PIXELS):
                raise FormatError(f"must have fewer than {scans} scans over {info.width} x {info.height} px, got more")
        found = _MARKER.search(content, position)
        if found is None:
            return len(content)
        position = found.end() - 2
    return min(position + 2, len(content))
