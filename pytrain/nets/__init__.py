"""The networks, as a table of values: `build(SRResNetConfig(scale=4))`, `NETS["edsr"]`, `detect(state)`.

A network here knows nothing of training. Each has its own file, a frozen configuration whose `type` is its name in
`NETS`, an attribute `scale`, and the state-dict keys that the field's public files use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, nearest
from ..options import plain, read, shown
from . import (
    dasr,
    dasr_predictor,
    dasr_srresnet,
    dncnn,
    edsr,
    hat,
    ipt,
    mzsr,
    rcan,
    realplksr,
    rrdbnet,
    span,
    spandrel_net,
    srresnet,
    srvgg,
    swinir,
    unet_discriminator,
    vgg,
)
from .dasr import DASR, DASRConfig
from .dasr_predictor import DASRPredictor, DASRPredictorConfig
from .dasr_srresnet import DASRSRResNet, DASRSRResNetConfig, experts_from_srresnet
from .dncnn import DnCNN, DnCNNConfig
from .edsr import EDSR, EDSRConfig
from .hat import HAT, HATConfig
from .ipt import IPT, IPTConfig
from .mzsr import MZSR, MZSRConfig
from .rcan import RCAN, RCANConfig
from .realplksr import RealPLKSR, RealPLKSRConfig
from .rrdbnet import RRDBNet, RRDBNetConfig
from .span import SPAN, SPANConfig
from .spandrel_net import SpandrelConfig, SpandrelNet
from .srresnet import SRResNet, SRResNetConfig
from .srvgg import SRVGGConfig, SRVGGNetCompact
from .swinir import SwinIR, SwinIRConfig
from .unet_discriminator import UNetDiscriminator, UNetDiscriminatorConfig
from .vgg import VGG19Features, load_vgg19

__all__ = [
    "DASR",
    "EDSR",
    "HAT",
    "IPT",
    "MZSR",
    "NETS",
    "RCAN",
    "SPAN",
    "DASRConfig",
    "DASRPredictor",
    "DASRPredictorConfig",
    "DASRSRResNet",
    "DASRSRResNetConfig",
    "DnCNN",
    "DnCNNConfig",
    "EDSRConfig",
    "HATConfig",
    "IPTConfig",
    "MZSRConfig",
    "Net",
    "RCANConfig",
    "RRDBNet",
    "RRDBNetConfig",
    "RealPLKSR",
    "RealPLKSRConfig",
    "SPANConfig",
    "SRResNet",
    "SRResNetConfig",
    "SRVGGConfig",
    "SRVGGNetCompact",
    "SpandrelConfig",
    "SpandrelNet",
    "SwinIR",
    "SwinIRConfig",
    "UNetDiscriminator",
    "UNetDiscriminatorConfig",
    "VGG19Features",
    "build",
    "canonical",
    "channels_of",
    "config_from_dict",
    "config_to_dict",
    "detect",
    "experts_from_srresnet",
    "image_channels",
    "load_vgg19",
    "num_parameters",
    "published",
    "task_scales",
    "vgg",
]


def _unchanged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(state)


def _as_is(config: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(state)


@dataclass(frozen=True)
class Net:
    """One kind of network: how to configure, build and recognise it."""

    config: type[Any]  # the frozen dataclass; its defaults are a published size
    build: Callable[[Any], nn.Module]
    detect: Callable[[Mapping[str, Tensor]], Any]  # state dict -> config, or None for another network's
    canonical: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = _unchanged  # any known spelling -> our keys
    published: Callable[[Any, Mapping[str, Tensor]], dict[str, Tensor]] = _as_is  # our keys -> the field's
    started: Callable[[Any, Mapping[str, Tensor]], dict[str, Tensor]] = _as_is  # another network's state, to start from


NETS: dict[str, Net] = {
    "srresnet": Net(SRResNetConfig, SRResNet, srresnet.detect),
    "edsr": Net(EDSRConfig, EDSR, edsr.detect, edsr.canonical),
    "rcan": Net(RCANConfig, RCAN, rcan.detect, rcan.canonical),
    "rrdbnet": Net(RRDBNetConfig, RRDBNet, rrdbnet.detect, rrdbnet.canonical),
    "srvgg": Net(SRVGGConfig, SRVGGNetCompact, srvgg.detect),
    "span": Net(SPANConfig, SPAN, span.detect, span.canonical, span.published),
    "realplksr": Net(RealPLKSRConfig, RealPLKSR, realplksr.detect),
    "swinir": Net(SwinIRConfig, SwinIR, swinir.detect, swinir.canonical, swinir.published),
    "hat": Net(HATConfig, HAT, hat.detect),
    "unet_discriminator": Net(UNetDiscriminatorConfig, UNetDiscriminator, unet_discriminator.detect),
    "dasr": Net(DASRConfig, DASR, dasr.detect, started=dasr.canonical),
    "dasr_predictor": Net(DASRPredictorConfig, DASRPredictor, dasr_predictor.detect),
    "dasr_srresnet": Net(DASRSRResNetConfig, DASRSRResNet, dasr_srresnet.detect),
    "mzsr": Net(MZSRConfig, MZSR, mzsr.detect),
    "dncnn": Net(DnCNNConfig, DnCNN, dncnn.detect),
    "ipt": Net(IPTConfig, IPT, ipt.detect, ipt.canonical, ipt.published),
    "spandrel": Net(
        SpandrelConfig, spandrel_net.build, lambda state: None, spandrel_net.canonical, spandrel_net.published
    ),
}


def build(config: Any) -> nn.Module:
    """The network of a configuration, with fresh weights (torch's global generator; seed it before).

    Args:
        config: one of the dataclasses in `NETS`.
    Returns:
        A module on the CPU, float32, in training mode, with integer attributes `scale` and `in_channels`.
    Raises:
        ConfigError: not a network's configuration.
    """
    net = NETS.get(getattr(config, "type", ""))
    if net is None or not isinstance(config, net.config):
        raise ConfigError(f"net: config must be one of the dataclasses in pytrain.nets.NETS, got {config!r}")
    built = net.build(config)
    setattr(built, "in_channels", getattr(config, "in_channels", 3))  # noqa: B010 (not a parameter or module)
    return built


def channels_of(net: nn.Module) -> int:
    """Channels of the images that a network takes: 1 gray, 3 RGB, 4 RGB and alpha; 3 where it does not say."""
    channels: Any = getattr(net, "in_channels", None)
    return channels if isinstance(channels, int) else 3


def image_channels(config: Any) -> int:
    """Channels of the images that a network can be trained and measured on.

    Raises:
        ConfigError: it gives other channels than it takes, or others than gray, RGB, and RGB with alpha.
    """
    taken, given = getattr(config, "in_channels", 3), getattr(config, "out_channels", 3)
    if taken not in (1, 3, 4):
        raise ConfigError(f"net.in_channels must be 1 (gray), 3 (RGB) or 4 (RGB and alpha), got {taken}")
    if given != taken:
        raise ConfigError(f"net.out_channels must equal in_channels {taken}, images have one kind; got {given}")
    return int(taken)


def detect(state: Mapping[str, Tensor]) -> Any:
    """The configuration of the network that a state dict belongs to, from its keys and shapes alone.

    Args:
        state: an unwrapped state dict, in any spelling that the network's `canonical` knows.
    Returns:
        A configuration such that `build(config)` takes `canonical(config, state)`.
    Raises:
        CheckpointError: the keys belong to no network in `NETS`.
    """
    for net in NETS.values():
        try:
            config = net.detect(state)
        except (ConfigError, KeyError, IndexError, ValueError, ZeroDivisionError):
            # Keys of this network with shapes that it cannot have: not its file.
            continue
        if config is not None:
            return config
    some = ", ".join(list(state)[:3]) or "none"
    raise CheckpointError(f"no known network has these {len(state)} keys (first: {some})")


def canonical(config: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a public file under the keys of the module that `build(config)` makes.

    A network that can start from another one (DASR from an SRResNet) takes that one's file too.
    """
    net = NETS[config.type]
    return net.started(config, net.canonical(state))


def published(config: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the module that `build(config)` makes as the field's tools expect it in a file."""
    return NETS[config.type].published(config, state)


def config_to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain values that JSON can hold: `{"type": "edsr", "scale": 2, ...}`."""
    return plain(config)


def config_from_dict(values: Mapping[str, Any], where: str = "net") -> Any:
    """The configuration of a mapping with the key `type` and any of that network's fields.

    Raises:
        ConfigError: unknown type, unknown field (the nearest known one is named) or a value of another type or out of
            bounds; one line each.
    """
    name = values.get("type")
    if not isinstance(name, str) or name not in NETS:
        raise ConfigError(f"{where}.type must be a known network, got {shown(name)}{nearest(str(name)[:80], NETS)}")
    return read(NETS[name].config, values, where)


def task_scales(config: Any) -> dict[str, int]:
    """Scale by task of a network that has several (IPT); empty for others."""
    return dict(zip(config.tasks, config.scales)) if isinstance(config, IPTConfig) else {}


def num_parameters(net: nn.Module) -> int:
    """How many numbers the parameters of a network hold; buffers are not counted."""
    return sum(parameter.numel() for parameter in net.parameters())
