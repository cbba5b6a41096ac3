"""The interfaces of other projects: stand-ins of their calling code, and what their option files mean."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import pydegrade
from pydegrade.commands import cli
from pydegrade.commands.import_options import DIALECTS as DIALECTS_OF_THE_COMMAND
from pydegrade.compat import (
    DIALECTS,
    basicsr,
    clips,
    diffbir,
    dove,
    faithdiff,
    feeding,
    hypir,
    imported,
    kair,
    mmagic,
    neosr,
    osediff,
    pasd,
    redux,
    seesr,
)
from pydegrade.compat.chain import shrunk, toml_of
from pydegrade.compat.files import read_options
from pydegrade.compat.options import OptionReader, read_chain
from pydegrade.errors import OptionsError, PydegradeError
from pydegrade.tasks.space import preset_names

STAGES: dict[str, Any] = {
    "resize_prob": [0.2, 0.7, 0.1], "resize_range": [0.15, 1.5], "gaussian_noise_prob": 0.5, "noise_range": [1, 30],
    "poisson_scale_range": [0.05, 3.0], "gray_noise_prob": 0.4, "jpeg_range": [30, 95], "second_blur_prob": 0.8,
    "resize_prob2": [0.3, 0.4, 0.3], "resize_range2": [0.3, 1.2], "gaussian_noise_prob2": 0.5, "noise_range2": [1, 25],
    "poisson_scale_range2": [0.05, 2.5], "gray_noise_prob2": 0.4, "jpeg_range2": [30, 95],
}  # fmt: skip
"""The published stages of Real-ESRGAN, under the keys that most projects use."""

FAMILIES = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
KERNELS: dict[str, Any] = {
    "blur_kernel_size": 21, "kernel_list": FAMILIES, "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
    "sinc_prob": 0.1, "blur_sigma": [0.2, 3], "betag_range": [0.5, 4], "betap_range": [1, 2], "blur_kernel_size2": 21,
    "kernel_list2": FAMILIES, "kernel_prob2": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03], "sinc_prob2": 0.1,
    "blur_sigma2": [0.2, 1.5], "betag_range2": [0.5, 4], "betap_range2": [1, 2], "final_sinc_prob": 0.8,
}  # fmt: skip
BATCH = {name: value for name, value in STAGES.items() if name != "jpeg"}
REALESRGAN = {
    "name": "run", "scale": 4, "l1_gt_usm": True, **STAGES, "gt_size": 64, "queue_size": 180,
    "datasets": {"train": {**KERNELS, "gt_size": 32, "use_hflip": True}}, "network_g": {"type": "RRDBNet"},
}  # fmt: skip
OSEDIFF = {"scale": 4, "color_jitter_prob": 0.0, "gray_prob": 0.0, **STAGES, "kernel_info": KERNELS}


@pytest.fixture
def hr():
    return torch.from_numpy(np.random.default_rng(0).random((3, 3, 128, 128), np.float32))


# ---- options


def same_tasks(space, preset):
    """Whether two spaces draw the same values for every effect of 200 tasks."""
    one, other = (pydegrade.sample(made, 5, range(200)) for made in (space, preset))
    assert one.orders() == other.orders()
    for name in {*one.columns, *other.columns}:
        assert np.array_equal(one.mask(name), other.mask(name)), name
        assert np.allclose(one.column(name), other.column(name), rtol=1e-6), name


@pytest.mark.parametrize(
    ("dialect", "options", "others"),
    [
        ("realesrgan", "REALESRGAN", {"name"}),
        ("osediff", "OSEDIFF", set()),
        ("pasd", "OSEDIFF", set()),
        ("redux", "REDUX_OTF", set()),
        ("stablesr", "STABLESR", set()),
        ("neosr", "NEOSR", {"name", "model_type", "datasets.train.batch_size"}),
        ("kair", "KAIR", {"task", "datasets.train.dataset_type"}),
    ],
)
def test_every_option_is_accounted_for(dialect, options, others):
    """Mapped, nearly mapped, not mapped or never read; what is left over is about something else, and counted."""

    def leaves(table, *path):
        for key, value in table.items():
            yield from leaves(value, *path, key) if isinstance(value, dict) else [".".join((*path, key))]

    report = imported(globals()[options], dialect=dialect).report
    named = [
        key for part in (report.mapped, report.approximated, report.unsupported, report.ignored) for key, _ in part
    ]
    assert len(named) == len(set(named))
    tables = {key for key in leaves(globals()[options]) if not key.startswith("network_")}
    assert tables - set(named) == others
    assert set(named) <= tables
    assert report.others == len(others)


def test_a_crop_that_is_no_number_is_refused():
    with pytest.raises(OptionsError, match=r"^gt_size: must be a number in \[1, 65535\], got '256'"):
        imported({**REALESRGAN, "gt_size": "256"})


def test_published_options_are_the_preset():
    made = imported(REALESRGAN)
    assert (made.report.dialect, made.report.usm, made.report.back, made.report.crop_px) == (
        "realesrgan",
        "target",
        None,
        64,
    )
    same_tasks(made.space, pydegrade.Space.load("realesrgan-x4"))
    approximated = imported(REALESRGAN, jpeg="diffjpeg_basicsr").space
    same_tasks(approximated, pydegrade.Space.load("realesrgan-x4-diffjpeg"))


def test_the_report_names_every_option_about_degradation():
    report = imported(REALESRGAN).report
    assert dict(report.mapped)["resize_range"] == "resize1.resize_factor"
    assert {key for key, _ in report.ignored} == {
        "datasets.train.blur_kernel_size", "datasets.train.blur_kernel_size2", "datasets.train.gt_size",
    }  # fmt: skip
    assert {key for key, _ in report.unsupported} == {"queue_size", "datasets.train.use_hflip"}
    named = {key.rpartition(".")[2] for entries in (report.mapped, report.ignored) for key, _ in entries}
    assert {*STAGES, *KERNELS} <= named
    text = str(report)
    assert "never read by realesrgan's own code" in text
    assert "datasets.train.gt_size" in text


def test_the_text_is_the_space():
    for options, dialect in ((REALESRGAN, None), (OSEDIFF, "pasd"), (REDUX, None), (NEOSR, None), (KAIR, None)):
        made = imported(options, dialect=dialect)
        assert pydegrade.Space.loads(made.text) == made.space
        assert made.text.startswith("#") or made.report.dialect == "kair"


def test_what_a_file_cannot_say_is_its_dialects():
    with pytest.raises(OptionsError, match="say which dialect"):
        imported({"scale": 4})
    assert imported(OSEDIFF).report.dialect == "osediff"
    made = imported({**OSEDIFF, "scale": 2, "gray_prob": 0.1}, dialect="pasd")
    assert (made.report.back, made.report.usm, made.space.scale) == ("random", "none", 4)
    assert dict(made.report.ignored)["scale"] == "4 is fixed in the code"
    assert [key for key, _ in made.report.unsupported] == ["gray_prob"]
    assert "usm" not in [slot.name for slot in made.space.slots]


def test_targets():
    net = {**{key: value for key, value in REALESRGAN.items() if key != "l1_gt_usm"}, "gt_usm": False}
    assert imported(net).report.usm == "none"
    assert imported({**net, "gt_usm": True}).space.target == "usm"
    plain = imported({**REALESRGAN, "l1_gt_usm": False})
    assert (plain.report.usm, plain.space.target, plain.space.slots[0].name) == ("lq", "hr", "usm")
    assert "gan_gt_usm" in dict(imported({**REALESRGAN, "gan_gt_usm": False}).report.unsupported)


REDUX: dict[str, Any] = {
    "scale": 4, "high_order_degradation": True, "lq_usm": True, "lq_usm_radius_range": [1, 25], "blur_prob": 0.5,
    "resize_prob": [0.2, 0.7, 0.1], "resize_mode_list": ["bilinear", "lanczos"], "resize_mode_prob": [0.5, 0.5],
    "resize_range": [0.4, 1.5], "gaussian_noise_prob": 0.0, "noise_range": [0, 0], "poisson_scale_range": [0, 0],
    "jpeg_prob": 1.0, "jpeg_range": [75, 95], "blur_prob2": 0.0, "resize_prob2": [0.3, 0.4, 0.3],
    "resize_range2": [0.6, 1.2], "jpeg_prob2": 0.25, "jpeg_range2": [75, 95], "datasets": {"train": {"lq_size": 16}},
}  # fmt: skip


def test_redux():
    made = imported(REDUX)
    slots = [slot.name for slot in made.space.slots]
    # Poisson of gain 0 and a blur that never happens are no slots; no noise of the second stage is given.
    assert slots == ["usm", "blur1", "resize1", "jpeg1", "resize2", "resize3", "jpeg2"]
    tasks = pydegrade.sample(made.space, 0, range(4000))
    kept = tasks.column("resize2.resize_factor") == 1
    assert np.array_equal(kept, np.array(tasks.labels("resize2.rule")) == "input")
    assert abs(kept.mean() - 0.3) < 0.03
    assert abs((~tasks.neutral("jpeg2")).mean() - 0.25) < 0.03
    assert (made.report.crop_px, made.space.hr_px) == (64, 96)
    assert "resize_mode_list" in dict(made.report.approximated)
    hr = torch.rand(8, 3, 96, 96)
    assert pydegrade.degrade(hr, tasks.take(slice(0, 8))).shape == (8, 3, 24, 24)


LIGHT: dict[str, Any] = {
    **STAGES, "resize_range": [0.3, 1.5], "noise_range": [1, 15], "poisson_scale_range": [0.05, 2.0],
    "jpeg_range": [60, 95], "second_blur_prob": 0.5, "resize_range2": [0.6, 1.2], "noise_range2": [1, 12],
    "poisson_scale_range2": [0.05, 1.0], "jpeg_range2": [60, 100],
}  # fmt: skip
STABLESR = {
    "sf": 4, "degradation": LIGHT,
    "data": {"params": {"train": {"params": {
        **KERNELS, "blur_sigma": [0.2, 1.5], "betag_range": [0.5, 2.0], "betap_range": [1, 1.5],
        "blur_sigma2": [0.2, 1.0], "betag_range2": [0.5, 2.0], "betap_range2": [1, 1.5], "crop_size": 512,
    }}}},
}  # fmt: skip
_FOUR = {"resize_mode_list": ["bilinear", "bicubic", "nearest-exact", "lanczos"], "resize_mode_prob": [0.25] * 4}
REDUX_OTF: dict[str, Any] = {
    **REDUX, "lq_usm": False, "blur_prob": 0.0, "jpeg_prob2": 1.0, "datasets": {"train": {"lq_size": 64}},
    **{f"{key}{stage}": value for stage in ("", "2", "3") for key, value in _FOUR.items()},
}  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "dialect", "options", "back"),
    [
        ("hypir", "hypir", {"data_config": {"train": {
            "dataset": {"params": {**KERNELS, "out_size": 512}},
            "batch_transform": {"params": {**BATCH, "use_sharpener": True, "stage2_scale": 4}},
        }}}, '"torch_bicubic"'),
        ("diffbir-v2", "diffbir", {
            "dataset": {"train": {"params": {**KERNELS, "out_size": 512}}},
            "batch_transform": {"params": {**BATCH, "use_sharpener": True, "stage2_scale": 4}},
        }, '"torch_bicubic"'),
        ("osediff", "osediff", OSEDIFF, '{ choice = ["torch_area", "torch_bilinear", "torch_bicubic"] }'),
        ("realesrgan-light-x4", "pasd", {"scale": 4, **LIGHT, "kernel_info": KERNELS}, None),
        ("stablesr-x4", "stablesr", STABLESR, None),
        ("redux-otf", "redux", REDUX_OTF, None),
    ],
)  # fmt: skip
def test_options_of_other_projects_are_their_presets(preset, dialect, options, back):
    expected = pydegrade.Space.load(preset)
    reader = OptionReader(options, DIALECTS[dialect], dialect)
    chain = read_chain(reader, preset)
    assert chain.hr_px == expected.hr_px
    if back is None:
        same_tasks(pydegrade.Space.loads(toml_of(chain)), expected)
        return
    made = toml_of(shrunk(chain, 4, "torch_bicubic"))
    over = f'[space]\nname = "{preset}"\nbase = "made"\n[[slot]]\nname = "back"\nmode = {back}\n'
    same_tasks(pydegrade.Space.loads(over, {"made": made}), expected)


NEOSR: dict[str, Any] = {
    "name": "span", "model_type": "otf", "scale": 4, "datasets": {"train": {"patch_size": 16, "batch_size": 2}},
    "degradations": {**STAGES, **KERNELS},
}  # fmt: skip
KAIR: dict[str, Any] = {
    "task": "psnr", "scale": 4,
    "datasets": {"train": {"dataset_type": "blindsr", "degradation_type": "bsrgan", "H_size": 320, "shuffle_prob": 0.1,
                           "lq_patchsize": 72}},
}  # fmt: skip


def test_neosr_and_kair():
    made = imported(NEOSR)
    assert (made.report.dialect, made.report.crop_px, made.report.usm) == ("neosr", 64, "none")
    made = imported(KAIR)
    same_tasks(made.space, pydegrade.Space.load("bsrgan-x4"))
    assert [key for key, _ in made.report.ignored] == ["datasets.train.shuffle_prob"]
    with pytest.raises(OptionsError, match="of bsrgan_plus there is the preset bsrgan-plus-x4"):
        imported({"scale": 4, "datasets": {"train": {"degradation_type": "bsrgan_plus"}}})


FACE: dict[str, Any] = {
    "out_size": 512, "blur_kernel_size": 41, "kernel_list": ["iso", "aniso"], "kernel_prob": [0.5, 0.5],
    "blur_sigma": [0.1, 10], "downsample_range": [0.8, 8], "noise_range": [0, 20], "jpeg_range": [60, 100],
}  # fmt: skip
JITTER = {"color_jitter_prob": 0.3, "color_jitter_shift": 20, "color_jitter_pt_prob": 0.3, "gray_prob": 0.01}


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("gfpgan", {"datasets": {"train": {**FACE, **JITTER}}}),
        ("codeformer-small", {"datasets": {"train": {
            **FACE, "downsample_range": [1, 12], "noise_range": [0, 15], "blur_sigma_large": [1, 15],
        }}}),
        ("difface", {"data": {"train": {"params": {
            **FACE, "blur_sigma": [0.1, 15], "downsample_range": [0.8, 32], "jpeg_range": [30, 100],
            "color_jitter_prob": None, "color_jitter_pt_prob": None, "gray_prob": 0.01, "gt_gray": True,
        }}}}),
        ("diffbir-face", {"batch_transform": {"target": "x"}, "dataset": {"train": {"params": {
            **FACE, "blur_sigma": [0.1, 12], "downsample_range": [1, 12], "noise_range": [0, 15],
            "jpeg_range": [30, 100],
        }}}}),
    ],
)  # fmt: skip
def test_options_for_faces_are_their_presets(preset, options):
    made = imported(options)
    assert made.report.dialect == "faces"
    assert made.report.others == 0
    same_tasks(made.space, pydegrade.Space.load(preset))
    not_mapped = {key.rpartition(".")[2] for key, _ in made.report.unsupported}
    assert not_mapped == {"codeformer-small": {"blur_sigma_large"}, "difface": {"gray_prob", "gt_gray"}}.get(
        preset, set()
    )


def test_resshift():
    degradation = {
        **STAGES,
        "sf": 4,
        "second_order_prob": 0.5,
        "gt_size": 256,
        "resize_back": False,
        "use_sharp": False,
    }
    data = {**KERNELS, "blur_kernel_size2": 15, "gt_size": "${degradation.gt_size}"}
    made = imported({"degradation": degradation, "data": {"train": {"type": "realesrgan", "params": data}}})
    assert (made.report.dialect, made.report.back, made.space.hr_px) == ("resshift", None, 256)
    assert dict(made.report.mapped)["data.train.params.blur_kernel_size"] == "blur1.size_px, below it"
    assert not made.report.unsupported
    assert not made.report.ignored
    same_tasks(made.space, pydegrade.Space.load("resshift-x4"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"downsample_range": [0, 8]}, "above 0"),
        ({"kernel_list": ["plateau_iso"]}, "a list of iso, aniso"),
        ({"blur_kernel_size": 40}, "must be odd"),
        ({"jpeg_range": "x"}, "low, high"),
        ({"color_jitter_prob": 2}, r"number in \[0, 1\]"),
    ],
)
def test_wrong_options_for_faces_are_one_line(change, words):
    with pytest.raises(PydegradeError, match=words) as caught:
        imported({"datasets": {"train": {**FACE, **change}}})
    assert "\n" not in str(caught.value)


WTP = """
input = "a"  # comments of
output = "b" // three
/* kinds */ real_name = true
degradation {
  type = "dithering"
  dithering_type = ["floydsteinberg", "order", "stucki"]
  map_size = [2, 16]
  color_ch = [8, 17]
  probability = 0.5
}
degradation {
  type = "resize"
  alg_lq = ["box", "lanczos",
    "lagrange", "down_up"]
  alg_hq = ["box"]
  spread = [1, 2, 0.5]
  scale = 2
  color_fix = true
}
degradation { type = "halo", kernel = [0, 2], amount = [0.5, 1], probability = 0.25 }
degradation {
  type = "blur"
  filter = ["gauss", "lens", "median"]
  target_kernel = { gauss = [0, 2], median = [2, 6] }
  probability = 0.9
}
degradation {
  type = "noise"
  type_noise = ["gauss", "salt_and_pepper"]
  y_noise = 0.5
  alpha = [0.04, 0.08, 0.01]
  probability_salt_or_pepper = [0, 0.1]
}
degradation {
  type = "compress"
  algorithm = ["jpeg", "webp", "h264"]
  target_compress = { jpeg = [40, 96], webp = [30, 60], h264 = [20, 31], av1 = [1, 2] }
  probability = 0.6
}
degradation { type = "pixelate", size = [0, 4] }
degradation { type = "sin" }
degradation { type = "color", high = [240, 255], gamma = [0.9, 1.1] }
tile = { size = 130 }
what = [-1, 2.5, true, null]
"""


def test_wtp(tmp_path):
    (tmp_path / "mine.hcl").write_text(WTP)
    content = read_options(tmp_path / "mine.hcl")
    assert content["what"] == [-1, 2.5, True, None]
    assert [entry["type"] for entry in content["degradation"]][:2] == ["dithering", "resize"]
    made = imported(tmp_path / "mine.hcl")
    report, space = made.report, made.space
    assert (report.dialect, space.name, space.scale, space.hr_px, report.others) == ("wtp", "mine", 2, 130, 4)
    assert dict(report.mapped)["degradation 1.color_ch"] == "dithering1.levels"
    assert set(dict(report.approximated)) == {"degradation 3.kernel", "degradation 4.filter", "degradation 5.y_noise"}
    unsupported = dict(report.unsupported)
    assert set(unsupported) == {
        "degradation 1.dithering_type", "degradation 1.map_size", "degradation 2.alg_lq", "degradation 2.alg_hq",
        "degradation 2.spread", "degradation 2.color_fix", "degradation 8 sin", "degradation 9.high",
    }  # fmt: skip
    assert "stucki" in unsupported["degradation 1.dithering_type"]
    assert set(dict(report.ignored)) == {"degradation 6.target_compress.av1", "what"}

    tasks = pydegrade.sample(space, 0, range(4000))

    def share(slot):
        return (~tasks.neutral(slot)).mean()

    # 0.02 is three standard deviations of a share of 4000 images, and a little.
    assert share("dithering1") == pytest.approx(0.5, abs=0.025)
    on = {name: np.asarray(tasks.column(f"{name}6_on.on")) for name in ("jpeg", "webp", "h264")}
    assert all(column.mean() == pytest.approx(0.2, abs=0.02) for column in on.values())
    assert max(sum(on.values())) == 1
    assert np.asarray(tasks.column("blur4_on.on")).mean() == pytest.approx(0.6, abs=0.025)
    assert np.asarray(tasks.column("pixelate7_on.on")).mean() == pytest.approx(0.75, abs=0.025)
    sizes = tasks.column("median4.size_px")[np.asarray(tasks.column("median4_on.on")) == 1]
    assert {size: (sizes == size).mean().round(1) for size in (3, 5)} == {3: 0.5, 5: 0.5}
    kinds = np.array(tasks.labels("noise5.kind"))
    assert [(kinds == kind).mean().round(2) for kind in ("luma", "gaussian", "salt_pepper")] == pytest.approx(
        [0.25, 0.25, 0.5], abs=0.025
    )
    sigma = tasks.column("noise5.sigma_8bit")[kinds == "gaussian"]
    assert (sigma.min(), sigma.max()) == pytest.approx((2.55, 5.1), abs=0.05)
    assert tasks.column("jpeg6.quality")[on["jpeg"] == 1].max() == 95
    lr = pydegrade.degrade(torch.rand(12, 3, 64, 64), tasks.take(slice(0, 12)))
    assert lr.shape == (12, 3, 32, 32)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("degradation = 3", "say which dialect"),
        ("degradation {}", "degradation 1: type must be a text"),
        ('degradation { type = "resize" }', "degradation 1.scale: must be a whole number"),
        ('degradation { type = "resize", scale = 2, alg_lq = ["what"] }', "none of the filters is known"),
        ('degradation { type = "blur", filter = "gauss" }', "a list of names"),
        ('degradation { type = "blur", kernel = ["a"] }', "must be .low, high."),
        ('degradation { type = "halo", probability = 2 }', "a number in"),
    ],
)
def test_wrong_options_of_wtp_are_one_line(tmp_path, text, words):
    (tmp_path / "a.hcl").write_text(text)
    with pytest.raises(OptionsError, match=words) as caught:
        imported(tmp_path / "a.hcl")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "note"),
    [
        # Ranges that are common to several kinds, of which one can take less; ends that are no value any more.
        ({"type": "compress", "algorithm": ["jpeg", "webp"], "compress": [0, 100]}, "cut to [1, 101]"),
        ({"type": "compress", "algorithm": ["jpeg", "mpeg2"], "compress": [101, 101]}, "cut to [1, 32]"),
        ({"type": "blur", "filter": ["gauss", "median"], "kernel": [0, 20]}, "cut to [0, 15]"),
        ({"type": "dithering", "color_ch": [257, 257]}, None),
        ({"type": "dithering", "dithering_type": ["order"], "map_size": [4.0]}, None),
        # Nothing that is known, nothing that acts.
        ({"type": "compress", "jpeg_sampling": ["4:9:9"]}, "without 4:9:9"),
        ({"type": "saturation", "rand": [1, 1]}, "the distance from gray"),
        ({"type": "noise", "type_noise": ["gauss", "uniform"], "alpha": [0, 0]}, None),
        # Names of any length, numbers of any size.
        ({"type": "color", "k" * 10000: 1}, "does not read it"),
    ],
)
def test_what_wtp_allows_makes_a_space(entry, note):
    report = imported({"degradation": [{"type": "resize", "scale": 2}, entry]}).report
    assert note is None or note in str(report)
    assert max(map(len, str(report).split("\n"))) < 300


@pytest.mark.parametrize("value", [10**400, [10**400, 1]])
def test_numbers_that_no_float_holds_are_one_line(value):
    with pytest.raises(OptionsError, match=r"must be \[low, high\]"):
        imported({"degradation": [{"type": "halo", "amount": value}]})
    with pytest.raises(OptionsError, match=r"must be \[low, high\]"):
        imported({"datasets": {"train": {**FACE, "downsample_range": value}}})


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_bsrgan_at_other_scales(scale):
    made = imported({**KAIR, "scale": scale})
    tasks = pydegrade.sample(made.space, 0, range(3000))
    iso = np.array(tasks.labels("blur1.shape")) == "iso"
    assert tasks.column("blur1.sigma_x_px")[iso].max() == pytest.approx(2 + 0.2 * scale, rel=0.02)
    assert tasks.column("blur1.sigma_y_px").max() == pytest.approx((4 + scale) ** 0.5, rel=0.02)
    assert pydegrade.degrade(torch.rand(4, 3, 60, 60), tasks.take(slice(0, 4))).shape[-1] == 60 // scale


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize_prob": [0.2, 0.7]}, "3 weights"),
        ({"resize_prob": "x"}, "3 weights"),
        ({"noise_range": 3}, r"\[low, high\]"),
        ({"gaussian_noise_prob": 1.5}, r"number in \[0, 1\]"),
        ({"jpeg_range": [30, float("nan")]}, r"\[low, high\]"),
        ({"scale": 0.5}, "whole number in 1..16"),
        ({"jpeg_range": [0, 95]}, "quality"),
        ({"resize_range": None}, "is missing"),
        ({"resize_range": [0.001, 1]}, "resize_factor"),
    ],
)
def test_wrong_options_are_one_line(change, words):
    with pytest.raises(PydegradeError, match=words) as caught:
        imported({**REALESRGAN, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: osediff.RealESRGAN_degradation(None), "opt_name must be a path or a table"),
        (lambda: kair.degradation_bsrgan(np.zeros((64, 64, 3), np.float32), lq_patchsize="8"), "lq_patchsize must be"),
        (lambda: kair.degradation_bsrgan(np.zeros((64, 64, 3), np.float32), lq_patchsize=0), "lq_patchsize must be"),
        (lambda: basicsr.filter2D(torch.zeros(1, 3, 8, 8), None), "kernel must be a tensor"),
        (lambda: basicsr.random_mixed_kernels(None, None), "must be lists of one length"),
        (lambda: basicsr.random_mixed_kernels(["iso"], []), "must be lists of one length"),
        (lambda: basicsr.add_jpg_compression(np.zeros((8, 8, 3)), None), "quality must be a number"),
        (lambda: basicsr.add_jpg_compression(np.zeros((8, 8, 3)), float("nan")), "quality must be a number"),
    ],
)
def test_wrong_arguments_are_one_line(call, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_unknown_projects_are_refused(tmp_path):
    with pytest.raises(OptionsError, match=r"^options: whose options these are cannot be told"):
        imported({"a": 1})
    path = tmp_path / "mine.yml"
    path.write_text("a: 1\n")
    with pytest.raises(OptionsError, match=r"^mine\.yml: whose options these are cannot be told"):
        imported(path)
    with pytest.raises(OptionsError, match="dialect must be a known project"):
        imported({"a": 1}, dialect=["kair"])
    # BSRGAN's chain would be made without one number of theirs.
    with pytest.raises(OptionsError, match="kair: there is an option 'resize_prob'"):
        imported(REALESRGAN, dialect="kair")
    with pytest.raises(OptionsError, match="did you mean 'osediff'"):
        imported(OSEDIFF, dialect="osedif")
    with pytest.raises(OptionsError, match=r"not by Real-ESRGAN's two stages$"):
        imported({"batch_transform": {}, "dataset": {"train": {"params": {"blur_sigma": [0.1, 12]}}}})
    with pytest.raises(TypeError):
        imported(3)


# ---- files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yml", "a: !!python/object/apply:os.system [touch /nowhere]", "a.yml:1: a tag that is never constructed"),
        ("a.yml", "a: 1\nb: !mine {x: 1}", "a.yml:2: a tag that is never constructed"),
        ("a.yml", "a: 1\n? [1, 2]\n: 3", "a.yml:2: not valid YAML: found unhashable key"),
        ("a.yml", "a: [1", "not valid YAML"),
        ("a.yml", "- 1", "expected a table"),
        ("a.yml", "a: 2020-13-99", "not valid YAML"),
        ("a.yml", "a: !!timestamp 1", "not valid YAML: a value is not what its tag says"),
        ("a.yml", "a: !!bool 3", "not valid YAML: a value is not what its tag says"),
        ("a.yml", "a: !!float _", "not valid YAML: a value is not what its tag says"),
        ("a.yml", "a: &a [x, x]\nb: [*a, *a]", "references to tables are not read"),
        ("a.yml", "[" * 1500, "nested too deeply"),
        ("a.yml", "x" * (2**18 + 1), "larger than"),
        ("a.yml", b"\xff\xfe", "not a text in UTF-8"),
        ("a.toml", "a = ", "not valid TOML"),
        ("a.json", '{"a": 1,}', "a.json:1: not valid JSON"),
        ("a.json", "[" * 100000, "nested too deeply"),
        ("a.ini", "a=1", "must end in .yml"),
        ("a.hcl", 'a = "${file(1)}"', "a.hcl:1: not a configuration in HCL: templates are not evaluated"),
        ("a.hcl", "a = [1,\nfile(1)]", "a.hcl:2: not a configuration in HCL: values, lists"),
        ("a.hcl", "a = b", "expected a value"),
        ("a.hcl", "a = 1\na = 2", "stands twice"),
        ("a.hcl", "a {", "expected a name, got 'the end of the file'"),
        ("a.hcl", "a = " + "[" * 5000, "nested too deeply"),
        ("a.hcl", "a = " + "9" * 5000, "too large"),
        ("a.hcl", 'a = "\\ud800"', "a text that is none"),
    ],
)
def test_hostile_files_are_one_line(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OptionsError, match=words) as caught:
        read_options(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path / "no.yml", tmp_path):
        with pytest.raises(OptionsError):
            read_options(path)


def test_yaml_and_json_as_projects_write_them(tmp_path):
    (tmp_path / "a.yml").write_text("lr: !!float 1e-4\nn: ~\nx: &x 3\ny: *x\n")
    assert read_options(tmp_path / "a.yml") == {"lr": 1e-4, "n": None, "x": 3, "y": 3}
    (tmp_path / "a.json").write_text('{"a": 1   // what\n, "b": [0] // more // and more\n}')
    assert read_options(tmp_path / "a.json") == {"a": 1, "b": [0]}


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return ended.value.code


def test_import_writes_a_space(tmp_path, capsys):
    assert tuple(DIALECTS) == DIALECTS_OF_THE_COMMAND
    file, out = tmp_path / "options.yml", tmp_path / "mine.toml"
    file.write_text(json.dumps({"scale": 4}))
    assert run("import", file, "-o", out) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()
    file.write_text(json.dumps(OSEDIFF))
    assert run("import", file, "--name", "mine", "-o", out) == 0
    said = capsys.readouterr()
    assert "options of osediff: " in said.err
    assert "back='random'" in said.err
    assert said.out == f"{out}; try: degrade check {out}\n"
    assert pydegrade.Space.load(out) == imported(OSEDIFF, dialect="osediff", name="mine").space
    assert run("import", file, "--dialect", "osediff", "-o", out) == 2
    assert "exists already" in capsys.readouterr().err
    file.write_text(json.dumps(REALESRGAN))
    assert run("import", file) == 0
    assert pydegrade.Space.loads(capsys.readouterr().out).name == "run"


# ---- per image: OSEDiff, PASD, KAIR


class Items(Dataset):
    """A dataset whose items degrade an image, as those projects write it."""

    def __init__(self, degradation):
        self.degradation = degradation
        self.image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

    def __len__(self):
        return 6

    def __getitem__(self, index):
        gt, lq = self.degradation.degrade_process(np.asarray(self.image) / 255.0, resize_bak=True)
        return {"gt": gt.squeeze(0), "lq": lq.squeeze(0), "task": self.degradation.last_address}


@pytest.mark.parametrize("module", [osediff, pasd])
def test_degrade_process(module, tmp_path, monkeypatch):
    (tmp_path / "params.yml").write_text(json.dumps(OSEDIFF))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    data = Items(module.RealESRGAN_degradation("params.yml", device="cpu"))
    assert data.degradation.last_address == ""
    items = [data[row] for row in range(6)]
    plain = torch.from_numpy(data.image).permute(2, 0, 1) / 255
    for item in items:
        assert item["gt"].shape == item["lq"].shape == (3, 64, 64)
        assert item["gt"].dtype == item["lq"].dtype == torch.float32
        assert torch.equal((item["lq"] * 255).round() / 255, item["lq"])
        assert torch.equal(item["gt"], plain) or torch.equal(item["gt"], plain.flip(-1))
    assert len({torch.equal(item["gt"], plain) for item in items}) == 2
    # The address gives the LR image again.
    gt, lq = data.degradation.degrade_process(data.image)
    tasks = pydegrade.TaskBatch.from_addresses([data.degradation.last_address], data.degradation.space)
    assert torch.equal(pydegrade.degrade(gt, tasks), lq)
    assert lq.shape == (1, 3, 16, 16)


def test_what_seesr_and_faithdiff_do_otherwise(tmp_path):
    (tmp_path / "params.yml").write_text(json.dumps(OSEDIFF))
    named: dict[str, Any] = {"__file__": str(tmp_path / "dataset.py"), "Class": seesr.RealESRGAN_degradation}
    exec("made = Class(opt_path='params.yml', device='cpu')", named)
    assert named["made"].space.scale == 4
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    plain = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    made = faithdiff.RealESRGAN_degradation(OSEDIFF)
    assert all(torch.equal(made.degrade_process(image, resize_bak=False, seed=1)[0], plain) for _ in range(8))
    mirrored = faithdiff.RealESRGAN_degradation(OSEDIFF, hflip=True)
    assert not all(torch.equal(mirrored.degrade_process(image)[0], plain) for _ in range(16))


@pytest.mark.slow
def test_workers_share_no_task():
    torch.manual_seed(0)
    data = Items(osediff.RealESRGAN_degradation(OSEDIFF))
    loader = DataLoader(data, batch_size=1, num_workers=2)
    tasks = [task for _ in range(2) for batch in loader for task in batch["task"]]
    assert len(tasks) == len(set(tasks)) == 12


def test_an_option_file_lies_beside_the_calling_module(tmp_path):
    (tmp_path / "params.yml").write_text(json.dumps(OSEDIFF))
    names: dict[str, Any] = {"__file__": str(tmp_path / "dataset.py"), "Class": osediff.RealESRGAN_degradation}
    exec("made = Class('params.yml')", names)
    assert names["made"].space.scale == 4
    (tmp_path / "my_utils").mkdir()
    # DLoRAL's lies beside its degradation, one folder further.
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "far.yml").write_text(json.dumps(OSEDIFF))
    names["__file__"] = str(tmp_path / "my_utils" / "training.py")
    exec("made = Class('far.yml')", names)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "far.yml").write_text("{}")
    with pytest.raises(OptionsError, match=r"^far\.yml: No such file"):  # which one is meant cannot be told
        exec("made = Class('far.yml')", names)
    with pytest.raises(OptionsError, match=r"^nothing\.yml: No such file"):
        exec("made = Class('nothing.yml')", names)


def test_degradation_bsrgan():
    image = np.random.default_rng(0).random((322, 325, 3))
    lq, hq = kair.degradation_bsrgan(image, sf=4, lq_patchsize=72, isp_model=None)
    assert lq.shape == (72, 72, 3)
    assert hq.shape == (288, 288, 3)
    assert lq.dtype == hq.dtype == np.float32
    found = [
        (top, left)
        for top in range(0, 33, 4)
        for left in range(0, 37, 4)
        if np.array_equal(hq, image[top : top + 288, left : left + 288].astype(np.float32))
    ]
    assert len(found) == 1
    for wrong in ({"img": image[:100]}, {"img": 3}, {"img": image, "isp_model": 1}, {"img": image, "sf": 0.5}):
        with pytest.raises(ValueError, match=r"^degradation_bsrgan: [^\n]*$"):
            kair.degradation_bsrgan(**wrong)


# ---- clips: DOVE, mmagic


FRAMES = list(np.random.default_rng(3).integers(0, 256, (3, 64, 80, 3), np.uint8))


def test_dove_degrade():
    """A dataset's method, called as its `preprocess` does."""

    class RealSRDataset:
        degrade = dove.degrade

    torch.manual_seed(5)
    dataset, given = RealSRDataset(), [frame.copy() for frame in FRAMES]
    lqs = dataset.degrade({"lqs": given, "kept": 1})
    assert lqs["kept"] == 1
    assert [(frame.shape, frame.dtype) for frame in lqs["lqs"]] == [((16, 20, 3), np.uint8)] * 3
    assert all(np.array_equal(frame, before) for frame, before in zip(given, FRAMES))
    # The clip's address rebuilds it; the preset does the same and enlarges the result.
    address = dataset.clip_degradation.last_address
    tasks = pydegrade.TaskBatch.from_addresses([address], clips.at_lr_size("dove"))
    hr = torch.from_numpy(np.stack(FRAMES)).permute(0, 3, 1, 2) / 255
    again = pydegrade.degrade(hr, tasks).mul(255).round().permute(0, 2, 3, 1)
    assert np.array_equal(np.stack(lqs["lqs"]), again.numpy())
    preset = pydegrade.sample("dove", tasks.seeds[0], tasks.indices[:1], frames=3)
    large = torch.nn.functional.interpolate(again.permute(0, 3, 1, 2) / 255, scale_factor=4, mode="bilinear")
    # Rounding to 8 bits before the enlargement, and after it.
    assert (pydegrade.degrade(hr, preset) - large.clamp(0, 1)).abs().max() < 1.1 / 255
    assert not np.array_equal(dataset.degrade({"lqs": given})["lqs"], lqs["lqs"])


