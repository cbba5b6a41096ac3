"""Ops, one per file: its declaration, its registration, its public function. The lines below are the list of them."""

from . import blur as _blur
from . import jpeg as _jpeg
from . import noise as _noise
from . import rain as _rain
from . import resize as _resize
from . import sharpen as _sharpen
from .blur import blur
from .declaration import Column, Op, generator
from .jpeg import jpeg
from .noise import noise
from .rain import rain
from .registry import find, names, register
from .resize import resize
from .sharpen import sharpen

OPS: tuple[Op, ...] = tuple(map(register, (_blur.OP, _resize.OP, _noise.OP, _jpeg.OP, _sharpen.OP, _rain.OP)))
"""The package's own, in the order of their codes in csrc/ops/list.h."""

__all__ = [
    "OPS",
    "Column",
    "Op",
    "blur",
    "find",
    "generator",
    "jpeg",
    "names",
    "noise",
    "rain",
    "register",
    "resize",
    "sharpen",
]
