"""What the ops of Pillow's codecs share: pixels of 8 bits, a file in memory, pixels of 8 bits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image, __version__, features

from ..errors import OpError


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
    levels = (torch.nan_to_num(image, nan=0.0).clamp(0.0, 1.0) * 255).round().to(torch.uint8)
    picture = Image.fromarray(np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy()))
    file = io.BytesIO()
    picture.save(file, format, **options)
    with Image.open(file, formats=[format]) as decoded:
        pixels = np.asarray(decoded.convert("RGB"))
    # Divided here and not on the device, whose divisions by a constant may be multiplications.
    values = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)
    return torch.from_numpy(values).to(image.device)
