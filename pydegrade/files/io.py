"""Images as files and as arrays: the only place that decodes, encodes, or converts between 8 bits and float.

On disk and in the functions below an image is RGB, uint8, [H, W, 3] (`read_array` and `encode_png_array` also know gray,
alpha and 16 bits). Everywhere else in the package it is float32, [3, H, W], [0, 1]; `to_float` and `to_uint8` lead from
one to the other, exactly for the 256 values k / 255.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import ImageError

Pixels = NDArray[np.uint8]
"""RGB image, uint8 [H, W, 3]."""

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".npy"})
"""File name endings, lower case, that `list_images` returns."""

MAX_PIXELS = 2**27
"""Default limit of `read_image`: 134 million pixels, 400 MB decoded; above every single-shot camera."""

_EXIF_ORIENTATION = 0x0112
_ORIENTATIONS_THAT_SWAP_SIDES = frozenset({5, 6, 7, 8})
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What to do to stored pixels of each EXIF orientation (Exif 2.32, tag 0x0112)."""


@dataclass(frozen=True)
class Decoded:
    """An image and what had to be done to make it 8-bit RGB.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, upright.
        notes: one phrase for each lossy conversion ("alpha channel dropped"); empty for a plain 8-bit RGB or gray file.
        gray: whether the file holds one channel of brightness and no colours.
    """

    pixels: Pixels
    notes: tuple[str, ...]
    gray: bool = False


# ---- reading


def read_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode a still image to 8-bit RGB.

    Gray becomes three equal channels; palettes are looked up; alpha is dropped and the stored colours stay (blending
    would need a background that nobody chose, and would change training pixels); 16-bit values v become round(v / 257);
    CMYK is converted naively; the EXIF orientation is applied; colour profiles are ignored. `.npy` files must hold
    uint8 [H, W, 3].

    Args:
        path: file in any format Pillow reads, or `.npy`.
        max_pixels: refuse larger images before decoding them. Pillow's own limit (`PIL.Image.MAX_IMAGE_PIXELS`, 179
            million at its default) also applies.
    Returns:
        uint8 [H, W, 3], contiguous.
    Raises:
        ImageError: not an image, corrupt, truncated, animated, empty, too large, or floating point.
        FileNotFoundError, PermissionError: as the operating system says.
    """
    return decode_image(path, max_pixels).pixels


def decode_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None) -> Decoded:
    """`read_image`, with notes about conversions. Same arguments and errors.

    Args:
        content: the file's bytes where it is not a file of its own (a value in an LMDB); `path` then only names it in
            messages, and the format is one that Pillow reads.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy" and content is None:
        return Decoded(np.array(_map_npy(path, max_pixels)), ())
    with _opened(path, max_pixels, content) as image:
        notes = []

        # Decode, to 8 bits per channel.
        swapped_rawmode = _swapped_rawmode(image)
        orientation = _orientation(image)
        image.load()
        if swapped_rawmode is not None or image.mode.startswith("I"):
            image = Image.fromarray(_from_16_bits(path, image, swapped_rawmode, content))
            notes.append("16 bits rounded to 8")

        # To RGB, upright.
        gray = image.mode in ("1", "L", "LA")
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            if np.asarray(image)[..., 3].min() < 255:
                notes.append("alpha channel dropped")
        elif image.mode == "CMYK":
            notes.append("CMYK converted without a colour profile")
        elif image.mode not in ("1", "L", "P", "RGB", "RGBX", "YCbCr"):
            raise ImageError(f"{path}: pixels must be gray, palette, RGB or CMYK integers, got mode {image.mode!r}")
        image = image.convert("RGB")
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        return Decoded(np.array(image), tuple(notes), gray)


