"""Methods `realesrnet` and `realesrgan`: second-order degradations, sharpened target.

Stage one, `realesrnet`, trains the generator with a pixel loss. Stage two, `realesrgan`, starts from its model file
(`train.pretrained`) and adds a perceptual and a GAN loss with a U-Net discriminator. Default weights are the published
ones. Source: Wang et al. 2021, arXiv:2107.10833, section 4.1, and the released training options.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pydegrade import TaskBatch, sample

from ..data.batch import Batch
from ..errors import ConfigError
from ..nets import UNetDiscriminatorConfig, VGG19Features, build, image_channels, load_vgg19
from ..options import option, options, type_name
from ..settings import MOST_STEPS
from . import losses
from .contract import Method, Nets, Phase, Setup, Terms, frozen
from .losses import GanKind
from .parts import PIXEL_LOSSES, PixelLossName, PixelOptions, further_terms, load_space
from .psnr import PsnrMethod, PsnrOptions


@options("method")
class RealesrnetOptions(PixelOptions):
    """Options of method `realesrnet`."""

    type: Literal["realesrnet"] = type_name("realesrnet")
    loss: PixelLossName = option("l1", "what is minimised between output and target")


class RealesrnetMethod(PsnrMethod):
    """`psnr` on the second-order space, against the sharpened HR that this space names as its target."""

    def __init__(self, config: RealesrnetOptions, setup: Setup) -> None:
        space = f"realesrgan-x{setup.scale}" if config.space == "auto" else config.space
        if space == "none":
            raise ConfigError(
                "method.space must be a preset or a TOML file for realesrnet, got 'none'; psnr reads pairs"
            )
        shared = {member.name: getattr(config, member.name) for member in fields(PixelOptions)}
        super().__init__(PsnrOptions(**{**shared, "space": space}), setup)


@options("method")
class GanOptions(PixelOptions):
    """Options of pixel, perceptual and GAN loss; defaults as in the released training options."""

    pixel_weight: float = option(1.0, "of the pixel loss", ge=0)
    perceptual_weight: float = option(1.0, "of the perceptual loss; 0: none, and no VGG19 file is needed", ge=0)
    contextual_weight: float = option(
        0.0,
        "of the contextual loss of VGG19's conv3_2 and conv4_2, for pairs that are not aligned; 0: none",
        ge=0,
        came_later=True,
    )
    gan_weight: float = option(0.1, "of the generator's GAN loss", ge=0)
    gan: GanKind = option("vanilla", "kind of GAN loss")
    gan_real: Literal["hr", "target"] = option(
        "hr", "what the discriminator takes for real: the clean crop, or the sharpened target of the other losses"
    )
    gan_start_step: int = option(0, "before this step only pixel and perceptual loss", ge=0, le=MOST_STEPS)
    vgg19: str = option(
        "", "torchvision's weight file vgg19-dcbb9e9d.pth (or a safetensors copy), for the perceptual loss", path=True
    )
    discriminator: UNetDiscriminatorConfig = option(
        UNetDiscriminatorConfig(), "the discriminator, a table of network options"
    )
    discriminator_pretrained: str = option("", "model file that the discriminator starts from", path=True)

    def check_files(self) -> None:
        """ConfigError where a loss lacks its file."""
        if self.perceptual_weight > 0 and not self.vgg19:
            raise ConfigError(
                "method.vgg19 must name torchvision's VGG19 weight file, got ''; or set method.perceptual_weight = 0"
            )
        if self.contextual_weight > 0 and not self.vgg19:
            raise ConfigError(
                "method.vgg19 must name torchvision's VGG19 weight file, got ''; or set method.contextual_weight = 0"
            )

    def vgg_layers(self) -> tuple[str, ...]:
        """Layers of VGG19 that the losses compare; none: it is not needed."""
        perceptual = losses.PERCEPTUAL_WEIGHTS if self.perceptual_weight > 0 else {}
        contextual = losses.CONTEXTUAL_WEIGHTS if self.contextual_weight > 0 else {}
        return (*perceptual, *contextual)


@options("method")
class RealesrganOptions(GanOptions):
    """Options of method `realesrgan`; defaults as in the released training options."""

    type: Literal["realesrgan"] = type_name("realesrgan")

    def __post_init__(self) -> None:
        self.check_files()


class RealesrganMethod(Method):
    """Pixel + perceptual + GAN loss; generator first, then discriminator on the same outputs."""

    mixes_pairs = True

    def __init__(self, config: RealesrganOptions, setup: Setup) -> None:
        self.config = config
        self.setup = setup
        channels = image_channels(setup.net)
        if config.perceptual_weight > 0 and channels != 3:
            raise ConfigError(f"method.perceptual_weight must be 0 where images are not RGB, got {channels} channels")
        if config.contextual_weight > 0 and channels != 3:
            raise ConfigError(f"method.contextual_weight must be 0 where images are not RGB, got {channels} channels")
        if config.discriminator.in_channels != channels:
            raise ConfigError(
                f"method.discriminator.in_channels must be {channels} like the network's, "
                f"got {config.discriminator.in_channels}"
            )
        self.space = load_space(f"realesrgan-x{setup.scale}" if config.space == "auto" else config.space, setup.scale)
        self.pixel_loss = PIXEL_LOSSES[config.loss]
        self.ranked_by_psnr = config.gan_weight == config.perceptual_weight == config.contextual_weight == 0
        self.phases: tuple[Phase, ...] = (
            Phase("generator", ("generator",), self.generator_loss),
            Phase("discriminator", ("discriminator",), self.discriminator_loss),
        )

    def nets(self) -> dict[str, nn.Module]:
        """Generator, discriminator and, where a loss compares them, VGG19's features."""
        nets = {"generator": build(self.setup.net), "discriminator": build(self.config.discriminator)}
        if layers := self.config.vgg_layers():
            nets["features"] = load_vgg19(self.config.vgg19, layers)
        return nets

    def configs(self) -> Mapping[str, Any]:
        """Configurations of generator and discriminator."""
        return {"generator": self.setup.net, "discriminator": self.config.discriminator}

    def pretrained(self) -> Mapping[str, str]:
        """Model files of further nets."""
        start = self.config.discriminator_pretrained
        return {"discriminator": start} if start else {}

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch:
        """One task per sample number."""
        return sample(self.space, self.setup.seed, indices, step)

    def recorded_as(self, step: int) -> Hashable:
        """Whether the GAN loss has started."""
        return step >= self.config.gan_start_step

    def generator_loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """Pixel, perceptual and GAN terms; the output is kept for the discriminator."""
        sr = nets["generator"](batch.lr)
        return Terms(self.image_terms(nets, sr, batch.target, step), kept=frozen({"sr": sr}))

    def image_terms(self, nets: Nets, sr: Tensor, target: Tensor, step: int) -> dict[str, Tensor]:
        """What the generator's output is judged by; terms of weight 0 are left out."""
        config = self.config
        terms: dict[str, Tensor] = {config.loss: config.pixel_weight * self.pixel_loss(sr, target)}
        if config.perceptual_weight > 0:
            features = cast(VGG19Features, nets["features"])
            terms["perceptual"] = config.perceptual_weight * losses.perceptual(features, sr, target)
        if config.contextual_weight > 0:
            features = cast(VGG19Features, nets["features"])
            terms["contextual"] = config.contextual_weight * losses.contextual(features, sr, target)
        terms.update(further_terms(config, sr, target))
        if config.gan_weight > 0 and step >= config.gan_start_step:
            terms["gan"] = config.gan_weight * losses.gan_generator(nets["discriminator"](sr), config.gan)
        return terms

    def discriminator_loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """Real images against the outputs of this step's generator before its update, as released."""
        if step < self.config.gan_start_step:
            return Terms({})
        real = nets["discriminator"](batch.hr if self.config.gan_real == "hr" else batch.target)
        fake = nets["discriminator"](batch.extra["sr"])
        shown = {"logit_real": real.float().mean(), "logit_fake": fake.float().mean()}
        return Terms(
            {"real": losses.gan_real(real, self.config.gan), "fake": losses.gan_fake(fake, self.config.gan)},
            shown=frozen(shown),
        )


__all__ = ["RealesrganMethod", "RealesrganOptions", "RealesrnetMethod", "RealesrnetOptions"]