def test_mmagic_transform():
    made = {order: mmagic.RealBasicVSRDegradation(["img"], channel_order=order, seed=2) for order in ("rgb", "bgr")}
    floats = [frame.astype(np.float64) for frame in FRAMES]
    results = made["rgb"]({"img": floats, "gt": floats})
    assert results["gt"] is floats
    assert [(frame.shape, frame.dtype) for frame in results["img"]] == [((16, 20, 3), np.float32)] * 3
    assert made["rgb"].space.target == "hr"
    turned = made["bgr"]({"img": [frame[..., ::-1] for frame in FRAMES]})["img"]
    assert np.array_equal(np.stack(turned)[..., ::-1], np.stack(results["img"]))
    assert made["rgb"]({"img": FRAMES[0]})["img"].shape == (16, 20, 3)
    for wrong in (3, [], [FRAMES[0], FRAMES[0][:32]], [FRAMES[0].astype(int)], [FRAMES[0][..., 0]]):
        with pytest.raises(PydegradeError, match=r"clip must[^\n]*$"):
            made["rgb"]({"img": wrong})
    with pytest.raises(PydegradeError, match="channel_order must be"):
        mmagic.RealBasicVSRDegradation(channel_order="yuv")


# ---- batches: HYPIR, DiffBIR


def hypir_transform(**changes):
    options = {
        "hq_key": "hq",
        "extra_keys": ["txt"],
        "use_sharpener": True,
        "queue_size": 256,
        "stage2_scale": 4,
        **BATCH,
    }
    return hypir.RealESRGANBatchTransform(**{**options, "seed": 3, **changes})


