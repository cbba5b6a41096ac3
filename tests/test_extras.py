"""What an extra of pyproject.toml brings, and the one line that is said without it."""

from __future__ import annotations

import builtins
import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pydegrade.commands import cli
from pydegrade.files import parquet_reader, sample_manifest
from pydegrade.files.formats import tiff
from pydegrade.ops.video import pyav
from pydegrade.shell import ray_engine
from pytrain.commands.actions import plot
from pytrain.evaluation import export, perceptual
from pytrain.nets import spandrel_net
from pytrain.settings import LogConfig
from pytrain.training import log

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
OF_THE_SOURCE = {"all", "dev", "site"}
"""Extras that no command asks for: several at once, tests, pages."""


def packed():
    """12-bit samples, which imagecodecs unpacks."""
    return tiff._by_pillow(SimpleNamespace(planarconfig=1, samplesperpixel=3, fillorder=1), 2, 1, 12)


WITHOUT = {
    "lmdb": ("lmdb", lambda: sample_manifest.check_format("lmdb")),
    "tiff": ("imagecodecs", packed),
    "plots": ("matplotlib", lambda: plot.drawn(Path("run"), ".png")),
    "tensorboard": ("tensorboard", lambda: log.check_packages(LogConfig(tensorboard=True))),
    "onnx": ("onnx", export.onnx_package),
    "spandrel": ("spandrel", spandrel_net._spandrel),
    "perceptual": ("pyiqa", lambda: perceptual._pyiqa("lpips")),
    "video": ("av", pyav.__wrapped__),
    "explore": ("gradio", lambda: cli.cli(["explore"], standalone_mode=False)),
    "parquet": ("pyarrow", parquet_reader.pyarrow_parquet),
    "ray": ("ray", ray_engine._connected),
    "wandb": ("wandb", lambda: log.check_packages(LogConfig(wandb="project"))),
    "trackio": ("trackio", lambda: log.check_packages(LogConfig(trackio="project"))),
}


@pytest.mark.parametrize("extra", WITHOUT)
def test_without_an_extra_one_line_names_it(monkeypatch, extra):
    package, call = WITHOUT[extra]
    imports, find_spec = builtins.__import__, importlib.util.find_spec

    def without(name, *arguments, **named):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return imports(name, *arguments, **named)

    for name in [name for name in sys.modules if name.split(".")[0] == package or name == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(importlib, "import_module", without)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find_spec(name, *rest)
    )
    with pytest.raises(Exception, match="needs the package") as raised:
        call()
    line = str(raised.value)
    assert re.fullmatch(rf".* needs the package [^:]*\b{package}\b[^:]*: pip install 'pydegrade\[{extra}\]'", line), (
        line
    )


def test_every_extra_has_its_line():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(WITHOUT) == set(extras) - OF_THE_SOURCE
    for extra, (package, _) in WITHOUT.items():
        assert any(re.match(rf"{package}\b", requirement) for requirement in extras[extra]), extra
    # `all` is what the README says it is.
    (named,) = re.findall(r"pydegrade\[(.*)\]", extras["all"][0])
    assert set(WITHOUT) - set(named.split(",")) == {"ray", "wandb", "trackio"}
