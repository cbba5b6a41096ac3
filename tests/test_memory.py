"""What images take while they are worked on, against what is held for them: resident memory of a process, at its peak."""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pydegrade.errors import ImageError
from pydegrade.files.formats.table import FORMATS
from pydegrade.files.memory import BUDGET_BYTES, BYTES_PER_FILE_BYTE, MemoryBudget, set_limit
from pydegrade.files.read import read_picture

from .fuzz.images import chunk, png

SIDE = 1200
PIXELS = SIDE * SIDE
ROOM_BYTES = 2**21
"""Python's own, and strips with what is made of them; an image is 1.4 million pixels."""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def ramp(channels: int, dtype: type = np.uint8) -> np.ndarray:
    row = (np.arange(SIDE) % 256).astype(dtype)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (SIDE, SIDE, channels)))


def saved(array: np.ndarray, kind: str, mode: str | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array, mode).save(stream, kind, **options)
    return stream.getvalue()


def in_tiff(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, metadata=None, **options)
    return stream.getvalue()


def files() -> dict[str, bytes]:
    """A file of every format, and of every layout that takes memory of its own."""
    made = {}
    kinds = [(0, 1, 1), (0, 8, 1), (0, 16, 1), (2, 8, 3), (2, 16, 3), (3, 8, 1)]
    for colour, bits, channels in [*kinds, (4, 8, 2), (4, 16, 2), (6, 8, 4), (6, 16, 4)]:
        palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
        dtype = np.uint16 if bits == 16 else np.uint8
        values = ramp(channels, dtype) & dtype(2**bits - 1)
        for interlaced in (False, True):
            made[f"type{colour}-{bits}-{interlaced}.png"] = png(values, colour, bits, interlaced, palette)
    made["transparent.png"] = png(ramp(3), 2, 8, False, chunk(b"tRNS", bytes(6)))
    made["transparent16.png"] = png(ramp(3, np.uint16), 2, 16, False, chunk(b"tRNS", bytes(6)))
    for channels in (1, 3):
        for progressive in (False, True):
            made[f"{channels}-{progressive}.jpg"] = saved(
                ramp(channels), "JPEG", progressive=progressive, subsampling=0
            )
    made["cmyk.jpg"] = saved(ramp(4), "JPEG", "CMYK")
    exif = Image.Exif()
    exif[0x112] = 6
    made["turned.jpg"] = saved(ramp(3), "JPEG", exif=exif)
    for dtype in (np.uint8, np.uint16):
        for channels in (1, 3, 4):
            for compression in (None, "zlib"):
                for planar in ("contig", "separate") if channels > 1 else ("contig",):
                    values = ramp(channels, dtype)
                    values = values[..., 0] if channels == 1 else values
                    values = values.transpose(2, 0, 1).copy() if planar == "separate" else values
                    made[f"{np.dtype(dtype)}-{channels}-{compression}-{planar}.tif"] = in_tiff(
                        values,
                        compression=compression,
                        rowsperstrip=SIDE,
                        photometric="rgb" if channels > 1 else "miniswhite",
                        planarconfig=planar if channels > 1 else None,
                        extrasamples=["assocalpha"] if channels == 4 else None,
                    )
        # Differences between neighbours, and tiles: small ones, and one that is larger than the image.
        for name, layout in {
            "strip": {"rowsperstrip": SIDE},
            "tiles": {"tile": (256, 256)},
            "tile": {"tile": (1216, 1216)},
        }.items():
            for predictor in (False, True):
                made[f"{np.dtype(dtype)}-{name}-{predictor}.tif"] = in_tiff(
                    ramp(3, dtype), compression="zlib", predictor=predictor, photometric="rgb", **layout
                )
    made["lossless.webp"] = saved(ramp(4), "WEBP", lossless=True)
    made["lossy.webp"] = saved(ramp(3), "WEBP")
    made["rgb.bmp"], made["rgb.tga"], made["gray.gif"] = (
        saved(ramp(3), "BMP"),
        saved(ramp(3), "TGA"),
        saved(ramp(1), "GIF"),
    )
    made["rgb.jp2"], made["rgb.avif"] = saved(ramp(3), "JPEG2000"), saved(ramp(3), "AVIF", speed=10)
    head = b"%d %d\n" % (SIDE, SIDE)
    made["gray.pgm"] = b"P5\n" + head + b"255\n" + bytes(PIXELS)
    made["deep.ppm"] = b"P6\n" + head + b"1023\n" + bytes(6 * PIXELS)
    made["plain.pgm"], made["plain.pbm"] = b"P2\n" + head + b"100\n" + b"1 " * PIXELS, b"P1\n" + head + b"1" * PIXELS
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(ramp(3)))
    made["fortran.npy"] = stream.getvalue()
    return made


