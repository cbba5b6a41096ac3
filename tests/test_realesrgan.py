"""Which images the losses of Real-ESRGAN compare: the sharpened target, and for the discriminator the clean crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytrain.data.batch import Batch
from pytrain.methods.contract import Setup
from pytrain.methods.dasr import DasrOptions
from pytrain.methods.realesrgan import RealesrganMethod, RealesrganOptions
from pytrain.nets import SRResNetConfig


class Recorder(nn.Module):
    """Gives a constant logit per pixel, and keeps what it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return image.mean(1, keepdim=True)


@pytest.mark.parametrize("gan_real", ["hr", "target"])
def test_the_discriminator_learns_from_the_images_of_the_option(gan_real):
    # The released options of x4plus have l1_gt_usm, percep_gt_usm = True and gan_gt_usm = False.
    options = RealesrganOptions(perceptual_weight=0.0, gan_real=gan_real)
    method = RealesrganMethod(options, Setup(SRResNetConfig(scale=4), seed=0, crop_px=16, batch=2, steps=10))
    lr, hr, target = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    generator = nn.Upsample(scale_factor=4)
    batch = Batch(np.arange(2), lr, target, hr)
    nets = {"generator": generator, "discriminator": Recorder()}
    terms = method.generator_loss(nets, batch, 0)
    assert torch.equal(terms.losses["l1"], (generator(lr) - target).abs().mean())

    discriminator = Recorder()
    method.discriminator_loss({**nets, "discriminator": discriminator}, batch.with_extra(terms.kept), 0)
    assert torch.equal(discriminator.seen[0], hr if gan_real == "hr" else target)
    assert torch.equal(discriminator.seen[1], generator(lr))


def test_the_defaults_are_those_of_the_releases():
    assert RealesrganOptions(perceptual_weight=0.0).gan_real == "hr"
    assert DasrOptions(perceptual_weight=0.0).image_losses().gan_real == "target"
