# Written by csrc/stub.py from csrc/ops/list.h and the fields of every op: change those and build.
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import NotRequired

Fields = Mapping[str, Any]
"""Arrays and CPU tensors, contiguous, and numbers, named as in csrc/functions.h."""

RESIZE_MODES: tuple[str, ...]
OPS: dict[str, int]
"""Number of every op in plans, by name."""
LIMITS: dict[str, int]
"""blur_size_px: largest side of a kernel. random_height_px, random_width_px: of the largest image whose places fit into
counters."""
FIELDS: dict[str, tuple[tuple[str, str, bool, int, int, bool, str], ...]]
"""Of every struct of parameters: name, dtype, whether it is written, values per item (0: any number), least number of
values, whether it may be left out, what it is."""
COLUMNS: dict[str, tuple[tuple[str, str], ...]]
"""Of every op its columns, in the order of its plan.cpp: name, dtype."""
RESIZING: tuple[str, ...]
"""Ops that change the size."""
PSF_TRIM: float

class Slots:
    """The slots of a space. Each: code (None: an op in plain torch), hash of its name, whether an op in plain torch changes
    sizes, and full name and neutral value of every column of a compiled op."""
    def __init__(
        self, slots: list[tuple[int | None, int, bool, list[tuple[str, float | int]]]], scale: int, target: int
    ) -> None: ...

class Steps:
    """Tasks planned for images (csrc/chain/steps.h)."""
    def run(self, fields: Fields) -> bool: ...
    def program(self, has_target: bool) -> NDArray[np.uint8]: ...
    def fields(self) -> dict[str, Any]: ...
    @property
    def fault(self) -> tuple[str, int, int, int] | None: ...
    @property
    def has_target(self) -> bool: ...
    @property
    def has_others(self) -> bool: ...
    @property
    def dst_floats(self) -> int: ...
    @property
    def step_slot(self) -> NDArray[np.int32]: ...

class BlurFields(TypedDict):
    # [any] all kernels, one after the other
    weights: NDArray[np.float32] | torch.Tensor
    # [items] first weight of the item
    start: NDArray[np.int64] | torch.Tensor
    # [items] odd, 1..51
    size_px: NDArray[np.int32] | torch.Tensor
    # [items] BlurPath
    path: NDArray[np.int32] | torch.Tensor
    # [items] BlurBorder; none: all reflect_101
    border: NotRequired[NDArray[np.int32] | torch.Tensor | None]

class ResizeFields(TypedDict):
    # [items] ResizeMode
    mode: NDArray[np.int32] | torch.Tensor
    # [items] output px per input px used for coordinates; 0: ratio of the sizes
    scale_y: NDArray[np.float64] | torch.Tensor
    # [items] the same along x
    scale_x: NDArray[np.float64] | torch.Tensor

class NoiseFields(TypedDict):
    # [items] NoiseKind
    kind: NDArray[np.int32] | torch.Tensor
    # [items] standard deviation, 1 = full range
    sigma: NDArray[np.float32] | torch.Tensor
    # [items] Poisson: multiplies the noise; salt and pepper: share of values; shot and read: variance of a value of
    # 1
    gain: NDArray[np.float32] | torch.Tensor
    # [items] 1: one field for all channels
    gray: NDArray[np.int32] | torch.Tensor
    # [items, 9] correlated: noise = matrix * normals, 1 = full range
    matrix: NotRequired[NDArray[np.float32] | torch.Tensor | None]
    # [items, 4] the image's derived words o0..o3, o3 already combined with the slot
    key: NDArray[np.uint32] | torch.Tensor
    # [>= 592128] from poisson_tables(), for Poisson items
    poisson_tables: NotRequired[NDArray[np.uint32] | torch.Tensor | None]

class JpegFields(TypedDict):
    # [items] JpegMode
    mode: NDArray[np.int32] | torch.Tensor
    # [items] 1..100, an integer in libjpeg mode
    quality: NDArray[np.float32] | torch.Tensor
    # [items] JpegSubsampling; diffjpeg_basicsr is always 4:2:0
    subsampling: NDArray[np.int32] | torch.Tensor
    # [items] JpegRounding of the two differentiable modes
    rounding: NDArray[np.int32] | torch.Tensor
    # [items] of the adjoint in libjpeg mode, constant almost everywhere: 0 (or none) zero, 1 the gradient where src
    # is in [0, 1]
    libjpeg_gradient: NotRequired[NDArray[np.int32] | torch.Tensor | None]

class SharpenFields(TypedDict):
    # [items] 0 copies the image
    weight: NDArray[np.float32] | torch.Tensor
    # [items] even radii are raised by one, as the kernel length
    radius_px: NDArray[np.int32] | torch.Tensor
    # [items] least absolute residual that is sharpened
    threshold_8bit: NDArray[np.float32] | torch.Tensor

