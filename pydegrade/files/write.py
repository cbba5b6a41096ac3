"""Encoding images: PNG and `.npy`, 8 and 16 bits. The ending of a name decides the format, or is refused."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ..errors import OutputError
from .atomic import write_atomic
from .paths import display_name

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG specification, table 11.1
_SUB = 1  # filter type: difference to the pixel on the left, PNG specification section 9.2


def encode_png(array: NDArray[Any], profile: bytes | None = None, level: int = 1) -> bytes:
    """Lossless PNG of an image.

    One fixed filter (difference to the pixel on the left) and ISA-L's deflate: on crops of photographs four times as
    fast as zlib at its level 1, for files of the same size.

    Args:
        array: uint8 or uint16, [H, W], or [H, W, 1 to 4]: gray, gray and alpha, RGB, RGB and alpha.
        profile: ICC profile to embed.
        level: of ISA-L, 0 to 3; 3 gains a few percent in size.
    Raises:
        ValueError: another type or shape.
    """
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype not in (np.uint8, np.uint16) or channels not in _COLOR_TYPES or 0 in array.shape:
        raise ValueError(
            f"encode_png: array must be uint8 or uint16, [H, W] or [H, W, 1 to 4], got {array.dtype} {list(array.shape)}"
        )
    height, width = array.shape[:2]
    sample_bytes = array.dtype.itemsize
    pixel_bytes = channels * sample_bytes
    big_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder(">"))
    rows = big_endian.view(np.uint8).reshape(height, width * pixel_bytes)
    filtered = np.empty((height, 1 + width * pixel_bytes), np.uint8)
    filtered[:, 0] = _SUB
    filtered[:, 1 : 1 + pixel_bytes] = rows[:, :pixel_bytes]
    np.subtract(rows[:, pixel_bytes:], rows[:, :-pixel_bytes], out=filtered[:, 1 + pixel_bytes :])

    del big_endian, rows  # the packed rows come beside what is left
    header = struct.pack(">IIBBBBB", width, height, 8 * sample_bytes, _COLOR_TYPES[channels], 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if profile is not None:
        chunks.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    packed = _deflated(filtered, level)
    del filtered
    return b"".join([_SIGNATURE, *chunks, *_pieces(b"IDAT", *packed), _chunk(b"IEND", b"")])


def _deflated(filtered: NDArray[np.uint8], level: int) -> tuple[bytes, ...]:
    """Parts of one zlib stream.

    At levels 1 and 2 ISA-L's kernel for the beginning of a stream enters the third byte into its table under the hash
    of a register that holds the address of the caller's stack (igzip_icf_body_h1_gr_bt.asm, write_first_byte): the same
    pixels give other bytes in another thread or process. The first bytes alone are short enough for another kernel,
    and with them behind it the stream is no longer at its beginning.
    """
    values = filtered.reshape(-1)
    stream = isal_zlib.compressobj(level)
    first = stream.compress(values[:4]), stream.flush(isal_zlib.Z_SYNC_FLUSH)
    return *first, stream.compress(values[4:]), stream.flush()


def _chunk(name: bytes, data: bytes) -> bytes:
    return b"".join(_pieces(name, data))


def _pieces(name: bytes, *data: bytes) -> tuple[bytes, ...]:
    check = zlib.crc32(name)
    for part in data:
        check = isal_zlib.crc32(part, check)
    return struct.pack(">I", sum(map(len, data))), name, *data, struct.pack(">I", check)


def encode_npy(array: NDArray[Any], profile: bytes | None = None) -> bytes:
    """The `.npy` file of an array, which has no place for a profile."""
    stream = BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


ENCODERS: dict[str, Callable[..., bytes]] = {"png": encode_png, "npy": encode_npy}
"""Name of a file format that images can be written in -> (array, profile) to bytes; ".name" is its ending."""


def check_ending(path: str | os.PathLike[str], formats: tuple[str, ...] = tuple(ENCODERS)) -> str:
    """The format in which a file of that name is written.

    Raises:
        OutputError: an ending of another format, or none.
    """
    ending = Path(path).suffix.lower()
    if ending[1:] not in formats:
        known = " or ".join("." + name for name in formats)
        raise OutputError(f"{display_name(path)}: a result's name must end in {known}, got {display_name(ending)!r}")
    return ending[1:]


def write_image(
    path: str | os.PathLike[str], array: NDArray[Any], profile: bytes | None = None, level: int = 1
) -> None:
    """Write an image atomically, in the format that the name's ending says.

    Args:
        path: `.png` or `.npy`.
        array, profile, level: see `encode_png`.
    Raises:
        OutputError: another ending.
        OutputError, WriteError: the file cannot be written (`pydegrade.files.atomic`).
    """
    is_png = check_ending(path) == "png"
    write_atomic(path, encode_png(array, profile, level) if is_png else encode_npy(array))
