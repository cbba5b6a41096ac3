"""From the options of another project to a space, with a report of what became of every option."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import OptionsError, nearest, shown
from ..tasks.space import Space
from .chain import TORCH_MODES, Blur, Chain, Jpeg, Noise, Range, Resize, toml_of, toml_text
from .faces import faces_toml
from .files import is_number, read_options
from .wtp import read_wtp

_LONGEST_KEY = 100
"""Letters of an option's name that a report shows."""

Usm = Literal["none", "lq", "target"]
JpegMode = Literal["libjpeg", "diffjpeg_basicsr"]
KERNELS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


@dataclass(frozen=True)
class Report:
    """What became of the options that are about degradation.

    Attributes:
        dialect: whose options they are.
        mapped: (key, what it became) of options that the space follows exactly.
        approximated: (key, why) of options that it follows nearly.
        unsupported: (key, why) of options that it does not follow.
        ignored: (key, why) of options that their own project never reads.
        others: number of options that are about something else: network, training, files.
        usm: "none", "lq" (LR is made from the sharpened image), "target" (which is the target too).
        back: mode in which the project enlarges LR to the size of HR; a space ends at the LR size, so that this is for
            `Degrader(space, back=...)`. None: it does not.
        crop_px: side of the crops of HR, cut after degrading, that it trains on; None: it cuts none.
    """

    dialect: str
    mapped: tuple[tuple[str, str], ...] = ()
    approximated: tuple[tuple[str, str], ...] = ()
    unsupported: tuple[tuple[str, str], ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    others: int = 0
    usm: str = "none"
    back: str | None = None
    crop_px: int | None = None

    def __str__(self) -> str:
        titles = (
            ("mapped", self.mapped),
            ("nearly mapped", self.approximated),
            ("not mapped", self.unsupported),
            (f"never read by {self.dialect}'s own code", self.ignored),
        )
        lines = [f"options of {self.dialect}: " + ", ".join(f"{len(entries)} {title}" for title, entries in titles)]
        for title, entries in titles:
            if entries:
                # A file may call an option anything.
                keys = [key if len(key) <= _LONGEST_KEY else f"{key[: _LONGEST_KEY - 3]}..." for key, _ in entries]
                width = max(map(len, keys))
                lines += [f"{title}:", *(f"  {key:<{width}}  {note}" for key, (_, note) in zip(keys, entries))]
        if self.others:
            lines.append(f"{self.others} other options are about network, training and files")
        return "\n".join(lines)


@dataclass(frozen=True)
class Imported:
    """A space made of options: its text, the space and the report. The text has components only by `Space.loads`."""

    text: str
    space: Space
    report: Report


@dataclass(frozen=True)
class Dialect:
    """What the options of a project mean beside what they say.

    Attributes:
        summary: projects, for people.
        sections: paths of tables whose options count, the later ones first.
        usm, back: as the code does; "lq" and "target" may depend on options, see `_usm`.
        scale: fixed by the code, or None.
        sizes_px: kernels where no option says.
        hr_px: side of what is degraded, where no option says.
        ignored: options that are never read, and why.
    """

    summary: str
    sections: tuple[tuple[str, ...], ...]
    usm: Usm = "none"
    back: str | None = None
    scale: int | None = None
    sizes_px: tuple[int, int] = (7, 21)
    hr_px: int = 400
    ignored: Mapping[str, str] | None = None


_LIKE_DEGRADATION = re.compile(
    r"(second_|final_|gaussian_|poisson_|gray_)?(resize|downsample|noise|poisson|jpeg|webp|blur|kernel|sinc|beta[gp]|gray|degree"
    r"|degradation|sigma|color_jitter|codec|video|usm|sharp|thicklines|no_degradation|second_order)"
)
"""How keys begin that are about degradation: one that nobody asked for is named, not counted among the others."""

_FIXED_SIZES = "kernels of 7 to 21 px are fixed in the code"
_SIZES = {"blur_kernel_size": _FIXED_SIZES, "blur_kernel_size2": _FIXED_SIZES}
_TRAIN = ("datasets", "train")


_FACES = (
    (),
    _TRAIN,
    ("dataset", "train", "params"),
    ("data", "train", "params"),
    ("data", "params", "train", "params"),
)

_PARAMS_FILE = Dialect(
    "OSEDiff, PASD, FaithDiff, DLoRAL, PiSA-SR (.yml): LR enlarged in a random mode",
    ((), ("kernel_info",)),
    back="random",
    scale=4,
    hr_px=512,
    ignored={**_SIZES, "scale": "4 is fixed in the code"},
)
"""Projects that keep their degradation in a params_realesrgan.yml, and have the same code for it."""

DIALECTS: Mapping[str, Dialect] = {
    "realesrgan": Dialect("Real-ESRGAN, BasicSR (.yml)", ((), _TRAIN), usm="target", ignored=_SIZES),
    "osediff": _PARAMS_FILE,
    "pasd": _PARAMS_FILE,
    "hypir": Dialect(
        "HYPIR (.yaml)",
        (("data_config", "train", "dataset", "params"), ("data_config", "train", "batch_transform", "params")),
        back="torch_bicubic",
        hr_px=512,
        ignored=_SIZES,
    ),
    "diffbir": Dialect(
        "DiffBIR (.yaml)",
        (("dataset", "train", "params"), ("batch_transform", "params")),
        back="torch_bicubic",
        hr_px=512,
        ignored=_SIZES,
    ),
    "stablesr": Dialect(
        "StableSR (.yaml)",
        ((), ("data", "params", "train", "params"), ("degradation",)),
        usm="target",
        back="torch_bicubic",
        hr_px=512,
        ignored=_SIZES,
    ),
    "redux": Dialect(
        "traiNNer-redux (.yml)",
        ((), _TRAIN),
        sizes_px=(5, 17),
        ignored={
            "blur_kernel_size": "kernel_range counts",
            "blur_kernel_size2": "kernel_range2 counts",
        },
    ),
    "neosr": Dialect("neosr (.toml)", ((), _TRAIN, ("degradations",)), hr_px=512, ignored=_SIZES),
    "kair": Dialect("KAIR, BSRGAN (.json)", ((), _TRAIN), hr_px=320),
    "wtp": Dialect("wtp_dataset_destroyer (.hcl)", ((),)),
    "resshift": Dialect(
        "ResShift, SinSR (.yaml)", ((), ("opts",), ("data", "train", "params"), ("degradation",)), hr_px=256
    ),
    "faces": Dialect("GFPGAN, CodeFormer, DiffBIR stage 1, DifFace (.yml)", _FACES, scale=1, hr_px=512),
}
"""Projects whose options can be read, by name."""


def space_from_options(
    options: Mapping[str, Any] | str | os.PathLike[str],
    *,
    dialect: str | None = None,
    scale: int | None = None,
    usm: Usm | None = None,
    jpeg: JpegMode = "libjpeg",
    name: str | None = None,
) -> tuple[Space, Report]:
    """A space of the options by which another project degrades.

    Args:
        options: a file, or its content; also the project's own parsed options.
        dialect: one of DIALECTS; None: found out, where the options tell.
        scale: the SR factor, where the options do not say, or instead of it.
        usm: "none", "lq", "target": whether and for what the project sharpens, where its dialect does not know better.
        jpeg: "libjpeg", the pixels of real files at whole qualities; "diffjpeg_basicsr", the project's own approximation.
        name: of the space; default: that of the options or of the file.
    Raises:
        OptionsError: options that are missing, wrong, or of no known project. SpaceError: values that no space can have.
    """
    made = imported(options, dialect=dialect, scale=scale, usm=usm, jpeg=jpeg, name=name)
    return made.space, made.report


def imported(
    options: Mapping[str, Any] | str | os.PathLike[str],
    *,
    dialect: str | None = None,
    scale: int | None = None,
    usm: Usm | None = None,
    jpeg: JpegMode = "libjpeg",
    name: str | None = None,
) -> Imported:
    """As `space_from_options`, with the commented text."""
    if isinstance(options, Mapping):
        content, origin = options, "options"
    elif isinstance(options, (str, os.PathLike)):
        content, origin = read_options(options), os.path.basename(os.fspath(options))
    else:
        raise TypeError(f"space_from_options: options must be a table or a path, got {shown(options)}")
    if jpeg not in ("libjpeg", "diffjpeg_basicsr"):
        raise OptionsError(f"jpeg must be libjpeg or diffjpeg_basicsr, got {shown(jpeg)}")
    if usm not in (None, "none", "lq", "target"):
        raise OptionsError(f"usm must be none, lq or target, got {shown(usm)}")
    spoken = dialect if dialect is not None else _dialect_of(content, origin)
    if not isinstance(spoken, str) or spoken not in DIALECTS:
        raise OptionsError(f"dialect must be a known project, got {shown(spoken)}{nearest(str(spoken), DIALECTS)}")
    reader = OptionReader(content, DIALECTS[spoken], spoken)
    title = _name(name or content.get("name") or content.get("task") or os.path.splitext(origin)[0])
    if spoken == "kair":
        return _kair(reader, title, scale)
    if spoken == "wtp":
        return _wtp(content, title, origin, scale)
    if spoken == "faces":
        return _faces(reader, title, origin)
    chain = read_chain(reader, title, scale, usm, jpeg)
    text = toml_of(chain)
    head = f"# Made from the options of {spoken} ({_plain(origin)}): {_plain(DIALECTS[spoken].summary)}.\n"
    report = reader.report(chain.usm)
    if report.back is not None:
        head += f"# The project enlarges LR to the size of HR: pydegrade.Degrader(space, back={report.back!r}).\n"
    return Imported(head + text, Space.loads(head + text), report)


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _name(value: Any) -> str:
    """A name that a space may have."""
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in str(value)
    )
    return (kept.lstrip("._-") or "imported")[:100]


