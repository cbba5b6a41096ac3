"""DASR's mixture of experts: one grouped convolution per layer against the ways one would write first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pytrain.nets import DASRSRResNetConfig, build

from . import inputs, measure, peers
from .peers import Peer


@pytest.mark.parametrize("side_px", [32, 64])
def test_mixed_layer(compare: Any, side_px: int) -> None:
    """One 64 -> 64 layer, 5 experts, 6 images: kernels mixed first, against images in a loop and 5 convolutions."""
    inputs.settle_threads()
    batch, experts, side = (2, 5, 8) if measure.SMOKE else (6, 5, side_px)
    layer = build(DASRSRResNetConfig(num_blocks=1)).body[0].conv1
    x = torch.rand(batch, 64, side, side)
    mixing = torch.rand(batch, experts) - 0.3

    @torch.no_grad()
    def grouped() -> torch.Tensor:
        return layer(x, mixing)

    @torch.no_grad()
    def loop() -> torch.Tensor:
        weights = torch.tensordot(mixing, layer.weight, 1)
        biases = mixing @ layer.bias
        return torch.cat([F.conv2d(x[row : row + 1], weights[row], biases[row], padding=1) for row in range(batch)])

    @torch.no_grad()
    def every_expert() -> torch.Tensor:
        outputs = [F.conv2d(x, layer.weight[k], layer.bias[k], padding=1) for k in range(experts)]
        return (torch.stack(outputs, 1) * mixing[..., None, None, None]).sum(1)

    same = peers.values(1e-4, "float32 sums of 576 products, in another order")
    contenders = [Peer("loop", loop, same), Peer("all_experts", every_expert, same)]
    flops = 2 * 9 * 64 * 64 * batch * side * side / 1e9
    compare(grouped, contenders, gigaflops=flops, megapixels=batch * side**2 / 1e6)


@pytest.mark.parametrize("mode", ["forward", "training"])
def test_mixed_network(compare: Any, mode: str) -> None:
    """The whole generator at 16 blocks, 6 images of 64 px (the published batch): grouped against a loop over images."""
    inputs.settle_threads()
    batch, side, blocks = (2, 8, 1) if measure.SMOKE else (6, 64, 16)
    net = build(DASRSRResNetConfig(num_blocks=blocks))
    x = torch.rand(batch, 3, side, side)
    mixing = torch.rand(batch, 5)

    def run(images: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        if mode == "forward":
            with torch.no_grad():
                return net(images, shares)
        net.zero_grad()
        out = net(images, shares)
        out.square().mean().backward()
        return out.detach()

    def grouped() -> torch.Tensor:
        return run(x, mixing)

    def loop() -> torch.Tensor:
        if mode == "forward":
            return torch.cat([run(x[row : row + 1], mixing[row : row + 1]) for row in range(batch)])
        net.zero_grad()
        outs = [net(x[row : row + 1], mixing[row : row + 1]) for row in range(batch)]
        whole = torch.cat(outs)
        whole.square().mean().backward()
        return whole.detach()

    same = peers.values(1e-3, "float32 through 38 layers, the same sums in another order")
    compare(grouped, [Peer("loop", loop, same)], images=batch, megapixels=batch * side**2 / 1e6, seconds=20)
