"""wtp_dataset_destroyer's configurations (.hcl): a list of degradations, each with a probability, as a space."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionsError, shown
from .chain import toml_choice, toml_text, toml_uniform
from .files import is_number

FILTERS = {
    "nearest": "torch_nearest_exact",
    "box": "matlab_box",
    "hermite": "hermite",
    "linear": "torch_bilinear_aa",
    "cubic_catrom": "catmull_rom",
    "cubic_mitchell": "mitchell",
    "cubic_bspline": "b_spline",
    "lanczos": "lanczos3",
    "mat_cubic": "matlab_bicubic",
    "lagrange": "catmull_rom",
    "gauss": "b_spline",
}
"""Filters of a resize; the last two stand for kernels that there are none of here."""

NEARLY = ("lagrange", "gauss")
_DITHERS = {
    "quantize": "none",
    "floydsteinberg": "floyd_steinberg",
    "atkinson": "atkinson",
    "jarvisjudiceninke": "jarvis",
}
_SUBSAMPLINGS = {"4:4:4": "off", "4:2:2": "422", "4:4:0": "440", "4:2:0": "420", "4:1:1": "411", "4:1:0": "410"}
_MATRICES = {"601": "bt601", "709": "bt709", "2020": "bt2020"}
_CHROMA_DOWN = {"box": "box", "linear": "bilinear", "lanczos": "lanczos3", "nearest": "nearest"}
_CHROMA_UP = {"nearest": "nearest", "linear": "bilinear", "cubic_catrom": "cubic"}
_CODECS = {"h264": "h264", "hevc": "h265", "mpeg2": "mpeg2", "mpeg4": "mpeg4", "vp9": "vp9"}

READ = {
    "resize": ("spread", "alg_lq", "alg_hq", "scale", "down_up", "up_down", "down_down", "color_fix", "gamma_correction"),
    "halo": ("kernel", "amount", "threshold", "type_halo"),
    "blur": ("filter", "kernel", "motion_size", "motion_angle", "target_kernel"),
    "compress": ("algorithm", "compress", "target_compress", "jpeg_sampling", "video_sampling"),
    "noise": (
        "type_noise", "alpha", "lqhq", "y_noise", "uv_noise", "normalize", "octaves", "frequency", "lacunarity", "scale",
        "clip", "motion", "bias", "probability_salt_or_pepper",
    ),
    "dithering": ("dithering_type", "color_ch", "map_size", "history", "ratio"),
    "saturation": ("rand",),
    "color": ("high", "low", "gamma"),
    "pixelate": ("size",),
    "subsampling": ("down", "up", "sampling", "blur", "yuv"),
}  # fmt: skip
"""Options that the project's code reads, beside `type` and `probability`, of the types that are mapped."""

NO_OP = {
    "screentone": "its cells and angles are drawn per plane; write a slot of op screentone by hand",
    "shift": "its shifts are percents of the image or whole pixels per plane; write a slot of op channel_shift by hand",
    "canny": "edges drawn into the image; there is no such op",
    "sin": "a sine wave over the image; there is no such op",
    "and": "a list inside of a list",
    "or": "a list inside of a list",
}
"""Types that are not mapped, and why."""

FILES = (
    "input", "output", "tile", "map_type", "num_workers", "laplace_filter", "size", "shuffle_dataset", "debug", "only_lq",
    "real_name", "out_clear",
)  # fmt: skip
"""Options about files."""


@dataclass
class Made:
    """What became of a configuration.

    Attributes:
        scale: 1 where nothing is resized.
        slots: TOML of slots and gates, in order.
        mapped, approximated, unsupported, ignored: as `Report` has them, by key.
        others: options about files.
    """

    scale: int = 1
    slots: list[list[str]] = field(default_factory=list)
    mapped: dict[str, str] = field(default_factory=dict)
    approximated: dict[str, str] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    others: int = 0


