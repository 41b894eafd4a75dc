"""Reading one experiment's folder: its events folded into an ``ExperimentInfo``, its points as arrays.

Live, crashed and ended experiments are read alike: each writer's journal, or the segment it was sealed to, is one
source; sources are taken in the order of their names' numbers.
"""

from __future__ import annotations

import difflib
import heapq
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from frameworm.experiment.config import load_json
from frameworm.experiment.errors import DamageError, MetricNotFoundError
from frameworm.experiment.model import (
    SYSTEM_CONTEXT,
    ExperimentInfo,
    Points,
    SeriesKey,
    SeriesSummary,
    default_context,
)
from frameworm.experiment.recording.fold import Fold
from frameworm.experiment.recording.journal import WriterName, read_journal
from frameworm.experiment.recording.liveness import is_alive
from frameworm.experiment.storage.folder import LOGS, read_metadata
from frameworm.experiment.storage.segment import SegmentReader
from frameworm.experiment.storage.series import summarize


class _Source(Protocol):
    """One writer's record: a journal or the segment it was sealed to."""

    name: WriterName
    keys: list[SeriesKey]
    events: list[dict[str, Any]]
    heartbeat_ms: int

    def read(self, position: int) -> Points: ...

    def summaries(self) -> list[SeriesSummary]: ...


class _Journal:
    def __init__(self, path: Path, name: WriterName) -> None:
        self.name = name
        self.heartbeat_ms = path.stat().st_mtime_ns // 1_000_000
        self._contents = read_journal(path)
        self.keys = self._contents.keys
        self.events = self._contents.events
        self.damage: list[DamageError] = list(self._contents.damage)

    def read(self, position: int) -> Points:
        return self._contents.read(position)

    def summaries(self) -> list[SeriesSummary]:
        index, points = self._contents.columns()
        return summarize(self.keys, index, points)


class _Segment:
    def __init__(self, path: Path, name: WriterName) -> None:
        self.name = name
        self.heartbeat_ms = 0
        self._reader = SegmentReader(path)
        self.events = [load_json(line) for line in self._reader.events().splitlines()]
        self.damage: list[DamageError] = []

    @property
    def keys(self) -> list[SeriesKey]:
        return self._reader.keys

    def read(self, position: int) -> Points:
        return self._reader.read(position)

    def summaries(self) -> list[SeriesSummary]:
        return self._reader.summaries()


def _open_sources(logs_dir: Path) -> tuple[list[_Journal | _Segment], list[DamageError]]:
    """Open every source in reading order; a journal that is sealed meanwhile is looked for again."""
    for attempt in range(5):
        names: dict[WriterName, bool] = {}
        try:
            for entry in logs_dir.iterdir():
                name = WriterName.parse(entry.name)
                if name is not None:
                    names[name] = names.get(name, False) or entry.name.endswith(".seg")
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        sources: list[_Journal | _Segment] = []
        damage: list[DamageError] = []
        try:
            for name in sorted(names):
                sealed = names[name]
                try:
                    kind = _Segment if sealed else _Journal
                    source = kind(logs_dir / (name.segment if sealed else name.journal), name)
                except DamageError as error:
                    damage.append(error)
                    if not sealed or not (logs_dir / name.journal).exists():
                        continue
                    source = _Journal(logs_dir / name.journal, name)
                damage += source.damage
                sources.append(source)
        except FileNotFoundError:
            if attempt == 4:
                raise
            continue
        return sources, damage
    raise AssertionError("unreachable")


