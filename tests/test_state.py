"""Training states: everything comes back bit for bit; what does not fit is refused before anything changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytrain.errors import CheckpointError
from pytrain.methods.contract import Phase, Setup, Terms
from pytrain.methods.realesrgan import RealesrganMethod, RealesrganOptions
from pytrain.nets import SRResNetConfig, UNetDiscriminatorConfig
from pytrain.settings import OptimizerConfig
from pytrain.training import state as states
from pytrain.training.precision import PLAIN

NET = SRResNetConfig(num_features=4, num_blocks=1, scale=2)


def fresh(seed: int = 0, optimizer: str = "adam", features: int = 4) -> states.TrainState:
    config = RealesrganOptions(perceptual_weight=0, discriminator=UNetDiscriminatorConfig(num_features=features))
    torch.manual_seed(seed)
    method = RealesrganMethod(config, Setup(NET, seed=0, crop_px=32, batch=2, steps=10))
    return states.new_state(method, method.nets(), OptimizerConfig(type=optimizer), 0.9, PLAIN)


def train(state: states.TrainState, steps: int) -> None:
    """Steps of a toy loss that reach every weight of both nets; a function of the state's step alone."""
    for _ in range(steps):
        generator = torch.Generator().manual_seed(state.step)
        lr = torch.rand(2, 3, 8, 8, generator=generator)
        for name, optimizer in state.optimizers.items():
            optimizer.zero_grad()
            image = state.nets["generator"](lr)
            out = image if name == "generator" else state.nets["discriminator"](image.detach())
            out.square().mean().backward()
            optimizer.step()
        state.update_averages(0.9)
        state.step += 1


def tensors_of(state: states.TrainState) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in states._tensors(state)}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lamb"])
def test_a_restored_state_goes_on_bit_for_bit(tmp_path, optimizer):
    through = fresh(optimizer=optimizer)
    train(through, 3)
    path = states.save(tmp_path, through, {"note": 7})
    saved = tensors_of(through)
    train(through, 2)

    other = fresh(seed=5, optimizer=optimizer)
    assert states.restore(path, other) == {"note": 7}
    assert other.step == 3
    restored = tensors_of(other)
    assert restored.keys() == saved.keys()
    assert any(key.startswith("optimizer.discriminator/") for key in saved)
    assert any(key.endswith("weight_u") for key in saved), "power iteration of the spectral norm is part of the state"
    for key, value in saved.items():
        assert torch.equal(restored[key], value), key
    train(other, 2)
    for key, value in tensors_of(through).items():
        assert torch.equal(dict(states._tensors(other))[key], value), key


def test_average_is_an_exponential_mean():
    state = fresh()
    start = state.nets["generator"].conv_first.weight.detach().double().numpy()
    wanted = start.copy()
    for _ in range(4):
        train(state, 1)
        wanted = 0.9 * wanted + 0.1 * state.nets["generator"].conv_first.weight.detach().double().numpy()
    found = state.averages["generator"].conv_first.weight.numpy()
    # Four float32 roundings of numbers below 1.
    np.testing.assert_allclose(found, wanted, atol=4e-7)
    assert not np.allclose(found, start, atol=1e-4)


def test_another_network_is_refused_and_nothing_changes(tmp_path):
    path = states.save(tmp_path, fresh(), {})
    other = fresh(features=8)
    before = tensors_of(other)
    with pytest.raises(CheckpointError, match=r"discriminator/conv0.* must have shape \(8.*got \(4"):
        states.restore(path, other)
    for key, value in tensors_of(other).items():
        assert torch.equal(before[key], value)


def test_a_damaged_newest_state_is_passed_over(tmp_path):
    state = fresh()
    states.save(tmp_path, state, {"number": 1})
    train(state, 1)
    newest = states.save(tmp_path, state, {"number": 2})
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)

    other = fresh(seed=1)
    path, meta, problems = states.restore_newest(tmp_path, other)
    assert path.name == "step_000000000.safetensors"
    assert meta["number"] == 1
    assert other.step == 0
    assert len(problems) == 1
    assert "damaged" in problems[0]
    assert str(newest) in problems[0]

    newest.write_bytes(bytes(content[: len(content) // 2]))
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of 2 training states can be read"):
        states.restore_newest(tmp_path, other)


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="holds no training state to resume from"):
        states.restore_newest(tmp_path, fresh())


def test_old_states_are_removed_by_their_step(tmp_path):
    state = fresh()
    for step in (1, 20, 300, 1_000_000_000):
        state.step = step
        states.save(tmp_path, state, {})
    states.remove_old(tmp_path, 2)
    assert [step for step, _ in states.saved_states(tmp_path)] == [1_000_000_000, 300]


def test_frozen_parameters_get_no_optimizer():
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    phase = Phase("generator", ("generator",), lambda nets, batch, step: Terms({}))
    assert list(states.trained_parameters(phase, {"generator": net})) == ["generator.weight"]