def read_wtp(content: Mapping[str, Any], scale: int | None = None) -> Made:
    """Slots of the degradations of a configuration.

    Args:
        content: of the file, blocks as lists of tables.
        scale: instead of the file's.
    Raises:
        OptionsError: no degradations, or options of the wrong kind.
    """
    entries = content.get("degradation")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise OptionsError(f"wtp: degradation must be blocks, one for each step, got {shown(entries)}")
    if len(entries) > 100:
        raise OptionsError(f"wtp: there must be at most 100 degradations, got {len(entries)}")
    made = Made()
    for number, entry in enumerate(entries, 1):
        kind = entry.get("type")
        if not isinstance(kind, str):
            raise OptionsError(f"degradation {number}: type must be a text, got {shown(kind)}")
        step = _Step(made, number, kind, entry)
        if kind in _MAKERS:
            _MAKERS[kind](step, scale)
            step.note_the_rest()
        else:
            made.unsupported[f"{step.where} {kind}"] = NO_OP.get(
                kind, "no degradation of the project that is known here"
            )
    for key, value in content.items():
        if key in ("gray", "gray_or_color"):
            if value:
                made.unsupported[key] = "images in gray: a slot of op color does it"
        elif key in FILES:
            made.others += 1
        elif key != "degradation":
            made.ignored[key] = "no option of the project"
    return made


class _Step:
    """A degradation of the list: its options, and notes about them."""

    def __init__(self, made: Made, number: int, kind: str, options: Mapping[str, Any]) -> None:
        self.made, self.number, self.kind, self.options = made, number, kind, options
        self.where = f"degradation {number}"
        self.name = f"{kind}{number}"
        self.share = self.number_of("probability", 1.0, 0.0, 1.0)

    def key(self, option: str) -> str:
        return f"{self.where}.{option}"

    def fail(self, option: str, expected: str) -> OptionsError:
        return OptionsError(f"{self.key(option)}: must be {expected}, got {shown(self.options[option])}")

    def mapped(self, option: str, note: str) -> None:
        if option in self.options:
            self.made.mapped[self.key(option)] = note

    def nearly(self, option: str, why: str) -> None:
        self.made.mapped.pop(self.key(option), None)
        self.made.approximated[self.key(option)] = why

    def left_out(self, option: str, why: str) -> None:
        self.made.mapped.pop(self.key(option), None)
        self.made.approximated.pop(self.key(option), None)
        self.made.unsupported[self.key(option)] = why

    def number_of(self, option: str, default: float, low: float, high: float) -> float:
        value = self.options.get(option, default)
        if not is_number(value) or not low <= value <= high:
            raise self.fail(option, f"a number in [{low:g}, {high:g}]")
        return float(value)

    def span(
        self, option: str, default: Sequence[float], low: float, high: float, note: str = ""
    ) -> tuple[float, float]:
        """[low, high] as numpy's uniform takes it, cut to what the column can hold."""
        value = self.options.get(option, default)
        self.mapped(option, note)
        return self._span(option, value, low, high)

    def _span(self, option: str, value: Any, low: float, high: float) -> tuple[float, float]:
        given = [value] if is_number(value) else value
        if not isinstance(given, Sequence) or not 1 <= len(given) <= 3 or not all(map(is_number, given)):
            raise OptionsError(f"{self.key(option)}: must be [low, high], got {shown(value)}")
        first, last = float(given[0]), float(given[1] if len(given) > 1 and given[1] > given[0] else given[0])
        if first < low or last > high:
            self.nearly(option, f"cut to [{low:g}, {high:g}]")
        return min(max(first, low), high), min(max(last, low), high)

    def target(
        self, option: str, inner: str, common: tuple[str, tuple[float, float]], low: float, high: float
    ) -> tuple[float, float]:
        """A range of the table `option`, or what is common to all: its option and range."""
        table = self.options.get(option)
        if table is not None and not isinstance(table, Mapping):
            raise self.fail(option, "a table of ranges")
        if table is None or inner not in table:
            return self._span(*common, low, high)
        self.mapped(option, self.name)
        return self._span(option, table[inner], low, high)

    def names(
        self, option: str, default: Sequence[str], known: Mapping[str, str], note: str
    ) -> list[tuple[str, float]]:
        """(ours, share) of a list of names; what is not known is left out and named."""
        value = self.options.get(option, list(default))
        if not isinstance(value, list) or not 1 <= len(value) <= 100 or not all(isinstance(one, str) for one in value):
            raise self.fail(option, "a list of names")
        self.mapped(option, note)
        shares: dict[str, float] = {}
        for one in value:
            if one in known:
                shares[known[one]] = shares.get(known[one], 0.0) + 1.0
        unknown = [one for one in dict.fromkeys(value) if one not in known]
        if unknown:
            shared = "; the others share the images" if shares else ", so that this step is left out"
            self.left_out(option, f"without {', '.join(unknown)}: no such thing here{shared}")
        return list(shares.items())

    def slot(self, name: str, op: str, *lines: str, comment: str = "") -> None:
        head = [f"# {comment}"] if comment else []
        self.made.slots.append([*head, "[[slot]]", f"name = {toml_text(name)}", f"op = {toml_text(op)}", *lines])

    def gate(self, slots: Sequence[tuple[str, float]]) -> None:
        """One of the slots by its share of all images, or none."""
        self.mapped("probability", ", ".join(name for name, _ in slots))
        before: list[str] = []
        left = 1.0
        for name, share in slots:
            if share >= left - 1e-12 and not before:
                return  # it always runs
            chance = min(1.0, share / left) if left > 1e-12 else 0.0
            on = f"{{ bernoulli = {chance:.12g} }}"
            for earlier in reversed(before):
                on = f'{{ by = "{earlier}.on", cases = {{ 0 = {on} }}, default = 0 }}'
            self.made.slots.append(["[[gate]]", f'name = "{name}_on"', f"slots = [{toml_text(name)}]", f"on = {on}"])
            before.append(f"{name}_on")
            left -= share

    def note_the_rest(self) -> None:
        """Options that nobody asked for: read by the project and not followed, or never read."""
        made = self.made
        named = {*made.mapped, *made.approximated, *made.unsupported}
        for option in self.options:
            key = self.key(option)
            if option == "type" or key in named:
                continue
            if option in READ[self.kind]:
                made.unsupported[key] = "not followed"
            else:
                made.ignored[key] = f"the project's {self.kind} does not read it"


