"""A network, photographs and a configuration so small that a whole grouping takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pytrain.files.checkpoint import save_model
from pytrain.nets import SRResNetConfig, build

NET = SRResNetConfig(num_features=4, num_blocks=1)

TOML = """
[run]
name = "tiny"
steps = 6
out = "{folder}/run"
device = "cpu"
[net]
type = "srresnet"
num_features = 4
num_blocks = 1
[method]
type = "tgsr"
groups = "groups/groups.toml"
[method.grouping]
tasks = 10
indicator = "full"
iterations = 3
average = 2
validation_hr = ["hr"]
validation_crops = 2
validation_px = 32
joint_steps = 4
shares = [0.25, 0.5]
workers = 1
[data]
hr = ["hr"]
crop_px = 16
batch = 2
[optimizer]
learning_rate = 1e-3
[train]
pretrained = "start.safetensors"
precision = "fp32"
threads = 1
[checkpoint]
every_steps = 3
"""


def write_project(folder: Path, net: SRResNetConfig = NET, seed: int = 0) -> Path:
    """A folder with hr/, start.safetensors and tgsr.toml; the path of the last."""
    from skimage import data

    (folder / "hr").mkdir(parents=True, exist_ok=True)
    for number, image in enumerate((data.astronaut(), data.coffee())):
        square = image[100 : 100 + 48, 150 + 30 * number : 150 + 30 * number + 56]
        Image.fromarray(np.ascontiguousarray(square)).save(folder / "hr" / f"{number}.png")
    write_network(folder / "start.safetensors", net, seed)
    path = folder / "tgsr.toml"
    path.write_text(TOML.format(folder=folder))
    return path


def write_network(path: Path, net: SRResNetConfig = NET, seed: int = 0) -> None:
    """A model file with fresh weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_model(path, net, build(net))
