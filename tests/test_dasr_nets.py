"""DASR's predictor and mixture of experts: public keys, formulas in float64, mixing, starting from one checkpoint."""

import dataclasses
import math
import re

import pytest
import torch
import torch.nn.functional as F

from pytrain import nets
from pytrain.errors import CheckpointError, ConfigError
from pytrain.files import checkpoint
from pytrain.nets import (
    DASRConfig,
    DASRPredictorConfig,
    DASRSRResNetConfig,
    SRResNetConfig,
    build,
    detect,
    experts_from_srresnet,
)

SMALL = [DASRSRResNetConfig(scale, 8, 2, experts) for scale, experts in ((1, 2), (2, 3), (3, 5), (4, 4))]


def randomised(net, seed=7):
    """Every parameter at a size where it matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            spread = 1 / math.sqrt(parameter.flatten(1).shape[1]) if parameter.ndim > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return net.eval()


def random(*shape, seed=1, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def meta_state(config):
    with torch.device("meta"):
        return build(config).state_dict()


def test_published_sizes_and_keys():
    names = [*(f"ConvNet.{place}" for place in range(0, 11, 2)), "MappingNet.0", "MappingNet.1"]
    predictor = meta_state(DASRPredictorConfig())
    assert set(predictor) == {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    assert sum(value.numel() for value in predictor.values()) == 468_143
    assert detect(predictor) == DASRPredictorConfig()

    generator = meta_state(DASRSRResNetConfig())
    assert set(generator) == set(meta_state(SRResNetConfig(4)))
    assert sum(value.numel() for value in generator.values()) == 7_587_855
    assert generator["conv_first.weight"].shape == (5, 64, 3, 3, 3)
    assert generator["upconv1.bias"].shape == (5, 256)
    assert detect(generator) == DASRSRResNetConfig()


@pytest.mark.parametrize("config", SMALL, ids=lambda config: f"x{config.scale}")
def test_grouped_convolution_equals_a_loop_over_images_and_experts(config):
    net = randomised(build(config)).double()
    s = net.state_dict()
    x, mixing = random(3, 3, 5, 7), random(3, config.num_experts, seed=2) * 2 - 0.6

    def conv(name, image, shares):
        # K convolutions of one image, added up: convolution is linear in its kernel.
        parts = [
            share * F.conv2d(image, s[f"{name}.weight"][k], s[f"{name}.bias"][k], padding=1)
            for k, share in enumerate(shares)
        ]
        return torch.stack(parts).sum(0)

    def leaky(image):
        return torch.where(image > 0, image, 0.1 * image)

    wanted = []
    for row in range(3):
        image, shares = x[row : row + 1], mixing[row]
        f = leaky(conv("conv_first", image, shares))
        for n in range(config.num_blocks):
            f = f + conv(f"body.{n}.conv2", conv(f"body.{n}.conv1", f, shares).clamp(min=0), shares)
        for n, factor in enumerate({1: (), 2: (2,), 3: (3,), 4: (2, 2)}[config.scale], 1):
            f = leaky(F.pixel_shuffle(conv(f"upconv{n}", f, shares), factor))
        base = image if config.scale == 1 else F.interpolate(image, scale_factor=config.scale, mode="bilinear")
        wanted.append(conv("conv_last", leaky(conv("conv_hr", f, shares)), shares) + base)
    with torch.no_grad():
        out = net(x, mixing)
    # Float64 on both sides, the same sums in another order.
    torch.testing.assert_close(out, torch.cat(wanted), rtol=1e-10, atol=1e-10)
    assert out.shape == (3, 3, 5 * config.scale, 7 * config.scale)
    assert net.scale == config.scale
    assert detect(s) == config


@pytest.mark.slow
def test_gradients_reach_all_experts_and_the_shares():
    net = build(DASRSRResNetConfig(2, 4, 1, 3)).double()
    mixing = random(2, 3).requires_grad_()
    x = random(2, 3, 4, 4)
    net(x, mixing).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert all(parameter.grad[k].abs().sum() > 0 for k in range(3)), name
    assert torch.autograd.gradcheck(lambda shares: net(x, shares), mixing.detach().requires_grad_())


def test_mixed_gives_the_plain_network_of_one_image():
    net = randomised(build(DASRSRResNetConfig(4, 8, 2, 3)))
    x, mixing = random(2, 3, 9, 6, dtype=torch.float32), random(2, 3, dtype=torch.float32) - 0.2
    before = torch.get_rng_state()
    plain = net.mixed(mixing[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(plain, nets.SRResNet)
    with torch.no_grad():
        # One float32 matrix product instead of another, through 9 layers.
        torch.testing.assert_close(plain(x[1:]), net(x, mixing)[1:], rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match=re.escape("mixing must have shape (3,), got (2, 3)")):
        net.mixed(mixing)


def test_one_expert_with_share_one_is_the_plain_network():
    plain = randomised(build(SRResNetConfig(2, 8, 2)))
    config = DASRSRResNetConfig(2, 8, 2, 1)
    net = build(config).eval()
    net.load_state_dict(experts_from_srresnet(config, plain.state_dict()))
    image = random(1, 3, 6, 5, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(net(image, torch.ones(1, 1)), plain(image))


def test_all_experts_start_from_one_checkpoint(tmp_path):
    plain = randomised(build(SRResNetConfig(4, 8, 2)))
    checkpoint.save_model(tmp_path / "srresnet.pth", SRResNetConfig(4, 8, 2), plain)
    config = DASRSRResNetConfig(4, 8, 2, 5)
    state = experts_from_srresnet(config, checkpoint.read_weights(tmp_path / "srresnet.pth").state)
    net = build(config).eval()
    net.load_state_dict(state)
    assert all(torch.equal(net.conv_hr.weight[k], plain.conv_hr.weight) for k in range(5))
    image = random(2, 3, 6, 6, dtype=torch.float32)
    # Shares that sum to one leave the pretrained network as it is, up to the rounding of five products.
    shares = torch.tensor([[0.2] * 5, [1.4, -1.0, 0.3, 0.2, 0.1]])
    with torch.no_grad():
        torch.testing.assert_close(net(image, shares), plain(image), rtol=1e-4, atol=1e-5)

    for other, message in (
        (state, "experts: expected a plain srresnet to copy, got a bank of 5 experts; load it as it is"),
        ({"a.weight": torch.zeros(1)}, "experts: expected a plain srresnet to copy, got keys a.weight"),
        (meta_state(SRResNetConfig(2, 8, 2)), "experts: expected SRResNetConfig(type='srresnet', scale=4"),
    ):
        with pytest.raises(CheckpointError, match=re.escape(message)):
            experts_from_srresnet(config, other)


def test_fresh_experts_are_small_different_and_finite():
    net = build(DASRSRResNetConfig(4, 16, 2, 3))
    weight = net.body[1].conv1.weight
    # Kaiming times 0.1: sqrt(2 / (16 * 9)) * 0.1; 2304 draws know it to 1.5 %.
    assert weight[0].std().item() == pytest.approx(0.1 * math.sqrt(2 / 144), rel=0.06)
    assert not torch.equal(weight[0], weight[1])
    assert net.body[1].conv1.bias.abs().max() == 0


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_come_back_and_another_number_of_experts_is_named(suffix, tmp_path):
    config = DASRSRResNetConfig(4, 8, 2, 3)
    net = randomised(build(config))
    path = tmp_path / f"experts{suffix}"
    checkpoint.save_model(path, config, net)
    loaded = checkpoint.load_model(path)
    assert loaded.config == config
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in loaded.net.state_dict().items())

    other = DASRSRResNetConfig(4, 8, 2, 5)
    message = "does not fit dasr_srresnet x4 (it looks like dasr_srresnet x4 with num_experts 3, not 5)"
    with pytest.raises(CheckpointError, match=re.escape(message)) as raised:
        checkpoint.load_into(build(other), other, path)
    assert "\n" not in str(raised.value)
    predictor = DASRPredictorConfig(33, 5, 8)
    checkpoint.save_model(path, DASRPredictorConfig(33, 3, 8), build(DASRPredictorConfig(33, 3, 8)))
    with pytest.raises(CheckpointError, match="with num_experts 3, not 5"):
        checkpoint.load_into(build(predictor), predictor, path)


def test_released_containers_load(tmp_path):
    """The released generator lies at the root of its file, the predictor under `params`."""
    config, predictor = DASRSRResNetConfig(4, 8, 1, 5), DASRPredictorConfig(num_features=8)
    torch.save(randomised(build(config)).state_dict(), tmp_path / "net_g.pth")
    torch.save({"params": randomised(build(predictor)).state_dict()}, tmp_path / "net_p.pth")
    assert checkpoint.load_model(tmp_path / "net_g.pth").config == config
    assert checkpoint.load_model(tmp_path / "net_p.pth").config == predictor


# The predictor.


def test_predictor_equals_the_formula():
    net = randomised(build(DASRPredictorConfig(7, 3, 6, 4))).double()
    s = net.state_dict()
    x = random(2, 3, 11, 8)
    f = x
    for place in range(6):
        stride = 2 if place == 3 else 1
        f = F.conv2d(f, s[f"ConvNet.{2 * place}.weight"], s[f"ConvNet.{2 * place}.bias"], stride, 2)
        f = torch.where(f > 0, f, 0.2 * f)
    vector = f.sum((2, 3)) / (6 * 4)
    hidden = vector @ s["MappingNet.0.weight"].T + s["MappingNet.0.bias"]
    shares = hidden @ s["MappingNet.1.weight"].T + s["MappingNet.1.bias"]
    with torch.no_grad():
        found_vector, found_shares = net(x)
        torch.testing.assert_close(found_vector, vector, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found_shares, shares, rtol=1e-10, atol=1e-10)
        # An edit of one entry moves the shares along one column of the sensitivity.
        edited = found_vector.clone()
        edited[:, 2] += 0.5
        moved = net.shares(edited) - found_shares
    torch.testing.assert_close(moved, 0.5 * net.sensitivity()[:, 2].expand(2, 3), rtol=1e-10, atol=1e-10)


def test_high_pass_input_equals_the_formula():
    config = DASRPredictorConfig(7, 3, 6, 4, input="high_pass")
    net = randomised(build(config)).double()
    with torch.no_grad():
        net.high_pass_gain.fill_(10)
    x = random(2, 3, 11, 8)
    seen = torch.empty_like(x)
    for row in range(11):
        for column in range(8):
            rows = torch.arange(row - 2, row + 3).clamp(0, 10)
            columns = torch.arange(column - 2, column + 3).clamp(0, 7)
            seen[..., row, column] = 10 * (x[..., row, column] - x[..., rows, :][..., columns].mean((2, 3)))
    plain = build(dataclasses.replace(config, input="image")).double()
    plain.load_state_dict({key: value for key, value in net.state_dict().items() if key != "high_pass_gain"})
    with torch.no_grad():
        torch.testing.assert_close(net(x)[0], plain(seen)[0], rtol=1e-10, atol=1e-10)
        # A constant added to the image is not seen.
        torch.testing.assert_close(net(x + 0.3)[0], net(x)[0], rtol=1e-9, atol=1e-9)
    assert detect(net.state_dict()) == config


def test_high_pass_is_part_of_the_file(tmp_path):
    seen, plain = (
        DASRConfig(4, 6, 1, 3, predictor_features=4, predictor_input=kind) for kind in ("high_pass", "image")
    )
    path = tmp_path / "model.safetensors"
    checkpoint.save_model(path, seen, build(seen))
    assert checkpoint.load_model(path).config == seen
    with pytest.raises(CheckpointError, match="high_pass_gain"):
        checkpoint.load_into(build(plain), plain, path)


def test_shares_start_at_one_over_the_number_of_experts():
    torch.manual_seed(0)
    images = random(4, 3, 16, 16, dtype=torch.float32)
    with torch.no_grad():
        shares = build(DASRPredictorConfig())(images)[1]
        released = build(DASRPredictorConfig(mapping_init="released"))(images)[1]
    # Five float32 products of about 0.2 each; the release's sum is near 0.
    assert (shares.sum(1) - 1).abs().max() < 1e-6
    # They tell experts apart from the first step on.
    assert shares.std(1, correction=0).min() > 0.02
    assert (released.sum(1) - 1).abs().min() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DASRSRResNetConfig(num_experts=0), "net.num_experts must be >= 1, got 0"),
        (lambda: DASRSRResNetConfig(scale=5), "net.scale must be one of 1, 2, 3 or 4, got 5"),
        (lambda: DASRPredictorConfig(input="edges"), "net.input must be one of 'image' or 'high_pass', got 'edges'"),
        (lambda: DASRPredictorConfig(mapping_init="zero"), "net.mapping_init must be one of 'equal' or 'released'"),
        (
            lambda: build(DASRSRResNetConfig(2, 4, 1, 3))(torch.zeros(2, 3, 4, 4), torch.zeros(2, 5)),
            "dasr_srresnet: mixing must have shape (2, 3) (images, experts), got (2, 5)",
        ),
    ],
)
def test_bad_sizes_are_one_clear_line(make, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make()
