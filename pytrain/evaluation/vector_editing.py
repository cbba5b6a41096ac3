"""Reading and editing what an adaptive network believes about an image's degradation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pydegrade import TaskError, vectors

from ..errors import ConfigError
from ..nets import DASR, SRResNet
from .infer import upscale


class EditedDASR(nn.Module):
    """A DASR network that takes some entries of the degradation vector from a person.

    Args:
        net: predicts the other entries.
        changes: see `pydegrade.vectors.edited`.
    """

    def __init__(self, net: DASR, changes: Mapping[str, str]) -> None:
        super().__init__()
        self.net = net
        self.scale = net.scale
        self.changes = dict(changes)
        # Names and ranges are checked before the first image.
        vectors.edited(np.zeros(vectors.SIZE, np.float32), self.changes)

    def for_image(self, image: Tensor) -> SRResNet:
        """The plain network of one image [1, 3, H, W], mixed by the edited vector."""
        vector = vectors.edited(self.net.estimate(image).float().cpu().numpy(), self.changes)
        return self.net.for_image(image, torch.from_numpy(vector))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """One image [1, 3, H, W] -> [1, 3, sH, sW]."""
        out: Tensor = self.for_image(x_BCHW)(x_BCHW)
        return out


def adaptive(net: nn.Module, where: str) -> DASR:
    """The network as one that predicts a degradation vector.

    Raises:
        ConfigError: another network, or one with another vector.
    """
    if not isinstance(net, DASR):
        raise ConfigError(f"{where}: must be a dasr model, which predicts degradations, got {type(net).__name__}")
    if net.config.num_entries != vectors.SIZE:
        raise ConfigError(f"{where}: must predict {vectors.SIZE} entries, got {net.config.num_entries}")
    return net


def parse_changes(texts: Sequence[str], option: str = "--vector") -> dict[str, str]:
    """{"blur1.sigma_x_px": "2.5", ...} from texts like "blur1.sigma_x_px=2.5,noise1.sigma_8bit=5".

    Raises:
        ConfigError: a part without "=", or a name twice.
    """
    changes: dict[str, str] = {}
    for text in texts:
        # A comma separates where a name and "=" follow; "order=jpeg2,sinc" has one in its value.
        for part in re.split(r",(?=[^,=]+=)", text):
            name, equals, value = part.partition("=")
            if not equals or not name.strip() or not value.strip():
                raise ConfigError(f"{option} must be NAME=VALUE[,NAME=VALUE...], got {text!r}")
            if name.strip() in changes:
                raise ConfigError(f"{option}: {name.strip()} is given twice")
            changes[name.strip()] = value.strip()
    return changes


def estimate(net: DASR, image: Tensor) -> dict[str, Any]:
    """What the network believes about one image.

    Args:
        net: a trained network with labels of scheme "dasr33-global".
        image: [1, 3, H, W] float in [0, 1].
    Returns:
        {"parameters": {"blur1.sigma_x_px": 1.2, ...} in units, "vector": 33 numbers, "shares": one per expert}.
    """
    vector = net.estimate(image).float().cpu()
    with torch.no_grad():
        shares = net.predictor.shares(vector[None].to(next(net.parameters())))[0]
    return {
        "parameters": vectors.described(vector.numpy()),
        "vector": [round(value, 6) for value in vector.tolist()],
        "shares": [round(value, 6) for value in shares.tolist()],
    }


def sweep(net: DASR, image: Tensor, name: str, values: Sequence[float], changes: Mapping[str, str]) -> list[Tensor]:
    """The image upscaled with one entry of its vector at several values.

    Args:
        net, image: see `estimate`.
        name: a numeric entry, in its own unit.
        values: what it is set to.
        changes: further entries, the same for all.
    Returns:
        One [1, 3, sH, sW] per value, not clipped.
    Raises:
        TaskError: unknown name or a value out of range.
    """
    if name in changes:
        raise TaskError(f"sweep: {name} is swept, it must not be set as well")
    return [upscale(EditedDASR(net, {**changes, name: repr(value)}), image) for value in values]
