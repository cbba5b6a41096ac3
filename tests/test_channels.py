"""Gray networks and networks with alpha, through every command: fit, eval, infer, export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import pydegrade
from pydegrade.errors import OpError
from pydegrade.files.pixels import to_float
from pydegrade.files.read import luma, read_picture
from pytrain import nets
from pytrain.commands.cli import cli
from pytrain.evaluation.evaluate import evaluate
from pytrain.evaluation.infer import upscale_array
from pytrain.evaluation.results import score_names
from pytrain.evaluation.sets import open_sets
from pytrain.evaluation.settings import EvalSetConfig, EvaluateConfig
from pytrain.files import checkpoint

KINDS = {"gray.png": "L", "gray_alpha.png": "LA", "rgb.png": "RGB", "rgba.png": "RGBA"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One image of every kind."""
    folder = tmp_path_factory.mktemp("kinds")
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    whole = Image.fromarray(coarse, "RGBA").resize((64, 48), Image.Resampling.BICUBIC)
    for name, mode in KINDS.items():
        whole.convert(mode).save(folder / name)
    return folder


NETS_OF = {
    "dncnn-1": ("dncnn", 1, ["net.num_features=8", "net.num_layers=3"]),
    "dncnn-4": ("dncnn", 4, ["net.num_features=8", "net.num_layers=3", "net.in_channels=4"]),
    "srresnet-1": ("srresnet", 1, ["net.num_features=8", "net.num_blocks=1", "net.in_channels=1", "net.out_channels=1"]),
    "rrdbnet-4": ("rrdbnet", 4, ["net.num_features=8", "net.num_blocks=1", "net.growth=4", "net.in_channels=4",
                                 "net.out_channels=4"]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS_OF)
def test_all_four_commands(name, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net, channels, small = NETS_OF[name]
    scale = 1 if net == "dncnn" else 2
    space = "ipt-denoise-30" if scale == 1 else "bicubic-x2"
    described = f"""
[net]
type = "{net}"
scale = {scale}
[method]
type = "psnr"
space = "{space}"
[run]
steps = 3
out = "run"
[data]
hr = ["{folder}"]
crop_px = 32
batch = 4
[train]
precision = "fp32"
threads = 1
[[evaluate.sets]]
name = "held"
hr = ["{folder}"]
space = "{space}"
"""
    (tmp_path / "cfg.toml").write_text(described)
    sets = [text for one in small for text in ("--set", one)]

    def command(*arguments):
        result = CliRunner().invoke(cli, list(map(str, arguments)))
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.output

    command("check", "cfg.toml", *sets)
    command("fit", "cfg.toml", *sets)
    model = tmp_path / "run" / "models" / "best.safetensors"
    loaded = checkpoint.load_model(model)
    assert nets.channels_of(loaded.net) == nets.image_channels(loaded.config) == channels

    command("eval", "cfg.toml", *sets, "--json", "scores.json", "--save-images", "images")
    scores = json.loads((tmp_path / "scores.json").read_text())
    named = scores[-1]["sets"][0]["measured"][0]["protocol"]
    assert named == f"psnr-{'gray' if channels == 1 else 'y'}-uint8-border{scale}"
    assert np.isfinite(scores[-1]["scores"]["held/psnr"])

    command("infer", folder, "--model", model, "--out", "made")
    for file, mode in KINDS.items():
        made = Image.open(tmp_path / "made" / file)
        assert made.mode == mode, file
        assert made.size == (64 * scale, 48 * scale)

    command("export", model, "again.pth")
    command("export", model, "net.onnx")
    assert checkpoint.load_model(tmp_path / "again.pth").config == loaded.config


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 16), (19, 21)])
@pytest.mark.parametrize("channels", [1, 3])
def test_dncnn_is_the_field_s(channels, size, tmp_path, spandrel):
    config = nets.DnCNNConfig(num_features=16, num_layers=9, in_channels=channels)
    net = nets.build(config).eval()
    checkpoint.save_model(tmp_path / "dncnn.pth", config, net)
    descriptor = spandrel.ModelLoader(device="cpu").load_from_file(tmp_path / "dncnn.pth")
    assert (descriptor.architecture.id, descriptor.scale, descriptor.input_channels) == ("DnCNN", 1, channels)
    image = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        # The same float32 convolutions, subtracted from the same image.
        torch.testing.assert_close(descriptor.model.eval()(image.clone()), net(image), rtol=1e-5, atol=1e-6)
    raw = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save(raw, tmp_path / "raw.pth")
    assert checkpoint.load_model(tmp_path / "raw.pth").config == config


@pytest.mark.slow
def test_published_sizes_of_dncnn():
    for config, count in ((nets.DnCNNConfig(), 555_137), (nets.DnCNNConfig(num_layers=20, in_channels=3), 668_227)):
        with torch.device("meta"):
            net = nets.build(config)
        assert nets.num_parameters(net) == count
        assert nets.detect(net.state_dict()) == config


def test_luma_is_pillow_s_and_gray_files_keep_their_values(folder):
    rgb = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(luma(rgb), np.asarray(Image.fromarray(rgb).convert("L")))
    stored = np.asarray(Image.open(folder / "gray.png"))
    assert np.array_equal(read_picture(folder / "gray.png").planes8(1).array[..., 0], stored)
    assert np.array_equal(read_picture(folder / "gray.png").planes8(3).array, np.dstack([stored] * 3))


