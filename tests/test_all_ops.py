"""What holds for every op of the package: one test each over the registry."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import pydegrade
from pydegrade.errors import OpError, SpaceError, TaskError
from pydegrade.ops import OPS, PLAIN_OPS, registry
from pydegrade.tasks.distributions import walks
from pydegrade.tasks.space import preset_names

from .golden_pixels import digest, picture

ALL = OPS + PLAIN_OPS
# Columns that are not drawn over their whole range.
DRAWN = {
    "blur.size_px": "{ integers = [3, 21], step = 2 }",
    "blur.sigma_x_px": "{ uniform = [0.2, 8.0] }",
    "blur.sigma_y_px": "{ uniform = [0.2, 8.0] }",
    "blur.cutoff_rad": "{ uniform = [0.3, 3.1] }",
    "kernel_pool.number": "{ integers = [1, 3] }",
    "median.size_px": "{ integers = [3, 15], step = 2 }",
    "noise.cov_rr_8bit2": "200",
    "noise.cov_gg_8bit2": "300",
    "noise.cov_bb_8bit2": "100",
    "video.crf": "{ integers = [10, 51] }",
    "video.preset": '{ choice = ["ultrafast", "fast", "medium"] }',
    "video.speed": "{ integers = [6, 10] }",
    "dpid.resize_factor": "{ uniform = [0.1, 0.9] }",
    "rain.length_px": "{ uniform = [4.0, 40.0] }",
    "resize.resize_factor": "{ uniform = [0.3, 1.9] }",
    "resize.rule": '"input"',
}
POOL = [np.eye(3) / 3, np.ones((5, 5)) / 25, np.arange(49).reshape(7, 7) / 1176]
"""What the files of a slot hold whose op takes files."""
SIZES = [(40, 48), (33, 21), (1, 1), (17, 64), (9, 1), (1, 30), (50, 35), (24, 24), (31, 8), (16, 16)]


def drawn(op: pydegrade.ops.Op, column: pydegrade.ops.Column) -> str:
    """The TOML of a column that takes every value it may have, its switch rarely the neutral one."""
    full = f"{op.name}.{column.name}"
    if full in DRAWN:
        return DRAWN[full]
    if full.startswith("noise.cov"):
        return "20"
    if column.choices:
        names = [name for name in column.choices if column.name != op.switch or name != column.neutral]
        return f"{{ choice = {names} }}".replace("'", '"')
    if column.integer:
        return f"{{ integers = [{int(column.low)}, {int(column.high)}] }}"
    return f"{{ uniform = [{float(column.low)!r}, {float(column.high)!r}] }}"


def _walk(found: re.Match[str]) -> str:
    low, high = map(float, found.groups())
    return f"{{ uniform = [{low!r}, {high!r}], walk = {{ max_step = {(high - low) / 4!r} }} }}"


def space_of(*ops: pydegrade.ops.Op, walks: bool = False) -> pydegrade.Space:
    """One slot of each op; with `walks`, real columns of those that take each frame for itself walk."""
    text = '[space]\nname = "every"\nscale = 1\nsource = "a test"\n'
    for op in ops:
        columns = "".join(f"{column.name} = {drawn(op, column)}\n" for column in op.columns)
        if walks and op.apply_clip is None:
            columns = re.sub(r"\{ uniform = \[([^,]+), ([^]]+)\] \}", _walk, columns)
        files = 'files = "pool"\n' if op.files is not None else ""
        text += f'[[slot]]\nname = "{op.name}1"\nop = "{op.name}"\n{files}{columns}'
    if any(op.out_size is not None or op.apply is None for op in ops):
        text += '[[slot]]\nname = "end"\nop = "resize"\nmode = "torch_bilinear"\nrule = "final"\n'
    return pydegrade.Space.loads(text, pools={"pool": POOL})


def images() -> list[torch.Tensor]:
    return [picture(height, width, number) for number, (height, width) in enumerate(SIZES)]


@pytest.fixture
def threads():
    """Sets the number of threads of pydegrade and torch."""
    before = torch.get_num_threads()

    def set_threads(number: int) -> None:
        pydegrade.set_num_threads(number)
        torch.set_num_threads(number)

    yield set_threads
    pydegrade.set_num_threads(None)
    torch.set_num_threads(before)


@pytest.mark.representatives(3)
@pytest.mark.parametrize("op", ALL, ids=lambda op: op.name)
def test_the_same_bits_in_every_batch_order_and_number_of_threads_and_from_addresses_and_files(op, threads, tmp_path):
    space = space_of(op)
    tasks = pydegrade.sample(space, 5, range(len(SIZES)))
    threads(1)
    expected = pydegrade.degrade_list(images(), tasks)
    threads(2)
    assert all(map(torch.equal, pydegrade.degrade_list(images(), tasks), expected))
    turned = np.arange(len(SIZES))[::-1]
    back = pydegrade.degrade_list(images()[::-1], tasks.take(turned))
    assert all(map(torch.equal, back[::-1], expected))
    again = pydegrade.TaskBatch.from_addresses(tasks.addresses, space=space)
    for row, image in enumerate(images()):
        (alone,) = pydegrade.degrade_list([image], again.take([row]))
        assert torch.equal(alone, expected[row]), tasks.describe(row)
    tasks.save(tmp_path / "tasks.npz")
    loaded = pydegrade.TaskBatch.load(tmp_path / "tasks.npz")
    assert all(map(torch.equal, pydegrade.degrade_list(images(), loaded), expected))
    large = [row for row, (height, width) in enumerate(SIZES) if min(height, width) > 8]
    changed = [
        not torch.equal(expected[row], pydegrade.trace([images()[row]], tasks.take([row]))[0][0].image) for row in large
    ]
    assert np.mean(changed) > 0.5, "the op should act"


def takes_clips(space: pydegrade.Space) -> bool:
    """Whether its tasks are others in a clip than alone."""
    acts_on_clips = any(registry.find(slot.op).apply_clip is not None for slot in space.slots)
    return acts_on_clips or any(walks(column) for slot in space.slots for _, column in slot.columns)


PRESETS_OF_CLIPS = [name for name in preset_names() if takes_clips(pydegrade.Space.load(name))]
FRAMES = 3


def clips_of(which: pydegrade.ops.Op | str) -> tuple[pydegrade.TaskBatch, list[torch.Tensor]]:
    """Tasks and frames of two clips of an op or a preset."""
    space = pydegrade.Space.load(which) if isinstance(which, str) else space_of(which, walks=True)
    frames = [picture(*size, number) for size in ((32, 40), (24, 48)) for number in range(FRAMES)]
    return pydegrade.sample(space, 5, [0, 3], frames=FRAMES), frames


@pytest.mark.representatives(4)
@pytest.mark.parametrize("which", [*ALL, *PRESETS_OF_CLIPS], ids=lambda which: getattr(which, "name", which))
def test_the_same_bits_of_clips_in_every_company_number_of_threads_and_from_addresses(which, threads):
    tasks, frames = clips_of(which)
    threads(1)
    expected = pydegrade.degrade_list(frames, tasks)
    threads(2)
    assert all(map(torch.equal, pydegrade.degrade_list(frames, tasks), expected))
    turned = [*range(FRAMES, 2 * FRAMES), *range(FRAMES)]
    back = pydegrade.degrade_list([frames[row] for row in turned], tasks.take(turned))
    assert all(map(torch.equal, back, [expected[row] for row in turned]))
    space = tasks.space
    for rows, address in zip(tasks.clips, tasks.clip_addresses):
        alone = pydegrade.TaskBatch.from_addresses([address], space)
        assert all(
            map(torch.equal, pydegrade.degrade_list(frames[rows.start : rows.stop], alone), expected[rows.start :])
        )
    if any(registry.find(slot.op).apply_clip is not None for slot in space.slots):
        return
    for row, address in enumerate(tasks.addresses):
        alone = pydegrade.TaskBatch.from_addresses([address], space)
        assert torch.equal(pydegrade.degrade_list([frames[row]], alone)[0], expected[row]), address


class Digests(Dataset):
    """Of the pixels of two tasks of each op, then of two clips of each preset of clips."""

    def __len__(self) -> int:
        return len(ALL) + len(PRESETS_OF_CLIPS)

    def __getitem__(self, number: int) -> str:
        if number >= len(ALL):
            tasks, frames = clips_of(PRESETS_OF_CLIPS[number - len(ALL)])
            return digest(*pydegrade.degrade_list(frames, tasks))
        tasks = pydegrade.sample(space_of(ALL[number]), 5, [0, 3])
        return digest(*pydegrade.degrade_list([picture(40, 48), picture(17, 64)], tasks))


def test_the_same_bits_in_a_worker():
    here = [Digests()[number] for number in range(len(Digests()))]
    loader = DataLoader(Digests(), batch_size=None, num_workers=1)
    assert list(loader) == here


@pytest.mark.parametrize("op", [op for op in ALL if op.switch], ids=lambda op: op.name)
def test_off_is_the_image_itself(op):
    columns = {column.name: np.array([column.neutral_value], column.dtype) for column in op.columns}
    assert op.neutral(columns).all()
    if op.apply is not None:
        image = picture(7, 9)
        values = {column.name: column.neutral for column in op.columns}
        assert torch.equal(op.apply(image, values, (1, 2, 3, 4)), image)


@pytest.mark.slow
def test_a_chain_of_all_ops_runs_and_replays():
    space = space_of(*ALL)
    tasks = pydegrade.sample(space, 1, range(3))
    hr = [picture(64, 48, 2)] * 3
    again = pydegrade.TaskBatch.from_addresses(tasks.addresses, space=space)
    assert all(map(torch.equal, pydegrade.degrade_list(hr, tasks), pydegrade.degrade_list(hr, again)))
    # What a plain op is given may lie outside [0, 1], and nothing that comes out of the chain does.
    assert all(image.min() >= 0 and image.max() <= 1 for image in pydegrade.degrade_list(hr, tasks))


LIBRARIES = [op for op in ALL if op.library is not None]


@pytest.mark.parametrize("op", LIBRARIES, ids=lambda op: op.name)
def test_another_version_of_a_library_is_refused(op, monkeypatch, tmp_path):
    space = space_of(op)
    tasks = pydegrade.sample(space, 0, range(2))
    tasks.save(tmp_path / "tasks.npz")
    monkeypatch.setitem(registry._ops, op.name, replace(op, library=lambda: "libother 9.9"))
    other = space_of(op)
    assert other.digest != space.digest
    with pytest.raises(TaskError, match=r"or a library: here are libother 9\.9"):
        pydegrade.TaskBatch.from_addresses(tasks.addresses, space=other)
    with pytest.raises(TaskError, match=r"or a library: here are libother 9\.9"):
        pydegrade.TaskBatch.load(tmp_path / "tasks.npz")


# Pillow itself, which palettes need, is always there; PyAV has a test of its own.
@pytest.mark.parametrize("op", [op for op in LIBRARIES if op.name not in ("palette", "video")], ids=lambda op: op.name)
def test_a_library_that_this_build_lacks_is_one_line(op, monkeypatch):
    from PIL import features

    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(
        SpaceError, match=rf"slot {op.name}1: op '{op.name}': this Pillow .* was built without"
    ) as caught:
        space_of(op)
    assert "\n" not in str(caught.value)
    with pytest.raises(OpError, match="was built without"):
        getattr(pydegrade.ops, op.name)(picture(8, 8)[None])
