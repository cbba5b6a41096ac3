"""Degradation inside training programs: the module, the datasets and torch's own DataLoader around them."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import pydegrade
from pydegrade.commands import cli
from pydegrade.errors import ImageError, PydegradeError
from pydegrade.loading.numbers import training_rank

from .children import ROOT

SPACE = "dasr-weak"


@pytest.fixture
def hr():
    return torch.from_numpy(np.random.default_rng(0).random((4, 3, 32, 48), np.float32))


def expected(hr, numbers, seed=0, space=SPACE):
    return pydegrade.degrade_batch(hr, pydegrade.sample(space, seed, numbers))


# ---- Degrader


def test_counting_and_indices_give_the_tasks_of_the_numbers(hr):
    degrader = pydegrade.Degrader(SPACE, seed=5, block=6)
    for first in (0, 4, 8):
        assert torch.equal(degrader(hr), expected(hr, range(first, first + 4), 5).lr)
        assert degrader.tasks.indices.tolist() == list(range(first, first + 4))
    assert torch.equal(degrader(hr, indices=[9, 1, 1, 70]), expected(hr, [9, 1, 1, 70], 5).lr)
    assert torch.equal(degrader(hr), expected(hr, range(12, 16), 5).lr)


@pytest.mark.parametrize("block", [1, 3, 256])
def test_blocks_change_nothing(hr, block):
    degrader = pydegrade.Degrader(SPACE, block=block)
    made = torch.cat([degrader(hr[:1]), degrader(hr[1:3]), degrader(hr[3:])])
    assert torch.equal(made, expected(hr, range(4)).lr)


def test_ranks_share_no_number(hr):
    given = [pydegrade.SampleNumbers(3, rank=rank, world=3) for rank in range(3)]
    indices = np.concatenate([numbers.next(count).indices for count in (1, 4, 2) for numbers in given])
    assert sorted(indices.tolist()) == list(range(21))


def test_state_goes_on_with_the_next_task(hr):
    model = torch.nn.Sequential(pydegrade.Degrader(SPACE, seed=2))
    model(hr)
    state = torch.load(saved(model.state_dict()), weights_only=True)
    after = model(hr)
    again = torch.nn.Sequential(pydegrade.Degrader(SPACE, seed=2))
    again.load_state_dict(state)
    assert torch.equal(again(hr), after)
    for other in (pydegrade.Degrader(SPACE, seed=3), pydegrade.Degrader("dasr-severe", seed=2)):
        with pytest.raises(PydegradeError, match="expected a state of"):
            torch.nn.Sequential(other).load_state_dict(state)


def saved(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_a_refused_batch_uses_no_numbers(hr):
    degrader = pydegrade.Degrader("realesrgan-x4", seed=3)
    addresses = pydegrade.sample("realesrgan-x4", 3, range(len(hr))).addresses
    for images in (hr[..., :-1], hr + 2, {"hq": hr}):
        with pytest.raises((PydegradeError, ValueError)):
            degrader(images)
        assert (degrader.numbers.position, degrader.tasks) == (0, None)
    degrader(hr)
    assert degrader.tasks.addresses == addresses


@pytest.mark.parametrize("state", [{}, {"weight": torch.zeros(1)}, None, 5])
def test_a_state_dict_of_something_else_is_one_line(state):
    with pytest.raises(
        PydegradeError, match=r"^Degrader: expected a state_dict with '_extra_state' alone, got"
    ) as caught:
        pydegrade.Degrader("bicubic-x4").load_state_dict(state)
    assert "\n" not in str(caught.value)


def test_dictionaries_keep_their_keys(hr):
    degrader = pydegrade.Degrader(SPACE, with_target=True, hr_key="gt", lr_key="lq", address_key="task", index_key="n")
    batch = {"gt": hr, "name": list("abcd"), "n": torch.tensor([3, 2, 1, 0])}
    before = copy.copy(batch)
    made = degrader(batch)
    assert batch == before
    assert set(made) == {"gt", "name", "n", "lq", "target", "task"}
    pair = expected(hr, [3, 2, 1, 0])
    assert made["gt"] is not None
    assert torch.equal(made["lq"], pair.lr)
    assert torch.equal(made["target"], pair.target)
    assert not torch.equal(pair.target, hr)  # the space sharpens
    again = pydegrade.TaskBatch.from_addresses(made["task"])
    assert torch.equal(pydegrade.degrade(hr, again), pair.lr)
    with pytest.raises(PydegradeError, match="no key 'gt'"):
        degrader({"hr": hr})
    with pytest.raises(PydegradeError, match="no key 'n'"):
        degrader({"gt": hr})


@pytest.mark.parametrize("back", ["torch_area", "torch_bilinear", "torch_bicubic"])
def test_back_is_torch_interpolation_of_the_lr_image(hr, back):
    made = pydegrade.Degrader(SPACE, back=back)(hr)
    plain = torch.nn.functional.interpolate(
        expected(hr, range(4)).lr, size=hr.shape[-2:], mode=back.removeprefix("torch_")
    )
    wanted = (plain.clamp(0, 1) * 255).round() / 255
    assert made.shape == hr.shape
    # Two sums in float32 may round to different sides of half a level, and nowhere else.
    differing = (made - wanted).abs() * 255
    assert differing.max() <= 1.001
    beside_half = (plain * 255 % 1 - 0.5).abs() < 1e-3
    assert not ((differing > 0.001) & ~beside_half).any()


def test_random_back_follows_the_number_alone(hr):
    degrader = pydegrade.Degrader(SPACE, back="random")
    numbers = np.arange(40)
    many = degrader(hr[:1].expand(40, -1, -1, -1), indices=numbers)
    assert torch.equal(degrader(hr[:1], indices=[17])[0], many[17])
    each = {
        back: pydegrade.Degrader(SPACE, back=back)(hr[:1].expand(40, -1, -1, -1), indices=numbers)
        for back in ("torch_area", "torch_bilinear", "torch_bicubic")
    }
    chosen = [next(name for name, images in each.items() if torch.equal(images[row], many[row])) for row in range(40)]
    assert set(chosen) == set(each)


def test_crops_of_a_pair_are_one_square(hr):
    scale = pydegrade.Space.load(SPACE).scale
    degrader = pydegrade.Degrader(SPACE, with_target=True, crop_px=16)
    made = degrader({"hr": hr}, indices=[5, 6, 7, 8])
    whole = expected(hr, [5, 6, 7, 8])
    places = set()
    for row in range(4):
        found = [
            (top, left)
            for top in range(0, 17, scale)
            for left in range(0, 33, scale)
            if torch.equal(made["hr"][row], hr[row, :, top : top + 16, left : left + 16])
        ]
        ((top, left),) = found
        places.add((top, left))
        y, x, side = top // scale, left // scale, 16 // scale
        assert torch.equal(made["lr"][row], whole.lr[row, :, y : y + side, x : x + side])
        assert torch.equal(made["target"][row], whole.target[row, :, top : top + 16, left : left + 16])
    assert len(places) > 1
    enlarged = pydegrade.Degrader(SPACE, back="torch_bicubic", crop_px=16)({"hr": hr}, indices=[5, 6, 7, 8])
    assert torch.equal(enlarged["hr"], made["hr"])
    assert enlarged["lr"].shape == made["hr"].shape


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("batched", [False, True])
def test_images_come_back_in_their_form(layout, dtype, batched):
    levels = np.random.default_rng(1).integers(0, 256, (2, 16, 20, 3), np.uint8)
    images = levels if dtype == "uint8" else (levels / 255).astype(dtype)
    images = images if batched else images[0]
    if layout == "chw":
        images = torch.from_numpy(np.moveaxis(images, -1, -3).copy())
    made = pydegrade.Degrader(SPACE)(images)
    assert type(made) is type(images)
    assert made.dtype == images.dtype
    assert made.ndim == images.ndim
    values = np.moveaxis(made.numpy(), -3, -1) if layout == "chw" else made
    assert values.shape[-3:] == (4, 5, 3)
    planes = torch.from_numpy(np.moveaxis(levels, -1, 1).astype(np.float32)) / 255
    if dtype == "float16":
        planes = planes.half().float()
    wanted = expected(planes if batched else planes[:1], range(2 if batched else 1)).lr.numpy()
    wanted = np.moveaxis(wanted, 1, -1) if batched else np.moveaxis(wanted[0], 0, -1)
    wanted = np.rint(wanted * 255) if dtype == "uint8" else wanted
    assert np.array_equal(values, wanted.astype(dtype))


def test_gray_arrays():
    image = np.random.default_rng(1).integers(0, 256, (16, 20), np.uint8)
    assert pydegrade.Degrader("bicubic-x4")(image).shape == (4, 5)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (None, "tensor or a NumPy array"),
        (torch.zeros(3), "got shape"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "uint8 or floating"),
        (np.zeros((8, 8, 3), np.uint16), "uint8 or floating"),
        (np.zeros(3), "got shape"),
        (torch.zeros(1, 3, 9, 8), "multiples of the scale"),
    ],
)
def test_what_is_no_image_is_refused(images, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        pydegrade.Degrader(SPACE)(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"back": "cubic"}, {"back": 3}, {"crop_px": 0}, {"rank": 1}, {"rank": 2, "world": 2}, {"block": 0}, {"seed": -1}],
)
def test_wrong_options_are_refused(options):
    with pytest.raises((TypeError, ValueError)) as caught:
        pydegrade.Degrader(SPACE, **options)
    assert "\n" not in str(caught.value)


def test_torchrun_variables(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "5")
    assert training_rank() == (2, 5)
    monkeypatch.setenv("RANK", "x")
    assert training_rank() == (0, 1)


# ---- sample numbers in workers


class Given(Dataset):
    """As a dataset that degrades in __getitem__: the numbers that each item got."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __len__(self):
        return 8

    def __getitem__(self, index):
        given = self.numbers.next(1)
        return str(given.seed), int(given.indices[0])


