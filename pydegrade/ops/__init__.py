"""Ops, one per file. OPS lists their declarations in the order of their codes in csrc/ops.h."""

from ..columns import Op
from . import jpeg as _jpeg
from . import resize as _resize
from .jpeg import jpeg
from .resize import resize

OPS: tuple[Op, ...] = (_resize.OP, _jpeg.OP)

__all__ = ["OPS", "jpeg", "resize"]