def test_alpha_is_read_where_there_is_any(folder):
    rgba = np.asarray(Image.open(folder / "rgba.png"))
    assert np.array_equal(read_picture(folder / "rgba.png").planes8(4).array, rgba)
    opaque = read_picture(folder / "rgb.png").planes8(4)
    assert (opaque.array[..., 3] == 255).all()
    assert not opaque.notes
    two = read_picture(folder / "gray_alpha.png").planes8(4).array
    assert np.array_equal(two[..., 3], np.asarray(Image.open(folder / "gray_alpha.png"))[..., 1])


@pytest.mark.parametrize("space", ["bicubic-x2", "ipt-denoise-30", "ipt-derain-light", "mzsr-direct-x2"])
@pytest.mark.parametrize("channels", [1, 4])
def test_degraded_planes_do_not_know_each_other(space, channels):
    tasks = pydegrade.sample(space, 3, np.arange(5))
    rgb = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    image = rgb[:, :1] if channels == 1 else torch.cat([rgb, rgb[:, :1]], 1)
    found, wanted = pydegrade.degrade(image, tasks), pydegrade.degrade(rgb, tasks)
    shared = min(channels, 3)
    assert found.shape[1] == channels
    assert torch.equal(found[:, :shared], wanted[:, :shared])


def test_images_of_one_call_have_one_number_of_channels():
    tasks = pydegrade.sample("bicubic-x2", 0, [0, 1])
    with pytest.raises(ValueError, match=r"images must have one number of channels, got 3 and 1 \(image 1\)"):
        pydegrade.degrade_list([torch.zeros(3, 8, 8), torch.zeros(1, 8, 8)], tasks)


class Halved(torch.nn.Module):
    """Half of what it sees, in its own number of channels."""

    scale = 1

    def __init__(self, in_channels):
        super().__init__()
        self.in_channels = in_channels

    def forward(self, x):
        assert x.shape[1] == self.in_channels
        return x / 2


@pytest.mark.parametrize("own", [1, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_kind_of_image_goes_through_every_kind_of_network(own, channels):
    array = np.random.default_rng(0).integers(0, 256, (9, 7, channels), np.uint8)
    made = upscale_array(Halved(own), array)
    assert made.shape == array.shape
    # The mean of three equal numbers may differ from them in the last bit, and then a half falls the other way.
    assert np.abs(made.astype(int) - np.floor(array / 2 + 0.5).astype(int)).max() <= 1


def test_networks_of_other_channels_are_refused():
    with pytest.raises(Exception, match="net must take 1, 3 or 4 channels, got 2"):
        upscale_array(Halved(2), np.zeros((4, 4), np.uint8))


def test_gray_sets_are_measured_from_0_to_255_and_say_so(folder):
    config = EvaluateConfig(sets=(EvalSetConfig("kinds", (str(folder),), space="ipt-denoise-30"),))
    sets = open_sets(config, 1, channels=1)
    assert score_names(config, sets) == ["kinds/psnr", "kinds/ssim"]
    net = Halved(1)
    result = evaluate(net, sets, config)
    assert result.sets[0].scores[0].protocol == "psnr-gray-uint8-border1"
    pair = next(sets[0].pairs())
    assert pair.lr.shape == (48, 64, 1)
    inside = (slice(1, -1), slice(1, -1))
    found = np.floor(to_float(pair.lr)[0].numpy() / 2 * 255 + 0.5)[inside]
    error = np.mean((found - pair.hr[inside].astype(float)) ** 2)
    # One rounding of the half may fall the other way in float32.
    assert abs(result.sets[0].scores[0].values[0] - 10 * np.log10(255**2 / error)) < 0.01
    with pytest.raises(Exception, match="net must take the 1 channels of the sets, got 3"):
        evaluate(Halved(3), sets, config)


def test_an_op_that_refuses_an_image_is_named_by_slot_and_address():
    """In plain torch (webp) or not, alone in the chain or beside others."""
    head = '[space]\nname = "t"\nscale = 1\n'
    ops = {"jpeg": "quality = 50", "webp": "quality = 50", "noise": 'kind = "chroma"\nsigma_8bit = 9'}
    tables = {op: f'[[slot]]\nname = "{op}7"\nop = "{op}"\n{columns}\n' for op, columns in ops.items()}
    sharpen = '[[slot]]\nname = "first"\nop = "sharpen"\nweight = 1\n'
    texts = {op: head + sharpen + table for op, table in tables.items()}
    texts["noise"] = head + sharpen + tables["noise"] + tables["webp"]
    for op, text in texts.items():
        tasks = pydegrade.sample(pydegrade.Space.loads(text), 3, [4, 5])
        for channels in (1, 4):
            with pytest.raises((ValueError, OpError)) as caught:
                pydegrade.degrade(torch.rand(2, channels, 8, 8), tasks)
            assert f"slot {op}7 ({tasks.addresses[0]}): " in str(caught.value)
            assert "\n" not in str(caught.value)
