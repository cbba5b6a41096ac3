"""Spaces: what TOML means, what it refuses, and that two spaces share what they have in common."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pydegrade
from pydegrade.errors import SpaceError
from pydegrade.ops import registry
from pydegrade.tasks.space import PRESETS, preset_names

HEAD = '[space]\nname = "t"\nscale = 4\nsource = "test"\n'
BLUR = '[[slot]]\nname = "blur1"\nop = "blur"\nshape = "iso"\nsize_px = 7\n'
WIDE = BLUR + "sigma_x_px = 1.0\n"
JPEG = '[[slot]]\nname = "jpeg1"\nop = "jpeg"\nmode = "libjpeg"\n'


def draw(text, count=20000, name="blur1.sigma_x_px"):
    return pydegrade.sample(pydegrade.Space.loads(HEAD + BLUR + text), 3, range(count)).column(name).astype(float)


def test_distributions():
    from scipy.stats import kstest, loguniform, truncnorm, uniform

    x = draw("sigma_x_px = { uniform = [0.2, 3.0] }")
    assert kstest(x, uniform(0.2, 2.8).cdf).pvalue > 1e-3
    x = draw("sigma_x_px = { log_uniform = [0.2, 20.0] }")
    assert kstest(x, loguniform(0.2, 20.0).cdf).pvalue > 1e-3
    x = draw("sigma_x_px = { reciprocal_uniform = [1.0, 8.0] }")
    assert kstest(1 / x, uniform(1, 7).cdf).pvalue > 1e-3
    x = draw("sigma_x_px = { sqrt_uniform = [0.0, 8.0] }")
    assert kstest(x**2, uniform(0, 8).cdf).pvalue > 1e-3
    text = "sigma_x_px = { uniform = [1.0, 3.0] }\nsigma_y_px = { sqrt_uniform_up_to = 'sigma_x_px', low = 1.0 }"
    tasks = pydegrade.sample(pydegrade.Space.loads(HEAD + BLUR.replace("iso", "aniso") + text), 3, range(20000))
    x, y = (tasks.column(f"blur1.sigma_{axis}_px").astype(float) for axis in "xy")
    # Where the range is narrow float32 leaves few different values; there the law is only its limits.
    wide = x > 1.05
    assert kstest((y[wide] ** 2 - 1) / (x[wide] ** 2 - 1), uniform(0, 1).cdf).pvalue > 1e-3
    assert (y <= x).all()
    assert y.min() >= 1
    law = "{ power_of = 'sigma_x_px', factor = 0.5, exponent = 1.5, log_std = 0.25 }"
    text = f"sigma_x_px = {{ log_uniform = [1.0, 3.0] }}\nsigma_y_px = {law}"
    tasks = pydegrade.sample(pydegrade.Space.loads(HEAD + BLUR.replace("iso", "aniso") + text), 3, range(20000))
    x, y = (tasks.column(f"blur1.sigma_{axis}_px").astype(float) for axis in "xy")
    z = np.log(y / (0.5 * x**1.5)) / 0.25
    assert kstest(z, truncnorm(-4, 4).cdf).pvalue > 1e-3
    assert kstest(x, loguniform(1, 3).cdf).pvalue > 1e-3
    bounds = dict(tasks.space.slots[0].columns)["sigma_y_px"].bounds()
    assert np.allclose(bounds, (0.5 / np.e, 0.5 * 3**1.5 * np.e), rtol=1e-12)
    x = draw("sigma_x_px = { mixture = [1.0, { uniform = [2.0, 3.0] }], weights = [0.25, 0.75] }")
    assert abs((x == 1).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 20000)
    assert kstest(x[x != 1], uniform(2, 1).cdf).pvalue > 1e-3
    x = draw("sigma_x_px = 1.0", name="blur1.size_px")
    assert (x == 7).all()
    text = (
        HEAD
        + '[[slot]]\nname = "b"\nop = "blur"\nshape = "iso"\nsigma_x_px = 1\nsize_px = { integers = [7, 21], step = 2 }\n'
    )
    x = pydegrade.sample(pydegrade.Space.loads(text), 0, range(8000)).column("b.size_px")
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == list(range(7, 22, 2))
    assert ((counts - 1000) ** 2 / 1000).sum() < 26  # chi-squared, 7 degrees of freedom, p = 5e-4
    text = HEAD + JPEG + "quality = { uniform = [30.0, 95.0], round = true }\n"
    x = pydegrade.sample(pydegrade.Space.loads(text), 0, range(20000)).column("jpeg1.quality")
    assert (x == np.rint(x)).all()
    assert (x.min(), x.max()) == (30, 95)


def test_conditional_columns():
    text = HEAD + (
        '[[slot]]\nname = "blur1"\nop = "blur"\nshape = { choice = ["iso", "sinc"], weights = [0.3, 0.7] }\n'
        "size_px = { integers = [7, 21], step = 2 }\nsigma_x_px = { uniform = [1.0, 2.0] }\n"
        'cutoff_rad = { by = "size_px", cases = { 7 = { uniform = [2.0, 3.0] } }, default = { uniform = [1.0, 2.0] } }\n'
    )
    tasks = pydegrade.sample(pydegrade.Space.loads(text), 0, range(5000))
    sinc = np.array(tasks.labels("blur1.shape")) == "sinc"
    small, cutoff = tasks.column("blur1.size_px") == 7, tasks.column("blur1.cutoff_rad")
    assert (cutoff[sinc & small] >= 2).all()
    assert (cutoff[sinc & ~small] < 2).all()
    # What has no effect is neutral, and masked.
    assert (cutoff[~sinc] == 0).all()
    assert np.array_equal(tasks.mask("blur1.cutoff_rad"), sinc)
    assert np.array_equal(tasks.mask("blur1.sigma_x_px"), ~sinc)
    # The raw draw is still there.
    assert (tasks.raw("blur1.cutoff_rad") >= 1).all()


def test_a_new_slot_moves_no_other_number():
    slot = BLUR + "sigma_x_px = { uniform = [0.2, 3.0] }\n"
    one = pydegrade.sample(pydegrade.Space.loads(HEAD + slot), 5, range(50))
    text = HEAD + JPEG + "quality = { integers = [30, 95] }\n" + slot
    two = pydegrade.sample(pydegrade.Space.loads(text), 5, range(50))
    assert np.array_equal(one.column("blur1.sigma_x_px"), two.column("blur1.sigma_x_px"))
    weak, severe = (pydegrade.sample(name, 5, range(200)) for name in ("dasr-standard", "dasr-severe"))
    assert np.array_equal(weak.column("resize3.mode"), severe.column("resize3.mode"))


def test_orders():
    tasks = pydegrade.sample("realesrgan-x4", 1, range(4000))
    names = [slot.name for slot in tasks.space.slots]
    programs = [[names[slot] for slot in row] for row in tasks.program]
    assert all(program[:8] == names[:8] for program in programs)
    tails = [tuple(program[8:]) for program in programs]
    assert set(tails) == {("resize3", "sinc", "jpeg2"), ("jpeg2", "resize3", "sinc")}
    assert abs(tails.count(("jpeg2", "resize3", "sinc")) - 2000) < 4.5 * np.sqrt(1000)

    tasks = pydegrade.sample("bsrgan-x4", 1, range(6000))
    names = [slot.name for slot in tasks.space.slots]
    programs = [tuple(names[slot] for slot in row) for row in tasks.program]
    for program in programs:
        assert program[0] == "down1"
        assert program[-1] == "jpeg2"
        # The Gaussian that belongs to a decimation stands right before it; downsample2 comes before downsample3.
        assert program.index("down2") == program.index("down2_blur") + 1
        assert program.index("down2") < program.index("down3")
    # Uniform over the orders of six ops in which down2 precedes down3: 6! / 2.
    counts = np.unique(np.array([names.index(name) for p in programs for name in p]).reshape(6000, -1), axis=0,
                       return_counts=True)[1]  # fmt: skip
    assert len(counts) == 360
    # chi-squared, 359 degrees of freedom: mean 359, standard deviation 27.
    assert ((counts - 6000 / 360) ** 2 / (6000 / 360)).sum() < 359 + 4.5 * 27


def test_mixture_of_levels():
    tasks = pydegrade.sample("dasr-mixed", 1, range(4000))
    counts = np.bincount(tasks.component)
    assert (np.abs(counts - [1200, 1200, 1600]) < 4.5 * np.sqrt(1000)).all()
    weak = tasks.take(tasks.component == 0)
    assert (weak.program >= 0).sum(1).max() == 6
    assert not weak.mask("noise2.sigma_8bit").any()
    assert weak.column("jpeg1.quality").min() >= 90
    # A component's rows are those of its own space.
    severe = np.nonzero(tasks.component == 2)[0][:20]
    own = pydegrade.sample("dasr-severe", 1, severe)
    for name in own.columns:
        assert np.array_equal(own.column(name), tasks.take(severe).column(name)), name


def test_presets_name_source_and_digest():
    for name in preset_names():
        space = pydegrade.Space.load(name)
        assert space.name == name
        assert len(space.source) > 20
        assert re.fullmatch("[0-9a-f]{64}", space.digest)
        again = pydegrade.Space.loads(space.to_toml())
        assert again == space
        assert again.digest == space.digest
    # Blank lines and comments do not count, values do.
    text = HEAD + WIDE
    assert pydegrade.Space.loads("# note\n\n" + text) == pydegrade.Space.loads(text)
    assert pydegrade.Space.loads(text.replace("size_px = 7", "size_px = 9")) != pydegrade.Space.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BLUR + "sigma_px = 1.0\n", "space:10: slot blur1: unknown key 'sigma_px'; did you mean 'sigma_x_px'?"),
        (BLUR + "sigma_x_px = -1.0\n", "space:10: slot blur1: sigma_x_px: values must lie in [0, 20], got [-1, -1]"),
        (BLUR + "sigma_x_px = nan\n", "space:10: slot blur1: sigma_x_px: expected a finite number, got nan"),
        (BLUR + "sigma_x_px = { uniform = [3.0, 0.2] }\n", "low must not exceed high, got [3.0, 0.2]"),
        (BLUR + "sigma_x_px = { unifrom = [0.2, 3.0] }\n", "expected one of const, uniform"),
        (BLUR + "sigma_x_px = { uniform = [0.2, 3.0], step = 2 }\n", "unknown key 'step'"),
        (BLUR + "sigma_x_px = { mixture = [1, 2], weights = [0.5, 0.6] }\n", "sum to 1, got [0.5, 0.6] with sum 1.1"),
        (BLUR + "sigma_x_px = { mixture = [1, 2], weights = [1.0] }\n", "expected 2 weights, got 1"),
        (
            BLUR + 'beta = { by = "cutoff_rad", cases = { 1 = 1.0 } }\n',
            "by must name an earlier column, got 'cutoff_rad'",
        ),
        (
            BLUR + 'sigma_y_px = { sqrt_uniform_up_to = "sigma_x_px" }',
            "sqrt_uniform_up_to must name an earlier column, got 'sigma_x_px'",
        ),
        (
            BLUR + 'sigma_x_px = 2.0\nsigma_y_px = { sqrt_uniform_up_to = "sigma_x_px", low = -1 }',
            "low must be a number >= 0, got -1",
        ),
        (
            BLUR + 'sigma_y_px = { sqrt_uniform_up_to = "shape" }',
            "sqrt_uniform_up_to takes a column of numbers, got blur1.shape",
        ),
        (
            BLUR + 'sigma_y_px = { power_of = "shape" }',
            "power_of takes a column of numbers, got blur1.shape; it gives real ones",
        ),
        (
            BLUR + 'angle_rad = { uniform = [-1, 1] }\nsigma_x_px = { power_of = "angle_rad" }',
            "power_of takes values >= 0, got blur1.angle_rad in [-1, 1]",
        ),
        (
            BLUR + 'sigma_x_px = { uniform = [0, 1] }\nsigma_y_px = { power_of = "sigma_x_px", exponent = -1 }',
            "power_of takes values above 0 for an exponent below it, got blur1.sigma_x_px in [0, 1]",
        ),
        (
            BLUR + 'sigma_x_px = { uniform = [1, 3] }\nsigma_y_px = { power_of = "sigma_x_px", exponent = 3 }',
            "sigma_y_px: values must lie in [0, 20], got [1, 27]",
        ),
        (
            BLUR + 'sigma_x_px = 2.0\nsigma_y_px = { power_of = "sigma_x_px", log_std = -1 }',
            "log_std must lie in [0, 10], got -1",
        ),
        (
            BLUR + 'beta = { by = "shape", cases = { isso = 1.0 } }\n',
            "case 'isso' is no value of blur1.shape; did you mean",
        ),
        (BLUR.replace("7", "8"), "space:9: slot blur1: size_px: a kernel size must be odd, got 8"),
        (BLUR.replace("size_px = 7", "size_px = { integers = [7, 21] }"), "kernel sizes must be odd"),
        (BLUR.replace('"iso"', '"issso"'), "unknown value 'issso'; did you mean 'iso'? known: delta, iso, aniso,"),
        (BLUR.replace('"iso"', '["iso", "aniso"]'), '; one of several is { choice = ["iso", "aniso"] }'),
        (BLUR + "sigma_x_px = [0.2, 3]\n", "; a range is { uniform = [0.2, 3] }"),
        (BLUR.replace("= 7", "= [7, 21]"), "; a range is { integers = [7, 21], step = 2 }"),
        (WIDE + '[[slot]]\nname = "j"\nop = "jpeg"\nquality = 3\nsubsampling = 444\n', '444; did you mean "444"?'),
        (BLUR.replace('op = "blur"', 'op = "blurr"'), "space:7: slot blur1: unknown op 'blurr'; did you mean 'blur'?"),
        (WIDE + BLUR, "slot blur1: the name is used twice"),
        (JPEG + "quality = 0\n", "quality: values must lie in [1, 100], got [0, 0]"),
        (JPEG + "quality = 101\n", "quality: values must lie in [1, 100], got [101, 101]"),
        (WIDE + '[order]\nchoice = [["blur1"], ["blur2"]]\n', "[order]: unknown slot 'blur2'; did you mean 'blur1'?"),
        (BLUR + "[ordr]\nx = 1\n", "the file: unknown key 'ordr'; did you mean 'order'?"),
        (WIDE + '[vector.dasr33]\n"blur1.sigma" = [0, 1]\n', "unknown column 'blur1.sigma'"),
        ("x = [", "not valid TOML"),
    ],
)
def test_messages(text, message):
    with pytest.raises(SpaceError) as caught:
        pydegrade.Space.loads(HEAD + text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_messages(tmp_path):
    with pytest.raises(SpaceError, match="no preset named 'realesrgan-x44'; did you mean 'realesrgan-x4'"):
        pydegrade.Space.load("realesrgan-x44")
    with pytest.raises(SpaceError, match="cannot be read"):
        pydegrade.Space.load(tmp_path / "none.toml")
    with pytest.raises(SpaceError, match=r"space:3: scale must be in 1\.\.16, got 0"):
        pydegrade.Space.loads(HEAD.replace("4", "0"))
    with pytest.raises(SpaceError, match=r"the key 'scale' is missing"):
        pydegrade.Space.loads('[space]\nname = "t"\n')
    assert pydegrade.Space.loads('[space]\nname = "t"\nscale = 1\n').source == ""
    with pytest.raises(SpaceError, match=r"space:5: summary must be one line of at most 100 letters, got 'a\\nb'"):
        pydegrade.Space.loads(HEAD + 'summary = "a\\nb"\n')
    with pytest.raises(
        SpaceError,
        match=r"did you mean 'realesrgan-light-x4', 'realesrgan-x2', 'realesrgan-x4' or 'realesrgan-x4-diffjpeg'\?",
    ):
        pydegrade.Space.load("realesrgan")
    with pytest.raises(SpaceError, match="target must be 'hr' or the first slot, a sharpen, got 'blur1'"):
        pydegrade.Space.loads(HEAD + 'target = "blur1"\n' + WIDE)


def test_digests_of_presets_are_the_stored_ones():
    # An address of a preset is a promise: what a preset says may be written in another way, never mean something else.
    stored = json.loads((Path(__file__).parent / "golden" / "space_digests.json").read_text())
    assert {name: pydegrade.Space.load(name).digest for name in stored} == stored
    # The digest of one with a codec names the version of its library.
    assert {name for name in preset_names() if not pydegrade.Space.load(name).libraries} == set(stored)


def test_digests_of_presets_with_libraries_are_the_stored_ones_but_for_these(monkeypatch):
    stored = json.loads((Path(__file__).parent / "golden" / "space_digests_any_library.json").read_text())
    for name, op in list(registry._ops.items()):
        if op.library is not None:
            monkeypatch.setitem(registry._ops, name, replace(op, library=lambda: "any"))
    texts = {name: (PRESETS / f"{name}.toml").read_text() for name in preset_names()}
    made = {name: pydegrade.Space.loads(text) for name, text in texts.items()}
    assert {name: space.digest for name, space in made.items() if space.libraries} == stored
