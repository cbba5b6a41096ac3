"""Ops, one per file: its declaration, its registration, its public function. The lines below are the list of them."""

from . import analog as _analog
from . import avif as _avif
from . import bc1 as _bc1
from . import blur as _blur
from . import channel_shift as _channel_shift
from . import chroma as _chroma
from . import color as _color
from . import dpid as _dpid
from . import film_grain as _film_grain
from . import haze as _haze
from . import jpeg as _jpeg
from . import jpeg2000 as _jpeg2000
from . import kernel_pool as _kernel_pool
from . import low_light as _low_light
from . import median as _median
from . import noise as _noise
from . import palette as _palette
from . import pixelate as _pixelate
from . import quantize as _quantize
from . import rain as _rain
from . import resize as _resize
from . import screentone as _screentone
from . import sharpen as _sharpen
from . import unsharp as _unsharp
from . import video as _video
from . import webp as _webp
from .analog import analog
from .avif import avif
from .bc1 import bc1
from .blur import blur
from .channel_shift import channel_shift
from .chroma import chroma
from .color import color
from .declaration import Column, Op, decided_by, generator
from .dpid import dpid
from .film_grain import film_grain
from .haze import haze
from .jpeg import jpeg
from .jpeg2000 import jpeg2000
from .kernel_pool import kernel_pool
from .low_light import low_light
from .median import median
from .noise import noise
from .palette import palette
from .pixelate import pixelate
from .quantize import quantize
from .rain import rain
from .registry import find, names, register
from .resize import resize
from .screentone import screentone
from .sharpen import sharpen
from .unsharp import unsharp
from .video import video
from .webp import webp

OPS: tuple[Op, ...] = tuple(map(register, (_blur.OP, _resize.OP, _noise.OP, _jpeg.OP, _sharpen.OP, _rain.OP)))
"""Those of the compiled module, in the order of their codes in csrc/ops/list.h."""

PLAIN_OPS: tuple[Op, ...] = tuple(
    map(
        register,
        (
            _webp.OP,
            _avif.OP,
            _jpeg2000.OP,
            _color.OP,
            _channel_shift.OP,
            _median.OP,
            _unsharp.OP,
            _chroma.OP,
            _quantize.OP,
            _palette.OP,
            _screentone.OP,
            _pixelate.OP,
            _haze.OP,
            _low_light.OP,
            _kernel_pool.OP,
            _film_grain.OP,
            _video.OP,
            _dpid.OP,
            _bc1.OP,
            _analog.OP,
        ),
    )
)
"""Those that are functions of one image, in torch or a library; they run between the compiled ones."""

__all__ = [
    "OPS",
    "PLAIN_OPS",
    "Column",
    "Op",
    "analog",
    "avif",
    "bc1",
    "blur",
    "channel_shift",
    "chroma",
    "color",
    "decided_by",
    "dpid",
    "film_grain",
    "find",
    "generator",
    "haze",
    "jpeg",
    "jpeg2000",
    "kernel_pool",
    "low_light",
    "median",
    "names",
    "noise",
    "palette",
    "pixelate",
    "quantize",
    "rain",
    "register",
    "resize",
    "screentone",
    "sharpen",
    "unsharp",
    "video",
    "webp",
]
