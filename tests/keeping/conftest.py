"""Stores of real experiments, harmed on purpose, and what is needed to tell that nothing was lost."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.query.read import ExperimentReader

QUIET = {"capture_console": False, "system_metrics_s": 0.0}
LONG = 150_000
"""Points of the long series: three blocks."""


def record(root: Path) -> None:
    """Record three ended experiments, with an artifact, a long series and short ones."""
    for n in range(3):
        config = {"training": {"lr": 10.0**-n}}
        with Experiment(f"run {n}", config, tags=["vae"], root_dir=root, **QUIET) as exp:
            for step in range(100):
                exp.log_metrics({"loss": 1 / (step + 1), "acc": step / 100}, step)
            exp.log_metric("val_loss", 0.1 * (n + 1), metric_type="val")
            exp.log_metric("lr", 0.1)
            (root / "model.pt").write_bytes(bytes([n]) * 4000)
            exp.log_artifact(root / "model.pt", "model")
            if n == 0:
                for step in range(LONG):
                    exp.log_metric("long", step * 0.1, step=step)
    (root / "model.pt").unlink()
    ExperimentManager(root).list_rows()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that no test changes."""
    root = tmp_path_factory.mktemp("recorded") / "experiments"
    record(root)
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    subprocess.run(["cp", "-a", str(recorded), str(tmp_path / "experiments")], check=True)
    return tmp_path / "experiments"


@pytest.fixture
def crash() -> Callable[..., None]:
    """Record an experiment in a process that then kills itself."""

    def record_and_die(root: Path, body: str) -> None:
        code = (
            "import os, sys\nfrom pathlib import Path\nfrom frameworm.experiment import Experiment\n"
            "quiet = dict(root_dir=Path(sys.argv[1]), capture_console=False, system_metrics_s=0.0)\n"
            f"{body}\nos.kill(os.getpid(), 9)\n"
        )
        source = str(Path(__file__).parents[2] / "src")
        environment = {**os.environ, "PYTHONPATH": source}
        done = subprocess.run([sys.executable, "-c", code, str(root)], env=environment, capture_output=True, text=True)
        assert done.returncode == -9, done.stderr

    return record_and_die


@pytest.fixture
def running() -> Callable[..., Any]:
    """Have an experiment run while the block does."""

    @contextmanager
    def run(root: Path) -> Iterator[Experiment]:
        with Experiment("runs", root_dir=root, **QUIET) as exp:
            exp.log_metric("loss", 1.0)
            yield exp

    return run


def folder_of(root: Path, experiment_id: str) -> Path:
    """Return an experiment's folder."""
    return next(root.glob(f"{experiment_id}_*"))


def log_file(root: Path, experiment_id: str, kind: str = "metrics") -> Path:
    """Return the only journal or segment of an experiment."""
    (path,) = (folder_of(root, experiment_id) / "logs").glob(f"{kind}-*")
    return path


def flip(path: Path, offset: int) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def tree(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents(folder: Path) -> dict[str, Any]:
    """Return all that an experiment reads as: what is known of it, its summaries and points, bit for bit."""
    reader = ExperimentReader(folder)
    assert not reader.damage
    points = {}
    for key in reader.keys():
        p = reader.read(*key)
        points[key] = [column.tobytes() for column in (p.steps, p.epochs, p.times_ms, p.values)]
    info = {name: getattr(reader.info, name) for name in reader.info.__slots__ if name != "writers"}
    writers = [{k: v for k, v in writer.items() if k != "closed"} for writer in reader.info.writers]
    summaries = [[repr(np.asarray(v).tolist()) for v in _values(summary)] for summary in reader.summaries()]
    return {"info": info, "writers": writers, "summaries": summaries, "points": points, "keys": list(points)}


def _values(summary: Any) -> list[Any]:
    return list(summary) if isinstance(summary, tuple) else [getattr(summary, n) for n in summary.__slots__]
