"""What the steps since the last line of the log showed, and how fast they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from .clock import Clock
from .distributed import World

# A part of a step that takes more than this share deserves a hint.
HINT_SHARE = {"read": 0.25, "degrade": 0.35}
HINTS = {
    "read": "reading takes {share:.0%} of a step: raise data.workers or data.cache_mb, or store the images as LMDB",
    "degrade": "degradation takes {share:.0%} of a step: on a CPU it shares the cores with the network",
}


class Meter:
    """Adds up the values of steps until a line of the log takes their means."""

    def __init__(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._steps = 0
        self._hinted: set[str] = set()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """The values of one step; none of a step that was not taken."""
        for name, value in values.items():
            self._totals[name] = self._totals[name] + value if name in self._totals else value
        self._steps += 1

    def take(self, world: World, clock: Clock, batch: int) -> dict[str, float]:
        """Means over the steps since the last call and over all processes, speed, and shares of the time; starts anew.

        Args:
            world: every process calls this at the same step.
            clock: reported and started anew.
            batch: images of a step.
        """
        values: dict[str, float] = {}
        if self._totals:
            means = world.mean(torch.stack([value.to(world.device) for value in self._totals.values()]) / self._steps)
            values = dict(zip(self._totals, means.tolist()))
        seconds = clock.report()
        total_s = max(seconds.pop("total"), 1e-9)
        working_s = max(total_s - seconds["evaluate"] - seconds["save"], 1e-9)
        values["images_per_s"] = self._steps * batch / working_s
        values["steps_per_s"] = self._steps / working_s
        values.update({f"time_{name}": part_s / total_s for name, part_s in seconds.items()})
        self._totals, self._steps = {}, 0
        return values

    def hints(self, values: Mapping[str, float]) -> Iterator[str]:
        """One line for each part of a step that takes too much of it, once per run."""
        working = max(1.0 - values["time_evaluate"] - values["time_save"], 1e-9)
        for name, limit in HINT_SHARE.items():
            share = values[f"time_{name}"] / working
            if share > limit and name not in self._hinted:
                self._hinted.add(name)
                yield HINTS[name].format(share=share)
