"""From a space, seeds and sample numbers to columns and running orders: a pure function, O(1) per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..native import binding
from ..native.rng import uniforms
from .distribution_contract import Known
from .distributions import walks
from .rows import ColumnBlock, Rows, settled
from .space import Space
from .tables import Asked, Compiled, Tables, Words, tables_of

# Rows drawn at once: their values stay in a core's cache.
_CHUNK = 4096
_MOST_UNIFORMS = 2**20
_NO_PROGRAM = np.empty(0, np.uint8)

Numbers = NDArray[np.int64]
Programs = NDArray[np.int8]


def draw(
    space: Space, seeds: Numbers, indices: Numbers, steps: Numbers | None = None, frames: Numbers | None = None
) -> Rows:
    """All columns of the given samples, int64 [B] each, as drawn: columns that have no effect hold their draw too, and
    slots of closed gates are in the program. Without steps and frames these are 0."""
    return _draw(space, seeds, indices, steps, frames, False)


def draw_resolved(
    space: Space, seeds: Numbers, indices: Numbers, steps: Numbers | None = None, frames: Numbers | None = None
) -> Rows:
    """`resolved(draw(...))`."""
    return _draw(space, seeds, indices, steps, frames, True)


def _draw(
    space: Space, seeds: Numbers, indices: Numbers, steps: Numbers | None, frames: Numbers | None, resolve: bool
) -> Rows:
    tables, count = tables_of(space), len(indices)
    steps = np.zeros(count, np.int64) if steps is None else steps
    last = 0 if frames is None or not space.walks else int(frames.max(initial=0))
    if frames is None or last == 0:
        frames = None
    else:
        tables = tables.walking
    # Every row of later frames holds the uniforms of all frames before it.
    chunk_rows = max(1, min(_CHUNK, _MOST_UNIFORMS // (last + 1)))

    def piece(seed: int, at: NDArray[Any] | slice) -> tuple[Words, Programs, NDArray[np.int32]]:
        known_frames = None if frames is None else frames[at]
        words, program, component = _words(tables, seed, np.ascontiguousarray(indices[at]), steps[at], known_frames)
        if resolve:
            words, program = settled(tables, words, program, component)
        return words[tables.drawn_rows], program, component

    one_seed = count <= 1 or bool((seeds == seeds[0]).all())
    if one_seed and count <= chunk_rows:
        words, program, component = piece(int(seeds[0]) if count else 0, slice(None))
        return Rows(space, component, ColumnBlock(tables.drawn, words), program)
    words = np.empty((len(tables.drawn_rows), count), np.int32)
    program = np.empty((count, len(space.slots)), np.int8)
    component = np.empty(count, np.int32)
    for seed in [int(seeds[0])] if one_seed else np.unique(seeds).tolist():
        rows = None if one_seed else np.nonzero(seeds == seed)[0]
        for begin in range(0, count if rows is None else len(rows), chunk_rows):
            chunk = slice(begin, begin + chunk_rows)
            at = chunk if rows is None else rows[chunk]
            words[:, at], program[at], component[at] = piece(seed, at)
    return Rows(space, component, ColumnBlock(tables.drawn, words), program)


def _words(
    tables: Tables, seed: int, indices: Numbers, steps: Numbers, frames: Numbers | None
) -> tuple[Words, Programs, NDArray[np.int32]]:
    """All rows of the tables as drawn, [R, N], those that nothing draws neutral; programs [N, K]; components [N]."""
    if tables.components:
        return _mixed_words(tables, seed, indices, steps, frames)
    count = len(indices)
    words = np.empty((len(tables.neutral), count), np.int32)
    words[:] = tables.neutral
    program = np.empty((count, len(tables.space.slots)), np.int8)
    prepared: dict[str, NDArray[np.float64]] = {}
    for step in tables.steps:
        if isinstance(step, Compiled):
            binding.call(
                "draw_columns",
                seed_lo=seed & 0xFFFFFFFF,
                seed_hi=seed >> 32,
                indices=indices,
                hash=step.hash,
                draw=step.draw,
                nodes=tables.nodes,
                children=tables.children,
                numbers=tables.numbers,
                columns=step.columns,
                rows=len(words),
                words=words,
                order=step.order,
                program=program.view(np.uint8) if len(step.order) else _NO_PROGRAM,
            )
        else:
            _ask(step, tables, seed, indices, steps, frames, words, prepared)
    return words, program, np.zeros(count, np.int32)


def _ask(
    asked: Asked,
    tables: Tables,
    seed: int,
    indices: Numbers,
    steps: Numbers,
    frames: Numbers | None,
    words: Words,
    prepared: dict[str, NDArray[np.float64]],
) -> None:
    """Write the column of a distribution that draws its values itself."""
    real = words.view(np.float32)
    earlier = {}
    for name, (_, is_real) in tables.drawn.items():
        row = tables.rows[name][0]
        if row == asked.row:
            break
        earlier[name] = real[row] if is_real else words[row]
    if asked.stream not in prepared:
        more = 0 if frames is None or not walks(asked.distribution) else int(frames.max(initial=0))
        draws = [(asked.stream, number) for number in range(asked.distribution.draws() + more)]
        prepared[asked.stream] = asked.distribution.prepare(uniforms(seed, indices, draws))
    values = asked.distribution.evaluate(prepared[asked.stream], Known(earlier, steps, frames))
    words[asked.row] = values.astype(asked.column.dtype).view(np.int32)


def _mixed_words(
    tables: Tables, seed: int, indices: Numbers, steps: Numbers, frames: Numbers | None
) -> tuple[Words, Programs, NDArray[np.int32]]:
    """`_words` of a mixture: each sample from the component it falls into; slots the component lacks are absent."""
    u = uniforms(seed, indices, [("mixture.component", 0)])[:, 0]
    component = np.searchsorted(tables.component_edges, u, side="right").astype(np.int32)
    words = np.empty((len(tables.neutral), len(indices)), np.int32)
    words[:] = tables.neutral
    program = np.full((len(indices), len(tables.space.slots)), -1, np.int8)
    present = sorted(set(component.tolist()))
    for number in present:
        # A slice, as one task has it, costs less than positions.
        rows = slice(None) if len(present) == 1 else np.nonzero(component == number)[0]
        known_frames = None if frames is None else frames[rows]
        part, places, _ = _words(tables.components[number], seed, indices[rows], steps[rows], known_frames)
        words[_grid(tables.component_rows[number], rows)] = part
        program[rows, : places.shape[1]] = tables.component_slots[number][places]
    return words, program, component


def _grid(first: NDArray[Any], second: NDArray[Any] | slice) -> tuple[Any, Any]:
    """What picks `first` of the first axis and, of each, `second` of the second."""
    return (first, second) if isinstance(second, slice) else (first[:, None], second)