def _whole(limits: tuple[float, float], end: float) -> str:
    """numpy's randint: without the upper end. Below `end`, also where both limits are there."""
    low, high = math.ceil(min(limits[0], end - 1)), math.ceil(limits[1])
    return f"{low}" if high - 1 <= low else f"{{ integers = [{low}, {high - 1}] }}"


# ---- degradations


def _resize(step: _Step, scale: int | None) -> None:
    if step.made.scale != 1:
        step.made.unsupported[f"{step.where} resize"] = "a second resize; the first one gives the LR size"
        return
    value = step.options.get("scale") if scale is None else scale
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 16:
        raise OptionsError(f"{step.key('scale')}: must be a whole number in 1..16, got {shown(value)}")
    step.made.scale = value
    step.mapped("scale", "scale")
    names = step.options.get("alg_lq")
    known = dict(FILTERS)
    for one in names if isinstance(names, list) else ():
        if isinstance(one, str) and one.startswith("dpid_"):
            known[one] = "matlab_box"
    modes = step.names("alg_lq", ["box"], known, f"{step.name}.mode")
    if not modes:
        raise OptionsError(f"{step.key('alg_lq')}: none of the filters is known here, got {shown(names)}")
    nearly = [one for one in names or () if one in NEARLY or one.startswith("dpid_")]
    if nearly and step.key("alg_lq") not in step.made.unsupported:
        step.nearly("alg_lq", f"{', '.join(nearly)} by the nearest kin: {', '.join(known[one] for one in nearly)}")
    for option, why in (
        ("spread", "HR is shrunk too, by a random factor: shrink the files first (degrade resize)"),
        ("alg_hq", "of the shrunk HR: see spread"),
        ("color_fix", "levels 0 to 254 of both images become 0 to 255"),
        ("gamma_correction", "stand slots of op color before and behind it (docs/spaces.md)"),
    ):
        given = step.options.get(option)
        if given and (option != "spread" or given not in ([1], [1, 1], 1)):
            step.left_out(option, why)
        elif option in step.options:
            step.mapped(option, "nothing to do")
    if step.share < 1:
        step.left_out("probability", "a pair has one scale: every image is resized")
    else:
        step.mapped("probability", step.name)
    step.slot(step.name, "resize", 'rule = "final"', f"mode = {toml_choice(modes)}", comment="To the LR size.")


