"""Clips: columns that walk from frame to frame, their addresses and files, and what acts on all frames together."""

from __future__ import annotations

import json
import zipfile
from importlib import import_module

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import Space, TaskBatch
from pydegrade.errors import PydegradeError, SpaceError, TaskError
from pydegrade.native.rng import uniforms
from pydegrade.tasks.drawing import draw

from .golden_pixels import picture
from .reference import drawing as reference

HEAD = '[space]\nname = "walks"\nscale = 4\n'
BLUR = '[[slot]]\nname = "blur1"\nop = "blur"\nshape = { choice = ["aniso", "generalized_iso"] }\nsize_px = 9\n'
NOISE = '[[slot]]\nname = "noise1"\nop = "noise"\nkind = "gaussian"\n'
JPEG = '[[slot]]\nname = "jpeg1"\nop = "jpeg"\n'
DOWN = '[[slot]]\nname = "down"\nop = "resize"\nmode = "torch_area"\nrule = "final"\n'
WALKS = (
    HEAD
    + BLUR
    + "sigma_x_px = { mixture = [{ uniform = [0.2, 1.0] }, 2.0], weights = [0.7, 0.3], walk = { max_step = 0.5 } }\n"
    + "sigma_y_px = { const = 2.0, walk = { max_step = 0.5, range = [1.0, 3.0] } }\n"
    + 'beta = { by = "shape", cases = { aniso = 1.0 }, default = { uniform = [0.5, 4.0], walk = { max_step = 0.1 } } }\n'
    + NOISE
    + "sigma_8bit = { uniform = [1.0, 9.0], walk = { max_step = 1.0 } }\n"
    + JPEG
    + "quality = { uniform = [30, 95], round = true, walk = { max_step = 3, round = true } }\n"
    + DOWN
)
SPACE = Space.loads(WALKS)


def test_a_walk_is_the_reflected_sum_of_its_steps():
    """Frame t in float64 by its definition: step after step, reflected each time with the sign that the reflections before
    have left."""
    tasks = pydegrade.sample(SPACE, 3, range(40), frames=30)
    u = uniforms(3, np.arange(40), [("noise1.sigma_8bit", number) for number in range(30)])
    values = 1 + 8 * u[:, 0]
    sign = np.ones(40)
    found = tasks.column("noise1.sigma_8bit").reshape(40, 30)
    for frame in range(30):
        if frame:
            values = values + sign * (2 * u[:, frame] - 1)
            for bound, beyond in ((1, values < 1), (9, values > 9)):
                values = np.where(beyond, 2 * bound - values, values)
                sign = np.where(beyond, -sign, sign)
        # Rounding to float32, and what the sum in another order loses in float64.
        np.testing.assert_allclose(found[:, frame], values, rtol=1e-7, atol=1e-12)


def test_a_walk_stays_in_its_range_and_never_moves_farther_than_its_step():
    tasks = pydegrade.sample(SPACE, 3, range(50), frames=40)
    for name, low, high, step in (
        ("blur1.sigma_x_px", 0.2, 2.0, 0.5),
        ("noise1.sigma_8bit", 1, 9, 1),
        ("jpeg1.quality", 30, 95, 3),
    ):
        values = tasks.column(name).astype(np.float64).reshape(50, 40)
        assert values.min() >= np.float32(low)
        assert values.max() <= np.float32(high)
        moved = np.abs(np.diff(values))
        assert 0.8 * step < moved.max() <= step * (1 + 1e-6)
    quality = tasks.column("jpeg1.quality")
    assert np.array_equal(quality, np.rint(quality))
    # What does not walk is one value for the clip.
    assert (np.ptp(tasks.column("blur1.shape").reshape(50, 40), axis=1) == 0).all()
    # A walk has the law of its base at every frame where that is the stationary one.
    late = pydegrade.sample(SPACE, 4, range(4000), frames=[12]).column("noise1.sigma_8bit").astype(np.float64)
    assert abs(late.mean() - 5) < 4.5 * 8 / np.sqrt(12 * 4000)
    assert abs(late.std() - 8 / np.sqrt(12)) < 0.08


