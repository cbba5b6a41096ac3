"""MATLAB's imresize against Pillow, torch and BasicSR on photographs of 512x768 (64x96 in a smoke run), uint8."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch

from . import bicubic_peers, inputs
from .measure import SMOKE
from .peers import Agreement, Peer

HEIGHT, WIDTH = (64, 96) if SMOKE else (512, 768)
SCALES = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4, "x4": 4.0}


@cache
def photographs() -> tuple[bicubic_peers.Pixels, ...]:
    """Four photographs, mirrored where they are too small."""
    from skimage import data

    images = []
    for source in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        missing = [(0, max(0, HEIGHT - source.shape[0])), (0, max(0, WIDTH - source.shape[1])), (0, 0)]
        images.append(np.ascontiguousarray(np.pad(source, missing, "symmetric")[:HEIGHT, :WIDTH]))
    return tuple(images)


def in_turn(peer: Callable[[Any, float], Any], images: tuple[Any, ...], scale: float) -> Callable[[], Any]:
    """The peer on another photograph at each call; a list of one result, as `compare` takes."""
    rotation = itertools.cycle(images)
    return lambda: [peer(next(rotation), scale)]


# tests/ show that ours is MATLAB's. The peers differ by design in borders and rounding (docs/bicubic.md), and where 1/s is
# not the ratio of the sizes in the grid too; here only that they make the same picture.
def typical_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return 255 * float((ours - theirs).abs().mean())


SAME_PICTURE = Agreement(
    typical_difference, 3.0, "mean difference in levels; borders, rounding and grid differ by design"
)


@pytest.mark.parametrize("name", SCALES)
def test_imresize(compare: Any, name: str) -> None:
    """uint8 to uint8: faster than Pillow, which has one thread only, and than torch at the same number of threads."""
    _race(
        compare,
        name,
        {"pillow": bicubic_peers.pillow, "torch uint8, channels last": bicubic_peers.torch_uint8},
        target=1.0,
    )


@pytest.mark.parametrize("name", SCALES)
def test_imresize_basicsr(compare: Any, name: str) -> None:
    """20 times BasicSR's loops (in a test of their own: they leave the caches to nobody)."""
    _race(compare, name, {"basicsr formula": bicubic_peers.basicsr}, target=20.0)


def _race(compare: Any, name: str, theirs: dict[str, bicubic_peers.Peer], target: float) -> None:
    inputs.settle_threads()
    scale = SCALES[name]
    run = partial(in_turn, images=photographs(), scale=scale)
    compare(
        run(bicubic_peers.ours),
        [Peer(label, run(peer), SAME_PICTURE) for label, peer in theirs.items()],
        megapixels=HEIGHT * WIDTH / 1e6,
        gigabytes=3 * HEIGHT * WIDTH * (1 + scale**2) / 1e9,
        target=target,
        against=tuple(theirs),
    )
