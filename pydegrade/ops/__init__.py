"""Ops, one per file: its declaration, its registration, its public function. The lines below are the list of them."""

from . import avif as _avif
from . import blur as _blur
from . import jpeg as _jpeg
from . import jpeg2000 as _jpeg2000
from . import noise as _noise
from . import rain as _rain
from . import resize as _resize
from . import sharpen as _sharpen
from . import webp as _webp
from .avif import avif
from .blur import blur
from .declaration import Column, Op, generator
from .jpeg import jpeg
from .jpeg2000 import jpeg2000
from .noise import noise
from .rain import rain
from .registry import find, names, register
from .resize import resize
from .sharpen import sharpen
from .webp import webp

OPS: tuple[Op, ...] = tuple(map(register, (_blur.OP, _resize.OP, _noise.OP, _jpeg.OP, _sharpen.OP, _rain.OP)))
"""Those of the compiled module, in the order of their codes in csrc/ops/list.h."""

PLAIN_OPS: tuple[Op, ...] = tuple(map(register, (_webp.OP, _avif.OP, _jpeg2000.OP)))
"""Those that are functions of one image, in torch or a library; they run between the compiled ones."""

__all__ = [
    "OPS",
    "PLAIN_OPS",
    "Column",
    "Op",
    "avif",
    "blur",
    "find",
    "generator",
    "jpeg",
    "jpeg2000",
    "names",
    "noise",
    "rain",
    "register",
    "resize",
    "sharpen",
    "webp",
]
