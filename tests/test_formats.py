"""Every depth, layout, compression, channel count and polarity of every format: read right, or refused by name.

Files are written from known samples, by the libraries of other people or by the specification, so what is right follows
from the samples alone; where OpenCV or Pillow read the same file as it is meant, they must agree too.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

import pydegrade
from pydegrade.errors import ImageError
from pydegrade.files.formats import tiff
from pydegrade.files.read import image_size, read_header, read_picture, read_rgb8
from pydegrade.files.write import encode_png

HEIGHT, WIDTH = 19, 37


def samples(bits: int, channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Random samples of that depth, with both ends of the range among them: [H, W] or [H, W, C]."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    values = np.random.default_rng(100 * bits + channels).integers(0, 2**bits, shape)
    values.flat[:2] = 0, 2**bits - 1
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def scaled(values: np.ndarray, bits: int) -> np.ndarray:
    """What a reader gives: 0 stays 0, the largest value becomes white of 8 or of 16 bits."""
    white = 255 if bits <= 8 else 65535
    exact = values.astype(np.float64) * white / (2**bits - 1)
    return np.floor(exact + 0.5).astype(np.uint8 if bits <= 8 else np.uint16)


def read(path: Path, content: bytes) -> np.ndarray:
    path.write_bytes(content)
    picture = read_picture(path)
    assert image_size(path) == picture.array.shape[:2]
    assert read_header(path).channels == picture.channels
    return picture.array


# ---- TIFF

LAYOUTS = {"gray": 1, "white is zero": 1, "gray alpha": 2, "rgb": 3, "rgba": 4, "rgb and two more": 5}
COMPRESSIONS = ("none", "packbits", "lzw", "deflate", "zstd", "lzma")


def write_tiff(values: np.ndarray, bits: int, layout: str, **options: Any) -> bytes:
    """8 and 16 bits by tifffile, in any layout."""
    stream = BytesIO()
    extra = {"gray alpha": ["unassalpha"], "rgba": ["unassalpha"], "rgb and two more": ["unassalpha", "unspecified"]}
    photometric = {"gray": "minisblack", "white is zero": "miniswhite", "gray alpha": "minisblack"}.get(layout, "rgb")
    tifffile.imwrite(stream, values, photometric=photometric, extrasamples=extra.get(layout), metadata=None, **options)
    return stream.getvalue()


def write_packed_tiff(values: np.ndarray, bits: int, layout: str, order: str, fill_order: int = 1) -> bytes:
    """Any depth by the specification: one strip, rows packed and padded to whole bytes."""
    planes = values.reshape(*values.shape[:2], -1)
    flags = (planes.reshape(len(planes), -1, 1).astype(int) >> np.arange(bits - 1, -1, -1)) & 1
    body = np.packbits(flags.astype(np.uint8).reshape(len(planes), -1), axis=1).tobytes()
    if bits == 16:
        body = planes.astype(f"{order}u2").tobytes()
    if fill_order == 2:
        body = bytes(int(f"{byte:08b}"[::-1], 2) for byte in body)
    channels = planes.shape[2]
    extra = {"gray alpha": [2], "rgba": [2], "rgb and two more": [2, 0]}.get(layout, [])
    photometric = {"gray": 1, "white is zero": 0, "gray alpha": 1}.get(layout, 2)
    tags: list[tuple[int, int, list[int]]] = [
        (256, 4, [planes.shape[1]]), (257, 4, [planes.shape[0]]), (258, 3, [bits] * channels), (259, 3, [1]),
        (262, 3, [photometric]), (266, 3, [fill_order]), (273, 4, [8]), (277, 3, [channels]),
        (278, 4, [planes.shape[0]]), (279, 4, [len(body)]), *([(338, 3, extra)] if extra else []),
    ]  # fmt: skip
    body += b"\0" * (len(body) % 2)
    behind = 8 + len(body) + 2 + 12 * len(tags) + 4
    entries, more = b"", b""
    for code, kind, numbers in tags:
        data = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(data) > 4:
            data, more = struct.pack(f"{order}I", behind + len(more)), more + data
        entries += struct.pack(f"{order}HHI", code, kind, len(numbers)) + data.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + more


def tiff_cases(bits: int) -> list[tuple[str, str, str, str, bool, bool]]:
    """(layout, planar configuration, compression, byte order, predictor, tiles), as far as a writer has them."""
    return [
        (layout, planar, compression, order, predictor, tiled)
        for layout, planar, compression, order, predictor, tiled in itertools.product(
            LAYOUTS, ("contig", "separate"), COMPRESSIONS, "<>", (False, True), (False, True)
        )
        if not (planar == "separate" and LAYOUTS[layout] == 1)
        if not (predictor and compression not in ("lzw", "deflate"))
        if not (tiled and compression == "packbits")
    ]


def expected_tiff(values: np.ndarray, bits: int, layout: str) -> np.ndarray:
    values = 2**bits - 1 - values if layout == "white is zero" else values
    return scaled(values[..., :4] if layout == "rgb and two more" else values, bits)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_of_every_layout(tmp_path, bits):
    for case in tiff_cases(bits):
        layout, planar, compression, order, predictor, tiled = case
        values = samples(bits, LAYOUTS[layout])
        stored = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if planar == "separate" else values
        options: dict[str, Any] = {"byteorder": order, "planarconfig": planar if values.ndim == 3 else None}
        options |= {"compression": None if compression == "none" else compression, "predictor": predictor}
        options |= {"tile": (16, 16)} if tiled else {"rowsperstrip": 7}
        found = read(tmp_path / "a.tif", write_tiff(stored, bits, layout, **options))
        right = expected_tiff(values, bits, layout)
        assert found.dtype == right.dtype, case
        assert np.array_equal(found, right), case


@pytest.mark.representatives(16)
@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", range(1, 17))
def test_tiff_of_every_depth(tmp_path, bits, order, fill_order):
    for layout, channels in LAYOUTS.items():
        values = samples(bits, channels)
        right = expected_tiff(values, bits, layout)
        path = tmp_path / "a.tif"
        content = write_packed_tiff(values, bits, layout, order, fill_order)
        found = read(path, content)
        assert found.dtype == right.dtype, layout
        assert np.array_equal(found, right), layout


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("layout", ["gray", "gray alpha", "rgb", "rgba"])
@pytest.mark.parametrize("compression", ["none", "packbits", "lzw", "deflate"])
def test_tiff_agrees_with_pillow_and_opencv(tmp_path, monkeypatch, compression, layout, missing):
    """With and without imagecodecs, whose place Pillow takes."""
    if missing:
        monkeypatch.setattr(tiff, "_codec_missing", lambda code: code not in (1, 8, 32946, 32773))
    values = samples(8, LAYOUTS[layout])
    content = write_tiff(values, 8, layout, compression=None if compression == "none" else compression)
    found = read(tmp_path / "a.tif", content)
    assert np.array_equal(found, values)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.tif")), values)
    if layout in ("gray", "rgb"):  # OpenCV multiplies colours by alpha
        other = cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(other[..., ::-1] if layout == "rgb" else other, values)


def test_tiff_without_its_codec_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_codec_missing", lambda code: code != 1)
    path = tmp_path / "a.tif"
    path.write_bytes(write_tiff(samples(16, 3), 16, "rgb", compression="lzw"))
    with pytest.raises(ImageError, match=r"a\.tif: compression LZW .* needs the package imagecodecs: pip install"):
        read_picture(path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("missing", [False, True])
def test_premultiplied_alpha_is_divided_out(tmp_path, monkeypatch, bits, missing):
    if missing:
        monkeypatch.setattr(tiff, "_codec_missing", lambda code: code != 1)
    straight = samples(bits, 4)
    white = 2**bits - 1
    alpha = straight[..., 3:].astype(np.int64)
    stored = np.concatenate([np.rint(straight[..., :3] * (alpha / white)), alpha], axis=2).astype(straight.dtype)
    stream = BytesIO()
    tifffile.imwrite(stream, stored, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    found = read(tmp_path / "a.tif", stream.getvalue())
    # Undoing a rounding of half a level magnifies it by white / alpha.
    error = np.abs(found[..., :3].astype(np.int64) - straight[..., :3]) * alpha / white
    assert error.max() <= 1
    assert np.array_equal(found[..., 3], straight[..., 3])


@pytest.mark.parametrize("shift", [0, 8])
def test_tiff_palettes(tmp_path, shift):
    colours = samples(8, 3, 1, 256)[0]
    index = samples(8, 1)
    stream = BytesIO()
    table = (colours.T.astype(np.uint16) << 8) if shift else colours.T.astype(np.uint16) * 257
    tifffile.imwrite(stream, index, photometric="palette", colormap=table, metadata=None)
    assert np.array_equal(read(tmp_path / "a.tif", stream.getvalue()), colours[index])


@pytest.mark.parametrize("missing", [False, True])
def test_jpeg_in_tiff(tmp_path, monkeypatch, missing):
    if missing:
        monkeypatch.setattr(tiff, "_codec_missing", lambda code: code != 1)
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    stream = BytesIO()
    stored = np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    tifffile.imwrite(
        stream, stored, photometric="ycbcr", compression="jpeg", compressionargs={"level": 95}, metadata=None
    )
    found = read(tmp_path / "a.tif", stream.getvalue()).astype(int)
    with Image.open(tmp_path / "a.tif") as other:
        assert other.tag_v2[262] == 6  # YCbCr
        # Two JPEG decoders, whose upsampling of chroma may differ.
        assert np.abs(found - np.asarray(other.convert("RGB")).astype(int)).max() <= 4
    assert np.abs(found - smooth).max() <= 8


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (samples(8, 1).view(np.int8), {}, "unsigned integers of 1 to 16 bits, got 8-bit signed integer"),
        (samples(16, 1).view(np.int16), {}, "got 16-bit signed integer"),
        (samples(16, 3).astype(np.uint32), {}, "got 32 bits"),
        (samples(8, 1).astype(np.float32), {}, "got 32-bit floating-point"),
        (samples(8, 1).astype(np.float16), {}, "got 16-bit floating-point"),
        (samples(8, 1).astype(np.complex64), {}, "got 64-bit complex"),
        (samples(8, 3), {"photometric": "cielab"}, "got CIELAB"),
        (samples(16, 4), {"photometric": "separated"}, "got 16 bits of SEPARATED"),
        (np.stack([samples(8, 1)] * 3), {"photometric": "minisblack"}, "must be a still image, got several frames"),
    ],
)
def test_tiff_that_is_not_read_is_named(tmp_path, values, options, message):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, metadata=None, **options)
    with pytest.raises(ImageError, match=f"{path}: .*{message}"):
        read_picture(path)
    with pytest.raises(ImageError, match=message):
        image_size(path)


def test_cut_and_sparse_tiffs_are_refused(tmp_path):
    values = samples(16, 3)
    for compression in (None, "deflate"):
        content = write_tiff(values, 16, "rgb", compression=compression, rowsperstrip=5)
        path = tmp_path / "a.tif"
        for length in range(len(content) // 2, len(content), 97):
            path.write_bytes(content[:length])
            with pytest.raises(ImageError, match="corrupt or truncated"):
                read_picture(path)
    with tifffile.TiffFile(BytesIO(content)) as file:
        offsets = file.pages[0].tags["StripOffsets"]
    missing = bytearray(content)
    missing[offsets.valueoffset : offsets.valueoffset + 4] = bytes(4)
    path.write_bytes(bytes(missing))
    with pytest.raises(ImageError, match="corrupt or truncated"):
        read_picture(path)


# ---- PNG

PNG_TYPES = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
"""Color type -> (samples per pixel, depths)."""


def chunk(name: bytes, data: bytes, crc_error: int = 0) -> bytes:
    crc = zlib.crc32(name + data) ^ crc_error
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def packed_rows(values: np.ndarray, bits: int) -> bytes:
    """Rows of a PNG pass, each with filter type 0 or, every second one, 1 (difference to the left)."""
    rows = []
    for number, row in enumerate(values.reshape(values.shape[0], -1)):
        if bits == 16:
            data = row.astype(">u2").tobytes()
        elif bits == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            flags = (row[:, None].astype(int) >> np.arange(bits - 1, -1, -1)) & 1
            data = np.packbits(flags.astype(np.uint8).reshape(-1)).tobytes()
        pixel_bytes = max(1, bits * (values.shape[2] if values.ndim == 3 else 1) // 8)
        if number % 2:
            array = np.frombuffer(data, np.uint8)
            shifted = np.concatenate([np.zeros(pixel_bytes, np.uint8), array])[: len(array)]
            rows.append(b"\1" + (array - shifted).tobytes())
        else:
            rows.append(b"\0" + data)
    return b"".join(rows)


def write_png(values: np.ndarray, bits: int, color_type: int, *extra: bytes, interlaced: bool = False) -> bytes:
    """A PNG by the specification; `extra` chunks stand between IHDR and IDAT."""
    height, width = values.shape[:2]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        parts = [values[top::down, left::right] for top, left, down, right in passes]
        body = b"".join(packed_rows(np.ascontiguousarray(part), bits) for part in parts if part.size)
    else:
        body = packed_rows(values, bits)
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, int(interlaced))
    packed = zlib.compress(body)
    rows = b"".join(chunk(b"IDAT", packed[at : at + 300]) for at in range(0, len(packed), 300))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize(
    ("color_type", "bits"), [(kind, bits) for kind, (_, depths) in PNG_TYPES.items() for bits in depths]
)
def test_png_of_every_kind(tmp_path, color_type, bits, transparent, interlaced):
    channels = PNG_TYPES[color_type][0]
    values = samples(bits, channels)
    extra = []
    if color_type == 3:
        colours = samples(8, 3, 1, 2**bits)[0] if bits > 1 else np.array([[1, 2, 3], [250, 0, 9]], np.uint8)
        extra.append(chunk(b"PLTE", colours.tobytes()))
        right = colours[values]
        if transparent:
            alphas = np.arange(2**bits - 1, dtype=np.uint8)  # one short: the last colour is opaque
            extra.append(chunk(b"tRNS", alphas.tobytes()))
            right = np.dstack([right, np.append(alphas, 255).astype(np.uint8)[values]])
    else:
        right = scaled(values, bits)
        if transparent:
            key = values[3, 5]
            extra.append(chunk(b"tRNS", np.atleast_1d(key).astype(">u2").tobytes()))
            if channels in (1, 3):
                planes = values.reshape(HEIGHT, WIDTH, -1)
                white = np.iinfo(right.dtype).max
                alpha = np.where((planes == key).all(axis=2), 0, white).astype(right.dtype)
                right = np.dstack([right, alpha])
    found = read(tmp_path / "a.png", write_png(values, bits, color_type, *extra, interlaced=interlaced))
    assert found.dtype == right.dtype
    assert np.array_equal(found, right)
    if not transparent and color_type != 3:
        other = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())  # libpng
        # libpng widens 2 and 4 bits as here, and leaves 1 bit to its caller.
        assert bits == 1 or np.array_equal(np.squeeze(other), found)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_our_png_is_read_alike_by_libpng_pillow_and_opencv(tmp_path, channels, bits):
    values = samples(bits, channels)
    content = encode_png(values)
    assert np.array_equal(np.squeeze(imagecodecs.png_decode(content)), values)
    assert np.array_equal(read(tmp_path / "a.png", content), values)
    if bits == 8:
        assert np.array_equal(np.asarray(Image.open(BytesIO(content))), values)
    if channels != 2:
        other = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        swap = {1: None, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[channels]
        assert np.array_equal(other if swap is None else cv2.cvtColor(other, swap), values)


# ---- PNM


@pytest.mark.parametrize("peak", [1, 7, 100, 255, 256, 1000, 4095, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_pgm_and_ppm_of_every_depth(tmp_path, kind, peak):
    channels = 3 if kind in (3, 6) else 1
    shape = (HEIGHT, WIDTH, 3) if channels == 3 else (HEIGHT, WIDTH)
    values = np.random.default_rng(peak).integers(0, peak + 1, shape)
    head = f"P{kind}\n# a comment\n{WIDTH} {HEIGHT}\n{peak}\n".encode()
    raw = values.astype(np.uint8 if peak < 256 else ">u2").tobytes()
    text = " ".join(map(str, values.reshape(-1).tolist())).encode()
    white = 255 if peak < 256 else 65535
    right = ((2 * values * white + peak) // (2 * peak)).astype(np.uint8 if white == 255 else np.uint16)
    assert np.array_equal(read(tmp_path / "a.ppm", head + (raw if kind > 3 else text)), right)
    if peak in (255, 65535) and kind > 3:
        other = cv2.imread(str(tmp_path / "a.ppm"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(cv2.cvtColor(other, cv2.COLOR_BGR2RGB) if channels == 3 else other, right)
    (tmp_path / "cut.ppm").write_bytes((head + (raw if kind > 3 else text))[:-3])
    if kind > 3:
        with pytest.raises(ImageError, match="corrupt or truncated"):
            read_picture(tmp_path / "cut.ppm")


@pytest.mark.parametrize("kind", [1, 4])
def test_pbm(tmp_path, kind):
    values = samples(1, 1)
    head = f"P{kind} {WIDTH} {HEIGHT}\n".encode()
    packed = np.packbits(1 - values, axis=1).tobytes()
    text = "\n".join("".join(map(str, row)) for row in (1 - values).tolist()).encode()
    assert np.array_equal(read(tmp_path / "a.pbm", head + (packed if kind == 4 else text)), values * 255)


# ---- JPEG


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_as_pillow_without_its_side_blocks(tmp_path, mode, progressive, subsampling):
    bands = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    values = np.asarray(Image.fromarray(samples(8, 3)).resize((90, 61)))
    picture = np.dstack([values, values[..., :1]])[..., :bands]
    stream = BytesIO()
    Image.fromarray(np.squeeze(picture), mode).save(
        stream, "JPEG", quality=90, progressive=progressive, subsampling=subsampling, comment=b"a comment", dpi=(3, 3)
    )
    found = read(tmp_path / "a.jpg", stream.getvalue() + b"\xff\xda junk behind the end " * 50)
    other = Image.open(BytesIO(stream.getvalue()))
    assert np.array_equal(found, np.asarray(other.convert("RGB") if mode == "CMYK" else other))


def test_jpeg_keeps_what_adobe_says_about_its_colours(tmp_path):
    """Three components stored as RGB: only APP14 tells."""
    values = np.asarray(Image.fromarray(samples(8, 3)).resize((64, 64)))
    content = imagecodecs.jpeg8_encode(values, level=95, colorspace="RGB", outcolorspace="RGB")
    found = read(tmp_path / "a.jpg", content)
    assert np.array_equal(found, np.asarray(Image.open(BytesIO(content))))
    assert np.abs(found.astype(int) - values).mean() < 4


@pytest.mark.parametrize("scans", [10, 65, 300])
def test_a_jpeg_of_hundreds_of_scans_is_refused_at_once(tmp_path, scans):
    stream = BytesIO()
    Image.new("RGB", (640, 480), (200, 30, 90)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last = content.rindex(b"\xff\xda")
    repeated = content[:last] + content[last:-2] * (scans - content.count(b"\xff\xda") + 1) + b"\xff\xd9"
    path = tmp_path / "a.jpg"
    path.write_bytes(repeated)
    if scans < 20:
        read_picture(path)
    else:
        with pytest.raises(ImageError, match="must have fewer than 65 scans"):
            read_picture(path)


# ---- the rest, and what decides about colours


@pytest.mark.parametrize("suffix", ["webp", "bmp", "gif", "avif", "jp2", "tga", "png", "tif", "jpg"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_the_rest_as_pillow(tmp_path, mode, suffix):
    smooth = np.asarray(Image.fromarray(samples(8, 4)).resize((48, 32), Image.Resampling.BICUBIC))
    image = Image.fromarray(smooth).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(smooth)
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 95} if suffix in ("jpg", "avif", "webp") else {}
    if suffix in ("jpg", "jp2") and mode in ("P", "RGBA"):
        image = image.convert("RGB")
    image.save(path, **options)
    found = read_picture(path)
    assert image_size(path) == (32, 48)
    with Image.open(path) as other:
        alpha = other.mode in ("RGBA", "LA") or "transparency" in other.info
        wanted = other.convert("RGBA" if alpha else "L" if other.mode == "L" else "RGB")
        assert np.array_equal(found.array, np.asarray(wanted))


@pytest.mark.parametrize("bits", [2, 4, 8, 10, 12, 16])
def test_jpeg_2000_of_one_channel_is_scaled_and_of_several_deep_ones_is_refused(tmp_path, bits):
    values = samples(bits, 1)
    content = imagecodecs.jpeg2k_encode(values, level=0, bitspersample=bits, reversible=True)
    assert np.array_equal(read(tmp_path / "a.jp2", content), scaled(values, bits))
    content = imagecodecs.jpeg2k_encode(samples(bits, 3), level=0, bitspersample=bits, reversible=True)
    if bits == 8:
        assert np.array_equal(read(tmp_path / "b.jp2", content), samples(8, 3))
    else:
        (tmp_path / "b.jp2").write_bytes(content)
        with pytest.raises(ImageError, match=f"JPEG 2000 of several channels must have 8 bits, got {bits}"):
            read_picture(tmp_path / "b.jp2")


def test_deep_avif_is_noted(tmp_path):
    content = imagecodecs.avif_encode(samples(10, 3), bitspersample=10, level=95)
    (tmp_path / "a.avif").write_bytes(content)
    assert read_picture(tmp_path / "a.avif").notes == ("10 bits rounded to 8",)


def test_other_formats_are_refused_whatever_their_name(tmp_path):
    """EPS would start Ghostscript, PSD and others are not read: nothing but the formats of the table is opened."""
    for name, content in {
        "a.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "b.tif": b"8BPS\0\1" + bytes(60),
        "c.jpg": b"\0\0\1\0\1\0" + bytes(60),
        "d.tga": b"%PDF-1.4" + bytes(60),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=rf"{name}: "):
            read_picture(tmp_path / name)


# ---- blocks beside the pixels


def exif(kind: int = 3, count: int = 1, value: bytes = b"\6\0\0\0", entries: int = 1, magic: int = 42) -> bytes:
    """A little-endian EXIF block with an orientation of that TIFF type."""
    entry = struct.pack("<HHI", 0x0112, kind, count) + value
    return b"II" + struct.pack("<HIH", magic, 8, entries) + entry + bytes(4)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
BAD_EXIF = {
    "BYTE": exif(1),
    "ASCII": exif(2),
    "RATIONAL": exif(5, 1, b"\x08\0\0\0"),
    "UNDEFINED": exif(7),
    "FLOAT NaN": exif(11, 1, struct.pack("<f", float("nan"))),
    "DOUBLE": exif(12),
    "9": exif(value=b"\x09\0\0\0"),
    "two values": exif(count=2),
    "no TIFF": b"garbage that is no TIFF",
    "empty": b"",
    "cut": exif()[:14],
    "thousands of entries": exif(entries=65535).replace(b"\x12\x01", b"\x0f\x01"),
    "other magic": exif(magic=43),
    "prefix alone": b"Exif\0\0",
}
RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def upright() -> np.ndarray:
    return samples(8, 3, 10, 24)


def with_blocks(suffix: str, values: np.ndarray, **blocks: bytes) -> bytes:
    """A lossless (or nearly) file of that format, with EXIF, XMP or a profile."""
    stream = BytesIO()
    image = Image.fromarray(values)
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    if suffix in ("jpg", "avif"):
        options |= {"quality": 100, "subsampling": 0 if suffix == "jpg" else "4:4:4"}
    if suffix == "png":
        extra = []
        if "exif" in blocks:
            extra.append(chunk(b"eXIf", blocks["exif"]))
        if "xmp" in blocks:
            extra.append(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + blocks["xmp"]))
        if "icc_profile" in blocks:
            extra.append(chunk(b"iCCP", b"x\0\0" + zlib.compress(blocks["icc_profile"])))
        return write_png(values, 8, 2, *extra)
    if suffix == "tif":
        tags = []
        if "xmp" in blocks:
            tags.append((700, 1, len(blocks["xmp"]), blocks["xmp"], True))
        if "icc_profile" in blocks:
            tags.append((34675, 7, len(blocks["icc_profile"]), blocks["icc_profile"], True))
        tifffile.imwrite(stream, values, photometric="rgb", metadata=None, extratags=tags)
        return stream.getvalue()
    if suffix == "jpg":
        image.save(stream, "JPEG", **options)
        content = stream.getvalue()
        head = b""
        for name, prefix, marker in (
            ("exif", b"Exif\0\0", 0xE1),
            ("xmp", b"http://ns.adobe.com/xap/1.0/\0", 0xE1),
            ("icc_profile", b"ICC_PROFILE\0\1\1", 0xE2),
        ):
            if name in blocks:
                body = prefix + blocks[name]
                head += bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body
        return content[:2] + head + content[2:]
    image.save(stream, suffix, **options, **blocks)
    return stream.getvalue()


@pytest.mark.parametrize("kind", BAD_EXIF)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_bad_exif_block_costs_a_note_and_no_pixels(tmp_path, suffix, kind):
    values = upright()
    found = tmp_path / f"a.{suffix}"
    found.write_bytes(with_blocks(suffix, values, exif=BAD_EXIF[kind]))
    picture = read_picture(found)
    assert np.array_equal(picture.array, read_picture(found, content=with_blocks(suffix, values)).array)
    if suffix != "webp" or kind not in ("empty", "prefix alone"):  # which Pillow does not write
        assert any("EXIF" in note for note in picture.notes), picture.notes


@pytest.mark.parametrize("kind", [1, 2, 5, 7, 11, 12])
def test_a_bad_orientation_of_a_tiff_costs_a_note_and_no_pixels(tmp_path, kind):
    values = upright()
    content = bytearray(write_tiff(values, 8, "rgb", extratags=[(274, 3, 1, 6, True)]))
    with tifffile.TiffFile(BytesIO(bytes(content))) as file:
        at = file.pages[0].tags[274].offset
    content[at + 2 : at + 4] = struct.pack("<H", kind)
    content[at + 8 : at + 12] = struct.pack("<f", float("nan")) if kind == 11 else b"\6\0\0\0"
    (tmp_path / "a.tif").write_bytes(bytes(content))
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.array, values)
    left_out = kind in (5, 12)  # whose value would stand where there is nothing
    assert ("a tag cannot be read, ignored" if left_out else "orientation is no integer, ignored") in picture.notes


def test_a_bad_exif_block_of_an_avif_costs_a_note_and_no_pixels(tmp_path):
    good = with_blocks("avif", upright(), exif=exif().replace(b"\x12\x01", b"\x0f\x01"))
    at = good.index(b"II*\0", good.index(b"mdat"))
    for damage in (b"XX", b"II\0", b"II*\0\xff\xff\xff"):
        bad = good[:at] + damage + good[at + len(damage) :]
        (tmp_path / "a.avif").write_bytes(bad)
        picture = read_picture(tmp_path / "a.avif")
        assert np.array_equal(picture.array, read_picture("good", content=good).array)
        assert picture.notes == ("EXIF cannot be read",)
        assert image_size(tmp_path / "a.avif") == (10, 24)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_in_xmp_is_applied_as_pillow_does(tmp_path, orientation, suffix):
    packet = XMP.replace(b"6", str(orientation).encode())
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(with_blocks(suffix, upright(), xmp=packet))
    found = read_picture(path)
    with Image.open(path) as image:
        image.load()
        right = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert found.array.shape == right.shape
    assert np.abs(found.array.astype(int) - right).max() <= (0 if suffix != "jpg" else 1)
    assert image_size(path) == right.shape[:2]
    assert found.notes == ()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_exif_goes_before_xmp(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(with_blocks(suffix, upright(), xmp=XMP, exif=exif(value=b"\3\0\0\0")))
    assert image_size(path) == (10, 24)
    path.write_bytes(with_blocks(suffix, upright(), xmp=XMP, exif=BAD_EXIF["no TIFF"]))
    assert image_size(path) == (24, 10)


def test_exif_as_text_and_behind_the_pixels(tmp_path):
    """ImageMagick's "Raw profile type exif", and an eXIf chunk after IDAT."""
    path = tmp_path / "a.png"
    block = b"Exif\0\0" + exif()
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    for extra in (
        chunk(b"tEXt", b"Raw profile type exif\0" + text),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
    ):
        path.write_bytes(write_png(upright(), 8, 2, extra))
        assert image_size(path) == (24, 10)
        with Image.open(path) as image:
            image.load()
            assert np.array_equal(read_picture(path).array, np.asarray(ImageOps.exif_transpose(image)))
    content = write_png(upright(), 8, 2)
    path.write_bytes(content[:-12] + chunk(b"eXIf", exif()) + content[-12:])
    assert image_size(path) == read_picture(path).array.shape[:2] == (24, 10)


