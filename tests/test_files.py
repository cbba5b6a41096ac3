"""Files to arrays and back: every layout a user may bring, and one clear line for every file that is no image."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pydegrade.errors import ImageError, OutputError, WriteError
from pydegrade.files import atomic
from pydegrade.files.atomic import write_atomic
from pydegrade.files.dataset import CropReader, draw_crops, find_images
from pydegrade.files.lock import folder_lock
from pydegrade.files.memory import MemoryBudget
from pydegrade.files.paths import list_images, path_inside
from pydegrade.files.pixels import to_float, to_uint8, to_uint16
from pydegrade.files.read import image_size, read_header, read_image, read_picture, read_rgb8
from pydegrade.files.write import encode_npy, encode_png, write_image


def noise_image(height: int = 21, width: int = 34, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * 1000 + width).integers(0, 256, shape, dtype=np.uint8)


def png_16_bit(path: Path, values: np.ndarray) -> None:
    """Write uint16 [H, W, C] as PNG by the specification, since Pillow cannot. C = 1, 2, 3, 4."""
    height, width, channels = values.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    body = values.astype(">u2").tobytes()
    stride = 2 * channels * width
    rows = b"".join(b"\0" + body[y * stride : (y + 1) * stride] for y in range(height))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


# ---- 8 bits and float


def test_float_values_are_the_nearest_to_k_over_255():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    as_float = to_float(levels)
    here = torch.empty_like(as_float)
    assert to_float(levels, out=here) is here
    assert torch.equal(here, as_float)
    assert as_float.shape == (3, 16, 16)
    assert as_float.is_contiguous()
    expected = (np.arange(256, dtype=np.float64) / 255).astype(np.float32).reshape(16, 16)
    assert np.array_equal(as_float[1].numpy(), expected)
    assert np.array_equal(to_uint8(as_float), levels)


def test_float_to_uint8_rounds_half_to_even_and_clips():
    # 0.5 and 2.5 levels are exact ties in float32: k + 0.5 times 1/255 times 255 need not be, so ties are made by hand.
    values = torch.tensor([-1.0, -0.001, 0.4999 / 255, 0.501 / 255, 1.0, 1.7, 127.499 / 255, 127.501 / 255])
    image = values.expand(3, 1, -1).contiguous()
    assert to_uint8(image)[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255, 127, 128]
    tie = torch.full((3, 1, 1), 0.5)  # 127.5 exactly
    assert to_uint8(tie)[0, 0, 0] == 128
    for height, width in [(1, 1), (1, 7), (5, 1), (9, 4)]:
        pixels = noise_image(height, width)
        assert np.array_equal(to_uint8(to_float(pixels)), pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bytes_and_floats_are_those_of_the_formulas(channels):
    # Sides around the loops' blocks of 1024 px; values beyond both ends, and ties.
    rng = np.random.default_rng(channels)
    for height, width in [(1, 3), (31, 33), (32, 32), (33, 32)]:
        shape = (channels, height, width)
        values = np.concatenate(
            [rng.uniform(-0.2, 1.2, shape), rng.integers(-2, 300, shape) / 255, rng.integers(0, 16, shape) / 16], axis=1
        ).astype(np.float32)
        rounded = np.clip(np.rint(values * np.float32(255)), 0, 255).astype(np.uint8).transpose(1, 2, 0)
        assert np.array_equal(to_uint8(torch.from_numpy(values)), rounded)
        expected = rounded.transpose(2, 0, 1) / np.float32(255)
        assert np.array_equal(to_float(rounded).numpy(), expected)
        mirrored = to_float(rounded[:, ::-1])
        assert np.array_equal(mirrored.numpy(), expected[:, :, ::-1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_to_uint8_refuses_what_is_not_finite(bad):
    image = torch.zeros(3, 4, 4)
    image[1, 2, 3] = bad
    with pytest.raises(ValueError, match="to_uint8: image must be finite, got NaN or infinity"):
        to_uint8(image)


def test_conversions_name_wrong_types():
    with pytest.raises(
        ValueError, match=r"to_float: pixels must be uint8 or uint16 \[H, W, 1, 3 or 4\], got float32 \[4, 4, 3\]"
    ):
        to_float(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"to_float: out must be \[3, 4, 5\], got \[3, 5, 4\]"):
        to_float(np.zeros((4, 5, 3), np.uint8), out=torch.empty(3, 5, 4))
    with pytest.raises(
        ValueError, match=r"to_uint8: image must be float32 \[1, 3 or 4, H, W\], got torch.float64 \[3, 4, 4\]"
    ):
        to_uint8(torch.zeros(3, 4, 4, dtype=torch.float64))


# ---- PNG


def test_png_encoder_equals_pixels_for_all_small_sizes(tmp_path):
    for height in (1, 2, 3, 5, 8):
        for width in (1, 2, 3, 7, 9):
            pixels = noise_image(height, width)
            write_image(tmp_path / "a.png", pixels)
            with Image.open(tmp_path / "a.png") as image:
                assert image.mode == "RGB"
                assert np.array_equal(np.asarray(image), pixels)
            assert np.array_equal(read_image(tmp_path / "a.png"), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_npy_round_trip(tmp_path):
    pixels = noise_image()
    write_atomic(tmp_path / "a.npy", encode_npy(pixels))
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), pixels)
    assert np.array_equal(read_image(tmp_path / "a.npy"), pixels)
    assert image_size(tmp_path / "a.npy") == (21, 34)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", fail)
    with pytest.raises(WriteError, match=r"a.png: cannot be written \(No space left on device, .* MB free\)"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_writes_in_parts_and_over_the_file_of_a_dead_process_of_the_same_number(tmp_path, monkeypatch):
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / "left").symlink_to("other")
    monkeypatch.setattr(atomic, "_partial_name", lambda: "left")
    write = os.write
    monkeypatch.setattr(atomic.os, "write", lambda file, content: write(file, content[:3]))
    write_atomic(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
    assert (tmp_path / "other").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "other"]


# ---- reading what people have


def test_gray_palette_bilevel_and_cmyk(tmp_path):
    gray = noise_image(channels=1)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert np.array_equal(read_image(tmp_path / "gray.png"), np.stack([gray] * 3, axis=2))

    palette = Image.fromarray(noise_image()).quantize(17)
    palette.save(tmp_path / "palette.png")
    decoded = read_rgb8(tmp_path / "palette.png")
    assert np.array_equal(decoded.array, np.asarray(palette.convert("RGB")))
    assert decoded.notes == ()

    Image.fromarray(gray > 127).save(tmp_path / "bilevel.png")
    assert np.array_equal(read_image(tmp_path / "bilevel.png")[..., 1], np.where(gray > 127, 255, 0))

    Image.fromarray(noise_image()).convert("CMYK").save(tmp_path / "cmyk.tif")
    assert read_rgb8(tmp_path / "cmyk.tif").notes == ("CMYK converted without a colour profile",)

    is_gray = [read_picture(tmp_path / name).gray for name in ("gray.png", "palette.png", "bilevel.png", "cmyk.tif")]
    assert is_gray == [True, False, True, False]
    assert read_picture("in an archive", content=(tmp_path / "gray.png").read_bytes()).gray
    with pytest.raises(ImageError, match=r"^in an archive: must be an image, got an empty file$"):
        read_rgb8("in an archive", content=b"")


def test_alpha_is_dropped_and_reported_only_where_it_matters(tmp_path):
    pixels = noise_image(channels=4)
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    decoded = read_rgb8(tmp_path / "rgba.png")
    assert np.array_equal(decoded.array, pixels[..., :3])
    assert decoded.notes == ("alpha channel dropped",)

    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "opaque.png")
    assert read_rgb8(tmp_path / "opaque.png").notes == ()

    Image.fromarray(pixels[..., :2].copy()).save(tmp_path / "la.png")
    assert np.array_equal(read_image(tmp_path / "la.png"), np.stack([pixels[..., 0]] * 3, axis=2))

    palette = Image.fromarray(noise_image()).quantize(8)
    palette.save(tmp_path / "transparent.png", transparency=3)
    decoded = read_rgb8(tmp_path / "transparent.png")
    assert np.array_equal(decoded.array, np.asarray(palette.convert("RGB")))
    assert decoded.notes == ("alpha channel dropped",)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_is_rounded_not_truncated(tmp_path, channels):
    # All 65536 values: truncation to the upper byte would differ from rounding for half of them.
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(channels, axis=2)
    values = np.stack([np.roll(values[..., channel], 7 * channel, axis=0) for channel in range(channels)], axis=2)
    png_16_bit(tmp_path / "a.png", values)
    decoded = read_rgb8(tmp_path / "a.png")
    expected = np.rint(values.astype(np.float64) * 255 / 65535).astype(np.uint8)
    assert np.array_equal(decoded.array, expected[..., :3] if channels > 1 else expected.repeat(3, axis=2))
    assert decoded.notes[0] == "16 bits rounded to 8"


def test_16_bit_gray_tiff(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (9, 14), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.tif")
    expected = np.rint(values / 257.0).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 0], expected)


def test_16_bit_gray_with_alpha_keeps_both(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (9, 14, 2), dtype=np.uint16)
    png_16_bit(tmp_path / "a.png", values)
    assert np.array_equal(read_picture(tmp_path / "a.png").array, values)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation, suffix):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255
    upright[8:, 16:, 0] = 255
    # Stored = the inverse of what a viewer does for that orientation (Exif 2.32).
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(np.ascontiguousarray(turn[orientation](upright))).save(path, exif=exif, **options)
    decoded = read_image(path)
    assert decoded.shape == upright.shape
    # Flat 8x8 blocks survive JPEG at quality 100 within the rounding of its colour conversion.
    assert np.abs(decoded.astype(int) - upright).max() <= (3 if suffix == "jpg" else 0)
    assert image_size(path) == (16, 24)


# ---- files that are no image


def test_each_bad_file_gets_one_line(tmp_path):
    pixels = noise_image(64, 64)
    write_image(tmp_path / "good.png", pixels)
    content = (tmp_path / "good.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(content[: len(content) // 2])
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    (tmp_path / "damaged.png").write_bytes(bytes(damaged))
    Image.fromarray(pixels).save(tmp_path / "good.jpg")
    (tmp_path / "truncated.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:-400])
    (tmp_path / "text.png").write_text("this is not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    frames = [Image.fromarray(noise_image(8, 8)), Image.fromarray(noise_image(8, 9)).resize((8, 8))]
    frames[0].save(tmp_path / "animated.webp", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "animated.png", save_all=True, append_images=frames[1:])
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    np.save(tmp_path / "float.npy", np.zeros((4, 4, 3), np.float32))
    np.save(tmp_path / "zero.npy", np.zeros((0, 4, 3), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    zero_wide = bytearray(content)
    zero_wide[16:20] = b"\0\0\0\0"
    zero_wide[29:33] = struct.pack(">I", zlib.crc32(bytes(zero_wide[12:29])))
    (tmp_path / "zero.png").write_bytes(bytes(zero_wide))

    expected = {
        "truncated.png": "corrupt or truncated",
        "damaged.png": "corrupt or truncated",
        "truncated.jpg": "corrupt or truncated",
        "text.png": "must be an image file, got something else than PNG, JPEG",
        "empty.png": "must be an image, got an empty file",
        "folder.png": "must be a file, got a folder",
        "animated.webp": "must be a still image, got several frames",
        "animated.png": "must be a still image, got several frames",
        "float.tif": "pixels must be unsigned integers of 1 to 16 bits, got 32-bit floating-point samples",
        "float.npy": "must be uint8 [H, W, 3], got float32 [4, 4, 3]",
        "zero.npy": "sides must be at least 1 px, got 4 x 0",
        "zero.png": "",
        "objects.npy": "must be uint8 [H, W, 3], got object [1]",
    }
    for name, message in expected.items():
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        text = str(caught.value)
        assert text.startswith(f"{tmp_path / name}: ")
        assert message in text
        assert "\n" not in text


def test_huge_images_are_refused_before_decoding(tmp_path):
    content = bytearray(encode_png(noise_image(4, 4)))
    content[16:24] = struct.pack(">II", 12000, 12000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    (tmp_path / "huge.png").write_bytes(bytes(content))
    with pytest.raises(
        ImageError, match=r"at most 134,217,728 pixels, got 12000 x 12000 = 144,000,000; raise the limit"
    ):
        read_image(tmp_path / "huge.png")
    write_image(tmp_path / "small.png", noise_image(10, 10))
    with pytest.raises(ImageError, match="at most 99 pixels"):
        read_image(tmp_path / "small.png", max_pixels=99)
    assert read_image(tmp_path / "small.png", max_pixels=100).shape == (10, 10, 3)


# ---- folders


def test_list_images_is_recursive_and_in_natural_order(tmp_path):
    for name in ["img10.png", "img2.png", "sub/img1.JPG", "sub/deep/a.webp", "notes.txt", ".hidden.png", ".git/x.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path).paths]
    assert names == ["img2.png", "img10.png", "sub/deep/a.webp", "sub/img1.JPG"]
    assert [path.name for path in list_images(tmp_path, recursive=False).paths] == ["img2.png", "img10.png"]


def test_list_images_says_what_is_missing(tmp_path):
    with pytest.raises(ImageError, match=r"must contain images .*, got none"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="must be a folder with images, got nothing"):
        list_images(tmp_path / "absent")


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/passwd", "a/../../b.png", "C:\\a.png", "..\\a.png", "link/a.png", "a\0b"]
)
def test_names_from_files_stay_in_their_folder(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(ImageError, match="file names must stay inside the folder"):
        path_inside(folder, name)


def test_a_name_that_is_no_text_is_no_file(tmp_path):
    with pytest.raises(ImageError, match=r"no file can have the name '.*ud800\.png'"):
        path_inside(tmp_path, "\ud800.png")


def test_names_inside_are_allowed(tmp_path):
    assert path_inside(tmp_path, "sub/a.png") == tmp_path / "sub/a.png"


# ---- Gray, alpha and 16 bits


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (3, 1, 2), (1, 4, 3), (6, 5, 4), (1, 1)])
def test_png_arrays_come_back_with_their_channels_and_depth(tmp_path, kind, shape):
    array = np.random.default_rng(1).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
    path = tmp_path / "image.png"
    path.write_bytes(encode_png(array))
    back = read_picture(path).array
    assert back.dtype == kind
    assert np.array_equal(back, array[..., 0] if shape[2:] == (1,) else array)


def test_read_array_agrees_with_read_image_where_both_know_the_file(tmp_path):
    draw = np.random.default_rng(2)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        Image.fromarray(draw.integers(0, 256, (5, 8, 3), np.uint8)).save(path, exif=exif)
        assert np.array_equal(read_picture(path).array, read_image(path)), orientation
    palette = Image.fromarray(draw.integers(0, 256, (5, 8, 3), np.uint8)).convert("P")
    palette.save(tmp_path / "p.png")
    assert np.array_equal(read_picture(tmp_path / "p.png").array, read_image(tmp_path / "p.png"))
    palette.save(tmp_path / "t.png", transparency=3)
    assert read_picture(tmp_path / "t.png").array.shape == (5, 8, 4)
    Image.fromarray(draw.integers(0, 256, (5, 8, 4), np.uint8), "CMYK").save(tmp_path / "c.tif")
    assert np.array_equal(read_picture(tmp_path / "c.tif").array, read_image(tmp_path / "c.tif"))
    Image.fromarray(draw.random((4, 4), np.float32), "F").save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=r"f\.tif: pixels must be unsigned integers"):
        read_picture(tmp_path / "f.tif")


def test_png_arrays_of_other_types_are_refused():
    for array in (np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2), np.float32), np.zeros((0, 2), np.uint8)):
        with pytest.raises(ValueError, match="encode_png: array must be uint8 or uint16"):
            encode_png(array)


def test_png_files_are_the_same_bytes_from_every_stack():
    """ISA-L hashes an address of its caller's stack at the beginning of a stream (files/write.py)."""
    draw = np.random.default_rng(0)
    images = [np.repeat(draw.integers(0, 256, (1, 4, 3), np.uint8), 4, axis=0) for _ in range(100)]
    together = threading.Barrier(8)

    def encode(_: int) -> list[bytes]:
        together.wait()  # eight threads at once have eight stacks
        return [encode_png(image, level=level) for level in (0, 1, 2, 3) for image in images]

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(encode, range(8))
    assert all(other == first for other in others)