@pytest.mark.representatives(1)
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_epochs_and_ranks_share_no_number(persistent):
    torch.manual_seed(0)
    seen = []
    for rank in range(2):
        torch.manual_seed(0)  # as programs do, the same on every rank
        data = Given(pydegrade.SampleNumbers(7, rank=rank, world=2))
        loader = DataLoader(data, batch_size=2, num_workers=2, persistent_workers=persistent)
        for _ in range(2):
            seen += [pair for seeds, indices in loader for pair in zip(seeds, indices.tolist())]
    assert len(seen) == 32
    assert len(set(seen)) == 32
    # The seed that the program set gives them again.
    torch.manual_seed(0)
    again = DataLoader(Given(pydegrade.SampleNumbers(7, rank=0, world=2)), batch_size=2, num_workers=2)
    assert [pair for seeds, indices in again for pair in zip(seeds, indices.tolist())] == seen[:8]


def test_without_a_seed_torch_decides():
    torch.manual_seed(4)
    four = pydegrade.SampleNumbers(None).next(1).seed
    torch.manual_seed(5)
    assert pydegrade.SampleNumbers(None).next(1).seed != four
    torch.manual_seed(4)
    assert pydegrade.SampleNumbers(None).next(1).seed == four


# ---- datasets


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    from pydegrade.files.write import write_image

    folder = tmp_path_factory.mktemp("photos")
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + 4 * number, 64, 3), np.uint8)
        write_image(folder / f"{number}.png", pixels)
    return folder


