"""`Degrader`: degradation as a torch module, one task per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..engine import Pair, degrade_batch
from ..errors import PydegradeError, shown
from ..native import rng
from ..ops.resize import resize
from ..tasks.sampler import sample
from ..tasks.space import Space
from ..tasks.task import TaskBatch
from .forms import Form, Images, as_batch
from .numbers import SampleNumbers

Back = Literal["torch_area", "torch_bilinear", "torch_bicubic", "random"]
"""How LR images are enlarged to the size of the HR images; random: one of the three, for each image."""
BACKS: tuple[str, ...] = get_args(Back)


@dataclass(frozen=True)
class Degraded:
    """A degraded batch, float32 [B, C, ...] in [0, 1], all cut alike.

    Attributes:
        hr: the images as they were given.
        lr: degraded, multiples of 1/255; of the size of `hr` where they were enlarged.
        target: what a loss should compare with: `hr`, or its sharpened version where the space says so.
    """

    hr: torch.Tensor
    lr: torch.Tensor
    target: torch.Tensor


def degraded(hr: torch.Tensor, tasks: TaskBatch, back: Back | None = None, crop_px: int | None = None) -> Degraded:
    """`degrade_batch`, then two things that training programs do with its pairs.

    Args:
        hr: float32 [B, C, H, W] in [0, 1], sides multiples of the space's scale.
        tasks: B tasks.
        back: enlarge LR images to H x W in this mode, clip and round to 8 bits.
        crop_px: cut the same square of this side out of the images of a pair, at a place of the LR grid; a multiple of the
            scale. Which mode and which square is a function of each task's seed and index.
    """
    pair = degrade_batch(hr, tasks)
    lr = pair.lr
    if back is not None:
        modes = _modes(back, tasks)
        lr = resize(lr, (hr.shape[-2], hr.shape[-1]), mode=modes).clamp_(0, 1).mul_(255).round_().div_(255)
    if crop_px is None:
        return Degraded(hr, lr, pair.target)
    return _cut(Degraded(hr, lr, pair.target), tasks, crop_px)


def _uniform(tasks: TaskBatch, name: str) -> NDArray[np.float64]:
    out = np.empty(len(tasks), np.float64)
    for seed in np.unique(tasks.seeds).tolist():
        rows = tasks.seeds == seed
        out[rows] = rng.named_uniform(seed, tasks.indices[rows], name)
    return out


def _modes(back: str, tasks: TaskBatch) -> Any:
    if back != "random":
        return back
    three = BACKS[:3]
    return [three[int(3 * u)] for u in _uniform(tasks, "degrader.back").tolist()]


def _cut(images: Degraded, tasks: TaskBatch, crop_px: int) -> Degraded:
    """The squares of `degraded`."""
    scale = tasks.space.scale
    height, width = images.hr.shape[-2:]
    if crop_px % scale or not 0 < crop_px <= min(height, width):
        raise ValueError(
            f"crop_px must be a multiple of the scale {scale} and at most {min(height, width)}, got {crop_px}"
        )
    tops, lefts = (
        np.floor(_uniform(tasks, f"degrader.{name}") * ((side - crop_px) // scale + 1)).astype(int) * scale
        for name, side in (("top", height), ("left", width))
    )

    def cut(batch: torch.Tensor) -> torch.Tensor:
        shrunk = height // batch.shape[-2]
        side = crop_px // shrunk
        squares = [
            batch[row, :, top // shrunk : top // shrunk + side, left // shrunk : left // shrunk + side]
            for row, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist()))
        ]
        return torch.stack(squares) if squares else batch[..., :side, :side]

    hr = cut(images.hr)
    return Degraded(hr, cut(images.lr), hr if images.target is images.hr else cut(images.target))


class Degrader(torch.nn.Module):
    """Degrades batches, each image by a task of its own.

        degrader = pydegrade.Degrader("realesrgan-x4", seed=0)
        lr = degrader(hr)                        # the next tasks of the seed
        lr = degrader(hr, indices=[7, 8])        # the tasks of these sample numbers
        batch = degrader({"hr": hr, "name": names})   # adds "lr", keeps the rest

    Without indices it counts, so that no two images of a training job share a task: see `SampleNumbers` for ranks and
    data-loader workers. `state_dict` holds the position; a job that loads it goes on with the tasks it would have had.

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        seed: whole number in [0, 2^62); None: torch's initial seed.
        with_target: also give what a loss should compare with: the HR image, or its sharpened version.
        back: enlarge LR images to the size of the HR images: "torch_area", "torch_bilinear", "torch_bicubic", or "random"
            for one of the three per image. Clipped and rounded to 8 bits.
        crop_px: cut the same square out of HR, LR and target of an image after degrading; side in HR px.
        hr_key, lr_key, target_key: keys of dictionaries.
        index_key: where a dictionary holds its sample numbers; None: it holds none.
        address_key: where to leave the tasks' addresses, a list of texts; None: nowhere.
        block: tasks that are drawn at once while counting.
        rank, world: of this process; by default torch.distributed's or torchrun's.
    Raises:
        PydegradeError, TypeError, ValueError: with one line.
    """

    def __init__(
        self,
        space: Space | str | Path,
        seed: int | None = 0,
        *,
        with_target: bool = False,
        back: Back | None = None,
        crop_px: int | None = None,
        hr_key: str = "hr",
        lr_key: str = "lr",
        target_key: str = "target",
        index_key: str | None = None,
        address_key: str | None = None,
        block: int = 256,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__()
        self.space = space if isinstance(space, Space) else Space.load(space)
        if back is not None and (not isinstance(back, str) or back not in BACKS):
            raise ValueError(f"Degrader: back must be None or one of {', '.join(BACKS)}, got {shown(back)}")
        if crop_px is not None and (not isinstance(crop_px, int) or isinstance(crop_px, bool) or crop_px < 1):
            raise ValueError(f"Degrader: crop_px must be None or a whole number >= 1, got {shown(crop_px)}")
        self.with_target, self.back, self.crop_px = with_target, back, crop_px
        self.hr_key, self.lr_key, self.target_key = hr_key, lr_key, target_key
        self.index_key, self.address_key = index_key, address_key
        self.numbers = SampleNumbers(seed, block, rank=rank, world=world)
        self.tasks: TaskBatch | None = None
        """Tasks of the last batch: `degrader.tasks.addresses` names them."""

    def forward(self, images: Any, indices: ArrayLike | None = None, step: int = 0) -> Any:
        """Degrade a batch, an image or a dictionary.

        Args:
            images: tensor [B, C, H, W] or [C, H, W]; NumPy array [B, H, W, C], [H, W, C] or [H, W]; uint8 or floating in
                [0, 1]; C 3 (RGB), or 1 or 4 where `degrade` takes them; sides multiples of the scale. Or a
                dictionary that holds such images.
            indices: B sample numbers; None: the next ones.
            step: training step, for spaces with schedules.
        Returns:
            For images the LR images, or with `with_target` a `Pair`, in the form of what was given: device, dtype, layout.
            For a dictionary a new one with the LR images (and targets, addresses) added; the HR images are replaced only
            by their crops. Nothing that was given is written to.
        """
        if not isinstance(images, Mapping):
            made, form = self._degraded(images, indices, step)
            lr = form.of(made.lr)
            return Pair(lr, form.of(made.target)) if self.with_target else lr
        batch = dict(images)
        if self.hr_key not in batch:
            keys = ", ".join(map(repr, batch)) or "none"
            raise PydegradeError(f"Degrader: the dictionary has no key {self.hr_key!r} (hr_key), only {keys}")
        if indices is None and self.index_key is not None:
            if self.index_key not in batch:
                raise PydegradeError(f"Degrader: the dictionary has no key {self.index_key!r} (index_key)")
            indices = batch[self.index_key]
        made, form = self._degraded(batch[self.hr_key], indices, step)
        batch[self.lr_key] = form.of(made.lr)
        if self.crop_px is not None:
            batch[self.hr_key] = form.of(made.hr)
        if self.with_target:
            batch[self.target_key] = form.of(made.target)
        if self.address_key is not None:
            assert self.tasks is not None
            batch[self.address_key] = self.tasks.addresses
        return batch

    def _degraded(self, images: Images, indices: ArrayLike | None, step: int) -> tuple[Degraded, Form]:
        hr, form = as_batch("Degrader", images)
        tasks = self.draw(len(hr), indices, step)
        try:
            made = degraded(hr, tasks, self.back, self.crop_px)
        except Exception:
            # A batch that is refused has used no numbers.
            if indices is None:
                self.numbers.position -= len(hr)
            raise
        self.tasks = tasks
        return made, form

    def draw(self, count: int, indices: ArrayLike | None = None, step: int = 0) -> TaskBatch:
        """The tasks that the next `count` images get, or those of given sample numbers."""
        if indices is None:
            return self.numbers.tasks(self.space, count, step)
        return sample(self.space, self.numbers._seed, indices, step=step)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """torch's; PydegradeError, one line, for what is not the `state_dict` of a Degrader."""
        if not isinstance(state_dict, Mapping) or (strict and list(state_dict) != ["_extra_state"]):
            raise PydegradeError(f"Degrader: expected a state_dict with '_extra_state' alone, got {shown(state_dict)}")
        return super().load_state_dict(state_dict, strict, assign)

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds: space, seed and position, plain values."""
        return {"space": f"{self.space.name}@{self.space.digest}", **self.numbers.state_dict()}

    def set_extra_state(self, state: Any) -> None:
        """Go on from a state; PydegradeError for that of another space or seed."""
        own = f"{self.space.name}@{self.space.digest}"
        other = state.get("space") if isinstance(state, Mapping) else state
        if other != own:
            raise PydegradeError(f"Degrader: expected a state of {shown(own)}, got {shown(other)}")
        self.numbers.load_state_dict(state)

    def extra_repr(self) -> str:
        """The space, for `print`."""
        parts = [f"{self.space.name}@{self.space.digest[:8]}", f"seed={self.numbers.seed}"]
        parts += [f"{name}={getattr(self, name)}" for name in ("back", "crop_px") if getattr(self, name) is not None]
        return ", ".join(parts)
