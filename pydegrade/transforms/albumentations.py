"""`Degrade` for albumentations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PydegradeError
from ..loading.degrader import Back, Degrader, degraded
from ..loading.forms import as_batch
from ..tasks.space import Space

try:
    from albumentations.core.transforms_interface import ImageOnlyTransform
except ImportError:
    raise PydegradeError(
        "pydegrade.transforms.albumentations needs albumentations: pip install albumentations"
    ) from None


class Degrade(ImageOnlyTransform):  # type: ignore[misc]  # albumentations may be absent
    """Degrades the image of a sample by a task; masks and boxes stay.

        A.Compose([A.RandomCrop(256, 256), Degrade("realesrgan-x4", seed=0)])

    Takes uint8 or float32 arrays [H, W] or [H, W, C], sides multiples of the scale, and gives the same dtype. Randomness is
    the package's own: see `pydegrade.SampleNumbers` for workers and ranks.

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        seed: whole number in [0, 2^62); None: torch's initial seed.
        back: how results get the size of the image again, which the other targets rely on; None: they stay smaller.
        p: probability that the image is degraded.
    """

    def __init__(
        self,
        space: Space | str | Path = "realesrgan-x4",
        seed: int | None = None,
        back: Back | None = "torch_bicubic",
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.degrader = Degrader(space, seed, back=back)

    def get_params(self) -> dict[str, Any]:
        """The task of a sample."""
        self.degrader.tasks = self.degrader.draw(1)
        return {"tasks": self.degrader.tasks}

    def apply(self, img: np.ndarray[Any, Any], tasks: Any = None, **params: Any) -> np.ndarray[Any, Any]:
        """The image of the sample."""
        hr, form = as_batch("Degrade", img)
        made: np.ndarray[Any, Any] = form.of(degraded(hr, tasks, self.degrader.back).lr)
        return made

    def get_transform_init_args(self) -> dict[str, Any]:
        """What albumentations writes to files."""
        numbers = self.degrader.numbers
        return {"space": self.degrader.space.name, "seed": numbers.seed, "back": self.degrader.back}
