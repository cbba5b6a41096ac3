"""What holds for every method: it derives from the contract's class, draws by the step, and has one naming scheme."""

from __future__ import annotations

import numpy as np
import pytest

import pydegrade
from pytrain.config.config import loads
from pytrain.methods.contract import Method
from pytrain.methods.registry import METHODS
from pytrain.training.opening import build_method

# A space of every method with one range that moves along the training.
SCHEDULED = """
[space]
name = "moving"
base = "{base}"
[[slot]]
name = "{slot}"
{column} = {{ schedule = [{{ at = 0, uniform = [{low}, {low}] }}, {{ at = 100, uniform = [{high}, {high}] }}] }}
"""
NETS = {
    "dasr": "net={type='dasr', scale=4, num_features=4, num_blocks=1, num_experts=2, predictor_features=4}",
    "mzsr": "net={type='mzsr', scale=2, num_features=4, num_layers=3}",
    "ipt": "net={type='ipt', tasks=['denoise-50'], scales=[1], num_features=8, patch_px=12, num_heads=2, num_layers=1}",
}
SPACES = {
    "psnr": ("realesrgan-x4", "jpeg1", "quality", 30, 90),
    "realesrnet": ("realesrgan-x4", "jpeg1", "quality", 30, 90),
    "realesrgan": ("realesrgan-x4", "jpeg1", "quality", 30, 90),
    "dasr": ("dasr-weak", "jpeg1", "quality", 30, 90),
    "tgsr": ("realesrgan-x4", "jpeg1", "quality", 30, 90),
    "mzsr": ("mzsr-direct-x2", "blur1", "sigma_x_px", 1.5, 2.0),
    "ipt": ("ipt-denoise-50", "noise1", "sigma_8bit", 10, 50),
}
"""Method -> (preset, slot, column, value at step 0, value from step 100 on); ECO has a space of its own."""


@pytest.mark.parametrize("name", SPACES)
def test_a_schedule_of_the_space_follows_the_training_step(tmp_path, name):
    base, slot, column, low, high = SPACES[name]
    path = tmp_path / "moving.toml"
    path.write_text(SCHEDULED.format(base=base, slot=slot, column=column, low=float(low), high=float(high)))
    net = NETS.get(name, "net={type='srresnet', scale=4, num_features=4, num_blocks=1}")
    space = f"method.spaces={{denoise-50='{path}'}}" if name == "ipt" else f"method.space='{path}'"
    more = {
        "realesrgan": ["method.perceptual_weight=0"],
        "dasr": ["method.perceptual_weight=0"],
        "mzsr": ["method.tasks=2"],
        "ipt": ["data.crop_px=12"],
    }
    config = loads("", [net, f"method.type={name}", space, "data.crop_px=32", "data.batch=8", *more.get(name, [])])
    method = build_method(config)
    if name == "tgsr":
        # A group of one listed task, so that about half of the samples are fresh draws.
        method.__dict__["members"] = (pydegrade.sample(method.space, 0, [0]), np.array([1]))
    indices = np.arange(40, 48)
    for step, value in ((0, low), (50, (low + high) / 2), (100, high), (10**6, high)):
        tasks = method.select(step, indices)
        fresh = method.draw(indices)[0] == 0 if name == "tgsr" else np.ones(len(indices), bool)
        assert fresh.any()
        assert tasks.column(f"{slot}.{column}")[fresh] == pytest.approx(value)
        assert [f"/t{step}" in address for address, new in zip(tasks.addresses, fresh) if new] == [True] * fresh.sum()
    assert method.select(7, indices).addresses == method.select(7, indices).addresses


@pytest.mark.parametrize("name", METHODS)
def test_every_method_derives_from_the_contracts_class(name):
    entry = METHODS[name]
    assert issubclass(entry.build, Method)
    assert entry.build.__name__ == f"{name.capitalize()}Method"
    assert entry.config.__name__ == f"{name.capitalize()}Options"


def test_the_contracts_defaults_are_those_of_one_network_on_clean_crops():
    class Smallest(Method):
        def __init__(self, setup):
            self.setup = setup

    config = loads("", ["net={type='srresnet', scale=2, num_features=4, num_blocks=1}", "method.type=psnr"])
    method = Smallest(build_method(config).setup)
    assert (method.images, method.averaged, method.group_rows, method.ranked_by_psnr) == (
        ("hr",),
        ("generator",),
        1,
        True,
    )
    assert method.configs() == {"generator": config.net}
    assert [type(net).__name__ for net in method.nets().values()] == ["SRResNet"]
    assert method.pretrained() == method.model_metadata() == {}
    assert method.hr_side_px(3) is None
    batch = object()
    assert method.prepare({}, batch, 0) is batch
    with pytest.raises(NotImplementedError, match=r"^Smallest.select$"):
        method.select(0, np.arange(2))
