"""Tasks: pure draws, addresses, fingerprints, files, changes."""

from __future__ import annotations

import csv
import json
import zipfile

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import TaskBatch
from pydegrade.errors import SpaceError, TaskError
from pydegrade.sheet import Cell, SheetRow, render_sheet, slot_captions
from pydegrade.tasks.space import preset_names


def equal(a: TaskBatch, b: TaskBatch) -> bool:
    return (
        a.space == b.space
        and np.array_equal(a.program, b.program)
        and np.array_equal(a.image_keys(), b.image_keys())
        and a.columns.keys() == b.columns.keys()
        and all(np.array_equal(a.columns[name], b.columns[name]) for name in a.columns)
    )


@pytest.mark.parametrize("space", preset_names())
def test_a_task_depends_on_its_number_alone(space):
    whole = pydegrade.sample(space, 9, range(10000))
    rows = np.array([9999, 0, 4096, 4095, 17])
    assert equal(pydegrade.sample(space, 9, rows), whole.take(rows))
    assert equal(pydegrade.sample(space, 9, [4095]), whole.take([4095]))
    other = pydegrade.sample(space, 10, range(100))
    # Presets that draw no parameter have one task; their noise differs by its key.
    assert space.startswith(("bicubic", "ipt-denoise")) or not all(
        np.array_equal(other.columns[name], whole.take(slice(0, 100)).columns[name]) for name in whole.columns
    )


@pytest.mark.representatives(10)
@pytest.mark.parametrize("space", preset_names())
def test_addresses_and_files_bring_tasks_back(space, tmp_path):
    tasks = pydegrade.sample(space, 7, [3, 2**40, 12]).with_noise([3, 5, 2**50])
    assert tasks.addresses[0] == f"{space}@{tasks.space.digest[:8]}/s7/i3"
    assert tasks.addresses[2].endswith(f"/i12/n{2**50}")
    assert equal(TaskBatch.from_addresses(tasks.addresses), tasks)
    tasks.save(tmp_path / "tasks.npz")
    loaded = TaskBatch.load(tmp_path / "tasks.npz")
    assert equal(loaded, tasks)
    assert loaded.addresses == tasks.addresses
    assert np.array_equal(loaded.fingerprints(), tasks.fingerprints())
    mixed = TaskBatch.concat([tasks, pydegrade.sample(space, 1, range(3))])
    assert equal(TaskBatch.from_addresses(mixed.addresses), mixed)


def test_fingerprints():
    tasks = pydegrade.sample("realesrgan-x4", 7, range(20000))
    marks = tasks.fingerprints()
    assert len(np.unique(marks)) == 20000
    # The noise field does not count, the parameters do, and it does not matter how they came about.
    assert np.array_equal(tasks.with_noise(5).fingerprints(), marks)
    changed = tasks.replace(**{"blur1.sigma_x_px": 2.5})
    assert (changed.fingerprints() != marks).mean() > 0.85  # sinc kernels have no sigma
    back = changed.replace(**{"blur1.sigma_x_px": tasks.column("blur1.sigma_x_px")})
    assert np.array_equal(back.fingerprints(), marks)
    # A component's task equals the same task of its own space.
    mixed = pydegrade.sample("dasr-mixed", 1, range(100))
    weak = np.nonzero(mixed.component == 0)[0]
    own = pydegrade.sample("dasr-weak", 1, weak)
    assert np.array_equal(mixed.fingerprints()[weak], own.fingerprints())


def test_noise_numbers_change_the_field_only():
    hr = torch.full((2, 3, 32, 32), 0.5)
    tasks = pydegrade.sample("realesrgan-x4", 7, [5, 5])
    one, two = pydegrade.degrade(hr, tasks.with_noise([5, 6]))
    assert torch.equal(one, pydegrade.degrade(hr[:1], tasks.take([0]))[0])
    assert not torch.equal(one, two)