BAD_PNG_BLOCKS = {
    "pHYs of 3 bytes": chunk(b"pHYs", b"abc"),
    "pHYs checksum": chunk(b"pHYs", bytes(9), 1),
    "gAMA of 3 bytes": chunk(b"gAMA", b"abc"),
    "gAMA checksum": chunk(b"gAMA", b"\0\0\xb1\x8f", 1),
    "cHRM": chunk(b"cHRM", b"x"),
    "sRGB": chunk(b"sRGB", b""),
    "tRNS too short": chunk(b"tRNS", b"\0\1\0"),
    "tRNS checksum": chunk(b"tRNS", b"\0\1\0\1\0\1", 1),
    "iCCP no zlib": chunk(b"iCCP", b"x\0\0 no zlib"),
    "iCCP empty": chunk(b"iCCP", b""),
    "iCCP bomb": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**25))),
    "iCCP no profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")),
    "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp"),
    "iTXt packed": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0 no zlib"),
    "zTXt": chunk(b"zTXt", b"Raw profile type exif\0\0 no zlib"),
    "tEXt": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n8\nno digits"),
    "acTL": chunk(b"acTL", b"x"),
    "tIME": chunk(b"tIME", b"x"),
    "unknown": chunk(b"abCd", b"x" * 1000),
    "hIST": chunk(b"hIST", b"x", 7),
    "sBIT": chunk(b"sBIT", b""),
    "bKGD": chunk(b"bKGD", b"x"),
}


