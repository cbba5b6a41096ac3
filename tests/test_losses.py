"""Losses against their formulas in float64, and where their gradients may go."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pytrain.errors import ConfigError
from pytrain.methods import losses
from pytrain.nets.vgg import LAYERS, VGG19Features


def pair(shape=(2, 3, 5, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


# Float32 sums of about a hundred numbers below one.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def test_pixel_losses_equal_their_formulas():
    sr, target = pair()
    difference = (sr.double() - target.double()).flatten().tolist()
    count = len(difference)
    assert losses.l1(sr, target).item() == pytest.approx(sum(map(abs, difference)) / count, rel=1e-5)
    assert losses.mse(sr, target).item() == pytest.approx(sum(d * d for d in difference) / count, rel=1e-5)
    for epsilon in (1e-3, 0.5):
        wanted = sum(math.sqrt(d * d + epsilon * epsilon) for d in difference) / count
        assert losses.charbonnier(sr, target, epsilon).item() == pytest.approx(wanted, rel=1e-5)


def test_pixel_losses_at_equal_images():
    sr, _ = pair()
    assert losses.l1(sr, sr).item() == 0
    assert losses.mse(sr, sr).item() == 0
    assert losses.charbonnier(sr, sr, 1e-3).item() == pytest.approx(1e-3)
    # The rounded corner has a gradient of zero, where sqrt alone would give NaN.
    sr = sr.clone().requires_grad_()
    losses.charbonnier(sr, sr.detach()).backward()
    assert torch.equal(sr.grad, torch.zeros_like(sr))


@pytest.mark.parametrize("loss", [losses.l1, losses.mse, losses.charbonnier])
def test_pixel_losses_refuse_to_broadcast_and_work_in_bfloat16(loss):
    sr, target = pair()
    with pytest.raises(ConfigError, match=re.escape(f"{loss.__name__}: sr must have target's shape (2, 1, 5, 7)")):
        loss(sr, target[:, :1])
    rounded = sr.bfloat16()
    assert loss(rounded, target).dtype == torch.float32
    assert torch.equal(loss(rounded, target), loss(rounded.float(), target))


def test_charbonnier_refuses_a_sharp_corner():
    sr, target = pair()
    with pytest.raises(ConfigError, match="charbonnier: epsilon must be above 0, got 0"):
        losses.charbonnier(sr, target, 0)


# The perceptual loss.


def small_vgg(layers=tuple(losses.PERCEPTUAL_WEIGHTS)):
    """VGG19 with weights that keep the signal's size and make negative features, so that a ReLU would show."""
    net = VGG19Features(layers)
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            spread = math.sqrt(2 / parameter[0].numel())
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        else:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return net


def vgg_formula(net, image):
    """Features before the ReLU, by stage and number, in float64 from the state dict alone."""
    state = {key: value.double() for key, value in net.state_dict().items()}
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(1, 3, 1, 1)
    x = (image.double() - mean) / std
    features = {}
    place = 0
    for stage, count in enumerate((2, 2, 4, 4, 4), 1):
        for number in range(1, count + 1):
            if f"features.{place}.weight" not in state:
                return features
            x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1)
            features[f"conv{stage}_{number}"] = x
            x = x.clamp(min=0)
            place += 2
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
        blocks = [x[:, :, dy:height:2, dx:width:2] for dy in (0, 1) for dx in (0, 1)]
        x = torch.stack(blocks).amax(0)
        place += 1
    return features


@pytest.fixture(scope="module")
def vgg():
    return small_vgg()


def test_features_equal_the_formula_before_the_relu(vgg):
    image = torch.rand(1, 3, 18, 21, generator=torch.Generator().manual_seed(2))
    found, wanted = vgg(image), vgg_formula(vgg, image)
    assert list(found) == ["conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"]
    for layer, features in found.items():
        assert features.min() < 0, layer
        # Float32 through up to sixteen convolutions of some thousand terms.
        scale = wanted[layer].abs().max().item()
        torch.testing.assert_close(features.double(), wanted[layer], rtol=0, atol=1e-5 * scale)


