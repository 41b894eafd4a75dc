"""How a reproduction reaches into the program it runs: a plan in a file that an environment variable names.

Every way to an experiment asks the plan: ``Experiment(...)``, ``resume``, ``attach``, ``fork``, ``use_artifact`` and
``ExperimentManager``, whatever root they name. What was there before is read where it lies, and nothing is written to
it: whoever goes on with it gets a copy.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from frameworm.experiment.config import dump_json, load_json
from frameworm.experiment.errors import ExperimentNotFoundError, StateError
from frameworm.experiment.storage.folder import find_folder

VARIABLE = "FRAMEWORM_REPRODUCE"

_MADE = "made.jsonl"
"""File in ``scratch_dir``: the experiments that the program made so far, in whichever process."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the reproducing process is to do differently.

    Attributes:
        ordinal: which of the process's experiments is the one to reproduce, from 0.
        root_dir: where that one is recorded.
        scratch_dir: where all others are.
        parent: what the record says of its origin: ``relation, experiment_id, uid``.
        settings: config values to change, by dotted key.
        random_dir: provenance folder with the states of the random generators to begin with; None for fresh ones.
        others: ids of the experiments that it forks or uses, by those in the record, which may be others' here.
        recorded_id: id of the experiment that is reproduced where it was recorded, by which the program may name it.
    """

    ordinal: int
    root_dir: str
    scratch_dir: str
    parent: dict[str, Any]
    settings: dict[str, Any]
    random_dir: str | None
    others: dict[str, str] = field(default_factory=dict)
    recorded_id: str = ""

    def write(self, path: Path) -> None:
        """Write the plan to a file, to be named by ``FRAMEWORM_REPRODUCE``."""
        path.write_text(dump_json(asdict(self)), encoding="utf-8")

    def root(self, root_dir: str | os.PathLike[str]) -> Path:
        """Return the root that is read where the program names this one: there is none where the code is laid out."""
        root = Path(root_dir).absolute()
        return root if root.is_dir() else Path(self.root_dir)

    def readable(self, experiment_id: str, root_dir: str | os.PathLike[str]) -> Path:
        """Return the folder of an experiment that the program names, to read in.

        Raises:
            ExperimentNotFoundError: there is none; nor is there the one that is reproduced, until it is made.
        """
        made = self._made()
        for one in reversed(made):
            if one["experiment_id"] == experiment_id:
                return Path(one["path"])
        if experiment_id in (self.recorded_id, self.parent["experiment_id"]) and experiment_id not in self.others:
            own = next((Path(one["path"]) for one in made if one["own"]), None)
            if own is None:
                raise ExperimentNotFoundError(
                    f"{experiment_id} is being reproduced, and its program goes on with it before it began it: what "
                    "another program began is not run again; run both again, and compare with `frameworm diff`"
                )
            return own
        if experiment_id in self.others:  # known to be there, whatever lies in the root that the program names
            return find_folder(Path(self.root_dir), self.others[experiment_id]).absolute()
        return find_folder(self.root(root_dir), experiment_id).absolute()

    def writable(self, experiment_id: str, root_dir: str | os.PathLike[str]) -> Path:
        """Return the folder of an experiment that the program names, to record into: of another's record a copy.

        Raises:
            ExperimentNotFoundError: as for ``readable``.
        """
        folder = self.readable(experiment_id, root_dir)
        if self.is_own(folder):
            return folder
        copy = Path(self.scratch_dir, folder.name)
        if not copy.exists():
            shutil.copytree(folder, copy, symlinks=True)
            self.note(experiment_id, copy)
        return copy

    def note(self, experiment_id: str, folder: Path, *, own: bool = False) -> None:
        """Remember an experiment that the program made; ``own`` if it is the reproduction."""
        line = dump_json({"experiment_id": experiment_id, "path": str(folder), "own": own})
        os.makedirs(self.scratch_dir, exist_ok=True)
        with open(Path(self.scratch_dir, _MADE), "a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def is_own(self, folder: Path) -> bool:
        """Whether the program made what lies in a folder."""
        real = os.path.realpath(folder)
        return any(os.path.realpath(one["path"]) == real for one in self._made())

    def is_made(self) -> bool:
        """Whether the reproduction has been made already, by another process of the program."""
        return any(one["own"] for one in self._made())

    def _made(self) -> list[dict[str, Any]]:
        try:
            lines = Path(self.scratch_dir, _MADE).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [load_json(line.encode()) for line in lines]


def current_plan() -> Plan | None:
    """Return the plan this process is to follow, if it was started to reproduce an experiment."""
    path = os.environ.get(VARIABLE)
    return Plan(**load_json(Path(path).read_bytes())) if path else None


def folder_of(experiment_id: str, root_dir: str | os.PathLike[str], *, write: bool = False) -> Path:
    """Return the folder of an experiment that the program names, absolute.

    Args:
        experiment_id: as the program says.
        root_dir: as the program says.
        write: whether it is to be recorded into.

    Raises:
        ExperimentNotFoundError: none has that id; the message suggests the nearest.
        StoreNotFoundError: there is no such root.
    """
    plan = current_plan()
    if plan is None:
        return find_folder(Path(root_dir), experiment_id).absolute()
    return (plan.writable if write else plan.readable)(experiment_id, root_dir)


def check_changeable(*folders: Path) -> None:
    """Refuse, in a program that is run to reproduce an experiment, to change what it did not make.

    Raises:
        StateError: says what to do.
    """
    plan = current_plan()
    for folder in folders:
        if plan is not None and not plan.is_own(folder):
            raise StateError(
                f"{folder} is not changed: this program is run to reproduce an experiment, and may change only what it "
                "makes itself"
            )