def diffbir_transform(**changes):
    options = {"use_sharpener": True, "queue_size": 256, "stage2_scale": 4, **BATCH}
    return diffbir.RealESRGANBatchTransform(**{**options, "seed": 3, **changes})


def test_hypir(hr):
    batch = {"hq": hr, "txt": list("abc"), "kernel1": torch.zeros(3, 21, 21), "other": 1}
    transform = hypir_transform()
    made = transform(batch)
    assert set(made) == {"GT", "LQ", "txt"}
    tasks = pydegrade.TaskBatch.from_addresses(transform.chain.last_addresses, transform.chain.space)
    pair = pydegrade.degrade_batch(hr, tasks)
    assert torch.equal(made["GT"], pair.target)
    assert torch.equal(made["GT"], pydegrade.ops.sharpen(hr))
    back = pydegrade.ops.resize(pair.lr, (128, 128), mode="torch_bicubic").clamp(0, 1)
    assert torch.equal(made["LQ"], (back * 255).round() / 255)
    same_tasks(transform.chain.space, pydegrade.Space.load("realesrgan-x4"))
    assert hypir_transform(resize_back=False)(batch)["LQ"].shape == (3, 3, 32, 32)
    assert torch.equal(hypir_transform(use_sharpener=False)(batch)["GT"], hr)