# ---- one writer, one lock, one budget


def test_a_writer_that_is_killed_leaves_what_the_next_start_removes(tmp_path):
    """The file of a living process stays, also under the number of one that has ended."""
    program = f"""
import os, signal, sys
from pydegrade.files.atomic import replacing
(os.makedirs({str(tmp_path / "sub")!r}, exist_ok=True))
with replacing({str(tmp_path / "sub" / "a.png")!r}) as temporary:
    temporary.write_bytes(b"half")
    print("written", flush=True)
    sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout.readline() == b"written\n"
        (name,) = [path.name for path in (tmp_path / "sub").iterdir()]
        assert atomic.remove_leftovers(tmp_path) == 0
        child.kill()
    number = str(child.pid)
    assert number in name
    ours = name.replace(f"-{number}-", f"-{os.getpid()}-")  # our number, another time of start
    foreign = name.replace(name.split("-")[1], "0" * 8)
    for other in (ours, foreign, ".hidden.png", "a.png.partial"):
        (tmp_path / "sub" / other).write_bytes(b"x")
    with folder_lock(tmp_path):
        left = {path.name for path in (tmp_path / "sub").iterdir()}
    assert left == {foreign, ".hidden.png", "a.png.partial"}
    os.utime(tmp_path / "sub" / foreign, (0, 0))
    assert atomic.remove_leftovers(tmp_path) == 1


def test_a_write_into_a_missing_folder_makes_it_and_a_name_that_cannot_be_is_bad_input(tmp_path):
    write_atomic(tmp_path / "deep" / "er" / "a", b"content")
    assert (tmp_path / "deep" / "er" / "a").read_bytes() == b"content"
    (tmp_path / "file").write_bytes(b"")
    for bad in (tmp_path / "file" / "a", tmp_path / ("x" * 300), tmp_path / "deep"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_atomic(bad, b"content")
    assert len(list(tmp_path.iterdir())) == 2


def test_the_ending_decides_the_format_or_is_refused(tmp_path):
    pixels = noise_image()
    for name in ("a.png", "b.PNG", "c.npy"):
        write_image(tmp_path / name, pixels)
        assert np.array_equal(read_image(tmp_path / name), pixels)
    for name in ("a.jpg", "a", "a.png.txt", "a.py"):
        with pytest.raises(OutputError, match=r"must end in \.png or \.npy"):
            write_image(tmp_path / name, pixels)
        assert not (tmp_path / name).exists()


def test_one_writer_per_folder(tmp_path):
    out = tmp_path / "new" / "out"
    with folder_lock(out):
        with pytest.raises(OutputError, match="another process is writing here"), folder_lock(out):
            pass
        with folder_lock(out, "shard-1-of-4"):
            pass
    assert not (tmp_path / "new").exists()  # nothing was written: nothing is left
    with folder_lock(out):
        (out / "a").write_bytes(b"")
    assert [path.name for path in out.iterdir()] == ["a"]


def test_a_budget_lets_work_begin_while_it_fits():
    budget = MemoryBudget(100)
    running: list[int] = []
    most = 0
    lock = threading.Lock()

    def work(needed: int) -> None:
        nonlocal most
        with budget.hold(needed):
            with lock:
                running.append(needed)
                most = max(most, sum(running))
            time.sleep(0.001)
            with lock:
                running.remove(needed)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [10, 60, 60, 100, 30, 30, 100, 1, 0, 70] * 10))
    assert 60 <= most <= 100
    with budget.hold(100):  # nothing is held any more
        pass


def test_a_budget_survives_errors():
    budget = MemoryBudget(10)
    for _ in range(3):
        with pytest.raises(KeyError), budget.hold(10):
            raise KeyError
    with budget.hold(10):
        pass


def test_readers_wait_for_the_budget(tmp_path, monkeypatch):
    """Headers say what decoding takes; nothing is decoded before that is held."""
    write_image(tmp_path / "a.png", noise_image(64, 64))
    held: list[int] = []
    real = MemoryBudget.hold

    def hold(self, needed, name, file_bytes):
        held.append(needed)
        return real(self, needed, name, file_bytes)

    monkeypatch.setattr(MemoryBudget, "hold", hold)
    images = find_images([tmp_path])
    CropReader(images).read(draw_crops(images, 0, [0], 32), 0)
    assert held == [read_header(tmp_path / "a.png").decode_bytes]
    assert held[0] > 64 * 64 * 6


def test_16_bits_stay_through_floats():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    image = to_float(values)
    assert np.array_equal(image[0].numpy().reshape(-1), (np.arange(65536) / 65535).astype(np.float32))
    assert np.array_equal(to_uint16(image), values)


def test_arrays_of_any_numpy_are_read_without_a_word(tmp_path, recwarn):
    pixels = noise_image()
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(pixels))
    assert np.array_equal(read_image(path), pixels)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (21L, 34L, 3L), }\n"  # by Python 2
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pixels.tobytes())
    assert np.array_equal(read_image(path), pixels)
    for text in (
        b"(" * 5000,
        b"{}",
        b"__import__('os')",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1e9, 2, 3)}",
    ):
        path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text)
        with pytest.raises(ImageError, match=r"a\.npy: (not a readable|must be)"):
            read_image(path)
    assert not recwarn.list
