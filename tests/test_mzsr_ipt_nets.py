"""MZSR's and IPT's networks: sizes and keys of the releases, formulas in float64, IPT on whole images."""

import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pydegrade
from pytrain import nets
from pytrain.errors import CheckpointError, ConfigError
from pytrain.evaluation import infer, patches
from pytrain.files import checkpoint
from pytrain.nets import IPTConfig, MZSRConfig, build, detect, num_parameters

# E = 4 * 2^2 = 16, 12 x 12 px, 36 tokens.
TINY = IPTConfig(
    tasks=("sr-x2", "sr-x3", "task-2"), scales=(2, 3, 1), num_features=12, patch_px=12, token_px=2, num_layers=2
)


def random(*shape, seed=1, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def randomised(net, seed=7):
    """Every parameter at a size where it matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            spread = 1 / math.sqrt(parameter[0].numel()) if parameter.ndim > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return net.eval()


def on_meta(config):
    with torch.device("meta"):
        return build(config)


# MZSR.


def test_mzsr_has_the_released_size():
    net = on_meta(MZSRConfig())
    assert num_parameters(net) == 225_091
    assert set(net.state_dict()) == {f"conv{n}.{kind}" for n in range(1, 9) for kind in ("weight", "bias")}
    assert detect(net.state_dict()) == MZSRConfig()
    small = MZSRConfig(num_features=6, num_layers=3)
    assert detect(build(small).state_dict()) == small


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_mzsr_refines_matlabs_enlargement(scale):
    net = randomised(build(MZSRConfig(scale, 6, 3)))
    lr = random(2, 3, 5, 7, dtype=torch.float32)
    base = torch.stack([torch.from_numpy(pydegrade.imresize(image.numpy().transpose(1, 2, 0), scale)) for image in lr])
    base = base.permute(0, 3, 1, 2).double()
    s = {key: value.double() for key, value in net.state_dict().items()}
    f = base
    for n in (1, 2):
        f = F.conv2d(f, s[f"conv{n}.weight"], s[f"conv{n}.bias"], padding=1).clamp(min=0)
    wanted = base + F.conv2d(f, s["conv3.weight"], s["conv3.bias"], padding=1)
    with torch.no_grad():
        out = net(lr)
        # Float32 through a resize and three convolutions of values near 1.
        torch.testing.assert_close(out.double(), wanted, rtol=1e-5, atol=1e-5)
        assert torch.equal(net(nets.mzsr.enlarge(lr, scale), enlarged=True), out)
    assert out.shape == (2, 3, 5 * scale, 7 * scale)


def test_mzsr_initialisation_is_the_releases():
    torch.manual_seed(0)
    net = build(MZSRConfig())
    weight = net.get_submodule("conv4").weight
    std = 1 / math.sqrt(9 * 64)
    assert weight.abs().max() <= 2 * std
    # A normal cut at two deviations has 0.8796 of its deviation; 36,864 draws know it to 0.4 %.
    assert weight.std().item() == pytest.approx(0.8796 * std, rel=0.02)
    assert all(not net.get_submodule(f"conv{n}").bias.any() for n in range(1, 9))
    zero = build(MZSRConfig(zero_last=True))
    lr = random(1, 3, 6, 5, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(zero(lr), nets.mzsr.enlarge(lr, 2))
        assert not torch.equal(net(lr), nets.mzsr.enlarge(lr, 2))


def test_mzsr_works_in_functional_inner_steps():
    """Two gradient steps kept in the graph, as meta-learning needs them; against a finite difference."""
    net = randomised(build(MZSRConfig(2, 2, 2))).double()
    son, lr = random(1, 3, 5, 5), random(1, 3, 5, 5, seed=2)
    start = {key: value.detach() for key, value in net.named_parameters()}

    def after_two_steps(first):
        parameters = {**start, "conv1.weight": first}
        for _ in range(2):
            parameters = {key: value.requires_grad_() if value.is_leaf else value for key, value in parameters.items()}
            out = torch.func.functional_call(net, parameters, (son,), {"enlarged": True})
            gradients = torch.autograd.grad((out - lr).square().mean(), parameters.values(), create_graph=True)
            parameters = {key: value - 0.01 * gradient for (key, value), gradient in zip(parameters.items(), gradients)}
        out = torch.func.functional_call(net, parameters, (son,), {"enlarged": True})
        return (out - lr).square().mean()

    first = start["conv1.weight"].clone().requires_grad_()
    assert torch.autograd.gradcheck(after_two_steps, (first,), eps=1e-6, atol=1e-6)


# IPT.


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (IPTConfig(), 115_460_419),
        (IPTConfig(("sr-x3",), (3,)), 115_645_059),
        (IPTConfig(("sr-x4",), (4,)), 115_608_131),
        (IPTConfig(("task-0",), (1,)), 115_312_707),
        (IPTConfig.all_tasks(), 118_892_370),
    ],
    ids=["x2", "x3", "x4", "x1", "all"],
)
def test_ipt_has_the_published_sizes(config, count):
    net = on_meta(config)
    assert num_parameters(net) == count
    found = detect(net.state_dict())
    assert (found.scales, found.num_layers, found.patch_px, found.token_px) == (config.scales, 12, 48, 3)
    if len(config.tasks) == 1:
        assert found == config


def test_ipt_files_have_the_released_keys():
    config = IPTConfig()
    published = nets.published(config, on_meta(config).state_dict())

    def pair(*names):
        return {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}

    keys = pair("sub_mean", "add_mean", "head.0.0", "tail.0.0.0", "tail.0.1")
    keys |= pair(*(f"head.0.{block}.body.{place}" for block in (1, 2) for place in (0, 2)))
    keys |= pair("body.linear_encoding", "body.mlp_head.0", "body.mlp_head.3")
    keys |= {"body.query_embed.weight", "body.position_encoding.pe.weight", "body.position_encoding.position_ids"}
    for layer in range(12):
        stems = (f"body.encoder.layers.{layer}", f"body.decoder.layers.{layer}")
        keys |= pair(*(f"{stem}.{part}" for stem in stems for part in ("linear1", "linear2", "norm1", "norm2")))
        keys |= pair(f"{stems[1]}.norm3")
        for attention in (f"{stems[0]}.self_attn", f"{stems[1]}.self_attn", f"{stems[1]}.multihead_attn"):
            keys |= {f"{attention}.in_proj_weight", f"{attention}.out_proj.weight"}
    assert set(published) == keys
    assert published["body.position_encoding.position_ids"].shape == (1, 256)
    assert detect(published) == config
    assert set(nets.canonical(config, published)) == set(on_meta(config).state_dict())


def layer_norm(s, name, x):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * s[f"{name}.weight"] + s[f"{name}.bias"]


def linear(s, name, x):
    return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]


def attention_formula(s, name, query, key, value, heads):
    """[N, E] each; one head after the other."""
    dim = query.shape[1]
    q, k, v = (x @ s[f"{name}.in_proj_weight"][n * dim : (n + 1) * dim].T for n, x in enumerate((query, key, value)))
    parts = []
    for head in range(heads):
        part = slice(head * dim // heads, (head + 1) * dim // heads)
        parts.append(torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(dim // heads), 1) @ v[:, part])
    return torch.cat(parts, 1) @ s[f"{name}.out_proj.weight"].T


def ipt_formula(s, image, task, config):
    """One image [3, P, P], cells cut and joined by index."""

    def conv(name, x, padding=1):
        return F.conv2d(x, s[f"{name}.weight"], s[f"{name}.bias"], padding=padding)

    mean = s["add_mean.bias"].view(1, 3, 1, 1)
    f = conv(f"head.{task}.0", 255 * image[None] - mean)
    for block in (1, 2):
        stem = f"head.{task}.{block}.body"
        f = f + conv(f"{stem}.2", conv(f"{stem}.0", f, 2).clamp(min=0), 2)
    p, side = config.token_px, config.patch_px // config.token_px
    cells = [f[0, :, y * p : y * p + p, x * p : x * p + p].flatten() for y in range(side) for x in range(side)]
    t = torch.stack(cells)
    t = t + linear(s, "body.linear_encoding", t) + s["body.position_encoding.pe.weight"]
    for layer in range(config.num_layers):
        stem = f"body.encoder.layers.{layer}"
        n = layer_norm(s, f"{stem}.norm1", t)
        t = t + attention_formula(s, f"{stem}.self_attn", n, n, n, config.num_heads)
        t = t + linear(s, f"{stem}.linear2", linear(s, f"{stem}.linear1", layer_norm(s, f"{stem}.norm2", t)).clamp(0))
    memory, query = t, s["body.query_embed.weight"][task].view(side * side, -1)
    for layer in range(config.num_layers):
        stem = f"body.decoder.layers.{layer}"
        n = layer_norm(s, f"{stem}.norm1", t)
        t = t + attention_formula(s, f"{stem}.self_attn", n + query, n + query, n, config.num_heads)
        n = layer_norm(s, f"{stem}.norm2", t)
        t = t + attention_formula(s, f"{stem}.multihead_attn", n + query, memory, memory, config.num_heads)
        t = t + linear(s, f"{stem}.linear2", linear(s, f"{stem}.linear1", layer_norm(s, f"{stem}.norm3", t)).clamp(0))
    t = t + linear(s, "body.mlp_head.3", linear(s, "body.mlp_head.0", t).clamp(0))
    body = torch.zeros_like(f)
    for number, cell in enumerate(t):
        y, x = number // side * p, number % side * p
        body[0, :, y : y + p, x : x + p] = cell.view(-1, p, p)
    f = f + body
    for n, factor in enumerate({1: (), 2: (2,), 3: (3,)}[config.scales[task]]):
        f = F.pixel_shuffle(conv(f"tail.{task}.0.{2 * n}", f), factor)
    return (conv(f"tail.{task}.1", f) + mean)[0] / 255, t


@pytest.mark.parametrize("task", [0, 1, 2])
def test_ipt_equals_the_formula(task):
    net = randomised(build(TINY)).double()
    x = random(2, 3, 12, 12)
    with torch.no_grad():
        out, tokens = net(x, TINY.tasks[task], with_tokens=True)
        assert torch.equal(net(x, task), out)
        assert torch.equal(net.one_task(task)(x), out)
    assert net.one_task(task).scale == TINY.scales[task]
    for row in range(2):
        wanted, wanted_tokens = ipt_formula(net.state_dict(), x[row], task, TINY)
        # Float64 on both sides; values reach a few hundred.
        torch.testing.assert_close(out[row], wanted, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(tokens[row], wanted_tokens, rtol=1e-9, atol=1e-9)


def test_only_the_task_at_hand_gets_gradients():
    net = build(TINY)
    net(random(2, 3, 12, 12, dtype=torch.float32), "sr-x3").square().sum().backward()
    for name, parameter in net.named_parameters():
        parts = name.split(".")
        other = parts[0] in ("head", "tail") and parts[1] != "1"
        assert (parameter.grad is None) == other, name
    queries = net.body.query_embed.weight.grad
    assert queries[1].abs().sum() > 0
    assert not queries[[0, 2]].any()


def test_other_sizes_only_on_request():
    net = randomised(build(TINY))
    with torch.no_grad():
        assert net(random(1, 3, 8, 16, dtype=torch.float32), 1, interpolate=True).shape == (1, 3, 24, 48)
        same = random(1, 3, 12, 12, dtype=torch.float32)
        assert torch.equal(net(same, 1, interpolate=True), net(same, 1))
        with pytest.raises(
            ConfigError, match=re.escape("ipt: input must be 12x12 px, got 8x16; use pytrain.evaluation.patches")
        ):
            net(random(1, 3, 8, 16, dtype=torch.float32))
        with pytest.raises(ConfigError, match=re.escape("ipt: sides must be multiples of 2 px, got 9x16")):
            net(random(1, 3, 9, 16, dtype=torch.float32), interpolate=True)


def test_unknown_tasks_and_other_heads_are_named(tmp_path):
    net = build(TINY)
    x = random(1, 3, 12, 12, dtype=torch.float32)
    with pytest.raises(ConfigError, match=re.escape("ipt: task must be one of sr-x2, sr-x3, task-2, got 'sr-x5'")):
        net(x, "sr-x5")
    with pytest.raises(ConfigError, match=re.escape("ipt: task must be in 0..2 (sr-x2, sr-x3, task-2), got 3")):
        net.one_task(3)
    path = tmp_path / "ipt.pth"
    checkpoint.save_model(path, TINY, net)
    loaded = checkpoint.load_model(path)
    assert loaded.config == TINY
    with torch.no_grad():
        assert torch.equal(loaded.net(x, 1), net.eval()(x, 1))
    other = IPTConfig(("sr-x2", "sr-x4"), (2, 4), 12, 12, 2, 12, 2)
    with pytest.raises(CheckpointError, match=r"does not fit ipt x2 .*tasks .*scales \(2, 3, 1\), not \(2, 4\)"):
        checkpoint.load_into(build(other), other, path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tasks": ["a", "b"]}, "net.scales must have 2 entries like tasks, got [2]"),
        ({"tasks": ["a", "a"], "scales": [1, 1]}, "net.tasks must be different names, at least one, got ['a', 'a']"),
        ({"scales": [5]}, "net.scales[0] must be one of 1, 2, 3 or 4, got 5"),
        ({"patch_px": 50}, "net.patch_px must be a multiple of token_px 3, got 50"),
        ({"num_heads": 7}, "net.num_heads must divide num_features * token_px^2 = 576, got 7"),
    ],
)
def test_bad_ipt_sizes_are_one_clear_line(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        nets.config_from_dict({"type": "ipt", **values})
    with pytest.raises(ConfigError, match=re.escape("net.num_layers must be >= 2, got 1")):
        MZSRConfig(num_layers=1)


# IPT on whole images.


class Stamp(nn.Module):
    """A network whose output says where in its patch a pixel was: nearest enlargement, times and plus fixed fields."""

    def __init__(self, patch_px, scale):
        super().__init__()
        self.patch_px, self.scale = patch_px, scale
        self.factor = nn.Parameter(random(3, patch_px * scale, patch_px * scale, seed=3, dtype=torch.float32))
        self.offset = nn.Parameter(random(3, patch_px * scale, patch_px * scale, seed=4, dtype=torch.float32))
        self.calls = 0

    def forward(self, x):
        assert x.shape[-2:] == (self.patch_px, self.patch_px)
        self.calls += len(x)
        return x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3) * self.factor + self.offset


def strip(net, image, axis):
    """The release's rule along one side of a strip one patch wide: [3, P, n] (axis 2) or [3, n, P] (axis 1)."""
    p, s = net.patch_px, net.scale
    q = p // 4
    size = image.shape[axis] - (image.shape[axis] - p) % q
    shape = list(image.shape)
    shape[axis] = size
    total, count = torch.zeros(3, shape[1] * s, shape[2] * s), torch.zeros(size * s)
    for begin in range(0, size - p + 1, q):
        out = net(image.narrow(axis, begin, p)[None])[0]
        if begin == 0:
            first = out
        total.narrow(axis, (begin + q) * s, 2 * q * s).add_(out.narrow(axis, q * s, 2 * q * s))
        count[(begin + q) * s : (begin + 3 * q) * s] += 1
    total /= count.clamp(min=1).view((1, -1, 1) if axis == 1 else (1, 1, -1))
    total.narrow(axis, 0, q * s).copy_(first.narrow(axis, 0, q * s))
    total.narrow(axis, (size - q) * s, q * s).copy_(out.narrow(axis, 3 * q * s, q * s))
    return total


def released_rule(net, image):
    """What the release does, step by step: interior, strips at four edges, one corner, glued together."""
    image = image[0]
    p, s = net.patch_px, net.scale
    q = p // 4
    height, width = image.shape[-2:]
    cut_y, cut_x = (height - p) % q, (width - p) % q
    whole_y, whole_x = height - cut_y, width - cut_x

    inner, count = torch.zeros(3, whole_y * s, whole_x * s), torch.zeros(whole_y * s, whole_x * s)
    for top in range(0, whole_y - p + 1, q):
        for left in range(0, whole_x - p + 1, q):
            out = net(image[None, :, top : top + p, left : left + p])[0]
            rows, columns = slice((top + q) * s, (top + 3 * q) * s), slice((left + q) * s, (left + 3 * q) * s)
            inner[:, rows, columns] += out[:, q * s : 3 * q * s, q * s : 3 * q * s]
            count[rows, columns] += 1
    y = torch.full_like(inner, torch.nan)
    y[:, : p * s] = strip(net, image[:, :p], 2)
    y[:, :, : p * s] = strip(net, image[:, :, :p], 1)
    rows, columns = slice(q * s, (whole_y - q) * s), slice(q * s, (whole_x - q) * s)
    y[:, rows, columns] = inner[:, rows, columns] / count[rows, columns]

    # Half of what the last strip shares with the rest is cut from each: rounded down here, up there.
    short_y, long_y = (p - cut_y) * s // 2, -(-(p - cut_y) * s // 2)
    short_x, long_x = (p - cut_x) * s // 2, -(-(p - cut_x) * s // 2)
    bottom = strip(net, image[:, -p:], 2)
    right = strip(net, image[:, :, -p:], 1)
    corner = net(image[None, :, -p:, -p:])[0]
    y = torch.cat([y[:, : y.shape[1] - short_y], bottom[:, long_y:]], 1)
    right = torch.cat([right[:, : right.shape[1] - short_y], corner[:, long_y:]], 1)
    return torch.cat([y[:, :, : y.shape[2] - short_x], right[:, :, long_x:]], 2)[None]


@pytest.mark.representatives(1)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_patches_equal_the_released_rule(scale):
    net = Stamp(12, scale)
    # All sizes from one patch to beyond two, so every remainder of the stride 3 and every place where strips meet, odd cuts
    # that split a pixel of scale 1 or 3 included; and some of many patches.
    sizes = [*itertools.product(range(12, 19), range(12, 26)), (15, 27), (28, 15), (28, 17), (40, 31)]
    for height, width in sizes:
        image = random(1, 3, height, width, dtype=torch.float32)
        with torch.no_grad():
            net.calls = 0
            wanted = released_rule(net, image)
            released_calls, net.calls = net.calls, 0
            for batch_size in (1, 5, 64) if height < 14 else (64,):
                found = patches.upscale_patches(net, image, batch_size=batch_size)
                # Up to four float32 values below 2, averaged at once or one after the other.
                torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
            assert net.calls < 3 * released_calls


def test_weights_sum_to_one_at_every_stride():
    for size in range(12, 40):
        for stride in range(1, 7):
            for scale in (1, 2, 3):
                begins, weights = patches.patch_weights(size, 12, stride, scale)
                assert weights.shape == (len(begins), size * scale)
                torch.testing.assert_close(weights.sum(0), torch.ones(size * scale), rtol=0, atol=1e-6)
                for begin, weight in zip(begins, weights):
                    outside = torch.cat([weight[: begin * scale], weight[(begin + 12) * scale :]])
                    assert 0 <= begin <= size - 12
                    assert not outside.any()


def test_a_pixelwise_network_is_unchanged_at_every_stride():
    net = Stamp(12, 2)
    with torch.no_grad():
        net.factor.fill_(0.5)
        net.offset.fill_(0.25)
        image = random(1, 3, 29, 22, dtype=torch.float32)
        wanted = image.repeat_interleave(2, 2).repeat_interleave(2, 3) * 0.5 + 0.25
        calls = {}
        for stride in (None, 1, 4, 6):
            net.calls = 0
            torch.testing.assert_close(patches.upscale_patches(net, image, stride), wanted, rtol=0, atol=1e-6)
            calls[stride] = net.calls
    assert calls[6] < calls[None] / 2


def test_infer_runs_ipt_in_patches():
    net = randomised(build(TINY))
    image = random(1, 3, 17, 14, dtype=torch.float32)
    seen = []
    out = infer.upscale(net.one_task("sr-x3"), image, progress=lambda done, total: seen.append((done, total)))
    assert out.shape == (1, 3, 51, 42)
    assert torch.equal(out, patches.upscale_patches(net.one_task(1), image))
    assert seen[-1][0] == seen[-1][1] == 6
    with torch.no_grad():
        assert torch.equal(infer.upscale(net, image[..., :12, :12]), net(image[..., :12, :12]))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 3, 11, 40), {}, "upscale: image must be at least 12x12 px, the network's patch, got 11x40"),
        ((1, 3, 20, 20), {"stride_px": 7}, "upscale: stride_px must be in 1..6 for patches of 12, got 7"),
        ((1, 3, 20, 20), {"batch_size": 0}, "upscale: batch_size must be at least 1, got 0"),
        ((2, 3, 20, 20), {}, "upscale: image must be float [1, C, H, W], got torch.float32 (2, 3, 20, 20)"),
    ],
)
def test_bad_patches_are_one_clear_line(shape, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        patches.upscale_patches(Stamp(12, 2), torch.zeros(shape), **options)