def test_diffbir(hr):
    hq, lq, text = diffbir_transform()({"hq": hr, "txt": list("abc")})
    theirs = hypir_transform()({"hq": hr, "txt": list("abc")})
    assert text == list("abc")
    assert torch.equal(hq, (theirs["GT"] * 2 - 1).permute(0, 2, 3, 1))
    assert torch.equal(lq, theirs["LQ"].permute(0, 2, 3, 1))
    assert hq.is_contiguous()
    assert lq.is_contiguous()


@pytest.mark.slow
def test_ranges_of_the_second_scale(hr):
    transform = diffbir_transform(stage2_scale=[2, 8])
    hq, lq, _ = transform({"hq": hr, "txt": list("abc")})
    assert lq.shape == hq.shape == (3, 128, 128, 3)
    tasks = pydegrade.sample(transform.chain.space, 0, range(2000))
    last = 1 / tasks.column("resize3.resize_factor")
    assert len(set(np.round(last, 3))) == 16
    assert (last.min(), last.max()) == pytest.approx((2 + 3 / 16, 8 - 3 / 16))
    assert last.mean() == pytest.approx(5, abs=0.15)
    ratio = tasks.column("resize2.resize_factor") * last
    assert (ratio.min(), ratio.max()) == pytest.approx((0.3, 1.2), abs=0.01)
    with pytest.raises(OptionsError, match="stage2_scale"):
        hypir_transform(stage2_scale=[2, 8], resize_back=False)
    with pytest.raises(OptionsError, match="stage2_scale"):
        diffbir_transform(stage2_scale=[2, 80])


