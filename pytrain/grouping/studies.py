"""What finished stages of a grouping say about two choices of the method: how many tasks are drawn and what share of them
is called unsatisfactory; and whether the network is fine-tuned again after each group.

Source: Zhang et al. 2023, "Real-World Image Super-Resolution as Multi-Task Learning", NeurIPS, section 4 and supplement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..files.digested_toml import numbers, read_record
from ..methods.groups import read_groups
from .indicators import spearman, top_count
from .run import GroupingRun
from .stages import drawn_tasks, improvements_db, score_sources, tasks_taken

KS_FACTOR = 1.358
"""Of the two-sample Kolmogorov-Smirnov test at 5 %."""


def score_lines(run: GroupingRun, first: int, shares: Sequence[float]) -> list[str]:
    """Whether fewer tasks show the same scores, and where shares of them begin.

    Args:
        run: whose `pytrain group score` is done.
        first: the first so many tasks are compared with the others: both are draws of one space, independent of each other.
        shares: in (0, 1); the least gain of the tasks with the largest gains.
    Raises:
        ConfigError: `first` leaves nothing to compare.
        DataError: no scores, or those of something else.
    """
    path = run.path("scores.toml")
    values = read_record(path, "scores", score_sources(run)).values
    gain, unit = numbers(path, "gain", values["gain"], len(drawn_tasks(run))), values["unit"]
    if not 0 < first < len(gain):
        raise ConfigError(f"study scores: --first must be in [1, {len(gain) - 1}], got {first}")
    parts = {"all": gain, "first": gain[:first], "others": gain[first:]}
    lines = []
    for name, part in parts.items():
        low, middle, high = np.quantile(part, (0.1, 0.5, 0.9))
        lines.append(f"{name:7} {len(part):6} tasks, gain {low:.3f}, {middle:.3f}, {high:.3f} {unit} (10, 50, 90 %)")
    limit = KS_FACTOR * np.sqrt(len(gain) / (first * (len(gain) - first)))
    distance = largest_distance(parts["first"], parts["others"])
    lines.append(
        f"largest distance of the distributions of first and others {distance:.3f}; by chance up to {limit:.3f}"
    )
    for share in shares:
        least = {name: np.sort(part)[-top_count(len(part), share)] for name, part in parts.items()}
        lines.append(
            f"share {share:.0%}: gain of at least {least['all']:.3f}, of the first tasks {least['first']:.3f} {unit}"
        )
    return lines


def largest_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of two samples' distribution functions, in [0, 1]: the statistic of Kolmogorov and Smirnov."""
    at = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(part), at, side="right") / len(part) for part in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def round_lines(run: GroupingRun) -> list[str]:
    """What every round of fine-tuning improved, and how the groups differ from those of a single round.

    Args:
        run: whose stages are done, with `method.grouping.regroup`.
    Raises:
        ConfigError: one round for all groups.
        DataError: a missing file, or one of something else.
    """
    if not run.options.regroup:
        raise ConfigError(
            "study rounds: method.grouping.regroup must be true, one round has nothing to compare; got false"
        )
    once = replace(run, options=replace(run.options, regroup=False))
    members = [
        read_groups(run.members_path(number), run.space, ("unsatisfactory",)).groups[0] for number in _rounds(run)
    ]
    gains = [improvements_db(run, number) for number in _rounds(run)]
    addresses = members[0].tasks.addresses
    first = dict(zip(addresses, gains[0].tolist()))
    lines = []
    for number, (group, gain) in enumerate(zip(members, gains), 1):
        before = np.array([first[address] for address in group.tasks.addresses])
        compared = f"; in round 1 {before.mean():+.3f}" if number > 1 else ""
        if number > 1 and len(gain) > 2:
            compared += f", rank correlation {spearman(before, gain):.2f}"
        lines.append(f"round {number}: {len(gain)} tasks improve by {gain.mean():+.3f} dB on average{compared}")
        mine = {address for address, chosen in zip(group.tasks.addresses, tasks_taken(run, number, gain)) if chosen}
        if number > 1:
            theirs = {address for address, chosen in zip(addresses, tasks_taken(once, number, gains[0])) if chosen}
            lines.append(f"G{number}: {len(mine)} tasks, {len(mine & theirs)} of them also by a single round")
    return lines


def _rounds(run: GroupingRun) -> range:
    return range(1, run.rounds + 1)