def same(a: TaskBatch, b: TaskBatch) -> bool:
    return (
        all(np.array_equal(a.column(name), b.column(name)) for name in (*a.columns, *b.columns))
        and np.array_equal(a.program, b.program)
        and np.array_equal(a.image_keys(), b.image_keys())
        and a.addresses == b.addresses
    )


def test_any_frame_can_be_drawn_alone_and_is_what_the_classes_say():
    clip = pydegrade.sample(SPACE, 3, [7, 2**40], frames=9)
    assert len(clip) == 18
    assert [len(rows) for rows in clip.clips] == [9, 9]
    for row in (0, 1, 8, 12):
        one = pydegrade.sample(SPACE, 3, [clip.indices[row]], frames=[clip.frames[row]])
        assert same(one, clip.take([row]))
    assert same(pydegrade.sample(SPACE, 3, [7]), clip.take([0]))
    expected = reference.drawn(SPACE, 3, clip.indices, clip.steps, clip.frames)
    found = draw(SPACE, clip.seeds, clip.indices, clip.steps, clip.frames)
    for name, values in expected[0].items():
        assert np.array_equal(found.column(name), values), name
    assert len(np.unique(clip.image_keys(), axis=0)) == 18


@pytest.mark.parametrize("name", ["walks", "realesrgan-x4", "dasr-mixed", "s3diff"])
def test_clips_come_back_from_addresses_and_files(name, tmp_path):
    space = SPACE if name == "walks" else Space.load(name)
    tasks = pydegrade.sample(space, 7, [3, 5], frames=4).with_noise([*[3] * 4, *[9] * 4])
    stem = f"{space.name}@{space.digest[:8]}/s7"
    assert tasks.clip_addresses == [f"{stem}/i3/f0-3", f"{stem}/i5/n9/f0-3"]
    assert tasks.addresses[:2] == [f"{stem}/i3", f"{stem}/i3/f1"]
    for addresses in (tasks.addresses, tasks.clip_addresses):
        assert same(TaskBatch.from_addresses(addresses, space), tasks)
    tasks.save(tmp_path / "tasks.npz")
    assert same(TaskBatch.load(tmp_path / "tasks.npz"), tasks)
    tasks.to_csv(tmp_path / "tasks.csv")
    assert same(TaskBatch.load(tmp_path / "tasks.csv", space), tasks)
    # A space without walks has one value for all frames, whose noise differs all the same.
    assert len(np.unique(tasks.image_keys(), axis=0)) == 8
    assert space.walks or all(np.ptp(values[:4]) == 0 for values in tasks.columns.values())


def test_a_change_of_some_frames_splits_the_address_of_a_clip_and_is_joined_again():
    tasks = pydegrade.sample(SPACE, 0, [4], frames=6)
    quality = tasks.column("jpeg1.quality").copy()
    quality[2:4] = 96, 97
    changed = tasks.replace(**{"jpeg1.quality": quality})
    stem = tasks.addresses[0]
    assert changed.clip_addresses == [
        f"{stem}/f0-1",
        f"{stem}/f2?jpeg1.quality=96",
        f"{stem}/f3?jpeg1.quality=97",
        f"{stem}/f4-5",
    ]
    again = TaskBatch.from_addresses(changed.clip_addresses, SPACE)
    assert same(again, changed)
    assert again.clips == [range(6)]
    whole = tasks.replace(**{"jpeg1.quality": 98})
    assert whole.clip_addresses == [f"{stem}/f0-5?jpeg1.quality=98"]
    assert same(TaskBatch.from_addresses(whole.clip_addresses, SPACE), whole)


