"""Drawing: tables and the compiled module against the classes of the distributions, any block and order of samples, spaces
that stay loaded while nothing changes, and streams of tasks."""

from __future__ import annotations

import dataclasses
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import Space, TaskStream, plan
from pydegrade.native import binding
from pydegrade.native.packed import dense_layout
from pydegrade.ops import registry
from pydegrade.tasks import distribution_contract
from pydegrade.tasks import space as spaces
from pydegrade.tasks.drawing import draw
from pydegrade.tasks.tables import tables_of

from . import border
from .reference import drawing as reference
from .test_space_building import BLUR, DOWN, HEAD, JPEG, NOISE
from .test_task_properties import SPACES

# Every kind of distribution, alone and inside others; cases that are equal once they are stored; slots around a shuffle.
KINDS = (
    HEAD + '[[slot]]\nname = "a"\nop = "blur"\n'
    'shape = { choice = ["aniso", "sinc", "iso", "delta"], weights = [0.5, 0.0, 0.25, 0.25] }\n'
    "size_px = { mixture = [{ integers = [7, 21], step = 2 }, { integers = [3, 5], step = 4 }, 9] }\n"
    "sigma_x_px = { log_uniform = [0.2, 10.0] }\n"
    'sigma_y_px = { sqrt_uniform_up_to = "sigma_x_px", low = 1.0 }\n'
    'beta = { by = "size_px", cases = { 3 = 2.0, 7 = { reciprocal_uniform = [0.5, 4.0] }, "7.0" = 3.0 }, '
    "default = { mixture = [{ log_uniform = [0.1, 2.0] }, { sqrt_uniform = [0.5, 4.0] }], weights = [0.3, 0.7] } }\n"
    'cutoff_rad = { by = "sigma_x_px", cases = { "0.1" = 1.0 }, default = { uniform = [1.0, 2.0] } }\n'
    + NOISE.replace("noise1", "b").replace('"gaussian"', '{ choice = ["gaussian", "poisson", "correlated"] }')
    + "".join(f'cov_{e}_8bit2 = {{ bsrgan_covariance = 50, entry = "{e}" }}\n' for e in ("rr", "rb", "gg", "bb"))
    + "poisson_gain = { reciprocal_uniform = [0.5, 20.0] }\ngray = { bernoulli = 0.4 }\n"
    + 'density = { mixture = [{ power_of = "poisson_gain", factor = 0.01, exponent = -0.5, log_std = 0.1 }, 0.5] }\n'
    + '[[slot]]\nname = "c"\nop = "sharpen"\nweight = 0.5\nthreshold_8bit = { integers = [0, 20], step = 7 }\n'
    + JPEG
    + DOWN
    + '[order]\nshuffle = [["b", "jpeg1"], ["c"]]\nbefore = [["c", "jpeg1"]]\n'
)
ALL = {**SPACES, "kinds": Space.loads(KINDS)}
STEPS = np.array([0, 100, 170, 299, 300, 700, 1000, 90000])


def check(rows, columns, program, component) -> None:
    assert list(rows.columns) == list(columns)
    for name, values in columns.items():
        assert rows.columns[name].dtype == values.dtype, name
        assert rows.columns[name].tobytes() == values.tobytes(), name
    assert np.array_equal(rows.program, program)
    assert np.array_equal(rows.component, component)


@pytest.mark.representatives(10)
@pytest.mark.parametrize("name", ALL)
def test_draws_are_those_of_the_distributions(name):
    space = ALL[name]
    numbers = np.array([*range(120), 2**32 - 1, 2**32, 2**63 - 1])
    steps = np.resize(STEPS, len(numbers)) if space.scheduled else np.zeros(len(numbers), np.int64)
    for seed in (0, 2**40 + 3):
        expected = reference.drawn(space, seed, numbers, steps)
        check(draw(space, np.full(len(numbers), seed), numbers, steps), *expected)
        columns, program = reference.with_effect(space, *expected)
        check(pydegrade.sample(space, seed, numbers, steps), columns, program, expected[2])


