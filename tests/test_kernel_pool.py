"""Kernels of one's own in a space: which files are read, what the digest knows of them, and how they travel."""

from __future__ import annotations

import pickle
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade import Space, TaskBatch, kernels, ops
from pydegrade.errors import KernelError, SpaceError, TaskError

from .golden_pixels import picture
from .reference import blur as blur_reference

HEAD = '[space]\nname = "own"\nscale = 1\n'
SLOT = '[[slot]]\nname = "k"\nop = "kernel_pool"\n'


@pytest.fixture
def folder(tmp_path):
    """A space and its folder of four kernels in three files."""
    from scipy.io import savemat

    (tmp_path / "pool").mkdir()
    generator = np.random.default_rng(0)
    stack = generator.random((2, 5, 5))
    np.save(tmp_path / "pool/a.npy", stack / stack.sum((1, 2), keepdims=True))
    savemat(tmp_path / "pool/b.mat", {"Kernel": kernels.gaussian(13, 2.0, 0.7, 0.3)})
    Image.fromarray(generator.integers(0, 256, (7, 7), np.uint8)).save(tmp_path / "pool/c.png")
    (tmp_path / "pool/readme.txt").write_text("from KernelGAN")
    (tmp_path / "own.toml").write_text(f'{HEAD}{SLOT}files = "pool"\n')
    return tmp_path


def pool_of(folder):
    return [kernel for name in ("a.npy", "b.mat", "c.png") for kernel in kernels.load_all(folder / "pool" / name)]


def test_each_image_is_blurred_by_one_of_the_kernels(folder):
    space = Space.load(folder / "own.toml")
    tasks = pydegrade.sample(space, 0, range(400))
    numbers = tasks.column("k.number")
    counts = np.bincount(numbers, minlength=5)
    assert counts[0] == 0
    assert counts[1:].min() > 60
    rows = [int(np.argmax(numbers == number)) for number in (1, 2, 3, 4)]
    image = picture(30, 41)
    found = pydegrade.trace([image] * 4, tasks.take(rows))
    for stages, kernel in zip(found, pool_of(folder)):
        wide = image.double().numpy()
        expected = np.stack(
            [blur_reference.blur(plane, kernel.astype(np.float32).astype(np.float64)) for plane in wide]
        )
        # Sums of up to 169 products in float32.
        assert np.abs(stages[1].image.double().numpy() - expected).max() < 2e-5
    direct = ops.kernel_pool(image.expand(4, -1, -1, -1), pool_of(folder), [1, 2, 3, 4])
    assert all(torch.equal(stages[1].image, one) for stages, one in zip(found, direct))


def test_a_kernel_as_kernelgan_leaves_it_is_aligned_with_every_nth_pixel(tmp_path):
    from scipy.io import savemat
    from scipy.ndimage import center_of_mass, shift

    found = kernels.gaussian(13, 2.0, 0.9, 0.7)
    # KernelGAN's util.py: the centre of mass half of (n - 1) px to the lower right, in zeros that hold it.
    moved = shift(np.pad(found, 3), 6 + 1.5 - np.array(center_of_mass(found)))
    savemat(tmp_path / "a_kernel_x4.mat", {"Kernel": moved})
    down = '[[slot]]\nname = "down"\nop = "resize"\nmode = "decimate"\nrule = "final"\n'
    (tmp_path / "own.toml").write_text(f'{HEAD.replace("= 1", "= 4")}{SLOT}files = "a_kernel_x4.mat"\n{down}')
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    ramps = torch.stack([x, y, (x + y) / 2])[None] / 100
    lr = pydegrade.degrade(ramps, pydegrade.sample(Space.load(tmp_path / "own.toml"), 0, [0]))
    middle = slice(4, -4)
    expected = ramps.reshape(1, 3, 24, 4, 24, 4).mean(dim=(3, 5))
    # Rounded to 8 bits; a shift of a px would be 0.01.
    assert (lr - expected)[..., middle, middle].abs().max() < 0.0025


