"""DASR as one network: the predictor looks at an image, its shares mix the generator's experts.

Shapes: x_BCHW [B, 3, H, W] -> [B, 3, sH, sW]; vector_BV [B, V], mixing_BK [B, K].
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..options import option, options, type_name
from . import dasr_predictor, dasr_srresnet, srresnet
from .dasr_predictor import DASRPredictor, DASRPredictorConfig, Input
from .dasr_srresnet import DASRSRResNet, DASRSRResNetConfig, experts_from_srresnet
from .parts import MOST_BLOCKS, MOST_FEATURES, State
from .srresnet import SRResNet

GENERATOR, PREDICTOR = "generator.", "predictor."


@options("net")
class DASRConfig:
    """Sizes of `DASR`; the defaults are the released x4 network."""

    type: Literal["dasr"] = type_name("dasr")
    scale: Literal[1, 2, 3, 4] = option(4, "how many times larger the output is")
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_blocks: int = option(16, "residual blocks", ge=1, le=MOST_BLOCKS)
    num_experts: int = option(5, "kernels that every convolution mixes", ge=1, le=64)
    num_entries: int = option(33, "of the degradation vector", ge=1, le=1024)
    predictor_features: int = option(64, "channels of the predictor", ge=1, le=MOST_FEATURES)
    predictor_hidden: int = option(15, "numbers between vector and shares", ge=1, le=1024)
    predictor_input: Input = option(
        "image", "as released; high_pass: without its local mean, which small nets learn sooner"
    )

    def generator(self) -> DASRSRResNetConfig:
        """The part that upscales."""
        return DASRSRResNetConfig(
            scale=self.scale,
            num_features=self.num_features,
            num_blocks=self.num_blocks,
            num_experts=self.num_experts,
        )

    def predictor(self) -> DASRPredictorConfig:
        """The part that looks."""
        return DASRPredictorConfig(
            num_entries=self.num_entries,
            num_experts=self.num_experts,
            num_features=self.predictor_features,
            num_hidden=self.predictor_hidden,
            input=self.predictor_input,
        )


class DASR(nn.Module):
    """Predictor and mixed generator under one set of keys, `predictor.*` and `generator.*`.

    8,055,998 parameters at the default sizes. For whole images use `for_image`: it predicts once and gives the plain
    network of that image, so that tiles of one image are treated alike.

    Source: Liang et al. 2022, arXiv:2203.14216.
    """

    def __init__(self, config: DASRConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = config.scale
        self.predictor = DASRPredictor(config.predictor())
        self.generator = DASRSRResNet(config.generator())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] float in [0, 1] -> [B, 3, sH, sW], every image with its own mixture."""
        return self.with_vector(x_BCHW)[0]

    def with_vector(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Output [B, 3, sH, sW], predicted vector [B, V] and shares [B, K]."""
        vector_BV, mixing_BK = self.predictor(x_BCHW)
        return self.generator(x_BCHW, mixing_BK), vector_BV, mixing_BK

    @torch.no_grad()
    def estimate(self, image: Tensor) -> Tensor:
        """The degradation vector [V] of one image [1, 3, H, W]."""
        parameter = next(self.parameters())
        vector_BV: Tensor = self.predictor(image.to(parameter.device, parameter.dtype))[0]
        return vector_BV[0]

    @torch.no_grad()
    def for_image(self, image: Tensor, vector: Tensor | None = None) -> SRResNet:
        """The plain network of one image.

        Args:
            image: [1, 3, H, W] float in [0, 1]; what the predictor looks at.
            vector: [V] in its place, edited by a person.
        Returns:
            An `SRResNet` with weights of its own, in evaluation mode.
        """
        known = self.estimate(image) if vector is None else vector.to(next(self.parameters()))
        return self.generator.mixed(self.predictor.shares(known[None])[0])


def detect(state: State) -> DASRConfig | None:
    """The configuration of a state dict of both parts, None when it is another network's."""
    generator = dasr_srresnet.detect(_part(state, GENERATOR))
    predictor = dasr_predictor.detect(_part(state, PREDICTOR))
    if generator is None or predictor is None:
        return None
    return DASRConfig(
        scale=generator.scale,
        num_features=generator.num_features,
        num_blocks=generator.num_blocks,
        num_experts=generator.num_experts,
        num_entries=predictor.num_entries,
        predictor_features=predictor.num_features,
        predictor_hidden=predictor.num_hidden,
        predictor_input=predictor.input,
    )


def canonical(config: DASRConfig, state: State) -> dict[str, Tensor]:
    """This network's keys, also from a plain SRResNet: every expert is its copy, the predictor is fresh.

    Raises:
        CheckpointError: an SRResNet of other sizes or another scale, or another number of experts.
    """
    if srresnet.detect(state) is not None:
        experts = experts_from_srresnet(config.generator(), state)
        fresh = DASRPredictor(config.predictor()).state_dict()
        return {
            **{GENERATOR + key: value for key, value in experts.items()},
            **{PREDICTOR + key: value for key, value in fresh.items()},
        }
    found = detect(state)
    if found is not None and found.num_experts != config.num_experts:
        raise CheckpointError(f"dasr: expected {config.num_experts} experts, got a checkpoint with {found.num_experts}")
    return dict(state)


def _part(state: State, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
