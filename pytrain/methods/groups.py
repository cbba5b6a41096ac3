"""Groups of tasks, as TGSR trains with them: a file that `pytrain group` writes and method `tgsr` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pydegrade import Space, TaskBatch, TaskError

from .. import nets
from ..errors import DataError
from ..files.digested_toml import StageRecord, numbers, read_record
from ..nets.weights import digest, read_weights

STAGES = ("groups", "unsatisfactory")


@dataclass(frozen=True)
class Group:
    """Some tasks.

    Attributes:
        name: "G1".
        about: what its tasks have in common, for people.
        tasks: at least one.
        values: numbers per task by name, e.g. "improvement_db", float64 [len(tasks)] each.
    """

    name: str
    about: str
    tasks: TaskBatch
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Groups:
    """What a groups file holds.

    Attributes:
        groups: in the order of the file.
        net: configuration of the network on which the groups were found, as plain values.
        network: digest of its weights.
        digest: of the file.
    """

    groups: tuple[Group, ...]
    net: Mapping[str, Any]
    network: str
    digest: str


def network_digest(path: str | Path, config: Any) -> str:
    """Eight hex digits over the weights of a model file, the same for every kind of file that holds them.

    Args:
        path: the file.
        config: configuration of its network.
    Raises:
        CheckpointError: unreadable file.
    """
    state = nets.canonical(config, read_weights(path).state)
    return digest({key: value.float() if value.is_floating_point() else value for key, value in state.items()})


def group_table(group: Group) -> dict[str, Any]:
    """A group as a table of a record."""
    return {
        "name": group.name,
        "about": group.about,
        "addresses": group.tasks.addresses,
        "fingerprints": [f"{mark:016x}" for mark in group.tasks.fingerprints().tolist()],
        **{name: values.tolist() for name, values in group.values.items()},
    }


def groups_record(
    stage: str, made_from: Mapping[str, str], space: Space, net: Mapping[str, Any], groups: Sequence[Group]
) -> StageRecord:
    """The record of a groups file.

    Args:
        stage: "groups" or "unsatisfactory".
        made_from: digests; "network" is among them.
        space: of all tasks.
        net: see `Groups`.
        groups: at least one.
    """
    values = {
        "space": {"name": space.name, "digest": space.digest},
        "net": dict(net),
        "group": [group_table(group) for group in groups],
    }
    return StageRecord(stage, made_from, values)


def read_groups(path: str | Path, space: Space, stages: Sequence[str] = STAGES) -> Groups:
    """Read a groups file.

    Args:
        path: the file.
        space: what its tasks must come from.
        stages: which stages' files will do.
    Raises:
        DataError: unreadable, of another space, without groups, with an empty group, or with a task that does something
            else than when the file was written.
    """
    path = Path(path)
    record = _of_any_stage(path, stages)
    found = record.values.get("space")
    if not isinstance(found, dict) or found.get("digest") != space.digest:
        name = f"{found.get('name')}@{str(found.get('digest'))[:8]}" if isinstance(found, dict) else "none"
        raise DataError(f"{path}: must be made from space {space.name}@{space.digest[:8]}, got {name}")
    tables = record.values.get("group")
    if not isinstance(tables, list) or not tables:
        raise DataError(f"{path}: must hold at least one [[group]], got none")
    groups = tuple(_group(path, number, table, space) for number, table in enumerate(tables, 1))
    net = record.values.get("net")
    return Groups(groups, net if isinstance(net, dict) else {}, record.made_from.get("network", ""), record.digest)


def _of_any_stage(path: Path, stages: Sequence[str]) -> StageRecord:
    for stage in stages[:-1]:
        try:
            return read_record(path, stage)
        except DataError as error:
            if "must be a file of stage" not in str(error):
                raise
    return read_record(path, stages[-1])


def _group(path: Path, number: int, table: Any, space: Space) -> Group:
    where = f"{path}: group {number}"
    if not isinstance(table, dict) or not _texts(table.get("addresses")) or not _texts(table.get("fingerprints")):
        raise DataError(f"{where} must have lists of texts named addresses and fingerprints")
    name, addresses = str(table.get("name", f"G{number}")), table["addresses"]
    where = f"{path}: group {name}"
    if not addresses:
        raise DataError(f"{where} must hold at least one task, got none")
    try:
        tasks = TaskBatch.from_addresses(addresses, space)
    except TaskError as error:
        raise DataError(f"{where}: {error}") from None
    marks = [f"{mark:016x}" for mark in tasks.fingerprints().tolist()]
    if len(table["fingerprints"]) != len(addresses):
        counts = f"{len(addresses)} and {len(table['fingerprints'])}"
        raise DataError(f"{where}: addresses and fingerprints must be equally many, got {counts}")
    for address, mark, expected in zip(addresses, marks, table["fingerprints"]):
        if mark != expected:
            raise DataError(f"{where}: task {address} must have fingerprint {expected}, this version gives {mark}")
    values = {}
    for key, entries in table.items():
        if isinstance(entries, list) and not _texts(entries):
            values[key] = numbers(path, f"{key} of group {name}", entries, len(addresses))
    return Group(name, str(table.get("about", "")), tasks, values)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
