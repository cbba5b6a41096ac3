"""Orientation out of EXIF and XMP blocks, which often are damaged and never may cost the pixels."""

from __future__ import annotations

import re
import struct

ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:=["']|>)\s*([0-9]+)""")


def exif_orientation(block: bytes) -> int | None:
    """The orientation of an EXIF block, with or without the prefix of JPEG files; None where it states none.

    Raises:
        ValueError: the block is damaged, or its orientation is none of 1 to 8; the text goes into a note.
    Source: Exif 2.32, section 4.6; TIFF 6.0, section 2.
    """
    tiff = block[6:] if block.startswith(b"Exif\0\0") else block
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        raise ValueError("EXIF cannot be read")
    try:
        magic, start = struct.unpack_from(f"{order}HI", tiff, 2)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        if magic != 42:
            raise ValueError("EXIF cannot be read")
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, entry)
            if tag == ORIENTATION:
                if kind not in (_SHORT, _LONG) or values != 1:
                    raise ValueError("EXIF orientation is no integer, ignored")
                (value,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), tiff, entry + 8)
                return checked_orientation(value, "EXIF")
    except struct.error:
        raise ValueError("EXIF cannot be read") from None
    return None


EXIF_TEXTS = {0x010F: "make", 0x0110: "model", 0x0131: "software"}
_MOST_TEXT_BYTES = 100


def exif_texts(tiff: bytes) -> dict[str, str]:
    """Camera and program that an EXIF block names, by the names of EXIF_TEXTS; what is damaged is left out.

    Source: Exif 2.32, section 4.6.4.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    found: dict[str, str] = {}
    if order is None:
        return found
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, size, offset = struct.unpack_from(f"{order}HHII", tiff, entry)
            if tag in EXIF_TEXTS and kind == 2:
                place = entry + 8 if size <= 4 else offset
                text = tiff[place : place + min(size, _MOST_TEXT_BYTES)].split(b"\0")[0]
                found[EXIF_TEXTS[tag]] = text.decode("ascii", "replace").strip()
    except struct.error:
        pass
    return {name: text for name, text in found.items() if text}


def xmp_orientation(packet: bytes) -> int | None:
    """The orientation that an XMP packet states; None where it states none. Errors as `exif_orientation`."""
    found = _XMP_ORIENTATION.search(packet)
    return None if found is None else checked_orientation(int(found[1][:3]), "XMP")


def checked_orientation(value: int, where: str) -> int | None:
    """1 to 8, or None for 0, which some writers put for "unknown". Errors as `exif_orientation`."""
    if not 0 <= value <= 8:
        raise ValueError(f"{where} orientation must be 1 to 8, got {value}, ignored")
    return value or None


def orientation_of(exif: bytes | None, xmp: bytes | None) -> tuple[int, tuple[str, ...]]:
    """(orientation, notes) of a file: EXIF decides, XMP where EXIF has none, as Pillow's `exif_transpose`."""
    notes = []
    for read, block in ((exif_orientation, exif), (xmp_orientation, xmp)):
        try:
            value = None if block is None else read(block)
        except ValueError as error:
            notes.append(str(error))
            continue
        if value is not None:
            return value, tuple(notes)
    return 1, tuple(notes)