@pytest.mark.slow
def test_perceptual_loss_equals_the_formula(vgg):
    sr, target = pair((2, 3, 16, 20), seed=3)
    a, b = vgg_formula(vgg, sr), vgg_formula(vgg, target)
    weights = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
    assert dict(losses.PERCEPTUAL_WEIGHTS) == weights
    wanted = sum(weight * (a[layer] - b[layer]).abs().mean() for layer, weight in weights.items())
    # Means of float32 features, see above.
    assert losses.perceptual(vgg, sr, target).item() == pytest.approx(wanted.item(), rel=1e-5)
    chosen = {"conv3_4": 0.5, "conv1_2": 2.0}
    wanted = sum(weight * (a[layer] - b[layer]).abs().mean() for layer, weight in chosen.items())
    assert losses.perceptual(vgg, sr, target, chosen).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert losses.perceptual(vgg, sr, sr).item() == 0


def test_perceptual_gradient_flows_into_sr_alone(vgg):
    sr, target = (image.requires_grad_() for image in pair((1, 3, 16, 16)))
    losses.perceptual(vgg, sr, target).backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert target.grad is None
    assert all(parameter.grad is None for parameter in vgg.parameters())


def test_only_the_layers_needed_are_built():
    net = VGG19Features(("conv2_1",))
    assert set(net.features) == {"0", "2", "5"}
    assert set(LAYERS) >= set(losses.PERCEPTUAL_WEIGHTS)
    sr, target = pair((1, 3, 8, 8))
    with pytest.raises(ConfigError, match=re.escape("perceptual: layer must be one of conv2_1, got 'conv5_4'")):
        losses.perceptual(net, sr, target, {"conv5_4": 1.0})
    with pytest.raises(ConfigError, match="perceptual: sr must have target's shape"):
        losses.perceptual(net, sr, target[..., :4], {"conv2_1": 1.0})


# MS-SSIM, frequencies, artifacts, context.


def test_ms_ssim_equals_its_formula():
    sr, target = pair((1, 1, 176, 177))
    # Alike enough that the coarse scales agree.
    sr = target * 0.8 + 0.2 * sr
    x, y = (image[0, 0].double().numpy() for image in (sr, target))
    offset = np.arange(11) - 5
    window = np.exp(-(offset**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values):
        """Of every whole window, rows before columns."""
        for _ in range(2):
            values = sum(w * values[k : values.shape[0] - 10 + k] for k, w in enumerate(window)).T
        return values

    wanted = 1.0
    for place, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        a, b = x, y
        mean_a, mean_b = mean(a), mean(b)
        covariance = mean(a * b) - mean_a * mean_b
        spread = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
        structure = (2 * covariance + 0.03**2) / (spread + 0.03**2)
        luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        wanted *= ((luminance if place == 4 else 1.0) * structure).mean() ** weight
        x, y = ((i[:-1:2, :-1:2] + i[1::2, :-1:2] + i[:-1:2, 1::2] + i[1::2, 1::2]) / 4 for i in
                (image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2] for image in (x, y)))  # fmt: skip
    # Float32 differences of means near each other, a hundred terms each.
    assert losses.ms_ssim(sr, target).item() == pytest.approx(1 - wanted, rel=1e-3, abs=1e-5)
    assert losses.ms_ssim(target, target).item() == pytest.approx(0, abs=1e-6)
    against = (1 - target).requires_grad_()
    losses.ms_ssim(against, target).backward()
    assert torch.isfinite(against.grad).all()
    with pytest.raises(ConfigError, match="ms_ssim: sides must be at least 176 px, got 177x175"):
        losses.ms_ssim(sr[:, :, :175], target[:, :, :175])


def test_focal_frequency_equals_its_formula():
    sr, target = pair((2, 2, 4, 6))
    total = 0.0
    for image in range(2):
        for channel in range(2):
            d = (sr - target)[image, channel].double().numpy()
            rows, columns = np.arange(4), np.arange(6)
            spectrum = [
                [
                    (d * np.exp(-2j * np.pi * (u * rows[:, None] / 4 + v * columns[None] / 6))).sum() / math.sqrt(24)
                    for v in columns
                ]
                for u in rows
            ]
            size = np.abs(spectrum)
            total += (size / size.max() * size**2).sum()
    assert losses.focal_frequency(sr, target).item() == pytest.approx(total / sr.numel(), rel=1e-5)
    same = target.clone().requires_grad_()
    loss = losses.focal_frequency(same, target)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(same.grad, torch.zeros_like(same))