@pytest.mark.representatives(8)
@pytest.mark.parametrize("name", ALL)
def test_blocks_orders_and_threads_do_not_matter(name):
    space = ALL[name]
    whole = pydegrade.sample(space, 5, range(9000), step=170)
    mixed = np.random.default_rng(0).permutation(9000)
    before = pydegrade.get_num_threads()
    try:
        pydegrade.set_num_threads(3)
        permuted = pydegrade.sample(space, 5, mixed, step=170)
    finally:
        pydegrade.set_num_threads(before)
    check(permuted, *_parts(whole.take(mixed)))
    assert permuted.addresses[:50] == whole.take(mixed[:50]).addresses
    assert np.array_equal(permuted.fingerprints(), whole.fingerprints()[mixed])
    for number in (0, 1, 255, 256, 4095, 4096, 8999):
        check(pydegrade.sample(space, 5, [number], step=170), *_parts(whole.take([number])))
    check(pydegrade.sample(space, 5, [], step=170), *_parts(whole.take([])))
    # Rows of several seeds, as task files hold them.
    seeds = mixed % 3
    several = draw(space, seeds, mixed, np.full(9000, 170))
    for seed in range(3):
        rows = np.nonzero(seeds == seed)[0][:40]
        check(draw(space, seeds[rows], mixed[rows], np.full(40, 170)), *_parts(several.take(rows)))


def _parts(rows):
    return rows.columns, rows.program, rows.component


@pytest.mark.parametrize("name", ["realesrgan-x4", "bsrgan-x4"])
def test_a_task_takes_two_calls_of_the_compiled_module(name, monkeypatch):
    space = Space.load(name)
    tables_of(space)
    calls = []
    call = binding.call
    monkeypatch.setattr(binding, "call", lambda function, **fields: (calls.append(function), call(function, **fields)))
    pydegrade.sample(space, 0, [3])
    assert calls == ["draw_columns", "settle_columns"]
    pydegrade.sample(space, 0, range(4096))
    assert calls == ["draw_columns", "settle_columns"] * 2


# ---- What is registered


@dataclass(frozen=True)
class Halves(distribution_contract.Distribution):
    """An earlier column, halved, plus a uniform."""

    key = "halves"
    column: str

    @classmethod
    def read(cls, table, reader):
        return cls(reader.earlier_column("halves", table["halves"])[0])

    def bounds(self):
        return 0.0, 20.0

    def evaluate(self, u, known):
        return known.columns[self.column] / 2 + u[:, 0]


def test_a_kind_from_outside_stands_between_compiled_columns():
    pydegrade.register_distribution(Halves)
    try:
        text = (
            HEAD
            + BLUR.replace('"iso"', '"aniso"')
            + "sigma_x_px = { uniform = [1, 9] }\n"
            + 'sigma_y_px = { mixture = [{ halves = "sigma_x_px" }, 1.5] }\n'
            + 'angle_rad = { by = "sigma_y_px", cases = { "1.5" = 1.0 }, default = { uniform = [0, 0.5] } }\n'
            + DOWN
        )
        space, numbers = Space.loads(text), np.arange(300)
        tasks = pydegrade.sample(space, 1, numbers)
        columns, program, component = reference.drawn(space, 1, numbers, numbers)
        check(tasks, columns, program, component)
        assert len(np.unique(tasks.column("blur1.angle_rad")[tasks.column("blur1.sigma_y_px") == 1.5])) == 1
        assert pickle.loads(pickle.dumps(tasks)).addresses == tasks.addresses
    finally:
        distribution_contract._KINDS.pop("halves")
        registry.note_registration()


def test_an_op_that_takes_the_place_of_another_counts_at_once(monkeypatch):
    monkeypatch.setattr(registry, "_ops", dict(registry._ops))
    columns = (pydegrade.ops.Column("amount", "How much.", 0.0, 1.0), pydegrade.ops.Column("more", "More.", 0.0, 1.0))
    op = pydegrade.ops.Op("mine", columns, apply=lambda image, columns, words: image)
    pydegrade.ops.register(op)
    space = Space.loads(HEAD + DOWN + '[[slot]]\nname = "m"\nop = "mine"\namount = 0.25\nmore = 0.5\n')
    assert pydegrade.sample(space, 0, [0]).column("m.more") == 0.5
    late = dataclasses.replace(op, active=lambda columns: {"more": columns["amount"] > 0.3})
    pydegrade.ops.register(late, replace=True)
    assert pydegrade.sample(space, 0, [0]).column("m.more") == 0