def status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def peak_of(work) -> int:
    """Bytes that a call takes beyond what is there."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): forget the peak
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


def measure(folder: Path) -> dict[str, list[int]]:
    """In a process of its own: file -> bytes stated, bytes of decoding, bytes of decoding to 8-bit RGB."""
    from pydegrade.files import strips
    from pydegrade.files.read import open_image

    strips.STRIP_PIXELS = 2**14
    found = {}
    for path in sorted(folder.iterdir()):
        read_picture(path).rgb8()  # what is loaded once
        peaks = []
        for view in (lambda picture: picture, lambda picture: picture.rgb8()):
            with open_image(path) as file:
                peaks.append(peak_of(lambda: view(file.decode())))  # noqa: B023 called at once
        found[path.name] = [file.header.decode_bytes, *peaks]
    return found


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))


@linux
@pytest.mark.slow
def test_decoding_takes_no_more_than_its_header_says(tmp_path):
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    endings = {path.suffix for path in tmp_path.iterdir()}
    assert all(endings & set(form.endings) for form in FORMATS), "every format has a file here"
    # So that memory that was freed leaves the process, and does not hide what comes after.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "tests.test_memory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    assert len(found) == len(list(tmp_path.iterdir()))
    over = {name: numbers for name, numbers in found.items() if max(numbers[1:]) > numbers[0] + ROOM_BYTES}
    assert not over


def test_few_bytes_that_promise_many_rows_are_refused_before_memory_is_taken(tmp_path):
    """Deflate makes at most 1032 bytes of one."""
    packed = zlib.compress(bytes(2**16), 9)
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", (11000).to_bytes(4, "big") * 2 + bytes((16, 2, 0, 0, 0)))
    (tmp_path / "a.png").write_bytes(head + chunk(b"IDAT", packed) + chunk(b"IEND", b""))

    def refused() -> None:
        with pytest.raises(ImageError, match=r"a\.png: corrupt or truncated .*bytes of rows needed"):
            read_picture(tmp_path / "a.png")

    if sys.platform.startswith("linux"):
        assert peak_of(refused) < 2**24
    else:
        refused()


def test_rows_that_pack_as_well_as_deflate_can_are_read(tmp_path):
    (tmp_path / "a.png").write_bytes(png(np.zeros((4000, 4000, 1), np.uint8), 0, 8, False))
    assert not read_picture(tmp_path / "a.png").array.any()


def test_what_does_not_fit_the_budget_is_refused_by_name_and_the_limit_of_a_command_is_followed():
    with pytest.raises(ImageError) as caught, MemoryBudget(10**9).hold(2 * 10**9, "x.png"):
        pass
    assert str(caught.value) == (
        "x.png: must be worked on in 1 GB of memory, needs 2; raise the limit (--max-memory) if that is meant"
    )
    try:
        set_limit(7)
        assert MemoryBudget().total_bytes == 7
    finally:
        set_limit(None)
    assert MemoryBudget().total_bytes == BUDGET_BYTES


def test_a_photograph_may_take_more_than_the_budget_alone_and_a_small_file_may_not():
    budget, photograph = MemoryBudget(), BUDGET_BYTES // BYTES_PER_FILE_BYTE + 10**6
    with budget.hold(BUDGET_BYTES + 10**8, "photo.jpg", photograph):
        with (
            pytest.raises(ImageError, match=r"needs 1\.17; raise"),
            budget.hold(BUDGET_BYTES + 10**8, "small.png", 10**5),
        ):
            pass
        others = threading.Thread(target=lambda: budget.hold(1).__enter__(), daemon=True)
        others.start()
        others.join(0.05)
        assert others.is_alive(), "nothing is worked on beside it"
    others.join()
    with pytest.raises(ImageError), MemoryBudget(BUDGET_BYTES).hold(BUDGET_BYTES + 1, "photo.jpg", photograph):
        pass
