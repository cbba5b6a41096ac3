"""Properties of every space: an address rebuilds its task bit for bit, whatever was changed by hand, and files bring tasks
back; what a task does depends on the columns that have an effect alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import pydegrade
from pydegrade import Space, TaskBatch
from pydegrade.errors import TaskError
from pydegrade.ops.declaration import deciders_of
from pydegrade.tasks.rows import number_text, number_texts, resolved
from pydegrade.tasks.space import preset_names
from pydegrade.tasks.tables import effects_of

from .test_space_building import GATES, HEAD, SCHEDULE

MIXED = Space.loads(
    HEAD + '[mixture]\nspaces = ["a", "b", "dasr"]\n',
    {
        "a": GATES.replace('"t"', '"a"'),
        "b": SCHEDULE.replace('"t"', '"b"'),
        "dasr": '[space]\nname = "dasr"\nbase = "dasr-severe"\ntarget = "hr"\nwithout = ["usm"]\n',
    },
)
SPACES = {
    **{name: Space.load(name) for name in preset_names()},
    "gates": Space.loads(GATES),
    "schedule": Space.loads(SCHEDULE),
    "mixed": MIXED,
}


def changes_size(tasks, slot):
    return tasks.space.op(slot).out_size is not None


def sized_in_order(tasks, slots, order):
    """The slots, of which those that change the size come as in `order`."""
    sized = iter([slot for slot in order if slot in slots and changes_size(tasks, slot)])
    return [next(sized) if changes_size(tasks, slot) else slot for slot in slots]


def same(a: TaskBatch, b: TaskBatch) -> None:
    assert a.space == b.space
    assert list(a.columns) == list(b.columns)
    for name in a.space.all_columns:
        assert a.column(name).tobytes() == b.column(name).tobytes(), name
        assert a.raw(name).tobytes() == b.raw(name).tobytes(), name
    for name in ("program", "component", "seeds", "indices", "noise_indices", "steps"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.addresses == b.addresses
    assert np.array_equal(a.fingerprints(), b.fingerprints())
    for row in {0, len(a) // 2, len(a) - 1}:
        assert a.describe(row) == b.describe(row)


def a_value(data: st.DataObject, space: Space, name: str) -> float | str:
    column = space.column(name)
    if column.choices:
        return data.draw(st.sampled_from(column.choices))
    if column.name == "size_px":
        return data.draw(st.integers(0, 25)) * 2 + 1
    if column.integer:
        return data.draw(st.integers(int(column.low), int(column.high)))
    low, high = float(np.float32(column.low)), float(np.float32(column.high))
    numbers = (
        st.floats(low, high, width=32) if low == column.low and high == column.high else st.floats(low / 2, high / 2)
    )
    return data.draw(numbers)


def changed(data: st.DataObject, tasks: TaskBatch) -> TaskBatch:
    """The tasks with a few values, some for one row alone, and perhaps another order."""
    for name in data.draw(st.lists(st.sampled_from(tasks.space.all_columns), min_size=1, max_size=4)):
        value = a_value(data, tasks.space, name)
        rows = np.array(data.draw(st.lists(st.booleans(), min_size=len(tasks), max_size=len(tasks))))
        labels = np.array(tasks.labels(name), dtype=object)
        numbers = np.where(rows, value, labels if isinstance(value, str) else tasks.raw(name))
        try:
            tasks = tasks.replace(**{name: numbers.astype(str) if isinstance(value, str) else numbers.astype(float)})
        except TaskError:
            # An op that does not take all values together.
            op = tasks.space.op(name.partition(".")[0])
            assert op.fault is not None or op.files is not None
    if data.draw(st.booleans()):
        fixed = 0 if tasks.space.target == "hr" else 1
        orders = []
        for order in tasks.orders():
            moved = data.draw(st.permutations(order[fixed:]))
            kept = set(moved[: data.draw(st.integers(0, len(moved)))])
            chosen = [slot for slot in sized_in_order(tasks, moved, order) if slot in kept or changes_size(tasks, slot)]
            orders.append(",".join([*order[:fixed], *(chosen or moved[: 1 - fixed])]))
        if all(orders):
            tasks = tasks.replace(order=orders)
    return tasks


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=6, deadline=None, derandomize=True, phases=(Phase.generate,))
@given(data=st.data())
def test_an_address_rebuilds_its_task(name, data):
    space = SPACES[name]
    indices = data.draw(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3))
    seed, step = data.draw(st.integers(0, 2**63 - 1)), data.draw(st.integers(0, 2000))
    tasks = changed(data, pydegrade.sample(space, seed, indices, step=step))
    if data.draw(st.booleans()):
        tasks = tasks.with_noise(data.draw(st.integers(0, 2**63 - 1)))
    rebuilt = TaskBatch.from_addresses(tasks.addresses, space)
    same(rebuilt, tasks)
    # Row by row too, and what is changed back has its first address again.
    for row in range(len(tasks)):
        same(TaskBatch.from_addresses(tasks.addresses[row], space), tasks.take([row]))
    drawn = pydegrade.sample(space, seed, indices, step=step)
    back = {column: drawn.raw(column) for column in space.all_columns}
    undone = (
        tasks.replace(**back, order=[",".join(order) for order in drawn.orders()]) if all(drawn.orders()) else drawn
    )
    assert undone.with_noise(drawn.noise_indices).addresses == drawn.addresses
    # Redrawn at the same place nothing is changed.
    assert tasks.redrawn(space).with_noise(indices).addresses == drawn.addresses


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_files_bring_changed_tasks_back(name, tmp_path):
    space = SPACES[name]
    tasks = pydegrade.sample(space, 3, range(40), step=700)
    first = space.slots[0].op
    own = next(column for column in space.op(space.slots[0].name).columns if not column.choices and not column.integer)
    edited = tasks.replace(**{f"{space.slots[0].name}.{own.name}": np.linspace(own.low, own.high, 40)}).take([5, 0, 39])
    assert first
    for batch in (tasks, edited, TaskBatch.concat([tasks, edited])):
        batch.save(tmp_path / "tasks.npz")
        same(TaskBatch.load(tmp_path / "tasks.npz"), batch)
        batch.to_csv(tmp_path / "tasks.csv")
        same(TaskBatch.load(tmp_path / "tasks.csv", space), batch)


@pytest.mark.parametrize("name", SPACES)
def test_resolving_again_changes_nothing(name):
    tasks = pydegrade.sample(SPACES[name], 1, range(500), step=400)
    again = resolved(tasks)
    for column in tasks.space.all_columns:
        assert np.array_equal(again.column(column), tasks.column(column))
        assert np.array_equal(again.mask(column), tasks.mask(column))
    assert np.array_equal(again.program, tasks.program)


@pytest.mark.parametrize("op", pydegrade.ops.OPS + pydegrade.ops.PLAIN_OPS, ids=lambda op: op.name)
def test_what_an_op_does_depends_on_columns_with_an_effect_alone(op):
    generator = np.random.default_rng(0)
    columns = {}
    for column in op.columns:
        low, high = column.limits
        whole = column.choices or column.integer
        drawn = generator.integers(int(low), int(high) + 1, 4000) if whole else generator.uniform(low, high, 4000)
        neutral = generator.random(4000) < 0.3
        columns[column.name] = np.where(
            neutral, column.neutral_value, np.where(generator.random(4000) < 0.1, low, drawn)
        )
        columns[column.name] = columns[column.name].astype(column.dtype)
    active = op.active(columns)
    everywhere = np.ones(4000, bool)
    masked = {
        column.name: np.where(active.get(column.name, everywhere), columns[column.name], column.neutral_value).astype(
            column.dtype
        )
        for column in op.columns
    }
    assert np.array_equal(op.neutral(masked), op.neutral(columns))
    for name, values in op.active(masked).items():
        assert np.array_equal(values, active[name]), name
    # What an op that says by which columns it decides has drawn for it, case by case.
    deciders = deciders_of(op.active)
    if deciders is None:
        assert op.name == "rain"  # no streaks of brightness 0, which is not its neutral value
        return
    case = np.zeros(4000, np.int64)
    for decider in map(op.column, deciders):
        values = columns[decider.name]
        case = case * (len(decider.choices) or 2) + (values if decider.choices else values != decider.neutral_value)
    for column, effect in zip(op.columns, effects_of(op, deciders).reshape(-1, len(op.columns))[case].T):
        assert np.array_equal(effect, active.get(column.name, everywhere)), column.name


def test_pixels_of_a_changed_task_are_those_of_its_address():
    tasks = pydegrade.sample("realesrgan-x4", 7, range(6))
    edited = tasks.replace(**{"jpeg1.quality": 30, "blur1.shape": "iso", "noise2.kind": "poisson"})
    assert edited.addresses[0].startswith(f"{tasks.addresses[0]}?")
    assert len(set(edited.addresses) | set(tasks.addresses)) == 12
    hr = torch.rand(6, 3, 32, 32)
    ours = pydegrade.degrade(hr, edited)
    assert torch.equal(ours, pydegrade.degrade(hr, TaskBatch.from_addresses(edited.addresses)))
    assert not torch.equal(ours, pydegrade.degrade(hr, TaskBatch.from_addresses(tasks.addresses)))


def test_the_form_of_an_address():
    tasks = pydegrade.sample("realesrgan-x4", 7, [123])
    stem = f"realesrgan-x4@{tasks.space.digest[:8]}/s7/i123"
    assert tasks.addresses == [stem]
    edited = tasks.replace(**{"jpeg1.quality": 30, "blur1.shape": "iso"})
    assert edited.addresses == [f"{stem}?blur1.shape=iso&jpeg1.quality=30"]
    # In whatever order the edits were made or written, and without those that have no effect.
    swapped = (
        f"{stem}?jpeg1.quality=30.0&blur1.shape=iso&blur1.cutoff_rad=1&blur1.size_px={tasks.labels('blur1.size_px')[0]}"
    )
    assert TaskBatch.from_addresses([swapped]).addresses == edited.addresses
    assert edited.with_noise(5).addresses == [f"{stem}/n5?blur1.shape=iso&jpeg1.quality=30"]
    order = ",".join(sized_in_order(tasks, tasks.orders()[0][:0:-1], tasks.orders()[0]))
    assert tasks.replace(order=f"usm,{order}").addresses == [f"{stem}?order=usm,{order}"]


def test_a_change_brings_the_drawn_values_into_effect():
    tasks = pydegrade.sample("realesrgan-x4", 7, range(300))
    sinc = np.array(tasks.labels("blur1.shape")) == "sinc"
    assert sinc.any()
    round_ones = tasks.replace(**{"blur1.shape": "iso"})
    assert (round_ones.column("blur1.sigma_x_px") >= 0.2).all()
    assert np.array_equal(round_ones.column("blur1.sigma_x_px"), tasks.raw("blur1.sigma_x_px"))


def test_released_vectors_follow_changes():
    tasks = pydegrade.sample("dasr-severe", 0, range(200))
    second = np.array(tasks.labels("blur2.shape")) != "delta"
    edited = tasks.replace(**{"blur2.sigma_x_px": 1.1, "resize1.mode": "torch_area", "jpeg1.quality": 40})
    old, _ = edited.vector(compat="dasr2022")
    assert np.allclose(old[second, 5], (1.1 - 0.2) / 1.3, atol=1e-6)
    resized = tasks.column("resize1.resize_factor") != 1
    assert (old[resized, 11] == 1).all()
    assert np.allclose(old[:, 26], 10 / 65)
    rebuilt = TaskBatch.from_addresses(edited.addresses)
    for scheme in pydegrade.vectors.SCHEMES:
        for compat in pydegrade.vectors.COMPATS:
            for ours, theirs in zip(rebuilt.vector(scheme, compat), edited.vector(scheme, compat)):
                assert np.array_equal(ours, theirs)


@pytest.mark.slow
def test_tasks_from_vectors_have_addresses():
    values, mask = pydegrade.sample("dasr-mixed", 5, range(60)).vector("dasr33-global")
    made = TaskBatch.from_vector(values, "dasr-severe", scheme="dasr33-global", mask=mask)
    assert all("?" in address for address in made.addresses)
    same(TaskBatch.from_addresses(made.addresses), made)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_in_addresses_are_exact(value):
    assert np.float32(float(number_text(np.float32(value)))) == np.float32(value)


def test_many_numbers_are_written_as_one():
    bits = np.random.default_rng(0).integers(0, 2**32, 2000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([bits[np.isfinite(bits)], np.float32([0, -0.0, 1, 30, 1e-5, 1e16, 1e17, 0.1, 123456.7])])
    assert number_texts(values) == [number_text(value) for value in values]
    assert number_texts(np.array([3, -7], np.int32)) == ["3", "-7"]


def test_files_and_addresses_from_before_resolve(tmp_path):
    tasks = pydegrade.sample("dasr-mixed", 7, range(20))
    tasks.save(tmp_path / "new.npz")
    arrays = dict(np.load(tmp_path / "new.npz"))
    meta = json.loads(str(arrays["meta"]))
    del arrays["frames"]
    np.savez(tmp_path / "second.npz", **{**arrays, "meta": np.array(json.dumps({**meta, "version": 2}))})
    same(TaskBatch.load(tmp_path / "second.npz"), tasks)
    del arrays["steps"]
    arrays["meta"] = np.array(json.dumps({**meta, "version": 1}))
    np.savez(tmp_path / "old.npz", **arrays)
    same(TaskBatch.load(tmp_path / "old.npz"), tasks)
    # A file that an earlier version wrote of changed tasks held the plain addresses; now they say what was changed.
    quality = arrays["column:jpeg1.quality"].copy()
    quality[3] = 33
    np.savez(tmp_path / "edited.npz", **{**arrays, "column:jpeg1.quality": quality})
    loaded = TaskBatch.load(tmp_path / "edited.npz")
    assert loaded.addresses == [*tasks.addresses[:3], f"{tasks.addresses[3]}?jpeg1.quality=33", *tasks.addresses[4:]]
    # Addresses as the first version printed them.
    for address in ("realesrgan-x4@c2d470a8/s7/i123", "dasr-weak@f892dac8/s0/i0/n9"):
        assert TaskBatch.from_addresses([address]).addresses == [address]


def test_a_table_that_no_longer_gives_its_tasks_is_refused(tmp_path):
    tasks = pydegrade.sample("dasr-weak", 0, range(3))
    tasks.to_csv(tmp_path / "tasks.csv")
    text = (tmp_path / "tasks.csv").read_text()
    mark = f"{int(tasks.fingerprints()[1]):016x}"
    (tmp_path / "tasks.csv").write_text(text.replace(mark, "0123456789abcdef"))
    with pytest.raises(TaskError, match=f"now has the fingerprint {mark}, expected 0123456789abcdef"):
        TaskBatch.load(tmp_path / "tasks.csv")


def test_an_edited_quality_is_recorded_as_it_is_used():
    """Files have whole qualities: mode libjpeg rounds, halves to even. Draws stay as they were drawn."""
    head = (
        '[space]\nname = "real"\nbase = "realesrgan-x4"\n[[slot]]\nname = "jpeg1"\nquality = {uniform = [30.0, 95.0]}\n'
    )
    space = pydegrade.Space.loads(head)
    tasks = pydegrade.sample(space, 7, range(40))
    drawn = tasks.column("jpeg1.quality")
    assert (drawn != np.rint(drawn)).any()
    for value, used in ((30.5, 30), (31.5, 32), (37.93, 38), (38, 38)):
        edited = tasks.replace(**{"jpeg1.quality": value})
        assert (edited.column("jpeg1.quality") == used).all()
        whole = tasks.replace(**{"jpeg1.quality": used})
        assert edited.addresses == whole.addresses
        assert np.array_equal(edited.fingerprints(), whole.fingerprints())
        plain = tasks.addresses[0]
        assert TaskBatch.from_addresses([f"{plain}?jpeg1.quality={value}"], space).addresses == [
            f"{plain}?jpeg1.quality={used}"
        ]
    # Also where the mode is changed after the quality; the approximations take any quality.
    other = tasks.replace(**{"jpeg1.mode": "diffjpeg", "jpeg1.quality": 30.5})
    assert (other.column("jpeg1.quality") == 30.5).all()
    assert (other.replace(**{"jpeg1.mode": "libjpeg"}).column("jpeg1.quality") == 30).all()
    assert np.array_equal(tasks.replace(**{"jpeg2.quality": 50}).column("jpeg1.quality"), drawn)


def test_orders_that_do_not_end_at_the_lr_size_are_refused_when_they_are_named():
    tasks = pydegrade.sample("realesrgan-x4", 7, [3])
    runs = tasks.orders()[0]
    sized = [slot for slot in runs if tasks.space.op(slot).out_size is not None]
    for order in (runs[:1], tuple(slot for slot in runs if slot != sized[-1])):
        text = ",".join(order)
        with pytest.raises(TaskError, match=r"^order: .* must end at the LR size, 100 px of the space's 400, got \d+$"):
            TaskBatch.from_addresses(f"{tasks.addresses[0]}?order={text}")
        with pytest.raises(TaskError, match="must end at the LR size"):
            tasks.replace(order=text)
    kept = ",".join(slot for slot in runs if slot not in ("blur2", "noise2"))
    assert TaskBatch.from_addresses(f"{tasks.addresses[0]}?order={kept}").orders()[0] == tuple(kept.split(","))
