"""Ops that are functions of one image, in torch or a library: run on many images at once, from the engine and as public
functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import shown
from ..native import binding, rng
from .arguments import check_images, codes, numbers
from .declaration import Op
from .pool import KEY, Pool

_Made = TypeVar("_Made")


def each(function: Callable[[int], _Made], count: int, device: torch.device, concurrent: bool) -> list[_Made]:
    """function(0), ..., function(count - 1).

    Args:
        function: of the number of an image.
        count: images.
        device: of the images. The threads queue their work on the caller's stream.
        concurrent: on as many threads as pydegrade uses, instead of one after the other.
    """
    threads = min(binding.get_num_threads(), count) if concurrent else 1
    if threads <= 1:
        return [function(number) for number in range(count)]
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def on_stream(number: int) -> _Made:
        with torch.no_grad(), nullcontext() if stream is None else torch.cuda.stream(stream):
            return function(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(on_stream, range(count)))


def columns_of(op: Op, given: Mapping[str, Any], batch: int, files: Pool | None = None) -> dict[str, list[Any]]:
    """Values of all columns of an op as `Op.apply` takes them, B each, checked; what is not given is neutral."""
    columns: dict[str, list[Any]] = {}
    for column in op.columns:
        value = given.get(column.name, column.neutral)
        if column.choices:
            chosen = codes(op.name, column.name, value, column.choices, batch)
            columns[column.name] = [column.choices[code] for code in chosen.tolist()]
        else:
            is_number = op.files is not None and column.name == op.files.number
            high = column.high if files is None or not is_number else len(files)
            checked = numbers(op.name, column.name, value, batch, column.low, high, column.integer)
            columns[column.name] = checked.astype(column.dtype).tolist()
    return columns


def run(
    op: Op,
    images: torch.Tensor,
    given: Mapping[str, Any],
    seed: int = 0,
    index: ArrayLike | None = None,
    files: Pool | None = None,
) -> torch.Tensor:
    """`op.apply` on every image of a batch, for ops that keep the size or make one size of all.

    Args:
        op: with `apply`.
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        given: a value or B values for columns by name; the others hold their neutral value.
        seed, index: choose what is random; the image in row r uses number index[r], by default r.
        files: for an op that takes files, what they hold.
    Returns:
        [B, C, H, W] float32, of an op with `out_size` its sides; without memory where the images have none.
    Raises:
        TypeError, ValueError: the message gives op, column and the first bad row.
    """
    assert op.apply is not None
    apply = op.apply
    if op.library is not None:
        op.library()
    check_images(op.name, images)
    batch = len(images)
    columns = columns_of(op, given, batch, files)
    numbers_of = rng.check_indices(np.arange(batch) if index is None else index, f"{op.name}: index")
    if len(numbers_of) != batch:
        raise ValueError(f"{op.name}: index must have {batch} numbers, got {len(numbers_of)}")
    keys = rng.image_keys(np.full(batch, rng.check_seed(seed), np.int64), numbers_of, numbers_of).tolist()
    sources = images.detach()

    def one(row: int) -> torch.Tensor:
        first, second, third, fourth = keys[row]
        values = {name: column[row] for name, column in columns.items()}
        if files is not None:
            values[KEY] = files.arrays
        return apply(sources[row].contiguous(), values, (first, second, third, fourth))

    if images.is_meta or not batch:
        return torch.empty_like(images)
    if op.out_size is not None:
        return torch.stack(each(one, batch, images.device, op.concurrent))
    made = torch.empty(images.shape, dtype=images.dtype, device=images.device)

    # Copied at once: the memory of one result serves the next.
    def put(row: int) -> None:
        made[row] = one(row)

    each(put, batch, images.device, op.concurrent)
    return made


def run_clip(op: Op, images: torch.Tensor, given: Mapping[str, Any]) -> torch.Tensor:
    """As `run`, of a batch that is one clip: `op.apply_clip` on its frames, with one value of every column."""
    assert op.apply_clip is not None
    check_images(op.name, images)
    for name, value in given.items():
        if not isinstance(value, (str, int, float, np.number)):
            raise ValueError(f"{op.name}: {name} of a clip must be one value, got {shown(value)}")
    values = {name: column[0] for name, column in columns_of(op, given, 1).items()}
    if images.is_meta or not len(images):
        return torch.empty_like(images)
    first, second, third, fourth = rng.image_keys(*[np.zeros(1, np.int64)] * 3)[0].tolist()
    frames = [frame.contiguous() for frame in images.detach()]
    return torch.stack(list(op.apply_clip(frames, values, (first, second, third, fourth))))
