"""Ops, one per file. OPS lists their declarations in the order of their codes in csrc/ops.h."""

from . import blur as _blur
from . import jpeg as _jpeg
from . import noise as _noise
from . import rain as _rain
from . import resize as _resize
from . import sharpen as _sharpen
from .blur import blur
from .declaration import Op
from .jpeg import jpeg
from .noise import noise
from .rain import rain
from .resize import resize
from .sharpen import sharpen

OPS: tuple[Op, ...] = (_blur.OP, _resize.OP, _noise.OP, _jpeg.OP, _sharpen.OP, _rain.OP)

__all__ = ["OPS", "blur", "jpeg", "noise", "rain", "resize", "sharpen"]