def pairs_of(photos, **options):
    return pydegrade.PairDataset(SPACE, photos, **{"length": 12, "crop_px": 32, "seed": 3, **options})


def test_several_lr_images_of_one_hr(photos):
    plain = pairs_of(photos)
    more = {"lr_severe": "dasr-severe", "lr_again": pydegrade.Space.load(SPACE)}
    pairs = pairs_of(photos, more=more, with_hr=True, with_address=True)
    items = pairs.__getitems__([4, 7])
    for item, number in zip(items, (4, 7)):
        assert torch.equal(item["lr"], plain[number]["lr"])
        assert item["address"].endswith(f"/s3/i{number}")
        for name in more:
            seed = pydegrade.stream_seed(3, name)
            assert item[f"{name}_address"].endswith(f"/s{seed}/i{number}")
            tasks = pydegrade.TaskBatch.from_addresses([item[f"{name}_address"]])
            assert torch.equal(item[name], pydegrade.degrade(item["hr"][None], tasks)[0])
        assert not torch.equal(item["lr_again"], item["lr"])


def test_several_crops_of_one_task(photos):
    pairs = pairs_of(photos, crops=3, augment="none", with_hr=True, with_address=True, more={"lr_2": SPACE})
    (batch,) = pairs.stream(2, start=2, steps=1)
    assert {name: tuple(batch[name].shape) for name in ("lr", "target", "hr", "lr_2")} == {
        "lr": (2, 3, 3, 8, 8), "target": (2, 3, 3, 32, 32), "hr": (2, 3, 3, 32, 32), "lr_2": (2, 3, 3, 8, 8),
    }  # fmt: skip
    images = [np.asarray(pydegrade.files.read_image(path)) for path in sorted(photos.iterdir())]
    for row, number in enumerate((4, 5)):
        plain = pairs_of(photos, augment="none")[number]
        assert torch.equal(batch["lr"][row, 0], plain["lr"])
        # All of one image: each square is one of its windows.
        squares = (batch["hr"][row] * 255).round().numpy().astype(np.uint8)
        windows = [np.lib.stride_tricks.sliding_window_view(image, (32, 32, 3))[:, :, 0] for image in images]
        holds = [
            [(w[..., 0, :, :] == square.transpose(1, 2, 0)[0]).all((2, 3)).any() for square in squares] for w in windows
        ]
        assert sorted(map(sum, holds)) == [0, 0, 0, 0, 3]
        assert len({square.tobytes() for square in squares}) == 3
        # One task, and noise fields of their own.
        task = pydegrade.TaskBatch.from_addresses([batch["address"][row]])
        for crop in range(3):
            same = task.with_noise(number + crop * 2**56)
            assert torch.equal(batch["lr"][row, crop], pydegrade.degrade(batch["hr"][row, crop][None], same)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crops": 0}, "crops must be a whole number in [1, 64], got 0"),
        ({"crops": True}, "crops must be a whole number in [1, 64], got True"),
        ({"more": {"lr": SPACE}}, "more: a name must be a word other than lr, target, index, hr, address, got 'lr'"),
        ({"more": {"a b": SPACE}}, "got 'a b'"),
        ({"more": {"large": "mzsr-direct-x3"}}, "crop_px must be a multiple of the scale 3 of 'large', got 32"),
        ({"more": {"large": "codeformer-larg"}}, "did you mean 'codeformer-large'?"),
    ],
)
def test_wrong_views_are_one_line(photos, options, message):
    with pytest.raises(PydegradeError, match=re.escape(message)):
        pairs_of(photos, **options)


