"""Images: every format, depth, layout and compression, side blocks, mutated bytes, and things that are no images."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import product
from .harness import Case, Failure, captured, oracle, snapshot

Array = NDArray[Any]


@dataclass(frozen=True)
class Made:
    """A file.

    Attributes:
        label: what it is.
        suffix: of its name.
        content: its bytes.
        full: its pixels with the channels and the depth of the file, upright; None where nobody can say.
        tolerance: levels of 255 by which a decoder may differ.
        must_open: whether refusing it is wrong; other files may be refused by name.
        profile: whether it has a colour profile, which reading for training may convert.
    """

    label: str
    suffix: str
    content: bytes
    full: Array | None = None
    tolerance: int = 0
    must_open: bool = False
    profile: bool = False


# ---- pixels


def pixels(case: Case, channels: int, bits: int = 8, largest: int = 40) -> Array:
    """Random pixels: noise, or a gradient; some with constant or extreme values."""
    height, width = (case.random.choice((1, 2, 3, 7, 8, 9, 16, 17, 24, 31, largest)) for _ in range(2))
    if case.random.random() < 0.8:
        height, width = max(height, 8), max(width, 8)
    high = 2**bits - 1
    shape = (height, width, channels)
    kind = case.random.choice(("noise", "ramp", "flat"))
    if kind == "noise":
        values = case.numbers.integers(0, high, shape, endpoint=True)
    elif kind == "ramp":
        ramp = np.linspace(0, high, height * width * channels).reshape(shape)
        values = np.rint(ramp).astype(np.int64)
    else:
        values = np.full(shape, case.random.choice((0, high, high // 2, 1)), np.int64)
    return values.astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)


def scaled(values: Array, bits: int) -> Array:
    """Values of fewer than 8 bits spread over 8."""
    return (values.astype(np.int64) * 255 // (2**bits - 1)).astype(np.uint8) if bits < 8 else values


def squeezed(values: Array) -> Array:
    return values[..., 0] if values.shape[2] == 1 else values


def oriented(values: Array, orientation: int) -> Array:
    """Stored pixels as EXIF's orientation says they are to be seen (Exif 2.32, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def rgb8(full: Array) -> Array:
    """What training reads: RGB of 8 bits, alpha dropped."""
    values = full if full.ndim == 3 else full[..., None]
    colour = values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, axis=2)
    return ((colour.astype(np.int64) + 128) // 257).astype(np.uint8) if colour.dtype == np.uint16 else colour


# ---- PNG, written here, so that every block can be wrong

_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) if crc is None else crc)
    )


def _png_rows(values: Array, bits: int) -> bytes:
    """Rows of one pass, unfiltered."""
    height, width, channels = values.shape
    if bits == 16:
        rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    elif bits == 8:
        rows = values.reshape(height, -1).astype(np.uint8)
    else:
        places = np.arange(bits - 1, -1, -1)
        split = (values.reshape(height, width * channels, 1) >> places & 1).astype(np.uint8)
        rows = np.packbits(split.reshape(height, -1), axis=1)
    return np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()


