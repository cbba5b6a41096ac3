"""Adapting to one image: the son, the steps of plain gradient descent, tiles, ZSSR, the command."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import pydegrade
from pydegrade import kernels
from pydegrade.errors import KernelError
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.files.read import read_image, read_picture
from pydegrade.files.write import write_image
from pytrain import nets
from pytrain.commands import cli
from pytrain.errors import ConfigError
from pytrain.evaluation import adapt as adapting
from pytrain.files.checkpoint import save_model
from pytrain.nets.mzsr import enlarge

from .test_formats import adobe_rgb

KERNEL = kernels.gaussian(7, 1.4, 1.0, 0.4)


def network(scale: int = 2, num_layers: int = 4) -> torch.nn.Module:
    torch.manual_seed(2)
    return nets.build(nets.MZSRConfig(scale=scale, num_features=6, num_layers=num_layers))


def picture(height: int, width: int) -> torch.Tensor:
    coarse = np.random.default_rng(5).integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("down", "scale"), [("direct", 2), ("bicubic", 2), ("direct", 3)])
def test_the_son_is_the_image_under_its_own_kernel(down, scale):
    image = picture(26, 31)
    son, father = adapting.make_son(image, KERNEL, scale, down)
    height, width = 26 // scale, 31 // scale
    assert son.shape == (1, 3, height, width)
    assert torch.equal(father, image[..., : height * scale, : width * scale])
    # Formula, for one pixel away from the borders: the kernel, then every scale-th pixel from the first.
    if down == "direct":
        patch = father[0, 1, 4 * scale - 3 : 4 * scale + 4, 5 * scale - 3 : 5 * scale + 4].double().numpy()
        assert float(son[0, 1, 4, 5]) == pytest.approx(float((patch * KERNEL).sum()), abs=1e-6)  # float32 result
    plain, _ = adapting.make_son(image, None, scale, down)
    wanted = pydegrade.imresize(father[0].permute(1, 2, 0).double().numpy(), 1 / scale).clip(0, 1)
    np.testing.assert_allclose(plain[0].permute(1, 2, 0).numpy(), wanted, atol=1e-7)  # float32 rounding


@pytest.mark.slow
def test_steps_are_plain_gradient_descent_at_the_published_rates():
    net, image = network(), picture(24, 28)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    results = {result.steps: result for result in adapting.adapt(net, image, KERNEL, (0, 1, 3))}
    assert list(results) == [0, 1, 3]
    assert results[0].loss is None
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), "the net that was given stays as it is"
    other = network()
    son, father = adapting.make_son(image, KERNEL, 2, "direct")
    optimizer = torch.optim.SGD(other.parameters(), lr=1.0)
    for rate in (2e-2, 1e-2, 1e-2):
        optimizer.zero_grad()
        loss = (other(enlarge(son, 2), enlarged=True) - father).abs().mean()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    with torch.no_grad():
        wanted = other(image).clamp(0, 1)
    torch.testing.assert_close(results[3].image, wanted, rtol=0, atol=1e-5)  # sums in another order, three steps
    assert results[3].loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert not torch.equal(results[0].image, results[3].image)
    (own_rate,) = adapting.adapt(net, image, KERNEL, (1,), rate=2e-2)
    assert torch.equal(own_rate.image, results[1].image)
    (larger,) = adapting.adapt(net, image, KERNEL, (1,), rate=5e-2)
    assert not torch.equal(larger.image, results[1].image)


def test_published_learning_rates():
    # Soh et al. 2020, released test.py.
    wanted = {
        (2, "direct"): (2e-2, 1e-2, 1e-2, 1e-2, 5e-3, 5e-3),
        (2, "bicubic"): (1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-3),
        (4, "direct"): (1e-2, 5e-3, 5e-3, 5e-3, 5e-3, 1e-3),
        (3, "direct"): (1e-2, 1e-2, 1e-2, 5e-3, 5e-3, 5e-3),
    }
    for (scale, down), rates in wanted.items():
        assert tuple(adapting.learning_rate(scale, down, step) for step in range(6)) == rates
    # The model of several scales has rates of its own at every one of them.
    for scale in (2, 3, 4):
        rates = tuple(adapting.learning_rate(scale, "direct", step, multi_scale=True) for step in range(6))
        assert rates == (1e-2, 1e-2, 1e-2, 5e-3, 5e-3, 5e-3)


@pytest.mark.slow
def test_tiles_give_the_gradient_of_the_whole_image():
    net = network(num_layers=3).double()
    son, father = adapting.make_son(picture(41, 54), KERNEL, 2, "direct")
    enlarged, father = enlarge(son, 2).double(), father.double()
    found = []
    for tile_px in (1000, 13):
        loss = adapting._full_gradient(net, enlarged, father, tile_px)
        found.append((loss, [parameter.grad.clone() for parameter in net.parameters()]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    for whole, parts in zip(found[0][1], found[1][1]):
        torch.testing.assert_close(whole, parts, rtol=1e-10, atol=1e-13)  # float64 sums in another order


@pytest.mark.slow
def test_zssr_starts_as_bicubic_learns_and_repeats():
    image = picture(30, 37)
    config = nets.MZSRConfig(num_features=8, num_layers=3)
    runs = [list(adapting.zssr(config, image, KERNEL, (0, 40), seed=3)) for _ in range(2)]
    start, end = runs[0]
    torch.testing.assert_close(start.image, enlarge(image, 2).clamp(0, 1))
    assert start.image.shape == (1, 3, 60, 74)
    assert torch.equal(end.image, runs[1][1].image)
    # The network knows the pair that it was made from better than bicubic does.
    son, father = adapting.make_son(image, KERNEL, 2, "direct")
    assert end.loss is not None
    assert end.loss < 0.9 * float((enlarge(son, 2) - father).abs().mean())


def test_the_son_has_the_noise_of_the_image():
    image = picture(60, 60) * 0.2 + 0.4  # nothing is clipped
    (clean, _), (noisy, father) = (adapting.make_son(image, KERNEL, 2, "direct", sigma) for sigma in (0, 5))
    noise = 255 * (noisy - clean)
    assert float(noise.std()) == pytest.approx(5, rel=0.1)  # 2700 numbers: their deviation is known to 1.4 %
    assert torch.equal(father, image)
    assert torch.equal(noisy, adapting.make_son(image, KERNEL, 2, "direct", 5)[0])
    assert not torch.equal(noisy, adapting.make_son(image, KERNEL, 2, "direct", 5, seed=1)[0])


def test_falling_rates_keep_the_published_ratios():
    net, image = network(), picture(24, 28)
    moved = [list(adapting.adapt(net, image, KERNEL, (1, 3), rate=rate, falling=rate is not None))
             for rate in (None, 0.02, 0.01)]  # fmt: skip
    # 0.02 is the published first rate of x2, so all later ones are the published ones too.
    for published, same, half in zip(*moved):
        assert torch.equal(published.image, same.image)
        assert not torch.equal(published.image, half.image)
    constant = list(adapting.adapt(net, image, KERNEL, (1, 3), rate=0.02))
    assert torch.equal(constant[0].image, moved[0][0].image)
    assert not torch.equal(constant[1].image, moved[0][1].image)


@pytest.mark.parametrize("down", ["direct", "bicubic"])
def test_back_projection_moves_a_result_towards_what_becomes_the_image(down):
    clean = picture(60, 48)
    lr, _ = adapting.make_son(clean, KERNEL, 2, down)
    start = enlarge(lr, 2).clamp(0, 1)

    def away(result):
        return float((adapting.make_son(result, KERNEL, 2, down)[0] - lr).abs().mean())

    found = [adapting.back_projected(start, lr, KERNEL, 2, down, count) for count in (0, 1, 8)]
    assert torch.equal(found[0], start)
    assert away(found[2]) < away(found[1]) < away(start)
    assert away(found[2]) < 0.2 * away(start)


def test_the_eight_symmetries_differ():
    views = adapting.symmetries(torch.arange(12.0).view(1, 1, 3, 4))
    assert len({(tuple(view.shape), tuple(view.flatten().tolist())) for view in views}) == 8


@pytest.fixture
def files(tmp_path):
    """hr.png of odd sides, lr.png made by kernel.npy, model.safetensors."""
    hr = (picture(61, 47)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    write_image(tmp_path / "hr.png", hr)
    write_image(tmp_path / "lr.png", pydegrade.blur_down(hr, KERNEL, 2))
    np.save(tmp_path / "kernel.npy", KERNEL)
    save_model(tmp_path / "model.safetensors", nets.MZSRConfig(num_features=6, num_layers=4), network())
    return tmp_path


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(["adapt", *map(str, arguments), "--device", "cpu"])
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


@pytest.mark.slow
def test_the_command_writes_results_and_scores(files, capsys):
    common = (
        files / "lr.png",
        "--kernel",
        files / "kernel.npy",
        "--out",
        files / "out",
        "--reference",
        files / "hr.png",
    )
    code, out, err = run(capsys, *common, "--model", files / "model.safetensors", "--steps", "2,0")
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["bicubic", "0", "2"]
    assert all("dB (y-uint8-border2)" in line for line in lines)
    image = torch.from_numpy(read_image(files / "lr.png").astype(np.float32) / 255).permute(2, 0, 1)[None]
    (result,) = adapting.adapt(network(), image, KERNEL, (2,))
    written = read_image(files / "out" / "lr_2.png")
    assert written.shape == (62, 48, 3)
    # Rounding to 8 bits, of a result whose sums may be in another order.
    assert np.abs(written - result.image[0].permute(1, 2, 0).numpy() * 255).max() <= 0.51
    code, out, err = run(capsys, *common, "--model", "none", "--steps", "1", "--kernel", "bicubic", "--scale", "3")
    assert (code, "must be 3 times the image's 24 x 31 px, got 47 x 61" in err) == (2, True), err
    code, out, err = run(capsys, *common[:-2], "--model", "none", "--steps", "0,1", "--kernel", "bicubic")
    assert (code, len(out.splitlines())) == (0, 2), err


@pytest.mark.slow
def test_an_estimated_kernel_is_printed_used_and_kept(tmp_path, capsys):
    write_image(
        tmp_path / "lr.png", pydegrade.blur_down(data.coffee()[:160, :200], kernels.gaussian(15, 1.8, 0.9, 0.6), 2)
    )
    command = (tmp_path / "lr.png", "--model", "none", "--steps", "3", "--out", tmp_path / "out", "--kernel")
    code, out, err = run(capsys, *command, "estimate")
    assert code == 0, err
    found = pydegrade.estimate_kernel(read_image(tmp_path / "lr.png"), 2)
    assert out.splitlines()[0].split()[:5] == [
        "kernel",
        "sigma",
        f"{found.sigma_x_px:.2f}",
        "x",
        f"{found.sigma_y_px:.2f}",
    ]
    kept = tmp_path / "out" / "lr_kernel.npy"
    assert np.array_equal(kernels.load(kept), found.kernel)
    made = read_image(tmp_path / "out" / "lr_3.png")
    assert run(capsys, *command, kept)[0] == 0
    assert np.array_equal(read_image(tmp_path / "out" / "lr_3.png"), made)


@pytest.mark.parametrize("scales", [[2], [2, 4]])
def test_a_model_file_says_whether_it_is_of_several_scales(tmp_path, capsys, scales):
    image = picture(40, 44)
    write_image(tmp_path / "lr.png", (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    net = network(scale=4)
    config = nets.MZSRConfig(scale=4, num_features=6, num_layers=4)
    save_model(tmp_path / "model.safetensors", config, net, metadata={"scales": scales})
    arguments = (tmp_path / "lr.png", "--model", tmp_path / "model.safetensors", "--kernel", "bicubic", "--steps", "6")
    code, _, err = run(capsys, *arguments, "--out", tmp_path / "out")
    assert code == 0, err
    pixels = read_image(tmp_path / "lr.png")
    (wanted,) = adapting.adapt(net, to_float(pixels)[None], None, (6,), multi_scale=len(scales) > 1)
    assert np.array_equal(read_image(tmp_path / "out" / "lr_6.png"), to_uint8(wanted.image[0]))
    (other,) = adapting.adapt(net, to_float(pixels)[None], None, (6,), multi_scale=len(scales) == 1)
    assert not np.array_equal(to_uint8(other.image[0]), to_uint8(wanted.image[0]))


def test_results_keep_the_profile_and_what_is_lost_is_said(files, capsys):
    pixels = np.dstack([read_image(files / "lr.png"), np.full((31, 24), 128, np.uint8)])
    write_image(files / "lr.png", pixels, adobe_rgb())
    code, _, err = run(
        capsys, files / "lr.png", "--model", "none", "--kernel", "bicubic", "--steps", "0", "--out", files / "out"
    )
    assert (code, err) == (0, f"note: {files / 'lr.png'}: alpha channel dropped\n")
    assert read_picture(files / "out" / "lr_0.png").profile == adobe_rgb()


def test_what_cannot_be_is_refused_in_one_line(files, capsys):
    np.save(files / "even.npy", np.full((4, 4), 1 / 16))
    np.save(files / "bright.npy", np.full((3, 3), 1.0))
    np.save(files / "large.npy", kernels.gaussian(33, 2.0))
    write_image(files / "small.png", np.zeros((3, 40, 3), np.uint8))
    other = nets.SRResNetConfig(scale=2, num_features=4, num_blocks=1)
    save_model(files / "other.safetensors", other, nets.build(other))
    good = {"image": "lr.png", "--model": "model.safetensors", "--kernel": "kernel.npy", "--steps": "1"}
    for change, message in (
        ({"--kernel": "even.npy"}, "even.npy: size must be odd, got 4x4"),
        ({"--kernel": "bright.npy"}, "bright.npy: must sum to 1, got 9"),
        ({"--kernel": "large.npy"}, "adapt: image must be at least 33x33 px, the kernel, got 31x24"),
        ({"--kernel": "estimate"}, "estimate_kernel: image must be [H, W] or [H, W, C] with sides of at least 32 px"),
        ({"--kernel": "missing.npy"}, "missing.npy: no such file"),
        ({"image": "small.png", "--kernel": "bicubic"}, "must be at least 4x4 px, two pixels of its son, got 3x40"),
        ({"--model": "other.safetensors"}, "must be a network of type mzsr, got a srresnet"),
        ({"--model": "none", "--kernel": "large.npy"}, "adapt: image must be at least 33x33 px"),
        ({"--steps": "1;2"}, "--steps: must be numbers in [0, 1,000,000] with commas between them, got '1;2'"),
        ({"--model": "none", "--rate": "0.1"}, "--rate: must be left out for --model none"),
        ({"--steps": "-1"}, "--steps: must be numbers in [0, 1,000,000]"),
        ({"--falling": None}, "--falling: must be given with --rate"),
        ({"--noise": "-1"}, "--noise"),
    ):
        given = {**good, **change}
        arguments = [files / given.pop("image")]
        for name, value in given.items():
            is_file = name in ("--model", "--kernel") and value not in ("none", "bicubic", "estimate")
            arguments += [name] if value is None else [name, files / value if is_file else value]
        code, _, err = run(capsys, *arguments, "--out", files / "out")
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
    image = picture(20, 20)
    with pytest.raises(ConfigError, match=r"adapt: steps must be rising numbers >= 0, got \[3, 1\]"):
        next(adapting.adapt(network(), image, KERNEL, (3, 1)))
    with pytest.raises(ConfigError, match="adapt: net must be an MZSR, got SRResNet"):
        next(adapting.adapt(nets.build(other), image, KERNEL, (1,)))
    with pytest.raises(ConfigError, match=r"zssr: image must be float \[1, 3, H, W\], got"):
        next(adapting.zssr(nets.MZSRConfig(), image[0], KERNEL, (1,)))
    with pytest.raises(KernelError, match="size must be odd"):
        next(adapting.adapt(network(), image, np.full((4, 4), 1 / 16), (1,)))
