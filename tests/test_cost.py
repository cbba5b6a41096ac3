"""What `pytrain cost` says a network costs."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from pytrain import nets
from pytrain.commands.actions.cost import measured
from pytrain.commands.cli import main
from pytrain.evaluation.cost import cost
from pytrain.files.checkpoint import save_model

CPU = torch.device("cpu")


class Two(nn.Module):
    """Two convolutions with a shuffle behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 2
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 12, 3, padding=1, groups=4)

    def forward(self, x):
        return nn.functional.pixel_shuffle(self.second(self.first(x).relu()), 2)


def test_counts_are_those_of_the_layers():
    found = cost("two", lambda device: Two().to(device), 10, CPU, repeats=2)
    assert found.parameters == 3 * 8 * 9 + 8 + 2 * 12 * 9 + 12
    # A multiply-add per pixel, output channel, input channel of its group and tap.
    assert found.macs == 100 * (8 * 3 * 9 + 12 * 2 * 9)
    # The largest moment: both sides of ReLU, or its output beside the second layer's, in float32.
    assert found.memory_bytes == 4 * 100 * max(8 + 8, 8 + 12, 12 + 12)
    assert len(found.seconds) == 2
    assert found.median_s > 0


@pytest.mark.parametrize(
    ("name", "gigamacs"),
    [
        ("srresnet", 10.39),
        ("dasr", 11.52),
        pytest.param("edsr", 8.12, marks=pytest.mark.slow),
        pytest.param("rrdbnet", 73.43, marks=pytest.mark.slow),
        pytest.param("swinir", 53.56, marks=pytest.mark.slow),
    ],
)
def test_counts_are_those_of_the_released_networks(name, gigamacs):
    # At 64 px in and x4, counted once with the released code of each; two digits are kept.
    (found,) = measured([name], 4, 64, CPU, 0, None)
    assert found.scale == 4
    assert found.seconds == ()
    assert found.macs / 1e9 == pytest.approx(gigamacs, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(set(nets.NETS) - {"spandrel", "unet_discriminator", "dasr_predictor", "dasr_srresnet"})
)
def test_every_network_that_takes_an_image_is_counted(name):
    (found,) = measured([name], 4, 48 if name == "ipt" else 16, CPU, 0, None)
    assert min(found.parameters, found.macs, found.memory_bytes) > 0


def test_the_command(tmp_path, capsys):
    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["cost", *arguments])
        return int(left.value.code or 0), *capsys.readouterr()

    path = tmp_path / "cost.json"
    code, out, _ = ran("srvgg", "mzsr", "--side", "16", "--repeats", "1", "--scale", "2", "--json", str(path))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["network", "srvgg", "mzsr"]
    written = json.loads(path.read_text())
    assert [one["scale"] for one in written["networks"]] == [2, 2]
    assert len(written["networks"][0]["seconds"]) == 1
    # A model file keeps its weights while its network is measured, on shapes and then by the clock.
    config = nets.MZSRConfig(scale=2, num_features=4, num_layers=2)
    save_model(tmp_path / "model.safetensors", config, nets.build(config))
    code, out, _ = ran(str(tmp_path / "model.safetensors"), "--side", "16", "--repeats", "1")
    assert (code, out.splitlines()[1].split()[:2]) == (0, ["model.safetensors", "x2"])
    for arguments, message in (
        (("srresnt",), "did you mean 'srresnet'"),
        (("no.pth",), "no.pth"),
        (("srresnet", "--json", "cost.txt"), "--json"),
        (("ipt", "--side", "64"), "input must be 48x48 px, got 64x64"),
    ):
        code, _, errors = ran(*arguments)
        assert code == 2, errors
        assert errors.count("\n") == 1
        assert message in errors