def png(values: Array, colour_type: int, bits: int, interlace: bool, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of stored samples [H, W, channels]; `before` and `after` are blocks around IDAT."""
    height, width = values.shape[:2]
    raw = b""
    for top, left, down, right in _ADAM7 if interlace else ((0, 0, 1, 1),):
        part = values[top::down, left::right]
        if part.size:
            raw += _png_rows(part, bits)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlace))
    blocks = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(raw, 1)) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + blocks


_PNG_KINDS = [(0, b) for b in (1, 2, 4, 8, 16)] + [(2, 8), (2, 16)] + [(3, b) for b in (1, 2, 4, 8)]
_PNG_KINDS += [(4, 8), (4, 16), (6, 8), (6, 16)]
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def make_png(case: Case) -> Made:
    colour_type, bits = case.random.choice(_PNG_KINDS)
    interlace = case.random.random() < 0.3
    stored = pixels(case, _PNG_CHANNELS[colour_type], bits)
    before, label = b"", f"png type {colour_type} {bits} bits{' interlaced' if interlace else ''}"
    if colour_type == 3:
        palette = case.numbers.integers(0, 256, (2**bits, 3), dtype=np.uint8)
        full, before = palette[stored[..., 0]], chunk(b"PLTE", palette.tobytes())
        if case.random.random() < 0.3:
            alpha = case.numbers.integers(0, 256, case.random.randint(1, 2**bits), dtype=np.uint8)
            before += chunk(b"tRNS", alpha.tobytes())
            whole = np.concatenate([alpha, np.full(2**bits - len(alpha), 255, np.uint8)])
            full, label = np.dstack([full, whole[stored[..., 0]]]), label + " tRNS"
    else:
        full = squeezed(scaled(stored, bits))
        if colour_type in (0, 2) and case.random.random() < 0.25:
            # One colour is transparent.
            colour = stored[case.random.randrange(stored.shape[0]), case.random.randrange(stored.shape[1])]
            before = chunk(b"tRNS", colour.astype(">u2").tobytes())
            opaque = (stored != colour).any(axis=2)
            high = 65535 if bits == 16 else 255
            full = np.dstack([full, np.where(opaque, high, 0).astype(full.dtype)])
            label += " tRNS"
    extra, what, orientation, profile = (b"", "", 1, False)
    if case.random.random() < 0.5:
        extra, what, orientation, profile = png_side_blocks(case)
    before_first = case.random.random() < 0.7 or colour_type == 3
    content = (
        png(stored, colour_type, bits, interlace, extra + before)
        if before_first
        else png(stored, colour_type, bits, interlace, before, extra)
    )
    seen = None if orientation < 0 else oriented(full, orientation)
    return Made(label + what, ".png", content, seen, must_open=True, profile=profile)


def hostile_exif(case: Case) -> tuple[bytes, str, int]:
    """EXIF: right, or with an orientation of another type or value; the orientation that then holds."""
    order = case.random.choice("<>")
    kind = case.random.choice(range(1, 13))
    value = case.random.choice([1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 255, 65535])
    count = case.random.choice([1, 1, 1, 0, 2, 2**31])
    if case.random.random() < 0.5:
        kind, count = 3, 1
    sizes = {1: "B", 2: "c", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f"}
    if kind in sizes and kind != 2:
        number: Any = float(value) if kind == 11 else min(value, 127 if kind == 6 else 255 if kind in (1, 7) else 32767)
        if kind == 11 and case.random.random() < 0.3:
            number = float("nan")
        data = struct.pack(order + sizes[kind], number).ljust(4, b"\0")
    else:
        data = struct.pack(order + "I", case.random.choice([8, 26, 0, 2**32 - 1]))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entry = struct.pack(order + "HHI", 0x0112, kind, count) + data
    body = (
        head + struct.pack(order + "H", 1) + entry + struct.pack(order + "I", case.random.choice([0, 0, 8, 2**32 - 1]))
    )
    holds = value if kind == 3 and count == 1 and 1 <= value <= 8 else 0
    if kind == 4 and count == 1 and 1 <= value <= 8:
        holds = -1  # LONG instead of SHORT: readers differ, both are right
    what = f" exif orientation type {kind} count {count} value {value}"
    if case.random.random() < 0.15:
        body, holds, what = body[: case.random.randrange(len(body))], -1, " exif cut"
    return body, what, holds


def png_side_blocks(case: Case) -> tuple[bytes, str, int, bool]:
    """Blocks that do not change pixels: (bytes, label, orientation, has a readable profile); orientation 0 = not sure."""
    kind = case.random.choice(("eXIf", "pHYs", "gAMA", "cHRM", "sRGB", "iCCP", "tEXt", "zTXt", "iTXt", "sBIT", "tIME",
        "oFFs",
                               "eXIf", "junk"))  # fmt: skip
    if kind == "eXIf":
        body, what, holds = hostile_exif(case)
        return chunk(b"eXIf", body), what, holds, False
    if kind == "iCCP":
        bad = case.random.choice((b"x\0\0" + zlib.compress(b"not a profile" * 20), b"x", b"", b"x\0\0" + b"junk" * 9,
                                  b"x\0\1" + zlib.compress(b"")))  # fmt: skip
        return chunk(b"iCCP", bad), f" iCCP {len(bad)}", 1, False
    body = case.random.randbytes(case.random.choice((0, 1, 2, 4, 8, 9, 32, 300)))
    if kind == "zTXt" and case.random.random() < 0.4:
        body = b"k\0\0" + zlib.compress(bytes(2**22))
    if kind == "iTXt" and case.random.random() < 0.4:
        body = b"XML:com.adobe.xmp\0\0\0\0\0" + body
    if kind == "pHYs" and case.random.random() < 0.5:
        body = struct.pack(">IIB", 0, 2**31 - 1, 1)
    if kind == "gAMA" and case.random.random() < 0.5:
        body = struct.pack(">I", 0)
    name = b"juNk" if kind == "junk" else kind.encode()
    return chunk(name, body), f" {kind} {len(body)} bytes", 1, False


# ---- TIFF


def make_tiff(case: Case) -> Made:
    import tifffile

    dtype, bits = case.random.choice([("u1", 8)] * 4 + [("u2", 16)] * 4 + [("u4", 32), ("i1", 8), ("i2", 16), ("f2",
    16),
                                      ("f4", 32), ("f8", 64), ("bool", 1), ("u8", 64)])  # fmt: skip
    channels = case.random.choice((1, 1, 2, 3, 3, 4, 5)) if dtype != "bool" else 1
    plain = dtype in ("u1", "u2")
    values = pixels(case, channels, bits if plain else 8)
    if dtype == "bool":
        data = values > 127
    elif dtype.startswith("f"):
        data = (values / 255).astype(dtype)
        if case.random.random() < 0.2:
            data[0, 0, 0] = np.nan
    else:
        data = values.astype(dtype) if plain else values.view(np.int8 if dtype == "i1" else np.uint8).astype(dtype)
    options: dict[str, Any] = {"byteorder": case.random.choice("<>"), "bigtiff": case.random.random() < 0.15}
    options["photometric"] = "rgb" if channels in (3, 4) else case.random.choice(("minisblack", "miniswhite"))
    planar = channels > 1 and case.random.random() < 0.4
    if channels > 1:
        options["planarconfig"] = "separate" if planar else "contig"
        if planar:
            data = np.ascontiguousarray(data.transpose(2, 0, 1))
    else:
        data = data[..., 0]
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    elif channels == 5:
        options["photometric"], options["extrasamples"] = "rgb", ["unassalpha", "unspecified"]
    options["compression"] = case.random.choice((None, None, "lzw", "zlib", "packbits", "zstd", "lzma", "deflate",
        "jpeg",
                                                 "webp", "png", "jpeg2000"))  # fmt: skip
    if dtype == "bool" and options["compression"] not in (None, "packbits"):
        options["compression"] = None
    if options["compression"] in ("lzw", "zlib", "deflate") and case.random.random() < 0.5 and plain:
        options["predictor"] = True
    if case.random.random() < 0.35:
        options["tile"] = case.random.choice(((16, 16), (32, 16), (64, 64)))
    elif case.random.random() < 0.5:
        options["rowsperstrip"] = case.random.choice((1, 3, 8))
    lossy = options["compression"] in ("jpeg", "webp", "jpeg2000")
    stream = io.BytesIO()
    try:
        tifffile.imwrite(stream, data, metadata=None, **options)
    except Exception:
        return make_png(case)  # a combination that does not exist
    shown = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None and key != "photometric")
    label = f"tiff {dtype} {channels} channels {options['photometric']}, {shown}"
    full = None
    if plain and channels != 5 and not lossy:
        high = 2**bits - 1
        full = squeezed(high - values if options["photometric"] == "miniswhite" and channels == 1 else values)
        if options["photometric"] == "miniswhite" and channels == 2:
            full = None
    elif dtype == "bool":
        stored = (values[..., 0] > 127) ^ (options["photometric"] == "miniswhite")
        full = np.where(stored, 255, 0).astype(np.uint8)
    simple = options["compression"] in (None, "lzw", "zlib", "deflate", "packbits")
    must_open = plain and channels in (1, 3) and simple and full is not None
    if full is None and not lossy:
        # Signed, floating and wide samples have no 8-bit meaning that a reader could guess: refused by name.
        return Made(label, ".tif", stream.getvalue(), None if channels in (2, 5) else np.zeros((0, 0), np.uint8))
    return Made(label, case.random.choice((".tif", ".tiff")), stream.getvalue(), full, must_open=must_open)


# ---- formats with one writer


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _cv2_rgb(content: bytes, orient: bool = False) -> Array | None:
    """What OpenCV decodes, RGB or gray, with the depth of the file."""
    flags = cv2.IMREAD_UNCHANGED if not orient else cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    try:
        with captured(), oracle():
            found = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    if found is None or found.ndim == 2:
        return found
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(found.shape[2])
    return None if order is None else found[..., order]


def make_jpeg(case: Case) -> Made:
    mode = case.random.choice(("L", "RGB", "RGB", "CMYK"))
    values = pixels(case, {"L": 1, "RGB": 3, "CMYK": 4}[mode])
    image = Image.fromarray(squeezed(values), mode)
    options: dict[str, Any] = {
        "quality": case.random.choice((1, 30, 75, 95, 100)),
        "progressive": case.random.random() < 0.4,
    }
    if mode == "RGB":
        options["subsampling"] = case.random.choice((0, 1, 2))
    orientation, what = 1, ""
    if case.random.random() < 0.4:
        body, what, orientation = hostile_exif(case)
        options["exif"] = b"Exif\0\0" + body
    if case.random.random() < 0.2:
        options["icc_profile"] = case.random.choice((b"broken profile" * 10, b"\0" * 128))
        what += " broken profile"
    content = _saved(image, "JPEG", **options)
    full = None if mode == "CMYK" else _cv2_rgb(content)
    full = None if full is None or orientation < 0 else oriented(full, orientation)
    label = f"jpeg {mode} {'progressive ' if options['progressive'] else ''}q{options['quality']}{what}"
    return Made(label, case.random.choice((".jpg", ".jpeg", ".JPG")), content, full, 4, must_open=True)


def make_other(case: Case) -> Made:
    """WebP, BMP, the PNM family, GIF, TGA, JPEG 2000, PCX, ICO, AVIF, .npy."""
    kind = case.random.choice(
        ("webp", "webp", "bmp", "bmp", "pnm", "pnm", "pnm", "gif", "tga", "jp2", "npy", "npy", "ico")
    )
    if kind == "webp":
        channels = case.random.choice((3, 4))
        values = pixels(case, channels)
        if channels == 4:
            values[..., 3] = np.maximum(values[..., 3], 1)
            values[0, 0, 3] = 128  # without transparency the encoder leaves the channel out
        lossless = case.random.random() < 0.6
        image = Image.fromarray(values, "RGB" if channels == 3 else "RGBA")
        content = _saved(image, "WEBP", lossless=lossless, quality=80, exact=True)
        return Made(
            f"webp {channels} channels lossless {lossless}",
            ".webp",
            content,
            values if lossless else None,
            must_open=True,
        )
    if kind == "bmp":
        mode = case.random.choice(("1", "L", "RGB", "P"))
        values = pixels(case, 3 if mode == "RGB" else 1)
        if mode == "1":
            bits = values[..., 0] > 127
            content, full = _saved(Image.fromarray(bits), "BMP"), np.where(bits, 255, 0).astype(np.uint8)
        elif mode == "P":
            image = Image.fromarray(values[..., 0], "L").convert("P")
            palette = case.numbers.integers(0, 256, (256, 3), dtype=np.uint8)
            image.putpalette(palette.tobytes())
            content, full = _saved(image, "BMP"), palette[np.asarray(image)]
        else:
            content, full = _saved(Image.fromarray(squeezed(values)), "BMP"), squeezed(values)
        return Made(f"bmp {mode}", ".bmp", content, full, must_open=True)
    if kind == "pnm":
        return _make_pnm(case)
    if kind == "npy":
        return _make_npy(case)
    if kind == "gif":
        frames = [
            Image.fromarray(pixels(case, 3, largest=16)[:8, :8], "RGB") for _ in range(case.random.choice((1, 1, 3)))
        ]
        content = _saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
        return Made(f"gif of {len(frames)} frames", case.random.choice((".gif", ".png")), content)
    values = pixels(case, 3)
    content = _saved(Image.fromarray(values, "RGB"), {"tga": "TGA", "jp2": "JPEG2000", "ico": "ICO"}[kind])
    return Made(kind, case.random.choice((f".{kind}", ".png")), content, values if kind == "tga" else None)


def _make_pnm(case: Case) -> Made:
    letter = case.random.choice((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P5", b"P6"))
    largest = 1 if letter in (b"P1", b"P4") else case.random.choice((255, 255, 65535, 1, 100, 254, 1023, 256))
    channels = 3 if letter in (b"P3", b"P6") else 1
    values = pixels(case, channels, 16).astype(np.int64) % (largest + 1)
    height, width = values.shape[:2]
    comment = case.random.choice((b"", b"# made here\n"))
    head = letter + b"\n" + comment + b"%d %d\n" % (width, height)
    head += b"" if largest == 1 and letter in (b"P1", b"P4") else b"%d\n" % largest
    if letter in (b"P1", b"P2", b"P3"):
        body = b" ".join(b"%d" % value for value in values.ravel()) + b"\n"
    elif letter == b"P4":
        body = np.packbits(values[..., 0].astype(np.uint8), axis=1).tobytes()
    else:
        body = values.astype(">u2" if largest > 255 else np.uint8).tobytes()
    bitmap = letter in (b"P1", b"P4")
    full: Array | None
    if bitmap:
        full = np.where(values[..., 0] == 0, 255, 0).astype(np.uint8)
    elif largest in (255, 65535):
        full = squeezed(values.astype(np.uint8 if largest == 255 else np.uint16))
    else:
        full = None
    suffix = ".pgm" if channels == 1 and not bitmap else ".ppm"
    must_open = letter in (b"P5", b"P6") and largest == 255
    return Made(f"pnm {letter.decode()} up to {largest}", suffix, head + body, full, must_open=must_open)


def _make_npy(case: Case) -> Made:
    values = pixels(case, 3)
    kind = case.random.choice(("good", "fortran", "float", "gray", "object", "huge", "cut", "python2", "fields"))
    stream = io.BytesIO()
    full: Array | None = np.zeros((0, 0), np.uint8)
    if kind in ("good", "fortran"):
        np.save(stream, np.asfortranarray(values) if kind == "fortran" else values)
        full = values
    elif kind == "float":
        np.save(stream, values.astype(np.float32))
    elif kind == "gray":
        np.save(stream, values[..., 0])
        full = None
    elif kind == "object":
        np.save(stream, np.array([Marker(case.folder / "executed")], object), allow_pickle=True)
    elif kind == "fields":
        np.save(stream, np.zeros(3, [("a", "u1"), ("b", "f4")]))
    else:
        np.save(stream, values)
        content = stream.getvalue()
        shape = {"huge": b"(99999999, 9999999, 3)", "cut": b"", "python2": b"(9L, 9L, 3L)"}[kind]
        if shape:
            text = b"{'descr': '|u1', 'fortran_order': False, 'shape': %s, }" % shape
            text = text.ljust(117) + b"\n"
            content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content[-100:]
        else:
            content = content[: case.random.randrange(len(content))]
        return Made(f"npy {kind}", ".npy", content, None if kind == "python2" else np.zeros((0, 0), np.uint8))
    return Made(f"npy {kind}", ".npy", stream.getvalue(), full, must_open=kind == "good")


class Marker:
    """Unpickling this touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[int], int], tuple[int]]:
        return os.system, (f"touch {self.path}",)  # type: ignore[return-value]


