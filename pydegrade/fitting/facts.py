"""What a file tells beside its pixels: format, size, JPEG quality and subsampling, camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..files.formats import jpeg
from ..files.formats.info import FormatError
from ..files.formats.side_blocks import exif_texts
from ..files.paths import display_name
from ..files.read import Header

# ITU-T T.81, tables K.1 and K.2, row by row: what libjpeg scales.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 99, 47, 66, 99, 99)
"""The upper left 4 x 4 of table K.2; all other entries are 99."""


@lru_cache(maxsize=1)
def libjpeg_tables() -> NDArray[np.int64]:
    """Tables of libjpeg's qualities 1 to 100, int64 [100, 2, 64]: luma and chroma, row by row, entries 1 to 255.

    Source: libjpeg's jpeg_quality_scaling: s = 5000 / q below 50, else 200 - 2 q; entry = (base s + 50) / 100, whole.
    """
    chroma = np.full((8, 8), 99)
    chroma[:4, :4] = np.reshape(_CHROMA, (4, 4))
    base = np.stack([np.array(_LUMA), chroma.reshape(-1)])
    quality = np.arange(1, 101)
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((base * percent[:, None, None] + 50) // 100, 1, 255)


@dataclass(frozen=True)
class JpegFacts:
    """How a JPEG file was written.

    Attributes:
        quality: of libjpeg, 1 to 100, where its tables are exactly those; else None.
        like_quality: the quality whose tables are nearest, in the mean of the logarithms.
        subsampling: "444", "422", "420", "440", "411", "gray", or the factors ("2x2,1x2,1x1").
    """

    quality: int | None
    like_quality: int
    subsampling: str


@dataclass(frozen=True)
class FileFacts:
    """What is known of an image file without looking at pixels.

    Attributes:
        format: its name.
        height, width: px, upright.
        file_bytes: size of the file.
        jpeg: of a JPEG file.
        camera: make and model by EXIF; "" for none.
        software: that wrote the file by EXIF; "" for none.
    """

    format: str
    height: int
    width: int
    file_bytes: int
    jpeg: JpegFacts | None = None
    camera: str = ""
    software: str = ""


def facts_of(header: Header, content: bytes, name: str) -> FileFacts:
    """Facts of a file whose header was read.

    Args:
        header: from `files.read.open_image`.
        content: the file's bytes.
        name: for messages.
    Raises:
        ImageError: the tables of a JPEG cannot be read.
    """
    plain = FileFacts(header.format, header.height, header.width, header.file_bytes)
    if header.format != "JPEG":
        return plain
    try:
        coded = jpeg.coding(BytesIO(content))
    except FormatError as error:
        raise ImageError(f"{display_name(name)}: {error}") from None
    texts = exif_texts(coded.exif)
    make, model = texts.get("make", ""), texts.get("model", "")
    camera = model if model.startswith(make) else f"{make} {model}".strip()
    return FileFacts(
        plain.format,
        plain.height,
        plain.width,
        plain.file_bytes,
        jpeg_facts(coded),
        display_name(camera),
        display_name(texts.get("software", "")),
    )


def jpeg_facts(coded: jpeg.Coding) -> JpegFacts:
    """Quality and subsampling from tables and factors."""
    tables = [np.array(table) for table in coded.tables[:3]]
    known = libjpeg_tables()
    wanted = np.stack([known[:, min(place, 1)] for place in range(len(tables))], 1)  # [100, components, 64]
    # Without "baseline" libjpeg lets entries grow beyond 255.
    equal = (wanted == np.minimum(tables, 255)).all(axis=(1, 2))
    distance = np.abs(np.log(wanted) - np.log(np.maximum(tables, 1))).mean(axis=(1, 2))
    exact = np.flatnonzero(equal)
    return JpegFacts(
        int(exact[-1]) + 1 if len(exact) else None, int(distance.argmin()) + 1, _subsampling(coded.sampling[:3])
    )


def _subsampling(factors: Sequence[tuple[int, int]]) -> str:
    if len(factors) == 1:
        return "gray"
    names = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}
    (width, height), *chroma = factors
    if chroma[0] == chroma[-1] and width % max(chroma[0][0], 1) == 0 and height % max(chroma[0][1], 1) == 0:
        ratio = (width // max(chroma[0][0], 1), height // max(chroma[0][1], 1))
        if ratio in names:
            return names[ratio]
    return ",".join(f"{one}x{other}" for one, other in factors)
