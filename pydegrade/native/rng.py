"""Random numbers by name and number: Philox4x32-10 with one counter layout, the same on every machine.

The layout (also in docs/rng.md; tests/golden/rng_words.txt guards it):

- a *named draw* of parameter `name` for sample `index`: key = seed, counter = (index low, index high, hash32(name),
  0x80000000 | draw). The top bit of the last word separates named draws from image keys.
- the *image key*: key = seed, counter = (index low, index high, noise index low, noise index high), four words o0..o3.
  A noise slot uses (o0, o1, o2, o3 ^ hash32(slot name)).
- the *pixel stream* of a noise slot: key = (o0, o1), counter = (y << 16 | x >> 2, op << 24 | channel << 8 | attempt, o2,
  o3); pixel x takes word x & 3.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; the known answers of Random123 are in the tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import PydegradeError, shown
from . import binding
from .given import real_array

LAYOUT_VERSION = 1
NAMED_DRAW = 0x80000000
MAX_INDICES = 10**8
"""Sample numbers in one call."""

Float64Array = NDArray[np.float64]
WordArray = NDArray[np.uint32]


@cache
def hash32(name: str) -> int:
    """First four bytes, little-endian, of SHA-256 of the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


@cache
def hash64(name: str) -> int:
    """First eight bytes, little-endian, of SHA-256 of the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def check_seed(seed: int, bits: int = 63) -> int:
    """The seed as an int; TypeError or PydegradeError unless it is a whole number in [0, 2^bits)."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be a whole number, got {shown(seed)}")
    if not 0 <= int(seed) < 2**bits:
        raise PydegradeError(f"seed must be in [0, 2^{bits}), got {shown(int(seed))}")
    return int(seed)


def check_indices(indices: ArrayLike, name: str = "indices") -> NDArray[np.int64]:
    """Sample numbers as int64 [N]; PydegradeError unless whole numbers in [0, 2^63), at most 10^8 of them."""
    if isinstance(indices, range):
        if len(indices) and not 0 <= min(indices[0], indices[-1]) <= max(indices[0], indices[-1]) < 2**63:
            raise PydegradeError(f"{name} must be in [0, 2^63), got {indices}")
        if len(indices) > MAX_INDICES:
            raise PydegradeError(f"{name}: at most {MAX_INDICES} at once, got {len(indices)}")
        return (
            indices[0] + np.arange(len(indices), dtype=np.int64) * indices.step
            if len(indices)
            else np.zeros(0, np.int64)
        )
    values = real_array(f"{name} must be whole numbers in one dimension", indices, PydegradeError)
    if values.size == 0:
        return np.zeros(0, np.int64)
    if values.ndim > 1 or values.dtype.kind not in "iu":
        raise PydegradeError(
            f"{name} must be whole numbers in one dimension, got {values.dtype} of shape {values.shape}"
        )
    values = np.atleast_1d(values)
    if int(values.min()) < 0 or int(values.max()) >= 2**63:
        row = int(np.argmax((values < 0) | (values > 2**63 - 1)))
        raise PydegradeError(f"{name} must be in [0, 2^63), got {values[row]} at position {row}")
    return np.ascontiguousarray(values, np.int64)


def stream_seed(seed: int, name: str) -> int:
    """Seed of an independent stream of tasks: what is drawn from it shares no (seed, index) with what any seed below 2^62
    draws, whatever the indices, nor (but for one chance in 2^62) with another stream.

    Args:
        seed: whole number in [0, 2^62): seeds above belong to streams.
        name: of the stream, such as "scored".
    Returns:
        whole number in [2^62, 2^63): 2^62 plus 62 bits of the SHA-256 of "name/seed". An address holds it like any seed.
    """
    digest = hashlib.sha256(f"{name}/{check_seed(seed, 62)}".encode()).digest()
    return 2**62 + (int.from_bytes(digest[:8], "little") >> 2)


def uniforms(seed: int, indices: NDArray[np.int64], draws: Sequence[tuple[str, int]]) -> Float64Array:
    """Uniform numbers in [0, 1), 53 bits each, for many named draws at once.

    Args:
        seed: whole number in [0, 2^63).
        indices: int64 [N], sample numbers >= 0, contiguous.
        draws: (name, draw number) pairs, M of them; draw numbers below 2^31.
    Returns:
        float64 [N, M].
    """
    out = np.empty((len(indices), len(draws)), np.float64)
    if out.size:
        binding.call(
            "philox_uniform",
            seed_lo=seed & 0xFFFFFFFF,
            seed_hi=seed >> 32,
            indices=indices,
            hash=np.array([hash32(name) for name, _ in draws], np.uint32),
            draw=np.array([draw for _, draw in draws], np.uint32),
            out=out,
        )
    return out


def named_uniform(seed: int, indices: ArrayLike, name: str, draw: int = 0) -> Float64Array:
    """Uniform numbers in [0, 1) of one named draw: float64 [N], a pure function of (seed, index, name, draw)."""
    return uniforms(check_seed(seed), check_indices(indices), [(name, draw)])[:, 0]


def words(key: WordArray, counter: WordArray) -> WordArray:
    """Philox4x32-10: key uint32 [N, 2], counter uint32 [N, 4] -> uint32 [N, 4]."""
    out = np.empty((len(counter), 4), np.uint32)
    if len(counter):
        binding.call(
            "philox_words",
            key=np.ascontiguousarray(key, np.uint32),
            counter=np.ascontiguousarray(counter, np.uint32),
            out=out,
        )
    return out


def image_keys(seeds: NDArray[np.int64], indices: NDArray[np.int64], noise_indices: NDArray[np.int64]) -> WordArray:
    """The derived words o0..o3 of each image, uint32 [N, 4]."""
    return words(_halves(seeds), np.concatenate([_halves(indices), _halves(noise_indices)], axis=1))


def combine_slot(keys: WordArray, slot: str) -> WordArray:
    """Image keys as one noise slot uses them: the last word is combined with the slot's name."""
    combined = keys.copy()
    combined[:, 3] ^= np.uint32(hash32(slot))
    return combined


def _halves(values: NDArray[Any]) -> WordArray:
    """int64 [N] >= 0 -> uint32 [N, 2], low word first."""
    unsigned = values.astype(np.uint64)
    low = (unsigned & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return np.stack([low, (unsigned >> np.uint64(32)).astype(np.uint32)], axis=1)