def _halo(step: _Step, scale: int | None) -> None:
    kinds = step.names("type_halo", ["unsharp_mask"], {"unsharp_mask": "unsharp"}, f"{step.name}")
    if not kinds:
        return
    low, high = step.span("kernel", [0, 2], 0.1, 8.0, f"{step.name}.sigma_px")
    lines = [
        f"weight = {toml_uniform(step.span('amount', [1, 1], 0.0, 10.0, f'{step.name}.weight'))}",
        f"sigma_px = {toml_uniform((low, high))}",
    ]
    threshold = step.span("threshold", [0, 0], 0.0, 255.0, f"{step.name}.threshold_8bit")
    if threshold[1] > 0:
        lines.append(f"threshold_8bit = {toml_uniform(threshold)}")
        step.nearly("threshold", "smaller residuals are left alone, larger ones are not made smaller by it")
    step.slot(step.name, "unsharp", *lines)
    step.gate([(step.name, step.share)])


def _blur(step: _Step, scale: int | None) -> None:
    known = {"gauss": "iso", "box": "box", "lens": "disk", "motion": "motion", "median": "median"}
    kinds = step.names("filter", ["gauss"], known, f"{step.name}.shape")
    if not kinds:
        return
    total = sum(share for _, share in kinds)
    common = "kernel", step.span("kernel", [0, 1], 0.0, 20.0, step.name)
    shapes = [(shape, share) for shape, share in kinds if shape != "median"]
    names = {shape for shape, _ in shapes}
    slots = []
    if shapes:
        radii: dict[str, tuple[float, float]] = {}
        needed = 1.0
        if "iso" in names:
            sigma = step.target("target_kernel", "gauss", common, 0.0, 6.0)
            needed = max(needed, 4 * sigma[1])
        for name, shape in (("box", "box"), ("lens", "disk")):
            if shape in names:
                low, high = step.target("target_kernel", name, common, 0.0, 24.0)
                radii[shape] = (low + 0.5, high + 0.5)
        if "motion" in names:
            low, high = step.span("motion_size", [1, 2], 0.0, 50.0, f"{step.name}.radius_px")
            radii["motion"] = (low / 2, high / 2)
        needed = max([needed, *(high for _, high in radii.values())])
        lines = [f"shape = {toml_choice(shapes)}", f"size_px = {min(51, 2 * math.ceil(needed) + 1)}"]
        if "iso" in names:
            lines.append(f"sigma_x_px = {toml_uniform(sigma)}")
        if radii:
            cases = ", ".join(f"{shape} = {toml_uniform(limits)}" for shape, limits in radii.items())
            lines.append(f'radius_px = {{ by = "shape", cases = {{ {cases} }}, default = 0.0 }}')
        if "motion" in names:
            angle = step.span("motion_angle", [0, 1], -180.0, 180.0, f"{step.name}.angle_rad")
            lines.append(f"angle_rad = {toml_uniform((-math.radians(angle[1]), -math.radians(angle[0])))}")
        if radii:
            step.nearly("filter", "box, lens and motion are drawn without steps, with their edges in part")
        step.slot(step.name, "blur", *lines, 'border = "symmetric"')
        slots.append((step.name, step.share * sum(share for _, share in shapes) / total))
    for _, share in (one for one in kinds if one[0] == "median"):
        low, high = step.target("target_kernel", "median", common, 0.0, 15.0)
        sizes = [
            max(1, size + (size % 2 == 0)) if size else 1 for size in range(int(low), max(int(low) + 1, int(high)))
        ]
        counts = [(str(size), float(sizes.count(size))) for size in dict.fromkeys(sizes)]
        step.slot(f"median{step.number}", "median", f"size_px = {_numbers(counts)}")
        slots.append((f"median{step.number}", step.share * share / total))
    step.gate(slots)


def _numbers(parts: Sequence[tuple[str, float]]) -> str:
    """A choice of whole numbers, by how often they stand there."""
    if len(parts) == 1:
        return parts[0][0]
    values = ", ".join(value for value, _ in parts)
    weights = ", ".join(repr(weight / sum(count for _, count in parts)) for _, weight in parts)
    return f"{{ choice = [{values}], weights = [{weights}] }}"