# ---- what is no image, or far too large


def make_hostile(case: Case) -> Made:
    nothing = np.zeros((0, 0), np.uint8)
    kinds: dict[str, Callable[[], tuple[str, bytes]]] = {
        "empty": lambda: (".png", b""),
        "text": lambda: (".png", b"<html>404 not found</html>" * 9),
        "eps": lambda: (".png", _EPS),
        "eps with a preview": lambda: (".tif", b"\xc5\xd0\xd3\xc6" + struct.pack("<IIIIII", 30, len(_EPS), 0, 0, 0,
            0) + b"\xff\xff" + _EPS),
        "pdf": lambda: (".jpg", b"%PDF-1.4\n%%EOF\n"),
        "svg": lambda: (".png", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
        "png short of rows": lambda: (".png", _png_short_of_rows()),
        "png bomb": lambda: (".png", _png_bomb(case.random, 8)),
        "png bomb 16 bits": lambda: (".png", _png_bomb(case.random, 16)),
        "png of huge sides": lambda: (".png", png(pixels(case, 1), 0, 8, False).replace(
            b"IHDR" + b"", b"IHDR", 1)[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + b"\x08\0\0\0\0" + b"\0" * 99),
        "tiff bomb": lambda: (".tif", _tiff_bomb(case.random)),
        "tiff loop": lambda: (".tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "tiff of many tags": lambda: (".tif", b"II*\0\x08\0\0\0\xff\xff" + b"\0\1\3\0\xff\xff\xff\xff\x08\0\0\0" * 400),
        "bmp of huge sides": lambda: (".bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 2**30, 2**30,
            1, 24, 0, 0, 0, 0, 0, 0)),
        "bmp rle": lambda: (".bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 1078, 40, 30000, 4000, 1, 8, 1,
            0, 0, 0, 256, 0) + bytes(1024) + b"\xff\0" * 50),
        "pnm of huge sides": lambda: (".ppm", b"P6\n999999 999999\n255\n" + b"\0" * 99),
        "pnm of 5000 digits": lambda: (".ppm", b"P6\n" + b"9" * 5000 + b" 9\n255\n"),
        "jpeg of many scans": lambda: (".jpg", _jpeg_scans(case.random)),
        "jpeg of huge sides": lambda: (".jpg", _saved(Image.new("L", (8, 8)), "JPEG").replace(b"\x08\x00\x08\x00\x08",
            b"\x08\xff\xff\xff\xff", 1)),
        "webp of huge sides": lambda: (".webp", b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(8)),
        "gif of huge sides": lambda: (".gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(9) + b";"),
        "png without pixels": lambda: (".png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8,
            2, 0, 0, 0)) + chunk(b"IEND", b"")),
        "png of no width": lambda: (".png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 9, 8, 2,
            0, 0, 0)) + chunk(b"IEND", b"")),
        "png with text bombs": lambda: (".png", png(pixels(case, 3), 2, 8, False, chunk(b"zTXt",
            b"k\0\0" + zlib.compress(bytes(2**26), 9)) * 3)),
        "png with a profile bomb": lambda: (".png", png(pixels(case, 3), 2, 8, False, chunk(b"iCCP",
            b"k\0\0" + zlib.compress(bytes(2**27), 9)))),
    }  # fmt: skip
    kind = case.random.choice(list(kinds))
    suffix, content = kinds[kind]()
    known = (
        None
        if kind in ("png with text bombs", "png with a profile bomb", "jpeg of many scans", "bmp rle", "svg")
        else nothing
    )
    return Made(kind, suffix, content, known)


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(executed) (w) file closefile\nshowpage\n%%EOF\n"


