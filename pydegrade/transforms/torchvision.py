"""`Degrade` for torchvision's v2 transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import PydegradeError
from ..loading.degrader import Back, Degrader, degraded
from ..loading.forms import as_batch
from ..tasks.space import Space

try:
    from torchvision import tv_tensors
    from torchvision.transforms import v2
except (ImportError, RuntimeError):  # RuntimeError: one that was built for another torch
    raise PydegradeError(
        "pydegrade.transforms.torchvision needs torchvision, of the build of torch: pip install torchvision"
    ) from None


class Degrade(v2.Transform):  # type: ignore[misc]  # torchvision may be absent
    """Degrades the images of a sample by a task, all of them by the same one; what is no image passes.

        v2.Compose([v2.RandomCrop(256), v2.ToImage(), Degrade("realesrgan-x4", seed=0)])

    Takes tensors and tv_tensors.Image, [C, H, W] or [B, C, H, W], uint8 or floating in [0, 1], sides multiples of the
    scale; a batch has a task per image. Safe in data-loader workers: see `pydegrade.SampleNumbers`.

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        seed: whole number in [0, 2^62); None: torch's initial seed.
        back: how results get the size of the images again, which masks and boxes of the sample rely on; None: they stay
            smaller by the scale.
    """

    _transformed_types = (torch.Tensor, tv_tensors.Image)

    def __init__(self, space: Space | str | Path, seed: int | None = None, back: Back | None = "torch_bicubic") -> None:
        super().__init__()
        self.degrader = Degrader(space, seed, back=back)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The tasks of a sample."""
        count = max((len(one) for one in flat_inputs if _is_image(one) and one.dim() == 4), default=1)
        tasks = self.degrader.draw(count)
        self.degrader.tasks = tasks
        return {"tasks": tasks}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One image, or one batch, of the sample."""
        if not _is_image(inpt):
            return inpt
        hr, form = as_batch("Degrade", inpt.as_subclass(torch.Tensor))
        made = form.of(degraded(hr, params["tasks"].take(slice(0, len(hr))), self.degrader.back).lr)
        return tv_tensors.wrap(made, like=inpt) if isinstance(inpt, tv_tensors.Image) else made


def _is_image(value: Any) -> bool:
    """tv_tensors.Image, and plain tensors of images; not masks, boxes or labels."""
    if isinstance(value, tv_tensors.Image):
        return True
    return type(value) is torch.Tensor and value.dim() in (3, 4)
