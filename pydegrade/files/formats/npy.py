"""NumPy's `.npy`, of pixels: uint8 [H, W, 3]. Nothing is unpickled, and the file is not mapped, so it may change."""

from __future__ import annotations

import ast
import math
import re
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .info import FormatError, Info

SIGNATURE = b"\x93NUMPY"
_HEADER_BYTES = 10000
"""Longest header that is parsed, as in NumPy: parsing deeply nested text takes much memory."""


def inspect(stream: BinaryIO) -> Info:
    """The facts of a file, from its header."""
    stream.seek(0)
    try:
        major, _ = np.lib.format.read_magic(stream)
        (length,) = struct.unpack("<H" if major == 1 else "<I", stream.read(2 if major == 1 else 4))
        # The text of a dictionary. NumPy's own reader warns about those of Python 2, with an L behind numbers.
        text = stream.read(min(length, _HEADER_BYTES)).decode("latin-1")
        stated = ast.literal_eval(re.sub(r"(?<=[0-9])L(?=[,)])", "", text).strip())
        shape, fortran, dtype = stated["shape"], stated["fortran_order"], np.dtype(stated["descr"])
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError("sides must be whole numbers")
    except Exception as error:
        raise FormatError(f"not a readable .npy array ({' '.join(str(error).split())[:120]})") from None
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise FormatError(f"must be uint8 [H, W, 3], got {dtype} {list(shape)}")
    start = stream.tell()
    return Info(int(shape[1]), int(shape[0]), "rgb", False, 8, bytes_per_px=0, details=(start, bool(fortran)))


def decode(content: bytes, info: Info) -> NDArray[Any]:
    """Pixels of a whole file: uint8 [H, W, 3]."""
    start, fortran = info.details
    shape = (info.height, info.width, 3)
    if len(content) - start < math.prod(shape):
        raise FormatError(f"corrupt or truncated ({math.prod(shape):,} bytes needed, got {len(content) - start:,})")
    flat = np.frombuffer(content, np.uint8, math.prod(shape), start)
    return flat.reshape(shape, order="F" if fortran else "C")