def _png_short_of_rows() -> bytes:
    """A deflate stream that ends as it should, after a third of the rows."""
    rows = zlib.compress((b"\0" + b"\x80" * 20) * 7)
    head = struct.pack(">IIBBBBB", 20, 20, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _png_bomb(random: Random, bits: int) -> bytes:
    """Few bytes, many pixels: 100 million and more."""
    side = random.choice((11000, 20000, 40000))
    packed = zlib.compressobj(9)
    row = bytes(1 + side * bits // 8)
    data = b"".join(packed.compress(row) for _ in range(min(side, 300))) + packed.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _tiff_bomb(random: Random) -> bytes:
    side = random.choice((30000, 60000, 2**31))
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, random.choice((1, 5, 8, 32773))), (262, 3, 1), (273,
        4, 8),
            (277, 3, 1), (278, 4, side), (279, 4, 64)]  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + struct.pack("<I", 0) + bytes(64)


def _jpeg_scans(random: Random) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    image = Image.fromarray(np.frombuffer(random.randbytes(256 * 256 * 3), np.uint8).reshape(256, 256, 3))
    content = _saved(image, "JPEG", progressive=True, quality=60)
    at = content.rindex(b"\xff\xda")
    scan = content[at:-2]
    return content[:-2] + scan * random.choice((50, 300)) + b"\xff\xd9"