def test_kernels_of_the_dataset_are_options(hr):
    weak = hypir_transform(kernels={"blur_sigma": [0.2, 0.4], "sinc_prob": 0.0, "final_sinc_prob": 0.0})
    tasks = pydegrade.sample(weak.chain.space, 0, range(500))
    assert tasks.column("blur1.sigma_x_px").max() < 0.4
    assert "sinc" not in tasks.labels("blur1.shape")
    with pytest.raises(OptionsError, match="kernels: must be of"):
        hypir_transform(kernels={"sigma": 3})


# ---- models: BasicSR, traiNNer-redux, neosr


class Model:
    """What feed_data finds in a model."""

    device = "cpu"
    is_train = True
    memory_format = torch.contiguous_format

    def __init__(self, opt):
        self.opt = opt


def test_basicsr_feed_data(hr):
    class RealESRGANModel(Model):
        feed_data = basicsr.feed_data

    model = RealESRGANModel(REALESRGAN)
    model.feed_data({"gt": hr, "kernel1": torch.zeros(3, 21, 21)})
    assert model.gt.shape == model.gt_usm.shape == (3, 3, 64, 64)
    assert model.lq.shape == (3, 3, 16, 16)
    assert torch.equal(model.gt_usm, pydegrade.ops.sharpen(model.gt))
    first = model.lq
    model.feed_data({"gt": hr})
    assert not torch.equal(model.lq, first)
    model.is_train = False
    model.feed_data({"lq": first, "gt": hr})
    assert model.lq is first
    assert torch.equal(model.gt_usm, pydegrade.ops.sharpen(hr))

    net = RealESRGANModel({**{key: value for key, value in REALESRGAN.items() if key != "l1_gt_usm"}, "gt_usm": True})
    net.feed_data({"gt": hr})
    assert not hasattr(net, "gt_usm")
    sharp = pydegrade.ops.sharpen(hr)
    corners = sharp.unfold(2, 64, 4).unfold(3, 64, 4)
    assert (corners[0].permute(1, 2, 0, 3, 4) == net.gt[0]).flatten(2).all(2).sum() == 1


