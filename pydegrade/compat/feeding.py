"""What the `feed_data` methods of BasicSR's family share: a degrader of the model's options, made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import OptionsError
from ..loading.degrader import Degraded, Degrader
from .options import imported

_KEY = "_pydegrade"


class Attributes(Mapping[str, Any]):
    """Options that a project holds as attributes of objects, as a table."""

    def __init__(self, options: Any) -> None:
        names = getattr(options, "__struct_fields__", None) or vars(options)
        self._names = [name for name in names if not name.startswith("_")]
        self._options = options

    def __getitem__(self, key: str) -> Any:
        if key not in self._names:
            raise KeyError(key)
        value = getattr(self._options, key)
        if key == "datasets" and isinstance(value, Mapping):
            return {name: one if isinstance(one, Mapping) else Attributes(one) for name, one in value.items()}
        return value

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def degrader_of(model: Any, dialect: str) -> Degrader:
    """The degrader of a model, by its options `model.opt`; kept in the model."""
    kept = model.__dict__.get(_KEY)
    if kept is None:
        opt = model.opt
        made = imported(opt if isinstance(opt, Mapping) else Attributes(opt), dialect=dialect, name=dialect)
        if made.report.crop_px is None:
            raise OptionsError(f"{dialect}: the options name no crop")
        kept = Degrader(made.space, None, crop_px=made.report.crop_px)
        model.__dict__[_KEY] = kept
    degrader: Degrader = kept
    return degrader


def degraded_batch(model: Any, dialect: str, gt: torch.Tensor) -> Degraded:
    """Crops of `gt`, of what it becomes and of the target."""
    degrader = degrader_of(model, dialect)
    made, _ = degrader._degraded(gt, None, int(getattr(model, "current_iter", 0) or 0))
    return made