def _compress(step: _Step, scale: int | None) -> None:
    known = {"jpeg": "jpeg", "webp": "webp", **_CODECS}
    kinds = step.names("algorithm", ["jpeg"], known, step.name)
    if not kinds:
        return
    total = sum(share for _, share in kinds)
    common = "compress", step.span("compress", [90, 100], 0.0, 101.0, "quality")
    slots = []
    table = step.options.get("target_compress")
    for unread in sorted(set(table) - set(known)) if isinstance(table, Mapping) else ():
        step.made.ignored[step.key(f"target_compress.{unread}")] = "the project's compress does not read it"
    for kind, share in kinds:
        theirs = next(name for name, ours in known.items() if ours == kind)
        name = f"{kind}{step.number}"
        if kind == "jpeg":
            samplings = {"4:4:4": "444", "4:4:0": "440", "4:2:2": "422", "4:2:0": "420", "4:1:1": "411"}
            chosen = step.names("jpeg_sampling", ["4:2:2"], samplings, f"{name}.subsampling")
            if not chosen:
                continue
            quality = _whole(step.target("target_compress", "jpeg", common, 1.0, 101.0), 101)
            lines = ['mode = "libjpeg"', f"quality = {quality}", f"subsampling = {toml_choice(chosen)}"]
        elif kind == "webp":
            quality = _whole(step.target("target_compress", "webp", common, 0.0, 101.0), 101)
            lines = ['mode = "lossy"', f"quality = {quality}", "method = 4"]
        else:
            column, least, most = (
                ("qscale", 1.0, 32.0) if kind.startswith("mpeg") else ("crf", 0.0, 64.0 if kind == "vp9" else 52.0)
            )
            quality = _whole(step.target("target_compress", theirs, common, least, most), most)
            lines = [f"codec = {toml_text(kind)}", f"{column} = {quality}"]
        op = kind if kind in ("jpeg", "webp") else "video"
        step.slot(name, op, *lines)
        slots.append((name, step.share * share / total))
    if any(kind not in ("jpeg", "webp") for kind, _ in kinds) and "video_sampling" in step.options:
        step.left_out("video_sampling", "video is 4:2:0 here")
    step.gate(slots)


def _noise(step: _Step, scale: int | None) -> None:
    known = {"gauss": "gaussian", "uniform": "uniform", "salt_and_pepper": "salt_pepper"}
    kinds = step.names("type_noise", ["uniform"], known, f"{step.name}.kind")
    if not kinds:
        return
    luma = step.number_of("y_noise", 0.0, 0.0, 1.0)
    chroma = (1 - luma) * step.number_of("uv_noise", 0.0, 0.0, 1.0)
    total = sum(share for _, share in kinds)
    shares: dict[str, float] = {}
    for kind, share in kinds:
        planes = (
            [("luma", luma), ("chroma", chroma), (kind, 1 - luma - chroma)] if kind != "salt_pepper" else [(kind, 1)]
        )
        for name, part in planes:
            if part > 0:
                shares[name] = shares.get(name, 0.0) + part * share / total
    for option in ("y_noise", "uv_noise"):
        step.mapped(option, f"{step.name}.kind, luma and chroma")
    if luma + chroma > 0 and any(kind != "gaussian" for kind, _ in kinds):
        step.nearly(
            "y_noise" if luma else "uv_noise", "noise of Y, of Cb and Cr is Gaussian here, and never salt or pepper"
        )
    alpha = step.span("alpha", [1, 2], 0.0, 1e6, f"{step.name}.sigma_8bit")
    if alpha[1] == 0 and "salt_pepper" not in shares:
        return
    # Gaussian noise of 0.25, uniform noise of -1 to 1; both times alpha.
    sigmas = {
        kind: (min(255.0, 255 * part * alpha[0]), min(255.0, 255 * part * alpha[1]))
        for kind, part in (("gaussian", 0.25), ("uniform", 1 / math.sqrt(3)))
    }
    lines = [f"kind = {toml_choice(list(shares.items()))}"]
    if "uniform" in shares:
        cases = f"uniform = {toml_uniform(sigmas['uniform'])}"
        lines.append(
            f'sigma_8bit = {{ by = "kind", cases = {{ {cases} }}, default = {toml_uniform(sigmas["gaussian"])} }}'
        )
    elif set(shares) - {"salt_pepper"}:
        planes_of = "gaussian" if any(kind == "gaussian" for kind, _ in kinds) else "uniform"
        lines.append(f"sigma_8bit = {toml_uniform(sigmas[planes_of])}")
    if "salt_pepper" in shares:
        density = step.span("probability_salt_or_pepper", [0, 0.5], 0.0, 1.0, f"{step.name}.density")
        lines.append(f"density = {toml_uniform(density)}")
    step.slot(step.name, "noise", *lines)
    step.gate([(step.name, step.share)])


