"""Values that cross the walls between modules: plain, frozen, importing nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

Status = Literal["pending", "running", "completed", "failed", "killed", "crashed", "damaged"]
STATUSES: tuple[Status, ...] = ("pending", "running", "completed", "failed", "killed", "crashed", "damaged")
ENDED: frozenset[str] = frozenset({"completed", "failed", "killed"})
"""Statuses a writer sets when it ends; ``crashed`` is found by readers, and ``damaged``: nothing of it can be read."""

NO_EPOCH = -(2**31)
"""The int32 that stands for "no epoch" in records and arrays."""

SYSTEM_CONTEXT = "system"
"""Context of the series recorded by us about the machine."""


class SeriesKey(NamedTuple):
    """One metric in one context of one experiment."""

    name: str
    context: str


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one series, in arrival order.

    Attributes:
        steps: int64 (n,).
        epochs: int32 (n,); ``NO_EPOCH`` where none was given.
        times_ms: int64 (n,), Unix milliseconds, UTC.
        values: float64 (n,), bit for bit as logged.
    """

    steps: NDArray[np.int64]
    epochs: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)


class Buckets(NamedTuple):
    """A series at a few buckets, each of which stands for a run of points that arrived one after the other.

    The runs follow each other without gap or overlap: ``counts.sum()`` is the number of all points. Arrays (n,).

    Attributes:
        counts: int64, points of each bucket, at least 1.
        nan_counts: int64, how many of them are NaN.
        min: float64, smallest value; NaN left out, NaN where there is nothing else; a zero is +0.0.
        max: float64, largest value, likewise.
        last: float64, value of the last point, bit for bit.
        min_steps: int64, smallest step.
        max_steps: int64, largest step.
        steps: int64, step of the last point.
        times_ms: int64, time of the last point, Unix ms.
    """

    counts: NDArray[np.int64]
    nan_counts: NDArray[np.int64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    last: NDArray[np.float64]
    min_steps: NDArray[np.int64]
    max_steps: NDArray[np.int64]
    steps: NDArray[np.int64]
    times_ms: NDArray[np.int64]


class SeriesSummary(NamedTuple):
    """What is known of one series without reading its points.

    ``first``, ``last`` and the ``last_*`` fields follow arrival order. ``min``, ``max`` and ``sum`` leave NaN
    out and are NaN when every value is NaN. ``count`` counts all points, ``nan_count`` those that are NaN.
    """

    name: str
    context: str
    count: int  # type: ignore[assignment]  # over the method of tuples, which nobody wants here
    nan_count: int
    first: float
    last: float
    min: float
    max: float
    sum: float
    last_step: int
    last_epoch: int
    first_time_ms: int
    last_time_ms: int

    @property
    def mean(self) -> float:
        """Mean of the values that are not NaN; NaN when there is none."""
        n = self.count - self.nan_count
        return self.sum / n if n else math.nan

    def then(self, later: SeriesSummary) -> SeriesSummary:
        """Return the summary of this series' points followed by ``later``'s."""
        return SeriesSummary(
            name=self.name,
            context=self.context,
            count=self.count + later.count,
            nan_count=self.nan_count + later.nan_count,
            first=self.first,
            last=later.last,
            min=_pick(min, self.min, later.min),
            max=_pick(max, self.max, later.max),
            sum=_pick(lambda a, b: a + b, self.sum, later.sum),
            last_step=later.last_step,
            last_epoch=later.last_epoch,
            first_time_ms=min(self.first_time_ms, later.first_time_ms),
            last_time_ms=later.last_time_ms,
        )


def _pick(combine: Any, a: float, b: float) -> float:
    """Combine two values of which NaN stands for "nothing there"."""
    if math.isnan(a):
        return b
    if math.isnan(b):
        return a
    return float(combine(a, b))


@dataclass(frozen=True, slots=True)
class Artifact:
    """One stored version of a named file.

    Attributes:
        name: the name it was logged under, ``/`` between folders.
        path: where it lies, relative to the experiment's folder.
        artifact_type: free word such as ``file``, ``model``, ``plot``.
        version: 1 for the first file of this name, counting up.
        digest: ``sha256:`` and 64 hex digits.
    """

    name: str
    path: str
    artifact_type: str
    version: int
    size_bytes: int
    digest: str
    logged_ms: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """A note added to an experiment."""

    text: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class ExperimentInfo:
    """Everything known of one experiment but its points, as folded from its events.

    Times are Unix milliseconds, UTC; None where not reached. ``duration_s`` is measured with a monotonic clock
    once ended; for one still running it is wall time since its start.
    """

    experiment_id: str
    uid: str
    name: str
    path: Path
    project: str = "default"
    description: str = ""
    status: Status = "pending"
    tags: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    lossy_params: tuple[str, ...] = ()
    created_ms: int = 0
    updated_ms: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None
    duration_s: float | None = None
    artifacts: tuple[Artifact, ...] = ()
    git: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    """Where the code lay and which files of it are stored in ``provenance/code``; see ``provenance.code``."""
    randomness: dict[str, Any] = field(default_factory=dict)
    """Seed, deterministic flags and digests of the generators' states at the start; see ``provenance.randomness``."""
    datasets: tuple[dict[str, Any], ...] = ()
    """Fingerprints of the data it read; see ``provenance.data``."""
    used: tuple[dict[str, Any], ...] = ()
    """Artifacts of other experiments that it read: ``experiment_id, uid, artifact, version, digest``."""
    alerts: tuple[dict[str, Any], ...] = ()
    """What it told of, in order: ``title, text, level, time_ms``, and ``rule`` if a rule of the dashboard found it."""
    parent: dict[str, Any] = field(default_factory=dict)
    """What it reproduces or forks: ``relation, experiment_id, uid``. A fork has also ``step``, the last one that it
    inherits, and ``rewinds``, how often the parent had been rewound; the reproduction of a fork has that in ``fork``.
    """
    rewinds: tuple[dict[str, Any], ...] = ()
    """How often it went back to an earlier step: ``step``, the last one kept, and ``time_ms``."""
    reason: str = ""
    """Why it ended as it did: the exception's last line, the signal's name."""
    writers: tuple[dict[str, Any], ...] = ()

    @property
    def forked_from(self) -> dict[str, Any]:
        """The parent whose points it inherits, as in ``parent``; empty if it is no fork."""
        fork = self.parent if self.parent.get("relation") == "fork" else self.parent.get("fork", {})
        return dict(fork)

    @property
    def git_hash(self) -> str | None:
        """Commit the experiment ran on, or None outside git."""
        return self.git.get("commit")

    @property
    def git_dirty(self) -> bool | None:
        """Whether tracked files had uncommitted changes, or None outside git."""
        return self.git.get("dirty")


def default_context(contexts: Iterable[str]) -> str:
    """Return the context that a bare metric name means, of those (in order of appearance) it was logged in.

    ``train`` if there, else ``val``, else ``test``, else the first that is not ``system``.
    """
    ordered = list(contexts)
    for wanted in ("train", "val", "test"):
        if wanted in ordered:
            return wanted
    return next((context for context in ordered if context != SYSTEM_CONTEXT), SYSTEM_CONTEXT)