def test_ldl_equals_its_formula():
    sr, target = pair((2, 3, 6, 9))
    difference = (sr.double() - target.double()).abs().numpy()
    residual = difference.sum(1)
    total = 0.0
    for image in range(2):
        padded = np.pad(residual[image], 3, mode="reflect")
        for y in range(6):
            for x in range(9):
                local = padded[y : y + 7, x : x + 7].var(ddof=1)
                total += residual[image].var(ddof=1) ** 0.2 * local * difference[image, :, y, x].sum()
    assert losses.ldl(sr, target).item() == pytest.approx(total / sr.numel(), rel=1e-4)
    same = target.clone().requires_grad_()
    losses.ldl(same, target).backward()
    assert torch.isfinite(same.grad).all()
    with pytest.raises(ConfigError, match="ldl: sides must be at least 4 px, got 9x3"):
        losses.ldl(sr[:, :, :3], target[:, :, :3])


def test_contextual_loss_equals_its_formula():
    net = small_vgg(("conv1_2", "conv2_1"))
    sr, target = pair((2, 3, 6, 8), seed=4)
    a, b = vgg_formula(net, sr), vgg_formula(net, target)
    wanted = 0.0
    for layer, weight in (("conv1_2", 0.5), ("conv2_1", 2.0)):
        for image in range(2):
            x, y = (features[layer][image].flatten(1).T.numpy() for features in (a, b))
            x, y = x - y.mean(0), y - y.mean(0)
            x, y = (v / np.sqrt((v**2).sum(1, keepdims=True)) for v in (x, y))
            d = 1 - x @ y.T
            w = np.exp((1 - d / (d.min(1, keepdims=True) + 1e-5)) / 0.5)
            wanted += weight * -math.log((w / w.sum(1, keepdims=True)).max(0).mean()) / 2
    found = losses.contextual(net, sr, target, {"conv1_2": 0.5, "conv2_1": 2.0})
    # A distance of float32 features, divided by the smallest of its row.
    assert found.item() == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(ConfigError, match="contextual: bandwidth must be above 0, got 0"):
        losses.contextual(net, sr, target, {"conv1_2": 1.0}, 0)
    with pytest.raises(
        ConfigError, match=re.escape("contextual: layer must be one of conv1_2, conv2_1, got 'conv3_2'")
    ):
        losses.contextual(net, sr, target)


def test_terms_that_are_wished_for_are_added_with_their_weights():
    from pytrain.methods.parts import PixelOptions, further_terms

    sr, target = pair((1, 3, 8, 8))
    assert further_terms(PixelOptions(), sr, target) == {}
    found = further_terms(PixelOptions(frequency_weight=2.0, ldl_weight=0.5), sr, target)
    assert torch.equal(found["frequency"], 2 * losses.focal_frequency(sr, target))
    assert torch.equal(found["ldl"], 0.5 * losses.ldl(sr, target))
    assert len(found) == 2


# GAN losses.

LOGITS = [-30.0, -2.0, -1.0, -0.5, 0.0, 0.3, 1.0, 2.5, 40.0]


