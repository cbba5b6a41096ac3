"""Where the package under test lies: the only file here that knows names of modules."""

from __future__ import annotations

import atexit
import importlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@cache
def main_of(program: str) -> Callable[[list[str]], None]:
    """The entry point of a command as pyproject.toml names it, of this tree rather than of an installed one."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, name = scripts[program].partition(":")
    main: Callable[[list[str]], None] = getattr(importlib.import_module(module), name)
    return main


class _Unfit:
    """A torchvision that was built for another torch: importing it raises something else than ImportError."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")


OPTIONAL_MODULES = ("pydegrade.transforms.albumentations", "pydegrade.transforms.torchvision")
"""Modules that need a package which is not in the extra `dev`, and whose absence is an error of one line."""


def preload() -> None:
    """Import what commands import lazily, so that children do not do it once each."""
    # The same on every machine, whatever is installed there.
    sys.meta_path.insert(0, _Unfit)  # type: ignore[arg-type]
    for program in ("degrade", "pytrain"):
        main_of(program)
    for name in (
        "torch",
        "torch._dynamo",  # the first optimizer imports it, for seconds
        "pydegrade",
        "pytrain.nets",
        "pytrain.methods",
        "safetensors.torch",
        "PIL.Image",
        "lmdb",
        "cv2",
    ):
        importlib.import_module(name)
    for module in _own_modules():
        if module not in OPTIONAL_MODULES:
            importlib.import_module(module)
    tiny_model()
    task_address()


def _own_modules() -> list[str]:
    names = []
    for package in ("pydegrade", "pytrain"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "__main__" not in parts:
                names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def _first(*places: str) -> Any:
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"none of {', '.join(places)}")


@cache
def decode_image() -> Callable[..., Any]:
    """path -> what training reads: an object with `pixels`, uint8 [H, W, 3], and `notes`."""
    from pydegrade.files.read import read_rgb8

    def read(path: Any) -> Any:
        picture = read_rgb8(path)
        return SimpleNamespace(pixels=picture.array, notes=picture.notes)

    return read


@cache
def read_array() -> Callable[..., Any]:
    """path -> the image with the channels and the depth of its file."""
    from pydegrade.files.read import read_picture

    return lambda path: read_picture(path).array


@cache
def task_address() -> str:
    """A task of the preset bicubic-x2."""
    import pydegrade

    return pydegrade.sample("bicubic-x2", 0, [0]).addresses[0]


@cache
def tiny_state() -> dict[str, Any]:
    """Weights of a small network x2, by key."""
    import torch

    from pytrain import nets

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nets.build(nets.SRResNetConfig(scale=2, num_features=8, num_blocks=1))
    return {key: value.detach().clone() for key, value in net.state_dict().items()}


@cache
def tiny_model() -> Path:
    """A model file of `tiny_state`."""
    import safetensors.torch

    path = Path(tempfile.mkdtemp(prefix="fuzz-model-")) / "tiny.safetensors"
    atexit.register(shutil.rmtree, path.parent, True)
    safetensors.torch.save_file(tiny_state(), path)
    return path


def training_toml(**tables: dict[str, Any]) -> str:
    """The configuration of a short training of a small network on the CPU, with changes: tables of keys and values."""
    import tomli_w

    config: dict[str, dict[str, Any]] = {
        "run": {"name": "f", "steps": 2, "device": "cpu"},
        "net": {"type": "srresnet", "scale": 2, "num_features": 8, "num_blocks": 1},
        "method": {"type": "psnr"},
        "data": {"hr": "hr", "crop_px": 8, "batch": 2, "workers": 0},
        "train": {"precision": "fp32", "threads": 1},
    }
    for name, changes in tables.items():
        config[name] = {**config.get(name, {}), **changes}
    return tomli_w.dumps(config)