def _dialect_of(content: Mapping[str, Any], origin: str) -> str:
    """Whose options they are, by what only that project has."""
    train = _table(content, _TRAIN)
    for name, is_it in (
        ("wtp", isinstance(content.get("degradation"), list)),
        ("faces", any("downsample_range" in _table(content, path) for path in _FACES)),
        ("resshift", "second_order_prob" in _table(content, ("degradation",))),
        ("osediff", "kernel_info" in content),
        ("hypir", "data_config" in content),
        ("diffbir", "batch_transform" in content),
        ("stablesr", "degradation" in content and bool(_table(content, ("data", "params")))),
        ("kair", train.get("dataset_type") == "blindsr" or "degradation_type" in train),
        ("neosr", "degradations" in content or content.get("model_type") == "otf"),
        ("redux", content.get("high_order_degradation") is True or "resize_mode_list" in content),
        ("realesrgan", "resize_prob" in content and ("kernel_list" in train or "second_blur_prob" in content)),
    ):
        if is_it:
            return name
    raise OptionsError(
        f"{_plain(origin)}: whose options these are cannot be told: say which dialect, one of {', '.join(DIALECTS)}"
        + _hint(content)
    )


def _hint(content: Any, depth: int = 8) -> str:
    """Which dialect reads what this one does not."""
    if not isinstance(content, Mapping) or depth == 0:
        return ""
    if "downsample_range" in content:
        return "; chains of one stage, for faces, are the dialect faces"
    return next((found for found in (_hint(value, depth - 1) for value in content.values()) if found), "")


