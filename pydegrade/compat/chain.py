"""The two-stage chain of Real-ESRGAN, with the numbers that a project gives it, as the text of a space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

Range = tuple[float, float]
TORCH_MODES = (("torch_area", 1.0), ("torch_bilinear", 1.0), ("torch_bicubic", 1.0))
_THIRD_PI, _FIFTH_PI = math.pi / 3, math.pi / 5
_TURNED = ("aniso", "generalized_aniso", "plateau_aniso")


@dataclass(frozen=True)
class Blur:
    """Blur of a stage.

    Attributes:
        prob: that it happens.
        shapes: (name, weight) of kernels other than sinc.
        sinc_prob: of a sinc kernel in their place.
        size_px, sigma_px, betag, betap: ranges.
    """

    prob: float
    shapes: tuple[tuple[str, float], ...]
    sinc_prob: float
    size_px: tuple[int, int]
    sigma_px: Range
    betag: Range
    betap: Range


@dataclass(frozen=True)
class Resize:
    """Random resize of a stage: weights of up, down and keep, the range, (mode, weight)."""

    probs: tuple[float, float, float]
    factor: Range
    modes: tuple[tuple[str, float], ...] = TORCH_MODES


@dataclass(frozen=True)
class Noise:
    """Noise of a stage: probability of Gaussian, else Poisson; ranges; probability of one field for all channels."""

    gaussian_prob: float
    sigma_8bit: Range
    poisson_gain: Range
    gray_prob: float


@dataclass(frozen=True)
class Jpeg:
    """JPEG of a stage: probability and range of the quality."""

    prob: float
    quality: Range


@dataclass(frozen=True)
class Chain:
    """The whole chain.

    Attributes:
        scale: the SR factor, 1..16.
        usm: "none", "lq": LR is made from the sharpened image, "target": the target is sharpened too.
        usm_radius_px: range of the length of its Gaussian.
        sinc_prob, sinc_size_px: of the last filter.
        last_modes: (mode, weight) of the resize to the LR size.
        keep_skips: whether "keep" of the second resize leaves the size as it is, as in traiNNer-redux.
        shrink: for a space of scale 1: how many times smaller the second stage works than HR; `back` is then the mode that
            ends the chain at the HR size.
        second_prob: that blur, resize and noise of the second stage happen, all or none.
    """

    name: str
    source: str
    scale: int
    hr_px: int
    blur1: Blur
    resize1: Resize
    noise1: Noise
    jpeg1: Jpeg
    blur2: Blur
    resize2: Resize
    noise2: Noise
    jpeg2: Jpeg
    sinc_prob: float
    sinc_size_px: tuple[int, int]
    usm: str = "none"
    usm_radius_px: tuple[int, int] = (50, 50)
    last_modes: tuple[tuple[str, float], ...] = TORCH_MODES
    keep_skips: bool = False
    jpeg_mode: str = "libjpeg"
    shrink: float = 1.0
    back: str | None = None
    second_prob: float = 1.0


def toml_of(chain: Chain) -> str:
    """A commented TOML text of the space."""
    head = [
        "[space]",
        f"name = {toml_text(chain.name)}",
        f"scale = {chain.scale}",
        f"source = {toml_text(chain.source)}",
        *(['target = "usm"'] if chain.usm == "target" else []),
        f"hr_px = {chain.hr_px}",
    ]
    slots = [
        _usm(chain),
        _blur("blur1", chain.blur1),
        _resize("resize1", chain.resize1, 'rule = "input"'),
        _noise("noise1", chain.noise1),
        _jpeg("jpeg1", chain.jpeg1, chain.jpeg_mode),
        _blur("blur2", chain.blur2),
        _second_resize(chain),
        _noise("noise2", chain.noise2),
        _last_resize(chain),
        _sinc(chain),
        _jpeg("jpeg2", chain.jpeg2, chain.jpeg_mode),
    ]
    if chain.back is not None:
        slots.append(
            ["# Back to the size of HR.", *_slot("back", "resize"), 'rule = "final"', f"mode = {toml_text(chain.back)}"]
        )
    names = [name for name in ("resize3", "sinc") if any(f"name = {toml_text(name)}" in slot for slot in slots)]
    order = []
    if any('name = "jpeg2"' in slot for slot in slots):
        order = [
            "# JPEG before or after the resize to the LR size and the sinc filter.",
            "[order]",
            f"choice = [{_list([*names, 'jpeg2'])}, {_list(['jpeg2', *names])}]",
            "weights = [0.5, 0.5]",
        ]
    gate = []
    second = [
        name for name in ("blur2", "resize2", "noise2") if any(f"name = {toml_text(name)}" in slot for slot in slots)
    ]
    if chain.second_prob < 1 and second:
        on = f"on = {{ bernoulli = {chain.second_prob!r} }}"
        gate = [f"# The second stage of {_percent(chain.second_prob)} of the images.", "[[gate]]", 'name = "second"']
        gate += [f"slots = {_list(second)}", on]
    return "\n\n".join("\n".join(part) for part in [head, *slots, order, gate] if part) + "\n"


def shrunk(chain: Chain, times: float, back: str) -> Chain:
    """The chain in a space of scale 1: its second stage works at 1 / `times` of the HR size, and `back` enlarges."""
    return replace(chain, scale=1, shrink=times, back=back)


# ---- slots


def _slot(name: str, op: str) -> list[str]:
    return ["[[slot]]", f"name = {toml_text(name)}", f"op = {toml_text(op)}"]


def _usm(chain: Chain) -> list[str]:
    if chain.usm == "none":
        return []
    low, high = chain.usm_radius_px
    radius = f"{low}" if low == high else f"{{ integers = [{low}, {high}] }}"
    comment = "LR is made from the sharpened image" + (", which is the target." if chain.usm == "target" else ".")
    return [f"# {comment}", *_slot("usm", "sharpen"), "weight = 0.5", f"radius_px = {radius}", "threshold_8bit = 10"]


def _blur(name: str, blur: Blur) -> list[str]:
    total = math.fsum(weight for _, weight in blur.shapes)
    share = blur.prob * (1 - blur.sinc_prob) / total if total else 0.0
    kernels = [(shape, weight * share) for shape, weight in blur.shapes]
    shapes = _positive([("delta", 1 - blur.prob), *kernels, ("sinc", blur.prob * blur.sinc_prob)])
    if blur.prob <= 0 or not shapes:
        return []
    known = {shape for shape, _ in shapes}
    low, high = blur.size_px
    lines = [
        f"# {_percent(blur.prob)} of the images; of these a sinc kernel for {_percent(blur.sinc_prob)}.",
        *_slot(name, "blur"),
        f"shape = {toml_choice(shapes)}",
        f"size_px = {low}" if low == high else f"size_px = {{ integers = [{low}, {high}], step = 2 }}",
    ]
    if known - {"delta", "sinc"}:
        lines.append(f"sigma_x_px = {toml_uniform(blur.sigma_px)}")
    if known & set(_TURNED):
        lines += [
            f"sigma_y_px = {toml_uniform(blur.sigma_px)}",
            f"angle_rad = {{ uniform = [{-math.pi!r}, {math.pi!r}] }}",
        ]
    cases = [
        (shape, _half_half(beta))
        for kind, beta in (("generalized", blur.betag), ("plateau", blur.betap))
        for shape in sorted(known)
        if shape.startswith(kind)
    ]
    if cases:
        lines.append("# One half of the draws below 1, one half above.")
        texts = ", ".join(f"{shape} = {beta}" for shape, beta in cases)
        lines.append(f'beta = {{ by = "shape", cases = {{ {texts} }}, default = 1.0 }}')
    if "sinc" in known:
        lines.append(f"cutoff_rad = {_cutoff(blur.size_px)}")
    return lines


def _cutoff(size_px: tuple[int, int]) -> str:
    """Small kernels hold only high cut-offs."""
    small, large = f"{{ uniform = [{_THIRD_PI!r}, {math.pi!r}] }}", f"{{ uniform = [{_FIFTH_PI!r}, {math.pi!r}] }}"
    sizes = range(size_px[0], size_px[1] + 1, 2)
    below = [size for size in sizes if size < 13]
    if not below or len(below) == len(sizes):
        return small if below else large
    cases = ", ".join(f"{size} = {small}" for size in below)
    return f'{{ by = "size_px", cases = {{ {cases} }}, default = {large} }}'


def _factor(resize: Resize, shrink: float = 1.0, keep: bool = True) -> str:
    """Up, down, keep. NumPy's uniform numbers of a range that is turned round are those of the range."""
    low, high = resize.factor
    parts = [
        (toml_uniform(_sorted(1.0, high), shrink), resize.probs[0]),
        (toml_uniform(_sorted(low, 1.0), shrink), resize.probs[1]),
        (f"{1 / shrink!r}", resize.probs[2] if keep else 0.0),
    ]
    return _mixture(parts)


