"""Models on the same crops for `pytrain compare`."""

from __future__ import annotations

from itertools import islice

import torch

from pydegrade.files import Pixels
from pydegrade.sheet import render_sheet

from ...errors import ConfigError
from ...evaluation.evaluate import enlarged
from ...evaluation.settings import Baseline
from ...evaluation.strips import as_pixels, side_by_side
from .eval import EvalRequest, opened


def compared(request: EvalRequest, device: torch.device, rows: int, side_px: int) -> Pixels:
    """A sheet: a row per image, a column per model and HR last.

    Args:
        request: models and sets, the perceptual metrics and protocols of which do not count.
        device: that runs the models.
        rows: images of each set at most.
        side_px: of the crops.
    Raises:
        PytrainError: a model or set that cannot be used.
    """
    if "bicubic-y-double" in request.models:
        raise ConfigError(
            "compare: --model bicubic-y-double is a protocol of luma alone and has no picture; give bicubic"
        )
    named, sets = opened(request)
    lines = []
    for one in sets:
        for pair in islice(one.pairs(), rows):
            results = []
            for label, (_, model) in named.items():
                net: Baseline | torch.nn.Module = "bicubic" if model is None else model.net.to(device).eval()
                results.append((as_pixels(enlarged(net, pair, request.settings)), label))
            title = pair.name if len(sets) == 1 else f"{pair.name}, {one.degradation}"
            lines.append(side_by_side(pair, results, one.scale, title, side_px))
    heading = sets[0].degradation if len(sets) == 1 else ""
    return render_sheet(lines, heading, max(192, 2 * side_px), max(192, 2 * side_px))