def log1pexp(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@pytest.mark.parametrize(
    ("kind", "generator", "real", "fake"),
    [
        ("vanilla", lambda x: log1pexp(-x), lambda x: log1pexp(-x), log1pexp),
        ("lsgan", lambda x: (x - 1) ** 2, lambda x: (x - 1) ** 2, lambda x: x * x),
        ("hinge", lambda x: -x, lambda x: max(0.0, 1 - x), lambda x: max(0.0, 1 + x)),
    ],
)
def test_gan_losses_equal_their_formulas(kind, generator, real, fake):
    logits = torch.tensor(LOGITS).view(1, 1, 3, 3)

    def mean(formula):
        return sum(map(formula, LOGITS)) / len(LOGITS)

    assert losses.gan_generator(logits, kind).item() == pytest.approx(mean(generator), rel=1e-6)
    assert losses.gan_real(logits, kind).item() == pytest.approx(mean(real), rel=1e-6)
    assert losses.gan_fake(logits, kind).item() == pytest.approx(mean(fake), rel=1e-6)
    assert losses.gan_fake(logits.bfloat16(), kind).dtype == torch.float32


def test_vanilla_is_cross_entropy_of_torch():
    logits = torch.tensor(LOGITS)
    for loss, label in ((losses.gan_real, 1.0), (losses.gan_fake, 0.0), (losses.gan_generator, 1.0)):
        wanted = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
        torch.testing.assert_close(loss(logits), wanted, **CLOSE)


@pytest.mark.parametrize("kind", losses.GAN_KINDS)
def test_gan_gradients_point_the_right_way(kind):
    for loss, sign in ((losses.gan_generator, -1), (losses.gan_real, -1), (losses.gan_fake, 1)):
        logit = torch.tensor([0.4], requires_grad=True)
        loss(logit, kind).backward()
        assert math.copysign(1, logit.grad.item()) == sign


def test_unknown_gan_kind_is_named():
    for loss in (losses.gan_generator, losses.gan_real, losses.gan_fake):
        with pytest.raises(ConfigError, match="gan: kind must be one of vanilla, lsgan, hinge, got 'wgan'"):
            loss(torch.zeros(1), "wgan")


# The contrastive loss.


def unit_tokens(tokens):
    tokens = tokens.double().numpy()
    return tokens / np.sqrt((tokens**2).sum(-1, keepdims=True))


def contrastive_paper(tokens, temperature):
    """Equations 4 and 5, one term after the other."""
    f = unit_tokens(tokens)
    num_images, num_tokens = f.shape[:2]
    total = 0.0
    for j in range(num_images):
        for i1 in range(num_tokens):
            for i2 in range(num_tokens):
                others = [np.exp(f[j, i1] @ f[k, i2] / temperature) for k in range(num_images) if k != j]
                total -= np.log(np.exp(f[j, i1] @ f[j, i2] / temperature) / sum(others))
    return total / (num_images * num_tokens**2)


def contrastive_released(tokens, temperature):
    f = unit_tokens(tokens)
    places = [(j, i) for j in range(f.shape[0]) for i in range(f.shape[1])]
    total = 0.0
    for j, i in places:
        everyone_else = sum(np.exp(f[j, i] @ f[k] / temperature) for k in places if k != (j, i))
        positives = [k for k in places if k[0] == j and k != (j, i)]
        terms = [f[j, i] @ f[k] / temperature - np.log(everyone_else) for k in positives]
        total -= sum(terms) / len(positives)
    return total / len(places)


@pytest.mark.parametrize("shape", [(2, 2, 3), (3, 4, 5), (4, 1, 2), (2, 5, 7)])
def test_contrastive_equals_its_formulas(shape):
    tokens = torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 3
    assert losses.contrastive(tokens).item() == pytest.approx(contrastive_paper(tokens, 1.0), rel=1e-5, abs=1e-6)
    found = losses.contrastive(tokens, "paper", 0.2).item()
    assert found == pytest.approx(contrastive_paper(tokens, 0.2), rel=1e-5, abs=1e-6)
    if shape[1] > 1:
        for temperature in (None, 0.5):
            found = losses.contrastive(tokens, "released", temperature).item()
            assert found == pytest.approx(contrastive_released(tokens, temperature or 0.07), rel=1e-5, abs=1e-5)


def test_contrastive_known_answer_and_gradient():
    # Each image has one direction of its own: cosine 1 within, 0 across. -log(e / (B - 1)).
    tokens = torch.eye(4)[:, None, :].expand(4, 3, 4).clone().requires_grad_()
    loss = losses.contrastive(tokens)
    assert loss.item() == pytest.approx(-1 + math.log(3), rel=1e-6)
    assert losses.contrastive(tokens.bfloat16()).dtype == torch.float32
    for kind in ("paper", "released"):
        pair = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        step = pair.clone().requires_grad_()
        losses.contrastive(step, kind).backward()
        # Downhill is downhill: a small step along the negative gradient lowers the loss.
        lower = losses.contrastive(pair - 1e-2 * step.grad, kind)
        assert lower < losses.contrastive(pair, kind)


def test_contrastive_refuses_what_has_no_negatives():
    for shape, kind, message in (
        ((1, 4, 3), "paper", "contrastive: tokens must be [B, N, E] with at least 2 images, got (1, 4, 3)"),
        ((2, 1, 3), "released", "with at least 2 images and 2 tokens, got (2, 1, 3)"),
        ((2, 3), "paper", "contrastive: tokens must be [B, N, E]"),
        ((2, 2, 3), "simclr", "contrastive: kind must be one of paper, released, got 'simclr'"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            losses.contrastive(torch.ones(shape), kind)
    with pytest.raises(ConfigError, match="contrastive: temperature must be above 0, got 0"):
        losses.contrastive(torch.ones(2, 2, 3), "paper", 0)
