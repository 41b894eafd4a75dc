"""What was measured, kept as JSON, so that parts measured at different times make one report."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Result:
    """What one peer showed in one workload.

    Attributes:
        size: what it was given; may be less than the workload's.
        rounds: the figures of each round.
        failure: why there are none, in a line.
        at: when, ISO 8601.
        load: load average of the machine when the first round began.
    """

    workload: str
    peer: str
    size: str
    rounds: list[dict[str, float]] = field(default_factory=list)
    failure: str = ""
    at: str = ""
    load: float = 0.0

    def values(self, key: str) -> list[float]:
        """Return a figure of every round."""
        return [figures[key] for figures in self.rounds if key in figures]

    def median(self, key: str) -> float | None:
        """Return a figure's median, None if it was not measured."""
        values = self.values(key)
        return statistics.median(values) if values else None


class Results:
    """All results, in the file they are kept in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.machine = machine()
        self._all: dict[tuple[str, str], Result] = {}
        if path.exists():
            kept = json.loads(path.read_text())
            self.machine = kept["machine"]
            for entry in kept["results"]:
                result = Result(**entry)
                self._all[result.workload, result.peer] = result

    def put(self, result: Result) -> None:
        """Keep a result in place of an earlier one, on the disk too."""
        self.machine = machine()
        self._all[result.workload, result.peer] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        ordered = sorted(self._all.values(), key=lambda one: (one.workload, one.peer))
        text = json.dumps({"machine": self.machine, "results": [asdict(one) for one in ordered]}, indent=1)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(text + "\n")
        temporary.replace(self.path)

    def get(self, workload: str, peer: str) -> Result | None:
        """Return what a peer showed in a workload, if it took part."""
        return self._all.get((workload, peer))

    def of(self, workload: str) -> dict[str, Result]:
        """Return all results of a workload, by peer."""
        return {peer: result for (one, peer), result in self._all.items() if one == workload}


def machine() -> dict[str, str]:
    """Return what has to be known of the machine to compare figures."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": f"{os.cpu_count()} × {cpu.strip() or platform.machine()}",
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