def test_an_account_and_a_caption_list_the_same_columns():
    """All that have an effect, also those that a space leaves at their neutral value."""
    slots = ("screentone", 'inks = "cmyk"'), ("haze", "beta = 1"), ("noise", 'kind = "poisson"\npoisson_gain = 2')
    text = '[space]\nname = "t"\nscale = 1\n' + "".join(
        f'[[slot]]\nname = "{op}1"\nop = "{op}"\n{columns}\n' for op, columns in slots
    )
    tasks = pydegrade.sample(pydegrade.Space.loads(text), 0, [0])
    for (op, _), line in zip(slots, tasks.describe(0).splitlines()[-3:], strict=True):
        acting = [name for name, effect in tasks.masks(f"{op}1").items() if effect[0]]
        assert [part.split()[0] for part in line.split(": ")[1].split(", ")] == acting
        assert len(slot_captions(tasks, 0, f"{op}1")) == len(acting)
    assert "cell_px 6" in tasks.describe(0)


def test_captions_say_what_a_word_alone_would_not():
    tasks = pydegrade.sample("realesrgan-x4", 11, [1, 2])
    assert slot_captions(tasks, 0, "jpeg1")[-1] == "chroma 4:2:0"
    assert slot_captions(tasks, 0, "noise1")[-1] == "colour noise"
    assert slot_captions(tasks, 1, "noise1")[-1] == "gray noise"
    assert slot_captions(tasks, 0, "resize2")[-1] == "factor of the LR size"


def test_long_rows_of_a_sheet_go_on_in_further_lines():
    cells = tuple(Cell(np.full((2, 2, 3), 20 * number, np.uint8), str(number)) for number in range(5))
    broken = [SheetRow("a task", cells[:2]), SheetRow("", cells[2:4]), SheetRow("", cells[4:])]
    found = render_sheet([SheetRow("a task", cells)], "", 20, 20, most_columns=2)
    assert np.array_equal(found, render_sheet(broken, "", 20, 20))


