"""Method `dasr`: a network that looks at its input's degradation and adapts (Liang et al. 2022, arXiv:2203.14216).

Every image draws one of three levels and its own task; the 33 numbers of that task travel with it in the batch as the
label of the predictor. Loss: pixel + regression + perceptual + GAN. The released code trains on a pool that exchanges
images among batches and leaves the labels behind; `shuffled_labels` reproduces the effect for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

import pydegrade

from ..data.batch import Batch
from ..errors import ConfigError
from ..nets import DASR, DASRConfig, UNetDiscriminatorConfig
from ..options import option, options, type_name
from ..settings import MOST_STEPS
from .contract import Nets, Setup, Terms, frozen
from .losses import GanKind
from .parts import PixelLossName
from .realesrgan import RealesrganMethod, RealesrganOptions

Scheme = Literal["dasr33-global", "dasr33"]
Compat = Literal["", "dasr2022"]
Mixing = Literal["predicted", "truth", "level", "constant"]

NEEDED_SLOTS = {"blur1", "resize1", "noise1", "jpeg1"}

# Numbers of the samples whose labels `shuffled_labels` borrows lie this far above all that a run sees.
BORROWED = 2**62


@options("method")
class DasrOptions:
    """Options of method `dasr`; weights as in the released training options."""

    type: Literal["dasr"] = type_name("dasr")
    space: str = option("auto", "preset or TOML file with DASR's slots; auto: dasr-mixed", path="toml")
    loss: PixelLossName = option("l1", "pixel loss between output and target")
    pixel_weight: float = option(1.0, "of the pixel loss", ge=0)
    regression_weight: float = option(1.0, "of the predictor's L1 loss against the 33 numbers", ge=0)
    perceptual_weight: float = option(1.0, "of the perceptual loss; 0: none, and no VGG19 file is needed", ge=0)
    gan_weight: float = option(0.1, "of the generator's GAN loss; 0: no discriminator is trained", ge=0)
    gan: GanKind = option("vanilla", "kind of GAN loss")
    gan_start_step: int = option(0, "before this step only the other losses", ge=0, le=MOST_STEPS)
    scheme: Scheme = option("dasr33-global", "normalisation: one range for all levels, or dasr33: the level's own")
    compat: Compat = option("", "dasr2022: the released numbers, with their overwritten slot 9 (needs scheme dasr33)")
    masked: bool = option(False, "regress only entries that mean something; false: absent ops are regressed as 0")
    shuffled_labels: bool = option(False, "labels of other samples, the released code's defect; for comparison only")
    mixing: Mixing = option(
        "predicted",
        "what the experts' shares follow, for comparisons: the estimate; the task's own numbers (truth); its level alone; "
        "nothing (constant)",
    )
    vgg19: str = option("", "torchvision's weight file vgg19-dcbb9e9d.pth (or a safetensors copy)", path=True)
    discriminator: UNetDiscriminatorConfig = option(
        UNetDiscriminatorConfig(), "the discriminator, a table of network options"
    )
    discriminator_pretrained: str = option("", "model file that the discriminator starts from", path=True)

    def __post_init__(self) -> None:
        if self.compat and self.scheme != "dasr33":
            raise ConfigError(f"method.scheme must be 'dasr33' where method.compat is set, got {self.scheme!r}")
        self.image_losses()

    def image_losses(self) -> RealesrganOptions:
        """The part that Real-ESRGAN has too, checked by its rules."""
        return RealesrganOptions(
            space=self.space,
            loss=self.loss,
            pixel_weight=self.pixel_weight,
            perceptual_weight=self.perceptual_weight,
            gan_weight=self.gan_weight,
            gan=self.gan,
            gan_real="target",  # the release's option gan_gt_usm = False is never read
            gan_start_step=self.gan_start_step,
            vgg19=self.vgg19,
            discriminator=self.discriminator,
            discriminator_pretrained=self.discriminator_pretrained,
        )


def mixing_vector(mixing: Mixing, tasks: pydegrade.TaskBatch, vector_BV: Tensor) -> Tensor | None:
    """What the shares follow instead of the estimate, [B, V]; None for the estimate.

    Args:
        mixing: which of the arms; a level is a one in an entry of its own, nothing is all zeros.
        tasks: the degradations of the images; of a space of several levels for "level".
        vector_BV: their true numbers.
    Raises:
        ConfigError: "level" with a space of a single level.
    """
    if mixing == "predicted":
        return None
    if mixing == "truth":
        return vector_BV
    given = torch.zeros_like(vector_BV)
    if mixing == "level":
        if not tasks.space.components:
            raise ConfigError(f"method.mixing = 'level' must have a space of several levels, got {tasks.space.name}")
        given[torch.arange(len(given)), torch.from_numpy(np.asarray(tasks.component, np.int64))] = 1.0
    return given


class DasrMethod(RealesrganMethod):
    """Predictor and mixed generator trained together; see `DasrOptions`."""

    mixes_pairs = False  # the regression and the mixing ask for the task of every sample

    def __init__(self, config: DasrOptions, setup: Setup) -> None:
        if not isinstance(setup.net, DASRConfig):
            raise ConfigError(f"net.type must be 'dasr' for method dasr, got {setup.net.type!r}")
        if setup.net.num_entries != pydegrade.vectors.SIZE:
            size = pydegrade.vectors.SIZE
            raise ConfigError(f"net.num_entries must be {size} for method dasr, got {setup.net.num_entries}")
        self.dasr = config
        losses = config.image_losses()
        space = "dasr-mixed" if config.space == "auto" else config.space
        super().__init__(replace(losses, space=space), setup)
        if config.gan_weight == 0:
            self.phases = self.phases[:1]
        for part in self.space.components or (self.space,):
            missing = sorted(NEEDED_SLOTS - {slot.name for slot in part.slots})
            if missing:
                raise ConfigError(f"method.space must have DASR's slots, {part.name} has no {', '.join(missing)}")
        # Ranges and levels are missing before the first step or never.
        first = pydegrade.sample(self.space, setup.seed, [0])
        mixing_vector(config.mixing, first, self._labels(first)[0])

    def nets(self) -> dict[str, nn.Module]:
        """The adaptive network; a discriminator and VGG19's features where their losses are on."""
        nets = super().nets()
        if self.config.gan_weight == 0:
            del nets["discriminator"]
        return nets

    def configs(self) -> Mapping[str, Any]:
        """Configurations of the nets that have a file format."""
        configs = dict(super().configs())
        if self.config.gan_weight == 0:
            del configs["discriminator"]
        return configs

    def labels(self, step: int, tasks: pydegrade.TaskBatch) -> Mapping[str, Tensor]:
        """`vector` [B, 33] and `vector_mask` [B, 33] of the batch's own tasks, and what else the shares follow."""
        if self.dasr.shuffled_labels:
            tasks = pydegrade.sample(self.space, self.setup.seed, tasks.indices + BORROWED, step)
        vector, mask = self._labels(tasks)
        given = mixing_vector(self.dasr.mixing, tasks, vector)
        labels = {"vector": vector, "vector_mask": mask}
        return labels if given is None else {**labels, "mixing_vector": given}

    def _labels(self, tasks: pydegrade.TaskBatch) -> tuple[Tensor, Tensor]:
        try:
            vector, mask = tasks.vector(self.dasr.scheme, self.dasr.compat or None)
        except pydegrade.TaskError as error:
            raise ConfigError(f"method.space: {error}") from None
        return torch.from_numpy(vector), torch.from_numpy(mask)

    def generator_loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """Real-ESRGAN's terms and the regression of the degradation vector."""
        net = cast(DASR, nets["generator"])
        given = batch.extra.get("mixing_vector")
        if given is None:
            sr, vector, mixing = net.with_vector(batch.lr)
        else:
            vector, mixing = net.predictor(batch.lr)[0], net.predictor.shares(given)
            sr = net.generator(batch.lr, mixing)
        terms = self.image_terms(nets, sr, batch.target, step)
        error = (vector.float() - batch.extra["vector"]).abs()
        known = batch.extra["vector_mask"]
        regression = (error * known).sum() / known.sum().clamp(min=1) if self.dasr.masked else error.mean()
        terms["regression"] = self.dasr.regression_weight * regression
        # How differently the images of a batch are mixed: 0 when the network does not adapt.
        shown = {"mixing_spread": mixing.float().std(0, correction=0).mean()}
        return Terms(terms, shown=frozen(shown), kept=frozen({"sr": sr}))
