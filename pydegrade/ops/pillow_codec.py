"""What the ops of Pillow's codecs share: pixels of 8 bits, a file in memory, pixels of 8 bits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, __version__, features

from ..errors import OpError
from ..native import binding


def required(feature: str, name: str, since: str) -> str:
    """Version of the library behind a feature of this Pillow.

    Args:
        feature: as PIL.features knows it.
        name: of the format, for the message.
        since: the first Pillow whose wheels have it.
    Raises:
        OpError: this Pillow was built without it.
    """
    if not features.check(feature):
        raise OpError(
            f"this Pillow ({__version__}) was built without {name}; the wheels on PyPI have it since Pillow {since}"
        )
    return str(features.version(feature))


def through_file(op: str, image: torch.Tensor, format: str, **options: Any) -> torch.Tensor:
    """What is left of an image after it was written and read.

    Args:
        op: for messages.
        image: float32 [3, H, W]; clipped to [0, 1] and rounded to 8 bits, half to even; NaN counts as 0.
        format: Pillow's name of it.
        options: of its encoder.
    Returns:
        float32 [3, H, W] in multiples of 1/255, on the device of `image`: with CUDA a round trip over the host.
    """
    if image.shape[0] != 3:
        raise OpError(f"{op}: images must have 3 channels, got {image.shape[0]}")
    picture = Image.fromarray(bytes_of(image))
    file = io.BytesIO()
    picture.save(file, format, **options)
    with Image.open(file, formats=[format]) as decoded:
        pixels = np.asarray(decoded if decoded.mode == "RGB" else decoded.convert("RGB"))
    # Divided here and not on the device, whose divisions by a constant may be multiplications.
    planes = torch.empty(3, *pixels.shape[:2])
    sizes = {"pixels": planes[0].numel(), "channels": 3}
    binding.call("planes_of_bytes", bytes=np.ascontiguousarray(pixels), planes=planes, **sizes)
    return planes.to(image.device)


def bytes_of(image: torch.Tensor) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of float32 [3, H, W]: clipped to [0, 1], rounded half to even; NaN counts as 0."""
    values = image.detach().cpu().contiguous()
    made = np.empty((*values.shape[1:], 3), np.uint8)
    sizes = {"pixels": values[0].numel(), "channels": 3}
    if not binding.call("bytes_of_planes", planes=values, bytes=made, **sizes):
        finite = torch.nan_to_num(values, nan=0.0).clamp(0.0, 1.0)
        binding.call("bytes_of_planes", planes=finite, bytes=made, **sizes)
    return made
