"""Ops, one per file. OPS lists their declarations in the order of their codes in csrc/ops.h."""

from ..columns import Op
from . import jpeg as _jpeg
from .jpeg import jpeg

OPS: tuple[Op, ...] = (_jpeg.OP,)

__all__ = ["OPS", "jpeg"]