def read_array(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Decode a still image with the channels and the depth of its file.

    Palettes are looked up, also their transparency; CMYK becomes RGB naively; the EXIF orientation is applied.

    Args:
        path, max_pixels: see `read_image`.
    Returns:
        uint8 or uint16: [H, W] gray, [H, W, 2] gray and alpha, [H, W, 3] RGB, or [H, W, 4] RGB and alpha (not
        premultiplied).
    Raises:
        ImageError, FileNotFoundError, PermissionError: see `read_image`.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return np.array(_map_npy(path, max_pixels))
    with _opened(path, max_pixels) as image:
        # Decode.
        swapped_rawmode = _swapped_rawmode(image)
        orientation = _orientation(image)
        image.load()
        if swapped_rawmode is not None or image.mode.startswith("I"):
            array: NDArray[Any] = _values_of_16_bits(path, image, swapped_rawmode).astype(np.uint16)
        else:
            array = np.array(_plain_mode(path, image))

        # Upright: a transposition of the first two axes and mirrors, as Pillow does to its own images.
        if orientation in _ORIENTATIONS_THAT_SWAP_SIDES:
            array = array.swapaxes(0, 1)
        if orientation in (2, 3, 6, 7):
            array = array[:, ::-1]
        if orientation in (3, 4, 7, 8):
            array = array[::-1]
        return np.ascontiguousarray(array)


def _plain_mode(path: Path, image: Image.Image) -> Image.Image:
    """A loaded 8-bit image as L, LA, RGB or RGBA."""
    if "transparency" in image.info:
        return image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    modes = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBX": "RGB",
             "RGBA": "RGBA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}  # fmt: skip
    if image.mode not in modes:
        raise ImageError(f"{path}: pixels must be gray, palette, RGB or CMYK integers, got mode {image.mode!r}")
    return image.convert(modes[image.mode])


def image_size(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) in px of the upright image, from the header. Errors as `read_image`, except damaged pixels."""
    path = Path(path)
    if path.suffix.lower() == ".npy":
        height, width, _ = _map_npy(path, max_pixels).shape
        return height, width
    with _opened(path, max_pixels) as image:
        orientation = _orientation(image)
        width, height = image.size
        if orientation in _ORIENTATIONS_THAT_SWAP_SIDES:
            height, width = width, height
        return height, width


def _orientation(image: Image.Image) -> int:
    """EXIF orientation that is still to be applied, 1 when there is none."""
    if image.format == "TIFF":
        image.load()  # Pillow turns TIFF files by itself, at a moment that depends on its version
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # asking Pillow would decode the whole file, in search of EXIF data behind the pixels
    return int(image.getexif().get(_EXIF_ORIENTATION, 1))


@contextmanager
def _opened(path: Path, max_pixels: int, content: bytes | None = None) -> Iterator[Image.Image]:
    """The checked but not yet decoded file. Decoding errors inside the block become ImageError."""
    if content is None and path.is_dir():
        raise ImageError(f"{path}: must be an image file, got a folder")
    if not content if content is not None else path.is_file() and path.stat().st_size == 0:
        raise ImageError(f"{path}: must be an image, got an empty file")
    try:
        with Image.open(path if content is None else BytesIO(content)) as image:
            width, height = image.size
            if width < 1 or height < 1:
                raise ImageError(f"{path}: sides must be at least 1 px, got {width} x {height}")
            if width * height > max_pixels:
                raise _too_large(path, width, height, max_pixels)
            # A camera's multi-picture JPEG opens with the photograph; the rest are previews or a second eye.
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise ImageError(f"{path}: must be a still image, got {image.n_frames} frames")
            yield image
    except (ImageError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{path}: must be an image file, got something Pillow does not recognise") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large for Pillow; raise PIL.Image.MAX_IMAGE_PIXELS ({error})") from None
    except Exception as error:
        # Damaged files surface as OSError, SyntaxError, ValueError, struct.error, IndexError and more, by format.
        raise ImageError(f"{path}: corrupt or truncated ({' '.join(str(error).split())})") from None


def _too_large(path: Path, width: int, height: int, max_pixels: int) -> ImageError:
    return ImageError(
        f"{path}: must have at most {max_pixels:,} pixels, got {width} x {height} = {width * height:,}; "
        f"raise the limit (max_pixels, --max-megapixels) if that is meant"
    )


def _swapped_rawmode(image: Image.Image) -> str | None:
    """For multi-channel 16-bit files: the name of the layout with its bytes swapped; None for all other files."""
    if len(image.getbands()) == 1 or not getattr(image, "tile", None):
        return None
    arguments: Any = image.tile[0][3]  # type: ignore[attr-defined]
    rawmode = arguments if isinstance(arguments, str) else arguments[0] if arguments else None
    if not isinstance(rawmode, str) or not rawmode.endswith((";16B", ";16L", ";16N")):
        return None
    is_big = rawmode.endswith("B") or (rawmode.endswith("N") and sys.byteorder == "big")
    return rawmode[:-1] + ("L" if is_big else "B")


def _from_16_bits(
    path: Path, image: Image.Image, swapped_rawmode: str | None, content: bytes | None
) -> NDArray[np.uint8]:
    """8-bit values of a loaded 16-bit image, each v rounded to v / 257."""
    return ((_values_of_16_bits(path, image, swapped_rawmode, content) + 128) // 257).astype(np.uint8)


def _values_of_16_bits(
    path: Path, image: Image.Image, swapped_rawmode: str | None, content: bytes | None = None
) -> NDArray[np.int64]:
    """Values in [0, 65535] of a loaded 16-bit image.

    Pillow keeps 16 bits of one channel, but of several channels it decodes only the upper byte. The lower byte comes
    from a second decoding that is told the opposite byte order.
    """
    values = np.asarray(image).astype(np.int64)
    if swapped_rawmode is None:
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{path}: values must be in [0, 65535], got {values.min()} to {values.max()}")
    elif swapped_rawmode[:-4] not in ("RGB", "RGBA"):
        raise ImageError(f"{path}: 16-bit pixels must be gray, RGB or RGBA, got layout {swapped_rawmode[:-4]}")
    else:
        with Image.open(path if content is None else BytesIO(content)) as second:
            second.tile = [_with_rawmode(tile, swapped_rawmode) for tile in second.tile]
            values = 256 * values + np.asarray(second)
    return values


def _with_rawmode(tile: Any, rawmode: str) -> Any:
    codec, extents, offset, arguments = tile
    changed = (codec, extents, offset, rawmode if isinstance(arguments, str) else (rawmode, *arguments[1:]))
    return changed if type(tile) is tuple else type(tile)(*changed)  # a plain tuple before Pillow 11.1


def _map_npy(path: Path, max_pixels: int) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ImageError(f"{path}: not a readable .npy array ({' '.join(str(error).split())})") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        shape, dtype = getattr(array, "shape", "?"), getattr(array, "dtype", type(array).__name__)
        raise ImageError(f"{path}: must be uint8 [H, W, 3], got {dtype} {list(shape)}")
    if 0 in array.shape:
        raise ImageError(f"{path}: sides must be at least 1 px, got {array.shape[1]} x {array.shape[0]}")
    if array.shape[0] * array.shape[1] > max_pixels:
        raise _too_large(path, array.shape[1], array.shape[0], max_pixels)
    return array


# ---- 8 bits and float


def to_float(pixels: Pixels) -> torch.Tensor:
    """uint8 [H, W, 3] -> float32 [3, H, W] with values k / 255, each the float32 nearest to the quotient."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"to_float: pixels must be uint8 [H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return torch.from_numpy(np.divide(planes, np.float32(255), dtype=np.float32))


def to_uint8(image: torch.Tensor) -> Pixels:
    """float32 [3, H, W] -> uint8 [H, W, 3]: clipped to [0, 1], times 255, rounded half to even. Inverse of `to_float`.

    Raises:
        ValueError: wrong shape or dtype, NaN or infinity.
    """
    if image.dtype != torch.float32 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"to_uint8: image must be float32 [3, H, W], got {image.dtype} {list(image.shape)}")
    planes = image.detach().cpu().numpy()
    levels = np.rint(planes * np.float32(255))
    if not np.isfinite(levels).all():
        raise ValueError("to_uint8: image must be finite, got NaN or infinity")
    return np.ascontiguousarray(np.clip(levels, 0, 255).astype(np.uint8).transpose(1, 2, 0))


# ---- writing


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that it is either absent (or the old one) or complete, also when the process is killed."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_partial_files(folder: Path) -> None:
    """Delete what killed processes left behind in a folder; only `write_atomic` makes such names."""
    for path in folder.glob(".*.partial"):
        path.unlink(missing_ok=True)


def encode_png(pixels: Pixels, level: int = 1) -> bytes:
    """Lossless PNG of an RGB image, uint8 [H, W, 3].

    One fixed filter (difference to the pixel on the left) and zlib at `level` 1: on crops of photographs twice as fast
    as Pillow's encoder at its level 1, for files 1-2 % larger; higher levels gain under 5 % in size.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"encode_png: pixels must be uint8 [H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    height, width, _ = pixels.shape
    filtered = np.empty((height, 1 + 3 * width), np.uint8)
    filtered[:, 0] = 1  # filter type "Sub", PNG specification (ISO/IEC 15948) section 9.2
    filtered[:, 1:4] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=filtered[:, 4:].reshape(height, width - 1, 3))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), level)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(name, data) for name, data in chunks)


def encode_png_array(array: NDArray[Any], level: int = 1) -> bytes:
    """Lossless PNG of what `read_array` returns: uint8 or uint16, [H, W] or [H, W, 1 to 4].

    Raises:
        ValueError: another type or shape.
    """
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype not in (np.uint8, np.uint16) or channels not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(
            f"encode_png_array: array must be uint8 or uint16 [H, W] or [H, W, 1 to 4], got {array.dtype} "
            f"{list(array.shape)}"
        )
    height, width = array.shape[:2]
    pixel_bytes = channels * array.dtype.itemsize
    big_endian = np.ascontiguousarray(array.astype(array.dtype.newbyteorder(">")))
    rows = big_endian.view(np.uint8).reshape(height, width * pixel_bytes)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 1
    filtered[:, 1 : 1 + pixel_bytes] = rows[:, :pixel_bytes]
    np.subtract(rows[:, pixel_bytes:], rows[:, :-pixel_bytes], out=filtered[:, 1 + pixel_bytes :])
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]  # PNG specification, table 11.1
    header = struct.pack(">IIBBBBB", width, height, 8 * array.dtype.itemsize, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), level)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(chunk, data) for chunk, data in chunks)


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def encode_npy(pixels: Pixels) -> bytes:
    """The `.npy` file of an RGB image, uint8 [H, W, 3]."""
    stream = BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


def write_png(path: str | os.PathLike[str], pixels: Pixels, level: int = 1) -> None:
    """`encode_png` into a file, atomically."""
    write_atomic(path, encode_png(pixels, level))


ENCODERS: dict[str, Callable[[Pixels], bytes]] = {"png": encode_png, "npy": encode_npy}
"""Name of a file format that pairs can be written in -> pixels to bytes."""


# ---- folders


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which img2 comes before img10; ties between equal numbers ("01", "1") go by spelling."""
    parts = re.split(r"(\d+)", name)
    return (*((1, int(part), "") if part.isdigit() else (0, 0, part.lower()) for part in parts), (0, 0, name))


def list_images(folder: str | os.PathLike[str], recursive: bool = True) -> list[Path]:
    """Image files of a folder by their extension, in natural order of the relative path; hidden files are left out.

    Raises:
        ImageError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder}: must be a folder with images, got {'a file' if folder.exists() else 'nothing'}")
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        found += [
            Path(parent, name) for name in names if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
        ]
    if not found:
        raise ImageError(f"{folder}: must contain images ({', '.join(sorted(EXTENSIONS))}), got none")
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def path_inside(folder: str | os.PathLike[str], name: str) -> Path:
    """The file that a list or table inside `folder` names, refused if it lies outside.

    Raises:
        ImageError: absolute, with "..", with a drive, or through a link that leads out of the folder.
    """
    folder = Path(folder)
    relative = PurePosixPath(name.replace("\\", "/"))
    escapes = relative.is_absolute() or ".." in relative.parts or PureWindowsPath(name).drive != "" or "\0" in name
    if escapes or not (folder / relative).resolve().is_relative_to(folder.resolve()):
        raise ImageError(f"{folder}: file names must stay inside the folder, got {name!r}")
    return folder / relative
