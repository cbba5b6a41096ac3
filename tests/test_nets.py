"""Networks: parameter counts, public key names, sizes, formulas in float64, other spellings, spandrel."""

import math
import re
import sys

import pytest
import torch
import torch.nn.functional as F

from pytrain import nets
from pytrain.errors import CheckpointError, ConfigError
from pytrain.files import checkpoint
from pytrain.nets import (
    EDSRConfig,
    HATConfig,
    RCANConfig,
    RealPLKSRConfig,
    RRDBNetConfig,
    SPANConfig,
    SpandrelConfig,
    SRResNetConfig,
    SRVGGConfig,
    SwinIRConfig,
    UNetDiscriminatorConfig,
    build,
    detect,
    num_parameters,
    swinir,
    vgg,
)
from pytrain.nets.parts import conv3x3, conv_shuffle

from . import small_nets

# Two layers of everything: as many code paths as the published sizes, in milliseconds.
SMALL = [
    *(SRResNetConfig(scale, 8, 2) for scale in (1, 2, 3, 4)),
    *(EDSRConfig(scale, 8, 2, residual_scale=1.0) for scale in (2, 3, 4, 8)),
    *(RCANConfig(scale, 16, 2, 2) for scale in (2, 3, 4)),
    RCANConfig(2, 16, 1, 1, value_range=1.0, subtract_mean=False),
    *(RRDBNetConfig(scale, 8, 2, 4) for scale in (1, 2, 4, 8)),
    *(RRDBNetConfig(scale, 8, 1, 4, unshuffle=False) for scale in (1, 2)),
    *(SRVGGConfig(scale, 8, 2) for scale in (1, 2, 3, 4)),
    *(SwinIRConfig(scale, 12, (2, 3), (2, 3)) for scale in (2, 3, 4)),
    SwinIRConfig(4, 12, (2, 2), (2, 3), window_px=4, upsampler="nearest+conv", residual_convs="3conv"),
    SwinIRConfig(2, 12, (2,), (2,), upsampler="nearest+conv", published_size_px=48),
    SwinIRConfig(3, 12, (2, 2), (2, 3), upsampler="pixelshuffledirect"),
    HATConfig(2, 12, (2, 3), (2, 3), window_px=4, overlap_px=2, compress_ratio=3, squeeze_factor=6),
    HATConfig(3, 12, (1,), (3,), window_px=4, overlap_px=0, compress_ratio=4, squeeze_factor=12, mlp_ratio=1.5),
    SPANConfig(2, 6),
    SPANConfig(3, 6, subtract_mean=False),
    RealPLKSRConfig(2, 8, 2, kernel_size_px=5, large_kernel_share=3 / 8),
    RealPLKSRConfig(4, 6, 1, kernel_size_px=5, large_kernel_share=2 / 6, norm="layer", upsampler="dysample"),
    RealPLKSRConfig(3, 8, 1, kernel_size_px=3, large_kernel_share=1.0, attention=False, upsampler="dysample"),
]


def label(config):
    return f"{config.type}-x{getattr(config, 'scale', 1)}"


