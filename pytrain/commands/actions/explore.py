"""Model files on the page of `degrade explore`: what the entry point of group "degrade.models" opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pydegrade.files import Pixels, display_name, to_float

from ...errors import ConfigError
from ...evaluation.infer import check_finite, upscale
from ...evaluation.strips import as_pixels
from ...evaluation.vector_editing import EditedDASR, estimate
from ...files.checkpoint import load_model
from ...nets import DASR, channels_of


@dataclass(frozen=True)
class ExploredModel:
    """A network on the CPU.

    Attributes:
        name: of its file.
        net: RGB [1, 3, h, w] -> [1, 3, scale h, scale w].
    """

    name: str
    net: Any

    @property
    def scale(self) -> int:
        """Result side over LR side."""
        return int(self.net.scale)

    @property
    def believes(self) -> bool:
        """Whether it predicts a degradation vector of the released layout."""
        from pydegrade import vectors

        return isinstance(self.net, DASR) and self.net.config.num_entries == vectors.SIZE

    def enlarged(self, lr: Pixels, changes: Mapping[str, str]) -> Pixels:
        """uint8 [h, w, 3] -> [scale h, scale w, 3].

        Args:
            changes: entries of the vector, see `pydegrade.vectors.edited`; none for other networks.
        Raises:
            NotFiniteError: a result with NaN or infinity. TaskError: an entry that there is not.
        """
        net = EditedDASR(self.net, changes) if changes else self.net
        image = upscale(net, to_float(lr)[None])[0]
        check_finite(image)
        return as_pixels(image)

    @torch.no_grad()
    def belief(self, lr: Pixels) -> Mapping[str, float | str]:
        """What a network that `believes` says of an image, in units."""
        found: Mapping[str, float | str] = estimate(self.net, to_float(lr)[None])["parameters"]
        return found


def open_model(path: Path) -> ExploredModel:
    """Any file that `pytrain infer` takes; of architectures that pytrain lacks by spandrel, where it is installed.

    Raises:
        PytrainError: unreadable, or a network of several tasks or of other images than RGB.
    """
    net = load_model(path).net
    if not isinstance(getattr(net, "scale", None), int) or channels_of(net) != 3:
        raise ConfigError(f"--model: {display_name(path)} must take RGB images, at one scale")
    return ExploredModel(display_name(path.name), net)
