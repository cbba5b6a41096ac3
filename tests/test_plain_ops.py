"""Ops in plain torch against their formulas in float64, or the program that defines them."""

from __future__ import annotations

import colorsys
from importlib import import_module

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import engine, ops
from pydegrade.native import binding
from pydegrade.ops import elementary
from pydegrade.ops.color import ORDERS
from pydegrade.ops.quantize import bayer

from .golden_pixels import picture
from .reference import blur as blur_reference
from .reference import noise as noise_reference
from .reference import resize as resize_reference

# float32 sums and products of a few numbers up to 1.
FEW_ULP = 2e-6


def batch(count: int = 2, height: int = 23, width: int = 31) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height)
    smooth = torch.stack([picture(height, width, seed) for seed in range(count)])
    return (0.6 * smooth + 0.4 * torch.rand(smooth.shape, generator=generator)).clamp(0, 1)


def wide(image: torch.Tensor) -> np.ndarray:
    return image.double().numpy()


def close(found: torch.Tensor, expected: np.ndarray | torch.Tensor, tolerance: float = FEW_ULP) -> None:
    assert found.dtype == torch.float32
    assert np.abs(wide(found) - np.asarray(expected, np.float64)).max() <= tolerance


# ---- Elementary functions


def test_exponential_logarithm_power_and_direction():
    x = torch.linspace(-40, 40, 10001, dtype=torch.float64)
    assert (elementary.exp(x) / x.exp() - 1).abs().max() < 1e-14
    y = torch.logspace(-30, 30, 10001, dtype=torch.float64)
    assert (elementary.log(y) - y.log()).abs().max() < 1e-14 * 70
    values = torch.linspace(0, 1, 1001)
    for exponent in (0.1, 0.4545, 2.0, 9.0):
        close(elementary.power(values, exponent), wide(values) ** exponent, 1e-7)
    for angle in np.linspace(-7, 7, 1001):
        assert np.abs(np.subtract(elementary.direction(angle), (np.cos(angle), np.sin(angle)))).max() < 1e-15


# ---- Colour


@pytest.mark.parametrize("seed", range(6))
def test_the_four_of_a_jitter_are_their_formulas_in_any_order(seed):
    rng = np.random.default_rng(seed)
    images = batch(4)
    drawn = {name: rng.uniform(0, 2, 4) for name in ("brightness", "contrast", "saturation")}
    drawn["hue_turns"] = rng.uniform(-0.5, 0.5, 4)
    orders = [ORDERS[number] for number in rng.integers(0, 24, 4)]
    found = ops.color(images, order=orders, **drawn)
    names = {"b": "brightness", "c": "contrast", "s": "saturation", "h": "hue_turns"}
    weights = np.array([0.2989, 0.587, 0.114])
    for row, order in enumerate(orders):
        image = wide(images[row])
        for letter in order:
            factor = float(np.float32(drawn[names[letter]][row]))
            gray = np.tensordot(weights, image, 1)
            if letter == "h":
                hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(3, -1).T]
                turned = [colorsys.hsv_to_rgb((h + factor) % 1, s, v) for h, s, v in hsv]
                image = np.array(turned).T.reshape(image.shape)
            else:
                other = {"b": 0.0, "c": gray.mean(), "s": gray[None]}[letter]
                image = np.clip(factor * image + (1 - factor) * other, 0, 1)
        # Where two channels are nearly equal, hue divides by their difference; saturation multiplies it again.
        close(found[row], image, 2e-5)


def test_offsets_gray_levels_and_gamma():
    images = batch()
    offsets = {f"offset_{letter}_8bit": value for letter, value in zip("rgb", (20.0, -35.5, 300.0 - 250))}
    expected = np.clip(wide(images) + np.array([20.0, -35.5, 50.0])[:, None, None] / 255, 0, 1)
    close(ops.color(images, **offsets), expected)
    weights = np.array([0.2989, 0.587, 0.114])
    gray = np.einsum("c,bchw->bhw", weights, wide(images))[:, None].repeat(3, 1)
    close(ops.color(images, gray=True), gray)
    expected = np.clip((wide(images) * 255 - 10.5) / (200 - 10.5), 0, 1) ** (1 / 2.2)
    # The power of a value near 0 is steep.
    close(ops.color(images, black_8bit=10.5, white_8bit=200, gamma=2.2), expected, 1e-3)
    assert np.mean(np.abs(wide(ops.color(images, black_8bit=10.5, white_8bit=200, gamma=2.2)) - expected)) < 1e-6
    assert torch.equal(ops.color(images), images)