# ---- Tables that are wrong


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("draw_columns", ("nodes", "children", "columns", "order", "rows")),
        ("settle_columns", ("gates", "slots", "rows", "gate_rows", "slot_count")),
    ],
)
def test_tables_that_leave_their_memory_are_refused(name, fields):
    call = next(call for call in border.plain_calls() if call.name == name)
    call.run()
    lines = []
    for field in fields:
        values = np.atleast_1d(call.fields[field])
        for place in range(len(values)):
            for wrong in (-1, 5, 1000, 2**31 - 1, -(2**31)):
                changed = values.copy()
                changed[place] = wrong
                try:
                    call.run(
                        {
                            **call.fields,
                            field: changed if isinstance(call.fields[field], np.ndarray) else int(changed[0]),
                        }
                    )
                except ValueError as error:
                    lines.append(str(error))
    assert len(lines) > 60
    assert all(line.startswith(f"{name}: ") for line in lines)


def test_a_plan_refuses_columns_outside_their_block():
    tasks = pydegrade.sample("realesrgan-x4", 0, range(2))
    block = tasks.columns.fields()
    rows = dense_layout(torch.empty(2, 3, 16, 16)).fields()
    numbers = dict.fromkeys(("seed", "index", "noise_index"), np.arange(2))
    fields = {
        "slots": plan._table(tasks.space).slots,
        "src_rows": rows,
        "program": tasks.program,
        "neutral": [],
        **numbers,
    }
    first, place = next(iter(block["columns"].items()))
    binding.plan(**fields, **block)
    for wrong, words, message in (
        (place, block["words"][:3], "lies outside"),
        ((-1, place[1]), block["words"], f"{first} lies outside"),
        ((place[0], not place[1]), block["words"], f"{first} has another dtype"),
    ):
        with pytest.raises(ValueError, match=f"^plan: .*{message}$"):
            binding.plan(**fields, columns=block["columns"] | {first: wrong}, words=words)


# ---- Spaces that stay loaded


def old(path, text: str) -> None:
    """Write a file that looks as if it had been there for a while."""
    path.write_text(text)
    os.utime(path, (1e9, 1e9))


@pytest.fixture
def no_young_files(monkeypatch):
    monkeypatch.setattr(spaces, "_YOUNG_NS", 0)
    monkeypatch.setattr(spaces, "_kept", {})


def test_a_space_is_read_again_when_a_file_changes(tmp_path, monkeypatch, no_young_files):
    base, own = tmp_path / "base.toml", tmp_path / "own.toml"
    old(base, HEAD + BLUR + "sigma_x_px = 1.0\n" + DOWN)
    old(own, '[space]\nname = "own"\nbase = "base.toml"\n')
    first = Space.load(own)
    assert Space.load(str(own)) is first
    monkeypatch.chdir(tmp_path)
    assert Space.load("own.toml") is first
    old(base, HEAD + BLUR + "sigma_x_px = 2.0\n" + DOWN)
    second = Space.load(own)
    assert pydegrade.sample(second, 0, [0]).column("blur1.sigma_x_px") == 2
    assert Space.load(own) is second
    own.unlink()
    with pytest.raises(pydegrade.SpaceError, match="cannot be read"):
        Space.load(own)


def test_a_preset_is_read_once_until_something_is_registered(no_young_files, monkeypatch):
    monkeypatch.setattr(spaces.time, "time_ns", lambda: 2**62)
    first = Space.load("dasr-mixed")
    assert Space.load("dasr-mixed") is first
    registry.note_registration()
    assert Space.load("dasr-mixed") is not first


def test_a_young_file_is_always_read(tmp_path, monkeypatch):
    monkeypatch.setattr(spaces, "_kept", {})
    monkeypatch.setattr(spaces, "_YOUNG_NS", 10**15)
    path = tmp_path / "own.toml"
    path.write_text(HEAD + DOWN)
    assert Space.load(path) is not Space.load(path)