def test_an_address_with_other_kernels_is_refused_and_task_files_bring_theirs(folder, tmp_path):
    space = Space.load(folder / "own.toml")
    tasks = pydegrade.sample(space, 0, range(4))
    expected = pydegrade.degrade(picture(20, 20).expand(4, -1, -1, -1), tasks)
    tasks.save(tmp_path / "tasks.npz")
    assert pickle.loads(pickle.dumps(space)).pools.keys() == space.pools.keys()
    again = Space.loads(space.to_toml(), pools=space.pools)
    assert again == space
    mixture = HEAD.replace("own", "both") + '[mixture]\nspaces = ["own.toml", "bicubic-x1.toml"]\n'
    (folder / "bicubic-x1.toml").write_text(
        HEAD.replace("own", "x1") + '[[slot]]\nname = "b"\nop = "median"\nsize_px = 3\n'
    )
    (folder / "both.toml").write_text(mixture)
    mixed = pydegrade.sample(Space.load(folder / "both.toml"), 0, range(12))
    assert set(mixed.component) == {0, 1}
    pixels = pydegrade.degrade(picture(20, 20).expand(12, -1, -1, -1), mixed)
    mixed.save(tmp_path / "mixed.npz")

    # The same kernel in another file is the same space; another kernel is not.
    stack = np.load(folder / "pool/a.npy")
    np.save(folder / "pool/a0.npy", stack[0])
    np.save(folder / "pool/a.npy", stack[1:])
    (folder / "pool/a.npy").rename(folder / "pool/a1.npy")
    assert Space.load(folder / "own.toml") == space
    np.save(folder / "pool/a1.npy", np.ones((3, 3)) / 9)
    other = Space.load(folder / "own.toml")
    assert other != space
    with pytest.raises(TaskError, match=r"the space has changed since, .*or what its files hold"):
        TaskBatch.from_addresses(tasks.addresses, other)
    loaded = TaskBatch.load(tmp_path / "tasks.npz")
    assert torch.equal(pydegrade.degrade(picture(20, 20).expand(4, -1, -1, -1), loaded), expected)
    assert torch.equal(
        pydegrade.degrade(picture(20, 20).expand(12, -1, -1, -1), TaskBatch.load(tmp_path / "mixed.npz")), pixels
    )


def test_a_base_names_files_beside_itself(folder):
    (folder / "below").mkdir()
    (folder / "pool").rename(folder / "below/pool")
    (folder / "own.toml").rename(folder / "below/own.toml")
    (folder / "top.toml").write_text(
        '[space]\nname = "top"\nbase = "below/own.toml"\n[[slot]]\nname = "k"\nnumber = 2\n'
    )
    tasks = pydegrade.sample(Space.load(folder / "top.toml"), 0, range(3))
    assert tasks.column("k.number").tolist() == [2, 2, 2]
    changed = tasks.replace(**{"k.number": 4})
    assert changed.addresses[0].endswith("?k.number=4")
    message = r"k\.number must be in 0\.\.4, as many as the files of the space hold, got 5"
    with pytest.raises(TaskError, match=f"^{message} at row 1$"):
        tasks.replace(**{"k.number": [4, 5, 4]})
    with pytest.raises(TaskError, match=f"^{message}$"):
        TaskBatch.from_addresses(changed.addresses[0].replace("=4", "=5"), tasks.space)
    # What no check has seen.
    unseen = replace(tasks, columns={**tasks.columns, "k.number": np.full(3, 5, np.int32)})
    with pytest.raises(TaskError, match=rf"^plan: {message} at row 0 \(top@"):
        pydegrade.degrade(picture(9, 9).expand(3, -1, -1, -1), unseen)


@pytest.mark.parametrize(
    ("slot", "message"),
    [
        ("", r"own.toml:4: slot k: the key 'files' is missing"),
        ('files = "none"', r"own.toml:7: files: .*none: no such file"),
        ('files = "../a.npy"', "own.toml:7: files: a space may name files in its own folder or below, got '../a.npy'"),
        ('files = "/etc"', "files: a space may name files in its own folder or below"),
        ('files = ["pool/a.npy", "out"]', "files: a space may name files in its own folder or below, got 'out'"),
        ('files = "linked"', r"files: 'linked/k\.npy' leads out of the folder of the space"),
        ("files = []", r"files must be a file, a folder or a list of them, got \[\]"),
        ("files = 3", "files must be a file, a folder or a list of them, got 3"),
        ('files = "pool/readme.txt"', "a kernel file must end in .npy, .png or .mat"),
        ('files = "empty"', "files: expected 1 to 65535 in 'empty', got 0"),
        ('files = "even.npy"', r"files: .*even.npy: size must be odd, got 4x4"),
        ('files = "sum.npy"', r"files: .*sum.npy: must sum to 1, got 9"),
        ('files = "wide.npy"', r"files: .*wide.npy: a kernel has at most 51x51 px, got 53"),
        ('files = "many.npy"', r"files: .*many.npy: holds 65536 kernels, more than 65535"),
        ('files = "large.npy"', r"files: .*large.npy: must hold float32, got a value of size 1e\+39"),
        ('files = "pickled.npy"', r"files: .*pickled.npy: not a NumPy file of numbers"),
        ('files = "pool"\nnumber = { integers = [1, 5] }', "own.toml:8: slot k: number: the files hold 4, got 5"),
    ],
)
def test_wrong_files_are_one_line(slot, message, folder, tmp_path_factory):
    away = tmp_path_factory.mktemp("away")
    for path in (away / "k.npy", folder.parent / "a.npy"):
        np.save(path, np.ones((3, 3)) / 9)
    (folder / "out").symlink_to(away)
    for name in ("linked", "empty"):
        (folder / name).mkdir()
    (folder / "linked/k.npy").symlink_to(away / "k.npy")
    np.save(folder / "even.npy", np.ones((4, 4)) / 16)
    np.save(folder / "sum.npy", np.ones((3, 3)))
    np.save(folder / "wide.npy", np.ones((53, 53)) / 53**2)
    np.save(folder / "many.npy", np.ones((65536, 1, 1), np.float32))
    np.save(folder / "large.npy", np.array([[1e39, -1e39, 0], [0, 1, 0], [0, 0, 0]]))
    np.save(folder / "pickled.npy", np.array([{}]), allow_pickle=True)
    (folder / "own.toml").write_text(f"{HEAD}{SLOT}{slot}\n")
    with pytest.raises(SpaceError, match=message) as caught:
        Space.load(folder / "own.toml")
    assert "\n" not in str(caught.value)


