"""NumPy's `.npy`, of pixels: uint8 [H, W, 3]. Nothing is unpickled, and the file is not mapped, so it may change."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .info import FormatError, Info

SIGNATURE = b"\x93NUMPY"


def inspect(stream: BinaryIO) -> Info:
    """The facts of a file, from its header."""
    stream.seek(0)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:
        raise FormatError(f"not a readable .npy array ({' '.join(str(error).split())[:120]})") from None
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise FormatError(f"must be uint8 [H, W, 3], got {dtype} {list(shape)}")
    start = stream.tell()
    return Info(int(shape[1]), int(shape[0]), "rgb", False, 8, details=(start, bool(fortran)))


def decode(content: bytes, info: Info) -> NDArray[Any]:
    """Pixels of a whole file: uint8 [H, W, 3]."""
    start, fortran = info.details
    shape = (info.height, info.width, 3)
    if len(content) - start < math.prod(shape):
        raise FormatError(f"corrupt or truncated ({math.prod(shape):,} bytes needed, got {len(content) - start:,})")
    flat = np.frombuffer(content, np.uint8, math.prod(shape), start)
    return flat.reshape(shape, order="F" if fortran else "C")