@pytest.mark.parametrize("kind", BAD_PNG_BLOCKS)
def test_a_bad_block_of_a_png_costs_no_pixels(tmp_path, kind):
    path = tmp_path / "a.png"
    path.write_bytes(write_png(upright(), 8, 2, BAD_PNG_BLOCKS[kind]))
    picture = read_picture(path)
    assert np.array_equal(picture.array, upright())
    assert image_size(path) == (10, 24)
    if kind.split()[0] in ("gAMA", "tRNS", "iCCP", "acTL", "zTXt", "tEXt") or kind == "iTXt packed":
        assert len(picture.notes) == 1
        assert "ignored" in picture.notes[0]


def test_critical_chunks_are_held_to_their_checksums(tmp_path):
    content = write_png(upright(), 8, 2)
    at = content.index(b"IDAT") + 8
    damaged = bytearray(content)
    damaged[at] ^= 1
    path = tmp_path / "a.png"
    for bad in (bytes(damaged), content[:at], write_png(upright(), 8, 2, chunk(b"CgBI", bytes(4)))):
        path.write_bytes(bad)
        with pytest.raises(ImageError, match=r"a\.png: "):
            read_picture(path)
    path.write_bytes(content[:-12])  # only the end mark is missing: all pixels are there
    assert np.array_equal(read_picture(path).array, upright())


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color_type", "bits"), [(0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 4), (4, 16), (6, 8)])
def test_a_png_whose_stream_ends_before_its_last_row_is_refused(tmp_path, color_type, bits, interlaced):
    """A whole zlib stream of too few rows: Pillow alone would fill up with black."""
    values = samples(bits, PNG_TYPES[color_type][0], 20, 20)
    palette = [chunk(b"PLTE", bytes(range(48)))] if color_type == 3 else []
    good = write_png(values, bits, color_type, *palette, interlaced=interlaced)
    path = tmp_path / "a.png"
    path.write_bytes(good)
    read_picture(path)
    start = good.index(b"IDAT") - 4
    packed = b""
    at = start
    while good[at + 4 : at + 8] == b"IDAT":
        length = int.from_bytes(good[at : at + 4], "big")
        packed += good[at + 8 : at + 8 + length]
        at += 12 + length
    rows = zlib.decompress(packed)
    for left in (0, 1, len(rows) // 3, len(rows) - 1):
        path.write_bytes(good[:start] + chunk(b"IDAT", zlib.compress(rows[:left])) + good[at:])
        with pytest.raises(ImageError, match="corrupt or truncated"):
            read_picture(path)
    black = write_png(np.zeros_like(values), bits, color_type, *palette, interlaced=interlaced)
    assert read_picture("a.png", content=black).array.shape[:2] == (20, 20)


@pytest.mark.parametrize("name", ["WebP", "BMP", "GIF", "TGA", "JPEG", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_cut_files_are_refused_or_whole(tmp_path, mode, name):
    image = Image.fromarray(samples(8, 3, 40, 40)).convert(mode)
    if name in ("JPEG", "JPEG2000") and mode == "P":
        return
    stream = BytesIO()
    image.save(stream, name, **({"compression": "tga_rle"} if name == "TGA" else {}))
    content = stream.getvalue()
    suffix = ".tga" if name == "TGA" else ".bin"
    whole = read_picture(f"a{suffix}", content=content).array
    refused = 0
    for length in range(len(content) // 8, len(content), max(1, len(content) // 60)):
        try:
            found = read_picture(f"a{suffix}", content=content[:length]).array
        except ImageError:
            refused += 1
            continue
        assert np.array_equal(found, whole), length
    assert refused > 20


# ---- colour profiles


def adobe_rgb() -> bytes:
    """A profile with wider primaries than sRGB's, as found in scikit-image's rocket.jpg."""
    from pydegrade.files.dataset import photographs_folder

    with Image.open(photographs_folder() / "rocket.jpg") as image:
        profile: bytes = image.info["icc_profile"]
    return profile


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
def test_profiles_are_kept_for_writing_and_named_for_training(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(with_blocks(suffix, upright(), icc_profile=adobe_rgb()))
    picture = read_picture(path)
    assert picture.profile == adobe_rgb()
    assert picture.notes == ()
    trained = read_rgb8(path)
    assert trained.notes == ("colour profile Adobe RGB (1998) not applied, values as stored",)
    assert np.array_equal(trained.array, picture.array)
    again = tmp_path / "again.png"
    again.write_bytes(encode_png(picture.array, picture.profile))
    assert read_picture(again).profile == adobe_rgb()
    assert Image.open(again).info["icc_profile"] == adobe_rgb()

    path.write_bytes(with_blocks(suffix, upright(), icc_profile=RGB_PROFILE))
    assert read_rgb8(path).notes == ()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
@pytest.mark.parametrize("profile", [b"x", b"no profile" * 20, adobe_rgb()[:200], bytes(128) + b"acsp" * 9])
def test_a_damaged_profile_is_left_out_with_a_note(tmp_path, suffix, profile):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(with_blocks(suffix, upright(), icc_profile=profile))
    picture = read_picture(path)
    assert picture.profile is None
    assert picture.notes == ("colour profile is damaged, ignored",)
    assert read_rgb8(path).notes == ("colour profile is damaged, ignored",)


def test_a_profile_of_another_kind_of_pixels_is_left_out(tmp_path):
    (tmp_path / "gray.png").write_bytes(encode_png(samples(8, 1), adobe_rgb()))
    picture = read_picture(tmp_path / "gray.png")
    assert (picture.profile, picture.notes) == (None, ("colour profile is for RGB pixels, ignored",))


def test_gray_under_its_own_profile_becomes_srgb_where_three_channels_are_needed():
    from skimage import data

    path = Path(data.__file__).parent / "page.png"  # Dot Gain 20%
    picture = read_picture(path)
    assert picture.gray
    assert picture.profile is not None
    three = picture.rgb()
    assert three.profile is None
    assert three.notes == ("converted from Dot Gain 20% to sRGB",)
    with Image.open(path) as image:
        right = ImageCms.profileToProfile(
            image.convert("L"), BytesIO(picture.profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    assert np.array_equal(three.array, np.asarray(right))
    assert np.array_equal(read_rgb8(path).array[..., 0], picture.array)


def test_gamma_is_named():
    content = write_png(upright(), 8, 2, chunk(b"gAMA", struct.pack(">I", 100000)))
    assert read_picture("a.png", content=content).notes == ("gamma 1 of gAMA is ignored",)
    content = write_png(upright(), 8, 2, chunk(b"gAMA", struct.pack(">I", 45455)))
    assert read_picture("a.png", content=content).notes == ()


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_pixels_have_the_byte_order_of_the_machine(tmp_path, byteorder):
    values = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30) * 50
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=byteorder)
    array = read_picture(tmp_path / "a.tif").array
    assert array.dtype.isnative
    assert np.array_equal(array, values)
    assert pydegrade.imresize(array, 0.5).dtype == np.uint16
