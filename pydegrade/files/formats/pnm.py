"""PBM, PGM and PPM of any depth, plain and raw. Source: Netpbm's pbm(5), pgm(5), ppm(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .info import FormatError, Info

_HEADER_BYTES = 4096
_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*([^\s#]+)")
_WORD = re.compile(rb"\S+")
_COMMENT = re.compile(rb"#[^\r\n]*")


@dataclass(frozen=True)
class _Details:
    kind: int  # the digit after P
    peak: int  # value of white; 1 for bilevel
    start: int  # where samples begin


def inspect(stream: BinaryIO) -> Info:
    """The facts of a file, from its header."""
    stream.seek(0)
    head = stream.read(_HEADER_BYTES)
    kind = head[1] - ord("0")
    numbers = []
    position = 2
    for _ in range(2 if kind in (1, 4) else 3):
        token = _TOKEN.match(head, position)
        if token is None or not re.fullmatch(rb"[0-9]{1,9}", token[1]):
            raise FormatError("corrupt or truncated (no size in the header)")
        numbers.append(int(token[1]))
        position = token.end()
    width, height, *peaks = numbers
    peak = peaks[0] if peaks else 1
    if not 1 <= peak <= 65535:
        raise FormatError(f"the largest value must be in [1, 65535], got {peak}")
    return Info(
        width,
        height,
        "rgb" if kind in (3, 6) else "gray",
        False,
        8 if peak <= 255 else 16,
        bytes_per_px=(16 if kind in (1, 2, 3) else 4) * (3 if kind in (3, 6) else 1),
        details=_Details(kind, peak, position + 1),
    )


def decode(content: bytes, info: Info) -> NDArray[Any]:
    """Pixels of a whole file: uint8 or uint16, [H, W] or [H, W, 3]; the largest value becomes white."""
    details: _Details = info.details
    channels = 3 if info.colours == "rgb" else 1
    count = info.width * info.height * channels
    if details.kind == 4:
        row_bytes = -(-info.width // 8)
        packed = _raw(content, details.start, info.height * row_bytes, np.uint8).reshape(info.height, row_bytes)
        values = 1 - np.unpackbits(packed, axis=1, count=info.width)  # 1 is black
    elif details.kind in (5, 6):
        values = _raw(content, details.start, count, np.uint8 if details.peak <= 255 else ">u2")
    else:
        values = _plain(_COMMENT.sub(b"", content[details.start - 1 :]), details.kind, count)
        values = 1 - values if details.kind == 1 else values
    if values.max() > details.peak:
        raise FormatError(f"values must be at most {details.peak} as the header states, got {values.max()}")

    # Scale to the whole range, rounded.
    white = 255 if details.peak <= 255 else 65535
    scaled = values.astype(np.uint8 if white == 255 else np.uint16, copy=False)
    if details.peak != white:
        table = (np.arange(details.peak + 1, dtype=np.int64) * (2 * white) + details.peak) // (2 * details.peak)
        scaled = table.astype(scaled.dtype)[values]
    return scaled.reshape(info.height, info.width, *([3] if channels == 3 else []))


def _raw(content: bytes, start: int, count: int, dtype: Any) -> NDArray[Any]:
    needed = count * np.dtype(dtype).itemsize
    if len(content) - start < needed:
        raise FormatError(f"corrupt or truncated ({needed:,} bytes of pixels needed, got {len(content) - start:,})")
    return np.frombuffer(content, dtype, count, start)


def _plain(text: bytes, kind: int, count: int) -> NDArray[Any]:
    """Samples in decimal; the digits of a bilevel file may touch."""
    if kind == 1:
        digits = text.translate(None, b" \t\n\r\v\f")[:count]
        values: NDArray[Any] = np.frombuffer(digits, np.uint8).astype(np.int16) - ord("0")
    else:
        words = (int(word[0][:6]) for word in islice(_WORD.finditer(text), count))
        values = np.fromiter(words, np.int32)
    if len(values) < count:
        raise FormatError(f"corrupt or truncated ({count:,} values needed, got {len(values):,})")
    if values.size and (values.min() < 0 or (kind == 1 and values.max() > 1)):
        raise FormatError("corrupt or truncated (a value below 0, or none of 0 and 1)")
    return values
