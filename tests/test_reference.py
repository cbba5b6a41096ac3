"""Every preset, slot by slot, against the float64 reference: the engine's input to a slot goes to both."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pydegrade
from pydegrade.native import rng
from pydegrade.tasks.space import preset_names

from .reference import chain


def parameters(tasks, row, slot):
    """One row's parameters of a slot: text for choices, numbers otherwise, as the task stores them."""
    values = {}
    for column in tasks.space.op(slot).columns:
        name = f"{slot}.{column.name}"
        value = tasks.column(name)[row]
        values[column.name] = column.choices[value] if column.choices else value.item()
    return values


def judge(op, p, before, after, made):
    """Compare one slot. Tolerances: float32 rounding unless said."""
    expected = chain.run_slot(op, p, before, *made)
    assert expected.shape == after.shape
    difference = np.abs(expected - after)
    if op == "jpeg" and p["mode"] == "libjpeg":
        # Integers: equal, but for the division by 255 in float32.
        assert difference.max() < 1e-7
    elif op in ("jpeg", "sharpen"):
        # A coefficient or a residual within float32 rounding of its threshold may fall on the other side, rarely.
        assert (difference > 1e-5).mean() < 0.02
        assert np.median(difference) < 1e-6
    elif op == "rain":
        # Places within a streak in float32, see test_rain.py.
        assert difference.max() < 5e-5
    else:
        # Sums of up to 25^2 products of numbers below 2, cubic overshoot included.
        assert difference.max() < 5e-6, (op, p, before.shape)


@pytest.mark.representatives(1)
@pytest.mark.parametrize("space", preset_names())
def test_every_slot_equals_the_reference(space, photographs):
    images = [image[:, :48, :64].contiguous() for image in photographs[:6]]
    tasks = pydegrade.sample(space, 21, range(len(images)))
    if tasks.space.scale == 3:
        images = [image[:, :48, :63].contiguous() for image in images]
    keys = tasks.image_keys()
    judged, scores = set(), []
    for row, stages in enumerate(pydegrade.trace(images, tasks)):
        for before, after in itertools.pairwise(stages[:-1]):
            op = tasks.space.slot(after.slot).op
            p = parameters(tasks, row, after.slot)
            x, y = before.image.numpy().astype(float), after.image.numpy().astype(float)
            judged.add(op)
            if op not in chain.OPS:
                continue
            if op == "noise" and p["kind"] == "poisson":
                off, score = chain.poisson_lattice(p, x, y)
                # One ulp of 1 on either side; weights of the gray image in float32 may move a level, hence a rounding.
                assert off < 1e-6
                scores.append(score)
                continue
            key = rng.combine_slot(keys[row : row + 1], after.slot)[0].tolist()
            judge(op, p, x, y, (images[row].shape[1:], tasks.space.scale, key))
        # The result: the last image on the 8-bit grid.
        last = stages[-2].image.numpy()
        expected = np.rint(np.clip(last * np.float32(255), 0, 255)) / 255
        assert np.abs(stages[-1].image.numpy() - expected).max() < 1e-7
    always = {slot.op for slot in tasks.space.slots if slot.name not in ("sinc", "blur2", "down1")}
    assert judged >= {op for op in always if op in chain.OPS}
    # Sums of thousands of counts are normal to good accuracy.
    assert all(abs(score) < 4.5 for score in scores)