def test_items_are_functions_of_their_number(photos):
    pairs = pairs_of(photos, with_hr=True, with_address=True)
    items = [pairs[position] for position in range(12)]
    for position, item in enumerate(items):
        assert item["index"] == position
        tasks = pydegrade.TaskBatch.from_addresses([item["address"]])
        pair = pydegrade.degrade_batch(item["hr"][None], tasks)
        assert torch.equal(pair.lr[0], item["lr"])
        assert torch.equal(pair.target[0], item["target"])
    for together in (pairs.__getitems__([7, 2]), [pairs[7], pairs[2]], [pairs[-5], pairs[-10]]):
        assert torch.equal(together[0]["lr"], items[7]["lr"])
        assert torch.equal(together[1]["target"], items[2]["target"])
    with pytest.raises(IndexError):
        pairs[12]


def test_pairs_are_those_of_degrade_sample(photos, tmp_path):
    from pydegrade.files.read import read_image

    command = ["sample", "--tasks", "6", "--space", SPACE, "--seed", "3", "--hr", str(photos), "--hr-size", "32"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    pairs = pairs_of(photos)
    files = sorted((tmp_path / "out" / "lr").iterdir())
    for position, file in enumerate(files):
        assert np.array_equal(read_image(file), (pairs[position]["lr"].permute(1, 2, 0) * 255).round().numpy())


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs(photos, persistent):
    pairs = pairs_of(photos)
    plain = DataLoader(pairs, batch_size=4)
    many = DataLoader(pairs, batch_size=4, num_workers=2, persistent_workers=persistent)
    for epoch in range(2):
        pairs.set_epoch(epoch)
        for one, other in zip(plain, many, strict=True):
            assert torch.equal(one["lr"], other["lr"])
            assert torch.equal(one["target"], other["target"])
            assert torch.equal(one["index"], other["index"])
        assert int(one["index"][-1]) == 12 * epoch + 11


@pytest.mark.parametrize("workers", [0, 2])
def test_streams_are_the_same_for_any_number_of_workers(photos, workers):
    pairs = pairs_of(photos)
    loader = DataLoader(pairs.stream(4, start=3, steps=5), batch_size=None, num_workers=workers)
    batches = list(loader)
    assert [batch["index"].tolist() for batch in batches] == [list(range(4 * t, 4 * t + 4)) for t in range(3, 8)]
    wanted = pairs.batch(np.arange(12, 16))
    assert torch.equal(batches[0]["lr"], wanted["lr"])
    assert torch.equal(batches[0]["target"], wanted["target"])


def test_ranks_divide_a_step(photos):
    pairs = pairs_of(photos)
    ranks = [pairs.stream(3, steps=2, rank=rank, world=2) for rank in range(2)]
    numbers = torch.cat([next(iter(stream))["index"] for stream in ranks for _ in range(2)])
    assert sorted(numbers.tolist()) == list(range(12))


def test_a_stream_resumes(photos):
    pairs = pairs_of(photos)
    stream = pairs.stream(4)
    batches = iter(stream)
    next(batches)
    next(batches)
    state = pickle.loads(pickle.dumps(stream.state_dict()))
    third = next(batches)
    again = pairs.stream(4)
    again.load_state_dict(state)
    assert torch.equal(next(iter(again))["lr"], third["lr"])
    for wrong in ({}, None, {"step": -1}, {"step": "3"}):
        with pytest.raises(PydegradeError):
            again.load_state_dict(wrong)


class KeepsState(torch.utils.data.IterableDataset):
    """What a stateful loader does in its workers: restore, iterate, ask for the state after every batch."""

    def __init__(self, stream, states):
        self.stream, self.states = stream, states

    def __iter__(self):
        worker = torch.utils.data.get_worker_info().id
        self.stream.load_state_dict(self.states.get(worker, self.stream.state_dict()))
        for batch in self.stream:
            yield worker, batch["index"], self.stream.state_dict()


@pytest.mark.slow
def test_workers_resume_from_their_own_states(photos):
    pairs = pairs_of(photos)
    states, seen = {}, []
    for worker, index, state in DataLoader(KeepsState(pairs.stream(4, steps=4), {}), batch_size=None, num_workers=2):
        states[worker] = state
        seen.append(index[0].item() // 4)
    more = DataLoader(KeepsState(pairs.stream(4, steps=8), states), batch_size=None, num_workers=2)
    seen += [index[0].item() // 4 for _, index, _ in more]
    assert seen == list(range(8))
    # The state of a process without workers is the step of all of them together.
    alone = pairs.stream(4, steps=3)
    assert len(list(alone)) == 3
    states = dict.fromkeys(range(2), alone.state_dict())
    more = DataLoader(KeepsState(pairs.stream(4, steps=6), states), batch_size=None, num_workers=2)
    assert [index[0].item() // 4 for _, index, _ in more] == [3, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [1, 2, 5])
def test_torchdata_resumes_streams_and_epochs(photos, workers, taken):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")
    pairs = pairs_of(photos, length=28)

    def loader(data, **options):
        fresh = pickle.loads(pickle.dumps(data))
        generator = torch.Generator().manual_seed(0)
        return loaders.StatefulDataLoader(fresh, num_workers=workers, generator=generator, **options)

    for data, options in (
        (pairs.stream(4, steps=7), {"batch_size": None}),
        (pairs, {"batch_size": 4, "shuffle": True}),
    ):
        whole = [batch["index"].tolist() for batch in loader(data, **options)]
        first, second = loader(data, **options), loader(data, **options)
        batches = iter(first)
        for _ in range(taken):
            next(batches)
        second.load_state_dict(first.state_dict())
        assert [batch["index"].tolist() for batch in second] == whole[taken:]


def test_datasets_reach_spawned_workers(photos):
    for data in (pairs_of(photos), pairs_of(photos).stream(2)):
        assert pickle.loads(pickle.dumps(data)).__class__ is type(data)


def test_an_image_that_cannot_be_read_is_warned_of_once_and_passed_over(photos, tmp_path):
    import shutil

    folder = shutil.copytree(photos, tmp_path / "photos")
    pairs = pairs_of(folder, length=40)
    whole = pairs.batch(np.arange(40))
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:900])
    broken = pairs_of(folder, length=40)
    broken.images = pairs.images  # found before the file was damaged
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = broken.batch(np.arange(40))
    assert len([one for one in caught if "2.png" in str(one.message)]) == 1
    same = [bool(torch.equal(made["lr"][row], whole["lr"][row])) for row in range(40)]
    assert 20 < sum(same) < 40
    gone = pairs_of(photos)
    gone._warned = set(range(5))
    with pytest.raises(ImageError, match="in a row cannot be read"):
        gone.batch(np.arange(2))


def test_default_crop_and_length():
    pairs = pydegrade.PairDataset("realesrgan-x4")
    assert pairs.crop_px % 4 == 0
    assert len(pairs) == len(pairs.images.images) >= 5
    assert pairs[0]["target"].shape == (3, pairs.crop_px, pairs.crop_px)


@pytest.mark.parametrize(
    "options",
    [{"crop_px": 30}, {"length": 0}, {"seed": -1}, {"augment": "turn"}, {"crop_px": 4000}],
)
def test_wrong_options_of_datasets_are_refused(photos, options):
    with pytest.raises((PydegradeError, TypeError)) as caught:
        pairs_of(photos, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hr", [None, 3, [3], [None]])
def test_images_are_paths(hr):
    with pytest.raises(TypeError, match="PairDataset: hr must be a path or a list of paths"):
        pydegrade.PairDataset(SPACE, hr, crop_px=32)


@pytest.mark.parametrize("item", [1.5, None, "a", 2**70])
def test_items_are_whole_numbers(photos, item):
    with pytest.raises(TypeError, match="PairDataset: items must be whole numbers"):
        pairs_of(photos)[item]


@pytest.mark.parametrize("space", [None, SPACE])
def test_numbers_draw_from_spaces_alone(space):
    numbers = pydegrade.SampleNumbers(seed=7)
    with pytest.raises(TypeError, match="SampleNumbers: space must be a Space"):
        numbers.tasks(space)
    assert numbers.position == 0


def test_states_of_something_else_are_named():
    degrader = pydegrade.Degrader(SPACE)
    for state in (None, 3, {"space": "other@1"}):
        with pytest.raises(PydegradeError, match="expected a state of") as caught:
            degrader.set_extra_state(state)
        assert degrader.space.digest in str(caught.value)
        assert "\n" not in str(caught.value)


# ---- other libraries

TORCHVISION = """
import torch
if not hasattr(torch.ops.torchvision, "nms"):
    # A torchvision that was built for another torch. It registers no ops, and transforms need none.
    ops = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        ops.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import tv_tensors
from torchvision.transforms import v2
import pydegrade
from pydegrade.transforms.torchvision import Degrade

pixels = torch.randint(0, 256, (4, 3, 32, 48), dtype=torch.uint8)
mask = tv_tensors.Mask(torch.ones(32, 48))
made = v2.Compose([Degrade("dasr-weak", seed=3)])({"image": tv_tensors.Image(pixels[0]), "mask": mask, "label": 3})
assert isinstance(made["image"], tv_tensors.Image)
assert torch.equal(made["mask"], mask) and made["label"] == 3
wanted = pydegrade.Degrader("dasr-weak", seed=3, back="torch_bicubic")(pixels[:1])[0]
assert torch.equal(made["image"].as_subclass(torch.Tensor), wanted)
assert Degrade("dasr-weak", seed=3, back=None)(pixels).shape == (4, 3, 8, 12)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_torchvision_transform():
    done = subprocess.run([sys.executable, "-c", TORCHVISION], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_albumentations_transform():
    albumentations = pytest.importorskip("albumentations")
    from pydegrade.transforms.albumentations import Degrade

    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    mask = np.arange(32 * 48).reshape(32, 48).astype(np.uint8)
    made = albumentations.Compose([Degrade(SPACE, seed=3)])(image=image, mask=mask)
    assert np.array_equal(made["mask"], mask)
    assert np.array_equal(made["image"], pydegrade.Degrader(SPACE, seed=3, back="torch_bicubic")(image))


@pytest.mark.parametrize("library", ["torchvision", "albumentations"])
def test_a_library_that_is_not_there_is_one_line(library, monkeypatch):
    name = f"pydegrade.transforms.{library}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    for loaded in [one for one in sys.modules if one.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(PydegradeError, match=f"^{name} needs {library}.*pip install {library}$"):
        importlib.import_module(name)


def test_no_other_module_loads_them():
    for path in (ROOT / "pydegrade").rglob("*.py"):
        if path.parent.name != "transforms":
            assert not re.search(r"^\s*(import|from) (torchvision|albumentations)", path.read_text(), re.M), path
