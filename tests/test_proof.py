"""`prove`: what it accepts also runs, every network with every method, precision and number of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pytrain.config import config as configs
from pytrain.config import describe
from pytrain.errors import ConfigError
from pytrain.methods.registry import METHODS
from pytrain.nets import NETS
from pytrain.options import options_of
from pytrain.training import loop, proof


@pytest.fixture(scope="module")
def photographs_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(4):
        coarse = np.random.default_rng(number).integers(0, 256, (5, 6, 4), np.uint8)
        Image.fromarray(coarse, "RGBA").resize((72, 48), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


SMALL = {"num_features": 8, "num_blocks": 1, "num_groups": 1, "num_convs": 1, "num_layers": 2, "growth": 4,
         "reduction": 4, "predictor_features": 4, "num_experts": 2}  # fmt: skip
OWN: dict[str, list[str]] = {
    "swinir": ["net.depths=[2]", "net.num_heads=[2]", "net.embed_dim=12"],
    "ipt": ["net.tasks=['sr-x2']", "net.scales=[2]", "net.num_features=4", "net.num_heads=2", "net.num_layers=1",
            "net.patch_px=12", "data.crop_px=24"],
}  # fmt: skip
# The smallest of every network, and what it is trained on here: noise where it keeps the size.
NEEDED = {
    "realesrgan": ["method.perceptual_weight=0", "method.discriminator.num_features=4"],
    "dasr": ["method.perceptual_weight=0", "method.discriminator.num_features=4"],
    "mzsr": ["method.tasks=2", "method.inner_steps=1"],
    "ipt": ["method.contrastive_images=0"],
}


def configuration(method: str, net: str, out: Any, photographs: Any, *overrides: str) -> configs.Config:
    known = options_of(NETS[net].config)
    scale = 1 if net == "dncnn" else 4 if method == "dasr" else 2
    small = [f"net.{name}={value}" for name, value in SMALL.items() if name in known and net not in OWN]
    space = ["method.space=ipt-denoise-30"] if scale == 1 and method in ("psnr", "realesrnet", "realesrgan") else []
    texts = [
        *small, f"run.out={out}", "run.steps=1", "run.device=cpu", f"data.hr={photographs}", "data.batch=4",
        "data.crop_px=32", "train.precision=fp32", "train.threads=1", "train.parallel_slices=1", *OWN.get(net, []),
        *NEEDED.get(method, []), *space, *overrides,
    ]  # fmt: skip
    return configs.loads(describe.template(method, net, scale), texts)


def runs(config: configs.Config) -> str:
    """What a run of one step says, or nothing."""
    try:
        loop.fit(config)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


TRAINED = [name for name in configs.TRAINABLE if name != "spandrel"]
METHODS_ALONE = [name for name in METHODS if name not in ("eco", "tgsr")]  # these need files of other commands


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("net", TRAINED)
@pytest.mark.parametrize("method", METHODS_ALONE)
def test_what_is_proved_runs_and_what_is_not_does_not(method, net, precision, photographs_dir, tmp_path):
    config = configuration(method, net, tmp_path / "run", photographs_dir, f"train.precision={precision}")
    problems = proof.prove(config)
    said = runs(config)
    assert bool(problems) == bool(said), (problems, said)
    assert all("\n" not in problem for problem in problems)


WITH_CHANNELS = [name for name in TRAINED if "in_channels" in options_of(NETS[name].config)]


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("net", WITH_CHANNELS)
@pytest.mark.parametrize("method", ["psnr", "realesrnet", "realesrgan"])
def test_every_number_of_channels_is_proved_or_refused(method, net, channels, photographs_dir, tmp_path):
    known = options_of(NETS[net].config)
    own = [f"net.{name}={channels}" for name in ("in_channels", "out_channels") if name in known]
    own += ["net.subtract_mean=false"] if net == "span" and channels != 3 else []  # it says so itself
    own += [f"method.discriminator.in_channels={channels}"] if method == "realesrgan" else []
    config = configuration(method, net, tmp_path / "run", photographs_dir, *own)
    problems = proof.prove(config)
    said = runs(config)
    assert bool(problems) == bool(said), (problems, said)
    if method == "realesrnet" and net != "dncnn" and channels != 3:
        kind = "gray images" if channels == 1 else "images with alpha"
        assert f"cannot degrade {kind}" in problems[0]


@pytest.mark.slow
def test_the_methods_suggestion_fits_its_network(photographs_dir, tmp_path):
    # Published sizes, on shapes alone.
    for method in METHODS_ALONE:
        net = str(METHODS[method].suggested.get("net.type", describe.NET_OF_METHOD))
        needed = [] if method == "ipt" else ["data.crop_px=64"]
        config = configs.loads(describe.template(method), [*NEEDED.get(method, []), *needed, "train.precision=fp32"])
        assert config.net.type == net
        assert proof.prove(config) == []


@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("method", "net", "overrides", "wanted"),
    [
        ("psnr", "srresnet", ["net.in_channels=1"], "net.out_channels must equal in_channels 1, images have one kind"),
        ("psnr", "srresnet", ["net.in_channels=2", "net.out_channels=2"], "net.in_channels must be 1 (gray), 3 (RGB) or"),
        ("realesrgan", "srresnet", ["net.in_channels=1", "net.out_channels=1"],
         "method.discriminator.in_channels must be 1 like the network's, got 3"),
        ("psnr", "dasr_srresnet", [], "method psnr on dasr_srresnet: "),
        ("psnr", "dncnn", ["method.space=bicubic-x2"], "method.space must have the network's scale x1, got bicubic-x2"),
        ("psnr", "srresnet", ["net.num_features=4096", "net.num_blocks=1024"], "net: its weights take 1240.0 GB"),
        ("psnr", "srresnet", ["train.precision=fp16"], "train.precision must be fp32, bf16 or auto on a CPU, got 'fp16'"),
        ("psnr", "srresnet", ["train.pretrained=/none.pth"], "/none.pth: no such file"),
        ("psnr", "srresnet", ["method.ms_ssim_weight=0.1"], "data.crop_px: must be at least 176 for method.ms_ssim_weight"),
    ],
)  # fmt: skip
def test_problems_are_one_line_each(method, net, overrides, wanted, photographs_dir, tmp_path):
    found = proof.prove(configuration(method, net, tmp_path, photographs_dir, *overrides))
    assert len(found) == 1
    assert wanted in found[0]
    assert "\n" not in found[0]


@pytest.mark.slow
def test_a_real_step_has_crops_that_ms_ssim_takes(photographs_dir, tmp_path):
    asked = ["method.ms_ssim_weight=0.1", "data.crop_px=192", "train.precision=bf16"]
    assert proof.prove(configuration("psnr", "srresnet", tmp_path, photographs_dir, *asked)) == []


@pytest.mark.parametrize("asked", ["net.num_blocks=1025", "net={type='rcan', num_groups=64, num_blocks=64}",
                                   "net={type='swinir', depths=[60,60,60,60,60], num_heads=[6,6,6,6,6]}"])  # fmt: skip
def test_networks_too_deep_to_build_are_no_configuration(asked, photographs_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"must be (<=|at most|1 to)"):
        configuration("psnr", "srresnet", tmp_path, photographs_dir, asked)


def test_nothing_is_drawn_and_nothing_changes(photographs_dir, tmp_path):
    config = configuration("psnr", "srresnet", tmp_path / "out", photographs_dir)
    before = torch.get_rng_state()
    assert proof.prove(config) == []
    assert torch.equal(before, torch.get_rng_state())
    assert not (tmp_path / "out").exists()
