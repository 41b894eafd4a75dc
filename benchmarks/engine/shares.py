"""What a question's time goes to, by library: the profiler's own time of each function, those in C included."""

from __future__ import annotations

import cProfile
import pstats
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers import Peer

REPEATS = 50
LIBRARIES = ("sqlite3", "sqlalchemy", "pandas", "numpy", "pcodec", "json", "frameworm")


def compare(driver: Peer, n: int) -> dict[str, float]:
    """Compare ten experiments of n."""
    from engine.catalog import some_of
    from frameworm.experiment.manager import ExperimentManager

    manager = ExperimentManager(driver.folder)
    return shares(lambda: manager.compare_experiments(some_of(n)))


def chart(driver: Peer, n: int) -> dict[str, float]:
    """Read a series of n points as 1,000 buckets, its reader opened anew each time."""
    return shares(driver.chart)


def shares(ask: Callable[[], Any]) -> dict[str, float]:
    """Ask many times under the profiler, and return each library's share of the time.

    What is written in C counts for the library that its name tells (``sqlite3``, ``pcodec``), else for its caller.
    """
    ask()
    profile = cProfile.Profile()
    with profile:
        for _ in range(REPEATS):
            ask()
    taken: Counter[str] = Counter()
    for (file, _, name), (_, _, own_s, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if file != "~":
            taken[_library(file)] += own_s
        elif (library := _library(name)) != "others":
            taken[library] += own_s
        else:
            for (caller, _, _), (_, _, there_s, _) in callers.items():
                taken[_library(caller)] += there_s
    return {library: taken[library] / taken.total() for library in (*LIBRARIES, "others")}


def _library(place: str) -> str:
    return next((library for library in LIBRARIES if library in place.rsplit("site-packages", 1)[-1]), "others")
