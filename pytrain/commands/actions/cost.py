"""Costs of networks for `pytrain cost`."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ... import nets
from ...config.config import TRAINABLE, load
from ...errors import ConfigError, nearest
from ...evaluation.cost import Cost, cost, table
from ...files.checkpoint import load_model
from ...training.proof import check_size


def measured(
    names: Sequence[str], scale: int, side_px: int, device: torch.device, repeats: int, threads: int | None
) -> list[Cost]:
    """The cost of every network, in order.

    Args:
        names: of networks, configurations (.toml) or model files.
        scale: of networks given by name.
        side_px, device, repeats: see `pytrain.evaluation.cost.cost`.
        threads: of the CPU; None: torch's own number.
    Raises:
        PytrainError: none of these; an image that the network cannot take.
    """
    opened = [(name, _network(name, scale)) for name in names]
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return [cost(Path(name).name, net, side_px, device, repeats) for name, net in opened]
    finally:
        torch.set_num_threads(before)


def _network(name: str, scale: int) -> Callable[[torch.device], nn.Module]:
    """What makes the network that a word of the command line means, on a device."""
    if name in TRAINABLE and name != "spandrel":
        return _fresh(_configured(name, scale))
    if Path(name).suffix == ".toml":
        return _fresh(load(Path(name), ()).net)
    if Path(name).suffix or Path(name).exists():
        net = load_model(name).net
        return lambda device: copy.deepcopy(net).to(device)  # a module's own `to` would leave it without weights
    known = [one for one in TRAINABLE if one != "spandrel"]
    raise ConfigError(f"cost: must be a network, a configuration or a model file, got {name!r}{nearest(name, known)}")


def _configured(name: str, scale: int) -> Any:
    """The published size at a scale; networks that have none to choose keep theirs."""
    kind = nets.NETS[name].config
    published = kind()
    chosen = "scale" in kind.__dataclass_fields__ and published.scale != 1
    return kind(scale=scale) if chosen else published


def _fresh(config: Any) -> Callable[[torch.device], nn.Module]:
    check_size(config)

    def build(device: torch.device) -> nn.Module:
        with torch.random.fork_rng(devices=[]), device:
            return nets.build(config)

    return build


def as_text(costs: Sequence[Cost], side_px: int) -> list[str]:
    """Aligned lines."""
    rows = table(costs, side_px)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]


def as_json(costs: Sequence[Cost], side_px: int, threads: int | None) -> str:
    """All numbers."""
    return json.dumps({"side_px": side_px, "threads": threads, "networks": [asdict(one) for one in costs]}, indent=1)