class ExperimentReader:
    """Everything recorded in one experiment's folder, as of the moment of opening.

    Any thread may read. Nothing is written, no lock is taken.

    Attributes:
        info: all but the points.
        damage: what could not be read; the rest is there.
    """

    def __init__(self, exp_dir: Path) -> None:
        """Open the folder.

        Raises:
            StoreError: it is not an experiment's folder.
        """
        self.exp_dir = exp_dir
        self._sources, self.damage = _open_sources(exp_dir / LOGS)
        self.info = self._info()
        self._where: dict[SeriesKey, list[tuple[int, int]]] | None = None

    # ------------------------------------------------------------------------------------------ points

    def _places(self) -> dict[SeriesKey, list[tuple[int, int]]]:
        """Return for each series where its points lie: (source, position there)."""
        if self._where is None:
            where: dict[SeriesKey, list[tuple[int, int]]] = {}
            for number, source in enumerate(self._sources):
                for position, key in enumerate(source.keys):
                    where.setdefault(key, []).append((number, position))
            self._where = where
        return self._where

    def keys(self) -> list[SeriesKey]:
        """Return every series, in the order of first appearance, all contexts."""
        return list(self._places())

    def contexts(self, name: str) -> list[str]:
        """Return the contexts in which a metric was logged.

        Raises:
            MetricNotFoundError: it was not logged; the message suggests the nearest names.
        """
        contexts = [key.context for key in self._places() if key.name == name]
        if not contexts:
            names = list(dict.fromkeys(key.name for key in self._places() if key.context != SYSTEM_CONTEXT))
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {_some(names)}"
            raise MetricNotFoundError(f"{self.info.experiment_id} has no metric {name!r}; {hint}")
        return contexts

    def read(self, name: str, context: str | None = None) -> Points:
        """Return the points of one series, in arrival order.

        Args:
            name: the metric.
            context: train, val, …; None means the one of ``default_context``.

        Raises:
            MetricNotFoundError: there is no such series.
            DamageError: its bytes are damaged.
        """
        contexts = self.contexts(name)
        chosen = default_context(contexts) if context is None else context
        if chosen not in contexts:
            raise MetricNotFoundError(
                f"{self.info.experiment_id} has metric {name!r} in {_some(contexts)}, not in {chosen!r}"
            )
        parts = [self._sources[s].read(position) for s, position in self._places()[SeriesKey(name, chosen)]]
        if len(parts) == 1:
            return parts[0]
        return Points(
            steps=np.concatenate([p.steps for p in parts]),
            epochs=np.concatenate([p.epochs for p in parts]),
            times_ms=np.concatenate([p.times_ms for p in parts]),
            values=np.concatenate([p.values for p in parts]),
        )

    def read_all(self, name: str) -> dict[str, Points]:
        """Return the points of a metric in each of its contexts."""
        return {context: self.read(name, context) for context in self.contexts(name)}

    def summaries(self) -> list[SeriesSummary]:
        """Return a summary of every series that has points, in the order of ``keys``."""
        merged: dict[SeriesKey, SeriesSummary] = {}
        for source in self._sources:
            try:
                found = source.summaries()
            except DamageError as error:
                self.damage.append(error)
                continue
            for summary in found:
                key = SeriesKey(summary.name, summary.context)
                merged[key] = merged[key].then(summary) if key in merged else summary
        return [merged[key] for key in self._places() if key in merged]

    # ------------------------------------------------------------------------------------------ events

    def fold(self) -> Fold:
        """Return the fold of all events, to which more can be applied."""
        fold = Fold()
        for event in _in_order(self._sources):
            fold.apply(event)
        return fold

    def _info(self) -> ExperimentInfo:
        fold = self.fold()
        if not fold.begun:
            return read_metadata(self.exp_dir)
        writers = tuple(_writer(source) for source in self._sources)
        info = fold.info(self.exp_dir, writers)
        if info.status != "running":
            return info
        now = time.time_ns() // 1_000_000
        alive = any(not w["closed"] and is_alive(w, (now - w["heartbeat_ms"]) / 1000) for w in writers)
        latest = max((w["heartbeat_ms"] for w in writers), default=info.updated_ms)
        end = now if alive else latest
        return replace(
            info,
            status="running" if alive else "crashed",
            updated_ms=max(info.updated_ms, latest),
            ended_ms=None if alive else latest,
            duration_s=fold.active_s + max(0, end - fold.session_ms) / 1000,
            reason="" if alive else "the process that recorded it is gone",
        )


def _in_order(sources: list[_Journal | _Segment]) -> Iterator[dict[str, Any]]:
    """Merge the events of all sources by time; within a source their order is kept whatever its clock did."""

    def monotonic(number: int, source: _Journal | _Segment) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
        latest = 0
        for i, event in enumerate(source.events):
            latest = max(latest, event["t"])
            yield latest, number, i, event

    streams = [monotonic(number, source) for number, source in enumerate(sources)]
    return (event for _, _, _, event in heapq.merge(*streams, key=lambda item: item[:3]))


def _writer(source: _Journal | _Segment) -> dict[str, Any]:
    """Return who wrote a source, and whether it closed it."""
    opened = next((e for e in source.events if e["type"] == "open"), {})
    writer = {key: value for key, value in opened.items() if key not in ("t", "type")}
    sealed = isinstance(source, _Segment)
    closed = sealed or any(e["type"] == "close" for e in source.events[-8:])
    return {**writer, "journal": source.name.journal, "closed": closed, "heartbeat_ms": source.heartbeat_ms}


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown}, … ({len(names)} in all)" if len(names) > 8 else shown or "none"