@dataclass
class TrainOptions:
    scale: int | None = None  # the released one has it too; that of the model counts
    lq_size: int = 16
    gt_size: int | None = None
    kernel_range: tuple[int, int] = (5, 17)


@dataclass
class ReduxOptions:
    """Options as attributes."""

    scale: int = 4
    lq_usm: bool = False
    blur_prob: float = 1.0
    resize_prob: list[float] = field(default_factory=lambda: [0.2, 0.7, 0.1])
    resize_range: tuple[float, float] = (0.4, 1.5)
    resize_prob2: list[float] = field(default_factory=lambda: [0.3, 0.4, 0.3])
    resize_range2: tuple[float, float] = (0.6, 1.2)
    datasets: dict[str, Any] = field(default_factory=lambda: {"train": TrainOptions()})


def test_feed_data_reads_the_options_of_the_moment(hr):
    """As Real-ESRGAN's own tests of its models do: options without a dataset's kernels, changed between batches."""
    options: dict[str, Any] = {**REALESRGAN, "gt_size": 32, "resize_range": [0.15, 1.5], "datasets": {}}
    model = Model(options)
    small = hr[..., :32, :32]
    basicsr.feed_data(model, {"gt": small})
    assert (model.gt.shape, model.lq.shape) == ((3, 3, 32, 32), (3, 3, 8, 8))
    degrader = feeding.degrader_of(model, "realesrgan")
    assert degrader.space == imported({**KERNELS, **options}, dialect="realesrgan", name="realesrgan").space
    options["gaussian_noise_prob"] = 0
    options["resize_range"][0] = 0.5
    basicsr.feed_data(model, {"gt": small})
    changed = feeding.degrader_of(model, "realesrgan")
    assert changed.numbers is degrader.numbers
    assert changed.numbers.position == 6
    tasks = pydegrade.sample(changed.space, 0, range(200))
    assert "gaussian" not in tasks.labels("noise1.kind")
    assert tasks.column("resize1.resize_factor").min() >= 0.5


