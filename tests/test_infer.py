"""Tiled inference against the whole image, image arrays of all kinds, and export."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytrain.errors import CheckpointError, ConfigError
from pytrain.evaluation import export, infer
from pytrain.files import checkpoint
from pytrain.nets import RCANConfig, RRDBNetConfig, SRResNetConfig, SRVGGConfig, SwinIRConfig, build


class Nearest(nn.Module):
    """Repeats pixels: the network whose result is known."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def small(config, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(config).eval()


def image_of(height, width, channels=3, seed=1):
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


# Where tiles lie.


@pytest.mark.parametrize("multiple", [1, 2, 8])
def test_spans_cover_overlap_and_keep_their_size(multiple):
    for size in [*range(1, 40), 64, 97, 200]:
        for tile in (8, 9, 16, 24):
            for overlap in (0, 1, 4, 7):
                rounded_tile = -(-tile // multiple) * multiple
                rounded_overlap = -(-overlap // multiple) * multiple
                if rounded_tile - rounded_overlap < multiple:
                    continue
                spans = infer.tile_spans(size, tile, overlap, multiple)
                where = (size, tile, overlap)
                assert spans[0][0] == 0, where
                assert spans[-1][1] == size, where
                assert all(begin % multiple == 0 for begin, _ in spans), where
                assert all(0 < end - begin <= rounded_tile for begin, end in spans), where
                for (begin, end), (following, _) in pairwise(spans):
                    assert begin < following <= end - overlap, where
                if size <= rounded_tile:
                    assert spans == [(0, size)]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_weights_sum_to_one_and_hide_the_inner_edges(scale):
    for size, tile, overlap in ((100, 32, 8), (33, 32, 8), (60, 17, 0), (50, 20, 13), (41, 40, 39)):
        spans = infer.tile_spans(size, tile, overlap)
        weights = infer.blend_weights(spans, overlap, scale)
        total = torch.zeros(size * scale)
        for (begin, end), weight in zip(spans, weights):
            assert weight.shape == ((end - begin) * scale,)
            assert weight.min() >= 0
            total[begin * scale : end * scale] += weight
        # Float32 weights, each rounded once.
        torch.testing.assert_close(total, torch.ones(size * scale), rtol=0, atol=1e-6)
        hidden = int(overlap * infer.MARGIN * scale)
        if hidden:
            assert all(weight[:hidden].max() == 0 for weight in weights[1:])
            assert all(weight[-hidden:].max() == 0 for weight in weights[:-1])
        assert weights[0][0] == 1
        assert weights[-1][-1] == 1


def test_weights_change_gradually():
    weights = infer.blend_weights(infer.tile_spans(64, 40, 16), 16, 4)
    # The fade takes a quarter of 16 pixels times 4: 16 steps of 1/16.
    assert weights[0].diff().abs().max().item() == pytest.approx(1 / 16, rel=1e-5)


# Tiled equals whole.


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (7, 50), (33, 33), (40, 64), (64, 9)])
def test_tiles_of_a_pixelwise_network_change_nothing(scale, size):
    image = image_of(*size)
    whole = infer.upscale(Nearest(scale), image)
    assert whole.shape == (1, 3, size[0] * scale, size[1] * scale)
    assert torch.equal(whole, Nearest(scale)(image))
    for tile, overlap in ((16, 0), (16, 8), (20, 15), (33, 1)):
        tiled = infer.upscale(Nearest(scale), image, tile, overlap)
        # Weights sum to one but for their rounding.
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)


# Receptive radius in input pixels: one per 3x3 convolution at low resolution and a half or quarter above. The bilinear
# skip needs one.
@pytest.mark.parametrize(
    ("config", "radius"),
    [
        (SRVGGConfig(2, 8, 2), 4),
        (SRVGGConfig(3, 8, 1), 3),
        (SRResNetConfig(2, 8, 1), 6),
        (SRResNetConfig(4, 8, 1), 6),
        (RRDBNetConfig(4, 8, 1, 4), 20),
        (RRDBNetConfig(2, 8, 1, 4), 40),
    ],
    ids=lambda value: getattr(value, "type", None),
)
def test_tiles_equal_the_whole_where_the_receptive_field_fits(config, radius):
    net = small(config)
    overlap = -(-radius * 8 // 3)
    image = image_of(53, 87 + overlap)
    whole = infer.upscale(net, image)
    tiled = infer.upscale(net, image, overlap + 17, overlap)
    # The same float32 sums in tiles of other sizes.
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5)


def test_a_smaller_overlap_shows_that_the_law_above_can_fail():
    net = small(SRResNetConfig(2, 8, 3))
    image = image_of(40, 60)
    difference = (infer.upscale(net, image, 20, 2) - infer.upscale(net, image)).abs().max()
    assert difference > 1e-4