def _resize(name: str, resize: Resize, rule: str) -> list[str]:
    if resize.probs[0] + resize.probs[1] <= 0:
        return []
    return [
        "# Up, down, keep.",
        *_slot(name, "resize"),
        rule,
        f"resize_factor = {_factor(resize)}",
        f"mode = {toml_choice(resize.modes)}",
    ]


def _second_resize(chain: Chain) -> list[str]:
    resize = chain.resize2
    keep = resize.probs[2] / math.fsum(resize.probs)
    lines = ["# Up, down, keep; relative to the LR size.", *_slot("resize2", "resize")]
    if not (chain.keep_skips and keep > 0):
        factor = _factor(resize, chain.shrink)
        return [*lines, 'rule = "final"', f"resize_factor = {factor}", f"mode = {toml_choice(resize.modes)}"]
    if keep >= 1:
        return []
    factor = _factor(resize, chain.shrink, keep=False)
    return [
        *lines,
        "# Keep means the size that the image has.",
        f"rule = {toml_choice([('final', 1 - keep), ('input', keep)])}",
        f'resize_factor = {{ by = "rule", cases = {{ input = 1.0 }}, default = {factor} }}',
        f"mode = {toml_choice(resize.modes)}",
    ]


def _last_resize(chain: Chain) -> list[str]:
    lines = ["# To the LR size.", *_slot("resize3", "resize"), 'rule = "final"']
    if chain.shrink != 1:
        lines.append(f"resize_factor = {1 / chain.shrink!r}")
    return [*lines, f"mode = {toml_choice(chain.last_modes)}"]