def test_redux_feed_data(hr):
    class RealESRGANModel(Model):
        feed_data = redux.feed_data
        eco = 0

        def batch_augment(self, gt, lq):
            return gt.flip(-1), lq.flip(-1)

        def _apply_eco(self):
            self.eco += 1

    model = RealESRGANModel(ReduxOptions())
    model.feed_data({"gt": hr})
    assert model.gt.shape == (3, 3, 64, 64)
    assert model.lq.shape == (3, 3, 16, 16)
    assert model.eco == 1


def test_neosr_feed_data(hr):
    class Otf(Model):
        feed_data = neosr.feed_data
        aug = None

    model = Otf({**NEOSR, "datasets": {"train": {**NEOSR["datasets"]["train"], **NEOSR["degradations"]}}})
    model.feed_data({"gt": hr})
    assert model.gt.shape == (3, 3, 64, 64)
    assert model.lq.shape == (3, 3, 16, 16)


def test_options_without_a_crop_are_refused(hr):
    model = Model({key: value for key, value in REALESRGAN.items() if key != "gt_size"})
    with pytest.raises(OptionsError, match="name no crop"):
        basicsr.feed_data(model, {"gt": hr})


@pytest.mark.parametrize("lmdb", [False, True])
def test_basicsr_dataset_without_kernels(tmp_path, lmdb):
    from pydegrade.files.write import write_image

    folder = tmp_path / ("set.lmdb" if lmdb else "set")
    images = [np.random.default_rng(row).integers(0, 256, (390 + 40 * row, 410, 3), np.uint8) for row in range(2)]
    options = {"dataroot_gt": str(folder), "io_backend": {"type": "lmdb" if lmdb else "disk"}, "use_hflip": False}
    if lmdb:
        store = pytest.importorskip("lmdb")
        import cv2

        with store.open(str(folder), map_size=2**24) as opened, opened.begin(write=True) as writing:
            for row, image in enumerate(images):
                writing.put(f"{row}".encode(), cv2.imencode(".png", image[..., ::-1])[1].tobytes())
        lines = [f"{row}.png ({image.shape[0]},410,3) 1" for row, image in enumerate(images)]
        (folder / "meta_info.txt").write_text("\n".join(lines) + "\n")
    else:
        folder.mkdir()
        for row, image in enumerate(images):
            write_image(folder / f"{row}.png", image)
        (tmp_path / "meta.txt").write_text("0.png (390,410,3)\n1.png (430,410,3)\n")
        options["meta_info"] = str(tmp_path / "meta.txt")
    data = basicsr.RealESRGANDataset(options)
    assert len(data) == 2
    for row, image in enumerate(images):
        item = data[row]
        assert set(item) == {"gt", "gt_path"}
        assert item["gt"].shape == (3, 400, 400)
        pixels = (item["gt"].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
        height = image.shape[0]
        whole = np.pad(image, ((0, max(0, 400 - height)), (0, 0), (0, 0)), mode="reflect")
        places = [
            (top, left)
            for top in range(whole.shape[0] - 399)
            for left in range(11)
            if np.array_equal(pixels[:5], whole[top : top + 5, left : left + 400])
        ]
        ((top, left),) = places
        assert np.array_equal(pixels, whole[top : top + 400, left : left + 400])
    # As the method of a class of theirs.
    theirs = type("Theirs", (), {"__getitem__": basicsr.RealESRGANDataset.__getitem__})()
    theirs.opt, theirs.paths, theirs.gt_folder = data.opt, data.paths, data.gt_folder
    assert theirs[0]["gt"].shape == (3, 400, 400)


def test_basicsr_layers(hr):
    kernels = torch.rand(3, 7, 7)
    padded = torch.nn.functional.pad(hr, (3, 3, 3, 3), mode="reflect")
    wanted = torch.stack([
        torch.nn.functional.conv2d(padded[row][:, None], kernels[row][None, None])[:, 0] for row in range(3)
    ])  # fmt: skip
    # Sums of 49 products of at most 1 in float32, in two orders.
    assert torch.allclose(basicsr.filter2D(hr, kernels), wanted, atol=1e-4)
    assert torch.equal(basicsr.filter2D(hr, kernels[:1])[0], basicsr.filter2D(hr, kernels)[0])
    assert torch.equal(basicsr.USMSharp()(hr), pydegrade.ops.sharpen(hr))
    assert np.array_equal(
        basicsr.usm_sharp(hr[0].permute(1, 2, 0).numpy()), pydegrade.ops.sharpen(hr)[0].permute(1, 2, 0)
    )
    quality = torch.tensor([30.0, 50.5, 90.0])
    layer = basicsr.DiffJPEG(differentiable=False)
    assert torch.equal(layer(hr, quality=quality), pydegrade.ops.jpeg(hr, quality, "diffjpeg_basicsr"))
    assert quality.tolist() == [30.0, 50.5, 90.0]
    image = hr.clone().requires_grad_()
    basicsr.DiffJPEG()(image, 50).sum().backward()
    assert image.grad.abs().sum() > 0


def test_basicsr_kernels():
    torch.manual_seed(0)
    for name in FAMILIES:
        made = [basicsr.random_mixed_kernels([name], [1.0], 15, (0.6, 5), (0.6, 5)) for _ in range(8)]
        for kernel in made:
            assert kernel.shape == (15, 15)
            assert kernel.sum() == pytest.approx(1)
            assert (
                (np.abs(kernel - kernel.T).max() < 1e-12) == name.endswith("_iso") or name == "iso" or "aniso" in name
            )
        assert len({kernel[7, 7] for kernel in made}) == 8
    noisy = basicsr.random_mixed_kernels(["iso"], [1], 7, noise_range=(0.75, 1.25))
    assert np.abs(noisy - noisy.T).max() > 1e-6
    with pytest.raises(OptionsError, match="unknown kernel"):
        basicsr.random_mixed_kernels(["skew"], [1])
    assert basicsr.circular_lowpass_kernel(2.0, 7, pad_to=21).shape == (21, 21)
    assert basicsr.circular_lowpass_kernel(2.0, 7).shape == (7, 7)


@pytest.mark.parametrize("gray", [0, 1])
def test_basicsr_noise(gray):
    torch.manual_seed(0)
    flat = torch.full((4, 3, 64, 64), 0.5)
    for made in (
        basicsr.add_gaussian_noise_pt(flat, sigma=torch.tensor([10.0] * 4), gray_noise=gray),
        basicsr.random_add_gaussian_noise_pt(flat, (10, 10), gray_prob=gray),
    ):
        spread = (made - flat).std(dim=(1, 2, 3)) * 255
        # 4096 draws at least: a deviation of the estimate of 1.1 %.
        assert torch.allclose(spread, torch.full((4,), 10.0), rtol=0.06)
        assert bool((made[:, 0] == made[:, 1]).all()) == bool(gray)
        assert not torch.equal(made[0], made[1])
    array = np.full((64, 64, 3), 0.5, np.float32)
    for made in (
        basicsr.add_gaussian_noise(array, 10, gray_noise=bool(gray)),
        basicsr.random_add_gaussian_noise(array, (10, 10), gray),
        basicsr.add_poisson_noise(array, 1.0, gray_noise=bool(gray)),
        basicsr.random_add_poisson_noise(array, (1, 1), gray),
    ):
        assert made.shape == array.shape
        assert made.dtype == np.float32
        assert np.array_equal(made[..., 0], made[..., 1]) == bool(gray)
    poisson = basicsr.random_add_poisson_noise_pt(flat, (1, 1), gray_prob=gray, rounds=True)
    assert torch.equal((poisson * 255).round() / 255, poisson)
    assert basicsr.add_poisson_noise_pt(flat, 0.5).shape == flat.shape
    with pytest.raises(OptionsError, match="clip must be True"):
        basicsr.add_gaussian_noise_pt(flat, clip=False)


def test_basicsr_jpeg():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    made = basicsr.add_jpg_compression(image.astype(np.float32) / 255, 50)
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    assert np.array_equal(made, pydegrade.ops.jpeg(rgb, 50)[0].flip(0).permute(1, 2, 0).numpy())
    assert basicsr.random_add_jpg_compression(image.astype(np.float32) / 255, (30, 40)).shape == image.shape


def test_every_dialect_is_tried_here():
    known = {"realesrgan", "osediff", "pasd", "hypir", "diffbir", "stablesr", "redux", "neosr", "kair"}
    assert set(DIALECTS) == {*known, "wtp", "resshift", "faces"}
    assert "realesrgan-x4" in preset_names()
    stable = {
        "degradation": {**STAGES, "gt_size": 512, "no_degradation_prob": 0.01},
        "data": {"params": {"train": {"params": {**KERNELS, "crop_size": 512}}}},
    }
    report = imported(stable).report
    assert (report.dialect, report.usm, report.back, report.crop_px) == ("stablesr", "target", "torch_bicubic", 512)
    assert "degradation.no_degradation_prob" in dict(report.unsupported)
    sections = {"dataset": {"train": {"params": {**KERNELS, "out_size": 512}}}}
    transform = {"batch_transform": {"params": {**BATCH, "stage2_scale": 4, "use_sharpener": False}}}
    assert imported({**sections, **transform}).report.dialect == "diffbir"
    both = {"data_config": {"train": {"dataset": sections["dataset"]["train"], **transform}}}
    assert imported(both).report.dialect == "hypir"


def test_options_that_no_dialect_knows_are_named(tmp_path):
    """DASR has two further sets of options beside Real-ESRGAN's; none is counted among those about something else."""
    more = {"degree_list": ["weak", "severe"], "noise_range_weak1": [1, 2], "resize_prob_standard1": [0.2, 0.7, 0.1]}
    named = dict(imported({**REALESRGAN, **more, "num_gpu": 1}, dialect="realesrgan").report.unsupported)
    assert named.keys() >= more.keys()
    assert "dasr-weak" in named["degree_list"]
    assert "num_gpu" not in named


def test_which_dialect_reads_a_chain_is_said():
    with pytest.raises(OptionsError, match=r"for faces, are the dialect faces$") as caught:
        imported({"kernel_list": ["iso"], "downsample_range": [1, 30]}, dialect="diffbir")
    assert "\n" not in str(caught.value)
