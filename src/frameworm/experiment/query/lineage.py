"""Forks and what they fork. A parent is found by its uid, in the same root, whatever its folder is called."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.errors import InputError, StoreError
from frameworm.experiment.events import Create
from frameworm.experiment.model import ExperimentInfo, SeriesKey, SeriesSummary
from frameworm.experiment.paths import read_regular
from frameworm.experiment.query.sources import open_sources
from frameworm.experiment.storage.folder import (
    HIDDEN,
    LOGS,
    METADATA,
    experiment_folders,
    id_here,
    number_of,
    read_metadata,
)

if TYPE_CHECKING:
    from frameworm.experiment.query.read import ExperimentReader


@dataclass(frozen=True, slots=True)
class Origin:
    """What a new fork begins with.

    Attributes:
        parent: what its record says of it, as in ``ExperimentInfo.parent``.
        config: the parent's.
        lossy_params: the parent's.
        next_steps: where the counters of calls without a step go on.
    """

    parent: dict[str, Any]
    config: dict[str, Any]
    lossy_params: list[str]
    next_steps: dict[SeriesKey, int]


def origin_of(reader: ExperimentReader, step: object) -> Origin:
    """Return what a fork of an experiment begins with.

    Raises:
        InputError: the step is no 64-bit integer.
    """
    info, last = reader.info, checked_step(step)
    parent = {"relation": "fork", "experiment_id": id_here(reader.exp_dir, info.experiment_id), "uid": info.uid}
    return Origin(
        parent={**parent, "step": last, "rewinds": len(info.rewinds)},
        config=info.config,
        lossy_params=list(info.lossy_params),
        next_steps=next_steps(reader.until(last).summaries()),
    )


def checked_step(step: object) -> int:
    """Return a step to fork at or rewind to.

    Raises:
        InputError: it is no 64-bit integer.
    """
    try:
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"step: expected a whole number, got {type(step).__name__} {step!r:.80}") from None
    if isinstance(step, bool) or not -(2**63) <= number < 2**63:
        raise InputError(f"step: expected a whole number of 64 bits, got {step!r:.80}")
    return number


def next_steps(summaries: Iterable[SeriesSummary]) -> dict[SeriesKey, int]:
    """Return the step behind the last one of each series."""
    return {SeriesKey(s.name, s.context): s.last_step + 1 for s in summaries}


def parent_folder(root: Path, parent: dict[str, Any]) -> Path | None:
    """Return the folder of a parent, or None if it is not in this root; of two copies, the one with the lower number.

    Args:
        root: the folder of experiments.
        parent: its ``experiment_id``, under which it is looked for first, and its ``uid``.
    """
    try:
        return _find(root, str(parent["experiment_id"]), str(parent["uid"]), os.stat(root).st_mtime_ns)
    except (OSError, KeyError):
        return None


@lru_cache(maxsize=256)  # of a parent that is gone every folder is looked into: once for each change of the root
def _find(root: Path, experiment_id: str, uid: str, mtime_ns: int) -> Path | None:
    every = sorted(experiment_folders(root).items(), key=lambda item: (item[1], item[0]))
    named = [name for name, _ in every if name == experiment_id or name.startswith(f"{experiment_id}_")]
    for name in (*named, *(name for name, _ in every)):
        if _uid(root / name) == uid:
            return root / name
    return None


def _uid(folder: Path) -> str | None:
    """Return an experiment's uid; from the record itself where ``metadata.json`` is lost."""
    try:
        return read_metadata(folder).uid
    except StoreError:
        pass
    try:
        sources = open_sources(folder / LOGS).all
    except (StoreError, OSError):
        return None
    events = (event for source in sources for part in source.parts for event in part.events)
    return next((event.uid for event in events if isinstance(event, Create)), None)


def relatives(root: Path, info: ExperimentInfo) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what an experiment comes from, and what came of it, of those in the same root.

    Of all others ``metadata.json`` is searched for its uid: 30 µs each.

    Returns:
        for each ``relation`` (``fork``, ``reproduction`` or ``artifact``), ``experiment_id`` (as it was recorded) and
        ``uid`` of the other one; ``step`` of a fork, ``artifact`` and ``version`` of an artifact.
    """
    children = []
    for folder in sorted(experiment_folders(root), key=lambda name: (number_of(name) or 0, name)):
        if folder == info.path.name or not _names(root / folder, info.uid):
            continue
        try:
            other = read_metadata(root / folder)
        except StoreError:
            continue
        about = {"experiment_id": other.experiment_id, "uid": other.uid}
        children += [{**found, **about} for found in _origins(other) if found["uid"] == info.uid]
    return _origins(info), children


def _origins(info: ExperimentInfo) -> list[dict[str, Any]]:
    """Return what an experiment says it comes from."""
    found = []
    for parent in (info.parent, info.parent.get("fork") or {}):
        if parent.get("uid"):
            one = {key: parent.get(key) for key in ("experiment_id", "uid")}
            relation = str(parent.get("relation", "fork"))
            found.append({"relation": relation, **one, **({"step": parent["step"]} if "step" in parent else {})})
    for use in info.used:
        if use.get("uid"):
            found.append(
                {
                    "relation": "artifact",
                    **{key: use.get(key) for key in ("experiment_id", "uid", "artifact", "version")},
                }
            )
    return found


def _names(folder: Path, uid: str) -> bool:
    try:
        return uid.encode() in read_regular(folder / METADATA)
    except OSError:
        return False


def missing(root: Path, parent: dict[str, Any], *, there: bool = False) -> str:
    """Say that a fork's parent is gone, and where it may be; or that it is there and cannot be read."""
    one = parent.get("experiment_id", "an experiment")
    said = f"the points up to step {parent.get('step')} that it inherits from {one} are missing"
    if there:
        return said
    said += f": {one} is not in {root}"
    trash = root / HIDDEN / "trash"
    try:
        there = any(name == one or name.startswith(f"{one}_") for name in os.listdir(trash))
    except OSError:
        there = False
    return f"{said}, but in its trash: `frameworm restore {one}` brings it back" if there else said