def _dithering(step: _Step, scale: int | None) -> None:
    kinds = step.names("dithering_type", ["quantize"], {**_DITHERS, "order": "order"}, f"{step.name}.dither")
    ordered = dict(kinds).pop("order", 0.0)
    dithers = [one for one in kinds if one[0] != "order"]
    if ordered:
        sizes = step.options.get("map_size", [4, 8])
        step.mapped("map_size", f"{step.name}.dither, bayer")
        good = [int(size) for size in sizes if size in (2, 4, 8)] if isinstance(sizes, list) else []
        if not good or len(good) < len(sizes):
            step.left_out("map_size", "maps of 2, 4 and 8 px alone")
        dithers += [(f"bayer{size}", ordered / len(good)) for size in good]
    if not dithers:
        return
    levels = step.span("color_ch", [2, 10], 2.0, 257.0, f"{step.name}.levels")
    step.slot(step.name, "quantize", f"levels = {_whole(levels, 257)}", f"dither = {toml_choice(dithers)}")
    step.gate([(step.name, step.share)])


def _saturation(step: _Step, scale: int | None) -> None:
    value = step.span("rand", [0.5, 1.0], 0.0, 4.0)
    step.nearly("rand", "the distance from gray, not the saturation of HSV")
    if value != (1.0, 1.0):
        step.slot(step.name, "color", f"saturation = {toml_uniform(value)}")
        step.gate([(step.name, step.share)])


def _color(step: _Step, scale: int | None) -> None:
    gamma = step.span("gamma", [1, 1], 0.1, 10.0, f"{step.name}.gamma")
    for option, end in (("high", 255), ("low", 0)):
        if step.options.get(option) not in (None, end, [end], [end, end]):
            step.left_out(option, "levels of the output: black_8bit and white_8bit are those of the input")
    if gamma != (1.0, 1.0):
        step.slot(step.name, "color", f"gamma = {toml_uniform(gamma)}")
        step.gate([(step.name, step.share)])


def _pixelate(step: _Step, scale: int | None) -> None:
    low, high = step.span("size", [1, 1], 1.0, 64.0, f"{step.name}.block_px")
    first = step.options.get("size", [1, 1])
    share = step.share
    if isinstance(first, list) and len(first) > 1 and first[0] < 1 < first[1]:
        share *= (high - 1) / (high - first[0])  # sizes up to 1 leave the image alone
        step.made.approximated.pop(step.key("size"), None)
        step.mapped("size", f"{step.name}.block_px")
    if high > 1:
        step.slot(step.name, "pixelate", f"block_px = {toml_uniform((low, high))}")
        step.gate([(step.name, share)])


def _subsampling(step: _Step, scale: int | None) -> None:
    kinds = step.names("sampling", ["4:4:4"], _SUBSAMPLINGS, f"{step.name}.subsampling")
    matrices = step.names("yuv", ["601"], _MATRICES, f"{step.name}.matrix")
    down = step.names("down", ["nearest"], _CHROMA_DOWN, f"{step.name}.down")
    up = step.names("up", ["nearest"], _CHROMA_UP, f"{step.name}.up")
    blur = step.options.get("blur")
    if blur and blur not in (0, [0], [0, 0]):
        step.left_out("blur", "of Cb and Cr: there is no such op")
    elif "blur" in step.options:
        step.mapped("blur", "nothing to do")
    if not (kinds and matrices and down and up) or kinds == [("off", 1.0)]:
        return
    columns = {"subsampling": kinds, "matrix": matrices, "down": down, "up": up}
    step.slot(step.name, "chroma", *(f"{name} = {toml_choice(parts)}" for name, parts in columns.items()))
    step.gate([(step.name, step.share)])


_MAKERS: Mapping[str, Callable[[_Step, int | None], None]] = {
    "resize": _resize,
    "halo": _halo,
    "blur": _blur,
    "compress": _compress,
    "noise": _noise,
    "dithering": _dithering,
    "saturation": _saturation,
    "color": _color,
    "pixelate": _pixelate,
    "subsampling": _subsampling,
}