# ---- Streams


@pytest.mark.parametrize("name", ["realesrgan-x4", "dasr-mixed", "schedule"])
def test_a_stream_gives_what_sample_gives(name):
    space = ALL[name]
    stream = TaskStream(space, 9, step=170, block=8)
    numbers = [*range(20), 1000, 3, 999, 1001, 1008, 2**63 - 1, 2**63 - 2, 0, *range(200, 190, -1)]
    whole = pydegrade.sample(space, 9, numbers, step=170)
    for row, number in enumerate(numbers):
        task = stream[number]
        assert (task.seeds.item(), task.indices.item(), task.noise_indices.item()) == (9, number, number)
        check(task, *_parts(whole.take([row])))
    check(stream[numbers], *_parts(whole))
    with ThreadPoolExecutor(4) as pool:
        marks = [task.fingerprints()[0] for task in pool.map(stream.__getitem__, numbers)]
    assert marks == whole.fingerprints().tolist()
    again = pickle.loads(pickle.dumps(stream))
    assert (again.space, again.seed, again.step, again.block) == (space, 9, 170, 8)
    assert again[7].addresses == stream[7].addresses


def test_a_stream_draws_neighbours_together(monkeypatch):
    calls = []
    call = binding.call
    monkeypatch.setattr(binding, "call", lambda function, **fields: (calls.append(function), call(function, **fields)))
    stream = TaskStream("realesrgan-x4", 0, block=64)
    for number in range(640):
        stream[number]
    assert calls.count("draw_columns") <= 11
    del calls[:]
    for number in (10**6, 10**9, 10**7):
        stream[number]
    assert calls.count("draw_columns") == 3


class Numbered(torch.utils.data.Dataset):
    def __init__(self) -> None:
        self.tasks = TaskStream("realesrgan-x4", 3)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index):
        return index, int(self.tasks[index].fingerprints()[0])


def test_workers_of_a_data_loader_agree():
    loader = torch.utils.data.DataLoader(Numbered(), shuffle=True, num_workers=2, batch_size=None)
    found = dict(loader)
    assert [found[index] for index in range(24)] == pydegrade.sample(
        "realesrgan-x4", 3, range(24)
    ).fingerprints().tolist()


def test_messages_of_streams():
    for arguments, error, message in (
        ({"block": 0}, pydegrade.PydegradeError, r"block must be in \[1, 1048576\], got 0"),
        ({"block": 2.0}, TypeError, "block must be a whole number, got 2.0"),
        ({"step": -1}, pydegrade.PydegradeError, r"step must be in \[0, 2\^63\), got -1"),
        ({"seed": -1}, pydegrade.PydegradeError, r"seed must be in \[0, 2\^63\), got -1"),
    ):
        with pytest.raises(error, match=message):
            TaskStream(**{"space": "bicubic-x4", "seed": 0, **arguments})
    stream = TaskStream("bicubic-x4", 0)
    with pytest.raises(pydegrade.PydegradeError, match=r"number must be in \[0, 2\^63\), got -1"):
        stream[-1]
    with pytest.raises(pydegrade.PydegradeError, match="indices must be whole numbers"):
        stream[1.5]
    assert repr(stream) == "TaskStream('bicubic-x4', seed=0, step=0, block=256)"


# ---- Rows in blocks


def test_rows_of_a_block_are_taken_as_from_columns():
    tasks = pydegrade.sample("bsrgan-x4", 0, range(50))
    for rows in ([3, 3, -1], slice(40, 10, -3), np.arange(50) % 2 == 0, [], slice(7, 8)):
        taken = tasks.take(rows)
        for name, values in tasks.columns.items():
            expected = values[np.asarray(rows, int) if isinstance(rows, list) else rows]
            assert taken.columns[name].tobytes() == expected.tobytes()
        again = pickle.loads(pickle.dumps(taken))
        assert again.addresses == taken.addresses
        assert dict(again.columns).keys() == dict(taken.columns).keys()