def test_task_files_of_earlier_versions_are_read(tmp_path):
    tasks = pydegrade.sample("realesrgan-x4", 7, range(3))
    tasks.save(tmp_path / "new.npz")
    arrays = dict(np.load(tmp_path / "new.npz"))
    meta = json.loads(str(arrays.pop("meta")))
    assert meta["version"] == 3
    del arrays["frames"]
    np.savez(tmp_path / "old.npz", meta=np.array(json.dumps({**meta, "version": 2})), **arrays)
    assert same(TaskBatch.load(tmp_path / "old.npz"), tasks)
    np.savez(tmp_path / "bad.npz", meta=np.array(json.dumps(meta)), **arrays)
    with pytest.raises(TaskError, match=r"frames must be int64 \(3,\), got nothing"):
        TaskBatch.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "far.npz", meta=np.array(json.dumps(meta)), frames=np.array([0, 1, 2**16]), **arrays)
    with pytest.raises(TaskError, match="frames must be below 65536, got 65536"):
        TaskBatch.load(tmp_path / "far.npz")
    assert zipfile.is_zipfile(tmp_path / "new.npz")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("{ uniform = [1, 2], walk = 0.1 }", "walk must be a table such as { max_step = 0.1 }, got 0.1"),
        ("{ uniform = [1, 2], walk = { step = 0.1 } }", "walk: unknown key 'step'; did you mean 'max_step'?"),
        ("{ uniform = [1, 2], walk = {} }", "walk: the key 'max_step' is missing"),
        ("{ uniform = [1, 2], walk = { max_step = -1 } }", "at most as wide as the walk's range [1, 2], got -1"),
        ("{ uniform = [1, 2], walk = { max_step = 1.5 } }", "at most as wide as the walk's range [1, 2], got 1.5"),
        ("{ const = 2, walk = { max_step = 1 } }", "at most as wide as the walk's range [2, 2], got 1"),
        ("{ uniform = [1, 2], walk = { max_step = 1, range = [1.5, 9] } }", "range must hold all first values, [1, 2]"),
        (
            "{ uniform = [1, 2], walk = { max_step = 1, range = [1, 300] } }",
            "values must lie in [0, 255], got [1, 300]",
        ),
        ("{ uniform = [1, 2], walk = { max_step = 0.5, round = true } }", "of whole numbers and max_step >= 1"),
        (
            "{ mixture = [{ uniform = [1, 2], walk = { max_step = 1 } }, 3], walk = { max_step = 1 } }",
            "walk: what walks cannot hold another walk",
        ),
        ("{ walk = { max_step = 1 } }", "expected one of const, uniform"),
    ],
)
def test_walks_that_cannot_be_are_one_line(column, message):
    with pytest.raises(SpaceError) as caught:
        Space.loads(HEAD + NOISE + f"sigma_8bit = {column}\n" + DOWN)
    assert message in str(caught.value)
    assert str(caught.value).startswith("space:8: slot noise1: sigma_8bit: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BLUR.replace("9", "{ integers = [3, 9], step = 2, walk = { max_step = 2 } }"), "names and sizes of kernels"),
        (JPEG + 'quality = 50\nmode = { choice = ["off", "libjpeg"], walk = { max_step = 1 } }\n', "names and sizes"),
        (
            NOISE + 'sigma_8bit = 3\n[[gate]]\nname = "g"\nslots = ["noise1"]\n'
            "on = { bernoulli = 0.5, walk = { max_step = 1 } }\n",
            "gate g: on: a gate does not walk: it holds for the whole clip",
        ),
    ],
)
def test_what_does_not_walk_is_one_line(text, message):
    with pytest.raises(SpaceError, match=message):
        Space.loads(HEAD + text + DOWN)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pydegrade.sample(SPACE, 0, [1], frames=0), r"frames must be in \[1, 65536\], got 0"),
        (lambda: pydegrade.sample(SPACE, 0, [1], frames=[]), "at least one, got none"),
        (lambda: pydegrade.sample(SPACE, 0, [1], frames=[70000]), "frames must be numbers below 65536, .* got 70000"),
        (lambda: TaskBatch.from_addresses(["realesrgan-x4@c2d470a8/s1/i1/f5-2"]), r"must rise .* got /f5-2"),
        (lambda: TaskBatch.from_addresses(["realesrgan-x4@c2d470a8/s1/i1/f0-99999"]), "below 65536, got /f0-99999"),
        (lambda: TaskBatch.from_addresses(["realesrgan-x4@c2d470a8/s1/i1/fx"]), "expected an address such as"),
    ],
)
def test_frames_that_cannot_be_are_one_line(call, message):
    with pytest.raises(PydegradeError, match=message):
        call()