# ---- Planes


def test_planes_move_by_whole_pixels_and_edges_repeat():
    images = batch()
    moved = ops.channel_shift(images, x1_px=3, y2_px=-2, x3_px=[0, -40])
    assert torch.equal(moved[:, 0, :, 3:], images[:, 0, :, :-3])
    assert torch.equal(moved[:, 0, :, :3], images[:, 0, :, :1].expand(-1, -1, 3))
    assert torch.equal(moved[:, 1, :-2], images[:, 1, 2:])
    assert torch.equal(moved[0, 2], images[0, 2])
    assert torch.equal(moved[1, 2], images[1, 2, :, -1:].expand(-1, 31))
    delayed = ops.channel_shift(images, "ycc", x2_px=4, x3_px=4)
    luma = torch.tensor([0.299, 0.587, 0.114])
    close(torch.einsum("c,bchw->bhw", luma, delayed), torch.einsum("c,bchw->bhw", luma, images))


YCC = {
    "bt601": [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]],
    "bt709": [[0.2126, 0.7152, 0.0722], [-0.114572106, -0.385427894, 0.5], [0.5, -0.454152908, -0.045847092]],
    "bt2020": [[0.2627, 0.6780, 0.0593], [-0.139630063, -0.360369937, 0.5], [0.5, -0.459785705, -0.040214295]],
}


