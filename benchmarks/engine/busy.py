"""What ``log_metric`` takes while the machine and the store are as busy as can be."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from frameworm.experiment import Experiment

if TYPE_CHECKING:
    from drivers import Peer


def measure(driver: Peer, n: int) -> dict[str, float]:
    """Log n points while the catalog is locked, readers read, segments are written and synced, and a core is busy."""
    from measuring import latencies, warm_up

    warm_up(driver)
    with Experiment("busy", root_dir=driver.folder) as exp:
        exp.log_metric("loss", 0.5, 0)
        helpers = [
            subprocess.Popen(
                [sys.executable, __file__, what, str(driver.folder), str(exp.exp_dir)], stdout=subprocess.PIPE
            )
            for what in HELPERS
        ]
        try:
            for helper in helpers:
                assert helper.stdout is not None
                assert helper.stdout.readline() == b"ready\n"
            taken = array("q", bytes(8 * n))
            clock, log = time.perf_counter_ns, exp.log_metric
            for step in range(n):
                start = clock()
                log("loss", 0.5, step)
                taken[step] = clock() - start
            ended = [helper.args[2] for helper in helpers if helper.poll() is not None]  # type: ignore[index]
            assert not ended, f"ended early: {ended}"
        finally:
            for helper in helpers:
                helper.kill()
                helper.wait()
    return latencies(taken)


# ------------------------------------------------------------------------------------------ the helpers


def lock(root: Path, exp_dir: Path) -> None:
    """Hold the catalog's write lock, and readers out of it."""
    connection = sqlite3.connect(root / "experiments.db", isolation_level=None)
    connection.execute("begin exclusive")
    ready()
    time.sleep(600)


def read(root: Path, exp_dir: Path) -> None:
    """Read the growing series again and again."""
    from frameworm.experiment.query.read import ExperimentReader

    ready()
    while True:
        ExperimentReader(exp_dir).read("loss")


def seal(root: Path, exp_dir: Path) -> None:
    """Write and sync segments of a million points."""
    import numpy as np

    from frameworm.experiment.model import NO_EPOCH, SeriesKey
    from frameworm.experiment.storage.segment import write_segment

    n = 1_000_000
    ready()
    while True:
        write_segment(
            root / "other.seg",
            keys=[SeriesKey("loss", "train")],
            index=np.zeros(n, np.uint32),
            steps=np.arange(n),
            epochs=np.full(n, NO_EPOCH, np.int32),
            times_ms=np.arange(n),
            values=np.random.default_rng(0).normal(size=n),
            events=b"",
            sources=["journal-host-1-1"],
        )


def spin(root: Path, exp_dir: Path) -> None:
    """Keep a core busy."""
    ready()
    while True:
        pass


def ready() -> None:
    print("ready", flush=True)


HELPERS = {"lock": lock, "read": read, "seal": seal, "spin": spin}

if __name__ == "__main__":
    HELPERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