# ---- mutations


def mutated(case: Case, content: bytes) -> bytes:
    """Bytes with a few changes, near the start more often than elsewhere."""
    data = bytearray(content)
    for _ in range(case.random.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        at = case.random.randrange(min(len(data), case.random.choice((32, 128, len(data)))) or 1)
        kind = case.random.randrange(8)
        if kind <= 2:
            data[at] ^= 1 << case.random.randrange(8)
        elif kind == 3:
            data[at] = case.random.choice((0, 1, 127, 128, 254, 255))
        elif kind == 4:
            del data[at : at + case.random.choice((1, 2, 4, 16, 200))]
        elif kind == 5:
            data[at:at] = case.random.randbytes(case.random.choice((1, 2, 4, 16)))
        elif kind == 6:
            data[at : at + 4] = case.random.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
        else:
            del data[at:]
    return bytes(data)


def with_png_checksums(content: bytes) -> bytes:
    """A PNG whose blocks have right checksums again, so that changes reach what is behind them."""
    out, at = bytearray(content[:8]), 8
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if at + 12 + length > len(content):
            break
        out += chunk(content[at + 4 : at + 8], content[at + 8 : at + 8 + length])
        at += 12 + length
    return bytes(out + content[at:])


# ---- the round

GOOD = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
GOOD_PNG = png(GOOD, 2, 8, False)
NAMES = ("a_good.png", "z_good.png")


def make(case: Case) -> Made:
    """The image of a case."""
    kind = case.random.random()
    if kind < 0.13:
        return make_hostile(case)
    made = case.random.choice((make_png, make_png, make_tiff, make_tiff, make_jpeg, make_other))(case)
    if kind < 0.55:
        return made
    content = mutated(case, made.content)
    if made.suffix == ".png" and case.random.random() < 0.5:
        content = with_png_checksums(content)
    return Made(f"mutated {made.label}", made.suffix, content)


def check(case: Case) -> None:
    """One folder with a strange file between two good ones, read by the functions and by a command."""
    made = make(case)
    case.about(made.label)
    folder = case.folder / "in"
    folder.mkdir()
    (folder / NAMES[0]).write_bytes(GOOD_PNG)
    (folder / NAMES[1]).write_bytes(GOOD_PNG)
    path = folder / f"m_odd{made.suffix}"
    path.write_bytes(made.content)
    _no_interpreter(case)

    whole = case.call(product.read_array(), path)
    simple = case.call(product.decode_image(), path)
    _check_pixels(made, whole, simple)
    special = _special(case, folder) if case.random.random() < 0.05 else ""
    if special:
        case.about(f"{made.label}; {special}")
    run_folder(case, "in", [path.name, *([special] if special else [])])
    if (case.folder / "executed").exists():
        raise Failure("escape", "a payload was executed")


def _no_interpreter(case: Case) -> None:
    """A Ghostscript that tells when it is called."""
    tools = case.folder / "tools"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch {case.folder}/executed\n")
    (tools / "gs").chmod(0o755)
    os.environ["PATH"] = f"{tools}:/usr/bin:/bin"


def _check_pixels(made: Made, whole: Any, simple: Any) -> None:
    for name, found in (("read_array", whole), ("decode_image", simple)):
        if isinstance(found, Exception):
            if made.must_open:
                raise Failure("lost", f"{name} refuses {made.label}: {found}")
            if "m_odd" not in str(found):
                raise Failure("words", f"{name} on {made.label}: message without the file: {found}")
    full = made.full
    if full is not None and full.size == 0:
        opened = [type(found).__name__ for found in (whole, simple) if not isinstance(found, Exception)]
        if opened:
            raise Failure("wrong", f"{made.label} was read, must be refused by name")
        return
    if full is None:
        full, tolerance = independent(made), 3
        if full is None:
            return
    else:
        tolerance = made.tolerance
    if not isinstance(whole, Exception):
        _compare("read_array", made.label, np.asarray(whole), full, tolerance)
    if not isinstance(simple, Exception) and not made.profile:
        _compare("decode_image", made.label, simple.pixels, rgb8(full), tolerance)
        alpha = full.ndim == 3 and full.shape[2] in (2, 4) and full[..., -1].min() < np.iinfo(full.dtype).max
        if (full.dtype == np.uint16 or alpha) and not simple.notes:
            raise Failure("wrong", f"decode_image of {made.label}: 16 bits or alpha dropped without a note")


def _compare(name: str, label: str, found: Array, right: Array, tolerance: int) -> None:
    if found.ndim == 3 and found.shape[2] == 1:
        found = found[..., 0]
    if found.ndim == 3 and right.ndim == 2 and found.shape[2] == 3:
        right = np.repeat(right[..., None], 3, axis=2)
    if found.ndim == 2 and right.ndim == 3 and right.shape[2] == 3 and (right == right[..., :1]).all():
        right = right[..., 0]
    if found.dtype != right.dtype or found.shape != right.shape:
        got = f"{found.dtype} {found.shape}, must be {right.dtype} {right.shape}"
        raise Failure("wrong", f"{name} of {label}: {got}")
    unit = 257 if right.dtype == np.uint16 else 1
    difference = np.abs(found.astype(np.int64) - right.astype(np.int64)).max(initial=0)
    if difference > tolerance * unit:
        raise Failure("wrong", f"{name} of {label}: differs by up to {difference}, allowed {tolerance * unit}")


def independent(made: Made) -> Array | None:
    """Pixels by another decoder, where one can be trusted on damaged or lossy files: PNG and JPEG by OpenCV."""
    if made.content[:8] == b"\x89PNG\r\n\x1a\n" and b"tRNS" not in made.content and b"eXIf" not in made.content:
        if b"exif" in made.content.lower() or made.content[25:26] in (b"\x03", b"\x04"):
            return None
        return _cv2_rgb(made.content)
    return None


def _special(case: Case, folder: Path) -> str:
    """Something under an image's name that is no regular file."""
    name = "q_special.png"
    kind = case.random.choice(("fifo", "device", "zero", "folder", "dangling", "loop", "socket"))
    if kind == "fifo":
        os.mkfifo(folder / name)
    elif kind in ("device", "zero"):
        (folder / name).symlink_to("/dev/zero" if kind == "zero" else "/dev/urandom")
    elif kind == "folder":
        (folder / name).mkdir()
        return ""  # an empty folder is nothing to name
    elif kind == "dangling":
        (folder / name).symlink_to("nowhere")
    elif kind == "loop":
        (folder / name).symlink_to(name)
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(folder / name))
    return name


