"""What the `feed_data` methods of BasicSR's family share: a degrader of the model's options, made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import OptionsError
from ..loading.degrader import Degraded, Degrader
from .batches import KERNELS
from .options import DIALECTS, OptionReader, imported

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
    """The degrader of a model, by its options `model.opt`; kept in the model until one of them changes, as those projects
    read them at every batch. Options without kernels, which are the dataset's, get the published ones."""
    options: Mapping[str, Any] = model.opt if isinstance(model.opt, Mapping) else Attributes(model.opt)
    values = OptionReader(options, DIALECTS[dialect], dialect).values
    now = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if _is_plain(value)}
    before, kept = model.__dict__.get(_KEY, (None, None))
    if before != now:
        given = options if "kernel_list" in values or dialect == "redux" else {**KERNELS, **options}
        made = imported(given, dialect=dialect, name=dialect)
        if made.report.crop_px is None:
            raise OptionsError(f"{dialect}: the options name no crop")
        made_before, kept = kept, Degrader(made.space, None, crop_px=made.report.crop_px)
        if made_before is not None:
            kept.numbers = made_before.numbers  # no sample number is used twice
        model.__dict__[_KEY] = now, kept
    degrader: Degrader = kept
    return degrader


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, list, tuple))


def degraded_batch(model: Any, dialect: str, gt: torch.Tensor) -> Degraded:
    """Crops of `gt`, of what it becomes and of the target."""
    degrader = degrader_of(model, dialect)
    made, _ = degrader._degraded(gt, None, int(getattr(model, "current_iter", 0) or 0))
    return made
