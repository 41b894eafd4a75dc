"""Pruning: moving experiments that meet some conditions, or only their artifacts, to the trash."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from frameworm.experiment.errors import InputError, StateError, StoreError
from frameworm.experiment.keeping.edit import edit
from frameworm.experiment.keeping.trash import delete, files_of, new_entry
from frameworm.experiment.query.read import ExperimentReader, writers_at_work
from frameworm.experiment.storage.folder import ARTIFACTS, CHECKPOINTS

What = Literal["experiments", "artifacts", "checkpoints"]
PARTS: dict[What, tuple[str, ...]] = {
    "experiments": (),
    "artifacts": (ARTIFACTS, CHECKPOINTS),
    "checkpoints": (CHECKPOINTS,),
}
"""What may be pruned, and the folders that stands for; nothing for all of it."""

_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*\Z", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True)
class Pruned:
    """One experiment that is pruned, or would be.

    Attributes:
        experiment_id: which one.
        name: what people call it.
        status: its status.
        files: how many files go.
        size_bytes: what they take.
        folder: where the experiment lies.
        moved_to: where they are now, in the trash; None before.
    """

    experiment_id: str
    name: str
    status: str
    files: int
    size_bytes: int
    folder: Path
    moved_to: Path | None = None


def seconds(age: str) -> float:
    """Return how many seconds ``30d``, ``12h``, ``2w``, ``45m`` or ``10s`` are.

    Raises:
        InputError: it is none of these.
    """
    match = _AGE.match(age) if isinstance(age, str) else None
    if match is None:
        raise InputError(f"an age is a number and s, m, h, d or w, such as 30d or 12h, not {age!r:.80}")
    return float(match[1]) * _SECONDS[match[2]]


def best(rows: Sequence[tuple[str, float]], n: int, mode: str) -> list[str]:
    """Return the ids of the ``n`` best, the best first; who has no value, or NaN, is never among them.

    Args:
        rows: id and value of each experiment; NaN for none.
        n: how many.
        mode: ``min`` or ``max``.
    """
    measured = [(value if mode == "min" else -value, one) for one, value in rows if not math.isnan(value)]
    return [one for _, one in sorted(measured)[:n]]


def planned(folder: Path, what: What) -> Pruned | None:
    """Say what pruning an experiment would move; None if there is nothing, or somebody still writes to it."""
    try:
        reader = ExperimentReader(folder)
    except StoreError:
        return None
    info = reader.info
    if writers_at_work(folder):
        return None
    files = [(name, size) for name, size in files_of(folder) if _goes(name, what)]
    if not files:
        return None
    number = folder.name.split("_")[1]
    return Pruned(f"exp_{number}", info.name, info.status, len(files), sum(size for _, size in files), folder)


def carry_out(root: Path, plan: Pruned, what: What) -> Pruned:
    """Move what was planned to the trash.

    Raises:
        StateError: somebody has begun to write to the experiment again.
        StoreError: the root cannot be written.
    """
    now = planned(plan.folder, what)
    if now is None:
        raise StateError(f"{plan.experiment_id} has changed meanwhile: it runs, or has nothing left to prune")
    try:
        if not PARTS[what]:
            return replace(now, moved_to=delete(root, [plan.folder])[0])
        target = new_entry(root, plan.folder.name)
        names = [name for name, _ in files_of(plan.folder) if _goes(name, what)]
        # Recorded first: a file that is there though its record is gone does no harm, the other way round it does.
        edit(plan.folder, {"type": "artifacts_removed", "paths": names})
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (plan.folder / name).rename(target / name)
        return replace(now, moved_to=target)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{plan.experiment_id} cannot be moved to the trash: {error}") from error


def _goes(name: str, what: What) -> bool:
    return not PARTS[what] or name.split(os.sep, 1)[0] in PARTS[what]