def test_windows_keep_their_places_in_tiles():
    # One unshifted block: attention stays inside its window, so tiles at multiples of it change only what the
    # convolutions see, and these reach 4 windows at most.
    config = SwinIRConfig(2, 12, (1,), (2,), window_px=4, upsampler="pixelshuffledirect")
    net = small(config)
    image = image_of(40, 70)
    whole = infer.upscale(net, image)
    tiled = infer.upscale(net, image, 36, 22)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5)

    # A tile that begins elsewhere puts other pixels into its windows, and shows that this can fail.
    class Unaligned(nn.Module):
        scale = 2

        def forward(self, x):
            return net(x)

    unaligned = infer.upscale(Unaligned(), image, 35, 22)
    assert (unaligned - whole).abs().max() > 1e-3


@pytest.mark.slow
def test_deep_networks_differ_little_from_the_whole():
    for config in (SwinIRConfig(2, 12, (2, 2), (2, 2)), RCANConfig(2, 16, 1, 1)):
        net = small(config)
        image = F.interpolate(image_of(6, 9), size=(70, 90), mode="bicubic").clamp(0, 1)
        whole = infer.upscale(net, image)
        tiled = infer.upscale(net, image, 48, 16)
        # Untrained weights; a tile sees another mean (RCAN) or other windows at its edge (SwinIR).
        assert (whole - tiled).abs().max() < 0.02


def test_progress_counts_every_tile_and_the_whole():
    seen = []
    infer.upscale(Nearest(2), image_of(30, 50), 20, 4, lambda done, total: seen.append((done, total)))
    rows, columns = len(infer.tile_spans(30, 20, 4)), len(infer.tile_spans(50, 20, 4))
    assert seen == [(n, rows * columns) for n in range(1, rows * columns + 1)]
    seen.clear()
    infer.upscale(Nearest(2), image_of(3, 5), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


def test_results_can_be_targets_and_the_network_is_untouched():
    net = small(SRVGGConfig(2, 8, 1)).train()
    target = infer.upscale(net, image_of(8, 8))
    assert net.training
    assert not target.requires_grad
    # An inference tensor would be refused by the backward pass.
    (net(image_of(8, 8)) - target).square().sum().backward()


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (torch.zeros(3, 4, 4), {}, "upscale: image must be [1, C, H, W], got (3, 4, 4)"),
        (torch.zeros(2, 3, 4, 4), {}, "upscale: image must be [1, C, H, W], got (2, 3, 4, 4)"),
        (
            torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
            {},
            "upscale: image must be a float tensor in [0, 1], got torch.uint8",
        ),
        (torch.zeros(1, 3, 4, 4), {"tile_px": 32}, "upscale: tile_px must be above overlap_px 32, got 32"),
        (
            torch.zeros(1, 3, 4, 4),
            {"tile_px": 0, "overlap_px": 0},
            "upscale: tile_px must be above overlap_px 0, got 0",
        ),
        (torch.zeros(1, 3, 4, 4), {"tile_px": 9, "overlap_px": -1}, "upscale: tile_px must be above overlap_px -1"),
    ],
)
def test_bad_calls_are_one_clear_line(image, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        infer.upscale(Nearest(2), image, **options)


def test_networks_without_scale_are_refused():
    with pytest.raises(ConfigError, match="upscale: net must have an integer attribute scale, got None"):
        infer.upscale(nn.Identity(), image_of(2, 2))
    net = Nearest(2)
    net.multiple_px = 8
    with pytest.raises(ConfigError, match="tile_px must be above overlap_px 12 by at least 8 px, got 16"):
        infer.upscale(net, image_of(20, 20), 16, 12)


# Arrays.


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("tile", [None, 5])
def test_arrays_keep_type_and_channels(dtype, shape, tile):
    generator = np.random.default_rng(0)
    kind = np.dtype(dtype).kind
    array = generator.integers(0, np.iinfo(dtype).max + 1, shape) if kind == "u" else generator.random(shape)
    array = array.astype(dtype)
    out = infer.upscale_array(Nearest(3), array, tile, 2)
    assert out.dtype == array.dtype
    wanted = array.repeat(3, 0).repeat(3, 1)
    assert out.shape == wanted.shape
    if kind == "u":
        # Whole: exact. In tiles the weights' rounding, 1e-7, may move a 16-bit value by one step, never an 8-bit one.
        assert np.abs(out.astype(int) - wanted.astype(int)).max() <= (1 if tile and dtype == "uint16" else 0)
    else:
        # Float32 inside.
        np.testing.assert_allclose(out, wanted, atol=1e-6)


def test_values_are_rounded_half_up_and_clipped():
    class Shift(Nearest):
        def forward(self, x):
            return x + torch.tensor([-2.0, 0.5, 300.0]).view(1, 3, 1, 1) / 255

    array = np.full((2, 2, 3), 1, np.uint8)
    assert infer.upscale_array(Shift(1), array)[0, 0].tolist() == [0, 2, 255]


def test_constant_alpha_is_not_run():
    calls = []

    class Counting(Nearest):
        def forward(self, x):
            calls.append(x)
            return super().forward(x)

    array = np.random.default_rng(0).integers(0, 256, (4, 6, 4)).astype(np.uint8)
    infer.upscale_array(Counting(2), array)
    assert len(calls) == 2
    array[..., 3] = 77
    out = infer.upscale_array(Counting(2), array)
    assert len(calls) == 3
    assert (out[..., 3] == 77).all()


def test_bad_arrays_are_named():
    for array, message in (
        (np.zeros((2, 2, 5), np.uint8), "upscale_array: array must be [H, W] or [H, W, 1 to 4], got shape (2, 2, 5)"),
        (np.zeros(3, np.uint8), "got shape (3,)"),
        (np.zeros((2, 2), np.int32), "upscale_array: array must be uint8, uint16 or float, got int32"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            infer.upscale_array(Nearest(1), array)


# Export.


def test_convert_between_model_files(tmp_path):
    config = SRResNetConfig(2, 8, 1)
    live, averaged = small(config, 1), small(config, 2)
    checkpoint.save_model(tmp_path / "a.pth", config, live, averaged, {"step": 3})
    assert export.convert(tmp_path / "a.pth", tmp_path / "b.safetensors") == tmp_path / "b.safetensors"
    export.convert(tmp_path / "b.safetensors", tmp_path / "c.pth")
    loaded = checkpoint.load_model(tmp_path / "c.pth")
    assert loaded.config == config
    assert loaded.metadata["step"] == 3
    image = image_of(5, 6)
    with torch.no_grad():
        assert torch.equal(loaded.net(image), averaged(image))
    with pytest.raises(CheckpointError, match=re.escape("must end in .safetensors or .pth, got '.bin'")):
        export.convert(tmp_path / "a.pth", tmp_path / "d.bin")


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        SRResNetConfig(4, 8, 1),
        RRDBNetConfig(2, 8, 1, 4),
        RCANConfig(3, 16, 1, 1),
        SwinIRConfig(2, 12, (2,), (2,), window_px=4),
    ],
    ids=lambda config: config.type,
)
def test_onnx_runs_at_other_sizes_with_equal_results(tmp_path, config):
    import onnxruntime

    net = small(config).train()
    report = export.export_onnx(net, config, tmp_path / "net.onnx", {"step": 3})
    assert net.training
    assert report.verified
    assert report.max_difference <= export.TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["net"])["type"] == config.type
    assert properties["scale"] == str(config.scale)
    assert properties["step"] == "3"
    image = image_of(3 * report.multiple_px, 9 * report.multiple_px)
    with torch.no_grad():
        wanted = net.eval()(image)
    found = session.run(["upscaled"], {"image": image.numpy()})[0]
    # The promise of the export.
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=export.TOLERANCE * wanted.abs().max().item())


