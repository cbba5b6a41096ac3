"""The formats that are read, how they are recognised, and the endings of their files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

from .info import Info

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: for people.
        endings: of its files, lower case.
        begins: how its files begin; None where only the ending tells.
        module: of this folder, loaded when a file of the format comes.
    """

    name: str
    endings: tuple[str, ...]
    begins: re.Pattern[bytes] | None
    module: str

    def inspect(self, stream: BinaryIO) -> Info:
        """The facts of a file from its header."""
        module: Any = import_module(f".{self.module}", __package__)
        read: Callable[[BinaryIO], Info] = module.inspect
        return (partial(module.inspect, name=self.name) if self.module == "pillow" else read)(stream)

    def decode(self, content: bytes, info: Info) -> NDArray[Any]:
        """The pixels of a whole file."""
        module: Any = import_module(f".{self.module}", __package__)
        array: NDArray[Any] = module.decode(content, info)
        return array


FORMATS = (
    Format("PNG", (".png", ".apng"), re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), re.compile(rb"\xff\xd8\xff"), "jpeg"),
    Format("TIFF", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), "tiff"),
    Format("PNM", (".ppm", ".pgm", ".pbm", ".pnm"), re.compile(rb"P[1-6][\s#]"), "pnm"),
    Format("WebP", (".webp",), re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "pillow"),
    Format("BMP", (".bmp",), re.compile(rb"BM"), "pillow"),
    Format("GIF", (".gif",), re.compile(rb"GIF8[79]a"), "pillow"),
    Format("AVIF", (".avif",), re.compile(rb".{4}ftyp(avif|avis|mif1|msf1)", re.DOTALL), "pillow"),
    Format(
        "JPEG 2000",
        (".jp2", ".j2k", ".jpc", ".j2c", ".jpf", ".jpx"),
        re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", re.DOTALL),
        "pillow",
    ),
    Format("NumPy", (".npy",), re.compile(rb"\x93NUMPY"), "npy"),
    Format("TGA", (".tga",), None, "pillow"),
)
READABLE_ENDINGS = frozenset(ending for one in FORMATS for ending in one.endings)
"""Endings of file names, lower case, of what can be read: folders are searched for these."""

_OTHER_FORMATS = """
    heic heif jxl psd psb xcf exr hdr pfm pam dib ico pcx sgi rgb bw dds qoi wdp jxr eps svg pdf fits dcm
    dng cr2 cr3 nef arw raf orf rw2 pef
"""
OTHER_ENDINGS = frozenset("." + name for name in _OTHER_FORMATS.split())
"""Endings of images that cannot be read: folders name what they leave out."""


def recognised(head: bytes, ending: str) -> Format | None:
    """The format of a file.

    Args:
        head: its first 64 bytes.
        ending: of its name, lower case; decides only where the content cannot.
    """
    for one in FORMATS:
        if one.begins.match(head) if one.begins is not None else ending in one.endings:
            return one
    return None