def run_folder(case: Case, source: str, odd: Sequence[str], command: str | None = None) -> None:
    """A command on a folder: good images are made, each odd one is made or named."""
    commands = (
        "resize",
        "resize",
        "resize",
        "apply",
        "apply",
        "apply each",
        "sample",
        "infer",
        "infer",
        "pairs",
        "preview",
        "eval",
        "estimate",
    )
    command = command or case.random.choice(commands[:-1])
    case.about(f"{command}: {case.label}")
    model = product.tiny_model()
    if command == "resize":
        done = case.command("degrade", "resize", source, "out", "--scale", "1/2")
    elif command == "apply":
        done = case.command("degrade", "apply", source, "--task", product.task_address(), "--out", "out")
    elif command == "apply each":
        done = case.command("degrade", "apply", source, "--tasks", "bicubic-x2", "--out", "out")
    elif command == "infer":
        done = case.command("pytrain", "infer", source, "--model", model, "--out", "out", "--device", "cpu")
    elif command == "sample":
        options = ("--tasks", 6, "--hr", source, "--hr-size", 8, "--space", "bicubic-x2", "--out", "out/run")
        done = case.command("degrade", "sample", *options)
        made = len(list((case.out / "run" / "lr").glob("*.png"))) if case.out.is_dir() else 0
        if made < 6 and done.code == 0:
            raise Failure("lost", f"sample: {made} of 6 pairs, code 0: {done.err[-300:]!r}")
        if not made:
            raise Failure("lost", f"sample: nothing made beside a bad image: {done.err[-300:]!r}")
    elif command == "pairs":
        done = case.command("degrade", "pairs", "--hr", source, "--model", model, "--out", "out/p")
    elif command == "preview":
        done = case.command(
            "degrade", "preview", "--hr", source, "--hr-size", 8, "--space", "bicubic-x2", "--n", 6, "-o", "out/s.png"
        )
        if not (case.out / "s.png").is_file():
            raise Failure("lost", f"preview: nothing made beside a bad image: {done.err[-300:]!r}")
    else:
        # A score over a part of a set would be another number: a set with a bad image is refused, by name.
        done = case.command(
            "pytrain", "eval", "--hr", source, "--model", "bicubic", "--scale", 2, "--json", "out/scores.json"
        )
    results = {os.fsdecode(name): None for name in snapshot_names(case.out)}
    if command in ("resize", "apply", "apply each", "infer", "pairs"):
        for name in NAMES:
            if not _has_result(results, Path(name).stem):
                raise Failure("lost", f"{command}: {name} was not made: {done.err[-300:]!r}")
        for name in odd:
            if not _has_result(results, Path(name).stem) and Path(name).stem not in done.err:
                raise Failure("lost", f"{command}: {name} was neither made nor named: {done.err[-300:]!r}")


def snapshot_names(folder: Path) -> list[bytes]:
    return list(snapshot(folder)) if folder.is_dir() else []


def _has_result(results: dict[str, None], stem: str) -> bool:
    return any(stem in Path(name).name and not Path(name).name.startswith(".") for name in results)