class RainFields(TypedDict):
    # [items] mean number per 1000 px, 0..20
    streaks_per_kpx: NDArray[np.float32] | torch.Tensor
    # [items] 1..128
    length_px: NDArray[np.float32] | torch.Tensor
    # [items] 0.5..16
    width_px: NDArray[np.float32] | torch.Tensor
    # [items] -1.3..1.3 from the vertical, the lower end to the right
    angle_rad: NDArray[np.float32] | torch.Tensor
    # [items] 0..16, below 1 counts as 1
    blur_px: NDArray[np.float32] | torch.Tensor
    # [items] 0..1
    brightness: NDArray[np.float32] | torch.Tensor
    # [items, 4] the image's derived words o0..o3, o3 already combined with the slot
    key: NDArray[np.uint32] | torch.Tensor

class PsfFields(TypedDict):
    # [items] PsfShape
    shape: NDArray[np.int32] | torch.Tensor
    # [items] odd, 1..51
    size_px: NDArray[np.int32] | torch.Tensor
    # [items] along (cos angle, sin angle), y down
    sigma_x_px: NDArray[np.float32] | torch.Tensor
    # [items] across
    sigma_y_px: NDArray[np.float32] | torch.Tensor
    # [items] of sigma_x, from x towards y
    angle_rad: NDArray[np.float32] | torch.Tensor
    # [items] exponent of generalized and plateau kernels
    beta: NDArray[np.float32] | torch.Tensor
    # [items] of sinc kernels
    cutoff_rad: NDArray[np.float32] | torch.Tensor
    # [items] moves the filtered image to the upper left (BSRGAN's aligned decimation)
    shift_px: NDArray[np.float32] | torch.Tensor
    # [items] where the kernel begins in full and in weights: size_px^2 places each
    start: NDArray[np.int64] | torch.Tensor
    # [any] written: untrimmed kernels, sum 1
    full: NotRequired[NDArray[np.float64] | torch.Tensor | None]
    # [any] written: what blur reads; none: nor are the next two written
    weights: NotRequired[NDArray[np.float32] | torch.Tensor | None]
    # [items] written: size after trimming
    trimmed_size_px: NotRequired[NDArray[np.int32] | torch.Tensor | None]
    # [items] written: BlurPath
    path: NotRequired[NDArray[np.int32] | torch.Tensor | None]
    # [items] box: half its side; disk; polygon: of its corners; motion: half its length
    radius_px: NotRequired[NDArray[np.float32] | torch.Tensor | None]
    # [items] corners of a polygon, 3..12
    blades: NotRequired[NDArray[np.int32] | torch.Tensor | None]

def blur(fields: Fields) -> None: ...
def blur_adjoint(fields: Fields) -> None: ...
def blur_adjoint_program(fields: Fields) -> bytes: ...
def blur_program(fields: Fields) -> bytes: ...
def bytes_of_planes(fields: Fields) -> None: ...
def chain(fields: Fields) -> bool: ...
def chain_program(fields: Fields) -> bytes: ...
def cpu_words() -> tuple[int, int, int, int]: ...
def diffuse(fields: Fields) -> None: ...
def draw_columns(fields: Fields) -> None: ...
def imresize(fields: Fields) -> None: ...
def imresize_adjoint(fields: Fields) -> None: ...
def imresize_taps(fields: Fields) -> None: ...
def isa_lacks(leaf1_ecx: int, leaf7_ebx: int, extended_ecx: int, xcr0: int) -> str: ...
def isa_name() -> str: ...
def isa_of(leaf1_ecx: int, leaf7_ebx: int, extended_ecx: int, xcr0: int) -> str: ...
def isa_request_honoured() -> bool: ...
def jpeg(fields: Fields) -> None: ...
def jpeg_adjoint(fields: Fields) -> None: ...
def jpeg_adjoint_program(fields: Fields) -> bytes: ...
def jpeg_program(fields: Fields) -> bytes: ...
def median(fields: Fields) -> None: ...
def neutral(fields: Fields) -> NDArray[np.bool_]: ...
def noise(fields: Fields) -> None: ...
def noise_matrix(fields: Fields) -> None: ...
def noise_program(fields: Fields) -> bytes: ...
def num_threads() -> int: ...
def out_size(fields: Fields) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def philox_uniform(fields: Fields) -> None: ...
def philox_words(fields: Fields) -> None: ...
def plan(fields: Fields) -> Steps: ...
def planes_of_bytes(fields: Fields) -> None: ...
def planes_of_yuv(fields: Fields) -> None: ...
def poisson_tables(fields: Fields) -> None: ...
def psf(fields: Fields) -> None: ...
def rain(fields: Fields) -> None: ...
def rain_program(fields: Fields) -> bytes: ...
def resize(fields: Fields) -> None: ...
def resize_adjoint(fields: Fields) -> None: ...
def resize_adjoint_program(fields: Fields) -> bytes: ...
def resize_factors(fields: Fields) -> None: ...
def resize_program(fields: Fields) -> bytes: ...
def set_num_threads(threads: int) -> None: ...
def settle_columns(fields: Fields) -> None: ...
def sharpen(fields: Fields) -> None: ...
def sharpen_program(fields: Fields) -> bytes: ...
def yuv_of_planes(fields: Fields) -> None: ...
