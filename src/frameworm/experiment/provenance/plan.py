"""How a reproduction reaches into the program it runs: a plan in a file that an environment variable names."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from frameworm.experiment.config import dump_json, load_json

VARIABLE = "FRAMEWORM_REPRODUCE"


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
    """

    ordinal: int
    root_dir: str
    scratch_dir: str
    parent: dict[str, Any]
    settings: dict[str, Any]
    random_dir: str | None
    others: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the plan to a file, to be named by ``FRAMEWORM_REPRODUCE``."""
        path.write_text(dump_json(asdict(self)), encoding="utf-8")

    def here(self, experiment_id: str) -> str:
        """Return what an experiment that the program names is called here."""
        return self.others.get(experiment_id, experiment_id)


def current_plan() -> Plan | None:
    """Return the plan this process is to follow, if it was started to reproduce an experiment."""
    path = os.environ.get(VARIABLE)
    return Plan(**load_json(Path(path).read_bytes())) if path else None
