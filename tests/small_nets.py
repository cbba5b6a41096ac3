"""A network of every name in the registry, as small as it can be and still have all its parts."""

from __future__ import annotations

from typing import Any

from pytrain import nets
from pytrain.options import options_of

OF_FILES = {"spandrel"}
"""Names whose networks come from a model file."""

_CHOSEN: dict[str, Any] = {
    config.type: config
    for config in (
        nets.SRResNetConfig(2, 8, 2),
        nets.EDSRConfig(3, 8, 1, residual_scale=0.3),
        nets.RCANConfig(2, 16, 1, 1),
        nets.RRDBNetConfig(2, 8, 1, 4),
        nets.SRVGGConfig(2, 8, 2),
        nets.SwinIRConfig(2, 12, (2,), (2,), window_px=4),
        nets.HATConfig(2, 12, (2,), (2,), window_px=4, overlap_px=2, squeeze_factor=6, num_features=8),
        nets.UNetDiscriminatorConfig(4),
        nets.DASRConfig(num_features=6, num_blocks=1, num_experts=3, predictor_features=4),
        nets.DASRPredictorConfig(num_experts=3, num_features=4),
        nets.DASRSRResNetConfig(2, 8, 1, 3),
        nets.MZSRConfig(2, 6, 3),
        nets.IPTConfig(num_features=8, patch_px=12, num_heads=2, num_layers=1),
    )
}

_SIZES = {"num_features": 8, "num_blocks": 1, "num_groups": 1, "num_layers": 3, "num_convs": 2}


def _shrunk(kind: type[Any]) -> Any:
    """The configuration of a class with what usually makes a network large made small."""
    return kind(**{name: size for name, size in _SIZES.items() if name in options_of(kind)})


SMALL: dict[str, Any] = {
    name: _CHOSEN.get(name) or _shrunk(net.config) for name, net in nets.NETS.items() if name not in OF_FILES
}
"""Networks that are not chosen by hand are the registry's, shrunk."""
