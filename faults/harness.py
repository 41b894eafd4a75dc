"""One row of the table being run: its trials, its counts, and the reason where it is left out."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from faults.workload import Found

_T = TypeVar("_T")


_CATCHING = threading.Lock()


@contextmanager
def told() -> Iterator[list[str]]:
    """Collect the warnings given in the block.

    Python catches warnings for all threads at once: another trial's unexpected one lands here, and fails this one.
    """
    texts: list[str] = []
    with _CATCHING, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield texts
        finally:
            texts += [str(one.message) for one in caught]


class LeftOut(Exception):
    """This machine cannot do the harm; the message says why."""


class Row(NamedTuple):
    """A row of the table of faults.

    Attributes:
        number: its group in docs/faults.md; several rows may share one.
        name: the fault.
        holds: what must hold.
        run: does the harm; called with a ``Run``.
    """

    number: int
    name: str
    holds: str
    run: Callable[[Run], None]


@dataclass
class Run:
    """A row being run. ``trial`` and ``trials`` do the counting.

    Attributes:
        full: all trials, or the short form.
        folder: for everything the row makes; emptied after each trial that went well.
        injected: trials whose fault really came.
        survived: those of them in which everything held.
        acknowledged: points that had been acknowledged (or flushed, where that is what is promised).
        lost: points of those that were not there afterwards.
        failures: what did not hold, a text each.
    """

    full: bool
    folder: Path
    workers: int = 2
    progress: Callable[[int], None] = lambda done: None
    injected: int = 0
    survived: int = 0
    acknowledged: int = 0
    lost: int = 0
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def scale(self, short: int, full: int) -> int:
        """Return how many of something this scale takes."""
        return full if self.full else short

    def random(self, trial: object) -> random.Random:
        """Return the source of chance of one trial: the same in each run."""
        return random.Random(f"{trial}")

    def trials(
        self, items: Iterable[_T], trial: Callable[[_T, Path], Found | None], *, workers: int | None = None
    ) -> None:
        """Run ``trial(item, folder)`` for each item, several at once unless ``workers`` is 1.

        A trial returns what it found, None if the fault did not come, and raises where something did not hold.
        """
        with ThreadPoolExecutor(workers or self.workers) as pool:
            for outcome in pool.map(lambda item: self._attempt(trial, item), items):
                self._count(*outcome)

    def trial(self, trial: Callable[[Path], Found | None], name: str = "") -> None:
        """Run one trial."""
        self._count(*self._attempt(lambda _, folder: trial(folder), name))

    def count(self, failure: str) -> None:
        """Count a trial made otherwise; ``failure`` says what did not hold, and is empty if all did."""
        self._count(Found(0, 0), failure)

    def _attempt(self, trial: Callable[[Any, Path], Found | None], item: Any) -> tuple[Found | None, str]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            found = trial(item, folder)
        except LeftOut:
            raise
        except Exception as error:
            return Found(0, 0), f"{item}: {type(error).__name__}: {error} (kept: {folder})"
        if found is not None and found.lost:
            return found, f"{item}: {found.lost} of {found.acknowledged} points lost (kept: {folder})"
        shutil.rmtree(folder, ignore_errors=True)
        return found, ""

    def _count(self, found: Found | None, failure: str) -> None:
        if found is None:
            return
        self.injected += 1
        self.survived += not failure
        self.acknowledged += found.acknowledged
        self.lost += found.lost
        if failure:
            self.failures.append(failure)
        self.progress(self.injected)


@dataclass
class Result:
    """A row that was run, or left out."""

    row: Row
    run: Run
    left_out: str = ""

    @property
    def held(self) -> bool:
        """Whether nothing was lost and everything else held."""
        return not self.run.failures and not self.run.lost


def run_row(row: Row, folder: Path, *, full: bool, progress: Callable[[int], None] = lambda done: None) -> Result:
    """Run one row in a folder of its own below ``folder``."""
    place = Path(tempfile.mkdtemp(prefix=f"row{row.number}-", dir=folder))
    run = Run(full, place, progress=progress)
    start = time.monotonic()
    reason = ""
    try:
        row.run(run)
    except LeftOut as left_out:
        reason = str(left_out)
    run.seconds = time.monotonic() - start
    if not reason and not run.injected:
        run.failures.append("the fault never came: nothing was tested")
    return Result(row, run, reason)
