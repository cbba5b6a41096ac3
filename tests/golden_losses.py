"""The losses of short runs of every method, compared with stored ones: a change of what training does is seen the same day.

`python -m tests.golden_losses --write` stores them anew; only when training was meant to change, and CHANGELOG.md says so.

Tolerance. Everything before the network has the same bits everywhere: crops, tasks, pixels, random numbers, first weights.
Sums inside convolutions and matrix products have not: torch chooses kernels by instruction set, and they round
differently. How far that moves a method's losses within the run is measured when they are stored, by a second run with
the kernels for SSE (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY), and kept beside them: 1e-7 to 1e-6 of the value for a plain
pixel loss, up to 2e-4 where attention or a predictor amplifies it. TIMES as much is allowed. A change of the learning
rate by one per cent is more than that, which a test shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import pydegrade
from benchmarks.quiet import quiet
from pytrain.config.config import loads
from pytrain.files.checkpoint import save_model
from pytrain.files.digested_toml import write_record
from pytrain.methods.groups import Group, groups_record, network_digest
from pytrain.nets import SRResNetConfig, build, config_to_dict
from pytrain.training import loop

GOLDEN = Path(__file__).resolve().parent / "golden" / "losses.json"
STEPS = 24
TIMES = 10
"""Other processors round otherwise than the two sets of kernels that were compared."""

LEAST = 1e-6
"""Single precision keeps seven digits; the log's means of four steps lose one."""

OTHER_KERNELS = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}

CONFIG = f"""
[run]
steps = {STEPS}
seed = 5
device = "cpu"
[net]
type = "srresnet"
scale = 4
num_features = 8
num_blocks = 1
[data]
crop_px = 48
batch = 4
[optimizer]
learning_rate = 1e-3
[train]
precision = "fp32"
threads = 1
ema_decay = 0.9
[log]
every_steps = 4
"""

SMALL = SRResNetConfig(num_features=8, num_blocks=1)


def photographs(folder: Path) -> Path:
    """Two photographs of scikit-image, stored without loss there and here."""
    from skimage import data

    (folder / "hr").mkdir()
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(data, name)()[100:292, 150:342]).save(folder / "hr" / f"{name}.png")
    return folder / "hr"


def network(folder: Path, config: SRResNetConfig, name: str) -> Path:
    """A model file with fresh weights."""
    path = folder / f"{name}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        save_model(path, config, build(config))
    return path


def _eco(folder: Path) -> list[str]:
    teacher = network(folder, SRResNetConfig(num_features=6, num_blocks=1), "teacher")
    return [f"method={{type='eco', pairs='live', teacher='{teacher}'}}"]


def _tgsr(folder: Path) -> list[str]:
    start = network(folder, SMALL, "start")
    space = pydegrade.Space.load("realesrgan-x4")
    tasks = pydegrade.sample(space, 9, range(6))
    groups = [Group("G1", "", tasks.take(slice(0, 2)), {}), Group("G2", "", tasks.take(slice(2, 6)), {})]
    digests = {"network": network_digest(start, SMALL)}
    write_record(folder / "groups.toml", groups_record("groups", digests, space, config_to_dict(SMALL), groups), "")
    return [f"method={{type='tgsr', groups='{folder / 'groups.toml'}'}}", f"train.pretrained='{start}'"]


CASES: dict[str, Callable[[Path], list[str]]] = {
    "psnr": lambda _: ["method.type=psnr"],
    "realesrnet": lambda _: ["method.type=realesrnet"],
    "realesrgan": lambda _: [
        "method={type='realesrgan', perceptual_weight=0.0, discriminator={type='unet_discriminator', num_features=4}}",
    ],
    "eco": _eco,
    "dasr": lambda _: [
        "net={type='dasr', scale=4, num_features=6, num_blocks=1, num_experts=3, predictor_features=4}",
        "method={type='dasr', perceptual_weight=0.0, gan_weight=0.0}",
    ],
    "tgsr": _tgsr,
    "mzsr": lambda _: [
        "net={type='mzsr', scale=2, num_features=8, num_layers=3}",
        "method={type='mzsr', tasks=2, inner_steps=2, inner_rate=0.05}", "data.batch=8", "data.crop_px=32",
    ],
    "ipt": lambda _: [
        "net={type='ipt', tasks=['sr-x2', 'denoise-30'], scales=[2, 1], num_features=8, patch_px=12, num_heads=2, "
        "num_layers=1}",
        "method={type='ipt', contrastive_tokens=8}", "data.crop_px=24",
    ],
}  # fmt: skip
"""By method: what differs from CONFIG, given a folder for files."""


def losses(method: str, *changes: str) -> dict[str, list[float]]:
    """Every loss term of a short run: means over 4 steps each. Logits are left out: they are near zero, and no loss."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hr = photographs(folder)
        loop.fit(
            loads(CONFIG, [f"data.hr=['{hr}']", f"run.out='{folder / 'run'}'", *CASES[method](folder), *changes]),
            log=quiet,
        )
        lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    beside = ("step", "time", "images_per_s", "steps_per_s", "learning_rate", "accuracy")
    names = [
        name
        for name, value in steps[0].items()
        if isinstance(value, float) and name not in beside and not name.startswith(("time_", "norm_", "logit_"))
    ]
    return {name: [line[name] for line in steps] for name in names}


def deviation(found: dict[str, list[float]], stored: dict[str, list[float]]) -> float:
    """Largest difference relative to the largest value of its term; infinite where the terms are others."""
    if found.keys() != stored.keys():
        return float("inf")
    return max(
        float(np.max(np.abs(np.subtract(found[name], stored[name]))) / max(np.max(np.abs(stored[name])), 1e-12))
        for name in stored
    )


def stored() -> dict[str, dict[str, Any]]:
    """By method: `losses`, and `moved`, how far other kernels moved them."""
    found: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text())
    return found


def tolerance(method: str) -> float:
    """The largest deviation that is rounding."""
    return max(LEAST, TIMES * float(stored()[method]["moved"]))


def main() -> None:
    """Store them; print those of this process as JSON; or print how far this machine is away."""
    if sys.argv[1:] == ["--json"]:
        print(json.dumps({method: losses(method) for method in CASES}))
    elif sys.argv[1:] == ["--write"]:
        command = [sys.executable, "-m", "tests.golden_losses", "--json"]
        own, other = (
            json.loads(
                subprocess.run(command, env=os.environ | more, capture_output=True, check=True, text=True).stdout
            )
            for more in ({}, OTHER_KERNELS)
        )
        kept = {
            method: {"moved": float(f"{deviation(other[method], own[method]):.1e}"), "losses": own[method]}
            for method in CASES
        }
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
    else:
        for method in CASES:
            away = deviation(losses(method), stored()[method]["losses"])
            print(f"{method:12} {away:.1e}, {tolerance(method):.1e} is allowed")


if __name__ == "__main__":
    main()