def test_describe_and_csv(tmp_path):
    tasks = pydegrade.sample("dasr-mixed", 7, range(5))
    for row in range(5):
        text = tasks.describe(row)
        assert text.startswith(tasks.addresses[row])
        assert f"component    dasr-{('weak', 'standard', 'severe')[tasks.component[row]]}" in text
        assert "blur1        blur: shape" in text
    tasks.to_csv(tmp_path / "tasks.csv")
    with open(tmp_path / "tasks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["address"] for row in rows] == tasks.addresses
    assert [np.float32(row["blur1.sigma_x_px"]) for row in rows] == tasks.column("blur1.sigma_x_px").tolist()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"blur1.sigma": 1.0}, SpaceError, "slot blur1 has no column 'sigma'; did you mean"),
        ({"blurr1.sigma_x_px": 1.0}, SpaceError, "no slot 'blurr1'; did you mean 'blur1'?"),
        ({"blur1.sigma_x_px": [1.0, -1.5, 2.0]}, TaskError, "must be a value in [0, 20], got -1.5 at row 1"),
        ({"blur1.size_px": 8}, TaskError, "must be an odd number in [1, 51], got 8 at row 0"),
        ({"blur1.shape": "round"}, TaskError, "blur1.shape must be one of delta, iso"),
        ({"jpeg1.quality": [1, 2]}, TaskError, "must be one number or 3 numbers"),
    ],
)
def test_replace_messages(change, error, message):
    with pytest.raises(error) as caught:
        pydegrade.sample("realesrgan-x4", 0, range(3)).replace(**change)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("realesrgan-x4", "expected an address such as realesrgan-x4@c2d470a8/s7/i123"),
        ("realesrgan-x4@00000000/s7/i1", "expected space 'realesrgan-x4' with digest 00000000, got"),
        ("none@00000000/s7/i1", "no preset named 'none'"),
        ("../x@00000000/s7/i1", "expected an address"),
        ("realesrgan-x4@c2d470a8/s7/i1?jpeg1.quality=300", "jpeg1.quality must be a value in [1, 100], got 300"),
        ("realesrgan-x4@c2d470a8/s7/i1?jpeg1.quality=30&jpeg1.quality=30", "jpeg1.quality is given twice"),
        ("realesrgan-x4@c2d470a8/s7/i1?" + "&".join(["jpeg1.quality=30"] * 900), "jpeg1.quality is given twice"),
    ],
)
def test_address_messages(address, message):
    with pytest.raises(TaskError) as caught:
        TaskBatch.from_addresses([address])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_bad_seeds_and_indices():
    for seed, indices, message in [
        (-1, [0], "seed must be in"),
        (1.5, [0], "seed must be a whole number"),
        (0, [-1], "got -1 at position 0"),
        (0, [0.5], "whole numbers in one dimension"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            pydegrade.sample("bicubic", seed, indices)


def test_damaged_files_are_refused(tmp_path):
    tasks = pydegrade.sample("realesrgan-x4", 0, range(3))
    good = tmp_path / "good.npz"
    tasks.save(good)
    bad = tmp_path / "bad.npz"
    bad.write_bytes(good.read_bytes()[:500])
    with pytest.raises(TaskError, match="not a readable task file"):
        TaskBatch.load(bad)
    with pytest.raises(TaskError, match="no such task file"):
        TaskBatch.load(tmp_path / "none.npz")
    arrays = dict(np.load(good))
    for name, value, message in [
        ("program", arrays["program"] + 50, "program must hold slot numbers"),
        ("column:blur1.sigma_x_px", arrays["column:blur1.sigma_x_px"] - 9, "must lie in"),
        ("indices", arrays["indices"][:2], "must be"),
        ("meta", np.array(json.dumps({"version": 1, "digest": "x"})), "expected digest c2d470a8, got .x."),
    ]:
        np.savez(bad, **{**arrays, name: value})
        with pytest.raises(TaskError, match=message):
            TaskBatch.load(bad)
    # An array of objects would need a pickle to be read.
    np.savez(bad, **{**arrays, "indices": np.array([object()] * 3, dtype=object)})
    with pytest.raises(TaskError, match="not a readable task file"):
        TaskBatch.load(bad)
    assert zipfile.is_zipfile(good)


def test_rows_by_position_and_in_loops():
    tasks = pydegrade.sample("dasr-weak", 3, range(5))
    assert tasks[2].addresses == tasks[-3].addresses == tasks.addresses[2:3]
    assert tasks[np.int64(1)].addresses == tasks.addresses[1:2]
    assert tasks[1:3].addresses == tasks[[1, 2]].addresses == tasks.addresses[1:3]
    assert [one.addresses[0] for one in tasks] == tasks.addresses
    for wrong in (5, -6):
        with pytest.raises(IndexError, match=r"row must be in -5\.\.4"):
            tasks[wrong]
    with pytest.raises((TypeError, ValueError)):
        tasks["blur1.shape"]


@pytest.mark.slow
def test_tasks_and_spaces_are_short_in_a_session():
    tasks = pydegrade.sample("realesrgan-x4", 7, range(48))
    digest = tasks.space.digest[:8]
    assert repr(tasks) == f"<TaskBatch 48 tasks of realesrgan-x4@{digest}, seed 7, samples 0, 1, 2, 3, ...>"
    assert repr(tasks.take([])) == f"<TaskBatch 0 tasks of realesrgan-x4@{digest}>"
    assert repr(tasks.space) == f"<Space realesrgan-x4@{digest}, x4, 11 slots, target usm>"
    html = tasks._repr_html_()
    assert html.count("<tr>") == 20
    assert "28 more tasks" in html
    assert tasks.addresses[19] in html
    edited = tasks[0].replace(**{"jpeg1.quality": 30, "noise1.gray": 1})
    assert "&amp;" in edited._repr_html_() or "&" not in edited.addresses[0]


@pytest.mark.parametrize("indices", [4, np.int64(4)])
def test_one_number_is_no_list_of_them(indices):
    with pytest.raises(TypeError, match=r"^indices must be several numbers, got 4; \[4\] is .*, range\(4\) are"):
        pydegrade.sample("bicubic", 0, indices)