def _table(content: Any, path: Sequence[str]) -> Mapping[str, Any]:
    for key in path:
        content = content.get(key) if isinstance(content, Mapping) else getattr(content, key, None)
    return content if isinstance(content, Mapping) else {}


# ---- reading


class OptionReader:
    """Options by name, over the sections of a dialect; remembers what was asked for, for the report."""

    def __init__(self, content: Mapping[str, Any], dialect: Dialect, spoken: str) -> None:
        self.content, self.dialect, self.spoken = content, dialect, spoken
        self.values: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        for path in dialect.sections:
            for key, value in _table(content, path).items():
                # A later section counts, but not where it leaves an option open.
                if isinstance(key, str) and not (value is None and self.values.get(key) is not None):
                    self.values[key] = value
                    self.places[key] = ".".join((*path, key))
        self.mapped: dict[str, str] = {}
        self.approximated: dict[str, str] = {}
        self.unsupported: dict[str, str] = {}
        self.back = dialect.back
        self.crop_px: int | None = None

    def fail(self, key: str, expected: str) -> OptionsError:
        return OptionsError(f"{self.places.get(key, key)}: must be {expected}, got {shown(self.values[key])}")

    def get(self, key: str, default: Any, note: str) -> Any:
        """A value, noted as mapped; without a default it must be there."""
        if key not in self.values or self.values[key] is None:
            if default is None:
                raise OptionsError(f"{self.spoken}: the option {key!r} is missing")
            return default
        self.mapped[key] = note
        return self.values[key]

    def number(self, key: str, low: float, high: float, default: float | None = None, note: str = "") -> float:
        value = self.get(key, default, note)
        if not is_number(value) or not low <= value <= high:
            raise self.fail(key, f"a number in [{low:g}, {high:g}]")
        return float(value)

    def prob(self, key: str, default: float | None = None, note: str = "") -> float:
        return self.number(key, 0.0, 1.0, default, note)

    def span(self, key: str, default: Range | None = None, note: str = "") -> Range:
        value = self.get(key, default, note)
        if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(map(is_number, value)):
            raise self.fail(key, "[low, high]")
        return min(map(float, value)), max(map(float, value))

    def sizes(self, key: str, note: str) -> tuple[int, int]:
        low, high = self.span(key, self.dialect.sizes_px, note)
        if low != int(low) or high != int(high) or not 1 <= low <= 51 or high > 51 or int(low) % 2 == 0:
            raise self.fail(key, "[low, high], odd whole numbers up to 51")
        return int(low), int(high) - (int(high) - int(low)) % 2

    def weights(self, key: str, count: int | None = None, note: str = "") -> list[float]:
        value = self.get(key, None, note)
        good = isinstance(value, (list, tuple)) and 0 < len(value) <= 100 and all(map(is_number, value))
        if not good or min(value) < 0 or sum(value) <= 0 or (count is not None and len(value) != count):
            raise self.fail(key, f"{count or 'a list of'} weights, not all 0")
        return [float(weight) for weight in value]

    def report(self, usm: str) -> Report:
        known = {*self.mapped, *self.approximated, *self.unsupported, *(self.dialect.ignored or {})}
        for key, value in self.values.items():
            if key not in known and not isinstance(value, Mapping) and _LIKE_DEGRADATION.match(key):
                self.unsupported[key] = f"no option of {self.spoken} that is known here"
        ignored = {key: why for key, why in (self.dialect.ignored or {}).items() if key in self.values}
        if self.spoken == "realesrgan" and "gt_size" in _table(self.content, _TRAIN):
            ignored["datasets.train.gt_size"] = "gt_size beside the sections counts"
        seen = {*self.mapped, *self.approximated, *self.unsupported, *ignored}

        def entries(of: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
            return tuple((self.places.get(key, key), note) for key, note in of.items())

        mapped = {key: note for key, note in self.mapped.items() if key not in self.approximated and key not in ignored}
        return Report(
            self.spoken,
            entries(mapped),
            entries(self.approximated),
            entries(self.unsupported),
            entries(ignored),
            others=sum(key not in seen for key, value in self.values.items() if not isinstance(value, Mapping)),
            usm=usm,
            back=self.back,
            crop_px=self.crop_px,
        )


def read_chain(
    reader: OptionReader, name: str, scale: int | None = None, usm: Usm | None = None, jpeg: JpegMode = "libjpeg"
) -> Chain:
    """The chain that options mean."""
    if "resize_prob" not in reader.values:
        raise OptionsError(
            f"{reader.spoken}: there is no option 'resize_prob': these degrade nothing, or not by Real-ESRGAN's two stages"
            + _hint(reader.content)
        )
    factor = _scale(reader, scale)
    hr_px = _hr_px(reader, factor)
    redux = reader.spoken == "redux"
    chain = Chain(
        name=name,
        source=f"options of {reader.spoken}: {reader.dialect.summary}",
        scale=factor,
        hr_px=hr_px,
        blur1=_blur(reader, "", "blur_prob" if redux else None, "kernel_range"),
        resize1=_resize(reader, "", redux),
        noise1=_noise(reader, ""),
        jpeg1=_jpeg(reader, "", redux),
        blur2=_blur(reader, "2", "blur_prob2" if redux else "second_blur_prob", "kernel_range2"),
        resize2=_resize(reader, "2", redux),
        noise2=_noise(reader, "2"),
        jpeg2=_jpeg(reader, "2", redux),
        sinc_prob=reader.prob("final_sinc_prob", 0.0 if redux else None, "sinc: last filter"),
        sinc_size_px=reader.sizes("final_kernel_range", "sinc.size_px") if redux else _sizes_below(reader, "2"),
        second_prob=reader.prob("second_order_prob", 1.0, "second.on") if reader.spoken == "resshift" else 1.0,
        last_modes=_modes(reader, "3") if redux else TORCH_MODES,
        keep_skips=redux,
        jpeg_mode=jpeg,
    )
    chain = replace(chain, **_usm(reader, usm))
    _rest(reader)
    return chain


def _scale(reader: OptionReader, scale: int | None) -> int:
    if scale is not None:
        value: Any = scale
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 16:
            raise OptionsError(f"scale must be a whole number in 1..16, got {shown(value)}")
        return value
    if reader.dialect.scale is not None:
        return reader.dialect.scale
    key = {"hypir": "stage2_scale", "diffbir": "stage2_scale", "stablesr": "sf", "resshift": "sf"}.get(
        reader.spoken, "scale"
    )
    value = reader.get(key, 4 if key == "sf" else None, "scale")
    if not is_number(value) or value != int(value) or not 1 <= value <= 16:
        raise reader.fail(key, "a whole number in 1..16; give scale for another one")
    if value == 1:
        reader.back = None
    return int(value)


def _hr_px(reader: OptionReader, scale: int) -> int:
    """Side of what is degraded; what is cut from it afterwards is for the report."""
    side = float(reader.dialect.hr_px)
    if reader.spoken in ("hypir", "diffbir"):
        side = reader.number("out_size", 1, 65535, 512, "hr_px")
        if reader.spoken == "hypir" and reader.values.get("resize_back", True) is False:
            reader.back = None
        if "resize_back" in reader.values:
            reader.get("resize_back", None, "Degrader(back=...)")
    elif reader.spoken == "stablesr":
        side = reader.number("crop_size", 1, 65535, 512, "hr_px")
        if "gt_size" in reader.values:
            reader.crop_px = int(reader.number("gt_size", 1, 65535, note="crop of HR after degrading"))
    elif reader.spoken == "redux":
        lq = reader.number("lq_size", 0, 65535, 0, "crop of LR after degrading")
        gt = reader.number("gt_size", 0, 65535, 0, "crop of HR after degrading")
        crop = gt or lq * scale or 256
        reader.crop_px, side = int(crop), crop + 32
    elif reader.spoken == "resshift":
        side = reader.number("gt_size", 1, 65535, 256, "hr_px")
        if reader.get("resize_back", False, "Degrader(back=...)") is True:
            reader.back = "torch_bicubic"
    elif reader.spoken == "neosr":
        reader.crop_px = scale * int(reader.number("patch_size", 1, 65535, 64, "crop of LR after degrading"))
    elif reader.spoken == "realesrgan":
        reader.values.pop("gt_size", None)
        reader.places["gt_size"] = "gt_size"
        if reader.content.get("gt_size") is not None:
            reader.values["gt_size"] = reader.content["gt_size"]
            reader.crop_px = int(reader.number("gt_size", 1, 65535, note="crop of HR after degrading"))
    return max(scale, int(side) // scale * scale)


def _blur(reader: OptionReader, stage: str, prob: str | None, sizes: str) -> Blur:
    slot = f"blur{stage or 1}"
    names = reader.get(f"kernel_list{stage}", list(KERNELS) if reader.spoken == "redux" else None, f"{slot}.shape")
    if (
        not isinstance(names, (list, tuple))
        or not names
        or not all(isinstance(one, str) and one in KERNELS for one in names)
    ):
        raise reader.fail(f"kernel_list{stage}", f"a list of {', '.join(KERNELS)}")
    weights = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    if reader.spoken != "redux" or f"kernel_prob{stage}" in reader.values:
        weights = reader.weights(f"kernel_prob{stage}", len(names), f"{slot}.shape, weights")
    shapes: dict[str, float] = {}
    for kernel, weight in zip(names, weights):
        shapes[kernel] = shapes.get(kernel, 0.0) + weight
    redux = reader.spoken == "redux"
    return Blur(
        prob=1.0 if prob is None else reader.prob(prob, 0.0 if redux else None, f"{slot}.shape, delta"),
        shapes=tuple(shapes.items()),
        sinc_prob=reader.prob(f"sinc_prob{stage}", 0.0 if redux else None, f"{slot}.shape, sinc"),
        size_px=reader.sizes(sizes, f"{slot}.size_px") if redux else _sizes_below(reader, stage),
        sigma_px=reader.span(f"blur_sigma{stage}", (0.2, 2.0) if redux else None, f"{slot}.sigma_x_px, sigma_y_px"),
        betag=reader.span(f"betag_range{stage}", (0.5, 4.0) if redux else None, f"{slot}.beta, generalized"),
        betap=reader.span(f"betap_range{stage}", (1.0, 2.0) if redux else None, f"{slot}.beta, plateau"),
    )


def _sizes_below(reader: OptionReader, stage: str) -> tuple[int, int]:
    """Sides of kernels: of the dialect; ResShift's are the odd ones from 3 to below `blur_kernel_size`."""
    if reader.spoken != "resshift":
        return reader.dialect.sizes_px
    largest = int(reader.number(f"blur_kernel_size{stage}", 4, 53, None, f"blur{stage or 1}.size_px, below it"))
    return 3, largest - 1 - largest % 2


_REDUX_MODES = {
    "bilinear": "torch_bilinear_aa",
    "bicubic": "torch_bicubic_aa",
    "lanczos": "lanczos3",
    "nearest-exact": "torch_nearest_exact",
    "area": "torch_area",
}


def _modes(reader: OptionReader, stage: str) -> tuple[tuple[str, float], ...]:
    key, weights = f"resize_mode_list{stage}", f"resize_mode_prob{stage}"
    names = reader.get(key, ["bilinear", "bicubic", "nearest-exact", "lanczos"], f"resize{stage or 1}.mode")
    if (
        not isinstance(names, (list, tuple))
        or not names
        or not all(isinstance(one, str) and one in _REDUX_MODES for one in names)
    ):
        raise reader.fail(key, f"a list of {', '.join(_REDUX_MODES)}")
    given = (
        reader.weights(weights, len(names), f"resize{stage or 1}.mode, weights")
        if weights in reader.values
        else [1.0] * len(names)
    )
    if "lanczos" in names:
        reader.approximated[key] = "Lanczos of three lobes, normalised at borders; the other modes are torch's own"
    modes: dict[str, float] = {}
    for one, weight in zip(names, given):
        modes[_REDUX_MODES[one]] = modes.get(_REDUX_MODES[one], 0.0) + weight
    return tuple(modes.items())


def _resize(reader: OptionReader, stage: str, redux: bool) -> Resize:
    slot = f"resize{stage or 1}"
    probs = reader.weights(f"resize_prob{stage}", 3, f"{slot}.resize_factor, weights of up, down, keep")
    return Resize(
        (probs[0], probs[1], probs[2]),
        reader.span(f"resize_range{stage}", None, f"{slot}.resize_factor"),
        _modes(reader, stage) if redux else TORCH_MODES,
    )


def _noise(reader: OptionReader, stage: str) -> Noise:
    slot = f"noise{stage or 1}"
    redux = reader.spoken == "redux"
    return Noise(
        reader.prob(f"gaussian_noise_prob{stage}", 0.0 if redux else None, f"{slot}.kind"),
        reader.span(f"noise_range{stage}", (0.0, 0.0) if redux else None, f"{slot}.sigma_8bit"),
        reader.span(f"poisson_scale_range{stage}", (0.0, 0.0) if redux else None, f"{slot}.poisson_gain"),
        reader.prob(f"gray_noise_prob{stage}", 0.0 if redux else None, f"{slot}.gray"),
    )


def _jpeg(reader: OptionReader, stage: str, redux: bool) -> Jpeg:
    slot = f"jpeg{stage or 1}"
    prob = reader.prob(f"jpeg_prob{stage}", 1.0, f"{slot}.mode") if redux else 1.0
    return Jpeg(prob, reader.span(f"jpeg_range{stage}", (75.0, 95.0) if redux else None, f"{slot}.quality"))


def _usm(reader: OptionReader, usm: Usm | None) -> dict[str, Any]:
    """How the chain sharpens, by options and code."""
    values = reader.values
    radius: tuple[int, int] = (50, 50)
    found: str = reader.dialect.usm
    if reader.spoken == "realesrgan" and "gt_usm" in values and "l1_gt_usm" not in values:  # RealESRNetModel
        found = "target" if reader.get("gt_usm", None, "target") is True else "none"
    elif reader.spoken == "realesrgan":
        found = "lq" if reader.get("l1_gt_usm", True, "target") is False else "target"
        for key in ("percep_gt_usm", "gan_gt_usm"):
            if key in values and values[key] is not (found == "target"):
                reader.unsupported[key] = "a space has one target; use the sharpened and the plain image by hand"
            elif key in values:
                reader.mapped[key] = "target"
    elif reader.spoken == "resshift":
        found = "target" if reader.get("use_sharp", False, "target") is True else "none"
    elif reader.spoken in ("hypir", "diffbir"):
        found = "target" if reader.get("use_sharpener", True, "target") else "none"
    elif reader.spoken == "redux":
        found = "lq" if reader.get("lq_usm", False, "usm") else "none"
        if "lq_usm_radius_range" in values:
            low, high = reader.span("lq_usm_radius_range", None, "usm.radius_px")
            radius = int(low), int(high)
    return {"usm": found if usm is None else usm, "usm_radius_px": radius}


def _rest(reader: OptionReader) -> None:
    """Options about degradation that no slot stands for."""
    for key, why in (
        ("gray_prob", "gray LR images of one channel"),
        ("color_jitter_prob", "colour jitter"),
        ("thicklines_prob", "thick lines"),
        ("no_degradation_prob", "images that are not degraded"),
    ):
        value: Any = reader.values.get(key)
        if key in reader.values and (not is_number(value) or value > 0):
            reader.unsupported[key] = f"{why}: not in this chain"
        elif key in reader.values:
            reader.mapped[key] = "0: nothing to do"
    if reader.spoken == "redux":
        reader.get("high_order_degradation", True, "two stages")
    if "degree_list" in reader.values:
        reader.unsupported["degree_list"] = (
            "DASR mixes three degradations, this is the one without a suffix alone: presets dasr-weak, dasr-standard, "
            "dasr-severe, dasr-mixed"
        )
    for key in ("queue_size",):
        if key in reader.values:
            reader.unsupported[key] = "a pool that mixes batches; not needed, every image has its own task"
    for key in ("use_hflip", "use_rot"):
        if key in reader.values:
            reader.unsupported[key] = "crops are mirrored by who cuts them: --augment, PairDataset(augment=...)"


# ---- KAIR


def _kair(reader: OptionReader, name: str, scale: int | None) -> Imported:
    """BSRGAN's chain at any scale."""
    kind = reader.get("degradation_type", "bsrgan", "the preset's chain")
    if kind != "bsrgan":
        plus = "; of bsrgan_plus there is the preset bsrgan-plus-x4" if kind == "bsrgan_plus" else ""
        raise OptionsError(f"kair: degradation_type must be 'bsrgan', got {shown(kind)}{plus}")
    if "resize_prob" in reader.values:
        raise OptionsError("kair: there is an option 'resize_prob', which BSRGAN does not have: name another dialect")
    factor = _scale(reader, scale)
    side = reader.number("H_size", 1, 65535, 320, "hr_px")
    if "lq_patchsize" in reader.values:
        reader.crop_px = factor * int(reader.number("lq_patchsize", 1, 65535, note="crop of LR after degrading"))
    for key in ("shuffle_prob", "use_sharp"):
        if key in reader.values:
            reader.mapped.pop(key, None)
    text = bsrgan_toml(name, factor, max(factor, int(side) // factor * factor))
    never = {key: "only bsrgan_plus reads it" for key in ("shuffle_prob", "use_sharp") if key in reader.values}
    seen = {*reader.mapped, *never}
    report = Report(
        "kair",
        mapped=tuple((reader.places.get(key, key), note) for key, note in reader.mapped.items()),
        ignored=tuple((reader.places.get(key, key), note) for key, note in never.items()),
        others=sum(key not in seen for key, value in reader.values.items() if not isinstance(value, Mapping)),
        crop_px=reader.crop_px,
    )
    return Imported(text, Space.loads(text), report)


def _faces(reader: OptionReader, name: str, origin: str) -> Imported:
    """A chain of one stage, LR enlarged to the size of HR."""
    if "downsample_range" not in reader.values:
        raise OptionsError("faces: there is no option 'downsample_range': these degrade nothing, or not in one stage")
    made = faces_toml(reader, name, f"options of faces: {reader.dialect.summary}")
    text = f"# Made from the options of faces ({_plain(origin)}): {_plain(reader.dialect.summary)}.\n{made}"
    return Imported(text, Space.loads(text), reader.report("none"))


def _wtp(content: Mapping[str, Any], name: str, origin: str, scale: int | None) -> Imported:
    """A space of a list of degradations."""
    made = read_wtp(content, scale)
    tile = _table(content, ("tile",)).get("size", 512)
    side = int(tile) if is_number(tile) and made.scale <= tile <= 65535 else 512
    head = [
        f"# Made from the options of wtp ({_plain(origin)}): {DIALECTS['wtp'].summary}.",
        "[space]",
        f"name = {toml_text(name)}",
        f"scale = {made.scale}",
        f'source = "options of wtp: {DIALECTS["wtp"].summary}"',
        f"hr_px = {side // made.scale * made.scale}",
    ]
    text = "\n\n".join("\n".join(part) for part in [head, *made.slots]) + "\n"
    report = Report(
        "wtp",
        tuple(made.mapped.items()),
        tuple(made.approximated.items()),
        tuple(made.unsupported.items()),
        tuple(made.ignored.items()),
        others=made.others,
    )
    return Imported(text, Space.loads(text), report)


def bsrgan_toml(name: str, scale: int, hr_px: int) -> str:
    """BSRGAN's chain as a space upon its preset; for another scale than 4 without the first halving."""
    head = [
        "[space]",
        f'name = "{name}"',
        'base = "bsrgan-x4"',
        f"scale = {scale}",
        f"hr_px = {hr_px}",
        f'source = "options of kair: degradation_bsrgan, x{scale}"',
    ]
    if scale == 4:
        return "\n".join(head) + "\n"
    wide = f"{{ sqrt_uniform = [0.0, {4.0 + scale!r}] }}"
    sigma_x = f'{{ by = "shape", cases = {{ aniso = {wide} }}, default = {{ uniform = [0.0, {2 + 0.2 * scale!r}] }} }}'
    lines = [*head, 'without = ["down1"]']
    for blur in ("blur1", "blur2"):
        lines += ["", "[[slot]]", f'name = "{blur}"', f"sigma_x_px = {sigma_x}", f"sigma_y_px = {wide}"]
    shrink = f"{{ reciprocal_uniform = [1.0, {2.0 * scale!r}] }}"
    lines += [
        "",
        "[[slot]]",
        'name = "down2_blur"',
        f"sigma_x_px = {{ uniform = [0.1, {0.6 * scale!r}] }}",
        f"shift_px = {(scale - 1) / 2!r}",
        "",
        "[[slot]]",
        'name = "down2"',
        f'resize_factor = {{ by = "down2_blur.shape", cases = {{ delta = {shrink}, iso = {1 / scale!r} }} }}',
    ]
    return "\n".join(lines) + "\n"
