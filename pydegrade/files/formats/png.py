"""PNG: chunks are walked here, pixels are unpacked by Pillow from the critical chunks alone.

So no block beside the pixels (profile, EXIF, density, text) can make a good image unreadable, and depth, transparency and
animation are taken from the file instead of from what Pillow keeps of them. Source: PNG, third edition (W3C 2025).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from ..strips import array_of, converted
from .info import SIDE_BLOCK_BYTES, FormatError, Info
from .side_blocks import orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS = {_GRAY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GRAY_ALPHA: (8, 16), _RGB_ALPHA: (8, 16)}
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_SIDE = (b"eXIf", b"iCCP", b"gAMA", b"sRGB", b"cICP", b"tRNS", b"acTL", b"iTXt", b"tEXt", b"zTXt")
_COUNTED_BYTES = 2**20
MOST_UNPACKED = 1032
"""Bytes that deflate can make of one: 258 of every two bits (zlib's technical details)."""
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_EXIF_KEYWORD = b"Raw profile type exif"
_GAMMA_OF_SRGB = range(44000, 47001)
"""What gAMA says of images meant for screens, times 100000: 1/2.2, with room for how it was rounded."""


@dataclass(frozen=True)
class _Details:
    color_type: int
    transparent: tuple[int, ...]  # stored sample values of tRNS, or alphas of a palette; empty without tRNS


def inspect(stream: BinaryIO) -> Info:
    """The facts of a file, from its chunks; pixels are skipped."""
    blocks: dict[bytes, bytes] = {}
    notes: list[str] = []
    damaged = set()
    header = b""
    for name, start, length in _chunks(stream):
        if not header and name != b"IHDR":
            raise FormatError("corrupt or truncated (no IHDR at the beginning)")
        if name == b"IHDR":
            header = header or _body(stream, start, min(length, 14))
        elif name in _SIDE and length <= SIDE_BLOCK_BYTES:
            body = _body(stream, start, length)
            (crc,) = struct.unpack(">I", stream.read(4).ljust(4, b"\0"))
            key = name
            if name in (b"iTXt", b"tEXt", b"zTXt"):
                key = body.partition(b"\0")[0]
                if key not in (_XMP_KEYWORD, _RAW_EXIF_KEYWORD):
                    continue
            if zlib.crc32(body, zlib.crc32(name)) != crc:
                damaged.add(name.decode())
            else:
                blocks.setdefault(key, name + body)
        elif name[:1].isupper() and name not in _CRITICAL:
            raise FormatError(f"must be a PNG that everyone reads, got one with the critical chunk {name.decode()}")
    notes += [f"{name} is damaged, ignored" for name in sorted(damaged)]
    if len(header) != 13:
        raise FormatError("corrupt or truncated (no whole IHDR)")
    width, height, depth, color_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(color_type, ()) or compression or filtering or interlace > 1:
        raise FormatError(f"corrupt or truncated (IHDR states color type {color_type} of {depth} bits)")

    # Blocks beside the pixels.
    transparent = _transparent(blocks.get(b"tRNS"), color_type, depth, notes)
    exif = blocks[b"eXIf"][4:] if b"eXIf" in blocks else _raw_exif(blocks.get(_RAW_EXIF_KEYWORD), notes)
    orientation, more = orientation_of(exif, _xmp(blocks.get(_XMP_KEYWORD), notes))
    _note_colours(blocks, notes)
    return Info(
        width,
        height,
        "gray" if color_type in (_GRAY, _GRAY_ALPHA) else "rgb",
        color_type in (_GRAY_ALPHA, _RGB_ALPHA) or bool(transparent),
        8 if color_type == _PALETTE else depth,
        frames=_frames(blocks.get(b"acTL"), notes),
        orientation=orientation,
        profile=_profile(blocks.get(b"iCCP"), notes),
        bytes_per_px=_bytes_per_px(color_type, depth, bool(transparent)),
        notes=(*notes, *more),
        details=_Details(color_type, transparent),
    )


def _bytes_per_px(color_type: int, depth: int, transparent: bool) -> int:
    """Pillow holds one channel in a byte or two, several in four bytes; the array stands beside it."""
    channels = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}[color_type]
    sample_bytes = 2 if depth == 16 else 1
    held = sample_bytes if channels == 1 else 4
    stored = channels * sample_bytes
    if depth == 16 and channels >= 3:
        held += channels  # the lower bytes come from a second reading
    # What a palette or the transparent colour makes of stored samples stands beside these.
    looked_up = (3 + transparent) if color_type == _PALETTE else (channels + 1) * sample_bytes * transparent
    return max(held + stored, stored + looked_up)


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset of the body, its length) of every chunk up to IEND or the end of the file."""
    stream.seek(len(SIGNATURE))
    position = len(SIGNATURE)
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if not (name.isalpha() and name.isascii()):
            raise FormatError("corrupt or truncated (no chunk where one must begin)")
        yield name, position + 8, length
        if name == b"IEND":
            return
        position += 12 + length
        stream.seek(position)


def _body(stream: BinaryIO, start: int, length: int) -> bytes:
    stream.seek(start)
    return stream.read(length)


def _transparent(block: bytes | None, color_type: int, depth: int, notes: list[str]) -> tuple[int, ...]:
    if block is None:
        return ()
    body = block[4:]
    if color_type == _PALETTE and 1 <= len(body) <= 256:
        return tuple(body)
    samples = {_GRAY: 1, _RGB: 3}.get(color_type)
    if samples is None or len(body) != 2 * samples:
        notes.append("tRNS does not fit the image, ignored")
        return ()
    values: tuple[int, ...] = struct.unpack(f">{samples}H", body)
    return tuple(value & (2**depth - 1) for value in values)


def _frames(block: bytes | None, notes: list[str]) -> int:
    if block is None:
        return 1
    if len(block) != 12:
        notes.append("acTL is damaged, ignored")
        return 1
    return int.from_bytes(block[4:8], "big")


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(packed, SIDE_BLOCK_BYTES)
    if not unpacking.eof:
        raise zlib.error("incomplete or too large")
    return data


def _profile(block: bytes | None, notes: list[str]) -> bytes | None:
    if block is None:
        return None
    try:
        return _unpacked(block[4:].partition(b"\0")[2][1:])
    except zlib.error:
        notes.append("iCCP is damaged, ignored")
        return None


def _xmp(block: bytes | None, notes: list[str]) -> bytes | None:
    """The packet of an iTXt chunk: keyword, 0, packed?, method, language, 0, translated keyword, 0, text."""
    if block is None or block[:4] != b"iTXt":
        return None
    flags = block[4:].partition(b"\0")[2]
    text = flags[2:].partition(b"\0")[2].partition(b"\0")[2]
    if flags[:1] != b"\1":
        return text
    try:
        return _unpacked(text)
    except zlib.error:
        notes.append("XMP is damaged, ignored")
        return None


def _raw_exif(block: bytes | None, notes: list[str]) -> bytes | None:
    """What ImageMagick stores as text: a name, the number of bytes, and hexadecimal digits over many lines."""
    if block is None or block[:4] == b"iTXt":
        return None
    text = block[4:].partition(b"\0")[2]
    try:
        text = _unpacked(text[1:]) if block[:4] == b"zTXt" else text
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except (zlib.error, ValueError):
        notes.append("EXIF as text is damaged, ignored")
        return None


def _note_colours(blocks: dict[bytes, bytes], notes: list[str]) -> None:
    """What stands for the colours and is not applied."""
    if b"cICP" in blocks and blocks[b"cICP"][4:6] != bytes((1, 13)):
        notes.append("colours of cICP (not sRGB) are ignored")
    elif b"gAMA" in blocks and not blocks.keys() & {b"iCCP", b"sRGB", b"cICP"}:
        if len(blocks[b"gAMA"]) != 8:
            notes.append("gAMA is damaged, ignored")
        else:
            gamma = int.from_bytes(blocks[b"gAMA"][4:], "big")
            if gamma not in _GAMMA_OF_SRGB:
                notes.append(f"gamma {gamma / 100000:g} of gAMA is ignored")


def decode(content: bytes, info: Info) -> NDArray[Any]:
    """Pixels of a whole file: uint8 or uint16, [H, W] or [H, W, C]."""
    header, palette, rows = _critical(content)
    _check_ratio(header, rows)
    array = _unpacked_pixels(header, palette, rows)
    # Pillow leaves rows black that a file lacks; a row that is not black is there, and so are all before it.
    if header[12] or not array[-1].any():
        _check_all_rows(header, rows)
    return _as_stated(array, header, palette, info)


def _unpacked_pixels(header: bytes, palette: bytes, rows: list[memoryview]) -> NDArray[Any]:
    """Samples as they are stored, uint8 or uint16; palettes are not looked up."""
    depth, color_type = header[8], header[9]
    if depth < 16:
        array = _pillow(header, palette, rows)
        return converted(array, _as_bytes) if array.dtype == bool else array
    if color_type == _GRAY_ALPHA:
        # Four bytes per pixel in the same order, filters and passes as 8-bit RGBA: read as that, pair the bytes.
        array = _pillow(header[:8] + bytes((8, _RGB_ALPHA)) + header[10:], b"", rows).view(">u2")
    elif color_type == _GRAY:
        array = _pillow(header, b"", rows)
    else:
        # Of several 16-bit channels Pillow keeps the upper byte; told the opposite byte order, it gives the lower one.
        array = _pillow(header, b"", rows, dtype=np.uint16)
        array <<= 8
        array |= _pillow(header, b"", rows, swap_bytes=True)
    return array.astype(np.uint16, copy=False)


def _as_bytes(bits: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(bits, np.uint8(255), np.uint8(0))


_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, step of rows and of columns of Adam7's passes (section 8.2)."""