@pytest.mark.parametrize("matrix", YCC)
@pytest.mark.parametrize(
    ("subsampling", "factors"), [("422", (1, 2)), ("440", (2, 1)), ("420", (2, 2)), ("410", (2, 4))]
)
@pytest.mark.parametrize(
    ("down", "up", "modes"),
    [
        ("box", "bilinear", ("torch_area", "torch_bilinear")),
        ("lanczos3", "cubic", ("lanczos3", "catmull_rom")),
        ("bilinear", "nearest", ("torch_bilinear_aa", "torch_nearest_exact")),
    ],
)
def test_chroma_is_made_small_and_large_again(matrix, subsampling, factors, down, up, modes):
    images = batch(1, 16, 24)
    to_ycc = np.array(YCC[matrix])
    planes = np.einsum("dc,bchw->bdhw", to_ycc, wide(images))
    small = resize_reference.resize(planes[:, 1:], (16 // factors[0], 24 // factors[1]), modes[0])
    planes[:, 1:] = resize_reference.resize(small, (16, 24), modes[1])
    expected = np.einsum("dc,bchw->bdhw", np.linalg.inv(to_ycc), planes)
    close(ops.chroma(images, subsampling, matrix, down, up), expected, 1e-5)


def test_pixels_become_blocks():
    images = batch(1, 24, 36)
    found = ops.pixelate(images, 4.0)
    means = wide(images).reshape(1, 3, 6, 4, 9, 4).mean(axis=(3, 5))
    close(found, means.repeat(4, 2).repeat(4, 3))
    assert torch.equal(ops.pixelate(images, 1.0), images)
    assert ops.pixelate(images[:, :, :1, :1], 64.0).shape == (1, 3, 1, 1)


# ---- Textures and analog video


def bc1_of(block: np.ndarray, fit: str) -> np.ndarray:
    """[16, 3] levels of a block after BC1, by its text: two colours of 5, 6 and 5 bits, every pixel the nearest of four."""
    low, high = block.min(0), block.max(0)
    inset = (high - low) // 16
    low, high = low + inset, high - inset
    if fit != "box":
        spread = block - block.mean(0)
        falls = (spread * spread[:, 1:2]).mean(0) < 0
        low, high = np.where(falls, high, low), np.where(falls, low, high)
    tops = np.array([31, 63, 31])

    def bits(colour):
        return np.floor(colour * tops / 255 + 0.5)

    def palette(first, second):
        a, b = (np.stack([c[0] * 8 + c[0] // 4, c[1] * 4 + c[1] // 16, c[2] * 8 + c[2] // 4]) for c in (first, second))
        return np.stack([a, b, (2 * a + b) // 3, (a + 2 * b) // 3])

    ends = bits(high), bits(low)
    chosen = ((block[:, None] - palette(*ends)[None]) ** 2).sum(2).argmin(1)
    if fit == "refined":
        share = np.array([1, 0, 2 / 3, 1 / 3])[chosen]
        if len(set(chosen.tolist())) > 1:
            found = np.linalg.lstsq(np.stack([share, 1 - share], 1), block.astype(float), rcond=None)[0]
            # Half a level is far from the roundings of a solver.
            ends = tuple(bits(np.clip(np.floor(colour + 0.5 + 1e-9), 0, 255)) for colour in found)
        chosen = ((block[:, None] - palette(*ends)[None]) ** 2).sum(2).argmin(1)
    return palette(*ends)[chosen]


@pytest.mark.parametrize("fit", ["box", "diagonal", "refined"])
def test_bc1_is_that_of_its_text(fit):
    images = batch(1, 22, 30)
    found = (ops.bc1(images, fit)[0] * 255).round().numpy()
    levels = np.pad(np.rint(wide(images)[0] * 255), ((0, 0), (0, 2), (0, 2)), "edge").astype(np.int64)
    for top in range(0, 24, 4):
        for left in range(0, 32, 4):
            block = levels[:, top : top + 4, left : left + 4].reshape(3, 16).T
            expected = bc1_of(block, fit).T.reshape(3, 4, 4)[:, : 22 - top, : 30 - left]
            assert np.array_equal(found[:, top : top + 4, left : left + 4], expected), (top, left)


def test_bc1_keeps_what_it_can_hold_and_refining_helps():
    flat = torch.full((1, 3, 8, 8), 132 / 255)
    assert (ops.bc1(flat, "box") - flat).abs().max() <= 4 / 255
    images = batch(1, 64, 64)
    errors = [float((ops.bc1(images, fit) - images).square().mean()) for fit in ("box", "diagonal", "refined")]
    assert errors[2] < errors[1] < errors[0]
    with pytest.raises(ValueError, match="bc1: fit must be"):
        ops.bc1(images, "best")


def test_analog_signals_come_late():
    images = batch(1, 8, 31)
    combed = ops.analog(images, comb_px=3.0)
    assert torch.equal(combed[:, :, 0::2], images[:, :, 0::2])
    assert torch.equal(combed[:, :, 1::2, 3:], images[:, :, 1::2, :-3])
    assert torch.equal(combed[:, :, 1::2, :3], images[:, :, 1::2, :1].expand(-1, -1, -1, 3))
    half = ops.analog(images, comb_px=-0.5)[:, :, 1::2, :-1]
    close(half, (wide(images)[:, :, 1::2, :-1] + wide(images)[:, :, 1::2, 1:]) / 2)
    late = ops.analog(images, chroma_delay_px=2.0)
    whole = ops.channel_shift(images, "ycc", x2_px=2, x3_px=2)
    close(late, whole, 2e-6)
    ghost = ops.analog(images, ghost_gain=[0.25], ghost_px=4.0)
    close(ghost[..., 4:], (wide(images)[..., 4:] + 0.25 * wide(images)[..., :-4]) / 1.25)
    close(ops.analog(torch.full((1, 3, 4, 9), 0.5), ghost_gain=-0.4), np.full((1, 3, 4, 9), 0.5))


def test_fields_of_a_clip_are_woven():
    frames = batch(4, 6, 8)
    woven = ops.analog(frames, weave=True, clip=True)
    assert torch.equal(woven[:, :, 0::2], frames[:, :, 0::2])
    assert torch.equal(woven[:-1, :, 1::2], frames[1:, :, 1::2])
    assert torch.equal(woven[-1], frames[-1])
    text = '[space]\nname = "a"\nscale = 1\n[[slot]]\nname = "a"\nop = "analog"\nweave = 1\ncomb_px = 1.5\n'
    tasks = pydegrade.sample(pydegrade.Space.loads(text), 0, [0], frames=4)
    eight_bit = (frames * 255).round() / 255
    expected = ops.analog(eight_bit, weave=True, comb_px=1.5, clip=True)
    close(pydegrade.degrade(eight_bit, tasks), wide((expected * 255).round() / 255), 1e-6)


# ---- Neighbourhoods


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 11, 13, 15])
@pytest.mark.parametrize("sides", [(23, 31), (1, 9), (4, 2), (1, 1)])
def test_median_is_scipy_s(size, sides, monkeypatch):
    from scipy.ndimage import median_filter

    # Strips of a few rows.
    monkeypatch.setattr(import_module("pydegrade.ops.median"), "_MOST_VALUES", 40_000)
    images = batch(1, *sides)
    found = ops.median(images, size)
    for channel in range(3):
        # SciPy mirrors once; what lies outside is laid out before.
        middle = median_filter(mirrored(images[0, channel].numpy(), size // 2), size=size)
        inner = middle[size // 2 : size // 2 + sides[0], size // 2 : size // 2 + sides[1]]
        assert np.array_equal(found[0, channel].numpy(), inner)
    # The form in torch, of other devices and of images with NaN.
    images[0, 0, 0, 0] = float("nan")
    again = ops.median(images, size)
    assert torch.equal(again[:, 1:], found[:, 1:])
    assert size == 1 or torch.isnan(again[0, 0]).any()


def mirrored(plane: np.ndarray, radius: int) -> np.ndarray:
    rows = blur_reference.reflect(np.arange(-radius, plane.shape[0] + radius), plane.shape[0])
    columns = blur_reference.reflect(np.arange(-radius, plane.shape[1] + radius), plane.shape[1])
    return plane[np.ix_(rows, columns)]


def test_even_medians_are_refused():
    with pytest.raises(ValueError, match="median: size_px must be odd, got 4"):
        ops.median(batch(), [3, 4])
    with pytest.raises(TypeError, match="median: size_px must be a number or 2 numbers, got Tensor"):
        ops.median(batch(), torch.tensor([3 + 0j]).conj())


def test_unsharp_adds_the_residual():
    images = batch()
    for sigma, threshold in ((0.5, 0.0), (2.0, 12.0), (8.0, 0.0)):
        taps = min(2 * int(3 * sigma + 1) + 1, 51)
        kernel = blur_reference.kernel("iso", taps, sigma)
        found = ops.unsharp(images, 1.5, sigma, threshold)
        for row in range(2):
            for channel in range(3):
                plane = wide(images[row, channel])
                residual = plane - blur_reference.blur(plane, kernel)
                expected = np.where(np.abs(residual) * 255 >= threshold, plane + 1.5 * residual, plane)
                wrong = np.abs(wide(found[row, channel]) - expected) > 5e-6
                # Residuals within rounding of the threshold fall to either side.
                assert np.all(np.abs(np.abs(residual[wrong]) * 255 - threshold) < 1e-3)


@pytest.mark.parametrize("radius", [0.0, 0.7, 2.5])
@pytest.mark.parametrize("gray", [0, 1])
def test_grain_is_filtered_noise_with_the_variance_of_covered_surfaces(radius, gray):
    image = batch(1)[0] * 1.2 - 0.1
    words = (11, 22, 2**32 - 1, 5)
    found = ops.find("film_grain").apply(image, {"sigma_8bit": 20.0, "radius_px": radius, "gray": gray}, words)
    ring = int(np.ceil(3 * radius))
    value = np.clip(wide(image), 0, 1)
    for channel in range(3):
        field = noise_reference.normals(words, "gaussian", 0 if gray else channel, 23 + 2 * ring, 31 + 2 * ring)
        if ring:
            kernel = blur_reference.kernel("iso", 2 * ring + 1, radius)
            field = blur_reference.blur(field, kernel)[ring:-ring, ring:-ring] / np.sqrt((kernel**2).sum())
        plane = value[channel]
        expected = np.clip(wide(image[channel]) + 20 / 255 * 2 * np.sqrt(plane * (1 - plane)) * field, 0, 1)
        # The field is right to 5e-7 of its own size.
        close(found[channel], expected, 5e-6)


def test_grain_at_middle_gray_has_its_deviation_and_correlation():
    flat = torch.full((1, 3, 256, 256), 0.5)
    grain = (ops.film_grain(flat, 20.0, 1.5) - 0.5).double() * 255 / 20
    # 196608 values, of which every 28 (4 pi radius^2) are worth one.
    assert abs(grain.square().mean() - 1) < 5 * (2 * 28 / 196608) ** 0.5
    neighbours = (grain[..., 3:] * grain[..., :-3]).mean()
    assert abs(neighbours - np.exp(-(3**2) / (4 * 1.5**2))) < 0.06
    assert not (grain[:, 0] * grain[:, 1]).mean().abs() > 0.06
    ends = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2).expand(1, 3, 8, 2)
    assert torch.equal(ops.film_grain(ends, 100.0), ends)


# ---- Sizes


@pytest.mark.parametrize(("sides", "factor"), [((12, 18), 0.5), ((23, 31), 0.3), ((9, 1), 0.7), ((5, 4), 1 / 64)])
@pytest.mark.parametrize("detail", [0.5, 1.0, 3.0])
def test_dpid_weighs_pixels_by_their_distance(sides, factor, detail):
    images = batch(2, *sides)
    height, width = (max(1, int(side * np.float32(factor))) for side in sides)
    found = ops.dpid(images, factor, detail)
    assert found.shape == (2, 3, height, width)
    for row in range(2):
        covered = {}
        for y, x in np.ndindex(height, width):
            y0, y1, x0, x1 = (edge * side / count for edge, side, count in (
                (y, sides[0], height), (y + 1, sides[0], height), (x, sides[1], width), (x + 1, sides[1], width)
            ))  # fmt: skip
            covered[y, x] = [
                (wide(images[row, :, j, i]), (min(j + 1, y1) - max(j, y0)) * (min(i + 1, x1) - max(i, x0)))
                for j in range(int(y0), int(np.ceil(y1 - 1e-9)))
                for i in range(int(x0), int(np.ceil(x1 - 1e-9)))
            ]
        mean = {at: sum(p * a for p, a in those) / sum(a for _, a in those) for at, those in covered.items()}
        for (y, x), those in covered.items():
            near = [
                (mean[y + j, x + i], (2 - abs(j)) * (2 - abs(i)))
                for j in (-1, 0, 1)
                for i in (-1, 0, 1)
                if (y + j, x + i) in mean
            ]
            guide = sum(p * w for p, w in near) / sum(w for _, w in near)
            weights = [a * np.sqrt(np.mean((p - guide) ** 2)) ** detail for p, a in those]
            expected = sum(p * w for (p, _), w in zip(those, weights)) / sum(weights)
            # A difference to the guide is right to an ulp of 1, and its power is what counts.
            assert np.abs(wide(found[row, :, y, x]) - expected).max() < 1e-4
    flat = torch.full((1, 3, 16, 12), 0.3)
    close(ops.dpid(flat, 0.25), np.full((1, 3, 4, 3), np.float32(0.3)))
    assert ops.dpid(flat[:0], 0.25).shape == (0, 3, 4, 3)
    assert ops.dpid(flat.to("meta"), 0.25).shape == (1, 3, 4, 3)


def test_dpid_of_values_without_squares_is_finite():
    images = 1e29 * batch()
    assert torch.isfinite(ops.dpid(images, 0.5)).all()
    assert not torch.isfinite(ops.dpid(torch.full_like(images, torch.nan), 0.5)).any()


def test_a_resize_between_two_gammas_is_one_of_light():
    text = """[space]
name = "light"
scale = 2
[[slot]]
name = "to_light"
op = "color"
gamma = 0.45454545
[[slot]]
name = "down"
op = "resize"
rule = "final"
mode = "torch_area"
[[slot]]
name = "from_light"
op = "color"
gamma = 2.2
"""
    image = batch(1, 16, 24)
    found = pydegrade.degrade(image, pydegrade.sample(pydegrade.Space.loads(text), 0, [0]))
    light = wide(image) ** 2.2
    expected = light.reshape(1, 3, 8, 2, 12, 2).mean(axis=(3, 5)) ** (1 / 2.2)
    # Rounded to 8 bits.
    close(found, expected, 0.51 / 255)


# ---- Few values


@pytest.mark.parametrize("levels", [2, 5, 64])
def test_levels_without_and_with_ordered_dither(levels):
    images = batch()
    top = levels - 1
    close(ops.quantize(images, levels), np.rint(wide(images) * top) / top)
    assert np.array_equal(bayer(2) * 4 + 1.5, [[0, 2], [3, 1]])
    assert np.array_equal(bayer(4)[0] * 16 + 7.5, [0, 8, 2, 10])
    for side in (2, 4, 8):
        tiled = np.tile(bayer(side), (23 // side + 1, 31 // side + 1))[:23, :31].astype(np.float64)
        expected = np.clip(np.rint(wide(images) * top + tiled), 0, top) / top
        found = wide(ops.quantize(images, levels, f"bayer{side}"))
        assert np.mean(np.abs(found - expected) > 1e-6) < 1e-3  # ties
    flat = torch.full((1, 3, 32, 32), 0.3)
    assert abs(ops.quantize(flat, 2, "bayer8").mean() - 0.3) < 1 / 64
    assert torch.equal(ops.quantize(images, 256), images)


ERRORS = {
    "floyd_steinberg": {(0, 1): 7 / 16, (1, -1): 3 / 16, (1, 0): 5 / 16, (1, 1): 1 / 16},
    "atkinson": dict.fromkeys([(0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0)], 1 / 8),
    "jarvis": {
        place: share / 48
        for place, share in zip(
            [(0, 1), (0, 2), *((1, dx) for dx in range(-2, 3)), *((2, dx) for dx in range(-2, 3))],
            [7, 5, 3, 5, 7, 5, 3, 1, 3, 5, 3, 1],
        )
    },
}


@pytest.mark.parametrize("dither", ERRORS)
def test_sums_of_diffused_errors_have_the_order_of_slopes(dither):
    """All values at one x + 3 y at a time, in float32: equal bits, also where sums decide about ties."""
    images, levels = batch(2, 40, 67)[:, :, :, :60], 4
    found = ops.quantize(images, levels, dither)
    top = np.float32(levels - 1)
    parts = {"floyd_steinberg": 16, "atkinson": 8, "jarvis": 48}[dither]
    work = images.numpy() * top
    out = np.zeros_like(work)
    height, width = work.shape[2:]
    for slope in range(width + 3 * (height - 1)):
        here = [(y, slope - 3 * y) for y in range(height) if 0 <= slope - 3 * y < width]
        ys, xs = np.array(here).T
        out[:, :, ys, xs] = np.clip(np.rint(work[:, :, ys, xs]), 0, top)
        error = (work - out)[:, :, ys, xs] / np.float32(parts)
        for (dy, dx), share in ERRORS[dither].items():
            inside = (ys + dy < height) & (xs + dx >= 0) & (xs + dx < width)
            work[:, :, ys[inside] + dy, xs[inside] + dx] += error[:, :, inside] * np.float32(round(share * parts))
    assert np.array_equal(found.numpy(), out * np.float32(1 / (levels - 1)))
    # What is broken stays seen: a value that is NaN, and what comes later.
    images[0, 1, 3, 5] = float("nan")
    broken = ops.quantize(images, levels, dither)[0]
    assert torch.isnan(broken[1].flatten()[3 * 60 + 5 :]).all()
    assert torch.equal(broken[1].flatten()[: 3 * 60 + 5], found[0, 1].flatten()[: 3 * 60 + 5])
    assert torch.equal(broken[[0, 2]], found[0, [0, 2]])


@pytest.mark.parametrize("dither", ERRORS)
@pytest.mark.parametrize("sides", [(9, 14), (14, 3), (1, 8), (7, 1), (1, 1)])
def test_errors_are_diffused_value_by_value(dither, sides):
    images = batch(1, *sides)
    levels = 4
    found = ops.quantize(images, levels, dither)
    for channel in range(3):
        # In float32 as there: the sums decide about ties.
        work = images[0, channel].numpy() * np.float32(levels - 1)
        out = np.zeros_like(work)
        for y in range(sides[0]):
            for x in range(sides[1]):
                out[y, x] = np.clip(np.rint(work[y, x]), 0, levels - 1)
                error = work[y, x] - out[y, x]
                for (dy, dx), share in ERRORS[dither].items():
                    if y + dy < sides[0] and 0 <= x + dx < sides[1]:
                        work[y + dy, x + dx] += np.float32(error * np.float32(share))
        # The sums' order differs, so a value within rounding of a tie may differ and carry its neighbours along.
        assert np.mean(np.abs(found[0, channel].numpy() - out / (levels - 1)) > 1e-6) <= 0.05
    if min(sides) > 1:
        assert abs(found.mean() - images.mean()) < 0.03


def test_a_palette_is_pillow_s():
    from PIL import Image

    images = batch()
    found = ops.palette(images, [5, 200], ["median_cut", "octree"], ["floyd_steinberg", "none"])
    for row, (colors, method) in enumerate(((5, Image.Quantize.MEDIANCUT), (200, Image.Quantize.FASTOCTREE))):
        levels = np.rint(wide(images[row]) * 255).astype(np.uint8).transpose(1, 2, 0)
        whole = Image.fromarray(np.ascontiguousarray(levels))
        chosen = whole.quantize(colors, method, dither=Image.Dither.NONE)
        if row == 0:
            chosen = whole.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)
        assert np.array_equal(np.rint(wide(found[row]) * 255).transpose(1, 2, 0), np.asarray(chosen.convert("RGB")))
        assert len({tuple(pixel) for pixel in found[row].reshape(3, -1).T.tolist()}) <= colors


# ---- Print, air and light


@pytest.mark.parametrize("dot", ["circle", "diamond", "line"])
@pytest.mark.parametrize("inks", ["gray", "rgb", "cmyk"])
def test_screens_keep_the_mean_tone(dot, inks):
    for tone in (0.0, 0.1, 0.35, 0.5, 0.8, 1.0):
        flat = torch.full((1, 3, 160, 160), tone)
        found = ops.screentone(flat, inks, 8.0, 0.3, dot, 1.0)
        assert found.min() >= 0
        assert found.max() <= 1
        # Pixels sample the cells; of white and black nothing is left but rounding.
        assert abs(found.mean() - tone) < (1e-3 if tone in (0.0, 1.0) else 0.01)
    if inks == "gray":
        assert torch.equal(found[:, 0], found[:, 2])


def test_a_screen_of_lines_is_its_formula():
    images = batch(1)
    found = ops.screentone(images, "gray", 5.0, 0.0, "line", 0.5)
    darkness = 1 - np.einsum("c,chw->hw", [0.299, 0.587, 0.114], wide(images[0]))
    v = np.abs(2 * np.mod(np.arange(23) / 5, 1) - 1)[:, None]
    ramp = 2 * 0.5 / 5
    # What gives the same mean over all thresholds from 0 to 1.
    levels = np.linspace(-ramp / 2, 1 + ramp / 2, 401)
    thresholds = (np.arange(500) + 0.5) / 500
    means = np.clip((levels[:, None] - thresholds) / ramp + 0.5, 0, 1).mean(axis=1)
    ink = np.clip((np.interp(darkness, means, levels) - v) / ramp + 0.5, 0, 1)
    # The table of means has steps.
    close(found[0, 0], 1 - ink, 5e-3)


def test_haze_and_low_light_are_their_formulas():
    images = batch()
    depth = 1 + 0.4 * (1 - (2 * np.arange(23) + 1) / 23)[:, None]
    through = np.exp(-1.3 * depth)
    close(ops.haze(images, 1.3, 0.7, 0.4), wide(images) * through + 0.7 * (1 - through))
    light = wide(images).max(axis=1, keepdims=True)
    close(ops.low_light(images, 2.5, 0.0), wide(images) * light**1.5)
    kernel = blur_reference.kernel("iso", 2 * int(3 * 3.0 + 1) + 1, 3.0)
    smooth = np.stack([blur_reference.blur(plane[0], kernel)[None] for plane in light])
    close(ops.low_light(images, 2.5, 3.0), wide(images) * smooth**1.5, 5e-6)


@pytest.mark.parametrize("name", ["color", "channel_shift", "chroma", "palette", "screentone"])
def test_ops_of_colour_refuse_images_without(name):
    with pytest.raises(ValueError, match=f"{name}: images must have 3 channels, got 1"):
        getattr(ops, name)(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bytes_and_planes_are_numpys(channels):
    rng = np.random.default_rng(0)
    for pixels in (1, 7, 33, 1024, 1025):
        levels = rng.integers(0, 256, (pixels, channels), np.uint8)
        planes = torch.empty(channels, pixels)
        sizes = {"pixels": pixels, "channels": channels}
        binding.call("planes_of_bytes", bytes=levels, planes=planes, **sizes)
        assert np.array_equal(planes.numpy(), levels.T.astype(np.float32) / np.float32(255))
        values = rng.normal(0.5, 0.5, (channels, pixels)).astype(np.float32)
        assert binding.call("bytes_of_planes", planes=values, bytes=levels, **sizes)
        assert np.array_equal(levels.T, np.rint(np.clip(values * np.float32(255), 0, 255)).astype(np.uint8))
        values[-1, -1] = np.nan
        assert not binding.call("bytes_of_planes", planes=values, bytes=levels, **sizes)


def test_huge_values_are_finite_where_their_sum_is_not():
    huge = torch.full((1, 2, 2), 3e38)
    assert engine._fault_of(huge, (1, 2, 2), huge.device) == ""
    huge[0, 1, 1] = torch.nan
    assert engine._fault_of(huge, (1, 2, 2), huge.device) == "finite values, got NaN or infinity"