@pytest.mark.slow
def test_onnx_that_differs_is_not_written(tmp_path, monkeypatch):
    config = SRVGGConfig(2, 4, 1)
    monkeypatch.setattr(export, "_compare", lambda *arguments: (True, 0.5))
    with pytest.raises(
        CheckpointError, match=r"onnxruntime must agree with torch to 0.0001, got 0.5; nothing was written"
    ):
        export.export_onnx(small(config), config, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_onnx_names_the_command(tmp_path, monkeypatch):
    config = SRVGGConfig(2, 4, 1)
    with pytest.raises(ConfigError, match=re.escape("an ONNX file must end in .onnx, got '.pt'")):
        export.export_onnx(small(config), config, tmp_path / "net.pt")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"needs the package onnx or onnxscript .*: pip install 'pydegrade\[onnx\]'"):
        export.export_onnx(small(config), config, tmp_path / "net.onnx")


def test_a_run_writes_onnx_beside_its_model_files_on_wish(tmp_path, monkeypatch):
    """With the average's weights; a network without such a form costs a warning."""
    from types import SimpleNamespace

    from pytrain.training import run as runs

    net_config = SRVGGConfig(2, 4, 1)
    net, average = build(net_config), build(net_config)
    said, exported = [], []
    method = SimpleNamespace(
        averaged=("generator",), configs=lambda: {"generator": net_config}, model_metadata=lambda: {}
    )
    settings = SimpleNamespace(run=SimpleNamespace(name="a"), checkpoint=SimpleNamespace(onnx=True))
    run = SimpleNamespace(
        folder=tmp_path,
        method=method,
        config=settings,
        log=SimpleNamespace(event=lambda kind, **values: said.append(kind)),
    )
    state = SimpleNamespace(
        nets={"generator": net}, averages={"generator": average}, step=7, published=lambda name: average
    )
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(runs, "export_onnx", lambda *given: exported.append(given))
    files = runs.save_models(run, state, "last", {})
    assert [path.name for path in files] == ["last.safetensors", "last.pth", "last.onnx"]
    ((given, config, path, metadata),) = exported
    assert (given, config, path, metadata["step"]) == (average, net_config, tmp_path / "models/last.onnx", 7)

    def refuses(*given):
        raise CheckpointError("no ONNX form")

    monkeypatch.setattr(runs, "export_onnx", refuses)
    assert [path.suffix for path in runs.save_models(run, state, "last", {})] == [".safetensors", ".pth"]
    assert said == ["warning"]
