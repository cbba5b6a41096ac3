"""Spaces made of others: a base with changes, gates over stages, schedules along training, mixtures of mixtures; switches
that are left out; kinds of distributions from outside."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import Space, TaskBatch
from pydegrade.errors import SpaceError, TaskError
from pydegrade.tasks import distribution_contract, distributions
from pydegrade.tasks.space import preset_names

from .conftest import ROOT

HEAD = '[space]\nname = "t"\nscale = 4\nsource = "test"\n'
BLUR = '[[slot]]\nname = "blur1"\nop = "blur"\nshape = "iso"\nsize_px = 7\n'
WIDE = BLUR + "sigma_x_px = 1.0\n"
NOISE = '[[slot]]\nname = "noise1"\nop = "noise"\nkind = "gaussian"\nsigma_8bit = { uniform = [1.0, 9.0] }\n'
DOWN = '[[slot]]\nname = "down"\nop = "resize"\nmode = "matlab_bicubic"\nrule = "final"\n'
JPEG = '[[slot]]\nname = "jpeg1"\nop = "jpeg"\nquality = { uniform = [30.0, 60.0], round = true }\n'
GATES = (
    HEAD
    + BLUR
    + "sigma_x_px = 1.5\n"
    + NOISE
    + DOWN
    + JPEG
    + '[order]\nchoice = [["down", "jpeg1"], ["jpeg1", "down"]]\n'
    '[[gate]]\nname = "first"\nslots = ["blur1", "noise1"]\non = { bernoulli = 0.3 }\n'
    '[[gate]]\nname = "last"\nslots = ["jpeg1"]\non = { by = "first.on", cases = { 0 = 1, 1 = { bernoulli = 0.5 } } }\n'
)
SCHEDULE = (
    HEAD
    + BLUR
    + "sigma_x_px = { schedule = [{ at = 100, uniform = [0.2, 1.0] }, { at = 300, uniform = [0.2, 3.0] }] }\n"
    + DOWN
    + JPEG.replace(
        "{ uniform = [30.0, 60.0], round = true }",
        "{ schedule = [{ at = 0, const = 90 }, { at = 1000, uniform = [30, 95], round = true }], between = 'hold' }",
    )
    + '[[gate]]\nname = "g"\nslots = ["jpeg1"]\n'
    "on = { schedule = [{ at = 0, bernoulli = 0.0 }, { at = 1000, bernoulli = 1.0 }] }\n"
)


# ---- Base


def test_a_base_gives_what_is_not_changed():
    base = Space.load("realesrgan-x4")
    text = '[space]\nname = "mine"\nbase = "realesrgan-x4"\nwithout = ["sinc"]\n'
    text += '[[slot]]\nname = "jpeg2"\nquality = 50\n[[slot]]\nname = "blur1"\nwithout = ["beta"]\n'
    text += '[[slot]]\nname = "rain1"\nop = "rain"\nstreaks_per_kpx = 1.0\nbefore = "blur1"\n'
    text += '[[slot]]\nname = "noise2"\nafter = "resize3"\n'
    mine = Space.loads(text)
    assert mine.name == "mine"
    assert (mine.scale, mine.target, mine.hr_px, mine.source) == (base.scale, base.target, base.hr_px, base.source)
    names = [slot.name for slot in mine.slots]
    assert names == [
        "usm",
        "rain1",
        "blur1",
        "resize1",
        "noise1",
        "jpeg1",
        "blur2",
        "resize2",
        "resize3",
        "noise2",
        "jpeg2",
    ]
    assert "beta" not in dict(mine.slot("blur1").columns)
    assert dict(mine.slot("jpeg2").columns)["quality"] == distributions.Constant(50.0)
    assert mine.slot("resize1") == base.slot("resize1")
    # The left-out slot is gone from the order and the ranges too.
    assert mine.order is not None
    assert mine.order.choice == (("resize3", "jpeg2"), ("jpeg2", "resize3"))
    assert not any(name.startswith("sinc.") for name in mine.vectors["dasr33"])
    # What both draw is the same, and its text stands alone.
    ours, theirs = (pydegrade.sample(space, 3, range(50)) for space in (mine, base))
    assert np.array_equal(ours.column("blur1.sigma_x_px"), theirs.column("blur1.sigma_x_px"))
    assert "base" not in mine.to_toml()
    assert Space.loads(mine.to_toml()) == mine


def test_bases_of_bases_and_files_beside_it(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "common.toml").write_text(HEAD + BLUR + "sigma_x_px = 2.0\n" + DOWN)
    (tmp_path / "mid.toml").write_text('[space]\nname = "mid"\nbase = "common.toml"\nscale = 2\n')
    (tmp_path / "top.toml").write_text(
        '[space]\nname = "top"\nbase = "mid.toml"\n[[slot]]\nname = "blur1"\nop = "sharpen"\nweight = 1\n'
    )
    top = Space.load(tmp_path / "top.toml")
    assert (top.scale, top.slot("blur1").op, dict(top.slot("blur1").columns).keys()) == (2, "sharpen", {"weight"})
    # A mixture, taken over with other weights; its files are those beside the base.
    (tmp_path / "sub" / "mixed.toml").write_text(
        '[space]\nname = "m"\nscale = 4\nsource = "test"\n[mixture]\nspaces = ["a.toml", "b.toml"]\n'
    )
    for name in "ab":
        (tmp_path / "sub" / f"{name}.toml").write_text(HEAD.replace('"t"', f'"{name}"') + WIDE + DOWN)
    (tmp_path / "more.toml").write_text(
        '[space]\nname = "more"\nbase = "sub/mixed.toml"\n[mixture]\nweights = [0.9, 0.1]\n'
    )
    more = Space.load(tmp_path / "more.toml")
    assert [part.name for part in more.components] == ["a", "b"]
    assert more.weights == (0.9, 0.1)
    tasks = pydegrade.sample(more, 1, range(20))
    tasks.save(tmp_path / "tasks.npz")
    assert TaskBatch.load(tmp_path / "tasks.npz").addresses == tasks.addresses


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_a_base(name):
    space = Space.load(name)
    text = f'[space]\nname = "{name}"\nbase = "{name}"\n'
    assert Space.loads(text) == space
    assert Space.loads(Space.loads(text).to_toml()) == space


def test_the_examples_of_the_documentation():
    blocks = (ROOT / "docs" / "spaces.md").read_text().split("```toml\n")[1:]
    spaces = [Space.loads(block.partition("```")[0]) for block in blocks if block.startswith("[space]")]
    assert [space.name for space in spaces] == ["mine", "scanner-x4"]
    assert "rain1" in [slot.name for slot in spaces[1].slots]
    gates = [block.partition("```")[0] for block in blocks if block.startswith("[[gate]]")]
    derived = '[space]\nname = "g"\nbase = "realesrgan-x4"\n'
    assert [gate.name for block in gates for gate in Space.loads(derived + block).gates] == ["second"]


# ---- Gates


@pytest.mark.slow
def test_a_gate_lets_all_its_slots_run_or_none():
    space = Space.loads(GATES)
    tasks = pydegrade.sample(space, 5, range(4000))
    on = tasks.column("first.on") == 1
    assert abs(on.mean() - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / 4000)
    for slot in ("blur1", "noise1"):
        assert np.array_equal(tasks.present(slot), on)
        assert np.array_equal(tasks.mask("noise1.sigma_8bit"), on)
    last = tasks.column("last.on") == 1
    assert last[~on].all()
    assert abs(last[on].mean() - 0.5) < 4.5 * 0.5 / np.sqrt(on.sum())
    assert np.array_equal(tasks.present("jpeg1"), last)
    assert (tasks.column("noise1.sigma_8bit")[~on] == 0).all()
    # A gate moves no other number, and what its slots would be is known.
    plain = pydegrade.sample(Space.loads(GATES[: GATES.index("[[gate]]")]), 5, range(4000))
    assert np.array_equal(tasks.raw("noise1.sigma_8bit"), plain.column("noise1.sigma_8bit"))
    both = on & last
    assert [tasks.orders()[row] for row in np.nonzero(both)[0]] == [plain.orders()[row] for row in np.nonzero(both)[0]]
    hr = torch.rand(8, 3, 32, 32)
    for row, image in enumerate(pydegrade.degrade(hr, tasks.take(slice(0, 8)))):
        chosen = ",".join(slot for slot in plain.orders()[row] if slot in tasks.orders()[row])
        same = plain.take([row]).replace(order=chosen)
        assert torch.equal(image, pydegrade.degrade(hr[row : row + 1], same)[0])


def test_gates_are_changed_by_hand():
    tasks = pydegrade.sample(Space.loads(GATES), 5, range(200))
    opened = tasks.replace(**{"first.on": 1, "last.on": 1})
    assert opened.present("blur1").all()
    assert (opened.column("noise1.sigma_8bit") >= 1).all()
    shut = opened.replace(**{"first.on": 0})
    assert not shut.present("blur1").any()
    assert [address.partition("?")[2] for address in opened.addresses].count("") == int(
        ((tasks.column("first.on") == 1) & (tasks.column("last.on") == 1)).sum()
    )
    back = opened.replace(**{"first.on": tasks.column("first.on"), "last.on": tasks.column("last.on")})
    assert back.addresses == tasks.addresses
    # An order made by hand stays when a gate opens.
    moved = shut.replace(order="jpeg1,down").replace(**{"first.on": 1})
    assert {order[-2:] for order in moved.orders()} == {("jpeg1", "down")}
    assert {order[:2] for order in moved.orders()} == {("blur1", "noise1")}
    with pytest.raises(TaskError, match="names a slot whose gate is closed"):
        shut.replace(order="blur1,down,jpeg1")


# ---- Schedules


def test_ranges_follow_the_training_step():
    space = Space.loads(SCHEDULE)
    assert space.scheduled
    early, middle, late = (pydegrade.sample(space, 1, range(3000), step=step) for step in (0, 200, 10**9))
    u = (early.column("blur1.sigma_x_px").astype(float) - 0.2) / 0.8
    for tasks, high in ((middle, 2.0), (late, 3.0)):
        assert np.allclose(tasks.column("blur1.sigma_x_px"), 0.2 + (high - 0.2) * u, atol=1e-6)
    assert not early.present("jpeg1").any()
    assert abs(middle.present("jpeg1").mean() - 0.2) < 4.5 * np.sqrt(0.16 / 3000)
    assert (middle.raw("jpeg1.quality") == 90).all()
    assert late.present("jpeg1").all()
    assert late.column("jpeg1.quality").min() < 35
    assert early.addresses[7].endswith("/s1/i7/t0")
    # Each row by its own step, and any order.
    steps = np.arange(3000) * 7 % 1100
    mixed = pydegrade.sample(space, 1, range(3000), step=steps)
    for row in (0, 17, 2999):
        one = pydegrade.sample(space, 1, [row], step=int(steps[row]))
        assert one.addresses == mixed.take([row]).addresses
        assert all(np.array_equal(one.column(name), mixed.take([row]).column(name)) for name in space.drawn_columns)
    assert not Space.load("realesrgan-x4").scheduled
    assert (
        pydegrade.sample("realesrgan-x4", 1, [3], step=500).addresses
        == pydegrade.sample("realesrgan-x4", 1, [3]).addresses
    )
    with pytest.raises(pydegrade.PydegradeError, match="step must be one number or 3 numbers, got 2"):
        pydegrade.sample(space, 1, range(3), step=[1, 2])


def test_a_schedule_of_weights_and_of_nested_ranges():
    text = HEAD + BLUR.replace(
        '"iso"',
        '{ schedule = [{ at = 0, choice = ["delta", "iso"], weights = [1.0, 0.0] }, '
        '{ at = 10, choice = ["delta", "iso"], weights = [0.0, 1.0] }] }',
    )
    text += "sigma_x_px = { schedule = [{ at = 0, mixture = [1.0, { uniform = [1.0, 2.0] }] }, "
    text += "{ at = 10, mixture = [2.0, { uniform = [2.0, 4.0] }] }] }\n" + DOWN
    space = Space.loads(text)
    for step, share in ((0, 0.0), (3, 0.3), (10, 1.0)):
        tasks = pydegrade.sample(space, 2, range(4000), step=step)
        on = np.array(tasks.labels("blur1.shape")) == "iso"
        assert abs(on.mean() - share) <= 4.5 * np.sqrt(share * (1 - share) / 4000)
        sigma = tasks.raw("blur1.sigma_x_px")
        assert sigma.min() == np.float32(1 + step / 10)
        assert sigma.max() < 2 + step / 5


# ---- Mixtures


def test_a_mixture_of_mixtures(tmp_path):
    text = '[space]\nname = "outer"\nscale = 4\nsource = "test"\ntarget = "usm"\nhr_px = 400\n'
    nested = Space.loads(text + '[mixture]\nspaces = ["dasr-mixed", "realesrgan-x4"]\nweights = [0.25, 0.75]\n')
    assert [part.name for part in nested.components] == ["dasr-weak", "dasr-standard", "dasr-severe", "realesrgan-x4"]
    assert np.allclose(nested.weights, [0.075, 0.075, 0.1, 0.75])
    names = ", ".join(f'"{part.name}"' for part in nested.components)
    flat = Space.loads(text + f"[mixture]\nspaces = [{names}]\nweights = {list(nested.weights)}\n")
    assert nested == flat
    assert Space.loads(nested.to_toml()) == nested
    tasks = pydegrade.sample(nested, 1, range(4000))
    counts = np.bincount(tasks.component) / 4000
    assert (np.abs(counts - nested.weights) < 4.5 * np.sqrt(0.25 / 4000)).all()
    for component, part in enumerate(nested.components):
        rows = np.nonzero(tasks.component == component)[0][:20]
        own = pydegrade.sample(part, 1, rows)
        assert all(np.array_equal(own.column(name), tasks.take(rows).column(name)) for name in own.columns)
    tasks.save(tmp_path / "tasks.npz")
    assert TaskBatch.load(tmp_path / "tasks.npz").addresses == tasks.addresses
    with pytest.raises(SpaceError, match="two different components have the name 't'"):
        Space.loads(HEAD + '[mixture]\nspaces = ["a", "b"]\n', {"a": HEAD + WIDE, "b": HEAD + DOWN})


def test_the_text_of_a_mixture_of_own_spaces_comes_back_with_its_components(tmp_path):
    given = {"a": HEAD.replace('"t"', '"a"') + DOWN, "b": HEAD.replace('"t"', '"b"') + WIDE + DOWN}
    for name, text in given.items():
        (tmp_path / f"{name}-file.toml").write_text(text)
    (tmp_path / "mixed.toml").write_text(HEAD + '[mixture]\nspaces = ["a-file.toml", "b-file.toml"]\n')
    for mixed in (Space.loads(HEAD + '[mixture]\nspaces = ["a", "b"]\n', given), Space.load(tmp_path / "mixed.toml")):
        texts = {part.name: part.to_toml() for part in mixed.components}
        assert Space.loads(mixed.to_toml(), texts) == mixed
        with pytest.raises(SpaceError, match=r"no preset named 'a'.*; give spaces of your own by components="):
            Space.loads(mixed.to_toml())


def test_what_does_not_fit_a_base_names_the_file_and_the_line_that_is_wrong(tmp_path):
    (tmp_path / "below.toml").write_text(HEAD + DOWN.replace("matlab_bicubic", "matlab_cubic"))
    (tmp_path / "above.toml").write_text('[space]\nname = "above"\nbase = "below.toml"\n')
    with pytest.raises(SpaceError, match=r"above\.toml: with what its base gives: .*below\.toml:\d+: .*matlab_cubic"):
        Space.load(tmp_path / "above.toml")
    (tmp_path / "scale.toml").write_text('[space]\nname = "s"\nbase = "mzsr-direct-x2"\nscale = 3\n')
    with pytest.raises(SpaceError, match=r"scale\.toml: with what its base gives: mzsr-.*\.toml:\d+: hr_px must be"):
        Space.load(tmp_path / "scale.toml")


def test_a_mixture_of_gated_and_scheduled_spaces(tmp_path):
    given = {
        "a": GATES.replace('"t"', '"a"'),
        "b": SCHEDULE.replace('"t"', '"b"'),
        "c": HEAD.replace('"t"', '"c"') + DOWN,
    }
    space = Space.loads(HEAD + '[mixture]\nspaces = ["a", "b", "c"]\n', given)
    assert space.scheduled
    assert space.gate_names == ("first", "last", "g")
    tasks = pydegrade.sample(space, 3, range(300), step=500)
    assert np.array_equal(tasks.mask("first.on"), tasks.component == 0)
    assert (tasks.column("g.on")[tasks.component != 1] == 1).all()
    edited = tasks.replace(**{"first.on": 1, "g.on": 0})
    assert edited.present("blur1")[tasks.component == 0].all()
    assert not edited.present("jpeg1")[tasks.component == 1].any()
    again = TaskBatch.from_addresses(edited.addresses, space)
    assert again.addresses == edited.addresses
    assert np.array_equal(again.program, edited.program)
    assert np.array_equal(again.fingerprints(), edited.fingerprints())
    edited.save(tmp_path / "tasks.npz")
    assert TaskBatch.load(tmp_path / "tasks.npz").addresses == edited.addresses


# ---- Switches


def test_a_jpeg_with_a_quality_is_a_jpeg():
    explicit = HEAD + JPEG.replace('op = "jpeg"', 'op = "jpeg"\nmode = "libjpeg"')
    assert pydegrade.sample(Space.loads(HEAD + JPEG), 0, [0]).labels("jpeg1.mode") == ["libjpeg"]
    assert Space.loads(HEAD + JPEG) == Space.loads(explicit)


@pytest.mark.parametrize(
    "op", [op for op in pydegrade.ops.OPS + pydegrade.ops.PLAIN_OPS if op.switch], ids=lambda op: op.name
)
def test_every_op_with_any_column_acts_or_is_refused(op):
    if op.files is not None:
        pytest.skip("files turn it on")
    for column in op.columns:
        if column.name == op.switch:
            continue
        numbers = int(column.high) - 1 + int(column.high) % 2 if column.integer else column.high
        value = f'"{column.choices[-1]}"' if column.choices else f"{numbers}"
        text = HEAD + f'[[slot]]\nname = "a"\nop = "{op.name}"\n{column.name} = {value}\n'
        refusals, acts = [], False
        try:
            acts = not pydegrade.sample(Space.loads(text), 0, [0]).neutral("a").any()
        except SpaceError as error:
            refusals.append(str(error))
        assert acts or f"it would never act, because {op.switch} is not given" in refusals[0], column.name


@pytest.mark.parametrize(
    "op", [op for op in pydegrade.ops.OPS + pydegrade.ops.PLAIN_OPS if op.files is None], ids=lambda op: op.name
)
def test_every_op_that_its_switch_turns_on_acts_or_is_refused(op):
    """A kind of noise without an amount, a blur without a size or a width, a slot without a column."""

    levels = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(0))

    def refusal(slot: str) -> str:
        text = HEAD.replace("4", "1") + f'[[slot]]\nname = "a"\nop = "{op.name}"\n{slot}' + DOWN
        try:
            out = pydegrade.degrade(levels / 255, pydegrade.sample(Space.loads(text), 0, [0]))
        except SpaceError as error:
            return str(error)
        return "" if (out * 255).round().ne(levels).any() else "all pixels stayed as they were"

    assert "slot a: it would never act" in refusal("")
    if not op.switch:
        return
    switch = op.column(op.switch)
    number = 3 if switch.limits[1] >= 3 else 0.5
    for value in [f'"{name}"' for name in switch.choices if name != switch.neutral] or [f"{number}"]:
        said = refusal(f"{op.switch} = {value}\n")
        assert said == "" or "it would never act, because" in said, value
        assert f"because {op.switch} " not in said


def test_off_can_be_said():
    for text in (
        'op = "jpeg"\nmode = "off"\nquality = 50\n',
        'op = "noise"\nkind = "off"\n',
        'op = "blur"\nshape = "delta"\nsize_px = 7\n',
        'op = "resize"\nresize_factor = 1.0\n',
    ):
        assert pydegrade.sample(Space.loads(HEAD + '[[slot]]\nname = "a"\n' + text), 0, [0]).neutral("a").all()


# ---- Kinds of distributions


def test_a_kind_from_outside(tmp_path):
    # As docs/adding.md writes it.
    page = (ROOT / "docs" / "adding.md").read_text().partition("## A distribution")[2]
    (tmp_path / "mine.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    scope = runpy.run_path(str(tmp_path / "mine.py"), run_name="mine")
    Triangular = scope["Triangular"]
    try:
        space = Space.loads(HEAD + BLUR + "sigma_x_px = { triangular = [1.0, 3.0] }\n" + DOWN)
        tasks = pydegrade.sample(space, 0, range(4000))
        sigma = tasks.column("blur1.sigma_x_px")
        assert abs(sigma.mean() - 2) < 4.5 * np.sqrt(4 / 24 / 4000)
        assert TaskBatch.from_addresses(tasks.addresses, space).addresses == tasks.addresses
        nested = "{ schedule = [{ at = 0, triangular = [1, 2] }, { at = 10, triangular = [1, 4] }] }"
        late = pydegrade.sample(Space.loads(HEAD + BLUR + f"sigma_x_px = {nested}\n" + DOWN), 0, range(50), step=5)
        assert np.allclose((late.column("blur1.sigma_x_px") - 1) / 2, (sigma[:50] - 1) / 2)
        with pytest.raises(SpaceError, match="values must lie in"):
            Space.loads(HEAD + BLUR + "sigma_x_px = { triangular = [1.0, 30.0] }\n")
        for wrong, message in (
            (object, "derived from Distribution"),
            (type("X", (Triangular,), {}), "belongs to Triangular"),
        ):
            with pytest.raises(SpaceError, match=message):
                pydegrade.register_distribution(wrong)
    finally:
        distribution_contract._KINDS.pop("triangular", None)


def test_nested_kinds_with_equal_fields_have_their_own_digests():
    digests = set()
    for kind in ("log_uniform", "reciprocal_uniform", "sqrt_uniform"):
        for text in (f"{{ {kind} = [0.5, 2.0] }}", f"{{ mixture = [{{ {kind} = [0.5, 2.0] }}] }}"):
            digests.add(Space.loads(HEAD + BLUR + f"sigma_x_px = {text}\n").digest)
            digests.add(Space.loads(HEAD + DOWN + f"resize_factor = {text}\n").digest)
    assert len(digests) == 12


# ---- Streams of seeds


def test_streams_share_no_task_with_their_seed():
    seeds = {pydegrade.stream_seed(seed, name) for seed in range(200) for name in ("scored", "other")}
    assert len(seeds) == 400
    assert min(seeds) >= 2**62
    assert max(seeds) < 2**63
    tasks = pydegrade.sample("dasr-weak", pydegrade.stream_seed(0, "scored"), range(100))
    training = pydegrade.sample("dasr-weak", 0, range(100))
    assert not set(tasks.fingerprints().tolist()) & set(training.fingerprints().tolist())
    assert TaskBatch.from_addresses(tasks.addresses).addresses == tasks.addresses
    # The same seed on every machine and in every release.
    assert pydegrade.stream_seed(0, "scored") == SCORED_0
    with pytest.raises(pydegrade.PydegradeError, match=r"^seed must be in \[0, 2\^62\)"):
        pydegrade.stream_seed(2**62, "scored")


SCORED_0 = 7874061441370303245