def _noise(name: str, noise: Noise) -> list[str]:
    gaussian = noise.gaussian_prob if max(noise.sigma_8bit) > 0 else 0.0
    poisson = 1 - noise.gaussian_prob if max(noise.poisson_gain) > 0 else 0.0
    kinds = _positive([("off", 1 - gaussian - poisson), ("gaussian", gaussian), ("poisson", poisson)])
    if gaussian + poisson <= 0:
        return []
    return [
        *_slot(name, "noise"),
        f"kind = {toml_choice(kinds)}",
        *([f"sigma_8bit = {toml_uniform(noise.sigma_8bit)}"] if gaussian else []),
        *([f"poisson_gain = {toml_uniform(noise.poisson_gain)}"] if poisson else []),
        *([f"gray = {{ bernoulli = {noise.gray_prob!r} }}"] if noise.gray_prob > 0 else []),
    ]


def _jpeg(name: str, jpeg: Jpeg, mode: str) -> list[str]:
    if jpeg.prob <= 0:
        return []
    low, high = jpeg.quality
    quality = f"{{ uniform = [{low!r}, {high!r}]{', round = true' if mode == 'libjpeg' else ''} }}"
    if low == high:
        quality = f"{round(low) if mode == 'libjpeg' else low!r}"
    return [
        *_slot(name, "jpeg"),
        f"mode = {toml_choice(_positive([('off', 1 - jpeg.prob), (mode, jpeg.prob)]))}",
        f"quality = {quality}",
        *(['subsampling = "420"'] if mode == "libjpeg" else []),
    ]


def _sinc(chain: Chain) -> list[str]:
    if chain.sinc_prob <= 0:
        return []
    low, high = chain.sinc_size_px
    return [
        f"# A sinc filter for {_percent(chain.sinc_prob)} of the images.",
        *_slot("sinc", "blur"),
        f"shape = {toml_choice(_positive([('delta', 1 - chain.sinc_prob), ('sinc', chain.sinc_prob)]))}",
        f"size_px = {low}" if low == high else f"size_px = {{ integers = [{low}, {high}], step = 2 }}",
        f"cutoff_rad = {{ uniform = [{_THIRD_PI!r}, {math.pi!r}] }}",
    ]


# ---- TOML


def toml_text(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _list(values: Sequence[Any]) -> str:
    return "[" + ", ".join(toml_text(value) if isinstance(value, str) else repr(value) for value in values) + "]"


def _sorted(one: float, other: float) -> Range:
    return min(one, other), max(one, other)


def _positive(parts: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    # What is left of 1 after probabilities that sum to 1 may be a rounding error.
    return [(name, weight) for name, weight in parts if weight > 1e-12]


def _weights(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [float(f"{weight / total:.12g}") for weight in weights]


def toml_choice(parts: Sequence[tuple[str, float]]) -> str:
    kept = _positive(parts)
    names = [name for name, _ in kept]
    if len(names) == 1:
        return toml_text(names[0])
    weights = _weights([weight for _, weight in kept])
    equal = len(set(weights)) == 1
    return f"{{ choice = {_list(names)}{'' if equal else f', weights = {_list(weights)}'} }}"


def _mixture(parts: Sequence[tuple[str, float]]) -> str:
    kept = _positive(parts)
    if len(kept) == 1:
        return kept[0][0]
    texts = ", ".join(text for text, _ in kept)
    return f"{{ mixture = [{texts}], weights = {_list(_weights([weight for _, weight in kept]))} }}"


def toml_uniform(limits: Range, divisor: float = 1.0) -> str:
    low, high = (float(value) / divisor for value in limits)
    return f"{low!r}" if low == high else f"{{ uniform = [{low!r}, {high!r}] }}"


def _half_half(limits: Range) -> str:
    low, high = limits
    return _mixture([(toml_uniform(_sorted(low, 1.0)), 0.5), (toml_uniform(_sorted(1.0, high)), 0.5)])


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