def _bytes_of_rows(header: bytes) -> int:
    """Bytes of all rows of an image, their filters included, before they are packed."""
    width, height, depth, color_type = struct.unpack_from(">IIBB", header)
    bits = depth * {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}[color_type]
    passes = _PASSES if header[12] else ((0, 0, 1, 1),)
    sizes = [(-(-(height - top) // down), -(-(width - left) // right)) for top, left, down, right in passes]
    return sum(count * (1 + -(-side * bits // 8)) for count, side in sizes if count > 0 and side > 0)


def _check_ratio(header: bytes, rows: list[memoryview]) -> None:
    """FormatError where the rows cannot be in so few bytes, before memory is taken for them."""
    needed, packed = _bytes_of_rows(header), sum(map(len, rows))
    if needed > MOST_UNPACKED * packed:
        raise FormatError(f"corrupt or truncated ({needed:,} bytes of rows needed, {packed:,} bytes cannot hold them)")


def _check_all_rows(header: bytes, rows: list[memoryview]) -> None:
    """FormatError unless the stream of an image holds all of its rows."""
    needed = _bytes_of_rows(header)
    unpacking = isal_zlib.decompressobj()
    got = 0
    for chunk in rows:
        waiting: Any = chunk[8:-4]
        while len(waiting) and not unpacking.eof and got < needed:
            got += len(unpacking.decompress(waiting, _COUNTED_BYTES))
            waiting = unpacking.unconsumed_tail
    if got < needed:
        got += len(unpacking.flush())
    if got < needed:
        raise FormatError(f"corrupt or truncated ({needed:,} bytes of rows needed, got {got:,})")


def _as_stated(array: NDArray[Any], header: bytes, palette: bytes, info: Info) -> NDArray[Any]:
    """Stored samples as chunks mean them: palette looked up, the transparent colour as alpha."""
    details: _Details = info.details
    depth = header[8]
    if header[9] == _PALETTE:
        table = np.zeros((256, 3 + info.alpha), np.uint8)
        colours = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)[:256]
        table[: len(colours), :3] = colours
        if info.alpha:
            table[:, 3] = 255
            table[: len(details.transparent), 3] = details.transparent
        return converted(array, lambda part: table[part])
    if not details.transparent:
        return array

    # One stored colour is transparent.
    peak = np.iinfo(array.dtype).max
    scale = peak // (2**depth - 1)
    key = np.array([value * scale for value in details.transparent], array.dtype)

    def with_alpha(part: NDArray[Any]) -> NDArray[Any]:
        planes = part.reshape(*part.shape[:2], -1)
        alpha = np.where((planes == key).all(axis=2), 0, peak).astype(array.dtype)
        return np.dstack([planes, alpha])

    return converted(array, with_alpha)


def _critical(content: bytes) -> tuple[bytes, bytes, list[memoryview]]:
    """(IHDR, PLTE, whole IDAT chunks); their checksums hold."""
    header = palette = b""
    rows: list[memoryview] = []
    view = memoryview(content)
    for name, start, length in _chunks(BytesIO(content)):
        if name not in _CRITICAL:
            continue
        chunk = view[start - 8 : start + length + 4]
        if len(chunk) < length + 12:
            if name == b"IEND":
                break
            raise FormatError(f"corrupt or truncated (it ends within a chunk {name.decode()})")
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            if name == b"IEND":
                break
            raise FormatError(f"corrupt or truncated (checksum of a chunk {name.decode()})")
        if name == b"IHDR":
            header = header or bytes(chunk[8:-4])
        elif name == b"PLTE":
            palette = bytes(chunk[8:-4])
        elif name == b"IDAT":
            rows.append(chunk)
    return header, palette, rows


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def _pillow(
    header: bytes, palette: bytes, rows: list[memoryview], swap_bytes: bool = False, dtype: Any = None
) -> NDArray[Any]:
    """What Pillow makes of a file with these chunks and no others."""
    colours = [_chunk(b"PLTE", palette)] if header[9] == _PALETTE else []
    clean = b"".join([SIGNATURE, _chunk(b"IHDR", header), *colours, *rows, _chunk(b"IEND", b"")])
    with PngImageFile(BytesIO(clean)) as image:
        if swap_bytes:
            image.tile = [_with_swapped_bytes(tile) for tile in image.tile]
        return array_of(image, dtype)


def _with_swapped_bytes(tile: Any) -> Any:
    codec, extents, offset, arguments = tile
    rawmode = arguments if isinstance(arguments, str) else arguments[0]
    if not rawmode.endswith(";16B"):
        raise FormatError(f"16-bit pixels must be stored as RGB or RGBA, got layout {rawmode}")
    swapped = rawmode[:-1] + "L"
    changed = (codec, extents, offset, swapped if isinstance(arguments, str) else (swapped, *arguments[1:]))
    return changed if type(tile) is tuple else type(tile)(*changed)  # a plain tuple before Pillow 11.1
