"""VGG19's convolutions up to conv5_4, whose outputs the perceptual loss compares.

Shapes: image_BCHW [B, 3, H, W] -> {layer: [B, C, H/2^p, W/2^p]}, p the number of poolings before the layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from .parts import conv3x3
from .weights import read_weights

# Output channels of the convolutions in each of the five stages (Simonyan and Zisserman 2014, configuration E).
STAGES = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)

# Mean and standard deviation of ImageNet's RGB pixels in [0, 1], with which the published weights were trained.
IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
IMAGENET_STD_RGB = (0.229, 0.224, 0.225)


def _layer_indices() -> dict[str, int]:
    """`{"conv1_1": 0, "conv1_2": 2, ...}`: each convolution's place in torchvision's `features` sequence."""
    indices: dict[str, int] = {}
    place = 0
    for stage, channels in enumerate(STAGES, 1):
        for number in range(1, len(channels) + 1):
            indices[f"conv{stage}_{number}"] = place
            place += 2  # convolution, ReLU
        place += 1  # pooling
    return indices


LAYERS = _layer_indices()


class VGG19Features(nn.Module):
    """The outputs of chosen convolutions, before their ReLU; frozen.

    20,024,384 parameters when conv5_4 is asked for; layers behind the last one asked for are not built. State-dict
    keys are torchvision's: `features.N.weight`, `features.N.bias`.

    Source: Simonyan and Zisserman 2014, arXiv:1409.1556.
    """

    mean_rgb: Tensor
    std_rgb: Tensor

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        for layer in layers:
            if layer not in LAYERS:
                raise ConfigError(f"vgg19: layer must be one of conv1_1 to conv5_4, got {layer!r}")
        if not layers:
            raise ConfigError("vgg19: at least one layer must be named, got none")
        self.layers = tuple(sorted(set(layers), key=LAYERS.__getitem__))
        last = LAYERS[self.layers[-1]]

        # Built by place, so that the keys are torchvision's.
        self.features = nn.ModuleDict()
        in_channels = 3
        for stage, channels in enumerate(STAGES, 1):
            for number, out_channels in enumerate(channels, 1):
                place = LAYERS[f"conv{stage}_{number}"]
                if place <= last:
                    self.features[str(place)] = conv3x3(in_channels, out_channels)
                in_channels = out_channels
        self.register_buffer("mean_rgb", torch.tensor(IMAGENET_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std_rgb", torch.tensor(IMAGENET_STD_RGB).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """[B, 3, H, W] float in [0, 1] -> features by layer name; normalised with ImageNet's statistics first."""
        x = (image_BCHW - self.mean_rgb) / self.std_rgb
        found: dict[str, Tensor] = {}
        for name, place in LAYERS.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = self.features[str(place)](x)
            if name in self.layers:
                found[name] = x
            if name == self.layers[-1]:
                break
            x = F.relu(x)
        return found

    def load_published(self, state: Mapping[str, Tensor], where: str = "vgg19") -> None:
        """Take the weights from torchvision's state dict; its classifier and the layers not built are ignored.

        Raises:
            CheckpointError: a key is missing or has another shape; nothing is changed then.
        """
        own = self.state_dict()
        for key, value in own.items():
            if key not in state:
                raise CheckpointError(f"{where}: not a VGG19 weight file, {key} is missing")
            shape, wanted = tuple(state[key].shape), tuple(value.shape)
            if shape != wanted:
                raise CheckpointError(f"{where}: {key} must have shape {wanted}, got {shape}")
        self.load_state_dict({key: state[key] for key in own})


def load_vgg19(path: str | Path, layers: tuple[str, ...]) -> VGG19Features:
    """VGG19 features with the weights of torchvision's published file (`vgg19-dcbb9e9d.pth`, or a safetensors copy).

    Args:
        path: the file; never downloaded here.
        layers: names from `LAYERS`, such as ("conv3_4", "conv5_4").
    Raises:
        CheckpointError: the file cannot be read or is not VGG19's.
        ConfigError: unknown layer.
    """
    net = VGG19Features(layers)
    net.load_published(read_weights(path).state, str(path))
    return net