def test_text_alone_names_no_files_and_given_pools_are_looked_at(folder):
    text = Space.load(folder / "own.toml").to_toml()
    not_given = (
        r"files: sha256:\w{8}\.\.\. is the hash .* not given; tasks\.npz and cards hold it, Space\.loads takes pools="
    )
    with pytest.raises(SpaceError, match=not_given):
        Space.loads(text)
    (folder / "text.toml").write_text(text)
    with pytest.raises(SpaceError, match=not_given):
        Space.load(folder / "text.toml")
    with pytest.raises(SpaceError, match="files: 'pool' is not given; only a space in a file names files"):
        Space.loads((folder / "own.toml").read_text())
    name = re.search(r"sha256:\w{64}", text)[0]
    with pytest.raises(SpaceError, match=r"pools: sha256:\w{8}\.\.\. holds something else, of hash sha256:"):
        Space.loads(text, pools={name: [np.ones((1, 1))]})
    with pytest.raises(SpaceError, match="'mine', 2: must be finite"):
        Space.loads(f'{HEAD}{SLOT}files = "mine"\n', pools={"mine": [np.ones((1, 1)), np.full((3, 3), np.nan)]})
    with pytest.raises(KernelError, match="kernel_pool: kernel 1: size must be odd"):
        ops.kernel_pool(picture(8, 8)[None], [np.ones((2, 2)) / 4])
    with pytest.raises(ValueError, match=r"kernel_pool: number must be in \[0, 1\], got 2"):
        ops.kernel_pool(picture(8, 8)[None], [np.ones((1, 1))], 2)


def test_damaged_pools_of_a_task_file_are_one_line(folder, tmp_path):
    pydegrade.sample(Space.load(folder / "own.toml"), 0, range(2)).save(tmp_path / "tasks.npz")
    with np.load(tmp_path / "tasks.npz") as file:
        members = dict(file)
    name = next(key for key in members if key.startswith("pool:"))
    for changed in (
        {name: members[name][:-1]},
        {name: members[name].astype(np.float64)},
        {name: members[name] * 2},
        {name.replace("pool:", "pool_shapes:"): np.array([[2**20, 2**20]], np.int32)},
        {name.replace("pool:", "pool_shapes:"): np.zeros((0, 2), np.int32)},
        {name: members[name] * np.float32(np.inf)},
        # 16 * 2^60 is 0 in 64 bits.
        {
            name: members[name][:1],
            name.replace("pool:", "pool_shapes:"): np.array([[2**30, 2**30]] * 16 + [[1, 1]], np.int32),
        },
    ):
        np.savez(tmp_path / "bad.npz", **{**members, **changed})
        with pytest.raises(TaskError, match=r"bad\.npz: ") as caught:
            TaskBatch.load(tmp_path / "bad.npz")
        assert "\n" not in str(caught.value)


def test_pictures_that_pillow_stumbles_over_are_one_line(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def png(*chunks):
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)

    head, tail = struct.pack(">IIBBBBB", 3, 3, 8, 0, 0, 0, 0), [(b"IDAT", b""), (b"IEND", b"")]
    for damaged in (
        png((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)), *tail),
        png((b"IHDR", b"\0\0"), *tail),
        png((b"IHDR", head), (b"pHYs", b""), *tail),
        png((b"IHDR", head), (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21))), *tail),
    ):
        (tmp_path / "k.png").write_bytes(damaged)
        with pytest.raises(KernelError, match=r"k\.png: not a picture that can be read \(") as caught:
            kernels.load(tmp_path / "k.png")
        assert "\n" not in str(caught.value)