# ---- Ops that act on all frames

video = import_module("pydegrade.ops.video")
CODEC = '[[slot]]\nname = "codec"\nop = "video"\ncodec = { choice = ["h264", "mpeg4"] }\npreset = "ultrafast"\n'
TINY = (
    HEAD
    + NOISE
    + "sigma_8bit = { uniform = [1.0, 9.0], walk = { max_step = 1.0 } }\n"
    + DOWN
    + CODEC
    + "crf = 30\nqscale = 9\n"
)


@pytest.fixture(scope="module")
def tiny() -> Space:
    pytest.importorskip("av")
    return Space.loads(TINY)


def frames_of(count: int, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.stack([picture(height, width, 1).roll(2 * number, 2) for number in range(count)])


def test_a_codec_acts_on_the_whole_clip_and_clips_do_not_touch_each_other(tiny):
    tasks = pydegrade.sample(tiny, 1, range(3), frames=4)
    assert len(set(tasks.labels("codec.codec"))) == 2
    hr = frames_of(4).repeat(3, 1, 1, 1)
    out = pydegrade.degrade(hr, tasks)
    for number, rows in enumerate(tasks.clips):
        clip = tasks.take(slice(rows.start, rows.stop))
        before = torch.stack([stages[-3].image for stages in pydegrade.trace(hr[:4], clip)])
        columns = {name: clip.labels(f"codec.{name}")[0] for name in ("codec", "preset")}
        crf, qscale = clip.column("codec.crf")[0], clip.column("codec.qscale")[0]
        expected = pydegrade.ops.video(before, **columns, crf=crf, qscale=qscale, clip=True)
        assert torch.equal(out[rows.start : rows.stop], expected)
        # The same bits alone, in other company, from the address of the clip.
        again = TaskBatch.from_addresses([tasks.clip_addresses[number]], tiny)
        assert torch.equal(pydegrade.degrade(hr[:4], again), expected)
    turned = pydegrade.degrade(hr, tasks.take([*range(8, 12), *range(8)]))
    assert torch.equal(turned, out.roll(4, 0))
    # A frame alone is a clip of its own, which another codec state leaves otherwise.
    alone = pydegrade.degrade(hr[:1], tasks.take([2]))
    assert not torch.equal(alone, out[2:3])
    images = pydegrade.sample(tiny, 1, [0, 0])
    assert [len(rows) for rows in images.clips] == [1, 1]
    pair = pydegrade.degrade(hr[:2], images)
    assert torch.equal(pair[:1], pydegrade.degrade(hr[:1], images.take([0])))


def test_frames_of_several_sizes_take_that_of_the_first_before_a_codec():
    pytest.importorskip("av")
    up = '[[slot]]\nname = "up"\nop = "resize"\nmode = "torch_bilinear"\nresize_factor = '
    walk = "{ uniform = [0.5, 0.9], walk = { max_step = 0.2 } }\n"
    space = Space.loads(HEAD + up + walk + CODEC + "crf = 20\nqscale = 2\n" + DOWN)
    tasks = pydegrade.sample(space, 1, [0], frames=4)
    hr = frames_of(4)
    traced = pydegrade.trace(hr, tasks)
    sizes = [[stage.image.shape[1:] for stage in stages] for stages in traced]
    assert len({after_resize for _, after_resize, *_ in sizes}) > 1
    assert {after_codec for _, _, after_codec, *_ in sizes} == {sizes[0][1]}
    assert torch.equal(torch.stack([stages[-1].image for stages in traced]), pydegrade.degrade(hr, tasks))
    # Each frame is the one that was given: the codec's error is small.
    small = pydegrade.ops.resize(traced[3][1].image[None], tuple(sizes[0][1]), mode="catmull_rom")[0]
    assert (small - traced[3][2].image).abs().mean() < 0.06


def test_targets_of_clips_are_those_of_the_chain_without_a_codec():
    pytest.importorskip("av")
    usm = '[[slot]]\nname = "usm"\nop = "sharpen"\nweight = 0.5\n'
    head = HEAD + 'target = "usm"\n'
    with_codec = Space.loads(head + usm + NOISE + "sigma_8bit = 5\n" + DOWN + CODEC + "crf = 20\nqscale = 2\n")
    without = Space.loads(head + usm + NOISE + "sigma_8bit = 5\n" + DOWN)
    hr = frames_of(3)
    found = pydegrade.degrade_batch(hr, pydegrade.sample(with_codec, 0, [1], frames=3))
    expected = pydegrade.degrade_batch(hr, pydegrade.sample(without, 0, [1], frames=3))
    assert torch.equal(found.target, expected.target)
    assert not torch.equal(found.lr, expected.lr)


def test_a_clip_of_odd_sides_is_laid_out(tiny):
    tasks = pydegrade.sample(tiny, 1, [1], frames=2)
    hr = frames_of(2, 60, 68)
    assert pydegrade.degrade(hr, tasks).shape == (2, 3, 15, 17)


def test_a_clip_whose_codec_differs_between_frames_is_one_line(tiny):
    tasks = pydegrade.sample(tiny, 1, [0], frames=3)
    changed = tasks.replace(**{"codec.codec": [1, 2, 1]})
    with pytest.raises(
        TaskError, match=r"plan: codec\.\w+ has one value for all frames of a clip, got others in"
    ) as caught:
        pydegrade.degrade(frames_of(3), changed)
    assert "\n" not in str(caught.value)
    moved = tasks.replace(order=["noise1,down,codec", "down,codec", "noise1,down,codec"])
    with pytest.raises(TaskError, match="plan: order is one for all frames of a clip"):
        pydegrade.degrade(frames_of(3), moved)
    with pytest.raises(SpaceError, match="slot codec: crf: video has one value for a whole clip, which does not walk"):
        Space.loads(TINY.replace("crf = 30", "crf = { integers = [20, 30], walk = { max_step = 2 } }"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ('codec = "h264"\ncrf = { integers = [40, 60] }\n', "crf of h264 must be in [0, 51], got 60"),
        ('codec = { choice = ["vp9", "h265"] }\ncrf = { integers = [20, 60] }\n', "crf of h265 must be in [0, 51]"),
        ('codec = "av1"\ncrf = { integers = [0, 60] }\n', "crf of av1 must be in [1, 63], got 0"),
        (
            'codec = "h264"\nprofile = { choice = ["auto", "main"] }\ncrf = { mixture = [20, { integers = [0, 9] }] }\n',
            "crf 0 of h264 is without loss, which profile main does not know",
        ),
    ],
)
def test_a_crf_that_the_codec_does_not_have_is_refused_when_the_space_is_read(columns, message):
    pytest.importorskip("av")
    text = HEAD + DOWN + '[[slot]]\nname = "codec"\nop = "video"\n'
    with pytest.raises(SpaceError, match=r"^space:9: slot codec: video: ") as caught:
        Space.loads(text + columns)
    assert message in str(caught.value)
    # Each codec with what it has is fine, also where a column without effect holds something else.
    cases = '{ by = "codec", cases = { h264 = { integers = [0, 51] }, vp9 = { integers = [0, 63] } }, default = 63 }'
    Space.loads(text + f'codec = {{ choice = ["h264", "vp9", "mpeg2", "off"] }}\ncrf = {cases}\n')
