"""What `degrade match` does: squares of every space beside those of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import PydegradeError
from ...files.dataset import find_images
from ...fitting.match import ranked
from ...fitting.simulate import Simulator, holding, side_for
from ...shell.progress import Progress
from ...shell.text import say, warn
from ...tasks.space import Space, presets
from .photographs import read_all, shorter_sides_px


def match_photographs(
    sources: Sequence[Path], names: Sequence[str], clean: Path | None, count: int, seed: int, max_pixels: int
) -> int:
    """Print the table; the exit code.

    Raises:
        PydegradeError: photographs or clean images cannot be used, or no space can.
    """
    items, sides = shorter_sides_px(sources, max_pixels)
    images = find_images([clean] if clean else [], max_pixels=max_pixels)
    spaces = [Space.load(name) for name in names]
    left_out = []
    if not names:
        spaces, missing = presets()
        left_out = [f"{', '.join(absent)}: {reason}" for reason, absent in missing.items()]
    side = min(side_for(images, space.scale, sides) for space in spaces)
    photographs, fates = read_all(items, side, max_pixels)
    if fates.interrupted:
        return fates.end("degrade match")

    progress = Progress(len(spaces), unit="spaces")
    made = {}
    for space in spaces:
        simulator = Simulator(space, holding(images, side * space.scale), side, seed, max_pixels)
        try:
            made[space.name] = simulator.run(count, None, lambda _: None).statistics
        except PydegradeError as error:
            if names:
                raise
            left_out.append(f"{space.name}: {error}")
        progress.advance()
    progress.close()
    seen = np.concatenate([one.told for one in photographs])
    photograph = np.repeat(np.arange(len(photographs)), [len(one.squares) for one in photographs])
    say(f"{len(photographs)} photographs, {count} squares of {side} px by each of {len(made)} spaces")
    say(f"{'space':24s} distance  90 % interval   first")
    for one in ranked(seen, photograph, made):
        say(f"{one.name[:24]:24s} {one.distance:8.3f}  {one.low:.3f} to {one.high:.3f}  {100 * one.best:4.0f} %")
    for line in left_out:
        warn(f"left out: {line}")
    if len(photographs) == 1:
        warn("one photograph alone: intervals say nothing")
    return fates.end("degrade match")
