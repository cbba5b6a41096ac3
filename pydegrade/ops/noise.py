"""Noise: Gaussian, Poisson and Gaussian correlated between channels, every field a function of a key and a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..native import binding, devices, rng
from ..native.packed import dense_layout
from .arguments import check_images, check_layout, check_places, check_rows, codes, numbers, parameter_tensor
from .declaration import BoolArray, Column, Columns, FloatArray, IntArray, Op, among, decided_by
from .library import define

Kind = Literal[
    "off",
    "gaussian",
    "poisson",
    "correlated",
    "speckle",
    "uniform",
    "salt_pepper",
    "shot_read",
    "luma",
    "chroma",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
_OFF, _GAUSSIAN, _POISSON, _CORRELATED, _SPECKLE, _UNIFORM, _SALT_PEPPER, _SHOT_READ, _LUMA, _CHROMA = range(10)
_BY_SIGMA = among(KINDS, ("gaussian", "speckle", "uniform", "shot_read", "luma", "chroma"))
_GRAY_OR_COLOUR = among(KINDS, ("gaussian", "poisson", "speckle", "uniform", "salt_pepper", "shot_read"))
# Red, green and blue of one unit of Cb and of Cr, BT.601.
_OF_CHROMA = np.array([[0.0, 1.402, 0.0], [-0.344136, -0.714136, 0.0], [1.772, 0.0, 0.0]])
_COVARIANCE = ("cov_rr_8bit2", "cov_rg_8bit2", "cov_rb_8bit2", "cov_gg_8bit2", "cov_gb_8bit2", "cov_bb_8bit2")


# ---- Declaration


@decided_by("kind")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    kind = columns["kind"]
    correlated = kind == _CORRELATED
    return {
        "sigma_8bit": _BY_SIGMA[kind],
        "poisson_gain": kind == _POISSON,
        "gray": _GRAY_OR_COLOUR[kind],
        "density": kind == _SALT_PEPPER,
        "shot_gain": kind == _SHOT_READ,
        **dict.fromkeys(_COVARIANCE, correlated),
    }


def _idle(columns: Columns) -> BoolArray:
    """Noise of no amount."""
    kind = columns["kind"]
    amount = np.where(_BY_SIGMA[kind], columns["sigma_8bit"], 0) + np.abs(
        _gains(kind, np.where(kind == _POISSON, columns["poisson_gain"], 0), columns["density"], columns["shot_gain"])
    )
    covariance = np.logical_or.reduce([columns[name] != 0 for name in _COVARIANCE])
    return np.where(kind == _CORRELATED, ~covariance, amount == 0)


def _gains(kind: IntArray, poisson: Any, density: Any, shot: Any) -> FloatArray:
    """What the compiled kinds call gain."""
    gain = np.where(kind == _SALT_PEPPER, density, np.where(kind == _SHOT_READ, shot, poisson))
    return np.ascontiguousarray(gain, np.float32)


def _compiled_kinds(kind: IntArray, sigma: Any, gray: Any, matrix: FloatArray | None) -> dict[str, Any]:
    """Kind, gray and matrix as the compiled module knows them: noise of luma is Gaussian noise of all channels alike, noise
    of chroma is correlated noise."""
    luma, chroma = kind == _LUMA, kind == _CHROMA
    if np.any(chroma):
        if matrix is None:
            matrix = np.zeros((len(kind), 9), np.float32)
        of_chroma = (_OF_CHROMA.ravel() * np.asarray(sigma, np.float64)[:, None]).astype(np.float32)
        matrix = np.ascontiguousarray(np.where(chroma[:, None], of_chroma, matrix))
    return {
        "kind": np.where(luma, _GAUSSIAN, np.where(chroma, _CORRELATED, kind)).astype(np.int32),
        "gray": np.where(luma, 1, gray).astype(np.int32),
        "matrix": matrix,
    }


def _covariance_column(name: str) -> Column:
    pair = name.split("_")[1].upper()
    return Column(
        name, f"Correlated noise: covariance of channels {pair[0]} and {pair[1]}, (8-bit level)^2.", -65025, 65025
    )


OP = Op(
    name="noise",
    columns=(
        Column(
            "kind",
            "off, gaussian, poisson, correlated (between channels), speckle, uniform, salt_pepper, "
            "shot_read (of a sensor), luma or chroma.",
            choices=KINDS,
            neutral="off",
        ),
        Column("sigma_8bit", "Standard deviation, 255 = full range; shot_read: of the read noise.", 0.0, 255.0),
        Column("poisson_gain", "Poisson: factor on the noise; 1 is true shot noise.", 0.0, 10.0),
        Column("gray", "1: one field for all three channels.", 0, 1, integer=True),
        *(_covariance_column(name) for name in _COVARIANCE),
        Column("density", "Salt_pepper: share of values that become 0 or 1.", 0.0, 1.0),
        Column("shot_gain", "Shot_read: variance of the shot noise of a value of 1, 1 = full range.", 0.0, 1.0),
    ),
    active=_active,
    idle=_idle,
    switch="kind",
)


@cache
def poisson_tables() -> NDArray[np.uint32]:
    """The alias tables, built once per process (about 20 ms, 2.3 MB)."""
    tables = np.empty(binding.POISSON_WORDS, np.uint32)
    binding.call("poisson_tables", out=tables)
    tables.flags.writeable = False
    return tables


def noise_matrix(covariance_8bit2: NDArray[Any]) -> NDArray[np.float32]:
    """Matrices A with noise = A z for normals z, 1 = full range.

    Args:
        covariance_8bit2: [N, 6], entries rr, rg, rb, gg, gb, bb.
    Returns:
        float32 [N, 9], row-major: the symmetric square root of |C|, where |C| has the eigenvalues of C without their
        signs (what numpy's multivariate_normal draws from when C is not positive semi-definite), by cyclic Jacobi
        rotations in + - * / sqrt, so that every machine gets the same bits.
    """
    covariance = np.ascontiguousarray(covariance_8bit2, np.float64)
    out = np.empty((len(covariance), 9), np.float32)
    binding.call("noise_matrix", covariance_8bit2=covariance, out=out)
    return out


# ---- Registration. Parameter tensors: kind, gray int32 [B]; sigma, gain float32 [B]; matrix float32 [B, 9]; key int32
# [B, 4] (the bits of unsigned words, which torch has few operations for).


def _noise(
    data: torch.Tensor,
    offset: torch.Tensor,
    height: torch.Tensor,
    width: torch.Tensor,
    channels: int,
    kind: torch.Tensor,
    sigma: torch.Tensor,
    gain: torch.Tensor,
    gray: torch.Tensor,
    matrix: torch.Tensor,
    key: torch.Tensor,
) -> torch.Tensor:
    rows = check_layout("noise", data, offset, height, width, channels)
    count = rows["count"]
    kind, gray, key = check_rows("noise", count, (kind, torch.int32), (gray, torch.int32), (key, torch.int32))
    sigma, gain, matrix = check_rows(
        "noise", count, (sigma, torch.float32), (gain, torch.float32), (matrix, torch.float32)
    )
    if key.shape != (count, 4) or matrix.shape != (count, 9):
        raise ValueError(f"noise: key must be [{count}, 4] and matrix [{count}, 9], got {key.shape} and {matrix.shape}")
    src = data.contiguous()
    out = torch.empty_like(src)
    devices.call(
        "noise",
        rows=rows,
        src=src,
        dst=out,
        kind=kind,
        sigma=sigma,
        gain=gain,
        gray=gray,
        matrix=matrix,
        key=key.view(torch.uint32),
        poisson_tables=poisson_tables(),
    )
    return out


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(output)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    # The noise counts as independent of the image; where the sum was clipped the gradient stops.
    (output,) = ctx.saved_tensors
    return (grad * ((output > 0) & (output < 1)), *(None for _ in range(10)))


_PARAMETERS = "Tensor kind, Tensor sigma, Tensor gain, Tensor gray, Tensor matrix, Tensor key"
define("noise", _PARAMETERS, _noise, save=_save, backward=_backward)


def normals(
    words: tuple[int, int, int, int], channels: int, height: int, width: int, device: torch.device
) -> torch.Tensor:
    """A field of independent normal numbers, float32 [C, H, W], to 5e-7: noise of the image whose words these are."""
    # Box-Muller of 32 bits stays below 6.8, and a sixteenth of it around 0.5 is never clipped.
    middle = torch.full((channels, height, width), 0.5, device=device)
    layout = dense_layout(middle[None])
    kind = np.array([_GAUSSIAN], np.int32)
    per_image = (layout.offset, layout.height, layout.width)
    gray, gain = np.zeros(1, np.int32), np.zeros(1, np.float32)
    key = np.array([words], np.uint32).view(np.int32)
    fields = (kind, np.full(1, 1 / 16, np.float32), gain, gray, np.zeros((1, 9), np.float32), key)
    tensors = [parameter_tensor(middle, values) for values in (*per_image, *fields)]
    noisy: torch.Tensor = torch.ops.pydegrade.noise(middle, *tensors[:3], channels, *tensors[3:])
    return (noisy - 0.5) * 16.0


# ---- Public function


def noise(
    images: torch.Tensor,
    kind: Kind | Sequence[Kind] = "gaussian",
    *,
    sigma_8bit: float | ArrayLike | torch.Tensor = 0.0,
    poisson_gain: float | ArrayLike | torch.Tensor = 1.0,
    density: float | ArrayLike | torch.Tensor = 0.0,
    shot_gain: float | ArrayLike | torch.Tensor = 0.0,
    gray: bool | ArrayLike | torch.Tensor = False,
    covariance_8bit2: ArrayLike | None = None,
    seed: int = 0,
    index: ArrayLike | None = None,
) -> torch.Tensor:
    """Add noise to each image and clip to [0, 1].

    Kinds:
        "gaussian": x + sigma z.
        "poisson": with xr the image rounded to 8 bits and V the number of different levels in it, raised to a power of
            two: x + gain (Poisson(V xr) / V - xr). The count is over all channels together, or over the gray image.
        "correlated": x + A z, A A^T = covariance_8bit2 / 255^2.
        "speckle": x (1 + sigma z).
        "uniform": x + sqrt(3) sigma u, u uniform in [-1, 1): sigma is its standard deviation, sqrt(3) sigma its reach.
        "salt_pepper": with probability `density` 0 or 1, either as often.
        "shot_read": x + sqrt(shot_gain x + sigma^2) z, the heteroscedastic Gaussian of a sensor.
        "luma": Gaussian in Y of BT.601, which is the same in all channels; "chroma": Gaussian in Cb and Cr, Y unchanged.
        "off": the image itself.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA, in [0, 1]; of at most 65535 x 262143 px; C = 3 for gray,
            correlated, luma and chroma noise.
        kind: one for all images, or B of them.
        sigma_8bit: number or [B], 0 to 255: standard deviation in 8-bit levels.
        poisson_gain: number or [B], 0 to 10.
        density: number or [B], 0 to 1, of "salt_pepper".
        shot_gain: number or [B], 0 to 1: variance of the shot noise where x = 1, of "shot_read".
        gray: flag or [B]: one field for all three channels (of the gray image 0.2989 R + 0.587 G + 0.114 B for Poisson).
        covariance_8bit2: [3, 3] or [B, 3, 3], for "correlated".
        seed, index: choose the fields; the image in row r uses number index[r], by default r. An image's field depends on
            (seed, index) alone, not on the batch, its size or the number of threads.
    Returns:
        [B, C, H, W] float32 in [0, 1]. Gradients pass through where the result was not clipped.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: Wang et al. 2021 (Real-ESRGAN) and its released code; correlated noise: Zhang et al. 2021 (BSRGAN);
        shot and read noise: Brooks et al. 2019 (unprocessing), equation 1.
    """
    check_images("noise", images)
    batch, channels, height, width = images.shape
    check_places("noise", height, width)
    kinds = codes("noise", "kind", kind, KINDS, batch)
    flags = numbers("noise", "gray", gray, batch, 0, 1, integer=True).astype(np.int32)
    if channels != 3 and (flags.any() or np.isin(kinds, (_CORRELATED, _LUMA, _CHROMA)).any()):
        raise ValueError(f"noise: gray, correlated, luma and chroma noise need 3 channels, got {channels}")
    numbers_of = rng.check_indices(np.arange(batch) if index is None else index, "noise: index")
    if len(numbers_of) != batch:
        raise ValueError(f"noise: index must have {batch} numbers, got {len(numbers_of)}")
    seeds = np.full(batch, rng.check_seed(seed), np.int64)
    sigma = numbers("noise", "sigma_8bit", sigma_8bit, batch, 0, 255).astype(np.float32) / np.float32(255)
    gain = _gains(
        kinds,
        numbers("noise", "poisson_gain", poisson_gain, batch, 0, 10),
        numbers("noise", "density", density, batch, 0, 1),
        numbers("noise", "shot_gain", shot_gain, batch, 0, 1),
    )
    compiled = _compiled_kinds(kinds, sigma, flags, _matrices(covariance_8bit2, kinds))
    key = rng.image_keys(seeds, numbers_of, numbers_of).view(np.int32)
    layout = dense_layout(images)
    per_image = (layout.offset, layout.height, layout.width)
    fields = (compiled["kind"], sigma, gain, compiled["gray"], compiled["matrix"], key)
    tensors = [parameter_tensor(images, values) for values in (*per_image, *fields)]
    out: torch.Tensor = torch.ops.pydegrade.noise(images, *tensors[:3], channels, *tensors[3:])
    return out


def _matrices(covariance_8bit2: ArrayLike | None, kinds: NDArray[np.int32]) -> NDArray[np.float32]:
    """float32 [B, 9] for the op; zeros where no covariance is needed."""
    batch = len(kinds)
    if covariance_8bit2 is None:
        if (kinds == _CORRELATED).any():
            raise ValueError("noise: covariance_8bit2 is missing, [3, 3] or one per image, for kind 'correlated'")
        return np.zeros((batch, 9), np.float32)
    given = np.asarray(covariance_8bit2, np.float64)
    if given.shape not in ((3, 3), (batch, 3, 3)) or not np.isfinite(given).all():
        raise ValueError(
            f"noise: covariance_8bit2 must be finite, [3, 3] or [{batch}, 3, 3], got shape {list(given.shape)}"
        )
    if not np.array_equal(given, np.swapaxes(given, -1, -2)):
        raise ValueError("noise: covariance_8bit2 must be symmetric")
    full = np.broadcast_to(given, (batch, 3, 3))
    rows, columns = np.triu_indices(3)
    return noise_matrix(full[:, rows, columns])
