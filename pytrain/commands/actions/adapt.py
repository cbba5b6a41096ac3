"""A network fitted to one image: `pytrain adapt`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pydegrade import EstimatedKernel, Subsampling, estimate_kernel, imresize, kernels
from pydegrade.files import encode_png, folder_lock, read_image, read_picture, to_float, to_uint8, unique_names
from pydegrade.images.metrics import Protocol, psnr
from pydegrade.shell import Results, absolute, say_notes

from ... import nets
from ...errors import CheckpointError, DataError
from ...evaluation.adapt import adapt, back_projected, make_son, zssr
from ...evaluation.infer import NotFiniteError, check_finite
from ...files.checkpoint import load_into, load_model


@dataclass(frozen=True)
class AdaptRequest:
    """What `pytrain adapt` is asked to do.

    Attributes:
        image: the file.
        model: MZSR's model file, or "none" for ZSSR.
        kernel: file, "estimate" or "bicubic".
        down: how pixels are kept after the kernel.
        counts: after how many steps a result is written, rising.
        rate: learning rate of every step; None: the published ones.
        falling: whether `rate` is the first step's and falls like the published ones.
        sigma_8bit: noise of the image, in 8-bit steps.
        back_projections: iterations of back-projection on every result.
        scale: factor; None: the model's, 2 for ZSSR.
        reference: the clean image; None: no PSNR.
        seed: of ZSSR's weights and crops.
        tile_px: side of the parts that are computed at a time.
        device: that computes.
    """

    image: Path
    model: str
    kernel: str
    down: Subsampling
    counts: tuple[int, ...]
    rate: float | None
    falling: bool
    sigma_8bit: float
    back_projections: int
    scale: int | None
    reference: Path | None
    seed: int
    tile_px: int
    device: torch.device


def adapt_file(request: AdaptRequest, out: Path, force: bool, say: Callable[[str], None]) -> None:
    """Fit and enlarge; writes NAME_STEPS.png per number of steps, and NAME_kernel.npy where the kernel is estimated.

    Args:
        request: what to do.
        out: checked folder.
        force: write also over files of another origin.
        say: takes lines for people.
    Raises:
        PytrainError, PydegradeError: something that cannot be used, said before anything is computed.
        NotFiniteError: the steps diverged; what was written before stays.
    """
    # Everything that may be wrong.
    picture = read_picture(request.image)
    # A profile stays with its three channels; gray ones become colours, which cannot keep theirs.
    profile = None if picture.gray else picture.profile
    rgb = replace(picture, profile=picture.profile if picture.gray else None).rgb8()
    pixels = rgb.array
    say_notes(request.image, rgb.notes)
    config, net, multi_scale = _network(request.model, request.scale)
    factor = config.scale
    found = estimate_kernel(pixels, factor, request.down) if request.kernel == "estimate" else None
    weights = None if request.kernel == "bicubic" else found.kernel if found else kernels.load(request.kernel)
    image = to_float(pixels)[None].to(request.device)
    make_son(image, weights, factor, request.down)
    clean = None if request.reference is None else _clean(request.reference, factor, pixels.shape[:2])
    (stem,) = unique_names([Path(request.image.name)])
    names = {count: f"{stem}_{count}.png" for count in request.counts}
    kernel_name = f"{stem}_kernel.npy"
    read = [
        request.image,
        Path(request.kernel),
        Path(request.model),
        *([request.reference] if request.reference else []),
    ]

    # Adapt.
    with folder_lock(out):
        results = Results(out, "adapt", {}, force)
        results.check([*names.values(), *([kernel_name] if found else [])], read)
        if found is not None:
            results.write(kernel_name, _npy(found.kernel), request.image)
            say(_kernel_line(found, out / kernel_name))
        if clean is not None:
            say(f"{'bicubic':>8}  {_psnr(imresize(pixels, factor), clean, factor)}")
        if net is None:
            made = zssr(
                config, image, weights, request.counts, request.down, request.seed, request.tile_px, request.sigma_8bit
            )
        else:
            made = adapt(
                net.to(request.device),
                image,
                weights,
                request.counts,
                request.down,
                request.tile_px,
                request.rate,
                multi_scale,
                request.falling,
                request.sigma_8bit,
            )
        for result in made:
            try:
                check_finite(result.image)
            except NotFiniteError as error:
                raise NotFiniteError(f"{request.image}: after {result.steps} steps {error}; lower --rate") from None
            found_image = back_projected(result.image, image, weights, factor, request.down, request.back_projections)
            enlarged = to_uint8(found_image[0].cpu())
            results.write(names[result.steps], encode_png(enlarged, profile), request.image)
            score = "" if clean is None else f"  {_psnr(enlarged, clean, factor)}"
            loss = "" if result.loss is None else f"  loss {result.loss:.5f}"
            say(f"{result.steps:>8}{score}{loss}  {absolute(out / names[result.steps])}")


def _network(model: str, scale: int | None) -> tuple[nets.MZSRConfig, nets.MZSR | None, bool]:
    """The network to adapt, at the wanted scale, and whether it was trained on several; None for ZSSR, which makes its
    own."""
    if model == "none":
        return nets.MZSRConfig(scale=scale or 2), None, False
    loaded = load_model(model)
    if not isinstance(loaded.config, nets.MZSRConfig):
        raise CheckpointError(f"{model}: must be a network of type mzsr, got a {loaded.config.type}")
    config = replace(loaded.config, scale=scale or loaded.config.scale)
    net = nets.MZSR(config)
    load_into(net, config, model)
    scales = loaded.metadata.get("scales")
    return config, net, isinstance(scales, list) and len(scales) > 1


def _kernel_line(found: EstimatedKernel, path: Path) -> str:
    angle = f"{math.degrees(found.angle_rad):+.0f} degrees"
    return f"  kernel  sigma {found.sigma_x_px:.2f} x {found.sigma_y_px:.2f} px, {angle}  {absolute(path)}"


def _clean(path: Path, scale: int, lr_sides: tuple[int, ...]) -> NDArray[Any]:
    """The reference, cut to multiples of the scale that the low-resolution image has."""
    pixels = read_image(path)
    height, width = (side // scale for side in pixels.shape[:2])
    if any(not 0 <= mine - theirs <= 1 for mine, theirs in zip(lr_sides, (height, width))):
        raise DataError(
            f"--reference: {path}: must be {scale} times the image's {lr_sides[1]} x {lr_sides[0]} px, "
            f"got {pixels.shape[1]} x {pixels.shape[0]}"
        )
    return pixels[: height * scale, : width * scale]


def _npy(array: NDArray[Any]) -> bytes:
    stream = BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _psnr(image: Any, clean: NDArray[Any], scale: int) -> str:
    """PSNR of luma without a border of the scale, as MZSR reports it."""
    protocol = Protocol("y", border=scale)
    cut = np.ascontiguousarray(image[: clean.shape[0], : clean.shape[1]])
    return f"{psnr(cut, np.ascontiguousarray(clean), protocol).value:.2f} dB (y-uint8-border{scale})"