def randomised(net):
    """Every parameter at a size where it matters (published initialisations leave biases and tables at zero)."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.ndim > 1 and "table" not in name:
                spread = 1 / math.sqrt(parameter[0].numel())
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
            else:
                parameter.copy_(1 - torch.rand(parameter.shape, generator=generator))
    return net.eval()


def on_meta(config):
    with torch.device("meta"):
        return build(config)


@pytest.mark.representatives(6)
# Counts that others published or that follow from the layers; SwinIR's are the sizes of the released files,
# SPAN's and RealPLKSR's those of spandrel's modules (SPAN's without the merged copies).
@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("config", "count"),
    [
        (SRResNetConfig(4), 1_517_571),
        (EDSRConfig(2), 1_369_859),
        (EDSRConfig(3), 1_554_499),
        (EDSRConfig(4), 1_517_571),
        (EDSRConfig.full(2), 40_729_603),
        (EDSRConfig.full(3), 43_680_003),
        (EDSRConfig.full(4), 43_089_923),
        (RCANConfig(2), 15_444_643),
        (RCANConfig(3), 15_629_283),
        (RCANConfig(4), 15_592_355),
        (RRDBNetConfig(4), 16_697_987),
        (RRDBNetConfig(2), 16_703_171),
        (RRDBNetConfig(4, num_blocks=6), 4_467_779),
        (SRVGGConfig(4), 1_213_296),
        (SRVGGConfig(4, num_convs=16), 621_424),
        (SwinIRConfig(4), 11_900_199),
        (SwinIRConfig(2), 11_752_487),
        (SwinIRConfig.lightweight(2), 910_152),
        (SwinIRConfig.lightweight(4), 929_628),
        (SwinIRConfig.real_world(4), 11_715_559),
        (SwinIRConfig.real_world_large(4), 28_013_059),
        (HATConfig(4), 20_772_507),
        (HATConfig.small(4), 9_621_183),
        (HATConfig.large(4), 40_846_575),
        (SPANConfig(4), 1_840_488),
        (RealPLKSRConfig(4), 7_389_680),
        (RealPLKSRConfig(4, upsampler="dysample"), 7_402_243),
        (UNetDiscriminatorConfig(), 4_376_897),
    ],
    ids=lambda value: label(value) if hasattr(value, "type") else str(value),
)
def test_published_parameter_counts(config, count):
    net = on_meta(config)
    assert num_parameters(net) == count
    assert detect(net.state_dict()) == config


def convs(*names):
    return {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}


def swinir_keys(groups, tail, after=("conv",), end=("conv_after_body",)):
    keys = convs("conv_first", "patch_embed.norm", "norm", *end, *tail)
    for group in range(groups):
        keys |= convs(*(f"layers.{group}.{name}" for name in after))
        for block in range(6):
            stem = f"layers.{group}.residual_group.blocks.{block}"
            inside = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
            keys |= convs(*(f"{stem}.{name}" for name in inside))
            keys |= {f"{stem}.attn.relative_position_bias_table", f"{stem}.attn.relative_position_index"}
            # Shifted blocks carry the mask of one size in the released files.
            keys |= {f"{stem}.attn_mask"} if block % 2 else set()
    return keys


HAT_BLOCK = (
    *("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2", "conv_block.cab.0", "conv_block.cab.2"),
    *("conv_block.cab.3.attention.1", "conv_block.cab.3.attention.3"),
)
PUBLIC_KEYS = {
    "srresnet": (
        SRResNetConfig(4),
        convs("conv_first", "upconv1", "upconv2", "conv_hr", "conv_last")
        | convs(*(f"body.{n}.conv{k}" for n in range(16) for k in (1, 2))),
    ),
    "edsr": (
        EDSRConfig(4),
        convs("conv_first", "conv_after_body", "upsample.0", "upsample.2", "conv_last")
        | convs(*(f"body.{n}.conv{k}" for n in range(16) for k in (1, 2))),
    ),
    "rcan": (
        RCANConfig(4),
        convs("sub_mean", "add_mean", "head.0", "body.10", "tail.0.0", "tail.0.2", "tail.1")
        | convs(*(f"body.{g}.body.20" for g in range(10)))
        | convs(
            *(
                f"body.{g}.body.{n}.body.{part}"
                for g in range(10)
                for n in range(20)
                for part in ("0", "2", "3.conv_du.0", "3.conv_du.2")
            )
        ),
    ),
    "rrdbnet": (
        RRDBNetConfig(4),
        convs("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
        | convs(*(f"body.{n}.rdb{r}.conv{k}" for n in range(23) for r in (1, 2, 3) for k in range(1, 6))),
    ),
    "srvgg": (
        SRVGGConfig(4),
        convs(*(f"body.{n}" for n in range(0, 67, 2))) | {f"body.{n}.weight" for n in range(1, 66, 2)},
    ),
    "swinir classical": (
        SwinIRConfig(4),
        swinir_keys(6, ("conv_before_upsample.0", "upsample.0", "upsample.2", "conv_last")),
    ),
    "swinir lightweight": (SwinIRConfig.lightweight(2), swinir_keys(4, ("upsample.0",))),
    "swinir large": (
        SwinIRConfig.real_world_large(4),
        swinir_keys(
            9,
            ("conv_before_upsample.0", "conv_up1", "conv_up2", "conv_hr", "conv_last"),
            ("conv.0", "conv.2", "conv.4"),
            ("conv_after_body.0", "conv_after_body.2", "conv_after_body.4"),
        ),
    ),
    "span": (
        SPANConfig(4, subtract_mean=False),
        convs("conv_cat", "upsampler.0")
        | {"no_norm"}
        | convs(
            *(
                f"{stem}.{part}"
                for stem in ("conv_1", "conv_2", *(f"block_{n}.c{k}_r" for n in range(1, 7) for k in (1, 2, 3)))
                for part in ("sk", "conv.0", "conv.1", "conv.2", "eval_conv")
            )
        ),
    ),
    "realplksr": (
        RealPLKSRConfig(4, upsampler="dysample"),
        convs("feats.0", "feats.30", "to_img.end_conv", "to_img.offset")
        | {"to_img.scope.weight", "to_img.init_pos"}
        | convs(
            *(
                f"feats.{n}.{part}"
                for n in range(1, 29)
                for part in ("channel_mixer.0", "channel_mixer.2", "lk.conv", "attn.f.0", "refine", "norm")
            )
        ),
    ),
    "hat": (
        HATConfig(4),
        convs("conv_first", "patch_embed.norm", "norm", "conv_after_body", "conv_before_upsample.0")
        | convs("upsample.0", "upsample.2", "conv_last", *(f"layers.{g}.conv" for g in range(6)))
        | {"relative_position_index_SA", "relative_position_index_OCA"}
        | {
            key
            for g in range(6)
            for group in [f"layers.{g}.residual_group"]
            for stem, names in [
                *((f"{group}.blocks.{b}", HAT_BLOCK) for b in range(6)),
                (f"{group}.overlap_attn", ("norm1", "qkv", "proj", "norm2", "mlp.fc1", "mlp.fc2")),
            ]
            for key in convs(*(f"{stem}.{name}" for name in names))
            | {f"{stem}{'.attn' if 'blocks' in stem else ''}.relative_position_bias_table"}
        },
    ),
    "unet_discriminator": (
        UNetDiscriminatorConfig(),
        convs("conv0", "conv9") | {f"conv{n}.weight_{k}" for n in range(1, 9) for k in ("orig", "u", "v")},
    ),
}


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", PUBLIC_KEYS)
def test_files_have_the_public_keys(name):
    config, expected = PUBLIC_KEYS[name]
    published = nets.published(config, on_meta(config).state_dict())
    assert set(published) == expected
    # And such a file comes back: detected, and every key has its place.
    own = on_meta(config).state_dict()
    restored = nets.canonical(detect(published), published)
    assert set(restored) == set(own)
    assert all(restored[key].shape == own[key].shape for key in own)


@pytest.mark.representatives(7)
@pytest.mark.parametrize("config", SMALL, ids=label)
def test_every_size_works_and_is_detected(config):
    net = randomised(build(config))
    assert net.scale == config.scale
    assert detect(nets.published(config, net.state_dict())) == config
    generator = torch.Generator().manual_seed(1)
    for height, width in ((1, 1), (2, 3), (5, 1), (7, 9), (16, 24), (17, 8)):
        image = torch.rand(2, 3, height, width, generator=generator)
        with torch.no_grad():
            out = net(image)
            assert out.shape == (2, 3, height * config.scale, width * config.scale)
            assert torch.isfinite(out).all()
            # A batch is only a list of images: the same numbers to rounding, which depends on the batch's blocking.
            # SPAN's six blocks multiply values of up to 255 by themselves, and roundings with them.
            atol = 1e-3 * out.abs().max().item() if config.type == "span" else 1e-5
            torch.testing.assert_close(net(image[1:]), out[1:], rtol=1e-4, atol=atol)


@pytest.mark.parametrize("config", SMALL, ids=label)
def test_every_parameter_gets_a_gradient(config):
    net = build(config)
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


# Formulas, in float64, from the state dict alone.


def conv(state, name, x, padding=1):
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)


def shuffled(state, name, x, factor):
    """Pixel shuffle by index arithmetic, not by torch's own."""
    x = conv(state, name, x)
    batch, channels, height, width = x.shape
    out = torch.zeros(batch, channels // factor**2, height * factor, width * factor, dtype=x.dtype)
    for y in range(factor):
        for z in range(factor):
            out[:, :, y::factor, z::factor] = x[:, y * factor + z :: factor**2]
    return out


def doubled(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def leaky(x, slope):
    return torch.where(x > 0, x, slope * x)


def srresnet_formula(s, x, config):
    f = leaky(conv(s, "conv_first", x), 0.1)
    for n in range(config.num_blocks):
        f = f + conv(s, f"body.{n}.conv2", conv(s, f"body.{n}.conv1", f).clamp(min=0))
    for n, factor in enumerate({1: (), 2: (2,), 3: (3,), 4: (2, 2)}[config.scale], 1):
        f = leaky(shuffled(s, f"upconv{n}", f, factor), 0.1)
    base = x if config.scale == 1 else F.interpolate(x, scale_factor=config.scale, mode="bilinear")
    return conv(s, "conv_last", leaky(conv(s, "conv_hr", f), 0.1)) + base


MEAN = torch.tensor([0.4488, 0.4371, 0.4040], dtype=torch.float64).view(1, 3, 1, 1)


def tail_formula(s, stem, f, scale):
    for n, factor in enumerate({2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}[scale]):
        f = shuffled(s, f"{stem}.{2 * n}", f, factor)
    return f


def edsr_formula(s, x, config):
    head = f = conv(s, "conv_first", 255 * (x - MEAN))
    for n in range(config.num_blocks):
        f = f + config.residual_scale * conv(s, f"body.{n}.conv2", conv(s, f"body.{n}.conv1", f).clamp(min=0))
    f = tail_formula(s, "upsample", conv(s, "conv_after_body", f) + head, config.scale)
    return conv(s, "conv_last", f) / 255 + MEAN


def rcan_formula(s, x, config):
    mean = MEAN if config.subtract_mean else 0 * MEAN
    head = f = conv(s, "head.0", config.value_range * (x - mean))
    for g in range(config.num_groups):
        group = f
        for n in range(config.num_blocks):
            stem = f"body.{g}.body.{n}.body"
            r = conv(s, f"{stem}.2", conv(s, f"{stem}.0", f).clamp(min=0))
            a = conv(s, f"{stem}.3.conv_du.0", r.mean((2, 3), keepdim=True), 0).clamp(min=0)
            f = f + r / (1 + torch.exp(-conv(s, f"{stem}.3.conv_du.2", a, 0)))
        f = group + conv(s, f"body.{g}.body.{config.num_blocks}", f)
    f = head + conv(s, f"body.{config.num_groups}", f)
    return conv(s, "tail.1", tail_formula(s, "tail.0", f, config.scale)) / config.value_range + mean


def rrdbnet_formula(s, x, config):
    u = config.unshuffle_factor
    cells = [x[:, c : c + 1, y::u, z::u] for c in range(3) for y in range(u) for z in range(u)]
    head = f = conv(s, "conv_first", torch.cat(cells, 1))
    for n in range(config.num_blocks):
        block = f
        for r in (1, 2, 3):
            seen = [f]
            for k in range(1, 5):
                seen.append(leaky(conv(s, f"body.{n}.rdb{r}.conv{k}", torch.cat(seen, 1)), 0.2))
            f = f + 0.2 * conv(s, f"body.{n}.rdb{r}.conv5", torch.cat(seen, 1))
        f = block + 0.2 * f
    f = head + conv(s, "conv_body", f)
    for n in range(1, int(math.log2(config.scale * u)) + 1):
        f = leaky(conv(s, f"conv_up{n}", doubled(f)), 0.2)
    return conv(s, "conv_last", leaky(conv(s, "conv_hr", f), 0.2))


def srvgg_formula(s, x, config):
    f = x
    for n in range(0, 2 * config.num_convs + 2, 2):
        f = conv(s, f"body.{n}", f)
        f = torch.where(f > 0, f, s[f"body.{n + 1}.weight"].view(1, -1, 1, 1) * f)
    base = x.repeat_interleave(config.scale, 2).repeat_interleave(config.scale, 3)
    return shuffled(s, f"body.{2 * config.num_convs + 2}", f, config.scale) + base


def layer_norm(s, name, x):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * s[f"{name}.weight"] + s[f"{name}.bias"]


def linear(s, name, x):
    return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]


def residual_conv_formula(s, name, x, config):
    if config.residual_convs == "1conv":
        return conv(s, name, x)
    return conv(s, f"{name}.4", leaky(conv(s, f"{name}.2", leaky(conv(s, f"{name}.0", x), 0.2), 0), 0.2))


def attention_formula(s, name, x, heads, window, shift):
    """[H, W, D]: every window by the coordinates of its pixels; those that wrapped around see only each other."""
    height, width, dim = x.shape
    out = torch.zeros_like(x)
    local_y, local_x = (grid.flatten() for grid in torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij"))
    bias_y, bias_x = local_y[:, None] - local_y[None], local_x[:, None] - local_x[None]
    rows = (bias_y + window - 1) * (2 * window - 1) + bias_x + window - 1
    bias = s[f"{name}.relative_position_bias_table"][rows]
    for top in range(shift, height + shift, window):
        for left in range(shift, width + shift, window):
            y, z = top + local_y, left + local_x
            wrapped = (y >= height).long() * 2 + (z >= width).long()
            apart = wrapped[:, None] != wrapped[None]
            qkv = linear(s, f"{name}.qkv", x[y % height, z % width]).view(-1, 3, heads, dim // heads)
            parts = []
            for head in range(heads):
                q, k, v = qkv[:, :, head].unbind(1)
                logits = q @ k.T / math.sqrt(dim // heads) + bias[..., head] - 100.0 * apart
                parts.append(torch.softmax(logits, 1) @ v)
            out[y % height, z % width] = linear(s, f"{name}.proj", torch.cat(parts, 1))
    return out


def swinir_formula(s, x, config):
    """One image, sides multiples of the window."""
    head = conv(s, "conv_first", x - MEAN)
    f = layer_norm(s, "patch_embed.norm", head[0].permute(1, 2, 0))
    for g, depth in enumerate(config.depths):
        group = f
        for n in range(depth):
            stem = f"layers.{g}.residual_group.blocks.{n}"
            shift = config.window_px // 2 if n % 2 else 0
            normed = layer_norm(s, f"{stem}.norm1", f)
            f = f + attention_formula(s, f"{stem}.attn", normed, config.num_heads[g], config.window_px, shift)
            hidden = linear(s, f"{stem}.mlp.fc1", layer_norm(s, f"{stem}.norm2", f))
            f = f + linear(s, f"{stem}.mlp.fc2", hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)
        f = group + residual_conv_formula(s, f"layers.{g}.conv", f.permute(2, 0, 1)[None], config)[0].permute(1, 2, 0)
    f = layer_norm(s, "norm", f).permute(2, 0, 1)[None]
    f = residual_conv_formula(s, "conv_after_body", f, config) + head
    if config.upsampler == "pixelshuffledirect":
        return shuffled(s, "upsample.0", f, config.scale) + MEAN
    f = leaky(conv(s, "conv_before_upsample.0", f), 0.01)
    if config.upsampler == "pixelshuffle":
        return conv(s, "conv_last", tail_formula(s, "upsample", f, config.scale)) + MEAN
    for n in range(1, int(math.log2(config.scale)) + 1):
        f = leaky(conv(s, f"conv_up{n}", doubled(f)), 0.2)
    return conv(s, "conv_last", leaky(conv(s, "conv_hr", f), 0.2)) + MEAN


def merged_conv_formula(s, name, x):
    """The training form: four convolutions, the first on the padded image, where it gives its bias."""
    padded = F.pad(x, (1, 1, 1, 1))
    for n in range(3):
        padded = conv(s, f"{name}.conv.{n}", padded, 0)
    return padded + conv(s, f"{name}.sk", x, 0)


def silu(x):
    return x / (1 + torch.exp(-x))


def span_formula(s, x, config):
    head = f = merged_conv_formula(s, "conv_1", 255 * (x - MEAN) if config.subtract_mean else x)
    kept = [head]
    for n in range(1, 7):
        first = silu(merged_conv_formula(s, f"block_{n}.c1_r", f))
        third = merged_conv_formula(s, f"block_{n}.c3_r", silu(merged_conv_formula(s, f"block_{n}.c2_r", first)))
        f = (third + f) * (1 / (1 + torch.exp(-third)) - 0.5)
        kept += [f] if n == 1 else []
    kept.insert(1, merged_conv_formula(s, "conv_2", f))
    return shuffled(s, "upsampler.0", conv(s, "conv_cat", torch.cat([*kept, first], 1), 0), config.scale)


def dysample_formula(s, x, scale):
    """Every output pixel by its own place in the input; the edge goes on beyond the border."""
    _, channels, height, width = x.shape
    groups = 4 if scale % 2 == 0 else 3
    scope = 0.5 / (1 + torch.exp(-F.conv2d(x, s["to_img.scope.weight"])))
    moved = conv(s, "to_img.offset", x, 0) * scope
    out = torch.zeros(1, channels, height * scale, width * scale, dtype=x.dtype)
    y, z = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    for group in range(groups):
        part = slice(group * channels // groups, (group + 1) * channels // groups)
        for row in range(scale):
            for column in range(scale):
                place = group * scale**2 + row * scale + column
                at_z = (z + (column - (scale - 1) / 2) / scale + moved[0, place]).clamp(0, width - 1)
                at_y = (y + (row - (scale - 1) / 2) / scale + moved[0, groups * scale**2 + place]).clamp(0, height - 1)
                top, left = at_y.floor().long(), at_z.floor().long()
                below, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
                v, u = at_y - top, at_z - left
                source = x[0, part]
                upper = source[:, top, left] * (1 - u) + source[:, top, right] * u
                lower = source[:, below, left] * (1 - u) + source[:, below, right] * u
                out[0, part, row::scale, column::scale] = upper * (1 - v) + lower * v
    return conv(s, "to_img.end_conv", out, 0)


def realplksr_formula(s, x, config):
    """One image."""
    f = conv(s, "feats.0", x)
    for n in range(1, config.num_blocks + 1):
        block = f
        if config.norm == "layer":
            f = f - f.mean(1, keepdim=True)
            f = f / (f.square().mean(1, keepdim=True) + 1e-6).sqrt()
            f = f * s[f"feats.{n}.layer_norm.weight"].view(1, -1, 1, 1) + s[f"feats.{n}.layer_norm.bias"].view(
                1, -1, 1, 1
            )
        f = conv(s, f"feats.{n}.channel_mixer.0", f)
        f = conv(s, f"feats.{n}.channel_mixer.2", f * torch.tanh(torch.log1p(torch.exp(f))))
        large = conv(s, f"feats.{n}.lk.conv", f[:, : config.large_kernel_features], config.kernel_size_px // 2)
        f = torch.cat([large, f[:, config.large_kernel_features :]], 1)
        if config.attention:
            f = f / (1 + torch.exp(-conv(s, f"feats.{n}.attn.f.0", f)))
        f = conv(s, f"feats.{n}.refine", f, 0)
        if config.norm == "group":
            cells = f.view(4, -1)
            cells = cells - cells.mean(1, keepdim=True)
            f = (cells / (cells.square().mean(1, keepdim=True) + 1e-5).sqrt()).view(f.shape)
            f = f * s[f"feats.{n}.norm.weight"].view(1, -1, 1, 1) + s[f"feats.{n}.norm.bias"].view(1, -1, 1, 1)
        f = f + block
    if config.upsampler == "pixelshuffle":
        base = x.repeat_interleave(config.scale, 2).repeat_interleave(config.scale, 3)
        return shuffled(s, f"feats.{config.num_blocks + 2}", f, config.scale) + base
    cells = torch.cat([x[:, c : c + 1] for c in range(3) for _ in range(config.scale**2)], 1)
    return dysample_formula(s, conv(s, f"feats.{config.num_blocks + 2}", f) + cells, config.scale)


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def mlp_formula(s, stem, x):
    return linear(s, f"{stem}.mlp.fc2", gelu(linear(s, f"{stem}.mlp.fc1", layer_norm(s, f"{stem}.norm2", x))))


def overlapping_formula(s, stem, x, heads, window, overlap):
    """[H, W, D]: each window looks at the pixels of one that is wider by `overlap`, zero beyond the image."""
    height, width, dim = x.shape
    qkv = linear(s, f"{stem}.qkv", layer_norm(s, f"{stem}.norm1", x))
    half, rows = overlap // 2, 2 * window + overlap - 1
    inside = [(y, z) for y in range(window) for z in range(window)]
    outside = [(y, z) for y in range(window + overlap) for z in range(window + overlap)]
    # As released: a row for the offset of each pair of pixels; those below 0 count from the end of the table.
    places = [[(v - y + 1 - overlap) * rows + w - z + 1 - overlap for v, w in outside] for y, z in inside]
    bias = s[f"{stem}.relative_position_bias_table"][torch.tensor(places)]
    out = torch.zeros_like(x)
    for top in range(0, height, window):
        for left in range(0, width, window):
            keys, values = torch.zeros(2, len(outside), dim, dtype=x.dtype)
            for number, (y, z) in enumerate(outside):
                if 0 <= top + y - half < height and 0 <= left + z - half < width:
                    _, keys[number], values[number] = qkv[top + y - half, left + z - half].split(dim)
            seen = qkv[top : top + window, left : left + window, :dim].reshape(-1, dim)
            attended = []
            for head in range(heads):
                part = slice(head * dim // heads, (head + 1) * dim // heads)
                logits = seen[:, part] @ keys[:, part].T / math.sqrt(dim // heads) + bias[..., head]
                attended.append(torch.softmax(logits, 1) @ values[:, part])
            whole = linear(s, f"{stem}.proj", torch.cat(attended, 1))
            out[top : top + window, left : left + window] = whole.view(window, window, dim)
    return x + out


def hat_formula(s, x, config):
    """One image, sides multiples of the window."""
    head = conv(s, "conv_first", x - MEAN)
    f = layer_norm(s, "patch_embed.norm", head[0].permute(1, 2, 0))
    for g, depth in enumerate(config.depths):
        group, heads = f, config.num_heads[g]
        for n in range(depth):
            stem = f"layers.{g}.residual_group.blocks.{n}"
            normed = layer_norm(s, f"{stem}.norm1", f)
            c = conv(s, f"{stem}.conv_block.cab.0", normed.permute(2, 0, 1)[None])
            c = conv(s, f"{stem}.conv_block.cab.2", gelu(c))
            a = conv(s, f"{stem}.conv_block.cab.3.attention.1", c.mean((2, 3), keepdim=True), 0).clamp(min=0)
            c = c / (1 + torch.exp(-conv(s, f"{stem}.conv_block.cab.3.attention.3", a, 0)))
            shift = config.window_px // 2 if n % 2 else 0
            f = f + attention_formula(s, f"{stem}.attn", normed, heads, config.window_px, shift)
            f = f + config.conv_scale * c[0].permute(1, 2, 0)
            f = f + mlp_formula(s, stem, f)
        stem = f"layers.{g}.residual_group.overlap_attn"
        f = overlapping_formula(s, stem, f, heads, config.window_px, config.overlap_px)
        f = f + mlp_formula(s, stem, f)
        f = group + conv(s, f"layers.{g}.conv", f.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    f = conv(s, "conv_after_body", layer_norm(s, "norm", f).permute(2, 0, 1)[None]) + head
    f = leaky(conv(s, "conv_before_upsample.0", f), 0.01)
    return conv(s, "conv_last", tail_formula(s, "upsample", f, config.scale)) + MEAN


FORMULAS = {
    "hat": hat_formula,
    "span": span_formula,
    "realplksr": realplksr_formula,
    "swinir": swinir_formula,
    "srresnet": srresnet_formula,
    "edsr": edsr_formula,
    "rcan": rcan_formula,
    "rrdbnet": rrdbnet_formula,
    "srvgg": srvgg_formula,
}


@pytest.mark.parametrize("config", [config for config in SMALL if config.type in FORMULAS], ids=label)
def test_output_equals_the_formula(config):
    net = randomised(build(config)).double()
    # Buffers of rounded float32 constants would differ from the formula's by 1e-8 of 255.
    for name, buffer in net.named_buffers():
        if name == "mean_rgb":
            buffer.copy_(MEAN)
        if name.endswith("mean.bias"):
            buffer.copy_(math.copysign(255, buffer[0]) * MEAN.view(3))
        if name.endswith("init_pos"):
            buffer.copy_((24 * buffer).round() / 24)
    # Whole windows and unshuffle cells; sizes between them are the next test's.
    image = torch.rand(1, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        out = net(image)
    wanted = FORMULAS[config.type](net.state_dict(), image, config)
    # Float64 on both sides; values reach a few hundred, so 1e-9 is a thousand times the rounding.
    torch.testing.assert_close(out, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("config", [config for config in SMALL if config.type in ("swinir", "rrdbnet")], ids=label)
def test_sizes_between_the_cells_are_mirrored_and_cut(config):
    net = randomised(build(config))
    multiple = net.multiple_px
    image = torch.rand(1, 3, 13, 18, generator=torch.Generator().manual_seed(6))
    # Mirror about the last pixel by index: ... a b c b a.
    bottom = [*range(13), *(12 - n for n in range(1, -13 % multiple + 1))]
    right = [*range(18), *(17 - n for n in range(1, -18 % multiple + 1))]
    with torch.no_grad():
        whole = net(image[:, :, bottom][..., right])
        assert torch.equal(net(image), whole[..., : 13 * config.scale, : 18 * config.scale])


def test_edsr_residual_scaling_counts():
    config = EDSRConfig(2, 8, 2, residual_scale=0.1)
    net = randomised(build(config))
    image = torch.rand(1, 3, 6, 6)
    state = {key: value.double() for key, value in net.state_dict().items()}
    with torch.no_grad():
        # Float32 against float64 through four convolutions of values up to 255.
        torch.testing.assert_close(
            net(image).double(), edsr_formula(state, image.double(), config), rtol=1e-4, atol=1e-4
        )


# SwinIR's parts.


def test_windows_are_cut_and_joined_in_row_order():
    x = torch.arange(2 * 6 * 9 * 2.0).view(2, 6, 9, 2)
    windows = swinir.to_windows(x, 3)
    assert windows.shape == (12, 9, 2)
    assert torch.equal(windows[4], x[0, 3:6, 3:6].reshape(9, 2))
    assert torch.equal(swinir.from_windows(windows, 3, 6, 9), x)


@pytest.mark.parametrize(("height", "width", "window"), [(8, 8, 4), (8, 12, 4), (4, 4, 4), (16, 8, 8), (6, 4, 2)])
def test_shift_mask_separates_what_the_roll_brought_together(height, width, window):
    shift = window // 2
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    # Where each rolled pixel came from: two pixels belong together when they lay in one window of the shifted grid.
    rolled = torch.stack((y, x), -1).roll((-shift, -shift), (0, 1))
    cell = (rolled + window - shift) // window
    cells = swinir.to_windows(cell[None].float(), window)
    together = (cells[:, :, None] == cells[:, None, :]).all(-1)
    mask = swinir.shift_mask(height, width, window)
    assert torch.equal(mask == 0, together)
    assert set(mask.unique().tolist()) <= {0.0, -100.0}


def test_attention_equals_the_formula():
    dim, window, heads = 12, 4, 3
    attention = randomised(swinir.WindowAttention(dim, window, heads)).double()
    tokens = window * window
    x = torch.randn(4, tokens, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mask = swinir.shift_mask(8, 4, window).double()
    s = attention.state_dict()
    qkv = x @ s["qkv.weight"].T + s["qkv.bias"]
    wanted = torch.zeros_like(x)
    for n in range(4):
        for h in range(heads):
            part = slice(h * dim // heads, (h + 1) * dim // heads)
            q, k, v = qkv[n, :, :dim][:, part], qkv[n, :, dim : 2 * dim][:, part], qkv[n, :, 2 * dim :][:, part]
            logits = q @ k.T / math.sqrt(dim // heads) + mask[n % 2]
            for a in range(tokens):
                for b in range(tokens):
                    dy, dx = a // window - b // window, a % window - b % window
                    row = (dy + window - 1) * (2 * window - 1) + dx + window - 1
                    logits[a, b] += s["relative_position_bias_table"][row, h]
            wanted[n, :, part] = torch.softmax(logits, 1) @ v
    wanted = wanted @ s["proj.weight"].T + s["proj.bias"]
    with torch.no_grad():
        torch.testing.assert_close(attention(x, mask), wanted, rtol=1e-10, atol=1e-10)


def test_drop_path_drops_whole_residuals_of_an_image_and_keeps_the_mean():
    x, residual = torch.ones(4000, 1, 1, 2), torch.full((4000, 1, 1, 2), 3.0)
    torch.manual_seed(0)
    added = swinir.add_residual(x, residual, 0.25, training=True) - x
    assert set(added[:, 0, 0, 0].tolist()) == {0.0, 4.0}
    assert torch.equal(added[..., 0], added[..., 1])
    # 4000 draws of 0 or 4 with mean 3 have a standard error of 0.027.
    assert abs(added.mean().item() - 3) < 0.15
    assert torch.equal(swinir.add_residual(x, residual, 0.25, training=False), x + residual)
    config = SwinIRConfig(2, 12, (2, 3), (2, 2), drop_path=0.4)
    rates = [block.drop_path for layer in build(config).layers for block in layer.residual_group.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


# The discriminator.


def test_discriminator_equals_the_formula():
    net = randomised(build(UNetDiscriminatorConfig(8))).double()
    s = net.state_dict()

    def sn(n, x, stride=1):
        weight, u, v = (s[f"conv{n}.weight_{kind}"] for kind in ("orig", "u", "v"))
        sigma = u @ weight.flatten(1) @ v
        return leaky(F.conv2d(x, weight / sigma, None, stride, 1), 0.2)

    def up(x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    image = torch.rand(2, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x0 = leaky(conv(s, "conv0", image), 0.2)
    x1 = sn(1, x0, 2)
    x2 = sn(2, x1, 2)
    x3 = sn(3, x2, 2)
    x6 = sn(6, up(sn(5, up(sn(4, up(x3)) + x2)) + x1)) + x0
    wanted = conv(s, "conv9", sn(8, sn(7, x6)))
    with torch.no_grad():
        torch.testing.assert_close(net(image), wanted, rtol=1e-10, atol=1e-10)


def test_discriminator_sizes_and_message():
    net = build(UNetDiscriminatorConfig(4))
    for height, width in ((8, 8), (9, 15), (33, 10)):
        assert net(torch.rand(1, 3, height, width)).shape == (1, 1, height, width)
    with pytest.raises(ConfigError, match=re.escape("unet_discriminator: image must be at least 8x8 px, got 7x9")):
        net(torch.rand(1, 3, 7, 9))


@pytest.mark.slow
def test_spectral_norm_goes_to_one():
    net = build(UNetDiscriminatorConfig(4))
    for _ in range(200):
        net(torch.rand(1, 3, 8, 8))
    net.eval()
    net(torch.rand(1, 3, 8, 8))
    largest = torch.linalg.svdvals(net.conv4.weight.detach().flatten(1))[0]
    # The power iteration converges from below; 200 steps of it on a 16 x 288 matrix leave under 2 %.
    assert 1.0 - 1e-5 <= largest.item() < 1.02


# VGG.


def test_vgg_places_are_torchvisions():
    assert [vgg.LAYERS[name] for name in ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4")] == [2, 7, 16, 25, 34]
    with torch.device("meta"):
        net = vgg.VGG19Features(("conv5_4", "conv1_2"))
    places = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    assert set(net.state_dict()) == convs(*(f"features.{place}" for place in places))
    assert num_parameters(net) == 20_024_384
    assert net.layers == ("conv1_2", "conv5_4")
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_vgg_loads_the_published_file_by_key(tmp_path):
    whole = vgg.VGG19Features(("conv2_2",))
    file = {**whole.state_dict(), "classifier.0.weight": torch.zeros(2, 2), "features.10.weight": torch.zeros(1)}
    torch.save(file, tmp_path / "vgg19.pth")
    net = nets.load_vgg19(tmp_path / "vgg19.pth", ("conv1_2", "conv2_1"))
    assert torch.equal(net.features["5"].weight, whole.features["5"].weight)
    del file["features.2.bias"]
    torch.save(file, tmp_path / "cut.pth")
    with pytest.raises(CheckpointError, match=r"cut.pth: not a VGG19 weight file, features.2.bias is missing"):
        nets.load_vgg19(tmp_path / "cut.pth", ("conv1_2",))
    file["features.2.bias"] = torch.zeros(3)
    torch.save(file, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=re.escape("features.2.bias must have shape (64,), got (3,)")):
        nets.load_vgg19(tmp_path / "odd.pth", ("conv1_2",))


def test_vgg_refuses_unknown_layers():
    with pytest.raises(ConfigError, match="layer must be one of conv1_1 to conv5_4, got 'conv3_5'"):
        vgg.VGG19Features(("conv3_5",))
    with pytest.raises(ConfigError, match="at least one layer"):
        vgg.VGG19Features(())


# Other spellings of the keys.


def respelled(state, rules):
    out = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            if re.fullmatch(pattern, key):
                out[re.sub(pattern, replacement, key)] = value
                break
        else:
            out[key] = value
    return out


SPELLINGS = {
    "EDSR-PyTorch": (
        EDSRConfig(4, 8, 3),
        (
            (r"conv_first\.(.*)", r"head.0.\1"),
            (r"body\.(\d)\.conv1\.(.*)", r"body.\1.body.0.\2"),
            (r"body\.(\d)\.conv2\.(.*)", r"body.\1.body.2.\2"),
            (r"conv_after_body\.(.*)", r"body.3.\1"),
            (r"upsample\.(.*)", r"tail.0.\1"),
            (r"conv_last\.(.*)", r"tail.1.\1"),
        ),
        {"sub_mean.weight": torch.eye(3).view(3, 3, 1, 1), "sub_mean.bias": torch.zeros(3)},
        "head.0.weight",
    ),
    "RCAN of BasicSR": (
        RCANConfig(4, 16, 2, 3),
        (
            (r"head\.0\.(.*)", r"conv_first.\1"),
            (r"body\.2\.(weight|bias)", r"conv_after_body.\1"),
            (r"body\.(\d)\.body\.3\.(weight|bias)", r"body.\1.conv.\2"),
            (r"body\.(\d)\.body\.(\d)\.body\.([02])\.(.*)", r"body.\1.residual_group.\2.rcab.\3.\4"),
            (r"(body\.\d)\.body\.(\d)\.body\.3\.conv_du\.0\.(.*)", r"\1.residual_group.\2.rcab.3.attention.1.\3"),
            (r"(body\.\d)\.body\.(\d)\.body\.3\.conv_du\.2\.(.*)", r"\1.residual_group.\2.rcab.3.attention.3.\3"),
            (r"tail\.0\.(.*)", r"upsample.\1"),
            (r"tail\.1\.(.*)", r"conv_last.\1"),
        ),
        {},
        "body.1.residual_group.2.rcab.3.attention.3.bias",
    ),
    "ESRGAN": (
        RRDBNetConfig(4, 8, 2, 4),
        (
            (r"body\.(\d)\.rdb(\d)\.conv(\d)\.(.*)", r"RRDB_trunk.\1.RDB\2.conv\3.\4"),
            (r"conv_body\.(.*)", r"trunk_conv.\1"),
            (r"conv_up(\d)\.(.*)", r"upconv\1.\2"),
            (r"conv_hr\.(.*)", r"HRconv.\1"),
        ),
        {},
        "RRDB_trunk.1.RDB3.conv5.bias",
    ),
    "ESRGAN, oldest": (
        RRDBNetConfig(4, 8, 2, 4),
        (
            (r"conv_first\.(.*)", r"model.0.\1"),
            (r"body\.(\d)\.rdb(\d)\.conv(\d)\.(.*)", r"model.1.sub.\1.RDB\2.conv\3.0.\4"),
            (r"conv_body\.(.*)", r"model.1.sub.2.\1"),
            (r"conv_up1\.(.*)", r"model.3.\1"),
            (r"conv_up2\.(.*)", r"model.6.\1"),
            (r"conv_hr\.(.*)", r"model.8.\1"),
            (r"conv_last\.(.*)", r"model.10.\1"),
        ),
        {},
        "model.10.weight",
    ),
    "ESRGAN x2, oldest": (
        RRDBNetConfig(2, 8, 2, 4, unshuffle=False),
        (
            (r"conv_first\.(.*)", r"model.0.\1"),
            (r"body\.(\d)\.rdb(\d)\.conv(\d)\.(.*)", r"model.1.sub.\1.RDB\2.conv\3.0.\4"),
            (r"conv_body\.(.*)", r"model.1.sub.2.\1"),
            (r"conv_up1\.(.*)", r"model.3.\1"),
            (r"conv_hr\.(.*)", r"model.5.\1"),
            (r"conv_last\.(.*)", r"model.7.\1"),
        ),
        {},
        "model.7.weight",
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_other_spellings_load(name, tmp_path):
    config, rules, extra, telltale = SPELLINGS[name]
    net = randomised(build(config))
    state = respelled(net.state_dict(), rules) | extra
    if name == "RCAN of BasicSR":
        # BasicSR computes the mean shift and does not store it.
        state = {key: value for key, value in state.items() if "_mean." not in key}
    assert telltale in state
    torch.save({"params": state}, tmp_path / "other.pth")
    loaded = checkpoint.load_model(tmp_path / "other.pth")
    assert loaded.config == config
    image = torch.rand(1, 3, 6, 7)
    with torch.no_grad():
        assert torch.equal(loaded.net(image), net(image))


# Configurations.


@pytest.mark.parametrize("name", small_nets.SMALL)
def test_every_network_keeps_channels_scales_and_sizes(name):
    config = small_nets.SMALL[name]
    net = build(config).eval()
    assert num_parameters(net) < 250_000
    assert nets.channels_of(net) == getattr(config, "in_channels", 3)
    assert detect(net.state_dict()) is not None


def test_build_takes_every_name_and_nothing_else():
    for name, net in nets.NETS.items():
        assert net.config.type == name
        config = net.config()
        assert nets.config_from_dict(nets.config_to_dict(config)) == config
    with pytest.raises(ConfigError, match="config must be one of the dataclasses"):
        build("edsr")


def test_config_survives_json():
    config = SwinIRConfig.lightweight(3)
    values = nets.config_to_dict(config)
    values["depths"] = list(values["depths"])  # what JSON makes of a tuple
    values["mlp_ratio"] = 2  # and of a whole float
    assert nets.config_from_dict(values) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"type": "edrs"}, "net.type must be a known network, got 'edrs'; did you mean 'edsr'?"),
        ({}, "net.type must be a known network, got None"),
        ({"type": "edsr", "num_feature": 64}, "net: unknown key 'num_feature'; did you mean 'num_features'?"),
        ({"type": "edsr", "scale": "4"}, "net.scale must be one of 2, 3, 4 or 8, got '4'"),
        ({"type": "edsr", "scale": 5}, "net.scale must be one of 2, 3, 4 or 8, got 5"),
        ({"type": "srresnet", "num_blocks": 0}, "net.num_blocks must be >= 1, got 0"),
        ({"type": "srvgg", "out_channels": 1}, "net.out_channels must equal in_channels 3"),
        ({"type": "rcan", "reduction": 65}, "net.reduction must be at most num_features 64, got 65"),
        ({"type": "swinir", "num_heads": [6]}, "net.num_heads must have 6 entries like depths, got (6,)"),
        ({"type": "swinir", "embed_dim": 100}, "net.num_heads must divide embed_dim 100, got 6"),
        ({"type": "swinir", "upsampler": "bicubic"}, "net.upsampler must be one of 'pixelshuffle'"),
        ({"type": "swinir", "scale": 3, "upsampler": "nearest+conv"}, "net.scale must be one of 2, 4, 8, got 3"),
        ({"type": "swinir", "published_size_px": 60}, "net.published_size_px must be a multiple of window_px"),
        ({"type": "swinir", "drop_path": 1.0}, "net.drop_path must be < 1, got 1.0"),
        ({"type": "span", "in_channels": 1}, "net.subtract_mean must be false where in_channels is not 3, got 1"),
        (
            {"type": "realplksr", "num_features": 18},
            "net.num_features must be a multiple of 4 with norm 'group', got 18",
        ),
        ({"type": "hat", "overlap_px": 5}, "net.overlap_px must be even and at most window_px 16, got 5"),
        ({"type": "hat", "squeeze_factor": 200}, "net.squeeze_factor must be at most embed_dim 180, got 200"),
        ({"type": "realplksr", "kernel_size_px": 4}, "net.kernel_size_px must be odd, got 4"),
        ({"type": "realplksr", "large_kernel_share": 1.5}, "net.large_kernel_share must be <= 1, got 1.5"),
        ({"type": "spandrel", "scale": -1}, "net.scale must be >= 0, got -1"),
    ],
)
def test_bad_configurations_are_one_clear_line(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        nets.config_from_dict(values)
    assert "\n" not in str(raised.value)


def test_detect_refuses_strangers():
    with pytest.raises(CheckpointError, match=re.escape("no known network has these 1 keys (first: weight)")):
        detect({"weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="no known network"):
        detect({})


# Spandrel, where it is installed. It knows these architectures; SRResNet and EDSR it does not.

SPANDREL = [
    RCANConfig(4, 16, 2, 2),
    RRDBNetConfig(4, 64, 2, 32),
    RRDBNetConfig(2, 64, 2, 32),
    RRDBNetConfig(1, 64, 2, 32),
    SRVGGConfig(4, 16, 3),
    SRVGGConfig(2, 16, 3),
    SwinIRConfig(4, 12, (2, 2), (2, 3)),
    SwinIRConfig(3, 12, (2, 2), (2, 3), upsampler="pixelshuffledirect"),
    SwinIRConfig(4, 12, (2, 2), (2, 2), upsampler="nearest+conv", residual_convs="3conv"),
    HATConfig(4, 12, (2, 1), (2, 3), window_px=8, overlap_px=4, squeeze_factor=6),
    SPANConfig(4, 8),
    SPANConfig(2, 8, subtract_mean=False),
    RealPLKSRConfig(4, 8, 1, kernel_size_px=5),
    RealPLKSRConfig(2, 8, 1, kernel_size_px=5, norm="layer", upsampler="dysample"),
    RealPLKSRConfig(3, 8, 1, kernel_size_px=5, attention=False, upsampler="dysample"),
]


@pytest.mark.representatives(6)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("config", SPANDREL, ids=label)
def test_files_load_in_spandrel_with_equal_outputs(config, suffix, tmp_path, spandrel):
    net = randomised(build(config))
    path = tmp_path / f"model{suffix}"
    checkpoint.save_model(path, config, net, net)
    descriptor = spandrel.ModelLoader(device="cpu").load_from_file(path)
    assert descriptor.scale == config.scale
    descriptor.eval()
    for size in ((16, 16), (19, 21)):
        image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            wanted = net(image)
            found = descriptor.model(image.clone())
        # The same float32 network with its sums in another order.
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_spandrel_network_is_trained_and_saved_under_its_own_keys(tmp_path, spandrel):
    config = SRVGGConfig(2, 8, 2)
    source = randomised(build(config))
    checkpoint.save_model(tmp_path / "source.pth", config, source)
    wrapped_config = SpandrelConfig(str(tmp_path / "source.pth"))
    net = build(wrapped_config)
    assert net.scale == 2
    image = torch.rand(1, 3, 5, 7)
    out = net(image)
    torch.testing.assert_close(out, source(image), rtol=1e-5, atol=1e-5)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    checkpoint.save_model(tmp_path / "tuned.safetensors", wrapped_config, net)
    assert set(checkpoint.read_weights(tmp_path / "tuned.safetensors").state) == set(source.state_dict())
    again = checkpoint.load_model(tmp_path / "tuned.safetensors")
    with torch.no_grad():
        assert torch.equal(again.net(image), net(image))
    with pytest.raises(ConfigError, match=re.escape("net.scale must be 2 for source.pth, got 4")):
        build(SpandrelConfig(str(tmp_path / "source.pth"), scale=4))


def test_a_spandrel_that_does_not_import_is_one_line(tmp_path, monkeypatch):
    # What torchvision says beside a torch of another build.
    (tmp_path / "spandrel.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    with pytest.raises(ConfigError, match=r"needs the package spandrel \(operator torchvision::nms does not exist\)"):
        build(SpandrelConfig(str(tmp_path / "model.pth")))


@pytest.mark.slow
def test_networks_that_only_spandrel_knows_load(tmp_path, spandrel):
    from spandrel.architectures.SAFMN import SAFMN

    source = SAFMN(dim=8, n_blocks=1, ffn_scale=2.0, upscaling_factor=2).eval()
    torch.save({"params_ema": source.state_dict()}, tmp_path / "safmn.pth")
    loaded = checkpoint.load_model(tmp_path / "safmn.pth", scale=2)
    assert loaded.config.type == "spandrel"
    assert loaded.net.architecture_name == "SAFMN"
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.net(image), source(image))
    checkpoint.save_model(tmp_path / "again.pth", loaded.config, loaded.net.state_dict())
    with torch.no_grad():
        assert torch.equal(checkpoint.load_model(tmp_path / "again.pth").net(image), source(image))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd.pth: spandrel cannot load this file: ") as raised:
        checkpoint.load_model(tmp_path / "odd.pth")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("number", ["100000000", "9" * 5000])
def test_keys_that_count_more_layers_than_there_are_are_refused_at_once(number, tmp_path, spandrel):
    names = [f"model.{place}.{kind}" for place in (0, 2, 4, 6, 8, 10, 12, 14, number) for kind in ("weight", "bias")]
    state = {name: torch.zeros(8, 8, 3, 3) if name.endswith("weight") else torch.zeros(8) for name in names}
    torch.save(state, tmp_path / "far.pth")
    with pytest.raises(CheckpointError, match=r"far.pth: layer [0-9]+ of .* is beyond its 18 tensors"):
        checkpoint.load_model(tmp_path / "far.pth")


def test_spandrel_absent_names_the_command(monkeypatch, tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "any.pth")
    monkeypatch.setitem(__import__("sys").modules, "spandrel", None)
    with pytest.raises(ConfigError, match=r"needs the package spandrel .*: pip install 'pydegrade\[spandrel\]'"):
        build(SpandrelConfig(str(tmp_path / "any.pth")))
    with pytest.raises(ConfigError, match=re.escape("net.path must name a model file")):
        build(SpandrelConfig())
    with pytest.raises(
        CheckpointError, match=r"spandrel knows more architectures: pip install 'pydegrade\[spandrel\]'"
    ):
        checkpoint.load_model(tmp_path / "any.pth")


@pytest.mark.parametrize("factor", [2, 3])
def test_a_shuffle_of_whole_pixels_is_the_shuffle(factor):
    """In channels_last memory `conv_shuffle` orders the convolution's outputs by pixel: same values, same gradients."""
    torch.manual_seed(0)
    conv = conv3x3(5, 4 * factor**2)

    def activation(x):
        return torch.nn.functional.leaky_relu(x, 0.1, inplace=True)

    x = torch.randn(2, 5, 6, 7)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.to(memory_format=layout).requires_grad_()
        out = conv_shuffle(conv, given, factor, activation)
        weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
        results.append((out, *torch.autograd.grad((out * weights).sum(), [given, *conv.parameters()])))
    assert results[1][0].is_contiguous(memory_format=torch.channels_last)
    expected = torch.nn.functional.pixel_shuffle(activation(conv(x)), factor)
    for plain, fast in zip(*results):
        # The same products of float32, summed in another order.
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(results[0][0], expected, rtol=0, atol=0)
